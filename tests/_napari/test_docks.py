"""What all docks have in common in napari's window."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QComboBox, QDockWidget, QListWidget, QPushButton, QScrollArea, QWidget

from cut_texts import cut_texts
from napari_virtual_paint._napari.commands import open_dock
from napari_virtual_paint._napari.shared.viewer import layer_list
from napari_virtual_paint._napari.shared.viewer.layers import KEY

DOCKS = ("Stain", "Compare", "Plate", "Cells", "Train", "Evaluate", "Profile", "Register", "Count")
WIDTH, HEIGHT = 1280, 720  # pixels of a small laptop's window
LOW = 400  # pixels of height with which each dock is content
STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")


@pytest.mark.parametrize("name", DOCKS)
def test_a_dock_that_can_grow_takes_all_the_height(name, make_napari_viewer, offered, qtbot, monkeypatch):
    """Below a dock that does not want to grow, napari adds empty space, and its contents are squeezed into the upper half."""
    monkeypatch.setattr("napari_virtual_paint._napari.cells.dock.listed_models", list)
    viewer = make_napari_viewer()
    layout = open_dock(name).layout()
    assert [layout.itemAt(i).spacerItem() for i in range(layout.count())] == [None] * layout.count()
    viewer.window._qt_window.close()


@pytest.mark.parametrize("name", DOCKS)
def test_a_dock_guards_the_removal_of_layers(name, make_napari_viewer, offered, qtbot, monkeypatch):
    monkeypatch.setattr("napari_virtual_paint._napari.cells.dock.listed_models", list)
    viewer = make_napari_viewer()
    open_dock(name)
    assert viewer in layer_list._GUARDED
    viewer.window._qt_window.close()


def holder(widget: QWidget) -> QDockWidget:
    """Return the dock that holds a widget."""
    while not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget


def settle(qtbot: Any, dock: QDockWidget) -> None:
    """Let Qt lay out anew what has been given other texts, which takes several turns of the event loop."""
    with contextlib.suppress(qtbot.TimeoutError):
        qtbot.waitUntil(lambda: not cut_texts(dock), timeout=5_000)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_all_docks_fit_a_small_window_and_no_text_is_cut(theme, make_napari_viewer, offered, qtbot, monkeypatch):
    monkeypatch.setattr("napari_virtual_paint._napari.cells.dock.listed_models", list)
    viewer = make_napari_viewer(show=True)
    viewer.theme = theme
    viewer.window.resize(WIDTH, HEIGHT)
    window = viewer.window._qt_window
    rng = np.random.default_rng(0)
    for name in ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um", *STAINS):
        viewer.add_image(rng.random((64, 64), np.float32), name=name)
    for stain in STAINS:
        viewer.add_image(rng.random((64, 64), np.float32), name=f"{stain} (predicted)")
    for name in DOCKS:
        dock = open_dock(name)
        qtbot.waitUntil(lambda dock=dock: not holder(dock).visibleRegion().isEmpty(), timeout=30_000)
        qtbot.wait(400)  # what the dock works out of the layers is shown by then, most of the time
        settle(qtbot, holder(dock))
        assert dock.minimumSizeHint().height() <= LOW, name
        assert (window.width(), window.height()) == (WIDTH, HEIGHT), name
        assert cut_texts(holder(dock)) == [], name
        footer = dock.findChild(QWidget, "footer")
        buttons = [button for button in footer.findChildren(QPushButton) if button.isVisibleTo(dock)]
        assert buttons, name
        for button in buttons:
            assert button.visibleRegion().boundingRect() == button.rect(), f"{name}: {button.text()}"
        body = dock.findChild(QScrollArea)
        assert body.horizontalScrollBar().maximum() == 0, name
    assert set(window.tabifiedDockWidgets(holder(dock))) | {holder(dock)} == {holder(open_dock(name)) for name in DOCKS}
    assert window.minimumSizeHint().height() <= HEIGHT


@pytest.mark.parametrize("name", ["Stain", "Compare", "Train", "Register"])
def test_error_maps_and_sds_are_no_input(name, make_napari_viewer, offered, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((32, 32), np.float32), name="Brightfield")
    viewer.add_image(np.zeros((32, 32), np.float32), name="DNA (predicted)")
    for layer_name, role in (("DNA (error)", "error map"), ("DNA SD", "uncertainty")):
        viewer.add_image(np.zeros((32, 32), np.float32), name=layer_name, metadata={KEY: {"role": role}})
    dock = open_dock(name)

    def offers() -> set[str]:
        boxes, lists = dock.findChildren(QComboBox), dock.findChildren(QListWidget)
        return {box.itemText(i) for box in boxes for i in range(box.count())} | {
            each.item(i).text() for each in lists for i in range(each.count())
        }

    qtbot.waitUntil(lambda: "Brightfield" in offers(), timeout=30_000)
    assert not {"DNA (error)", "DNA SD"} & offers()
    viewer.window._qt_window.close()
