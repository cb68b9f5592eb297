"""Drive generators that yield progress and return a result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
POLL = 0.1  # seconds between two places to cancel


def run_to_end(work: Generator[S, Any, R], on_progress: Callable[[S], object] | None = None) -> R:
    """Run a generator and return its result.

    Parameters
    ----------
    work
        The generator; it is closed in any case, so that it lets go of its files and processes if `on_progress` raises.
    on_progress
        Called with every value that it yields.
    """
    try:
        while True:
            try:
                step = next(work)
            except StopIteration as stop:
                result: R = stop.value
                return result
            if on_progress is not None:
                on_progress(step)
    finally:
        work.close()


def relay(work: Generator[S, Any, R], convert: Callable[[S], T]) -> Generator[T, None, R]:
    """Yield every value of a generator converted, and return its result."""
    try:
        while True:
            try:
                step = next(work)
            except StopIteration as stop:
                result: R = stop.value
                return result
            yield convert(step)
    finally:
        work.close()


def waited(function: Callable[[], R], idle: S, pool: ThreadPoolExecutor | None = None) -> Generator[S, None, R]:
    """Call a function on a thread of its own, and yield `idle` while it works; return its result.

    Where the generator is closed before, the thread goes on to the function's end, and the result is dropped.

    Parameters
    ----------
    pool
        A pool of one thread, which is shut down; by default a plain one.
    """
    pool = pool or ThreadPoolExecutor(1, "step")
    try:
        future = pool.submit(function)
        while not wait([future], timeout=POLL).done:
            yield idle
        return future.result()
    finally:
        pool.shutdown(wait=False)
