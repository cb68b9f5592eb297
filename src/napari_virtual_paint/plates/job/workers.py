"""Several processes on one machine: each opens the model once and paints; one that dies is replaced and nothing is lost."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.plates.job.field import DiskFullError, Painter, PaintFieldRequest
from napari_virtual_paint.plates.job.forkserver import cores, keep_freed_memory, may_need_workers, start_process, start_server
from napari_virtual_paint.plates.job.pipeline import LISTEN, Events, FieldEvent, run_line
from napari_virtual_paint.plates.job.planning import Plan, PlanRequest
from napari_virtual_paint.plates.job.rows import is_done, load_row
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.runtime.processes import ignore_sigint

GRACE = 0.5
"""Seconds that workers have to end by themselves before they are killed, which harms nothing: images are written whole or not at all."""
STARTS = 3
"""Workers that may die one after the other without having got ready, before the job is given up."""


@contextlib.contextmanager
def scouting(asked: int | None, device: str) -> Iterator[Worker | None]:
    """Give a worker that can answer a `PlanRequest` and then paint, where that is sooner than doing it here; it is gone on the way out."""
    if not (may_need_workers(asked, device) and start_server()):
        yield None
        return
    scout = _start()
    try:
        yield scout
    finally:
        _end([scout])


def ask(scout: Worker, question: PlanRequest) -> Generator[FieldEvent, None, Plan | None]:
    """Let a worker plan the job.

    Yields
    ------
    Event
        Signs of life; each is a place to cancel.

    Returns
    -------
    Plan or None
        None where the worker died of it.

    Raises
    ------
    InputError, VirtualPaintError
        As `Question.answer` does.
    """
    try:
        scout.pipe.send(question)
        while not scout.pipe.poll(LISTEN):
            yield FieldEvent(None)
        answer = scout.pipe.recv()
    except (EOFError, OSError):
        return None
    if isinstance(answer, BaseException):
        raise answer
    return answer  # type: ignore[no-any-return]


def run_workers(
    order: PaintFieldRequest, fields: Iterable[Field], count: int, *, ahead: bool = True, scout: Worker | None = None
) -> Events:
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
    scout
        A worker that runs already.

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
    crew = _Crew(order, fields, count, ahead, scout)
    try:
        yield from crew.run()
        crew.dismiss()
    finally:
        crew.stop()


@dataclass
class Worker:
    """One process, and the fields that it was given and has not told the end of."""

    process: Any
    pipe: Connection
    ready: bool = False
    doing: list[Field] = field(default_factory=list)


class _Crew:
    """The workers, what is left to do, and who was at work on what when a worker died."""

    def __init__(self, order: PaintFieldRequest, fields: Iterable[Field], count: int, ahead: bool, scout: Worker | None) -> None:
        self.order, self.ahead = order, ahead
        self.todo = deque(fields)
        self.suspects: deque[Field] = deque()
        self.tried: set[Field] = set()
        self.deaths = 0
        self.threads = order.job.threads or max(cores() // count, 1)
        first = [] if scout is None else [scout]
        self.workers = [self._ordered(each) for each in (*first, *(_start() for _ in range(min(count, len(self.todo)) - len(first))))]

    def run(self) -> Events:
        """Give out fields and pass on what the workers tell."""
        while True:
            for most in range(1, 2 + self.ahead):  # one for each before anybody gets one to read ahead
                for worker in self.workers:
                    self._give(worker, most)
            if not any(worker.doing for worker in self.workers):
                return
            heard = wait([worker.pipe for worker in self.workers], LISTEN)
            if not heard:
                yield FieldEvent(None)
            for worker in [each for each in self.workers if each.pipe in heard]:
                yield from self._hear(worker)

    def _give(self, worker: Worker, most: int) -> None:
        """Give a worker its next fields, so that it has `most`.

        One at whose painting a worker died goes alone, so that it is known if it was the cause.
        """
        alone = any(each in self.tried for each in worker.doing)
        while not alone and len(worker.doing) < most:
            if self.suspects and not worker.doing:
                given, alone = self.suspects.popleft(), True
            elif self.todo and not (self.suspects and not worker.doing):
                given = self.todo.popleft()
            else:
                return
            worker.doing.append(given)
            with contextlib.suppress(OSError):  # it is dead, which is heard next
                worker.pipe.send(given)

    def _hear(self, worker: Worker) -> Events:
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

    def _replace(self, worker: Worker) -> Events:
        """Start another worker in the place of a dead one, and see what became of its fields."""
        worker.process.join(LISTEN)
        worker.pipe.close()
        self.deaths += not worker.ready
        if self.deaths >= STARTS:
            raise VirtualPaintError(
                f"The workers end before they paint (exit code {worker.process.exitcode}); memory may be short: try fewer --workers."
            )
        if worker.ready:
            yield FieldEvent(None, message=f"A worker died (exit code {worker.process.exitcode}); another one takes its place.")
        for each in worker.doing:
            row = load_row(self.order.folder, each)
            if is_done(row):  # it had just time to finish, not to tell
                yield FieldEvent(each, "done", 1.0, row=row or {})
            elif each in self.tried and worker.ready:
                error = VirtualPaintError("the process that painted it died twice; memory may have run out, or a library crashed on it")
                yield FieldEvent(each, "failed", row=Painter(self.order).failed(each, error))
            elif worker.ready:
                self.tried.add(each)
                self.suspects.append(each)
            else:
                self.todo.appendleft(each)
        self.workers[self.workers.index(worker)] = self._ordered(_start())

    def _ordered(self, worker: Worker) -> Worker:
        """Tell a worker what it is to paint."""
        with contextlib.suppress(OSError):  # it is dead, which is heard next
            worker.pipe.send((self.order, self.threads, self.ahead))
        return worker

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
        _end(self.workers)


def _start() -> Worker:
    """Start a worker, which waits for its order.

    Raises
    ------
    VirtualPaintError
        If the system starts no process.
    """
    ours, theirs = multiprocessing.Pipe()
    try:
        process = start_process(_work, theirs, name="plate worker")
    except (OSError, EOFError) as error:
        raise VirtualPaintError(f"No worker starts ({error or type(error).__name__}); try --workers 1.") from error
    theirs.close()
    return Worker(process, ours)


def _end(workers: Iterable[Worker]) -> None:
    """End workers, whatever they do: one whose pipe is closed ends by itself between two pieces, as a rule."""
    for worker in workers:
        worker.pipe.close()
    until = time.monotonic() + GRACE
    for worker in workers:
        worker.process.join(max(until - time.monotonic(), 0.0))
        worker.process.kill()
        worker.process.join()


def _work(pipe: Connection) -> None:
    """Answer questions and paint what comes through the pipe, in a process of its own."""
    ignore_sigint()
    keep_freed_memory()
    threading.Thread(target=_follow_parent, daemon=True, name="parent").start()
    try:
        while isinstance(letter := pipe.recv(), PlanRequest):
            pipe.send(letter.answer())
        _paint(pipe, *letter)
    except VirtualPaintError as error:
        kind = InputError if isinstance(error, InputError) else VirtualPaintError
        with contextlib.suppress(OSError):
            pipe.send(error if isinstance(error, DiskFullError) else kind(str(error)))  # others lose their parts on the way
    except (EOFError, BrokenPipeError):
        pass


def _paint(pipe: Connection, order: PaintFieldRequest, threads: int, ahead: bool) -> None:
    """Paint fields, and tell what happens."""
    import torch

    torch.set_num_threads(threads)
    painter = Painter(order)
    painter.open()
    pipe.send(FieldEvent(None))
    last = 0.0
    for event in run_line(painter, _given(pipe), ahead=ahead):
        now = time.monotonic()
        if event.row or event.message or (event.state and now - last >= LISTEN):
            last = now
            pipe.send(event)


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
