"""The Stain dock preprocesses an image before it paints: the planes around the focus, even light, phase after one question."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_virtual_paint import painting
from napari_virtual_paint._napari.shared.preparation import FocusChoice, IlluminationChoice, PhaseChoice
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint._napari.stain.dock import StainDock
from napari_virtual_paint._napari.stain.matching import phase_doubt
from napari_virtual_paint.models import ModelInfo, open_model
from napari_virtual_paint.painting import PaintSettings
from napari_virtual_paint.preprocessing import Microscope, PhaseSettings, reconstruct_phase, save_microscope
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import PixelSize, Stack

PATIENCE = 60_000
FOCUS = 8


def z_stack() -> np.ndarray:
    """Thirteen planes of a thin phase object, which vanishes in one of them."""
    rng = np.random.default_rng(0)
    shape = (96, 112)
    f = np.hypot(np.fft.fftfreq(shape[0], 0.65)[:, None], np.fft.fftfreq(shape[1], 0.65))
    spectrum = np.fft.fft2(ndimage.gaussian_filter(rng.normal(size=shape), 1.5))
    seen = [np.fft.ifft2(spectrum * np.sin(np.pi * 0.55 * (z - FOCUS) * f**2)).real for z in range(13)]
    return np.asarray([1000 + 1500 * plane + rng.normal(0, 2, shape) for plane in seen], np.float32)


@pytest.mark.usefixtures("offered")
def test_the_planes_around_the_focus_are_painted(make_napari_viewer, qtbot):
    """The curve is shown, the stains lie in the plane in focus, and equal those of the engine."""
    viewer = make_napari_viewer()
    data = z_stack()
    viewer.add_image(data, name="Brightfield", scale=(2.0, 0.65, 0.65), units=("um", "um", "um"))
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    dock.choose(model="small", focus="auto")
    qtbot.waitUntil(lambda: dock.form.focus.curve.isVisibleTo(dock.form.focus), timeout=PATIENCE)
    assert f"Plane {FOCUS} of 13" in dock.form.focus.curve.toolTip()
    assert dock.panel.button_paint.isEnabled()
    dock.paint()
    qtbot.waitUntil(lambda: dock.painting is not None, timeout=PATIENCE)
    qtbot.waitUntil(lambda: dock.painting is None, timeout=PATIENCE)
    made = [layer for layer in viewer.layers if our_metadata(layer).get("role") == "stain"]
    assert len(made) == 5
    stack = Stack(data[None, None], ("Brightfield",), PixelSize(2.0, 0.65, 0.65))
    truth = painting.run_to_end(painting.paint(open_model("small"), stack, PaintSettings(focus="auto"))).stack.data
    assert truth.shape[2] == 1
    for index, layer in enumerate(made):
        np.testing.assert_allclose(np.asarray(layer.data).reshape(truth.shape[3:]), truth[0, index, 0], atol=1e-4)
        assert our_metadata(layer)["provenance"]["focus"]["planes"] == [FOCUS]
        assert layer.extent.world[0][0] == pytest.approx(2.0 * FOCUS)
    assert "--focus auto" in dock.copy_command()


@pytest.mark.usefixtures("offered")
def test_the_phase_becomes_a_layer(make_napari_viewer, qtbot):
    """Without a microscope it is asked for; the layer is what the engine gives."""
    viewer = make_napari_viewer()
    data = z_stack()[:5]
    viewer.add_image(data, name="Brightfield", scale=(2.0, 0.65, 0.65), units=("um", "um", "um"))
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    dock.form.make_phase.click()
    assert dock.form.phase.dialog is not None
    dock.form.phase.dialog.reject()
    optics = PhaseSettings(Microscope(0.5, 0.3))
    dock.choose(phase=optics)
    dock.form.make_phase.click()
    qtbot.waitUntil(lambda: "Phase" in viewer.layers, timeout=PATIENCE)
    stack = Stack(data[None, None], ("Brightfield",), PixelSize(2.0, 0.65, 0.65))
    truth = painting.run_to_end(reconstruct_phase(stack, optics)).data
    np.testing.assert_allclose(np.asarray(viewer.layers["Phase"].data).reshape(truth.shape), truth, atol=1e-5)
    assert our_metadata(viewer.layers["Phase"])["provenance"]["phase"]["mode"] == "2d"


def test_brightfield_is_asked_about_where_a_model_paints_from_phase():
    texts = dict.fromkeys(("name", "version", "description", "license"), "x")
    phase = ModelInfo(
        id="toy", authors=(), source=Path("toy"), channels=("Phase",), dims=2, stains=("DNA",), weights="pytorch_state_dict", **texts
    )
    planes = np.ones((1, 1, 5, 8, 8), np.float32)
    assert "choose your microscope" in phase_doubt(phase, Stack(planes, ("Brightfield",)))
    assert "there is one plane" in phase_doubt(phase, Stack(planes[:, :, :1], ("Brightfield",)))
    assert phase_doubt(phase, Stack(planes, ("Phase",))) == ""


def test_the_choice_of_focus_edits_its_setting(qtbot):
    choice = FocusChoice()
    qtbot.addWidget(choice)
    for focus in ("none", "auto", "middle", 7):
        choice.setValue(focus)
        assert choice.value() == focus
        assert choice.plane.isVisibleTo(choice) == isinstance(focus, int)
    with qtbot.waitSignal(choice.valueChanged):
        choice.choice.setCurrentIndex(1)
    assert choice.value() == "auto"
    choice.show_curve((1.0, 0.2, 0.7), 1, least=True)
    choice.grab()
    choice.show_curve((), 0)
    assert not choice.curve.isVisibleTo(choice)


def test_the_choice_of_light_edits_its_setting(qtbot, tmp_path, monkeypatch):
    choice = IlluminationChoice(plate=True)
    qtbot.addWidget(choice)
    for light in ("none", "auto", str(tmp_path)):
        choice.setValue(light)
        assert choice.value() == light
        assert choice.choice.currentData() == light
    for answer, value in ((str(tmp_path / "functions"), str(tmp_path / "functions")), ("", str(tmp_path / "functions"))):
        monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getExistingDirectory", lambda *_, answer=answer: answer)
        choice.choice.setCurrentIndex(choice.choice.count() - 1)
        choice.choice.activated.emit(choice.choice.count() - 1)
        assert choice.value() == value


def test_the_microscope_is_asked_once_and_kept(qtbot, monkeypatch, tmp_path):
    monkeypatch.setattr("napari_virtual_paint.preprocessing.microscope.microscopes_file", lambda: tmp_path / "microscopes.json")
    choice = PhaseChoice()
    qtbot.addWidget(choice)
    assert choice.value() is None
    choice.ask()
    dialog = choice.dialog
    dialog.name.setText("left one")
    dialog.na.setValue(1.2)
    dialog.index.setValue(1.0)
    dialog.accept()
    assert "NA 1.2" in dialog.problem.text()
    dialog.index.setValue(1.33)
    with qtbot.waitSignal(choice.valueChanged):
        dialog.accept()
    assert choice.value() == PhaseSettings(Microscope(1.2, 0.4, 0.532, 1.33))
    save_microscope("right one", Microscope(0.5, 0.3))
    other = PhaseChoice()
    qtbot.addWidget(other)
    assert [other.choice.itemData(row) for row in range(other.choice.count())][:3] == ["", "left one", "right one"]
    unknown = replace(choice.value(), invert=True)
    other.setValue(unknown)
    assert other.value() == unknown
    assert other.choice.currentText().endswith("invert")


@pytest.mark.usefixtures("offered")
def test_a_layer_that_was_moved_is_painted_again_where_it_is_now(make_napari_viewer, qtbot):
    """The image in focus is taken from the painting before, its place is not."""
    viewer = make_napari_viewer()
    layer = viewer.add_image(z_stack(), name="Brightfield", scale=(2.0, 0.65, 0.65), units=("um", "um", "um"))
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    dock.choose(model="small", focus="auto")
    for place in (0.0, 40.0):
        layer.translate = (0.0, place, 0.0)
        qtbot.waitUntil(lambda: dock.panel.button_paint.isEnabled(), timeout=PATIENCE)
        dock.paint()
        qtbot.waitUntil(lambda: dock.painting is not None, timeout=PATIENCE)
        qtbot.waitUntil(lambda: dock.painting is None, timeout=PATIENCE)
        made = [each for each in viewer.layers if our_metadata(each).get("role") == "stain"]
        assert {round(each.extent.world[0][1] - layer.extent.world[0][1], 6) for each in made} == {0.0}


@pytest.mark.usefixtures("offered")
def test_an_image_that_is_removed_is_not_painted(make_napari_viewer, qtbot, monkeypatch):
    """While its focus is looked for, the input is removed: it is cancelled with a sentence, and no layer appears."""

    def endless(*_):
        while True:
            time.sleep(0.01)
            yield Progress(0, 1)

    monkeypatch.setattr("napari_virtual_paint._napari.stain.preprocessing.preprocess_request", endless)
    viewer = make_napari_viewer()
    layer = viewer.add_image(z_stack()[:5], name="Brightfield", scale=(2.0, 0.65, 0.65), units=("um", "um", "um"))
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    dock.choose(model="small", focus="middle")
    qtbot.waitUntil(lambda: dock.panel.button_paint.isEnabled(), timeout=PATIENCE)
    dock.paint()
    qtbot.waitUntil(lambda: dock.panel.button_cancel.isEnabled(), timeout=PATIENCE)
    with qtbot.waitSignal(dock._preprocessor.ended, timeout=PATIENCE) as ended:
        viewer.layers.remove(layer)
    assert ended.args == ["The input 'Brightfield' was removed."]
    assert not list(viewer.layers)
