"""Who does the units of a study: this process, processes of its own, or a Dask cluster. All take a unit and tell when it has ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.runtime.processes import ignore_sigint, sigint_blocked
from napari_virtual_paint.study.config import StudyConfig
from napari_virtual_paint.study.units import TrainingUnit, Unit

START = "spawn"
"""How processes start: anew, since a copy of one in which torch or Qt runs threads may hang."""
LISTEN = 0.1
"""Seconds between two looks at what has ended."""
GRACE = 0.3
"""Seconds that processes have to end by themselves before they are killed, which harms nothing: units are written whole or not at all."""
RETRIES = 2
"""Times that a unit is tried again after the process that did it died."""


class Executor(Protocol):
    """Something that does units."""

    def room(self) -> bool:
        """Tell whether it takes another unit."""

    def give(self, unit: Unit) -> None:
        """Begin a unit."""

    def ended(self) -> list[Unit]:
        """Return the units that have ended since the last look; waits a moment.

        Raises
        ------
        VirtualPaintError
            If one failed.
        """

    def stop(self) -> None:
        """End at once, whatever is under way: units are written whole or not at all, and trainings go on from their last epoch."""


class InlineExecutor:
    """The process itself: one unit at a time, a piece of it at each look. A training is one piece."""

    def __init__(self, config: StudyConfig) -> None:
        self.config = config
        self._unit: Unit | None = None
        self._steps: Any = None

    def room(self) -> bool:
        """Tell whether nothing is under way."""
        return self._unit is None

    def give(self, unit: Unit) -> None:
        """Begin a unit."""
        self._unit, self._steps = unit, unit.run(self.config)

    def ended(self) -> list[Unit]:
        """Do a piece of the unit."""
        for _ in self._steps or ():
            return []
        done, self._unit, self._steps = self._unit, None, None
        return [done] if done is not None else []

    def stop(self) -> None:
        """Leave the unit as it is."""
        if self._steps is not None:
            self._steps.close()


@dataclass
class _Worker:
    """One process and what it is at."""

    process: Any
    pipe: Connection
    unit: Unit | None = None
    tries: int = 0


class Processes:
    """Processes of this machine, each with its share of the cores; one that dies is replaced, and its unit tried again."""

    def __init__(self, config: StudyConfig, count: int) -> None:
        if count < 1:
            raise InputError(f"{count} processes can't work; ask for 1 or more.")
        self.config, self.count = config, count
        self.threads = config.training.threads or max((os.cpu_count() or 1) // count, 1)
        self._workers: list[_Worker] = []

    def room(self) -> bool:
        """Tell whether a process is idle, or another one may start."""
        return len(self._workers) < self.count or any(worker.unit is None for worker in self._workers)

    def give(self, unit: Unit) -> None:
        """Hand a unit to an idle process."""
        worker = next((each for each in self._workers if each.unit is None), None)
        if worker is None:
            worker = self._start()
            self._workers.append(worker)
        worker.unit, worker.tries = unit, 0
        with contextlib.suppress(OSError):  # it is dead, which is heard next
            worker.pipe.send(unit)

    def ended(self) -> list[Unit]:
        """Hear the processes."""
        found: list[Unit] = []
        for pipe in wait([worker.pipe for worker in self._workers], LISTEN):
            worker = next(each for each in self._workers if each.pipe is pipe)
            try:
                told = worker.pipe.recv()
            except (EOFError, OSError):
                self._replace(worker)
                continue
            if isinstance(told, BaseException):
                raise told
            if worker.unit is not None:
                found.append(worker.unit)
            worker.unit = None
        return found

    def _replace(self, worker: _Worker) -> None:
        """Start another process in the place of a dead one, and give it the same unit."""
        worker.process.join(LISTEN)
        worker.pipe.close()
        if worker.tries >= RETRIES:
            what = f"at {worker.unit.key}" if worker.unit is not None else "before it began"
            raise VirtualPaintError(f"A process died again and again {what} (exit code {worker.process.exitcode}); memory may be short.")
        fresh = self._start()
        fresh.unit, fresh.tries = worker.unit, worker.tries + 1
        self._workers[self._workers.index(worker)] = fresh
        if fresh.unit is not None:
            fresh.pipe.send(fresh.unit)

    def _start(self) -> _Worker:
        context: Any = multiprocessing.get_context(START)
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.config, self.threads), name="study worker", daemon=True)
        with sigint_blocked():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def stop(self) -> None:
        """End the processes: idle ones by themselves, those at work after a moment in which they may tidy up."""
        for worker in self._workers:
            worker.pipe.close()
            if worker.unit is not None:
                worker.process.terminate()
        until = time.monotonic() + GRACE
        for worker in self._workers:
            worker.process.join(max(until - time.monotonic(), 0.0))
            worker.process.kill()
            worker.process.join()


def _work(pipe: Connection, config: StudyConfig, threads: int) -> None:
    """Do what comes through the pipe, in a process of its own, until the pipe or the process behind it is gone."""
    ignore_sigint()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what libraries hold of the system is given back
    threading.Thread(target=_follow_parent, daemon=True, name="parent").start()
    import torch

    torch.set_num_threads(threads)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            unit: Unit = pipe.recv()
            pipe.send(do(config, unit, plain=True))


def _follow_parent() -> None:
    """End this process when the one that started it has gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def do(config: StudyConfig, unit: Unit, *, plain: bool = False) -> VirtualPaintError | None:
    """Do a unit to its end; return what went wrong, as an error that travels between processes."""
    try:
        for _ in unit.run(config):
            pass
    except VirtualPaintError as error:
        kind = InputError if isinstance(error, InputError) else VirtualPaintError
        return kind(f"{unit.key}: {error}")
    except Exception as error:  # a library's own error may not survive the way
        if not plain:
            raise
        return VirtualPaintError(f"{unit.key}: an unexpected error, {type(error).__name__}: {' '.join(str(error).split())}.")
    return None


class Cluster:
    """The workers of a Dask scheduler, which must see the same files under the same paths."""

    def __init__(self, config: StudyConfig, address: str) -> None:
        from napari_virtual_paint.plates.job.cluster import connect

        self.config, self.client = config, connect(address)
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting: dict[Any, Unit] = {}

    def room(self) -> bool:
        """Take everything that may begin: the scheduler knows its workers."""
        return True

    def give(self, unit: Unit) -> None:
        """Submit a unit."""
        future = self.client.submit(do, self.config, unit, plain=True, pure=False, retries=RETRIES)
        self._waiting[future] = unit
        future.add_done_callback(self._ended.put)

    def ended(self) -> list[Unit]:
        """Return what the scheduler tells has ended."""
        try:
            future = self._ended.get(timeout=LISTEN)
        except queue.Empty:
            if self.client.status != "running":
                raise VirtualPaintError("The Dask scheduler was lost; what is done is kept, and the same command goes on.") from None
            return []
        unit = self._waiting.pop(future)
        if future.status != "finished":
            raise VirtualPaintError(f"{unit.key}: no worker of the cluster could do it ({future.status}).")
        error = future.result()
        if error is not None:
            raise error
        return [unit]

    def stop(self) -> None:
        """Cancel what has not begun, and tell trainings under way to stop after their step."""
        from napari_virtual_paint.training.run_folder.watch import send_command

        with contextlib.suppress(Exception):
            self.client.cancel(list(self._waiting), force=True)
        for unit in self._waiting.values():
            if isinstance(unit, TrainingUnit):
                with contextlib.suppress(VirtualPaintError, OSError):
                    send_command(self.config.output / "runs" / unit.key, "stop")
        with contextlib.suppress(Exception):
            self.client.close(timeout=0.5)


def make_executor(config: StudyConfig, workers: int, scheduler: str | None) -> Executor:
    """Return who does the units: a cluster where a scheduler is named, this process for 0 workers, else so many processes."""
    if scheduler is not None:
        return Cluster(config, scheduler)
    return InlineExecutor(config) if workers == 0 else Processes(config, workers)


def ready(units: Sequence[Unit], begun: set[Unit], done: set[Unit], config: StudyConfig) -> list[Unit]:
    """Return the units that can begin: trainings, and tests whose models are all there."""
    free = [unit for unit in units if unit not in begun and unit not in done]
    return [unit for unit in free if isinstance(unit, TrainingUnit) or all(one in done for one in unit.needs(config))]
