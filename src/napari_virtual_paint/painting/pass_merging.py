"""Merge several passes over one field: mean and SD as they come in (Welford 1962), or the median at the end.

Mean and SD cost the stains twice, however models passes there are. A median needs every pass: they are kept in memory where they are small,
else in a file, and the median is taken a band of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.runtime.scratch import file_backed_zeros, in_memory, zeros

Floats = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]  # Z, Y and X within the merged part
BAND = 1 << 23  # numbers processed at once at the end: a tenth of a second


class PassMerger:
    """Merges the passes over one field, stain by stain.

    Parameters
    ----------
    mean
        Output for what is merged so far, (stains, Z, Y, X), float32; NaN in a stain without a pass.
    spread
        Output for the SD of the stains `spread_of`, the sum of squared deviations until the end; zeros at first.
    spread_of
        The stains that more than one pass makes.
    passes
        How many passes make each stain.
    shared
        Whether each stain is made by several models, whose scales are then matched.
    median
        Take the median instead of the mean.
    folder
        Folder of temporary files.
    """

    def __init__(
        self,
        mean: Floats,
        spread: Floats,
        spread_of: Sequence[int],
        passes: Sequence[int],
        shared: Sequence[bool],
        *,
        median: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.mean, self.spread, self.folder = mean, spread, folder
        self.spread_row = {stain: row for row, stain in enumerate(spread_of)}
        self.shared = shared
        self.count = [0] * len(mean)
        self.samples = self._keep({stain: passes[stain] for stain in spread_of}) if median else {}
        self.reference: dict[int, tuple[float, float]] = {}
        self.scales: dict[int, list[tuple[float, float]]] = {}
        mean[...] = np.nan

    def _keep(self, passes: Mapping[int, int]) -> dict[int, Floats]:
        """Return arrays for every pass of each stain."""
        small = in_memory(self.mean[0].nbytes * sum(passes.values()), passes=True)
        shapes = {stain: (count, *self.mean.shape[1:]) for stain, count in passes.items()}
        return {stain: np.zeros(shape, np.float32) if small else file_backed_zeros(shape, self.folder) for stain, shape in shapes.items()}

    def begin(self, member: int, stains: Sequence[int]) -> None:
        """Begin a pass of a member that makes these stains."""
        self.member, self.stains = member, tuple(stains)
        self.done: list[Box] = []
        self.again: npt.NDArray[np.bool_] | None = None
        self.held: Floats | None = None
        if member not in self.scales:
            self.scales[member] = [(1.0, 0.0)] * len(self.stains)
            if any(self.shared[stain] and self.count[stain] for stain in self.stains):
                self.held = zeros((len(self.stains), *self.mean.shape[1:]), self.folder)

    def restart(self) -> None:
        """Begin the pass again after memory ran out, without merging finished boxes twice."""
        if self.held is None and self.done:
            self.again = np.zeros(self.mean.shape[1:], bool)
            for box in self.done:
                self.again[box] = True

    def add(self, box: Box, stains: Floats) -> bool:
        """Merge a box of the pass, (stains, Z, Y, X); False where the whole pass is needed first to match its scale."""
        if self.held is not None:
            self.held[(slice(None), *box)] = stains
            return False
        self._add(box, stains)
        self.done.append(box)
        return True

    def _add(self, box: Box, stains: Floats) -> None:
        fresh = None if self.again is None else ~self.again[box]
        for row, stain in enumerate(self.stains):
            gain, offset = self.scales[self.member][row]
            pixels = stains[row] if (gain, offset) == (1.0, 0.0) else stains[row] * np.float32(gain) + np.float32(offset)
            number = self.count[stain] + 1
            if stain in self.samples:
                self.samples[stain][(number - 1, *box)] = pixels
            mean = self.mean[(stain, *box)]
            if number == 1:
                mean[...] = pixels
                continue
            step = pixels - mean
            if fresh is not None:
                step *= fresh
            mean += step / np.float32(number)
            self.spread[(self.spread_row[stain], *box)] += step * (pixels - mean)

    def end(self) -> Iterator[Box]:
        """End the pass and yield the boxes that are merged only now."""
        if self.held is not None:
            held, self.held = self.held, None
            self.scales[self.member] = [self._scale(stain, held[row]) for row, stain in enumerate(self.stains)]
            for box in self._bands(len(held)):
                self._add(box, held[(slice(None), *box)])
                yield box
        for stain in self.stains:
            self.count[stain] += 1
            if self.shared[stain] and self.count[stain] == 1:
                self.reference[stain] = moments(self.mean[stain])

    def _scale(self, stain: int, pixels: Floats) -> tuple[float, float]:
        """Return gain and offset that bring a member's first pass to mean and SD of the first member's."""
        if stain not in self.reference:
            return 1.0, 0.0
        mean, spread = self.reference[stain]
        own_mean, own_spread = moments(pixels)
        gain = spread / own_spread if own_spread > 0 else 1.0
        return gain, mean - gain * own_mean

    def finish(self) -> Iterator[tuple[Box, bool]]:
        """Take medians and SDs; yield each band and whether its stains changed."""
        for box in self._bands(len(self.mean) * max(self.count)):
            for stain, samples in self.samples.items():
                self.mean[(stain, *box)] = np.median(samples[(slice(None), *box)], axis=0)
            for stain, row in self.spread_row.items():
                part = self.spread[(row, *box)]
                part[...] = np.sqrt(np.maximum(part, 0) / max(self.count[stain] - 1, 1))
            yield box, bool(self.samples)

    def _bands(self, deep: int) -> Iterator[Box]:
        """Yield bands of rows with about `BAND` numbers, `deep` of them per pixel."""
        planes, height, width = self.mean.shape[1:]
        rows = max(BAND // (deep * width), 1)
        for z in range(planes):
            for top in range(0, height, rows):
                yield slice(z, z + 1), slice(top, min(top + rows, height)), slice(0, width)


def moments(pixels: npt.NDArray[Any]) -> tuple[float, float]:
    """Return mean and SD of pixels (Z, Y, X), in float64 without a float64 copy of the whole."""
    mean = float(pixels.mean(dtype=np.float64))
    squares = sum(float(np.square(plane - mean, dtype=np.float64).sum()) for plane in pixels)
    return mean, float(np.sqrt(squares / pixels.size))
