"""Plate maps: read, joined by wells however they are written, and told where they do not fit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vendor_plates as written
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.doses import parse_number
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.plate_map import load_plate_map, read_plate_map, with_map
from napari_virtual_paint.plates.well_roles import is_role

MAP = "well,treatment,dose,n,control\nA1,DMSO,0,1,yes\nb03,drug,2.5,2,\n"


def file(folder: Path, text: str, name: str = "map.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_wells_and_types(tmp_path: Path) -> None:
    told = read_plate_map(file(tmp_path, MAP))
    assert told == {
        "A01": {"treatment": "DMSO", "dose": 0.0, "n": 1, "control": "yes"},
        "B03": {"treatment": "drug", "dose": 2.5, "n": 2},
    }
    assert isinstance(told["A01"]["n"], int)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Metadata_Well\tMetadata_treatment\nA01\tDMSO\nB03\tdrug\n", "utf-8"),
        ("\ufeffwell_position;treatment\r\na01;DMSO\r\nB-3;drug\r\n", "utf-8"),
        ("Row,Column,treatment\nA,1,DMSO\nB,3,drug\n", "utf-16"),
        ("row,col,treatment\n1,1,DMSO\n2,3,drug\n", "utf-8"),
        ("Well Name,treatment,\u00b5M\nA1,DMSO,\nB3,drug,\n", "cp1252"),
        ("well,site,treatment\nA1,1,DMSO\nA1,2,DMSO\nB3,1,drug\n", "utf-8"),
    ],
)
def test_ways_of_writing_a_map(tmp_path: Path, text: str, encoding: str) -> None:
    told = read_plate_map(file(tmp_path, text, encoding=encoding))
    assert {well: row["treatment"] for well, row in told.items()} == {"A01": "DMSO", "B03": "drug"}


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is read by pyarrow (extra plates)")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"Well": ["A1", "B3"], "dose": [0.5, None], "n": [1, 2]}), tmp_path / "m.parquet")
    assert read_plate_map(tmp_path / "m.parquet") == {"A01": {"dose": 0.5, "n": 1}, "B03": {"n": 2}}
    (tmp_path / "n.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ReadError, match=r"n\.parquet: it is damaged or no Parquet file"):
        read_plate_map(tmp_path / "n.parquet")


def test_joined_to_a_plate(tmp_path: Path) -> None:
    source = written.loaddata(tmp_path / "plate")
    plate = open_plate(source, plate_map=file(tmp_path, MAP.replace("A1,", "C1,")))
    assert plate.columns == ("Plate", "Compound", "treatment", "dose", "n", "control")
    assert plate.metadata["B03"] == {"Plate": "P1", "Compound": "drug B", "treatment": "drug", "dose": 2.5, "n": 2}
    assert plate.notes == (
        "1 of the plate's 2 wells are not in map.csv (A01).",
        "1 of the 2 wells in map.csv have no image (C01).",
    )


def test_a_map_of_several_plates(tmp_path: Path) -> None:
    plate = open_plate(written.yokogawa(tmp_path / "plate"))
    several = "barcode,well,treatment\nP1,A1,mine\nP2,A1,other\nP1,B3,mine\n"
    assert with_map(plate, file(tmp_path, several)).metadata["A01"]["treatment"] == "mine"
    with pytest.raises(ReadError, match="has 2 plates \\(P8, P9\\), none called 'P1'"):
        with_map(plate, file(tmp_path, several.replace("P1", "P8").replace("P2", "P9")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("well,dose\n", "without rows"),
        ("dose\n1\n", "no column of wells"),
        ("well,dose\nA1,1\nnowhere,2\n", "line 3 has the well 'nowhere', which is none"),
        ("well,dose\nA1,1,2\n", "line 2 has 3 cells and its header 2"),
        ('well,dose\n\n"A1",1\n\nB1,"two\nlines"\n;\n', "line 7 has 1 cells"),
        ("well,dose,dose\nA1,1,2\n", "column 'dose' twice"),
        ("well\nA1\n", "no column with one value per well"),
        ("well,dose\nA1,\0\n", "no text"),
        ("well,dose\nH12,1\n", r"none of its 1 wells \(H12\) is one of the plate's 2"),
    ],
)
def test_maps_that_do_not_fit(tmp_path: Path, text: str, words: str) -> None:
    plate = open_plate(written.pattern(tmp_path / "plate"))
    with pytest.raises(ReadError, match=words) as caught:
        with_map(plate, file(tmp_path, text))
    assert "map.csv" in str(caught.value)
    with pytest.raises(ReadError, match="no such file"):
        with_map(plate, tmp_path / "absent.csv")


MAPS = {
    "semicolons and decimal commas": ("well;dose;treatment\nA1;0,25;x\nB3;10,5;y\n", {"A01": 0.25, "B03": 10.5}),
    "semicolons, and a comma in a name": ("well;dose;treatment, name\nA1;0,25;x\nB3;10,5;y\n", {"A01": 0.25, "B03": 10.5}),
    "tabs": ("well\tdose\nA001\t0.25\nb03\t1e-3\n", {"A01": 0.25, "B03": 0.001}),
    "a mark of Excel": ("\ufeffsep=;\nwell;dose\na1;1\nB3;2\n", {"A01": 1, "B03": 2}),
    "rows and columns": ("Row,Column,dose\nA,1,1\nB,3,2\n", {"A01": 1, "B03": 2}),
    "rows and columns as numbers": ("row;col;dose\n01;01;0,5\n02;03;2\n", {"A01": 0.5, "B03": 2.0}),
    "carriage returns": ("well,dose\rA1,1\rB3,2\r", {"A01": 1, "B03": 2}),
    "units": ("well,dose\nA1,500 nM\nB3,10 uM\nC1,5 \u00b5M\nD1,1e-3 M\n", {"A01": 0.5, "B03": 10, "C01": 5, "D01": 1000}),
    "a greek letter, a Kelvin M": ("well,dose\nA1,5 \u03bcM\nB3,10uM\n", {"A01": 5, "B03": 10}),
    "powers": ("well,dose\nA1,10^-6 M\nB3,2 x 10^-6 M\n", {"A01": 1e-6, "B03": 2e-6}),
    "mass": ('well,Concentration\nA1,"2,5 ug/ml"\nB3,100 ng/mL\n', {"A01": 2.5, "B03": 0.1}),
    "vehicle": ("well,dose\nA1,DMSO\nB3,10 uM\n", {"A01": 0, "B03": 10}),
    "vehicle and bare numbers": ('well,dose\nA1,dmso\nB3,"0,25"\n', {"A01": 0, "B03": 0.25}),
    "unit in the name": ("well,Metadata_dose_uM\nA1,0\nB3,10\n", {"A01": 0, "B03": 10}),
}


@pytest.mark.parametrize(("text", "expected"), MAPS.values(), ids=MAPS)
def test_doses_however_they_are_written(tmp_path: Path, text: str, expected: dict[str, float]) -> None:
    told, notes = load_plate_map(file(tmp_path, text))
    (column,) = {name for row in told.values() for name in row if is_role(name, "dose")}
    assert {well: row[column] for well, row in told.items()} == pytest.approx(expected)
    assert bool(notes) == ("M" in text.partition("\n")[2] or "g/" in text or "dmso" in text.lower())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("well,dose\nA1,high\nB3,10 uM\n", r"dose has 1 doses that are no numbers \('high' in A01\), so it counts as text"),
        ("well,dose\nA1,5 mg/ml\nB3,10 uM\n", "units that can't be compared"),
        ("well,dose\nA1,5\nB3,10 uM\n", r"units that can't be compared \(A01 has none\)"),
        ('well,dose\nA1,"1,000"\nB3,10 m\n', "2 doses that are no numbers"),
    ],
)
def test_doses_that_are_no_numbers_are_named(tmp_path: Path, text: str, words: str) -> None:
    told, notes = load_plate_map(file(tmp_path, text))
    assert all(isinstance(row["dose"], str) for row in told.values())
    assert any(re.search(words, note) for note in notes)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1_000", None), ("1,234.5", 1234.5), ("1.234,5", 1234.5), ("1,000", None), ("0,250", 0.25), ("nan", None), ("-3", -3)],
)
def test_numbers(text: str, number: float | None) -> None:
    assert parse_number(text) == number


def test_text_that_looks_like_a_number_to_python_stays_text(tmp_path: Path) -> None:
    told = read_plate_map(file(tmp_path, "well,batch,lot,inf\nA1,1_2,12345678901234567890,inf\nB3,1_3,12345678901234567891,inf\n"))
    assert told["A01"] == {"batch": "1_2", "lot": "12345678901234567890", "inf": "inf"}


def test_rows_that_contradict_each_other_are_named_by_their_well(tmp_path: Path) -> None:
    plate = open_plate(written.pattern(tmp_path / "plate"))
    with pytest.raises(ReadError, match=r"treatment has several values in 1 wells \(B03: 'x' and 'y'\); correct it"):
        with_map(plate, file(tmp_path, "well,treatment\nA1,DMSO\nb3,x\nB03,y\n"))
    told, notes = load_plate_map(file(tmp_path, "well,site,treatment,cells\nA1,1,DMSO,5\nA1,2,,7\nB3,1,x,1\nB3,2,x,1\n"))
    assert told == {"A01": {"treatment": "DMSO"}, "B03": {"treatment": "x"}}
    assert notes == ("map.csv: cells has several values in a well (A01: '5' and '7'), so it is left out.",)


def test_what_a_map_replaces_is_said(tmp_path: Path) -> None:
    source = written.loaddata(tmp_path / "plate")
    plate = open_plate(source, plate_map=file(tmp_path, "well,Compound\nA1,drug A\nB3,mine\n"))
    assert plate.metadata["B03"]["Compound"] == "mine"
    assert plate.notes == ("map.csv replaces the plate's own Compound in 1 wells (B03).",)


def test_the_plate_of_a_map_in_any_case(tmp_path: Path) -> None:
    plate = open_plate(written.yokogawa(tmp_path / "plate"))
    assert with_map(plate, file(tmp_path, "barcode,well,treatment\np1,A1,mine\np2,A1,other\n")).metadata["A01"]["treatment"] == "mine"


def test_plate_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(written.phenix(tmp_path / "plate"))
    assert main(["plate", "info", folder, "--plate-map", str(file(tmp_path, MAP)), "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == ""
    assert report["wells"] == ["A01", "B03"]
    assert (report["fields"], report["fields_per_well"], report["layout"]) == (4, [2, 2], "opera-phenix")
    assert report["channels"] == list(written.CHANNELS)
    assert report["image"] == {"shape": [1, 3, 1, 6, 7], "dtype": "uint16", "pixel_size": [None, pytest.approx(0.65), pytest.approx(0.65)]}
    assert (report["shape"], report["pixel_size"]) == (report["image"]["shape"], report["image"]["pixel_size"])
    assert report["metadata"] == ["treatment", "dose", "n", "control"]
    assert main(["plate", "info", folder, "--names", "a,b,c"]) == 0
    assert "a, b, c" in capsys.readouterr().out
    assert main(["plate", "info", folder, "--layout", "unknown"]) == 2
    assert "there are ome-zarr, opera-phenix" in capsys.readouterr().err
    assert main(["plate", "info", str(tmp_path / "absent")]) == 2
    assert "there is no such file or folder" in capsys.readouterr().err


def test_opening_needs_no_torch_and_no_zarr(tmp_path: Path) -> None:
    folder = written.yokogawa(tmp_path / "plate")
    words = "from napari_virtual_paint.plates.opening import open_plate; import sys; open_plate(sys.argv[1])"
    check = "assert not {'torch', 'zarr', 'napari'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"{words}; {check}", str(folder)], check=True)
