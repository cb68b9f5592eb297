"""Schedule tiles: one per core on a CPU, sequentially on other devices.

A 2D tile is small: splitting each of its convolutions over the cores costs a barrier per operation, and on a busy machine every barrier
waits for the slowest core. A whole tile per core stays in that core's cache and needs no barrier. A 3D tile is large: barriers are few,
and several tiles at once would multiply the memory.
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
        Kind of device; only a CPU runs several tiles at once.
    dims
        Space axes of a tile.
    steady
        Never split an operation over the cores, since its last bits would depend on their number.
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
            torch.set_num_threads(self.threads)  # new threads take the number that was set last

    def run(self, jobs: Sequence[Callable[[], T]], keys: Sequence[K]) -> Iterator[tuple[K, T]]:
        """Run jobs and yield key and result in order. Fewer jobs than cores run one by one on all cores, unless steady."""
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
