"""Tasks shared by processes of one thread each: one that dies is replaced, one Ctrl-C ends them all."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

import psutil

from napari_virtual_paint.errors import InputError, VirtualPaintError, WriteError


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """
    Start processes in this context that Ctrl-C does not reach, from their first moment.

    A terminal sends Ctrl-C to every process of the command. A process that hears it while it imports prints a traceback of its
    own, before any line of ours could ask it to be deaf; the mask of blocked signals of the thread that starts it is inherited.
    Ctrl-C itself is not lost meanwhile: it is delivered where the context ends.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows; there a process is deaf from `ignore_sigint` on
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_sigint() -> None:
    """Ignore Ctrl-C in this process from here on, on any system."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


LISTEN = 0.2
"""Seconds between two looks at whether the caller wants to stop."""
GRACE = 0.2
"""Seconds that processes have to end by themselves before they are killed, which harms nothing: files are written whole or not at all."""
STARTS = 3
"""Processes that may die one after the other before they have done anything, before the work is given up."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that every further task would meet too."""

Share = tuple[float, str]
"""How much of a task is done, 0 to 1, and words for the user, which may be empty."""
Work = Callable[[Any], Generator[Share, None, Any]]
"""Does a task; it travels to other processes once."""


@dataclass(frozen=True)
class Failure:
    """Why something failed.

    Parameters
    ----------
    reason
        In a sentence.
    of_input
        Whether the cause is what the user gave.
    trace
        Where it happened, of a fault of the program; empty for an error that is meant to be read.
    """

    reason: str
    of_input: bool = False
    trace: str = ""

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Return what an error tells.

        Raises
        ------
        WriteError
            If it is a full disk, which ends everything.
        """
        if isinstance(error, WriteError):
            raise error
        words = " ".join(str(error).split())[:600]
        if isinstance(error, OSError) and error.errno in FULL:
            raise WriteError(
                error.filename or "the report", f"the disk takes no more ({error.strerror}); make room, run it again"
            ) from error
        if isinstance(error, VirtualPaintError | OSError):
            return cls(words, isinstance(error, InputError))
        if isinstance(error, MemoryError):
            return cls("memory ran out; try fewer --workers")
        return cls(f"{type(error).__name__}: {words}", trace=traceback.format_exc())


@dataclass(frozen=True)
class TaskEvent:
    """What happens to a task.

    Parameters
    ----------
    task
        Its number in the list; -1 for no task: a moment to stop, or words.
    state
        How far it is.
    share
        How much is done, 0 to 1.
    message
        Words for the user.
    value
        What came out of one that is done.
    failure
        Why one failed.
    """

    task: int
    state: Literal["working", "done", "failed"] = "working"
    share: float = 0.0
    message: str = ""
    value: Any = None
    failure: Failure | None = None


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one(work: Work, number: int, task: Any) -> Iterator[TaskEvent]:
    """Do one task; an error becomes its end."""
    steps = work(task)
    try:
        while True:
            try:
                share, message = next(steps)
            except StopIteration as stop:
                yield TaskEvent(number, "done", 1.0, value=stop.value)
                return
            yield TaskEvent(number, share=share, message=message)
    except (GeneratorExit, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001 - what failed is told, and the rest goes on
        yield TaskEvent(number, "failed", 1.0, failure=Failure.of(error))
    finally:
        steps.close()


@dataclass
class _Worker:
    """One process, the round whose work it knows, and the task that it was given."""

    process: Any
    pipe: Connection
    ready: bool = False
    round: int = 0
    doing: int | None = None


class WorkerPool:
    """Does rounds of tasks, in processes that stay for the next round; close it, and none is left behind.

    Parameters
    ----------
    asked
        Processes; 0 takes as many as there are cores, 1 does the work in this process.
    """

    def __init__(self, asked: int = 0) -> None:
        self.count = asked or cores()
        self.workers: list[_Worker] = []
        self._round = 0
        self._work: Work | None = None
        self._tasks: Sequence[Any] = ()
        self._todo: deque[int] = deque()
        self._tried: set[int] = set()
        self._deaths = 0

    def within(self, tasks: int) -> int:
        """Return how many processes each of some tasks may use itself."""
        return max(self.count // min(self.count, max(tasks, 1)), 1)

    def run(self, work: Work, tasks: Sequence[Any]) -> Iterator[TaskEvent]:
        """Do tasks.

        Yields
        ------
        Event
            What happens; each is a place to cancel.

        Raises
        ------
        WriteError
            If the disk takes no more.
        VirtualPaintError
            If no process can start.
        """
        if self.count == 1:
            for number, task in enumerate(tasks):
                yield from _one(work, number, task)
            return
        self._round, self._work, self._tasks, self._todo = self._round + 1, work, tasks, deque(range(len(tasks)))
        self._tried, self._deaths = set(), 0
        while len(self.workers) < min(self.count, len(tasks)):
            self.workers.append(_started())
        yield from self._until_done()

    def _until_done(self) -> Iterator[TaskEvent]:
        """Give out the tasks and pass on what the processes tell."""
        while True:
            for worker in self.workers:
                self._give(worker)
            if all(worker.doing is None for worker in self.workers):
                return
            heard = wait([worker.pipe for worker in self.workers], LISTEN)
            if not heard:
                yield TaskEvent(-1)
            for worker in [each for each in self.workers if each.pipe in heard]:
                yield from self._hear(worker)

    def _give(self, worker: _Worker) -> None:
        if worker.doing is None and self._todo:
            worker.doing = self._todo.popleft()
            work = None if worker.round == self._round else self._work
            with contextlib.suppress(OSError):  # it is dead, which is heard next
                worker.pipe.send((work, worker.doing, self._tasks[worker.doing]))
                worker.round = self._round

    def _hear(self, worker: _Worker) -> Iterator[TaskEvent]:
        """Pass on what one process told."""
        try:
            letter = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if isinstance(letter, BaseException):
            raise letter
        worker.ready, self._deaths = True, 0
        if letter.state != "working":
            worker.doing = None
        yield letter

    def _replace(self, worker: _Worker) -> Iterator[TaskEvent]:
        """Start another process in the place of a dead one; a task at which two died has failed."""
        worker.process.join(LISTEN)
        worker.pipe.close()
        self._deaths += not worker.ready
        if self._deaths >= STARTS:
            raise VirtualPaintError(
                f"The processes end before they begin (exit code {worker.process.exitcode}); memory may be short: try --workers 1."
            )
        task = worker.doing
        if task is not None and worker.ready and task in self._tried:
            reason = "the process that worked on it died twice; memory may have run out: try fewer --workers"
            yield TaskEvent(task, "failed", 1.0, failure=Failure(reason))
        elif task is not None:
            self._tried |= {task} if worker.ready else set()
            self._todo.appendleft(task)
            yield TaskEvent(-1, message=f"A process died (exit code {worker.process.exitcode}); another one takes its place.")
        self.workers[self.workers.index(worker)] = _started()

    def close(self) -> None:
        """End all processes and those that they started, whatever they do."""
        children: list[Any] = []
        for worker in self.workers:
            with contextlib.suppress(psutil.Error):
                children += psutil.Process(worker.process.pid).children(recursive=True)
            worker.pipe.close()
        until = time.monotonic() + (GRACE if any(worker.doing is not None for worker in self.workers) else 5.0)
        for worker in self.workers:
            worker.process.join(max(until - time.monotonic(), 0.0))
            worker.process.kill()
            worker.process.join()
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        self.workers = []


def _started() -> _Worker:
    context: Any = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process: Any = context.Process(target=_serve, args=(theirs,), name="evaluation worker")
    with sigint_blocked(), _one_thread():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Start processes in this context whose libraries use one thread each, which they only hear when they are loaded."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(pipe: Connection) -> None:
    """Do the tasks that come through the pipe, in a process of its own."""
    ignore_sigint()
    if sys.platform == "linux":
        # Locks that libraries make (numcodecs one as it is imported) then have no name that outlives a killed process: nobody is to
        # be told of a leak.
        multiprocessing.set_start_method("fork", force=True)
    threading.Thread(target=_follow_parent, daemon=True, name="parent").start()
    known: Work | None = None
    with contextlib.suppress(EOFError, OSError):  # the other side has closed the pipe: there is no more to do
        while True:
            work, number, task = pipe.recv()
            known = work or known
            assert known is not None
            try:
                for event in _one(known, number, task):
                    pipe.send(event)
            except VirtualPaintError as error:
                pipe.send(error)


def _follow_parent() -> None:
    """End this process, and those that it started, when the one that started it has gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        os._exit(1)
