"""What turns and ensembles give on pixels that the network never learned from, and whether their SD follows the error.

``python benchmarks/trust.py [--data ../shared/data] [--only ID] [--json]`` prints two tables in Markdown. The bundled models of real
images were trained a second time on everything. The networks scored here are those of the first training, kept in a run's folder by
``virtual-paint train docs/recipes/neurons-phase.yaml`` (and ``cell-painting-brightfield``, ``jurkat-brightfield``). What is held out is
what the recipes hold out.

- *pcc*: Pearson correlation with the true stain in the held-out part; of Jurkat cells the median over cells.
- *r*: rank correlation (Spearman) of the SD with the absolute error, pixel by pixel, both images at mean 0 and SD 1.
- *bright*: rank correlation of the prediction itself with the absolute error: what is bright is also wrong by more.
- *given*: what is left of *r* once the brightness is known (partial rank correlation).
- *top*, *bottom*: mean absolute error where the SD is in its highest and its lowest fifth.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from napari_virtual_paint.models import Model, ModelInfo, open_model
from napari_virtual_paint.networks import build
from napari_virtual_paint.painting import Member, ModelSet, PaintSettings, paint, run_to_end
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import Stack

ROOT = Path(__file__).resolve().parents[1]
CASES = {
    "neurons-phase": ("neurons", "phase.ome.tif", "fluorescence.ome.tif", "right"),
    "cell-painting-brightfield": ("cell_painting", "brightfield.ome.tif", "stains.ome.tif", "right"),
    "jurkat-brightfield": ("jurkat_flow", "experiment_*_g1_000*.ome.tif", "", "bottom"),
}
CELL = 40
PIXELS = 200_000


@dataclass
class Opened:
    """What painting needs of a model: the bundled one's description, the weights of the first training."""

    info: ModelInfo
    network: nn.Module


def held_out(name: str, runs: Path) -> Model:
    """Return a bundled model with the weights that never saw what is held out."""
    info = open_model(name).info
    network = build(info.architecture, dict(info.config))
    checkpoint = runs / name / "last.ckpt"
    if not checkpoint.exists():
        raise SystemExit(f"{checkpoint} is not there: run `virtual-paint train docs/recipes/{name}.yaml` first.")
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["paint"]["best"]["weights"])
    return cast(Model, Opened(info, network.eval().requires_grad_(False)))


def members(model: Model) -> ModelSet | None:
    """Return the members of a network that is an ensemble in itself as models of their own."""
    if model.info.architecture != "UNetEnsemble":
        return None
    each = [Opened(replace(model.info, architecture="UNet"), network) for network in cast(Any, model.network).members]
    return ModelSet(tuple(Member(cast(Model, one)) for one in each), ensemble=True)


def pairs(name: str, data: Path) -> list[tuple[Stack, Stack]]:
    """Return inputs and truths, whole."""
    if name == "simulated-cell-painting":
        from napari_virtual_paint.samples.settings import SimulationSettings
        from napari_virtual_paint.samples.simulator import simulate_field

        fields = [simulate_field(SimulationSettings(size=512, seed=seed)) for seed in (901, 902)]
        return [(field.brightfield, field.stains) for field in fields]
    folder, left, right, _ = CASES[name]
    found = []
    for path in sorted((data / folder).glob(left)):
        image = read(path).compute()
        truth = read(data / folder / right).compute() if right else image.select(["DNA"])
        found.append((image if right else image.select(["Brightfield"]), truth))
    return found


def region_of(name: str, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the held-out fifth (rows, columns)."""
    height, width = shape[-2:]
    side = CASES[name][3] if name in CASES else "all"
    if side == "right":
        return (0, height), (round(0.8 * width), width)
    return ((round(0.8 * height / CELL) * CELL, height), (0, width)) if side == "bottom" else ((0, height), (0, width))


def zscore(pixels: np.ndarray) -> np.ndarray:
    return (pixels - pixels.mean()) / pixels.std()


def cells(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Return the median over cells of the PCC."""
    found = []
    for y in range(0, truth.shape[0] - CELL + 1, CELL):
        for x in range(0, truth.shape[1] - CELL + 1, CELL):
            one, other = (image[y : y + CELL, x : x + CELL].ravel() for image in (prediction, truth))
            if one.std() > 0 and other.std() > 0:
                found.append(np.corrcoef(one, other)[0, 1])
    return float(np.median(found))


def measure(name: str, model: Model | ModelSet, settings: PaintSettings, images: list[tuple[Stack, Stack]]) -> dict[str, dict[str, float]]:
    """Return the figures of each stain, the mean over the images."""
    rows: dict[str, list[dict[str, float]]] = {}
    for image, truth in images:
        region = region_of(name, image.shape)
        painting = run_to_end(paint(model, image, replace(settings, region=region)))
        (y0, y1), (x0, x1) = region
        for index, stain in enumerate(painting.stack.channel_labels):
            predicted = painting.stack.data[0, index, 0, y0:y1, x0:x1]
            true = np.asarray(truth.data[0, truth.channel_index(stain), 0, y0:y1, x0:x1], np.float64)
            pcc = cells(predicted, true) if name.startswith("jurkat") else float(np.corrcoef(predicted.ravel(), true.ravel())[0, 1])
            row = {"pcc": pcc}
            if painting.uncertainty is not None:
                spread = painting.uncertainty.data[0, index, 0, y0:y1, x0:x1]
                row |= follows(spread / predicted.std(), np.abs(zscore(predicted) - zscore(true)), predicted)
            rows.setdefault(stain, []).append(row)
    return {stain: {key: float(np.mean([row[key] for row in found])) for key in found[0]} for stain, found in rows.items()}


def follows(spread: np.ndarray, error: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Tell whether the SD is high where the error is, and whether more so than brightness."""
    chosen = np.random.default_rng(0).permutation(spread.size)[:PIXELS]
    sd, wrong, light = spread.ravel()[chosen], error.ravel()[chosen], predicted.ravel()[chosen]
    low, high = np.quantile(sd, (0.2, 0.8))
    (_, r, both), (_, _, bright), _ = spearmanr(np.stack([sd, wrong, light], 1)).statistic
    given = (r - both * bright) / np.sqrt((1 - both**2) * (1 - bright**2))
    top, bottom = float(wrong[sd >= high].mean()), float(wrong[sd <= low].mean())
    mean = {"sd": float(sd.mean()), "error": float(wrong.mean())}
    return {**mean, "r": float(r), "bright": float(bright), "given": float(given), "top": top, "bottom": bottom}


def ways(model: Model) -> dict[str, tuple[Model | ModelSet, PaintSettings]]:
    """Return what is compared."""
    plain = PaintSettings(device="cpu")
    found: dict[str, tuple[Model | ModelSet, PaintSettings]] = {
        "plain": (model, plain),
        "flips": (model, replace(plain, tta="flips")),
        "full": (model, replace(plain, tta="full")),
        "full, median": (model, replace(plain, tta="full", merge="median")),
    }
    many = members(model)
    if many is not None:
        first = many.members[0].model
        found |= {
            "one member": (first, plain),
            "one member, full": (first, replace(plain, tta="full")),
            "4 members": (many, plain),
            "4 members, full": (many, replace(plain, tta="full")),
        }
    return found


WAYS = ("plain", "flips", "full", "full, median", "one member", "one member, full", "4 members", "4 members, full")


def tables(results: dict[str, dict[str, dict[str, dict[str, float]]]]) -> str:
    """Return the figures as two tables in Markdown."""
    gains = ["| model | stain | " + " | ".join(WAYS) + " |", "|---" * (2 + len(WAYS)) + "|"]
    head = ("model", "stain", "passes", "mean SD", "mean error", "r", "bright", "given", "error, lowest SD", "error, highest SD")
    trust = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, found in results.items():
        for stain in found["plain"]:
            pcc = [f"{found[way][stain]['pcc']:.3f}" if way in found else "" for way in WAYS]
            gains.append("| " + " | ".join([name, stain, *pcc]) + " |")
            for way in ("full", "4 members", "4 members, full"):
                if way in found:
                    row = found[way][stain]
                    figures = [f"{row[key]:.2f}" for key in ("sd", "error", "r", "bright", "given", "bottom", "top")]
                    trust.append("| " + " | ".join([name, stain, way, *figures]) + " |")
    return "\n".join([*gains, "", *trust])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--runs", type=Path, default=ROOT / "build" / "runs")
    parser.add_argument("--only", action="append", metavar="ID")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for name in options.only or (*CASES, "simulated-cell-painting"):
        model = held_out(name, options.runs) if name in CASES else open_model(name)
        images = pairs(name, options.data)
        results[name] = {way: measure(name, each, settings, images) for way, (each, settings) in ways(model).items()}
    print(json.dumps(results, indent=1) if options.json else tables(results))


if __name__ == "__main__":
    main()
