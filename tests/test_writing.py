"""What is written comes back whole, with all that is known of it; a run that fails or is killed leaves what was there before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import dask.array as da
import numpy as np
import pytest

from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write

SUFFIXES = ["ome.tif", "ome.zarr"]


def example(dtype="float32", shape=(2, 3, 4, 40, 36)):
    data = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    provenance = {"model": "some-model", "version": "1.0", "settings": {"tile": 64}, "device": "cpu", "input": "field.tif"}
    return Stack(data, ("DNA", "ER", "Mito")[: shape[1]], PixelSize(1.5, 0.25, 0.25), 30.0, provenance=provenance)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pixels_and_what_is_known_come_back(tmp_path, suffix, dtype):
    stack = example(dtype)
    path = write(stack, tmp_path / f"image.{suffix}")
    back = read(path)
    np.testing.assert_array_equal(np.asarray(back.data), stack.data)
    assert back.dtype == stack.dtype
    assert back.channels == stack.channels
    assert back.pixel_size == pytest.approx(stack.pixel_size)
    assert back.time_interval == pytest.approx(30.0)
    assert dict(back.provenance or {}) == dict(stack.provenance)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "nothing else is left in the folder"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_unknown_stays_unknown(tmp_path, suffix):
    path = write(Stack(np.zeros((1, 1, 1, 20, 20), np.uint8)), tmp_path / f"image.{suffix}")
    back = read(path)
    assert back.pixel_size == PixelSize(None, None, None)
    assert back.time_interval is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_there_is_replaced_only_when_asked(tmp_path, suffix):
    path = write(example("uint8"), tmp_path / f"image.{suffix}")
    with pytest.raises(WriteError, match="image"):
        write(example("uint16"), path)
    assert read(path).dtype == np.uint8
    write(example("uint16"), path, overwrite=True)
    assert read(path).dtype == np.uint16


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pixels_that_can_not_be_had_leave_nothing_behind(tmp_path, suffix):
    def broken(block):
        raise OSError("the disk is gone")

    data = da.zeros((1, 1, 2, 64, 64), chunks=(1, 1, 1, 64, 64), dtype="uint8").map_blocks(broken, dtype="uint8")
    with pytest.raises(WriteError, match="image"):
        write(Stack(data), tmp_path / f"image.{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_that_names_no_format_is_one_sentence(tmp_path):
    with pytest.raises(WriteError, match=r"use \.ome\.tif or \.ome\.zarr"):
        write(example(), tmp_path / "image.bmp")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_kill_leaves_the_old_image_whole(tmp_path, suffix):
    path = write(example("uint8"), tmp_path / f"image.{suffix}")
    code = (
        "import sys, time, numpy as np, dask.array as da\n"
        "from napari_virtual_paint.stack import Stack\n"
        "from napari_virtual_paint.writing import write\n"
        "def slow(block, block_info=None):\n"
        "    print('busy', flush=True); time.sleep(0.3); return block\n"
        "zeros = da.zeros((40, 1, 1, 64, 64), chunks=(1, 1, 1, 64, 64), dtype='uint8')\n"
        "data = zeros.map_blocks(slow, dtype='uint8', meta=np.zeros((0,) * 5, 'uint8'))\n"
        "write(Stack(data), sys.argv[1], overwrite=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline()
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    back = read(path)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(np.asarray(back.data), example("uint8").data)
    write(example("uint16"), path, overwrite=True)
    assert read(path).dtype == np.uint16
