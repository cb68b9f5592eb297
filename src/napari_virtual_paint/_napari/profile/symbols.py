"""Symbols of the points of the Profile dock's scatter, and pictures of many points drawn in steps."""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

SYMBOLS = ("circle", "triangle", "square", "diamond", "cross", "star")  # symbols of the sources, in turn; the truth has the circle
RADIUS = 4.0
FAINT = 0.22  # opacity of points that are not among those selected
BATCH = 400  # points that are drawn between two readings of the clock


def symbol_path(symbol: int, centre: QPointF, radius: float) -> QPainterPath:
    """Return the outline of a symbol; all symbols have about the same area."""
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
    """Return a small picture of a symbol with a rim, whose middle is the point; hollow where the colour is invalid."""
    side = 2 * math.ceil((1.4 * radius + 1) * ratio) + 1
    picture = QPixmap(side, side)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setOpacity(FAINT if faint else 1.0)
    edge = QColor(rim)
    edge.setAlpha(110 if colour.isValid() else 200)
    painter.setPen(QPen(edge, ratio))
    painter.setBrush(colour if colour.isValid() else Qt.BrushStyle.NoBrush)
    painter.drawPath(symbol_path(symbol, QPointF(side / 2, side / 2), radius * ratio))
    painter.end()
    return picture


def symbol_icon(symbol: int, colour: QColor, size: int = 14) -> QIcon:
    """Return a symbol as the icon of a button."""
    return QIcon(stamp(colour, symbol, 2.0, colour, radius=size / 2.9))


class PointDrawing:
    """A picture of points that is drawn in steps.

    Parameters
    ----------
    size
        Size of the widget, in its pixels.
    ratio
        Device pixels per pixel of the widget.
    base
        Colour behind the points.
    spots
        Positions of the points in pixels of the widget (n, 2), in the order in which they are drawn.
    kinds
        Key of each point's stamp.
    stamps
        Pictures of one point, all of one size.
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
        half = next(iter(stamps.values())).width() // 2 if stamps else 0
        corners = np.round(spots * ratio - half).astype(int)
        inside = ((corners > -64) & (corners < [self.pixmap.width() + 64, self.pixmap.height() + 64])).all(axis=1)
        self._corners = corners[inside].tolist()
        self._kinds = kinds[inside].tolist()
        self._stamps, self._ratio, self._next = stamps, ratio, 0

    def advance(self, seconds: float) -> bool:
        """Draw for some time and return whether all points are drawn."""
        until = time.perf_counter() + seconds
        painter = QPainter(self.pixmap)
        draw, stamps = painter.drawPixmap, self._stamps
        while self._next < len(self._kinds):
            end = self._next + BATCH
            for (x, y), kind in zip(self._corners[self._next : end], self._kinds[self._next : end], strict=True):
                draw(x, y, stamps[kind])
            self._next = end
            if time.perf_counter() > until:
                break
        painter.end()
        done = self._next >= len(self._kinds)
        if done:
            self.pixmap.setDevicePixelRatio(self._ratio)
        return done
