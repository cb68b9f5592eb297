"""How many clicks lie between an open napari and what users come for: by real clicks, counted, through napari's own menus."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QMenu, QWidget

from napari_virtual_paint._napari.commands import find_dock, open_dock
from napari_virtual_paint._napari.demo import stains_of

PLUGINS, OURS = "Plugins", "Virtual Paint"


class Hand:
    """Clicks and counts; a menu beneath a menu opens where the pointer rests on it.

    Attributes
    ----------
    clicks
        How many clicks there were.
    """

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self._viewer, self._qtbot = viewer, qtbot
        self.clicks = 0

    def click(self, widget: QWidget, place: QPoint | None = None) -> None:
        """Click a widget that is seen and enabled."""
        self._qtbot.waitUntil(lambda: widget.isVisible() and widget.isEnabled(), timeout=30_000)
        assert not widget.visibleRegion().isEmpty()
        self.clicks += 1
        self._qtbot.mouseClick(widget, Qt.MouseButton.LeftButton, pos=place or widget.rect().center())

    def drag(self, widget: QWidget, start: QPoint, end: QPoint) -> None:
        """Press, move and let go, which is one click."""
        self.clicks += 1
        self._qtbot.mousePress(widget, Qt.MouseButton.LeftButton, pos=start)
        self._qtbot.mouseMove(widget, end)
        self._qtbot.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=end)

    def open(self, name: str) -> Any:
        """Open a dock by napari's menu, and return it: two clicks."""
        bar = self._viewer.window._qt_window.menuBar()
        plugins = _action(bar, PLUGINS)
        self.click(bar, bar.actionGeometry(plugins).center())
        ours = _action(plugins.menu(), OURS)
        plugins.menu().setActiveAction(ours)  # the pointer rests on it
        ours.menu().aboutToShow.emit()
        ours.menu().popup(plugins.menu().mapToGlobal(plugins.menu().actionGeometry(ours).topRight()))
        entry = _action(ours.menu(), name)
        self.click(ours.menu(), ours.menu().actionGeometry(entry).center())
        plugins.menu().close()
        self._qtbot.waitUntil(lambda: find_dock(self._viewer, name) is not None, timeout=30_000)
        return find_dock(self._viewer, name)


def _action(menu: QMenu, text: str) -> Any:
    return next(action for action in menu.actions() if action.text().replace("&", "").startswith(text))


@pytest.fixture
def viewer(make_napari_viewer, offered):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 720)
    return viewer


@pytest.fixture
def hand(viewer, qtbot) -> Hand:
    return Hand(viewer, qtbot)


@pytest.fixture
def small_sample(monkeypatch) -> Callable[..., Any]:
    """Make the sample field small, so that it is simulated in no time."""
    from napari_virtual_paint._napari import sample_data

    whole = sample_data.simulate_field
    monkeypatch.setattr(sample_data, "simulate_field", lambda settings: whole(type(settings)(size=64, seed=settings.seed)))
    return whole


def test_the_first_stain_takes_three_clicks(viewer, hand, qtbot, small_sample):
    dock = hand.open("Stain")
    hand.click(dock.panel.welcome.buttons[0])
    qtbot.waitUntil(lambda: len(viewer.layers) >= 13 and dock.painting is None, timeout=60_000)
    assert hand.clicks == 3
    assert not dock.panel.welcome.isVisible()
    assert len(stains_of(viewer)) == 5


def test_a_comparison_takes_one_click_more(viewer, hand, qtbot, small_sample):
    dock = hand.open("Stain")
    dock.paint_sample()
    qtbot.waitUntil(lambda: len(viewer.layers) >= 13 and dock.painting is None, timeout=60_000)
    before = hand.clicks
    hand.click(dock.panel.button_compare)
    compare = find_dock(viewer, "Compare")
    qtbot.waitUntil(lambda: len(compare.table_rows()) == 6, timeout=30_000)  # five stains and their mean
    assert hand.clicks - before == 1


def test_an_image_that_is_open_is_painted_with_three_clicks(viewer, hand, qtbot):
    for plane in ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um"):
        viewer.add_image(np.random.default_rng(0).random((64, 64), np.float32), name=plane)
    dock = hand.open("Stain")
    hand.click(dock.panel.button_paint)
    qtbot.waitUntil(lambda: len(viewer.layers) == 8 and dock.painting is None, timeout=60_000)
    assert hand.clicks == 3


def test_a_training_begins_with_three_clicks(viewer, hand, qtbot, monkeypatch, tmp_path):
    from napari_virtual_paint._napari.train import config_controller
    from napari_virtual_paint._napari.train.run_monitor import RunMonitor

    monkeypatch.setattr(config_controller, "runs_folder", lambda: tmp_path)
    begun = []
    monkeypatch.setattr(RunMonitor, "begin", lambda monitor, folder, config: begun.append(folder))
    rng = np.random.default_rng(0)
    for name in ("Brightfield", "DNA"):
        viewer.add_image(rng.random((256, 256), np.float32), name=name)
    dock = hand.open("Train")
    hand.click(dock.panel.start)
    qtbot.waitUntil(lambda: bool(begun) or dock.panel.asking.isVisible(), timeout=60_000)
    assert hand.clicks == 3


def test_a_plate_is_painted_with_four_clicks(viewer, hand, qtbot, monkeypatch, tmp_path):
    from napari_virtual_paint._napari.plate.paint_queue import PaintQueue
    from napari_virtual_paint.plates.simulation.design import PlateDesign
    from napari_virtual_paint.plates.simulation.simulate import simulate_plate
    from napari_virtual_paint.runtime.generators import run_to_end

    run_to_end(simulate_plate(PlateDesign(shape=(2, 3), size=64), tmp_path / "plate.zarr"))
    added = []
    monkeypatch.setattr(PaintQueue, "add", lambda queue, task: added.append(task))
    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getExistingDirectory", lambda *_: str(tmp_path / "plate.zarr"))  # not counted
    dock = hand.open("Plate")
    hand.click(dock.view.welcome.buttons[0])
    qtbot.waitUntil(lambda: dock.plate is not None, timeout=30_000)
    assert not dock.view.welcome.isVisible()
    hand.click(dock.view.form.start)
    qtbot.waitUntil(lambda: bool(added), timeout=30_000)
    assert hand.clicks == 4


def test_a_feature_is_dragged_with_three_clicks(viewer, hand, qtbot, monkeypatch, tmp_path):
    import cell_packages
    from napari_virtual_paint._napari.cells import generator_thread
    from napari_virtual_paint._napari.cells.slider_row import track_rect
    from napari_virtual_paint.cells.cp2image.package import save_cell_model

    package = str(save_cell_model(tmp_path / "toy-cells.zip", cell_packages.draft()))
    monkeypatch.setattr("napari_virtual_paint._napari.cells.dock.listed_models", lambda: [(package, "Toy cells", "")])
    dock = hand.open("Cells")
    qtbot.waitUntil(lambda: dock.opened is not None and dock.view.tabs.isEnabled() and not dock.busy, timeout=60_000)
    sliders = dock.view.sliders
    feature = dock.opened.population.position(cell_packages.FEATURES[0])
    row = sliders.visualRect(sliders.tree.index_of(feature))
    assert sliders.viewport().visibleRegion().contains(row), "the first feature is in view, without scrolling or unfolding"
    track = track_rect(row)
    hand.drag(sliders.viewport(), track.center(), QPoint(track.right() - 5, track.center().y()))
    qtbot.waitUntil(lambda: bool(dock.editor.vector.moved) and not dock.busy, timeout=60_000)
    assert hand.clicks == 3
    assert list(dock.editor.vector.moved) == [feature]
    dock.shut()
    qtbot.waitUntil(lambda: not [each for each in threading.enumerate() if each.name == generator_thread.NAME], timeout=30_000)


def test_an_image_dropped_on_the_stain_dock_is_opened_and_a_broken_one_named(viewer, hand, qtbot, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 1000, (32, 40), np.uint16)
    tifffile.imwrite(tmp_path / "phase.tif", pixels)
    dock = hand.open("Stain")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / name)) for name in ("gone.png", "phase.tif")])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    dock.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, buttons, keys))
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=30_000)
    np.testing.assert_array_equal(np.asarray(viewer.layers[0].data).squeeze(), pixels)
    assert any("gone.png" in record.message for record in notification_manager.records)


def test_a_dock_opened_by_a_button_is_the_one_that_the_menu_knows(viewer, qtbot):
    dock = open_dock("Compare")
    bar = viewer.window._qt_window.menuBar()
    plugins = _action(bar, PLUGINS)
    ours = _action(plugins.menu(), OURS)
    ours.menu().aboutToShow.emit()
    entry = _action(ours.menu(), "Compare")
    assert entry.isChecked()
    entry.trigger()
    entry.trigger()
    assert viewer.window._qt_window.findChildren(type(dock)) == [dock]
    assert dock.isVisible()
