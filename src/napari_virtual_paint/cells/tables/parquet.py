"""Lazy rows and columns of one table on disk: the base of all formats, and Parquet."""

from __future__ import annotations

import atexit
import contextlib
import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.runtime.extras import require

Rows = npt.NDArray[np.int64]
_MANY = 2000  # most row numbers written into a query; more are joined as a table


class TableSource(ABC):
    """One table on disk; rows and columns are read on request.

    Parameters
    ----------
    path
        The file, for messages.
    name
        Name of the table: that of the compartment, or ``Image``.
    columns
        Column names, and whether each is numeric.
    length
        Number of rows.
    """

    def __init__(self, path: Path, name: str, columns: Mapping[str, bool], length: int) -> None:
        self.path = path
        self.name = name
        self.columns = dict(columns)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def read(self, columns: Sequence[str], rows: Rows | None = None) -> Any:
        """Return a `pyarrow.Table` of these columns and rows, in the requested order; a row of -1 is all null.

        Parameters
        ----------
        columns
            Names; each at most once.
        rows
            Row numbers, or None for all.
        """
        import pyarrow as pa

        if rows is None:
            return self._fetch(columns, None)
        unique_rows, place = np.unique(rows, return_inverse=True)
        present = unique_rows[unique_rows >= 0]
        gaps = len(unique_rows) - len(present)
        if not columns or not len(present):
            empty = self._fetch(columns, np.zeros(0, np.int64))
            return empty.take(pa.nulls(len(rows), pa.int64()))
        got = self._fetch(columns, present)
        place = place.reshape(-1) - gaps
        if not gaps and len(place) == len(got) and np.array_equal(place, np.arange(len(place))):
            return got
        return got.take(pa.array(place, mask=place < 0))

    def may_lack(self, column: str) -> bool:
        """Return whether a column of numbers may hold 0, less or nothing; False only where that is known without reading it."""
        return True

    @abstractmethod
    def _fetch(self, columns: Sequence[str], rows: Rows | None) -> Any:
        """Return a `pyarrow.Table` of these columns and rows (ascending, each once; None: all) in the file's order."""


def quoted(name: str) -> str:
    """Quote a column's or table's name for SQL."""
    return '"' + name.replace('"', '""') + '"'


needs = partial(require, extra="cells", purpose="Reading tables")  # import a package for tables; see `require`


class ParquetSource(TableSource):
    """A Parquet file: the footer is read on opening, columns and rows on request.

    Parameters
    ----------
    path
        The file to read.
    shown_path
        The file to name in messages, where this one was converted from it.
    """

    def __init__(self, path: Path, name: str, shown_path: Path | None = None) -> None:
        needs("duckdb")
        parquet, types = needs("pyarrow.parquet"), needs("pyarrow").types
        with _reading(path), parquet.ParquetFile(path) as file:
            schema, length = file.schema_arrow, file.metadata.num_rows
        columns = {field.name: _numeric(types, field.type) for field in schema if not types.is_nested(field.type)}
        super().__init__(shown_path or path, name, columns, length)
        self._file = path
        self._names = schema.names
        same = len({name.casefold() for name in schema.names}) == len(schema.names)
        self._renamed = {name: name for name in schema.names} if same else {}

    def may_lack(self, column: str) -> bool:
        """Look into the statistics of the footer."""
        from pyarrow import parquet

        with _reading(self.path), parquet.ParquetFile(self._file) as file:
            leaves = [file.schema.column(place).path for place in range(len(file.schema))]
            if column not in leaves:
                return True
            place = leaves.index(column)
            groups = [file.metadata.row_group(group).column(place).statistics for group in range(file.num_row_groups)]
        return any(each is None or not each.has_min_max or each.min <= 0 or not each.has_null_count or each.null_count for each in groups)

    def _fetch(self, columns: Sequence[str], rows: Rows | None) -> Any:
        number = quoted(free := next(candidate for i in range(len(columns) + 1) if (candidate := f"row_{i}") not in columns))
        names = ", ".join([f"file_row_number AS {number}", *(f"{self._known(name)} AS {quoted(name)}" for name in columns)])
        query = f"SELECT {names} FROM read_parquet(?, file_row_number = true)"  # noqa: S608 - names are quoted, the path is a parameter
        if rows is not None and not len(rows):
            query += " LIMIT 0"
        elif rows is not None:
            query += f" WHERE file_row_number BETWEEN {int(rows[0])} AND {int(rows[-1])}"
        with _reading(self.path), _connection() as connection:
            if rows is not None and len(rows) and int(rows[-1]) - int(rows[0]) + 1 > len(rows):
                query += _among(connection, rows)
            got = connection.sql(query, params=[glob.escape(str(self._file))]).to_arrow_table()
        order = got[free].to_numpy()
        if len(order) > 1 and (np.diff(order) < 0).any():
            got = got.take(np.argsort(order))
        return got.select(list(columns))

    def _known(self, name: str) -> str:
        """Return DuckDB's own name of a column; it ignores the case of letters, and renames what would be the same."""
        if not self._renamed:
            with _reading(self.path), _connection() as connection:
                found = connection.sql("SELECT * FROM read_parquet(?) LIMIT 0", params=[glob.escape(str(self._file))]).columns
            self._renamed = dict(zip(self._names, found, strict=True))
        return quoted(self._renamed[name])


def _among(connection: Any, rows: Rows) -> str:
    """Return the SQL condition that a row is one of many."""
    if len(rows) <= _MANY:
        return f" AND file_row_number IN ({', '.join(map(str, rows.tolist()))})"
    import pyarrow as pa

    connection.register("wanted", pa.table({"row": rows}))
    return ' AND file_row_number IN (SELECT "row" FROM wanted)'


@contextlib.contextmanager
def _connection() -> Iterator[Any]:
    """Yield a DuckDB connection of one query, without network access; any thread may read."""
    connection = _database(os.getpid()).cursor()
    try:
        yield connection
    finally:
        connection.close()


@cache
def _database(_process: int) -> Any:
    """Return the DuckDB that all queries of a process share: starting one takes far longer than connecting to it.

    A forked process gets its own, since the threads of its parent's don't run there.
    """
    import duckdb

    database = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    with contextlib.suppress(duckdb.CatalogException):  # unknown before DuckDB 1.3, which keeps nothing of a file either
        database.execute("SET enable_external_file_cache = false")  # a file may be written anew
    atexit.register(_database.cache_clear)  # what is left of it at the very end is listed on stderr
    return database


def _numeric(types: Any, kind: Any) -> bool:
    """Return whether an arrow type is numeric."""
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn a library's error about a damaged file into one sentence."""
    import duckdb
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, duckdb.Error, OSError, UnicodeDecodeError) as error:
        message = " ".join(str(error).split())[:150]
        raise ReadError(path, f"it can't be read as a Parquet table ({message}); write or copy it again") from error
