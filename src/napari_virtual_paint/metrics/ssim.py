"""Sums over two images that need every pixel's neighbourhood or scaled value: SSIM, absolute and squared differences.

SSIM is that of Wang et al. 2004 (IEEE Trans. Image Process. 13, 600) with a uniform window of 7 pixels per side and sample covariance, the
mean taken over the windows that lie wholly inside: the default of ``skimage.metrics.structural_similarity``.

A window's sum is four additions of shifted copies along each axis, done in float64 on strips of rows that stay in the processor's cache;
the two variances enter the formula only as their sum, so four sums a window are enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.runtime.processes import cores

WINDOW = 7  # side of the window, pixels; also the least number of z-planes for a volume to have an SSIM of its own

K1, K2 = 0.01, 0.03
"""Wang et al. 2004, section III.B: the constants of luminance and contrast, as fractions of the data range."""

STRIP_PIXELS = 12_000  # pixels worked on at once: ten float64 copies of them fit the cache of one core

_ALONE: ContextVar[bool] = ContextVar("alone", default=False)

Doubles: TypeAlias = npt.NDArray[np.float64]
Plane: TypeAlias = npt.NDArray[Any]
Sums: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class Scaling:
    """``(x - offset) * gain``: how an image is brought to the scale it is scored on."""

    offset: float = 0.0
    gain: float = 1.0

    def apply(self, pixels: Plane, out: Doubles) -> None:
        """Write the scaled pixels into a float64 array of the same shape."""
        out[...] = pixels
        if self.offset:
            out -= self.offset
        if self.gain != 1.0:
            out *= self.gain


class Scratch:
    """Buffers of one thread, reused for every strip: new arrays would cost more than the sums."""

    def __init__(self, rows: int, columns: int) -> None:
        self.products = np.zeros((4, rows * columns))
        self.windows = np.zeros((4, rows * columns))
        self.by_rows = np.zeros(rows * columns)
        self.spare = np.zeros(rows * columns)

    def fill(self, scalings: tuple[Scaling, Scaling], prediction: Plane, truth: Plane) -> Doubles:
        """Return x, y, x^2 + y^2 and x y of the scaled images, shape (4, pixels)."""
        out = self.products[:, : prediction.size]
        x, y, squares, product = out
        scalings[0].apply(prediction, x.reshape(prediction.shape))
        scalings[1].apply(truth, y.reshape(truth.shape))
        np.multiply(x, x, out=squares)
        np.multiply(y, y, out=product)
        squares += product
        np.multiply(x, y, out=product)
        return out

    def differences(self, length: int) -> tuple[float, float]:
        """Return the sums of absolute and of squared differences over the first pixels filled in."""
        difference = np.subtract(self.products[0, :length], self.products[1, :length], out=self.spare[:length])
        squared = float(np.einsum("i,i->", difference, difference))  # no BLAS: its own threads would fight with ours
        return float(np.abs(difference, out=difference).sum()), squared

    def ssim_sum(self, sums: Doubles, columns: int, pixels_in_window: int, c1: float, c2: float) -> float:
        """Return the sum of SSIM over all windows of some rows.

        Parameters
        ----------
        sums
            Shape (4, rows * columns): x, y, x^2 + y^2 and x y at each pixel, or summed over 7 z-planes.
        columns
            Pixels in a row.
        pixels_in_window
            49 for a plane, 343 for a volume.
        c1, c2
            ``(K1 R)^2`` and ``(K2 R)^2`` with the data range R.
        """
        rows = sums.shape[1] // columns - WINDOW + 1
        if rows < 1 or columns < WINDOW:
            return 0.0
        length = rows * columns
        for source, out in zip(sums, self.windows, strict=True):
            # Rows lie one after another, so a shift by a row and one by a column are both a shift along the line. Windows that would
            # wrap into the next row end up in the last 6 columns, which are left out of the sum below.
            box_sum(source, columns, length, self.spare, self.by_rows)
            box_sum(self.by_rows, 1, length - WINDOW + 1, self.spare, out)
            out[length - WINDOW + 1 : length] = 0.0
        ratio = ssim_of_sums(self.windows[:, :length], self.spare[:length], float(pixels_in_window), c1, c2)
        return float(ratio.reshape(rows, columns)[:, : columns - WINDOW + 1].sum())


def box_sum(source: Doubles, step: int, length: int, spare: Doubles, out: Doubles) -> None:
    """Write ``out[i] = source[i] + source[i + step] + ... + source[i + 6 step]`` for i < length.

    The seven terms are added as 3 + 3 + 1: four additions, and no running sum whose rounding would grow.
    """
    longer = length + 3 * step
    threes, result = spare[:longer], out[:length]
    np.add(source[:longer], source[step : step + longer], out=threes)
    threes += source[2 * step : 2 * step + longer]
    np.add(threes[:length], threes[3 * step :], out=result)
    result += source[6 * step : 6 * step + length]


def ssim_of_sums(windows: Doubles, spare: Doubles, n: float, c1: float, c2: float) -> Doubles:
    """Return SSIM of windows of n pixels from their sums of x, y, x^2 + y^2 and x y, shape (4, windows); the sums are overwritten.

    All terms of Wang's equation 13 are multiplied by n^2, which cancels and saves the divisions that would make means of the sums.
    """
    x, y, squares, product = windows
    sample = n / (n - 1.0)
    means = np.multiply(x, y, out=spare)
    x *= x
    y *= y
    x += y
    np.multiply(x, sample, out=y)
    squares *= sample * n
    squares -= y
    squares += c2 * n * n
    x += c1 * n * n
    squares *= x
    np.multiply(means, 2.0 * sample, out=y)
    product *= 2.0 * sample * n
    product -= y
    product += c2 * n * n
    means *= 2.0
    means += c1 * n * n
    product *= means
    ratio: Doubles = np.divide(product, squares, out=product)
    return ratio


class LocalSums:
    """Absolute and squared differences and SSIM of two images given plane by plane.

    Parameters
    ----------
    prediction, truth
        How each is scaled before it is scored.
    data_range
        The truth's range after scaling, max - min.
    volume
        Whether the planes are those of a volume, whose SSIM has a window of 7 x 7 x 7. Otherwise each plane has its SSIM. A
        volume is given whole, in order, before another begins (see `new_volume`).

    Notes
    -----
    A volume is never held whole: the last 7 planes are, as they came, and their four sums, 32 bytes a pixel of a plane.
    """

    def __init__(self, prediction: Scaling, truth: Scaling, data_range: float, *, volume: bool = False) -> None:
        self._scalings = (prediction, truth)
        self._constants = (K1 * data_range * K1 * data_range, K2 * data_range * K2 * data_range)
        self._volume = volume
        self._recent: deque[tuple[Plane, Plane]] = deque()
        self._sums: Doubles | None = None
        self._totals = np.zeros(3)
        self._pixels = self._windows = 0
        self._free: list[Scratch] = []

    def new_volume(self) -> None:
        """Say that the next plane begins another volume."""
        self._recent.clear()
        self._sums = None

    def update(self, prediction: Plane, truth: Plane, own: int | None = None) -> None:
        """Add one plane of each, shape (Y, X); all planes have one shape.

        Without `volume` a plane may also be given band by band: then only the first `own` rows are added, and the others, the next
        ``WINDOW - 1`` of the plane as far as it has them, are what their windows reach.
        """
        height, width = prediction.shape
        added = height if own is None else own
        if self._volume:
            self._update_volume(prediction, truth)
        else:
            self._run((added, width), lambda scratch, *rows: self._score_plane(scratch, prediction, truth, *rows), height)
        self._pixels += added * width
        if not self._volume or len(self._recent) == WINDOW:
            self._windows += max(min(added, height - WINDOW + 1), 0) * max(width - WINDOW + 1, 0)

    def _run(self, shape: tuple[int, ...], job: Callable[[Scratch, int, int, int], Sums], height: int | None = None) -> None:
        """Run a job on every strip of rows, on as many threads as there are cores, and add up what it returns."""
        places = list(strips(shape, height))
        rows = max(end - start for start, _, end in places)

        def work(place: tuple[int, int, int]) -> Sums:
            scratch = self._free.pop() if self._free else Scratch(rows, shape[1])
            with np.errstate(all="ignore"):  # not handed on to threads by the caller
                result = job(scratch, *place)
            self._free.append(scratch)
            return result

        workers = 1 if _ALONE.get() else min(cores(), 8, len(places))
        if workers < 2:
            results = [work(place) for place in places]
        else:
            with ThreadPoolExecutor(workers) as pool:
                results = list(pool.map(work, places))
        self._totals += np.sum(results, axis=0)

    def _score_plane(self, scratch: Scratch, prediction: Plane, truth: Plane, start: int, stop: int, end: int) -> Sums:
        """Score rows start to stop of a plane; rows up to end are read for their windows."""
        columns = prediction.shape[1]
        sums = scratch.fill(self._scalings, prediction[start:end], truth[start:end])
        differences = scratch.differences((stop - start) * columns)
        return *differences, scratch.ssim_sum(sums, columns, WINDOW**2, *self._constants)

    def _update_volume(self, prediction: Plane, truth: Plane) -> None:
        """Move the window of 7 planes on by one and score the windows that this completes."""
        columns = prediction.shape[1]
        if self._sums is None:
            self._sums = np.zeros((4, prediction.size))
        leaving = self._recent.popleft() if len(self._recent) == WINDOW else None
        self._recent.append((prediction, truth))
        sums = self._sums

        def move(scratch: Scratch, start: int, stop: int, end: int) -> Sums:
            here = slice(start * columns, stop * columns)
            if leaving is not None:
                sums[:, here] -= scratch.fill(self._scalings, leaving[0][start:stop], leaving[1][start:stop])
            sums[:, here] += scratch.fill(self._scalings, prediction[start:stop], truth[start:stop])
            return *scratch.differences((stop - start) * columns), 0.0

        def score(scratch: Scratch, start: int, stop: int, end: int) -> Sums:
            return 0.0, 0.0, scratch.ssim_sum(sums[:, start * columns : end * columns], columns, WINDOW**3, *self._constants)

        self._run(prediction.shape, move)
        if len(self._recent) == WINDOW:
            self._run(prediction.shape, score)

    @property
    def mae(self) -> float:
        """Mean absolute difference so far."""
        return float(self._totals[0]) / self._pixels

    @property
    def mse(self) -> float:
        """Mean squared difference so far."""
        return float(self._totals[1]) / self._pixels

    @property
    def ssim(self) -> float | None:
        """Mean SSIM so far; None where no window fits into the image."""
        return float(self._totals[2]) / self._windows if self._windows else None


@contextmanager
def on_this_thread() -> Iterator[None]:
    """Score on the calling thread alone: the cores are another's."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def strips(shape: tuple[int, ...], reached: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield strips of rows that fit the cache: first row, row after the last, row after the last that its windows reach.

    Windows may reach further than these rows, up to row `reached`.
    """
    rows, columns = shape
    height = max(STRIP_PIXELS // columns, 2 * WINDOW)
    count = max(round(rows / height), 1)
    edges = [rows * i // count for i in range(count + 1)]
    for start, stop in pairwise(edges):
        yield start, stop, min(stop + WINDOW - 1, rows if reached is None else reached)
