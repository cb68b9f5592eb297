"""Measure the features of cells, on an image with labels or on crops of one cell each, with the same code."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from skimage import segmentation

from napari_virtual_paint.cells.measurement import cp_measure
from napari_virtual_paint.cells.measurement.cp_measure import COMPARTMENTS, GROUPS, TEXTURE_SCALE, Values
from napari_virtual_paint.cells.measurement.distributions import granular_spectra
from napari_virtual_paint.cells.measurement.mosaic import Cell, CellMosaic, blank, cut, lay_out
from napari_virtual_paint.counting.segmentation import Labels, Thresholds, nuclei_channel, only_central, segment
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.worker_pool import WorkerDied, WorkerPool

if TYPE_CHECKING:
    import pandas as pd


_PLACE = re.compile(r"(?:Location_\w+?|AreaShape_(?:Center|BoundingBox(?:Min|Max)imum))_([XY])(?:_|$)")


def measure_cells(
    cells: Sequence[Cell],
    channels: Sequence[str],
    groups: Sequence[str] = GROUPS,
    compartments: Sequence[str] = COMPARTMENTS,
    costes: bool = False,
    threads: int = 1,
    texture_scales: Sequence[int] = (TEXTURE_SCALE,),
) -> Values:
    """Measure cells that were cut out; return the values of each feature in the order of the cells."""
    mosaic = lay_out(cells)
    all_labels = {"Nuclei": mosaic.nuclei, "Cells": mosaic.whole, "Cytoplasm": mosaic.cytoplasm}
    chosen = {name: all_labels[name] for name in compartments}
    parts: list[Callable[[], Values]] = []
    for compartment, labels in chosen.items():
        parts += _compartment(mosaic, compartment, labels, channels, groups, costes, texture_scales)
    if "Granularity" in groups:
        parts += [partial(_granularity, mosaic, channel, plane, chosen) for channel, plane in zip(channels, mosaic.planes, strict=True)]
    found: Values = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what can't be measured is NaN, which says it once
        for values in _all(parts, threads):
            found |= values
    for name in found:
        if place := _PLACE.search(name):
            found[name] = found[name] + mosaic.shift[:, 1 if place[1] == "X" else 0]
    return found


def _all(parts: Sequence[Callable[[], Values]], threads: int) -> list[Values]:
    """Return the features of all parts in order."""
    if threads < 2:
        return [part() for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda part: part(), parts))


def _compartment(
    mosaic: CellMosaic,
    name: str,
    labels: npt.NDArray[np.int32],
    channels: Sequence[str],
    groups: Sequence[str],
    costes: bool,
    texture_scales: Sequence[int],
) -> list[Callable[[], Values]]:
    """Return independent functions that measure one compartment."""
    functions = cp_measure.core()
    dense, _, back = segmentation.relabel_sequential(labels)
    dense = dense.astype(np.int32)
    there = np.asarray(back[np.arange(1, int(dense.max()) + 1)], int) - 1
    if not len(there):  # no cell of these has it: the names are needed all the same
        dense, there = mosaic.whole, np.zeros(0, int)
    parts: list[Callable[[], Values]] = [partial(_shape, dense, functions, groups)]
    if "AreaShape" in groups or "RadialDistribution" in groups:
        parts.append(partial(cp_measure.measure_distribution, dense, mosaic.planes, channels, groups))
    for channel, plane in zip(channels, mosaic.planes, strict=True):
        parts.append(partial(cp_measure.measure_channel, dense, plane, channel, functions, groups, texture_scales))
    if "Correlation" in groups:
        parts.append(lambda: dict(cp_measure.measure_pairs(dense, mosaic.planes, channels, costes)))
    return [partial(_placed, part, name, there, len(mosaic.cells)) for part in parts]


def _shape(labels: npt.NDArray[np.int32], functions: Any, groups: Sequence[str]) -> Values:
    shape = cp_measure.measure_shape(labels, functions)
    centre = {f"Location_Center_{axis}": shape[f"AreaShape_Center_{axis}"] for axis in "XY"}
    return centre | shape if "AreaShape" in groups else centre


def _placed(part: Callable[[], Values], compartment: str, there: npt.NDArray[np.intp], count: int) -> Values:
    """Return a part's features with the compartment in their names; NaN for cells without it."""
    values = {}
    with np.errstate(all="ignore"):
        for name, measured in part().items():
            each = values[f"{compartment}_{name}"] = np.full(count, np.nan)
            each[there] = measured[: len(there)]
    return values


def _granularity(
    mosaic: CellMosaic, channel: str, plane: npt.NDArray[np.float64], compartments: Mapping[str, npt.NDArray[np.int32]]
) -> Values:
    spectra = granular_spectra(tuple(compartments.values()), plane, mosaic.boxes)
    return {
        f"{compartment}_{cp_measure.cellprofiler_name(f'Granularity_{step}', channel)}": values
        for compartment, spectrum in zip(compartments, spectra, strict=True)
        for step, values in enumerate(spectrum.T, start=1)
    }


CHUNK = 256  # cells measured together: few enough for memory and a moving progress bar, enough to outweigh the overhead of a call


def measure(
    planes: npt.NDArray[Any],
    channels: Sequence[str],
    labels: Labels,
    *,
    scale: Sequence[float] | float = 1.0,
    groups: Sequence[str] = GROUPS,
    compartments: Sequence[str] = COMPARTMENTS,
    costes: bool = False,
    texture_scales: Sequence[int] = (TEXTURE_SCALE,),
    workers: int = 1,
) -> pd.DataFrame:
    """Measure every cell of an image.

    Each cell is measured on its own pixels alone, so that a crop that shows all of it gives the same features.

    Parameters
    ----------
    planes
        The image, axes CYX.
    channels
        Channel names, as used in feature names.
    labels
        From `segment`, or given labels through `Labels.of`.
    scale
        Full scale of all channels or each: CellProfiler gives intensities as a share of it.
    groups
        Which of `cp_measure.GROUPS` to measure.
    compartments
        Which of `cp_measure.COMPARTMENTS` to measure.
    costes
        Whether to add Costes' colocalization, which is slow.
    texture_scales
        Pixel distances of the textures.
    workers
        Threads for up to `CHUNK` cells, processes for more; a script that asks for more than 1 and has that many cells needs
        ``if __name__ == "__main__":``, as for any multiprocessing.

    Returns
    -------
    pandas.DataFrame
        One row per cell in the order of their numbers: ``ObjectNumber``, then the features by CellProfiler's names with the
        compartment in front; NaN where something can't be measured (a cell without cytoplasm, a texture without contrast).

    Raises
    ------
    InputError
        If the names don't fit the channels, a group or compartment is unknown, or cp_measure is not installed.
    """
    options: dict[str, Any] = {"groups": groups, "compartments": compartments, "costes": costes, "texture_scales": texture_scales}
    steps = measuring(planes, channels, labels, scale=scale, workers=workers, **options)
    return run_to_end(steps)


def measuring(
    planes: npt.NDArray[Any],
    channels: Sequence[str],
    labels: Labels,
    *,
    scale: Sequence[float] | float = 1.0,
    groups: Sequence[str] = GROUPS,
    compartments: Sequence[str] = COMPARTMENTS,
    costes: bool = False,
    texture_scales: Sequence[int] = (TEXTURE_SCALE,),
    workers: int = 1,
) -> Generator[float, None, pd.DataFrame]:
    """Measure as `measure` does, and yield the completed share every few hundred cells."""
    numbers = np.unique(labels.cells)
    numbers = numbers[numbers > 0]
    cells = cut(planes, labels, _scales(planes, channels, scale))
    placed = [replace(cell, row=row) for row, cell in enumerate(cells)]
    frame = yield from _frame(placed, len(numbers), _work(channels, groups, compartments, costes, texture_scales), len(channels), workers)
    frame.insert(0, "ObjectNumber", numbers)
    return frame


def measure_images(
    images: Sequence[tuple[npt.NDArray[Any], Labels]],
    channels: Sequence[str],
    *,
    scale: Sequence[Sequence[float] | float],
    workers: int = 1,
) -> pd.DataFrame:
    """Measure every cell of several small images together, which takes a fraction of the time of `measure` for each.

    Parameters
    ----------
    images
        Planes (CYX) and labels of each.
    channels
        As of `measure`.
    scale
        Full scale of each image, of all channels or each.
    workers
        As of `measure`.

    Returns
    -------
    pandas.DataFrame
        One row per cell in the order of the images and of its numbers: ``ImageNumber`` (from 0), then the columns of `measure`.
    """
    cells: list[Cell] = []
    places, numbers = [], []
    for place, ((planes, labels), full) in enumerate(zip(images, scale, strict=True)):
        known = np.unique(labels.cells)
        numbers.append(known[known > 0])
        places.append(np.full(len(numbers[-1]), place))
        cells += cut(planes, labels, _scales(planes, channels, full))
    cells = [replace(cell, row=row) for row, cell in enumerate(cells)]
    frame = run_to_end(_frame(cells, len(cells), _work(channels, GROUPS, COMPARTMENTS, False), len(channels), workers))
    frame.insert(0, "ObjectNumber", np.concatenate(numbers))
    frame.insert(0, "ImageNumber", np.concatenate(places))
    return frame


def measure_crops(
    crops: npt.NDArray[Any],
    channels: Sequence[str],
    *,
    nuclei: str | None = None,
    pixel_size: float | None = None,
    scale: Sequence[float] | float = 1.0,
    thresholds: Sequence[Thresholds] | Thresholds | None = None,
    labels: Sequence[Labels] | None = None,
    keep_border: bool = True,
    groups: Sequence[str] = GROUPS,
    compartments: Sequence[str] = COMPARTMENTS,
    costes: bool = False,
    workers: int = 1,
) -> pd.DataFrame:
    """Measure the central cell of each crop.

    Parameters
    ----------
    crops
        Axes NCYX, in the units of the image they are compared with.
    channels
        Names of the channels.
    nuclei, pixel_size
        See `segment`.
    scale
        Full scale, for all channels or each.
    thresholds
        Segmentation thresholds for all crops or each; by default Otsu's of each crop.
    labels
        Result of `segment`, one per crop, if known.
    keep_border
        Whether to measure cells that touch the edge of the crop.
    groups, compartments, costes, workers
        See `measure`.

    Returns
    -------
    pandas.DataFrame
        One row per crop, features only, positions in the crop's pixels; NaN where no cell is in the center.

    Raises
    ------
    InputError
        If the names don't fit the channels, a channel is missing, or cp_measure is not installed.
    """
    crops = np.asarray(crops)
    if crops.ndim != 4:
        raise InputError(f"Crops have {crops.ndim} axes; four are needed (NCYX).")
    each = [thresholds] * len(crops) if thresholds is None or isinstance(thresholds, Thresholds) else list(thresholds)
    if len(each) != len(crops) or (labels is not None and len(labels) != len(crops)):
        raise InputError(f"{len(crops)} crops need as many thresholds or labels, one each.")
    scales = _scales(crops[0] if len(crops) else crops.reshape(len(channels), 0, 0), channels, scale)
    find = partial(
        segment, channels=tuple(channels), nuclei=nuclei, pixel_size=pixel_size, scale=tuple(scales), keep_border=keep_border, single=True
    )
    nuclei_channel(channels, nuclei)
    cells = []
    for row, (crop, limits) in enumerate(zip(crops, each, strict=True)):
        found = find(crop, thresholds=limits) if labels is None else only_central(labels[row])
        cells += [replace(cell, row=row) for cell in cut(crop, found, scales)]
    return run_to_end(_frame(cells, len(crops), _work(channels, groups, compartments, costes), len(channels), workers))


def _scales(planes: npt.NDArray[Any], channels: Sequence[str], scale: Sequence[float] | float) -> npt.NDArray[np.float64]:
    if planes.ndim != 3 or len(planes) != len(channels):
        raise InputError(f"{len(channels)} channel names ({', '.join(channels)}) for an image of shape {planes.shape}; axes are CYX.")
    if len(set(channels)) < len(channels):
        raise InputError(f"Two channels have the same name ({', '.join(channels)}); name them apart (--channels).")
    values = np.asarray(scale, float)
    if (values.ndim and len(values) != len(channels)) or not (np.isfinite(values) & (values > 0)).all():
        raise InputError(f"Scale {scale} does not fit {len(channels)} channels; give one number above 0, or one a channel.")
    return np.broadcast_to(values, (len(channels),)).copy()


def _work(
    channels: Sequence[str],
    groups: Sequence[str],
    compartments: Sequence[str],
    costes: bool,
    texture_scales: Sequence[int] = (TEXTURE_SCALE,),
) -> Callable[..., Values]:
    """Return `measure_cells` of these groups and compartments."""
    for kind, requested, known in (("group", groups, GROUPS), ("compartment", compartments, COMPARTMENTS)):
        if unknown := sorted(set(requested) - set(known)):
            raise InputError(f"There is no {kind} of features called {unknown[0]!r}; there are {', '.join(known)}.")
    chosen = tuple(name for name in COMPARTMENTS if name in compartments)
    if not texture_scales or min(texture_scales) < 1:
        raise InputError("Textures are measured at distances of 1 px or more; give such numbers.")
    options: dict[str, Any] = {"groups": tuple(groups), "compartments": chosen, "costes": costes}
    return partial(measure_cells, channels=tuple(channels), texture_scales=tuple(texture_scales), **options)


def _frame(
    cells: Sequence[Cell], rows: int, work: Callable[..., Values], channels: int, workers: int
) -> Generator[float, None, pd.DataFrame]:
    """Measure cells chunk by chunk; rows without a cell are NaN."""
    import pandas as pd

    cells = sorted(cells, key=lambda cell: cell.cell.size)  # alike sizes together lose no room in the mosaics
    chunks = [cells[i : i + CHUNK] for i in range(0, len(cells), CHUNK)]
    names = list(work([blank(channels)])) if not cells else []
    values = np.full((rows, len(names)), np.nan)
    for done, (chunk, found) in enumerate(zip(chunks, _each(work, chunks, workers), strict=True), start=1):
        if not names:
            names = list(found)
            values = np.full((rows, len(names)), np.nan)
        values[[cell.row for cell in chunk]] = np.stack([found[name] for name in names], axis=1)
        yield done / len(chunks)
    return pd.DataFrame(values, columns=names)


def _each(work: Callable[..., Values], chunks: Sequence[Sequence[Cell]], workers: int) -> Iterator[Values]:
    """Yield each chunk's features, measured here or in worker processes, which end when the caller stops.

    A single chunk is shared by threads: the compiled loops, most of the work, release the GIL, and threads start at once.
    """
    if workers < 2 or len(chunks) < 2:
        yield from map(partial(work, threads=workers) if workers > 1 else work, chunks)
        return
    with WorkerPool(min(workers, len(chunks)), retries=0, name="measurement worker") as pool:
        try:
            yield from pool.map(work, chunks)
        except WorkerDied:
            raise VirtualPaintError("A process that measured cells ended before it was done; measure with 1 worker.") from None
