"""Features of cells laid out side by side: compartment by compartment and group by group, in threads where several are asked for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage import segmentation

from napari_virtual_paint.cells.measurement import cp_measure
from napari_virtual_paint.cells.measurement.cp_measure import COMPARTMENTS, GROUPS, Values
from napari_virtual_paint.cells.measurement.distributions import granular_spectra
from napari_virtual_paint.cells.measurement.mosaic import Cell, Mosaic, lay_out

_PLACE = re.compile(r"(?:Location_\w+?|AreaShape_(?:Center|BoundingBox(?:Min|Max)imum))_([XY])(?:_|$)")


def measure_cells(
    cells: Sequence[Cell],
    channels: Sequence[str],
    groups: Sequence[str] = GROUPS,
    compartments: Sequence[str] = COMPARTMENTS,
    costes: bool = False,
    threads: int = 1,
) -> Values:
    """Measure cells that were cut out; for each feature the values in the order of the cells."""
    mosaic = lay_out(cells)
    all_labels = {"Nuclei": mosaic.nuclei, "Cells": mosaic.whole, "Cytoplasm": mosaic.cytoplasm}
    chosen = {name: all_labels[name] for name in compartments}
    parts: list[Callable[[], Values]] = []
    for compartment, labels in chosen.items():
        parts += _compartment(mosaic, compartment, labels, channels, groups, costes)
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
    """Return the features of all parts in their order."""
    if threads < 2:
        return [part() for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda part: part(), parts))


def _compartment(
    mosaic: Mosaic, name: str, labels: npt.NDArray[np.int32], channels: Sequence[str], groups: Sequence[str], costes: bool
) -> list[Callable[[], Values]]:
    """Return what measures one compartment, in parts that do not hang on each other."""
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
        parts.append(partial(cp_measure.measure_channel, dense, plane, channel, functions, groups))
    if "Correlation" in groups:
        parts.append(lambda: dict(cp_measure.measure_pairs(dense, mosaic.planes, channels, costes)))
    return [partial(_placed, part, name, there, len(mosaic.cells)) for part in parts]


def _shape(labels: npt.NDArray[np.int32], functions: Any, groups: Sequence[str]) -> Values:
    shape = cp_measure.measure_shape(labels, functions)
    centre = {f"Location_Center_{axis}": shape[f"AreaShape_Center_{axis}"] for axis in "XY"}
    return centre | shape if "AreaShape" in groups else centre


def _placed(part: Callable[[], Values], compartment: str, there: npt.NDArray[np.intp], count: int) -> Values:
    """Return a part's features with the compartment in their names; NaN for cells that don't have it."""
    values = {}
    with np.errstate(all="ignore"):
        for name, measured in part().items():
            each = values[f"{compartment}_{name}"] = np.full(count, np.nan)
            each[there] = measured[: len(there)]
    return values


def _granularity(mosaic: Mosaic, channel: str, plane: npt.NDArray[np.float64], compartments: Mapping[str, npt.NDArray[np.int32]]) -> Values:
    spectra = granular_spectra(tuple(compartments.values()), plane, mosaic.boxes)
    return {
        f"{compartment}_{cp_measure.cellprofiler_name(f'Granularity_{step}', channel)}": values
        for compartment, spectrum in zip(compartments, spectra, strict=True)
        for step, values in enumerate(spectrum.T, start=1)
    }
