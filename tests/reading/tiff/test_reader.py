"""TIFF in its many forms: what it tells survives, what it does not tell is None, and nothing is read before it is asked for."""

from __future__ import annotations

import logging
import pickle
import struct
import threading
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import read, scenes
from napari_virtual_paint.reading.formats import open_file
from napari_virtual_paint.stack import UNKNOWN, PixelSize

OLD = tifffile.__version__ < "2024"  # refuses circles itself, in other words
RNG = np.random.default_rng(0)
PLANE = (RNG.random((30, 50)) * 4000).astype(np.uint16)
DTYPES = ["bool", "uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"]


def pixels(stack) -> np.ndarray:
    return np.asarray(stack.data)


def planes(*lead: int) -> np.ndarray:
    return (RNG.random((*lead, 30, 50)) * 4000).astype(np.uint16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 32), "compression": "zlib"}, {"rowsperstrip": 7}], ids=str)
def test_every_type_of_pixel(tmp_path: Path, dtype: str, options: dict) -> None:
    if dtype == "bool" and options:
        options = {"rowsperstrip": 7}
    data = (PLANE > 2000) if dtype == "bool" else (PLANE / 40).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    stack = read(tmp_path / "a.tif")
    assert stack.dtype == dtype
    assert np.array_equal(pixels(stack)[0, 0, 0], data)
    assert (stack.channels, stack.pixel_size, stack.time_interval, stack.rgb) == (None, UNKNOWN, None, False)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_byte_orders_and_bigtiff(tmp_path: Path, byteorder: str, bigtiff: bool) -> None:
    data = planes(3)
    tifffile.imwrite(tmp_path / "a.tif", data, byteorder=byteorder, bigtiff=bigtiff, photometric="minisblack")
    stack = read(tmp_path / "a.tif")
    assert stack.dtype.isnative
    assert np.array_equal(pixels(stack)[0, 0], data)


def test_imagej_hyperstack(tmp_path: Path) -> None:
    data = planes(2, 4, 3)
    metadata = {"axes": "TZCYX", "unit": "\\u00B5m", "spacing": 0.5, "finterval": 2.5, "Labels": ["DNA", "ER", "AGP"] * 8}
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, resolution=(4, 5), metadata=metadata)
    stack = read(tmp_path / "a.tif")
    assert stack.channels == ("DNA", "ER", "AGP")
    assert stack.pixel_size == pytest.approx(PixelSize(0.5, 0.2, 0.25))
    assert stack.time_interval == 2.5
    assert np.array_equal(pixels(stack), data.swapaxes(1, 2))


@pytest.mark.parametrize(
    ("metadata", "resolution", "expected"),
    [
        ({"unit": "nm", "spacing": 300}, (0.01, 0.01), PixelSize(0.3, 0.1, 0.1)),
        ({"unit": "micron"}, (2, 2), PixelSize(None, 0.5, 0.5)),
        ({"unit": "pixel", "spacing": 2}, (1, 1), UNKNOWN),
        ({"spacing": 2}, (300, 300), UNKNOWN),
        ({"unit": "inch"}, (25400, 25400), PixelSize(None, 1.0, 1.0)),
    ],
    ids=["nm", "micron", "pixel", "no unit", "inch"],
)
def test_imagej_units(tmp_path: Path, metadata: dict, resolution: tuple, expected: PixelSize) -> None:
    tifffile.imwrite(tmp_path / "a.tif", planes(4), imagej=True, resolution=resolution, metadata={"axes": "ZYX", **metadata})
    found = read(tmp_path / "a.tif").pixel_size
    assert [value is None for value in found] == [value is None for value in expected]
    assert [value for value in found if value] == pytest.approx([value for value in expected if value])


@pytest.mark.parametrize("labels", [["c:1/2 z:1/1 - a", "c:2/2 z:1/1 - a"], ["same", "same"], ["only one"]], ids=str)
def test_imagej_labels_that_name_no_channel(tmp_path: Path, labels: list[str]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", planes(2), imagej=True, metadata={"axes": "CYX", "Labels": labels})
    assert read(tmp_path / "a.tif").channels is None


def test_imagej_inverting_table_leaves_intensities(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE, imagej=True, photometric="miniswhite")
    assert np.array_equal(pixels(read(tmp_path / "a.tif"))[0, 0, 0], PLANE)


def test_dots_per_inch_are_no_pixel_size(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE, resolution=(300, 300), resolutionunit="INCH", metadata=None)
    assert read(tmp_path / "a.tif").pixel_size == UNKNOWN


@pytest.mark.parametrize("axes", ["TCZYX", "TZCYX", "ZCTYX"])
def test_ome_tiff(tmp_path: Path, axes: str) -> None:
    lengths = {"T": 2, "C": 3, "Z": 4}
    data = planes(*(lengths[axis] for axis in axes[:3]))
    metadata = {
        "axes": axes,
        "PhysicalSizeX": 100,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.2,
        "PhysicalSizeZ": 1,
        "TimeIncrement": 2,
        "TimeIncrementUnit": "min",
        "Channel": {"Name": ["DNA", "ER µ", "AGP"]},
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata=metadata, compression="zlib")
    stack = read(tmp_path / "a.ome.tif")
    assert stack.channels == ("DNA", "ER µ", "AGP")
    assert stack.pixel_size == pytest.approx(PixelSize(1, 0.2, 0.1))
    assert stack.time_interval == 120
    assert np.array_equal(pixels(stack), np.moveaxis(data, [axes.index(axis) for axis in "TCZYX"], range(5)))


def test_ome_tiff_that_tells_little(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", planes(3), metadata={"axes": "CYX"})
    stack = read(tmp_path / "a.ome.tif")
    assert (stack.shape, stack.channels, stack.pixel_size, stack.time_interval) == ((1, 3, 1, 30, 50), None, UNKNOWN, None)


@pytest.mark.parametrize("xml", ["<OME", '<!DOCTYPE a [<!ENTITY b "c">]><OME>&b;</OME>', "<OME></OME>"])
def test_ome_xml_that_says_nothing_is_as_good_as_none(tmp_path: Path, xml: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE, description=xml, metadata=None)
    stack = read(tmp_path / "a.tif")
    assert stack.channels is None
    assert np.array_equal(pixels(stack)[0, 0, 0], PLANE)


def test_scenes_of_one_file(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tif:
        for name, size in (("first", 20), ("second", 30)):
            tif.write(np.full((size, size), size, np.uint8), metadata={"axes": "YX", "Name": name, "PhysicalSizeX": size})
    assert scenes(tmp_path / "a.ome.tif") == ["first", "second"]
    assert read(tmp_path / "a.ome.tif").shape[3] == 20
    for scene in (1, "second", "1"):
        stack = read(tmp_path / "a.ome.tif", scene=scene)
        assert (stack.shape[3], stack.pixel_size.x) == (30, 30)
    with pytest.raises(ReadError, match=r"no scene 'third'.*first, second"):
        read(tmp_path / "a.ome.tif", scene="third")


def test_ome_set_of_files_with_one_missing(tmp_path: Path) -> None:
    data = planes(2)
    for i, name in enumerate(("a.ome.tif", "b.ome.tif")):
        tifffile.imwrite(tmp_path / name, data[i], description=_set_xml(), metadata=None)
    assert np.array_equal(pixels(read(tmp_path / "a.ome.tif"))[0, :, 0], data)
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(ReadError, match=r"a\.ome\.tif: it belongs to a set of 2 files, of which b\.ome\.tif is missing"):
        read(tmp_path / "a.ome.tif")


def _set_xml() -> str:
    """OME-XML of two channels, each in a file of its own."""
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    root = ET.Element("OME", xmlns=namespace, UUID="urn:uuid:a")
    sizes = {"SizeX": "50", "SizeY": "30", "SizeC": "2", "SizeZ": "1", "SizeT": "1"}
    image = ET.SubElement(root, "Image", ID="Image:0")
    element = ET.SubElement(image, "Pixels", ID="Pixels:0", DimensionOrder="XYCZT", Type="uint16", **sizes)
    for i, name in enumerate("ab"):
        ET.SubElement(element, "Channel", ID=f"Channel:0:{i}", SamplesPerPixel="1")
        part = ET.SubElement(element, "TiffData", IFD="0", FirstC=str(i), PlaneCount="1")
        ET.SubElement(part, "UUID", FileName=f"{name}.ome.tif").text = f"urn:uuid:{name}"
    return ET.tostring(root, encoding="unicode")


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("samples", [3, 4])
def test_colours(tmp_path: Path, planar: str, samples: int) -> None:
    data = planes(samples)
    stored = data if planar == "separate" else np.moveaxis(data, 0, 2)
    extra = {"extrasamples": ["unassalpha"]} if samples == 4 else {}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, tile=(16, 16), compression="zlib", **extra)
    stack = read(tmp_path / "a.tif")
    assert stack.channels == ("Red", "Green", "Blue", "Alpha")[:samples]
    assert stack.rgb
    assert np.array_equal(pixels(stack)[0, :, 0], data)
    assert np.array_equal(np.asarray(stack.data[0, 1, 0, 5:17, 10:40]), data[1, 5:17, 10:40])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    data = (PLANE / 40).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, metadata=None, rowsperstrip=4, extratags=[(274, "H", 1, orientation, True)])
    with Image.open(tmp_path / "a.tif") as picture:
        expected = np.asarray(picture)
    stack = read(tmp_path / "a.tif")
    assert np.array_equal(pixels(stack)[0, 0, 0], expected)
    assert np.array_equal(np.asarray(stack.data[0, 0, 0, 3:11, 5:20]), expected[3:11, 5:20])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16"])
def test_white_as_zero_is_inverted(tmp_path: Path, dtype: str) -> None:
    data = PLANE > 2000 if dtype == "bool" else PLANE.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="miniswhite", metadata=None)
    expected = ~data if dtype == "bool" else np.iinfo(dtype).max - data
    assert np.array_equal(pixels(read(tmp_path / "a.tif"))[0, 0, 0], expected)


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [("ZYX", (4,), (1, 1, 4)), ("CYX", (4,), (1, 4, 1)), ("TZYX", (2, 3), (2, 1, 3)), (None, (4,), (1, 1, 4)), (None, (2, 3), (1, 2, 3))],
    ids=str,
)
def test_axes(tmp_path: Path, axes: str | None, shape: tuple, expected: tuple) -> None:
    tifffile.imwrite(tmp_path / "a.tif", planes(*shape), photometric="minisblack", metadata={"axes": axes} if axes else {})
    assert read(tmp_path / "a.tif").shape[:3] == expected


def test_more_axes_than_an_image_has(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", planes(2, 2, 2, 2), photometric="minisblack")
    with pytest.raises(ReadError, match="more than time, channel and z"):
        read(tmp_path / "a.tif")


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE.astype(np.complex64))
    with pytest.raises(ReadError, match="complex64, which is no intensity"):
        read(tmp_path / "a.tif")


def test_slices_equal_the_whole(tmp_path: Path) -> None:
    data = planes(2, 3, 4)
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata={"axes": "TCZYX"}, tile=(16, 16), compression="zlib")
    lazy = read(tmp_path / "a.ome.tif").data
    for key in [
        np.s_[:, ::-1, 1, ::2, 3:20:5],
        np.s_[1],
        np.s_[..., ::-1],
        np.s_[0, [2, 0], :, 4:9, -3:],
        np.s_[:, :, 3:1:-1],
        np.s_[0, 1, 2, 3, 4],
        np.s_[:, :, [3, 1, 1]],
        np.s_[:0],
    ]:
        assert np.array_equal(lazy[key].compute(), data[key])


def test_twenty_gigabytes_open_by_their_metadata(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, shape=(2500, 2048, 2048), dtype=np.uint16, bigtiff=True)
    with path.open("r+b") as file, tifffile.TiffFile(path) as tif:
        file.seek(tif.series[0].dataoffset + 2 * (2499 * 2048 * 2048 + 2047 * 2048 + 2047))
        file.write(struct.pack("<H", 7))
    stack = read(path)
    assert stack.shape == (1, 1, 2500, 2048, 2048)
    assert stack.data.chunksize == (1, 1, 1, 2048, 2048)
    assert stack.data[0, 0, -1, -2:, -2:].compute().tolist() == [[0, 0], [0, 7]]


def test_a_large_plane_comes_in_bands(tmp_path: Path) -> None:
    path = tmp_path / "wide.tif"
    tifffile.imwrite(path, shape=(60000, 60000), dtype=np.uint8, bigtiff=True)
    stack = read(path)
    assert np.prod(stack.data.chunksize) <= 64 * 2**20
    assert not stack.data[0, 0, 0, 59990:, :10].compute().any()


def test_tiles_left_out_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.full((32, 32), 9, np.uint8), tile=(16, 16), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        counts = tif.pages[0].tags["TileByteCounts"]
        counts.overwrite([0, *counts.value[1:]])
    expected = np.full((32, 32), 9)
    expected[:16, :16] = 0
    assert np.array_equal(pixels(read(path))[0, 0, 0], expected)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}], ids=["strips", "tiles"])
def test_a_header_of_a_million_by_a_million(tmp_path: Path, compression: str | None, layout: dict) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), compression=compression, metadata=None, **layout)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tags = tif.pages[0].tags
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            if name in tags:
                tags[name].overwrite(10**6, dtype="I")
    with pytest.raises(ReadError, match=r"claims|would end"):
        read(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_billion_channels(tmp_path: Path, planar: str, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    data = planes(3) if planar == "separate" else np.moveaxis(planes(3), 0, 2)
    tifffile.imwrite(path, data, photometric="rgb", planarconfig=planar, compression=compression, metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[0].tags["SamplesPerPixel"].overwrite(10**9, dtype="I")
    with pytest.raises(ReadError, match=r"claims|would end"):
        read(path)


@pytest.mark.parametrize("to", [0, 1, 2])
def test_pages_that_lead_in_a_circle(tmp_path: Path, to: int) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes(3), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as tif:
        offsets = [page.offset for page in tif.pages]
    content = bytearray(path.read_bytes())
    count = struct.unpack_from("<H", content, offsets[2])[0]
    struct.pack_into("<I", content, offsets[2] + 2 + 12 * count, offsets[to])
    path.write_bytes(content)
    with pytest.raises(ReadError, match="it has no end" if not OLD else r"a\.tif"):
        read(path)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 5}], ids=["raw", "zlib"])
def test_cut_off_files(tmp_path: Path, options: dict) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes(3), metadata=None, photometric="minisblack", **options)
    whole = path.read_bytes()
    for length in (0, 4, 9, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:length])
        with pytest.raises(ReadError) as error:
            read(path).data.compute()
        assert str(path) in str(error.value)
        assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"Dear colleague,\nthe image is attached.", "called a TIFF but is a text file"),
        (b"\x89PNG\r\n\x1a\n0000", "called a TIFF but is a PNG picture"),
        (b"\0\1\2\3\4", "called a TIFF but is not one"),
        (b"II*\0\x08\0\0\0", "TIFF without any picture"),
    ],
    ids=["empty", "text", "png", "bytes", "header"],
)
def test_no_tiff(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ReadError, match=reason):
        read(tmp_path / "a.tif")


def test_a_tiff_by_another_name(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.svs", PLANE)
    assert np.array_equal(pixels(read(tmp_path / "a.svs"))[0, 0, 0], PLANE)


def test_a_file_that_changed_meanwhile(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE)
    stack = read(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", planes(2))
    with pytest.raises(ReadError, match="changed since it was opened"):
        stack.data.compute()


def test_pickled_pixels_and_threads(tmp_path: Path) -> None:
    data = planes(6)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", compression="zlib", tile=(16, 16))
    stack = read(tmp_path / "a.tif")
    again = pickle.loads(pickle.dumps(stack.data))
    assert np.array_equal(again.compute(scheduler="synchronous")[0, 0], data)
    assert np.array_equal(stack.data.compute(scheduler="threads", num_workers=8)[0, 0], data)


def test_no_file_stays_open(tmp_path: Path) -> None:
    fds = Path("/proc/self/fd")
    if not fds.is_dir():
        pytest.skip("open files are counted in /proc, which this system has not")
    tifffile.imwrite(tmp_path / "a.ome.tif", planes(2, 2), metadata={"axes": "ZCYX"}, compression="zlib")
    stack = read(tmp_path / "a.ome.tif")
    stack.data.compute()
    assert not [fd for fd in fds.iterdir() if fd.exists() and fd.resolve() == (tmp_path / "a.ome.tif").resolve()]


def test_damage_is_told_once_and_only_to_the_reader(tmp_path: Path, shared_data: Path, caplog, recwarn) -> None:
    caplog.set_level(logging.DEBUG)
    for file in sorted((shared_data / "awkward_files").glob("crash-*.tif")):
        with pytest.raises(ReadError):
            read(file).data.compute()
    assert not [record for record in caplog.records if record.name.startswith("tifffile")]
    assert not [warning for warning in recwarn if "tifffile" in str(warning.filename)]
    noise = threading.Thread(target=lambda: logging.getLogger("tifffile").warning("from another thread"))
    noise.start()
    noise.join()
    assert "from another thread" in caplog.text


def pyramid(path: Path, whole: np.ndarray, **options: Any) -> list[np.ndarray]:
    """Write an OME-TIFF whose two smaller copies are SubIFDs; returns all sizes."""
    levels = [whole, whole[..., ::2, ::2], whole[..., ::4, ::4]]
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(levels[0], subifds=2, tile=(32, 32), **options)
        for level in levels[1:]:
            tif.write(level, subfiletype=1, tile=(16, 16), compression=options.get("compression"), photometric="minisblack")
    return levels


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pyramids_of_subifds(tmp_path: Path, compression: str | None) -> None:
    data = (RNG.random((2, 3, 128, 96)) * 4000).astype(np.uint16)
    options = {"compression": compression, "photometric": "minisblack", "metadata": {"axes": "ZCYX"}}
    levels = pyramid(tmp_path / "a.ome.tif", data, **options)
    with open_file(tmp_path / "a.ome.tif") as file:
        stack, coarser = file.read(), file.coarser()
    assert stack.shape == (1, 3, 2, 128, 96)
    assert [level.shape for level in coarser] == [(1, 3, 2, 64, 48), (1, 3, 2, 32, 24)]
    for found, expected in zip((stack.data, *coarser), levels, strict=True):
        np.testing.assert_array_equal(np.asarray(found)[0], expected.swapaxes(0, 1))
        again = pickle.loads(pickle.dumps(found))
        np.testing.assert_array_equal(np.asarray(again[0, 1, 0, 3:9, 5:7]), expected[0, 1, 3:9, 5:7])


def test_a_tiff_without_smaller_copies_has_none(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", planes(3), metadata={"axes": "CYX"})
    with open_file(tmp_path / "a.ome.tif") as file:
        assert file.coarser() == ()
