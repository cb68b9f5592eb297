"""The scatter of the Profile dock under mouse and keys: zoomed, hovered, clicked, and selected by a box or a lasso."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from qtpy.QtWidgets import QToolTip, QWidget

from napari_virtual_paint._napari.profile.scatter_canvas import Floats, ScatterCanvas
from napari_virtual_paint._napari.shared.gui_timing import timed

DRAG = 4
"""Pixels that the mouse moves before a click becomes a drag."""
ZOOM = 1.25
ARROWS = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, -1), Qt.Key.Key_Down: (0, 1)}
MODES = {Qt.Key.Key_B: "box", Qt.Key.Key_L: "lasso", Qt.Key.Key_H: "pan"}


class ScatterView(ScatterCanvas):
    """Points that can be chosen.

    Signals
    -------
    clicked
        A point that was clicked (of `MapView`).
    moved
        The point that the arrows went to.
    opened
        Enter: open what is looked at.
    selected
        Mask of the points in a box or lasso, and ``"replace"``, ``"add"`` or ``"toggle"``.
    mode_changed
        ``"box"``, ``"lasso"`` or ``"pan"``, chosen by a key.
    """

    moved = Signal(int)
    opened = Signal()
    selected = Signal(object, str)
    mode_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.mode = "box"
        self.about: Callable[[int], str] = lambda row: ""
        self._pressed: QPointF | None = None
        self._panning: tuple[QPointF, Floats] | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Scatter of wells")

    def set_mode(self, mode: str) -> None:
        """Let a drag draw a box or a lasso, or move the view."""
        self.mode = mode
        self.setCursor(Qt.CursorShape.OpenHandCursor if mode == "pan" else Qt.CursorShape.ArrowCursor)

    # -- mouse --------------------------------------------------------------------------------------------------------

    @timed
    def mousePressEvent(self, event: Any) -> None:  # noqa: N802
        place, button = event.position(), event.button()
        if button == Qt.MouseButton.MiddleButton or (button == Qt.MouseButton.LeftButton and self.mode == "pan"):
            self._panning = place, self._window.copy()
        if button == Qt.MouseButton.LeftButton:
            self._pressed = place

    @timed
    def mouseMoveEvent(self, event: Any) -> None:  # noqa: N802
        place = event.position()
        if self._panning is not None:
            began, window = self._panning
            _, _, width, height = self._area()
            way = np.array([place.x() - began.x(), began.y() - place.y()]) / [width, height] * (window[1] - window[0])
            self._look(window - way)
        elif self._pressed is not None and self.mode != "pan":
            self._drag(self._pressed, place)
        elif self._pressed is None:
            self._hover(self.row_at(place))

    def _drag(self, pressed: QPointF, place: QPointF) -> None:
        way = place - pressed
        if self._band is None and not self._lasso and max(abs(way.x()), abs(way.y())) <= DRAG:
            return
        if self.mode == "lasso":
            self._lasso = [*(self._lasso or [pressed]), place]
        else:
            self._band = QRectF(pressed, place).normalized()
        self.update()

    def _hover(self, row: int) -> None:
        if row != self.hovered:
            self.hovered = row
            self.update()

    def leaveEvent(self, event: Any) -> None:  # noqa: N802
        self._hover(-1)

    @timed
    def mouseReleaseEvent(self, event: Any) -> None:  # noqa: N802
        pressed, band, lasso, panned = self._pressed, self._band, self._lasso, self._panning
        self._pressed, self._band, self._lasso, self._panning = None, None, [], None
        if event.button() != Qt.MouseButton.LeftButton or pressed is None:
            return
        how = _how(event.modifiers())
        if band is not None or lasso:
            self.selected.emit(self._inside(band, lasso), "add" if how == "toggle" else how)
        elif panned is None or max(abs((event.position() - pressed).x()), abs((event.position() - pressed).y())) <= DRAG:
            self._click(self.row_at(pressed), how)
        self.update()

    def _click(self, row: int, how: str) -> None:
        if row >= 0 and how == "replace":
            self.clicked.emit(row)
        elif row >= 0:
            self.selected.emit(np.arange(len(self.points)) == row, "toggle")
        elif how == "replace":
            self.selected.emit(np.zeros(len(self.points), bool), "replace")

    def _inside(self, band: QRectF | None, lasso: list[QPointF]) -> npt.NDArray[np.bool_]:
        """Return which of the shown points lie in a box or a lasso."""
        spots = self.place(self.points)
        if band is not None:
            low, high = (band.left(), band.top()), (band.right(), band.bottom())
            inside = ((spots >= low) & (spots <= high)).all(axis=1)
        else:
            from skimage.measure import points_in_poly

            inside = points_in_poly(np.nan_to_num(spots, nan=-1e9), [(each.x(), each.y()) for each in lasso])
        return np.asarray(inside & self._there())

    @timed
    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        steps = event.angleDelta().y() / 120
        if steps:
            self.zoom(ZOOM**steps, event.position())
        event.accept()

    @timed
    def mouseDoubleClickEvent(self, event: Any) -> None:  # noqa: N802
        if self.row_at(event.position()) < 0:
            self.show_all()

    # -- keys ---------------------------------------------------------------------------------------------------------

    @timed
    def keyPressEvent(self, event: Any) -> None:  # noqa: N802
        key, none = event.key(), np.zeros(len(self.points), bool)
        if key in ARROWS:
            self._go(np.array(ARROWS[key], float))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.opened.emit()
        elif key == Qt.Key.Key_Escape:
            self.selected.emit(none, "replace")
        elif key == Qt.Key.Key_A and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.selected.emit(self._there(), "replace")
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus):
            self.zoom(1 / ZOOM if key == Qt.Key.Key_Minus else ZOOM)
        elif key in (Qt.Key.Key_0, Qt.Key.Key_Home):
            self.show_all()
        elif key in MODES:
            self.set_mode(MODES[key])
            self.mode_changed.emit(self.mode)
        else:
            super().keyPressEvent(event)

    def _go(self, direction: Floats) -> None:
        """Go to the nearest point that lies more to one side than to the others."""
        there = self._there()
        if not there.any():
            return
        spots = self.place(self.points)
        at = self.here_rows[0] if self.here_rows and there[self.here_rows[0]] else -1
        from_ = spots[at] if at >= 0 else np.array([self.width() / 2, self.height() / 2])
        way = spots - from_
        along, across = way @ direction, np.abs(way @ direction[::-1])
        ahead = there & (along > 0) & (across <= along) if at >= 0 else there
        if ahead.any():
            self.moved.emit(int(np.nanargmin(np.where(ahead, np.hypot(along, 2 * across), np.inf))))

    def event(self, event: Any) -> bool:
        """Tell what the point under the mouse is."""
        if event.type() == QEvent.Type.ToolTip:
            row = self.row_at(QPointF(event.pos()))
            if row >= 0:
                QToolTip.showText(event.globalPos(), self.about(row), self)
            else:
                QToolTip.hideText()
            return True
        return bool(super().event(event))


def _how(modifiers: Any) -> str:
    """Return what a modifier makes of a selection."""
    if modifiers & Qt.KeyboardModifier.ControlModifier:
        return "toggle"
    return "add" if modifiers & Qt.KeyboardModifier.ShiftModifier else "replace"
