"""The process that workers are copies of: what it has imported, which takes seconds, is not imported again by each of them.

It starts as early as it is known that workers may be needed and imports while this process opens the plate.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import multiprocessing
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_virtual_paint.runtime.processes import openmp_threads, sigint_blocked

PRELOAD = "napari_virtual_paint.plates.job.preload"
GPU = (Path("/proc/driver/nvidia/version"), Path("/dev/kfd"))
"""Files of a system with a GPU, whose driver can't be asked before torch is imported."""

SPARED = ("xarray",)
"""What Dask imports if it is there, to know its images, which no field of a plate is: it takes half a second."""


def may_need_workers(asked: int | None, device: str) -> bool:
    """Tell whether workers may paint, so that it pays to start the process that they are copies of.

    Parameters
    ----------
    asked
        Workers that were asked for; None for as many as are best, which is none where there may be a GPU.
    device
        The one asked for.
    """
    if asked is not None:
        return asked > 1
    return openmp_threads() > 1 and (device == "cpu" or not any(path.exists() for path in GPU))


def start_server() -> bool:
    """Start the process that workers are copies of, if it does not run yet.

    Returns
    -------
    bool
        Whether there is one. On Linux alone: elsewhere the system has none, or its own libraries don't bear being copied.
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
    """Start a process that ends with this one: a copy of the server where there is one, else anew."""
    context: Any = multiprocessing.get_context("forkserver" if start_server() else "spawn")
    process = context.Process(target=target, args=arguments, name=name, daemon=True)
    with sigint_blocked():
        process.start()
    return process


def import_lean(names: Iterable[str]) -> None:
    """Import modules without what they would import only to know of it (`SPARED`), and without looking for garbage meanwhile."""
    spared = [name for name in SPARED if name not in sys.modules]
    collecting = gc.isenabled()
    gc.disable()
    try:
        sys.modules.update(dict.fromkeys(spared))  # type: ignore[arg-type]  # importing such a name raises ImportError, as expected
        for name in names:
            importlib.import_module(name)
    finally:
        for name in spared:
            sys.modules.pop(name, None)
        if collecting:
            gc.enable()


_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
"""Parameters of mallopt(3)."""


KEPT = 2**31 - 1
"""Bytes that may be free at the end of the heap before they are given back: as many as mallopt takes."""


LARGE = 2**30
"""Bytes from which on a block is mapped by itself, and given back when it is freed."""


STEP = 2**26
"""Bytes by which the heap grows."""


def keep_freed_memory() -> bool:
    """Tell the allocator of this process to keep what is freed, in one heap for all threads.

    For processes that paint plates and nothing else, as early as possible; those started from it as copies are told, too.

    Returns
    -------
    bool
        Whether there was someone to tell: glibc, so Linux alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    wishes = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, LARGE), (_TRIM_THRESHOLD, KEPT), (_TOP_PAD, STEP))
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(what, size) for what, size in wishes])
