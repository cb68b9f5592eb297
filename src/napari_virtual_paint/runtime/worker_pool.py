"""A pool of worker processes: tasks and events go through pipes, a worker that dies is replaced, and closing ends all of them."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
import traceback
import weakref
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil

from napari_virtual_paint.errors import DISK_FULL, InputError, ReadError, VirtualPaintError, WriteError
from napari_virtual_paint.runtime.atomic_write import remove_left_by
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.processes import POLL, become_worker, spawn

GRACE = 0.5  # seconds that a busy worker has to end before it is killed; that harms no output, since files are written whole or not at all
IDLE_GRACE = 5.0  # seconds that idle workers have to end
STARTS = 3  # workers in a row that may die before they are ready; then the work is given up

Share = tuple[float, str]  # progress of a task: how much of it is done, 0 to 1, and a message for the user, which may be empty
Function = Callable[[Any], Generator[Share, None, Any]]  # does one task: yields its progress and returns its result


class WorkerDied(VirtualPaintError):  # noqa: N818 - named like concurrent.futures' BrokenProcessPool
    """A worker process ended before its task was done."""


@dataclass(frozen=True)
class Failure:
    """Why a task failed."""

    reason: str  # one sentence
    of_input: bool = False  # whether the cause is something that the user gave
    trace: str = ""  # traceback of a programming error; empty for an error that is meant for the user
    exit_code: int | None = None  # exit code of the worker that died of the task; None if the task raised an error

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Describe an error.

        Raises `WriteError` if nothing can be written any more (the disk is full), which ends all work.
        """
        if isinstance(error, WriteError):
            raise error
        words = " ".join(str(error).split())[:600]
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise WriteError(
                error.filename or "the report", f"the disk takes no more ({error.strerror}); make room, run it again"
            ) from error
        if isinstance(error, VirtualPaintError | OSError):
            return cls(words, isinstance(error, InputError))
        if isinstance(error, MemoryError):
            return cls("memory ran out; try fewer --workers")
        return cls(f"{type(error).__name__}: {words}", trace=traceback.format_exc())

    def error(self) -> Exception:
        """Return an exception to raise in this process."""
        if self.exit_code is not None:
            return WorkerDied(self.reason)
        if self.trace:
            return RuntimeError(f"{self.reason}\n\n{self.trace}")
        return (InputError if self.of_input else VirtualPaintError)(self.reason)


@dataclass(frozen=True)
class TaskEvent:
    """Progress or the end of a task."""

    task: int  # number of the task within its round; -1 for none: a message, or an opportunity to cancel
    state: Literal["working", "done", "failed"] = "working"  # whether it goes on
    share: float = 0.0  # how much of it is done, 0 to 1
    message: str = ""  # for the user; often empty
    value: Any = None  # result of a task that is done
    failure: Failure | None = None  # why a task failed


class Task(NamedTuple):
    """A task and its number within its round."""

    number: int
    task: Any


Work = Callable[[Iterable[Task]], Iterator[TaskEvent]]
"""What a worker does in a round: takes tasks as they come and yields events. The first event says that the worker is ready. It is sent
to each worker once."""


@dataclass(frozen=True)
class ForEach:
    """Work that applies a function to one task after another."""

    function: Function  # does one task
    raises: bool = False  # whether an error ends the round; by default it fails only its task, unless the disk is full

    def __call__(self, tasks: Iterable[Task]) -> Iterator[TaskEvent]:
        """Do the tasks."""
        yield TaskEvent(-1)
        for number, task in tasks:
            yield from self._run(number, task)

    def _run(self, number: int, task: Any) -> Iterator[TaskEvent]:
        try:
            value = yield from relay(self.function(task), lambda step: TaskEvent(number, share=step[0], message=step[1]))
        except Exception as error:
            if self.raises:
                raise
            yield TaskEvent(number, "failed", 1.0, failure=Failure.of(error))
        else:
            yield TaskEvent(number, "done", 1.0, value=value)


def _call(function: Callable[[Any], Any], item: Any) -> Generator[Share, None, Any]:
    """Make a `Function` of a plain function."""
    yield 0.0, ""
    return function(item)


@dataclass
class _Worker:
    """A worker process, the work that was sent to it, and the numbers of the tasks that it has not finished."""

    process: Any
    pipe: Connection
    work: Work | None = None
    ready: bool = False
    tasks: list[int] = field(default_factory=list)


class WorkerPool:
    """Runs rounds of tasks in worker processes, which stay for the next round until the pool is closed.

    A task whose worker died is run again, alone in its worker, so that it is known whether it was the cause.

    Parameters
    ----------
    count
        Number of workers; 0 runs the tasks in this process. May be raised between rounds.
    start
        Starts a process: ``start(target, *arguments, name=name)``.
    retries
        How often a task is run again after its worker died.
    name
        Name of the processes.
    output
        Folder that the workers write into: what one that ended within a task had half written is removed from it.
    """

    def __init__(
        self,
        count: int,
        *,
        start: Callable[..., Any] = spawn,
        retries: int = 1,
        name: str = "worker",
        output: Path | None = None,
    ) -> None:
        self.count, self.retries, self._output = count, retries, output
        self._start_process, self._name = start, name
        self._workers: list[_Worker] = []
        self._inline: Iterator[TaskEvent] | None = None
        self._begin_round()
        weakref.finalize(self, _end, self._workers)  # also at the exit of the interpreter, which would wait for the workers

    def __enter__(self) -> WorkerPool:
        """Return the pool, which is closed at the end of the context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the pool."""
        self.close()

    def cores_per_task(self, tasks: int) -> int:
        """Return how many cores each of some tasks may use itself while they run side by side."""
        return max(self.count // min(max(self.count, 1), max(tasks, 1)), 1)

    @property
    def pending(self) -> int:
        """Tasks of this round that have not ended."""
        return len(self._tasks)

    def run(
        self, work: Work, tasks: Iterable[Any], *, prefetch: int = 0, recover: Callable[[Any], Any] = lambda task: None
    ) -> Iterator[TaskEvent]:
        """Run a round of tasks.

        Parameters
        ----------
        work
            What the workers do.
        tasks
            Numbered from 0 in their order.
        prefetch
            How many tasks a worker gets before it has finished its current one.
        recover
            Returns the value of a task that a dead worker finished without reporting it; None where it did not.

        Yields
        ------
        TaskEvent
            At least every `POLL` seconds; each is an opportunity to cancel.

        Raises
        ------
        WriteError
            If the disk is full.
        WorkerDied
            If no worker becomes ready.
        VirtualPaintError
            If a worker can't go on with any task.
        """
        self.begin(work, prefetch=prefetch, recover=recover)
        for task in tasks:
            self.submit(task)
        while self._tasks:
            yield from self.poll()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yield ``function(item)`` of each item in order.

        Raises
        ------
        WorkerDied
            If a worker dies.
        Exception
            Of a call that fails: an `InputError` or a `VirtualPaintError` if it is meant for the user.
        """
        values: dict[int, Any] = {}
        following = 0
        for event in self.run(ForEach(partial(_call, function)), items):
            if event.failure is not None:
                raise event.failure.error()
            if event.state == "done":
                values[event.task] = event.value
            while following in values:
                yield values.pop(following)
                following += 1

    def begin(self, work: Work, *, prefetch: int = 0, recover: Callable[[Any], Any] = lambda task: None) -> None:
        """Begin a round to which tasks are added by `submit`; see `run`."""
        if self._tasks or self._inline is not None:  # an earlier round was left
            self.close()
        self._begin_round(work, prefetch, recover)

    def _begin_round(self, work: Work | None = None, prefetch: int = 0, recover: Callable[[Any], Any] = lambda task: None) -> None:
        self._work, self._prefetch, self._recover = work, prefetch, recover
        self._submitted, self._failed_starts = 0, 0
        self._tasks: dict[int, Any] = {}
        self._queue: deque[int] = deque()
        self._suspects: deque[int] = deque()
        self._deaths: Counter[int] = Counter()

    def submit(self, task: Any) -> int:
        """Add a task to the round and return its number."""
        number = self._submitted
        self._submitted += 1
        self._tasks[number] = task
        self._queue.append(number)
        return number

    def poll(self) -> Iterator[TaskEvent]:
        """Give tasks to idle workers, wait for events for at most `POLL` seconds, and yield them; see `run`."""
        if not self.count:
            yield from self._step_inline()
            return
        while len(self._workers) < min(self.count, len(self._tasks)):
            self._workers.append(self._start())
        for limit in range(1, 2 + self._prefetch):  # each worker gets a task before any gets a second one
            for worker in self._workers:
                self._assign(worker, limit)
        readable = wait([worker.pipe for worker in self._workers], POLL)
        if not readable:
            yield TaskEvent(-1)
        for worker in [each for each in self._workers if each.pipe in readable]:
            yield from self._receive(worker)

    def _step_inline(self) -> Iterator[TaskEvent]:
        """Work in this process up to the next event."""
        assert self._work is not None
        if self._inline is None:
            self._inline = self._work(self._queued())
        event = next(self._inline, None)
        if event is None:
            self._inline = None
        else:
            if event.state != "working":
                del self._tasks[event.task]
            yield event

    def _queued(self) -> Iterator[Task]:
        while self._queue:
            number = self._queue.popleft()
            yield Task(number, self._tasks[number])

    def _assign(self, worker: _Worker, limit: int) -> None:
        """Send a worker tasks until it has `limit` of them; one whose worker died before stays alone."""
        while len(worker.tasks) < limit and not any(self._deaths[number] for number in worker.tasks):
            queue = self._suspects if self._suspects and not worker.tasks else self._queue
            if not queue:
                return
            number = queue.popleft()
            worker.tasks.append(number)
            with contextlib.suppress(OSError):  # the worker has died, which is found when its pipe is read
                if worker.work is not self._work:
                    worker.pipe.send(self._work)
                    worker.work = self._work
                worker.pipe.send(Task(number, self._tasks[number]))

    def _receive(self, worker: _Worker) -> Iterator[TaskEvent]:
        """Yield the next event of a worker."""
        try:
            event = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if isinstance(event, BaseException):
            raise event
        worker.ready, self._failed_starts = True, 0
        if event.state != "working":
            worker.tasks.remove(event.task)
            del self._tasks[event.task]
        yield event

    def _replace(self, worker: _Worker) -> Iterator[TaskEvent]:
        """Start another worker in the place of a dead one; its tasks are run again, or have failed."""
        worker.process.join(POLL)
        worker.pipe.close()
        code = worker.process.exitcode
        self._failed_starts += not worker.ready
        if self._failed_starts >= STARTS:
            raise WorkerDied(f"The worker processes end before they begin (exit code {code}); memory may be short: try fewer --workers.")
        if worker.ready:
            yield TaskEvent(-1, message=f"A worker died (exit code {code}); another one takes its place.")
        for number in reversed(worker.tasks):
            self._deaths[number] += worker.ready
            if (value := self._recover(self._tasks[number])) is not None:
                del self._tasks[number]
                yield TaskEvent(number, "done", 1.0, value=value)
            elif self._deaths[number] > self.retries:
                del self._tasks[number]
                yield TaskEvent(number, "failed", 1.0, failure=_death(self._deaths[number], code))
            else:
                (self._suspects if self._deaths[number] else self._queue).appendleft(number)
        self._workers[self._workers.index(worker)] = self._start()

    def _start(self) -> _Worker:
        """Start a worker.

        Raises `VirtualPaintError` if the system starts no process.
        """
        ours, theirs = multiprocessing.Pipe()
        try:
            process = self._start_process(_serve, theirs, name=self._name)
        except (OSError, EOFError) as error:
            raise VirtualPaintError(f"No worker starts ({error or type(error).__name__}); try --workers 1.") from error
        finally:
            theirs.close()
        return _Worker(process, ours)

    def close(self, *, finish: bool = False) -> None:
        """End all workers and their children; `finish` lets busy ones finish their task first, whose result is lost."""
        if self._inline is not None:
            self._inline.close()  # type: ignore[attr-defined]  # a generator
            self._inline = None
        interrupted = _end(self._workers, finish=finish)
        if interrupted and self._output is not None:
            remove_left_by(self._output, interrupted)


def _death(times: int, exit_code: int) -> Failure:
    often = {1: "", 2: " twice"}.get(times, f" {times} times")
    reason = f"its worker process died{often} (exit code {exit_code}); memory may have run out (try fewer --workers), or a library crashed"
    return Failure(reason, exit_code=exit_code)


def _end(workers: list[_Worker], *, finish: bool = False) -> set[int]:
    """End worker processes and their children: by a message, by SIGTERM where they are busy, at last by a kill.

    Returns the processes that ended within a task or were killed: a thread of zarr may have written after their own clean-up.
    """
    children: list[psutil.Process] = []
    interrupted = {worker.process.pid for worker in workers if worker.tasks and not finish}
    for worker in workers:
        with contextlib.suppress(psutil.Error):
            children += psutil.Process(worker.process.pid).children(recursive=True)
        if finish or not worker.tasks:
            with contextlib.suppress(OSError):
                worker.pipe.send(None)
        worker.pipe.close()
        if worker.tasks and not finish:
            worker.process.terminate()
    until = time.monotonic() + (GRACE if any(worker.tasks for worker in workers) else IDLE_GRACE)
    for worker in workers:
        worker.process.join(None if finish else max(until - time.monotonic(), 0.0))
        if worker.process.is_alive():
            interrupted.add(worker.process.pid)
        worker.process.kill()
        worker.process.join()
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.kill()
    workers.clear()
    return interrupted


class _Round:
    """The tasks of one round as they come through the pipe, and then the work of the next round; None ends the worker."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.following: Work | None = None

    def __iter__(self) -> Iterator[Task]:
        with contextlib.suppress(EOFError):
            while isinstance(message := self.pipe.recv(), Task):
                yield message
            self.following = message


def _serve(pipe: Connection) -> None:
    """Do the work that comes through the pipe, in a worker process."""
    become_worker()
    try:
        work = pipe.recv()
        while work is not None:
            tasks = _Round(pipe)
            for event in work(tasks):
                pipe.send(event)
            work = tasks.following
    except VirtualPaintError as error:
        # Other subclasses may lose their arguments when they are pickled.
        kind = InputError if isinstance(error, InputError) else VirtualPaintError
        with contextlib.suppress(OSError):
            pipe.send(error if isinstance(error, ReadError | WriteError) else kind(str(error)))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the pool was closed, or its process has ended
        pass
