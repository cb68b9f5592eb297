"""What happens to a dock's widget when the dock is closed."""

from __future__ import annotations

import pytest
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget

from napari_virtual_paint._napari.commands import find_dock, open_dock
from napari_virtual_paint._napari.shared.closing import delete_when_removed


@pytest.fixture
def viewer(make_napari_viewer, offered):
    return make_napari_viewer()


@pytest.mark.parametrize("name", ["Stain", "Compare", "Cells", "Profile"])
def test_a_closed_dock_follows_the_viewer_no_more(viewer, qtbot, name):
    dock = open_dock(name)
    viewer.window.remove_dock_widget(dock)  # as the cross of its title bar
    qtbot.waitUntil(lambda: not isalive(dock), timeout=30_000)
    assert find_dock(viewer, name) is None
    other = open_dock(name)
    assert other is not dock
    assert isalive(other)


def test_a_widget_that_is_busy_is_deleted_later_and_one_docked_again_stays(viewer, qtbot):
    busy, ended = [True], []
    widget = QWidget()
    delete_when_removed(widget, lambda: ended.append(True), lambda: bool(busy))
    viewer.window.add_dock_widget(widget, name="one")
    viewer.window.remove_dock_widget(widget)
    viewer.window.add_dock_widget(widget, name="two")
    busy.clear()
    qtbot.wait(50)
    assert isalive(widget)
    assert not ended
    busy.append(True)
    viewer.window.remove_dock_widget(widget)
    qtbot.wait(50)
    assert isalive(widget)
    busy.clear()
    qtbot.waitUntil(lambda: not isalive(widget), timeout=30_000)
    assert ended == [True]
