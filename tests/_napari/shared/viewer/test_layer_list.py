"""Layers that are removed from a viewer that draws."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings

import napari.components
import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy

from napari_virtual_paint._napari.shared.viewer.layer_list import guard_removals

DRAWING = """
import sys
import napari
import numpy as np
from qtpy.QtTest import QTest
from napari_virtual_paint._napari.shared.viewer.layer_list import guard_removals, remove_layers

viewer = napari.Viewer()
guard_removals(viewer)
image = np.random.default_rng(0).random((64, 64), np.float32)
viewer.add_image(image)
for way in sys.argv[1:]:
    layers = [viewer.add_image(image, blending="additive") for _ in range(5)]
    QTest.qWait(100)
    if way == "together":
        remove_layers(viewer, layers)
    else:
        for layer in layers:
            viewer.layers.remove(layer)
    if way == "later":
        QTest.qWait(100)
    viewer.add_image(image)
    QTest.qWait(100)
print("drawn", len(viewer.layers))
viewer.close()
"""


def test_napari_survives_layers_removed_and_added_at_once() -> None:
    """With Mesa, napari alone ends with a segmentation fault in the first of these rounds."""
    done = subprocess.run(
        [sys.executable, "-c", DRAWING, "later", "at once", "together"], capture_output=True, text=True, timeout=300, check=False
    )
    assert "drawn 4" in done.stdout, done.stderr


def test_a_viewer_is_guarded_once_and_after_its_dock_is_gone(make_napari_viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = make_napari_viewer()
    made: list[int] = []
    monkeypatch.setattr(viewer.window._qt_viewer.canvas._scene_canvas, "set_current", lambda: made.append(len(viewer.layers)))
    for _dock in range(2):
        guard_removals(PublicOnlyProxy(viewer))  # what napari gives to a dock
    gc.collect()
    viewer.add_image(np.eye(2))
    with warnings.catch_warnings(action="error"):
        viewer.layers.pop()
    assert made == [1], "once, before the layer is gone"


def test_a_viewer_without_a_window_is_left_alone() -> None:
    viewer = napari.components.ViewerModel()
    guard_removals(viewer)
    viewer.add_image(np.eye(2))
    viewer.layers.pop()
    assert len(viewer.layers) == 0
