"""Calls that wait for quiet, and jobs of which only the newest counts."""

from __future__ import annotations

import threading
import time

import pytest
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob

PATIENCE = 30_000


@pytest.fixture
def owner(qtbot) -> QWidget:
    widget = QWidget()
    qtbot.addWidget(widget)
    return widget


def steps(count: int, result: object = None):
    for _ in range(count):
        time.sleep(0.01)
        yield None
    return result


def test_a_burst_of_changes_is_one_call(owner, qtbot):
    calls = []
    timer = Debounced(60, lambda: calls.append(1), owner)
    for _ in range(5):
        timer.start()
        time.sleep(0.03)  # with no event loop, which on a busy machine may come back late
    assert calls == []
    qtbot.waitUntil(lambda: bool(calls), timeout=PATIENCE)
    qtbot.wait(100)
    assert calls == [1]
    assert not timer.isActive()


def test_a_newer_job_supersedes_the_one_before(owner, qtbot):
    latest, seen = LatestJob(owner), []
    ended = []
    latest.ended.connect(lambda: ended.append(latest.running))
    for name in "abc":
        latest.start(
            lambda name=name: steps(20, name),
            title=name,
            done=seen.append,
            cancelled=lambda: seen.append("cancelled"),
            failed=lambda _error: seen.append("failed"),
        )
    assert latest.running
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=PATIENCE)
    assert seen == ["c"]
    assert ended == [False]


def test_one_at_a_time_waits_for_the_thread_and_skips_what_is_stale(owner, qtbot):
    latest, seen, gate, begun = LatestJob(owner, one_at_a_time=True), [], threading.Event(), []

    def work(name):
        begun.append(name)
        assert gate.wait(30)
        return name

    for name in "abc":
        latest.start_function(lambda name=name: work(name), title=name, done=seen.append)
        qtbot.waitUntil(lambda: bool(begun), timeout=PATIENCE)
    qtbot.wait(jobs.PATIENCE + 200)  # the superseded job has ended for the user, its thread has not
    assert begun == ["a"]
    assert latest.running
    gate.set()
    qtbot.waitUntil(lambda: not latest.running, timeout=PATIENCE)
    qtbot.waitUntil(lambda: bool(seen), timeout=PATIENCE)
    assert (begun, seen) == (["a", "c"], ["c"])


def test_the_user_s_cancel_is_reported_and_a_drop_is_not(owner, qtbot):
    latest, seen = LatestJob(owner), []
    latest.start(lambda: steps(10_000), title="long", cancelled=lambda: seen.append("cancelled"))
    latest.cancel()
    qtbot.waitUntil(lambda: seen == ["cancelled"], timeout=PATIENCE)
    latest.start(lambda: steps(10_000), title="long", cancelled=lambda: seen.append("again"))
    latest.drop()
    assert not latest.running
    latest.close()
    latest.start(lambda: steps(1, "late"), title="late", done=seen.append)
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=PATIENCE)
    assert seen == ["cancelled"]


def test_an_error_is_told_to_the_newest_alone(owner, qtbot, monkeypatch):
    monkeypatch.setattr(jobs, "show_error", lambda _text: None)
    latest, seen = LatestJob(owner), []
    latest.start_function(lambda: 1 / 0, title="wrong", failed=lambda error: seen.append(type(error)))
    qtbot.waitUntil(lambda: bool(seen), timeout=PATIENCE)
    assert seen == [ZeroDivisionError]
    assert not latest.running


def test_nothing_is_called_once_the_owner_is_gone(qtbot):
    owner, seen = QObject(), []
    latest = LatestJob(owner)
    latest.start(lambda: steps(10_000), title="long", done=seen.append, cancelled=lambda: seen.append("cancelled"))
    owner.deleteLater()
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=PATIENCE)
    assert seen == []
