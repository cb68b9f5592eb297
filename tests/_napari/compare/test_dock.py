"""The Compare dock in a real viewer."""

from __future__ import annotations

import csv
import io
from importlib.resources import files

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QFontMetrics, QShortcut
from qtpy.QtWidgets import QApplication, QRadioButton, QWidget

from napari_virtual_paint._napari import commands
from napari_virtual_paint._napari.compare.dock import CompareDock
from napari_virtual_paint._napari.compare.form import CompareSettings
from napari_virtual_paint._napari.compare.panel import KEYS
from napari_virtual_paint._napari.compare.scores import ScoreRow
from napari_virtual_paint._napari.compare.side_by_side import pairs_across
from napari_virtual_paint._napari.compare.table import ScoresTable
from napari_virtual_paint._napari.shared.viewer.stain_view import KEY as NEXT_STAIN
from napari_virtual_paint._napari.shared.viewer.view_state import Snapshot
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.metrics.pixels import Scores, score

SHAPE = (96, 128)
STAINS = ("DNA", "ER", "Mito")


def field(seed: int, shape=SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 300.0, shape).astype(np.uint16)


def predict(truth: np.ndarray, noise: float, seed: int = 99) -> np.ndarray:
    """A prediction in another unit, with noise."""
    z = (truth - truth.mean()) / truth.std()
    return (z + noise * np.random.default_rng(seed).normal(size=truth.shape)).astype(np.float32)


def fill(viewer) -> None:
    """Add three stains, painted and true, and a brightfield that belongs to none."""
    viewer.add_image(field(9), name="Brightfield")
    for index, stain in enumerate(STAINS):
        truth = field(index)
        viewer.add_image(truth, name=stain, blending="additive")
        viewer.add_image(predict(truth, 0.2 * (index + 1)), name=f"{stain} (predicted)", colormap="blue", blending="additive")


@pytest.fixture
def viewer():
    """A viewer without a window: it has layers, sliders, a camera and a grid, and costs nothing."""
    return ViewerModel()


@pytest.fixture
def open_dock(qtbot):
    """Return how to open a dock on a viewer without a window; it scores when it is asked to."""

    def open_dock(viewer) -> CompareDock:
        dock = CompareDock(viewer)
        qtbot.addWidget(dock)
        return dock

    return open_dock


@pytest.fixture
def dock(viewer, open_dock):
    fill(viewer)
    return open_dock(viewer)


@pytest.fixture
def shown(make_napari_viewer):
    """The dock in a real viewer on the screen: it scores by itself."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1000, 700)
    fill(viewer)
    dock = CompareDock(viewer)
    viewer.window.add_dock_widget(dock, name="Compare")
    QApplication.processEvents()
    return dock


def layer(dock, name):
    return dock.viewer.layers[name]


def test_the_table_holds_the_scores_of_every_pair_and_their_mean(dock):
    assert dock.wait()
    rows = dock.table_rows()
    assert [row["stain"] for row in rows] == [*STAINS, "Mean"]
    for row in rows[:-1]:
        expected = score(layer(dock, f"{row['stain']} (predicted)").data, layer(dock, row["stain"]).data)
        assert {name: row[name] for name in expected.to_json()} == pytest.approx(expected.to_json())
    assert rows[-1]["pcc"] == pytest.approx(np.mean([row["pcc"] for row in rows[:-1]]))


def test_settings_edit_one_value(dock):
    for value in (CompareSettings("stack", "raw"), CompareSettings("view"), CompareSettings()):
        dock.setValue(value)
        assert dock.value() == value


def test_scale_raw_scores_intensities(dock):
    dock.setValue(CompareSettings(scale="raw"))
    assert dock.wait()
    expected = score(layer(dock, "DNA (predicted)").data, layer(dock, "DNA").data, "raw")
    assert dock.table_rows()[0]["mse"] == pytest.approx(expected.mse)


def test_moving_the_slider_scores_the_plane_seen(viewer, open_dock, qtbot):
    truth = field(1, (8, 64, 64))
    predicted = predict(truth, 0.3)
    predicted[5] = predict(truth[5], 2.0)
    viewer.add_image(da.from_array(truth, chunks=(1, 64, 64)), name="DNA", scale=(0.5, 1, 1))
    viewer.add_image(predicted, name="DNA (predicted)", scale=(0.5, 1, 1))
    dock = open_dock(viewer)
    dock.show()
    viewer.dims.set_current_step(0, 2)
    assert dock.wait()
    first = dock.table_rows()[0]["pcc"]
    assert first == pytest.approx(score(predicted[2], truth[2]).pcc)
    viewer.dims.set_current_step(0, 5)  # no one asks: the dock follows by itself
    qtbot.waitUntil(lambda: dock.table_rows()[0]["pcc"] != first and not dock.updater.busy, timeout=8000)
    assert dock.table_rows()[0]["pcc"] == pytest.approx(score(predicted[5], truth[5]).pcc)
    viewer.scene.camera.zoom = 3.0
    assert not dock.updater.busy, "the plane is the same"
    dock.setValue(CompareSettings("stack"))
    assert dock.wait()
    viewer.dims.set_current_step(0, 1)
    assert not dock.updater.busy, "the stack is the same"
    assert dock.table_rows()[0]["ssim"] == pytest.approx(score(predicted, truth).ssim)


def test_the_visible_region_follows_the_camera(shown, qtbot):
    dock = shown
    camera = dock.viewer.scene.camera
    dock.setValue(CompareSettings("view"))
    camera.center, camera.zoom = (30.0, 40.0), 20.0
    QApplication.processEvents()
    assert dock.wait()
    height, width = (length / 20.0 / 2 for length in dock.viewer.canvas.size)
    ys = [y for y in range(SHAPE[0]) if abs(y - 30.0) < height + 0.5]
    xs = [x for x in range(SHAPE[1]) if abs(x - 40.0) < width + 0.5]
    part = (slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1))
    assert len(ys) < SHAPE[0]
    expected = score(layer(dock, "DNA (predicted)").data[part], layer(dock, "DNA").data[part]).pcc
    assert dock.table_rows()[0]["pcc"] == pytest.approx(expected)
    camera.center = (60.0, 80.0)
    qtbot.waitUntil(lambda: dock.table_rows()[0]["pcc"] != pytest.approx(expected) and not dock.updater.busy, timeout=8000)


def test_pixels_that_change_in_place_are_scored_again(shown, qtbot):
    dock = shown
    assert dock.wait()
    before = dock.table_rows()[0]["pcc"]
    painted = layer(dock, "DNA (predicted)")
    painted.data[:40] = 0
    painted.refresh(thumbnail=False, highlight=False, extent=False)
    qtbot.waitUntil(lambda: dock.table_rows()[0]["pcc"] < before and not dock.updater.busy, timeout=8000)


def test_stale_results_are_dropped(shown):
    dock = shown
    assert dock.wait()
    seen = []
    dock.updater.scored.connect(lambda rows, request, seconds: seen.append(request.scale))
    dock.setValue(CompareSettings(scale="raw"))
    dock.updater.ask(0.0)
    dock.updater._due()
    dock.setValue(CompareSettings(scale="zscore"))
    assert dock.wait()
    assert seen == ["zscore"]


def test_a_stain_without_partner_and_a_constant_one_are_undefined_with_a_reason(dock):
    dock.viewer.layers.remove("ER")
    layer(dock, "Mito (predicted)").data = np.zeros(SHAPE, np.float32)
    assert dock.wait()
    rows = {row["stain"]: row for row in dock.table_rows()}
    assert rows["ER"]["pcc"] is None
    assert "choose a true layer" in rows["ER"]["reason"]
    assert "same value everywhere" in rows["Mito"]["reason"]
    assert rows["Mean"]["pcc"] == pytest.approx(rows["DNA"]["pcc"])
    model = dock.panel.table.model()
    tip = next(
        model.index(row, 1).data(Qt.ItemDataRole.ToolTipRole) for row in range(model.rowCount()) if model.index(row, 0).data() == "Mito"
    )
    assert tip.startswith("undefined: The prediction has the same value everywhere")


def test_layers_of_different_pixel_size_get_a_sentence(dock):
    layer(dock, "DNA").scale = (2.0, 2.0)
    assert dock.wait()
    assert "differ in pixel size" in dock.table_rows()[0]["reason"]
    assert dock.table_rows()[1]["pcc"] is not None


def test_a_truth_whose_file_tells_no_pixel_size_is_compared_pixel_by_pixel(dock):
    predicted = layer(dock, "DNA (predicted)")
    predicted.units, predicted.scale = ("um", "um"), (0.6, 0.6)
    assert dock.wait()
    assert dock.table_rows()[0]["pcc"] == pytest.approx(score(predicted.data, layer(dock, "DNA").data).pcc)


def test_multiscale_layers_are_scored_at_full_resolution(viewer, open_dock):
    truth = field(3, (256, 256))
    predicted = predict(truth, 0.5)
    viewer.add_image([truth, truth[::2, ::2]], name="DNA", multiscale=True)
    viewer.add_image(predicted, name="DNA (predicted)")
    dock = open_dock(viewer)
    assert dock.wait()
    assert dock.table_rows()[0]["pcc"] == pytest.approx(score(predicted, truth).pcc)


def test_the_user_chooses_other_pairs(dock):
    dock.pair(layer(dock, "DNA (predicted)"), layer(dock, "ER"))
    assert dock.wait()
    assert dock.table_rows()[0]["pcc"] == pytest.approx(score(layer(dock, "DNA (predicted)").data, layer(dock, "ER").data).pcc)
    _predicted, truth, button = dock.panel.pairs._lines[1]
    truth.setCurrentIndex(truth.findText("DNA"))
    truth.activated.emit(truth.currentIndex())
    assert dock.pairs[1].truth is layer(dock, "DNA")
    button.click()
    assert [pair.predicted.name for pair in dock.pairs] == ["DNA (predicted)", "Mito (predicted)"]
    dock.panel.by_name.click()
    assert [pair.truth.name for pair in dock.pairs] == list(STAINS)


def test_a_line_of_ones_own_pairs_any_two_layers(dock):
    dock.panel.add.click()
    predicted, truth, _button = dock.panel.pairs._lines[3]
    predicted.setCurrentIndex(predicted.findText("Brightfield"))
    predicted.activated.emit(predicted.currentIndex())
    predicted, truth, _button = dock.panel.pairs._lines[3]
    truth.setCurrentIndex(truth.findText("DNA"))
    truth.activated.emit(truth.currentIndex())
    assert dock.wait()
    assert [row["stain"] for row in dock.table_rows()] == [*STAINS, "Brightfield", "Mean"]
    assert dock.table_rows()[3]["pcc"] is not None


def test_renaming_a_layer_pairs_anew(dock, qtbot):
    layer(dock, "ER").name = "something"
    qtbot.waitUntil(lambda: [pair.truth.name for pair in dock.pairs] == ["DNA", "Mito"])


LOOKS = ("visible", "colormap", "contrast_limits", "blending", "opacity", "gamma")


def look(viewer):
    """What a user sees of a view, comparable."""
    snap = Snapshot.take(viewer)
    text = [(each.name, *(repr(getattr(each, name, None)) for name in LOOKS)) for each in snap.layers]
    return text, snap.named, {each.name for each in snap.selected}, snap.grid, snap.camera, snap.text


@pytest.mark.parametrize(("layout", "opened"), [("each", "shown"), ("overlaid", "dock")])
def test_side_by_side_puts_predicted_beside_true_and_goes_back_exactly(layout, opened, request):
    dock = request.getfixturevalue(opened)
    viewer = dock.viewer
    layer(dock, "Mito").visible = False
    viewer.scene.camera.center, viewer.scene.camera.zoom = (20.0, 30.0), 7.0
    viewer.layers.selection = {layer(dock, "ER")}
    assert dock.wait()
    before = look(viewer)
    dock.panel.layout_choice.setCurrentIndex(dock.panel.layout_choice.findData(layout))
    dock.panel.side.click()
    grid = viewer.canvas.grid
    assert grid.enabled
    place = {each.name: grid.position(index, viewer.layers) for index, each in enumerate(viewer.layers)}
    assert place["Brightfield"] == (-1, -1)
    for stain in STAINS:
        ours, theirs = place[f"{stain} (predicted)"], place[stain]
        assert abs(ours[0] - theirs[0]) + abs(ours[1] - theirs[1]) == 1, place
    assert len(set(place.values())) == (7 if layout == "each" else 3)
    layer(dock, "DNA (predicted)").visible = False
    assert not layer(dock, "DNA").visible
    dock.panel.side.click()
    assert look(viewer) == before
    layer(dock, "DNA (predicted)").visible = False
    assert layer(dock, "DNA").visible


@pytest.mark.parametrize(
    ("pairs", "canvas", "image", "across"),
    [
        (1, (900, 600), (1, 4), 1),  # beside each other, as the button says
        (3, (600, 900), (1, 1), 0),  # two rows of three: 300
        (5, (950, 900), (1, 1), 2),  # three rows of two pairs: 225; five rows of one: 190; two rows of five: 180
        (5, (1000, 300), (1, 1), 1),  # five rows of one: 150; three rows of two pairs: 75
        (2, (600, 900), (1, 4), 0),  # two rows of two either way, 112.5 pixels high
    ],
)
def test_panels_are_as_large_as_the_canvas_allows(pairs, canvas, image, across):
    assert pairs_across(pairs, canvas, image) == across


def open_mixture(viewer) -> None:
    """Add stains of one plane beside a z-stack, a time series of volumes, a color picture, a pyramid and labels; one stain lies apart."""
    viewer.add_image(field(9, (5, *SHAPE)), name="Phase", scale=(2, 1, 1))
    viewer.add_image(field(8, (2, 5, *SHAPE)), name="Series", visible=False)
    viewer.add_image(np.zeros((*SHAPE, 3), np.uint8), name="Picture", rgb=True)
    viewer.add_labels(np.zeros(SHAPE, int), name="Cells")
    for index, (stain, place) in enumerate((("DAPI", {}), ("MAP2", {"translate": (10, 300)}), ("NFH", {"scale": (2, 2)}))):
        truth = field(index)
        viewer.add_image([truth, truth[::2, ::2]] if stain == "NFH" else truth, name=stain, blending="additive", **place)
        viewer.add_image(predict(truth, 0.2), name=f"{stain} (predicted)", colormap="blue", blending="additive", **place)


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_side_by_side_fits_stains_of_fewer_axes_than_the_viewer(shown, ndisplay):
    viewer = shown.viewer
    viewer.layers.clear()
    QApplication.processEvents()
    open_mixture(viewer)
    viewer.dims.ndisplay = ndisplay
    viewer.fit_to_view()
    shown.pair_by_name()
    QApplication.processEvents()
    before = look(viewer)
    shown.panel.side.click()
    QApplication.processEvents()
    assert shown.view.mode == "side by side"
    assert {each.name for each in viewer.layers if each.visible} == {
        f"{name}{end}" for name in ("DAPI", "MAP2", "NFH") for end in ("", " (predicted)")
    }
    # all stains together reach from 0 to 190 in y (NFH) and to 427 in x (MAP2), so this is the middle of each box
    assert viewer.scene.camera.center[-2:] == pytest.approx((95.0, 213.5), abs=1.0)
    height, width = viewer.canvas.viewbox_size(viewer.layers)
    assert viewer.scene.camera.zoom == pytest.approx(0.95 * min(height / 190, width / 427), rel=0.02)
    shown.panel.side.click()
    assert look(viewer) == before


@pytest.mark.parametrize("mode", ["side", "flicker"])
def test_a_way_to_look_that_fails_leaves_the_view_as_it_was(dock, mode, monkeypatch):
    """napari itself may fail at any point: here at the last layer whose contrast is set."""
    assert dock.wait()
    before = look(dock.viewer)
    last = layer(dock, "Mito")
    said = []
    monkeypatch.setattr("napari_virtual_paint._napari.shared.jobs.show_error", said.append)

    def refuse(event) -> None:
        if dock.viewer.canvas.grid.enabled or not layer(dock, "Brightfield").visible:
            raise IndexError("index 2 is out of bounds")

    last.events.blending.connect(refuse)
    last.events.colormap.connect(refuse)
    getattr(dock.panel, mode).click()
    last.events.blending.disconnect(refuse)
    last.events.colormap.disconnect(refuse)
    assert len(said) == 1
    assert "index 2 is out of bounds" in said[0]
    assert dock.view.mode == ""
    assert not getattr(dock.panel, mode).isChecked()
    assert not dock.view._timer.isActive()
    assert look(dock.viewer) == before
    layer(dock, "DNA (predicted)").opacity = 0.3
    assert layer(dock, "DNA").opacity != 0.3, "the links are gone, too"


def test_contrast_moves_in_proportion_side_by_side(dock):
    assert dock.wait()
    dock.show_side_by_side()
    predicted, truth = layer(dock, "DNA (predicted)"), layer(dock, "DNA")
    z = [(value - truth.data.mean()) / truth.data.std() for value in truth.contrast_limits]
    assert predicted.contrast_limits == pytest.approx([predicted.data.mean() + value * predicted.data.std() for value in z], abs=1e-3)
    predicted.contrast_limits = (-1.0, 2.0)
    mean, sd = predicted.data.mean(), predicted.data.std()
    assert truth.contrast_limits == pytest.approx(
        [truth.data.mean() + (value - mean) / sd * truth.data.std() for value in (-1, 2)], rel=1e-3
    )


def test_a_pair_is_shown_alike_whatever_its_layers_were(dock):
    predicted, truth = layer(dock, "DNA (predicted)"), layer(dock, "DNA")
    predicted.opacity, predicted.gamma, truth.gamma = 0.3, 1.6, 1.2
    dock.show_side_by_side()
    assert (predicted.opacity, predicted.gamma, truth.opacity, truth.gamma) == (1, 1, 1, 1), "each alone in its box"
    dock.panel.layout_choice.setCurrentIndex(dock.panel.layout_choice.findData("overlaid"))
    dock.show_side_by_side()
    assert (predicted.opacity, predicted.gamma, truth.opacity, truth.gamma) == (0.3, 1.6, 0.3, 1.6)
    dock.back()
    assert (predicted.gamma, truth.gamma) == (1.6, 1.2)


def test_links_of_the_users_own_are_left_alone(dock):
    from napari.experimental import link_layers

    pair = [layer(dock, "DNA"), layer(dock, "DNA (predicted)")]
    link_layers(pair, ["opacity"])
    dock.show_side_by_side()
    dock.back()
    pair[0].opacity = 0.3
    assert pair[1].opacity == 0.3


def test_two_predictions_of_one_stain_stand_beside_their_truth(dock):
    viewer = dock.viewer
    for stain in STAINS[1:]:
        viewer.layers.remove(f"{stain} (predicted)")
    viewer.add_image(predict(layer(dock, "DNA").data, 1.0), name="DNA (predicted) [1]")
    assert dock.wait()
    assert [row["stain"] for row in dock.table_rows()] == ["DNA (predicted)", "DNA (predicted) [1]", "Mean"]
    dock.show_side_by_side()
    grid = viewer.canvas.grid
    places = [grid.position(viewer.layers.index(name), viewer.layers) for name in ("DNA (predicted)", "DNA (predicted) [1]", "DNA")]
    assert places == [(0, 0), (0, 1), (0, 2)]


def test_selected_rows_alone_are_shown(dock):
    assert dock.wait()
    dock.panel.table.selectRow(1)
    dock.show_side_by_side()
    assert {each.name for each in dock.viewer.layers if each.visible} == {"ER", "ER (predicted)"}


def test_flicker_shows_the_two_in_turn_and_stops_cleanly(dock, qtbot):
    layer(dock, "DNA (predicted)").opacity = 0.8
    before = look(dock.viewer)
    dock.panel.period.setValue(350)
    dock.panel.flicker.click()
    seen = set()

    def both_seen() -> bool:
        seen.add((layer(dock, "DNA (predicted)").opacity, layer(dock, "DNA").opacity, dock.viewer.canvas.overlays["text"].text))
        return len(seen) == 2

    qtbot.waitUntil(both_seen, timeout=5000)
    assert seen == {(0.8, 0.0, "Predicted"), (0.0, 0.8, "True")}
    assert not layer(dock, "Brightfield").visible
    dock.panel.flicker.click()
    assert not dock.view._timer.isActive()
    assert look(dock.viewer) == before


def test_flicker_turns_into_side_by_side_and_back_to_the_first_view(dock):
    before = look(dock.viewer)
    dock.show_flicker()
    dock.show_side_by_side()
    assert dock.view.mode == "side by side"
    assert not dock.panel.flicker.isChecked()
    dock.back()
    assert look(dock.viewer) == before


def test_a_layer_that_is_removed_ends_the_mode(dock):
    dock.show_side_by_side()
    dock.viewer.layers.remove("ER")
    assert dock.view.mode == ""
    assert not dock.viewer.canvas.grid.enabled


def test_the_error_map_lies_on_the_truth_and_is_symmetric(dock):
    layer(dock, "DNA").translate = (4.0, 0.0)
    dock.panel.table.clearSelection()
    assert dock.wait()
    dock.panel.errors.click()
    assert dock.wait()
    error = layer(dock, "DNA (error)")
    predicted, truth = (layer(dock, name).data.astype(float) for name in ("DNA (predicted)", "DNA"))
    predicted, truth = predicted[4:], truth[:-4]
    expected = (predicted - predicted.mean()) / predicted.std() - (truth - truth.mean()) / truth.std()
    np.testing.assert_allclose(error.data, expected, atol=1e-4)
    assert tuple(error.translate) == (4.0, 0.0)
    assert error.contrast_limits[0] == -error.contrast_limits[1]
    assert {each.name for each in dock.viewer.layers if "(error)" in each.name} == {f"{stain} (error)" for stain in STAINS}
    count = len(dock.viewer.layers)
    dock.show_error_maps()
    assert dock.wait()
    assert len(dock.viewer.layers) == count
    assert [row["stain"] for row in dock.table_rows()] == [*STAINS, "Mean"]


def test_the_button_of_error_maps_removes_them_again(dock):
    viewer, button = dock.viewer, dock.panel.errors
    viewer.layers.selection = {layer(dock, "ER")}
    before = look(viewer)
    button.click()
    assert dock.wait()
    assert button.isChecked()
    assert layer(dock, "DNA (error)").colorbar.visible
    button.click()
    assert not button.isChecked()
    assert look(viewer) == before
    button.click()
    assert dock.wait()
    for stain in STAINS:
        viewer.layers.remove(f"{stain} (error)")
    assert not button.isChecked(), "the user removed them all"


def test_nothing_shines_through_error_maps_in_3d(dock):
    viewer = dock.viewer
    seen = {layer.name for layer in viewer.layers if layer.visible}
    assert seen

    def shown():
        return {layer.name for layer in viewer.layers if layer.visible}

    dock.panel.errors.click()
    assert dock.wait()
    maps = shown() - seen
    assert maps
    assert seen < shown(), "in 2D the map covers them"
    viewer.dims.ndisplay = 3
    assert shown() == maps
    viewer.dims.ndisplay = 2
    assert shown() == seen | maps
    viewer.dims.ndisplay = 3
    dock.panel.errors.click()
    assert shown() == seen


def test_error_maps_that_fail_are_removed_whole(dock, monkeypatch):
    said = []
    monkeypatch.setattr("napari_virtual_paint._napari.shared.jobs.show_error", said.append)
    before = look(dock.viewer)

    def refuse(event) -> None:
        if event.value.name == "ER (error)":
            raise ValueError("no texture is left")

    dock.viewer.layers.events.inserted.connect(refuse)
    dock.panel.errors.click()
    assert dock.wait()
    assert len(said) == 1
    assert "no texture is left" in said[0]
    dock.viewer.layers.events.inserted.disconnect(refuse)
    assert look(dock.viewer) == before
    assert not dock.panel.errors.isChecked()


def test_an_error_map_shows_both_signs_in_3d(make_napari_viewer, open_dock):
    """Too much is predicted in a ball in front, too little in one behind it to the side: from the front one is orange and one blue."""
    z, y, x = np.mgrid[:12, :64, :64]
    truth = np.random.default_rng(0).normal(size=z.shape).astype(np.float32)
    predicted = truth.copy()
    predicted[(z - 3) ** 2 + (y - 32) ** 2 + (x - 16) ** 2 < 100] += 20
    predicted[(z - 8) ** 2 + (y - 32) ** 2 + (x - 48) ** 2 < 100] -= 20
    viewer = make_napari_viewer(show=True)
    viewer.add_image(truth, name="DNA")
    viewer.add_image(predicted, name="DNA (predicted)")
    dock = open_dock(viewer)
    dock.setValue(CompareSettings("stack"))
    dock.show_error_maps()
    assert dock.wait()
    error = viewer.layers["DNA (error)"]
    error.colorbar.visible = False
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    QApplication.processEvents()
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    height, width = picture.shape[:2]
    zoom = viewer.scene.camera.zoom
    much, little = (picture[height // 2, width // 2 + round(zoom * away)] for away in (16 - 31.5, 48 - 31.5))
    assert much[0] > much[2] + 60, "orange"
    assert little[2] > little[0] + 60, "blue"
    viewer.dims.ndisplay = 2
    assert error.colormap.colors[:, 3].min() == 1


def test_the_table_sorts_with_the_mean_last_and_copies(dock):
    assert dock.wait()
    table = dock.panel.table
    for way in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        table.sortByColumn(1, way)
        names = [row.stain for row in table.displayed_rows()]
        assert names[-1] == "Mean"
        assert names[:-1] == (["Mito", "ER", "DNA"] if way == Qt.SortOrder.AscendingOrder else ["DNA", "ER", "Mito"])
    copied = list(csv.reader(io.StringIO(table.copy()), delimiter="\t"))
    assert copied == list(csv.reader(io.StringIO(QApplication.clipboard().text()), delimiter="\t"))
    assert [line[0] for line in copied] == ["stain", "DNA", "ER", "Mito", "Mean"]
    assert float(copied[1][1]) == dock.table_rows()[0]["pcc"]
    table.selectRow(1)
    assert [line.split("\t")[0] for line in table.copy().splitlines()] == ["stain", "ER"]


def test_the_table_is_saved_whole_or_not_at_all(dock, tmp_path):
    assert dock.wait()
    path = dock.save_csv(tmp_path / "scores.csv")
    rows = list(csv.DictReader(path.open()))
    assert [row["stain"] for row in rows] == [*STAINS, "Mean"]
    assert float(rows[0]["PCC"]) == dock.table_rows()[0]["pcc"]
    assert rows[0]["pixels"] == "this plane"
    assert rows[0]["scale"] == "zscore"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(WriteError, match="there is no folder"):
        dock.save_csv(tmp_path / "absent" / "scores.csv")


def test_copy_as_command_needs_files(dock, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"'DNA \(predicted\)' comes from no file"):
        dock.command()
    dock.copy_command()
    assert "comes from no file" in dock.panel._status.text()
    for each in dock.viewer.layers:
        each._source = each.source.model_copy(update={"path": str(tmp_path / ("a b.tif" if "(predicted)" in each.name else "truth.tif"))})
    assert dock.command() == f"virtual-paint evaluate '{tmp_path / 'a b.tif'}' {tmp_path / 'truth.tif'}"
    dock.setValue(CompareSettings(scale="raw"))
    assert dock.command().endswith(" --scale raw")


def test_every_control_has_a_tooltip_and_nothing_is_cut_in_a_narrow_dock(shown):
    dock = shown
    assert dock.wait()
    dock.resize(320, 700)
    panel = dock.panel
    QApplication.processEvents()
    inner = panel.scroll.widget()
    assert inner.minimumSizeHint().width() <= 320
    for widget in panel.findChildren(QWidget):
        kind = type(widget).__name__
        if kind in ("QPushButton", "QRadioButton", "QSpinBox", "_Choice", "QComboBox", "QToolButton"):
            assert widget.toolTip(), widget
    for widget in [*panel.findChildren(type(panel.side)), *panel.settings.findChildren(QWidget)]:
        if not widget.isVisible():  # the list of a box of choices, which opens in a window of its own
            continue
        assert widget.width() >= widget.minimumSizeHint().width(), widget.text()
        right = widget.mapTo(panel, QPoint(widget.width(), 0)).x()
        assert right <= panel.width()
    header = panel.table.horizontalHeader()
    assert sum(header.sectionSize(i) for i in range(6)) <= panel.table.viewport().width()


@pytest.mark.parametrize("width", [290, 800])
def test_no_number_of_the_table_is_cut(qtbot, width):
    table = ScoresTable()
    qtbot.addWidget(table)
    table.resize(width, 300)
    table.show()
    few = ScoreRow("DNA", Scores(0.5, 0.25, 9.5, 1.0, 0.5))
    table.set_rows([few, few])
    many = Scores(-0.123456, -0.987654, 123.456, 123456.789, 98765.4321)
    table.set_rows([ScoreRow("A stain with a name that is long", many, extra={"c_max": 0.98765, "sd": 1234.5}), few])  # other columns
    table.set_rows([ScoreRow("A stain with a name that is long", many, extra={"c_max": 0.98765, "sd": 123456.5}), few])  # the same
    model, header = table.model(), table.horizontalHeader()
    for column in range(1, model.columnCount()):
        cells = [model.index(row, column) for row in range(model.rowCount())]
        texts = [(model.headerData(column, Qt.Orientation.Horizontal), header.font())]
        texts += [(cell.data(), cell.data(Qt.ItemDataRole.FontRole) or table.font()) for cell in cells]
        for text, font in texts:  # Qt leaves 2 to 3 pixels on each side
            assert header.sectionSize(column) >= QFontMetrics(font).horizontalAdvance(text) + 4, text
    whole = header.length() <= table.viewport().width()
    assert whole == (width == 800), "in a narrow dock the table scrolls"
    assert table.horizontalScrollBar().maximum() > 0 or whole


def test_the_choices_say_what_they_are_of(dock):
    boxes = [dock.panel.layout_choice, dock.panel.settings._noise]
    assert [[box.itemText(i) for i in range(2)] for box in boxes] == [
        ["One panel per layer", "Two panels, overlaid"],
        ["Noise ceiling: off", "Noise ceiling: noise estimated"],
    ]


def test_in_3d_the_dock_speaks_of_a_volume(viewer, open_dock):
    truth = field(1, (4, 32, 32))
    viewer.add_image(truth, name="DNA")
    viewer.add_image(predict(truth, 0.3), name="DNA (predicted)")
    dock = open_dock(viewer)
    viewer.dims.ndisplay = 3
    assert dock.wait()
    texts = [button.text() for button in dock.panel.settings.findChildren(QRadioButton)]
    assert "This volume" in texts
    assert "This plane" not in texts
    assert dock.panel._status.text().startswith("This volume, z-scored, 4,096 pixels")
    assert "slice" not in dock.panel._status.text()
    assert dock.table_rows()[0]["pcc"] == pytest.approx(score(viewer.layers["DNA (predicted)"].data, truth).pcc)
    viewer.dims.ndisplay = 2
    assert dock.wait()
    assert dock.panel._status.text().startswith("This plane, z-scored, 1,024 pixels")


def test_without_pairs_the_dock_says_how_to_begin(viewer, open_dock):
    dock = open_dock(viewer)
    assert "Paint stains" in dock.panel._hint.text()
    assert not dock.panel.side.isEnabled()
    assert dock.wait()
    assert dock.table_rows() == []
    viewer.add_image(field(1), name="DNA (predicted)")
    viewer.add_labels(np.zeros(SHAPE, int), name="cells")
    viewer.add_image(np.zeros((8, 8, 3), np.uint8), name="picture", rgb=True)
    assert dock.wait()
    assert [row["pcc"] for row in dock.table_rows()] == [None, None]


def test_a_dock_that_is_closed_by_its_cross_brings_the_view_back_and_lets_go_of_the_viewer(shown, qtbot):
    viewer, watch = shown.viewer, shown._watch
    before = look(viewer)
    shown.show_error_maps()
    assert shown.wait()
    shown.show_side_by_side()
    with qtbot.waitSignal(shown.destroyed, timeout=30_000):
        shown.parentWidget().destroyOnClose()
    assert look(viewer) == before
    assert not watch._seen
    viewer.dims.ndisplay = 3
    viewer.layers["DNA"].name = "other"
    viewer.add_image(field(1), name="late")
    QApplication.processEvents()


def test_a_dock_that_is_hidden_brings_the_view_back_and_one_that_is_moved_does_not(shown, qtbot):
    viewer, holder = shown.viewer, shown.parentWidget()
    before = look(viewer)
    shown.panel.flicker.click()
    holder.setFloating(True)
    QApplication.processEvents()
    holder.setFloating(False)
    QApplication.processEvents()
    assert shown.view.mode == "flicker"
    holder.hide()
    qtbot.waitUntil(lambda: shown.view.mode == "", timeout=30_000)
    assert look(viewer) == before


def test_the_actions_open_the_dock_and_do_what_the_buttons_do(viewer, open_dock, monkeypatch):
    truth = field(0)
    viewer.add_image(truth, name="DNA")
    viewer.add_image(predict(truth, 0.3), name="DNA (predicted)")
    opened = {}

    def open_or_find(name):
        if name not in opened:
            opened[name] = open_dock(viewer)
        return opened[name]

    monkeypatch.setattr(commands, "open_dock", open_or_find)
    commands.side_by_side()
    assert viewer.canvas.grid.enabled
    commands.flicker()
    assert opened["Compare"].view.mode == "flicker"
    commands.flicker()
    assert opened["Compare"].view.mode == ""
    commands.error_map()
    assert opened["Compare"].wait()
    assert "DNA (error)" in viewer.layers


def test_every_action_in_the_manifest_is_there_and_its_shortcut_is_in_its_title():
    manifest = PluginManifest.from_file(files("napari_virtual_paint") / "napari.yaml")
    titles = {command.python_name: command.title for command in manifest.contributions.commands}
    for action, key in (("side_by_side", "side"), ("flicker", "flicker"), ("error_map", "errors")):
        assert KEYS[key] in titles[f"napari_virtual_paint._napari.commands:{action}"]
        assert callable(getattr(commands, action))


def test_shortcuts_press_the_buttons(dock):
    keys = {shortcut.key().toString(): shortcut for shortcut in dock.findChildren(QShortcut)}
    assert set(keys) == {*KEYS.values(), NEXT_STAIN}
    assert {shortcut.context() for shortcut in keys.values()} == {Qt.ShortcutContext.WindowShortcut}
    keys[KEYS["side"]].activated.emit()
    assert dock.view.mode == "side by side"


def test_the_ceiling_is_a_column_where_it_is_asked_for(dock, viewer):
    assert dock.wait()
    assert "c_max" not in dock.table_rows()[0]
    dock.setValue(CompareSettings(noise="estimate"))
    assert dock.wait()
    rows = dock.table_rows()
    assert all(0 <= row["c_max"] < 1 for row in rows[:-1])  # the layers are noise alone
    viewer.add_image(np.random.default_rng(1).normal(0, 50, SHAPE), name="DNA control")
    dock.setValue(CompareSettings(noise="named"))
    assert dock.wait()
    rows = {row["stain"]: row for row in dock.table_rows()}
    expected = np.sqrt(1 - (layer(dock, "DNA control").data.var() / layer(dock, "DNA").data.astype(float).var()))
    assert rows["DNA"]["c_max"] == pytest.approx(expected)
    assert "c_max" not in rows["ER"]  # it has no control
    dock.setValue(CompareSettings())
    assert dock.wait()
    assert "c_max" not in dock.table_rows()[0]
