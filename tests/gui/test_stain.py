"""The Stain dock, driven as a user drives it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtual_paint._napari.stain import StainWidget
from napari_virtual_paint._napari.layers import KEY, known

CHANNELS = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")
STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")
pytestmark = pytest.mark.usefixtures("offered")


def add_planes(viewer, size=128, **arguments):
    rng = np.random.default_rng(1)
    arguments = {"scale": (0.65, 0.65), "units": ("um", "um"), **arguments}
    return [viewer.add_image(rng.random((size, size + 16), dtype=np.float32), name=name, **arguments) for name in CHANNELS]


@pytest.fixture
def dock(make_napari_viewer):
    viewer = make_napari_viewer()
    add_planes(viewer)
    widget = StainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Stain")
    return widget


def finish(qtbot, widget, timeout=20_000):
    qtbot.waitUntil(lambda: widget.painting is None, timeout=timeout)


def test_paint_adds_the_stains(dock, qtbot):
    assert dock.value().layers == CHANNELS
    assert dock.value().model == "small"
    assert dock.button_paint.isEnabled(), dock.check.text()
    dock.paint()
    viewer = dock.viewer
    assert [layer.name for layer in viewer.layers][3:] == [f"{stain} (predicted)" for stain in STAINS]
    finish(qtbot, dock)
    for layer in list(viewer.layers)[3:]:
        assert np.isfinite(layer.data).all()
        assert tuple(layer.scale) == (0.65, 0.65)
        assert layer.units == viewer.layers[0].units
        assert known(layer)["provenance"]["model"] == "small"
    assert [layer.colormap.name for layer in list(viewer.layers)[3:]] == ["blue", "green", "yellow", "bop orange", "magenta"]
    print(dock.status.text(), dock.check.text(), dock.form.summary.text())
