"""The map: the population in two dimensions (PCA, UMAP), the path of a walk, and where the shaped cell is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.scatter import HUES, MapView

if TYPE_CHECKING:
    from napari_virtual_paint.cells.populations.population import Population, Projection

LEGEND = 10


_projecting = threading.Lock()


def projected(projection: Projection, values: npt.NDArray[np.float32], population: Population) -> npt.NDArray[np.float32]:
    """Return where vectors (k, p) are on a map, (k, 2) (for a worker): a real cell on its own point, which UMAP would place beside it."""
    with _projecting:  # UMAP's own state bears one at a time
        found = projection.project(values)
    for row, vector in enumerate(values):
        same = np.flatnonzero((population.values == vector).all(axis=1))
        if len(same):
            found[row] = projection.points[same[0]]
    return found


class CellMap(QWidget):  # type: ignore[misc]
    """The map with the choice of its kind and its colours."""

    kinds = Signal(str)
    """``"pca"`` or ``"umap"`` is asked for."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = MapView()
        self.kind, self.colour, self.legend = QComboBox(), QComboBox(), QLabel()
        self.projection: Projection | None = None
        self._texts: dict[str, list[str]] = {}
        self._values: dict[str, tuple[str, ...]] = {}
        for text, data in (("PCA", "pca"), ("UMAP", "umap")):
            self.kind.addItem(text, data)
        self.kind.setToolTip("PCA shows the two directions that differ most; UMAP keeps neighbours together (made in the background)")
        self.colour.setToolTip("Colour the cells by this metadata")
        self.legend.setWordWrap(True)
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        line = QHBoxLayout()
        line.addWidget(self.kind, 1)
        line.addWidget(self.colour, 2)
        top = QVBoxLayout(self)
        top.setContentsMargins(2, 6, 2, 2)
        top.addLayout(line)
        top.addWidget(self.view, 1)
        top.addWidget(self.legend)
        self.kind.currentIndexChanged.connect(lambda _: self.kinds.emit(self.kind.currentData()))
        self.colour.currentIndexChanged.connect(self._recolour)

    def set_groups(self, texts: dict[str, list[str]], values: dict[str, tuple[str, ...]]) -> None:
        """Offer these metadata (column -> each cell's value, column -> the values there are) as colours."""
        self._texts, self._values = texts, values
        blocker = QSignalBlocker(self.colour)
        self.colour.clear()
        for column in values:
            self.colour.addItem(column.removeprefix("Metadata_"), column)
        del blocker
        self.colour.setVisible(bool(values))
        self._recolour()

    def show_projection(self, projection: Projection) -> None:
        """Show the population another way."""
        self.projection = projection
        self.view.set_points(projection.points, projection.axes)
        blocker = QSignalBlocker(self.kind)
        self.kind.setCurrentIndex(self.kind.findData(projection.name.casefold()))
        del blocker

    @timed
    def _recolour(self, _index: int = 0) -> None:
        column = self.colour.currentData()
        if not column:
            self.view.set_groups(np.zeros(len(self.view.points), np.intp), [QColor(HUES[0])])
            self.legend.setText("")
            return
        at = {value: number for number, value in enumerate(self._values[column])}
        of = np.array([at.get(text, 0) for text in self._texts[column]], np.intp)
        colours = [QColor(HUES[number % len(HUES)]) for number in range(len(at))]
        self.view.set_groups(of, colours)
        shown = [(colours[number].name(), value.replace("-", "\N{NON-BREAKING HYPHEN}")) for value, number in list(at.items())[:LEGEND]]
        said = [f'<span style="color:{colour}">●</span>&nbsp;{value}' for colour, value in shown]
        self.legend.setText("&nbsp; ".join(said) + (f" … ({len(at)} groups)" if len(at) > LEGEND else ""))
