"""The map of wells: one widget that draws all wells, with clicks, rubber band and keys."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from qtpy.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFontMetrics, QPainter, QPainterPath, QPalette, QPen, QPixmap
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.legend import add_cross, cross_pen, fill_of, gap_of
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.view.colouring import Shading, WellSegment
from napari_virtual_paint.plates.view.images import next_well
from napari_virtual_paint.plates.view.palette import UNKNOWN


@dataclass(frozen=True)
class Grid:
    """The positions of the wells on the widget, in pixels."""

    shape: tuple[int, int]  # rows and columns
    left: float
    top: float  # `left` and `top`: space for the letters and for the numbers
    pitch: float  # distance from one well to the next

    def cell(self, row: int, column: int) -> QRectF:
        """Return the cell of a well."""
        return QRectF(self.left + column * self.pitch, self.top + row * self.pitch, self.pitch, self.pitch)

    def inner(self, row: int, column: int) -> QRectF:
        """Return the part of a cell that is filled."""
        gap = gap_of(self.pitch)
        return self.cell(row, column).adjusted(gap, gap, -gap, -gap)

    def place(self, position: QPointF) -> tuple[int, int]:
        """Return the row and the column at a place of the widget, which may lie outside the plate."""
        return int((position.y() - self.top) // self.pitch), int((position.x() - self.left) // self.pitch)

    def holds(self, row: int, column: int) -> bool:
        """Return whether a row and a column lie on the plate."""
        return 0 <= row < self.shape[0] and 0 <= column < self.shape[1]


def draw_names(painter: QPainter, grid: Grid, metrics: QFontMetrics, ink: QColor) -> None:
    """Draw letters and numbers; only every second, fifth or tenth where they would touch."""
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


def draw_wells(painter: QPainter, grid: Grid, there: Container[str], shown: Mapping[str, tuple[WellSegment, ...]], faint: QColor) -> None:
    """Fill all wells; each colour is made once and all marks are drawn together, since a plate may have 1536 wells.

    Parameters
    ----------
    grid
        The positions of the wells.
    there
        Wells with an image; the others are outlined.
    shown
        Well -> its segments.
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


SMALLEST, LARGEST = 5.0, 46.0  # pixels from one well to the next
DRAG = 5  # pixels that the mouse must move for a click to become a rubber band
ARROWS = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}
EDGE = 3
_position = lru_cache(4096)(wells.position)


class WellMap(QWidget):  # type: ignore[misc]
    """Draws a plate's wells in their colours.

    Attributes
    ----------
    current, selection
        The open well, and the selected ones.
    about
        Returns the tooltip of a well, as HTML.
    """

    opened = Signal(str)
    """The well that was clicked or chosen by Enter."""
    moved = Signal(str)
    """The well that the arrow keys went to."""
    selected = Signal(tuple)
    """Wells selected by rubber band, Shift or Ctrl+A, once the selection is complete; empty where it was given up."""
    numbered = Signal(int)
    """A field of the well, from 0, by the keys 1 to 9."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.plate: Any = None
        self.current = ""
        self.selection: tuple[str, ...] = ()
        self.about: Callable[[str], str] = lambda well: well
        self._anchor = ""
        self._shading: Shading | None = None
        self._drawn: QPixmap | None = None
        self._pressed: QPointF | None = None
        self._band: QRectF | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAccessibleName("Map of wells")
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def set_plate(self, plate: Any) -> None:
        """Show another plate, without open or selected wells."""
        self.plate, self.current, self.selection, self._anchor = plate, "", (), ""
        self._shading = self._drawn = None
        self._describe()
        self.updateGeometry()
        self.update()

    def set_shading(self, shading: Shading) -> None:
        """Show other colours."""
        self._shading, self._drawn = shading, None
        self.update()

    def set_current(self, well: str) -> None:
        """Mark the open well."""
        if well != self.current:
            self.current = self._anchor = well
            self._describe()
            self.update()

    def set_selection(self, wells_: Iterable[str]) -> None:
        """Mark the selected wells."""
        self.selection = tuple(wells_)
        self.update()

    def parts(self, well: str) -> tuple[WellSegment, ...]:
        """Return the coloured segments of a well."""
        return () if self._shading is None else self._shading.parts.get(well, ())

    # -- geometry -----------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (8, 12) if self.plate is None else self.plate.shape

    def _header(self) -> tuple[float, float]:
        """Return the space for letters at the left and numbers at the top."""
        metrics = self.fontMetrics()
        rows = self.shape[0]
        return metrics.horizontalAdvance("AA" if rows > 26 else "A") + 6.0, metrics.height() + 2.0

    def _pitch(self, width: float) -> float:
        """Return the distance of the wells at a width of the widget."""
        left, _ = self._header()
        return max(SMALLEST, min(LARGEST, (width - left - EDGE) / self.shape[1]))

    def _grid(self) -> Grid:
        """Return the positions of the wells at the widget's size."""
        return Grid(self.shape, *self._header(), self._pitch(self.width()))

    def cell(self, well: str) -> QRectF:
        """Return the cell of a well on the widget, in pixels."""
        return self._grid().cell(*_position(well))

    def well_at(self, position: QPointF) -> str:
        """Return the well at a place of the widget, whether or not it has an image; empty outside the plate."""
        grid = self._grid()
        place = grid.place(position)
        return wells.well_name(*place) if grid.holds(*place) else ""

    def wells_in(self, band: QRectF) -> tuple[str, ...]:
        """Return the wells with an image that a rectangle of the widget touches."""
        if self.plate is None:
            return ()
        grid = self._grid()
        (first_row, first_column), (last_row, last_column) = grid.place(band.topLeft()), grid.place(band.bottomRight())
        places = ((well, *_position(well)) for well in self.plate.wells)
        return tuple(well for well, row, column in places if first_row <= row <= last_row and first_column <= column <= last_column)

    def _rectangle(self, one: str, other: str) -> tuple[str, ...]:
        """Return the wells with an image between two corners."""
        return wells.parse_wells(f"{one}:{other}", self.plate.wells)

    def hasHeightForWidth(self) -> bool:  # noqa: N802 - Qt's name
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        return round(self._header()[1] + self.shape[0] * self._pitch(width)) + EDGE

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(340, self.heightForWidth(340))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        left, _ = self._header()
        width = round(left + self.shape[1] * SMALLEST) + EDGE
        return QSize(max(width, 120), 60)

    # -- mouse and keys -----------------------------------------------------------------------------------------------

    @timed
    def mousePressEvent(self, event: Any) -> None:  # noqa: N802
        if event.button() == Qt.MouseButton.LeftButton and self.plate is not None:
            self._pressed = event.position()

    @timed
    def mouseMoveEvent(self, event: Any) -> None:  # noqa: N802
        if self._pressed is None:
            return
        way = event.position() - self._pressed
        if self._band is not None or max(abs(way.x()), abs(way.y())) > DRAG:
            self._band = QRectF(self._pressed, event.position()).normalized()
            self.set_selection(self.wells_in(self._band))

    @timed
    def mouseReleaseEvent(self, event: Any) -> None:  # noqa: N802
        if self._pressed is None or event.button() != Qt.MouseButton.LeftButton:
            return
        pressed, band = self._pressed, self._band
        self._pressed = self._band = None
        if band is not None:
            self.selected.emit(self.selection)
        else:
            self._click(self.well_at(pressed), event.modifiers())
        self.update()

    def _click(self, well: str, modifiers: Any) -> None:
        if well not in self.plate.by_well:
            return
        if modifiers & Qt.KeyboardModifier.ShiftModifier and self._anchor:
            self.set_selection(self._rectangle(self._anchor, well))
            self.selected.emit(self.selection)
        elif modifiers & Qt.KeyboardModifier.ControlModifier:
            kept = [each for each in self.selection if each != well]
            self.set_selection(kept if len(kept) < len(self.selection) else [*kept, well])
            self.selected.emit(self.selection)
        else:
            self.set_selection(())
            self.set_current(well)
            self.opened.emit(well)

    @timed
    def keyPressEvent(self, event: Any) -> None:  # noqa: N802
        key = event.key()
        if self.plate is None:
            super().keyPressEvent(event)
        elif key in ARROWS:
            self._go(ARROWS[key], bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and (self.selection or self.current):
            if self.selection:
                self.selected.emit(self.selection)
            else:
                self.opened.emit(self.current)
        elif key == Qt.Key.Key_Escape and self.selection:
            self.set_selection(())
            self.selected.emit(())
        elif key == Qt.Key.Key_A and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.set_selection(self.plate.wells)
            self.selected.emit(self.selection)
        elif Qt.Key.Key_1 <= key <= Qt.Key.Key_9:
            self.numbered.emit(int(key) - int(Qt.Key.Key_1))
        else:
            super().keyPressEvent(event)

    def _go(self, direction: tuple[int, int], select: bool) -> None:
        """Go to the next well with an image; with Shift, select the wells from where the keys began."""
        well = next_well(self.plate, self.current, direction) if self.current else self.plate.wells[0]
        anchor = self._anchor or well
        self.set_current(well)
        if select:
            self._anchor = anchor
            self.set_selection(self._rectangle(anchor, well))
        else:
            self.set_selection(())
            self.moved.emit(well)

    def keyReleaseEvent(self, event: Any) -> None:  # noqa: N802
        super().keyReleaseEvent(event)
        if event.key() == Qt.Key.Key_Shift and len(self.selection) > 1 and self._pressed is None:
            self.selected.emit(self.selection)

    def event(self, event: Any) -> bool:
        """Show the tooltip of the well under the mouse."""
        if event.type() == QEvent.Type.ToolTip:
            self._tip(event.pos(), event.globalPos())
            return True
        return bool(super().event(event))

    @timed
    def _tip(self, place: QPoint, on_screen: QPoint) -> None:
        well = self.well_at(QPointF(place)) if self.plate is not None else ""
        if well:
            QToolTip.showText(on_screen, self.about(well), self, self.cell(well).toAlignedRect())
        else:
            QToolTip.hideText()

    def _describe(self) -> None:
        """Describe the map to screen readers."""
        if self.plate is None:
            self.setAccessibleDescription("No plate is open.")
            return
        rows, columns = self.shape
        where = f"At well {self.current}." if self.current else "No well is open."
        self.setAccessibleDescription(
            f"{rows} rows and {columns} columns, {len(self.plate.wells)} wells with images. {where} "
            "Arrows go to the next well, Enter opens it, Shift and arrows select, 1 to 9 choose the field."
        )

    # -- drawing ------------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        self._drawn = None

    def changeEvent(self, event: Any) -> None:  # noqa: N802
        self._drawn = None
        super().changeEvent(event)

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802
        # Wells are drawn once: hovering, selecting and dragging repaint the widget many times a second.
        if self._drawn is None:
            self._drawn = self._draw()
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._drawn)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self.selection:
            self._draw_selection(painter, ink)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.current:
            around = self._grid().inner(*_position(self.current)).adjusted(-1, -1, 1, 1)
            for pen in (QPen(self.palette().color(QPalette.ColorRole.Window), 4), QPen(ink, 2)):
                painter.setPen(pen)
                painter.drawRect(around)
        if self._band is not None:
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DashLine))
            painter.drawRect(self._band)
        painter.end()

    def _draw_selection(self, painter: QPainter, ink: QColor) -> None:
        grid = self._grid()
        painter.setPen(QPen(ink, 0))
        for row, column in map(_position, self.selection):
            painter.drawRect(grid.cell(row, column).adjusted(0, 0, -1, -1))

    def _draw(self) -> QPixmap:
        """Draw what seldom changes, letters, numbers and wells, into a pixmap that is kept."""
        ratio = self.devicePixelRatioF()
        drawn = QPixmap(QSize(max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio))))
        drawn.setDevicePixelRatio(ratio)
        drawn.fill(Qt.GlobalColor.transparent)
        painter = QPainter(drawn)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        grid = self._grid()
        draw_names(painter, grid, self.fontMetrics(), ink)
        faint = QColor(ink)
        faint.setAlpha(70)
        there = self.plate.by_well if self.plate is not None else {}
        draw_wells(painter, grid, there, self._shading.parts if self._shading is not None else {}, faint)
        painter.end()
        return drawn
