"""The commands of `virtual-paint cells` when they are stopped, or given what is no table of cells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from napari_virtual_paint.cells.cp2image import train as training
from napari_virtual_paint.cli import main

CONFIG = """
id: tiny-cells
name: Tiny cells
description: For tests.
trained_on: nothing
not_for: anything
output: tiny.zip
data: {simulate: {treatments: [control]}, channels: [DNA]}
"""


def test_training_that_is_stopped_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def stopped(*_args):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(training, "train", stopped)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    assert main(["cells", "train", str(tmp_path / "tiny.yaml")]) == 130
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "the same command goes on" in lines[0]


def test_a_table_without_cells_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "Cells.csv").write_text("ImageNumber,ObjectNumber,AreaShape_Area\n")
    assert main(["cells", "generate", "simulated-cells", str(tmp_path / "Cells.csv"), "-o", str(tmp_path / "o.png")]) == 2
    assert "Cells.csv: it has no cells" in capsys.readouterr().err


def run(folder: Path) -> Path:
    """Write the tables of two wells with three cells."""
    (folder / "Image.csv").write_text("ImageNumber,Metadata_Well,Metadata_Plate\n1,A01,P\n2,B02,P\n3,B02,P\n")
    (folder / "Nuclei.csv").write_text("ImageNumber,ObjectNumber,AreaShape_Area,AreaShape_Extent\n1,1,5,1\n2,1,6,1\n3,1,7,1\n")
    (folder / "Cells.csv").write_text("ImageNumber,ObjectNumber,AreaShape_Area,Parent_Nuclei\n1,1,9,1\n2,1,8,1\n3,1,7,1\n")
    return folder


def test_table_says_what_tables_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["cells", "table", str(run(tmp_path)), "--json"]) == 0
    out, err = capsys.readouterr()
    notes = ["Features with the same value in every cell: 1 (Nuclei_AreaShape_Extent)."]
    assert json.loads(out) == {"objects": 3, "features": 3, "compartments": ["Nuclei", "Cells"], "wells": 2, "notes": notes}
    assert notes[0] in err
    assert main(["cells", "table", *map(str, sorted(tmp_path.glob("*.csv")))]) == 0
    text = capsys.readouterr().out
    assert "compartments:  Nuclei (2 features), Cells (1 features)" in text
    assert "wells:         2" in text


def test_a_table_is_counted_by_plates_rows_and_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = "ImageNumber,Nuclei_AreaShape_Area,Metadata_Row,Metadata_Column,Metadata_Plate\n"
    (tmp_path / "cells.csv").write_text(text + "1,5,1,1,P\n2,6,1,2,P\n3,7,1,1,Q\n4,8,,,Q\n")
    assert main(["cells", "table", str(tmp_path / "cells.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wells"] == 3


def test_what_is_no_table_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a.sqlite").write_bytes(b"")
    assert main(["cells", "table", str(tmp_path / "a.sqlite"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "a.sqlite: it is empty" in err


def test_nothing_of_a_library_is_on_stderr(tmp_path: Path):
    """DuckDB lists on stderr what Python leaves uncollected at exit."""
    command = [sys.executable, "-m", "napari_virtual_paint.cli", "cells", "table", str(run(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if not line.startswith("virtual-paint: ")] == []
