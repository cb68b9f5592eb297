"""What a device tells about itself."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from napari_virtual_paint.device import peak_memory_mb


def test_peak_memory_is_this_process_own() -> None:
    held = np.ones(300_000_000, np.uint8)
    script = "from napari_virtual_paint.device import peak_memory_mb; print(peak_memory_mb('cpu'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    if sys.platform == "linux":
        # A process that is started by a large one begins small.
        assert float(done.stdout) < held.nbytes / 1e6
    assert peak_memory_mb("cpu") >= held.nbytes / 1e6


def test_peak_memory_stays_when_memory_is_given_back() -> None:
    # In a process of its own: a test of plates may have told this one's allocator to keep freed memory.
    script = """
import numpy as np, psutil
from napari_virtual_paint.device import peak_memory_mb
held = np.ones(100_000_000, np.uint8)
peak = peak_memory_mb("cpu")
del held
print(peak, peak_memory_mb("cpu"), psutil.Process().memory_info().rss / 1e6)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    peak, after, held = map(float, done.stdout.split())
    assert after == pytest.approx(peak, rel=0.01)
    assert held < peak - 50
