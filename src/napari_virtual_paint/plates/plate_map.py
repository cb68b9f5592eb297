"""Plate maps: tables of the wells' contents, joined to a plate by well name."""

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

_SHOWN = 6  # names in a note


def read_plate_map(path: str | os.PathLike[str], plate: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the wells' metadata in a table.

    Parameters
    ----------
    path
        A CSV, TSV or Parquet file with a row for each well. The wells are in a column called ``well``, ``Metadata_Well``,
        ``well_position`` ..., or in two columns of row and column. A column with several values for one well is left out.
    plate
        Name of the plate whose rows are read if the table has several plates (a column ``plate``, ``barcode`` ...).

    Returns
    -------
    dict
        Well (as ``A01``) -> column -> value, sorted by well. A column is int or float if all its values are numbers, else text; empty cells
        are left out. ``Metadata_`` is removed from the names of columns.

    Raises
    ------
    ReadError
        If it is missing, damaged, has no column of wells, or has several plates of which none has that name.
    """
    file = Path(path).expanduser()
    with as_read_errors(file):
        table = _rows_of_plate(read_table(file), plate)
        known = columns_of(table)
        names = wells_of(table, known)
        metadata = metadata_of(table, names, {known[key] for key in ("well", "row", "column") if key in known})
    if not metadata:
        raise ReadError(file, "apart from the wells it has no column with one value per well; add treatment, dose or control")
    return {well: metadata.get(well, {}) for well in sorted(set(names), key=wells.position)}


def with_map(plate: Plate, path: str | os.PathLike[str]) -> Plate:
    """Return a plate with the wells' metadata of a table added (see `read_plate_map`); a value of the table replaces one of the plate.

    Wells that only the plate or only the table has are listed in the plate's notes.

    Raises `ReadError` if the table can't be read, or has no well of the plate.
    """
    table = read_plate_map(path, plate.name)
    if not table.keys() & set(plate.wells):
        raise ReadError(
            path, f"none of its {len(table)} wells ({_first(table)}) is one of the plate's {len(plate.wells)} ({_first(plate.wells)})"
        )
    metadata = {well: {**plate.metadata.get(well, {}), **table.get(well, {})} for well in dict.fromkeys((*plate.metadata, *table))}
    return replace(plate, metadata=metadata, notes=(*plate.notes, *_notes(plate, table, Path(path).name)))


def _rows_of_plate(table: Table, plate: str | None) -> Table:
    """Return the rows of one plate, if a table has several."""
    column = table.column(columns_of(table).get("plate"))
    names = dict.fromkeys(column)
    if len(names) < 2:
        return table
    if plate not in names:
        requested = "" if plate is None else f", none called {plate!r}"
        raise ReadError(table.path, f"it has {len(names)} plates ({_first(names)}){requested}; give a table of only this plate")
    kept = [i for i, name in enumerate(column) if name == plate]
    lines = [table.lines[i] for i in kept] if table.lines else ()
    return Table(table.path, table.header, tuple([values[i] for i in kept] for values in table.columns), lines)


def _notes(plate: Plate, table: Mapping[str, Any], name: str) -> list[str]:
    """Return notes on wells that only the plate or only the table has."""
    unknown = [well for well in plate.wells if well not in table]
    without_image = [well for well in table if well not in plate.by_well]
    notes = []
    if unknown:
        notes.append(f"{len(unknown)} of the plate's {len(plate.wells)} wells are not in {name} ({_first(unknown)}).")
    if without_image:
        notes.append(f"{len(without_image)} of the {len(table)} wells in {name} have no image ({_first(without_image)}).")
    return notes


def _first(names: Iterable[str]) -> str:
    """Return the first few names, joined by commas."""
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
