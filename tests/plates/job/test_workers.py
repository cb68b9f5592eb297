"""Plates painted by several processes and by a Dask cluster, some of which are killed."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.models import Model
from napari_virtual_paint.plates.job.forkserver import start_server
from napari_virtual_paint.plates.job.rows import ROWS
from napari_virtual_paint.plates.job.workers import make_pool
from napari_virtual_paint.plates.paint import PlateProgress, job_folder, paint_plate, read_failures, read_scores
from small_plates import (
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
)

PATIENCE = 60.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return toy_model(tmp_path_factory.mktemp("model"))


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
    seen: list[PlateProgress] = []
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
        # A field counts once its row is written, a moment after its image.
        until(lambda: list((job_folder(output) / ROWS).glob("[!.]*.json")))
        workers = {pid for _, pid in readings(folder)} - {process.pid}
        assert workers
    finally:
        process.kill()
        process.join()
    until(lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in workers))
    assert to_end(paint_plate(make_plate(folder, 4), model, output)).skipped >= 1
    assert checksums(output) == unbroken


def test_each_worker_gets_a_field_before_one_reads_ahead(model: Model, tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate", 2)
    plate = replace(plate, reader=SlowFields(str(tmp_path / "plate")))
    to_end(paint_plate(plate, model, tmp_path / "out", workers=2))
    painters = {field: pid for field, pid in readings(tmp_path / "plate") if pid != os.getpid()}  # a field's last reading is its painter's
    assert len(set(painters.values())) == 2


def test_a_worker_that_dies_while_it_plans_is_done_without(model: Model, tmp_path: Path, unbroken: dict[str, str]) -> None:
    folder = tmp_path / "plate"
    plate = replace(make_plate(folder, 4), reader=DeadlyFields(str(folder), once="A01"))
    assert counts(to_end(paint_plate(plate, model, tmp_path / "out", workers=2))) == (4, 4, 0, 0)
    assert (folder / "A01.killed").exists(), "it did die"
    assert checksums(tmp_path / "out") == unbroken


def test_what_is_wrong_with_a_job_is_said_by_a_worker_too(model: Model, tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate", 2)
    with pytest.raises(InputError, match="too little memory for a field of 64 x 64"):
        to_end(paint_plate(plate, model, tmp_path / "out", workers=2, memory=1000))
    assert not _workers()


def test_a_cancel_while_it_plans_leaves_nothing(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "plate"
    plate = replace(make_plate(folder, 2), reader=SlowFields(str(folder), seconds=PATIENCE))
    steps = paint_plate(plate, model, tmp_path / "out", workers=2)
    until(lambda: next(steps) and readings(folder))
    began = time.monotonic()
    steps.close()
    assert time.monotonic() - began < PATIENCE / 2, "it did not wait for the field"
    assert not _workers()
    assert [path.name for path in tmp_path.iterdir()] == ["plate"]


def test_a_system_that_starts_no_process_is_one_sentence(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, name: str) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("napari_virtual_paint.plates.job.workers.start_process", none)
    with pytest.raises(VirtualPaintError, match=r"No worker starts \(.*unavailable\); try --workers 1"):
        to_end(paint_plate(make_plate(tmp_path / "plate", 2), model, tmp_path / "out", workers=2))


def test_without_a_place_for_its_socket_there_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_long() -> None:
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", too_long)
    assert not start_server()
    assert make_pool(2, "cpu").count == 0


LEAN = """
import sys
from pathlib import Path
from napari_virtual_paint.plates.job.forkserver import start_process, start_server
if __name__ == "__main__":
    assert start_server()
    process = start_process(exec, "import sys; from pathlib import Path; Path(sys.argv[1]).write_text(' '.join(sys.modules))", name="one")
    process.join(60)
    assert "torch" not in sys.modules, "the server imports it, not we"
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are copied on Linux")
def test_workers_have_torch_from_the_start_and_nothing_in_vain(tmp_path: Path) -> None:
    (tmp_path / "lean.py").write_text(LEAN)
    subprocess.run([sys.executable, str(tmp_path / "lean.py"), str(tmp_path / "modules")], check=True, timeout=PATIENCE)
    there = set((tmp_path / "modules").read_text().split())
    assert {"torch", "dask.array", "napari_virtual_paint.painting.engine"} <= there
    assert "xarray" not in there


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
    seen: list[PlateProgress] = []
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
    monkeypatch.setattr("napari_virtual_paint.plates.job.cluster.TIMEOUT", "1s")
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
