"""Zipped OME-Zarr: read through zarr's own store, and hostile archives refused by their declared sizes."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import can_read, read, scenes

zarr = pytest.importorskip("zarr", reason="OME-Zarr is read by zarr (extra formats or aicsimageio)")
DATA = (np.random.default_rng(0).random((2, 30, 40)) * 4000).astype(np.uint16)


def image(folder: Path) -> Path:
    """Write an OME-Zarr 0.4, its chunks as plain bytes."""
    (folder / "0" / "0" / "0").mkdir(parents=True)
    meta = {"zarr_format": 2, "shape": [2, 30, 40], "chunks": [1, 30, 40], "dtype": "<u2", "compressor": None, "fill_value": 0}
    meta |= {"order": "C", "filters": None, "dimension_separator": "/"}
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    multiscales = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    (folder / ".zattrs").write_text(json.dumps({"multiscales": multiscales}))
    (folder / "0" / ".zarray").write_text(json.dumps(meta))
    for c in range(2):
        (folder / "0" / str(c) / "0").mkdir(parents=True, exist_ok=True)
        (folder / "0" / str(c) / "0" / "0").write_bytes(DATA[c].tobytes())
    return folder


def zipped(folder: Path, path: Path, top: str = "", compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{top}{file.relative_to(folder)}")
    return path


@pytest.mark.parametrize("name", ["a.ozx", "a.zarr.zip", "a.ome.zarr.zip", "a.zip", "no_suffix"])
@pytest.mark.parametrize("top", ["", "a.zarr/", "deep/er/a.zarr/"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zipped_image(tmp_path: Path, name: str, top: str, compression: int) -> None:
    path = zipped(image(tmp_path / "folder"), tmp_path / name, top, compression)
    stack = read(path)
    assert np.array_equal(stack.data.compute()[0, :, 0], DATA)
    assert stack.source == str(path)
    assert scenes(path) == [""]
    assert can_read(path) == name.endswith((".ozx", ".zarr.zip"))
    assert np.array_equal(pickle.loads(pickle.dumps(stack.data)).compute(scheduler="synchronous")[0, :, 0], DATA)


def test_a_zip_of_something_says_of_what(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.tif", b"II*\0")
        archive.writestr("b.tif", b"II*\0")
    with pytest.raises(ReadError, match=r"a ZIP archive of 2 files \(a\.tif, b\.tif\), not an image that can be read; unpack it") as error:
        read(tmp_path / "a.zip")
    assert "damaged" not in str(error.value)


@pytest.mark.parametrize("entry", [".zattrs", "0/0/0/0", "other"])
def test_a_zip_bomb_is_refused_before_it_is_inflated(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "a.zip"
    folder = image(tmp_path / "folder")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in folder.rglob("*"):
            if file.is_file() and str(file.relative_to(folder)) != entry:
                archive.write(file, str(file.relative_to(folder)))
        with archive.open(entry, "w", force_zip64=True) as bomb:
            for _ in range(300):
                bomb.write(bytes(2**20))
    with pytest.raises(ReadError, match="unpacks to"):
        read(path)


def test_a_newer_version_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.ozx", "w") as archive:
        attributes = {"ome": {"version": "0.6", "multiscales": []}}
        archive.writestr("zarr.json", json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
    with pytest.raises(ReadError, match=r"it is OME-Zarr 0\.6, newer than 0\.5"):
        read(tmp_path / "a.ozx")
