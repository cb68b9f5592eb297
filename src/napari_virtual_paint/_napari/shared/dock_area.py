"""Where our docks stand in napari's window: opened together they become tabs of one area instead of squeezing each other."""

from __future__ import annotations

from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QTabBar, QWidget


def join_tabs(widget: QWidget, title: str) -> None:
    """Make a dock a tab beside our other docks whenever it is opened, and raise it.

    napari's menu hides a dock that is open, also a tab in the background, which nobody sees: that one is raised instead. Closing it
    (`close`) or taking it out of the window works as ever.

    Only opening counts: a dock that the user floats, or drags elsewhere, stays there until it is closed or hidden. Of docks on several
    sides, it joins those on the side where napari places it.

    Parameters
    ----------
    widget
        What napari puts into a `QDockWidget` after the constructor of `widget` has returned.
    title
        The text of the tab.
    """
    _TabJoiner(widget, title)


def bring_to_front(widget: QWidget) -> None:
    """Show the dock of a widget, and raise it where it is a tab in the background."""
    dock = widget.parentWidget()
    if isinstance(dock, QDockWidget):
        dock.show()
        dock.raise_()


class _TabJoiner(QObject):  # type: ignore[misc]
    """Follows a widget into its `QDockWidget`, and that dock into the main window."""

    def __init__(self, widget: QWidget, title: str) -> None:
        super().__init__(widget)
        self._title = title
        self._dock: QDockWidget | None = None
        self._opening = False
        self._behind = self._closed = False  # whether another tab covers the dock, and whether it was closed
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Notice that the widget gets its dock, and that the dock is opened (tabs in the background count as shown all the time)."""
        if event.type() == QEvent.Type.ParentChange and watched is self.parent():
            self._follow(self.parent().parentWidget())
        elif watched is self._dock and event.type() == QEvent.Type.Show and not event.spontaneous():
            self._closed = False
            self._join()
            QTimer.singleShot(0, self._raise)  # a dock has a tab only once it is shown
        elif watched is self._dock and event.type() == QEvent.Type.Close:
            self._closed = True
        elif watched is self._dock and event.type() == QEvent.Type.Hide and self._behind and not self._closed and not event.spontaneous():
            QTimer.singleShot(0, self._show_instead)
        return False

    def _follow(self, parent: QWidget | None) -> None:
        if self._dock is not None and isalive(self._dock):
            self._dock.removeEventFilter(self)
            self._dock.visibilityChanged.disconnect(self._covered)
        self._behind = self._closed = False
        self._dock = parent if isinstance(parent, QDockWidget) else None
        if self._dock is not None:
            self._opening = True
            self._dock.setWindowTitle(self._title)  # napari's title bar keeps its own, longer one
            self._dock.installEventFilter(self)
            self._dock.dockLocationChanged.connect(self._placed)
            self._dock.visibilityChanged.connect(self._covered)

    def _covered(self, seen: bool) -> None:
        """Notice that the dock is covered by another tab, or seen again; Qt counts it as visible all the time."""
        dock = self._dock
        self._behind = dock is not None and not seen and not dock.isHidden()

    def _show_instead(self) -> None:
        """Show a tab that napari's menu hid while nobody saw it."""
        dock = self._dock
        if dock is None or not isalive(dock) or not dock.isHidden():
            return
        window = dock.parentWidget()
        if isinstance(window, QMainWindow) and window.dockWidgetArea(dock) != Qt.DockWidgetArea.NoDockWidgetArea:
            dock.show()

    def _placed(self, _area: Any) -> None:
        """Join the tabs as soon as napari has placed the dock: laid out beneath the others, it would make the window grow for good."""
        if self._opening:
            self._opening = False
            self._join()

    def _join(self) -> None:
        dock = self._dock
        window = dock.parentWidget() if dock is not None else None
        if not isinstance(window, QMainWindow) or dock is None or dock.isFloating():
            return
        area = window.dockWidgetArea(dock)
        others = [other for other in _our_docks(window) if other is not dock and window.dockWidgetArea(other) == area]
        if others and not set(others) & set(window.tabifiedDockWidgets(dock)):
            window.tabifyDockWidget(others[-1], dock)

    def _raise(self) -> None:
        dock = self._dock
        if dock is None or not isalive(dock) or dock.isHidden():
            return
        dock.raise_()
        window = dock.parentWidget()
        if isinstance(window, QMainWindow):
            for bar in window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
                bar.setElideMode(Qt.TextElideMode.ElideNone)  # whole titles, and arrows where there is no room for all


def _our_docks(window: QMainWindow) -> list[QDockWidget]:
    """Return our docks that are open and not floating."""
    docks = window.findChildren(QDockWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)
    return [dock for dock in docks if not dock.isFloating() and not dock.isHidden() and _is_ours(dock.widget())]


def _is_ours(widget: QWidget | None) -> bool:
    return widget is not None and widget.findChild(_TabJoiner, options=Qt.FindChildOption.FindDirectChildrenOnly) is not None
