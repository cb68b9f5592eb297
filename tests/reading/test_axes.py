"""Axes that a user names, and plain arrays whose shape makes a reading unlikely."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.reading import open_images, read
from napari_virtual_paint.reading.axes import parse_axes, to_tczyx

RNG = np.random.default_rng(0)
SHAPE = {"T": 6, "C": 7, "Z": 8, "Y": 20, "X": 30}


def array(axes: str) -> np.ndarray:
    return RNG.integers(0, 4000, [SHAPE[axis] for axis in axes]).astype(np.uint16)


def expected(data: np.ndarray, axes: str) -> np.ndarray:
    ordered = data.transpose([axes.index(axis) for axis in "TCZYX" if axis in axes])
    return ordered[tuple(slice(None) if axis in axes else None for axis in "TCZYX")]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    "axes", [*("".join(each) for each in itertools.permutations("CYX")), "ZYX", "TYX", "TZYX", "ZCYX", "ZYXC", "TCZYX", "YX"]
)
def test_any_order_of_axes(tmp_path: Path, axes: str, compression: str | None) -> None:
    data = array(axes)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", compression=compression)
    stack = read(tmp_path / "a.tif", axes=axes)
    assert np.array_equal(np.asarray(stack.data), expected(data, axes))
    assert np.array_equal(pickle.loads(pickle.dumps(stack.data)).compute(), expected(data, axes))
    assert np.array_equal(np.asarray(stack.data[:, :, :, 3:9, 5:]), expected(data, axes)[:, :, :, 3:9, 5:])
    assert (stack.channels, stack.rgb, stack.notes) == (None, False, ())


@pytest.mark.parametrize("shape", [(64, 64, 2), (40, 50, 5), (3, 40, 50, 4), (100, 30, 2)])
def test_a_short_last_axis_is_channels(tmp_path: Path, shape: tuple) -> None:
    data = RNG.integers(0, 4000, shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    stack = read(tmp_path / "a.tif")
    assert np.array_equal(np.asarray(stack.data)[0], np.moveaxis(data, -1, 0).reshape(shape[-1], -1, *shape[-3:-1]))
    (note,) = stack.notes
    assert f"taken as {shape[-1]} channels" in note
    assert "ZYX" in note
    kept = read(tmp_path / "a.tif", axes="ZYX" if len(shape) == 3 else "TZYX")
    assert kept.shape[-2:] == shape[-2:]
    assert kept.notes == ()


def test_narrow_images_are_noted(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 64, 4), np.uint8), photometric="minisblack")
    stack = read(tmp_path / "a.tif")
    assert stack.shape == (1, 1, 3, 64, 4)
    assert "images of 4 columns (ZYX)" in stack.notes[0]


@pytest.mark.parametrize("shape", [(64, 64, 64), (5, 64, 64), (64, 64, 6), (64, 2)])
def test_likely_shapes_have_no_note(tmp_path: Path, shape: tuple) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), photometric="minisblack")
    stack = read(tmp_path / "a.tif")
    assert stack.notes == ()
    assert stack.shape[-2:] == shape[-2:]


@pytest.mark.parametrize("axes", ["YXC", "CYX", "ZYX"])
def test_axes_that_tifffile_notes_are_stated(tmp_path: Path, axes: str) -> None:
    data = RNG.integers(0, 99, (9, 10, 12)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", metadata={"axes": axes})
    assert np.array_equal(np.asarray(read(tmp_path / "a.tif").data), expected(data, axes))
    assert read(tmp_path / "a.tif", axes=axes).shape == read(tmp_path / "a.tif").shape
    with pytest.raises(ReadError, match="contradicts TYX"):
        read(tmp_path / "a.tif", axes="TYX")


@pytest.mark.parametrize(("options", "wrong"), [({"ome": True}, "ZYX"), ({"imagej": True}, "ZYX"), ({"ome": True}, "CZYX")])
def test_axes_that_contradict_the_metadata(tmp_path: Path, options: dict, wrong: str) -> None:
    data = RNG.integers(0, 99, (3, 20, 30)).astype(np.uint16)
    path = tmp_path / ("a.ome.tif" if "ome" in options else "a.tif")
    tifffile.imwrite(path, data, metadata={"axes": "CYX"}, **options)
    assert read(path, axes="CYX").shape == (1, 3, 1, 20, 30)
    if wrong == "CZYX":
        assert read(path, axes=wrong).shape == (1, 3, 1, 20, 30)  # a z of length 1 may be named
    else:
        with pytest.raises(ReadError, match=f"contradicts {wrong}"):
            read(path, axes=wrong)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colours_as_channels(tmp_path: Path, suffix: str) -> None:
    data = RNG.integers(0, 255, (20, 30, 3)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    iio.imwrite(path, data) if suffix == ".png" else tifffile.imwrite(path, data, photometric="rgb")
    assert read(path).rgb
    assert read(path, axes="YXS").rgb
    stack = read(path, axes="YXC")
    assert (stack.rgb, stack.channels, stack.shape) == (False, None, (1, 3, 1, 20, 30))
    assert np.array_equal(np.asarray(stack.data)[0, :, 0], np.moveaxis(data, 2, 0))
    assert np.array_equal(np.asarray(read(path, axes="YXZ").data)[0, 0], np.moveaxis(data, 2, 0))
    with pytest.raises(ReadError, match="its array has 3 axes"):
        read(path, axes="YX")


@pytest.mark.parametrize("wrong", ["ZYX", "CYX", "TXY"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_stated_colours_are_no_columns(tmp_path: Path, suffix: str, wrong: str) -> None:
    path = tmp_path / f"a{suffix}"
    data = np.zeros((20, 30, 3), np.uint8)
    iio.imwrite(path, data) if suffix == ".png" else tifffile.imwrite(path, data, photometric="rgb")
    with pytest.raises(ReadError, match=f"an image in color \\(YXS\\), which contradicts {wrong}"):
        read(path, axes=wrong)


def test_colours_that_the_file_does_not_state(tmp_path: Path) -> None:
    data = RNG.integers(0, 255, (20, 30, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", planarconfig=None, rowsperstrip=20)
    stack = read(tmp_path / "a.tif", axes="YXS")
    assert (stack.rgb, stack.channels) == (True, ("Red", "Green", "Blue"))
    assert np.array_equal(np.asarray(stack.data)[0, :, 0], np.moveaxis(data, 2, 0))


def test_axes_of_each_of_many_files(tmp_path: Path) -> None:
    data = {name: RNG.integers(0, 255, (20, 30, 2)).astype(np.uint8) for name in "12"}
    for name, pixels in data.items():
        tifffile.imwrite(tmp_path / f"a_z{name}.tif", pixels, photometric="minisblack")
    stack = read(tmp_path, axes="YXC")
    assert stack.shape == (1, 2, 2, 20, 30)
    assert np.array_equal(np.asarray(stack.data)[0, :, 1], np.moveaxis(data["2"], 2, 0))
    assert np.array_equal(pickle.loads(pickle.dumps(stack.data)).compute(), stack.data.compute())
    with pytest.raises(ReadError, match="its array has 3 axes"):
        read(tmp_path, axes="YX")


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ("", "nothing"),
        ("YXQ", "Q names no axis"),
        ("YYX", "Y is named twice"),
        ("ZX", "Y is missing"),
        ("CZ", "Y and X is missing"),
        ("Y,X", ","),
    ],
)
def test_what_is_no_axes(tmp_path: Path, axes: str, reason: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint8))
    with pytest.raises(InputError, match=reason):
        parse_axes(axes)
    with pytest.raises(InputError, match=reason):
        read(tmp_path / "a.tif", axes=axes)
    with pytest.raises(InputError, match=reason), open_images(tmp_path / "a.tif", axes=axes):
        pass


def test_samples_are_the_fastest_of_the_channels() -> None:
    data = np.arange(2 * 3 * 4 * 5).reshape(3, 4, 2, 5)  # S Y C X
    found = to_tczyx(data, "SYCX")
    assert found.shape == (1, 6, 1, 4, 5)
    assert np.array_equal(found[0, 4, 0], data[1, :, 1])
