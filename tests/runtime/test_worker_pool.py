"""Worker pools: rounds of tasks, workers that die, errors, cancelling, Ctrl-C and parents that end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from napari_virtual_paint.errors import InputError, VirtualPaintError, WriteError
from napari_virtual_paint.runtime.processes import cores, is_running, openmp_threads, spawn_single_threaded
from napari_virtual_paint.runtime.worker_pool import Failure, ForEach, Function, TaskEvent, WorkerDied, WorkerPool
from worker_tasks import act, collect, fail, fork, late, never_ready, process_id, refuse, square, stubborn

PATIENCE = 60.0
POSIX = pytest.mark.skipif(os.name == "nt", reason="processes are forked and killed as on POSIX")


def events(pool: WorkerPool, work: Any, tasks: list[Any], **options: Any) -> list[TaskEvent]:
    return list(pool.run(work, tasks, **options))


def ends(found: list[TaskEvent]) -> dict[int, TaskEvent]:
    """The last event of each task, which must be its only end."""
    last = [event for event in found if event.state != "working"]
    assert len({event.task for event in last}) == len(last)
    return {event.task: event for event in last}


def until(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, "it never became so"
        time.sleep(0.02)
    return found


@pytest.fixture
def no_child_is_left() -> Any:
    before = set(multiprocessing.active_children())
    yield
    assert not set(multiprocessing.active_children()) - before


@pytest.mark.parametrize("count", [0, 2])
def test_tasks_are_run_in_rounds(count: int, no_child_is_left: None) -> None:
    with WorkerPool(count) as pool:
        found = events(pool, ForEach(square), [3, 4, 5])
        assert {task: event.value for task, event in ends(found).items()} == {0: 9, 1: 16, 2: 25}
        assert {(event.task, event.share, event.message) for event in found if event.share == 0.5} == {
            (number, 0.5, f"half of {value}") for number, value in enumerate((3, 4, 5))
        }
        workers = [worker.process.pid for worker in pool._workers]
        assert len(workers) == count
        assert list(pool.map(abs, [-1, -2, -3])) == [1, 2, 3]
        assert [worker.process.pid for worker in pool._workers] == workers, "they stay for the next round"
        assert events(pool, ForEach(square), []) == []


@POSIX
def test_no_more_workers_are_started_than_there_are_tasks(no_child_is_left: None) -> None:
    with WorkerPool(4, start=fork) as pool:
        assert set(pool.map(process_id, [None])) <= {worker.process.pid for worker in pool._workers}
        assert len(pool._workers) == 1
        pool.begin(ForEach(square))
        assert [pool.submit(2), pool.submit(3), pool.pending] == [0, 1, 2]
        found = {}
        while pool.pending:
            found.update({event.task: event.value for event in pool.poll() if event.state == "done"})
        assert found == {0: 4, 1: 9}
        assert len(pool._workers) == 2


@POSIX
def test_each_worker_gets_a_task_before_any_gets_a_second(no_child_is_left: None) -> None:
    with WorkerPool(2, start=fork) as pool:
        found = ends(events(pool, collect, [0.2, 0.2, 0.0, 0.0], prefetch=1))
    assert found[0].value[0] != found[1].value[0]
    assert {found[0].value[1], found[1].value[1]} == {(0,), (1,)}


@POSIX
def test_a_task_whose_worker_dies_is_run_again_and_then_fails(tmp_path: Path, no_child_is_left: None) -> None:
    with WorkerPool(2, start=fork) as pool:
        found = events(pool, ForEach(act), [("die", tmp_path), ("die once", tmp_path), ("work", tmp_path)])
    last = ends(found)
    assert [last[number].state for number in range(3)] == ["failed", "done", "done"]
    assert last[0].failure is not None
    assert last[0].failure.exit_code == -signal.SIGKILL
    assert "died twice" in last[0].failure.reason
    assert isinstance(last[0].failure.error(), WorkerDied)
    assert (len(list(tmp_path.glob("die.*"))), len(list(tmp_path.glob("die once.*")))) == (2, 2)
    assert len([event for event in found if "another one takes its place" in event.message]) == 3


@POSIX
@pytest.mark.parametrize("retries", [0, 2])
def test_retries(tmp_path: Path, retries: int) -> None:
    with WorkerPool(1, start=fork, retries=retries) as pool:
        assert ends(events(pool, ForEach(act), [("die", tmp_path)]))[0].state == "failed"
    assert len(list(tmp_path.glob("die.*"))) == 1 + retries


@POSIX
def test_a_task_that_a_dead_worker_had_finished_is_done(tmp_path: Path) -> None:
    with WorkerPool(1, start=fork) as pool:
        found = events(pool, ForEach(act), [("die", tmp_path)], recover=lambda task: (task[1] / f"{task[0]}.0").exists() or None)
    assert (ends(found)[0].state, ends(found)[0].value) == ("done", True)


@POSIX
def test_workers_that_never_become_ready_end_the_work(no_child_is_left: None) -> None:
    with WorkerPool(2, start=fork) as pool, pytest.raises(WorkerDied, match=r"before they begin \(exit code -9\); memory may be short"):
        events(pool, never_ready, [1])


@POSIX
def test_a_worker_that_is_killed_from_outside_is_replaced(tmp_path: Path, no_child_is_left: None) -> None:
    with WorkerPool(2, start=fork) as pool:
        steps = pool.run(ForEach(act), [("hang", tmp_path), ("work", tmp_path)])
        while not (tmp_path / "hang.0").exists() or not (tmp_path / "hang.0").read_text():
            next(steps)
        first = int((tmp_path / "hang.0").read_text())
        os.kill(first, signal.SIGKILL)  # as the kernel does where memory runs out
        while not (tmp_path / "hang.1").exists():
            next(steps)
        until(lambda: (tmp_path / "hang.1").read_text())
        assert int((tmp_path / "hang.1").read_text()) != first
        steps.close()


@pytest.mark.parametrize("count", [0, 1])
def test_errors_of_tasks(tmp_path: Path, count: int) -> None:
    with WorkerPool(count) as pool:
        last = ends(events(pool, ForEach(act), [("input", tmp_path), ("bug", tmp_path), ("work", tmp_path)]))
        assert [last[number].state for number in range(3)] == ["failed", "failed", "done"]
        assert last[0].failure == Failure("a setting can't be used.", of_input=True)
        assert isinstance(last[0].failure.error(), InputError)
        assert last[1].failure is not None
        assert last[1].failure.reason == "ZeroDivisionError: a bug"
        assert "worker_tasks.py" in last[1].failure.trace
        assert not isinstance(last[1].failure.error(), VirtualPaintError)
        with pytest.raises(InputError, match="second item"):
            list(pool.map(fail, [0, 1, 2]))
        with pytest.raises(WriteError, match=r"out.tif: the disk is full"):
            events(pool, ForEach(act), [("write", tmp_path)])
        with pytest.raises(InputError, match="no such device"):
            events(pool, refuse, [1])


@POSIX
def test_a_cancel_ends_busy_workers_and_their_children(tmp_path: Path, no_child_is_left: None) -> None:
    pool = WorkerPool(2, start=fork)
    steps = pool.run(ForEach(act), [("hang", tmp_path), ("child", tmp_path)])
    while not (tmp_path / "child.pid").exists() or not (tmp_path / "hang.0").exists():
        next(steps)
    child = int(until(lambda: (tmp_path / "child.pid").read_text()))
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < PATIENCE / 4
    until(lambda: not is_running(child))


@POSIX
def test_a_round_that_was_left_does_not_disturb_the_next_one(tmp_path: Path, no_child_is_left: None) -> None:
    with WorkerPool(1, start=fork) as pool:
        steps = pool.run(ForEach(act), [("last", tmp_path), ("work", tmp_path)])
        while next(steps).share < 0.5:
            pass
        assert list(pool.map(abs, [-7])) == [7]
        assert not list(tmp_path.glob("work*"))


@POSIX
def test_busy_workers_may_finish(no_child_is_left: None) -> None:
    pool = WorkerPool(1, start=fork)
    pool.begin(collect)
    pool.submit(0.3)
    list(pool.poll())
    process = pool._workers[0].process
    pool.close(finish=True)
    assert process.exitcode == 0


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent to a process in another way on Windows")
def test_workers_leave_ctrl_c_to_their_parent(tmp_path: Path, no_child_is_left: None) -> None:
    with WorkerPool(1) as pool:
        steps = pool.run(ForEach(act), [("last", tmp_path)])
        next(steps)
        for worker in pool._workers:
            os.kill(worker.process.pid, signal.SIGINT)  # while it starts
        while next(steps).share < 0.5:
            pass
        os.kill(pool._workers[0].process.pid, signal.SIGINT)
        time.sleep(0.1)
        assert pool._workers[0].process.is_alive()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


SCRIPT = """
import sys
from pathlib import Path
from worker_tasks import run_pool
if __name__ == "__main__":
    run_pool(Path(sys.argv[1]))
"""


@POSIX
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_workers_end_with_their_parent(tmp_path: Path, sign: signal.Signals) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    logs = [tmp_path / "last.0", tmp_path / "hang.0"]
    workers = until(lambda: all(log.exists() and log.read_text() for log in logs) and [int(log.read_text()) for log in logs])
    if sign == signal.SIGINT:
        os.killpg(process.pid, sign)  # a terminal sends it to every process of the command
    else:
        process.kill()
    _, words = process.communicate(timeout=PATIENCE)
    until(lambda: not any(is_running(pid) for pid in workers))
    assert "leaked" not in words
    assert words.count("Traceback") == (sign == signal.SIGINT), "the parent's own alone"


def test_a_pool_that_nobody_closes_ends_with_the_program(tmp_path: Path) -> None:
    script = "from napari_virtual_paint.runtime.worker_pool import WorkerPool\nif __name__ == '__main__':\n"
    script += "    pool = WorkerPool(1)\n    print(list(pool.map(abs, [-3])))\n"
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[3]", "")


def test_a_system_that_starts_no_process() -> None:
    def none(*_: object, name: str) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with WorkerPool(2, start=none) as pool, pytest.raises(VirtualPaintError, match=r"No worker starts \(.*unavailable\); try --workers 1"):
        events(pool, ForEach(square), [1])


def test_single_threaded_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert openmp_threads() == 3
    with WorkerPool(1, start=spawn_single_threaded) as pool:
        assert list(pool.map(os.getenv, ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])) == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert openmp_threads() == cores() >= 1


def test_cores_of_each_task() -> None:
    assert [WorkerPool(8).cores_per_task(tasks) for tasks in (0, 1, 3, 8, 100)] == [8, 8, 2, 1, 1]
    assert WorkerPool(0).cores_per_task(5) == 1


def test_a_number_that_was_given_again_is_another_process() -> None:
    own = psutil.Process()
    assert is_running(own.pid, own.create_time())
    assert not is_running(own.pid, own.create_time() - 10)
    assert not is_running(2**22 + 7)


@POSIX
@pytest.mark.parametrize("task", [stubborn, late])
def test_a_worker_that_ends_within_a_task_leaves_nothing_half_written(task: Function, tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    pool = WorkerPool(1, start=fork, output=tmp_path)
    steps = pool.run(ForEach(task), [tmp_path / "A" / "out.txt"])
    until(lambda: next(steps) and list((tmp_path / "A").glob(".*.partial")))
    pool.close()
    assert not list((tmp_path / "A").iterdir())
