"""Plates painted by several processes and by a Dask cluster, some of which are killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.models import Model
from napari_virtual_paint.plates.paint import PlateStep, paint_plate, read_failures, read_scores
from napari_virtual_paint.plates.paint_ahead import start_ahead, take_ahead
from plates_toys import (
    DeadlyFields,
    SlowFields,
    checksums,
    coordinate,
    counts,
    make_plate,
    preload,
    readings,
    to_end,
    toy_model,
    wait_in_vain,
)

PATIENCE = 60.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return toy_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the workers from a process that has torch loaded, where the system has such."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        preload()
        monkeypatch.setattr("napari_virtual_paint.plates.paint_workers.START", "forkserver")


@pytest.fixture(scope="module")
def unbroken(model: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checksums of four fields that one process painted."""
    folder = tmp_path_factory.mktemp("unbroken")
    to_end(paint_plate(make_plate(folder / "plate", 4), model, folder / "out"))
    return checksums(folder / "out")


def until(true: Callable[[], Any]) -> Any:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, "it never became so"
        time.sleep(0.02)
    return found


def test_a_worker_that_dies_is_replaced_and_its_field_tried_once_more(model: Model, tmp_path: Path, unbroken: dict[str, str]) -> None:
    plate = make_plate(tmp_path / "plate", 4)
    plate = replace(plate, reader=DeadlyFields(str(tmp_path / "plate"), once="A02", always="B01"))
    seen: list[PlateStep] = []
    summary = to_end(paint_plate(plate, model, tmp_path / "out", workers=2), seen)
    assert counts(summary) == (4, 3, 0, 1)
    assert len([step for step in seen if step.state == "done"]) == 3
    assert any("worker died" in step.message for step in seen)
    assert "died twice" in read_failures(tmp_path / "out")["reason"][0]
    assert checksums(tmp_path / "out") == {name: value for name, value in unbroken.items() if name != "B01_0.ome.tif"}
    assert not _workers()
    whole = replace(plate, reader=make_plate(tmp_path / "plate", 4).reader)
    assert counts(to_end(paint_plate(whole, model, tmp_path / "out"))) == (4, 1, 3, 0)
    assert checksums(tmp_path / "out") == unbroken


def _workers() -> list[psutil.Process]:
    """Live worker processes of this one."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = " ".join(child.cmdline())
            ours = "spawn_main" in words or ("forkserver" in words and child.ppid() != os.getpid())
            if ours and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="kill -9 is of POSIX")
def test_workers_go_when_their_coordinator_is_killed(model: Model, tmp_path: Path, unbroken: dict[str, str]) -> None:
    folder, output = tmp_path / "plate", tmp_path / "out"
    plate = replace(make_plate(folder, 4), reader=SlowFields(str(folder), seconds=0.3))
    process = preload().Process(target=coordinate, args=(plate, model.info.source, output))
    process.start()
    try:
        until(lambda: output.is_dir() and checksums(output))
        workers = {pid for _, pid in readings(folder)} - {process.pid}
        assert workers
    finally:
        process.kill()
        process.join()
    until(lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in workers))
    assert to_end(paint_plate(make_plate(folder, 4), model, output)).skipped >= 1
    assert checksums(output) == unbroken


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="processes are copied on POSIX")
def test_copies_that_are_not_needed_end() -> None:
    answer, theirs = multiprocessing.Pipe()
    process = preload().Process(target=wait_in_vain, args=(theirs,))
    process.start()
    assert answer.poll(PATIENCE)
    assert answer.recv() == (42, 2, 0, None), "sum, processes that lived with one taken, processes left, and nobody waits any more"
    process.join()


def test_nobody_is_copied_where_that_is_not_allowed() -> None:
    start_ahead(2, print)
    assert take_ahead() is None


def test_a_cancel_leaves_no_worker(model: Model, tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate", 4)
    plate = replace(plate, reader=SlowFields(str(tmp_path / "plate")))
    steps = paint_plate(plate, model, tmp_path / "out", workers=2)
    while next(steps).state != "painting":
        assert _workers()
    began = time.monotonic()
    steps.close()
    assert not _workers()
    assert time.monotonic() - began < PATIENCE


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two worker processes of Dask, from a process that has torch loaded, where the system has such."""
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    method = "spawn"
    if "forkserver" in multiprocessing.get_all_start_methods():
        preload().Process(target=int).start()  # Dask would have other modules loaded in it
        method = "forkserver"
    with (
        dask.config.set({"distributed.worker.daemon": True, "distributed.worker.multiprocessing-method": method}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0) as found,
    ):
        yield found


def test_a_cluster_paints_all_fields_once_though_a_worker_is_killed(
    cluster: Any, model: Model, tmp_path: Path, unbroken: dict[str, str]
) -> None:
    folder = tmp_path / "plate"
    plate = make_plate(folder, 4)
    plate = replace(plate, reader=SlowFields(str(folder), seconds=0.3))
    killed: list[int] = []
    seen: list[PlateStep] = []
    steps = paint_plate(plate, model, tmp_path / "out", scheduler=cluster.scheduler_address)
    with contextlib.suppress(StopIteration):
        while True:
            seen.append(next(steps))
            if not killed and seen[-1].state == "done":
                killed.append(readings(folder)[-1][1])
                os.kill(killed[0], signal.SIGKILL)
    assert killed
    assert sorted(str(step.field) for step in seen if step.state == "done") == sorted(map(str, plate.fields))
    assert not [step for step in seen if step.state == "failed"]
    assert checksums(tmp_path / "out") == unbroken
    assert len(read_scores(tmp_path / "out")) == 4
    assert {pid for _, pid in readings(folder)} - {os.getpid()} >= set(killed)
    assert counts(to_end(paint_plate(plate, model, tmp_path / "out", scheduler=cluster.scheduler_address))) == (4, 0, 4, 0)


def test_a_damaged_field_on_a_cluster_is_a_row(cluster: Any, model: Model, tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate", 2)
    (tmp_path / "plate" / "A02_0.npy").unlink()
    assert counts(to_end(paint_plate(plate, model, tmp_path / "out", scheduler=cluster.scheduler_address))) == (2, 1, 0, 1)
    assert "missing" in read_failures(tmp_path / "out")["reason"][0]


def test_no_scheduler_is_one_sentence(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("napari_virtual_paint.plates.paint_cluster.TIMEOUT", "1s")
    plate = make_plate(tmp_path / "plate", 1)
    with pytest.raises(VirtualPaintError, match="no Dask scheduler answers"):
        to_end(paint_plate(plate, model, tmp_path / "out", scheduler="tcp://127.0.0.1:9"))


def test_a_lost_scheduler_is_one_sentence_and_the_job_goes_on(model: Model, tmp_path: Path, unbroken: dict[str, str]) -> None:
    distributed = pytest.importorskip("distributed")
    folder = tmp_path / "plate"
    plate = make_plate(folder, 4)
    slow = replace(plate, reader=SlowFields(str(folder), seconds=0.3))
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, memory_limit=0)
    steps = paint_plate(slow, model, tmp_path / "out", scheduler=cluster.scheduler_address)
    while next(steps).state != "done":
        pass
    cluster.close()
    with pytest.raises(VirtualPaintError, match=r"scheduler .* was lost"):
        to_end(steps)
    assert to_end(paint_plate(plate, model, tmp_path / "out")).skipped >= 1
    assert checksums(tmp_path / "out") == unbroken
