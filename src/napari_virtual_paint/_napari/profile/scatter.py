"""The scatter of wells in the Profile dock: drawn in steps, zoomed, hovered, clicked, and selected by a box or a lasso."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_virtual_paint._napari.profile.symbols import RADIUS, PointDrawing, stamp, symbol_path
from napari_virtual_paint._napari.shared.background import Debounced
from napari_virtual_paint._napari.shared.gui_timing import timed

EDGE = 14  # pixels around the points
NEAR = 14  # pixels within which the mouse finds a point
SECONDS = 0.006  # time for drawing points in one turn of the event loop
MARGIN = 0.05  # free space around the points, as a share of their span
CLOSEST = 400.0  # largest zoom, relative to the view of all points
PALETTE = 1000  # more colours than a view has: the key of a stamp is symbol * PALETTE + colour
DRAG = 4  # pixels that the mouse moves before a click becomes a drag
ZOOM = 1.25
ARROWS = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, -1), Qt.Key.Key_Down: (0, 1)}
MODES = {Qt.Key.Key_B: "box", Qt.Key.Key_L: "lasso", Qt.Key.Key_H: "pan"}

Floats = npt.NDArray[np.float64]


class ScatterView(QWidget):  # type: ignore[misc]
    """Shows points, each with a colour and a symbol, that the user can choose.

    Signals
    -------
    clicked
        A point that was clicked.
    moved
        The point that the arrow keys went to.
    opened
        Enter was pressed.
    selected
        Mask of the points in a box or lasso, and ``"replace"``, ``"add"`` or ``"toggle"``.
    mode_changed
        ``"box"``, ``"lasso"`` or ``"pan"``, chosen by a key.

    Attributes
    ----------
    points
        Positions in the units of the map (n, 2); NaN for points without one.
    axes
        Names of the axes.
    mode
        What a drag does.
    about
        Returns the tooltip of a point.
    hovered
        The point under the mouse; -1 for none.
    here_rows
        Points of the current well; the first one is that of the current row.
    """

    clicked = Signal(int)
    moved = Signal(int)
    opened = Signal()
    selected = Signal(object, str)
    mode_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.points: npt.NDArray[np.float32] = np.zeros((0, 2), np.float32)
        self.axes = ("", "")
        self.mode = "box"
        self.about: Callable[[int], str] = lambda row: ""
        self.hovered = -1
        self.here_rows: tuple[int, ...] = ()
        self._colours: list[QColor] = []
        self._groups: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self._symbols: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self._shown: npt.NDArray[np.bool_] = np.zeros(0, bool)
        self._chosen: npt.NDArray[np.bool_] = np.zeros(0, bool)
        # A window is the part of the map in view: its lower left and upper right corner, in the units of the map.
        self._window = np.array([[0.0, 0.0], [1.0, 1.0]])
        self._whole = self._window.copy()
        self._drawn_window = self._drawing_window = self._window
        self._drawn: QPixmap | None = None
        self._drawing: PointDrawing | None = None
        self._stamps: dict[int, QPixmap] = {}
        self._band: QRectF | None = None
        self._lasso: list[QPointF] = []
        self._pressed: QPointF | None = None
        self._panning: tuple[QPointF, Floats] | None = None
        self._drawing_on = Debounced(0, self._draw_some, self)
        self.setMinimumSize(QSize(160, 220))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Scatter of wells")

    def set_mode(self, mode: str) -> None:
        """Set what a drag does: draw a ``"box"`` or a ``"lasso"``, or move the view (``"pan"``)."""
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
            shift = np.array([place.x() - began.x(), began.y() - place.y()]) / [width, height] * (window[1] - window[0])
            self._set_window(window - shift)
        elif self._pressed is not None and self.mode != "pan":
            self._drag(self._pressed, place)
        elif self._pressed is None:
            self._hover(self.row_at(place))

    def _drag(self, pressed: QPointF, place: QPointF) -> None:
        offset = place - pressed
        if self._band is None and not self._lasso and max(abs(offset.x()), abs(offset.y())) <= DRAG:
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
        return np.asarray(inside & self._visible())

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
            self.selected.emit(self._visible(), "replace")
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
        """Move to the nearest point in a direction, within 45 degrees of it."""
        visible = self._visible()
        if not visible.any():
            return
        spots = self.place(self.points)
        at = self.here_rows[0] if self.here_rows and visible[self.here_rows[0]] else -1
        from_ = spots[at] if at >= 0 else np.array([self.width() / 2, self.height() / 2])
        offsets = spots - from_
        along, across = offsets @ direction, np.abs(offsets @ direction[::-1])
        ahead = visible & (along > 0) & (across <= along) if at >= 0 else visible
        if ahead.any():
            # Distance across counts double, so that arrows keep to a line of points.
            self.moved.emit(int(np.nanargmin(np.where(ahead, np.hypot(along, 2 * across), np.inf))))

    def event(self, event: Any) -> bool:
        """Show the tooltip of the point under the mouse."""
        if event.type() == QEvent.Type.ToolTip:
            row = self.row_at(QPointF(event.pos()))
            if row >= 0:
                QToolTip.showText(event.globalPos(), self.about(row), self)
            else:
                QToolTip.hideText()
            return True
        return bool(super().event(event))

    # -- what is shown ------------------------------------------------------------------------------------------------

    def set_points(self, points: npt.NDArray[np.float32], axes: tuple[str, str]) -> None:
        """Show other points (n, 2); those that are NaN are not drawn."""
        same = len(points) == len(self.points)
        self.points, self.axes = points, axes
        if not same:
            self._groups = self._symbols = np.zeros(len(points), np.intp)
            self._shown, self._chosen = np.ones(len(points), bool), np.zeros(len(points), bool)
            self.here_rows = ()
        self.hovered = -1
        self._measure()
        self.show_all()

    def _measure(self) -> None:
        """Set the window of all points that are shown."""
        visible = self.points[self._visible()].astype(float)
        low, high = (visible.min(axis=0), visible.max(axis=0)) if len(visible) else (np.zeros(2), np.ones(2))
        span = np.where(high > low, high - low, 1.0)
        self._whole = np.array([low - MARGIN * span, high + MARGIN * span])

    def set_groups(self, groups: npt.NDArray[np.intp], colours: list[QColor]) -> None:
        """Colour the points by the numbers of their groups; points of an invalid colour are hollow."""
        self._groups, self._colours, self._stamps = groups, colours, {}
        self._redraw()

    def set_symbols(self, symbols: npt.NDArray[np.intp], shown: npt.NDArray[np.bool_]) -> None:
        """Give the points their symbols, and show some of them; if all were in view, all are again."""
        all_in_view = np.array_equal(self._window, self._whole)
        self._symbols, self._shown = symbols, shown
        self._measure()
        if all_in_view:
            self._window = self._whole.copy()
        self._redraw()

    def set_selected(self, chosen: npt.NDArray[np.bool_]) -> None:
        """Show the other points faintly; all alike where none is selected."""
        if not np.array_equal(chosen, self._chosen):
            self._chosen = chosen
            self._redraw()

    def set_here(self, rows: tuple[int, ...]) -> None:
        """Mark the points of the current well, and join them by lines."""
        if rows != self.here_rows:
            self.here_rows = rows
            self.update()

    # -- positions ---------------------------------------------------------------------------------------------------

    def place(self, points: npt.NDArray[np.floating[Any]]) -> Floats:
        """Return the positions of points (k, 2) on the widget, in pixels; some may lie beyond it."""
        left, top, width, height = self._area()
        share = (np.asarray(points, float) - self._window[0]) / (self._window[1] - self._window[0])
        return np.column_stack([left + share[:, 0] * width, top + (1 - share[:, 1]) * height])

    def _area(self) -> tuple[float, float, float, float]:
        """Return left, top, width and height of the window on the widget."""
        return EDGE, EDGE + 8.0, max(1.0, self.width() - 2.0 * EDGE), max(1.0, self.height() - 2.0 * EDGE - 16)

    def _data(self, position: QPointF) -> Floats:
        """Return the position on the map of a position on the widget."""
        left, top, width, height = self._area()
        share = np.array([(position.x() - left) / width, 1 - (position.y() - top) / height])
        return np.asarray(self._window[0] + share * (self._window[1] - self._window[0]))

    def row_at(self, position: QPointF) -> int:
        """Return the point near a position on the widget, preferably a selected one; -1 if none is near."""
        if not len(self.points):
            return -1
        distance = np.hypot(*(self.place(self.points) - [position.x(), position.y()]).T)
        distance = np.where(self._visible(), distance, np.inf)
        if self._chosen.any():  # of points on top of each other, a selected one is meant
            distance = np.where(self._chosen, distance, distance + RADIUS)
        nearest = int(np.nanargmin(distance))
        return nearest if distance[nearest] <= NEAR else -1

    def _visible(self) -> npt.NDArray[np.bool_]:
        """Return which points are shown and have a position."""
        return np.asarray(self._shown & np.isfinite(self.points).all(axis=1))

    # -- zoom ---------------------------------------------------------------------------------------------------------

    def show_all(self) -> None:
        """Show all points."""
        self._set_window(self._whole.copy())

    def zoom(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom in by a factor, about a position on the widget (its middle where None)."""
        middle = self._data(at) if at is not None else self._window.mean(axis=0)
        closest = (self._whole[1] - self._whole[0]) / CLOSEST
        spans = np.clip((self._window[1] - self._window[0]) / factor, closest, 2 * (self._whole[1] - self._whole[0]))
        share = (middle - self._window[0]) / (self._window[1] - self._window[0])
        low = middle - share * spans
        self._set_window(np.array([low, low + spans]))

    def _set_window(self, window: Floats) -> None:
        self._window = window
        self._redraw()

    # -- drawing ------------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        self._redraw()

    def changeEvent(self, event: Any) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._stamps = {}
            self._redraw()

    @property
    def drawing(self) -> bool:
        """Whether points are still to be drawn."""
        return self._drawing is not None

    def _redraw(self) -> None:
        """Draw the points anew: at once as many as the time of a turn allows."""
        if not hasattr(self, "_drawing_on"):
            return  # Qt reports changes of the palette while the widget is being made
        visible = np.flatnonzero(self._visible())
        complete = len(self._groups) == len(self.points) == len(self._symbols)  # they are set one after the other
        if not (complete and self._colours):
            visible = visible[:0]
        faint = self._chosen.any() & ~self._chosen[visible]
        visible = np.concatenate([visible[faint], visible[~faint]])
        kinds = self._symbols[visible] * PALETTE + self._groups[visible]
        kinds = np.where(self._chosen.any() & ~self._chosen[visible], -1 - kinds, kinds)
        ratio, palette = self.devicePixelRatioF(), self.palette()
        base, rim = palette.color(QPalette.ColorRole.Base), palette.color(QPalette.ColorRole.Text)
        for kind in np.unique(kinds).tolist():
            if kind not in self._stamps:
                symbol, colour = divmod(kind if kind >= 0 else -1 - kind, PALETTE)
                self._stamps[kind] = stamp(self._colours[colour], symbol, ratio, rim, faint=kind < 0)
        self._drawing = PointDrawing(self.size(), ratio, base, self.place(self.points[visible]), kinds, self._stamps)
        self._drawing_window = self._window.copy()
        self._draw_some()

    @timed
    def _draw_some(self) -> None:
        """Draw points for the time of a turn."""
        if self._drawing is None:
            return
        if self._drawing.advance(SECONDS):
            self._drawn, self._drawn_window = self._drawing.pixmap, self._drawing_window
            self._drawing = None
        else:
            self._drawing_on.start()
        self.update()

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        if self._drawn is not None:
            painter.drawPixmap(self._target(), self._drawn, QRectF(self._drawn.rect()))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.Text)
        self._draw_here(painter, ink)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(ink, 1, Qt.PenStyle.DashLine))
        if self._band is not None:
            painter.drawRect(self._band)
        if self._lasso:
            painter.drawPolygon(QPolygonF(self._lasso))
        self._draw_axes(painter, ink)
        painter.end()

    def _target(self) -> QRectF:
        """Return where the finished picture belongs while the points are drawn anew for another window."""
        whole = QRectF(self.rect())
        if np.array_equal(self._drawn_window, self._window):
            return whole
        before, self._window = self._window, self._drawn_window
        corners = np.array([self._data(whole.topLeft()), self._data(whole.bottomRight())])
        self._window = before
        (left, top), (right, bottom) = self.place(corners)
        return QRectF(left, top, right - left, bottom - top)

    def _draw_here(self, painter: QPainter, ink: QColor) -> None:
        """Mark the current well, with a line from its truth to each prediction, and the point under the mouse."""
        visible = self._visible()
        rows = [row for row in self.here_rows if row < len(self.points) and visible[row]]
        spots = [QPointF(x, y) for x, y in self.place(self.points[rows])] if rows else []
        ordered = sorted(zip(rows, spots, strict=True), key=lambda pair: self._symbols[pair[0]])
        painter.setPen(QPen(ink, 1.2))
        for _, spot in ordered[1:]:
            painter.drawLine(ordered[0][1], spot)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for index, (row, spot) in enumerate(zip(rows, spots, strict=True)):
            painter.setPen(QPen(ink, 2.4 if index == 0 else 1.4))
            painter.drawPath(symbol_path(int(self._symbols[row]), spot, RADIUS + (4.5 if index == 0 else 2.5)))
        if 0 <= self.hovered < len(self.points) and visible[self.hovered]:
            spot = QPointF(*self.place(self.points[self.hovered : self.hovered + 1])[0])
            painter.setPen(QPen(ink, 1.2))
            painter.drawPath(symbol_path(int(self._symbols[self.hovered]), spot, RADIUS + 2))

    def _draw_axes(self, painter: QPainter, ink: QColor) -> None:
        painter.setPen(ink)
        below = QRectF(EDGE, self.height() - 17, self.width() - 2 * EDGE, 16)
        painter.drawText(below, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), self.axes[0])
        painter.drawText(QRectF(4, 1, self.width() - 8, 16), int(Qt.AlignmentFlag.AlignLeft), self.axes[1])


def _how(modifiers: Any) -> str:
    """Return how a selection with these modifier keys changes the one before."""
    if modifiers & Qt.KeyboardModifier.ControlModifier:
        return "toggle"
    return "add" if modifiers & Qt.KeyboardModifier.ShiftModifier else "replace"
