"""Find the picture that a measured image was made from, and the place of its first pixel, by what was measured on its objects.

CellProfiler's Crop module gives positions in the crop, and Image tables name the files of the whole pictures alone. The brightest pixel of
an object, whose place and value are measured, has that value in the picture only at the right shift.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]

FULL_SCALES = (255.0, 65535.0, 4095.0, 1023.0, 16383.0, 1.0)  # gray levels that CellProfiler divides by, 8 bits first
AGREEING = 0.7  # least share of objects whose brightest pixel is where it should be
CORRELATED = 0.8  # least correlation of the objects' mean intensities with those at their places
LEAST = 3  # objects; fewer agree by chance
LEAST_SEARCHED = 6  # the same where every shift is tried
MOST = 60  # objects that are tried
_TOLERANCE = 0.02  # of a gray level of integers: tables hold 6 digits or more


@dataclass(frozen=True, eq=False)
class Spots:
    """What a table states of the objects of one image in one measured image; NaN where it states nothing."""

    y: Floats
    x: Floats  # `y` and `x`: place of the brightest pixel
    brightest: Floats
    centre_y: Floats
    centre_x: Floats
    mean: Floats
    radius: float  # of the objects, px


@dataclass(frozen=True)
class CropPlacement:
    """Where a measured image lies in a picture."""

    source: str  # name of the picture
    y: int
    x: int  # `y` and `x`: place of its first pixel
    scale: float | None  # gray level that is 1 in the table; None where the pixels are others than those of the picture
    agreement: float  # share of the objects that agree, or the correlation of their means where `scale` is None


def place(spots: Spots, pictures: Mapping[str, npt.NDArray[Any]], known: Iterable[tuple[int, int]] = ((0, 0),)) -> CropPlacement | None:
    """Return where the image that was measured lies; None where no picture agrees.

    Parameters
    ----------
    spots
        Objects of the image.
    pictures
        Name -> pixels, axes YX.
    known
        Shifts (y, x) that are tried before all others.
    """
    best = _by_pixels(spots, pictures, tuple(known))
    return best if best is not None else _by_means(spots, pictures, tuple(known))


def agreement(spots: Spots, picture: npt.NDArray[Any], found: CropPlacement) -> float:
    """Return how well another image agrees with a placement: see `CropPlacement.agreement`; NaN where too few objects can tell."""
    if found.scale is not None:
        y, x, value = _brightest(spots)
        return float("nan") if len(y) < LEAST else _share(picture, y, x, value * found.scale, found.y, found.x)
    y, x, mean = _means(spots)
    return float("nan") if len(y) < LEAST else _correlation(_smooth(picture, spots.radius), y, x, mean, found.y, found.x)


def _brightest(spots: Spots) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    there = np.isfinite(spots.y) & np.isfinite(spots.x) & np.isfinite(spots.brightest) & (spots.brightest > 0)
    y, x, value = spots.y[there][:MOST], spots.x[there][:MOST], spots.brightest[there][:MOST]
    return np.rint(y).astype(np.int64), np.rint(x).astype(np.int64), value


def _means(spots: Spots) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    there = np.isfinite(spots.centre_y) & np.isfinite(spots.centre_x) & np.isfinite(spots.mean)
    y, x, value = spots.centre_y[there][:MOST], spots.centre_x[there][:MOST], spots.mean[there][:MOST]
    return np.rint(y).astype(np.int64), np.rint(x).astype(np.int64), value


def _near(picture: npt.NDArray[Any], value: Floats | float) -> npt.NDArray[np.bool_]:
    """Return where pixels have a value, up to what a table's digits leave open."""
    limit = _TOLERANCE + 1e-5 * np.abs(value) if picture.dtype.kind in "ub" else 1e-4 * np.abs(value)
    close: npt.NDArray[np.bool_] = np.abs(picture.astype(np.float64) - value) <= limit
    return close


def _share(picture: npt.NDArray[Any], y: npt.NDArray[np.int64], x: npt.NDArray[np.int64], value: Floats, down: int, right: int) -> float:
    inside = (y + down >= 0) & (x + right >= 0) & (y + down < picture.shape[0]) & (x + right < picture.shape[1])
    if not inside.any():
        return 0.0
    return float(_near(picture[y[inside] + down, x[inside] + right], value[inside]).sum() / len(y))


def _by_pixels(spots: Spots, pictures: Mapping[str, npt.NDArray[Any]], known: tuple[tuple[int, int], ...]) -> CropPlacement | None:
    """Return the shift at which the brightest pixels have their values."""
    y, x, value = _brightest(spots)
    if len(y) < LEAST:
        return None
    for name, picture in pictures.items():
        for down, right in known:
            for scale in _scales(picture):
                share = _share(picture, y, x, value * scale, down, right)
                if share >= AGREEING:
                    return CropPlacement(name, down, right, scale, share)
    best = None
    for name, picture in pictures.items() if len(y) >= LEAST_SEARCHED else ():
        rows, columns = picture.shape[0] - int(y.max()), picture.shape[1] - int(x.max())
        if rows < 1 or columns < 1:
            continue
        for scale in _scales(picture):
            hits = np.zeros((rows, columns), np.uint8)
            for row, column, one in zip(y.tolist(), x.tolist(), (value * scale).tolist(), strict=True):
                hits += _near(picture[row : row + rows, column : column + columns], one)
            at = divmod(int(hits.argmax()), columns)
            share = float(hits[at]) / len(y)
            if share >= AGREEING and (best is None or share > best.agreement):
                best = CropPlacement(name, at[0], at[1], scale, share)
    return best


def _scales(picture: npt.NDArray[Any]) -> tuple[float, ...]:
    """Return the full scales that a picture may have been divided by, likelier ones first."""
    if picture.dtype.kind == "b" or picture.dtype == np.uint8:
        return (255.0,)
    return FULL_SCALES[1:] + FULL_SCALES[:1] if picture.dtype.kind in "ui" else (1.0, *FULL_SCALES[:2])


def _by_means(spots: Spots, pictures: Mapping[str, npt.NDArray[Any]], known: tuple[tuple[int, int], ...]) -> CropPlacement | None:
    """Return the shift at which the objects' mean intensities follow those of the picture, as of images corrected for illumination."""
    y, x, mean = _means(spots)
    if len(y) < 2 * LEAST or np.ptp(mean) <= 0:
        return None
    smooth = {name: _smooth(picture, spots.radius) for name, picture in pictures.items()}
    tried = [
        CropPlacement(name, down, right, None, _correlation(plane, y, x, mean, down, right))
        for name, plane in smooth.items()
        for down, right in known
    ]
    best = max(tried, key=lambda found: found.agreement, default=None)
    if best is not None and best.agreement >= CORRELATED:
        return best
    # A search over all shifts finds some correlation anywhere, so it must be nearly perfect.
    searched = [found for name, plane in smooth.items() if (found := _searched(name, plane, y, x, mean)) is not None]
    return max(searched, key=lambda found: found.agreement, default=None)


def _searched(name: str, plane: Floats, y: npt.NDArray[np.int64], x: npt.NDArray[np.int64], mean: Floats) -> CropPlacement | None:
    rows, columns = plane.shape[0] - int(y.max()), plane.shape[1] - int(x.max())
    if rows < 1 or columns < 1 or len(y) < 2 * LEAST_SEARCHED:
        return None
    standard = (mean - mean.mean()) / mean.std()
    first, second, both = np.zeros((rows, columns)), np.zeros((rows, columns)), np.zeros((rows, columns))
    for row, column, one in zip(y.tolist(), x.tolist(), standard.tolist(), strict=True):
        part = plane[row : row + rows, column : column + columns]
        first += part
        second += part**2
        both += part * one
    count = len(y)
    spread = np.sqrt(np.maximum(second / count - (first / count) ** 2, 1e-12))
    correlation = both / count / spread
    at = divmod(int(correlation.argmax()), columns)
    found = float(correlation[at])
    return CropPlacement(name, at[0], at[1], None, found) if found >= 0.95 else None


def _smooth(picture: npt.NDArray[Any], radius: float) -> Floats:
    """Return the mean over a square as large as an object."""
    side = max(3, round(1.5 * radius)) if np.isfinite(radius) else 7
    smooth: Floats = ndimage.uniform_filter(picture.astype(np.float64), side, mode="nearest")
    return smooth


def _correlation(plane: Floats, y: npt.NDArray[np.int64], x: npt.NDArray[np.int64], mean: Floats, down: int, right: int) -> float:
    inside = (y + down >= 0) & (x + right >= 0) & (y + down < plane.shape[0]) & (x + right < plane.shape[1])
    if inside.sum() < max(LEAST, 0.9 * len(y)):
        return -1.0
    values = plane[y[inside] + down, x[inside] + right]
    if values.std() <= 0 or mean[inside].std() <= 0:
        return -1.0
    return float(np.corrcoef(values, mean[inside])[0, 1])
