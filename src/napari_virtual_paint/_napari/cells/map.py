"""The Map tab: the population in two dimensions (PCA, UMAP), the path of a walk, and the edited cell."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_virtual_paint._napari.cells.feature_vector import VectorEditor
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.scatter import HUES, MapView
from napari_virtual_paint._napari.shared.widgets import set_choices

if TYPE_CHECKING:
    from napari_virtual_paint._napari.cells.state import Opened
    from napari_virtual_paint.cells.populations.population import Population, Projection

Floats = npt.NDArray[np.float32]
LEGEND = 10
"""Groups that the legend names."""
PLACING = 400
"""Milliseconds without a change before a cell is placed on a map that takes a while for that."""
_projecting = threading.Lock()


class CellMap(QWidget):  # type: ignore[misc]
    """The map with the choice of its kind and its colours."""

    kinds = Signal(str)
    """``"pca"`` or ``"umap"`` was chosen."""

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
        """Offer metadata as colours: column -> the value of each cell, and column -> its different values."""
        self._texts, self._values = texts, values
        set_choices(self.colour, [(column, column.removeprefix("Metadata_")) for column in values])
        self.colour.setVisible(bool(values))
        self._recolour()

    def show_projection(self, projection: Projection) -> None:
        """Show another projection of the population."""
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
        groups = {value: number for number, value in enumerate(self._values[column])}
        colours = [QColor(HUES[number % len(HUES)]) for number in range(len(groups))]
        self.view.set_groups(np.array([groups.get(text, 0) for text in self._texts[column]], np.intp), colours)
        shown = [(colours[number].name(), value.replace("-", "\N{NON-BREAKING HYPHEN}")) for value, number in list(groups.items())[:LEGEND]]
        entries = [f'<span style="color:{colour}">●</span>&nbsp;{value}' for colour, value in shown]
        self.legend.setText("&nbsp; ".join(entries) + (f" … ({len(groups)} groups)" if len(groups) > LEGEND else ""))


class MapController(QObject):  # type: ignore[misc]
    """Projects the population in the background, and marks the edited cell and the walk on the map."""

    def __init__(self, view: CellMap, editor: VectorEditor, parent: QObject) -> None:
        super().__init__(parent)
        self.view, self.editor = view, editor
        self._opened: Opened | None = None
        self._projections: dict[str, Projection] = {}
        self._path: Floats | None = None
        self._fitting, self._placing, self._placing_path = LatestJob(self), LatestJob(self), LatestJob(self)
        self._pause = Debounced(PLACING, self._place_cell, self)
        view.kinds.connect(self.show)
        editor.changed.connect(lambda _: self.show_cell() if view.isVisible() else None)

    @property
    def busy(self) -> bool:
        """Whether a projection or a place on it is missing."""
        return any(job.running for job in (self._fitting, self._placing, self._placing_path)) or self._pause.isActive()

    def open(self, opened: Opened) -> None:
        """Show another population, once its map is requested."""
        self._opened, self._projections, self._path, self.view.projection = opened, {}, None, None
        groups = opened.cohort.groupings
        self.view.set_groups({name: opened.cohort.texts(name) for name in groups}, groups)

    def show(self, kind: str = "") -> None:
        """Show the population by ``"pca"`` or ``"umap"``, by default the kind chosen; each is made in the background, once."""
        opened, kind = self._opened, kind or self.view.kind.currentData()
        if opened is None:
            return
        if kind in self._projections:
            self.view.show_projection(self._projections[kind])
            self.show_cell()
            self.show_path(self._path)
            return

        def fitted(projection: Projection) -> None:
            if self._opened is opened:
                self._projections[kind] = projection
                if self.view.kind.currentData() == kind:
                    self.show(kind)

        title = "UMAP of the cells" if kind == "umap" else "PCA of the cells"
        self._fitting.start_function(getattr(opened.population, kind), title=title, done=timed(fitted), quiet=False)

    def show_cell(self) -> None:
        """Mark the edited cell: at once where its place is known (PCA, a real cell), else after a pause."""
        vector, projection = self.editor.vector, self.view.projection
        self._pause.stop()
        if vector is None or projection is None:
            return
        here = None
        if projection.name == "PCA":
            here = projection.project(vector.values)[0]
        elif vector.row >= 0 and np.array_equal(vector.values, vector.base):
            here = projection.points[vector.row]
        else:
            self._pause.start()
        self.view.view.show_here(here, vector.row)

    def show_path(self, values: Floats | None) -> None:
        """Draw the path of a walk, given by its vectors (k, p); UMAP needs a while to place it."""
        self._path = values
        projection, opened = self.view.projection, self._opened
        if values is None or projection is None or opened is None:
            return
        if projection.name == "PCA":
            self.view.view.show_path(projection.project(values))
        else:
            self._placing_path.start_function(
                lambda: projected(projection, values, opened.population), title="Placing the walk", done=self.view.view.show_path
            )

    def close(self) -> None:
        """Stop all work."""
        self._pause.stop()
        for job in (self._fitting, self._placing, self._placing_path):
            job.close()

    @timed
    def _place_cell(self) -> None:
        """Place the edited cell on a map that takes a while for that (UMAP)."""
        vector, projection, version, opened = self.editor.vector, self.view.projection, self.editor.version, self._opened
        if vector is None or projection is None or opened is None or not self.view.isVisible():
            return

        def placed(here: Floats) -> None:
            if version == self.editor.version and projection is self.view.projection:
                self.view.view.show_here(here, vector.row)

        self._placing.start_function(
            lambda: projected(projection, vector.values[None], opened.population)[0], title="Placing the cell", done=placed
        )


def projected(projection: Projection, values: Floats, population: Population) -> Floats:
    """Return the places of vectors (k, p) on a map, (k, 2) (on a worker): a real cell on its own point, which UMAP would miss."""
    with _projecting:  # UMAP's state is not safe for several threads
        found = projection.project(values)
    for row, vector in enumerate(values):
        same = np.flatnonzero((population.values == vector).all(axis=1))
        if len(same):
            found[row] = projection.points[same[0]]
    return found
