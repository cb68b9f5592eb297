"""The Count dock: labels as layers, corrected and counted again, saved; tracks; and labels that come back with the image."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from scipy import ndimage

from napari_virtual_paint._napari.count.dock import CountDock
from napari_virtual_paint._napari.count.panel import CountState
from napari_virtual_paint._napari.reader import read_layers
from napari_virtual_paint._napari.shared.viewer.layers import KEY
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write
from napari_virtual_paint.writing.ome_zarr import add_labels

PATIENCE = 60_000
PLACES = [(20, 20), (20, 70), (70, 30), (75, 80)]


def blobs(number: int = 4) -> np.ndarray:
    plane = np.zeros((100, 100))
    for y, x in PLACES[:number]:
        plane[y, x] = 1
    bright = ndimage.gaussian_filter(ndimage.binary_dilation(plane, iterations=8) * 2000.0, 1.5)
    return np.random.default_rng(1).poisson(bright + 300).astype(np.uint16)


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(blobs(), name="DNA", scale=(0.5, 0.5), units=("um", "um"))
    viewer.add_image(ndimage.grey_dilation(blobs(), 9), name="ER", scale=(0.5, 0.5), units=("um", "um"))
    return viewer


@pytest.fixture
def dock(viewer, qtbot):
    dock = CountDock(viewer)
    qtbot.addWidget(dock)
    return dock


def counted(qtbot, dock, *layers, **options):
    dock.setValue(CountState(layers, **options))
    dock.count()
    qtbot.waitUntil(lambda: not dock.running, timeout=PATIENCE)


def test_labels_that_are_open_are_not_overwritten(dock, viewer, qtbot, tmp_path, monkeypatch):
    """Beside the table the labels would replace a file from which a layer was opened."""
    labels = tmp_path / "t.labels.ome.tif"
    write(Stack(np.ones((1, 1, 1, 8, 8), np.uint16), ("nuclei",)), labels)
    before = labels.read_bytes()
    viewer.layers["ER"].metadata[KEY] = {"source": str(labels)}
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    counted(qtbot, dock, "DNA")
    dock.save(str(tmp_path / "t.csv"))
    qtbot.waitUntil(lambda: not dock.running, timeout=PATIENCE)
    assert "t.labels.ome.tif" in dock.panel.status.text()
    assert labels.read_bytes() == before
    assert not (tmp_path / "t.csv").exists()


def test_nothing_is_added_where_the_stains_were_removed(dock, viewer, qtbot):
    dock.setValue(CountState(("DNA",)))
    dock.count()
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not dock.running, timeout=PATIENCE)
    assert not list(viewer.layers)
    assert dock.panel.status.text() == "The stains were removed; nothing was added."


def test_labels_become_layers_and_corrections_count(dock, viewer, qtbot, tmp_path):
    counted(qtbot, dock, "DNA", "ER")
    assert "4 nuclei and 4 cells" in dock.panel.status.text()
    nuclei, cells = viewer.layers["nuclei"], viewer.layers["cells"]
    assert type(nuclei).__name__ == "Labels"
    assert nuclei.data.max() == cells.data.max() == 4
    assert tuple(nuclei.scale) == (0.5, 0.5)
    nuclei.data = np.where(nuclei.data == 2, 1, np.where(nuclei.data == 4, 0, nuclei.data))  # merged, and removed
    dock.count_corrected()
    qtbot.waitUntil(lambda: not dock.running, timeout=PATIENCE)
    assert "Counted as corrected: 2 nuclei and 4 cells" in dock.panel.status.text()
    dock.save(str(tmp_path / "t.csv"))
    qtbot.waitUntil(lambda: not dock.running, timeout=PATIENCE)
    table = pd.read_csv(tmp_path / "t.csv")
    assert (table["object"] == "nucleus").sum() == 2
    assert np.isclose(table["area_um2"], table["area_px"] / 4).all()
    assert np.array_equal(np.asarray(read(tmp_path / "t.labels.ome.tif").data[0, 0, 0]), nuclei.data)


def test_counting_again_replaces_the_labels(dock, viewer, qtbot):
    counted(qtbot, dock, "DNA", "ER")
    counted(qtbot, dock, "DNA", "ER")
    assert [layer.name for layer in viewer.layers] == ["DNA", "ER", "nuclei", "cells"]


@pytest.mark.parametrize(
    ("layers", "options", "said"),
    [
        ((), {}, "Tick the stains"),
        (("ER",), {}, "name the nuclei's among ER"),
        (("ER",), {"nuclei": "DNA"}, "Tick 'DNA' under Stains, too"),
    ],
)
def test_what_is_missing_is_said(dock, qtbot, layers, options, said):
    counted(qtbot, dock, *layers, **options)
    assert said in dock.panel.status.text()
    assert dock.result is None


def test_labels_that_are_gone_are_not_counted(dock, viewer, qtbot):
    counted(qtbot, dock, "DNA", "ER")
    viewer.layers.remove("cells")
    dock.count_corrected()
    assert "were removed" in dock.panel.status.text()


def test_a_layer_of_another_name_shows_the_nuclei(dock, viewer, qtbot):
    viewer.layers["DNA"].name = "blue"
    dock._list()  # at the latest in the next turn of the event loop
    counted(qtbot, dock, "ER", "blue", nuclei="blue")
    assert dock.result.totals == {"nuclei": 4, "cells": 4}


def test_tracks_become_a_layer(viewer, qtbot):
    if importlib.util.find_spec("laptrack") is None:
        pytest.skip("laptrack (extra tracking) is not installed")
    viewer.layers.clear()
    viewer.add_image(np.stack([np.roll(blobs(), i, 1) for i in range(3)]), name="DNA", axis_labels=("t", "y", "x"))
    dock = CountDock(viewer)
    qtbot.addWidget(dock)
    counted(qtbot, dock, "DNA", tracks=True)
    tracks = viewer.layers["tracks of nuclei"]
    assert len(np.unique(tracks.data[:, 0])) == 4


def test_labels_come_back_with_the_image(tmp_path: Path):
    labels = Stack((blobs() > 1000).astype(np.uint16)[None, None, None], ("nuclei",))
    image = write(Stack(blobs()[None, None, None], ("DNA",)), tmp_path / "a.ome.zarr")
    add_labels({"nuclei": labels}, image)
    found = read_layers(str(image))
    assert [(kind, arguments["name"]) for _, arguments, kind in found] == [("image", "DNA"), ("labels", "nuclei")]
    assert np.array_equal(found[1][0], labels.data[0, 0, 0])
    file = write(Stack(labels.data, ("nuclei",), provenance={"kind": "labels"}), tmp_path / "a.labels.ome.tif")
    assert [kind for *_, kind in read_layers(str(file))] == ["labels"]
