"""Workers: progress, cancelling, errors, and what happens when the viewer closes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import pytest
from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar
from napari.qt.threading import create_worker
from napari.utils import progress as napari_progress
from napari.utils.notifications import notification_manager
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QLabel

from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.activity import ActivityBar
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint.errors import Cancelled, InputError


@dataclass
class Piece:
    done: float
    total: float
    message: str = ""


def counting(count=5, pause=0.02):
    for index in range(count):
        time.sleep(pause)
        yield Piece(index + 1, count, "counting")
    return "counted"


def endless(closed=None):
    try:
        while True:
            time.sleep(0.02)
            yield Piece(1, 2)
    finally:
        if closed is not None:
            closed.append(threading.current_thread())


def test_pieces_and_result_arrive_on_the_gui_thread(make_napari_viewer, qtbot):
    make_napari_viewer()
    pieces, results, threads = [], [], set()

    def piece(item):
        threads.add(threading.current_thread())
        pieces.append(item.done)

    job = jobs.start(counting, title="Counting", piece=piece, done=results.append)
    qtbot.waitUntil(lambda: bool(results), timeout=30_000)
    assert results == ["counted"]
    assert pieces == [1, 2, 3, 4, 5]
    assert threads == {threading.main_thread()}
    assert job.progress.fraction == 1
    assert not job.running


def activity(title):
    """The bars of the activity dialog that belong to a job."""
    return [bar for bar in napari_progress._all_instances if bar.desc.startswith(title)]


def test_progress_is_told_twice_a_second_and_in_the_activity_bar(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    ticks = []
    job = jobs.start(lambda: counting(100, 0.015), title="Counting", tick=ticks.append)
    qtbot.waitUntil(lambda: activity("Counting") != [], timeout=5000)
    bars = activity("Counting")
    assert len(bars) == 1
    qtbot.waitUntil(lambda: len(ticks) >= 2, timeout=30_000)
    assert ticks[-1].message == "counting"
    assert bars[0].n > 0
    qtbot.waitUntil(lambda: not job.running, timeout=30_000)
    assert len(ticks) < 100
    shown = [label.text() for label in viewer.window._qt_window.findChildren(QLabel) if label.text().startswith("Counting")]
    assert len(shown) == 1
    assert re.fullmatch(r"Counting: Done in [\d.]+ s\.", shown[0])
    jobs.start_function(lambda: 7, title="Next")
    qtbot.waitUntil(lambda: bars[0] not in napari_progress._all_instances, timeout=30_000)


def test_cancel_ends_the_generator_in_its_own_thread(make_napari_viewer, qtbot):
    make_napari_viewer()
    closed, told = [], []
    job = jobs.start(lambda: endless(closed), title="Endless", cancelled=lambda: told.append(1), done=told.append)
    qtbot.wait(100)
    job.cancel()
    job.cancel()
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=30_000)
    assert told == [1]
    assert closed
    assert closed[0] is not threading.main_thread()


def test_cancel_does_not_wait_for_a_worker_that_is_deep_in_work(make_napari_viewer, qtbot):
    make_napari_viewer()
    release, told = threading.Event(), []

    def stuck():
        yield Piece(0, 1)
        release.wait(20)
        yield Piece(1, 1)

    job = jobs.start(stuck, title="Stuck", cancelled=lambda: told.append(1))
    qtbot.wait(100)
    job.cancel()
    qtbot.waitUntil(lambda: told == [1], timeout=30_000)
    assert not job.running
    assert jobs.LIVE, "the thread is still there, the job is over for the user"
    release.set()


def test_the_activity_dialog_can_cancel(make_napari_viewer, qtbot):
    make_napari_viewer()
    told = []
    jobs.start(endless, title="Endless", cancelled=lambda: told.append(1))
    qtbot.waitUntil(lambda: activity("Endless") != [], timeout=5000)
    activity("Endless")[0].cancel()
    qtbot.waitUntil(lambda: told == [1], timeout=30_000)


def test_a_quiet_job_is_not_in_the_activity_dialog(make_napari_viewer, qtbot):
    make_napari_viewer()
    results = []
    jobs.start_function(lambda: 7, title="Quiet", done=results.append, quiet=True)
    assert not [bar for bar in napari_progress._all_instances if bar.desc.startswith("Quiet")]
    qtbot.waitUntil(lambda: results == [7], timeout=30_000)


def test_no_step_runs_while_napari_adds_the_bar(make_napari_viewer, qtbot, monkeypatch):
    """napari runs the event loop three times for a bar: layers that changed then would be drawn in the midst of their change."""
    make_napari_viewer()
    inside, steps, turns = [False], [], []
    describe = QtLabeledProgressBar.setDescription

    def watched(bar, text):
        inside[0] = True
        QTimer.singleShot(0, lambda: turns.append(inside[0]))
        describe(bar, text)
        QApplication.processEvents()
        inside[0] = False

    monkeypatch.setattr(QtLabeledProgressBar, "setDescription", watched)
    queue = StepQueue()
    jobs.start(lambda: counting(3), title="Counting")
    monkeypatch.setattr(jobs, "ActivityBar", lambda *args: (queue.add(lambda: steps.append(inside[0])), ActivityBar(*args))[1])
    qtbot.waitUntil(lambda: steps != [] and turns != [], timeout=30_000)
    assert turns == [True], "events did run inside"
    assert steps == [False]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("cells.tif: there is no channel 7; choose one of 3."), "cells.tif: there is no channel 7; choose one of 3."),
        (RuntimeError("boom"), "Work stopped by a fault of the program (RuntimeError: boom)"),
        (StopAsyncIteration(), "Work stopped by a fault of the program (StopAsyncIteration"),
    ],
)
def test_errors_are_notifications_without_a_traceback(make_napari_viewer, qtbot, error, words):
    make_napari_viewer()
    failures = []

    def fails():
        yield Piece(0, 1)
        raise error

    jobs.start(fails, title="Work", failed=failures.append)
    qtbot.waitUntil(lambda: failures == [error], timeout=30_000)
    record = notification_manager.records[-1]
    assert record.message.startswith(words)
    assert not hasattr(record, "exception")


def test_work_that_says_it_was_cancelled_is_no_error(make_napari_viewer, qtbot):
    make_napari_viewer()
    before, told = len(notification_manager.records), []

    def stops():
        yield Piece(0, 1)
        raise Cancelled("stopped")

    jobs.start(stops, title="Stops", cancelled=lambda: told.append(1))
    qtbot.waitUntil(lambda: told == [1], timeout=30_000)
    assert len(notification_manager.records) == before


def test_closing_the_viewer_ends_jobs_in_silence(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    closed, told, begun = [], [], threading.Event()

    def work():
        begun.set()
        yield from endless(closed)

    job = jobs.start(work, title="Endless", cancelled=lambda: told.append(1), tick=told.append, done=told.append)
    qtbot.waitUntil(begun.is_set, timeout=30_000)  # a generator that never began has nothing to close
    told.clear()
    viewer.close()
    assert not job.running
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=30_000)
    assert closed
    assert not told


def test_a_worker_ends_quietly_when_qt_has_deleted_its_signals(qapp, qtbot):
    work = (number for number in range(3))
    worker = create_worker(lambda: (yield from work), _worker_class=jobs._GeneratorWorker, _start_thread=False)
    worker.signals.deleteLater()
    qtbot.waitUntil(lambda: not isalive(worker.signals), timeout=30_000)
    worker.run()  # an error that leaves it in a thread ends the program


def test_wait_for_returns_the_result_or_nothing(make_napari_viewer):
    make_napari_viewer()

    def fails():
        yield Piece(0, 1)
        raise InputError("no")

    assert jobs.wait_for(counting, title="Counting") == "counted"
    assert jobs.wait_for(fails, title="Failing") is None


UNGUARDED = """
import sys
from multiprocessing import current_process

with open(sys.argv[1], "a") as file:
    file.write(current_process().name + "\\n")

from qtpy.QtWidgets import QApplication

application = QApplication([])

from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint.plates.job.workers import make_pool
from napari_virtual_paint.runtime.worker_pool import WorkerPool


def lengths():
    yield
    found = []
    for pool in (make_pool(2, "cpu"), WorkerPool(1)):
        with pool:
            found += pool.map(len, ["ab", "abc"])
    return found


print(jobs.wait_for(lengths, title="Counting letters"))
"""


def test_processes_of_a_job_do_not_run_the_script_that_started_napari(tmp_path):
    script, runs = tmp_path / "script.py", tmp_path / "runs.txt"
    script.write_text(UNGUARDED)
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, script, runs], env=environment, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
    )
    assert done.stdout == "[2, 3, 2, 3]\n", done.stderr
    assert runs.read_text() == "MainProcess\n"
