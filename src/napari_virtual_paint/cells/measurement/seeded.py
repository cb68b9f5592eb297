"""Segment cells whose places and areas are known from a table, so that each outline is that of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import measure, segmentation

from napari_virtual_paint.counting.segmentation import (
    Floats,
    LabelImage,
    Labels,
    Thresholds,
    cell_signal,
    grow,
    nuclei_channel,
    nucleus_signal,
)
from napari_virtual_paint.errors import InputError

WINDOW = 384  # side of the part of an image on which the threshold is fitted, px
_REGULARIZATION = 0.05  # weight of distance against differences of brightness, CellProfiler's default
_STEPS = 10  # thresholds that are tried over the whole range, and half as many around the best


def segment_at(
    planes: npt.NDArray[Any],
    channels: Sequence[str],
    centres: npt.NDArray[Any],
    areas: npt.NDArray[Any],
    cell_areas: npt.NDArray[Any] | None = None,
    nuclei: str | None = None,
    *,
    scale: Sequence[float] | float = 1.0,
) -> Labels:
    """Segment the cells of an image from the places of their nuclei.

    The thresholds are those at which the areas of the nuclei and of the cells are nearest to the table's. What is as bright as a nucleus
    and not in the table, such as a nucleus at the border, bounds the cells beside it. Touching cells are divided as CellProfiler
    does, by the way from each nucleus (Jones et al. 2005).

    Parameters
    ----------
    planes
        The image, axes CYX.
    channels
        Names of the channels.
    centres
        Of the nuclei, (n, 2) yx in pixels.
    areas
        Of the nuclei, (n,) in pixels; NaN where unknown.
    cell_areas
        Of the cells, likewise; None where the table has no cells.
    nuclei
        The nuclear channel; see `segment.nuclei_channel`.
    scale
        Full scale, for all channels or each.

    Returns
    -------
    Labels
        Cell k + 1 is that of center k; one whose nucleus is outside the image has no pixels.

    Raises
    ------
    InputError
        If there is no such channel, or the numbers of areas and centers differ.
    """
    centres, areas = np.asarray(centres, np.float64).reshape(-1, 2), np.asarray(areas, np.float64)
    wanted = np.full(len(centres), np.nan) if cell_areas is None else np.asarray(cell_areas, np.float64)
    if not len(areas) == len(wanted) == len(centres):
        raise InputError(f"{len(centres)} centers of nuclei need as many areas, not {len(areas)} and {len(wanted)}.")
    position = nuclei_channel(channels, nuclei)
    full = np.broadcast_to(np.asarray(scale, np.float32), (len(channels),))
    unit = np.nan_to_num(np.asarray(planes, np.float32)) / full[:, None, None]
    bright = nucleus_signal(unit[position])
    seeds = _seeds(centres, bright.shape)
    part = _window(seeds)
    known = np.arange(1, len(centres) + 1)
    grown = partial(_nuclei, count=len(centres))
    cut = _fitted(bright[part], seeds[part], areas, grown)
    found = grown(bright, seeds, cut)
    signal = cell_signal(unit, channels, position)
    edge = float("nan")
    if signal is None or not np.isfinite(wanted).any():
        cells = grow(found)
    else:
        edge = _fitted(signal[part], found[part], wanted, _cells)
        cells = _cells(signal, found, edge)
    kept = [np.where(np.isin(labels, known), labels, 0) for labels in (found, cells)]
    return Labels.of(kept[0], kept[1], (Thresholds(cut, edge),))


def _seeds(centres: npt.NDArray[np.float64], shape: tuple[int, ...]) -> LabelImage:
    """Return 3 x 3 pixels at each center, with its number."""
    seeds = np.zeros(shape, np.int32)
    for number, (y, x) in enumerate(np.rint(centres).astype(int).tolist(), start=1):
        if 0 <= y < shape[0] and 0 <= x < shape[1]:
            seeds[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = number
    return seeds


def _fitted(
    signal: Floats, seeds: LabelImage, areas: npt.NDArray[np.float64], grown: Callable[[Floats, LabelImage, float], LabelImage]
) -> float:
    """Return the threshold at which the areas are nearest to those of the table; NaN where it states none."""
    numbers = np.unique(seeds[(seeds > 0) & (seeds <= len(areas))])
    numbers = numbers[areas[numbers - 1] > 0]
    low, high = float(signal.min()), float(signal.max())
    if not len(numbers) or high <= low:
        return float("nan")

    def error(cut: float) -> float:
        sizes = np.bincount(grown(signal, seeds, cut).ravel(), minlength=len(areas) + 1)[numbers]
        # A cell that is lost, or floods the image, counts as e times too small or large.
        return float(np.minimum(np.abs(np.log(np.maximum(sizes, 1) / areas[numbers - 1])), 1).mean())

    cuts = np.linspace(low, high, _STEPS)[:-1]
    for _ in range(2):
        best = float(cuts[int(np.argmin([error(float(cut)) for cut in cuts]))])
        step = float(cuts[1] - cuts[0])
        cuts = np.linspace(best - step, best + step, _STEPS // 2 + 1)[1:-1]
    return best


def _window(seeds: LabelImage) -> tuple[slice, slice]:
    """Return a part of an image in which most seeds lie."""
    places = np.argwhere(seeds > 0)
    centre = np.median(places, axis=0) if len(places) else np.array(seeds.shape) / 2
    starts = [int(np.clip(at - WINDOW / 2, 0, max(side - WINDOW, 0))) for at, side in zip(centre, seeds.shape, strict=True)]
    return slice(starts[0], starts[0] + WINDOW), slice(starts[1], starts[1] + WINDOW)


def _nuclei(signal: Floats, seeds: LabelImage, cut: float, count: int) -> LabelImage:
    """Return the nuclei of the seeds, and numbered from `count` + 1 on those of what is as bright and has no seed."""
    mask = ndimage.binary_fill_holes(signal > cut) | (seeds > 0)
    pieces = measure.label(mask, connectivity=1)
    others = np.where(np.isin(pieces, np.unique(pieces[seeds > 0])), 0, pieces)
    markers = np.where(others > 0, others + count, seeds)
    labels: LabelImage = segmentation.watershed(-signal, markers, mask=mask).astype(np.int32)
    return labels


def _cells(signal: Floats, nuclei: LabelImage, cut: float) -> LabelImage:
    """Return the cells of nuclei."""
    from centrosome.propagate import propagate  # type: ignore[import-untyped]

    mask = ndimage.binary_fill_holes(signal > cut) | (nuclei > 0)
    labels, _ = propagate(signal.astype(np.float64), nuclei, mask, _REGULARIZATION)
    return np.asarray(labels, np.int32)
