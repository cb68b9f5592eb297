"""Shards written without zarr are those that zarr writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import ngff

zarr = pytest.importorskip("zarr", minversion="3.0")


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.bool_, np.int8, np.dtype(">f4")])
def test_zarr_reads_what_was_written_and_would_write_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any) -> None:
    monkeypatch.setattr(ngff, "CHUNK", 16)
    monkeypatch.setattr(ngff, "SHARD", 64)
    pixels = np.random.default_rng(0).normal(0, 60, (2, 3, 2, 70, 150)).astype(dtype)
    pixels[0, 1, 0] = 0  # a plane of which nothing is stored
    pixels[1, 2, 1, 16:32, 16:64] = 0  # chunks
    pixels[..., 64:, 128:] = 0  # a shard at the edge
    ngff.write_zarr(Stack(pixels), tmp_path / "ours", "image", "0.5", packed=True)
    ours = zarr.open_group(tmp_path / "ours", mode="r")
    theirs = zarr.open_group(tmp_path / "theirs", mode="w", zarr_format=3)
    for name, array in ours.arrays():
        if name == "0":
            np.testing.assert_array_equal(array[:], pixels)
        copy = zarr.create_array(
            theirs.store,
            name=name,
            shape=array.shape,
            chunks=array.chunks,
            shards=array.shards,
            dtype=array.dtype,
            fill_value=0,
            compressors=array.compressors,
        )
        copy[:] = array[:]
        assert names(tmp_path / "ours" / name) == names(tmp_path / "theirs" / name)
    assert "0/c/0/0/0/0/0" in names(tmp_path / "ours")
    assert "0/c/0/1/0/0/0" not in names(tmp_path / "ours")


def names(folder: Path) -> dict[str, int]:
    """Path and size of each file of pixels."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name != "zarr.json"
    }


def test_a_damaged_index_is_noticed(tmp_path: Path) -> None:
    ngff.write_zarr(Stack(np.ones((1, 1, 1, 8, 8), np.float32)), tmp_path / "image", "image", "0.5", packed=True)
    file = tmp_path / "image" / "0" / "c" / "0" / "0" / "0" / "0" / "0"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_group(tmp_path / "image", mode="r")["0"][:]
