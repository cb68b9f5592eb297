"""`virtual-paint simulate`: what it writes and prints."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.cli import main
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import STAINS, SimulationSettings, simulate_field


def test_fields_labels_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "fields"
    arguments = ["--fields", "2", "--size", "96", "--treatment", "mitoxantrone", "--dose", "0.5", "--seed", "7", "--json"]
    assert main(["simulate", str(output), *arguments]) == 0
    printed = json.loads(capsys.readouterr().out)
    with (output / "fields.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["7", "8"]
    assert [row["field"] for row in printed["fields"]] == ["field_000", "field_001"] == [row["field"] for row in rows]
    expected = simulate_field(SimulationSettings(size=96, treatment="mitoxantrone", dose=0.5, seed=8))
    for kind, truth in (("brightfield", expected.brightfield), ("stains", expected.stains)):
        found = read(output / rows[1][kind])
        np.testing.assert_array_equal(np.asarray(found.data), truth.data)
        assert found.channels == truth.channels
        assert found.pixel_size[1:] == (0.65, 0.65)
    labels = np.asarray(read(output / rows[1]["labels"]).data)[0, :, 0]
    np.testing.assert_array_equal(labels, np.stack([expected.labels["nucleus"], expected.labels["cell"]]))
    assert int(rows[1]["cells"]) == len(np.unique(expected.labels["cell"])) - 1


def test_a_stack_keeps_its_step_along_z(tmp_path: Path) -> None:
    assert main(["simulate", str(tmp_path), "--size", "64", "--z", "8"]) == 0
    bright, stains = (read(tmp_path / "field_000" / f"{kind}.ome.tif") for kind in ("brightfield", "stains"))
    assert bright.shape == (1, 1, 8, 64, 64)
    assert stains.shape[1:3] == (6, 8)
    assert stains.channels == (*STAINS, "Membrane")
    assert stains.pixel_size == (0.5, 0.65, 0.65)


@pytest.mark.parametrize("wrong", [["--treatment", "aspirin"], ["--size", "5"], ["--fields", "0"]])
def test_what_cannot_be_made_is_a_sentence_and_no_folder(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(tmp_path / "out"), *wrong]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("here already")
    assert main(["simulate", str(tmp_path / "out"), "--size", "64"]) == 2
    assert "choose another output" in capsys.readouterr().err
