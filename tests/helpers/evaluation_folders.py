"""A toy level and small images on disk, for the tests of the frame of evaluation; processes import this module by its name."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_virtual_paint.evaluation import Context, Evaluation, FieldImages, Figure, Findings, Headline, Tables
from napari_virtual_paint.evaluation.engine import EvaluationProgress, evaluate
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write

STAINS = ("DNA", "ER")
DEADLY = 60_000
"""A grey level at which the toy's process ends, as where memory runs out."""
PLACES = {"toy": "evaluation_folders:TOY", "sum": "evaluation_folders:SUM"}
seen: list[str] = []
"""Keys of the fields that this process judged."""


@dataclass(frozen=True)
class Toy:
    """Measures the mean grey level of each stain on the truth's scale."""

    name: str = "toy"
    needs: tuple[str, ...] = ()

    def field(self, images: FieldImages, context: Context) -> Tables:
        seen.append(images.key)
        if images.truth.max() >= DEADLY:
            time.sleep(0.1)
            os._exit(9)
        if images.truth.max() == 0:
            raise ZeroDivisionError("a fault of the program")
        if images.well.startswith("B"):
            images.say("It lies in row B.")
        rows = [
            (images.key, images.well, source, stain, float(plane.mean()))
            for source, planes in images.scaled.items()
            for stain, plane in zip(images.stains, planes, strict=True)
        ]
        return {"toy_means": pd.DataFrame(rows, columns=["field", "well", "source", "stain", "mean"])}

    def summary(self, tables: Tables, context: Context) -> Generator[tuple[float, float, str], None, Findings]:
        yield 0, 1, "Toy."
        means = tables["toy_means"]
        wide = means.pivot_table(index=["field", "stain"], columns="source", values="mean")
        away = {name: float((wide[name] - wide["truth"]).abs().mean()) for name in context.predictions}
        main, *others = context.predictions
        picture = np.zeros((4, 4), np.uint8) if context.images is None else (context.images(means["field"][0]).scaled["truth"][0] // 256)
        return Findings(
            "toy",
            {"away": away[main], "nothing": float("nan"), "n": np.int64(len(wide))},
            {name: {"away": away[name]} for name in others},
            pd.DataFrame({"prediction": others, "delta": [away[name] - away[main] for name in others]}) if others else None,
            {"toy_means": means, "profiles": means.rename(columns={"mean": "Nuclei_Mean"})},
            (Figure("toy_picture", "Toy", "A field.", "images", images=(("truth", "first field", picture.astype(np.uint8)),)),),
            (Headline("away", None, away, "low"),),
            ("A toy.",),
        )


@dataclass(frozen=True)
class Sum:
    """Sums what the toy measured, and has nothing of its own."""

    name: str = "sum"
    needs: tuple[str, ...] = ("toy",)

    def field(self, images: FieldImages, context: Context) -> Tables:
        return {}

    def summary(self, tables: Tables, context: Context) -> Generator[tuple[float, float, str], None, Findings]:
        yield 0, 1, ""
        return Findings("sum", {"sum": float(tables["toy_means"]["mean"].sum())})


TOY, SUM = Toy(), Sum()


def save(path: Path, data: npt.NDArray[Any], channels: tuple[str, ...] = STAINS) -> Path:
    """Write planes (CYX, or TCZYX) as an OME-TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = data if data.ndim == 5 else data[None, :, None]
    return write(Stack(whole, channels, PixelSize(None, 0.5, 0.5)), path)


def truth_of(seed: int, size: int = 24) -> npt.NDArray[np.uint16]:
    """Return two stains (CYX) of one field."""
    return np.random.default_rng(seed).integers(100, 4000, (len(STAINS), size, size)).astype(np.uint16)


def folders(where: Path, names: tuple[str, ...] = ("one", "two", "three")) -> tuple[Path, Path]:
    """Write a folder of fields and a prediction that is the truth in another unit; return both."""
    for number, name in enumerate(names):
        truth = truth_of(number)
        save(where / "truth" / f"{name}.ome.tif", truth)
        save(where / "painted" / f"{name}.ome.tif", (truth.astype(np.float32) - 700) / 300)
    return where / "painted", where / "truth"


def judge(prediction: Any, truth: Path, output: Path | None, steps: list[EvaluationProgress] | None = None, **options: Any) -> Evaluation:
    """Evaluate to the end by the toy level, in this process; options as for `evaluate`."""
    from napari_virtual_paint.evaluation import EvaluationSettings

    settings = options.pop("settings", EvaluationSettings(workers=1))
    predictions = prediction if isinstance(prediction, Mapping) else {"": prediction}
    levels = options.pop("levels", ("toy",))
    running = evaluate(predictions, truth, levels, output=output, settings=settings, places=PLACES, **options)
    while True:
        try:
            step = next(running)
        except StopIteration as stop:
            report: Evaluation = stop.value
            return report
        if steps is not None:
            steps.append(step)
