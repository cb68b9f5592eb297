"""A map of points, such as cells in PCA or UMAP coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_virtual_paint._napari.shared.gui_timing import timed

OUTER, ROOM = (1, 99), 0.15
"""The map spans these percentiles and some room; the few cells beyond stand at its edge."""


EDGE = 14
"""Pixels around the points."""


NEAR = 14
"""Pixels within which a click finds a point."""


POINT = 3.0


HUES = ("#4e9de6", "#f0a33c", "#5cc48d", "#d86fb4", "#c9c14a", "#8f7be8", "#e8725c", "#4fc4c4", "#a8a8a8", "#b5895a")
"""Colours of groups, in turn; no two neighbours are told apart by red and green alone."""


HERE = QColor(255, 255, 255)


class MapView(QWidget):  # type: ignore[misc]
    """Draws points, a path over them, and a cross.

    Signals
    -------
    clicked
        The position of the point that was clicked.
    """

    clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.points: npt.NDArray[np.float32] = np.zeros((0, 2), np.float32)
        self.path: npt.NDArray[np.float32] = np.zeros((0, 2), np.float32)
        self.here: npt.NDArray[np.float32] | None = None
        self.picked = -1
        self.axes = ("", "")
        self._colours: list[QColor] = []
        self._of: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self._drawn: QPixmap | None = None
        self.setMinimumSize(QSize(160, 160))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setToolTip("Each point is a real cell: click one to open it. The cross is the cell you shape, the line the walk.")

    def set_points(self, points: npt.NDArray[np.float32], axes: tuple[str, str]) -> None:
        """Show other points."""
        self.points, self.axes, self._drawn = points, axes, None
        self.path, self.here = np.zeros((0, 2), np.float32), None
        self.update()

    def set_groups(self, of: npt.NDArray[np.intp], colours: list[QColor]) -> None:
        """Colour the points by their group's number."""
        self._of, self._colours, self._drawn = of, colours, None
        self.update()

    def show_here(self, here: npt.NDArray[np.float32] | None, picked: int = -1) -> None:
        """Show where the shaped cell is, and which real cell it came from."""
        self.here, self.picked = here, picked
        self.update()

    def show_path(self, path: npt.NDArray[np.float32]) -> None:
        """Draw a walk."""
        self.path = path
        self.update()

    def place(self, points: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Return where points (k, 2) are on the widget, in pixels."""
        if not len(self.points):
            return np.zeros((0, 2))
        low, high = np.percentile(self.points, OUTER, axis=0)
        low, high = low - ROOM * (high - low), high + ROOM * (high - low)
        room = np.array([self.width() - 2 * EDGE, self.height() - 2 * EDGE - 12], float)
        share = np.clip((points - low) / np.maximum(high - low, 1e-9), 0.0, 1.0)
        return np.column_stack([EDGE + share[:, 0] * room[0], EDGE + (1 - share[:, 1]) * room[1]])

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        if not len(self.points) or event.button() != Qt.MouseButton.LeftButton:
            return
        away = self.place(self.points) - [event.position().x(), event.position().y()]
        nearest = int((away**2).sum(axis=1).argmin())
        if float(np.hypot(*away[nearest])) <= NEAR:
            self.clicked.emit(nearest)

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        self._drawn = None

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802
        if self._drawn is None:
            self._draw_points()
        painter = QPainter(self)
        if self._drawn is not None:
            painter.drawPixmap(0, 0, self._drawn)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_path(painter)
        if 0 <= self.picked < len(self.points):
            x, y = self.place(self.points[self.picked : self.picked + 1])[0]
            painter.setPen(QPen(HERE, 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(QPointF(x, y), 6, 6)
        if self.here is not None and len(self.points):
            x, y = np.clip(self.place(self.here[None])[0], 4, [self.width() - 4, self.height() - 4])
            painter.setPen(QPen(HERE, 2))
            painter.drawLine(QPointF(x - 6, y), QPointF(x + 6, y))
            painter.drawLine(QPointF(x, y - 6), QPointF(x, y + 6))
        painter.end()

    def _draw_path(self, painter: QPainter) -> None:
        if not len(self.path):
            return
        spots = [QPointF(x, y) for x, y in self.place(self.path)]
        painter.setPen(QPen(QColor(255, 80, 80), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(QPolygonF(spots))
        painter.setBrush(QColor(255, 80, 80))
        for spot in spots:
            painter.drawEllipse(spot, 2.5, 2.5)

    def _draw_points(self) -> None:
        """Draw what seldom changes, once."""
        self._drawn = QPixmap(self.size())
        palette = self.palette()
        self._drawn.fill(palette.color(QPalette.ColorRole.Base))
        painter = QPainter(self._drawn)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        spots = self.place(self.points)
        known = len(self._of) == len(spots)  # points and groups are set one after the other
        for number, colour in enumerate(self._colours):
            shade = QColor(colour)
            shade.setAlpha(170)
            painter.setBrush(shade)
            for x, y in spots[self._of == number] if known else ():
                painter.drawEllipse(QPointF(x, y), POINT, POINT)
        painter.setPen(palette.color(QPalette.ColorRole.Text))
        below = QRectF(EDGE, self.height() - 17, self.width() - 2 * EDGE, 16)
        painter.drawText(below, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), self.axes[0])
        painter.drawText(QRectF(4, 1, self.width() - 8, 16), int(Qt.AlignmentFlag.AlignLeft), self.axes[1])
        painter.end()
