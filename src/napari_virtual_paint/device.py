"""Which device paints, and how much memory it has free. Asked for, never guessed."""

from __future__ import annotations

import contextlib
import platform
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime import garbage

if TYPE_CHECKING:
    pass


LOCKS: dict[str, threading.Lock] = defaultdict(threading.Lock)
"""One lock a device kind: two paintings at once queue, they don't fight."""


@dataclass(frozen=True)
class Device:
    """A device that can paint."""

    kind: str
    """``cpu``, ``cuda`` or ``mps``, as torch names them."""
    name: str
    """What a person calls it."""
    free_memory: int
    total_memory: int
    """`free_memory` and `total_memory`: bytes, at the time of asking."""

    def __str__(self) -> str:
        gib = 1 << 30
        return f"{self.name} ({self.kind}, {self.free_memory / gib:.1f} of {self.total_memory / gib:.1f} GiB free)"


def available() -> tuple[str, ...]:
    """Return the kinds of device that this machine has, the fastest first."""
    import torch

    kinds = []
    if torch.cuda.is_available():
        kinds.append("cuda")
    if torch.backends.mps.is_available():
        kinds.append("mps")
    return (*kinds, "cpu")


def resolve(choice: str = "auto") -> Device:
    """Return the device for a choice.

    Parameters
    ----------
    choice
        ``auto`` takes the fastest there is: CUDA, then MPS, then CPU.

    Raises
    ------
    InputError
        If the requested device is missing: work never moves to the CPU silently.
    """
    kinds = available()
    if choice != "auto" and choice not in kinds:
        raise InputError(f"Device {choice!r} is not available here; choose one of auto, {', '.join(kinds)}.")
    return _describe(kinds[0] if choice == "auto" else choice)


def _describe(kind: str) -> Device:
    """Ask a device for its name and memory."""
    import torch

    memory = psutil.virtual_memory()
    if kind == "cuda":
        free, total = torch.cuda.mem_get_info()
        return Device("cuda", torch.cuda.get_device_name(), free, total)
    if kind == "mps":  # unified memory: what the driver holds already is not free
        total = torch.mps.recommended_max_memory()
        return Device("mps", "Apple GPU", max(total - torch.mps.driver_allocated_memory(), 0), total)
    return Device("cpu", platform.processor() or platform.machine() or "CPU", memory.available, memory.total)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on any device."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text or "not enough memory" in text)


def free_cache(kind: str) -> None:
    """Give a device's cached blocks back after memory ran out."""
    import torch

    garbage.collect()
    if kind == "cuda":
        torch.cuda.empty_cache()
    elif kind == "mps":
        torch.mps.empty_cache()


@contextlib.contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Limit torch to a number of CPU threads, on which the bits of some results depend; None leaves it alone."""
    import torch

    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def synchronize(kind: str) -> None:
    """Wait until a device has done what it was given."""
    import torch

    if kind == "cuda":
        torch.cuda.synchronize()
    elif kind == "mps":
        torch.mps.synchronize()


def reset_peak(kind: str) -> None:
    """Start counting a device's peak memory anew (the CPU's peak is the process's, from its start)."""
    import torch

    if kind == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_memory_mb(kind: str) -> float:
    """Return the peak memory in MB: on CUDA what was allocated since `reset_peak`, else the most the process ever held."""
    if kind == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    if sys.platform == "linux":
        # Not getrusage: on Linux its figure starts from that of the program that started this one.
        high = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if high:
            return int(high[1]) * 1024 / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
