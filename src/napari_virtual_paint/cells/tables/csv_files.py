"""CSV tables of CellProfiler, converted once to temporary Parquet files, since a CSV can't be read by row or column."""

from __future__ import annotations

import csv
import errno
import gzip
import re
import shutil
import tempfile
import weakref
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from napari_virtual_paint.cells.cellprofiler_names import GROUPS, IMAGE, METADATA
from napari_virtual_paint.cells.tables.parquet import ParquetSource, needs
from napari_virtual_paint.errors import ReadError

SUFFIXES = (".csv", ".csv.gz")
_BLOCK = 16 << 20  # bytes of text held in memory at a time
_HEADER = 8 << 20
_MISSING = ["", "nan", "NaN", "NAN", "-nan", "nan(ind)", "-nan(ind)", "NA", "N/A", "NULL", "null", "None", "#N/A"]
_PLAIN = r"^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$"
_KEYS = re.compile(r"(TableNumber|ImageNumber|ObjectNumber|Number_Object_Number)$|(^|_)Parent_\w+$")


@dataclass(frozen=True)
class Header:
    """Header of a CSV file."""

    columns: tuple[str, ...]  # unique names of all columns; those of a table with two header lines are joined
    lines: int  # header lines
    delimiter: str  # A comma, semicolon or tabulator
    encoding: str  # ``utf-8``, or ``latin-1`` where the bytes are not UTF-8
    repeated: frozenset[str]  # repeated columns, which are not read

    @property
    def used(self) -> list[str]:
        """Names of the columns that are read."""
        return [column for column in self.columns if column not in self.repeated]


def is_csv(path: Path) -> bool:
    """Return whether a file name is that of a CSV table."""
    return path.name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """Return a file's name without its suffixes."""
    return re.sub(r"(\.csv(\.gz)?|\.parquet|\.pq)$", "", path.name, flags=re.IGNORECASE)


def read_header(path: Path) -> Header:
    """Read the names of the columns.

    Raises `ReadError` if it is empty, binary, or has no line of names.
    """
    try:
        with _opened(path) as file:
            lines = [file.readline(_HEADER), file.readline(_HEADER)]
    except (OSError, EOFError, zlib.error) as error:
        raise ReadError(path, f"it can't be read ({error}); copy it again") from error
    if not lines[0].strip():
        raise ReadError(path, "it is empty or has no line of column names; export it again")
    if any(b"\0" in line for line in lines):
        raise ReadError(path, "it is no CSV table but holds binary data; give a table that CellProfiler's ExportToSpreadsheet wrote")
    text, encoding = _decoded(lines)
    delimiter = max(",;\t", key=text[0].count)
    names, second = ([name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])] for line in text)
    double = len(second) == len(names) and "ImageNumber" in second and "ImageNumber" not in names
    if double:
        names = [_of_two(above, below) for above, below in zip(names, second, strict=True)]
    counts: Counter[str] = Counter()
    columns = []
    for name in names:
        # No name that was read from one line holds a line break.
        columns.append(f"{name}\n{counts[name]}" if counts[name] else name)
        counts[name] += 1
    return Header(tuple(columns), 1 + double, delimiter, encoding, frozenset(columns) - set(names))


def open_csv(path: Path, name: str, header: Header) -> ParquetSource:
    """Convert a CSV to a temporary Parquet file and open it; the file is deleted with the table.

    Parameters
    ----------
    path
        The table, ``.csv`` or ``.csv.gz``.
    name
        The compartment's name, or ``Image``.
    header
        Result of `read_header`.

    Raises
    ------
    ReadError
        If a line has more or fewer columns than the header, or a measurement is not a number.
    """
    needs("duckdb")
    folder = tempfile.mkdtemp(prefix="virtual-paint-table-")
    target = Path(folder, "table.parquet")
    try:
        _convert(path, target, header, name)
        source = ParquetSource(target, name, shown_path=path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(source, shutil.rmtree, folder, ignore_errors=True)
    return source


def _convert(path: Path, target: Path, header: Header, name: str) -> None:
    """Write a CSV as Parquet, a few megabytes at a time."""
    pa, parquet = needs("pyarrow"), needs("pyarrow.parquet")
    if not _has_rows(path, header):
        parquet.write_table(pa.table({column: pa.array([], pa.float64()) for column in header.used}), target)
        return
    numbers = [column for column in header.used if _is_number(column)]
    texts = [column for column in header.used if not _is_number(column)]
    numbers += _numeric_columns(path, header, texts, name)
    types = {column: pa.float64() if column in set(numbers) else pa.string() for column in header.used}
    try:
        with (
            _batches(path, header, types, name) as batches,
            parquet.ParquetWriter(
                target, pa.schema(list(types.items())), use_dictionary=[column for column in types if column in texts]
            ) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise ReadError(
                path, f"there is no room for it in the temporary folder {target.parent.parent}; make some or set TMPDIR"
            ) from error
        raise ReadError(path, _reason(str(error), header)) from error


def _numeric_columns(path: Path, header: Header, texts: Sequence[str], name: str) -> list[str]:
    """Return the metadata columns that are numeric throughout, without leading zeros such as ``007``."""
    pa, compute = needs("pyarrow"), needs("pyarrow.compute")
    left = dict.fromkeys(texts)
    if not left:
        return []
    try:
        with _batches(path, header, dict.fromkeys(texts, pa.string()), name) as batches:
            for batch in batches:
                for column in list(left):
                    values = batch.column(column).drop_null()
                    if not compute.all(compute.match_substring_regex(values, _PLAIN), min_count=0).as_py():
                        del left[column]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ReadError(path, _reason(str(error), header)) from error
    return list(left)


def _batches(path: Path, header: Header, types: Mapping[str, Any], name: str) -> Any:
    """Return pyarrow's reader of these columns; only single-threaded reading reports the line of an error."""
    read = needs("pyarrow.csv")
    return read.open_csv(
        path,
        read_options=read.ReadOptions(
            column_names=list(header.columns), skip_rows=header.lines, block_size=_BLOCK, encoding=header.encoding, use_threads=False
        ),
        # Measurements contain no line breaks, descriptions of images may.
        parse_options=read.ParseOptions(delimiter=header.delimiter, newlines_in_values=name == IMAGE),
        convert_options=read.ConvertOptions(
            include_columns=list(types), column_types=dict(types), null_values=_MISSING, strings_can_be_null=True
        ),
    )


def _is_number(column: str) -> bool:
    """Return whether a column of an object table must be numeric: a measurement, or an image or object number."""
    parts = column.split("_")
    if _KEYS.search(column) is not None:
        return True
    return parts[0] not in (METADATA, IMAGE) and any(part in GROUPS for part in parts)


def _has_rows(path: Path, header: Header) -> bool:
    """Return whether rows follow the header; CellProfiler writes empty tables where nothing was found."""
    try:
        with _opened(path) as file:
            for _ in range(header.lines):
                file.readline(_HEADER)
            return bool(file.read(64).strip())
    except (OSError, EOFError, zlib.error) as error:
        raise ReadError(path, f"it can't be read ({error}); copy it again") from error


def _opened(path: Path) -> IO[bytes]:
    """Open a file, decompressed where it ends in ``.gz``."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _decoded(lines: Sequence[bytes]) -> tuple[list[str], str]:
    """Return lines as text, without the byte order mark of spreadsheets."""
    try:
        return [line.decode("utf-8-sig") for line in lines], "utf-8"
    except UnicodeDecodeError:
        return [line.decode("latin-1") for line in lines], "latin-1"


def _of_two(above: str, below: str) -> str:
    """Join the two header lines of ExportToSpreadsheet's combined table: object and measurement."""
    return below if below in ("ImageNumber", "ObjectNumber", "TableNumber") else f"{above}_{below}"


def _reason(message: str, header: Header) -> str:
    """Rephrase an error of the CSV reader."""
    if ragged := re.search(r"Expected (\d+) columns, got (\d+)", message):
        line = re.search(r"[Rr]ow #?(\d+)", message)
        where = f"line {int(line[1])}" if line else "a line"
        return f"{where} has {ragged[2]} columns where the header has {ragged[1]}; it was cut or edited, export it again"
    if wrong := re.search(r"column #(\d+)\S*.*?invalid value '(.{0,40})", message):
        column = header.columns[min(int(wrong[1]), len(header.columns) - 1)]
        value = wrong[2].split("'")[0]
        return f"the column {column!r} holds {value!r} where a number belongs; mend it or export it again"
    return f"it can't be read as a CSV table ({' '.join(message.split())[:150]}); export it again"


def describe(header: Header) -> list[str]:
    """Return notes on a header."""
    names = list(dict.fromkeys(column.split("\n")[0] for column in header.columns if column in header.repeated))
    return [f"Column names that stand there more than once, of which the first is taken: {', '.join(names[:3])}."] if names else []
