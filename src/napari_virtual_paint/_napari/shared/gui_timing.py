"""Time our callbacks on the GUI thread; recorded only within `recording` (the GUI benchmark)."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

Record = tuple[str, float, float]  # name of a callback, wall-clock seconds, and seconds of CPU time of its thread

_records: list[Record] | None = None
_depth = 0
_aside = (0.0, 0.0)


def timed(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a callback that runs on the GUI thread; costs next to nothing while nobody records.

    A callback that another one calls counts as part of the outer one, and what runs in a worker does not count. Neither does what runs
    inside `aside`.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        global _depth, _aside
        if _records is None or _depth or threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)
        began, worked, _aside = time.perf_counter(), time.thread_time(), (0.0, 0.0)
        _depth += 1
        try:
            return function(*args, **kwargs)
        finally:
            _depth -= 1
            if _records is not None:
                took, work = time.perf_counter() - began, time.thread_time() - worked
                _records.append((function.__qualname__, took - _aside[0], work - _aside[1]))

    return wrapper


@contextmanager
def aside() -> Iterator[None]:
    """Exclude the block from the callback around it: code that runs the event loop blocks nothing."""
    global _aside, _depth
    began, worked, depth, before = time.perf_counter(), time.thread_time(), _depth, _aside
    _depth = 0
    try:
        yield
    finally:
        _depth, _aside = depth, (before[0] + time.perf_counter() - began, before[1] + time.thread_time() - worked)


@contextmanager
def recording() -> Iterator[list[Any]]:
    """Record every marked callback until the end of the block; yields the growing list of `Record`."""
    global _records
    before, _records = _records, []
    try:
        yield _records
    finally:
        _records = before
