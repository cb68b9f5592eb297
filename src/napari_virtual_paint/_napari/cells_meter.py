"""The meter: how far the asked-for cell is from real ones; amber where real cells are rarely like this, red beyond them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPalette
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_virtual_paint._napari.shared.gui_timing import timed

if TYPE_CHECKING:
    from napari_virtual_paint.cells.populations.population import Distance, Level

COLOURS: dict[Level, QColor] = {"real": QColor(60, 170, 110), "rare": QColor(255, 170, 30), "beyond": QColor(235, 70, 60)}
WORDS: dict[Level, str] = {"real": "like real cells", "rare": "rare among real cells", "beyond": "beyond the real cells"}
NAMES = ("Mahalanobis", "Neighbour")


class Meter(QWidget):  # type: ignore[misc]
    """Two gauges from 0 to 100 %: the population's covariance, and the nearest real cell.

    Attributes
    ----------
    distance
        What is shown; None shows empty gauges.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.distance: Distance | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Distance from real cells")
        self.show_distance(None)

    @property
    def level(self) -> Level | None:
        """What the colour says."""
        return None if self.distance is None else self.distance.level

    @timed
    def show_distance(self, distance: Distance | None) -> None:
        """Show how far a vector is."""
        self.distance = distance
        self.setToolTip(_tip(distance))
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(240, 2 * self.fontMetrics().height() + 12)

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        height, found = self.fontMetrics().height(), self.distance
        gauge = (self.width() - 8) / 2
        shares = (0.0, 0.0) if found is None else (found.mahalanobis_percentile, found.neighbour_percentile)
        colour = QColor(ink.red(), ink.green(), ink.blue(), 60) if found is None else COLOURS[found.level]
        for place, (name, share) in enumerate(zip(NAMES, shares, strict=True)):
            left = place * (gauge + 8)
            painter.setPen(ink)
            words = name if found is None else f"{name} {share:.0f} %"
            painter.drawText(QRectF(left, 0, gauge, height), int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), words)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(ink.red(), ink.green(), ink.blue(), 50))
            painter.drawRoundedRect(QRectF(left, height + 2, gauge, 6), 3, 3)
            painter.setBrush(colour)
            painter.drawRoundedRect(QRectF(left, height + 2, max(3.0, gauge * share / 100), 6), 3, 3)
        if found is not None:
            painter.setPen(colour)
            below = QRectF(0, height + 10, self.width(), height)
            painter.drawText(below, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), WORDS[found.level].capitalize())
        painter.end()


def _tip(distance: Distance | None) -> str:
    if distance is None:
        return "How far the cell asked for is from real ones"
    return (
        f"The cell asked for is {WORDS[distance.level]}.\n"
        f"Mahalanobis distance {distance.mahalanobis:.1f} SD: {distance.mahalanobis_percentile:.0f} % of real cells lie nearer the mean.\n"
        f"Nearest real cell {distance.neighbour:.2f} SD a feature: {distance.neighbour_percentile:.0f} % of real cells have a nearer one."
    )
