"""Who runs the tiles: on a CPU one tile a core, elsewhere one after the other.

A tile of a picture is small, so splitting each of its convolutions over the cores costs a barrier an operation, and on a busy machine
every barrier waits for the slowest. One whole tile a core keeps each core in its own cache and needs no barrier. A tile of a volume is
large: there the barriers are few, and several tiles at once would hold as many times the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import torch

T = TypeVar("T")
K = TypeVar("K")


class TileThreadPool:
    """A pool of threads for the tiles of one painting; use it as a context manager.

    Parameters
    ----------
    kind
        Kind of device: more than one tile at a time helps a CPU alone.
    dims
        Space axes of a tile.
    steady
        Never split an operation over the cores: its last bits would tell on how many it ran.
    """

    def __init__(self, kind: str, dims: int, *, steady: bool = False) -> None:
        self.steady = steady
        self.threads = torch.get_num_threads() if kind == "cpu" and dims == 2 else 1
        self.pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> TileThreadPool:
        if self.threads > 1:
            self.pool = ThreadPoolExecutor(self.threads, "paint", initializer=torch.set_num_threads, initargs=(1,))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(self.threads)  # threads made from now on take the number that was set last

    def run(self, jobs: Sequence[Callable[[], T]], keys: Sequence[K]) -> Iterator[tuple[K, T]]:
        """Run jobs and yield each with its key, in order. Too few jobs to share out run one by one, each on all cores, unless steady."""
        if self.pool is None or (len(jobs) < self.threads and not self.steady):
            for key, job in zip(keys, jobs, strict=True):
                yield key, job()
            return
        waiting: deque[tuple[K, Future[T]]] = deque()
        try:
            for key, job in zip(keys, jobs, strict=True):
                waiting.append((key, self.pool.submit(job)))
                if len(waiting) > self.threads:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
