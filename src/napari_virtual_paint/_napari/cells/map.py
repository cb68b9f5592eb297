"""The Map tab: the population in two dimensions (PCA, UMAP), the path of a walk, and the edited cell."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QPointF, QRectF, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_virtual_paint._napari.cells.feature_vector import VectorEditor
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.widgets import set_choices

if TYPE_CHECKING:
    from napari_virtual_paint._napari.cells.state import Opened
    from napari_virtual_paint.cells.populations.population import Population, Projection

OUTER, MARGIN = (1, 99), 0.15  # the map spans these percentiles and a margin; the few cells beyond are drawn at its edge
EDGE = 14  # pixels around the points
NEAR = 14  # pixels within which a click finds a point
POINT = 3.0
HUES = ("#4e9de6", "#f0a33c", "#5cc48d", "#d86fb4", "#c9c14a", "#8f7be8", "#e8725c", "#4fc4c4", "#a8a8a8", "#b5895a")
"""Colours of groups in order; no two adjacent ones differ by red and green alone."""
HERE = QColor(255, 255, 255)


class MapView(QWidget):  # type: ignore[misc]
    """Draws points, a path over them, and a cross.

    Attributes
    ----------
    points, path
        float32 (n, 2) and (k, 2), in the map's own coordinates.
    here, picked
        Place of the edited cell, None where it is not known, and number of the picked point, -1 for none.
    """

    clicked = Signal(int)
    """The number of the point that was clicked."""

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
        """Mark the place of the edited cell, and the real cell that it was made from."""
        self.here, self.picked = here, picked
        self.update()

    def show_path(self, path: npt.NDArray[np.float32]) -> None:
        """Draw a walk."""
        self.path = path
        self.update()

    def place(self, points: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Return the pixels of points (k, 2) on the widget."""
        if not len(self.points):
            return np.zeros((0, 2))
        low, high = np.percentile(self.points, OUTER, axis=0)
        low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
        size = np.array([self.width() - 2 * EDGE, self.height() - 2 * EDGE - 12], float)
        share = np.clip((points - low) / np.maximum(high - low, 1e-9), 0.0, 1.0)
        return np.column_stack([EDGE + share[:, 0] * size[0], EDGE + (1 - share[:, 1]) * size[1]])

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
        """Draw points and axes, which seldom change, into a pixmap that is kept."""
        self._drawn = QPixmap(self.size())
        palette = self.palette()
        self._drawn.fill(palette.color(QPalette.ColorRole.Base))
        painter = QPainter(self._drawn)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        spots = self.place(self.points)
        known = len(self._of) == len(spots)  # False between `set_points` and `set_groups`
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


Floats = npt.NDArray[np.float32]
LEGEND = 10  # groups that the legend names
PLACING = 400  # milliseconds without a change before a cell is placed on a map that takes a while for that
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
        self.kind.setToolTip("PCA shows the two directions that differ most; UMAP keeps neighbors together (made in the background)")
        self.colour.setToolTip("Color the cells by this metadata")
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
