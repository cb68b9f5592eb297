"""Docks that are opened together become tabs of one area, whoever opens them."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QLabel

from napari_virtual_paint._napari.commands import PLUGIN, open_dock
from napari_virtual_paint._napari.shared.closing import Closing


@pytest.fixture
def viewer(make_napari_viewer, offered):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 720)
    return viewer


def holder(widget) -> QDockWidget:
    """Return the dock that holds a widget."""
    while not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget


def in_front(dock: QDockWidget) -> bool:
    """Return whether a dock is the tab that is seen."""
    return not dock.visibleRegion().isEmpty()


def test_docks_become_tabs_and_the_new_one_is_in_front(viewer, qtbot):
    window = viewer.window._qt_window
    height = window.height()
    stain = holder(open_dock("Stain"))
    register = holder(open_dock("Register"))
    qtbot.waitUntil(lambda: in_front(register), timeout=30_000)
    assert window.tabifiedDockWidgets(stain) == [register]
    assert not in_front(stain)
    assert open_dock("Stain") is stain.widget()
    qtbot.waitUntil(lambda: in_front(stain), timeout=30_000)
    assert window.height() == height


def test_a_dock_that_naparis_menu_opens_is_a_tab_too(viewer, qtbot):
    from napari._app_model import get_app_model

    stain = holder(open_dock("Stain"))
    get_app_model().commands.execute_command(f"{PLUGIN}.evaluate")
    qtbot.waitUntil(lambda: len(viewer.window.dock_widgets) == 2, timeout=30_000)
    (other,) = (holder(widget) for widget in viewer.window.dock_widgets.values() if widget is not stain.widget())
    qtbot.waitUntil(lambda: in_front(other), timeout=30_000)
    assert viewer.window._qt_window.tabifiedDockWidgets(stain) == [other]
    assert open_dock("Evaluate") is other.widget(), "napari's menu and ours call the same dock by two names"


def test_a_hidden_dock_comes_back_as_a_tab(viewer, qtbot):
    window = viewer.window._qt_window
    stain = holder(open_dock("Stain"))
    qtbot.waitUntil(lambda: in_front(stain), timeout=30_000)
    stain.close()  # as napari's button "hide this panel"
    register = holder(open_dock("Register"))
    qtbot.waitUntil(lambda: in_front(register), timeout=30_000)
    open_dock("Stain")
    qtbot.waitUntil(lambda: in_front(stain), timeout=30_000)
    assert window.tabifiedDockWidgets(register) == [stain]


def test_a_floating_dock_stays_where_it_is(viewer, qtbot):
    window = viewer.window._qt_window
    stain = holder(open_dock("Stain"))
    qtbot.waitUntil(lambda: in_front(stain), timeout=30_000)
    stain.setFloating(True)
    register = holder(open_dock("Register"))
    qtbot.waitUntil(lambda: in_front(register), timeout=30_000)
    open_dock("Stain")
    qtbot.wait(50)
    assert stain.isFloating()
    assert not window.tabifiedDockWidgets(register)


def test_docks_that_the_user_parted_stay_apart_until_they_are_opened_again(viewer, qtbot):
    window = viewer.window._qt_window
    stain, register = holder(open_dock("Stain")), holder(open_dock("Register"))
    qtbot.waitUntil(lambda: in_front(register), timeout=30_000)
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, register)  # as by dragging its title
    evaluate = holder(open_dock("Evaluate"))
    qtbot.waitUntil(lambda: in_front(evaluate), timeout=30_000)
    assert window.dockWidgetArea(register) == Qt.DockWidgetArea.LeftDockWidgetArea
    assert window.tabifiedDockWidgets(stain) == [evaluate]


def test_another_plugins_dock_is_not_covered(viewer, qtbot):
    window = viewer.window._qt_window
    foreign = viewer.window.add_dock_widget(QLabel("another plugin"), name="foreign", area="right")
    foreign.show()
    stain = holder(open_dock("Stain"))
    qtbot.waitUntil(lambda: in_front(stain), timeout=30_000)
    assert not window.tabifiedDockWidgets(foreign)
    register = holder(open_dock("Register"))
    qtbot.waitUntil(lambda: in_front(register), timeout=30_000)
    assert window.tabifiedDockWidgets(stain) == [register]
    assert in_front(foreign)


def test_naparis_menu_raises_a_tab_in_the_background_and_hides_the_one_in_front(viewer, qtbot):
    from napari._app_model import get_app_model

    def menu(name: str) -> None:
        get_app_model().commands.execute_command(f"{PLUGIN}.{name}")

    stain, register = holder(open_dock("Stain")), holder(open_dock("Register"))
    qtbot.waitUntil(lambda: in_front(register), timeout=30_000)
    closings = []
    closing = Closing(stain.widget(), lambda: closings.append("stain"))
    menu("stain")
    qtbot.waitUntil(lambda: in_front(stain), timeout=30_000)
    assert not register.isHidden()
    assert not closings, "what it shows in the viewer stays"
    menu("stain")
    qtbot.waitUntil(lambda: in_front(register), timeout=30_000)
    qtbot.wait(50)
    assert stain.isHidden()
    assert closings == ["stain"]
    menu("stain")
    qtbot.waitUntil(lambda: in_front(stain), timeout=30_000)
    del closing


def test_a_tab_in_the_background_can_be_closed_and_taken_out(viewer, qtbot):
    stain, evaluate, register = (holder(open_dock(name)) for name in ("Stain", "Evaluate", "Register"))
    qtbot.waitUntil(lambda: in_front(register), timeout=30_000)
    stain.close()
    viewer.window.remove_dock_widget(evaluate)
    qtbot.wait(50)
    assert stain.isHidden()
    assert in_front(register)
    assert [type(each).__name__ for each in viewer.window.dock_widgets.values()] == ["StainDock", "RegisterDock"]
