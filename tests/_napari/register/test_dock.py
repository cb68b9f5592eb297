"""The Register dock: the affine that it sets, what it says of a failure, and Undo."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from scipy import ndimage

from napari_virtual_paint._napari.register import dock as register_module
from napari_virtual_paint._napari.register.dock import RegisterDock
from napari_virtual_paint._napari.register.layers import affine_for, move, moved, take_back
from napari_virtual_paint._napari.register.panel import RegisterPanel, RegisterState
from napari_virtual_paint._napari.shared.viewer.layers import KEY
from napari_virtual_paint.registration import Registration
from napari_virtual_paint.registration.settings import RegistrationSettings

PATIENCE = 60_000
UM = ("um", "um")


def blobs(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.zeros((120, 120), np.float32)
    at = rng.integers(0, 120, (80, 2))
    image[at[:, 0], at[:, 1]] = rng.uniform(0.4, 2.0, 80)
    return ndimage.gaussian_filter(image, 2.2, mode="wrap")


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(blobs(0)[30:100, 20:90], name="small", scale=(0.5, 0.5), translate=(700, 3), units=UM)
    viewer.add_image(blobs(0), name="DNA", scale=(0.5, 0.5), units=UM)
    viewer.add_image(np.zeros((70, 70), np.float32), name="painted", scale=(0.5, 0.5), units=UM, metadata={KEY: {"inputs": ["small"]}})
    viewer.add_image(blobs(8), name="other", scale=(0.5, 0.5), units=UM)
    return viewer


@pytest.fixture
def dock(viewer, offered, qtbot):
    dock = RegisterDock(viewer)
    qtbot.addWidget(dock)
    return dock


def world(layer, pixel):
    return np.asarray(layer.data_to_world(pixel))


def finish(qtbot, dock):
    dock.register()
    qtbot.waitUntil(lambda: not dock.running, timeout=PATIENCE)


def test_registering_lays_the_layers_there_and_undo_brings_them_back(dock, viewer, qtbot):
    before = viewer.layers["small"].affine.affine_matrix.copy()
    dock.setValue(RegisterState(("small",), onto="DNA", settings=RegistrationSettings("translation")))
    finish(qtbot, dock)
    assert dock.result.registration.converged, dock.result.registration.reason
    np.testing.assert_allclose(world(viewer.layers["small"], (0, 0)), (15.0, 10.0), atol=0.2)
    noted = viewer.layers["small"].metadata[KEY]["registration"]
    assert noted["onto"] == "DNA"
    assert noted["shift_um"] == pytest.approx([15.0, 10.0], abs=0.2)
    assert moved(viewer.layers["painted"])
    # Rows 30 to 100 and columns 20 to 90 of the other one, pixels of 0.5 µm.
    said = dock.panel.status.text()
    assert said.startswith("Shifted by 20 px (10 µm) right and 30 px (15 µm) down; correlation ")
    assert "1.00 after. Clear match; next best" in said
    assert dock.panel.undo.isEnabled()
    dock.panel.undo.click()
    assert dock.panel.status.text() == "2 layers are back where they were."
    dock.panel.kind.setCurrentIndex(1)
    assert dock.panel.status.text() == ""  # what was said of the last registration is gone
    np.testing.assert_array_equal(viewer.layers["small"].affine.affine_matrix, before)
    assert not moved(viewer.layers["small"])
    assert not moved(viewer.layers["painted"])
    assert not dock.panel.undo.isEnabled()


def test_a_failure_moves_nothing_and_says_why(dock, viewer, qtbot):
    before = viewer.layers["small"].affine.affine_matrix.copy()
    dock.setValue(RegisterState(("small",), onto="other", settings=RegistrationSettings("translation")))
    finish(qtbot, dock)
    assert not dock.result.registration.converged
    assert dock.panel.status.text().startswith("Nothing was moved. ")
    np.testing.assert_array_equal(viewer.layers["small"].affine.affine_matrix, before)


def test_cancel_moves_nothing(dock, viewer, qtbot, monkeypatch):
    def endless(*_args, **_kwargs):
        while True:
            yield None

    monkeypatch.setattr(register_module, "register_images", endless)
    dock.setValue(RegisterState(("small",), onto="DNA"))
    dock.register()
    assert dock.panel.cancel.isEnabled()
    dock.panel.cancel.click()
    qtbot.waitUntil(lambda: not dock.running, timeout=PATIENCE)
    assert "Cancelled" in dock.panel.status.text()
    assert not moved(viewer.layers["small"])


@pytest.mark.parametrize(
    ("choice", "word"),
    [
        (RegisterState(), "Tick the image to move"),
        (RegisterState(("small",)), "Choose the layer with the real stain"),
        (RegisterState(("DNA",), onto="DNA"), "itself"),
        (RegisterState(("small", "other"), onto="DNA"), "Tick one layer"),
        (RegisterState(("small",), "small", onto="DNA"), "small"),
    ],
)
def test_what_can_t_be_registered_is_said(dock, choice, word):
    dock.setValue(choice)
    dock.register()
    assert not dock.running
    assert word in dock.panel.status.text()


def test_what_is_missing_is_said_before_a_click(dock, viewer, qtbot):
    dock.setValue(RegisterState(("small",)))
    assert "real stain" in dock.panel.status.text()
    dock.setValue(RegisterState(("small",), onto="DNA"))
    assert dock.panel.status.text() == ""
    viewer.layers.clear()
    qtbot.waitUntil(lambda: "Open two images" in dock.panel.status.text(), timeout=PATIENCE)
    dock.register()
    assert "Open two images" in dock.panel.status.text()


def test_a_fault_ends_with_a_sentence(dock, qtbot, monkeypatch):
    def broken(*_args, **_kwargs):
        yield None
        raise ValueError("bad weights")

    monkeypatch.setattr(register_module, "register_images", broken)
    dock.setValue(RegisterState(("small",), onto="DNA"))
    finish(qtbot, dock)
    assert dock.panel.status.text().startswith("Registering stopped by a fault of the program (ValueError: bad weights).")


def test_the_stain_that_the_layer_means_is_offered(dock):
    for onto, stain in (("HOECHST 33342", "DNA"), ("Phalloidin Alexa 568", "AGP"), ("stains ER", "ER"), ("Cy5", "AGP")):
        dock.panel.setStains((), "")
        dock.panel.setStains(("AGP", "DNA", "ER"), onto)
        assert dock.panel.stain.currentData() == stain


def test_without_a_model_there_is_no_stain_to_choose(qtbot):
    panel = RegisterPanel()
    qtbot.addWidget(panel)
    assert not panel.stain.isEnabled()
    panel.setStains(("DNA",), "DNA")
    assert panel.stain.isEnabled()


def test_the_form_shows_and_edits_one_value(dock):
    value = RegisterState(("small", "other"), "small", "ER", "DNA", RegistrationSettings("rigid", 30.0, 1.5))
    dock.setValue(value)
    dock.setValue(value)  # the model's stains are there only now
    assert dock.value() == value
    dock.setValue(RegisterState(("small",), "small", "", "DNA"))
    assert dock.value().stain in ("DNA", "ER")


def found(matrix: np.ndarray) -> Registration:
    return Registration(matrix, (1, 1), (1, 1), "um", (70, 70), "similarity", 0.9, 0.0, 0.1, 1.0, 9.0, 0.2, True, "It stands out.")


def test_the_affine_of_turned_layers_of_other_units_is_right():
    viewer = ViewerModel()
    small = viewer.add_image(np.zeros((3, 70, 70)), name="stack", scale=(2, 650, 650), translate=(5, 9, 9), units=("nm",) * 3)
    large = viewer.add_image(np.zeros((90, 90)), name="DNA", scale=(0.3, 0.3), rotate=20, translate=(4, 6), units=UM)
    pixels = np.array([[1.1, 0.2, 12], [-0.2, 1.1, 7], [0, 0, 1.0]])
    small.affine = affine_for(small, large, pixels)
    for y, x in ((0, 0), (69, 12), (30, 60)):
        there = pixels @ (y, x, 1)
        np.testing.assert_allclose(world(small, (1, y, x))[1:] / 1000, world(large, there[:2]), atol=1e-6)
    assert world(small, (1, 0, 0))[0] == pytest.approx(7)


def test_two_registrations_are_taken_back_one_by_one(viewer):
    small, large = viewer.layers["small"], viewer.layers["DNA"]
    first = np.eye(3)
    first[:2, 2] = 5
    move([small], large, found(first))
    between = small.affine.affine_matrix.copy()
    move([small], large, found(np.eye(3)))
    assert take_back([small, large]) == 1
    np.testing.assert_allclose(small.affine.affine_matrix, between)
    assert take_back([small]) == 1
    np.testing.assert_allclose(small.affine.affine_matrix, np.eye(3))
