"""Small fields for tests of the levels: round cells with nuclei, in a truth and in predictions of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from napari_virtual_paint.evaluation import TRUTH, Context, EvaluationSettings, FieldImages, Findings, Level, Tables
from napari_virtual_paint.evaluation.scale import IntensityScale

STAINS = ("DNA", "ER")


def cells(seed: int = 0, size: int = 160, spacing: int = 40, empty: bool = False) -> np.ndarray:
    """Return stains CYX of cells on a jittered grid, so that none touch: nuclei of radius 7, cells of radius 14."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    nuclei, bodies = np.zeros((2, size, size))
    for cy in range(spacing // 2, size, spacing):
        for cx in range(spacing // 2, size, spacing):
            top, left = cy + random.uniform(-4, 4), cx + random.uniform(-4, 4)
            away = np.hypot(y - top, x - left)
            nuclei += (away < 7) * random.uniform(0.7, 1.3)
            bodies += (away < 14) * random.uniform(0.7, 1.3)
    stack = np.stack([nuclei, bodies]) * (not empty)
    soft = ndimage.gaussian_filter(stack, (0, 1, 1)) * [[[9000]], [[5000]]] + 400
    return random.poisson(soft).astype(np.float32)


def field(
    truth: np.ndarray, predictions: Mapping[str, np.ndarray], key: str = "A01/0", stains: tuple[str, ...] = STAINS, **more: Any
) -> FieldImages:
    """Return a field; its well is the part of the key before the stroke."""
    well = key.partition("/")[0] if "/" in key else ""
    return FieldImages(key, well, stains, 1.0, np.asarray(truth, np.float32), dict(predictions), IntensityScale(), **more)


def context(fields: Mapping[str, FieldImages], **settings: Any) -> Context:
    """Return what is known of some fields without a plate map."""
    first = next(iter(fields.values()))
    wells = pd.DataFrame(index=pd.Index([], name="well"))
    options = {"segmenter": "skimage", "bootstrap": 100, **settings}
    return Context(
        tuple(first.predictions),
        first.stains,
        wells,
        dict.fromkeys(("treatment", "dose", "control", "moa", "batch", "plate")),
        settings=EvaluationSettings(**options),
        fields=tuple(fields),
        images=fields.__getitem__,
    )


def judged(level: Level, *fields: FieldImages, **settings: Any) -> tuple[Findings, Tables]:
    """Run a level over fields; return what it found, and the fields' tables."""
    known = {each.key: each for each in fields}
    asked = context(known, **settings)
    parts = [level.field(each, asked) for each in fields]
    tables = {name: pd.concat([each[name] for each in parts], ignore_index=True) for name in parts[0]}
    steps = level.summary(tables, asked)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value, tables


def notes_of(images: FieldImages) -> list[str]:
    """Return what a field had to say."""
    return list(images.memo.get("notes", []))


__all__ = ["STAINS", "TRUTH", "cells", "context", "field", "judged", "notes_of"]
