"""The Cells dock, driven as a user drives it, on a small network of random weights."""

from __future__ import annotations

import shlex
import threading
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QScrollArea

from fake_cells import CHANNELS, correlated, draw, feature_names
from napari_virtual_paint._napari.cells import generator_thread, jobs, layers
from napari_virtual_paint._napari.cells.dock import GROUP_TAB, MAP_TAB, CellsDock
from napari_virtual_paint._napari.cells.jobs import measured as really_measured
from napari_virtual_paint._napari.cells.map import MapView
from napari_virtual_paint._napari.cells.panel import COLOURS, Meter
from napari_virtual_paint._napari.cells.picture import LOW, CellPicture
from napari_virtual_paint._napari.cells.slider_row import number_rect, track_rect
from napari_virtual_paint._napari.cells.sliders import FEATURE, FeatureTree, Sliders
from napari_virtual_paint._napari.cells.state import CellsState
from napari_virtual_paint._napari.cells.train_dialog import CellTrainDialog
from napari_virtual_paint._napari.cells.walk import FRAME, WalkPlan
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint.cells.cellprofiler_names import parse
from napari_virtual_paint.cells.cp2image.model import build, generate, generate_scaled, open_cell_model
from napari_virtual_paint.cells.cp2image.package import CellPackageDraft, save_cell_model
from napari_virtual_paint.cells.cp2image.sample import Sample
from napari_virtual_paint.cells.populations.composite import colours_of, composite, scaled
from napari_virtual_paint.cells.populations.group_shift import members, shifted
from napari_virtual_paint.cells.populations.population import Population
from napari_virtual_paint.cells.populations.walks import sweep
from napari_virtual_paint.cells.transform import Transform
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write

NAMES = feature_names(60)
AREA = "Nuclei_AreaShape_Area"
SIZE, COUNT = 32, 60
PATIENCE = 60_000
"""Milliseconds; far more than anything here takes on a machine with nothing else to do."""


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """A cell model of random weights with sixty cells; the same drawn cells as the fakes'."""
    return saved(tmp_path_factory.mktemp("cells"), "small-cells", "CellPainter", {"width": 4, "max_width": 8, "style": 8})


@pytest.fixture(scope="session")
def noisy(tmp_path_factory):
    """The same with a network that takes noise."""
    config = {"width": 4, "max_width": 8, "style": 8, "code": 2}
    return saved(tmp_path_factory.mktemp("noisy"), "noisy-cells", "ContourPainter", config)


def saved(folder, name, architecture, config):
    import torch

    torch.manual_seed(0)
    values = correlated(COUNT, len(NAMES))
    network = build(architecture, {**config, "features": len(NAMES), "channels": 2, "size": SIZE}).eval()
    if architecture == "ContourPainter":
        torch.nn.init.normal_(network.head.weight, std=0.05)  # so that the noise shows
    metadata = {
        "Metadata_Treatment": tuple("DMSO" if i % 2 else "drug" for i in range(COUNT)),
        "Metadata_Scale": (1000.0,) * COUNT,
    }
    draft = CellPackageDraft(
        id=name,
        name=name.replace("-", " ").capitalize(),
        version="0.1.0",
        description="Random weights, for tests.",
        license="BSD-3-Clause",
        authors=["The developers"],
        card={"trained_on": "nothing"},
        features=NAMES,
        channels=CHANNELS,
        size=SIZE,
        pixel_size=0.5,
        architecture=architecture,
        config=config,
        transform=Transform.fit(values),
        low=np.zeros(2, np.float32),
        high=np.array([1000, 600], np.float32),
        network=network,
        reader=None,
        sample=Sample(values, draw(values, np.median(values, axis=0), SIZE), metadata),
    )
    return save_cell_model(folder / f"{name}.zip", draft)


@pytest.fixture(autouse=True)
def _no_other_models(monkeypatch):
    """Neither bundled models nor the user's: each test opens its own."""
    monkeypatch.setattr("napari_virtual_paint._napari.cells.dock.listed_models", list)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Measure what the picture has without cp_measure: everything a tenth of a deviation above the first real cell."""
    monkeypatch.setattr(jobs, "PAUSE", 30)
    seen = []

    def measured(opened, crop, position=-1):
        seen.append(np.array(crop))
        return (opened.population.values[0] + 0.1 * opened.population.spread).astype(np.float32)

    monkeypatch.setattr(jobs, "measured", measured)
    return seen


@pytest.fixture
def open_dock(qtbot, package):
    docks = []

    def open_dock(viewer=None, **choice) -> CellsDock:
        dock = CellsDock(viewer if viewer is not None else ViewerModel())
        qtbot.addWidget(dock)
        dock.resize(420, 900)
        dock.show()
        docks.append(dock)
        dock.choose(model=str(package), **choice)
        qtbot.waitUntil(lambda: dock.opened is not None and dock.view.tabs.isEnabled(), timeout=PATIENCE)
        rest(qtbot, dock)
        return dock

    yield open_dock
    for dock in docks:
        dock.shut()
    no_thread(qtbot)


@pytest.fixture
def painter(qtbot):
    painter = generator_thread.GeneratorThread()
    yield painter
    painter.stop()
    no_thread(qtbot)


def no_thread(qtbot):
    """Wait until the painting thread is gone."""
    qtbot.waitUntil(lambda: not [t for t in threading.enumerate() if t.name == generator_thread.NAME], timeout=PATIENCE)


@pytest.fixture
def dock(open_dock):
    return open_dock()


def rest(qtbot, dock):
    qtbot.waitUntil(lambda: not dock.busy, timeout=PATIENCE)


def value(dock, name=AREA) -> float:
    return float(dock.editor.vector.values[dock.opened.population.position(name)])


def row_rect(dock, name=AREA):
    index = dock.view.sliders.tree.index_of(dock.opened.population.position(name))
    dock.view.sliders.scrollTo(index)
    return dock.view.sliders.visualRect(index)


def drag(dock, shares, name=AREA):
    """Drag a slider with the mouse through some places."""
    track, view = track_rect(row_rect(dock, name)), dock.view.sliders.viewport()
    places = [QPoint(round(track.left() + share * track.width()), track.center().y()) for share in shares]
    QTest.mousePress(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, places[0])
    for place in places:
        QTest.mouseMove(view, place)
    QTest.mouseRelease(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, places[-1])


def messages():
    return [record.message for record in notification_manager.records]


def test_it_opens_on_the_cell_nearest_the_mean_and_paints_it(dock, package):
    model = open_cell_model(package)
    population = Population(model.population.values, model.features)
    z = population.standard(population.values)
    nearest = int(((z - z.mean(axis=0)) ** 2).sum(axis=1).argmin())
    assert np.array_equal(dock.editor.vector.base, population.values[nearest])
    assert np.allclose(dock.view.picture.made, generate_scaled(model, population.values[nearest])[0], atol=1e-5)
    assert np.array_equal(dock.view.picture.real, model.population.crops[nearest])
    assert dock.view.picture.version == dock.editor.version
    assert dock.view.meter.level == "real"
    assert dock.view.model.currentText() == "Small cells"
    assert not dock.view.status.isVisible()


def test_dragging_repaints_with_the_newest_vector(dock, qtbot):
    dock.choose(follow=False)
    drawn = []
    dock.view.picture.drawn.connect(drawn.append)
    low, high = (dock.opened.scales.value(0, share) for share in (0.2, 0.8))
    drag(dock, np.linspace(0.2, 0.8, 40))
    assert value(dock) == pytest.approx(high, abs=(high - low) / 50)
    rest(qtbot, dock)
    assert np.allclose(dock.view.picture.made, generate_scaled(dock.opened.model, dock.editor.vector.values)[0], atol=1e-5)
    qtbot.waitUntil(lambda: bool(drawn) and drawn[-1] == dock.editor.version, timeout=PATIENCE)
    assert drawn == sorted(set(drawn))
    others = np.delete(dock.editor.vector.values, 0)
    assert np.array_equal(others, np.delete(dock.editor.vector.base, 0)), "without following, one feature moves alone"


def test_frames_never_queue(painter, qtbot):
    """While one vector is painted twenty come; of these the last alone is painted."""
    started, release, seen = threading.Event(), threading.Event(), []

    def slow(vector):
        seen.append(float(vector[0]))
        started.set()
        release.wait(30)
        return vector[:, None, None]

    shown = []
    painter.generated.connect(lambda cell: shown.append(cell.version))
    painter.open(slow, lambda vector, cell: None)
    painter.request(0, np.zeros(1, np.float32))
    assert started.wait(30)
    for version in range(1, 21):
        painter.request(version, np.full(1, version, np.float32))
    assert painter.busy
    release.set()
    qtbot.waitUntil(lambda: not painter.busy, timeout=PATIENCE)
    assert seen == [0, 20]
    assert shown == [0, 20]


def test_a_vector_that_can_not_be_painted_is_told_and_the_next_one_tried(painter, qtbot):
    def fussy(vector):
        if vector[0] == 1:
            raise ValueError("one")
        return vector[:, None, None]

    painter.open(fussy, lambda vector, cell: None)
    painter.request(1, np.ones(1, np.float32))
    qtbot.waitUntil(lambda: not painter.busy, timeout=PATIENCE)
    assert any("Painting a cell stopped" in message for message in messages())
    painter.request(2, np.zeros(1, np.float32))
    qtbot.waitUntil(lambda: painter.shown == 2, timeout=PATIENCE)


def test_undo_takes_a_whole_drag_back_and_redo_does_it_again(dock, qtbot):
    before = value(dock)
    drag(dock, (0.3, 0.5, 0.9))
    after = value(dock)
    dock.shaping.set_feature(NAMES[4], 0.0)
    dock.view.undo.click()
    assert value(dock) == pytest.approx(after)
    dock.view.undo.click()
    assert value(dock) == before
    assert not dock.view.undo.isEnabled()
    dock.view.redo.click()
    assert value(dock) == pytest.approx(after)
    rest(qtbot, dock)
    assert np.allclose(dock.view.picture.made, generate_scaled(dock.opened.model, dock.editor.vector.values)[0], atol=1e-5)


def test_double_click_resets_one_and_the_button_all(dock):
    dock.choose(follow=False)
    base = dock.editor.vector.base
    dock.shaping.set_feature(AREA, 5.0)
    dock.shaping.set_feature(NAMES[4], 7.0)
    track, view = track_rect(row_rect(dock)), dock.view.sliders.viewport()
    QTest.mouseDClick(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, track.center())
    assert value(dock) == base[0]
    assert value(dock, NAMES[4]) == 7.0
    dock.view.reset.click()
    assert np.array_equal(dock.editor.vector.values, base)
    assert not dock.view.reset.isEnabled()
    dock.view.undo.click()
    assert value(dock, NAMES[4]) == 7.0


def test_a_number_is_typed_into_its_field(dock, qtbot):
    box, view = number_rect(row_rect(dock)), dock.view.sliders.viewport()
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, box.center())
    editor = next(child for child in view.children() if child.inherits("QLineEdit"))
    editor.setText("123.5")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: value(dock) == pytest.approx(123.5), timeout=5000)
    dock.view.sliders.setCurrentIndex(dock.view.sliders.tree.index_of(0))
    QTest.keyClick(dock.view.sliders, Qt.Key.Key_Right)
    scales = dock.opened.scales
    assert value(dock) == pytest.approx(123.5 + 0.01 * (scales.high[0] - scales.low[0]), rel=1e-4)
    QTest.keyClick(dock.view.sliders, Qt.Key.Key_Delete)
    assert value(dock) == dock.editor.vector.base[0]


def test_following_moves_the_others_to_their_conditional_mean(dock):
    assert dock.value().follow, "by default"
    assert dock.view.follow.isChecked()
    target = float(dock.opened.population.percentile(AREA, 95))
    dock.shaping.set_feature(AREA, target)
    expected = dock.opened.population.conditional(dock.editor.vector.base, {AREA: target})
    assert np.allclose(dock.editor.vector.values, expected)
    assert not np.allclose(expected[1:], dock.editor.vector.base[1:])
    dock.shaping.set_feature(NAMES[1], 0.5)
    assert value(dock) == pytest.approx(target), "what was asked for before stays as asked for"
    dock.view.follow.setChecked(False)
    kept = dock.editor.vector.values.copy()
    dock.shaping.set_feature(NAMES[2], 9.0)
    assert np.array_equal(np.delete(dock.editor.vector.values, 2), np.delete(kept, 2))


def test_the_meter_turns_amber_where_the_picture_does_not_obey(dock, qtbot, monkeypatch):
    drawn = {"share": 0.3}
    start = dock.editor.vector.base.copy()

    def measured(opened, crop, position=-1):
        return (start + 2.0 + drawn["share"] * (dock.editor.vector.values - start)).astype(np.float32)  # with an offset of its own

    monkeypatch.setattr(jobs, "measured", measured)
    dock.shaping.set_feature(AREA, float(start[0]) + 1)
    dock.editor.reset_all()  # the unchanged picture is measured
    rest(qtbot, dock)
    assert np.isnan(dock.view.meter.gain)
    assert dock.view.meter.level == "real"
    dock.shaping.set_feature(AREA, float(start[0] + dock.opened.population.spread[0]))
    rest(qtbot, dock)
    assert dock.view.meter.gain == pytest.approx(0.3, abs=0.01)
    assert dock.view.meter.level == "rare", "amber"
    assert dock.view.meter.words == "Like real cells; the picture shows 30 % of the change"
    assert dock.view.meter.trust.value == pytest.approx(30, abs=1)
    drawn["share"] = 0.9
    dock.shaping.set_feature(AREA, float(start[0] + 1.2 * dock.opened.population.spread[0]))
    assert np.isnan(dock.view.meter.gain), "not known for the new picture"
    rest(qtbot, dock)
    assert dock.view.meter.gain == pytest.approx(0.9, abs=0.01)
    assert dock.view.meter.level == "real"
    assert dock.view.meter.words == "Like real cells; the picture obeys"


def test_the_meter_goes_amber_then_red(dock, qtbot):
    population, levels = dock.opened.population, []
    for deviations in np.linspace(0, 12, 9):
        dock.shaping.set_feature(AREA, float(dock.editor.vector.base[0] + deviations * population.spread[0]))
        rest(qtbot, dock)
        levels.append(dock.view.meter.level)
    assert levels[0] == "real"
    assert levels[-1] == "beyond"
    order = ["real", "rare", "beyond"]
    assert [order.index(level) for level in levels] == sorted(order.index(level) for level in levels)
    picture = dock.view.meter.grab().toImage()
    red = COLOURS["beyond"].rgb()
    assert any(picture.pixel(x, y) == red for x in range(0, picture.width(), 2) for y in range(picture.height()))
    assert "beyond" in dock.view.meter.toolTip()
    assert Meter().level is None


def test_what_the_picture_has_is_shown_after_a_pause(dock, qtbot, quick):
    facts = dock.shaping.facts
    assert np.allclose(facts.measured, dock.opened.population.values[0] + 0.1 * dock.opened.population.spread)
    assert dock.view.measured.text().startswith("Measured: ")
    assert np.allclose(quick[-1], generate(dock.opened.model, dock.editor.vector.values)[0], atol=1e-2)
    dock.shaping.set_feature(AREA, 5.0)
    assert facts.measured is None, "what was measured is of another picture"
    assert dock.view.measured.text() == ""
    rest(qtbot, dock)
    assert facts.measured is not None
    assert "those moved are" in dock.view.measured.text()


def test_measuring_by_cp_measure_gives_what_the_picture_has(dock):
    crops = np.asarray(dock.opened.cohort.crops)
    sizes = (crops[:, 0] > 500).sum(axis=(1, 2))
    small, large = (really_measured(dock.opened, crops[i]) for i in (sizes.argmin(), sizes.argmax()))
    at = dock.opened.population.position
    assert large[at(AREA)] > 1.2 * small[at(AREA)] > 0
    assert 0.3 < large[at("Nuclei_Intensity_MeanIntensity_DNA")] <= 1.0, "as a share of the scale in the cells' metadata"


def test_search_and_only_what_was_moved(dock):
    dock.choose(follow=False)
    assert dock.view.sliders.search("nuclei eccentricity") == 1
    assert dock.view.sliders.search("texture ER 00") == sum("Texture" in n and "_ER_" in n and "_00_" in n for n in NAMES)
    assert dock.view.sliders.search("") == len(NAMES)
    dock.shaping.set_feature(NAMES[5], 1.0)
    dock.view.changed_only.setChecked(True)
    assert not dock.view.sliders.tree.index_of(0).isValid()
    assert dock.view.sliders.tree.index_of(5).isValid()


def test_thousands_of_features_are_a_tree_of_rows_drawn_when_seen(qtbot):
    names = [f"{part}_Texture_Contrast_{channel}_{i}_00_256" for part in ("Cells", "Nuclei") for channel in "ABCDE" for i in range(200)]
    tree = FeatureTree()
    tree.set_features([parse(name) for name in names])
    assert [tree.index(row, 0).data() for row in range(tree.rowCount())] == ["Nuclei  (1000)", "Cells  (1000)"]
    index = tree.index_of(names.index("Nuclei_Texture_Contrast_C_7_00_256"))
    path = []
    while index.isValid():
        path.append(index.data())
        index = index.parent()
    assert path == ["Contrast 7 00 256", "Texture  (200)", "C  (200)", "Nuclei  (1000)"]
    sliders = Sliders()
    qtbot.addWidget(sliders)
    sliders.resize(300, 400)
    sliders.tree.set_features([parse(name) for name in names])
    sliders.unfold_some()
    asked = []
    data = sliders.tree.data
    sliders.tree.data = lambda index, role=0: (
        (asked.append(index.row()) if role == Qt.ItemDataRole.DisplayRole else None) or data(index, role)
    )
    sliders.show()
    qtbot.waitExposed(sliders)
    sliders.grab()
    assert 5 < len(set(asked)) < 40


def test_picking_cells_from_the_list_and_a_groups_mean(dock, qtbot):
    dock.view.cells.column.setCurrentIndex(dock.view.cells.column.findData("Metadata_Treatment"))
    dock.view.cells.value.setCurrentIndex(dock.view.cells.value.findData("drug"))
    assert list(dock.view.cells.rows.positions) == list(range(0, COUNT, 2))
    dock.view.cells.list.clicked.emit(dock.view.cells.rows.index(3, 0))
    assert dock.shaping.cell == 6
    assert np.array_equal(dock.editor.vector.values, dock.opened.population.values[6])
    assert np.array_equal(dock.view.picture.real, np.asarray(dock.opened.cohort.crops[6]))
    dock.view.cells.mean.click()
    rest(qtbot, dock)
    z = dock.opened.population.standard(dock.opened.population.values[::2])
    assert dock.shaping.cell == 2 * int(((z - z.mean(axis=0)) ** 2).sum(axis=1).argmin())
    dock.view.undo.click()
    assert dock.shaping.cell == 6
    assert np.array_equal(dock.view.picture.real, np.asarray(dock.opened.cohort.crops[6]))
    thumb = dock.view.cells.rows.index(0, 0).data(Qt.ItemDataRole.DecorationRole)
    assert thumb.width() > 10


def test_channels_and_difference(dock, qtbot):
    made, real = dock.view.picture.made, dock.view.picture.real
    dock.view._channel_buttons["ER"].click()
    assert dock.value().hidden == ("ER",)
    image = dock.view.picture.image()
    assert not any(image.pixelColor(x, SIZE // 2).green() > image.pixelColor(x, SIZE // 2).blue() for x in range(SIZE))
    height, wide = dock.view.picture.height(), dock.view.picture.side
    dock.view.difference.click()
    assert dock.value().difference
    assert dock.view.picture.side < wide
    assert dock.view.picture.height() < height
    assert dock.view.picture._images[2] is not None
    assert made is dock.view.picture.made
    assert real is dock.view.picture.real


def test_the_picture_is_the_composite_at_the_contrast_of_the_package(qtbot):
    picture = CellPicture()
    qtbot.addWidget(picture)
    limits = [(0.0, 1000.0), (0.0, 600.0)]
    picture.open(CHANNELS, limits, 0.5)
    crop = np.random.default_rng(0).uniform(0, 1000, (2, 8, 8)).astype(np.float32)
    picture.set_made(scaled(crop, limits), 3)
    image = picture.image()
    from napari_virtual_paint._napari.cells.picture import layer_colours

    expected = composite(crop, limits, layer_colours(tuple(CHANNELS)))
    found = np.array([[image.pixelColor(x, y).getRgb()[:3] for x in range(8)] for y in range(8)])
    assert np.array_equal(found, expected)
    assert len(colours_of(CHANNELS)) == 2


def test_the_generated_cell_goes_to_the_viewer_with_its_pixel_size(dock, qtbot):
    dock.shaping.set_feature(AREA, 5.0)
    rest(qtbot, dock)
    for count in (2, 4):
        dock.view.send.click()
        qtbot.waitUntil(lambda count=count: len(dock.viewer.layers) == count, timeout=PATIENCE)
    first, second = dock.viewer.layers[0], dock.viewer.layers[2]
    assert first.name == "DNA (generated)"
    assert np.allclose(first.data, generate(dock.opened.model, dock.editor.vector.values)[0, 0], atol=1e-2)
    assert tuple(first.scale) == (0.5, 0.5)
    assert our_metadata(first)["provenance"]["moved"] == {AREA: 5.0}
    assert second.translate[0] > first.translate[0], "the next cell does not cover the last"


def test_a_walk_becomes_layers_with_a_slider_and_the_score_in_words(dock, qtbot):
    viewer = dock.viewer
    dock.view.walk.setValue(WalkPlan(("Metadata_Treatment", "DMSO"), ("Metadata_Treatment", "drug"), step=20))
    dock.view.walk.go.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 4 and viewer.canvas.overlays["text"].visible, timeout=PATIENCE)
    rest(qtbot, dock)
    walked = dock.view.walk.walked
    assert viewer.layers[0].data.shape == (len(walked.walk), SIZE, SIZE)
    real, crops = viewer.layers["DNA (walk, real)"], dock.opened.cohort.crops
    for step, vector in enumerate(walked.walk.values):
        nearest = dock.opened.population.neighbours(vector, 1)[0][0, 0]
        assert np.allclose(real.data[step], crops[nearest, 0])
    assert real.translate[-2] < viewer.layers[0].translate[-2], "above the generated cells"
    strip = dock.view.walk.strip.index(0, 0)
    assert strip.data(Qt.ItemDataRole.DecorationRole).height() > 2 * FRAME
    assert f"#{walked.real.rows[0, 0]}" in strip.data(Qt.ItemDataRole.ToolTipRole)
    command = dock.walks.copy_command()
    assert shlex.split(command)[3:8] == [dock.value().model, "--from", "Metadata_Treatment=DMSO", "--to", "Metadata_Treatment=drug"]
    assert "--step 20" in command
    assert "--alone" not in command
    assert np.allclose(viewer.layers[1].data, walked.frames[:, 1])
    assert viewer.layers[0].axis_labels[0] == "step"
    assert viewer.canvas.overlays["text"].text == walked.walk.captions[0]
    viewer.dims.set_current_step(0, 2)
    assert viewer.canvas.overlays["text"].text == walked.walk.captions[2]
    assert dock.view.walk.slider.value() == 2
    assert np.array_equal(dock.editor.vector.values, walked.walk.values[2])
    dock.view.walk.slider.setValue(1)
    assert viewer.dims.current_step[0] == 1
    assert f"{walked.walk.scores[1]:.2f}" in dock.view.walk.caption.text()
    assert dock.view.walk.strip.index(1, 0).data() == f"{walked.walk.scores[1]:.2f}"
    viewer.layers.clear()
    assert not viewer.canvas.overlays["text"].visible


def test_walks_and_galleries_are_written(dock, qtbot, tmp_path, monkeypatch):
    dock.walks.make(WalkPlan(0, ("Metadata_Treatment", "drug"), "line", frames=3))
    qtbot.waitUntil(lambda: dock.view.walk.walked is not None, timeout=PATIENCE)
    dock.walks.save(tmp_path / "walk.gif")
    dock.shaping.set_feature(AREA, 5.0)
    dock.show_gallery()
    qtbot.waitUntil(lambda: dock.gallery_dialog is not None and dock.gallery_dialog.isVisible(), timeout=PATIENCE)
    assert not dock.gallery_dialog.picture.pixmap().isNull()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(tmp_path / "gallery.png"), ""))
    dock.gallery_dialog.save.click()
    qtbot.waitUntil(lambda: (tmp_path / "walk.gif").exists() and (tmp_path / "gallery.png").exists(), timeout=PATIENCE)
    dock.walks.save(tmp_path / "walk.xyz")
    rest(qtbot, dock)
    assert any("walk.xyz: a walk is written as" in message for message in messages())


def test_the_gallery_goes_to_the_viewer_as_a_grid_and_undo_takes_it_out_whole(dock, qtbot):
    viewer = dock.viewer
    viewer.add_image(np.zeros((8, 8)), name="mine")
    dock.show_gallery()
    qtbot.waitUntil(lambda: dock.gallery_dialog is not None and dock.gallery_dialog.isVisible(), timeout=PATIENCE)
    dock.gallery_dialog.send.click()
    dock.gallery_dialog.close()
    names = ["mine", "DNA (gallery)", "ER (gallery)", "Labels (gallery)"]
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == names, timeout=PATIENCE)
    population, layer = dock.opened.population, viewer.layers["DNA (gallery)"]
    features = [NAMES[0], "Nuclei_AreaShape_Orientation", "Nuclei_Intensity_MeanIntensity_DNA", "Cytoplasm_AreaShape_Area"]
    vectors = sweep(population, features[1], base=dock.editor.vector.base)
    down, right = SIZE + 6, SIZE + 2
    cell = layer.data[down : down + SIZE, 3 * right : 3 * right + SIZE]
    assert np.allclose(cell, generate(dock.opened.model, vectors[3])[0, 0], atol=1e-2), "second row, fourth percentile; others follow"
    assert layer.data.shape == (4 * down - 6, 5 * right - 2)
    assert our_metadata(layer)["provenance"]["features"] == features
    labels = list(viewer.layers["Labels (gallery)"].features["label"])
    assert labels[0] == "Nuclei AreaShape Area"
    assert labels[4].startswith("5 %: ")
    assert len(labels) == 4 + 20
    dock.view.undo.click()
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == ["mine"], timeout=PATIENCE)
    dock.view.redo.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=PATIENCE)
    dock.view.undo.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=PATIENCE)


def test_the_real_cells_most_like_what_is_asked_stand_beside_it(dock, qtbot):
    picture, population = dock.view.picture, dock.opened.population

    def expected():
        z = population.points.of(population.values) - population.points.of(dock.editor.vector.values)
        away = np.sqrt((z**2).mean(axis=1))
        away[dock.shaping.cell] = np.inf  # stands on the left already
        return np.argsort(away)[:3], np.sort(away)[:3]

    first = expected()
    assert picture.like.positions.tolist() == first[0].tolist()
    dock.shaping.set_feature(AREA, float(population.percentile(AREA, 99)))
    rest(qtbot, dock)
    positions, distances = expected()
    assert picture.like.positions.tolist() == positions.tolist()
    assert positions.tolist() != first[0].tolist()
    assert picture.like.distances == pytest.approx(distances, abs=1e-4)
    tip = picture.like_tip(1)
    assert f"Real cell #{positions[1]}" in tip
    assert f"{distances[1]:.2f} SD a feature" in tip
    box = picture.like_boxes()[1]
    assert picture.rect().contains(box)
    QTest.mouseClick(picture, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, box.center())
    assert dock.shaping.cell == positions[1]


def test_a_table_without_pictures_is_compared_with_the_models_own_cells(open_dock, dock, tmp_path):
    other = open_dock(table=table_of(dock, tmp_path / "cells.parquet", Metadata_Well=["A1", "B1"] * 30))
    assert other.opened.cohort.crops is None
    assert len(other.view.picture.like.positions) == 3
    assert "Click" not in other.view.picture.like_tip(0), "they are no rows of the table"
    QTest.mouseClick(other.view.picture, Qt.MouseButton.LeftButton, pos=other.view.picture.like_boxes()[0].center())
    assert other.shaping.cell == other.opened.first


def test_a_group_is_shifted_and_twelve_cells_change_at_once(dock, qtbot):
    dock.shaping.set_feature(NAMES[4], 5.0)
    dock.view.tabs.setCurrentIndex(GROUP_TAB)
    panel, population = dock.view.group, dock.opened.population
    assert panel.value().feature == NAMES[4], "what was moved"
    panel.column.setCurrentIndex(panel.column.findData("Metadata_Treatment"))
    rest(qtbot, dock)
    rows = members(np.arange(1, COUNT, 2))
    assert panel.value().values == ("DMSO",)
    assert np.allclose(panel.view.cells, generate_scaled(dock.opened.model, population.values[rows]), atol=1e-5)
    assert panel.note.text().startswith("12 of 30 cells")
    panel.slider.setValue(150)
    rest(qtbot, dock)
    vectors = shifted(population, rows, NAMES[4], 1.5 * float(population.spread[4]))
    assert np.allclose(panel.view.cells, generate_scaled(dock.opened.model, vectors), atol=1e-5)
    assert panel.by.text().startswith("+1.50 SD (+")
    dock.choose(follow=False)
    rest(qtbot, dock)
    alone = shifted(population, rows, NAMES[4], 1.5 * float(population.spread[4]), follow=False)
    assert np.allclose(panel.view.cells, generate_scaled(dock.opened.model, alone), atol=1e-5)
    panel.menu.actions()[1].setChecked(True)
    panel.menu.actions()[0].setChecked(False)
    rest(qtbot, dock)
    assert len(panel.view.boxes(12)) == 12
    assert all(panel.view.rect().contains(box) for box in panel.view.boxes(12))
    panel.send.click()
    qtbot.waitUntil(lambda: len(dock.viewer.layers) == 3, timeout=PATIENCE)
    rows = members(np.arange(0, COUNT, 2))
    data, down = dock.viewer.layers["DNA (group)"].data, SIZE + 6
    assert data.shape == (4 * down - 6, 6 * (SIZE + 2) - 2)
    assert np.allclose(data[:SIZE, :SIZE], generate(dock.opened.model, population.values[rows[0]])[0, 0], atol=1e-2)
    moved = shifted(population, rows[:1], NAMES[4], 1.5 * float(population.spread[4]), follow=False)
    assert np.allclose(data[down : down + SIZE, :SIZE], generate(dock.opened.model, moved)[0, 0], atol=1e-2), "below it, shifted"
    assert our_metadata(dock.viewer.layers[0])["provenance"]["group"] == "Treatment = drug"
    panel.menu.actions()[1].setChecked(False)
    assert panel.note.text() == "Tick a group: no cell is shown."
    dock.view.undo.click()
    qtbot.waitUntil(lambda: not dock.viewer.layers, timeout=PATIENCE)


def test_another_cell_has_the_same_features_and_another_seed(dock, package, noisy, qtbot):
    assert not dock.view.another.isEnabled()
    assert "takes no noise" in dock.view.another.toolTip()
    dock.choose(model=str(noisy))
    qtbot.waitUntil(lambda: dock.opened.model.id == "noisy-cells" and dock.view.another.isEnabled(), timeout=PATIENCE)
    rest(qtbot, dock)
    model, vector, first = dock.opened.model, dock.editor.vector.values.copy(), dock.view.picture.made
    dock.view.another.click()
    rest(qtbot, dock)
    assert dock.value().seed == 1
    assert np.array_equal(dock.editor.vector.values, vector)
    assert np.allclose(dock.view.picture.made, generate_scaled(model, vector, seed=1)[0], atol=1e-5)
    assert not np.allclose(dock.view.picture.made, first, atol=1e-3)
    dock.view.send.click()
    qtbot.waitUntil(lambda: len(dock.viewer.layers) == 2, timeout=PATIENCE)
    assert our_metadata(dock.viewer.layers[0])["provenance"]["seed"] == 1
    dock.walks.make(WalkPlan(0, 1, "line", frames=3, seed=1))
    qtbot.waitUntil(lambda: dock.view.walk.walked is not None, timeout=PATIENCE)
    assert np.allclose(dock.view.walk.walked.frames, generate(model, dock.view.walk.walked.walk.values, seed=1), atol=1e-2)
    assert "--seed 1" in dock.walks.copy_command()
    dock.choose(model=str(package))
    qtbot.waitUntil(lambda: dock.opened.model.id == "small-cells" and dock.view.tabs.isEnabled(), timeout=PATIENCE)
    rest(qtbot, dock)
    assert not dock.view.another.isEnabled()


def test_the_map_shows_the_path_and_a_click_opens_the_cell(dock, qtbot):
    dock.view.tabs.setCurrentIndex(MAP_TAB)
    qtbot.waitUntil(lambda: dock.view.map.projection is not None, timeout=PATIENCE)
    view = dock.view.map.view
    assert np.allclose(view.points, dock.opened.population.pca().points)
    dock.walks.make(WalkPlan(0, 1, "line", frames=5))
    qtbot.waitUntil(lambda: len(view.path) == 5, timeout=PATIENCE)
    assert np.allclose(view.path[[0, -1]], view.points[:2], atol=1e-3)
    spots = view.place(view.points)
    apart = np.hypot(*(spots[:, None] - spots[None]).transpose(2, 0, 1)) + 1e3 * np.eye(COUNT)
    alone = int(apart.min(axis=1).argmax())
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(*spots[alone].round().astype(int)))
    assert dock.shaping.cell == alone
    assert np.allclose(view.here, view.points[alone], atol=1e-3)
    assert view.picked == alone
    view.grab()


def test_a_slow_map_places_the_cell_after_a_pause(dock, qtbot, monkeypatch):
    """UMAP takes seconds for a vector that is no real cell; a real one is on the map already."""
    population = dock.opened.population
    slow, asked = replace(population.pca(), name="UMAP", axes=("UMAP 1", "UMAP 2")), []
    plain = slow.project
    slow = replace(slow, points=slow.points + 1, project=lambda values: asked.append(threading.current_thread()) or plain(values))
    monkeypatch.setattr(population, "umap", lambda: slow)
    dock.view.tabs.setCurrentIndex(MAP_TAB)
    dock.view.map.kind.setCurrentIndex(dock.view.map.kind.findData("umap"))
    qtbot.waitUntil(lambda: dock.view.map.projection is slow, timeout=PATIENCE)
    dock.shaping.pick(7)
    assert np.array_equal(dock.view.map.view.here, slow.points[7])
    assert not asked
    dock.shaping.set_feature(AREA, 5.0)
    assert dock.view.map.view.here is None, "where it was is not where it is"
    rest(qtbot, dock)
    assert np.allclose(dock.view.map.view.here, plain(dock.editor.vector.values)[0])
    assert asked
    assert threading.main_thread() not in asked
    dock.walks.make(WalkPlan(3, 4, "line", frames=3))
    qtbot.waitUntil(lambda: len(dock.view.map.view.path) == 3, timeout=PATIENCE)
    assert np.array_equal(dock.view.map.view.path[[0, 2]], slow.points[[3, 4]]), "the ends are real cells"


def test_a_map_without_points_is_drawn(qtbot):
    view = MapView()
    qtbot.addWidget(view)
    view.grab()
    assert len(view.place(np.zeros((1, 2)))) == 0


def table_of(dock, path, **columns):
    import pandas as pd

    frame = pd.DataFrame(dock.opened.population.values, columns=list(NAMES))
    for name, values in columns.items():
        frame.insert(0, name, values)
    frame.to_parquet(path)
    return str(path)


def add_image(viewer):
    """Four cells, each on its own quarter, as two layers of one file."""
    median = np.zeros(2)
    cells = draw(np.zeros((4, 2)), median, SIZE)
    planes = np.concatenate([np.concatenate(list(cells[:2]), axis=2), np.concatenate(list(cells[2:]), axis=2)], axis=1)
    for name, plane in zip(CHANNELS, planes, strict=True):
        viewer.add_image(plane, name=name, scale=(0.5, 0.5), units=("um", "um"), metadata={"virtual_paint": {"source": "/data/field.tif"}})
    return planes


def test_a_table_and_its_image_give_the_cell_that_is_clicked(open_dock, dock, qtbot, tmp_path):
    places = np.full((COUNT, 2), 1e4)
    places[[4, 9]] = [(16, 16), (48, 16)]
    path = table_of(
        dock,
        tmp_path / "cells.parquet",
        Nuclei_Location_Center_X=places[:, 0],
        Nuclei_Location_Center_Y=places[:, 1],
        Metadata_FileName=["field.tif"] * 50 + ["other.tif"] * 10,
        Metadata_Well=["A1", "B1"] * 30,
    )
    viewer = ViewerModel()
    planes = add_image(viewer)
    other = open_dock(viewer, table=path)
    assert other.view.cells.column.findData("Metadata_Well") > 0
    other.pick_at((8.0, 24.5))  # world: half a micrometre a pixel
    assert other.shaping.cell == 9
    rest(qtbot, other)
    assert np.allclose(other.view.picture.real, planes[:, 0:32, 32:64])
    other.shaping.pick(55)
    assert other.view.picture.real is None, "its image is not open"


def written_field(folder, name="field.tif"):
    """The four cells of `add_image` in a file."""
    folder.mkdir(exist_ok=True)
    planes = add_image(ViewerModel())
    write(Stack(planes.astype(np.uint16)[None, :, None], ("ER channel", "DNA"), PixelSize(None, 0.5, 0.5)), folder / f"{name[:-4]}.ome.tif")
    return planes[::-1]


@pytest.mark.parametrize("where", ["beside", "path", "chosen"])
def test_the_picture_of_a_tables_cell_is_cut_out_of_its_file(open_dock, dock, qtbot, tmp_path, where):
    folder = tmp_path / ("table" if where == "beside" else "elsewhere")
    (tmp_path / "table").mkdir()
    planes = written_field(folder)
    places = np.tile([[16.0, 16.0]], (COUNT, 1))
    places[9] = 48, 16
    paths = {"Metadata_PathName": [str(folder)] * COUNT} if where == "path" else {}
    path = table_of(
        dock,
        tmp_path / "table" / "cells.parquet",
        Nuclei_Location_Center_X=places[:, 0],
        Nuclei_Location_Center_Y=places[:, 1],
        Metadata_FileName=["plate/field.ome.tif"] * COUNT,
        **paths,
    )
    other = open_dock(table=path)
    assert other.view.cells.images.isVisibleTo(other.view.cells)
    other.shaping.pick(9)
    rest(qtbot, other)
    if where == "chosen":
        assert other.view.picture.real is None
        other.choose(images=str(tmp_path))
        rest(qtbot, other)
    assert np.allclose(other.view.picture.real, planes[:, 0:32, 32:64])


def test_files_of_single_channels_are_put_together(open_dock, dock, qtbot, tmp_path):
    planes = add_image(ViewerModel())
    for name, plane in zip(("d0.tif", "d1.tif"), planes, strict=True):
        write(Stack(plane.astype(np.uint16)[None, None, None], ("x",)), tmp_path / name)
    path = table_of(
        dock,
        tmp_path / "cells.parquet",
        Nuclei_Location_Center_X=np.full(COUNT, 48.0),
        Nuclei_Location_Center_Y=np.full(COUNT, 16.0),
        Image_FileName_OrigDNA=["d0.tif"] * COUNT,
        Image_FileName_OrigER=["d1.tif"] * 50 + ["gone.tif"] * 10,
        Image_FileName_IllumDNA=["d1.tif"] * COUNT,
    )
    other = open_dock(table=path)
    other.shaping.pick(9)
    rest(qtbot, other)
    assert np.allclose(other.view.picture.real, planes[:, 0:32, 32:64])
    other.shaping.pick(55)
    rest(qtbot, other)
    assert other.view.picture.real is None, "a channel is missing"


def test_a_damaged_image_of_a_table_is_told(open_dock, dock, qtbot, tmp_path):
    (tmp_path / "field.tif").write_bytes(b"II*\0 no image")
    places = {"Nuclei_Location_Center_X": np.full(COUNT, 16.0), "Nuclei_Location_Center_Y": np.full(COUNT, 16.0)}
    other = open_dock(table=table_of(dock, tmp_path / "cells.parquet", **places, Metadata_FileName=["field.tif"] * COUNT))
    rest(qtbot, other)
    assert any("field.tif" in message for message in messages())


def test_a_click_without_a_table_measures_the_cell(open_dock, qtbot, monkeypatch):
    viewer = ViewerModel()
    planes = add_image(viewer)
    dock = open_dock(viewer)
    values = dock.opened.population.values[5] + 1
    monkeypatch.setattr("napari_virtual_paint._napari.cells.dock.measured", lambda opened, crop: values)
    dock.pick_at((8.0, 24.0))
    rest(qtbot, dock)
    assert np.allclose(dock.editor.vector.base, values)
    assert np.allclose(dock.view.picture.real, planes[:, 0:32, 32:64])
    dock.shaping.pick(3)
    dock.view.undo.click()
    assert np.allclose(dock.view.picture.real, planes[:, 0:32, 32:64])
    dock.pick_at((500.0, 500.0))
    assert "no image where you clicked" in messages()[-1]
    viewer.layers.clear()
    dock.pick_at((8.0, 24.0))
    assert "none is called DNA, ER" in messages()[-1]


def test_crops_are_brought_to_the_models_pixel_size(open_dock, qtbot):
    viewer = ViewerModel()
    add_image(viewer)
    for layer in viewer.layers:
        layer.scale = (0.25, 0.25)
    dock = open_dock(viewer)
    spot = layers.spot_of(viewer, CHANNELS, (4.0, 4.0))
    crop = layers.crop_at(spot, dock.opened)
    assert crop.shape == (2, SIZE, SIZE)
    own = (viewer.layers[0].data[:SIZE, :SIZE] > 500).sum()
    assert (crop[0, 10:22, 10:22] > 500).sum() == pytest.approx(own / 4, rel=0.4), "half the side: the model's pixels are twice as wide"


def test_a_table_that_does_not_fit_is_named_and_the_old_one_stays(dock, noisy, qtbot, tmp_path, monkeypatch):
    import pandas as pd

    pd.DataFrame({"Metadata_Well": ["A"] * 5, AREA: np.arange(5.0)}).to_parquet(tmp_path / "few.parquet")
    before = dock.opened
    dock.choose(table=str(tmp_path / "few.parquet"))
    rest(qtbot, dock)
    assert any("few.parquet: has 1 of the model's" in message for message in messages())
    assert dock.opened is before
    assert dock.view.tabs.isEnabled()
    assert "few.parquet: has 1 of the model's" in dock.view.status.text()
    assert NAMES[1] in dock.view.status.text(), "a feature that is missing"
    assert "cells train" in dock.view.status.text()
    assert dock.view.table.currentText() == "The model's own cells", "the box names the cells that are shown"
    assert dock.value().table == ""
    assert not dock.busy, "nothing is opened again"
    assert dock.view.offer.isVisible()
    monkeypatch.setattr(CellTrainDialog, "open_table", lambda dialog, path: asked.append(path))
    asked = []
    dock.view.offer.click()
    assert asked == [str(tmp_path / "few.parquet")], "a training on the table is offered"
    dialog = dock.train_on_table()
    assert dialog.isVisible()
    dialog.trained.emit(str(noisy))
    qtbot.waitUntil(lambda: dock.opened.model.id == "noisy-cells" and dock.view.tabs.isEnabled(), timeout=PATIENCE)
    assert not dock.view.offer.isVisible()
    dialog.close()


def test_choice_is_one_value(dock, package):
    assert dock.value() == CellsState(model=str(package))
    changed = replace(dock.value(), follow=False, difference=True, hidden=("DNA",))
    dock.setValue(changed)
    assert dock.value() == changed
    assert not dock.view.follow.isChecked()
    assert dock.view.shown_channels() == (False, True)


def test_without_models_it_says_what_to_do(qtbot):
    dock = CellsDock(ViewerModel())
    qtbot.addWidget(dock)
    qtbot.waitUntil(lambda: "cells train" in dock.view.status.text(), timeout=PATIENCE)
    dock.shut()


def test_clicks_pick_only_while_asked_for(dock):
    before = list(dock.viewer.mouse_drag_callbacks)
    dock.view.cells.click.click()
    assert len(dock.viewer.mouse_drag_callbacks) == len(before) + 1
    dock.view.cells.click.click()
    assert dock.viewer.mouse_drag_callbacks == before


def test_closing_leaves_the_viewer_alone(open_dock, qtbot):
    viewer = ViewerModel()
    before = list(viewer.mouse_drag_callbacks)
    dock = open_dock(viewer)
    dock.view.cells.click.click()
    dock.walks.make(WalkPlan(0, 1, "line", frames=3))
    qtbot.waitUntil(lambda: viewer.canvas.overlays["text"].visible, timeout=PATIENCE)
    drag(dock, (0.1, 0.9))
    dock.close()
    assert viewer.mouse_drag_callbacks == before
    assert not viewer.canvas.overlays["text"].visible
    no_thread(qtbot)


def test_the_manifest_offers_the_dock():
    manifest = PluginManifest.from_file(str(files("napari_virtual_paint") / "napari.yaml"))
    assert "Cells" in {widget.display_name for widget in manifest.contributions.widgets}
    commands = {command.id: command for command in manifest.contributions.commands}
    assert commands["napari-virtual-paint.cells"].exec is not None
    assert commands["napari-virtual-paint.show_cells"].python_name.endswith("commands:cells")
    assert int(Qt.ItemDataRole.UserRole) <= FEATURE


LOW_DOCK = (345, 640)  # pixels of the dock in a window of 1280 x 720


def test_in_a_low_dock_the_sliders_scroll_and_nothing_around_them(open_dock, qtbot):
    dock = open_dock()
    dock.view.measured.setText("Measured: 703 of 863 features within 1 SD of what was requested.")
    high = dock.view.picture.side
    dock.resize(*LOW_DOCK)
    body = dock.view.findChild(QScrollArea)
    qtbot.waitUntil(lambda: body.verticalScrollBar().maximum() == 0 and dock.height() == LOW_DOCK[1], timeout=30_000)
    assert LOW <= dock.view.picture.side < high
    assert dock.view.sliders.height() >= 100
    low = dock.view.picture.height()
    dock.view.measured.setText("")
    qtbot.wait(100)
    assert dock.view.picture.height() == low, "while a slider is dragged, nothing has been measured"
