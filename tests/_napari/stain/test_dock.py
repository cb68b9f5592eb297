"""The Stain dock, driven as a user drives it."""

from __future__ import annotations

import time
from dataclasses import fields, replace

import dask.array as da
import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent, QShortcut
from qtpy.QtWidgets import QApplication, QComboBox, QPushButton
from superqt import QCollapsible

from napari_virtual_paint import painting
from napari_virtual_paint._napari.shared import jobs, preferences
from napari_virtual_paint._napari.shared.channel_rows import without_common_start
from napari_virtual_paint._napari.shared.form_binding import replaced
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint._napari.stain.dock import StainDock
from napari_virtual_paint._napari.stain.state import StainState
from napari_virtual_paint.choices import values_of
from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting.settings import CHOICES, PaintSettings
from napari_virtual_paint.stack import PixelSize, Stack

CHANNELS = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")
STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")
PREDICTED = [f"{stain} (predicted)" for stain in STAINS]

PATIENCE = 60_000
"""Milliseconds; far more than anything here takes on a machine with nothing else to do."""

pytestmark = pytest.mark.usefixtures("offered")


def planes(size=128):
    rng = np.random.default_rng(1)
    return [rng.random((size, size + 16), dtype=np.float32) for _ in CHANNELS]


def add_planes(viewer, size=128, **arguments):
    arguments = {"scale": (0.65, 0.65), "units": ("um", "um"), **arguments}
    return [viewer.add_image(data, name=name, **arguments) for data, name in zip(planes(size), CHANNELS, strict=True)]


def expected(stack, model="small", **settings):
    return painting.run_to_end(painting.paint(open_model(model), stack, painting.PaintSettings(**settings))).stack.data


def stack_of_planes(size=128):
    return Stack(np.stack(planes(size))[None, :, None], CHANNELS, PixelSize(None, 0.65, 0.65))


def open_dock(viewer):
    widget = StainDock(viewer)
    viewer.window.add_dock_widget(widget, name="Stain")
    return widget


@pytest.fixture
def dock(make_napari_viewer):
    viewer = make_napari_viewer()
    add_planes(viewer)
    return open_dock(viewer)


def stains_of(viewer, role="stain"):
    return [layer for layer in viewer.layers if our_metadata(layer).get("role") == role]


def finish(qtbot, widget):
    qtbot.waitUntil(lambda: widget.painting is None, timeout=PATIENCE)


def appear(qtbot, viewer):
    """Wait for the layers of a painting that has just begun: long before its end, one a turn of the event loop."""
    qtbot.waitUntil(lambda: len(stains_of(viewer)) == 5, timeout=5000)


def messages():
    return [record.message for record in notification_manager.records]


def never():
    """Paint nothing, for ever."""
    while True:
        time.sleep(0.02)
        yield painting.PaintUpdate(0.0, 1.0)


@pytest.fixture
def endless(monkeypatch):
    """Have every painting go on for ever without stains."""
    monkeypatch.setattr(painting, "paint", lambda *args, **kwargs: never())


@pytest.mark.parametrize(
    ("dims", "labels"),
    [(("channel", "time", "y", "x"), None), (("z", "channel", "y", "x"), ("c", "t", "y", "x"))],
    ids=["by its dimensions", "by the layer's axis labels"],
)
def test_a_layer_of_an_xarray_is_painted(make_napari_viewer, qtbot, dims, labels):
    xr = pytest.importorskip("xarray")
    data = np.random.default_rng(1).random((3, 2, 64, 80), dtype=np.float32)  # three planes as channels, two time points
    lazy = xr.DataArray(da.from_array(data, chunks=(1, 1, 64, 80)), dims=dims, name="field")
    viewer = make_napari_viewer()
    layer = viewer.add_image(lazy, name="field", contrast_limits=(0, 1), **({} if labels is None else {"axis_labels": labels}))
    assert type(layer.data) is xr.DataArray
    dock = open_dock(viewer)
    assert dock.value().layers == ("field",)
    dock.paint()
    appear(qtbot, viewer)
    finish(qtbot, dock)
    truth = expected(Stack(data.transpose(1, 0, 2, 3)[:, :, None]))
    assert truth.shape == (2, 5, 1, 64, 80)
    for index, stain in enumerate(stains_of(viewer)):
        np.testing.assert_allclose(np.asarray(stain.data).reshape(2, 64, 80), truth[:, index, 0], atol=1e-5)


def test_paint_gives_what_the_engine_gives(dock, qtbot):
    assert dock.value().layers == CHANNELS
    assert dock.value().model == "small"
    dock.paint()
    viewer = dock.viewer
    appear(qtbot, viewer)
    assert dock.painting is not None
    assert [layer.name for layer in stains_of(viewer)] == PREDICTED, "the layers are there at once"
    finish(qtbot, dock)
    made = stains_of(viewer)
    truth = expected(stack_of_planes())
    for index, layer in enumerate(made):
        np.testing.assert_allclose(layer.data, truth[0, index, 0], atol=1e-5)
        assert tuple(layer.scale) == (0.65, 0.65)
        assert layer.units == viewer.layers[0].units
        assert layer.blending == "additive"
        assert layer.opacity < 1, "five at full strength are white"
        assert our_metadata(layer)["provenance"]["model"] == "small"
        assert our_metadata(layer)["inputs"] == list(CHANNELS)
    assert [layer.colormap.name for layer in made] == ["blue", "green", "yellow", "bop orange", "magenta"]
    qtbot.waitUntil(lambda: all(tuple(layer.contrast_limits) != (0, 1) for layer in made))
    for layer in made:
        low, high = np.percentile(layer.data, (20, 99.7))
        assert layer.contrast_limits == pytest.approx((low, high), abs=0.1 * (high - low))
    assert not any(viewer.layers[name].visible for name in CHANNELS), "the input would drown the stains"
    assert dock.panel.status.text().startswith("Done in ")


def test_painting_again_replaces_or_adds(dock, qtbot):
    dock.paint()
    finish(qtbot, dock)
    first = stains_of(dock.viewer)
    before = first[0].data
    dock.paint()
    finish(qtbot, dock)
    assert stains_of(dock.viewer) == first
    assert first[0].data is not before
    dock.setValue(replace(dock.value(), again="add"))
    dock.paint()
    finish(qtbot, dock)
    assert len(stains_of(dock.viewer)) == 10


@pytest.mark.parametrize("keep", [True, False])
def test_cancel_leaves_or_removes(dock, qtbot, held, keep):
    dock.choose(keep=keep, tile=32)
    dock.paint()
    canvas = dock.painting.canvas
    qtbot.waitUntil(lambda: canvas.painted, timeout=PATIENCE)
    qtbot.waitUntil(lambda: not dock.viewer.layers[0].visible, timeout=PATIENCE)
    dock.cancel()
    finish(qtbot, dock)
    left = stains_of(dock.viewer)
    if keep:
        assert len(left) == 5
        assert np.isfinite(left[0].data).any()
        assert np.isnan(left[0].data).any(), "what was not painted is not a number"
        assert our_metadata(left[0])["cancelled"]
    else:
        assert not left
        assert all(dock.viewer.layers[name].visible for name in CHANNELS)
    assert dock.panel.status.text() == ("Cancelled. What is painted stays." if keep else "Cancelled.")


def test_cancel_before_anything_is_painted_leaves_nothing(dock, qtbot, endless):
    dock.paint()
    dock.cancel()
    finish(qtbot, dock)
    assert not stains_of(dock.viewer)


def test_cancelling_a_repainting_brings_the_old_stains_back(dock, qtbot, monkeypatch):
    dock.paint()
    finish(qtbot, dock)
    layers = stains_of(dock.viewer)
    before, noted = layers[0].data, our_metadata(layers[0])
    dock.choose(keep=False)
    monkeypatch.setattr(painting, "paint", lambda *args, **kwargs: never())
    dock.paint()
    qtbot.waitUntil(lambda: layers[0].data is not before, timeout=5000)
    dock.cancel()
    finish(qtbot, dock)
    assert layers[0].data is before
    assert our_metadata(layers[0]) == noted, "or the next painting would not replace them"
    assert noted["provenance"]


def test_closing_the_viewer_mid_run_is_clean(dock, qtbot, held):
    before = len(messages())
    dock.paint()
    job, canvas = dock.painting.job, dock.painting.canvas
    qtbot.waitUntil(lambda: canvas.painted, timeout=PATIENCE)
    dock.viewer.close()
    assert not job.running
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=PATIENCE)
    assert len(messages()) == before


def test_closing_the_dock_lets_the_painting_go_on(dock, qtbot):
    dock.paint()
    painting_run = dock.painting
    with qtbot.waitSignal(painting_run.finished, timeout=PATIENCE):
        dock.viewer.window.remove_dock_widget(dock)
    assert np.isfinite(stains_of(dock.viewer)[4].data).all()
    assert painting_run.layers


def test_removing_the_stains_stops_the_painting(dock, qtbot, endless):
    dock.paint()
    appear(qtbot, dock.viewer)
    for layer in stains_of(dock.viewer):
        dock.viewer.layers.remove(layer)
    finish(qtbot, dock)
    assert not stains_of(dock.viewer)


def test_preview_paints_what_is_in_view(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    add_planes(viewer, 600)
    dock = open_dock(viewer)
    viewer.scene.camera.center = (0.65 * 300, 0.65 * 300)
    viewer.scene.camera.zoom = 12
    dock.preview()
    finish(qtbot, dock)
    made = stains_of(viewer, "preview")
    assert [layer.name for layer in made] == [f"{stain} (preview)" for stain in STAINS]
    height, width = made[0].data.shape
    assert height < 500
    assert width < 500
    y, x = np.round(np.asarray(made[0].translate) / 0.65).astype(int)
    assert abs(y + height / 2 - 300) < 3
    truth = expected(stack_of_planes(600))[0, :, 0, y : y + height, x : x + width]
    for layer, stain in zip(made, truth, strict=True):
        np.testing.assert_allclose(layer.data, stain, atol=1e-4)
    dock.preview()
    finish(qtbot, dock)
    assert len(stains_of(viewer, "preview")) == 5
    dock.paint()
    finish(qtbot, dock)
    assert not stains_of(viewer, "preview")


def test_preview_of_one_time_point_alone(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    data = np.random.default_rng(0).random((3, 3, 64, 64), dtype=np.float32)
    viewer.add_image(data, name="Brightfield", axis_labels=("t", "z", "y", "x"), scale=(1, 4, 1, 1))
    dock = open_dock(viewer)
    viewer.dims.set_current_step(0, 2)
    dock.preview()
    finish(qtbot, dock)
    made = stains_of(viewer, "preview")
    assert made[0].data.shape == (1, 1, 64, 64)
    assert made[0].translate[0] == 2


def test_preview_out_of_view_is_told(dock, qtbot):
    dock.viewer.scene.camera.center = (9000, 9000)
    dock.preview()
    assert dock.painting is None
    assert "in view" in messages()[-1]


def test_channels_that_names_do_not_tell_are_asked_once(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    for index, data in enumerate(planes()):
        viewer.add_image(data, name=f"camera {index}")
    dock = open_dock(viewer)
    dock.setValue(replace(dock.value(), layers=("camera 0", "camera 1", "camera 2"), model="small"))
    assert not dock.panel.button_paint.isEnabled()
    for row, name in enumerate(("camera 2", "camera 1", "camera 0")):
        combos = [combo for combo in dock.form.findChildren(QComboBox) if combo.findText("camera 1") >= 0 and not combo.isHidden()]
        assert len(combos) == 3
        combos[row].setCurrentText(name)
    assert dock.value().channels == (2, 1, 0)
    assert dock.panel.button_paint.isEnabled()
    dock.paint()
    finish(qtbot, dock)
    backwards = Stack(np.stack(planes()[::-1])[None, :, None], CHANNELS)
    np.testing.assert_allclose(stains_of(viewer)[1].data, expected(backwards)[0, 1, 0], atol=1e-5)
    other = open_dock(viewer)
    other.setValue(replace(other.value(), layers=("camera 0", "camera 1", "camera 2"), model="small"))
    assert other.panel.button_paint.isEnabled()
    assert other.fit.match.channels == (2, 1, 0)


def test_what_is_remembered_is_bound_to_the_names(tmp_path):
    preferences.remember("m", ("a", "b"), (1, 0))
    assert preferences.recall("m", ("a", "b")) == (1, 0)
    assert preferences.recall("m", ("b", "a")) is None
    assert preferences.recall("n", ("a", "b")) is None
    preferences.answers_file().write_text("{broken")
    assert preferences.recall("m", ("a", "b")) is None
    preferences.remember("m", ("a",), (0,))
    assert preferences.recall("m", ("a",)) == (0,)


@pytest.mark.parametrize(
    "arguments",
    [
        {"rotate": 30, "translate": (5, 7)},
        {"shear": (0.2,)},
        {"affine": np.array([[0.8, -0.6, 3], [0.6, 0.8, 4], [0, 0, 1.0]])},
    ],
)
def test_turned_layers(make_napari_viewer, qtbot, arguments):
    viewer = make_napari_viewer()
    inputs = add_planes(viewer, 64, **arguments)
    dock = open_dock(viewer)
    dock.paint()
    finish(qtbot, dock)
    for layer in stains_of(viewer):
        for corner in ((0, 0), (63, 0), (10, 79)):
            np.testing.assert_allclose(layer.data_to_world(corner), inputs[0].data_to_world(corner), atol=1e-6)
    dock.preview()
    finish(qtbot, dock)
    made = stains_of(viewer, "preview")[0]
    for layer in viewer.layers:
        layer.visible = False
    world = made.data_to_world((1, 1))
    y, x = (round(value) for value in inputs[0].world_to_data(world))
    assert made.data[1, 1] == pytest.approx(stains_of(viewer)[0].data[y, x], abs=1e-4)


def test_multiscale_layers_are_painted_at_full_resolution(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    for data, name in zip(planes(), CHANNELS, strict=True):
        viewer.add_image([data, data[::2, ::2]], multiscale=True, name=name)
    dock = open_dock(viewer)
    dock.paint()
    finish(qtbot, dock)
    assert stains_of(viewer)[0].data.shape == (128, 144)


def test_a_lazy_z_stack_over_time_gives_a_plane_a_time(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    data = da.from_array(np.random.default_rng(0).random((2, 3, 64, 64), dtype=np.float32), chunks=(1, 1, 32, 64))
    viewer.add_image(data, name="Brightfield", axis_labels=("t", "z", "y", "x"), scale=(1, 4, 0.65, 0.65), units=("s", "um", "um", "um"))
    dock = open_dock(viewer)
    dock.paint()
    finish(qtbot, dock)
    assert stains_of(viewer)[0].data.shape == (2, 1, 64, 64)
    assert np.isfinite(stains_of(viewer)[4].data).all()


def test_volumes(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(np.random.default_rng(0).random((8, 48, 48), dtype=np.float32), name="Brightfield", scale=(2, 1, 1))
    dock = open_dock(viewer)
    dock.setValue(replace(dock.value(), model="small-3d"))
    dock.paint()
    finish(qtbot, dock)
    made = stains_of(viewer)
    assert [layer.name for layer in made] == ["DNA (predicted)", "Membrane (predicted)"]
    assert made[1].data.shape == (8, 48, 48)
    assert tuple(made[1].scale) == (2, 1, 1)


def test_luminance_is_offered_for_colour_pictures(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8), name="slide", rgb=True)
    dock = open_dock(viewer)
    dock.setValue(replace(dock.value(), model="small-3d"))
    combo = next(combo for combo in dock.form.findChildren(QComboBox) if combo.findText("Luminance") >= 0)
    assert combo.currentText() == "Luminance"
    assert [combo.itemText(i) for i in range(1, combo.count())] == ["Luminance", "Red", "Green", "Blue"]
    assert dock.fit.match.luminance
    combo.setCurrentText("Green")
    assert not dock.fit.match.luminance
    assert dock.fit.match.channels == (1,)


def test_constant_and_broken_pixels_are_told(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    data = planes(64)
    data[0][3, 4] = np.nan
    data[1][:] = 7
    for plane, name in zip(data, CHANNELS, strict=True):
        viewer.add_image(plane, name=name, contrast_limits=(0, 8))
    dock = open_dock(viewer)
    dock.paint()
    finish(qtbot, dock)
    said = "\n".join(messages())
    assert "Brightfield -4 um: 1 pixel is no number" in said
    assert "Brightfield 0 um: every pixel has the same value" in said
    assert all(np.isfinite(layer.data).all() for layer in stains_of(viewer))


def test_the_preflight_tells_needs_and_offers_to_resample(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    add_planes(viewer, 64, scale=(1.3, 1.3))
    dock = open_dock(viewer)
    qtbot.waitUntil(lambda: "memory" in dock.panel.check.text(), timeout=PATIENCE)
    assert "1.3 um" in dock.panel.check.text()
    assert "cpu" in dock.form.device_line.text() or "cuda" in dock.form.device_line.text()
    assert not dock.form.offer.isHidden()
    dock.form.offer.setChecked(True)
    qtbot.waitUntil(lambda: "1.3 um" not in dock.panel.check.text() and "memory" in dock.panel.check.text(), timeout=PATIENCE)
    dock.paint()
    finish(qtbot, dock)
    settings = our_metadata(stains_of(viewer)[0])["provenance"]["settings"]
    assert settings["resample"]
    stack = replace(stack_of_planes(64), pixel_size=PixelSize(None, 1.3, 1.3))
    np.testing.assert_allclose(stains_of(viewer)[0].data, expected(stack, resample=True)[0, 0, 0], atol=1e-5)


def test_no_image_no_paint(make_napari_viewer):
    dock = open_dock(make_napari_viewer())
    assert not dock.panel.button_paint.isEnabled()
    assert "open an image" in dock.panel.check.text()


def test_layers_come_and_go(dock):
    viewer = dock.viewer
    viewer.add_image(np.zeros((4, 4)), name="other")
    assert dock.value().layers == CHANNELS
    viewer.layers["Brightfield 0 um"].name = "focus"
    assert dock.value().layers == ("Brightfield -4 um", "Brightfield +4 um")
    assert dock.form.layers.count() == 4
    viewer.layers.clear()
    assert dock.form.layers.count() == 0
    assert not dock.panel.button_paint.isEnabled()


def test_layers_of_different_size_are_told(dock):
    dock.viewer.add_image(np.zeros((4, 4)), name="other")
    dock.setValue(replace(dock.value(), layers=(*CHANNELS, "other")))
    assert "differ in size" in dock.panel.check.text()


def test_a_fault_of_the_program_is_a_sentence(dock, qtbot, monkeypatch):
    def broken(*args, **kwargs):
        yield painting.PaintUpdate(0.0, 1.0)
        raise RuntimeError("convolution went wrong")

    monkeypatch.setattr(painting, "paint", broken)
    dock.paint()
    finish(qtbot, dock)
    assert "convolution went wrong" in messages()[-1]
    assert "Traceback" not in messages()[-1]
    assert not hasattr(notification_manager.records[-1], "exception"), "no traceback dialog is offered"
    assert not stains_of(dock.viewer)
    assert dock.panel.button_paint.isEnabled()


def test_copy_as_command(dock):
    line = dock.copy_command()
    assert line == "virtual-paint predict INPUT -m small -o stains_small.ome.tif"
    assert QApplication.clipboard().text() == line
    dock.choose(blend="median", precision="bfloat16", device="cpu", tile=128, channels=(2, 1, 0))
    line = dock.copy_command()
    assert line.endswith("--channels 2,1,0 --blend median --tile 128 --device cpu --precision bfloat16")


def test_packages_open_from_disk_and_by_drop(dock, qtbot, offered, tmp_path):
    dock.open_package(tmp_path / "absent.zip")
    assert "absent.zip" in messages()[-1]
    assert dock.value().model == "small"
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(offered / "small-3d"))])
    event = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    dock.dropEvent(event)
    assert dock.value().model == str(offered / "small-3d")
    assert "Membrane" in dock.form.summary.text()


def test_the_card_says_what_the_model_is_not_for(dock):
    assert "anything but tests" in dock.form.card.text()
    assert "0.250" in dock.form.card.text()
    assert "DNA 0.50" in dock.form.summary.text()


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (CHANNELS, ["-4 um", "0 um", "+4 um"]),
        (("DNA", "ER"), ["DNA", "ER"]),
        (("Brightfield",), ["Brightfield"]),
        (("Phase", "Phase 1"), ["Phase", "Phase 1"]),
        (("z0", "z1"), ["plane 0", "plane 1"]),
        (("Phase z0", "Phase z12"), ["plane 0", "plane 12"]),
    ],
)
def test_labels_leave_out_what_is_common(names, short):
    assert without_common_start(names) == short


@pytest.mark.parametrize(
    "choice",
    [
        StainState(layers=CHANNELS[:1], model="small"),
        StainState(
            layers=CHANNELS,
            model="small-3d",
            axes="CYX",
            painting=PaintSettings(device="cpu", precision="bfloat16", blend="gaussian", tile=96, tta="full"),
        ),
        StainState(
            layers=CHANNELS,
            model="small",
            channels=(0, 2, 1),
            again="add",
            keep=False,
            hide_input=False,
            painting=PaintSettings(resample=True),
        ),
    ],
)
def test_the_form_shows_what_it_is_given(dock, choice):
    changes = []
    dock.form.valueChanged.connect(changes.append)
    dock.form.setValue(choice)
    assert dock.form.value() == choice
    dock.form.finish()
    assert not changes
    dock.form.tile.setValue(512)
    assert changes == [replaced(choice, {"painting.tile": 512})]


def test_a_tile_that_is_too_small_is_auto(dock):
    for pixels, size in ((64, 64), (7, "auto"), (16, 16), (0, "auto")):
        dock.form.tile.setValue(pixels)
        assert dock.value().painting.tile == size
    dock.form.tile.setValue(7)
    dock.form.tile.editingFinished.emit()
    assert dock.form.tile.text() == "auto"


def test_each_setting_of_the_engine_is_in_the_form_or_follows_from_the_image(dock):
    names = {name.removeprefix("painting.") for name in dock.form._bindings if name.startswith("painting.")}
    assert {each.name for each in fields(PaintSettings)} - names == {"channels", "region", "steady"}
    names = {name.partition(".")[0] for name in dock.form._bindings}
    assert {each.name for each in fields(StainState)} - names == {"channels"}
    for name, choice in CHOICES.items():
        box = getattr(dock.form, name)
        assert sorted(box.itemData(row) for row in range(box.count())) == sorted(values_of(choice))


def test_every_control_has_a_tooltip(dock):
    for button in dock.findChildren(QPushButton):
        if button.text() and not isinstance(button.parent(), QCollapsible):
            assert button.toolTip(), button.text()
    for combo in dock.findChildren(QComboBox):
        assert combo.toolTip()
    for name in ("layers", "tile", "hide_input", "offer", "confirm", "about", "advanced"):
        assert getattr(dock.form, name).toolTip(), name


def test_shortcuts_click_the_buttons(dock, qtbot):
    keys = {shortcut.key().toString(): shortcut for shortcut in dock.findChildren(QShortcut)}
    assert set(keys) == {"Ctrl+Return", "Ctrl+Shift+Return", "Ctrl+.", "Ctrl+Alt+Return", "Ctrl+Alt+S"}
    assert all(shortcut.context() == Qt.ShortcutContext.WindowShortcut for shortcut in keys.values())
    keys["Ctrl+Return"].activated.emit()
    finish(qtbot, dock)
    assert len(stains_of(dock.viewer)) == 5
    assert "Ctrl+Return" in dock.panel.button_paint.toolTip()
