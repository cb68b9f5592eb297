"""Suffixes: one list in reading and writing, which napari's manifest repeats."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import can_read, open_images, read, scenes
from napari_virtual_paint.reading.formats import PICTURES, PLATE_INDEXES, ZIPPED, is_image_name
from napari_virtual_paint.reading.formats import SUFFIXES as READ
from napari_virtual_paint.reading.ome_xml import COMPANION
from napari_virtual_paint.writing.api import SUFFIXES

CONTRIBUTIONS = yaml.safe_load((files("napari_virtual_paint") / "napari.yaml").read_text("utf-8"))["contributions"]


def test_the_manifest_has_the_suffixes_that_are_read() -> None:
    patterns = next(each for each in CONTRIBUTIONS["readers"] if each["command"].endswith(".read"))["filename_patterns"]
    ends = (*set(READ).difference(PICTURES), *PLATE_INDEXES, *ZIPPED, COMPANION, ".zarr")
    assert sorted(patterns) == sorted(f"*{suffix}" for suffix in ends)
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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("a.tif", "a.OME.TIFF", "a.ozx", "a.zarr.zip", "a.companion.ome", "a.b.czi", "a.png")),
        *(
            (name, False)
            for name in ("._a.tif", ".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini", ".a.tif", "a.zip", "a.ome", "a", ".tif")
        ),
    ],
)
def test_names_of_images(name: str, expected: bool) -> None:
    assert is_image_name(name) is expected


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    for name in ("x_dna.tif", "x_er.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((4, 5), np.uint8))
        (tmp_path / f"._{name}").write_bytes(b"\0\x05\x16\x07" + bytes(100))
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "thumb_x.tif"):
        (tmp_path / name).write_bytes(b"x")
    assert read(tmp_path).channels == read(str(tmp_path / "*")).channels == ("dna", "er")
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "._a.tif").write_bytes(b"x")
    assert not can_read(tmp_path / "only")
    with pytest.raises(ReadError, match="the notes that macOS keeps"):
        read(tmp_path / "._x_dna.tif")


@pytest.mark.parametrize("folder", ["[exp] 2", "a*b", "what?", "[ab]/[cd]"])
def test_globs_below_folders_with_the_letters_of_patterns(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    for name in ("x_dna.tif", "x_er.tif"):
        tifffile.imwrite(tmp_path / folder / name, np.zeros((4, 5), np.uint8))
    assert read(str(tmp_path / folder / "x_*.tif")).channels == ("dna", "er")
    assert read(tmp_path / folder).channels == ("dna", "er")
    assert read(str(tmp_path / folder / "x_[de]*.tif")).channels == ("dna", "er")
    assert len(scenes(str(tmp_path / folder / "x_*.tif"))) == 1


def test_globs_of_folders(tmp_path: Path) -> None:
    for name in ("dna", "er"):
        (tmp_path / f"run_{name}").mkdir()
        tifffile.imwrite(tmp_path / f"run_{name}" / f"x_{name}.tif", np.zeros((4, 5), np.uint8))
    assert read(str(tmp_path / "run_*" / "x_*.tif")).channels == ("dna", "er")
    assert read(str(tmp_path / "run_d*" / "x_dna.tif")).shape == (1, 1, 1, 4, 5)
