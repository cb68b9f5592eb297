"""Counts in ImageJ's description that differ from the pages, more than 4 GB in one page, and units of each axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import UNKNOWN, PixelSize

DATA = (np.random.default_rng(0).random((12, 8, 9)) * 4000).astype(np.uint16)


def save(path: Path, counts: str, pages: int = 12, **options: object) -> Path:
    description = "ImageJ=1.53q\n" + "".join(f"{line}\n" for line in counts.split())
    tifffile.imwrite(path, DATA[:pages], photometric="minisblack", description=description, metadata=None, contiguous=False, **options)
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == pages
    return path


COUNTS = [
    ("images=4 frames=4 hyperstack=true", (12, 1, 1), "12 time points"),
    ("images=4 slices=4", (1, 1, 12), "12 z-planes"),
    ("images=4 channels=4", (1, 12, 1), "12 channels"),
    ("images=6 channels=2 slices=3 hyperstack=true", (1, 2, 6), "6 z-planes"),
    ("images=8 channels=2 slices=2 frames=2 hyperstack=true", (3, 2, 2), "3 time points"),
]


@pytest.mark.parametrize(("counts", "shape", "words"), COUNTS, ids=[each[0] for each in COUNTS])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_counts_too_few(tmp_path: Path, counts: str, shape: tuple, words: str, compression: str | None) -> None:
    stack = read(save(tmp_path / "a.tif", counts, compression=compression))
    assert stack.shape[:3] == shape
    # ImageJ counts channels fastest, then planes, then time points.
    expected = DATA.reshape(shape[0], shape[2], shape[1], 8, 9).swapaxes(1, 2)
    assert np.array_equal(np.asarray(stack.data), expected)
    assert f"it has 12 pages; all of them were read, as {words}" in stack.notes[0]


@pytest.mark.parametrize(
    "counts", ["images=12", "images=5", "", "images=12 slices=12", "images=12 channels=3 frames=4", "images=1 frames=1"]
)
def test_counts_that_are_right_or_absent(tmp_path: Path, counts: str) -> None:
    stack = read(save(tmp_path / "a.tif", counts))
    assert np.prod(stack.shape[:3]) == 12
    assert stack.notes == ()


def test_counts_that_do_not_divide(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="counts 5 channels x 2 time points but it has 12 pages, which can't be divided"):
        read(save(tmp_path / "a.tif", "images=10 channels=5 frames=2"))


TOO_MANY = ["images=12 frames=12", "images=1000000000 channels=1000000000", "channels=99999 slices=99999 frames=99999"]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("counts", TOO_MANY)
def test_counts_too_many(tmp_path: Path, counts: str, compression: str | None) -> None:
    for pages in (1, 5):
        with pytest.raises(ReadError, match=f"ImageJ description counts .* but it holds {pages}"):
            read(save(tmp_path / f"{pages}.tif", counts, pages, compression=compression))


@pytest.mark.parametrize("counts", ["frames=0", "slices=-3", "channels=many"])
def test_counts_that_are_no_numbers(tmp_path: Path, counts: str) -> None:
    with pytest.raises(ReadError, match="its ImageJ description has"):
        read(save(tmp_path / "a.tif", counts))


def test_all_planes_behind_one_page(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    description = "ImageJ=1.53q\nimages=12\nslices=12\n"
    tifffile.imwrite(path, DATA[0], photometric="minisblack", description=description, metadata=None, byteorder=">")
    with tifffile.TiffFile(path) as tif:
        end = tif.pages[0].dataoffsets[0] + DATA[0].nbytes
    with path.open("r+b") as file:
        assert file.seek(0, 2) == end
        file.write(DATA[1:].astype(">u2").tobytes())
    stack = read(path)
    assert np.array_equal(np.asarray(stack.data)[0, 0], DATA)
    with path.open("r+b") as file:
        file.truncate(end + 3 * DATA[0].nbytes)
    with pytest.raises(ReadError, match="counts 12 z-planes but it holds 4"):
        read(path)


UNITS = [
    ("unit=micron spacing=2", PixelSize(2, 0.2, 0.1)),
    ("unit=\\u00B5m spacing=2", PixelSize(2, 0.2, 0.1)),
    ("unit=um yunit=nm zunit=mm spacing=2", PixelSize(2000, 0.0002, 0.1)),
    ("unit=nm spacing=300", PixelSize(0.3, 0.0002, 0.0001)),
    ("xunit=micron yunit=micron zunit=nm spacing=300", PixelSize(0.3, 0.2, 0.1)),
    ("unit=inch spacing=1", PixelSize(25400, 5080, 2540)),
    ("unit=inches spacing=1", PixelSize(25400, 5080, 2540)),
    ("unit=um yunit=pixel spacing=2", PixelSize(2, None, 0.1)),
    ("unit=pixel spacing=2", UNKNOWN),
    ("spacing=2", UNKNOWN),
]


@pytest.mark.parametrize(("lines", "expected"), UNITS, ids=[each[0] for each in UNITS])
def test_units_of_each_axis(tmp_path: Path, lines: str, expected: PixelSize) -> None:
    found = read(save(tmp_path / "a.tif", f"images=12 slices=12 {lines}", resolution=(10, 5))).pixel_size
    assert [value is None for value in found] == [value is None for value in expected]
    assert [value for value in found if value] == pytest.approx([value for value in expected if value])
