"""The Profile dock, driven as a user drives it: a real viewer with a real Plate dock; the report and the plate are made up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QColor, QDropEvent, QMouseEvent, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_virtual_paint._napari.plate.dock import PlateDock
from napari_virtual_paint._napari.profile.dock import ProfileDock
from napari_virtual_paint._napari.profile.scatter import ScatterView
from napari_virtual_paint._napari.profile.table import COSINE, read_profiles
from napari_virtual_paint._napari.shared.gui_timing import recording
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.plates import opening
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.plates.view.images import PlateImages
from napari_virtual_paint.plates.view.palette import SCALE
from napari_virtual_paint.plates.wells import well_name
from napari_virtual_paint.stack import Stack
from profile_report import write_report

WELLS = tuple(well_name(row, column) for row in range(3) for column in range(4))
PATIENCE = 30_000
"""Milliseconds; far more than anything here takes on a machine with nothing else to do."""
LEFT, PLAIN = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier

pytestmark = pytest.mark.usefixtures("offered")


class Fields:
    """Reads one flat field for each well."""

    def read(self, place):
        value = 100 * WELLS.index(place.well)
        return Stack(np.full((1, 1, 1, 16, 16), value, np.uint16) + np.eye(16, dtype=np.uint16), ("DNA",))


@pytest.fixture
def plate(tmp_path, monkeypatch):
    """A plate in memory at a path that is there, and nothing painted of it."""
    path = tmp_path / "plate"
    path.mkdir()

    def open_plate(source, *, plate_map=None, **_):
        return Plate("one", str(source), "test", tuple(Field(well, "0") for well in WELLS), Fields(), (3, 4))

    monkeypatch.setattr(opening, "open_plate", open_plate)
    monkeypatch.setattr(PlateImages, "painted", lambda self, place: Fields().read(place) if self.output else None)
    return path


@pytest.fixture
def report(tmp_path, plate):
    return write_report(tmp_path / "report", WELLS, plate, {"good": tmp_path / "good.zarr", "weak": tmp_path / "weak.zarr"})


@pytest.fixture
def dock(qtbot, report):
    """A dock with a report, by itself."""
    widget = ProfileDock(ViewerModel())
    qtbot.addWidget(widget)
    widget.resize(360, 760)
    widget.show()
    widget.open_report(report)
    settle(qtbot, widget)
    return widget


@pytest.fixture
def docks(make_napari_viewer, qtbot, report):
    """The dock with a report, and a Plate dock, in a real viewer."""
    viewer = make_napari_viewer()
    widget, plates = ProfileDock(viewer), PlateDock(viewer)
    viewer.window.add_dock_widget(widget, name="Profile", area="right")
    widget.open_report(report)
    settle(qtbot, widget)
    viewer.window.add_dock_widget(plates, name="Plate", area="right")
    qtbot.waitUntil(lambda: plates.session.models is not None, timeout=PATIENCE)
    yield widget, plates
    plates.shut()


def settle(qtbot, dock):
    """Wait until all is read and drawn, here and in the Plate dock."""

    def still():
        plates = dock.link.dock
        there = plates is None or not (plates.busy or plates.browsing.fields.ahead or plates.browsing.fields.layers.waits)
        return there and dock.table is not None and not dock.busy and dock.panel.view._drawn is not None

    qtbot.waitUntil(still, timeout=PATIENCE)


def visible(dock):
    """Return which groups of layers are seen."""
    return dock.link.dock.browsing.fields.layers.groups()


def spot(view, row):
    return QPointF(*view.place(view.points[row : row + 1])[0])


def click(view, row, modifier=PLAIN):
    QTest.mouseClick(view, LEFT, modifier, spot(view, row).toPoint())


def drag(view, *places, modifier=PLAIN):
    """Press at the first place, move over all others, and let go at the last."""
    kinds = [(QEvent.Type.MouseButtonPress, places[0], LEFT, LEFT)]
    kinds += [(QEvent.Type.MouseMove, place, Qt.MouseButton.NoButton, LEFT) for place in places[1:]]
    kinds += [(QEvent.Type.MouseButtonRelease, places[-1], LEFT, LEFT)]
    for kind, place, button, down in kinds:
        QApplication.sendEvent(view, QMouseEvent(kind, place, view.mapToGlobal(place), button, down, modifier))


def frame(view, rows, room=5):
    """Return the corners of the box about some points."""
    places = view.place(view.points[rows])
    low, high = places.min(axis=0) - room, places.max(axis=0) + room
    return QPointF(*low), QPointF(*high)


def within(view, low, high):
    spots = view.place(view.points)
    return np.flatnonzero(((spots >= [low.x(), low.y()]) & (spots <= [high.x(), high.y()])).all(axis=1))


def colour_at(view, row):
    image = view.grab().toImage()
    return image.pixelColor((spot(view, row) * image.devicePixelRatio()).toPoint())


# -- a report ---------------------------------------------------------------------------------------------------------


def test_a_report_is_read_in_the_order_of_its_sources(report):
    table = read_profiles(report)
    assert table.names == ("truth", "good", "weak")
    assert table.sources[:12] == ("truth",) * 12
    assert set(table.places) == {"umap", "pca"}
    assert np.allclose(np.linalg.norm(table.vectors, axis=1), 1, atol=1e-5)
    profiles = pd.read_parquet(report / "profiles.parquet")
    features = [name for name in profiles if name.startswith("Cells_")]
    vectors = profiles[features].to_numpy()
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors[:12] @ vectors[4]
    alike[4] = -2
    expected = np.argsort(-alike)[:3]
    found = table.nearest(4, "truth", 3)
    assert [row for row, _ in found] == expected.tolist()
    assert [value for _, value in found] == pytest.approx(alike[expected], abs=1e-5)
    assert table.columns[COSINE][0] is None, "the truth is like itself"
    assert table.columns[COSINE][12 + 3] == pytest.approx(float(vectors[3] @ vectors[15]), abs=1e-5)


def test_a_well_without_cells_has_no_place(dock, qtbot, report):
    frame_ = pd.read_parquet(report / "profiles.parquet")
    empty = (frame_["source"] == "weak") & frame_["well"].isin(["A02", "B01"])
    frame_.loc[empty, [name for name in frame_ if name.startswith("Cells_")]] = 0.0
    frame_.to_parquet(report / "profiles.parquet")
    dock.open_report(report)
    settle(qtbot, dock)
    assert "2 of weak" in dock.panel.title.text()
    rows = [dock.table.row(well, "weak") for well in ("A02", "B01")]
    assert not np.isfinite(dock.panel.view.points[rows]).any()
    dock.go_to(dock.table.row("A02", "truth"), show_images=False)
    dock.choose(among="weak")
    assert not {"A02", "B01"} & {dock.panel.near.item(i, 0).text() for i in range(dock.panel.near.rowCount())}
    assert not dock.panel.view.grab().isNull()


def test_what_can_not_be_shown_is_one_sentence(tmp_path, report):
    with pytest.raises(InputError, match="it is no report"):
        read_profiles(tmp_path)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "report.json").write_text("{}")
    with pytest.raises(InputError, match="--level profiles"):
        read_profiles(bare)
    (report / "profiles.parquet").write_bytes(b"damaged")
    with pytest.raises(ReadError, match="damaged"):
        read_profiles(report)
    (report / "profiles.parquet").unlink()
    assert read_profiles(report).vectors is None, "a map needs no features"
    (report / "tables" / "profiles_embedding.csv").write_text("source,well\n")
    with pytest.raises(ReadError, match="no row"):
        read_profiles(report)


def test_a_report_without_profiles_says_which_level_to_run(qtbot, tmp_path):
    (tmp_path / "report.json").write_text("{}")
    widget = ProfileDock(ViewerModel())
    qtbot.addWidget(widget)
    widget.open_report(tmp_path)
    qtbot.waitUntil(lambda: not widget.busy, timeout=PATIENCE)
    assert "--level profiles" in widget.panel.title.text()
    assert not widget.panel.kind.isEnabled()


def test_maps_without_umap_offer_pca_alone(dock, qtbot, tmp_path):
    dock.open_report(write_report(tmp_path / "few", WELLS, umap=False))
    qtbot.waitUntil(lambda: dock.table.report.name == "few" and not dock.busy, timeout=PATIENCE)
    assert [dock.panel.kind.itemText(i) for i in range(dock.panel.kind.count())] == ["PCA"]
    assert dock.panel.view.axes == ("PC 1", "PC 2")


def test_a_folder_is_dropped_onto_the_dock(dock, qtbot, tmp_path):
    write_report(tmp_path / "other", WELLS[:6])
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "other"))])
    copy = Qt.DropAction.CopyAction
    dock.dropEvent(QDropEvent(QPointF(5, 5), copy, data, LEFT, PLAIN))
    qtbot.waitUntil(lambda: dock.table.report.name == "other" and not dock.busy, timeout=PATIENCE)
    assert len(dock.panel.view.points) == 12
    assert len(dock.panel.sources) == 2


# -- what is seen -----------------------------------------------------------------------------------------------------


def test_points_are_coloured_by_any_column(dock, qtbot):
    offered = [dock.panel.column.itemData(i) for i in range(dock.panel.column.count())]
    assert offered == ["source", "treatment", "batch", "plate", "dose", COSINE, "PCC DNA", "SSIM DNA"]
    assert dock.panel.column.currentData() == "treatment"
    assert [text for text, _ in dock.panel.legend.entries()] == ["compound 1", "compound 2", "DMSO"]
    hue = dock.panel.legend.entries()[0][1].colour
    assert dock.panel.view._colours[dock.panel.view._groups[1]].name() == hue, "row 1 has compound 1"
    dock.choose(column="PCC DNA")
    settle(qtbot, dock)
    colours, of = dock.panel.view._colours, dock.panel.view._groups
    assert [colours[of[row]].name() for row in (12, 23)] == [SCALE[0], SCALE[-1]]
    assert not colours[of[0]].isValid(), "the truth has no PCC: hollow"
    assert dock.table.columns["PCC DNA"][23] == pytest.approx(0.5 + 0.02 * 11), "the mean over the well's fields"
    dock.panel.view.set_here(())
    assert colour_at(dock.panel.view, 23).name() == SCALE[-1], "what is worked out is what is drawn"


def test_sources_have_symbols_and_can_be_hidden(dock, qtbot):
    assert [button.text() for button in dock.panel.sources] == ["truth", "good", "weak"]
    assert len({dock.panel.view._symbols[row] for row in (0, 12, 24)}) == 3
    QTest.mouseClick(dock.panel.sources[2], LEFT)
    settle(qtbot, dock)
    assert dock.panel.view.row_at(spot(dock.panel.view, 30)) != 30
    QTest.keyClick(dock.panel.view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert dock.wells == WELLS


def test_zoom_keeps_the_place_under_the_mouse(dock, qtbot):
    view = dock.panel.view
    before = spot(view, 5)
    where = QPointF(before)
    wheel = QWheelEvent(
        where, view.mapToGlobal(where), before.toPoint() * 0, before.toPoint() * 0 + QPointF(0, 240).toPoint(), Qt.MouseButton.NoButton,
        PLAIN, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    span = np.ptp(view.place(view.points), axis=0)
    QApplication.sendEvent(view, wheel)
    assert np.allclose(np.ptp(view.place(view.points), axis=0) / span, 1.25**2)
    assert (spot(view, 5) - before).manhattanLength() < 1e-6
    QTest.keyClick(view, Qt.Key.Key_H)
    assert dock.panel.modes["pan"].isChecked()
    drag(view, QPointF(60, 60), QPointF(90, 40))
    assert (spot(view, 5) - before - QPointF(30, -20)).manhattanLength() < 1e-6
    assert dock.wells == (), "moving selects nothing"
    QTest.keyClick(view, Qt.Key.Key_Home)
    assert (spot(view, 5) - before).manhattanLength() < 1e-6


def test_hover_tells_what_a_point_is(dock):
    view = dock.panel.view
    place = spot(view, 17)
    QApplication.sendEvent(
        view, QMouseEvent(QEvent.Type.MouseMove, place, view.mapToGlobal(place), Qt.MouseButton.NoButton, Qt.MouseButton.NoButton, PLAIN)
    )
    row = view.hovered
    assert np.allclose(view.points[row], view.points[17], atol=0.3)
    said = view.about(17)
    for fact in (WELLS[5], "good", "compound 2", "PCC DNA", COSINE):
        assert fact in said
    QApplication.sendEvent(view, QEvent(QEvent.Type.Leave))
    assert view.hovered == -1


def test_thousands_of_points_hold_nothing_up(qtbot):
    view = ScatterView()
    qtbot.addWidget(view)
    view.resize(500, 400)
    rng = np.random.default_rng(0)
    count = 60_000
    with recording() as records:
        view.set_points(rng.normal(size=(count, 2)).astype(np.float32), ("x", "y"))
        view.set_groups(rng.integers(0, 5, count), [QColor(colour) for colour in SCALE[:5]])
        view.set_symbols(rng.integers(0, 3, count), np.ones(count, bool))
        assert view.drawing, "not all at once"
        qtbot.waitUntil(lambda: not view.drawing, timeout=PATIENCE)
    steps = [record for record in records if record[0].endswith("_draw_some")]
    assert len(steps) > 2
    assert view._drawn is not None


# -- choosing ---------------------------------------------------------------------------------------------------------


def test_a_click_opens_the_field_in_the_plate_dock(docks, qtbot, plate):
    dock, plate_dock = docks
    click(dock.panel.view, 7)
    settle(qtbot, dock)
    assert dock.here in range(36)
    well = dock.table.wells[dock.here]
    assert dock.link.linked
    assert plate_dock.plate.source == str(plate)
    assert our_metadata(dock.viewer.layers["DNA"])["field"] == f"{well}/0"
    assert plate_dock.view.map.current == well
    assert plate_dock.value().output.endswith("good.zarr"), "the first prediction is there beside the truth"
    assert visible(dock) == {"true": dock.table.sources[dock.here] == "truth", "painted": dock.table.sources[dock.here] != "truth"}
    weak = dock.table.row(WELLS[2], "weak")
    dock.go_to(weak)
    settle(qtbot, dock)
    assert plate_dock.value().output.endswith("weak.zarr"), "the prediction that was clicked"
    assert visible(dock) == {"true": False, "painted": True}
    dock.go_to(dock.table.row(WELLS[2], "truth"))
    settle(qtbot, dock)
    assert visible(dock) == {"true": True, "painted": False}
    for layer in dock.viewer.layers:
        layer.visible = True
    dock.go_to(weak)
    settle(qtbot, dock)
    assert visible(dock) == {"true": True, "painted": True}, "where both were seen, both stay"
    assert our_metadata(dock.viewer.layers["DNA"])["field"] == f"{WELLS[2]}/0"
    assert dock.panel.view.here_rows[0] == weak
    assert len(dock.panel.view.here_rows) == 3, "the same well in all sources"
    assert "cosine of truth and weak" in dock.panel.status.text()


def test_selections_go_both_ways_and_come_to_rest(docks, qtbot):
    dock, plate_dock = docks
    dock.go_to(0)
    settle(qtbot, dock)
    told = []
    plate_dock.view.map.selected.connect(told.append)
    dock.link.selection_changed.connect(told.append)
    low, high = frame(dock.panel.view, [1, 4])
    inside = within(dock.panel.view, low, high)
    drag(dock.panel.view, low, QPointF((low.x() + high.x()) / 2, high.y()), high)
    wells = tuple(well for well in WELLS if well in {dock.table.wells[row] for row in inside})
    assert set(dock.wells) == set(wells)
    assert set(plate_dock.view.map.selection) == set(wells)
    assert told == [], "nothing goes round in circles"
    assert not plate_dock.browsing.mosaic.open, "marking opens nothing"
    plate_dock.view.map.setFocus()
    QTest.keyClick(plate_dock.view.map, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    settle(qtbot, dock)
    assert dock.wells == WELLS
    assert dock.panel.view._chosen.all()
    assert len(told) == 2, "the map told the user's choice, and the link passed it on, once"
    dock.go_to(dock.table.row("A01", "weak"))
    settle(qtbot, dock)
    QTest.mouseClick(plate_dock.view.map, LEFT, PLAIN, plate_dock.view.map.cell("C03").center().toPoint())
    settle(qtbot, dock)
    assert dock.wells == (), "as in the map"
    assert dock.table.wells[dock.here] == "C03"
    assert dock.table.sources[dock.here] == "weak", "the source stays"


def test_lasso_shift_and_ctrl(dock):
    view = dock.panel.view
    QTest.keyClick(view, Qt.Key.Key_L)
    assert dock.panel.modes["lasso"].isChecked()
    low, high = frame(view, [0])
    corners = [low, QPointF(high.x(), low.y()), high, QPointF(low.x(), high.y()), low]
    drag(view, *corners)
    first = dock.wells
    assert dock.table.wells[0] in first
    low, high = frame(view, [5])
    drag(view, low, QPointF(high.x(), low.y()), high, QPointF(low.x(), high.y()), modifier=Qt.KeyboardModifier.ShiftModifier)
    assert set(first) < set(dock.wells) or dock.table.wells[5] in first
    assert dock.table.wells[5] in dock.wells
    chosen, row = dock.wells, view.row_at(spot(view, 0))
    click(view, 0, Qt.KeyboardModifier.ControlModifier)
    assert dock.table.wells[row] not in dock.wells
    click(view, 0, Qt.KeyboardModifier.ControlModifier)
    assert set(dock.wells) == set(chosen)
    QTest.keyClick(view, Qt.Key.Key_Escape)
    assert dock.wells == ()


def test_keys_go_from_point_to_point(dock):
    view = dock.panel.view
    QTest.keyClick(view, Qt.Key.Key_Right)
    first = dock.here
    assert first >= 0
    QTest.keyClick(view, Qt.Key.Key_Right)
    assert spot(view, dock.here).x() >= spot(view, first).x()
    assert not dock.viewer.layers, "arrows open nothing before a field is open"
    assert dock.table.wells[dock.here] in view.accessibleDescription()


def test_nearest_wells_are_listed_and_lead_on(dock, qtbot):
    dock.go_to(4, show_images=False)
    expected = dock.table.nearest(4, "truth", 20)
    assert [dock.panel.near.item(i, 0).text() for i in range(3)] == [dock.table.wells[row] for row, _ in expected[:3]]
    assert dock.panel.near.item(0, 3).text() == f"{expected[0][1]:.3f}"
    assert dock.panel.near.item(0, 2).text() == "compound 1"
    dock.choose(among="weak")
    assert dock.panel.near.item(0, 1).text() == "weak"
    dock.link.open = lambda *_, **__: None
    dock.panel.near.cellClicked.emit(0, 0)
    assert dock.here == dock.table.nearest(4, "weak", 1)[0][0]


def test_the_selection_is_saved_as_csv(dock, qtbot, tmp_path):
    dock.select(("A02", "B01"))
    dock.save_rows(tmp_path / "wells.csv")
    qtbot.waitUntil(lambda: "Saved 6 rows" in dock.panel.status.text(), timeout=PATIENCE)
    frame_ = pd.read_csv(tmp_path / "wells.csv")
    assert len(frame_) == 6
    assert set(frame_["well"]) == {"A02", "B01"}
    assert {"treatment", "umap_1", "pca_2", "PCC DNA"} <= set(frame_)


def test_a_report_whose_images_moved_says_so(dock, plate):
    plate.rmdir()
    dock.go_to(0)
    assert "are not at" in dock.panel.status.text()
