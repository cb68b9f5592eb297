"""write_steps(): write an image with progress, and places to cancel."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import Cancelled
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Array, Stack
from napari_virtual_paint.writing.api import write

POLL = 0.1  # seconds between two reports


def write_steps(stack: Stack, path: str | os.PathLike[str], *, overwrite: bool = False) -> Generator[Progress, None, Path]:
    """Write an image as `write` does, with progress.

    Parameters
    ----------
    stack, path, overwrite
        As for `write`.

    Yields
    ------
    Progress
        Pixels read of all. When it is closed, nothing half-written is left.

    Returns
    -------
    Path
        The written file or folder.
    """
    pixels = _CountedPixels(stack.data)
    counted = replace(stack, data=da.from_array(pixels, chunks=_chunks(stack.data), name=False, asarray=False))
    with ThreadPoolExecutor(1, "napari-virtual-paint write") as pool:
        work = pool.submit(write, counted, path, overwrite=overwrite)
        try:
            while not work.done():
                yield Progress(min(pixels.read, stack.data.size), stack.data.size, f"Saving {Path(path).name}…")
                wait([work], timeout=POLL)
        finally:
            pixels.cancelled.set()
    return work.result()


def _chunks(data: Array) -> Any:
    return data.chunks if isinstance(data, da.Array) else (1, 1, 1, -1, -1)


class _CountedPixels:
    """Pixels that count how many were read, and can't be read any more once the writing is cancelled."""

    def __init__(self, data: Array) -> None:
        self._data = data
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim
        self.read = 0
        self.cancelled = threading.Event()
        self._counting = threading.Lock()

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        if self.cancelled.is_set():
            raise Cancelled("Saving was cancelled.")
        pixels = np.asarray(self._data[key])
        with self._counting:
            self.read += pixels.size
        return pixels
