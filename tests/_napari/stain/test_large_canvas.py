"""Mosaics in the Stain dock: shown from smaller copies that fill while it paints, with what is finished out of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tifffile

from napari_virtual_paint._napari.reader import read_layers
from napari_virtual_paint._napari.shared.viewer import layers as layers_module
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata, stack_from_layers
from napari_virtual_paint._napari.stain import canvas as canvas_module
from napari_virtual_paint._napari.stain import painting as painting_module
from napari_virtual_paint._napari.stain.canvas import Canvas
from napari_virtual_paint._napari.stain.dock import StainDock
from napari_virtual_paint.painting import blocks
from napari_virtual_paint.reading.formats import open_file
from napari_virtual_paint.runtime import scratch
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write

CHANNELS = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take images of some hundred pixels for mosaics."""
    for module in (layers_module, canvas_module, painting_module):
        monkeypatch.setattr(module, "LARGE", 200)
    for module in (canvas_module, painting_module):
        monkeypatch.setattr(module, "SMALLEST", 32)
    monkeypatch.setattr("napari_virtual_paint._napari.reader.LARGE", 200)
    monkeypatch.setattr(scratch, "MOST", 0)
    monkeypatch.setattr(blocks, "WHOLE", 8 << 20)
    monkeypatch.setattr(blocks, "PER_BLOCK", 8 << 20)


@pytest.mark.parametrize("region", [None, ((13, 300), (7, 318))])
def test_the_copies_are_every_so_manieth_pixel(region: Any) -> None:
    canvas = Canvas((1, 2, 1, 301, 320), region)
    picture = np.random.default_rng(0).normal(0, 1, (1, 2, 1, 301, 320)).astype(np.float32)
    (top, bottom), (left, right) = canvas.region
    for y in range(top, bottom, 37):
        for x in range(left, right, 50):
            where = (slice(0, 1), slice(0, 2), slice(0, 1), slice(y, min(y + 37, bottom)), slice(x, min(x + 50, right)))
            canvas[where] = picture[where]
    whole = picture[..., top:bottom, left:right]
    np.testing.assert_array_equal(canvas.array, whole)
    assert list(canvas.coarser) == [2, 4, 8]
    for step, array in canvas.coarser.items():
        np.testing.assert_array_equal(array, whole[..., ::step, ::step])
    assert all(isinstance(array, np.memmap) for array in (canvas.array, *canvas.coarser.values()))
    canvas.release()
    np.testing.assert_array_equal(canvas.array, whole)


def test_a_small_image_has_no_copies() -> None:
    assert Canvas((1, 2, 1, 150, 160)).coarser == {}


def test_a_tiff_is_opened_with_its_pyramid(tmp_path: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 400, 600)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "mosaic.ome.tif", bigtiff=True) as tif:
        options: Any = {"tile": (64, 64), "photometric": "minisblack"}
        tif.write(pixels, subifds=1, metadata={"axes": "CYX", "Channel": {"Name": ["DNA", "ER"]}}, **options)
        tif.write(pixels[:, ::2, ::2], subfiletype=1, **options)
    layers = read_layers(str(tmp_path / "mosaic.ome.tif"))
    assert [arguments["name"] for _, arguments, _ in layers] == ["DNA", "ER"]
    for (data, arguments, _), channel in zip(layers, pixels, strict=True):
        assert arguments["multiscale"]
        np.testing.assert_array_equal(np.asarray(data[0]), channel)
        np.testing.assert_array_equal(np.asarray(data[1]), channel[::2, ::2])


def test_a_mosaic_is_opened_and_painted_from_its_pyramid(make_napari_viewer: Any, qtbot: Any, tmp_path: Any, offered: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (1, 3, 1, 400, 600)).astype(np.uint16)
    path = write(Stack(pixels, CHANNELS), tmp_path / "mosaic.ome.zarr")
    with open_file(path) as file:
        assert [level.shape[3:] for level in file.coarser()] == [(200, 300), (100, 150)]
    viewer = make_napari_viewer()
    for data, arguments, _kind in read_layers(str(path)):
        viewer.add_image(data, **arguments)
    assert all(layer.multiscale for layer in viewer.layers)
    np.testing.assert_array_equal(stack_from_layers(list(viewer.layers)).stack.compute().data, pixels)
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    for _ in range(2):  # the second painting replaces the pixels of the first
        dock.paint()
        qtbot.waitUntil(lambda: dock.painting is None, timeout=60_000)
        stains = [layer for layer in viewer.layers if our_metadata(layer).get("role") == "stain"]
        assert len(stains) == 5
        for layer in stains:
            assert layer.multiscale
            whole = np.asarray(layer.data[0])
            assert whole.shape == (400, 600)
            assert whole.std() > 0
            np.testing.assert_array_equal(layer.data[1], whole[::2, ::2])
    report = our_metadata(stains[0])["provenance"]
    assert report["block"] > 0
    assert report["exact"]
