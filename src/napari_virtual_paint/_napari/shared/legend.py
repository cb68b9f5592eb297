"""The legend of the map: swatches of states and groups, or a colour bar with its numbers."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPainterPath, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.plates.view.colouring import Shading, WellSegment
from napari_virtual_paint.plates.view.palette import SCALE, figure


def gap_of(pitch: float) -> float:
    """Return the pixels left free at each side of a well."""
    return 0.5 if pitch < 10 else 1.5


def fill_of(part: WellSegment) -> QColor:
    """Return the colour that a part is filled with; faint where the value is not known."""
    colour = QColor(part.colour)
    if part.mark == "?":
        colour.setAlpha(60)
    return colour


def add_cross(path: QPainterPath, area: QRectF) -> None:
    """Cross out an area: a field of it failed."""
    inset = 0.22 * min(area.width(), area.height())
    cross = area.adjusted(inset, inset, -inset, -inset)
    path.moveTo(cross.topLeft())
    path.lineTo(cross.bottomRight())
    path.moveTo(cross.bottomLeft())
    path.lineTo(cross.topRight())


def cross_pen(side: float) -> QPen:
    """Return what crosses are drawn with."""
    return QPen(QColor("white"), max(1.0, side / 9))


def draw_part(painter: QPainter, area: QRectF, part: WellSegment) -> None:
    """Draw a part as the map does, for the legend."""
    painter.fillRect(area, fill_of(part))
    path = QPainterPath()
    if part.mark == "x":
        add_cross(path, area)
        painter.setPen(cross_pen(area.width()))
    elif part.mark == "?":
        path.moveTo(area.bottomLeft())
        path.lineTo(area.topRight())
        painter.setPen(QPen(QColor(part.colour), 1))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawPath(path)


BAR = 12
SWATCH = 11
SPACE = 12
MOST = 24  # groups that are named; the tooltip of a well lists the rest


class Legend(QWidget):  # type: ignore[misc]
    """Draws what the colours of a `Shading` mean, in as many lines as its width asks for."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shading: Shading | None = None
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("Legend of the map")

    def set_shading(self, shading: Shading) -> None:
        """Show another legend."""
        before = None if self._shading is None else (self._shading.legend, self._shading.scale)
        self._shading = shading
        if before != (shading.legend, shading.scale):
            self.setAccessibleDescription(", ".join(text for text, _ in self.entries()))
            self.updateGeometry()
            self.update()

    def entries(self) -> list[tuple[str, WellSegment | None]]:
        """Return text and swatch of each entry."""
        if self._shading is None:
            return []
        legend = self._shading.legend
        found: list[tuple[str, WellSegment | None]] = list(legend[:MOST])
        if len(legend) > MOST:
            found.append((f"and {len(legend) - MOST} more", None))
        return found

    def hasHeightForWidth(self) -> bool:  # noqa: N802 - Qt's name
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        line = int(self.fontMetrics().height()) + 3
        bar = BAR + line + 2 if self._shading is not None and self._shading.scale is not None else 0
        return bar + line * (self._places(width)[-1][1] + 1 if self.entries() else 0) + 2

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(320, self.heightForWidth(320))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(120, self.fontMetrics().height() + 4)

    def _places(self, width: int) -> list[tuple[float, int]]:
        """Return where each entry begins: pixels from the left, and line."""
        x, line, found = 0.0, 0, []
        for text, _ in self.entries():
            needed = SWATCH + 5 + self.fontMetrics().horizontalAdvance(text)
            if x and x + needed > width:
                x, line = 0.0, line + 1
            found.append((x, line))
            x += needed + SPACE
        return found

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802
        if self._shading is None:
            return
        painter = QPainter(self)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        line = self.fontMetrics().height() + 3
        top = 0.0
        if self._shading.scale is not None:
            self._draw_bar(painter, ink)
            top = BAR + line + 2
        for (text, part), (x, row) in zip(self.entries(), self._places(self.width()), strict=True):
            y = top + row * line
            if part is not None:
                draw_part(painter, QRectF(x, y + (line - SWATCH) / 2, SWATCH, SWATCH), part)
            painter.setPen(ink)
            left = x + (SWATCH + 5 if part is not None else 0)
            room = QRectF(left, y, max(1.0, self.width() - left), line)
            shown = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, int(room.width()))
            painter.drawText(room, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), shown)
        painter.end()

    def _draw_bar(self, painter: QPainter, ink: QColor) -> None:
        """Draw the colour bar with the numbers at both ends and in the middle."""
        shading = self._shading
        if shading is None or shading.scale is None:
            return
        width = float(self.width() - 1)
        gradient = QLinearGradient(0, 0, width, 0)
        for index, colour in enumerate(SCALE):
            gradient.setColorAt(index / (len(SCALE) - 1), QColor(colour))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawRect(QRectF(0, 0, width, BAR))
        painter.setPen(ink)
        height = self.fontMetrics().height() + 2
        ticks = shading.scale.ticks()
        sides = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight)
        for side, value in zip(sides if len(ticks) > 1 else sides[1:2], ticks, strict=True):
            words = figure(value) + (" (log)" if shading.scale.log and side == sides[1] else "")
            painter.drawText(QRectF(0, BAR + 1, width, height), int(side), words)
