"""CSV and TSV from anywhere: encodings, line ends, delimiters, long fields, lines in errors; and formulas in what is written."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from pathlib import Path

import pytest

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.runtime.delimited_text import (
    DelimitedRow,
    delimiter_of,
    escape_formula,
    escape_formulas,
    read_beginning,
    read_rows,
    split_line,
    unescape_formula,
    unescape_formulas,
)
from napari_virtual_paint.runtime.text import csv_text

TEXT = 'name,dose\n"a, b",1\nµ,2\n'
ROWS = [("name", "dose"), ("a, b", "1"), ("µ", "2")]


def packed(name: str, *members: str) -> bytes:
    data = io.BytesIO()
    if name == "gzip":
        return gzip.compress(TEXT.encode(), mtime=0)
    with zipfile.ZipFile(data, "w") as archive:
        for member in members:
            archive.writestr(member, TEXT)
    return data.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.encode("cp1252"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.replace("\n", "\r", 1).encode(),
        TEXT.rstrip("\n").encode(),
        b"\n\n" + TEXT.encode() + b",\n , \n",
        b"sep=;\r\n" + 'name;dose\n"a, b";1\nµ;2'.encode(),
        "name\tdose\na, b\t1\nµ\t2\n".encode(),
        'name, dose\n"a, b", 1\nµ, 2\n'.encode(),
        packed("gzip"),
        packed("zip", "a.csv", "__MACOSX/._a.csv"),
    ],
    ids=[
        *("utf-8", "mark", "utf-16", "utf-16 be", "utf-16 le without mark", "utf-16 be without mark", "utf-32", "cp1252", "crlf", "cr"),
        *("mixed ends", "no end", "empty lines", "sep", "tab", "blanks", "gzip", "zip"),
    ],
)
def test_the_same_rows_however_they_are_written(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    assert [row.cells for row in read_rows(path)] == ROWS
    assert [row.cells for row in read_beginning(path, 2).rows] == ROWS[:2]


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('\na,b\n\n"x\n\ny",1\r\n,\n2,3\n')
    assert read_rows(path) == [DelimitedRow(2, ("a", "b")), DelimitedRow(4, ("x\n\ny", "1")), DelimitedRow(8, ("2", "3"))]
    assert read_beginning(path, 2).ends == (2, 6)


def test_fields_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    long = "x" * 200_000
    path.write_text(f"a,b\n{long},1\n")
    assert read_rows(path)[1].cells == (long, "1")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"\n , \n", "it is empty"),
        (b"a,b\n1,\0\n", "line 2 holds a NUL"),
        (b'a,b\n1,2\n"3,4\n5,6\n', "from line 3 on it holds a quotation mark without its partner"),
        (b'a,b\n"1"x,2\n', "from line 2 on it holds no table"),
        (b"\xff\xfea\0,\0b\0\n\0x", "no text in utf-16"),
        (packed("gzip")[:-20], "it can't be read"),
        (packed("zip", "a.csv", "b.csv"), "a zip of 2 files; unpack it"),
        (packed("zip", "[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook; save its sheet as CSV"),
    ],
)
def test_what_is_no_table_is_said_in_a_sentence(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(ReadError) as error:
        read_rows(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_delimiters() -> None:
    assert delimiter_of('"a;b;c;d",e,f') == ","
    assert delimiter_of("a") == ","
    assert delimiter_of("a;b,c;d") == ";"
    assert split_line('DNA, "A, B",\rER') == ["DNA", "A, B", "ER"]
    assert split_line("") == []


@pytest.mark.parametrize("text", ["=1+1", "-DMSO", "+ctrl", "@SUM(A1)", "\tx", "\rx", "=cmd|' /C calc'!A0", "-1e3x", "+", "-"])
def test_formulas_are_escaped(text: str) -> None:
    assert escape_formula(text) == f"'{text}"
    assert unescape_formula(escape_formula(text)) == text


@pytest.mark.parametrize("value", ["a=b", "", "-1", "+2.5", "-1e-3", "-0,5", "-inf", "-nan", -3, None, 2.5, "DMSO", " =x", "'quoted"])
def test_what_is_no_formula_stays(value: object) -> None:
    assert escape_formula(value) == value
    assert unescape_formula(value) == value


def test_formulas_in_tables() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"=well": ["A01", "=1+1"], "value": [-1.5, 2.0], "kind": pd.Categorical(["-x", "y"])})
    escaped = escape_formulas(frame)
    assert escaped.to_csv(index=False) == "'=well,value,kind\nA01,-1.5,'-x\n'=1+1,2.0,y\n"
    assert unescape_formulas(escaped).astype({"kind": "category"}).equals(frame)
    assert list(frame["=well"]) == ["A01", "=1+1"]
    text = csv_text([{"a": "=1", "b": "-2"}], ("a", "b"), for_people=True)
    assert list(csv.reader(text.splitlines())) == [["a", "b"], ["'=1", "-2"]]
    assert csv_text([{"a": "=1"}], ("a",)) == "a\n=1\n"
