"""A fork server that imports heavy modules once, so that the workers, which are its copies, start quickly; and their memory settings.

It is started as soon as workers may be needed, and imports while this process opens the plate.
"""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_virtual_paint.runtime import garbage
from napari_virtual_paint.runtime.extras import skip_optional_imports
from napari_virtual_paint.runtime.processes import openmp_threads, sigint_blocked, start_child

PRELOAD = "napari_virtual_paint.plates.job.preload"
GPU_FILES = (Path("/proc/driver/nvidia/version"), Path("/dev/kfd"))
"""Files of a system with a GPU, whose driver can't be asked before torch is imported."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8  # parameters of mallopt(3)
KEPT = 2**31 - 1  # free bytes at the end of the heap above which some are returned to the system: the most that mallopt takes
LARGE = 2**30  # bytes from which on a block is mapped by itself, and returned when it is freed
HEAP_STEP = 2**26  # bytes by which the heap grows


def may_need_workers(workers: int | None, device: str) -> bool:
    """Return whether worker processes may paint, so that it pays to start the fork server.

    Parameters
    ----------
    workers
        Number of workers that the user wants; None for the best number, which is none where there may be a GPU.
    device
        The device that the user wants.
    """
    if workers is not None:
        return workers > 1
    return openmp_threads() > 1 and (device == "cpu" or not any(path.exists() for path in GPU_FILES))


def start_server() -> bool:
    """Start the fork server unless it runs already.

    Returns
    -------
    bool
        Whether there is one: on Linux alone, since other systems can't fork or have libraries that don't survive it.
    """
    if not sys.platform.startswith("linux"):
        return False
    from multiprocessing import forkserver

    multiprocessing.set_forkserver_preload([PRELOAD])
    try:
        with sigint_blocked():
            forkserver.ensure_running()
    except OSError:  # no place for its socket, such as a temporary folder with a very long name
        return False
    return True


def start_process(target: Any, *arguments: Any, name: str) -> Any:
    """Start a process: a copy of the fork server where there is one, else a new interpreter."""
    context: Any = multiprocessing.get_context("forkserver" if start_server() else "spawn")
    process = context.Process(target=target, args=arguments, name=name, daemon=True)
    start_child(process)
    return process


def import_lean(names: Iterable[str]) -> None:
    """Import modules faster: without optional imports and without garbage collection."""
    skip_optional_imports()
    with garbage.paused():
        for name in names:
            importlib.import_module(name)


def keep_freed_memory() -> bool:
    """Make the allocator of this process keep freed memory, in one heap for all threads, since each field needs as much again.

    For processes that only paint plates, as early as possible; their forks inherit it.

    Returns
    -------
    bool
        Whether the allocator is glibc's, on Linux, and accepted all settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, LARGE), (_TRIM_THRESHOLD, KEPT), (_TOP_PAD, HEAP_STEP))
    return all([mallopt(parameter, value) for parameter, value in settings])
