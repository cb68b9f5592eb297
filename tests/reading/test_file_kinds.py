"""What a file is that is no image, in the sentence that refuses it."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import read


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


def npy() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros((4, 4)))
    return out.getvalue()


def archive(**entries: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return out.getvalue()


KINDS = {
    "safetensors": (safetensors(), "a safetensors file"),
    "pdf": (b"%PDF-1.7\n" + bytes(100), "a PDF document"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "mp4": (b"\0\0\0\x18ftypmp42" + bytes(100), "a film or picture"),
    "npy": (npy(), "a NumPy array"),
    "npz": (archive(**{"arr_0.npy": npy()}), "a NumPy archive"),
    "checkpoint": (archive(**{"model/data.pkl": b"x", "model/version": b"3"}), "a PyTorch checkpoint"),
    "package": (archive(**{"rdf.yaml": b"a: 1"}), "a bioimage.io package"),
    "office": (archive(**{"[Content_Types].xml": b"x"}), "an Office document"),
    "text": (b"Dear colleague,\nthe image is attached.\n", "a text file"),
    "utf-8": ("Für µm und Å\n".encode(), "a text file"),
    "html": (b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>", "a web page"),
    "json": (b'{"a": [1, 2]}', "a JSON file"),
    "xml": (b'<?xml version="1.0"?><a/>', "an XML file"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "a pointer of Git LFS"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "a gzip archive"),
    "apple double": (b"\0\x05\x16\x07" + bytes(100), "the notes that macOS keeps"),
}


@pytest.mark.parametrize("suffix", [".tif", ".czi", ".png", ".nd2", ".lif", ".xyz", ""])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_image_is_called_what_it_is(tmp_path: Path, kind: str, suffix: str) -> None:
    content, name = KINDS[kind]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=f"is {name}") as error:
        read(path)
    assert "it is damaged;" not in str(error.value)
    assert str(error.value).startswith(str(path))


def test_sqlite(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.sqlite") as database:
        database.execute("CREATE TABLE a (b)")
    with pytest.raises(ReadError, match="an SQLite database"):
        read(tmp_path / "a.sqlite")


@pytest.mark.parametrize("suffix", [".tif", ".czi", ".png", ".nd2", ".lif", ".xyz"])
def test_empty_files(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").touch()
    with pytest.raises(ReadError, match=r"it is empty \(0 bytes\)"):
        read(tmp_path / f"a{suffix}")
