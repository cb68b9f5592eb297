"""Find out that a dock was closed: neither napari nor Qt says so to the widget inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget

from napari_virtual_paint._napari.shared.background import Debounced


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
