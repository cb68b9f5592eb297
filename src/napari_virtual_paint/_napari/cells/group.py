"""The Group tab: one feature of a whole group shifted, and twelve of its cells that change at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QRect, QSignalBlocker, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QImage, QPainter, QPalette
from qtpy.QtWidgets import QCompleter, QHBoxLayout, QLabel, QMenu, QPushButton, QSizePolicy, QSlider, QVBoxLayout, QWidget

from napari_virtual_paint._napari.cells.generator_thread import GeneratedCell, GeneratorThread
from napari_virtual_paint._napari.cells.layers import InViewer, grid_layers
from napari_virtual_paint._napari.cells.picture import as_image, layer_colours
from napari_virtual_paint._napari.cells.slider_row import number
from napari_virtual_paint._napari.cells.state import provenance_of
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.widgets import combo, push_button, row, set_choices
from napari_virtual_paint.cells.populations.composite import overlay
from napari_virtual_paint.cells.populations.group_shift import members, shifted

if TYPE_CHECKING:
    from napari_virtual_paint._napari.cells.feature_vector import VectorEditor
    from napari_virtual_paint._napari.cells.state import Opened
    from napari_virtual_paint.cells.populations.composite import Colour

Floats = npt.NDArray[np.float32]
EVERY = "All cells"
FINE, REACH = 100, 3  # steps of the slider in a standard deviation, and how many of these it reaches to both sides
GAP = 2  # pixels between two cells
WIDE = 6  # cells in a row of the viewer
FIRST = "Nuclei_AreaShape_Area"  # the feature that is offered first


@dataclass(frozen=True)
class GroupShift:
    """A shift of a group."""

    column: str = ""
    values: tuple[str, ...] = ()  # `column` and `values`: the metadata that a cell of the group has; empty for all cells
    feature: str = ""
    by: float = 0.0  # standard deviations
    follow: bool = True
    seed: int = 0


class GroupView(QWidget):  # type: ignore[misc]
    """Draws the cells of a group in a grid.

    Attributes
    ----------
    cells
        (n, C, d, d) on the display scale; None before there are some.
    """

    drawn = Signal()
    """The newest cells have been painted."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.cells: Floats | None = None
        self._colours: list[Colour] = []
        self._shown: tuple[bool, ...] = ()
        self._images: list[QImage] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(QSize(160, 110))
        self.setAccessibleName("Cells of the group")

    def open(self, channels: tuple[str, ...]) -> None:
        """Show cells of other channels."""
        self._colours, self._shown, self.cells, self._images = layer_colours(channels), (True,) * len(channels), None, []
        self.update()

    def set_shown(self, shown: tuple[bool, ...]) -> None:
        """Switch channels on and off."""
        self._shown, self._images = shown, []
        self.update()

    @timed
    def set_cells(self, cells: Floats) -> None:
        """Show other cells."""
        self.cells, self._images = cells, []
        self.update()

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Window))
        if self.cells is not None and len(self.cells) and not self._images:
            self._images = [as_image(overlay(cell, self._colours, self._shown)) for cell in self.cells]
        for box, image in zip(self.boxes(len(self._images)), self._images, strict=True):
            painter.drawImage(box, image)
        painter.end()
        if self._images:
            self.drawn.emit()

    def boxes(self, count: int) -> list[QRect]:
        """Return the places of so many cells: in the number of columns that makes them largest."""
        if not count:
            return []

        def side(columns: int) -> int:
            lines = -(-count // columns)
            return int(max(8, min((self.width() - (columns - 1) * GAP) // columns, (self.height() - (lines - 1) * GAP) // lines)))

        columns = max(range(1, count + 1), key=side)
        size = side(columns)
        left = (self.width() - columns * (size + GAP) + GAP) // 2
        return [QRect(left + place % columns * (size + GAP), place // columns * (size + GAP), size, size) for place in range(count)]


class GroupPanel(QWidget):  # type: ignore[misc]
    """Edits a `GroupShift`, and shows the cells."""

    changed = Signal(object)
    """The shift, when the user changed it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.column = combo("The metadata that groups the cells: a well, a treatment, a class", letters=6)
        self.values = QPushButton(EVERY)
        self.values.setToolTip("Which cells: tick one or more")
        self.menu = QMenu(self.values)
        self.values.setMenu(self.menu)
        self.feature = combo("The feature that is shifted in all cells; type a part of its name", letters=12)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.by = QLabel()
        self.reset = push_button("Reset", "Back to the cells as they are")
        self.send = push_button(
            "All to viewer", "Add these cells to the viewer in a grid, as they were and shifted; Undo removes them again"
        )
        self.view = GroupView()
        self.note = QLabel()
        self._opened: Opened | None = None
        self._follow, self._seed = True, 0
        self._lay_out()
        self.column.currentIndexChanged.connect(self._column_changed)
        self.feature.activated.connect(lambda _: self._report())
        self.slider.valueChanged.connect(lambda _: self._report())
        self.reset.clicked.connect(lambda _: self.slider.setValue(0))

    def value(self) -> GroupShift:
        """Return the shift."""
        column = self.column.currentData() or ""
        ticked = tuple(action.text() for action in self.menu.actions() if action.isChecked()) if column else ()
        feature = self.feature.currentData() or ""
        return GroupShift(column, ticked, feature, self.slider.value() / FINE, self._follow, self._seed)

    def setValue(self, shift: GroupShift) -> None:  # noqa: N802 - Qt's own way of naming
        """Show another shift."""
        blockers = [QSignalBlocker(widget) for widget in (self.column, self.slider)]
        self._follow, self._seed = shift.follow, shift.seed
        if (self.column.currentData() or "") != shift.column:
            self.column.setCurrentIndex(max(0, self.column.findData(shift.column)))
            self._offer_values()
        for action in self.menu.actions():
            action.setChecked(action.text() in shift.values)
        self.feature.setCurrentIndex(max(0, self.feature.findData(shift.feature)))
        self.slider.setValue(round(FINE * shift.by))
        del blockers
        self._show_words()

    def open(self, opened: Opened) -> None:
        """Offer the groups and features of other cells."""
        self._opened = opened
        columns = [("", EVERY), *((name, name.removeprefix("Metadata_")) for name in opened.cohort.groupings)]
        set_choices(self.column, columns, "")
        names = [(feature.name, feature.name.replace("_", " ")) for feature in opened.features]
        set_choices(self.feature, names, FIRST if FIRST in opened.model.features else opened.model.features[0])
        blocker = QSignalBlocker(self.slider)
        self.slider.setValue(0)
        del blocker
        self.view.open(tuple(opened.model.channels))
        self._offer_values()
        self._show_words()

    def _offer_values(self) -> None:
        """Offer the values of the column; the first is ticked."""
        self.menu.clear()
        column = self.column.currentData() or ""
        values = self._opened.cohort.groupings.get(column, ()) if self._opened is not None else ()
        for place, value in enumerate(values):
            action = self.menu.addAction(value)
            action.setCheckable(True)
            action.setChecked(place == 0)
            action.toggled.connect(self._report)
        self.values.setVisible(bool(column))

    def _column_changed(self, _index: int = 0) -> None:
        self._offer_values()
        self._report()

    @timed
    def _report(self, _ticked: bool = False) -> None:
        self._show_words()
        self.changed.emit(self.value())

    def _show_words(self) -> None:
        shift = self.value()
        some = ", ".join(shift.values)
        self.values.setText(self.values.fontMetrics().elidedText(some or "none ticked", Qt.TextElideMode.ElideRight, 110))
        self.values.setToolTip(f"Which cells: tick one or more. Now: {some or 'none'}")
        self.reset.setEnabled(bool(shift.by))
        if self._opened is not None and shift.feature:
            at = self._opened.population.position(shift.feature)
            own, unit = shift.by * float(self._opened.population.spread[at]), self._opened.units[at]
            self.by.setText(f"{shift.by:+.2f} SD ({'+' if own >= 0 else '−'}{number(abs(own))}{f' {unit}' if unit else ''})")
            self.feature.setToolTip(f"The feature that is shifted in all cells; type a part of its name.\n{shift.feature}")

    def _lay_out(self) -> None:
        self.feature.setEditable(True)
        self.feature.setInsertPolicy(self.feature.InsertPolicy.NoInsert)
        completer = QCompleter(self.feature.model(), self.feature)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.feature.setCompleter(completer)
        self.slider.setRange(-REACH * FINE, REACH * FINE)
        self.slider.setToolTip("How far the feature of every cell is shifted, in standard deviations of the population")
        self.slider.setAccessibleName("Shift")
        self.note.setWordWrap(True)
        self.note.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.by.setMinimumWidth(self.by.fontMetrics().horizontalAdvance("+2.22 SD (+2,222 px)"))
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.slider, 1)
        line.addWidget(self.by)
        line.addWidget(self.reset)
        groups = row(self.column, self.values)
        top = QVBoxLayout(self)
        top.setContentsMargins(2, 6, 2, 2)
        top.setSpacing(4)
        top.addLayout(groups)
        top.addLayout(row(self.feature, self.send))
        top.addLayout(line)
        top.addWidget(self.view, 1)
        top.addWidget(self.note)


class GroupController(QObject):  # type: ignore[misc]
    """Generates the shifted cells of a group while its tab is shown."""

    def __init__(self, view: GroupPanel, editor: VectorEditor, in_viewer: InViewer, parent: QObject) -> None:
        super().__init__(parent)
        self.view, self.editor, self.in_viewer = view, editor, in_viewer
        self._opened: Opened | None = None
        self._rows: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self._group: tuple[str, tuple[str, ...]] | None = None
        self._version = 0
        self._shown = False
        self._follow, self._seed = True, 0
        self.generator, self._drawing = GeneratorThread(self), LatestJob(self)
        view.changed.connect(self.request)
        view.send.clicked.connect(lambda _: self.send())
        self.generator.generated.connect(self._generated)
        view.view.drawn.connect(lambda: QTimer.singleShot(0, self.generator.on_screen))

    @property
    def busy(self) -> bool:
        """Whether a requested result is still missing."""
        return self.generator.busy or self._drawing.running

    def open(self, opened: Opened) -> None:
        """Show groups of other cells."""
        self._opened, self._group = opened, None
        self.view.open(opened)
        self.generator.open(lambda wanted: cells_of(opened, wanted[0], wanted[1], scaled=True))
        if self._shown:
            self.request(self.view.value())

    def show(self) -> None:
        """Begin to show the group: its tab is in front."""
        self._shown = True
        moved = self.editor.vector.moved if self.editor.vector is not None else {}
        value = self.view.value()
        if moved and self._opened is not None and not value.by:  # what the user was shaping
            self._set(feature=self._opened.model.features[list(moved)[-1]])
        else:
            self._set()

    def hide(self) -> None:
        """Generate no more: another tab is in front."""
        self._shown = False

    def set_follow(self, follow: bool) -> None:
        """Let correlated features follow, or not."""
        self._follow = follow
        self._set()

    def set_seed(self, seed: int) -> None:
        """Generate the cells with other seeds."""
        self._seed = seed
        self._set()

    def set_shift(self, shift: GroupShift) -> None:
        """Shift a group, as its widgets do."""
        self.view.setValue(shift)
        self.request(shift)

    def _set(self, **changes: Any) -> None:
        from dataclasses import replace

        self.view.setValue(replace(self.view.value(), follow=self._follow, seed=self._seed, **changes))
        if self._shown:
            self.request(self.view.value())

    @timed
    def request(self, shift: GroupShift) -> None:
        """Generate the cells of a shift; of those that come while it works, only the newest."""
        opened = self._opened
        if opened is None or not shift.feature:
            return
        if (shift.column, shift.values) != self._group:
            self._group = (shift.column, shift.values)
            self._rows = rows_of(opened, shift)
            count = len(group_of(opened, shift))
            some = f"{len(self._rows)} of {count:,} cells" if len(self._rows) < count else f"{count} cells"
            self.view.note.setText(f"{some}, each shifted by the same amount." if count else "Tick a group: no cell is shown.")
        if len(self._rows):
            self._version += 1
            self.generator.request(self._version, (shift, self._rows))
        else:
            self.view.view.set_cells(np.zeros((0, len(opened.model.channels), 1, 1), np.float32))

    def send(self) -> None:
        """Add the cells, as they were and shifted, to the viewer."""
        opened, shift, rows = self._opened, self.view.value(), self._rows
        if opened is None or not len(rows):
            return

        def generate() -> Floats:
            still = GroupShift(shift.column, shift.values, shift.feature, 0.0, shift.follow, shift.seed)
            return np.stack([cells_of(opened, each, rows) for each in (still, shift)])

        def done(cells: Floats) -> None:
            group = f"{shift.column.removeprefix('Metadata_')} = {', '.join(shift.values)}" if shift.column else EVERY
            how = provenance_of(opened, shift.seed, group=group, feature=shift.feature, shift_sd=shift.by, follow=shift.follow)
            words = (f"{group}, as they are", f"{shift.feature.replace('_', ' ')} {shift.by:+.2f} SD")
            grid, titles, labels = _grid(cells, words, [opened.cohort.label(int(position)).split()[0] for position in rows])
            self.in_viewer.add_whole(grid_layers(opened, grid, "group", how, titles, labels), self.editor.stack, "add the group")

        self._drawing.start_function(generate, title="Generating the group", done=done, quiet=False)

    def close(self) -> None:
        """Stop all work."""
        self.generator.stop()
        self._drawing.close()

    @timed
    def _generated(self, found: GeneratedCell) -> None:
        self.view.view.set_cells(found.crop)


def _grid(cells: Floats, words: tuple[str, str], names: list[str]) -> tuple[Floats, list[str], list[list[str]]]:
    """Return cells (2, n, C, d, d) as rows of `WIDE`, shifted ones below the same cells as they were, with titles and labels."""
    count = len(names)
    wide = min(WIDE, count)
    lines = -(-count // wide)
    grid = np.zeros((2 * lines, wide, *cells.shape[2:]), np.float32)
    labels = [[""] * wide for _ in range(2 * lines)]
    for place in range(count):
        line, column = divmod(place, wide)
        grid[2 * line : 2 * line + 2, column] = cells[:, place]
        labels[2 * line][column] = names[place]
    return grid, list(words) * lines, labels


def group_of(opened: Opened, shift: GroupShift) -> npt.NDArray[np.intp]:
    """Return the positions of all cells of a group."""
    if not shift.column:
        return np.arange(len(opened.cohort))
    texts = np.array(opened.cohort.texts(shift.column), object)
    return np.flatnonzero(np.isin(texts, list(shift.values)))


def rows_of(opened: Opened, shift: GroupShift) -> npt.NDArray[np.intp]:
    """Return the cells that stand for a group; none where it is empty."""
    found = group_of(opened, shift)
    return members(found) if len(found) else found


def cells_of(opened: Opened, shift: GroupShift, rows: npt.NDArray[np.intp], scaled: bool = False) -> Floats:
    """Generate shifted cells (n, C, d, d), each by a seed of its own (on a worker); in grey levels, or on the display scale."""
    from napari_virtual_paint.cells.cp2image.model import generate, generate_scaled

    population = opened.population
    by = shift.by * float(population.spread[population.position(shift.feature)])
    vectors = shifted(population, rows, shift.feature, by, shift.follow)
    seeds = [shift.seed + place for place in range(len(rows))]
    return (generate_scaled if scaled else generate)(opened.model, vectors, seed=seeds)
