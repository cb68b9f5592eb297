"""CSV tables of CellProfiler, converted once to temporary Parquet files, since a CSV can't be read by row or column."""

from __future__ import annotations

import errno
import io
import re
import shutil
import weakref
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from napari_virtual_paint.cells.cellprofiler_names import IMAGE, is_image_key, is_numeric_name
from napari_virtual_paint.cells.tables.parquet import ParquetSource, needs
from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.runtime.delimited_text import DelimitedBeginning, opened, read_beginning
from napari_virtual_paint.runtime.temporary import make_temporary_folder

_SUFFIX = re.compile(r"\.(csv|tsv)(\.(gz|zip))?$", re.IGNORECASE)
_BLOCK, _LARGE_BLOCK = 16 << 20, 512 << 20  # bytes of text held in memory at a time; the larger where a row is longer than the other
_HEADER = 8 << 20
_MISSING = (
    *("", " "),
    *["nan", "NaN", "NAN", "Nan", "-nan", "nan(ind)", "-nan(ind)", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND", "1.#INF", "-1.#INF"],
    *["NA", "N/A", "<NA>", "NULL", "null", "None", "none", "#N/A", "#DIV/0!", "#NUM!", "#VALUE!", "#REF!", "#NAME?"],
)
_WHOLE = r"^-?(0|[1-9]\d{0,17})$"
_REAL = r"^-?((0|[1-9]\d{0,14})|(0|[1-9]\d*)\.\d+)([eE][-+]?\d+)?$"  # a float holds 15 digits, so a longer barcode is text
_KEY = r"^-?(0|[1-9]\d{0,14})\.0*$"
_ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "latin-1")  # in this order, where the first lines show none of two bytes a letter

Number = Literal["whole", "real"]


@dataclass(frozen=True)
class Header:
    """Header of a CSV file."""

    columns: tuple[str, ...]  # unique names of all columns; those of a table with two header lines are joined
    lines: int  # header lines, and those before them
    delimiter: str  # A comma, semicolon or tabulator
    encoding: str
    repeated: frozenset[str] = frozenset()  # repeated columns, which are not read
    unnamed: frozenset[str] = frozenset()  # columns without a name, which are not read either
    decimal: str = "."
    block: int = _BLOCK

    @property
    def used(self) -> list[str]:
        """Names of the columns that are read."""
        return [column for column in self.columns if column not in self.repeated | self.unnamed]


def is_csv(path: Path) -> bool:
    """Return whether a file name is that of a CSV or TSV table."""
    return _SUFFIX.search(path.name) is not None


def stem(path: Path) -> str:
    """Return a file's name without its suffixes."""
    return re.sub(r"\.(parquet|pq)$", "", _SUFFIX.sub("", path.name), flags=re.IGNORECASE)


def read_header(path: Path) -> Header:
    """Read the names of the columns.

    Raises `ReadError` if it is empty, binary, or has no line of names.
    """
    begin = read_beginning(path, rows=2, size=_HEADER)
    if not begin.rows:
        raise ReadError(path, "it is empty or has no line of column names; export it again")
    names, lines = _names(begin)
    counts: Counter[str] = Counter()
    columns, repeated, unnamed = [], set(), set()
    for name in names:
        # No name that was read holds a line break: blanks are made one.
        column = f"{name}\n{counts[name]}" if counts[name] or not name else name
        if not name or re.fullmatch(r"Unnamed: \d+", name):
            unnamed.add(column)
        elif counts[name]:
            repeated.add(column)
        columns.append(column)
        counts[name] += 1
    return Header(tuple(columns), lines, begin.delimiter, begin.encoding, frozenset(repeated), frozenset(unnamed))


def _names(begin: DelimitedBeginning) -> tuple[list[str], int]:
    """Return the names of the columns, and the line on which they end; those of a table with two header lines are joined."""
    names, *second = ([" ".join(cell.split()) for cell in row.cells] for row in begin.rows)
    if second and len(second[0]) == len(names) and "ImageNumber" in second[0] and "ImageNumber" not in names:
        return [_of_two(above, below) for above, below in zip(names, second[0], strict=True)], begin.ends[1]
    return names, begin.ends[0]


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
    folder = str(make_temporary_folder())
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
    """Write a CSV as Parquet, a few megabytes at a time; what its first lines don't show is found by trying."""
    pa = needs("pyarrow")
    while True:
        try:
            return _write(path, target, header, name)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            other = _other(header, error)
            if other is None:
                raise ReadError(path, _reason(str(error), header)) from error
            header = other
        except (OSError, EOFError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise ReadError(
                    path, f"there is no room for it in the temporary folder {target.parent.parent}; make some or set TMPDIR"
                ) from error
            raise ReadError(path, _reason(str(error), header)) from error


def _other(header: Header, error: Exception) -> Header | None:
    """Return how else a file may be meant after an error: another encoding, a decimal comma, longer rows; None where it is a fault."""
    message = str(error)
    if (isinstance(error, UnicodeDecodeError) or "invalid UTF8" in message) and header.encoding in _ENCODINGS[:-1]:
        return replace(header, encoding=_ENCODINGS[max(_ENCODINGS.index(header.encoding), 1) + 1])
    if header.decimal == "." and re.search(r"invalid value '[-+]?\d*,\d+([eE][-+]?\d+)?'", message):
        return replace(header, decimal=",")
    if header.block < _LARGE_BLOCK and "straddl" in message:
        return replace(header, block=_LARGE_BLOCK)
    return None


def _write(path: Path, target: Path, header: Header, name: str) -> None:
    """Write a CSV as Parquet."""
    pa, parquet = needs("pyarrow"), needs("pyarrow.parquet")
    if not _has_rows(path, header):
        parquet.write_table(pa.table({column: pa.array([], pa.float64()) for column in header.used}), target)
        return
    texts = [column for column in header.used if not is_numeric_name(column)]
    kinds: dict[str, Any] = {column: pa.float64() for column in header.used}
    kinds.update(dict.fromkeys(texts, pa.string()))
    for column, kind in _numeric_columns(path, header, texts, name).items():
        kinds[column] = pa.int64() if kind == "whole" else pa.float64()
    with (
        _batches(path, header, kinds, name) as batches,
        parquet.ParquetWriter(target, pa.schema(list(kinds.items())), use_dictionary=texts) as writer,
    ):
        for batch in batches:
            columns = [_trimmed(column) if column.type == pa.string() else column for column in batch.columns]
            writer.write_batch(pa.record_batch(columns, names=list(kinds)))


def _numeric_columns(path: Path, header: Header, texts: Sequence[str], name: str) -> dict[str, Number]:
    """Return the metadata columns that are numeric throughout, without leading zeros such as ``007``, and of which kind."""
    pa, compute = needs("pyarrow"), needs("pyarrow.compute")
    left: dict[str, Number] = dict.fromkeys(texts, "whole")
    if not left:
        return {}
    with _batches(path, header, dict.fromkeys(texts, pa.string()), name) as batches:
        for batch in batches:
            for column, kind in list(left.items()):
                values = _trimmed(batch.column(column)).drop_null()
                real = _KEY if is_image_key(column) else _REAL.replace(r"\.", re.escape(header.decimal))
                kinds: tuple[Number, ...] = ("whole", "real") if kind == "whole" else ("real",)
                patterns: dict[Number, str] = {"whole": _WHOLE, "real": f"{_WHOLE}|{real}" if is_image_key(column) else real}
                found = (each for each in kinds if compute.all(compute.match_substring_regex(values, patterns[each]), min_count=0).as_py())
                fits = next(found, None)
                if fits is None:
                    del left[column]
                else:
                    left[column] = fits
    return left


def _trimmed(column: Any) -> Any:
    """Return text without the blanks around it; nothing else is missing."""
    compute = needs("pyarrow.compute")
    trimmed = compute.utf8_trim_whitespace(column)
    return compute.if_else(compute.equal(trimmed, ""), None, trimmed)


@contextmanager
def _batches(path: Path, header: Header, types: Mapping[str, Any], name: str) -> Iterator[Any]:
    """Yield pyarrow's reader of these columns; only single-threaded reading reports the line of an error."""
    read = needs("pyarrow.csv")
    with opened(path) as file:
        # A plain file is faster read by pyarrow itself, which unpacks what ends in .gz.
        plain = isinstance(file, io.BufferedReader) and not path.name.lower().endswith((".gz", ".bz2", ".lz4", ".zst"))
        with read.open_csv(
            path if plain else file,
            read_options=read.ReadOptions(
                column_names=list(header.columns),
                skip_rows=header.lines,
                block_size=header.block,
                encoding=header.encoding.removesuffix("-sig"),  # pyarrow knows the mark of UTF-8
                use_threads=False,
            ),
            # Measurements contain no line breaks, descriptions of images may.
            parse_options=read.ParseOptions(delimiter=header.delimiter, newlines_in_values=name == IMAGE),
            convert_options=read.ConvertOptions(
                include_columns=list(types),
                column_types=dict(types),
                null_values=list(_MISSING),
                strings_can_be_null=True,
                decimal_point=header.decimal,
            ),
        ) as batches:
            yield batches


def _has_rows(path: Path, header: Header) -> bool:
    """Return whether rows follow the header; CellProfiler writes empty tables where nothing was found."""
    begin = read_beginning(path, rows=3, size=_HEADER)
    return any(end > header.lines for end in begin.ends)


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


def describe(path: Path, header: Header) -> list[str]:
    """Return notes on a header."""
    notes = []
    if header.repeated:
        names = list(dict.fromkeys(column.split("\n")[0] for column in header.columns if column in header.repeated))
        some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        notes.append(f"{path.name}: column names that stand there more than once, of which the first is taken: {some}.")
    if header.unnamed:
        notes.append(f"{path.name}: columns without a name are left out: {len(header.unnamed)}.")
    return notes
