"""The array that the worker paints into and the layers show, filled in place."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from napari_virtual_paint._napari.shared.viewer.appearance import contrast_limits
from napari_virtual_paint._napari.shared.viewer.layers import LARGE
from napari_virtual_paint.runtime.scratch import release, zeros

Span = tuple[int, int]
STEPS = (2, 4, 8, 16, 32, 64)  # steps of the copies of a mosaic ...
SMALLEST = 512  # ... whose longer side has at least so many pixels
SAMPLE = 20_000  # pixels of each stain that contrast is taken from, of each finished piece
MOST_SAMPLES = 60
PACE = 0.4  # seconds between two updates of the contrast limits


class Canvas:
    """An array that `painting.paint` writes finished stains to, on the worker's thread, and that estimates contrast limits.

    Parameters
    ----------
    shape
        TCZYX of the whole painting: what the engine wants to write to.
    region
        Spans in y and x that are kept; None keeps everything.

    Attributes
    ----------
    array
        float32 (T, C, Z, Y, X) of the region; NaN where nothing is painted once `clear` has run.
    coarser
        Step -> the array with every so manieth pixel along y and x, for a mosaic that is too large to be shown pixel by pixel.
    limits
        Contrast limits of each stain by what is painted so far; None before.
    pieces
        How many times stains were written.
    """

    def __init__(self, shape: tuple[int, int, int, int, int], region: tuple[Span, Span] | None = None) -> None:
        self.shape, self.ndim = shape, len(shape)
        self.region = region or ((0, shape[3]), (0, shape[4]))
        sides = tuple(stop - start for start, stop in self.region)
        self.array = zeros((*shape[:3], *sides))
        steps = [step for step in STEPS if max(sides) > LARGE and max(sides) // step >= SMALLEST]
        self.coarser = {step: zeros((*shape[:3], *(-(-side // step) for side in sides))) for step in steps}
        self.limits: list[tuple[float, float] | None] = [None] * shape[1]
        self.pieces = 0
        self._samples: list[npt.NDArray[np.float32]] = []
        self._updated = 0.0

    @property
    def painted(self) -> bool:
        """Whether anything is painted."""
        return self.pieces > 0

    def clear(self) -> None:
        """Mark everything as not painted (on the worker: it touches all memory)."""
        if isinstance(self.array, np.memmap):
            return  # writing a whole file of NaN takes longer than painting its first planes; there zero means not painted
        for array in (self.array, *self.coarser.values()):
            for frame in array:
                frame.fill(np.nan)

    def release(self) -> None:
        """Let the system take what is painted out of memory, where it lies in a file."""
        for array in (self.array, *self.coarser.values()):
            release(array)

    def __setitem__(self, key: tuple[slice, ...], stains: npt.NDArray[np.float32]) -> None:
        places = []
        for axis, (start, stop) in zip((3, 4), self.region, strict=True):
            first, last, _ = key[axis].indices(self.shape[axis])
            if first < start or last > stop:
                raise IndexError(f"Pixels {first} to {last} lie outside the region {start} to {stop}.")
            places.append(slice(first - start, last - start))
        self.array[(*key[:3], *places)] = stains
        for step, array in self.coarser.items():
            here = [slice(-(-place.start // step), -(-place.stop // step)) for place in places]
            taken = [slice(part.start * step - place.start, None, step) for part, place in zip(here, places, strict=True)]
            array[(*key[:3], *here)] = stains[..., taken[0], taken[1]]
        self.pieces += 1
        self._sample(stains, key[1])

    def _sample(self, stains: npt.NDArray[np.float32], which: slice) -> None:
        """Keep a sample of the pixels and update the contrast limits from time to time."""
        flat = stains.transpose(1, 0, 2, 3, 4).reshape(stains.shape[1], -1)
        flat = flat[:, :: max(1, flat.shape[1] // SAMPLE)]
        every = np.full((self.shape[1], flat.shape[1]), np.nan, np.float32)
        every[which] = flat
        self._samples.append(every)
        if len(self._samples) > MOST_SAMPLES:
            self._samples = self._samples[::2]
        now = time.monotonic()
        if now - self._updated > PACE:
            self._updated = now
            self.update_limits()

    def update_limits(self) -> None:
        """Take the contrast limits from what is painted so far."""
        if self._samples:
            together = np.concatenate(self._samples, axis=1)
            self.limits = [contrast_limits(row) for row in together]
