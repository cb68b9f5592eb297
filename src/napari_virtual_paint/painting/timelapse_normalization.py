"""Fit one normalization to a whole time series, in one pass with one frame in memory."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.models import Match
from napari_virtual_paint.normalize import Normalization, Step, fit, zscore
from napari_virtual_paint.painting import network_input
from napari_virtual_paint.runtime.running_stats import merge
from napari_virtual_paint.stack import Stack

WHOLE = 1 << 26  # largest series in pixels whose percentiles are exact; of larger ones every n-th pixel is used

Columns = npt.NDArray[np.float64]


def fit_series(
    steps: Sequence[Step], stack: Stack, found: Match, planes: slice, labels: Sequence[str]
) -> Generator[int, None, Normalization]:
    """Fit processing steps to all time points of a plane, a window of planes or a volume.

    Parameters
    ----------
    stack, found
        The image, and its channels and planes for the model.
    planes
        The z-planes of the field.
    labels
        The channels' names, for the problems reported.

    Yields
    ------
    int
        How models time points are seen; a place to cancel.

    Returns
    -------
    Normalization
        Mean and SD are exact. Percentiles of more pixels than `WHOLE` are those of every n-th pixel and of each frame's extremes; a
        note in `problems` says so.
    """
    times = stack.shape[0]
    real = [step for step in steps if step.kind != "ensure_dtype" or np.dtype(step.values.get("dtype", "float32")).kind != "f"]
    if len(real) == 1 and real[0].kind == "zero_mean_unit_variance":
        return (yield from _moments(real[0], stack, found, planes, labels))
    parts, every = [], 1
    for t in range(times):
        frame = network_input.load(stack, found, network_input.FieldIndex(t, planes))
        flat = frame.reshape(len(frame), -1)
        every = max(-(-flat[0].size * times // WHOLE), 1)
        ends = np.stack([flat.min(axis=1), flat.max(axis=1)], axis=1)
        parts.append(flat if every == 1 else np.concatenate([flat[:, ::every], ends], axis=1))
        yield t + 1
    found_steps = fit(np.concatenate(parts, axis=1), steps, labels)
    if every == 1:
        return found_steps
    note = f"The statistics of the series were taken of every {every}th pixel."
    return Normalization(found_steps.steps, found_steps.fill, (*found_steps.problems, note))


def _moments(step: Step, stack: Stack, found: Match, planes: slice, labels: Sequence[str]) -> Generator[int, None, Normalization]:
    """Gather mean and SD over all time points."""
    gathered: tuple[Columns, ...] = ()
    for t in range(stack.shape[0]):
        frame = network_input.load(stack, found, network_input.FieldIndex(t, planes))
        part = _frame(frame.reshape(len(frame), -1), step.per_channel)
        gathered = _joined(gathered, part) if gathered else part
        yield t + 1
    count, mean, squares, low, high, lost = gathered
    spread = np.where(low < high, np.sqrt(squares / np.maximum(count, 1)), 0.0)
    return zscore(step, mean, spread, lost, labels)


def _frame(flat: npt.NDArray[Any], per_channel: bool) -> tuple[Columns, ...]:
    """Return for each group of channels: pixels, mean, sum of squares about it, minimum, maximum, and pixels that are not finite."""
    rows = list(flat) if per_channel else [flat.ravel()]
    found = []
    for row in rows:
        good = row[np.isfinite(row)] if row.dtype.kind == "f" else row
        if not good.size:
            found.append((0.0, 0.0, 0.0, np.inf, -np.inf, float(row.size)))
            continue
        mean = float(good.mean(dtype=np.float64))
        squares = float(good.var(dtype=np.float64)) * good.size
        found.append((float(good.size), mean, squares, float(good.min()), float(good.max()), float(row.size - good.size)))
    return tuple(np.array(column) for column in zip(*found, strict=True))


def _joined(one: tuple[Columns, ...], other: tuple[Columns, ...]) -> tuple[Columns, ...]:
    """Return the statistics of two parts together."""
    mean, squares = merge(*one[:3], *other[:3])
    return one[0] + other[0], mean, squares, np.minimum(one[3], other[3]), np.maximum(one[4], other[4]), one[5] + other[5]
