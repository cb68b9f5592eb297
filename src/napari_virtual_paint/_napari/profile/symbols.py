"""How points of a scatter are drawn: a stamp for each colour and symbol, made once, and thousands of them in steps that hold up nothing."""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

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
