"""The commands of `virtual-paint cells` when they are stopped, or given what is no table of cells."""

from __future__ import annotations

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
