"""Tasks and work for the tests of worker pools; worker processes import them by name."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.runtime.processes import sigint_blocked
from napari_virtual_paint.runtime.worker_pool import Share, Task, TaskEvent, WorkerPool

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def fork(target: Any, *arguments: Any, name: str) -> Any:
    """Start a worker as a copy of this process, which is faster than a new interpreter."""
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments, name=name)
    with sigint_blocked():
        process.start()
    return process


def square(number: int) -> Generator[Share, None, int]:
    yield 0.5, f"half of {number}"
    return number * number


def act(task: tuple[str, Path]) -> Generator[Share, None, int]:
    """Do what the task says; each attempt leaves a file ``ACTION.ATTEMPT`` with the number of its process."""
    action, folder = task
    yield 0.0, ""
    attempt = len(list(folder.glob(f"{action}.*")))
    (folder / f"{action}.{attempt}").write_text(str(os.getpid()))
    if action == "die" or (action == "die once" and attempt == 0):
        os.kill(os.getpid(), KILL)
    if action == "input":
        raise InputError("a setting can't be used.")
    if action == "write":
        raise WriteError("out.tif", "the disk is full")
    if action == "bug":
        raise ZeroDivisionError("a bug")
    if action == "child":  # a process that the worker starts
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "child.pid").write_text(str(child.pid))
    while action in ("last", "child"):
        time.sleep(0.01)
        yield 0.5, ""
    if action == "hang":
        time.sleep(600)
    return os.getpid()


def never_ready(tasks: Iterable[Task]) -> Iterator[TaskEvent]:
    os.kill(os.getpid(), KILL)
    yield TaskEvent(-1)


def refuse(tasks: Iterable[Task]) -> Iterator[TaskEvent]:
    raise InputError("there is no such device.")
    yield TaskEvent(-1)


def collect(tasks: Iterable[Task]) -> Iterator[TaskEvent]:
    """Return for each task the numbers that the worker had been given when it began it."""
    yield TaskEvent(-1)
    given = []
    for number, seconds in tasks:
        given.append(number)
        time.sleep(seconds)
        yield TaskEvent(number, "done", value=(os.getpid(), tuple(given)))


def process_id(_: Any) -> int:
    return os.getpid()


def fail(item: int) -> int:
    if item == 1:
        raise InputError("the second item can't be used.")
    return item


def run_pool(folder: Path) -> None:
    """Keep two workers busy, in a process of its own."""
    from napari_virtual_paint.runtime.worker_pool import ForEach

    with WorkerPool(2) as pool:
        for _ in pool.run(ForEach(act), [("last", folder), ("hang", folder)]):
            pass


def stubborn(target: Path) -> Generator[Share, None, None]:
    """Write half a file, and take no notice of being told to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with replacing(target, overwrite=False) as partial:
        partial.write_text("half")
        yield 0.5, ""
        time.sleep(600)


def late(target: Path) -> Generator[Share, None, None]:
    """Write half a file once more after the clean-up, as a thread of zarr may, whose process then ends by itself."""
    partial = target
    try:
        with replacing(target, overwrite=False) as partial:
            partial.write_text("half")
            yield 0.5, ""
            time.sleep(600)
    finally:
        partial.write_text("half")
