"""What all docks have in common in napari's window."""

from __future__ import annotations

import pytest

from napari_virtual_paint._napari.commands import open_dock
from napari_virtual_paint._napari.shared import layer_list


@pytest.mark.parametrize("name", ["Stain", "Compare", "Plate", "Cells", "Profile"])
def test_a_dock_that_can_grow_takes_all_the_height(name, make_napari_viewer, offered, qtbot, monkeypatch):
    """Below a dock that does not want to grow, napari adds empty space, and its contents are squeezed into the upper half."""
    monkeypatch.setattr("napari_virtual_paint._napari.cells.dock.listed_models", list)
    viewer = make_napari_viewer()
    layout = open_dock(name).layout()
    assert [layout.itemAt(i).spacerItem() for i in range(layout.count())] == [None] * layout.count()
    viewer.window._qt_window.close()


@pytest.mark.parametrize("name", ["Stain", "Compare", "Plate", "Cells", "Train", "Evaluate", "Profile", "Register"])
def test_a_dock_guards_the_removal_of_layers(name, make_napari_viewer, offered, qtbot, monkeypatch):
    monkeypatch.setattr("napari_virtual_paint._napari.cells.dock.listed_models", list)
    viewer = make_napari_viewer()
    open_dock(name)
    assert viewer in layer_list._GUARDED
    viewer.window._qt_window.close()
