"""Tables in an SQLite database: CellProfiler's ExportToDatabase, and cytominer-database."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtual_paint.cells.tables.joins import is_image, is_objects
from napari_virtual_paint.cells.tables.parquet import Rows, TableSource, needs, quoted
from napari_virtual_paint.errors import ReadError

_AT_ONCE = 900  # values per query; older SQLite takes at most 999
_BATCH = 5000
_NUMBERS = r"INT|REAL|FLOA|DOUB|NUM|DEC"  # declared types of numeric columns; SQLite's own rule is as lenient
_PER = re.compile(r"(?P<prefix>.*?)Per_(?P<name>\w+)", re.IGNORECASE)


class SqliteSource(TableSource):
    """A table or view of a database, read by row number where it has one, else by scanning."""

    def __init__(self, path: Path, table: str, name: str, order: Sequence[str] = ()) -> None:
        needs("pyarrow")
        with connected(path) as connection:
            declared = {row[1]: str(row[2]).upper() for row in connection.execute(f"PRAGMA table_info({quoted(table)})")}
            self._rowids = _rowids(connection, table)
            length = len(self._rowids) if self._rowids is not None else _count(connection, table)
        super().__init__(path, name, {column: re.search(_NUMBERS, kind) is not None for column, kind in declared.items()}, length)
        self._whole = {column for column, kind in declared.items() if "INT" in kind}
        self._table = quoted(table)
        self._order = ", ".join(quoted(column) for column in order) or "1"

    def _fetch(self, columns: Sequence[str], rows: Rows | None) -> Any:
        batches: list[Any] = []
        with connected(self.path) as connection:
            for batch in self._batches(connection, columns, rows):
                batches.append(self._as_table(columns, batch))
        return _joined(batches) if batches else self._as_table(columns, [])

    def _batches(self, connection: sqlite3.Connection, columns: Sequence[str], rows: Rows | None) -> Iterator[list[Any]]:
        """Yield a few thousand rows at a time, in the file's order."""
        names = ", ".join(map(quoted, columns)) or "0"  # without any column there would be no query
        query = f"SELECT {names} FROM {self._table}"  # noqa: S608 - every name is quoted
        if self._rowids is None:
            cursor = connection.execute(f"{query} ORDER BY {self._order}")
            yield from _wanted_rows(cursor, rows)
        elif rows is None or len(rows) * 4 > len(self):
            yield from _wanted_rows(connection.execute(f"{query} ORDER BY rowid"), rows)
        else:
            rowids = self._rowids[rows].tolist()
            for start in range(0, len(rowids), _AT_ONCE):
                some = rowids[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                yield connection.execute(f"{query} WHERE rowid IN ({marks}) ORDER BY rowid", some).fetchall()

    def _as_table(self, columns: Sequence[str], rows: list[Any]) -> Any:
        """Return rows as arrow columns: numbers as float64 with NaN for missing values, the rest as text."""
        import pyarrow as pa

        parts = list(zip(*rows, strict=True))[: len(columns)] if rows else [()] * len(columns)
        arrays = [self._array(column, values) for column, values in zip(columns, parts, strict=True)]
        return pa.table(dict(zip(columns, arrays, strict=True)))

    def _array(self, column: str, values: Sequence[Any]) -> Any:
        import pyarrow as pa

        if not self.columns[column]:
            return pa.array([None if value is None else _text(value) for value in values], pa.string())
        try:
            if column in self._whole:
                return pa.array(values, pa.int64())
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
    with connected(path) as connection:
        tables = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY type, name")
        ]
    sets: dict[str, dict[str, str]] = defaultdict(dict)
    for table in tables:
        found = _PER.fullmatch(table)
        prefix, name = (found["prefix"], found["name"]) if found else ("", table)
        if name.lower() not in ("experiment", "experiment_properties", "relationshiptypes", "relationships", "relationshipsview"):
            # Per_Nuclei takes precedence over a table called Nuclei.
            sets[prefix].setdefault(name, table) if found is None else sets[prefix].update({name: table})
    opened: dict[str, list[TableSource]] = {}
    for prefix, names in sets.items():
        sources = [_opened(path, table, name) for name, table in names.items()]
        opened[prefix] = [source for source in sources if is_image(source) or is_objects(source)]
    best = max(opened, key=lambda prefix: sum(is_objects(source) for source in opened[prefix]), default="")
    sources = opened.get(best, [])
    if not any(is_objects(source) for source in sources):
        raise ReadError(
            path, "it holds no table of objects (Per_Object, Per_Nuclei, Per_Cells ...); give a database of CellProfiler's ExportToDatabase"
        )
    others = [prefix or "those without a prefix" for prefix in opened if prefix != best and any(map(is_objects, opened[prefix]))]
    notes = (
        [f"The database holds several sets of tables: {best or 'that without a prefix'} was read, {', '.join(others)} was not."]
        if others
        else []
    )
    split = [source for source in sources if source.name.lower() != "object"]
    return (split if any(is_objects(source) for source in split) else sources), notes


def _opened(path: Path, table: str, name: str) -> TableSource:
    """Open one table, ordered by its keys where it has no row numbers."""
    with connected(path) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({quoted(table)})")]
    order = [column for column in columns if re.search(r"(TableNumber|ImageNumber|ObjectNumber|Number_Object_Number)$", column)]
    return SqliteSource(path, table, name, order)


@contextlib.contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a read-only connection; errors become one sentence."""
    connection = None
    try:
        connection = _connect(path)
        yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise ReadError(path, f"it can't be read as an SQLite database ({error}); copy or export it again") from error
    finally:
        if connection is not None:
            connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    """Connect for reading; a database with a write-ahead log in a read-only folder is opened as immutable."""
    for options in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, check_same_thread=False)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            continue
        except sqlite3.Error:
            connection.close()
            raise
        return connection
    raise sqlite3.OperationalError("it can't be opened")


def _rowids(connection: sqlite3.Connection, table: str) -> Rows | None:
    """Return the row numbers of a table, or None for a view or a table without them."""
    kind = connection.execute("SELECT type FROM sqlite_master WHERE name = ?", [table]).fetchone()
    if kind is None or kind[0] != "table":
        return None
    try:
        found = connection.execute(f"SELECT rowid FROM {quoted(table)} ORDER BY rowid")  # noqa: S608 - quoted
    except sqlite3.OperationalError:
        return None
    return np.fromiter((row[0] for row in found), np.int64)


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0])  # noqa: S608 - quoted


def _wanted_rows(cursor: sqlite3.Cursor, rows: Rows | None) -> Iterator[list[Any]]:
    """Yield batches of a cursor, wanted rows only."""
    start = 0
    while batch := cursor.fetchmany(_BATCH):
        if rows is None:
            yield batch
        else:
            first, last = np.searchsorted(rows, [start, start + len(batch)])
            if last > first:
                yield [batch[row - start] for row in rows[first:last].tolist()]
        start += len(batch)


def _joined(batches: list[Any]) -> Any:
    import pyarrow as pa

    return pa.concat_tables(batches)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
