"""The Plate dock, driven as a user drives it: real widgets, a real viewer; plates in memory unless a test paints."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent, QMouseEvent, QPalette
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

import small_models
import small_plates
import vendor_plates
from napari_virtual_paint._napari.compare.dock import CompareDock
from napari_virtual_paint._napari.plate import state as plate_state
from napari_virtual_paint._napari.plate.channel_choice import look
from napari_virtual_paint._napari.plate.dock import PlateDock
from napari_virtual_paint._napari.plate.field_loader import ChannelSlot, PictureCache
from napari_virtual_paint._napari.plate.well_map import WellMap
from napari_virtual_paint._napari.reader import get_reader, read_plate
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint.choices import DeviceChoice, values_of
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.painting import PaintSettings
from napari_virtual_paint.plates import opening, paint
from napari_virtual_paint.plates.job.job import KINDS
from napari_virtual_paint.plates.layouts import SeveralPlatesError
from napari_virtual_paint.plates.ome_zarr import writer
from napari_virtual_paint.plates.paint import PlateProgress, PlateSummary
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.plates.view.colouring import STATE_COLOURS
from napari_virtual_paint.plates.view.images import ByteCache, PlateImages
from napari_virtual_paint.plates.view.palette import CATEGORIES, SCALE
from napari_virtual_paint.plates.wells import well_name
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.stack import PixelSize, Stack

CHANNELS = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um", "DNA", "ER")
PATIENCE = 30_000
"""Milliseconds; far more than anything here takes on a machine with nothing else to do."""

pytestmark = pytest.mark.usefixtures("offered")


def pixels_of(well, name, size=48):
    rng = np.random.default_rng([ord(well[0]), int(well[1:]), int(name)])
    return rng.integers(0, 1000, (1, len(CHANNELS), 1, size, size), dtype=np.uint16)


@dataclass
class Fields:
    """Reads fields made in memory; notes what was read, can be held, and some are damaged."""

    reads: list = field(default_factory=list)
    held: dict = field(default_factory=dict)
    damaged: set = field(default_factory=set)

    def read(self, place):
        self.reads.append((place.key, threading.current_thread()))
        if place.key in self.held:
            assert self.held[place.key].wait(30)
        if place.key in self.damaged:
            raise ReadError(place.key, "its file is damaged; copy it again")
        return Stack(pixels_of(place.well, place.name), CHANNELS, PixelSize(None, 0.65, 0.65))


METADATA = {
    well_name(row, column): {"treatment": f"compound {column % 3}", "dose": float(10**row), "control": column == 0}
    for row in range(4)
    for column in range(6)
}


def plate_of(reader, source="/plates/one.zarr", fields=2, missing=("C05",)):
    places = [Field(well, str(i)) for well in METADATA if well not in missing for i in range(fields)]
    return Plate("one", source, "ome-zarr", tuple(places), reader, (4, 6), metadata=METADATA)


@pytest.fixture
def reader():
    return Fields()


@pytest.fixture
def dock(make_napari_viewer, qtbot, reader, monkeypatch, request):
    """Return a dock that shows a plate in memory."""

    def open_plate(path, *, plate_map=None, plate=None, **_):
        if "broken" in str(path):
            raise ReadError(path, "it is no plate that can be opened")
        if "screen" in str(path) and plate is None:
            raise SeveralPlatesError(path, ("first", "<second>"), None)
        return plate_of(reader, str(path))

    monkeypatch.setattr(opening, "open_plate", open_plate)
    notification_manager.records.clear()
    viewer = make_napari_viewer(show=getattr(request, "param", False))
    widget = PlateDock(viewer)
    viewer.window.add_dock_widget(widget, name="Plate", area="right")
    qtbot.waitUntil(lambda: widget.session.models is not None, timeout=PATIENCE)
    widget.open_plate("/plates/one.zarr")
    settle(qtbot, widget)
    assert widget.plate is not None
    yield widget
    widget.shut()
    for event in reader.held.values():
        event.set()


def settle(qtbot, dock):
    qtbot.waitUntil(lambda: not dock.busy and not dock.browsing.fields.ahead and not dock.browsing.fields.layers.waits, timeout=PATIENCE)


def click(dock, well, modifier=Qt.KeyboardModifier.NoModifier):
    QTest.mouseClick(dock.view.map, Qt.MouseButton.LeftButton, modifier, dock.view.map.cell(well).center().toPoint())


def open_well(qtbot, dock, well):
    click(dock, well)
    settle(qtbot, dock)


def box(dock, first, last):
    """Draw a rubber band from the middle of one well to that of another."""
    start, end = (dock.view.map.cell(well).center() for well in (first, last))
    left, none, plain = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    for kind, place, button, down in (
        (QEvent.Type.MouseButtonPress, start, left, left),
        (QEvent.Type.MouseMove, start + QPointF(8, 8), none, left),
        (QEvent.Type.MouseMove, end, none, left),
        (QEvent.Type.MouseButtonRelease, end, left, none),
    ):
        QApplication.sendEvent(dock.view.map, QMouseEvent(kind, place, dock.view.map.mapToGlobal(place), button, down, plain))


def press(dock, key, modifier=Qt.KeyboardModifier.NoModifier):
    QTest.keyClick(dock.view.map, key, modifier)


def messages():
    return [record.message for record in notification_manager.records]


def shown_pixels(dock, channel):
    return np.asarray(dock.browsing.viewer.layers[channel].data)


# -- the map ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3), (8, 12), (16, 24), (32, 48)])
@pytest.mark.parametrize("width", [290, 700])
def test_wells_lie_apart_and_are_found_again(qtbot, shape, width):
    widget = WellMap()
    qtbot.addWidget(widget)
    places = tuple(Field(well_name(row, column), "0") for row in range(shape[0]) for column in range(shape[1]))
    widget.set_plate(Plate("p", "/p", "test", places, Fields(), shape))
    widget.resize(width, widget.heightForWidth(width))
    for well in (places[0].well, places[-1].well, places[len(places) // 2].well):
        cell = widget.cell(well)
        assert widget.rect().contains(cell.toAlignedRect().adjusted(1, 1, -1, -1)), "all of it is on the widget"
        assert widget.well_at(cell.center()) == well
    assert widget.well_at(QPointF(1, 1)) == "", "the letters are no well"
    assert widget.cell(places[1].well).left() >= widget.cell(places[0].well).right() - 0.01


def test_the_map_is_coloured_by_any_column(dock, qtbot, reader):
    painted = dock.session.painted
    painted.add_row("A01/0", {"state": "done", "pcc_DNA": 0.5})
    painted.add_row("A02/0", {"state": "done", "pcc_DNA": 0.9})
    painted.add_row("B01/0", {"state": "failed", "reason": "its file is damaged"})
    dock.session.painted_changed.emit()
    settle(qtbot, dock)
    assert [(part.share, part.colour) for part in dock.view.map.parts("A01")] == [
        (0.5, STATE_COLOURS["done"]),
        (0.5, STATE_COLOURS["unpainted"]),
    ]
    assert dock.view.map.parts("B01")[0].mark == "x"
    assert dock.view.map.parts("C05") == ()
    assert [text for text, _ in dock.view.legend.entries()] == ["2 done", "1 failed", "43 unpainted"]
    offered = [dock.view.column.itemText(i) for i in range(dock.view.column.count())]
    assert offered == ["Painting", "State of painting", "Scores", "PCC DNA", "Metadata", "treatment", "dose", "control"]
    assert not dock.view.column.model().item(2).isEnabled(), "a heading can't be chosen"
    assert dock.view.column.currentData() == "state"
    for column, colours in {"treatment": CATEGORIES[:2], "pcc_DNA": (SCALE[0], SCALE[-1])}.items():
        dock.view.column.setCurrentIndex(dock.view.column.findData(column))
        settle(qtbot, dock)
        assert [dock.view.map.parts(well)[0].colour for well in ("A01", "A02")] == list(colours)
    assert dock.value().column == "pcc_DNA"
    image = dock.view.map.grab().toImage()
    ratio = image.devicePixelRatio()
    seen = image.pixelColor((dock.view.map.cell("A02").center() * ratio).toPoint()).name()
    assert seen == SCALE[-1], "what is worked out is what is drawn"
    assert "0.9" in dock.view.map.about("A02")
    assert "its file is damaged" in dock.view.map.about("B01")
    assert "no image" in dock.view.map.about("C05")


def test_keys_move_open_and_select(dock, qtbot):
    press(dock, Qt.Key.Key_Right)
    assert dock.view.map.current == "A01"
    assert not dock.browsing.viewer.layers, "arrows open nothing before a field is open"
    press(dock, Qt.Key.Key_Return)
    settle(qtbot, dock)
    assert our_metadata(dock.browsing.viewer.layers["DNA"])["field"] == "A01/0"
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Right):
        press(dock, key)
    assert dock.view.map.current == "C06", "C05 has no image"
    press(dock, Qt.Key.Key_2)
    settle(qtbot, dock)
    assert our_metadata(dock.browsing.viewer.layers["DNA"])["field"] == "C06/1"
    assert "C06" in dock.view.map.accessibleDescription()
    press(dock, Qt.Key.Key_Up, Qt.KeyboardModifier.ShiftModifier)
    press(dock, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert dock.view.map.selection == ("B05", "B06", "C06")
    QTest.keyRelease(dock.view.map, Qt.Key.Key_Shift)
    settle(qtbot, dock)
    assert [each.key for each in dock.browsing.mosaic.plan.fields] == ["B05/1", "B06/1", "C06/1"]
    press(dock, Qt.Key.Key_Escape)
    settle(qtbot, dock)
    assert dock.view.map.selection == ()
    assert not dock.browsing.mosaic.open


# -- fields -----------------------------------------------------------------------------------------------------------


def test_a_click_shows_the_field_in_the_same_layers(dock, qtbot, reader):
    open_well(qtbot, dock, "A01")
    viewer = dock.browsing.viewer
    assert {layer.name for layer in viewer.layers if layer.visible} == {"DNA", "ER"}, "true stains first, brightfield would cover them"
    assert {layer.name for layer in viewer.layers} == set(CHANNELS)
    layers = list(viewer.layers)
    assert tuple(viewer.layers["DNA"].scale) == (0.65, 0.65)
    assert viewer.layers["DNA"].colormap.name == "blue"
    viewer.layers["ER"].visible = False
    viewer.layers["DNA"].contrast_limits = (10, 500)
    viewer.scene.camera.zoom = 7.5
    open_well(qtbot, dock, "B03")
    assert list(viewer.layers) == layers
    for index, name in enumerate(CHANNELS):
        np.testing.assert_array_equal(shown_pixels(dock, name), pixels_of("B03", "0")[0, index, 0])
    assert not viewer.layers["ER"].visible
    assert tuple(viewer.layers["DNA"].contrast_limits) == (10, 500)
    assert viewer.scene.camera.zoom == 7.5
    assert all(thread is not threading.main_thread() for _, thread in reader.reads), "nothing is read where the screen waits for it"
    dock.view.next.click()
    settle(qtbot, dock)
    np.testing.assert_array_equal(shown_pixels(dock, "DNA"), pixels_of("B03", "1")[0, 3, 0])
    assert "field 2 of 2" in dock.view.place.text()
    open_well(qtbot, dock, "A01")
    np.testing.assert_array_equal(shown_pixels(dock, "DNA"), pixels_of("A01", "0")[0, 3, 0])  # what was kept was not written over


def test_groups_are_shown_and_hidden_together(dock, qtbot):
    assert all(button.isHidden() for button in dock.view.groups.values())
    open_well(qtbot, dock, "A01")
    assert {name for name, button in dock.view.groups.items() if not button.isHidden()} == {"brightfield", "true"}
    dock.view.groups["brightfield"].click()
    dock.view.groups["true"].click()
    qtbot.waitUntil(
        lambda: [layer.name for layer in dock.browsing.viewer.layers if layer.visible] == ["Brightfield 0 um"], timeout=PATIENCE
    )


def test_a_newer_click_overtakes(dock, qtbot, reader):
    open_well(qtbot, dock, "A01")
    reader.held["D01/0"] = threading.Event()
    click(dock, "D01")
    qtbot.waitUntil(lambda: any(key == "D01/0" for key, _ in reader.reads), timeout=PATIENCE)
    click(dock, "D06")
    qtbot.waitUntil(lambda: our_metadata(dock.browsing.viewer.layers["DNA"])["field"] == "D06/0", timeout=PATIENCE)
    reader.held["D01/0"].set()
    settle(qtbot, dock)
    assert our_metadata(dock.browsing.viewer.layers["DNA"])["field"] == "D06/0"
    np.testing.assert_array_equal(shown_pixels(dock, "DNA"), pixels_of("D06", "0")[0, 3, 0])


def test_neighbours_are_read_ahead_within_the_bound(dock, qtbot, reader):
    one = 48 * 48 * 2
    dock.browsing.fields.store = PictureCache(dock.browsing.fields.store.images, ByteCache(40 * one))
    open_well(qtbot, dock, "B02")
    cache = dock.browsing.fields.store.cache
    kept = {key.split("/")[0] for key, slot in cache._arrays if slot == ChannelSlot("DNA")}
    assert {"B02", "B03"} <= kept
    assert cache.size <= 40 * one
    assert len([key for key, slot in cache._arrays if slot == ChannelSlot("DNA") and key != "B02/0"]) == 5, "the other field and four wells"
    reader.reads.clear()
    dock.browsing.fields.store = PictureCache(dock.browsing.fields.store.images, ByteCache(10 * one))
    open_well(qtbot, dock, "C02")
    assert dock.browsing.fields.store.cache.size <= 10 * one
    assert {key for key, _ in reader.reads} < {"C02/0", "C02/1", "C03/0", "D02/0", "C01/0", "B02/0"}, "as many as fit in half of it"


def test_a_box_opens_fields_side_by_side(dock, qtbot, reader):
    open_well(qtbot, dock, "A01")
    dock.browsing.viewer.layers["DNA"].contrast_limits = (5, 700)
    camera = tuple(dock.browsing.viewer.scene.camera.center)
    reader.damaged.add("B02/0")
    dock.browsing.mosaic.most = 48 * 48 * 3
    box(dock, "A01", "B03")
    settle(qtbot, dock)
    assert dock.view.map.selection == ("A01", "A02", "A03", "B01", "B02", "B03")
    names = [layer.name for layer in dock.browsing.viewer.layers if layer.visible]
    assert names == ["DNA (mosaic)", "ER (mosaic)", "Wells (mosaic)"], "one layer per channel"
    plan, layer = dock.browsing.mosaic.plan, dock.browsing.viewer.layers["DNA (mosaic)"]
    assert layer.data.shape == plan.shape
    assert layer.data.size <= dock.browsing.mosaic.most
    assert plan.step == 2
    assert tuple(layer.contrast_limits) == (5, 700), "the same for all, and as the user set it"
    assert tuple(layer.scale) == pytest.approx((1.3, 1.3))
    for index, place in enumerate(plan.fields):
        top, left = plan.corner(index)
        tile = layer.data[top : top + plan.tile[0], left : left + plan.tile[1]]
        mean = pixels_of(place.well, "0")[0, 3, 0].mean()
        assert tile.mean() == pytest.approx(5 if place.well == "B02" else mean, rel=0.01), "what can't be read is black"
    assert "1/2 of its size" in dock.view.message.text()
    assert "damaged" in dock.view.message.text()
    dock.view.groups["brightfield"].click()
    settle(qtbot, dock)
    assert "Brightfield 0 um (mosaic)" in dock.browsing.viewer.layers
    open_well(qtbot, dock, "A02")
    assert not [layer for layer in dock.browsing.viewer.layers if "mosaic" in layer.name]
    assert dock.browsing.viewer.layers["DNA"].visible
    assert tuple(dock.browsing.viewer.scene.camera.center) == pytest.approx(camera)


def shown(viewer):
    """What a user sees of the viewer."""
    return {layer.name for layer in viewer.layers if layer.visible}, tuple(viewer.scene.camera.center), viewer.scene.camera.zoom


@pytest.mark.parametrize(
    ("dock", "leave"), [(False, "cross"), (True, "hide"), (False, "second click"), (False, "failure")], indirect=["dock"]
)
def test_fields_side_by_side_are_undone_whole(dock, qtbot, leave, monkeypatch):
    open_well(qtbot, dock, "A01")
    viewer, browsing = dock.browsing.viewer, dock.browsing
    before = shown(viewer)
    if leave == "failure":
        said = []
        monkeypatch.setattr("napari_virtual_paint._napari.shared.jobs.show_error", said.append)

        def refuse(event) -> None:
            if event.value.name == "Wells (mosaic)":
                raise ValueError("no texture is left")

        viewer.layers.events.inserted.connect(refuse)
    box(dock, "A01", "B03")
    settle(qtbot, dock)
    if leave == "failure":
        assert len(said) == 1
        assert "no texture is left" in said[0]
    else:
        assert "DNA (mosaic)" in shown(viewer)[0]
    if leave == "cross":
        steps = browsing.mosaic._steps
        dock.parentWidget().destroyOnClose()
        qtbot.waitUntil(lambda: not steps._steps, timeout=PATIENCE)
    elif leave == "hide":
        dock.parentWidget().hide()
        qtbot.waitUntil(lambda: not browsing.mosaic.open and not browsing.mosaic.busy, timeout=PATIENCE)
    elif leave == "second click":
        dock.view.map.setFocus()
        press(dock, Qt.Key.Key_Escape)
        settle(qtbot, dock)
    assert shown(viewer) == before
    assert not [layer for layer in viewer.layers if "mosaic" in layer.name]


def test_a_field_that_cannot_be_read_is_one_sentence(dock, qtbot, reader):
    open_well(qtbot, dock, "A01")
    reader.damaged.add("A04/0")
    open_well(qtbot, dock, "A04")
    assert messages() == ["A04/0: its file is damaged; copy it again."]
    assert "its file is damaged" in dock.view.message.text()
    open_well(qtbot, dock, "A05")
    np.testing.assert_array_equal(shown_pixels(dock, "DNA"), pixels_of("A05", "0")[0, 3, 0])


@pytest.mark.parametrize("dock", [True], indirect=True, ids=["on a screen"])
def test_predicted_stains_come_along_and_are_scored(dock, qtbot, tmp_path, monkeypatch):
    painted = {"A01/0": 1.0, "A02/0": -1.0}

    def stains(self, place):
        gain = painted.get(place.key)
        if gain is None:
            return None
        truth = pixels_of(place.well, place.name)[:, 3:].astype(np.float32)
        return Stack(gain * truth, ("DNA", "ER"), PixelSize(None, 0.65, 0.65), provenance={"model": "small"})

    monkeypatch.setattr(PlateImages, "painted", stains)
    compare = CompareDock(dock.browsing.viewer)
    dock.browsing.viewer.window.add_dock_widget(compare, name="Compare")
    open_well(qtbot, dock, "A01")
    predicted, truth = dock.browsing.viewer.layers["DNA (predicted)"], dock.browsing.viewer.layers["DNA"]
    assert predicted.visible
    assert not truth.visible, "painted stains are what one wants to see; a button shows the true ones"
    scores = lambda: {row["stain"]: row["pcc"] for row in compare.table_rows()}  # noqa: E731
    assert compare.wait(30)
    assert scores()["DNA"] == pytest.approx(1)
    predicted.colormap = "gray"
    assert truth.colormap.name == "gray", "the two are linked"
    open_well(qtbot, dock, "A02")
    assert dock.browsing.viewer.layers["DNA (predicted)"] is predicted
    qtbot.waitUntil(lambda: scores().get("DNA") == pytest.approx(-1), timeout=PATIENCE)  # by itself
    open_well(qtbot, dock, "A03")
    assert not np.isfinite(predicted.data).any(), "nothing of another field is left where none is painted"
    qtbot.waitUntil(lambda: scores().get("DNA") is None, timeout=PATIENCE)


# -- opening ----------------------------------------------------------------------------------------------------------


def test_plates_are_dropped_and_remembered(dock, qtbot, tmp_path):
    folder = tmp_path / "two.zarr"
    folder.mkdir()
    table = tmp_path / "map.csv"
    table.write_text("well,treatment\nA1,x\n")
    for path in (folder, table):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        action, button = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
        event = QDropEvent(QPointF(5, 5), action, data, button, Qt.KeyboardModifier.NoModifier)
        dock.dropEvent(event)
        settle(qtbot, dock)
    assert dock.value().path == str(folder)
    assert dock.value().plate_map == str(table), "a table dropped onto a plate tells what is in its wells"
    assert plate_state.recent() == [str(folder)]


def test_of_several_plates_one_is_chosen_by_a_link(dock, qtbot):
    dock.open_plate("/plates/screen")
    settle(qtbot, dock)
    text = dock.view.title.text()
    assert "screen</b> holds 2 plates" in text
    assert not messages(), "a question is no error"
    ink = dock.view.title.palette().color(QPalette.ColorRole.WindowText).name()
    assert f'<a href="1" style="color: {ink}">&lt;second&gt;</a>' in text, "legible in each theme"
    assert text.endswith("Until then one stays open.")
    assert dock.plate.source == "/plates/one.zarr"
    dock.view.title.linkActivated.emit("1")
    settle(qtbot, dock)
    assert (dock.value().path, dock.value().plate, dock.plate.source) == ("/plates/screen", "<second>", "/plates/screen")
    assert "--plate '<second>'" in plate_state.command(dock.value(), "model")


def test_a_plate_below_a_folder_is_known_by_its_own_path(tmp_path):
    source = vendor_plates.phenix(tmp_path / "screen" / "first")
    vendor_plates.yokogawa(tmp_path / "screen" / "second")
    opened = run_to_end(plate_state.open_chosen(plate_state.PlateState(path=str(tmp_path / "screen"), plate="first")))
    assert (opened.state.path, opened.state.plate, opened.plate.source) == (str(source), "", str(source))


def test_a_plate_that_cannot_be_opened_is_one_sentence_and_the_old_one_stays(dock, qtbot):
    dock.open_plate("/plates/broken.zarr")
    settle(qtbot, dock)
    assert messages() == ["/plates/broken.zarr: it is no plate that can be opened."]
    assert dock.plate.name == "one"
    assert "one" in dock.view.title.text()


# -- painting ---------------------------------------------------------------------------------------------------------


class Painter:
    """Stands for `paint_plate`: paints a field for each `step`, as the test says."""

    def __init__(self):
        self.turns = threading.Semaphore(0)
        self.calls, self.closed = [], 0

    def __call__(self, plate, model, output, settings, **options):
        self.calls.append((plate, model.info.id, output, options))
        failed = 0
        try:
            for number, place in enumerate(plate.fields):
                yield PlateProgress(number, len(plate.fields), field=place, state="painting")
                while not self.turns.acquire(timeout=0.02):
                    yield PlateProgress(number, len(plate.fields))
                bad = place.key == "A02/0"
                failed += bad
                row = {"well": place.well, "field": place.name, "acquisition": "", "state": "failed" if bad else "done"}
                row |= {"reason": "its file is damaged"} if bad else {"pcc_DNA": 0.9}
                yield PlateProgress(number + 1, len(plate.fields), field=place, state="failed" if bad else "done", row=row)
            return PlateSummary(len(plate.fields), len(plate.fields) - failed, 0, failed, 1.0, output, output, None)
        finally:
            self.closed += 1


@pytest.fixture
def painter(monkeypatch):
    made = Painter()
    monkeypatch.setattr(paint, "paint_plate", made)
    yield made
    made.turns.release(1000)


def state_of(dock, well):
    return {colour: state for state, colour in STATE_COLOURS.items()}[dock.view.map.parts(well)[0].colour]


def test_painting_is_followed_on_the_map_and_cancelled_within_a_second(dock, qtbot, painter, monkeypatch):
    looks = []
    whole = plate_state.painted_fields
    monkeypatch.setattr("napari_virtual_paint._napari.plate.session.painted_fields", lambda *args: looks.append(args) or whole(*args))
    dock.view.form.start.click()
    qtbot.waitUntil(lambda: state_of(dock, "A01") == "painting", timeout=PATIENCE)
    assert state_of(dock, "D06") == "queued"
    painter.turns.release(3)
    qtbot.waitUntil(lambda: state_of(dock, "A02") == "failed" and state_of(dock, "A01") == "done", timeout=PATIENCE)
    qtbot.waitUntil(lambda: dock.view.form.failures.count() == 1, timeout=PATIENCE)
    assert dock.view.form.failures.item(0).text() == "A02/0: its file is damaged"
    qtbot.waitUntil(lambda: dock.view.form.note.text() == "2 of 46 fields are painted with small.", timeout=PATIENCE)
    assert dock.view.form.cancel.isEnabled()
    assert not dock.view.form.start.isEnabled()
    qtbot.waitUntil(lambda: "3 of 46 fields" in dock.view.form.status.text(), timeout=PATIENCE)
    dock.view.form.failures.itemClicked.emit(dock.view.form.failures.item(0))
    assert dock.view.map.current == "A02"
    began = time.monotonic()
    dock.view.form.cancel.click()
    qtbot.waitUntil(lambda: not dock.queue.busy, timeout=PATIENCE)
    assert time.monotonic() - began < 5, "a second, and what a busy machine adds"
    qtbot.waitUntil(lambda: painter.closed == 1, timeout=PATIENCE)
    qtbot.waitUntil(lambda: bool(looks), timeout=PATIENCE)
    assert "press Go on to paint the rest" in dock.view.form.status.text()
    assert not messages(), "what the user asked for needs no notification"


def test_a_painting_that_is_stopped_at_once_names_the_button_that_begins_it(dock, qtbot, painter):
    dock.view.form.start.click()
    qtbot.waitUntil(lambda: state_of(dock, "A01") == "painting", timeout=PATIENCE)
    dock.view.form.cancel.click()
    qtbot.waitUntil(lambda: not dock.queue.busy and painter.closed == 1, timeout=PATIENCE)
    assert dock.view.form.status.text() == "Stopped; press Paint to paint the rest"
    qtbot.waitUntil(lambda: dock.view.form.start.text() == "Paint", timeout=PATIENCE)
    dock.open_plate("/plates/two.zarr")
    settle(qtbot, dock)
    assert dock.view.form.status.text() == "", "it was of the plate before"


def test_pause_holds_and_goes_on(dock, qtbot, painter):
    dock.view.form.start.click()
    qtbot.waitUntil(lambda: dock.session.painted.states.get("A01/0") == "painting", timeout=PATIENCE)
    painter.turns.release(1)
    qtbot.waitUntil(lambda: "Painting, 1 of 46 fields" in dock.view.form.status.text(), timeout=PATIENCE)
    dock.view.form.pause.click()
    assert dock.view.form.pause.text() == "Go on"
    painter.turns.release(4)
    qtbot.wait(300)
    assert dock.session.painted.done <= 2
    assert "Paused, " in dock.view.form.status.text()
    assert "Paused, 0 of" not in dock.view.form.status.text()
    dock.view.form.pause.click()
    qtbot.waitUntil(lambda: dock.session.painted.done == 4, timeout=PATIENCE)
    dock.painting.cancel()
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=PATIENCE)


def test_plates_wait_in_a_queue(dock, qtbot, painter):
    box(dock, "A01", "A02")
    dock.choose(scope="selected")
    dock.painting.start()
    dock.painting.start()
    assert messages() == ["This plate is in the queue already, with the same output."]
    dock.open_plate("/plates/two.zarr")
    qtbot.waitUntil(lambda: dock.plate.source == "/plates/two.zarr", timeout=PATIENCE)
    settle(qtbot, dock)
    dock.choose(scope="all")
    dock.painting.start()
    assert dock.view.form.queue.count() == 2
    assert "waiting" in dock.view.form.queue.item(1).text()
    painter.turns.release(4)
    qtbot.waitUntil(lambda: len(painter.calls) == 2, timeout=PATIENCE)
    assert [call[0].source for call in painter.calls] == ["/plates/one.zarr", "/plates/two.zarr"]
    assert painter.calls[0][0].wells == ("A01", "A02")
    assert painter.calls[0][2].endswith("one_small.zarr")
    assert "3 fields painted in 1.0 s; 1 failed" in dock.view.form.queue.item(0).text()
    qtbot.waitUntil(lambda: state_of(dock, "A01") == "painting", timeout=PATIENCE)
    dock.queue.remove(dock.queue.current)
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=PATIENCE)


def test_an_error_of_the_painting_is_one_sentence(dock, qtbot, monkeypatch):
    def refuse(*_args, **_options):
        raise InputError("out.zarr: it was begun with another job; choose another output.")
        yield

    monkeypatch.setattr(paint, "paint_plate", refuse)
    dock.view.form.start.click()
    qtbot.waitUntil(lambda: bool(dock.queue.tasks) and dock.queue.tasks[0].status == "failed", timeout=PATIENCE)
    assert messages() == ["out.zarr: it was begun with another job; choose another output."]
    qtbot.waitUntil(lambda: state_of(dock, "A01") == "unpainted", timeout=PATIENCE)
    assert dock.view.form.start.isEnabled()


def test_copied_command_says_the_same(dock, qtbot):
    box(dock, "A01", "A02")
    dock.choose(scope="selected", workers=2, output="/plates/out.zarr", painting=PaintSettings(device="cpu"))
    line = dock.painting.copy_command()
    assert line == ("virtual-paint plate predict /plates/one.zarr -m small -o /plates/out.zarr --wells A01,A02 --workers 2 --device cpu")
    assert QApplication.clipboard().text() == line


def test_each_field_of_the_state_is_in_the_copied_command():
    """A choice of the dock that the copied command lost would paint something else."""
    other = {
        "path": "/p",
        "plate": "second",
        "plate_map": "/map.csv",
        "output": "/out.zarr",
        "kind": "in-place",
        "workers": 2,
        "count": True,
    }
    other["painting"] = PaintSettings(tta="flips")
    plain = plate_state.command(plate_state.PlateState(), "m")
    said = {name for name, value in other.items() if plate_state.command(plate_state.PlateState(**{name: value}), "m") != plain}
    elsewhere = {"model", "scope", "column"}  # given beside the state: the model and the wells; the color of the map paints nothing
    assert said | elsewhere == {each.name for each in fields(plate_state.PlateState)}
    assert "--plate-map /map.csv" in plate_state.command(plate_state.PlateState(plate_map="/map.csv"), "m")


def test_the_form_offers_every_choice_of_the_engine(dock):
    for box, choices in ((dock.view.form.kind, KINDS), (dock.view.form.device, values_of(DeviceChoice))):
        assert {box.itemData(index) for index in range(box.count())} == set(choices)


@pytest.fixture
def disk(tmp_path):
    """Return a small plate on disk."""
    pytest.importorskip("zarr")
    places = [Field(well_name(row, column), "0") for row in range(2) for column in range(3)]
    writer.create(tmp_path / "p.zarr", "p", (2, 3), places)
    for place in places:
        writer.write_field(tmp_path / "p.zarr", place, Stack(pixels_of(place.well, "0"), CHANNELS, PixelSize(None, 0.65, 0.65)))
    writer.list_fields(tmp_path / "p.zarr", places)
    for file in (tmp_path / "p.zarr" / "B" / "2" / "0").rglob("c/**/*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    return tmp_path / "p.zarr"


def test_a_plate_on_disk_is_painted_left_and_gone_on_with(make_napari_viewer, qtbot, disk):
    viewer = make_napari_viewer()
    dock = PlateDock(viewer)
    viewer.window.add_dock_widget(dock, name="Plate", area="right")
    qtbot.waitUntil(lambda: dock.session.models is not None, timeout=PATIENCE)
    dock.open_plate(disk)
    settle(qtbot, dock)
    output = dock.value().output
    assert output == str(disk.with_name("p_small.zarr"))
    open_well(qtbot, dock, "A01")
    visible = lambda: {layer.name for layer in viewer.layers if layer.visible}  # noqa: E731
    assert visible() == {"DNA", "ER"}
    assert "unpainted" in dock.view.message.text()
    box(dock, "A01", "A02")
    settle(qtbot, dock)
    dock.choose(scope="selected", painting=PaintSettings(device="cpu"))
    open_well(qtbot, dock, "A01")
    dock.view.map.set_selection(("A01", "A02"))
    dock.view.form.start.click()
    predicted = {f"{stain} (predicted)" for stain in ("DNA", "ER", "RNA", "AGP", "Mito")}
    qtbot.waitUntil(lambda: visible() == predicted, timeout=PATIENCE)  # of the field that is shown, once it is painted
    qtbot.waitUntil(lambda: dock.view.groups["painted"].isChecked() and not dock.view.groups["true"].isChecked(), timeout=PATIENCE)
    assert "done" in dock.view.message.text()
    dock.view.groups["true"].click()
    qtbot.waitUntil(lambda: visible() == {"DNA", "ER", *predicted}, timeout=PATIENCE)
    qtbot.waitUntil(lambda: dock.queue.tasks[0].status == "done", timeout=PATIENCE)
    settle(qtbot, dock)
    assert dock.view.form.note.text() == "2 of 6 fields are painted with small; Go on paints the rest."
    assert dock.view.form.start.text() == "Go on"
    for path in (output, f"{output}.job"):  # each leads to the plate that it is painted from
        assert get_reader(path) is read_plate
        dock.open_plate(path)
        settle(qtbot, dock)
        assert dock.plate.source == str(disk)
        assert dock.value().output == output
        assert dock.view.form.note.text() == "2 of 6 fields are painted with small; Go on paints the rest."
    dock.choose(scope="all")
    dock.view.form.start.click()
    qtbot.waitUntil(lambda: dock.queue.tasks[-1].status == "done" and len(dock.queue.tasks) == 2, timeout=PATIENCE)
    settle(qtbot, dock)
    assert dock.session.painted.done == 5
    assert list(dock.session.painted.failures) == ["B02/0"]
    assert dock.session.painted.rows["A01/0"]["pcc_DNA"] is not None
    open_well(qtbot, dock, "A03")
    predicted = viewer.layers["DNA (predicted)"]
    assert np.isfinite(predicted.data).all()
    assert our_metadata(predicted)["provenance"]["model"] == "small"
    assert json.loads((disk.with_name("p_small.zarr.job") / "job.json").read_text())["model"] == "small"
    assert replace(dock.value(), column="x").model == "small"
    dock.shut()


# -- channels ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def one_plane(tmp_path, monkeypatch):
    """Offer one model, which paints from one brightfield plane."""
    config = {**small_models.CONFIG_2D, "in_channels": 1}
    small_models.write_toy(tmp_path / "own" / "toy", channels=("Brightfield",), config=config, planes_as_channels=False, z_offsets=None)
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "own"))


@pytest.fixture
def stains_alone(monkeypatch):
    """Give the plates fields of two stains and nothing else."""
    monkeypatch.setattr(
        Fields, "read", lambda _, place: Stack(pixels_of(place.well, place.name)[:, 3:], ("FITC", "Cy5"), PixelSize(None, 0.65, 0.65))
    )


def channel_boxes(dock):
    return [(box.currentText(), [box.itemText(i) for i in range(box.count())]) for box in dock.view.form.channels.boxes]


def test_a_stain_is_painted_from_only_where_the_user_chooses_it(one_plane, stains_alone, dock, qtbot, painter):
    form = dock.view.form
    assert channel_boxes(dock) == [("choose…", ["choose…", "FITC", "Cy5"])]
    assert not form.channels.isHidden()
    question = "The model toy-planes paints from Brightfield, and the plate's channels are FITC, Cy5."
    assert form.ask.text() == f"⚠ {question} Choose the channel to paint from; the answer is remembered."
    form.start.click()
    assert messages() == [f"{question} Choose the channel to paint from."]
    assert not dock.queue.tasks
    form.channels.boxes[0].setCurrentIndex(2)
    settle(qtbot, dock)
    assert dock.value().painting.channels == ("Cy5",)
    assert form.ask.isHidden()
    assert dock.painting.copy_command().endswith("--channels Cy5")
    form.start.click()
    qtbot.waitUntil(lambda: len(painter.calls) == 1, timeout=PATIENCE)
    assert dock.queue.tasks[0].state.painting.channels == ("Cy5",)
    dock.painting.cancel()
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=PATIENCE)
    dock.open_plate("/plates/two.zarr")
    settle(qtbot, dock)
    assert dock.plate.source == "/plates/two.zarr"
    assert channel_boxes(dock) == [("Cy5", ["choose…", "FITC", "Cy5"])], "the answer is remembered"
    assert dock.value().painting.channels == ("Cy5",)
    assert form.ask.isHidden()


def test_the_only_channel_is_asked_for_where_it_is_a_stain(one_plane, dock, qtbot, monkeypatch):
    monkeypatch.setattr(Fields, "read", lambda _, place: Stack(pixels_of(place.well, place.name)[:, :1], ("FITC",)))
    dock.open_plate("/plates/two.zarr")
    settle(qtbot, dock)
    assert dock.view.form.ask.text().startswith("⚠ FITC is fluorescence by name, and the model toy-planes paints from brightfield.")
    assert channel_boxes(dock) == [("choose…", ["choose…", "FITC"])]
    monkeypatch.setattr(Fields, "read", lambda _, place: Stack(pixels_of(place.well, place.name)[:, :1], ("Brightfield",)))
    dock.open_plate("/plates/three.zarr")
    settle(qtbot, dock)
    assert dock.view.form.ask.isHidden()
    assert dock.view.form.channels.isHidden(), "there is nothing to choose"
    assert dock.value().painting.channels is None


@pytest.fixture
def three_planes_and_one(tmp_path, monkeypatch):
    """Offer a model of three brightfield planes, which is listed first, and one of a single plane."""
    one = {**small_models.CONFIG_2D, "in_channels": 1}
    small_models.write_toy(tmp_path / "own" / "a-planes", id="a-planes")
    small_models.write_toy(
        tmp_path / "own" / "b-one", id="b-one", channels=("Brightfield",), config=one, planes_as_channels=False, z_offsets=None
    )
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "own"))


def test_a_plate_gets_a_model_that_fits_until_the_user_chooses_one(three_planes_and_one, dock, qtbot, monkeypatch):
    assert dock.value().model == "a-planes", "the fields have its three planes"
    monkeypatch.setattr(Fields, "read", lambda _, place: Stack(pixels_of(place.well, place.name)[:, :2], ("Brightfield", "DNA")))
    dock.open_plate("/plates/two.zarr")
    settle(qtbot, dock)
    assert dock.value().model == "b-one"
    assert dock.view.form.ask.isHidden()
    model = dock.view.form.model
    assert [model.itemData(i) for i in range(model.count())] == ["b-one", "a-planes"]
    assert not model.model().item(1).isEnabled()
    assert "needs three focal planes; your image has two" in model.itemData(1, Qt.ItemDataRole.ToolTipRole)
    dock.choose(column="treatment", model="b-one")
    assert not dock.session.model_chosen, "it is still the dock's own choice"
    dock.choose(model="a-planes")
    dock.open_plate("/plates/three.zarr")
    settle(qtbot, dock)
    assert dock.plate.source == "/plates/three.zarr"
    assert dock.value().model == "a-planes", "the user's own, though it does not fit"


def test_a_plate_of_which_no_field_can_be_read_is_not_painted(dock, reader, qtbot):
    form = dock.view.form
    assert form.start.isEnabled()
    reader.damaged = {place.key for place in dock.plate.fields}
    dock.open_plate("/plates/two.zarr")
    settle(qtbot, dock)
    assert not any(button.isEnabled() for button in (form.start, form.add, form.copy))
    fault = str(ReadError("A01/0", "its file is damaged; copy it again"))
    assert form.note.text() == f"⚠ None of the first 24 fields can be read: {fault}"
    assert not form.note.isHidden()
    reader.damaged = set()
    dock.open_plate("/plates/three.zarr")
    settle(qtbot, dock)
    assert form.start.isEnabled()
    assert form.note.isHidden()


def test_channels_with_names_need_no_question(dock):
    taken = ["Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um"]
    assert [chosen for chosen, _ in channel_boxes(dock)] == taken
    assert dock.value().painting.channels is None
    assert dock.view.form.ask.isHidden()


def test_a_painting_goes_on_with_the_channels_that_it_was_begun_with(tmp_path):
    config = {**small_models.CONFIG_2D, "in_channels": 1}
    own = {"channels": ("Brightfield",), "config": config, "planes_as_channels": False, "z_offsets": None}
    model = small_plates.toy_model(tmp_path, **own)
    plate = small_plates.make_plate(tmp_path / "plate", 2, channels=("FITC",))
    settings = PaintSettings(channels=("FITC",), device="cpu")
    run_to_end(paint.paint_plate(plate.select("A1"), model, tmp_path / "out", settings))
    found = plate_state.painted_fields(plate, str(tmp_path / "out"))
    assert (found.model, found.channels, found.done) == ("toy-planes", ("FITC",), 1)
    inputs, channels = look(plate, model.info, found.channels, begun=True)
    assert (inputs.taken, inputs.question, channels) == ((0,), "", ("FITC",))
    assert look(plate, model.info, None, begun=False)[0].question


def test_wells_to_stain_are_selected_on_the_map(dock, qtbot, monkeypatch):
    from napari_virtual_paint.plates import suggestion

    asked = []

    def suggesting(plate, model, count, *, channels=None):
        yield from ()
        asked.append((plate, model.info.id, count))
        wells = tuple(suggestion.SuggestedWell(well, f"{well}/0", 2.5, "outside", "", f"Because of {well}.") for well in ("B02", "A04"))
        return suggestion.Suggestion(wells, ("One is empty.",))

    monkeypatch.setattr(suggestion, "suggesting", suggesting)
    qtbot.waitUntil(lambda: dock.session.model is not None and dock.view.suggest.isEnabled(), timeout=PATIENCE)
    dock.view.suggest.click()
    qtbot.waitUntil(lambda: dock.view.map.selection == ("B02", "A04"), timeout=PATIENCE)
    assert asked == [(dock.plate, dock.session.model.info.id, 3)]
    assert dock.view.suggested.text() == "Stain B02, A04. One is empty."
    assert "Because of A04." in dock.view.suggested.toolTip()
    assert dock.view.suggest.text() == "Suggest wells to stain"
