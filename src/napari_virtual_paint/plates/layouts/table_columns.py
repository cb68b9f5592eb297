"""Tables as columns of text (CSV, TSV, Parquet), and the meaning of their columns for wells and images."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.doses import parse_number
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import canonical
from napari_virtual_paint.runtime.delimited_text import read_beginning, read_rows
from napari_virtual_paint.runtime.extras import require

PARQUET = (".parquet", ".pq")
SUFFIXES = (".csv", ".tsv", ".txt", *PARQUET)  # suffixes of tables

ALIASES = {
    "well": ("well", "wellid", "wellname", "wellposition", "imagemetadatawell", "wellno"),
    "row": ("row", "wellrow", "platerow"),
    "column": ("column", "col", "wellcolumn", "wellcol", "platecolumn"),
    "field": ("field", "site", "fieldid", "fov", "fieldofview", "position", "fieldindex", "siteid"),
    "channel": ("channel", "channelname", "stain", "wavelength", "wave", "channelid", "ch", "dye", "marker"),
    "z": ("z", "plane", "zplane", "zslice", "slice", "planeid", "zindex", "zstep"),
    "t": ("t", "time", "timepoint", "frame", "timepointid", "timeindex"),
    "acquisition": ("acquisition", "acquisitionid", "round", "cycle"),
    "plate": ("plate", "plateid", "platename", "barcode", "assayplatebarcode", "platebarcode"),
    "folder": ("pathname", "folder", "directory", "dir"),
    "path": (
        "path",
        "filepath",
        "filename",
        "file",
        "image",
        "imagepath",
        "imagefile",
        "url",
        "uri",
        "location",
        "fullpath",
        "imagefilename",
    ),
}
"""Meaning of a column -> its possible names, in lower case, without ``Metadata_`` and without anything that is no letter."""

_KNOWN = {name: key for key, names in ALIASES.items() for name in names}
_MISSING = frozenset(("", "nan", "na", "n/a", "#n/a", "null"))  # cells without a value, as programs write them
_INTEGER, _BARCODE = re.compile(r"[-+]?\d{1,18}"), re.compile(r"\d{19,}")  # a float would lose digits of a longer one
_FLOAT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Table:
    """A table as columns of text; an empty cell is ""."""

    path: Path
    header: tuple[str, ...]
    columns: tuple[Sequence[str], ...]
    lines: Sequence[int] = ()
    """Line of the file on which each row begins; empty where a file has no lines."""

    def place(self, row: int) -> str:
        """Return the place of a row in the file, for messages."""
        return f"line {self.lines[row]}" if self.lines else f"row {row + 1}"

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0]) if self.columns else 0

    def select(self, rows: Sequence[int]) -> Table:
        """Return the table with some of its rows, by their numbers from 0."""
        lines = [self.lines[i] for i in rows] if self.lines else ()
        return Table(self.path, self.header, tuple([values[i] for i in rows] for values in self.columns), lines)

    def column(self, name: str | None, default: str = "") -> Sequence[str]:
        """Return a column by its name in the header; the default in each row where the name is None."""
        return self.columns[self.header.index(name)] if name is not None else [default] * self.rows


def read_table(path: Path) -> Table:
    """Return a CSV, TSV or Parquet file as columns of text.

    Raises `ReadError` if it is damaged, empty or no table.
    """
    table = _parquet(path) if path.suffix.lower() in PARQUET else _delimited(path)
    if not table.rows:
        raise ReadError(path, "it is a table without rows; check that it was written whole")
    twice = next((name for i, name in enumerate(table.header) if name in table.header[:i]), None)
    if twice is not None:
        raise ReadError(path, f"it has the column {twice!r} twice; rename one of them")
    return table


def header_of(path: Path) -> tuple[str, ...]:
    """Return only the names of a table's columns; none if it can't be read."""
    try:
        if path.suffix.lower() in PARQUET:
            from pyarrow import parquet

            return tuple(str(name) for name in parquet.read_schema(path).names)
        rows = read_beginning(path).rows
    except (OSError, ValueError, ImportError):
        return ()
    return tuple(cell.strip() for cell in rows[0].cells) if rows else ()


def _parquet(path: Path) -> Table:
    """Read a Parquet file."""
    pyarrow = require("pyarrow", extra="plates", purpose=f"{path}: reading Parquet")
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ReadError(path, f"it is damaged or no Parquet file ({' '.join(str(error).split())[:120]}); write it again") from error
    columns = tuple([_text(value) for value in column.to_pylist()] for column in table.columns)
    return Table(path, tuple(str(name) for name in table.column_names), columns)


def _text(value: Any) -> str:
    """Return a cell as text: whole floats as integers, missing values as ""."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _delimited(path: Path) -> Table:
    """Read a CSV or TSV file."""
    first, *rows = read_rows(path)
    header = _trimmed(first.cells, 0)
    cells = [_trimmed(row.cells, len(header)) for row in rows]
    wrong = next((i for i, row in enumerate(cells) if len(row) != len(header)), None)
    if wrong is not None:
        raise ReadError(path, f"its line {rows[wrong].line} has {len(cells[wrong])} cells and its header {len(header)}; correct it")
    return Table(path, header, tuple(zip(*cells, strict=True)) or tuple(() for _ in header), tuple(row.line for row in rows))


def _trimmed(cells: Sequence[str], least: int) -> tuple[str, ...]:
    """Return cells without surrounding blanks, and without empty ones at the end, which spreadsheets add."""
    stripped = tuple(map(str.strip, cells))
    while len(stripped) > least and not stripped[-1]:
        stripped = stripped[:-1]
    return stripped


def meaning(name: str) -> str | None:
    """Return the meaning of a column by its name (a key of `ALIASES`), or None."""
    text = re.sub(r"^(image_)?metadata_", "", name.strip(), flags=re.IGNORECASE)
    return _KNOWN.get(re.sub(r"[^a-z]", "", text.casefold()))


def columns_of(table: Table) -> dict[str, str]:
    """Return meaning -> the first column that has it."""
    found: dict[str, str] = {}
    for name in table.header:
        key = meaning(name)
        if key is not None:
            found.setdefault(key, name)
    return found


def wells_of(table: Table, known: Mapping[str, str]) -> list[str]:
    """Return the well of each row.

    Raises `ReadError` if no column has it, or a cell is no well.
    """
    if "well" in known:
        names: Sequence[str] = table.column(known["well"])
    elif "row" in known and "column" in known:
        pairs = zip(table.column(known["row"]), table.column(known["column"]), strict=True)
        names = [f"r{row}c{column}" if row.strip().isdigit() else f"{row}{column}" for row, column in pairs]
    else:
        raise ReadError(table.path, f"it has no column of wells (well, Metadata_Well); there are {', '.join(table.header[:12])}")
    found = []
    for i, name in enumerate(names):
        well = canonical(name)
        if well is None:
            raise ReadError(table.path, f"its {table.place(i)} has the well {name!r}, which is none; wells are called A01, B12 or AA03")
        found.append(well)
    return found


def of_one_plate(table: Table, request: OpenRequest) -> tuple[Table, str, bool]:
    """Return the rows of one plate, if a table lists several, the plate's name, "" if the table has none, and whether it lists several.

    Raises `SeveralPlatesError` if there are several, and none of them is asked for.
    """
    own = columns_of(table).get("plate")
    if own is None:
        return table, "", False
    column = [name.strip() for name in table.column(own)]
    by_name: dict[str, list[int]] = {}
    for i, name in enumerate(column):
        by_name.setdefault(name, []).append(i)
    if len(by_name) < 2:
        return table, next(iter(by_name), ""), False
    rows, name = request.choose(by_name)
    return table.select(rows), name, True


def metadata_of(table: Table, wells: Sequence[str], used: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return well -> column -> value, numbers as numbers.

    Parameters
    ----------
    wells
        The well of each row.
    used
        Columns to leave out; so are columns with several values in a well.
    """
    found: dict[str, dict[str, Any]] = {}
    count = len(set(wells))
    for name, pairs in _values_of_wells(table, wells, used):
        by_well = dict(pairs)
        if not by_well or len(pairs) > count or len(by_well) < len(pairs):
            continue
        convert = converter(by_well.values())
        for well, value in by_well.items():
            found.setdefault(well, {})[short_name(name)] = convert(value)
    return found


def conflicts_of(table: Table, wells: Sequence[str], used: Iterable[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the columns that `metadata_of` leaves out: column -> well -> its different values."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, pairs in _values_of_wells(table, wells, used):
        by_well: dict[str, list[str]] = {}
        for well, value in pairs:
            by_well.setdefault(well, []).append(value)
        several = {well: tuple(values) for well, values in by_well.items() if len(values) > 1}
        if several:
            found[name] = several
    return found


def _values_of_wells(table: Table, wells: Sequence[str], used: Iterable[str]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each column that is not used, with the different pairs of well and value; a missing value says nothing and is left out."""
    unused = set(table.header) - {*used, ""}
    for name, values in zip(table.header, table.columns, strict=True):
        if name in unused:
            pairs = ((well, value.strip()) for well, value in dict.fromkeys(zip(wells, values, strict=True)))
            yield name, [(well, value) for well, value in dict.fromkeys(pairs) if value.casefold() not in _MISSING]


def short_name(column: str) -> str:
    """Return the name of a column of metadata without ``Metadata_``."""
    return re.sub(r"^(Image_)?Metadata_", "", column)


def converter(values: Collection[str]) -> Any:
    """Return the function that converts a column's text: int, float (with a decimal comma, too), or `str.strip` if one is no number."""
    texts = [value.strip() for value in values]
    if all(_INTEGER.fullmatch(text) for text in texts):
        return int
    if any(_BARCODE.fullmatch(text) for text in texts):
        return str.strip
    if all(_FLOAT.fullmatch(text) for text in texts):
        return float
    return parse_number if all(parse_number(text) is not None for text in texts) else str.strip
