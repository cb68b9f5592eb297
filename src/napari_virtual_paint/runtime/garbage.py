"""Collect garbage on one thread alone while others work.

Python collects garbage on whichever thread happens to allocate, and what it finds is freed there. Qt's widgets may be freed on the GUI
thread only: one in a reference cycle that a worker's thread collects takes the program down. While automatic collection is held, the thread
that holds it collects instead, whenever it calls `step`.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

SURVIVORS = 200_000
"""Fewest objects that outlived younger collections before a full one is due."""
SHARE = 0.25  # of all objects, as Python's own rule has it: in a viewer of thousands of layers a full collection takes seconds
PATIENCE = 2.0  # seconds that `collect` waits for another thread to collect

_lock = threading.Lock()
_collected = threading.Condition(_lock)
_holds = 0  # who wants automatic collection off, on any thread
_owner: int | None = None  # identity of the thread that collects meanwhile
_off = False  # whether this module turned automatic collection off
_was_enabled = True
_due = False  # whether another thread asked for a full collection
_survivors = 0
_kept = 0  # objects after the last full collection


def hold() -> None:
    """Turn automatic collection off, and have this thread collect until as many `release` have been called.

    The thread must call `step` now and then. All holds must be made by the same thread.
    """
    global _owner
    with _lock:
        _owner = threading.get_ident()
        _pause()


def release() -> None:
    """Give up a hold, on any thread; after the last one the holding thread's next `step` turns automatic collection on again."""
    with _lock:
        _resume()


def step() -> bool:
    """Collect what is due, as Python itself would, on the thread that holds collection.

    Returns
    -------
    Whether collection is still held, so that another step is needed.
    """
    global _due, _owner, _survivors, _kept
    with _lock:
        if _owner != threading.get_ident():
            return False
        if not _holds:
            _owner = None
            _restore()
        full, _due = _due or _survivors > max(SURVIVORS, SHARE * _kept), False
    young, middle, _ = (count > threshold for count, threshold in zip(gc.get_count(), gc.get_threshold(), strict=True))
    if full:
        gc.collect()
        _survivors, _kept = 0, _count(2)
        with _lock:
            _collected.notify_all()
    elif middle:
        _survivors += _count(1)
        gc.collect(1)
    elif young:
        gc.collect(0)
    return _owner is not None


def _count(generation: int) -> int:
    """Return how many objects a generation holds.

    No other thread runs meanwhile: a list of all objects also refers to the tuples that others are just building, which then fail with a
    `SystemError`.
    """
    (count,) = map(len, map(gc.get_objects, (generation,)))  # without a step of Python's between the list and its length
    return count


def collect() -> None:
    """Collect all garbage, as `gc.collect` does; where another thread holds collection, wait until that one has."""
    global _due
    with _lock:
        if _owner is not None and _owner != threading.get_ident():
            _due = True
            _collected.wait(PATIENCE)
            return
    gc.collect()


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Pause automatic collection, for code that makes many small values, all of which stay."""
    with _lock:
        _pause()
    try:
        yield
    finally:
        release()


def _pause() -> None:
    global _holds, _off, _was_enabled
    if not _off:
        _was_enabled = gc.isenabled()
        gc.disable()
        _off = True
    _holds += 1


def _resume() -> None:
    global _holds
    _holds -= 1
    if not _holds and _owner is None:
        _restore()


def _restore() -> None:
    global _off
    _off = False
    if _was_enabled:
        gc.enable()
