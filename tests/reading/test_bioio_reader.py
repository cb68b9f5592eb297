"""The microscopes' own files, checked against the makers' or formats' own libraries."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import read, scenes
from napari_virtual_paint.stack import UNKNOWN, PixelSize

WITH_BIOIO = importlib.util.find_spec("bioio") is not None
WITH_AICSIMAGEIO = importlib.util.find_spec("aicsimageio") is not None
needs_library = pytest.mark.skipif(
    not (WITH_BIOIO or WITH_AICSIMAGEIO), reason="ND2, CZI and LIF are read by bioio or aicsimageio; neither is installed"
)

# file, shape, channels, pixel size, time interval
VENDOR = [
    ("example-timelapse.nd2", (53, 1, 1, 64, 64), ("GFP 488 nm",), PixelSize(None, 0.325, 0.325), 0.50016),
    ("example-cerevisiae.nd2", (1, 2, 1, 256, 256), ("DIC", "FITC BP"), PixelSize(None, 0.108333, 0.108333), None),
    ("s_1_t_1_c_1_z_1.czi", (1, 1, 1, 325, 475), ("Bright",), PixelSize(None, 1.083333, 1.083333), None),
]


@needs_library
@pytest.mark.parametrize(("name", "shape", "channels", "size", "interval"), VENDOR, ids=[case[0] for case in VENDOR])
def test_vendor_files(shared_data: Path, name: str, shape: tuple, channels: tuple, size: PixelSize, interval: float | None) -> None:
    path = shared_data / "vendor_formats" / name
    stack = read(path)
    assert (stack.shape, stack.channels) == (shape, channels)
    assert stack.pixel_size.z is None
    assert stack.pixel_size[1:] == pytest.approx(size[1:], rel=1e-5)
    assert (stack.time_interval is None) == (interval is None)
    if interval is not None:
        assert stack.time_interval == pytest.approx(interval, rel=1e-4)
    assert len(scenes(path)) == 1


@needs_library
@pytest.mark.parametrize("name", ["example-timelapse.nd2", "example-cerevisiae.nd2"])
def test_nd2_pixels_as_nikons_format_library_reads_them(shared_data: Path, name: str) -> None:
    nd2 = pytest.importorskip("nd2", reason="compared with nd2")
    with nd2.ND2File(shared_data / "vendor_formats" / name) as file:
        expected = file.asarray()
    assert np.array_equal(read(shared_data / "vendor_formats" / name).data.compute().squeeze(), expected)


@needs_library
def test_a_file_is_read_by_many_threads_at_once(shared_data: Path) -> None:
    pixels = read(shared_data / "vendor_formats" / "example-timelapse.nd2").data
    expected = pixels.compute(scheduler="synchronous")
    for _ in range(5):
        assert np.array_equal(pixels.compute(scheduler="threads", num_workers=16), expected)


@needs_library
def test_czi_pixels_as_zeiss_own_library_reads_them(shared_data: Path) -> None:
    libczi = pytest.importorskip("aicspylibczi", reason="compared with libCZI")
    path = shared_data / "vendor_formats" / "s_1_t_1_c_1_z_1.czi"
    expected = libczi.CziFile(path).read_image()[0].squeeze()
    assert np.array_equal(read(path).data.compute().squeeze(), expected)


def test_lif_wavelength_sweeps(shared_data: Path) -> None:
    liffile = pytest.importorskip("liffile", reason="LIF is read by liffile")
    path = shared_data / "vendor_formats" / "LeicaLASX_wavelength-sweep_example.lif"
    assert scenes(path) == ["x_y_lambdaEmi", "x_y_lambdaExc", "x_y_z_t_lambdaEmi"]
    stack = read(path, scene=2)
    assert stack.shape == (2, 10, 11, 64, 64)
    assert stack.channels is not None
    assert stack.channels[:2] == ("em 550 nm", "em 555 nm")
    assert stack.pixel_size == pytest.approx((0.50020, 0.104814, 0.104814), rel=1e-4)
    assert stack.time_interval == pytest.approx(80.91)
    with liffile.LifFile(path) as lif:
        image = lif.images[2]
        expected = image.asarray()
        order = [list(image.sizes).index(axis) for axis in ("T", "λ", "Z", "Y", "X")]
    assert np.array_equal(stack.data.compute(), expected.transpose(order))


@needs_library
def test_vendor_scene_that_is_not_there(shared_data: Path) -> None:
    with pytest.raises(ReadError, match="no scene 5"):
        read(shared_data / "vendor_formats" / "s_1_t_1_c_1_z_1.czi", scene=5)


# file, shape, channels, pixel size
OME = [
    ("cell_painting/stains.ome.tif", (1, 5, 1, 1080, 540), ("DNA", "ER", "RNA", "AGP", "Mito"), UNKNOWN),
    ("neurons/phase.ome.tif", (1, 1, 13, 1024, 640), ("phase",), UNKNOWN),
    ("neurons/fluorescence.ome.tif", (1, 3, 1, 1024, 640), ("DAPI", "MAP2", "NFH"), UNKNOWN),
    ("hipsc_3d/brightfield.ome.tif", (1, 1, 57, 204, 341), ("Brightfield",), PixelSize(0.29, None, None)),
    ("jurkat_flow/experiment_1_g1_0008.ome.tif", (1, 3, 1, 1200, 1200), ("Brightfield", "DNA", "Darkfield"), UNKNOWN),
]


@pytest.mark.parametrize(("name", "shape", "channels", "size"), OME, ids=[case[0] for case in OME])
def test_ome_tiffs(shared_data: Path, name: str, shape: tuple, channels: tuple, size: PixelSize) -> None:
    stack = read(shared_data / name)
    assert (stack.shape, stack.channels, stack.pixel_size, stack.time_interval) == (shape, channels, size, None)
    assert np.array_equal(stack.data[0, -1, -1].compute(), tifffile.imread(shared_data / name, key=-1))


def test_every_ome_tiff_opens(shared_data: Path) -> None:
    files = sorted(shared_data.glob("*/*.ome.tif"))
    assert len(files) >= 13
    for file in files:
        stack = read(file)
        assert stack.channels is not None
        assert np.isfinite(stack.data[0, 0, 0, :8, :8].compute()).all()
