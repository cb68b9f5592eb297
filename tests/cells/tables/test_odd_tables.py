"""Tables as labs have them: keys of text, repeated numbers, padded rows, letters and line ends of other systems, views of strangers."""

from __future__ import annotations

import gzip
import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

from napari_virtual_paint.cells.tables import csv_files, sqlite_connection  # noqa: E402
from napari_virtual_paint.cells.tables.joins import coded  # noqa: E402
from napari_virtual_paint.cells.tables.table import CellTable, open_table  # noqa: E402
from napari_virtual_paint.errors import ReadError  # noqa: E402

AREAS = ["Nuclei_AreaShape_Area", "Cells_AreaShape_Area"]
IMAGE = "ImageNumber,Metadata_Well,FileName_DNA\n1,A01,a.tif\n2,B02,b.tif\n"
NUCLEI = "ImageNumber,ObjectNumber,AreaShape_Area,AreaShape_Extent\n1,1,11,0.5\n1,2,12,0.25\n2,1,21,0.125\n"
CELLS = "ImageNumber,ObjectNumber,AreaShape_Area,Parent_Nuclei\n1,1,112,2\n1,2,111,1\n2,1,121,1\n"
RUN: dict[str, Any] = {"Image": IMAGE, "Nuclei": NUCLEI, "Cells": CELLS}
WANTED = [[12, 112], [11, 111], [21, 121]]  # by the numbers of the cells


def as_files(folder: Path, tables: dict[str, str | bytes], suffix: str = ".csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        (folder / f"{name}{suffix}").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def as_database(path: Path, tables: dict[str, Any], prefix: str = "Per_") -> Path:
    with sqlite3.connect(path) as connection:
        for name, frame in tables.items():
            frame.to_sql(f"{prefix}{name}", connection, index=False)
    connection.close()
    return path


def assert_three(table: CellTable) -> None:
    np.testing.assert_array_equal(table.values(AREAS), WANTED)
    assert list(table.frame(["Metadata_Well"])["Metadata_Well"]) == ["A01", "A01", "B02"]


def zipped(text: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("inside.csv", text)
    return data.getvalue()


# CSV


WRITTEN: dict[str, Any] = {
    "cr": lambda text: text.replace("\n", "\r"),
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "mixed": lambda text: text.replace("\n", "\r\n", 1),
    "no end": lambda text: text.rstrip("\n"),
    "empty lines": lambda text: "\n" + text.replace("\n", "\n\n"),
    "mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16 le": lambda text: text.encode("utf-16-le"),
    "tab": lambda text: text.replace(",", "\t"),
    "semicolon and decimal comma": lambda text: text.replace(",", ";").replace(".125", ",125").replace("0.", "0,"),
    "blanks": lambda text: text.replace(",", ", "),
    "quoted": lambda text: re.sub(r"([^,\n]+)", r'"\1"', text),
    "sep": lambda text: "sep=,\n" + text,
    "gzip without its suffix": lambda text: gzip.compress(text.encode()),
    "zip": zipped,
    "unnamed": lambda text: re.sub(r"(?m)$(?<!^)", ",,", text),
    "index of pandas": lambda text: re.sub(r"(?m)^(?=\d)", "7,", "," + text),
    "floats": lambda text: re.sub(r"(?m)^(\d)", r"\1.0", text),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_csv_as_it_is_written_elsewhere(tmp_path: Path, how: str) -> None:
    tables = {name: WRITTEN[how](text) for name, text in RUN.items()}
    table = open_table(as_files(tmp_path / "run", tables))
    assert_three(table)
    np.testing.assert_array_equal(table.values(["Nuclei_AreaShape_Extent"])[:, 0], [0.25, 0.5, 0.125])
    assert not [note for note in table.notes if re.search(r"[:,] ?\.$", note)]
    assert (how in ("unnamed", "index of pandas")) == any("columns without a name are left out" in note for note in table.notes)


@pytest.mark.parametrize("suffix", [".tsv", ".TSV", ".csv.gz", ".csv.zip"])
def test_suffixes(tmp_path: Path, suffix: str) -> None:
    pack = {".csv.gz": lambda text: gzip.compress(text.encode()), ".csv.zip": zipped}.get(suffix, lambda text: text.replace(",", "\t"))
    folder = as_files(tmp_path / "run", {name: pack(text) for name, text in RUN.items()}, suffix)
    assert_three(open_table(folder))
    assert len(open_table(folder / f"Nuclei{suffix}")) == 3


def test_long_fields_and_line_ends_in_them(tmp_path: Path) -> None:
    lines = IMAGE.splitlines()
    image = "\n".join([f"{lines[0]},Thumb_DNA,Metadata_Note", f'{lines[1]},{"A" * 200_000},"two\nlines, 1"', f"{lines[2]},B,µ"])
    table = open_table(as_files(tmp_path / "run", {**RUN, "Image": image}))
    assert_three(table)
    assert list(table.frame(["Metadata_Note"])["Metadata_Note"]) == ["two\nlines, 1", "two\nlines, 1", "µ"]


def test_rows_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "_BLOCK", 1 << 12)
    monkeypatch.setattr(csv_files.Header, "block", 1 << 12)
    image = IMAGE.replace("FileName_DNA\n", "FileName_DNA,Thumb\n").replace("a.tif", "a.tif," + "A" * 20_000).replace("b.tif", "b.tif,B")
    header = csv_files.replace(csv_files.read_header(as_files(tmp_path, {"Image": image}) / "Image.csv"), block=1 << 12)
    source = csv_files.open_csv(tmp_path / "Image.csv", "Image", header)
    assert source.read(["Metadata_Well"])["Metadata_Well"].to_pylist() == ["A01", "B02"]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_letters_that_are_not_utf_8_after_the_first_lines(tmp_path: Path, encoding: str) -> None:
    letter = "\x81" if encoding == "latin-1" else "µ"  # which cp1252 lacks
    image = IMAGE.replace("b.tif", f"{letter}.tif").encode(encoding)
    table = open_table(as_files(tmp_path / "run", {**RUN, "Image": image}))
    assert_three(table)
    assert table.frame(["Image_FileName_DNA"])["Image_FileName_DNA"].iloc[2] == f"{letter}.tif"


def test_missing_and_infinite_values(tmp_path: Path) -> None:
    words = ["", " ", "nan", "NaN", "-nan(ind)", "inf", "-inf", "Infinity", "-1.#IND", "1.#INF", "#DIV/0!", "NULL", "NA", "1e400"]
    rows = [f"1,{number},{word}" for number, word in enumerate(words, start=1)]
    text = "\n".join(["ImageNumber,ObjectNumber,AreaShape_Area", *rows, "1,90, 5 ", "1,91,1e-3", "1,92,+7", ""])
    values = open_table(as_files(tmp_path, {"Nuclei": text}) / "Nuclei.csv").values()[:, 0]
    assert np.isnan(values[:-3]).all()
    np.testing.assert_allclose(values[-3:], [5, 1e-3, 7])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NUCLEI.replace("12,", "12,,"), r"line 3 has 5 columns where the header has 4"),
        ("\n\n" + NUCLEI.replace("12,", "12,,"), r"line 5 has 5 columns where the header has 4"),
        (NUCLEI.replace("12,", "1.234,56,"), "line 3 has 5 columns"),
        (NUCLEI.replace("12,", "big,"), "'AreaShape_Area' holds 'big' where a number belongs"),
        (NUCLEI.replace("1,2,12", "1,x,12"), "'ObjectNumber' holds 'x' where a number belongs"),
        ("\0\0\0\0", "binary data"),
        (zipped(NUCLEI)[:-10], "zip archive that can't be unpacked"),
    ],
)
def test_faults_in_csv(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(ReadError, match=said):
        open_table(as_files(tmp_path, {"Nuclei": text}) / "Nuclei.csv")


def test_files_beside_the_tables_that_cannot_be_read(tmp_path: Path) -> None:
    folder = as_files(tmp_path, {**RUN, "log": "", "other": b"\0\1"})
    table = open_table(folder)
    assert_three(table)
    assert [note.split(" was not read: ")[0] for note in table.notes if "was not read" in note] == ["log.csv", "other.csv"]
    as_files(folder, {"Cells": ""})
    with pytest.raises(ReadError, match=r"Cells\.csv: it is empty"):
        open_table(folder)


def test_an_image_table_without_numbers_is_named(tmp_path: Path) -> None:
    image = re.sub(r"(?m)^[^,]*,", "", IMAGE)
    folder = as_files(tmp_path, {**RUN, "Image": image})
    for path in (folder, sorted(folder.iterdir())):
        with pytest.raises(ReadError, match=r"Image\.csv: it has no column ImageNumber"):
            open_table(path)
    np.testing.assert_array_equal(open_table([folder / "Nuclei.csv", folder / "Cells.csv"]).values(AREAS), WANTED)


@pytest.mark.parametrize("key", ["ImageNumber", "ObjectNumber"])
def test_objects_without_a_key_are_named(tmp_path: Path, key: str) -> None:
    folder = as_files(tmp_path, {**RUN, "Nuclei": NUCLEI.replace(key, "Number")})
    for path in (folder, sorted(folder.iterdir())):
        with pytest.raises(ReadError, match=rf"Nuclei\.csv: it has no column {key}, so its objects can't be joined"):
            open_table(path)
    as_files(folder, {"Cells": CELLS.replace(key, "Number")})
    with pytest.raises(ReadError, match=rf"csv: it has no column {key}"):
        open_table([folder / "Nuclei.csv", folder / "Cells.csv"])
    assert len(open_table(folder / "Nuclei.csv")) == 3  # alone it is a table of cells without keys


# Numbers of images


def two_sites(key: Any, other: Any, kind: type = object) -> dict[str, Any]:
    """Return the tables of two sites whose images and objects have the same numbers, told apart by TableNumber."""

    def frame(rows: list[list[Any]], columns: list[str]) -> Any:
        made = pd.DataFrame([[*row, site] for site in (key, other) for row in rows], columns=[*columns, "TableNumber"])
        return made.astype({"TableNumber": kind})

    nuclei, cells = [[1, 1, 11.0], [1, 2, 12.0]], [[1, 1, 112.0, 2], [1, 2, 111.0, 1]]
    found = {
        "Image": frame([[1, "A01"]], ["ImageNumber", "Image_Metadata_Well"]).assign(Image_Metadata_Well=["A01", "B02"]),
        "Nuclei": frame(nuclei, ["ImageNumber", "Nuclei_Number_Object_Number", AREAS[0]]),
        "Cells": frame(cells, ["ImageNumber", "Cells_Number_Object_Number", AREAS[1], "Cells_Parent_Nuclei"]),
    }
    for name, area in (("Nuclei", AREAS[0]), ("Cells", AREAS[1])):
        found[name].loc[2:, area] += 1000
    return found


def assert_two_sites(table: CellTable) -> None:
    np.testing.assert_array_equal(table.values(AREAS), [[12, 112], [11, 111], [1012, 1112], [1011, 1111]])
    assert list(table.frame(["Metadata_Well"])["Metadata_Well"]) == ["A01", "A01", "B02", "B02"]


KEYS = {
    "hex": ("0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"),
    "words": ("x_hash", "y_hash"),
    "like floats": ("1e5", "100000"),
    "digits": ("0123", "123" * 13),
    "large": (2**62 + 1, 2**62 + 2),  # equal as floats
    "floats": (1.0, 2.0),
    "mixed": (7, "seven"),
    "blob": (b"\x01a", b"\x01b"),
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_numbers_of_tables_that_are_no_small_numbers(tmp_path: Path, keys: tuple[Any, Any]) -> None:
    tables = two_sites(*keys)
    assert_two_sites(open_table(as_database(tmp_path / "a.sqlite", tables)))
    if not isinstance(keys[0], bytes):
        texts = {name: frame.astype({"TableNumber": str}).to_csv(index=False) for name, frame in tables.items()}
        assert_two_sites(open_table(as_files(tmp_path / "csv", texts)))
        for name, frame in two_sites(*map(str, keys)).items():
            frame.to_parquet(tmp_path / f"{name}.parquet")
        assert_two_sites(open_table([tmp_path / f"{name}.parquet" for name in tables]))


def test_text_in_columns_of_whole_numbers(tmp_path: Path) -> None:
    tables = two_sites("x_hash", 7)
    path = as_database(tmp_path / "a.sqlite", {"Image": tables["Image"]})
    with sqlite3.connect(path) as connection:
        columns = "ImageNumber INTEGER, Nuclei_Number_Object_Number INT, Nuclei_AreaShape_Area REAL, TableNumber INTEGER"
        connection.execute(f"CREATE TABLE Per_Nuclei ({columns})")
        connection.executemany("INSERT INTO Per_Nuclei VALUES (?, ?, ?, ?)", tables["Nuclei"].astype(object).to_numpy().tolist())
    connection.close()
    assert list(open_table(path).frame(["Metadata_Well"])["Metadata_Well"]) == ["A01", "A01", "B02", "B02"]


def test_numbers_stored_otherwise_in_each_table(tmp_path: Path) -> None:
    tables = two_sites(1, 2)
    tables["Nuclei"]["TableNumber"] = tables["Nuclei"]["TableNumber"].astype(str)
    tables["Cells"]["TableNumber"] = tables["Cells"]["TableNumber"].astype(float)
    tables["Cells"]["ImageNumber"] = tables["Cells"]["ImageNumber"].astype(str) + ".0"
    table = open_table(as_database(tmp_path / "a.sqlite", tables))
    assert_two_sites(table)
    assert len(table.where(TableNumber=2)) == 2


def test_text_for_image_numbers(tmp_path: Path) -> None:
    both = two_sites("s1", "s2").items()
    tables = {name: frame.assign(ImageNumber=frame["TableNumber"]).drop(columns="TableNumber") for name, frame in both}
    table = open_table(as_database(tmp_path / "a.sqlite", tables))
    assert_two_sites(table)
    assert list(table.where(ImageNumber="s2")) == [2, 3]


def test_codes_of_keys() -> None:
    def columns(*values: list[Any]) -> list[Any]:
        return [pa.chunked_array([pa.array(each)]) for each in values]

    first, second = coded([columns([1, 2, None], ["a", "b", "a"]), columns([2.0, 1.0], ["b", "b"])])
    assert first[1] == second[0]
    assert first[2] == -1
    assert len({*first[:2], second[1]}) == 3
    (mixed,) = coded([columns(["1", "1.0", " 1", "01", "1e0", "", "nan", None])])
    assert len(set(mixed[:4])) == 1
    assert mixed[4] not in (-1, mixed[0])
    assert list(mixed[5:]) == [-1, -1, -1]
    (empty,) = coded([columns(pa.array([], pa.int64()))])
    assert len(empty) == 0


def test_repeated_image_numbers_are_refused(tmp_path: Path) -> None:
    plain = {name: frame.drop(columns="TableNumber") for name, frame in two_sites(1, 2).items()}
    with pytest.raises(ReadError, match=r"Image\.csv: it has several rows of ImageNumber 1"):
        open_table(as_files(tmp_path / "a", {name: frame.to_csv(index=False) for name, frame in plain.items()}))
    once = {**plain, "Image": plain["Image"].iloc[:1]}
    with pytest.raises(ReadError, match=r"(Nuclei|Cells)\.csv: it has the object \d more than once"):
        open_table(as_files(tmp_path / "b", {name: frame.to_csv(index=False) for name, frame in once.items()}))
    with pytest.raises(ReadError, match="of ImageNumber 1"):
        open_table(as_database(tmp_path / "c.sqlite", plain))
    partly = {**two_sites("a", "b"), "Image": plain["Image"]}
    with pytest.raises(ReadError, match="several rows of ImageNumber 1"):
        open_table(as_database(tmp_path / "d.sqlite", partly))
    with pytest.raises(ReadError, match="no TableNumber, though several tables number images alike"):
        open_table(as_database(tmp_path / "e.sqlite", {**two_sites("a", "b"), "Image": plain["Image"].iloc[:1]}))


def test_metadata_tell_repeated_images_apart(tmp_path: Path) -> None:
    tables = two_sites(1, 2)
    for name in ("Nuclei", "Cells"):
        tables[name]["Metadata_Plate"] = tables[name].pop("TableNumber").map({1: "P1", 2: "P2"})
    tables["Image"]["Image_Metadata_Plate"] = tables["Image"].pop("TableNumber").map({1: "P1", 2: "P2"})
    table = open_table(as_database(tmp_path / "a.sqlite", tables))
    assert_two_sites(table)
    assert any("told apart by Metadata_Plate" in note for note in table.notes)


def test_tables_that_were_appended_twice_count_once(tmp_path: Path) -> None:
    def twice(text: str) -> str:
        return text + text.partition("\n")[2]

    table = open_table(as_files(tmp_path, {"Image": twice(IMAGE), "Nuclei": twice(NUCLEI), "Cells": twice(CELLS)}))
    assert_three(table)
    assert any("were there before, are left out (3)" in note for note in table.notes)


def test_folders_of_sites_may_repeat_numbers(tmp_path: Path) -> None:
    for site in ("s1", "s2"):
        as_files(tmp_path / site, RUN)
    assert len(open_table(tmp_path)) == 6


# Several compartments in one table


def padded(area: bool = False) -> Any:
    """Return Per_Object of an image with three nuclei and two cells, of which one spot, and of one with a nucleus and two cells."""
    frame = pd.DataFrame(
        {
            "ImageNumber": [1, 1, 1, 1, 2, 2],
            "ObjectNumber": [1, 2, 3, 4, 1, 2],
            "Nuclei_Number_Object_Number": [1, 2, 3, 0, 1, 0],
            AREAS[0]: [11.0, 12, 13, 0, 21, 0],
            "Cells_Number_Object_Number": [1, 2, 0, 0, 1, 2],
            AREAS[1]: [111.0, 112, 0, 0, 121, 122],
            "Spots_Number_Object_Number": [1, 0, 0, 4, 0, 0],
            "Spots_AreaShape_Area": [1.0, 0, 0, 4, 0, 0],
        }
    )
    return frame if not area else frame[[name for name in frame if not name.endswith("_Number_Object_Number")]]


@pytest.mark.parametrize("area", [False, True], ids=["numbers", "areas alone"])
def test_padded_rows_are_no_measurements(tmp_path: Path, area: bool) -> None:
    frame = padded(area)
    image = pd.DataFrame({"ImageNumber": [1, 2], "Image_Metadata_Well": ["A01", "B02"]})
    frame.to_parquet(tmp_path / "a.parquet")
    nan = frame.replace({0: np.nan})
    above = ["Image", "Image", *("Nuclei" if name[0] == "N" else "Cells" if name[0] == "C" else "Spots" for name in list(frame)[2:])]
    text = ",".join(above) + "\n" + ",".join(name.split("_", 1)[-1] for name in frame) + "\n" + nan.to_csv(index=False, header=False)
    as_files(tmp_path, {"merged": text})
    database = as_database(tmp_path / "a.db", {"Image": image, "Object": frame}, "MyExpt_Per_")
    paths = {"database": database, "Parquet": tmp_path / "a.parquet", **({} if area else {"merged": tmp_path / "merged.csv"})}
    wanted = [[11, 111, 1], [12, 112, np.nan], [21, 121, np.nan]]
    for kind, path in paths.items():
        table = open_table(path)
        np.testing.assert_array_equal(table.values([*AREAS, "Spots_AreaShape_Area"]), wanted, kind)
        assert any(re.search("Rows without Nuclei or Cells are left out: 3 of 6", note) for note in table.notes), kind
        np.testing.assert_array_equal(table.values(["Spots_AreaShape_Area"], [2, 0])[:, 0], [np.nan, 1])
    assert list(open_table(database).frame(["Metadata_Well"])["Metadata_Well"]) == ["A01", "A01", "B02"]


@pytest.mark.parametrize("number", [0, 3], ids=["no number", "a number"])
def test_padded_rows_of_a_table_of_one_compartment(tmp_path: Path, number: int) -> None:
    padded = f"{number},0,0\n"
    table = open_table(as_files(tmp_path / "a", {**RUN, "Nuclei": f"{NUCLEI}1,{padded}2,{padded}"}))
    assert_three(table)
    alone = open_table(as_files(tmp_path / "b", {"Image": IMAGE, "Nuclei": f"{NUCLEI}1,{padded}2,{padded}"}))
    np.testing.assert_array_equal(alone.values(AREAS[:1])[:, 0], [11, 12, 21])
    assert any("or area" in note and "are left out (2)" in note for note in alone.notes)
    # Without parents the compartments are joined by their numbers, in which a padded row has none.
    cells = NUCLEI.replace(",1", ",1", 1).replace(",11,", ",111,").replace(",12,", ",112,").replace(",21,", ",121,")
    joined = open_table(as_files(tmp_path / "c", {"Image": IMAGE, "Cells": cells, "Nuclei": f"{NUCLEI}1,{padded}"}))
    np.testing.assert_array_equal(joined.values(AREAS), [[11, 111], [12, 112], [21, 121]])


def test_columns_that_differ_in_their_letters_size_alone(tmp_path: Path) -> None:
    names = ["Cells_Intensity_MeanIntensity_er", "Cells_Intensity_MeanIntensity_ER"]
    frame = pd.DataFrame({"ImageNumber": [1, 1], "Metadata_Well": "A01", names[0]: [1.0, 2.0], names[1]: [3.0, 4.0]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    for path in (tmp_path / "a.parquet", tmp_path / "a.csv"):
        table = open_table(path)
        np.testing.assert_array_equal(table.values(names), [[1, 3], [2, 4]])
        np.testing.assert_array_equal(table.values(names[::-1], [1]), [[4, 2]])


def test_one_cell_is_enough(tmp_path: Path) -> None:
    one = {name: "\n".join(text.splitlines()[:2]) + "\n" for name, text in RUN.items()}
    one["Cells"] = one["Cells"].replace(",2\n", ",1\n")
    table = open_table(as_files(tmp_path, one))
    np.testing.assert_array_equal(table.values(AREAS), [[11, 112]])
    assert not any("same value" in note for note in table.notes)


def test_a_barcode_keeps_its_digits(tmp_path: Path) -> None:
    image = IMAGE.replace("Well", "Barcode").replace("A01", "12345678901234567891").replace("B02", "12345678901234567892")
    table = open_table(as_files(tmp_path, {**RUN, "Image": image}))
    assert list(table.frame(["Metadata_Barcode"])["Metadata_Barcode"])[1:] == ["12345678901234567891", "12345678901234567892"]


# Databases


NAMES = ["(Nuclei)", "Expanded nuclei", "Nuclei-2", "Nuclei.old", "Zellkerne_µ", "Per_Nuclei"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_objects(tmp_path: Path, name: str) -> None:
    image = pd.DataFrame({"ImageNumber": [1, 2], "Image_Metadata_Well": ["A01", "B02"]})
    objects = pd.DataFrame({"ImageNumber": [1, 2, 2], f"{name}_Number_Object_Number": [1, 1, 2], f"{name}_AreaShape_Area": [1.0, 2, 3]})
    for number, prefix in enumerate(("Per_", "MyExpt_Per_", "Paper_1_Per_", "Super_Per_")):
        table = open_table(as_database(tmp_path / f"{number}.db", {"Image": image, name: objects}, prefix))
        assert table.features == (f"{name}_AreaShape_Area",)
        assert list(table.frame(["Metadata_Well"])["Metadata_Well"]) == ["A01", "B02", "B02"]
    csv = {"Image": image.to_csv(index=False), name: objects.to_csv(index=False).replace(f"{name}_", "")}
    assert open_table(as_files(tmp_path / "csv", csv)).features == (f"{name}_AreaShape_Area",)


def test_objects_whose_table_has_another_name(tmp_path: Path) -> None:
    image = pd.DataFrame({"ImageNumber": [1, 2], "Image_Metadata_Well": ["A01", "B02"]})
    objects = pd.DataFrame({"ImageNumber": [1, 2, 2], "Nuclei_Number_Object_Number": [1, 1, 2], "Nuclei_AreaShape_Area": [1.0, 2, 3]})
    other = pd.DataFrame({"ImageNumber": [1], "Speckles_Count": [4.0]})
    table = open_table(as_database(tmp_path / "a.db", {"Image": image, "(Nuclei)": objects, "Speckles": other}))
    np.testing.assert_array_equal(table.values(["Nuclei_AreaShape_Area"])[:, 0], [1, 2, 3])
    assert any(note.startswith("Per_Speckles: not read") for note in table.notes)


def test_views_and_imported_text_hold_numbers(tmp_path: Path) -> None:
    frames = {name: pd.read_csv(io.StringIO(text)) for name, text in RUN.items()}
    text = {name: frame.astype(str) for name, frame in frames.items()}  # as sqlite3's .import stores them
    assert_three(open_table(as_database(tmp_path / "text.db", text)))
    path = as_database(tmp_path / "views.db", {f"raw_{name}": frame for name, frame in frames.items()}, "")
    with sqlite3.connect(path) as connection:
        for name in frames:
            texts = ("Metadata_Well", "FileName_DNA")
            columns = ", ".join(column if column in texts else f'"{column}" + 0 AS "{column}"' for column in frames[name])
            connection.execute(f"CREATE VIEW Per_{name} AS SELECT {columns} FROM raw_{name}")
        for name in frames:
            connection.execute(f"ALTER TABLE raw_{name} RENAME TO hidden_{name}")
    connection.close()
    assert_three(open_table(path))


def test_a_column_called_rowid(tmp_path: Path) -> None:
    frames = {name: pd.read_csv(io.StringIO(text)).assign(rowid=5) for name, text in RUN.items()}
    assert_three(open_table(as_database(tmp_path / "a.db", frames)))


def test_numbers_and_text_in_one_column_of_many_rows(tmp_path: Path) -> None:
    count = 12_000
    frame = pd.DataFrame(
        {"ImageNumber": 1, "Nuclei_Number_Object_Number": range(1, count + 1), "Nuclei_AreaShape_Area": range(1, count + 1)}
    )
    path = as_database(tmp_path / "a.db", {"Image": pd.DataFrame({"ImageNumber": [1]}), "Nuclei": frame})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE Per_Nuclei SET Nuclei_AreaShape_Area = 0.5 WHERE rowid = 9000")
        connection.execute("UPDATE Per_Nuclei SET Nuclei_AreaShape_Area = 'none' WHERE rowid = 3")
    connection.close()
    values = open_table(path).values()[:, 0]
    assert values[8999] == 0.5
    assert np.isnan(values[2])
    np.testing.assert_array_equal(values[3:8999], np.arange(4, 9000))


IMAGES = "CREATE TABLE Per_Image (ImageNumber INT, Image_Metadata_Well TEXT); INSERT INTO Per_Image VALUES (1, 'A01');"
VIEW = "CREATE VIEW Per_Nuclei (ImageNumber, ObjectNumber, Nuclei_AreaShape_Area) AS "
HOSTILE = {
    "endless": (VIEW + "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 1, i, i * 1.0 FROM n;", "takes more than"),
    "many rows": (
        VIEW + "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000) SELECT 1, i, i * 1.0 FROM n;",
        "has 50,000 rows, more than the file has bytes",
    ),
    "long values": (VIEW + "SELECT 1, 1, hex(zeroblob(900000000));", "as an SQLite database"),
    "long keys": (
        VIEW + "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300) SELECT hex(zeroblob(450000)), i, i * 1.0 FROM n;",
        "makes up values",
    ),
    "nested views": (
        "CREATE VIEW v0 AS SELECT 1 AS a;"
        + "".join(f"CREATE VIEW v{i} AS SELECT x.a FROM v{i - 1} x, v{i - 1} y;" for i in range(1, 40))
        + VIEW
        + "SELECT a, a, a * 1.0 FROM v39;",
        "from other views too many times",
    ),
    "nested parts": (
        VIEW
        + "WITH c0 AS (SELECT 1 AS a)"
        + "".join(f', "c{i}" /* */ AS (SELECT x.a FROM c{i - 1} x JOIN c{i - 1} y)' for i in range(1, 40))
        + "SELECT a, a, a * 1.0 FROM c39;",
        "from other views too many times",
    ),
    "circle": ("CREATE VIEW a AS SELECT * FROM b; CREATE VIEW b AS SELECT * FROM a;" + VIEW + "SELECT 1, 1, 1.0 FROM a;", "circular"),
    "no such function": (VIEW + "SELECT 1, 1, load_extension('x');", "as an SQLite database"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_views_of_strangers_cannot_run_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    sql, said = HOSTILE[case]
    monkeypatch.setattr(sqlite_connection, "SECONDS", 0.5)
    path = tmp_path / "a.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(IMAGES + sql)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ReadError) as error:
        open_table(path).values()
    assert said in str(error.value)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.sqlite"]


def test_views_over_views_open(tmp_path: Path) -> None:
    frames = {name: pd.read_csv(io.StringIO(text)) for name, text in RUN.items()}
    path = as_database(tmp_path / "a.db", {f"raw_{name}": frame for name, frame in frames.items()}, "")
    with sqlite3.connect(path) as connection:
        for name in frames:
            connection.execute(f"CREATE VIEW one_{name} AS WITH part AS (SELECT * FROM raw_{name}) SELECT * FROM part")
            connection.execute(f"CREATE VIEW Per_{name} AS SELECT * FROM one_{name}")
    connection.close()
    assert_three(open_table(path))


SCRIPT = """
import sqlite3, sys
from napari_virtual_paint.cells.tables.table import open_table
print("begun", flush=True)
try:
    open_table(sys.argv[1])
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_an_endless_view(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(IMAGES + HOSTILE["endless"][0])
    connection.close()
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    threading.Timer(2.0, process.send_signal, [signal.SIGINT]).start()
    assert process.communicate(timeout=40)[0] == "stopped\n"


def test_databases_with_a_log(tmp_path: Path) -> None:
    frames = {name: pd.read_csv(io.StringIO(text)) for name, text in RUN.items()}
    path = as_database(tmp_path / "a.db", frames)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    assert_three(open_table(path))
    assert [item.name for item in tmp_path.iterdir()] == ["a.db"]  # no log was created
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA wal_autocheckpoint=0")
    writer.execute("UPDATE Per_Nuclei SET AreaShape_Area = 99 WHERE ImageNumber = 2")
    writer.commit()
    assert open_table(path).values(AREAS)[2].tolist() == [99, 121]  # the newest rows lie in the log
    writer.close()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"\x9d\x11" * 4096, "no SQLite database, or an encrypted one"),
        (b"01234567DUCK" + bytes(4096), "DuckDB database"),
        (b"SQLite format 3\0", "as an SQLite database"),
        (b"SQLite format 3\0" + b"\x10\0\1\1" + bytes(4096), "as an SQLite database"),
    ],
)
def test_files_that_are_no_databases(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(data)
    with pytest.raises(ReadError) as error:
        open_table(path)
    assert said in str(error.value)


def test_a_database_that_is_written_just_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_database(tmp_path / "a.db", two_sites(1, 2))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(sqlite_connection, "_PATIENCE", 0.1)
    with pytest.raises(ReadError, match="another program is writing it"):
        open_table(path)
    writer.execute("ROLLBACK")
    writer.close()
    assert_two_sites(open_table(path))


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    path = as_database(tmp_path / "a.db", {name: pd.read_csv(io.StringIO(text)) for name, text in RUN.items()})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE Per_Image SET FileName_DNA = CAST(x'b52e746966' AS TEXT) WHERE ImageNumber = 1")
    connection.close()
    table = open_table(path)
    assert_three(table)
    assert list(table.frame(["Image_FileName_DNA"])["Image_FileName_DNA"]) == ["\ufffd.tif", "\ufffd.tif", "b.tif"]


@pytest.mark.parametrize("kind", ["database", "csv", "Parquet"])
def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path: Path, kind: str) -> None:
    tables = two_sites("a", "b")
    if kind == "database":
        paths = [as_database(tmp_path / "a.db", tables)]
    elif kind == "csv":
        folder = as_files(tmp_path / "run", {name: frame.to_csv(index=False) for name, frame in tables.items()})
        paths = [folder / f"{name}.csv" for name in tables]
    else:
        paths = [tmp_path / f"{name}.parquet" for name in tables]
        for name, frame in tables.items():
            frame.to_parquet(tmp_path / f"{name}.parquet")
    random = np.random.default_rng(0)
    sound = {path: path.read_bytes() for path in paths}
    said: list[str] = []
    for _ in range(60):
        path = paths[random.integers(len(paths))]
        data = bytearray(sound[path])
        for place in random.integers(len(data), size=random.integers(1, 12)):
            data[place] = random.integers(256)
        path.write_bytes(data[: random.integers(len(data))] if random.random() < 0.2 else data)
        try:
            table = open_table(paths)
            table.values()
            table.frame(table.metadata)
        except ReadError as error:
            said.append(str(error))
        path.write_bytes(sound[path])
    assert said
    assert not any("\n" in sentence for sentence in said)


def test_nuclei_without_a_cell_are_noted(tmp_path: Path) -> None:
    table = open_table(as_files(tmp_path / "run", {**RUN, "Nuclei": NUCLEI + "2,2,22,0.5\n3,1,31,0.5\n"}))
    assert_three(table)
    assert table.notes == ("2 of 5 Nuclei have no partner in Cells and are left out.",)


@pytest.mark.parametrize("text", ["<html><body>404</body></html>", "ImageNumber,ObjectNumber\n1,1\n"])
def test_a_compartment_that_is_no_table_of_objects_is_noted(tmp_path: Path, text: str) -> None:
    table = open_table(as_files(tmp_path / "run", {**RUN, "Nuclei": text, "Experiment": "Key,Value\nVersion,4\n"}))
    np.testing.assert_array_equal(table.values(AREAS[1:])[:, 0], [112, 111, 121])
    assert table.notes == ("Nuclei.csv was not read: it has no numbered objects with measurements such as AreaShape_Area.",)


@pytest.mark.parametrize("cells", [CELLS.split("\n")[0] + "\n", re.sub(r",\d+\n", ",0\n", CELLS)])
def test_why_cells_without_a_nucleus_are_kept_out(tmp_path: Path, cells: str) -> None:
    table = open_table(as_files(tmp_path / "run", {**RUN, "Cells": cells}))
    np.testing.assert_array_equal(table.values(AREAS[:1])[:, 0], [11, 12, 21])
    (note,) = table.notes
    assert re.fullmatch(r"Cells \([03] objects\) is kept out: none of them has a parent in Nuclei\.", note)


def test_images_alone(tmp_path: Path) -> None:
    path = as_database(tmp_path / "a.db", {"Image": pd.DataFrame({"ImageNumber": [1]})})
    with pytest.raises(ReadError, match="holds no table of objects"):
        open_table(path)
