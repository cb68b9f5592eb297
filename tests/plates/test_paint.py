"""Painting a plate: what is written, what is kept when it is stopped at any moment, what is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import signal
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from napari_virtual_paint.errors import InputError, ModelError, WriteError
from napari_virtual_paint.metrics.report import compare
from napari_virtual_paint.models import Model
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.plates.job import pipeline, planning
from napari_virtual_paint.plates.job.field import Painter
from napari_virtual_paint.plates.job.job import describe_job, load_job
from napari_virtual_paint.plates.job.planning import PROCESS, Need, fitting
from napari_virtual_paint.plates.job.rows import file_stem
from napari_virtual_paint.plates.ome_zarr import writer
from napari_virtual_paint.plates.ome_zarr.writer import image_path, painted_path
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.paint import PlateProgress, PlateSummary, job_folder, paint_plate, plate_state, read_failures, read_scores
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.reading import read
from napari_virtual_paint.reading.ome_zarr import is_zarr
from napari_virtual_paint.runtime.lock_file import SILENT
from small_plates import checksums, counts, make_plate, open_toy, paint_and_die, paint_and_die_after, preload, to_end, toy_model

Steps = Generator[PlateProgress, None, PlateSummary]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return toy_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def plate(tmp_path: Path) -> Plate:
    return make_plate(tmp_path / "plate")


@pytest.fixture(scope="module")
def unbroken(model: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checksums of the files of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    to_end(paint_plate(make_plate(folder / "plate"), model, folder / "out"))
    return checksums(folder / "out")


@pytest.mark.parametrize("tile", [32, 128])
def test_bits_do_not_depend_on_threads(model: Model, tmp_path: Path, tile: int) -> None:
    plate = make_plate(tmp_path / "large", wells=1, size=100)
    before, found = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(painted(model, plate, plate.fields[0], tile).tobytes())
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def painted(model: Model, plate: Plate, field: Field, tile: int = 128) -> np.ndarray:
    """The stains of one field as the engine alone paints them."""
    settings = PaintSettings(tile=tile, device="cpu", steady=True)
    return np.asarray(run_to_end(paint(model, plate.read(field), settings)).stack.data)


def test_every_field_is_painted_scored_and_told(model: Model, plate: Plate, tmp_path: Path) -> None:
    seen: list[PlateProgress] = []
    summary = to_end(paint_plate(plate, model, tmp_path / "out"), seen)
    assert counts(summary) == (4, 4, 0, 0)
    assert [step.field for step in seen if step.state == "done"] == list(plate.fields)
    assert seen[-1].done == seen[-1].total == 4
    table = read_scores(tmp_path / "out")
    assert table["well"].tolist() == ["A01", "A02", "A03", "B01"]
    assert table["treatment"].tolist() == [f"drug {well}" for well in table["well"]]
    for each, row in zip(plate.fields, table.to_dict("records"), strict=True):
        stack = plate.read(each)
        written = read(tmp_path / "out" / f"{file_stem(each)}.ome.tif")
        assert np.array_equal(np.asarray(written.data), painted(model, plate, each))
        assert written.channels == model.info.stains
        truth = compare(written, stack.select(["DNA", "ER"]).compute()).channels
        for stain in ("DNA", "ER"):
            expected = truth[stain].to_json()
            assert {name: row[f"{name}_{stain}"] for name in expected} == pytest.approx(expected, nan_ok=True)
        assert row["device"] == "cpu"
        assert row["seconds"] > 0


def test_a_finished_plate_is_left_alone(model: Model, plate: Plate, tmp_path: Path) -> None:
    to_end(paint_plate(plate, model, tmp_path / "out"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    seen: list[PlateProgress] = []
    assert counts(to_end(paint_plate(plate, model, tmp_path / "out"), seen)) == (4, 0, 4, 0)
    assert {step.state for step in seen} == {"skipped"}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_more_wells_join_the_same_job(model: Model, plate: Plate, tmp_path: Path, unbroken: dict[str, str]) -> None:
    assert counts(to_end(paint_plate(plate.select("A1:A2"), model, tmp_path / "out"))) == (2, 2, 0, 0)
    assert counts(to_end(paint_plate(plate.select("B1"), model, tmp_path / "out"))) == (1, 1, 0, 0)
    assert len(read_scores(tmp_path / "out")) == 3
    assert counts(to_end(paint_plate(plate, model, tmp_path / "out"))) == (4, 1, 3, 0)
    assert checksums(tmp_path / "out") == unbroken


@pytest.fixture(scope="module")
def quick() -> Any:
    """A way to start processes that have torch loaded already."""
    return preload()


NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are started from one that has torch loaded, which needs fork")


@NEEDS_FORK
@pytest.mark.parametrize(("suffix", "deaths"), [("", (2, 3, 4)), (".zarr", (3, 9, 10, 17))], ids=["OME-TIFF", "OME-Zarr"])
def test_killed_at_any_moment_and_gone_on_with(model: Model, tmp_path: Path, quick: Any, suffix: str, deaths: tuple[int, ...]) -> None:
    plate = make_plate(tmp_path / "plate", 2)
    whole = tmp_path / f"whole{suffix}"
    to_end(paint_plate(plate, model, whole))
    for death in deaths:
        output = tmp_path / f"out{death}{suffix}"
        process = quick.Process(target=paint_and_die, args=(plate, model.info.source, output, death))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert len(read_rows(output)) < 2
        summary = to_end(paint_plate(plate, model, output))
        assert summary.painted + summary.skipped == 2, death
        assert pixels(output) == pixels(whole), death
        assert len(read_scores(output)) == 2
        assert not [path for path in output.rglob(".*")], "what was half-written is cleared away"
        assert counts(to_end(paint_plate(plate, model, output))) == (2, 0, 2, 0)


@NEEDS_FORK
@pytest.mark.parametrize("kind", ["ome-zarr", "in-place"])
def test_a_plate_that_is_killed_between_fields_lists_those_that_are_painted(model: Model, tmp_path: Path, quick: Any, kind: str) -> None:
    pytest.importorskip("zarr")
    plate, output = make_plate(tmp_path / "plate", wells=6), tmp_path / "out.zarr"
    if kind == "in-place":
        writer.create(output, "plate", (2, 3), plate.fields)
        for each in plate.fields:
            writer.write_field(output, each, plate.read(each))
        writer.list_fields(output, plate.fields)
        plate = open_plate(output)
    process = quick.Process(target=paint_and_die_after, args=(plate, model.info.source, None if kind == "in-place" else output, 4))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    opened = open_plate(output)
    listed = {str(each) for each in (opened.fields if kind == "ome-zarr" else opened.painted)}
    path = image_path if kind == "ome-zarr" else lambda each: painted_path(image_path(each), model.info.id)
    there = {str(each) for each in plate.fields if is_zarr(output / path(each))}
    rows = read_rows(output if kind == "ome-zarr" else output.with_name(f"out.zarr.{model.info.id}"))
    assert len(listed) == 4, "those that were reported"
    assert {f"{row['well']}/{row['field']}" for row in (json.loads(path.read_text()) for path in rows)} >= listed
    assert there >= listed
    assert len(there) <= len(listed) + 2, "those that are being finished"
    for each in opened.fields if kind == "ome-zarr" else [stain for stains in opened.painted.values() for stain in stains]:
        assert np.isfinite(np.asarray(opened.read(each).data)).all()


def read_rows(output: Path) -> list[Path]:
    """Return the files of the fields that are finished."""
    return list((job_folder(output) / "rows").glob("[A-Z]*.json"))


def pixels(output: Path) -> dict[str, str]:
    """SHA-256 of the pixels of a plate or of a folder of images."""
    if output.suffix != ".zarr":
        return checksums(output)
    plate = open_plate(output)
    return {each.key: hashlib.sha256(np.asarray(plate.read(each).data).tobytes()).hexdigest() for each in plate.fields}


@NEEDS_FORK
def test_killed_again_and_again_by_the_clock(model: Model, plate: Plate, tmp_path: Path, quick: Any, unbroken: dict[str, str]) -> None:
    for seconds in np.random.default_rng(4).uniform(0.05, 0.5, 3):
        process = quick.Process(target=paint_and_die, args=(plate, model.info.source, tmp_path / "out", -1))
        process.start()
        time.sleep(seconds)
        process.kill()
        process.join(60)
    to_end(paint_plate(plate, model, tmp_path / "out"))
    assert checksums(tmp_path / "out") == unbroken
    assert len(read_scores(tmp_path / "out")) == 4


def test_an_image_that_has_gone_is_painted_again(model: Model, plate: Plate, tmp_path: Path, unbroken: dict[str, str]) -> None:
    to_end(paint_plate(plate, model, tmp_path / "out"))
    (tmp_path / "out" / "A02_0.ome.tif").unlink()
    assert counts(to_end(paint_plate(plate, model, tmp_path / "out"))) == (4, 1, 3, 0)
    assert checksums(tmp_path / "out") == unbroken


def test_a_damaged_field_is_a_row_and_is_tried_again(model: Model, plate: Plate, tmp_path: Path, unbroken: dict[str, str]) -> None:
    damaged = tmp_path / "plate" / "A02_0.npy"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:2000])
    (tmp_path / "plate" / "A03_0.npy").rename(tmp_path / "aside.npy")
    seen: list[PlateProgress] = []
    summary = to_end(paint_plate(plate, model, tmp_path / "out"), seen)
    assert counts(summary) == (4, 2, 0, 2)
    assert [str(step.field) for step in seen if step.state == "failed"] == ["A02/0", "A03/0"]
    table = read_failures(tmp_path / "out")
    assert table["well"].tolist() == ["A02", "A03"]
    assert "missing" in table["reason"][1]
    assert summary.failures == job_folder(tmp_path / "out") / "failed.csv"
    assert {str(each): row["state"] for each, row in plate_state(plate, model, tmp_path / "out").items()}["A03/0"] == "failed"
    damaged.write_bytes(whole)
    (tmp_path / "aside.npy").rename(tmp_path / "plate" / "A03_0.npy")
    summary = to_end(paint_plate(plate, model, tmp_path / "out"))
    assert counts(summary) == (4, 2, 2, 0)
    assert summary.failures is None
    assert read_failures(tmp_path / "out").empty
    assert checksums(tmp_path / "out") == unbroken


def test_a_plate_without_the_models_channels_is_refused_at_once(model: Model, tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate")
    for path in (tmp_path / "plate").glob("*.npy"):
        np.save(path, np.load(path)[:, 3:5].repeat(3, axis=1)[:, :5])
    with pytest.raises(ModelError):
        to_end(paint_plate(plate, toy_model(tmp_path, channels=("Phase a", "Phase b", "Phase c")), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (PaintSettings(tile=64), "tile was auto and is now 64"),
        (PaintSettings(blend="gaussian"), "blend was exact and is now gaussian"),
        (PaintSettings(resample=True), "resample was False and is now True"),
        (PaintSettings(channels=(2, 1, 0)), "channels was None and is now 2,1,0"),
    ],
)
def test_a_changed_setting_is_refused(model: Model, plate: Plate, tmp_path: Path, settings: PaintSettings, words: str) -> None:
    to_end(paint_plate(plate.select("A1"), model, tmp_path / "out"))
    with pytest.raises(InputError, match=words):
        to_end(paint_plate(plate, model, tmp_path / "out", settings))


def test_what_auto_became_is_no_change(model: Model, plate: Plate, tmp_path: Path) -> None:
    to_end(paint_plate(plate.select("A1"), model, tmp_path / "out"))
    assert counts(to_end(paint_plate(plate, model, tmp_path / "out", PaintSettings(tile=128, device="cpu")))) == (4, 3, 1, 0)


def test_another_model_or_plate_is_refused(model: Model, plate: Plate, tmp_path: Path) -> None:
    to_end(paint_plate(plate.select("A1"), model, tmp_path / "out"))
    with pytest.raises(InputError, match=r"the model was toy-planes 1.2.3 and is now toy-planes 2.0.0"):
        to_end(paint_plate(plate, toy_model(tmp_path, version="2.0.0"), tmp_path / "out"))
    with pytest.raises(InputError, match=r"the plate was .* and is now .*other"):
        to_end(paint_plate(make_plate(tmp_path / "other"), model, tmp_path / "out"))


def test_another_plate_of_the_same_table_is_refused_and_a_job_of_before_goes_on(model: Model, plate: Plate, tmp_path: Path) -> None:
    to_end(paint_plate(replace(plate, part="P1"), model, tmp_path / "out"))
    with pytest.raises(InputError, match="the plate in its table was P1 and is now P2"):
        to_end(paint_plate(replace(plate, part="P2"), model, tmp_path / "out"))
    to_end(paint_plate(plate, model, tmp_path / "old"))
    file = job_folder(tmp_path / "old") / "job.json"
    values = json.loads(file.read_text())
    assert values.pop("part") == ""
    file.write_text(json.dumps(values))
    assert counts(to_end(paint_plate(plate, model, tmp_path / "old"))) == (4, 0, 4, 0)


def test_an_output_of_others_is_never_touched(model: Model, plate: Plate, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="choose another name"):
        to_end(paint_plate(plate, model, tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    (tmp_path / "new.job").mkdir()
    (tmp_path / "new.job" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="choose another output"):
        to_end(paint_plate(plate, model, tmp_path / "new"))
    to_end(paint_plate(plate.select("A1"), model, tmp_path / "gone"))
    (tmp_path / "gone" / "A01_0.ome.tif").rename(tmp_path / "gone" / "mine.tif")
    with pytest.raises(InputError, match="something else is there"):
        to_end(paint_plate(plate, model, tmp_path / "gone"))
    (tmp_path / "gone" / "mine.tif").unlink()
    assert to_end(paint_plate(plate, model, tmp_path / "gone")).painted == 4
    with pytest.raises(InputError, match="inside the plate itself"):
        to_end(paint_plate(plate, model, tmp_path / "plate" / "out"))
    assert not (tmp_path / "plate" / "out").exists()


def _lock(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    process = psutil.Process()
    owner = {"pid": process.pid, "host": platform.node(), "started": process.create_time(), "token": "x", **changes}
    path = folder / "lock.json"
    path.write_text(json.dumps(owner), "utf-8")
    return path


def test_two_runs_on_one_output(model: Model, plate: Plate, tmp_path: Path) -> None:
    first = paint_plate(plate, model, tmp_path / "out")
    next(first)
    with pytest.raises(InputError, match=f"another run \\(process {os.getpid()} on"):
        to_end(paint_plate(plate, model, tmp_path / "out"))
    to_end(first)
    assert counts(to_end(paint_plate(plate, model, tmp_path / "out"))) == (4, 0, 4, 0)
    assert not (job_folder(tmp_path / "out") / "lock.json").exists()


def test_a_stale_lock_is_known(model: Model, plate: Plate, tmp_path: Path) -> None:
    stale: tuple[dict[str, Any], ...] = ({"pid": 2**22 + 7}, {"started": 1.0}, {"host": "elsewhere"})
    for number, changes in enumerate(stale):
        path = _lock(job_folder(tmp_path / f"out{number}"), **changes)
        os.utime(path, (1e9, time.time() - 2 * SILENT))
        assert to_end(paint_plate(plate, model, tmp_path / f"out{number}")).painted == 4
    _lock(job_folder(tmp_path / "out"), host="elsewhere")
    with pytest.raises(InputError, match="on elsewhere"):
        to_end(paint_plate(plate, model, tmp_path / "out"))


def test_a_full_disk_stops_the_job_and_keeps_what_is_finished(
    model: Model, plate: Plate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: dict[str, str]
) -> None:
    from napari_virtual_paint.writing import tiff, write

    def full(stack: Any, path: Path, name: str) -> None:
        if name.startswith("A03"):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        tiff_writer(stack, path, name)

    tiff_writer = tiff.write_tiff
    assert write is not None
    with monkeypatch.context() as patch:
        patch.setattr(tiff, "write_tiff", full)
        with pytest.raises(WriteError, match=r"the disk takes no more .* goes on with the rest"):
            to_end(paint_plate(plate, model, tmp_path / "out"))
    assert list(checksums(tmp_path / "out")) == ["A01_0.ome.tif", "A02_0.ome.tif"]
    assert counts(to_end(paint_plate(plate, model, tmp_path / "out"))) == (4, 2, 2, 0)
    assert checksums(tmp_path / "out") == unbroken


def test_memory_that_runs_out_halves_the_tile_for_good(model: Model, plate: Plate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_virtual_paint.painting.exact import encoder_decoder

    whole, tiles = encoder_decoder.paint_field, []

    def short(network: Any, plan: Any, *rest: Any) -> Any:
        tiles.append(max(plan.tile))
        if len(tiles) > 1 and max(plan.tile) > 32:
            raise MemoryError
        return whole(network, plan, *rest)

    monkeypatch.setattr("napari_virtual_paint.painting.predictor.paint_field", short)
    seen: list[PlateProgress] = []
    to_end(paint_plate(plate, model, tmp_path / "out"), seen)
    assert tiles == [64, 64, 32, 32, 32]
    assert any("the tile is 32 px" in step.message for step in seen)
    job = load_job(job_folder(tmp_path / "out"))
    assert job is not None
    assert job.settings.tile == 32
    assert read_scores(tmp_path / "out")["tile"].tolist() == [64, 32, 32, 32]
    monkeypatch.undo()
    for each, tile in zip(plate.fields, (128, 32, 32, 32), strict=True):
        assert np.array_equal(np.asarray(read(tmp_path / "out" / f"{file_stem(each)}.ome.tif").data), painted(model, plate, each, tile))


def test_a_cancel_keeps_what_is_finished_and_leaves_no_thread(model: Model, plate: Plate, tmp_path: Path, unbroken: dict[str, str]) -> None:
    steps = paint_plate(plate, model, tmp_path / "out")
    while next(steps).state != "done":
        pass
    steps.close()
    time.sleep(0.3)
    assert not [thread.name for thread in pipeline.threading.enumerate() if thread.name.startswith("plate")]
    summary = to_end(paint_plate(plate, model, tmp_path / "out"))
    assert summary.skipped >= 1
    assert checksums(tmp_path / "out") == unbroken


def test_one_field_is_read_ahead_and_no_more(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plate = make_plate(tmp_path / "plate", wells=6)
    live, most = set(), [0]
    reading, finishing = Painter.read, Painter.finish

    def read_counted(self: Painter, field: Field) -> Any:
        live.add(field)
        most[0] = max(most[0], len(live))
        return reading(self, field)

    def finish_counted(self: Painter, loaded: Any, painting: Any) -> Any:
        row = finishing(self, loaded, painting)
        live.discard(loaded.field)
        return row

    monkeypatch.setattr(Painter, "read", read_counted)
    monkeypatch.setattr(Painter, "finish", finish_counted)
    to_end(paint_plate(plate, model, tmp_path / "out"))
    assert most[0] <= 4  # painted, read ahead, being written and waiting to be written


def test_memory_decides_how_many_paint() -> None:
    each = Need(painting=1 << 30, ahead=1 << 28)
    assert fitting(each, 1 << 40, 8) == (8, True)
    assert fitting(each, 2 * ((1 << 30) + PROCESS), 2) == (2, False)
    assert fitting(each, 3 << 30, 8) == (1, True)
    assert fitting(each, 1 << 20, 8) == (1, False)


def test_a_long_job_on_a_cpu_gets_a_process_a_core(model: Model, plate: Plate, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = plate.read(plate.fields[0])
    job = planning.resolve(describe_job(plate, model, PaintSettings(device="cpu"), "ome-zarr"), stack, model)
    monkeypatch.setattr(planning, "openmp_threads", lambda: 3)
    assert planning.best_workers(job, model, stack, 1) == 1, "it is painted before a second process has started"
    assert planning.best_workers(job, model, stack, 10**6) == 3
    assert planning.best_workers(job, model, stack, 1, instant=True) == 3, "nobody waits for processes to start"
    assert planning.best_workers(replace(job, threads=2), model, stack, 10**6) == 1, "its bits depend on the threads"
    assert planning.best_workers(replace(job, settings=replace(job.settings, device="cuda")), model, stack, 10**6) == 1


def test_too_little_memory_is_said(model: Model, plate: Plate, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too little memory for a field of 64 x 64"):
        to_end(paint_plate(plate, model, tmp_path / "out", memory=1000))


def test_names_of_files_tell_fields_apart() -> None:
    fields = [Field("A01", "0"), Field("A01", "0_2"), Field("A01", "0", "2"), Field("A01", "0@2"), Field("A01", "a/b"), Field("A01", "..")]
    stems = [file_stem(each) for each in fields]
    assert len(set(stems)) == len(stems)
    assert not any("/" in stem for stem in stems)


def test_a_plate_of_one_more_run_with_other_metadata_types(model: Model, plate: Plate, tmp_path: Path) -> None:
    mixed = replace(open_toy(tmp_path / "plate", plate.fields), metadata={"A01": {"dose": 1, "seconds": 3}, "A02": {"dose": "high"}})
    to_end(paint_plate(mixed, model, tmp_path / "out"))
    table = read_scores(tmp_path / "out")
    assert table["dose"].tolist()[:2] == ["1", "high"]
    assert table["seconds_of_well"].tolist()[0] == 3
