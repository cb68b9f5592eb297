"""OME-TIFF and OME-Zarr as others read them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from napari_virtual_paint.errors import ReadError, WriteError
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import UNKNOWN, PixelSize, Stack
from napari_virtual_paint.writing import can_write, write
from napari_virtual_paint.writing.api import blockwise, can_write_blockwise
from napari_virtual_paint.writing.blocks import BlockReader, block_shape

HAS_ZARR = importlib.util.find_spec("zarr") is not None
needs_zarr = pytest.mark.skipif(not HAS_ZARR, reason="OME-Zarr is written by zarr, which is not installed")
SUFFIXES = [".ome.tif", pytest.param(".ome.zarr", marks=needs_zarr)]
RNG = np.random.default_rng(0)
PROVENANCE = {"model": "toy", "version": "1.0", "settings": {"blend": "exact", "tile": 256}, "device": "cpu", "input": "a.tif"}


def numbers(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return (RNG.random(shape) * 200).astype(dtype)


def full(data: np.ndarray | da.Array | None = None) -> Stack:
    data = numbers(2, 3, 4, 60, 90) if data is None else data
    return Stack(data, ("DNA", 'ER "µ" <&>', "AGP"), PixelSize(0.3, 0.2, 0.1), 2.5, "a.tif", provenance=PROVENANCE)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
def test_everything_comes_back(tmp_path: Path, suffix: str, dtype: str, lazy: bool) -> None:
    data = numbers(2, 3, 4, 60, 90) > 100 if dtype == "bool" else numbers(2, 3, 4, 60, 90, dtype=dtype)
    path = tmp_path / f"a{suffix}"
    assert write(full(da.from_array(data, chunks=(1, 2, 3, 40, 50)) if lazy else data), path) == path
    stack = read(path)
    assert stack.dtype == dtype
    assert np.array_equal(stack.data.compute(), data)
    assert stack.channels == ("DNA", 'ER "µ" <&>', "AGP")
    assert (stack.pixel_size, stack.time_interval, stack.rgb) == (PixelSize(0.3, 0.2, 0.1), 2.5, False)
    assert dict(stack.provenance or {}) == PROVENANCE
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_unknown_stays_unknown(tmp_path: Path, suffix: str) -> None:
    stack = read(write(Stack(numbers(1, 2, 1, 30, 40)), tmp_path / f"a{suffix}"))
    assert (stack.channels, stack.pixel_size, stack.time_interval, stack.provenance) == (None, UNKNOWN, None, None)
    partly = read(write(Stack(numbers(1, 1, 3, 30, 40), pixel_size=PixelSize(0.29)), tmp_path / f"b{suffix}"))
    assert partly.pixel_size == PixelSize(0.29, None, None)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_stay_colours(tmp_path: Path, suffix: str, samples: int, dtype: str) -> None:
    data = numbers(2, samples, 2, 40, 50, dtype=dtype)
    names = ("Red", "Green", "Blue", "Alpha")[:samples]
    stack = read(write(Stack(data, names, rgb=True), tmp_path / f"a{suffix}"))
    assert (stack.rgb, stack.channels) == (True, names)
    assert np.array_equal(stack.data.compute(), data)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (1, 1, 1, 1, 700), (1, 1, 1, 511, 513), (1, 1, 1, 1030, 3), (3, 1, 1, 17, 16)], ids=str)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_odd_sizes(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    data = numbers(*shape)
    assert np.array_equal(read(write(Stack(data), tmp_path / f"a{suffix}")).data.compute(), data)


@pytest.mark.parametrize(
    ("chunks", "order"), [((1, 3, 1, 60, 90), "XYCZT"), ((1, 1, 4, 60, 90), "XYZCT"), ((2, 3, 4, 60, 90), "XYZCT")], ids=str
)
def test_chunks_across_planes_are_computed_once(tmp_path: Path, chunks: tuple[int, ...], order: str) -> None:
    data = numbers(2, 3, 4, 60, 90)
    calls = []

    def count(block: np.ndarray) -> np.ndarray:
        calls.append(block.shape)
        return block

    lazy = da.from_array(data, chunks=chunks).map_blocks(count, dtype=data.dtype, meta=np.empty((0,) * 5, data.dtype))
    path = write(full(lazy), tmp_path / "a.ome.tif")
    assert len(calls) == lazy.npartitions
    with tifffile.TiffFile(path) as tif:
        assert f'DimensionOrder="{order}"' in tif.ome_metadata
    assert np.array_equal(read(path).data.compute(), data)


def test_pieces_stay_small() -> None:
    huge = da.zeros((2, 5, 3, 50000, 40000), chunks=(1, 5, 1, 1000, 40000), dtype=np.float32)
    assert block_shape(huge, 512) == (1, 1, 1, 1024, 40000)
    small = da.zeros((2, 5, 3, 1000, 1000), chunks=(1, 5, 3, 1000, 1000), dtype=np.float32)
    assert block_shape(small, 512) == (1, 5, 3, 1000, 1000)
    data = numbers(1, 2, 1, 1500, 7)
    window = BlockReader(data, 512)
    assert np.array_equal(np.concatenate([band for _, band in window.rows(0, slice(1, 2), 0)], axis=1), data[0, 1:2, 0])


def test_memory_stays_bounded(tmp_path: Path) -> None:
    script = (
        "import sys, dask.array as da\n"
        "from napari_virtual_paint.device import peak_memory_mb\n"
        "from napari_virtual_paint.stack import Stack\n"
        "from napari_virtual_paint.writing import write\n"
        "write(Stack(da.zeros((1, 1, 1, 64, 64), dtype='u1')), sys.argv[1] + '/warm.ome.tif')\n"
        "before = peak_memory_mb('cpu')\n"
        "write(Stack(da.zeros((36, 1, 1, 4096, 4096), chunks=(1, 1, 1, 4096, 4096), dtype='u1')), sys.argv[1] + '/a.ome.tif')\n"
        "print(peak_memory_mb('cpu') - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 300  # of 604 written


def test_ome_tiff_as_tifffile_and_the_schema_see_it(tmp_path: Path) -> None:
    data = numbers(2, 3, 4, 600, 530)
    path = write(full(data), tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert (tif.series[0].axes, tif.series[0].shape) == ("TCZYX", data.shape)
        assert np.array_equal(tif.asarray(), data)
        page = tif.pages[0]
        assert page.is_tiled
        assert page.compression == 8
        xml = tif.ome_metadata
    ome_types = pytest.importorskip("ome_types", reason="OME-XML is checked against its schema by ome_types")
    pytest.importorskip("xmlschema", reason="OME-XML is checked against its schema by xmlschema")
    image = ome_types.from_xml(xml, validate=True).images[0]
    assert [channel.name for channel in image.pixels.channels] == ["DNA", 'ER "µ" <&>', "AGP"]
    assert (image.pixels.physical_size_x, image.pixels.time_increment) == (0.1, 2.5)


def test_ome_tiff_as_bioio_or_aicsimageio_sees_it(tmp_path: Path) -> None:
    if importlib.util.find_spec("bioio") is not None:
        from bioio import BioImage as Image
    else:
        Image = pytest.importorskip("aicsimageio", reason="neither bioio nor aicsimageio is installed").AICSImage
    data = numbers(2, 3, 4, 60, 90)
    image = Image(write(full(data), tmp_path / "a.ome.tif"))
    assert np.array_equal(image.get_image_data("TCZYX"), data)
    assert [str(name) for name in image.channel_names] == ["DNA", 'ER "µ" <&>', "AGP"]
    assert tuple(image.physical_pixel_sizes) == (0.3, 0.2, 0.1)


def test_large_files_are_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_virtual_paint.writing.tiff._CLASSIC", 1000)
    path = write(full(), tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff
    assert read(path).shape == (2, 3, 4, 60, 90)


@needs_zarr
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_as_others_see_it(tmp_path: Path, version: str) -> None:
    import zarr

    if version == "0.5" and zarr.__version__ < "3":
        with pytest.raises(WriteError, match=r"0\.5 needs zarr 3"):
            write(full(), tmp_path / "a.ome.zarr", ome_zarr_version="0.5")
        assert not list(tmp_path.iterdir())
        return
    data = numbers(2, 3, 4, 700, 530)
    path = write(full(data), tmp_path / "a.ome.zarr", ome_zarr_version=version)
    assert np.array_equal(read(path).data.compute(), data)
    group = zarr.open_group(str(path), mode="r")
    assert [group[str(i)].shape[3:] for i in range(3)] == [(700, 530), (350, 265), (175, 133)]
    assert np.allclose(group["1"][0, 0, 0], data[0, 0, 0].reshape(350, 2, 265, 2).mean(axis=(1, 3)), atol=0.5)
    if importlib.util.find_spec("ome_zarr_models") is not None:
        from ome_zarr_models import open_ome_zarr

        assert f"v{version.replace('.', '')}" in type(open_ome_zarr(group)).__module__
    ome_zarr = pytest.importorskip("ome_zarr.reader", reason="compared with ome-zarr")
    from ome_zarr.io import parse_url

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        node = next(iter(ome_zarr.Reader(parse_url(str(path)))()))
    assert node.metadata["channel_names"] == ["DNA", 'ER "µ" <&>', "AGP"]
    assert node.metadata["coordinateTransformations"][0][0]["scale"] == [2.5, 1.0, 0.3, 0.2, 0.1]
    assert np.array_equal(np.asarray(node.data[0]), data)


@needs_zarr
def test_pixels_that_are_no_numbers_do_not_spoil_the_contrast(tmp_path: Path) -> None:
    data = numbers(1, 2, 1, 40, 50, dtype="float32")
    data[0, 0, 0, :5] = np.nan
    data[0, 1] = np.nan
    stack = read(write(Stack(data, ("a", "b")), tmp_path / "a.ome.zarr"))
    assert np.array_equal(stack.data.compute(), data, equal_nan=True)


@pytest.mark.parametrize(("dtype", "written"), [("float16", "float32"), ("int64", "int32"), ("uint64", "uint32")])
def test_types_that_ome_tiff_has_not_are_widened_or_narrowed_without_loss(tmp_path: Path, dtype: str, written: str) -> None:
    data = numbers(1, 1, 2, 20, 30, dtype=dtype)
    stack = read(write(Stack(data), tmp_path / "a.ome.tif"))
    assert stack.dtype == written
    assert np.array_equal(stack.data.compute(), data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (np.full((1, 1, 1, 4, 4), 2**40), "don't fit into int32; write OME-Zarr"),
        (np.ones((1, 1, 1, 4, 4), complex), "no pixels of type complex128"),
    ],
    ids=["int64", "complex"],
)
def test_types_that_ome_tiff_can_not_hold(tmp_path: Path, data: np.ndarray, reason: str) -> None:
    with pytest.raises(WriteError, match=reason) as error:
        write(Stack(data), tmp_path / "a.ome.tif")
    assert str(error.value).startswith(str(tmp_path / "a.ome.tif"))
    assert not list(tmp_path.iterdir())


@needs_zarr
@pytest.mark.parametrize("dtype", ["float16", "int64", "uint64"])
def test_ome_zarr_holds_every_number(tmp_path: Path, dtype: str) -> None:
    data = numbers(1, 1, 2, 20, 30, dtype=dtype)
    stack = read(write(Stack(data), tmp_path / "a.ome.zarr"))
    assert stack.dtype == dtype
    assert np.array_equal(stack.data.compute(), data)


def test_provenance_of_odd_values_is_written_as_text(tmp_path: Path) -> None:
    odd = {"path": Path("a"), "array": np.arange(2), "number": np.float32(0.5), "tuple": (1, 2), "control": "a\x00b\ud800"}
    stack = read(write(Stack(numbers(1, 1, 1, 8, 8), provenance=odd), tmp_path / "a.ome.tif"))
    assert stack.provenance is not None
    assert {key: stack.provenance[key] for key in ("path", "array", "number", "tuple")} == {
        "path": "a",
        "array": [0, 1],
        "number": 0.5,
        "tuple": [1, 2],
    }


def test_a_damaged_source_is_its_own_error(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbers(3, 40, 50), photometric="minisblack", compression="zlib")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[-500:-300] = bytes(200)
    (tmp_path / "a.tif").write_bytes(bytes(content))
    with pytest.raises(ReadError, match=r"a\.tif"):
        write(read(tmp_path / "a.tif"), tmp_path / "b.ome.tif")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(("name", "expected"), [("a.ome.tif", True), ("a.TIFF", True), ("a.zarr", True), ("a.png", False), ("a", False)])
def test_can_write(name: str, expected: bool) -> None:
    assert can_write(name) is expected


def test_a_suffix_of_no_format(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"use \.ome\.tif or \.ome\.zarr"):
        write(full(), tmp_path / "a.png")


def blocks(shape: tuple[int, ...], side: int):
    """Return the blocks of an image, the last one first."""
    corners = [(y, x) for y in range(0, shape[3], side) for x in range(0, shape[4], side)]
    return [(slice(None), slice(None), slice(None), slice(y, y + side), slice(x, x + side)) for y, x in reversed(corners)]


def test_an_image_written_block_by_block_is_the_same(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(0, 1, (2, 3, 2, 700, 1111)).astype(np.float32)
    stack = Stack(data, ("DNA", "ER", "AGP"), PixelSize(1.0, 0.5, 0.5), 3.0, provenance={"model": "toy"})
    whole = write(stack, tmp_path / "whole.ome.zarr")
    with blockwise(tmp_path / "blocks.ome.zarr", data.shape) as image:
        for where in blocks(data.shape, 512):
            image[where] = data[where]
        np.testing.assert_array_equal(image[0, 1], data[0, 1])
        image.finish(replace(stack, data=np.broadcast_to(np.float32(0), data.shape)))
    ours, theirs = ({path.relative_to(folder): path for path in folder.rglob("*")} for folder in (tmp_path / "blocks.ome.zarr", whole))
    assert ours.keys() == theirs.keys()
    for name, path in ours.items():
        if path.name in (".zattrs", ".zarray", ".zgroup", "zarr.json"):
            assert path.read_text().replace("blocks.ome.zarr", "whole.ome.zarr") == theirs[name].read_text()
    # Blosc may compress the same pixels to other bytes, so chunks are compared decoded.
    for level in range(len([path for path in whole.iterdir() if path.is_dir()])):
        one, other = (zarr.open(str(folder / str(level)), mode="r") for folder in (tmp_path / "blocks.ome.zarr", whole))
        assert np.array_equal(one[:], other[:]), level
    assert read(tmp_path / "blocks.ome.zarr").channels == ("DNA", "ER", "AGP")


@pytest.mark.parametrize("error", [RuntimeError("of painting"), ReadError("input.tif", "it is damaged"), KeyboardInterrupt()])
def test_nothing_is_left_of_an_image_whose_making_failed(tmp_path: Path, error: BaseException) -> None:
    def fill() -> None:
        with blockwise(tmp_path / "a.ome.zarr", (1, 1, 1, 600, 600)) as image:
            image[:, :, :, :512, :512] = np.ones((1, 1, 1, 512, 512), np.float32)
            raise error

    with pytest.raises(type(error)) as raised:
        fill()
    assert raised.value is error
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_is_not_finished_is_not_written(tmp_path: Path) -> None:
    before = write(Stack(np.ones((1, 1, 1, 5, 5), np.float32)), tmp_path / "a.ome.zarr")
    with pytest.raises(WriteError, match="not finished"), blockwise(before, (1, 1, 1, 9, 9), overwrite=True):
        pass
    assert read(before).shape == (1, 1, 1, 5, 5)
    assert list(tmp_path.iterdir()) == [before]


def test_a_block_that_can_not_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def fill() -> None:
        with blockwise(tmp_path / "a.ome.zarr", (1, 1, 1, 9, 9)) as image:
            monkeypatch.setattr(type(image._image), "__setitem__", full)
            image[:] = np.ones((1, 1, 1, 9, 9), np.float32)

    with pytest.raises(WriteError, match="No space left"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_only_ome_zarr_is_written_block_by_block(tmp_path: Path) -> None:
    assert can_write_blockwise("a.ome.zarr")
    assert not can_write_blockwise("a.ome.tif")
    with pytest.raises(WriteError, match=r"use \.ome\.zarr"), blockwise(tmp_path / "a.ome.tif", (1, 1, 1, 9, 9)):
        pass
