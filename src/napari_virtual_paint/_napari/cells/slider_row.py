"""Draw the row of a feature: its name, its measured value, its number, and a slider on the population's histogram.

What stays while a slider moves (name, histogram, ticks, frames) is drawn once into a pixmap and kept: where features follow, all visible
rows are redrawn for each picture, and only numbers and handles are left to draw.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRect, QRectF, Qt
from qtpy.QtGui import QColor, QFontMetrics, QPainter, QPalette, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QStyle, QStyleOptionViewItem

from napari_virtual_paint._napari.cells.state import BINS, Scales
from napari_virtual_paint._napari.shared.widgets import legible

HEIGHT, BRANCH = 46, 22  # heights of the rows of a feature and of a branch, in pixels
FIELD = 86  # width of the number with its unit, in pixels
LINE = 19  # height of the line of text above the slider, in pixels
HANDLE = QColor(80, 170, 255)
MEASURED = QColor(255, 176, 60)  # colour of the values measured in the picture
KEPT = 200  # pixmaps of rows that are kept


@dataclass(eq=False)
class RowFacts:
    """The values shown in the rows, for all p features."""

    scales: Scales
    units: list[str]
    values: npt.NDArray[np.float32]
    base: npt.NDArray[np.float32]
    moved: set[int] = field(default_factory=set)
    measured: npt.NDArray[np.float32] | None = None
    kept_rows: dict[tuple[object, ...], QPixmap] = field(default_factory=dict)


def number_rect(rect: QRect) -> QRect:
    """Return the place of the number field in a row."""
    return QRect(rect.right() - FIELD, rect.top() + 2, FIELD - 2, LINE - 1)


def track_rect(rect: QRect) -> QRect:
    """Return the place of the slider in a row."""
    return QRect(rect.left() + 6, rect.top() + LINE + 3, rect.width() - 14, HEIGHT - LINE - 8)


def number(value: float) -> str:
    """Return a number with four significant digits."""
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if 9999.5 <= abs(value) < 1e8 else f"{value:.4g}"


def paint_row(painter: QPainter, option: QStyleOptionViewItem, facts: RowFacts, index: int, name: str) -> None:
    """Draw the row of a feature."""
    font = option.font
    font.setBold(index in facts.moved)
    metrics, measured = QFontMetrics(font), ""
    if facts.measured is not None and np.isfinite(facts.measured[index]):
        measured = number(float(facts.measured[index]))
    taken = metrics.horizontalAdvance(measured) + 8 if measured else 0
    painter.drawPixmap(option.rect.topLeft(), _static_part(painter, option, facts, index, name, taken))
    ink = option.palette.color(QPalette.ColorRole.Text)
    painter.setFont(font)
    _numbers(painter, option, facts, index, measured)
    _handles(painter, track_rect(option.rect), facts, index, ink)


def _static_part(painter: QPainter, option: QStyleOptionViewItem, facts: RowFacts, index: int, name: str, taken: int) -> QPixmap:
    """Return the static part of a row, drawn if it is not kept; `taken` pixels at the end of the name's line stay free."""
    chosen, ratio = bool(option.state & QStyle.StateFlag.State_Selected), painter.device().devicePixelRatioF()
    size, palette = option.rect.size(), option.palette
    key = (
        index,
        name,
        size.width(),
        size.height(),
        ratio,
        chosen,
        taken,
        option.font.key(),
        palette.cacheKey(),
        palette.currentColorGroup(),
    )
    found = facts.kept_rows.get(key)
    if found is not None:
        return found
    found = QPixmap(size * ratio)
    found.setDevicePixelRatio(ratio)
    found.fill(palette.color(QPalette.ColorRole.Midlight) if chosen else Qt.GlobalColor.transparent)
    ink, rect = palette.color(QPalette.ColorRole.Text), QRect(0, 0, size.width(), size.height())
    static = QPainter(found)
    static.setRenderHints(painter.renderHints())
    static.setFont(option.font)
    static.setPen(ink)
    line = _line(rect).adjusted(0, 0, -taken, 0)
    words = QFontMetrics(option.font).elidedText(name, Qt.TextElideMode.ElideMiddle, max(10, line.width()))
    static.drawText(line, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), words)
    static.setPen(QPen(_faded(ink, 90), 1))
    static.drawRect(number_rect(rect))
    _histogram(static, track_rect(rect), facts, index, ink)
    static.end()
    # Dicts keep the order of insertion: the oldest goes first.
    while len(facts.kept_rows) >= KEPT:
        del facts.kept_rows[next(iter(facts.kept_rows))]
    facts.kept_rows[key] = found
    return found


def _line(rect: QRect) -> QRect:
    """Return the place of the name in a row, to the left of the number field."""
    return QRect(rect.left() + 5, rect.top() + 1, rect.width() - FIELD - 10, LINE)


def _numbers(painter: QPainter, option: QStyleOptionViewItem, facts: RowFacts, index: int, measured: str) -> None:
    """Draw the measured value, the number and the unit."""
    rect, palette = option.rect, option.palette
    right = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight)
    if measured:
        painter.setPen(legible(MEASURED, palette))
        painter.drawText(_line(rect), right, measured)
    painter.setPen(legible(HANDLE, palette) if index in facts.moved else palette.color(QPalette.ColorRole.Text))
    unit, shown = facts.units[index], number(float(facts.values[index]))
    painter.drawText(number_rect(rect).adjusted(3, 0, -4, 0), right, f"{shown} {unit}".strip())


def _histogram(painter: QPainter, track: QRect, facts: RowFacts, index: int, ink: QColor) -> None:
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


def _handles(painter: QPainter, track: QRect, facts: RowFacts, index: int, ink: QColor) -> None:
    """Draw the picked cell's value (dashed), the measured one (a triangle), and the handle."""
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


def _x(track: QRect, facts: RowFacts, index: int, value: float) -> float:
    return float(track.left() + facts.scales.share(index, value) * track.width())


def _faded(colour: QColor, alpha: int) -> QColor:
    return QColor(colour.red(), colour.green(), colour.blue(), alpha)
