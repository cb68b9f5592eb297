"""A run goes on only with the pairs and files that it began with, wherever they lie now."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.inputs import INPUTS, keep_inputs
from napari_virtual_paint.training.run_folder.watch import CHECKPOINT

TABLE = "input,target,split,batch\na_in.tif,a_out.tif,train,1\nb_in.tif,b_out.tif,train,1\nc_in.tif,c_out.tif,validation,2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of three pairs."""
    place = tmp_path / "set"
    place.mkdir()
    for number, name in enumerate("abc"):
        for side in ("in", "out"):
            tifffile.imwrite(place / f"{name}_{side}.tif", image(number + 10 * (side == "out")))
    (place / "pairs.csv").write_text(TABLE)
    return place


def image(seed: int, side: int = 24) -> Any:
    return np.random.default_rng(seed).integers(0, 4000, (side, side)).astype(np.uint16)


def config(folder: Path, run: Path) -> TrainConfig:
    words = dict.fromkeys(("name", "description", "trained_on", "not_for", "output"), "tiny model")
    return TrainConfig.model_validate({"id": "tiny", **words, "run": run, "data": {"csv": folder / "pairs.csv"}})


def keep(folder: Path, run: Path) -> None:
    chosen = config(folder, run)
    list(keep_inputs(run, find(chosen.data), chosen.data.csv))


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """The folder of a run that has begun."""
    place = tmp_path / "run"
    keep(folder, place)
    (place / CHECKPOINT).write_bytes(b"")
    return place


def swap_targets(folder: Path) -> None:
    (folder / "pairs.csv").write_text(TABLE.replace("a_out", "x").replace("b_out", "a_out").replace("x", "b_out"))


def other_pixels(folder: Path) -> None:
    tifffile.imwrite(folder / "b_out.tif", image(99))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (swap_targets, "a_in has other files"),
        (other_pixels, "b_out.tif has other contents"),
        (lambda f: (f / "pairs.csv").write_text(TABLE.replace("validation", "train")), "the split of c_in was validation and is train"),
        (lambda f: (f / "pairs.csv").write_text(TABLE.replace("train,1\nc", "train,3\nc")), "batch of b_in was 1 and is 3"),
        (lambda f: (f / "pairs.csv").write_text(TABLE.replace("b_in.tif,b_out.tif,train,1\n", "")), "the pair b_in is gone"),
        (lambda f: (f / "pairs.csv").write_text(TABLE + "c_out.tif,c_in.tif,train,1\n"), "the pair c_out is new"),
    ],
    ids=["targets", "pixels", "split", "metadata", "gone", "new"],
)
def test_a_changed_table_is_refused(folder: Path, run: Path, change: Any, words: str) -> None:
    keep(folder, run)
    change(folder)
    with pytest.raises(InputError, match=r"pairs\.csv: the table or its files have changed since this run was started") as caught:
        keep(folder, run)
    assert words in str(caught.value)
    (run / CHECKPOINT).unlink()  # a run that has no epoch yet begins with what there is
    keep(folder, run)


def test_what_changes_nothing_goes_on(folder: Path, run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved, copy_function=shutil.copyfile)  # with other times
    os.utime(folder / "a_in.tif", ns=(1, 1))
    for place in (folder, moved):
        (place / "pairs.csv").write_text("\n" + TABLE.replace("\n", "\r\n"))
        keep(place, run)


def test_a_run_of_an_earlier_version_goes_on_and_is_kept_from_then_on(folder: Path, run: Path) -> None:
    (run / INPUTS).unlink()
    keep(folder, run)
    other_pixels(folder)
    with pytest.raises(InputError, match="has other contents"):
        keep(folder, run)


def test_large_files_are_seen_to_change_at_either_end_and_between(folder: Path, run: Path) -> None:
    (run / CHECKPOINT).unlink()
    pixels = image(0, 1200)
    tifffile.imwrite(folder / "a_in.tif", pixels)
    keep(folder, run)
    (run / CHECKPOINT).write_bytes(b"")
    for row in (0, 400, 1199):
        changed = pixels.copy()
        changed[row] += 1
        tifffile.imwrite(folder / "a_in.tif", changed)
        with pytest.raises(InputError, match=r"a_in\.tif has other contents"):
            keep(folder, run)


def test_a_training_refuses_another_table_and_the_check_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")
    words = dict.fromkeys(("description", "trained_on", "not_for"), "Made by a test.")
    values = {
        "id": "tiny",
        "name": "Tiny model",
        **words,
        "output": "tiny",
        "data": {"csv": "pairs.csv", "stains": ["DNA"], "checks": "off"},
    }
    values |= {"network": {"config": {"depth": 2, "width": 4}}, "patch": [16, 16], "batch": 2, "steps": 2, "epoch": 1}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**values, "device": "cpu", "threads": 1}))
    assert main(["train", str(path)]) == 0
    assert main(["train", str(path)]) == 0
    swap_targets(folder)
    capsys.readouterr()
    assert main(["train", str(path)]) == 2
    said = capsys.readouterr().err
    assert "a_in has other files" in said
    assert main(["train", str(path), "--check", "--json"]) == 0
    (stop,) = json.loads(capsys.readouterr().out)["stops"]
    assert stop in said
