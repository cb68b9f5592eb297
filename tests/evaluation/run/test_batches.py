"""Small fields form tasks of several; of a task whose worker died, only the field at fault fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from napari_virtual_paint.evaluation.run.batches import batches, run_batches
from napari_virtual_paint.evaluation.run.tasks import AT_ONCE, HELD
from napari_virtual_paint.runtime.worker_pool import Failure, ForEach, TaskEvent, WorkerPool


@pytest.mark.parametrize(
    ("fields", "workers", "size_of_one", "expected"),
    [(3, 2, 1, 1), (3456, 2, 1, AT_ONCE), (40, 2, 1, 5), (40, 0, 1, 10), (3456, 2, HELD, 1), (3456, 2, HELD // 3, 3), (0, 2, 1, 1)],
)
def test_sizes(fields: int, workers: int, size_of_one: int, expected: int) -> None:
    found = batches(range(fields), WorkerPool(workers), size_of_one)
    assert [item for part in found for item in part] == list(range(fields))
    assert all(len(part) == expected for part in found[:-1])


class DeadlyPool:
    """Runs tasks, and reports the death of a worker for each that holds a deadly item."""

    def __init__(self) -> None:
        self.ran: list[Any] = []

    def run(self, work: Any, tasks: Sequence[tuple[int, ...]]) -> Iterator[TaskEvent]:
        self.ran += tasks
        for number, task in enumerate(tasks):
            yield TaskEvent(-1, message="working")
            yield TaskEvent(number, "failed", 1.0, failure=Failure("died", exit_code=9)) if 3 in task else TaskEvent(number, "done", 1.0)


def test_only_the_deadly_field_fails() -> None:
    pool = DeadlyPool()
    events = list(run_batches(pool, ForEach(iter), [(1, 2), (3, 4, 5), (6,)], lambda task: [(x,) for x in task] if len(task) > 1 else []))  # type: ignore[arg-type]
    ends = [(task, event.state) for task, event in events if task is not None]
    assert ends == [((1, 2), "done"), ((6,), "done"), ((3,), "failed"), ((4,), "done"), ((5,), "done")]
    assert pool.ran == [(1, 2), (3, 4, 5), (6,), (3,), (4,), (5,)]
