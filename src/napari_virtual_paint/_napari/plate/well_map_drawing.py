"""How the map of wells is drawn: where each well lies, letters and numbers, wells in their colours."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFontMetrics, QPainter, QPainterPath, QPen

from napari_virtual_paint._napari.shared.legend import add_cross, cross_pen, fill_of, gap_of
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.view.colouring import Part
from napari_virtual_paint.plates.view.palette import UNKNOWN


@dataclass(frozen=True)
class Grid:
    """Where the wells lie on the widget, in pixels.

    Parameters
    ----------
    shape
        Rows and columns.
    left, top
        Room for the letters and for the numbers.
    pitch
        From one well to the next.
    """

    shape: tuple[int, int]
    left: float
    top: float
    pitch: float

    def cell(self, row: int, column: int) -> QRectF:
        """Return where a well lies."""
        return QRectF(self.left + column * self.pitch, self.top + row * self.pitch, self.pitch, self.pitch)

    def inner(self, row: int, column: int) -> QRectF:
        """Return the part of a well's place that is filled."""
        gap = gap_of(self.pitch)
        return self.cell(row, column).adjusted(gap, gap, -gap, -gap)

    def place(self, position: QPointF) -> tuple[int, int]:
        """Return the row and the column at a place of the widget, which may lie outside the plate."""
        return int((position.y() - self.top) // self.pitch), int((position.x() - self.left) // self.pitch)

    def holds(self, row: int, column: int) -> bool:
        """Return whether a row and a column lie on the plate."""
        return 0 <= row < self.shape[0] and 0 <= column < self.shape[1]


def draw_names(painter: QPainter, grid: Grid, metrics: QFontMetrics, ink: QColor) -> None:
    """Write letters and numbers; only every second, fifth or tenth where they would touch."""
    painter.setPen(ink)
    centre = int(Qt.AlignmentFlag.AlignCenter)
    wide = metrics.horizontalAdvance(str(grid.shape[1])) + 3
    for axis, room in ((0, metrics.height() - 2), (1, wide)):
        every = next((n for n in (1, 2, 5, 10) if n * grid.pitch >= room), 20)
        for index in range(grid.shape[axis]):
            if axis == 0 and index % every == 0:
                middle = grid.top + (index + 0.5) * grid.pitch
                box = QRectF(0, middle - metrics.height() / 2, grid.left - 2, metrics.height())
                painter.drawText(box, centre, wells.row_name(index))
            elif axis == 1 and (every == 1 or (index + 1) % every == 0 or index == 0):
                middle = grid.left + (index + 0.5) * grid.pitch
                painter.drawText(QRectF(middle - 20, 0, 40, grid.top), centre, str(index + 1))


def draw_wells(painter: QPainter, grid: Grid, there: Container[str], shown: Mapping[str, tuple[Part, ...]], faint: QColor) -> None:
    """Fill all wells, each colour made once and all marks drawn together: a plate may have 1536.

    Parameters
    ----------
    painter
        Draws.
    grid
        Where the wells lie.
    there
        Wells that have an image; the others are outlines.
    shown
        Well -> its parts.
    faint
        Colour of the outlines.
    """
    side = grid.pitch - 2 * gap_of(grid.pitch)
    colours: dict[tuple[str, str], QColor] = {}
    outlines, hatches, crosses = QPainterPath(), QPainterPath(), QPainterPath()
    for row in range(grid.shape[0]):
        for column in range(grid.shape[1]):
            area = grid.inner(row, column)
            well = wells.well_name(row, column)
            if well not in there:
                outlines.addRect(area.adjusted(0.5, 0.5, -0.5, -0.5))
                continue
            bottom = area.bottom()
            for part in shown.get(well, ()):
                height = part.share * side
                colour = colours.get((part.colour, part.mark))
                if colour is None:
                    colour = colours[part.colour, part.mark] = fill_of(part)
                painter.fillRect(QRectF(area.left(), bottom - height, side, height), colour)
                bottom -= height
                if part.mark == "x":
                    add_cross(crosses, area)
                elif part.mark == "?":
                    hatches.moveTo(area.bottomLeft())
                    hatches.lineTo(area.topRight())
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for path, pen in ((outlines, QPen(faint, 1)), (hatches, QPen(QColor(UNKNOWN), 1)), (crosses, cross_pen(side))):
        painter.setPen(pen)
        painter.drawPath(path)
