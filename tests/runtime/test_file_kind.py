"""What a file is, by its contents: files that other libraries write, and the first bytes of formats whose libraries are not here."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.runtime.file_kind import HEAD, file_kind, kind_of_bytes

STARTS = {
    "png": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "tiff": b"II*\0\x08\0\0\0",
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(600),
    "keras": b"\x89HDF\r\n\x1a\n" + bytes(600) + b"keras_version",
    "saved_model": b"\x08\x01\x12\xb4\xe8\x0b\x0a\x10",
    "graph_def": b"\x0a\x1d\x0a\x05input\x12\x0bPlaceholder*\x0b",
    "onnx": b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x90",
    "tflite": b"\x1c\0\0\0TFL3" + bytes(20),
    "html": b"\n <!DOCTYPE html>\n<html><head><title>404</title>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n",
    "annex": b"/annex/objects/MD5E-s12--abc.pt\n",
    "xml": b'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"></OME>',
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "pdf": b"%PDF-1.7\n",
    "text": "\ufeffEin Satz über Zellen, kein Bild.\n".encode(),
    "script": b"#!/bin/sh\nexit 0\n",
    "program": b"\x7fELF\x02\x01\x01\0",
    "dicom": bytes(128) + b"DICM\x02\0",
    "czi": b"ZISRAWFILE\0\0" + bytes(30),
    "lif": b"p\0\0\0\x2a\x10\0\0*\x08\0\0<\0",
    "parquet": b"PAR1\x15\x04",
    "zeros": bytes(5000),
    "empty": b"",
}


@pytest.mark.parametrize("key", STARTS)
def test_first_bytes(key: str) -> None:
    found = kind_of_bytes(STARTS[key])
    assert found is not None
    assert found.key == key


@pytest.mark.parametrize("data", [np.random.default_rng(3).bytes(3000), b"\x01\x02\x03\x04" * 10, b"abc\x00def\x01"])
def test_bytes_of_no_kind_are_none(data: bytes) -> None:
    assert kind_of_bytes(data) is None


@pytest.mark.parametrize("text", ["BM and other stains", "MZ,Well\n1,A01\n", "p = 3\n"])
def test_text_that_begins_like_a_binary_is_text(text: str) -> None:
    found = kind_of_bytes(text.encode())
    assert found is not None
    assert found.key == "text"


def test_a_long_text_is_told_though_a_letter_is_cut_in_two(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a" + "ü" * HEAD, "utf-8")
    found = file_kind(tmp_path / "a.txt")
    assert found is not None
    assert found.key == "text"


def safetensors(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


def torch_file(path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(2)}, path)


def torchscript(path: Path) -> None:
    import torch

    torch.jit.save(torch.jit.script(torch.nn.Conv2d(1, 1, 1)), path)


def archive(*names: str):
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, b"x")

    return write


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())


def database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table a (b)")
    connection.close()


WRITTEN = {
    "safetensors": safetensors,
    "checkpoint": torch_file,
    "torchscript": torchscript,
    "pickle": lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=4)),
    "npy": lambda path: np.save(path.open("wb"), np.zeros(3)),
    "npz": lambda path: np.savez(path.open("wb"), a=np.zeros(3), b=np.ones(2)),
    "gzip": lambda path: path.write_bytes(gzip.compress(b"x")),
    "tar": tar,
    "sqlite": database,
    "package": archive("model/rdf.yaml", "model/weights.pt"),
    "keras": archive("metadata.json", "config.json", "model.weights.h5"),
    "saved_model": archive("m/saved_model.pb", "m/variables/variables.index"),
    "zarr": archive("zarr.json", "0/zarr.json", "0/c/0"),
    "office": archive("[Content_Types].xml", "xl/workbook.xml"),
    "jar": archive("META-INF/MANIFEST.MF", "A.class"),
    "zip": archive("notes.txt", "cell.tif"),
}


@pytest.mark.parametrize("key", WRITTEN)
def test_files_as_their_libraries_write_them(key: str, tmp_path: Path) -> None:
    path = tmp_path / "file.dat"
    WRITTEN[key](path)
    found = file_kind(path)
    assert found is not None
    assert found.key == key
    assert found.words


def test_what_is_not_there_is_of_no_kind(tmp_path: Path) -> None:
    assert file_kind(tmp_path / "nothing") is None
    assert file_kind(tmp_path) is None
