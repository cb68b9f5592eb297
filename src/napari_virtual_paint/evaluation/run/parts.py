"""Parts of the fields' tables: Arrow files with the rows of several fields, read by columns, joined in the order of the fields.

A plate has thousands of fields with few rows of two thousand features, whose files would take longer to open than to compute. The features
of a part are one matrix: as columns, each of a few numbers, they would take several times their own memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.runtime.atomic_write import updating

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FIELDS_AT_ONCE = 256  # fields whose rows are read together where a table is copied

MATRIX = "__float32__"  # column of an Arrow file whose rows are those of the matrix of its float32 columns
ORDER = b"columns"  # key of its metadata with the names of all columns, in order

_MAPPED = os.name != "nt"  # elsewhere a mapped file can't be replaced


@dataclass(frozen=True)
class Rows:
    """Rows of one field in a part."""

    file: str
    start: int
    stop: int


class FieldTables(Mapping[str, "pd.DataFrame"]):
    """All fields' tables in the order of the fields. Each is read on access, or only some columns or rows of it."""

    def __init__(self, folder: Path, rows: Mapping[str, Sequence[Rows]]) -> None:
        self._folder, self._rows = folder, rows

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.columns(name)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def columns(self, name: str, columns: Sequence[str] | None = None, where: Mapping[str, str] | None = None) -> pd.DataFrame:
        """Return a table, or some of its columns, and the rows with some values.

        Parameters
        ----------
        where
            Column -> its value in the rows to return.

        Raises `KeyError` if no field has such a table.
        """
        return _joined(self._folder, self._rows[name], columns, where)

    def stream(self, name: str) -> TableStream:
        """Return a table that is copied in pieces of some hundred fields.

        Raises `KeyError` if no field has such a table.
        """
        return TableStream(self._folder, self._rows[name])


class TableStream:
    """A table that is too large to be held as a whole, for `Findings.tables`: it is copied from file to file.

    Parameters
    ----------
    folder, rows
        Folder of the parts, and the rows of each field in them.
    """

    def __init__(self, folder: Path, rows: Sequence[Rows]) -> None:
        self._folder, self._rows = folder, rows

    def save(self, path: Path) -> None:
        """Write the table as Parquet."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        filled = dict.fromkeys(each.file for each in self._rows if each.stop > each.start) or [self._rows[0].file]
        schema = pa.unify_schemas([_Part.open(self._folder / file).schema for file in filled], promote_options="permissive")
        with pq.ParquetWriter(str(path), schema) as writer:
            for start in range(0, len(self._rows), FIELDS_AT_ONCE):
                piece = _joined(self._folder, self._rows[start : start + FIELDS_AT_ONCE]).reindex(columns=schema.names)
                writer.write_table(pa.Table.from_pandas(storable(piece), preserve_index=False).cast(schema))


def write_part(path: Path, frame: pd.DataFrame) -> int:
    """Write rows as an Arrow file and return its size in bytes."""
    import pyarrow as pa
    from pyarrow import feather

    frame = storable(frame)
    wide = (frame.dtypes == np.float32).to_numpy(bool)
    table = pa.Table.from_pandas(frame.loc[:, ~wide], preserve_index=False)
    if wide.any():
        matrix = np.ascontiguousarray(frame.loc[:, wide].to_numpy(np.float32))
        rows = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
        table = table.append_column(pa.field(MATRIX, rows.type), rows)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), ORDER: json.dumps(list(frame.columns))})
    with updating(path) as partial:
        feather.write_feather(table, str(partial), compression="uncompressed")
        return partial.stat().st_size


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table that Arrow and Parquet can hold: column names are text, and so are columns of mixed values."""
    import pandas as pd

    out = frame.reset_index(drop=True)
    out.columns = [str(name) for name in out.columns]
    objects = [name for name, kind in zip(out.columns, out.dtypes, strict=True) if isinstance(kind, np.dtype) and kind.kind == "O"]
    mixed = {
        name: out[name].map(lambda value: value if value is None or isinstance(value, str) else str(value))
        for name in objects
        if pd.api.types.infer_dtype(out[name], skipna=True).startswith("mixed")
    }
    return out.assign(**mixed) if mixed else out


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a table."""

    path: Path
    narrow: pa.Table  # all columns but those of the matrix
    columns: tuple[str, ...]  # names of all columns, in order

    @classmethod
    def open(cls, path: Path) -> _Part:
        table = _read(path)
        narrow = table.drop_columns([name for name in table.schema.names if name == MATRIX])
        return cls(path, narrow, tuple(json.loads(table.schema.metadata[ORDER])))

    def matrix(self) -> npt.NDArray[np.float32]:
        """Return the matrix, axes row, column. It is mapped anew, so that what was read of it is not held with the part."""
        chunks = [chunk.flatten().to_numpy() for chunk in _read(self.path)[MATRIX].chunks]
        values = chunks[0] if len(chunks) == 1 else np.concatenate([*chunks, np.zeros(0, np.float32)])
        return values.reshape(-1, len(self.wide))

    @cached_property
    def wide(self) -> dict[str, int]:
        """Name -> column of the matrix."""
        known = set(self.narrow.schema.names)
        return {name: place for place, name in enumerate(name for name in self.columns if name not in known)}

    @property
    def schema(self) -> pa.Schema:
        """The columns as they are in Parquet."""
        import pyarrow as pa

        known = {field.name: field for field in self.narrow.schema}
        return pa.schema([known.get(name, pa.field(name, pa.float32())) for name in self.columns], self.narrow.schema.metadata)

    def rows_where(self, where: Mapping[str, str]) -> npt.NDArray[np.bool_]:
        """Return which rows have the values of some columns."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kept = np.ones(len(self.narrow), bool)
        for name, value in where.items():
            if name in self.narrow.schema.names and self.narrow[name].type != pa.null():
                kept &= np.asarray(pc.fill_null(pc.equal(self.narrow[name], value), False))
            else:
                kept[:] = False
        return kept


def _read(path: Path) -> pa.Table:
    from pyarrow import feather

    return feather.read_table(str(path), memory_map=_MAPPED)


def _joined(
    folder: Path, rows: Sequence[Rows], columns: Sequence[str] | None = None, where: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read the rows of some fields, in their order."""
    import pandas as pd
    import pyarrow as pa

    by_file: dict[str, list[int]] = {}
    for place, each in enumerate(rows):
        by_file.setdefault(each.file, []).append(place)
    parts = list[_Part]()
    chosen, places = list[npt.NDArray[np.intp]](), list[npt.NDArray[np.intp]]()
    for file, of_file in by_file.items():
        part = _Part.open(folder / file)
        inside = np.concatenate([np.arange(rows[place].start, rows[place].stop) for place in of_file])
        field = np.repeat(of_file, [rows[place].stop - rows[place].start for place in of_file])
        kept = part.rows_where(where)[inside] if where else np.ones(len(inside), bool)
        if kept.any() or not parts:
            parts.append(part)
            chosen.append(inside[kept])
            places.append(field[kept])
    if len(parts) > 1 and not len(chosen[0]):  # the first is kept for its columns where no other has a row
        del parts[0], chosen[0], places[0]
    names = list(dict.fromkeys(name for part in dict.fromkeys(parts) for name in part.columns)) if columns is None else list(columns)
    order = np.concatenate(places)
    sorting = np.argsort(order, kind="stable") if (np.diff(order) < 0).any() else None
    wide = [name for name in names if any(name in part.wide for part in parts)]
    matrix = _matrix(parts, chosen, wide)
    matrix = matrix if sorting is None else matrix[sorting]
    some = []
    for part, kept in zip(parts, chosen, strict=True):
        own = set(part.narrow.schema.names)
        some.append(part.narrow.select([name for name in names if name in own]).take(kept))
    narrow = pa.concat_tables(some, promote_options="permissive")
    if not narrow.num_columns:
        return pd.DataFrame(matrix, columns=wide)
    frame: pd.DataFrame = (narrow if sorting is None else narrow.take(sorting)).to_pandas()
    if not wide:
        return frame[[name for name in names if name in frame.columns]]
    both = pd.DataFrame(matrix, columns=wide, copy=False)
    known = {*wide, *frame.columns}
    for place, name in enumerate(name for name in names if name in known):
        if name in frame.columns:
            both.insert(place, name, frame[name])
    return both


def _matrix(parts: Sequence[_Part], rows: Sequence[npt.NDArray[np.intp]], columns: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return rows and columns of the parts' matrices; NaN where a part lacks a column."""
    out = np.full((sum(map(len, rows)), len(columns)), np.nan, np.float32)
    start = 0
    for part, chosen in zip(parts, rows, strict=True):
        block = out[start : start + len(chosen)]
        start += len(chosen)
        if not len(columns) or not part.wide or not len(chosen):
            continue
        matrix = part.matrix()
        if list(part.wide) == list(columns):
            block[:] = matrix[chosen]
        else:
            there = np.array([place for place, name in enumerate(columns) if name in part.wide], np.intp)
            block[:, there] = matrix[np.ix_(chosen, np.array([part.wide[columns[place]] for place in there], np.intp))]
    return out
