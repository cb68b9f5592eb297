"""`CellTable`: a table of cells that stays on disk; rows and columns are read on request."""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cellprofiler_names import COMPARTMENTS, METADATA, channels_of, parse
from napari_virtual_paint.cells.tables.canonical_names import CanonicalNames
from napari_virtual_paint.cells.tables.discovery import find
from napari_virtual_paint.cells.tables.joined import FOLDER, JoinedTables, floats, matches, read_unit, stacked
from napari_virtual_paint.cells.tables.parquet import Rows
from napari_virtual_paint.errors import InputError, ReadError

if TYPE_CHECKING:
    import pandas as pd

Wanted: TypeAlias = Sequence[int] | npt.NDArray[Any]
_AT_ONCE = 5_000_000  # most values checked on opening; a larger table is sampled when `CellTable.check` is called
_BLOCKS, _BLOCK = 8, 512


@dataclass(frozen=True)
class Check:
    """Result of checking a table's features."""

    rows: int  # number of cells checked
    total: int
    constant: tuple[str, ...]  # features with a single value
    missing: Mapping[str, float] = field(default_factory=dict)
    """Features with missing or infinite values, and the share of cells concerned."""

    @property
    def notes(self) -> tuple[str, ...]:
        """The result in sentences."""
        where = "" if self.rows == self.total else f" in a sample of {self.rows:,} of {self.total:,} cells"
        sentences = []
        if self.constant:
            sentences.append(f"Features with the same value in every cell{where}: {len(self.constant)} ({_some(self.constant)}).")
        empty = [name for name, share in self.missing.items() if share == 1]
        if empty:
            sentences.append(f"Features without any value{where}: {len(empty)} ({_some(empty)}).")
        some = {name: share for name, share in self.missing.items() if share < 1}
        if some:
            most = max(some.values())
            sentences.append(
                f"Features without a value in some cells{where}, {max(round(100 * most), 1)} % at most: {len(some)} ({_some(list(some))})."
            )
        return tuple(sentences)


class CellTable:
    """Cells, one per row, on disk.

    Made by `open_table`. Any thread may read.

    Attributes
    ----------
    name
        Name of the file or folder.
    features
        Measurements of cells, by CellProfiler's names with the compartment in front.
    metadata
        All other columns: `Metadata_Well`, `Image_FileName_DNA`, `ImageNumber`, `ObjectNumber`, `Cytoplasm_Parent_Cells` ...
    notes
        Notes for the reader: tables left out, cells left out, constant features, missing values.
    """

    def __init__(self, name: str, units: Sequence[JoinedTables]) -> None:
        self.name = name
        self._units = tuple(units)
        self._ends = np.cumsum([unit.length for unit in units])
        columns = dict.fromkeys(column for unit in units for column in unit.columns)
        # A feature must be one wherever the column exists: a column that is text in one folder is text.
        text = {column for unit in units for column, where in unit.columns.items() if not where.feature}
        self.features = tuple(column for column in columns if column not in text)
        several = (FOLDER,) if len(units) > 1 else ()
        self.metadata = (*several, *(column for column in columns if column in text))
        self.notes = tuple(dict.fromkeys(note for unit in units for note in self._notes_of(unit)))
        if len(self) * len(self.features) <= _AT_ONCE:
            self.notes += self.check().notes
        else:
            self.notes += (
                f"{len(self):,} cells: constant features and missing values were not searched for; CellTable.check examines a sample.",
            )

    def _notes_of(self, unit: JoinedTables) -> list[str]:
        """Return the notes of one set of tables, with its name where there are several."""
        return [f"{unit.name}: {note}" if len(self._units) > 1 else note for note in unit.notes]

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __repr__(self) -> str:
        return f"<CellTable {self.name}: {len(self):,} cells, {len(self.features)} features>"

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """The channels that the features were measured in."""
        return channels_of(self.features)

    @cached_property
    def compartments(self) -> tuple[str, ...]:
        """The measured objects, nucleus first."""
        found = dict.fromkeys(parse(name).compartment for name in self.features)
        usual = [name for name in COMPARTMENTS if name in found]
        return (*usual, *(name for name in found if name and name not in usual))

    @cached_property
    def wells(self) -> int:
        """Number of wells, counted by plate where the table names plates; 0 where it names no wells."""
        from pyarrow import compute

        if not self.well_columns:
            return 0
        table = self._read(self.well_columns, None)
        there = compute.is_valid(table[next(name for name in self.well_columns if name != self._known.get("plate"))])
        return len(table.filter(there).group_by(table.column_names).aggregate([]))

    @cached_property
    def well_columns(self) -> tuple[str, ...]:
        """The columns that name plate and well (or its row and column), plate first; empty where there are none."""
        places = ("well",) if "well" in self._known else ("row", "column")
        if not all(place in self._known for place in places):
            return ()
        return tuple(self._known[name] for name in ("plate", *places) if name in self._known)

    @cached_property
    def _known(self) -> dict[str, str]:
        """What a column of metadata means -> its name."""
        from napari_virtual_paint.plates.layouts.table_columns import meaning

        known: dict[str, str] = {}
        for column in self.metadata:
            known.setdefault(meaning(column) or "", column)
        return known

    def describe(self) -> dict[str, Any]:
        """Return what the table holds: numbers of ``objects``, ``features`` and ``wells``, and the lists ``compartments`` and ``notes``."""
        return {
            "objects": len(self),
            "features": len(self.features),
            "compartments": list(self.compartments),
            "wells": self.wells,
            "notes": list(self.notes),
        }

    def values(self, features: Sequence[str] | None = None, rows: Wanted | None = None) -> npt.NDArray[np.float32]:
        """Read features.

        Parameters
        ----------
        features
            Names, in the wanted order; all where None.
        rows
            Row numbers in the wanted order, or a mask of all rows; all where None.

        Returns
        -------
        ndarray
            float32 (n, p); NaN where there is no finite number.

        Raises
        ------
        InputError
            If a column or row does not exist, or a column holds text.
        """
        names = self.features if features is None else tuple(features)
        if wrong := [name for name in names if name in self.metadata and not self._numeric(name)]:
            raise InputError(f"{self.name}: the column {wrong[0]!r} holds text, not numbers; choose one of the features.")
        chosen = self._chosen(rows)
        values = np.empty((len(self) if chosen is None else len(chosen), len(names)), np.float32)
        # Columns are read in batches, so that no second copy of all of them is in memory.
        step = max(1, _AT_ONCE * 4 // max(len(values), 1))
        for start in range(0, len(names), step):
            some = names[start : start + step]
            table = self._read(some, chosen)
            for offset, name in enumerate(some):
                with np.errstate(over="ignore"):
                    values[:, start + offset] = floats(table[name])
        values[~np.isfinite(values)] = np.nan
        return values

    def frame(self, columns: Sequence[str], rows: Wanted | None = None) -> pd.DataFrame:
        """Read columns unchanged.

        Parameters
        ----------
        columns
            Names of features or metadata.
        rows
            Row numbers in the wanted order, or a mask of all rows; all where None.

        Returns
        -------
        pandas.DataFrame
            One row per cell, numbered from 0. Integer metadata stay integers.

        Raises
        ------
        InputError
            If a column or row does not exist.
        """
        import pandas as pd

        names = tuple(dict.fromkeys(columns))
        chosen = self._chosen(rows)
        if not names:
            return pd.DataFrame(index=range(len(self) if chosen is None else len(chosen)))
        frame = self._read(names, chosen).to_pandas()
        for name in names:
            column = frame[name]
            if name not in self.features and column.dtype.kind == "f" and len(column) and (column % 1 == 0).all():
                frame[name] = column.astype(np.int64)
        return frame

    def renamed(self, names: CanonicalNames) -> CellTable:
        """Return the table with its features named as a model names them, where it calls them otherwise."""
        columns = names.renamed(self.features)
        if not columns:
            return self
        units = [replace(unit, columns={columns.get(name, name): where for name, where in unit.columns.items()}) for unit in self._units]
        other = copy.copy(self)
        for cached in ("channels", "compartments"):
            other.__dict__.pop(cached, None)
        other._units = tuple(units)
        other.features = tuple(columns.get(name, name) for name in self.features)
        return other

    def where(self, **metadata: Any) -> npt.NDArray[np.int64]:
        """Find cells by their metadata: ``where(Well="A01", Metadata_Site=[1, 2])``.

        Parameters
        ----------
        **metadata
            A column (``Metadata_`` may be omitted) and its value, or several alternatives. None is a missing value.

        Returns
        -------
        ndarray
            int64, rows in order.

        Raises
        ------
        InputError
            If there is no such column.
        """
        mask = np.ones(len(self), bool)
        for name, value in metadata.items():
            known = {*self.metadata, *self.features}
            column = name if name in known or f"{METADATA}_{name}" not in known else f"{METADATA}_{name}"
            mask &= matches(self._read((column,), None)[column], value)
        return np.flatnonzero(mask)

    def check(self, rows: Wanted | None = None) -> Check:
        """Check features for constant and missing values.

        Parameters
        ----------
        rows
            Rows to check. By default all cells of a small table, and eight runs of 512 cells spread over a large one.
        """
        selection: Wanted | None = rows
        if rows is None and len(self) * len(self.features) > _AT_ONCE and len(self) > _BLOCKS * _BLOCK:
            starts = np.linspace(0, len(self) - _BLOCK, _BLOCKS).astype(np.int64)
            selection = (starts[:, None] + np.arange(_BLOCK)).reshape(-1)
        values = self.values(None, selection)
        if not values.size:
            return Check(len(values), len(self), ())
        lacking = np.isnan(values).mean(axis=0)
        low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
        constant = (low == high) & (len(values) > 1)
        missing = {name: float(share) for name, share in zip(self.features, lacking, strict=True) if share}
        return Check(len(values), len(self), tuple(name for name, same in zip(self.features, constant, strict=True) if same), missing)

    def _numeric(self, name: str) -> bool:
        return all(unit.columns[name].numeric for unit in self._units if name in unit.columns) and name != FOLDER

    def _chosen(self, rows: Wanted | None) -> Rows | None:
        """Return validated row numbers."""
        if rows is None:
            return None
        chosen = np.asarray(rows)
        if chosen.dtype == bool:
            if len(chosen) != len(self):
                raise InputError(f"{self.name}: the mask has {len(chosen)} values, the table {len(self)} cells; give one a cell.")
            return np.flatnonzero(chosen).astype(np.int64)
        chosen = chosen.astype(np.int64).reshape(-1)
        if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(self)):
            wrong = int(chosen[(chosen < 0) | (chosen >= len(self))][0])
            raise InputError(f"{self.name}: there is no row {wrong}; rows are numbered from 0 to {len(self) - 1}.")
        return chosen

    def _read(self, columns: Sequence[str], rows: Rows | None) -> Any:
        """Return a `pyarrow.Table` of these columns and rows, in the requested order."""
        import pyarrow as pa

        known = {*self.features, *self.metadata}
        for column in columns:
            if column not in known:
                near = difflib.get_close_matches(column, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else "; see CellTable.features and CellTable.metadata."
                raise InputError(f"{self.name}: there is no column {column!r}{hint}")
        if len(self._units) == 1:
            return read_unit(self._units[0], columns, rows)
        if rows is None:
            parts = [read_unit(unit, columns, None) for unit in self._units]
            return stacked(parts)
        owner = np.searchsorted(self._ends, rows, side="right")
        order = np.argsort(owner, kind="stable")
        starts = self._ends - [unit.length for unit in self._units]
        parts = [read_unit(self._units[i], columns, rows[owner == i] - starts[i]) for i in np.unique(owner)]
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return stacked(parts).take(pa.array(back)) if parts else read_unit(self._units[0], columns, rows)


def open_table(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> CellTable:
    """Open CellProfiler's measurements of cells.

    Parameters
    ----------
    path
        A folder of CSV or Parquet tables, one per compartment, with the image table (or a folder of such folders); an SQLite
        database; a Parquet or CSV table of joined cells; or several such files.

    Returns
    -------
    CellTable
        Compartments joined by image and parent numbers. CSV is converted to temporary Parquet on opening, since it can't be
        read by row; of other formats only the key columns are read.

    Raises
    ------
    ReadError
        If there is no table of cells, or it is damaged.
    InputError
        If duckdb or pyarrow is missing.
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths:
        raise InputError("No table was given; name a file or folder.")
    real = [Path(item).expanduser().absolute() for item in paths]
    try:
        return CellTable(real[0].name, find(real))
    except OSError as error:
        raise ReadError(error.filename or real[0], f"it can't be read ({error.strerror or error}); check that you may read it") from error


def _some(names: Sequence[str]) -> str:
    """Return the first few names."""
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
