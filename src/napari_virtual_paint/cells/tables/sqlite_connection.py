"""Read-only connections to SQLite databases of strangers: nothing is written, no view runs away, Ctrl-C ends any query."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import ReadError

MAGIC = b"SQLite format 3\0"
SECONDS = 30.0  # for which a view may give no row
_PATIENCE = 5.0  # seconds for which another program may lock a database
_LETTERS = 1_000_000  # most letters of a value in a view, which may make up values of any length
_NESTED = 10_000  # most times that a view's parts are put into it; SQLite plans each, which nothing can interrupt
_INSTRUCTIONS = 20_000  # of SQLite's between two looks at the clock and at Ctrl-C: some milliseconds
_PART = re.compile(r"(\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|\w+)\s*(?:\([^()]*\))?\s*\bas\s*(?:(?:not\s+)?materialized\s*)?\(")
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|--[^\n]*", re.DOTALL)


class GuardedConnection(sqlite3.Connection):
    """A connection whose queries end on Ctrl-C, and where `limit` is set, after so many seconds without a row."""

    limit: float | None = None
    timed_out = False
    since = 0.0

    def watch(self, limit: float | None) -> None:
        """Start watching."""
        self.limit = limit
        self.restart()
        self.set_progress_handler(self._is_late, _INSTRUCTIONS)

    def restart(self) -> None:
        """Begin to count anew, since rows have come."""
        self.since = time.monotonic()

    def _is_late(self) -> int:
        # A Ctrl-C is raised here too, which ends the query as well.
        self.timed_out = self.limit is not None and time.monotonic() - self.since > self.limit
        return int(self.timed_out)


@contextlib.contextmanager
def connected(path: Path, view: str = "") -> Iterator[GuardedConnection]:
    """Yield a read-only connection; errors become one sentence.

    Parameters
    ----------
    view
        Name of the view that is read: then time and the length of values are limited.

    Raises
    ------
    ReadError
        If it is no database, damaged, encrypted or locked, or the view takes too long.
    KeyboardInterrupt
        On Ctrl-C during a query.
    """
    connection = None
    try:
        connection = _connect(path)
        if view:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LETTERS)
        connection.watch(SECONDS if view else None)
        yield connection
    except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
        if connection is not None and connection.timed_out:
            raise ReadError(path, f"its view {view!r} takes more than {SECONDS:.0f} s; store its rows in a table") from error
        if str(error) == "interrupted":
            raise KeyboardInterrupt from error
        raise ReadError(path, _reason(error)) from error
    finally:
        if connection is not None:
            connection.close()


def check_views(path: Path, views: Mapping[str, str]) -> None:
    """Check that no view is built from others so often that SQLite would plan it for hours.

    Parameters
    ----------
    views
        Name -> the SQL that defines it.

    Raises
    ------
    ReadError
        If one is.
    """
    bodies: dict[str, str] = {}
    for name, sql in views.items():
        text = _COMMENT.sub(" ", sql).casefold()
        bodies[name.casefold()] = re.sub(r"^.*?\bas\b", "", text, count=1, flags=re.DOTALL)
        bodies.update({_bare(part[1]): _inside(text, part.end()) for part in _PART.finditer(text)})
    references = {name: _references(name, body, bodies) for name, body in bodies.items()}
    sizes: dict[str, int] = {}
    for name in views:
        if _size(name.casefold(), references, sizes) > _NESTED:
            raise ReadError(path, f"its view {name!r} is built from other views too many times over; store its rows in a table")


def _references(name: str, body: str, bodies: Mapping[str, str]) -> dict[str, int]:
    """Return how often a view's text names each of the others as a table, not as that of a column."""
    found = {}
    for other in bodies:
        if other != name and (count := len(re.findall(rf"(?<!\w){re.escape(other)}(?!\w)(?![\"`\]]?\s*\.)", body))):
            found[other] = count
    return found


def _size(name: str, references: Mapping[str, Mapping[str, int]], sizes: dict[str, int]) -> int:
    """Return how many parts a view has when those it names are put into it; parts of a circle, which SQLite refuses, count once."""
    stack = [name]
    while stack:
        now = stack[-1]
        missing = [other for other in references[now] if other not in sizes and other not in stack]
        if missing:
            stack += missing[:1]
            continue
        stack.pop()
        sizes[now] = min(1 + sum(count * sizes.get(other, 1) for other, count in references[now].items()), 10 * _NESTED)
    return sizes[name]


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name[0] in '"`[' else name


def _inside(text: str, begin: int) -> str:
    """Return the text up to the parenthesis that closes the one before `begin`."""
    depth = 1
    for place in range(begin, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if not depth:
            return text[begin:place]
    return text[begin:]


def _connect(path: Path) -> GuardedConnection:
    """Connect for reading.

    A database in WAL mode without a log beside it is opened as immutable: else SQLite would create one, which takes the right to write.
    """
    with path.open("rb") as file:
        begin = file.read(20)
    if not begin:
        raise ReadError(path, "it is empty, no SQLite database; export it again")
    if begin[8:12] == b"DUCK":
        raise ReadError(path, "it is a DuckDB database, which is not read; export its tables as Parquet")
    if not begin.startswith(MAGIC):
        raise ReadError(path, "it is no SQLite database, or an encrypted one; give one that CellProfiler's ExportToDatabase wrote")
    log, journal = (_size_of(Path(f"{path}-{kind}")) for kind in ("wal", "journal"))
    immutable = "&immutable=1" if begin[18:20] == b"\2\2" and not log else ""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro{immutable}", _PATIENCE, uri=True, check_same_thread=False, factory=GuardedConnection
    )
    connection.text_factory = _decoded  # of one path with letters of Windows the whole table would be refused
    try:
        for pragma in ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "mmap_size=0"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        left = "wal" if log else "journal" if journal else ""
        if left and "locked" not in str(error):
            raise ReadError(
                path,
                f"the file {path.name}-{left} beside it, with what was written last, can't be used where you may not write; copy both into "
                "a folder of your own",
            ) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _reason(error: Any) -> str:
    """Return in words why a database can't be read."""
    if "locked" in str(error):
        return "another program is writing it; wait until it has finished, or copy the database"
    return f"it can't be read as an SQLite database ({error}); copy or export it again"
