"""Crops of single cells, and montages: images composed of a regular grid of places with one cell each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.counting.segmentation import Labels, Thresholds, segment
from napari_virtual_paint.errors import InputError

SIDES = range(16, 257)  # place sides that are tried when detecting a montage, px

LEAST_PLACES = 5  # least number of places along each axis

EMPTY_SEAM = 0.35  # largest activity at a montage's seams, relative to the center of its places


def crop(planes: npt.NDArray[Any], centres: npt.NDArray[Any], size: int, tile: int | None = None) -> npt.NDArray[np.float32]:
    """Cut a square crop around each center.

    Parameters
    ----------
    planes
        The image, axes CYX.
    centres
        Centers of the crops, (n, 2) yx in pixels, such as ``Nuclei_Location_Center_Y`` and ``_X``.
    size
        Side of a crop, px.
    tile
        Side of a montage's places; a crop then excludes neighboring places.

    Returns
    -------
    numpy.ndarray
        Float32, axes NCYX. Beyond the image (or place) its edge pixels are repeated.

    Raises
    ------
    InputError
        If the shapes don't fit.
    """
    planes, centres = np.asarray(planes), np.asarray(centres, float).reshape(-1, 2)
    if planes.ndim != 3 or size < 1:
        raise InputError(f"Crops of {size} px can't be cut out of an image of shape {planes.shape}; axes are CYX.")
    if not np.isfinite(centres).all():
        raise InputError("A center of a crop is not a number; leave out the rows without a nucleus.")
    out = np.empty((len(centres), len(planes), size, size), np.float32)
    first = np.round(centres - (size - 1) / 2).astype(int)
    height, width = planes.shape[1:]
    for n, ((top, left), (y, x)) in enumerate(zip(first, centres.tolist(), strict=True)):
        low, high = (0, 0), (height, width)
        if tile:
            low = (round(y) // tile * tile, round(x) // tile * tile)
            high = (min(low[0] + tile, height), min(low[1] + tile, width))
        rows, columns = (np.clip(np.arange(a, a + size), b, c - 1) for a, b, c in zip((top, left), low, high, strict=True))
        out[n] = planes[:, rows[:, None], columns]
    return out


def find_tile(planes: npt.NDArray[Any]) -> int | None:
    """Return the side of a montage's places in pixels, or None where the image (CYX) is not a montage.

    A montage has mostly background at its seams and cells in between: the image's deviation from its median is folded at each
    possible side along both axes, and the smallest side with quiet seams is taken.
    """
    height, width = planes.shape[1:]
    away = np.zeros((height, width))
    for plane in planes:
        deviation = np.abs(plane - np.median(plane).astype(np.float64))
        away += np.minimum(deviation / max(float(np.percentile(deviation, 95)), 1e-9), 1)
    profiles = away.mean(axis=1), away.mean(axis=0)
    for side in SIDES:
        if height % side or width % side or min(height, width) < LEAST_PLACES * side:
            continue
        if all(_seam(profile, side) < EMPTY_SEAM for profile in profiles):
            return side
    return None


def _seam(profile: npt.NDArray[np.float64], side: int) -> float:
    """Return the activity at the seams relative to the center of the places, both above the quietest."""
    folded = np.median(profile.reshape(-1, side), axis=0)
    edge = max(1, side // 12)
    middle = folded[side // 3 : side - side // 3].mean()
    return float(np.concatenate([folded[:edge], folded[-edge:]]).mean() / middle) if middle > 0 else 1.0


def places(planes: npt.NDArray[Any], tile: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield number (row by row from 0), rows and columns of each place that holds a cell; flat or striped places are empty."""
    from napari_virtual_paint.training.config.data import Tiles
    from napari_virtual_paint.training.data.scaling import usable_pixels

    usable = usable_pixels(planes, Tiles(size=tile))
    height, width = planes.shape[1:]
    across = width // tile
    for number in range(height // tile * across):
        y, x = number // across * tile, number % across * tile
        if usable[y, x]:
            yield number, slice(y, y + tile), slice(x, x + tile)


def segment_places(planes: npt.NDArray[Any], channels: Sequence[str], tile: int, nuclei: str | None = None, **options: Any) -> Labels:
    """Segment a montage place by place, at most one cell in each.

    Parameters
    ----------
    planes
        The montage, axes CYX.
    channels
        Names of the channels.
    tile
        Side of a place, px.
    nuclei
        The nuclei's channel; see `segment`.
    **options
        Further options of `segment`.

    Returns
    -------
    Labels
        For the whole montage, numbered in the order of places; one threshold per cell.
    """
    shape = planes.shape[1:]
    nuclei_labels, cells = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    thresholds: list[Thresholds] = []
    for _, rows, columns in places(planes, tile):
        one = segment(planes[:, rows, columns], channels, nuclei, single=True, **options)
        if one.cells.any():
            thresholds += one.thresholds
            cells[rows, columns] = len(thresholds) * (one.cells > 0)
            nuclei_labels[rows, columns] = len(thresholds) * (one.nuclei > 0)
    return Labels.of(nuclei_labels, cells, tuple(thresholds))
