"""Plate maps: tables of the wells' contents, joined to a plate by well name."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.doses import read_doses
from napari_virtual_paint.plates.layouts.table_columns import Table, columns_of, conflicts_of, meaning, metadata_of, read_table, wells_of
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.well_roles import is_role
from napari_virtual_paint.reading.lazy import as_read_errors

_SHOWN = 6  # names in a note
_OF_IMAGES = ("field", "channel", "z", "t", "acquisition", "folder", "path")  # columns that may have several values in a well


def read_plate_map(path: str | os.PathLike[str], plate: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the wells' metadata in a table (see `load_plate_map`)."""
    return load_plate_map(path, plate)[0]


def load_plate_map(path: str | os.PathLike[str], plate: str | None = None) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Return the wells' metadata in a table, and notes on how it was read.

    Parameters
    ----------
    path
        A CSV, TSV or Parquet file with a row for each well. The wells are in a column called ``well``, ``Metadata_Well``,
        ``well_position`` ..., or in two columns of row and column.
    plate
        Name of the plate whose rows are read if the table has several plates (a column ``plate``, ``barcode`` ...).

    Returns
    -------
    dict
        Well (as ``A01``) -> column -> value, sorted by well. A column is int or float if all its values are numbers, else text; doses with
        a unit become numbers in one unit; empty cells are left out. ``Metadata_`` is removed from the names of columns.
    tuple of str
        Notes: how doses were read, which columns were left out since they have several values in a well.

    Raises
    ------
    ReadError
        If it is missing, damaged, has no column of wells, has several plates of which none has that name, or its rows of a well contradict
        each other in treatment, dose or control.
    """
    file = Path(path).expanduser()
    with as_read_errors(file):
        table = _rows_of_plate(read_table(file), plate)
        known = columns_of(table)
        names = wells_of(table, known)
        places = {known[key] for key in ("well", "row", "column") if key in known}
        conflicts = conflicts_of(table, names, {*places, *(name for name in table.header if meaning(name) in _OF_IMAGES)})
        _refuse_contradictions(table, conflicts)
        metadata = metadata_of(table, names, places)
    if not metadata:
        raise ReadError(file, "apart from the wells it has no column with one value per well; add treatment, dose or control")
    notes = [
        f"{file.name}: {name} has several values in a well ({_contradiction(wells_)}), so it is left out."
        for name, wells_ in conflicts.items()
    ]
    metadata, more = with_doses(metadata)
    found = {well: metadata.get(well, {}) for well in sorted(set(names), key=wells.position)}
    return found, (*notes, *(f"{file.name}: {note}" for note in more))


def with_doses(
    metadata: Mapping[str, Mapping[str, Any]], columns: Collection[str] | None = None
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Return metadata of wells with doses as numbers, where they are text, and notes on them.

    Parameters
    ----------
    columns
        The columns of doses; by default those with a usual name.
    """
    found = {well: dict(row) for well, row in metadata.items()}
    every = dict.fromkeys(name for row in found.values() for name in row)
    notes = []
    for name in [name for name in every if (is_role(name, "dose") if columns is None else name in columns)]:
        values = {well: row[name] for well, row in found.items() if name in row}
        if all(isinstance(value, Real) for value in values.values()):
            continue
        doses, note = read_doses(values, name)
        notes += [note] if note else []
        for well, dose in (doses or {}).items():
            found[well][name] = dose
    return found, tuple(notes)


def with_map(plate: Plate, path: str | os.PathLike[str]) -> Plate:
    """Return a plate with the wells' metadata of a table added (see `load_plate_map`); a value of the table replaces one of the plate.

    What is replaced, and wells that only the plate or only the table has, are listed in the plate's notes.

    Raises `ReadError` if the table can't be read, or has no well of the plate.
    """
    table, notes = load_plate_map(path, plate.name)
    if not table.keys() & set(plate.wells):
        raise ReadError(
            path, f"none of its {len(table)} wells ({_first(table)}) is one of the plate's {len(plate.wells)} ({_first(plate.wells)})"
        )
    metadata = {well: {**plate.metadata.get(well, {}), **table.get(well, {})} for well in dict.fromkeys((*plate.metadata, *table))}
    name = Path(path).name
    replaced = tuple(replaced_notes(plate.metadata, table, name))
    return replace(plate, metadata=metadata, notes=(*plate.notes, *notes, *replaced, *_notes(plate, table, name)))


def replaced_notes(before: Mapping[str, Mapping[str, Any]], table: Mapping[str, Mapping[str, Any]], name: str) -> list[str]:
    """Return a note for each column in which a plate map replaces other values of the plate."""
    changed: dict[str, list[str]] = {}
    for well, row in table.items():
        for column, value in row.items():
            if column in before.get(well, {}) and before[well][column] != value:
                changed.setdefault(column, []).append(well)
    return [f"{name} replaces the plate's own {column} in {len(wells_)} wells ({_first(wells_)})." for column, wells_ in changed.items()]


def _refuse_contradictions(table: Table, conflicts: Mapping[str, Mapping[str, tuple[str, ...]]]) -> None:
    """Raise a `ReadError` if rows of a well contradict each other in what the well got."""
    for name, by_well in conflicts.items():
        if any(is_role(name, role) for role in ("treatment", "dose", "control")):
            raise ReadError(
                table.path,
                f"its rows contradict each other: {name} has several values in {len(by_well)} wells ({_contradiction(by_well)}); "
                "correct it, or give the map of this plate alone",
            )


def _contradiction(by_well: Mapping[str, tuple[str, ...]]) -> str:
    """Return the first few wells with their values."""
    shown = [f"{well}: {' and '.join(map(repr, values[:2]))}" for well, values in list(by_well.items())[:3]]
    return "; ".join(shown) + ("; ..." if len(by_well) > len(shown) else "")


def _rows_of_plate(table: Table, plate: str | None) -> Table:
    """Return the rows of one plate, if a table has several."""
    column = table.column(columns_of(table).get("plate"))
    names = dict.fromkeys(column)
    if len(names) < 2:
        return table
    same = {name for name in names if plate is not None and name.strip().casefold() == plate.strip().casefold()}
    if not same:
        requested = "" if plate is None else f", none called {plate!r}"
        raise ReadError(table.path, f"it has {len(names)} plates ({_first(names)}){requested}; give a table of only this plate")
    return table.select([i for i, name in enumerate(column) if name in same])


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
