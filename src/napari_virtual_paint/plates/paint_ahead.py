"""Workers started ahead as copies of this process: what it has imported, which takes seconds, is not imported again by each of them.

A copy (`fork`) of a process in which torch or Qt runs threads may hang, so this is for programs that ask for it, the command line, and it
happens before the first field is read. Elsewhere workers start anew.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from napari_virtual_paint.plates.job_lock import THREAD
from napari_virtual_paint.processes import ctrl_c_is_ours

NEEDED = (
    "napari_virtual_paint.painting.engine",
    "napari_virtual_paint.painting.forecast",
    "napari_virtual_paint.painting.domain",
    "napari_virtual_paint.models.domain_deep",
    "napari_virtual_paint.metrics.report",
    "napari_virtual_paint.plates.hcs",
    "napari_virtual_paint.plates.paint_resolve",
    "zarr.codecs",
)
"""What a worker imports before it is ready, or with its first field."""
HARMLESS = ("MainThread", THREAD)
"""Threads that hold nothing which a copy of the process would miss."""

Work = Callable[..., None]


@dataclass(frozen=True)
class Waiting:
    """A process that waits for what it is to do: the arguments of its work behind the pipe."""

    process: Any
    pipe: Connection


class _Ahead:
    """The processes that wait, where copies may be made."""

    def __init__(self) -> None:
        self.allowed = False
        self.waiting: list[Waiting] = []


_AHEAD = _Ahead()


@contextlib.contextmanager
def copies_allowed() -> Iterator[None]:
    """Allow `start_ahead` to copy this process. On the way out those that still wait are ended."""
    _AHEAD.allowed = sys.platform.startswith("linux")
    try:
        yield
    finally:
        _AHEAD.allowed = False
        dismiss_ahead()


def start_ahead(count: int, work: Work) -> None:
    """Import what painters need and start processes that wait, where that is allowed and safe.

    Parameters
    ----------
    count
        How many.
    work
        What each runs once `take_ahead` gave it away and its arguments came through the pipe; the pipe is the first.
    """
    if not _AHEAD.allowed or _AHEAD.waiting or count < 2:
        return
    for name in NEEDED:
        importlib.import_module(name)
    if any(thread.name not in HARMLESS for thread in threading.enumerate()):
        return
    gc.collect()
    gc.freeze()  # what is there now is not looked through for garbage again, which would copy its memory
    context: Any = multiprocessing.get_context("fork")
    for _ in range(count):
        ours, theirs = context.Pipe()
        others = [each.pipe for each in _AHEAD.waiting]
        process: Any = context.Process(target=_wait, args=(theirs, [ours, *others], work), name="plate worker", daemon=True)
        with ctrl_c_is_ours():
            process.start()
        theirs.close()
        _AHEAD.waiting.append(Waiting(process, ours))


def take_ahead() -> Waiting | None:
    """Return a process that waits, if there is one; send it the arguments of its work but for the pipe."""
    return _AHEAD.waiting.pop(0) if _AHEAD.waiting else None


def dismiss_ahead() -> None:
    """End the processes that still wait."""
    for each in _AHEAD.waiting:
        each.pipe.close()
    for each in _AHEAD.waiting:
        each.process.join()
    _AHEAD.waiting.clear()


def _wait(pipe: Connection, others: list[Connection], work: Work) -> None:
    """Wait for the arguments, in a process of its own; without any, end."""
    for each in others:  # ends of pipes that are the first process's: while a copy holds one, nobody hears that it closed
        each.close()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        arguments = pipe.recv()
    except (EOFError, OSError):
        return
    work(pipe, *arguments)
