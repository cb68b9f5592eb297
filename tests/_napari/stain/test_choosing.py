"""Which image the Stain dock takes by itself, and how further models are added."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QComboBox, QLabel

from napari_virtual_paint._napari.stain.dock import StainDock
from napari_virtual_paint.samples import SimulationSettings, simulate_field

pytestmark = pytest.mark.usefixtures("offered")


@pytest.fixture
def viewer(qtbot):
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def dock(viewer, qtbot):
    made = StainDock(viewer)
    qtbot.addWidget(made)
    return made


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


@pytest.mark.parametrize("light", ["w3Brightfield", "w2Phase", "DIC"])
def test_transmitted_light_is_taken_whenever_it_comes(viewer, dock, light):
    viewer.add_image(noise(32, 32), name="w1DAPI")
    assert dock.value().layers == ("w1DAPI",)
    viewer.add_image(noise(32, 32), name=light)
    viewer.add_image(noise(32, 32), name="w2FITC")
    assert dock.value().layers == (light,)


def test_only_what_concerns_the_chosen_layers_is_worked_out_anew(viewer, dock):
    plane = viewer.add_image(noise(32, 32), name="Brightfield", units=("um", "um"))
    fit = dock.fit
    viewer.add_image(noise(32, 32), name="DNA")
    viewer.layers.move(1, 0)
    assert dock.fit is fit
    plane.scale = (0.5, 0.5)
    assert dock.fit.source.stack.pixel_size.x == 0.5
    viewer.layers.remove(plane)
    viewer.add_image(noise(16, 16), name="Brightfield")
    assert dock.fit.source.stack.shape[-2:] == (16, 16)


def test_no_stain_is_taken_before_an_image_without_a_telling_name(viewer, dock):
    for name in ("w1DAPI", "camera 2", "w2FITC"):
        viewer.add_image(noise(32, 32), name=name)
    other = StainDock(viewer)
    assert other.value().layers == ("camera 2",)
    other.deleteLater()


def test_layers_that_the_user_chose_stay(viewer, dock):
    viewer.add_image(noise(32, 32), name="w1DAPI")
    viewer.add_image(noise(32, 32), name="w2FITC")
    dock.choose(layers=("w2FITC",))
    viewer.add_image(noise(32, 32), name="w3Brightfield")
    assert dock.value().layers == ("w2FITC",)
    viewer.layers.remove("w2FITC")
    assert dock.value().layers == ("w3Brightfield",)


def test_another_model_is_an_empty_row_until_one_is_chosen(viewer, dock):
    viewer.add_image(noise(16, 32, 32), name="Brightfield")
    dock.choose(model="small-3d")
    more = dock.form.more
    more.add.click()
    box = more.findChild(QComboBox)
    assert box.currentText() == "choose a model…"
    assert dock.value().more == ()
    assert dock.panel.button_paint.isEnabled(), "an empty row paints nothing, and prevents nothing"
    assert not more.add.isEnabled(), "one empty row is enough"
    dock.choose(tile=64)
    assert more.findChild(QComboBox) is box, "the row stays while other things are chosen"
    box.setCurrentIndex(box.findData("small"))
    assert dock.value().more == ("small",)


def test_a_channel_named_for_fluorescence_is_painted_only_after_a_question(viewer, dock, qtbot):
    viewer.add_image(noise(16, 32, 32), name="w1DAPI")
    dock.choose(model="small-3d")
    form, paint = dock.form, dock.panel.button_paint
    assert form.doubt.text() == "⚠ w1DAPI is named for fluorescence; this model paints from brightfield."
    assert not form.confirm.isHidden()
    assert not paint.isEnabled()
    assert not dock.panel.button_preview.isEnabled()
    form.confirm.click()
    assert paint.isEnabled()
    viewer.add_image(noise(16, 32, 32), name="w2FITC")
    dock.choose(layers=("w2FITC",))
    assert not paint.isEnabled(), "another image is another question"
    viewer.layers["w2FITC"].name = "w2Brightfield"
    assert form.confirm.isHidden()
    assert paint.isEnabled()


def test_a_channel_that_looks_like_fluorescence_is_painted_only_after_a_question(viewer, dock, qtbot):
    """DNA of a simulated field, under a name that says nothing; noise looks like nothing."""
    stain = np.asarray(simulate_field(SimulationSettings(size=128, seed=3)).stains.data)[0, 0, 0]
    for name, plane in (("camera 1", stain), ("camera 2", noise(128, 128))):
        viewer.layers.clear()
        viewer.add_image(np.repeat(plane[None], 8, 0), name=name)
        dock.choose(model="small-3d")
        qtbot.waitUntil(lambda: not dock._checks.running, timeout=30_000)
        assert (dock.form.doubt.text() if not dock.form.confirm.isHidden() else "") == (
            "⚠ camera 1 looks like fluorescence; this model paints from brightfield." if name == "camera 1" else ""
        )
        assert dock.panel.button_paint.isEnabled() == (name == "camera 2")


def test_pixel_sizes_that_are_missing_are_named_by_axis(viewer, dock, qtbot):
    """The small model of planes was trained at 0.65 µm; the units of the first axis of the layer are pixels."""
    for name in ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um"):
        viewer.add_image(noise(64, 64), name=name, scale=(1, 0.65), units=("pixel", "um"))
    assert dock.value().model == "small"
    qtbot.waitUntil(lambda: "memory" in dock.panel.check.text(), timeout=30_000)
    assert "Pixel size along y is not known; the model learned at y 0.65 µm." in dock.panel.check.text()


def test_the_settings_are_named_for_what_they_do(dock):
    shown = {name: getattr(dock.form, name).currentText() for name in ("again", "keep")}
    assert shown == {"again": "Replace layers", "keep": "Keep partial result"}
    labels = {label.text() for label in dock.form.findChildren(QLabel)}
    assert {"Test-time augmentation", "When painting again", "After cancel"} <= labels
    assert dock.form.tta.currentText() == "Off"


def test_channels_are_headed_once_there_is_an_image(viewer, dock, qtbot):
    assert not dock.form.channels_heading.isVisibleTo(dock)
    viewer.add_image(noise(3, 32, 32), name="Brightfield")
    qtbot.waitUntil(lambda: dock.form.channels_heading.isVisibleTo(dock), timeout=30_000)
