"""How one feature's row is drawn: its name, what the picture has, its number, and a slider on the population's histogram."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRect, QRectF, Qt
from qtpy.QtGui import QColor, QFontMetrics, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QStyle, QStyleOptionViewItem

from napari_virtual_paint._napari.cells_choice import BINS, Scales

HEIGHT, BRANCH = 46, 22
"""Pixels that the row of a feature and of a branch take."""
FIELD = 86
"""Pixels that the number with its unit takes."""
LINE = 19
"""Pixels of the line of text above the slider."""
HANDLE = QColor(80, 170, 255)
MEASURED = QColor(255, 176, 60)
"""What the picture has, as against what is asked for."""


@dataclass(eq=False)
class Facts:
    """What the rows show, for all p features."""

    scales: Scales
    units: list[str]
    values: npt.NDArray[np.float32]
    base: npt.NDArray[np.float32]
    moved: set[int] = field(default_factory=set)
    measured: npt.NDArray[np.float32] | None = None


def number_rect(rect: QRect) -> QRect:
    """Return where the number field is in a row."""
    return QRect(rect.right() - FIELD, rect.top() + 2, FIELD - 2, LINE - 1)


def track_rect(rect: QRect) -> QRect:
    """Return where the slider is in a row."""
    return QRect(rect.left() + 6, rect.top() + LINE + 3, rect.width() - 14, HEIGHT - LINE - 8)


def number(value: float) -> str:
    """Return a number with four digits that count."""
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if 9999.5 <= abs(value) < 1e8 else f"{value:.4g}"


def paint_row(painter: QPainter, option: QStyleOptionViewItem, facts: Facts, index: int, name: str) -> None:
    """Draw the row of a feature."""
    palette, rect = option.palette, option.rect
    chosen = bool(option.state & QStyle.StateFlag.State_Selected)
    if chosen:
        painter.fillRect(rect, palette.color(QPalette.ColorRole.Midlight))
    ink = palette.color(QPalette.ColorRole.Text)
    _words(painter, option, facts, index, name, ink)
    track = track_rect(rect)
    _histogram(painter, track, facts, index, ink)
    _handles(painter, track, facts, index, ink)


def _words(painter: QPainter, option: QStyleOptionViewItem, facts: Facts, index: int, name: str, ink: QColor) -> None:
    """Write the name, the measured value, the number in its frame, and the unit."""
    rect, box = option.rect, number_rect(option.rect)
    font = option.font
    font.setBold(index in facts.moved)
    painter.setFont(font)
    metrics = QFontMetrics(font)
    has = ""
    if facts.measured is not None and np.isfinite(facts.measured[index]):
        has = f"has {number(float(facts.measured[index]))}"
    taken = metrics.horizontalAdvance(has) + 8 if has else 0
    line = QRect(rect.left() + 5, rect.top() + 1, box.left() - rect.left() - 9, LINE)
    middle = int(Qt.AlignmentFlag.AlignVCenter)
    painter.setPen(ink)
    painter.drawText(
        line.adjusted(0, 0, -taken, 0),
        middle | int(Qt.AlignmentFlag.AlignLeft),
        metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, max(10, line.width() - taken)),
    )
    if has:
        painter.setPen(MEASURED)
        painter.drawText(line, middle | int(Qt.AlignmentFlag.AlignRight), has)
    painter.setPen(QPen(_faded(ink, 90), 1))
    painter.drawRect(box)
    painter.setPen(HANDLE if index in facts.moved else ink)
    unit, shown = facts.units[index], number(float(facts.values[index]))
    painter.drawText(
        box.adjusted(3, 0, -4, 0),
        middle | int(Qt.AlignmentFlag.AlignRight),
        f"{shown} {unit}".strip(),
    )


def _histogram(painter: QPainter, track: QRect, facts: Facts, index: int, ink: QColor) -> None:
    """Draw the population behind the slider, and its percentiles as ticks: the median the longest."""
    heights = facts.scales.bars[index] * (track.height() - 3)
    step, floor = track.width() / BINS, float(track.bottom())
    points = [QPointF(track.left(), floor)]
    for bar, height in enumerate(heights):
        top = floor - float(height)
        points += [QPointF(track.left() + bar * step, top), QPointF(track.left() + (bar + 1) * step, top)]
    points.append(QPointF(track.right(), floor))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_faded(ink, 70))
    painter.drawPolygon(QPolygonF(points))
    painter.setPen(QPen(_faded(ink, 110), 1))
    painter.drawLine(QPointF(track.left(), floor), QPointF(track.right(), floor))
    for value, length in zip(facts.scales.marks[index], (4, 7, 11, 7, 4), strict=True):
        x = _x(track, facts, index, float(value))
        painter.setPen(QPen(_faded(ink, 200), 1))
        painter.drawLine(QPointF(x, floor), QPointF(x, floor - length))


def _handles(painter: QPainter, track: QRect, facts: Facts, index: int, ink: QColor) -> None:
    """Draw where the picked cell is (dashed), what the picture has (a triangle), and the handle."""
    if facts.values[index] != facts.base[index]:
        x = _x(track, facts, index, float(facts.base[index]))
        painter.setPen(QPen(_faded(ink, 200), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, track.top()), QPointF(x, track.bottom()))
    painter.setPen(Qt.PenStyle.NoPen)
    if facts.measured is not None and np.isfinite(facts.measured[index]):
        x, floor = _x(track, facts, index, float(facts.measured[index])), track.bottom() + 1
        painter.setBrush(MEASURED)
        painter.drawPolygon(QPolygonF([QPointF(x, floor - 8), QPointF(x - 5, floor + 1), QPointF(x + 5, floor + 1)]))
    x = _x(track, facts, index, float(facts.values[index]))
    painter.setBrush(HANDLE)
    painter.drawRoundedRect(QRectF(x - 2, track.top() - 1, 4, track.height() + 2), 2, 2)


def _x(track: QRect, facts: Facts, index: int, value: float) -> float:
    return float(track.left() + facts.scales.share(index, value) * track.width())


def _faded(colour: QColor, alpha: int) -> QColor:
    return QColor(colour.red(), colour.green(), colour.blue(), alpha)
