"""Tables that hold several compartments in each row, where CellProfiler pads the objects that are not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cellprofiler_names import is_feature, parse
from napari_virtual_paint.cells.tables.joins import PART_OF_ALL, as_numbers
from napari_virtual_paint.cells.tables.parquet import Rows, TableSource


@dataclass(frozen=True)
class Padding:
    """Which rows of a table are cells, and which compartments they lack."""

    cells: Rows | None  # rows that are cells; None for all
    gaps: Mapping[str, Rows]  # compartment that some cells lack -> its row for each row of the table, -1 where there is none
    note: str


NO_PADDING = Padding(None, {}, "")


def padding_of(source: TableSource) -> Padding:
    """Find the objects that are not there: their number is 0 or missing, or without numbers their area is 0.

    As for tables of one compartment each, a row is a cell where it has all compartments that most rows have; the others have gaps.
    """
    absent = _absent(source)
    if not absent:
        return NO_PADDING
    needed = [name for name in _compartments(source) if name not in absent or absent[name].mean() <= 1 - PART_OF_ALL]
    complete = ~np.logical_or.reduce([absent[name] for name in needed if name in absent] or [np.logical_and.reduce(list(absent.values()))])
    lost, kept = int((~complete).sum()), np.flatnonzero(complete).astype(np.int64)
    rows = np.arange(len(source))
    gaps = {name: np.where(gone, -1, rows).astype(np.int64) for name, gone in absent.items() if (gone & complete).any()}
    if not lost:
        return Padding(None, gaps, "")
    names = " or ".join(name for name in needed if name in absent) or "any object"
    return Padding(kept, gaps, f"Rows without {names} are left out: {lost} of {len(source)}.")


def _absent(source: TableSource) -> dict[str, npt.NDArray[np.bool_]]:
    """Return compartment -> the rows without it, where there are any."""
    compartments = _compartments(source)
    if len(compartments) < 2 or not len(source):
        return {}
    absent = {}
    for name in compartments:
        number = next((each for each in _numbers_of(name) if source.columns.get(each)), None)
        area = f"{name}_AreaShape_Area"
        column = number or (area if source.columns.get(area) else None)
        if column is None or not source.may_lack(column):
            continue
        values = source.read([column])[column]
        gone = as_numbers(values) <= 0 if number else np.asarray(values.to_numpy() == 0, bool)
        if gone.any() and not gone.all():
            absent[name] = gone
    return absent


def _compartments(source: TableSource) -> list[str]:
    """Return the compartments of a table's features."""
    found = dict.fromkeys(parse(column).compartment for column, numeric in source.columns.items() if numeric and is_feature(column))
    return [name for name in found if name]


def _numbers_of(compartment: str) -> tuple[str, ...]:
    return tuple(f"{before}{compartment}_{name}" for before in ("", "Metadata_") for name in ("Number_Object_Number", "ObjectNumber"))
