"""Writing with progress, and cancelled between two pieces."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import steps
from napari_virtual_paint.writing.steps import write_steps

PIXELS = np.random.default_rng(0).random((2, 3, 2, 40, 50), np.float32)


@pytest.mark.parametrize("name", ["a.ome.tif", "a.ome.zarr"])
@pytest.mark.parametrize("data", [PIXELS, da.from_array(PIXELS, chunks=(1, 3, 1, 20, 50))], ids=["numpy", "dask"])
def test_the_image_is_the_one_that_was_given(tmp_path: Path, name: str, data: object) -> None:
    seen = []
    path = run_to_end(write_steps(Stack(data, ("a", "b", "c"), PixelSize(2.0, 0.5, 0.5)), tmp_path / name), seen.append)
    saved = read(path)
    np.testing.assert_array_equal(saved.compute().data, PIXELS)
    assert saved.channels == ("a", "b", "c")
    assert saved.pixel_size == (2.0, 0.5, 0.5)
    assert all(0 <= each.done <= each.total == PIXELS.size for each in seen)
    assert [each.done for each in seen] == sorted(each.done for each in seen)


@pytest.mark.parametrize("name", ["a.ome.tif", "a.ome.zarr"])
def test_nothing_is_left_after_a_cancel(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "POLL", 0.01)
    read_so_far: list[int] = []

    class Slow:
        shape, dtype, ndim = PIXELS.shape, PIXELS.dtype, PIXELS.ndim

        def __getitem__(self, key: object) -> np.ndarray:
            read_so_far.append(1)
            while len(read_so_far) > 2 and not cancelled:
                pass
            return PIXELS[key]

    cancelled: list[bool] = []
    stack = Stack(da.from_array(Slow(), chunks=(1, 1, 1, -1, -1), name=False, asarray=False), ("a", "b", "c"))
    work = write_steps(stack, tmp_path / name)
    while len(read_so_far) < 3:
        next(work)
    cancelled.append(True)
    work.close()
    assert list(tmp_path.iterdir()) == []
    assert len(read_so_far) < 12, "it went on to the last plane"
