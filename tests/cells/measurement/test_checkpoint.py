"""Measuring that was broken off: the rows of finished images are taken up, and nothing else is."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pandas as pd
import pytest

from napari_virtual_paint.cells.measurement import images
from napari_virtual_paint.cells.measurement.checkpoint import checkpoint_folder
from napari_virtual_paint.cells.measurement.images import measure_files
from napari_virtual_paint.cells.measurement.measure import _each
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write

FEW = {"groups": ("AreaShape",), "scale": 4095.0}


def field(seed: int) -> Stack:
    """Nine nuclei in their cells."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:120, :120]
    planes = np.full((2, 120, 120), 100.0)
    for cy in (22, 60, 98):
        for cx in (22, 60, 98):
            away = np.hypot(y - cy, x - cx)
            planes[0][away < rng.uniform(5, 7)] = 3000
            planes[1][away < rng.uniform(10, 13)] = 1500
    return Stack((planes + rng.normal(0, 5, planes.shape)).astype(np.uint16)[None, :, None], ("DNA", "ER"))


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"field_{number}.ome.tif" for number in range(3)]
    for number, path in enumerate(paths):
        write(field(number), path)
    return paths


@pytest.fixture
def counted(monkeypatch):
    """Counts the images that are measured; `counted.stop` breaks the run off at that image as Ctrl-C does."""
    real = images.measuring

    class Counted:
        def __init__(self) -> None:
            self.calls, self.stop = 0, 0

        def __call__(self, *args, **kwargs):
            self.calls += 1
            if self.calls == self.stop:
                raise KeyboardInterrupt
            return (yield from real(*args, **kwargs))

    found = Counted()
    monkeypatch.setattr(images, "measuring", found)
    return found


def run(steps):
    said = []
    while True:
        try:
            said.append(next(steps).message)
        except StopIteration as stop:
            return stop.value, [message for message in said if message]


def broken_off(counted, paths, part, **options):
    counted.calls, counted.stop = 0, len(paths)
    with pytest.raises(KeyboardInterrupt):
        run(measure_files(paths, parts=part, **options))
    counted.calls, counted.stop = 0, 0


def test_finished_images_are_taken_up(files, counted, tmp_path):
    part = tmp_path / "cells.parquet.part"
    whole, _ = run(measure_files(files, **FEW))
    broken_off(counted, files, part, **FEW)
    again, said = run(measure_files(files, parts=part, **FEW))
    assert counted.calls == 1
    assert "Going on: 2 of 3 images were measured before." in said
    assert [message for message in said if message.endswith("cells.")] == ["field_2.ome.tif: 9 cells."]
    pd.testing.assert_frame_equal(again, whole)


def test_rows_fit_also_where_images_are_added_before_them(files, counted, tmp_path):
    part = tmp_path / "cells.parquet.part"
    run(measure_files(files[1:], parts=part, **FEW))
    counted.calls = 0
    again, _ = run(measure_files(files, parts=part, **FEW))
    assert counted.calls == 1
    pd.testing.assert_frame_equal(again, run(measure_files(files, **FEW))[0])


def test_other_settings_start_afresh_and_say_so(files, counted, tmp_path):
    part = tmp_path / "cells.parquet.part"
    broken_off(counted, files, part, **FEW)
    other = {**FEW, "scale": 65535.0}
    again, said = run(measure_files(files, parts=part, **other))
    assert counted.calls == 3
    assert "cells.parquet.part was left by a run with another scale; all images are measured afresh." in said
    assert set(again["Metadata_Scale"]) == {65535.0}
    assert not [message for message in said if message.startswith("Going on")]


def test_nothing_is_left_where_no_cell_is_found(tmp_path):
    part = tmp_path / "cells.parquet.part"
    noise = np.random.default_rng(0).integers(0, 9, (1, 2, 1, 120, 120)).astype(np.uint16)
    write(Stack(noise, ("DNA", "ER")), tmp_path / "empty.ome.tif")
    with pytest.raises(InputError, match=r"No cell was found in empty\.ome\.tif"):
        run(measure_files([tmp_path / "empty.ome.tif"], parts=part, **FEW))
    assert not part.exists()


def test_an_image_that_changed_is_measured_again(files, counted, tmp_path):
    part = tmp_path / "cells.parquet.part"
    broken_off(counted, files, part, **FEW)
    write(field(9), files[0], overwrite=True)
    os.utime(files[0], ns=(1, 1))
    again, _ = run(measure_files(files, parts=part, **FEW))
    assert counted.calls == 2
    pd.testing.assert_frame_equal(again, run(measure_files(files, **FEW))[0])


def test_rows_that_can_not_be_read_are_measured_again(files, counted, tmp_path):
    part = tmp_path / "cells.parquet.part"
    broken_off(counted, files, part, **FEW)
    kept = next(part.glob("*.parquet"))
    kept.write_bytes(kept.read_bytes()[:40])
    again, _ = run(measure_files(files, parts=part, **FEW))
    assert counted.calls == 2
    assert again["ImageNumber"].tolist() == [1] * 9 + [2] * 9 + [3] * 9


def test_images_without_cells_are_kept_too(files, counted, tmp_path):
    part = tmp_path / "cells.parquet.part"
    write(Stack(np.full((1, 2, 1, 64, 64), 100, np.uint16), ("DNA", "ER")), tmp_path / "blank.ome.tif")
    paths = [tmp_path / "blank.ome.tif", *files]
    broken_off(counted, paths, part, **FEW)
    again, _ = run(measure_files(paths, parts=part, **FEW))
    assert counted.calls == 1
    assert sorted(set(again["ImageNumber"])) == [2, 3, 4]


def test_what_is_not_ours_is_left_alone(files, tmp_path):
    part = tmp_path / "cells.parquet.part"
    part.mkdir()
    (part / "thesis.txt").write_text("mine")
    with pytest.raises(WriteError, match=r"cells\.parquet\.part.*something else"):
        run(measure_files(files, parts=part, **FEW))
    assert (part / "thesis.txt").read_text() == "mine"


def test_the_command_stops_with_a_line_and_goes_on(files, counted, tmp_path, capsys):
    out = tmp_path / "cells.csv.gz"
    command = ["cells", "measure", *map(str, files), "-o", str(out), "--json"]
    counted.stop = 2
    assert main(command) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("virtual-paint: stopped; the same command goes on")
    assert not out.exists()
    assert checkpoint_folder(out).is_dir()
    counted.calls, counted.stop = 0, 0
    assert main(command) == 0
    assert counted.calls == 2
    assert json.loads(capsys.readouterr().out)["cells"] == 27 == len(pd.read_csv(out))
    assert not checkpoint_folder(out).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.csv.gz", *(path.name for path in files)]


@pytest.mark.parametrize(("name", "words"), [("t.xlsx", "suffixes"), ("none/t.parquet", "create it first"), ("folder.csv", "name a file")])
def test_a_table_that_can_not_be_written_is_refused_before_measuring(files, counted, tmp_path, capsys, name, words):
    (tmp_path / "folder.csv").mkdir()
    assert main(["cells", "measure", str(files[0]), "-o", str(tmp_path / name)]) == 2
    assert words in capsys.readouterr().err
    assert counted.calls == 0


def test_processes_leave_ctrl_c_to_the_one_that_began_them_and_end_with_it():
    before = set(multiprocessing.active_children())
    found = _each(time.sleep, [0.0, 0.3, 0.3], 2)
    next(found)
    for process in set(multiprocessing.active_children()) - before:
        os.kill(process.pid, signal.SIGINT)
    assert list(found) == [None, None]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    found = _each(time.sleep, [0.0, 600.0], 2)
    next(found)
    found.close()
    assert not set(multiprocessing.active_children()) - before
