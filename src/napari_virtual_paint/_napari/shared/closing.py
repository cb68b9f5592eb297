"""Find out that a dock was closed, and delete what was in it: neither napari nor Qt says so to the widget inside, or deletes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget

from napari_virtual_paint._napari.shared.background import Debounced

WAIT = 500  # milliseconds between two looks at whether a removed widget has come to the end of its work


class Closing(QObject):  # type: ignore[misc]
    """Calls a function each time a dock is closed: hidden by its button, or taken out of the window by its cross.

    A dock that floats, is dragged elsewhere, or lies below another tab is not closed, and neither is one whose window is minimized.

    Parameters
    ----------
    widget
        The widget in the dock.
    call
        Called without arguments; at once where the widget is taken out, since napari may drop it next.
    """

    def __init__(self, widget: QWidget, call: Callable[[], Any]) -> None:
        super().__init__(widget)
        self._widget, self._call = widget, call
        self._hidden = Debounced(0, self._look, self)  # Qt hides a dock also while it moves it, and shows it again at once
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: Any) -> bool:  # noqa: N802 - Qt's name
        """Follow the widget's events; none is stopped."""
        if event.type() == QEvent.Type.Hide and not event.spontaneous():
            self._hidden.start()
        elif event.type() == QEvent.Type.ParentChange and self._widget.parentWidget() is None:
            self._hidden.stop()
            self._call()
        return False

    def _look(self) -> None:
        dock = self._widget.parentWidget()
        if dock is not None and dock.isHidden():
            self._call()


def delete_when_removed(widget: QWidget, end: Callable[[], Any] | None = None, busy: Callable[[], bool] = lambda: False) -> None:
    """Delete a widget that napari took out of the window; it would follow the viewer's layers for good beside the next one of its kind.

    A script that docks it again at once keeps it.

    Parameters
    ----------
    widget
        The widget in the dock.
    end
        Called before, to stop its work.
    busy
        Whether it has work that goes on without its dock; it is deleted after that.
    """
    _Remover(widget, end, busy)


class _Remover(QObject):  # type: ignore[misc]
    """Deletes a widget once it is neither in a window nor busy."""

    def __init__(self, widget: QWidget, end: Callable[[], Any] | None, busy: Callable[[], bool]) -> None:
        super().__init__(widget)
        self._widget, self._end, self._busy = widget, end, busy
        self._soon, self._later = Debounced(0, self._look, self), Debounced(WAIT, self._look, self)
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: Any) -> bool:  # noqa: N802 - Qt's name
        """Notice that the widget is taken out of its dock."""
        if event.type() == QEvent.Type.ParentChange and watched is self._widget and self._widget.parentWidget() is None:
            self._soon.start()
        return False

    def _look(self) -> None:
        if self._widget.parentWidget() is not None:
            return
        if self._busy():
            self._later.start()
            return
        if self._end is not None:
            self._end()
        self._widget.deleteLater()
