"""Paint with overlapping patches, for comparison and for networks of unknown structure; one row of patches is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.painting.tiles import patches

Floats = npt.NDArray[np.float32]
Predict = Callable[[Floats], Floats]  # normalized patch (C, [Z,] Y, X) -> stains (S, [Z,] Y, X)
Row = tuple[float, tuple[slice, slice] | None, Floats | None]
"""Share of the work in this step, and slices (y, x) of the field and stains that it finished, if any."""


def importance(patch: int) -> Floats:
    """Return the weight of each pixel of a patch: a Gaussian of SD patch / 8 about its center."""
    from scipy.signal.windows import gaussian  # slow to import, and most painting does without

    line = gaussian(patch, patch / 8)
    weight: Floats = np.outer(line, line).astype(np.float32)
    return np.maximum(weight, 1e-3)


def predict_patches(predict: Predict, field: Floats, blend: str, patch: int = 256) -> Iterator[Row]:
    """Paint a field in square patches with a stride of half a patch.

    Parameters
    ----------
    predict
        The network on one patch.
    field
        The normalized field, axes (C, [Z,] Y, X); Z is never cut.
    blend
        A key of `STRIPS`: ``median`` of the four predictions of every pixel (Cross-Zamirski 2022, "Model inference"), or their mean
        under a Gaussian weight.
    patch
        Side of a patch in pixels, even.
    """
    stride = patch // 2
    height, width = field.shape[-2:]
    # One stride more on every side, so that each pixel lies in four patches.
    after = [stride + (-side) % stride for side in (height, width)]
    padded = reflect(field, [(0, 0)] * (field.ndim - 2) + [(stride, after[0]), (stride, after[1])])
    corners = list(patches(padded.shape[-2:], patch, stride))
    strip = STRIPS[blend](patch)
    for count, (y, x) in enumerate(corners, start=1):
        strip.add(predict(padded[..., y : y + patch, x : x + patch]), x, padded.shape[-1])
        if count < len(corners) and corners[count][0] == y:
            yield 1 / len(corners), None, None
            continue
        done = strip.finish(stride)
        top, bottom = y - stride, min(y, height)  # where the finished half of the row lies in the field
        if bottom <= max(top, 0):
            yield 1 / len(corners), None, None
            continue
        rows = done[..., max(-top, 0) : bottom - top, stride : stride + width]
        yield 1 / len(corners), (slice(max(top, 0), bottom), slice(0, width)), np.ascontiguousarray(rows)


def reflect(field: Floats, widths: list[tuple[int, int]]) -> Floats:
    """Pad by reflection; an axis of one pixel, which has nothing to reflect, repeats it."""
    padded: Floats = np.pad(field, widths, mode="reflect") if any(a or b for a, b in widths) else field
    return padded


class Strip(Protocol):
    """A row of patches that are merged."""

    def add(self, stains: Floats, x: int, width: int) -> None:
        """Add one patch of the current row."""

    def finish(self, stride: int) -> Floats:
        """Return the upper half, which no later row touches, and move down by half a patch."""


class _Weighted:
    """A row of patches, summed with weights."""

    def __init__(self, weight: Floats) -> None:
        self.weight = weight
        self.total: Any = None
        self.weights: Any = None

    def add(self, stains: Floats, x: int, width: int) -> None:
        """Add one patch of the current row."""
        patch = self.weight.shape[0]
        if self.total is None:
            self.total = np.zeros((*stains.shape[:-1], width), np.float32)
            self.weights = np.zeros((patch, width), np.float32)
        self.total[..., x : x + patch] += stains * self.weight
        self.weights[:, x : x + patch] += self.weight

    def finish(self, stride: int) -> Floats:
        """Return the upper half, which no later row touches, and move down by half a patch."""
        out: Floats = self.total[..., :stride, :] / np.maximum(self.weights[:stride], 1e-12)
        for array in (self.total, self.weights):
            array[..., :stride, :] = array[..., stride:, :]
            array[..., stride:, :] = 0
        return out


class _Median:
    """A row of patches, with the four predictions of each pixel kept apart."""

    def __init__(self, stride: int) -> None:
        self.stride = stride
        self.slots: Any = None
        self.row = 0

    def add(self, stains: Floats, x: int, width: int) -> None:
        """Add one patch of the current row."""
        patch = stains.shape[-1]
        if self.slots is None:
            self.slots = np.full((4, *stains.shape[:-1], width), np.nan, np.float32)
        self.slots[2 * (self.row % 2) + (x // self.stride) % 2][..., x : x + patch] = stains

    def finish(self, stride: int) -> Floats:
        """Return the upper half, which no later row touches, and move down by half a patch."""
        upper = self.slots[..., :stride, :]
        # Every pixel of the field has four predictions; only the padding's outer edge has fewer, and it is cut off.
        ordered = np.sort(np.where(np.isnan(upper), np.inf, upper), axis=0)
        out: Floats = (0.5 * (ordered[1] + ordered[2])).astype(np.float32)
        self.slots[..., :stride, :] = self.slots[..., stride:, :]
        self.slots[..., stride:, :] = np.nan
        self.row += 1
        return out


STRIPS: dict[str, Callable[[int], Strip]] = {
    "median": lambda patch: _Median(patch // 2),
    "gaussian": lambda patch: _Weighted(importance(patch)),
}
"""Blend of patches -> what merges a row of them, made from their side; every `choices.Blend` but ``exact``."""
