"""Suffixes: one list in reading and writing, which napari's manifest repeats."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from napari_virtual_paint.reading import open_images
from napari_virtual_paint.reading.formats import PICTURES, PLATE_INDEXES
from napari_virtual_paint.reading.formats import SUFFIXES as READ
from napari_virtual_paint.writing.api import SUFFIXES

CONTRIBUTIONS = yaml.safe_load((files("napari_virtual_paint") / "napari.yaml").read_text("utf-8"))["contributions"]


def test_the_manifest_has_the_suffixes_that_are_read() -> None:
    patterns = next(each for each in CONTRIBUTIONS["readers"] if each["command"].endswith(".read"))["filename_patterns"]
    assert sorted(patterns) == sorted(f"*{suffix}" for suffix in (*set(READ).difference(PICTURES), *PLATE_INDEXES, ".zarr"))
    assert not any(f"*{suffix}" in patterns for suffix in PICTURES), "napari itself reads pictures"


def test_the_manifest_has_the_suffixes_that_are_written() -> None:
    assert sorted(suffix for writer in CONTRIBUTIONS["writers"] for suffix in writer["filename_extensions"]) == sorted(SUFFIXES)


def test_scenes_and_pixels_come_from_one_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint8))
    opened: list[str] = []
    original = tifffile.TiffFile.__init__

    def counted(self: tifffile.TiffFile, file: str, *arguments: object, **options: object) -> None:
        opened.append(file)
        original(self, file, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tifffile.TiffFile, "__init__", counted)
    with open_images(tmp_path / "a.tif") as images:
        assert images.scenes() == ["0"]
        assert images.read().shape == (1, 1, 1, 4, 5)
    assert opened == [str(tmp_path / "a.tif")]
