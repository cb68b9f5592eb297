"""Paint a plate with a pool of worker processes on this machine: one plans the job, then each opens the model once and paints fields."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.plates.job.field import Painter, PaintFieldRequest
from napari_virtual_paint.plates.job.forkserver import keep_freed_memory, may_need_workers, start_process, start_server
from napari_virtual_paint.plates.job.pipeline import Events, FieldEvent, run_pipeline
from napari_virtual_paint.plates.job.planning import Plan, PlanRequest
from napari_virtual_paint.plates.job.rows import is_done, load_row
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.runtime.processes import POLL, openmp_threads
from napari_virtual_paint.runtime.worker_pool import ForEach, Share, Task, TaskEvent, WorkerPool


def make_pool(workers: int | None, device: str, output: Path | None = None) -> WorkerPool:
    """Return a pool of one worker where workers start at once, so that it can plan the job; else a pool of none.

    Parameters
    ----------
    workers, device
        See `may_need_workers`.
    output
        Folder that they write into.
    """
    count = int(may_need_workers(workers, device) and start_server())
    return WorkerPool(count, start=_start, name="plate worker", output=output)


def plan_in(pool: WorkerPool, request: PlanRequest) -> Generator[FieldEvent, None, Plan | None]:
    """Let a worker plan the job.

    Yields
    ------
    FieldEvent
        Without content; each is an opportunity to cancel.

    Returns
    -------
    Plan or None
        None if the worker died or met an unexpected error.

    Raises
    ------
    InputError, VirtualPaintError
        See `PlanRequest.make_plan`.
    """
    for event in pool.run(ForEach(_plan), [request]):
        if event.state == "done":
            plan: Plan = event.value
            return plan
        if event.failure is not None:
            if event.failure.exit_code is not None or event.failure.trace:
                break  # this process will meet the same error, if it is one
            raise event.failure.error()
        yield FieldEvent(None)
    return None


def run_workers(pool: WorkerPool, request: PaintFieldRequest, fields: Sequence[Field], *, ahead: bool = True) -> Events:
    """Paint fields in worker processes.

    Parameters
    ----------
    pool
        The workers, of which each gets its share of the threads.
    request
        What is painted, and where it goes.
    ahead
        Whether a worker reads its next field while it paints one.

    Yields
    ------
    FieldEvent
        Each is an opportunity to cancel.

    Raises
    ------
    DiskFullError
        If the disk is full.
    VirtualPaintError
        If no worker can start.
    """

    def recover(field: Field) -> FieldEvent | None:
        row = load_row(request.folder, field)
        return FieldEvent(field, "done", 1.0, row=row) if row is not None and is_done(row) else None

    work = _PaintWork(request, request.job.threads or max(openmp_threads() // pool.count, 1), ahead)
    for event in pool.run(work, fields, prefetch=int(ahead), recover=recover):
        if event.failure is not None:
            field = fields[event.task]
            yield FieldEvent(field, "failed", row=Painter(request).failed(field, VirtualPaintError(event.failure.reason)))
        else:
            yield event.value or FieldEvent(None, message=event.message)


def _start(target: Any, *arguments: Any, name: str) -> Any:
    return start_process(_keep_memory_and_run, target, *arguments, name=name)


def _keep_memory_and_run(target: Any, *arguments: Any) -> None:
    keep_freed_memory()
    target(*arguments)


def _plan(request: PlanRequest) -> Generator[Share, None, Plan]:
    yield 0.0, ""
    return request.make_plan()


@dataclass(frozen=True)
class _PaintWork:
    """What a worker does to paint fields; see `run_workers`."""

    request: PaintFieldRequest
    threads: int
    ahead: bool

    def __call__(self, tasks: Iterable[Task]) -> Iterator[TaskEvent]:
        """Paint fields; the value of an event is a `FieldEvent`."""
        import torch

        torch.set_num_threads(self.threads)
        painter = Painter(self.request)
        painter.open()
        yield TaskEvent(-1)
        numbers: dict[Field, int] = {}

        def fields() -> Iterator[Field]:
            for number, each in tasks:
                numbers[each] = number
                yield each

        last = 0.0
        for event in run_pipeline(painter, fields(), ahead=self.ahead):
            now = time.monotonic()
            if event.row or event.message or (event.state and now - last >= POLL):
                last = now
                number = -1 if event.field is None else numbers[event.field]
                yield TaskEvent(number, "done" if event.row else "working", value=event)
