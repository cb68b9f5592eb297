"""Plate maps: tables of what is in the wells, joined to a plate by the wells' names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.layouts.table_columns import Table, columns_of, metadata_of, read_table, wells_of
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.lazy import as_read_errors

_SHOWN = 6


def read_plate_map(path: str | os.PathLike[str], plate: str | None = None) -> dict[str, dict[str, Any]]:
    """Return what a table tells of the wells.

    Parameters
    ----------
    path
        A CSV, TSV or Parquet file with a row a well. The wells stand in a column called ``well``, ``Metadata_Well``, ``well_position`` ...,
        or in two of rows and columns. Several rows of one well must agree; a column in which they do not is left out.
    plate
        Name of the plate, whose rows are taken where the table is of several plates (a column ``plate``, ``barcode`` ...).

    Returns
    -------
    dict
        Well (as ``A01``) -> column -> value, sorted by well; a column is int or float where all its values are numbers, else text, and a
        well's empty cells are left out. ``Metadata_`` is taken off the columns' names.

    Raises
    ------
    ReadError
        If it is missing, damaged, has no column of wells, or is of several plates of which none has that name.
    """
    file = Path(path).expanduser()
    with as_read_errors(file):
        table = _of_plate(read_table(file), plate)
        known = columns_of(table)
        own = wells_of(table, known)
        used = {known[key] for key in ("well", "row", "column") if key in known}
        rows = metadata_of(table, own, used)
    if not rows:
        raise ReadError(file, "it has no column besides that of the wells with one value a well; add treatment, dose or control")
    return {well: rows.get(well, {}) for well in sorted(set(own), key=wells.position)}


def with_map(plate: Plate, path: str | os.PathLike[str]) -> Plate:
    """Return a plate with what a table tells of its wells (see `read_plate_map`); of two values of a column the table's holds.

    Wells that the plate has and the table has not, or the other way round, are told in the plate's notes.

    Raises
    ------
    ReadError
        If the table can't be read, or is of no well of the plate.
    """
    told = read_plate_map(path, plate.name)
    there = set(plate.wells)
    if not there & told.keys():
        raise ReadError(path, f"none of its {len(told)} wells ({_some(told)}) is one of the plate's {len(there)} ({_some(plate.wells)})")
    metadata = {well: {**plate.metadata.get(well, {}), **told.get(well, {})} for well in dict.fromkeys((*plate.metadata, *told))}
    return replace(plate, metadata=metadata, notes=(*plate.notes, *_notes(plate, told, Path(path).name)))


def _of_plate(table: Table, plate: str | None) -> Table:
    """Return the rows of one plate, where a table is of several."""
    column = table.column(columns_of(table).get("plate"))
    names = dict.fromkeys(column)
    if len(names) < 2:
        return table
    if plate not in names:
        asked = "" if plate is None else f", none called {plate!r}"
        raise ReadError(table.path, f"it is of {len(names)} plates ({_some(names)}){asked}; give a table of this plate alone")
    kept = [i for i, name in enumerate(column) if name == plate]
    return Table(table.path, table.header, tuple([values[i] for i in kept] for values in table.columns))


def _notes(plate: Plate, told: Mapping[str, Any], name: str) -> list[str]:
    """Return what is to be said of wells that are in one and not in the other."""
    unknown = [well for well in plate.wells if well not in told]
    absent = [well for well in told if well not in plate.by_well]
    notes = []
    if unknown:
        notes.append(f"{len(unknown)} of the plate's {len(plate.wells)} wells are not in {name} ({_some(unknown)}).")
    if absent:
        notes.append(f"{len(absent)} of the {len(told)} wells in {name} have no image ({_some(absent)}).")
    return notes


def _some(names: Iterable[str]) -> str:
    """Return the first of some names."""
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
