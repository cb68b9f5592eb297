"""How the scatter of the Profile dock is drawn: points of several sources, what stands out among them, and the part that is in view."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, QTimer
from qtpy.QtGui import QColor, QIcon, QPainter, QPainterPath, QPalette, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.scatter import EDGE, NEAR, MapView

SYMBOLS = ("circle", "triangle", "square", "diamond", "cross", "star")
"""Symbols of the sources in turn; the truth's is the circle."""


STEP = 400
"""Points between two looks at the clock."""


RADIUS = 4.0


FAINT = 0.22
"""How much of a point is seen that is not among those selected."""


def symbol_path(symbol: int, centre: QPointF, radius: float) -> QPainterPath:
    """Return the outline of a symbol; all have about the same area."""
    path, x, y = QPainterPath(), centre.x(), centre.y()
    kind = SYMBOLS[symbol % len(SYMBOLS)]
    if kind == "circle":
        path.addEllipse(centre, radius, radius)
    elif kind == "square":
        path.addRect(QRectF(x - 0.88 * radius, y - 0.88 * radius, 1.76 * radius, 1.76 * radius))
    elif kind == "cross":
        arm = 0.42 * radius
        for width, height in ((1.15 * radius, arm), (arm, 1.15 * radius)):
            path.addRect(QRectF(x - width, y - height, 2 * width, 2 * height))
        path = path.simplified()
    else:
        corners, inner, size = {"triangle": (3, 1.0, 1.3), "diamond": (4, 1.0, 1.25), "star": (5, 0.45, 1.35)}[kind]
        points = []
        for index in range(2 * corners if inner < 1 else corners):
            turn = 2 * math.pi * index / (2 * corners if inner < 1 else corners) - math.pi / 2
            reach = radius * size * (inner if inner < 1 and index % 2 else 1.0)
            points.append(QPointF(x + reach * math.cos(turn), y + reach * math.sin(turn)))
        path.addPolygon(QPolygonF(points))
        path.closeSubpath()
    return path


def stamp(colour: QColor, symbol: int, ratio: float, rim: QColor, *, faint: bool = False, radius: float = RADIUS) -> QPixmap:
    """Return a symbol in a colour with a rim, as a small picture whose middle is the point; hollow where the colour is no valid one."""
    side = 2 * math.ceil((1.4 * radius + 1) * ratio) + 1
    made = QPixmap(side, side)
    made.fill(Qt.GlobalColor.transparent)
    painter = QPainter(made)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setOpacity(FAINT if faint else 1.0)
    edge = QColor(rim)
    edge.setAlpha(110 if colour.isValid() else 200)
    painter.setPen(QPen(edge, ratio))
    painter.setBrush(colour if colour.isValid() else Qt.BrushStyle.NoBrush)
    painter.drawPath(symbol_path(symbol, QPointF(side / 2, side / 2), radius * ratio))
    painter.end()
    return made


def symbol_icon(symbol: int, colour: QColor, size: int = 14) -> QIcon:
    """Return a symbol for a button."""
    return QIcon(stamp(colour, symbol, 2.0, colour, radius=size / 2.9))


class Drawing:
    """A picture of points that is made in steps.

    Parameters
    ----------
    size
        Of the widget, in its pixels.
    ratio
        Pixels of the screen in one of the widget.
    base
        Colour behind the points.
    spots
        Where the points are, in the widget's pixels (n, 2), in the order in which they are drawn.
    kinds
        Which stamp each has.
    stamps
        The stamps.
    """

    def __init__(
        self,
        size: QSize,
        ratio: float,
        base: QColor,
        spots: npt.NDArray[np.float64],
        kinds: npt.NDArray[np.intp],
        stamps: dict[int, QPixmap],
    ) -> None:
        self.pixmap = QPixmap(QSize(max(1, round(size.width() * ratio)), max(1, round(size.height() * ratio))))
        self.pixmap.fill(base)
        half = next(iter(stamps.values())).width() // 2 if stamps else 0  # all have one size
        corners = np.round(spots * ratio - half).astype(int)
        inside = ((corners > -64) & (corners < [self.pixmap.width() + 64, self.pixmap.height() + 64])).all(axis=1)
        self._corners = corners[inside].tolist()
        self._kinds = kinds[inside].tolist()
        self._stamps, self._ratio, self._at = stamps, ratio, 0

    def some(self, seconds: float) -> bool:
        """Draw for so long; return whether all is drawn."""
        until = time.perf_counter() + seconds
        painter = QPainter(self.pixmap)
        draw, stamps = painter.drawPixmap, self._stamps
        while self._at < len(self._kinds):
            end = self._at + STEP
            for (x, y), kind in zip(self._corners[self._at : end], self._kinds[self._at : end], strict=True):
                draw(x, y, stamps[kind])
            self._at = end
            if time.perf_counter() > until:
                break
        painter.end()
        done = self._at >= len(self._kinds)
        if done:
            self.pixmap.setDevicePixelRatio(self._ratio)
        return done


SECONDS = 0.006
"""Points are drawn for so long in one turn of the event loop."""
ROOM = 0.05
"""Free room around the points, as a share of their span."""
CLOSEST = 400.0
"""As many times as the view can be closer than the whole."""
PALETTE = 1000
"""More colours than a view has, so that a stamp's number tells colour and symbol."""

Floats = npt.NDArray[np.float64]


class ScatterCanvas(MapView):
    """Draws points, each with a colour and a symbol; `profile_view.ScatterView` adds mouse and keys.

    Attributes
    ----------
    hovered
        The point under the mouse; -1 for none.
    here_rows
        Points of the well that is looked at; the first is the one that was asked for.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.hovered = -1
        self.here_rows: tuple[int, ...] = ()
        self._symbols: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self._shown: npt.NDArray[np.bool_] = np.zeros(0, bool)
        self._chosen: npt.NDArray[np.bool_] = np.zeros(0, bool)
        self._window = np.array([[0.0, 0.0], [1.0, 1.0]])
        self._whole = self._window.copy()
        self._drawn_window = self._made_window = self._window
        self._making: Drawing | None = None
        self._stamps: dict[int, QPixmap] = {}
        self._band: QRectF | None = None
        self._lasso: list[QPointF] = []
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.setInterval(0)
        self._turn.timeout.connect(self._draw_some)
        self.setToolTip("")
        self.setMinimumSize(QSize(160, 220))

    # -- what it shows ------------------------------------------------------------------------------------------------

    def set_points(self, points: npt.NDArray[np.float32], axes: tuple[str, str]) -> None:
        """Show other points (n, 2), all of them; what is not a number has no place and is not drawn."""
        same = len(points) == len(self.points)
        self.points, self.axes = points, axes
        if not same:
            self._of = self._symbols = np.zeros(len(points), np.intp)
            self._shown, self._chosen = np.ones(len(points), bool), np.zeros(len(points), bool)
            self.here_rows = ()
        self.hovered = -1
        self._measure()
        self.show_all()

    def _measure(self) -> None:
        """Find out where all the points lie that are shown."""
        there = self.points[self._there()].astype(float)
        low, high = (there.min(axis=0), there.max(axis=0)) if len(there) else (np.zeros(2), np.ones(2))
        span = np.where(high > low, high - low, 1.0)
        self._whole = np.array([low - ROOM * span, high + ROOM * span])

    def set_groups(self, of: npt.NDArray[np.intp], colours: list[QColor]) -> None:
        """Colour the points by their group's number; those of a colour that is not valid are hollow."""
        self._of, self._colours, self._stamps = of, colours, {}
        self._redraw()

    def set_symbols(self, symbols: npt.NDArray[np.intp], shown: npt.NDArray[np.bool_]) -> None:
        """Give the points their symbols, and show some of them; where all were in view, all are again."""
        all_seen = np.array_equal(self._window, self._whole)
        self._symbols, self._shown = symbols, shown
        self._measure()
        if all_seen:
            self._window = self._whole.copy()
        self._redraw()

    def set_selected(self, chosen: npt.NDArray[np.bool_]) -> None:
        """Let some points stand out; none where nothing is selected."""
        if not np.array_equal(chosen, self._chosen):
            self._chosen = chosen
            self._redraw()

    def set_here(self, rows: tuple[int, ...]) -> None:
        """Mark the points of the well that is looked at, and join them; the first is the one that was asked for."""
        if rows != self.here_rows:
            self.here_rows = rows
            self.update()

    # -- where things are ---------------------------------------------------------------------------------------------

    def place(self, points: npt.NDArray[np.floating[Any]]) -> Floats:
        """Return where points (k, 2) are on the widget, in pixels; some may lie beyond it."""
        return self._place(points, self._window)

    def _place(self, points: npt.NDArray[np.floating[Any]], window: Floats) -> Floats:
        left, top, width, height = self._area()
        share = (np.asarray(points, float) - window[0]) / (window[1] - window[0])
        return np.column_stack([left + share[:, 0] * width, top + (1 - share[:, 1]) * height])

    def _area(self) -> tuple[float, float, float, float]:
        return EDGE, EDGE + 8.0, max(1.0, self.width() - 2.0 * EDGE), max(1.0, self.height() - 2.0 * EDGE - 16)

    def _data(self, position: QPointF) -> Floats:
        """Return what lies at a place of the widget."""
        left, top, width, height = self._area()
        share = np.array([(position.x() - left) / width, 1 - (position.y() - top) / height])
        return np.asarray(self._window[0] + share * (self._window[1] - self._window[0]))

    def row_at(self, position: QPointF) -> int:
        """Return the point nearest to a place of the widget, -1 if none is near; of several, one that stands out."""
        if not len(self.points):
            return -1
        away = np.hypot(*(self.place(self.points) - [position.x(), position.y()]).T)
        away = np.where(self._there(), away, np.inf)
        if self._chosen.any():
            away = np.where(self._chosen, away, away + RADIUS)
        nearest = int(np.nanargmin(away))
        return nearest if away[nearest] <= NEAR else -1

    def _there(self) -> npt.NDArray[np.bool_]:
        """Return which points are shown and have a place."""
        return np.asarray(self._shown & np.isfinite(self.points).all(axis=1))

    # -- zoom ---------------------------------------------------------------------------------------------------------

    def show_all(self) -> None:
        """Show all points."""
        self._look(self._whole.copy())

    def zoom(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom in by a factor, about a place of the widget (its middle where None)."""
        middle = self._data(at) if at is not None else self._window.mean(axis=0)
        closest = (self._whole[1] - self._whole[0]) / CLOSEST
        spans = np.clip((self._window[1] - self._window[0]) / factor, closest, 2 * (self._whole[1] - self._whole[0]))
        share = (middle - self._window[0]) / (self._window[1] - self._window[0])
        low = middle - share * spans
        self._look(np.array([low, low + spans]))

    def _look(self, window: Floats) -> None:
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
        return self._making is not None

    def _redraw(self) -> None:
        """Draw the points anew, what fits into this turn at once."""
        if not hasattr(self, "_turn"):
            return  # Qt tells of changes while it is being made
        there = np.flatnonzero(self._there())
        known = len(self._of) == len(self.points) == len(self._symbols)
        if not (known and self._colours):
            there = there[:0]
        faint = self._chosen.any() & ~self._chosen[there]
        there = np.concatenate([there[faint], there[~faint]])
        kinds = self._symbols[there] * PALETTE + self._of[there]
        kinds = np.where(self._chosen.any() & ~self._chosen[there], -1 - kinds, kinds)
        ratio, palette = self.devicePixelRatioF(), self.palette()
        base, rim = palette.color(QPalette.ColorRole.Base), palette.color(QPalette.ColorRole.Text)
        for kind in np.unique(kinds).tolist():
            if kind not in self._stamps:
                symbol, colour = divmod(kind if kind >= 0 else -1 - kind, PALETTE)
                self._stamps[kind] = stamp(self._colours[colour], symbol, ratio, rim, faint=kind < 0)
        self._making = Drawing(self.size(), ratio, base, self.place(self.points[there]), kinds, self._stamps)
        self._made_window = self._window.copy()
        self._draw_some()

    @timed
    def _draw_some(self) -> None:
        """Draw points as long as the time of a turn lasts."""
        if self._making is None:
            return
        if self._making.some(SECONDS):
            self._drawn, self._drawn_window = self._making.pixmap, self._made_window
            self._making = None
        else:
            self._turn.start()
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
        """Return where the picture that was drawn belongs now: beside its place while the view moves on."""
        whole = QRectF(self.rect())
        if np.array_equal(self._drawn_window, self._window):
            return whole
        # What was drawn at the widget's corners lies there in the new window.
        before, self._window = self._window, self._drawn_window
        corners = np.array([self._data(whole.topLeft()), self._data(whole.bottomRight())])
        self._window = before
        (left, top), (right, bottom) = self.place(corners)
        return QRectF(left, top, right - left, bottom - top)

    def _draw_here(self, painter: QPainter, ink: QColor) -> None:
        """Mark the well that is looked at, a line from its truth to each prediction, and the point under the mouse."""
        there = self._there()
        rows = [row for row in self.here_rows if row < len(self.points) and there[row]]
        spots = [QPointF(x, y) for x, y in self.place(self.points[rows])] if rows else []
        first = sorted(zip(rows, spots, strict=True), key=lambda pair: self._symbols[pair[0]])
        painter.setPen(QPen(ink, 1.2))
        for _, spot in first[1:]:
            painter.drawLine(first[0][1], spot)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for index, (row, spot) in enumerate(zip(rows, spots, strict=True)):
            painter.setPen(QPen(ink, 2.4 if index == 0 else 1.4))
            painter.drawPath(symbol_path(int(self._symbols[row]), spot, RADIUS + (4.5 if index == 0 else 2.5)))
        if 0 <= self.hovered < len(self.points) and there[self.hovered]:
            spot = QPointF(*self.place(self.points[self.hovered : self.hovered + 1])[0])
            painter.setPen(QPen(ink, 1.2))
            painter.drawPath(symbol_path(int(self._symbols[self.hovered]), spot, RADIUS + 2))

    def _draw_axes(self, painter: QPainter, ink: QColor) -> None:
        painter.setPen(ink)
        below = QRectF(EDGE, self.height() - 17, self.width() - 2 * EDGE, 16)
        painter.drawText(below, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), self.axes[0])
        painter.drawText(QRectF(4, 1, self.width() - 8, 16), int(Qt.AlignmentFlag.AlignLeft), self.axes[1])
