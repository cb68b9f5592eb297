"""``virtual-paint count``: its JSON, tables and labels, agreement with real stains, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_virtual_paint.cli import main
from napari_virtual_paint.reading import read
from napari_virtual_paint.reading.ome_zarr import ZarrImages
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write


@pytest.fixture(scope="module")
def stains() -> Stack:
    """A small simulated field."""
    return simulate_field(SimulationSettings(size=256, seed=5)).stains.compute()


@pytest.fixture
def image(stains: Stack, tmp_path: Path) -> Path:
    return write(stains, tmp_path / "field.ome.tif")


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command and return exit code, stdout and stderr."""
    return main(["count", *map(str, arguments)]), *capfd.readouterr()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_and_labels_have_the_objects_of_the_report(
    image: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str
) -> None:
    code, out, _ = run(capfd, image, "-o", tmp_path / f"t{suffix}", "--json")
    report = json.loads(out)
    table = pd.read_csv(report["table"]) if suffix == ".csv" else pd.read_parquet(report["table"])
    assert code == 0
    assert report["objects"] == {"nuclei": int((table["object"] == "nucleus").sum()), "cells": int((table["object"] == "cell").sum())}
    assert report["objects"]["nuclei"] > 3
    labels = read(report["labels"])
    assert labels.channels == ("nuclei", "cells")
    assert [int(np.asarray(labels.data[0, i]).max()) for i in range(2)] == list(report["objects"].values())
    assert labels.pixel_size.x == 0.65
    assert np.allclose(table["area_um2"], table["area_px"] * 0.65**2)
    assert (tmp_path / f"t.fields{suffix}").is_file()
    assert (tmp_path / f"t.wells{suffix}").is_file()


def test_painted_and_real_counts_stand_side_by_side(stains: Stack, image: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    half = Stack(stains.data.copy(), stains.channels, stains.pixel_size)
    half.data[..., 128:] = 400
    painted = write(half, tmp_path / "painted.ome.tif")
    code, out, _ = run(capfd, painted, "--truth", image, "-o", tmp_path / "t.csv", "--json")
    report = json.loads(out)
    found = report["agreement"]["nuclei"]
    assert code == 0
    assert report["objects"]["nuclei"] == found["painted"] < found["real"]
    assert found["bias"] == found["painted"] - found["real"]
    both = pd.read_csv(tmp_path / "t.agreement.csv")
    assert both["nuclei_difference"].tolist() == [found["bias"]]
    assert sorted(each.name for each in Path(report["labels"]).iterdir()) == ["image.painted.ome.tif", "image.real.ome.tif"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_go_into_an_ome_zarr_and_come_back(stains: Stack, tmp_path: Path, capfd: pytest.CaptureFixture[str], version: str) -> None:
    from contextlib import ExitStack

    path = write(stains, tmp_path / "a.ome.zarr", ome_zarr_version=version)  # type: ignore[arg-type]
    code, out, _ = run(capfd, path, "-o", tmp_path / "t.csv", "--in-place", "--json")
    assert code == 0
    with ExitStack() as files:
        labels = ZarrImages(str(path), files).labels(0)
    assert {name: int(np.asarray(each.data).max()) for name, each in labels.items()} == json.loads(out)["objects"]
    assert labels["nuclei"].pixel_size.x == 0.65
    assert np.array_equal(np.asarray(read(path).data), stains.data)
    code, _, err = run(capfd, path, "-o", tmp_path / "u.csv", "--in-place")
    assert (code, "labels called nuclei and cells already" in err) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["field.ome.tif", "-o", "t.txt"], ".parquet or .csv"),
        (["field.ome.tif", "-o", "no/t.csv"], "there is no folder"),
        (["field.ome.tif", "-o", "old.csv"], "exists already"),
        (["field.ome.tif", "-o", "t.csv", "--nuclei", "GFP"], "no channel 'GFP'"),
        (["field.ome.tif", "-o", "t.csv", "--z", "first"], "plane 'first' is not known"),
        (["field.ome.tif", "-o", "t.csv", "--in-place"], "OME-Zarr images only"),
        (["field.ome.tif", "-o", "t.csv", "--labels", "folder"], "labels are an .ome.tif"),
        (["field.ome.tif", "a.tif", "-o", "t.csv", "--truth", "b.tif"], "one INPUT"),
        (["none.ome.tif", "-o", "t.csv"], "no such file"),
        (["empty.ome.tif", "-o", "t.csv"], "DNA is empty"),
    ],
)
def test_bad_input_is_one_sentence(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.csv").write_text("x")
    write(Stack(np.zeros((1, 1, 1, 32, 32), np.uint16), ("DNA",)), "empty.ome.tif")
    code, out, err = run(capfd, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("t.*"))
