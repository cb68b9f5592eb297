"""How long our own callbacks take on the GUI thread: recorded only while somebody asks (the GUI benchmark does)."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

Record = tuple[str, float, float]
"""A callback's name, how many seconds it took, and how many of them the thread worked (on a busy machine it also waits)."""

_records: list[Record] | None = None
_depth = 0


def timed(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a callback that runs on the GUI thread; costs nothing to speak of while nobody records.

    A callback that another one calls counts as part of the outer one, and what runs in a worker does not count.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        global _depth
        if _records is None or _depth or threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)
        began, worked = time.perf_counter(), time.thread_time()
        _depth += 1
        try:
            return function(*args, **kwargs)
        finally:
            _depth -= 1
            if _records is not None:
                _records.append((function.__qualname__, time.perf_counter() - began, time.thread_time() - worked))

    return wrapper


@contextmanager
def recording() -> Iterator[list[Any]]:
    """Record every marked callback until the end of the block; gives the growing list of `Record`."""
    global _records
    before, _records = _records, []
    try:
        yield _records
    finally:
        _records = before
