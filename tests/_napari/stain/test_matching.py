"""Several models, turns and time series in the Stain dock."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QComboBox, QFormLayout, QToolButton

from napari_virtual_paint import painting
from napari_virtual_paint._napari.compare.dock import CompareDock
from napari_virtual_paint._napari.compare.scores import as_text
from napari_virtual_paint._napari.shared.viewer.layer_list import MANY
from napari_virtual_paint._napari.shared.viewer.layer_pairs import comparable
from napari_virtual_paint._napari.shared.viewer.layers import KEY, our_metadata
from napari_virtual_paint._napari.stain.dock import StainDock
from napari_virtual_paint._napari.stain.matching import likely, paintable
from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting import Member, ModelSet
from napari_virtual_paint.stack import Stack

CHANNELS = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")
PATIENCE = 60_000

pytestmark = pytest.mark.usefixtures("offered")


@pytest.fixture
def volume(make_napari_viewer):
    """A dock beside a z-stack, which the model of volumes paints; and its pixels."""
    viewer = make_napari_viewer()
    data = np.random.default_rng(0).random((8, 32, 48), dtype=np.float32)
    viewer.add_image(data, name="Brightfield", scale=(1, 0.65, 0.65), axis_labels=("z", "y", "x"))
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    dock.choose(model="small-3d")
    return dock, Stack(data[None, None], ("Brightfield",))


def layers_of(viewer, role):
    return {our_metadata(layer)["channel"]: layer for layer in viewer.layers if our_metadata(layer).get("role") == role}


def finish(qtbot, dock):
    assert dock.painting is not None, dock.panel.check.text()
    qtbot.waitUntil(lambda: dock.painting is None, timeout=PATIENCE)


def test_turns_give_sd_layers_that_are_hidden_and_go_with_their_painting(volume, qtbot):
    dock, stack = volume
    viewer = dock.viewer
    dock.choose(tta="flips", merge="median")
    assert dock.copy_command().endswith("--tta flips --merge median")
    dock.paint()
    finish(qtbot, dock)
    qtbot.waitUntil(lambda: len(layers_of(viewer, "uncertainty")) == 2, timeout=PATIENCE)
    truth = painting.run_to_end(painting.paint(open_model("small-3d"), stack, painting.PaintSettings(tta="flips", merge="median")))
    spreads, stains = layers_of(viewer, "uncertainty"), layers_of(viewer, "stain")
    layer = spreads["DNA SD"]
    np.testing.assert_allclose(layer.data, truth.uncertainty.data[0, 0], atol=1e-5)
    np.testing.assert_allclose(stains["DNA"].data, truth.stack.data[0, 0], atol=1e-5)
    assert (layer.name, layer.visible, layer.colormap.name, layer.contrast_limits[0]) == ("DNA SD", False, "inferno", 0)
    assert layer.contrast_limits[1] == pytest.approx(np.percentile(layer.data, 99.5), rel=1e-3)
    assert our_metadata(stains["DNA"])["uncertainty"] == pytest.approx(truth.report.uncertainty["DNA"], rel=1e-3)
    assert "Median of 4 passes; mean SD DNA" in dock.panel.status.text()
    assert layer not in paintable(viewer)
    assert layer not in comparable(viewer), "an SD is nobody's truth"
    dock.choose(tta="none")
    dock.paint()
    finish(qtbot, dock)
    qtbot.waitUntil(lambda: not layers_of(viewer, "uncertainty"), timeout=PATIENCE)
    assert len(layers_of(viewer, "stain")) == 2


def test_layers_come_from_several_models_and_equal_stains_are_combined(volume, qtbot):
    dock, stack = volume
    more = dock.form.more
    assert more.combine.isHidden()
    more.add.click()
    box = more.findChild(QComboBox)
    box.setCurrentIndex(box.findData("small"))
    assert dock.value().more == ("small",)
    assert not dock.panel.button_paint.isEnabled()
    assert "makes one plane" in dock.panel.check.text(), "a window of planes does not lie on a volume"
    more.findChild(QToolButton).click()
    assert dock.value().more == ()
    assert dock.panel.button_paint.isEnabled()
    twin = dock.model_list.open(open_model("small-3d").info.source)
    dock.form.setModels(dock.model_list.rows())
    dock.choose(more=(twin,))
    assert not more.combine.isHidden()
    assert "Several of the models make DNA, Membrane." in more.combine.toolTip()
    assert dock.panel.button_paint.isEnabled()
    more.combine.click()
    assert "DNA is made by small-3d twice; choose the model once, or combine equal stains" in dock.panel.check.text()
    assert not dock.panel.button_paint.isEnabled()
    more.combine.click()
    assert f"-m small-3d -m {open_model('small-3d').info.source} -o" in dock.copy_command()
    assert "--ensemble" in QApplication.clipboard().text()
    dock.paint()
    finish(qtbot, dock)
    one = open_model("small-3d")
    truth = painting.run_to_end(painting.paint(ModelSet((Member(one), Member(one)), ensemble=True), stack))
    np.testing.assert_allclose(layers_of(dock.viewer, "stain")["Membrane"].data, truth.stack.data[0, 1], atol=1e-5)


def test_stains_of_two_models_lie_side_by_side(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    planes = np.random.default_rng(1).random((3, 48, 64), dtype=np.float32)
    for data, name in zip(planes, CHANNELS, strict=True):
        viewer.add_image(data, name=name)
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    dock.choose(model="small", more=("small-3d",))
    dock.paint()
    finish(qtbot, dock)
    stains = layers_of(viewer, "stain")
    assert list(stains) == ["DNA", "ER", "RNA", "AGP", "Mito", "Membrane"]
    many = ModelSet((Member(open_model("small")), Member(open_model("small-3d"))), ensemble=True)
    truth = painting.run_to_end(painting.paint(many, Stack(planes[None, :, None], CHANNELS))).stack.data
    for index, layer in enumerate(stains.values()):
        np.testing.assert_allclose(layer.data, truth[0, index, 0], atol=1e-5)
    qtbot.waitUntil(lambda: list(layers_of(viewer, "uncertainty")) == ["DNA SD"], timeout=PATIENCE)


def test_a_series_is_normalised_as_one_where_there_is_one(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    frames = np.random.default_rng(0).random((3, 6, 32, 32), dtype=np.float32) * np.arange(1, 4)[:, None, None, None]
    viewer.add_image(frames.astype(np.float32), name="Brightfield", axis_labels=("t", "z", "y", "x"))
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    dock.choose(model="small-3d")
    assert not dock.form.normalize.isHidden()
    dock.form.normalize.setCurrentIndex(1)
    assert dock.value().painting.normalize == "series"
    dock.paint()
    finish(qtbot, dock)
    settings = painting.PaintSettings(normalize="series")
    truth = painting.run_to_end(painting.paint(open_model("small-3d"), Stack(frames[:, None].astype(np.float32)), settings))
    np.testing.assert_allclose(layers_of(viewer, "stain")["DNA"].data, truth.stack.data[:, 0], atol=1e-5)
    viewer.dims.set_current_step(0, 1)
    dock.preview()
    finish(qtbot, dock)
    preview = layers_of(viewer, "preview")["DNA"]
    corner = tuple(slice(round(at), round(at) + side) for at, side in zip(preview.translate[-2:], preview.data.shape[-2:], strict=True))
    np.testing.assert_allclose(
        preview.data[0], truth.stack.data[(1, 0, slice(None), *corner)], atol=1e-5, err_msg="the series' own statistics"
    )
    viewer.layers.clear()
    viewer.add_image(frames[0], name="Brightfield", axis_labels=("z", "y", "x"))
    assert dock.form.normalize.isHidden()


def test_the_table_of_scores_has_a_column_of_sds_where_a_prediction_has_one(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    truth = np.random.default_rng(0).random((32, 40), dtype=np.float32)
    for name, spread in (("DNA", {"uncertainty": 0.25}), ("ER", {})):
        viewer.add_image(truth, name=name)
        viewer.add_image(truth + 0.1, name=f"{name} (predicted)", metadata={KEY: {"role": "stain", "channel": name, **spread}})
    dock = CompareDock(viewer)
    viewer.window.add_dock_widget(dock, name="Compare")
    assert dock.wait()
    table = dock.panel.table.scores
    assert [table.headerData(column, Qt.Orientation.Horizontal) for column in range(table.columnCount())][-1] == "SD"
    assert [table.data(table.index(row, table.columnCount() - 1)) for row in range(table.rowCount())] == ["0.250", "–", "0.250"]
    assert as_text(table.rows).splitlines()[0].split("\t")[-2:] == ["SD", "note"]
    viewer.layers["DNA (predicted)"].metadata = {KEY: {"role": "stain", "channel": "DNA"}}
    dock.pair_by_name()
    assert dock.wait()
    assert table.columnCount() == 6


def test_a_burst_of_many_layers_is_followed_once_and_none_is_taken_for_a_channel(qtbot, monkeypatch):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    dock = StainDock(viewer)
    qtbot.addWidget(dock)
    for number in range(MANY):
        viewer.add_image(np.zeros((8, 8)), name=f"Brightfield {number}")
    assert len(dock.value().layers) == MANY
    times = []
    offer = dock.form.setLayers
    monkeypatch.setattr(dock.form, "setLayers", lambda names: (times.append(len(names)), offer(names)))
    for number in range(MANY, 3 * MANY):
        viewer.add_image(np.zeros((8, 8)), name=f"Brightfield {number}")
    assert not times, "nothing is listed while they arrive"
    qtbot.waitUntil(lambda: bool(times), timeout=PATIENCE)
    assert times == [3 * MANY]
    assert dock.form.layers.count() == 3 * MANY
    viewer.layers.clear()
    qtbot.waitUntil(lambda: dock.form.layers.count() == 0, timeout=PATIENCE)
    for number in range(MANY + 1):
        viewer.add_image(np.zeros((8, 8)), name=f"Brightfield {number}")
    assert len(likely(viewer)) == 1


def test_the_row_of_a_model_of_focal_planes_says_planes(make_napari_viewer):
    """The package may name its first plane "z0", which nobody can read."""
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((3, 32, 48), np.float32), name="phase", axis_labels=("z", "y", "x"), scale=(4, 0.65, 0.65))
    dock = StainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Stain")
    dock.choose(model="small")
    form = dock.form.channels.form
    rows = [[form.itemAt(0, role).widget().text() for role in (QFormLayout.ItemRole.LabelRole, QFormLayout.ItemRole.FieldRole)]]
    assert rows == [["Planes", "3 planes of phase: 0, 1, 2"]]
