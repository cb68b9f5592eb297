"""Group fields into tasks, so that small ones don't cost more to send and to store than to evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from napari_virtual_paint.evaluation.run.tasks import AT_ONCE, HELD
from napari_virtual_paint.runtime.worker_pool import TaskEvent, Work, WorkerPool

T = TypeVar("T")

SHARES = 4  # fewest tasks of a worker, so that workers end together and a stopped run has lost little


def batches(items: Sequence[T], pool: WorkerPool, item_bytes: int) -> list[tuple[T, ...]]:
    """Return fields in groups: of up to `AT_ONCE`, as long as their images are small and each worker has several groups."""
    size = min(AT_ONCE, HELD // max(item_bytes, 1), len(items) // (SHARES * max(pool.count, 1)))
    size = max(size, 1)
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]


def run_batches(
    pool: WorkerPool, work: Work, tasks: Sequence[T], alone: Callable[[T], Sequence[T]]
) -> Iterator[tuple[T | None, TaskEvent]]:
    """Run a round of tasks; one whose workers died is then run field by field, so that only the field at fault fails.

    Parameters
    ----------
    alone
        Returns a task's fields as tasks of their own; none where it has a single one.

    Yields
    ------
    tuple
        The task, None for messages, and its event.
    """
    left = list(tasks)
    while left:
        again: list[T] = []
        for event in pool.run(work, left):
            task = left[event.task] if event.task >= 0 else None
            if task is not None and event.failure is not None and event.failure.exit_code is not None and (parts := alone(task)):
                again += parts
            else:
                yield task, event
        left = again
