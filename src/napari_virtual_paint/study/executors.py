"""Run the units of a study: in this process, in worker processes on this machine, or on a Dask cluster."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from napari_virtual_paint.errors import InputError, VirtualPaintError, WriteError
from napari_virtual_paint.runtime.processes import POLL, cores
from napari_virtual_paint.runtime.worker_pool import Failure, ForEach, Share, Task, TaskEvent, WorkerPool
from napari_virtual_paint.study.config import StudyConfig
from napari_virtual_paint.study.units import TrainingUnit, Unit

RETRIES = 2  # times that a unit is run again after its worker died


class Executor(Protocol):
    """Something that runs units."""

    def has_room(self) -> bool:
        """Return whether it takes another unit."""

    def submit(self, unit: Unit) -> None:
        """Begin a unit."""

    def finished(self) -> list[Unit]:
        """Wait a moment and return the units that have finished since the last call.

        Raises `VirtualPaintError` if one failed.
        """

    def stop(self) -> None:
        """End at once, even in the middle of units: they are written whole or not at all, and trainings go on from their last epoch."""


def run_unit(config: StudyConfig, unit: Unit) -> Generator[Share, None, None]:
    """Run a unit, yielding its progress."""
    for share in unit.run(config):
        yield share, ""


def error_of(unit: Unit, failure: Failure) -> VirtualPaintError:
    """Return the error with which a failed unit ends the study."""
    reason = f"an unexpected error, {failure.reason.rstrip('.')}." if failure.trace else failure.reason
    return (InputError if failure.of_input else VirtualPaintError)(f"{unit.key}: {reason}")


@dataclass(frozen=True)
class _UnitWork:
    """What a worker does: run units with its share of the cores."""

    config: StudyConfig
    threads: int

    def __call__(self, tasks: Iterable[Task]) -> Iterator[TaskEvent]:
        """Run the units."""
        import torch

        torch.set_num_threads(self.threads)
        yield from ForEach(partial(run_unit, self.config))(tasks)


class PoolExecutor:
    """Worker processes on this machine; with 0 workers this process, in which a training is a single step.

    Parameters
    ----------
    pool
        The workers, each of which gets its share of the cores.
    """

    def __init__(self, config: StudyConfig, pool: WorkerPool) -> None:
        if pool.count < 0:
            raise InputError(f"{pool.count} processes can't work; ask for 1 or more.")
        self.pool = pool
        self._units: dict[int, Unit] = {}
        threads = config.training.threads or max(cores() // max(pool.count, 1), 1)
        self.pool.begin(_UnitWork(config, threads) if pool.count else ForEach(partial(run_unit, config), raises=True))

    def has_room(self) -> bool:
        """Return whether a worker is idle or can be started."""
        return self.pool.pending < max(self.pool.count, 1)

    def submit(self, unit: Unit) -> None:
        """Queue a unit for an idle worker."""
        self._units[self.pool.submit(unit)] = unit

    def finished(self) -> list[Unit]:
        """Return the units that have finished."""
        found = []
        for event in self.pool.poll():
            if event.failure is not None:
                raise error_of(self._units[event.task], event.failure)
            if event.state == "done":
                found.append(self._units.pop(event.task))
        return found

    def stop(self) -> None:
        """End the workers."""
        self.pool.close()


def finish_unit(config: StudyConfig, unit: Unit) -> Failure | None:
    """Run a unit on a worker of a cluster; return why it failed, since errors of libraries may not survive being pickled."""
    try:
        *_, end = ForEach(partial(run_unit, config))([Task(0, unit)])
    except WriteError as error:
        return Failure(str(error))
    return end.failure


class ClusterExecutor:
    """The workers of a Dask scheduler, which must see the same files under the same paths."""

    def __init__(self, config: StudyConfig, address: str) -> None:
        from napari_virtual_paint.plates.job.cluster import connect

        self.config, self.client = config, connect(address)
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting: dict[Any, Unit] = {}

    def has_room(self) -> bool:
        """Take every unit that can begin: the scheduler knows its workers."""
        return True

    def submit(self, unit: Unit) -> None:
        """Submit a unit."""
        future = self.client.submit(finish_unit, self.config, unit, pure=False, retries=RETRIES)
        self._waiting[future] = unit
        future.add_done_callback(self._finished.put)

    def finished(self) -> list[Unit]:
        """Return the units that have finished."""
        try:
            future = self._finished.get(timeout=POLL)
        except queue.Empty:
            if self.client.status != "running":
                raise VirtualPaintError("The Dask scheduler was lost; finished results are kept, and the same command resumes.") from None
            return []
        unit = self._waiting.pop(future)
        if future.status != "finished":
            raise VirtualPaintError(f"{unit.key}: no worker of the cluster could do it ({future.status}).")
        failure = future.result()
        if failure is not None:
            raise error_of(unit, failure)
        return [unit]

    def stop(self) -> None:
        """Cancel the units that have not begun, and stop running trainings after their current step."""
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
    """Return a cluster if a scheduler is given, else a pool of so many workers."""
    if scheduler is not None:
        return ClusterExecutor(config, scheduler)
    return PoolExecutor(config, WorkerPool(workers, retries=RETRIES, name="study worker", output=config.output))


def ready(units: Sequence[Unit], started: set[Unit], done: set[Unit], config: StudyConfig) -> list[Unit]:
    """Return the units that can begin: trainings, and tests whose models are all trained."""
    free = [unit for unit in units if unit not in started and unit not in done]
    return [unit for unit in free if isinstance(unit, TrainingUnit) or all(one in done for one in unit.needs(config))]
