"""CSV and TSV as spreadsheets and instruments write them: any encoding, delimiter, line ending and length of a field."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from napari_virtual_paint.errors import ReadError

if TYPE_CHECKING:
    import pandas as pd

csv.field_size_limit(2**31 - 1)  # Python's own limit of 131,072 letters is less than a thumbnail that CellProfiler stores

DELIMITERS = (",", ";", "\t")
MOST_BYTES = 1 << 30  # of a file that is read whole, unpacked; more is no table of images or wells
_SNIFFED = 4096  # bytes by which text without a byte order mark is known for UTF-16
_SEPARATOR = re.compile(r"sep=([,;\t|])\s*", re.IGNORECASE)  # first line by which Excel is given the delimiter
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # first letters of a cell that a spreadsheet computes instead of showing it
_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*|\s*[-+]?(nan|inf|infinity)\s*", re.IGNORECASE)


class DelimitedRow(NamedTuple):
    """A row that is not empty, and the line of the file on which it begins, counted from 1."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class DelimitedBeginning:
    """What the beginning of a CSV or TSV file shows."""

    rows: tuple[DelimitedRow, ...]  # the first rows that are not empty
    ends: tuple[int, ...]  # for each of them, the line on which it ends
    delimiter: str
    encoding: str


def read_rows(path: Path) -> list[DelimitedRow]:
    """Return the rows of a CSV or TSV file, without those of which all cells are empty; the first holds the names of the columns.

    The delimiter is the most frequent of comma, semicolon and tab in the first row. Files compressed by gzip, or the only one in
    a zip, are unpacked.

    Raises `ReadError` if the file is empty, no text, or has a quotation mark without its partner.
    """
    data = _read(path, MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ReadError(path, f"it holds more than {MOST_BYTES >> 30} GiB of text; give a smaller table")
    try:
        text = data.decode(encoding_of(data, whole=True)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ReadError(path, f"it is no text in {error.encoding} ({error.reason}); save it as CSV in UTF-8") from error
    if "\0" in text:
        line = sum(1 for _ in _lines(text[: text.index("\0") + 1]))
        raise ReadError(path, f"it is no text: line {line} holds a NUL character; give a CSV or TSV file")
    parser = _Parser(text, strict=True)
    try:
        rows = [row for row, _ in parser]
    except csv.Error as error:
        what = "a quotation mark without its partner" if "end of data" in str(error) else f"no table ({error})"
        raise ReadError(path, f"from line {parser.line} on it holds {what}; mend it or export it again") from error
    if not rows:
        raise ReadError(path, "it is empty; give a table with a line of column names")
    return rows


def read_beginning(path: Path, rows: int = 1, size: int = 1 << 20) -> DelimitedBeginning:
    """Return the first rows of a CSV or TSV file that are not empty.

    Parameters
    ----------
    rows
        How many rows.
    size
        Most bytes that are read.

    Raises
    ------
    ReadError
        If it can't be read, or holds binary data.
    """
    data = _read(path, size)
    encoding = encoding_of(data, whole=len(data) < size)
    text = data.decode(encoding, errors="replace").removeprefix("\ufeff")
    if "\0" in text:
        raise ReadError(path, "it is no text but holds binary data; give a CSV or TSV file")
    parser = _Parser(text, strict=False)
    found = list(itertools.islice(parser, rows))
    return DelimitedBeginning(tuple(row for row, _ in found), tuple(end for _, end in found), parser.delimiter, encoding)


def _read(path: Path, size: int) -> bytes:
    """Return a file's first bytes, unpacked."""
    try:
        with opened(path) as file:
            return file.read(size)
    except FileNotFoundError as error:
        raise ReadError(path, "there is no such file; check the name") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ReadError(path, f"it can't be read ({getattr(error, 'strerror', None) or error}); copy it again") from error


class _Parser:
    """Iterate over the rows that are not empty, each with the line on which it ends; `line` is the one on which the next begins."""

    def __init__(self, text: str, *, strict: bool) -> None:
        first = next((line for line in _lines(text) if line.strip()), "")
        self._given = _SEPARATOR.fullmatch(first)
        self.delimiter = self._given[1] if self._given else delimiter_of(first)
        self._reader = csv.reader(_lines(text), delimiter=self.delimiter, skipinitialspace=True, strict=strict)
        self.line = 1

    def __iter__(self) -> Iterator[tuple[DelimitedRow, int]]:
        skipped = self._given is None
        for cells in self._reader:
            row, self.line = DelimitedRow(self.line, tuple(cells)), self._reader.line_num + 1
            if not any(map(str.strip, cells)):
                continue
            if skipped:
                yield row, self._reader.line_num
            skipped = True


def _lines(text: str) -> Iterator[str]:
    """Return an iterator over the lines, which may end in CR, LF or both."""
    return io.StringIO(text, newline="")


def delimiter_of(header: str) -> str:
    """Return the most frequent delimiter outside quotation marks in a line of column names; a comma where there is none."""
    outside = re.sub(r'"[^"]*"?', "", header)
    return max(DELIMITERS, key=outside.count)


def split_line(text: str, delimiter: str = ",") -> list[str]:
    """Split text at its delimiters outside quotation marks; line ends count as blanks."""
    return next(csv.reader([" ".join(text.splitlines())], delimiter=delimiter, skipinitialspace=True), [])


def encoding_of(data: bytes, *, whole: bool = False) -> str:
    """Return the encoding of a text: by its mark, else UTF-16, UTF-8 or Windows' own by what its bytes can be.

    Parameters
    ----------
    data
        The text, or its beginning.
    whole
        Whether it is the whole text: a beginning may end amid a letter.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    some = data[: _SNIFFED // 2 * 2]
    for place, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # of plain letters every other byte is 0
        if len(some) > 3 and some[place::2].count(0) > 0.6 * len(some[place::2]) and not some[1 - place :: 2].count(0):
            return encoding
    for encoding in ("utf-8", "cp1252"):
        try:
            codecs.getincrementaldecoder(encoding)().decode(data, whole)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def opened(path: Path) -> IO[bytes]:
    """Open a file for reading; one in gzip, or the only one in a zip archive, is unpacked, whatever its name.

    Raises `ReadError` for a zip archive of several files, such as an Excel workbook.
    """
    file = path.open("rb")
    begin = file.read(4)
    file.seek(0)
    if begin.startswith(_GZIP):
        file.close()
        return cast(IO[bytes], gzip.open(path, "rb"))
    if begin != _ZIP:
        return file
    file.close()
    try:
        with zipfile.ZipFile(path) as archive:
            names = [item for item in archive.namelist() if not item.endswith("/") and not item.startswith("__MACOSX/")]
            if len(names) == 1:
                return archive.open(names[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ReadError(path, f"it is a zip archive that can't be unpacked ({error}); unpack it first") from error
    kind = "an Excel workbook; save its sheet as CSV" if "[Content_Types].xml" in names else f"a zip of {len(names)} files; unpack it"
    raise ReadError(path, f"it is no CSV file but {kind}")


def escape_formula(value: Any) -> Any:
    """Return a value for a table that people open: text that a spreadsheet would compute as a formula gets an apostrophe in front.

    Numbers, and text that is one, stay. `unescape_formula` takes the apostrophe away.
    """
    if isinstance(value, str) and value.startswith(FORMULAS) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def unescape_formula(value: Any) -> Any:
    """Return what `escape_formula` was given."""
    if isinstance(value, str) and value.startswith("'") and value[1:].startswith(FORMULAS):
        return value[1:]
    return value


def escape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table for people with the text of its cells and columns as `escape_formula` returns it."""
    return _mapped(frame, escape_formula)


def unescape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what `escape_formulas` was given."""
    return _mapped(frame, unescape_formula)


def _mapped(frame: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    """Return a table with the text of its cells and columns changed."""
    found = frame.rename(columns=change)
    for place, kind in enumerate(found.dtypes):
        if kind.kind not in "biufcmM":
            found.isetitem(place, found.iloc[:, place].map(change))
    return found
