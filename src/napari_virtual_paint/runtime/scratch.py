"""Scratch arrays: in memory, or in an unnamed file when memory is short."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.runtime.text import byte_size

SHARE_OF_MEMORY = 0.25  # share of the free memory that an array may take; larger ones go to a file
MOST = 2 << 30  # bytes that an array may take in memory, however much is free
PASSES = 1 << 28  # bytes that all passes of a median may take in memory together, however much is free


def in_memory(size: int, *, passes: bool = False) -> bool:
    """Return whether so many bytes are kept in memory; the `passes` of a median are read only once and go to the disk earlier."""
    share = psutil.virtual_memory().available * SHARE_OF_MEMORY
    return bool(size <= min(share, PASSES if passes else MOST))


def zeros(shape: tuple[int, ...], folder: Path | None = None) -> npt.NDArray[np.float32]:
    """Return zeros, in memory or in an unnamed file, which disappears with this process however it ends.

    Parameters
    ----------
    folder
        Folder for the file; None for the system's folder for temporary files.

    Raises
    ------
    WriteError
        If the disk is too full.
    """
    return np.zeros(shape, np.float32) if in_memory(4 * int(np.prod(shape, dtype=np.int64))) else file_backed_zeros(shape, folder)


def release(array: object) -> None:
    """Let the system take what is in memory of an array in a file, which it would else keep until memory is short.

    Other arrays stay as they are, but for those with a method `release` of their own, which is called.
    """
    own = getattr(array, "release", None)
    if own is not None:
        own()
        return
    # A private map (mode "c") would lose what was written to it.
    mapped = getattr(array, "_mmap", None) if isinstance(array, np.memmap) and array.mode != "c" else None
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)  # of a shared map: what was written stays in the file


def file_backed_zeros(shape: tuple[int, ...], folder: Path | None = None, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """Return zeros in an unnamed file; see `zeros`."""
    size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # a disk that fills up later would kill the process instead of raising an error
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as error:
        words = f"the stains need {byte_size(size)} of disk space here ({error.strerror or error}); choose another"
        raise WriteError(folder or tempfile.gettempdir(), words) from None
