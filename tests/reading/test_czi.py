"""Zeiss CZI in its forms, written and decoded by Zeiss' own library, which the reader does not use."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import read, scenes
from napari_virtual_paint.stack import PixelSize, Stack

pytest.importorskip("aicspylibczi", reason="CZI is read by aicspylibczi (extra formats or aicsimageio)")
rw = pytest.importorskip("pylibCZIrw.czi", reason="CZI is written for the tests by pylibCZIrw")
RNG = np.random.default_rng(0)


def colours(dtype: str, *lead: int) -> np.ndarray:
    """Return pixels (..., y, x, samples) as the file has them: blue, green, red."""
    return RNG.integers(0, np.iinfo(dtype).max, (*lead, 20, 30, 3)).astype(dtype)


def grey(*lead: int, dtype: str = "uint16") -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max, (*lead, 20, 30, 1)).astype(dtype)


def save(path: Path, planes: list[dict], *, scaled: bool = True, names: dict[int, str] | None = None) -> Path:
    with rw.create_czi(str(path)) as czi:
        for plane in planes:
            czi.write(**plane)
        sizes = {"scale_x": 1e-7, "scale_y": 2e-7, "scale_z": 3e-7} if scaled else {}
        czi.write_metadata("a", channel_names=names or {}, **sizes)
    return path


def assert_equals_libczi(stack: Stack, path: Path, scene: int | None = None) -> None:
    """Compare every plane with what Zeiss' library decodes, colours turned from blue, green, red."""
    pixels = np.asarray(stack.data)
    with rw.open_czi(str(path)) as czi:
        for t, z in np.ndindex(stack.shape[0], stack.shape[2]):
            planes = [czi.read(plane={"C": c, "T": t, "Z": z}, scene=scene) for c in czi.pixel_types]
            expected = np.concatenate([np.moveaxis(plane, 2, 0)[::-1] for plane in planes])
            assert np.array_equal(pixels[t, :, z], expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours(tmp_path: Path, dtype: str) -> None:
    data = colours(dtype, 2, 3)
    planes = [{"data": data[t, z], "plane": {"C": 0, "T": t, "Z": z}} for t in range(2) for z in range(3)]
    path = save(tmp_path / "a.czi", planes)
    stack = read(path)
    assert (stack.shape, stack.dtype, stack.rgb) == ((2, 3, 3, 20, 30), dtype, True)
    assert stack.channels == ("Red", "Green", "Blue")
    assert stack.pixel_size == pytest.approx(PixelSize(0.3, 0.2, 0.1))
    assert np.array_equal(np.asarray(stack.data)[:, 0], data[..., 2])
    assert np.array_equal(np.asarray(stack.data[1, 2, 2, 3:9, 4:]), data[1, 2, 3:9, 4:, 0])
    assert_equals_libczi(stack, path)
    again = pickle.loads(pickle.dumps(stack.data))
    assert np.array_equal(again.compute(scheduler="threads"), stack.data.compute())


@pytest.mark.parametrize("first", ["colours", "grey"])
def test_colours_and_grey_keep_their_depths(tmp_path: Path, first: str) -> None:
    planes = [{"data": colours("uint8")}, {"data": grey()}]
    planes = planes if first == "colours" else planes[::-1]
    path = save(tmp_path / "a.czi", [{**plane, "plane": {"C": c}} for c, plane in enumerate(planes)], names={0: "one", 1: "two"})
    stack = read(path)
    rgb = ("one Red", "one Green", "one Blue", "two") if first == "colours" else ("one", "two Red", "two Green", "two Blue")
    assert (stack.channels, stack.dtype, stack.rgb) == (rgb, "uint16", False)
    assert_equals_libczi(stack, path)


def test_scenes_of_other_sizes(tmp_path: Path) -> None:
    whole = grey(2)
    planes = [{"data": whole[c, : 20 - 8 * s, : 30 - 9 * s], "plane": {"C": c}, "scene": s, "location": (100 * s, 50 * s)}
              for s in range(2) for c in range(2)]  # fmt: skip
    path = save(tmp_path / "a.czi", planes, scaled=False)
    assert scenes(path) == ["Image:0", "Image:1"]
    for scene, size in ((0, (20, 30)), (1, (12, 21))):
        stack = read(path, scene=scene)
        assert stack.shape == (1, 2, 1, *size)
        assert stack.pixel_size == PixelSize(None, None, None)
        assert_equals_libczi(stack, path, scene)
    assert read(path).notes == ("a.czi holds 2 images (Image:0, Image:1); the first was read.",)


@pytest.mark.parametrize("kind", ["grey", "colours"])
def test_mosaics_are_put_together(tmp_path: Path, kind: str) -> None:
    tiles = grey(6) if kind == "grey" else colours("uint8", 6)
    places = [(30 * (i % 2) + (1000 if i > 3 else 0), 20 * (i % 4 // 2)) for i in range(6)]
    planes = [{"data": tiles[i], "plane": {"C": 0}, "location": places[i], "scene": int(i > 3)} for i in range(6)]
    path = save(tmp_path / "a.czi", planes)
    for scene, size in ((0, (40, 60)), (1, (20, 60))):
        stack = read(path, scene=scene)
        assert stack.shape[3:] == size
        assert_equals_libczi(stack, path, scene)
    part = read(path).data[0, 0, 0, 15:25, 25:40].compute()
    assert np.array_equal(part, np.asarray(read(path).data)[0, 0, 0, 15:25, 25:40])


def test_planes_that_are_not_there(tmp_path: Path) -> None:
    data = grey(4)
    places = [(0, 0), (0, 1), (0, 2), (1, 1)]
    path = save(tmp_path / "a.czi", [{"data": data[i], "plane": {"C": c, "Z": z}} for i, (c, z) in enumerate(places)])
    stack = read(path)
    assert stack.shape[:3] == (1, 2, 3)
    assert np.array_equal(stack.data[0, 1, 1].compute(), data[3, ..., 0])
    with pytest.raises(ReadError, match="it has no plane for T 0, C 1, Z 2"):
        stack.data[0, 1, 2].compute()


def test_pixels_of_a_kind_that_libczi_cannot_decode(tmp_path: Path) -> None:
    path = save(tmp_path / "a.czi", [{"data": RNG.random((20, 30, 1)).astype(np.float32), "plane": {"C": 0}}])
    assert read(path).dtype == np.float32
    content = path.read_bytes()
    assert content.count(b"DV\2\0\0\0") == 2
    path.write_bytes(content.replace(b"DV\2\0\0\0", b"DV\t\0\0\0"))  # 4-byte floats become colours with alpha
    with pytest.raises(ReadError, match=r"its kind of pixels \(Bgra32\) can't be decoded") as error:
        read(path).data.compute()
    assert "damaged" not in str(error.value)


def test_axes_that_contradict_the_file(tmp_path: Path) -> None:
    data = grey(2)
    path = save(tmp_path / "a.czi", [{"data": data[z], "plane": {"C": 0, "Z": z}} for z in range(2)])
    assert read(path, axes="ZYX").shape == read(path, axes="TCZYX").shape == (1, 1, 2, 20, 30)
    with pytest.raises(ReadError, match="contradicts CYX"):
        read(path, axes="CYX")
