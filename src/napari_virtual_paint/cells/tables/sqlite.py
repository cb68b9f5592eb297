"""Tables in an SQLite database: CellProfiler's ExportToDatabase, and cytominer-database."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_virtual_paint.cells.cellprofiler_names import is_image_key, is_numeric_name
from napari_virtual_paint.cells.tables.joins import is_image, is_objects
from napari_virtual_paint.cells.tables.parquet import Rows, TableSource, needs, quoted
from napari_virtual_paint.cells.tables.sqlite_connection import GuardedConnection, check_views, connected
from napari_virtual_paint.errors import ReadError

_AT_ONCE = 900  # values per query; older SQLite takes at most 999
_BATCH = 5000
_VIEWED = 200  # rows of a view at a time, whose values may be made up
_LETTERS = 40  # more than any number has
_MADE_UP = 64  # times its file's size that the values of a view may take, and at least so many MiB
_SAMPLE = 200  # rows by which columns without a type of numbers are judged
_NUMBERS = r"INT|REAL|FLOA|DOUB|NUM|DEC"  # declared types of numeric columns; SQLite's own rule is as lenient
_PER = re.compile(r"(?P<prefix>(?:.*?_)??)Per_(?P<name>.+)", re.IGNORECASE | re.DOTALL)
_KEYS = re.compile(r"(TableNumber|ImageNumber|ObjectNumber|Number_Object_Number)$")
_NO_OBJECTS = ("experiment", "experiment_properties", "relationshiptypes", "relationships", "relationshipsview")

Kind = Literal["whole", "real", "text"]


@dataclass(frozen=True)
class _DatabaseTable:
    """A table or view of which only the columns are known."""

    table: str  # name in the database
    name: str  # that of the compartment, or ``Image``
    is_view: bool
    kinds: Mapping[str, Kind]  # column -> what it holds

    @property
    def columns(self) -> dict[str, bool]:
        """Column names, and whether each is numeric."""
        return {column: kind != "text" for column, kind in self.kinds.items()}


class SqliteSource(TableSource):
    """A table or view of a database, read by row number where it has one, else by scanning."""

    def __init__(self, path: Path, table: _DatabaseTable) -> None:
        needs("pyarrow")
        self._view = table.table if table.is_view else ""
        with connected(path, self._view) as connection:
            self._rowid = None if table.is_view else _rowid(connection, table)
            self._rowids = None if self._rowid is None else _rowids(connection, table.table, self._rowid)
            length = len(self._rowids) if self._rowids is not None else _count(connection, table.table)
        if table.is_view and length > path.stat().st_size:
            raise ReadError(path, f"its view {table.table!r} has {length:,} rows, more than the file has bytes; store its rows in a table")
        super().__init__(path, table.name, table.columns, length)
        self._kinds = table.kinds
        self._table = quoted(table.table)
        self._order = ", ".join(quoted(column) for column in table.kinds if _KEYS.search(column)) or "1"

    def _fetch(self, columns: Sequence[str], rows: Rows | None) -> Any:
        batches: list[Any] = []
        with connected(self.path, self._view) as connection:
            for batch in self._batches(connection, columns, rows):
                batches.append(self._as_table(columns, batch))
        return _joined(batches) if batches else self._as_table(columns, [])

    def _batches(self, connection: GuardedConnection, columns: Sequence[str], rows: Rows | None) -> Iterator[list[Any]]:
        """Yield a few thousand rows at a time, in the file's order."""
        names = ", ".join(map(quoted, columns)) or "0"  # without any column there would be no query
        query = f"SELECT {names} FROM {self._table}"  # noqa: S608 - every name is quoted
        if self._rowids is None:
            cursor = connection.execute(f"{query} ORDER BY {self._order}")
            batches = _wanted_rows(connection, cursor, rows, _VIEWED if self._view else _BATCH)
            yield from self._limited(batches) if self._view else batches
        elif rows is None or len(rows) * 4 > len(self):
            yield from _wanted_rows(connection, connection.execute(f"{query} ORDER BY {self._rowid}"), rows, _BATCH)
        else:
            rowids = self._rowids[rows].tolist()
            for start in range(0, len(rowids), _AT_ONCE):
                some = rowids[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                yield connection.execute(f"{query} WHERE {self._rowid} IN ({marks}) ORDER BY {self._rowid}", some).fetchall()

    def _limited(self, batches: Iterator[list[Any]]) -> Iterator[list[Any]]:
        """Yield a view's rows as long as their text is no more than can have come from the file."""
        left = _MADE_UP * max(self.path.stat().st_size, 1 << 20)
        for batch in batches:
            left -= sum(len(value) for row in batch for value in row if isinstance(value, str | bytes))
            if left < 0:
                raise ReadError(
                    self.path, f"its view {self._view!r} makes up values that the file does not hold; store its rows in a table"
                )
            yield batch

    def _as_table(self, columns: Sequence[str], rows: list[Any]) -> Any:
        """Return rows as arrow columns: numbers as float64 with NaN for missing values, the rest as text."""
        import pyarrow as pa

        parts = list(zip(*rows, strict=True))[: len(columns)] if rows else [()] * len(columns)
        arrays = [self._array(column, values) for column, values in zip(columns, parts, strict=True)]
        return pa.table(dict(zip(columns, arrays, strict=True)))

    def _array(self, column: str, values: Sequence[Any]) -> Any:
        import pyarrow as pa

        if self._kinds[column] == "text":
            return pa.array([None if value is None else _text(value) for value in values], pa.string())
        try:
            if self._kinds[column] == "whole":
                found = pa.array(values)  # whole numbers and others become floats
                return found if pa.types.is_int64(found.type) else found.cast(pa.float64())
            return pa.array(np.array(values, dtype=np.float64))
        except (TypeError, ValueError, OverflowError):
            # SQLite stores text in a numeric column as it is.
            return pa.array(np.array([_number(value) for value in values], dtype=np.float64))


def open_sqlite(path: Path) -> tuple[list[TableSource], list[str]]:
    """Open the image and object tables of a database.

    Returns
    -------
    list of Source
        Named by compartment, without ``MyExpt_Per_``.
    list of str
        Notes for the reader.

    Raises
    ------
    ReadError
        If it is not a database, or holds no table of objects.
    """
    sets = _sets(path)
    opened = {prefix: [table for table in tables if is_image(table) or is_objects(table)] for prefix, tables in sets.items()}
    best = max(opened, key=lambda prefix: sum(map(is_objects, opened[prefix])), default="")
    found = opened.get(best, [])
    if not any(map(is_objects, found)):
        raise ReadError(
            path, "it holds no table of objects (Per_Object, Per_Nuclei, Per_Cells ...); give a database of CellProfiler's ExportToDatabase"
        )
    others = [prefix or "those without a prefix" for prefix in opened if prefix != best and any(map(is_objects, opened[prefix]))]
    notes = (
        [f"The database holds several sets of tables: {best or 'that without a prefix'} was read, {', '.join(others)} was not."]
        if others
        else []
    )
    left_out = [table.table for table in sets[best] if table not in found and table.table != table.name]
    if left_out:
        notes.append(f"{', '.join(left_out)}: not read, since without numbered objects, images or measurements.")
    split = [table for table in found if table.name.lower() != "object"]
    return [SqliteSource(path, table) for table in (split if any(map(is_objects, split)) else found)], notes


def _sets(path: Path) -> dict[str, list[_DatabaseTable]]:
    """Return prefix -> its tables and views."""
    with connected(path) as connection:
        listed = connection.execute(
            "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY type, name"
        ).fetchall()
    views = {name: sql or "" for name, kind, sql in listed if kind == "view"}
    check_views(path, views)
    prefixes = [name[: -len("Per_Image")] for name, _, _ in listed if name.lower().endswith("per_image")]
    sets: dict[str, dict[str, str]] = defaultdict(dict)
    for table, _, _ in listed:
        prefix, name = _split(table, prefixes)
        if name.lower() not in _NO_OBJECTS:
            # Per_Nuclei takes precedence over a table called Nuclei.
            sets[prefix].setdefault(name, table) if name == table else sets[prefix].update({name: table})
    return {prefix: [_table(path, table, name, table in views) for name, table in names.items()] for prefix, names in sets.items()}


def _split(table: str, prefixes: Iterable[str]) -> tuple[str, str]:
    """Return prefix and object of ``MyExpt_Per_Nuclei``; the prefix may itself hold ``per_``, as in ``Paper_1_``."""
    for prefix in sorted(prefixes, key=len, reverse=True):
        if table.lower().startswith(f"{prefix}per_".lower()):
            return prefix, table[len(prefix) + len("Per_") :]
    found = _PER.fullmatch(table)
    return (found["prefix"], found["name"]) if found else ("", table)


def _table(path: Path, table: str, name: str, is_view: bool) -> _DatabaseTable:
    """Read the columns of a table."""
    with connected(path, table if is_view else "") as connection:
        declared = {row[1]: str(row[2]).upper() for row in connection.execute(f"PRAGMA table_info({quoted(table)})")}
        kinds: dict[str, Kind] = {
            column: "whole" if "INT" in kind else "real" if re.search(_NUMBERS, kind) else "text" for column, kind in declared.items()
        }
        for column in kinds:
            if is_image_key(column):
                kinds[column] = _key_kind(connection, table, column)
        unsure = [column for column, kind in kinds.items() if kind == "text" and not is_image_key(column) and is_numeric_name(column)]
        if unsure:
            kinds.update(_sampled(connection, table, unsure))
    return _DatabaseTable(table, name, is_view, kinds)


def _key_kind(connection: sqlite3.Connection, table: str, column: str) -> Kind:
    """Return what the numbers of images or tables are; SQLite stores text even in a column of integers."""
    found = {row[0] for row in connection.execute(f"SELECT DISTINCT typeof({quoted(column)}) FROM {quoted(table)}")}  # noqa: S608 - quoted
    return "text" if found - {"integer", "real", "null"} else "real" if "real" in found else "whole"


def _sampled(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> dict[str, Kind]:
    """Return the columns that hold numbers without being declared so, as those of views and of imported text do."""
    names = ", ".join(f"substr({quoted(column)}, 1, {_LETTERS})" for column in columns)
    rows = connection.execute(f"SELECT {names} FROM {quoted(table)} LIMIT {_SAMPLE}").fetchall()  # noqa: S608 - quoted
    found: dict[str, Kind] = {}
    for column, values in zip(columns, zip(*rows, strict=True), strict=False):
        known = [value for value in values if value not in (None, "")]
        if known and all(map(_is_number, known)):
            found[column] = "real"
    return found


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _rowid(connection: sqlite3.Connection, table: _DatabaseTable) -> str | None:
    """Return the name by which a table's row numbers are read, or None for a table without them."""
    taken = {column.lower() for column in table.kinds}
    for name in ("rowid", "_rowid_", "oid"):
        if name in taken:
            continue
        try:
            connection.execute(f"SELECT {name} FROM {quoted(table.table)} LIMIT 1")  # noqa: S608 - quoted
        except sqlite3.OperationalError:
            return None
        return name
    return None


def _rowids(connection: sqlite3.Connection, table: str, rowid: str) -> Rows:
    """Return the row numbers of a table."""
    found = connection.execute(f"SELECT {rowid} FROM {quoted(table)} ORDER BY {rowid}")  # noqa: S608 - quoted
    return np.fromiter((row[0] for row in found), np.int64)


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0])  # noqa: S608 - quoted


def _wanted_rows(connection: GuardedConnection, cursor: sqlite3.Cursor, rows: Rows | None, size: int) -> Iterator[list[Any]]:
    """Yield batches of a cursor, wanted rows only."""
    start = 0
    while batch := cursor.fetchmany(size):
        connection.restart()
        if rows is None:
            yield batch
        else:
            first, last = np.searchsorted(rows, [start, start + len(batch)])
            if last > first:
                yield [batch[row - start] for row in rows[first:last].tolist()]
        start += len(batch)


def _joined(batches: list[Any]) -> Any:
    """Concatenate batches; a column may hold whole numbers in one and others in the next."""
    import pyarrow as pa

    return pa.concat_tables(batches, promote_options="permissive")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
