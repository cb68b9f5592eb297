"""Several processes on one machine: each opens the model once and paints; one that dies is replaced and nothing is lost."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.plates.job_rows import is_done, load_row
from napari_virtual_paint.plates.paint_ahead import start_ahead, take_ahead
from napari_virtual_paint.plates.paint_field import DiskFullError, Order, Painter
from napari_virtual_paint.plates.paint_line import LISTEN, Event, Events, run_line
from napari_virtual_paint.plates.paint_memory import keep_freed_memory
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.processes import ctrl_c_is_ours, deaf

START = "spawn"
"""How processes start: anew, since a copy of one in which torch or Qt runs threads may hang."""
GRACE = 0.5
"""Seconds that workers have to end by themselves before they are killed, which harms nothing: images are written whole or not at all."""
GPU = (Path("/proc/driver/nvidia/version"), Path("/dev/kfd"))
"""Files of a system with a GPU. Its driver is not asked: a process that has spoken to it can't be copied any more."""
STARTS = 3
"""Workers that may die one after the other without having got ready, before the job is given up."""


def cores() -> int:
    """Return the cores that this process may use, or the number in OMP_NUM_THREADS."""
    with contextlib.suppress(KeyError, ValueError):
        return max(int(os.environ["OMP_NUM_THREADS"]), 1)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ready_workers(asked: int | None, device: str, fields: int) -> None:
    """Start workers that wait for their order, where this process may be copied; `run_workers` takes them before it starts others.

    Parameters
    ----------
    asked
        Workers that were asked for; None for as many as are best, which is one where there may be a GPU.
    device
        The one asked for.
    fields
        How many there are to paint.
    """
    if asked is None and device != "cpu" and any(path.exists() for path in GPU):
        return
    start_ahead(min(asked or cores(), fields), _work)


def run_workers(order: Order, fields: Iterable[Field], count: int, *, ahead: bool = True) -> Events:
    """Paint fields in worker processes.

    Parameters
    ----------
    order
        What is painted, and where it goes.
    fields
        Which, in order.
    count
        Number of processes; each gets its share of the threads.
    ahead
        Whether a worker reads its next field while it paints one.

    Yields
    ------
    Event
        What happens; each is a place to cancel. On the way out no worker is left behind.

    Raises
    ------
    DiskFullError
        If the disk takes no more.
    VirtualPaintError
        If no worker can start.
    """
    crew = _Crew(order, fields, count, ahead)
    try:
        yield from crew.run()
        crew.dismiss()
    finally:
        crew.stop()


@dataclass
class _Worker:
    """One process, and the fields that it was given and has not told the end of."""

    process: Any
    pipe: Connection
    ready: bool = False
    doing: list[Field] = field(default_factory=list)


class _Crew:
    """The workers, what is left to do, and who was at work on what when a worker died."""

    def __init__(self, order: Order, fields: Iterable[Field], count: int, ahead: bool) -> None:
        self.order, self.ahead = order, ahead
        self.todo = deque(fields)
        self.suspects: deque[Field] = deque()
        self.tried: set[Field] = set()
        self.deaths = 0
        self.threads = order.job.threads or max(cores() // count, 1)
        self.workers = [self._start() for _ in range(min(count, len(self.todo)))]

    def run(self) -> Events:
        """Give out fields and pass on what the workers tell."""
        while True:
            for worker in self.workers:
                self._give(worker)
            if not any(worker.doing for worker in self.workers):
                return
            heard = wait([worker.pipe for worker in self.workers], LISTEN)
            if not heard:
                yield Event(None)
            for worker in [each for each in self.workers if each.pipe in heard]:
                yield from self._hear(worker)

    def _give(self, worker: _Worker) -> None:
        """Give a worker its next fields. One at whose painting a worker died goes alone, so that it is known if it was the cause."""
        alone = any(each in self.tried for each in worker.doing)
        while not alone and len(worker.doing) < 1 + self.ahead:
            if self.suspects and not worker.doing:
                given, alone = self.suspects.popleft(), True
            elif self.todo and not (self.suspects and not worker.doing):
                given = self.todo.popleft()
            else:
                return
            worker.doing.append(given)
            with contextlib.suppress(OSError):  # it is dead, which is heard next
                worker.pipe.send(given)

    def _hear(self, worker: _Worker) -> Events:
        """Pass on what one worker told."""
        try:
            letter = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if isinstance(letter, BaseException):
            raise letter
        worker.ready, self.deaths = True, 0
        if letter.row and letter.field in worker.doing:
            worker.doing.remove(letter.field)
        yield letter

    def _replace(self, worker: _Worker) -> Events:
        """Start another worker in the place of a dead one, and see what became of its fields."""
        worker.process.join(LISTEN)
        worker.pipe.close()
        self.deaths += not worker.ready
        if self.deaths >= STARTS:
            raise VirtualPaintError(
                f"The workers end before they paint (exit code {worker.process.exitcode}); memory may be short: try fewer --workers."
            )
        if worker.ready:
            yield Event(None, message=f"A worker died (exit code {worker.process.exitcode}); another one takes its place.")
        for each in worker.doing:
            row = load_row(self.order.folder, each)
            if is_done(row):  # it had just time to finish, not to tell
                yield Event(each, "done", 1.0, row=row or {})
            elif each in self.tried and worker.ready:
                error = VirtualPaintError("the process that painted it died twice; memory may have run out, or a library crashed on it")
                yield Event(each, "failed", row=Painter(self.order).failed(each, error))
            elif worker.ready:
                self.tried.add(each)
                self.suspects.append(each)
            else:
                self.todo.appendleft(each)
        self.workers[self.workers.index(worker)] = self._start()

    def _start(self) -> _Worker:
        """Give the order to a process that waits for it, or start one."""
        waiting = take_ahead()
        if waiting is not None:
            with contextlib.suppress(OSError):  # it is dead, which is heard next
                waiting.pipe.send((self.order, self.threads, self.ahead))
            return _Worker(waiting.process, waiting.pipe)
        context: Any = multiprocessing.get_context(START)
        ours, theirs = context.Pipe()
        process: Any = context.Process(target=_work, args=(theirs, self.order, self.threads, self.ahead), name="plate worker", daemon=True)
        with ctrl_c_is_ours():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def dismiss(self) -> None:
        """Let the workers end by themselves."""
        for worker in self.workers:
            with contextlib.suppress(OSError):
                worker.pipe.send(None)
        until = time.monotonic() + 5.0
        for worker in self.workers:
            worker.process.join(max(until - time.monotonic(), 0.0))

    def stop(self) -> None:
        """End all workers, whatever they do: one whose pipe is closed ends by itself between two pieces, as a rule."""
        for worker in self.workers:
            worker.pipe.close()
        until = time.monotonic() + GRACE
        for worker in self.workers:
            worker.process.join(max(until - time.monotonic(), 0.0))
            worker.process.kill()
            worker.process.join()


def _work(pipe: Connection, order: Order, threads: int, ahead: bool) -> None:
    """Paint what comes through the pipe, in a process of its own."""
    deaf()
    keep_freed_memory()
    threading.Thread(target=_follow_parent, daemon=True, name="parent").start()
    try:
        import torch

        torch.set_num_threads(threads)
        painter = Painter(order)
        painter.open()
        pipe.send(Event(None))
        last = 0.0
        for event in run_line(painter, _given(pipe), ahead=ahead):
            now = time.monotonic()
            if event.row or event.message or (event.state and now - last >= LISTEN):
                last = now
                pipe.send(event)
    except VirtualPaintError as error:
        kind = InputError if isinstance(error, InputError) else VirtualPaintError
        with contextlib.suppress(OSError):
            pipe.send(error if isinstance(error, DiskFullError) else kind(str(error)))  # others lose their parts on the way
    except (EOFError, BrokenPipeError):
        pass


def _given(pipe: Connection) -> Iterator[Field]:
    """Yield the fields that come through the pipe, until None does."""
    while (given := pipe.recv()) is not None:
        yield given


def _follow_parent() -> None:
    """End this process when the one that started it has gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
