"""Write what was counted: tables of objects, fields and wells, and label images beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtual_paint.counting.measurement import Column
from napari_virtual_paint.counting.settings import KINDS
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.atomic_write import replacing, write_text
from napari_virtual_paint.runtime.extras import check_installed, require
from napari_virtual_paint.runtime.text import csv_text

SUFFIXES = (".parquet", ".csv")
"""Suffixes of the tables."""

Rows = Sequence[Mapping[str, Any]]


def check_table(path: Path) -> None:
    """Check before anything is counted that a table can be written.

    Raises `InputError` if its suffix is not that of a table, or its folder does not exist.
    """
    if path.suffix.casefold() not in SUFFIXES:
        raise InputError(f"{path}: a table of objects is written as {' or '.join(SUFFIXES)}; choose one of these suffixes (-o).")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {str(path.parent)!r}; create it first.")
    if path.suffix.casefold() == ".parquet":
        check_installed("pyarrow", extra="plates", purpose=f"{path.name}")


def beside(table: Path, part: str) -> Path:
    """Return the path of a further table: ``TABLE.fields.csv`` beside ``TABLE.csv``."""
    return table.with_name(f"{table.stem}.{part}{table.suffix}")


def labels_beside(table: Path, *, several: bool) -> Path:
    """Return the path of the labels: ``TABLE.labels.ome.tif``, or the folder ``TABLE.labels`` for several images."""
    return table.with_name(f"{table.stem}.labels{'' if several else '.ome.tif'}")


def joined(tables: Sequence[Mapping[str, Column]]) -> dict[str, Column]:
    """Return several tables as one; a column that a table lacks is NaN there, or empty text.

    Parameters
    ----------
    tables
        Column -> values; at least one table.
    """
    names = dict.fromkeys(name for table in tables for name in table)
    kinds = {name: next(table[name].dtype for table in tables if name in table) for name in names}
    lengths = [len(table["label"]) for table in tables]
    return {
        name: np.concatenate([_column(table, name, kinds[name], n) for table, n in zip(tables, lengths, strict=True)]) for name in names
    }


def _column(table: Mapping[str, Column], name: str, kind: np.dtype[Any], length: int) -> Column:
    if name in table:
        return table[name]
    return np.full(length, "") if kind.kind in "UO" else np.full(length, np.nan)


def write_columns(path: Path, columns: Mapping[str, Column], *, overwrite: bool = True) -> None:
    """Write a table atomically, Parquet or CSV by its suffix.

    Parameters
    ----------
    columns
        Column -> values.

    Raises
    ------
    WriteError
        If it can't be written.
    """
    if path.suffix.casefold() == ".parquet":
        pa = require("pyarrow", extra="plates", purpose=f"{path.name}")
        parquet = require("pyarrow.parquet", extra="plates", purpose=f"{path.name}")
        with replacing(path, overwrite=overwrite) as target:
            parquet.write_table(pa.table({name: pa.array(_plain(values)) for name, values in columns.items()}), target)
        return
    values = {name: _plain(each) for name, each in columns.items()}
    rows = ({name: _cell(each[i]) for name, each in values.items()} for i in range(len(next(iter(columns.values()), ()))))
    write_csv(path, rows, list(columns))


def write_rows(path: Path, rows: Rows, columns: Sequence[str] | None = None) -> None:
    """Write rows as a table atomically, Parquet or CSV by its suffix; the columns are those of all rows unless they are given."""
    names = list(columns or dict.fromkeys(name for row in rows for name in row))
    if path.suffix.casefold() == ".csv":
        write_csv(path, [{name: _cell(row.get(name)) for name in names} for row in rows], names)
        return
    pa = require("pyarrow", extra="plates", purpose=f"{path.name}")
    parquet = require("pyarrow.parquet", extra="plates", purpose=f"{path.name}")
    with replacing(path, overwrite=True) as target:
        parquet.write_table(pa.table({name: pa.array([row.get(name) for row in rows]) for name in names}), target)


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV for people, atomically."""
    write_text(path, csv_text(rows, columns, for_people=True))


def by_well(fields: Rows) -> list[dict[str, Any]]:
    """Return a row per well and source: its fields, their sum of each kind of object, and mean and SD over them.

    Parameters
    ----------
    fields
        Rows with ``well``, ``source``, ``nuclei`` and ``cells``; those without a count, which failed, are left out.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in fields:
        if row.get(KINDS[0]) is not None:
            groups.setdefault((str(row.get("well", "")), str(row.get("source", ""))), []).append(row)
    out = []
    for (well, source), rows in groups.items():
        found: dict[str, Any] = {"well": well, "source": source, "fields": len(rows)}
        for kind in KINDS:
            counts = np.asarray([row[kind] for row in rows], np.float64)
            found |= {kind: int(counts.sum()), f"{kind}_mean": float(counts.mean())}
            found[f"{kind}_sd"] = float(counts.std(ddof=1)) if len(counts) > 1 else None
        out.append(found)
    return out


def _plain(values: Column) -> list[Any]:
    """Return values of Python; NaN, which is no number, becomes None."""
    return [None if isinstance(value, float) and value != value else value for value in values.tolist()]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else value
