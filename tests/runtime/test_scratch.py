"""Scratch arrays in memory and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.runtime import scratch
from napari_virtual_paint.runtime.scratch import file_backed_zeros, in_memory, zeros


def test_small_arrays_lie_in_memory_and_large_ones_in_an_unnamed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = zeros((2, 3), tmp_path)
    assert not isinstance(small, np.memmap)
    monkeypatch.setattr(scratch, "SHARE_OF_MEMORY", 0.0)
    large = zeros((2, 3), tmp_path)
    assert isinstance(large, np.memmap)
    assert large.dtype == small.dtype == np.float32
    large[1] = 4
    assert large.tolist() == [[0, 0, 0], [4, 4, 4]]
    assert list(tmp_path.iterdir()) == []


def test_passes_go_to_the_disk_earlier() -> None:
    assert in_memory(1000)
    assert in_memory(1000, passes=True)
    assert not in_memory(scratch.PASSES + 1, passes=True)


def test_a_folder_that_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="of disk space"):
        file_backed_zeros((2, 3), tmp_path / "absent")
