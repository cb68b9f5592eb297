"""Garbage that one thread alone collects."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from napari_virtual_paint.runtime import garbage


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Return the threads and generations of all collections from now on; automatic ones are frequent."""
    seen: list[tuple[int, int]] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            seen.append((threading.get_ident(), info["generation"]))

    monkeypatch.setattr(garbage, "_survivors", 0)  # of what other tests in this process left
    before = gc.get_threshold()
    gc.set_threshold(100, 5, 5)
    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)
    gc.set_threshold(*before)
    assert gc.isenabled()


class Cycle:
    """What only a collection frees."""

    def __init__(self) -> None:
        self.itself = self


def in_a_thread(function: Any) -> int:
    """Call a function in a thread of its own, wait for it, and return the thread's identity."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return thread.ident or 0


def litter() -> None:
    for _ in range(5000):
        Cycle()


def test_a_thread_collects_what_it_allocates_unless_another_holds_collection(collections) -> None:
    worker = in_a_thread(litter)
    assert worker in {thread for thread, _ in collections}, "Python's own rule"
    garbage.hold()
    collections.clear()
    in_a_thread(litter)
    assert not collections
    garbage.release()
    assert not garbage.step()


def test_steps_collect_as_python_would(collections) -> None:
    garbage.hold()
    try:
        gc.collect()  # from counts of zero
        seen = []
        for _ in range(8):
            litter()
            collections.clear()
            assert garbage.step()
            seen += [generation for _, generation in collections]
        assert seen == [0, 0, 0, 0, 0, 0, 1, 0], "the middle generation once the young one was collected more than five times"
    finally:
        garbage.release()
        garbage.step()


def test_survivors_make_a_full_collection_due(collections, monkeypatch) -> None:
    monkeypatch.setattr(garbage, "SURVIVORS", 1000)
    monkeypatch.setattr(garbage, "_kept", 0)
    kept = []
    garbage.hold()
    try:
        gc.collect()  # from counts of zero
        seen = []
        for _ in range(8):
            kept += [Cycle() for _ in range(500)]
            collections.clear()
            garbage.step()
            seen += [generation for _, generation in collections]
        assert seen == [0, 0, 0, 0, 0, 0, 1, 2]
    finally:
        garbage.release()
        garbage.step()


def test_of_many_objects_a_quarter_must_be_new(collections, monkeypatch) -> None:
    monkeypatch.setattr(garbage, "SURVIVORS", 100)
    monkeypatch.setattr(garbage, "_kept", 0)
    _ballast = [Cycle() for _ in range(40_000)]  # so that it does not matter what the process has, or has frozen
    garbage.hold()
    try:
        in_a_thread(lambda: setattr(garbage, "_due", True))
        garbage.step()
        count = len(gc.get_objects())
        assert garbage._kept == pytest.approx(count, rel=0.05)
        kept, fulls = [], 0
        while not fulls:
            kept += [Cycle() for _ in range(2000)]
            collections.clear()
            garbage.step()
            fulls = [generation for _, generation in collections].count(2)
            assert len(kept) < count
        assert len(kept) > 0.2 * count / 2, "each has a dictionary or none, as the version of Python has it"
    finally:
        garbage.release()
        garbage.step()


def test_objects_are_counted_without_breaking_what_other_threads_build() -> None:
    """A tuple made from a generator fails where something else refers to it before it is whole."""
    stop, failed = threading.Event(), []

    def build() -> None:
        while not stop.is_set():
            try:
                tuple(object() for _ in range(20))
            except SystemError as error:
                failed.append(error)
                return

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=build)
    thread.start()
    try:
        counts = [garbage._count(0) for _ in range(10_000)]
    finally:
        stop.set()
        thread.join(60)
        sys.setswitchinterval(before)
    assert not failed
    assert max(counts) > 0


def test_only_the_holding_thread_steps_and_ends_a_hold(collections) -> None:
    garbage.hold()
    garbage.hold()
    in_a_thread(garbage.release)
    assert garbage.step()
    in_a_thread(garbage.release)
    assert not gc.isenabled(), "the thread that released would collect at once"
    in_a_thread(lambda: garbage.step())
    assert not gc.isenabled()
    assert not garbage.step()
    assert gc.isenabled()


def test_pauses_and_holds_do_not_end_each_other(collections) -> None:
    with garbage.paused():
        assert not gc.isenabled()
        garbage.hold()
    assert not gc.isenabled()
    with garbage.paused():
        garbage.release()
        assert garbage.step()
        assert not gc.isenabled()
    assert not garbage.step()
    assert gc.isenabled()


def test_a_collection_that_the_user_turned_off_stays_off(collections) -> None:
    gc.disable()
    try:
        with garbage.paused():
            pass
        garbage.hold()
        garbage.release()
        garbage.step()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_asked_for_collection_happens_on_the_holding_thread(collections) -> None:
    garbage.hold()
    try:
        done = threading.Event()

        def ask() -> None:
            garbage.collect()
            done.set()

        thread = threading.Thread(target=ask)
        thread.start()
        while not done.wait(0.001):
            garbage.step()
        thread.join(60)
        assert (threading.get_ident(), 2) in collections
        assert thread.ident not in {where for where, _ in collections}
    finally:
        garbage.release()
        garbage.step()
    collections.clear()
    garbage.collect()
    assert collections == [(threading.get_ident(), 2)]
