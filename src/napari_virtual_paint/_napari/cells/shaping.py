"""Shaping a cell: from a moved slider to the picture, the meter, what the picture has, and where it is on the map."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from napari_virtual_paint._napari.cells import layers
from napari_virtual_paint._napari.cells.feature_vector import CellState
from napari_virtual_paint._napari.cells.generator_thread import GeneratedCell, GeneratorThread, VectorDistance
from napari_virtual_paint._napari.cells.image_files import ImageFiles
from napari_virtual_paint._napari.cells.jobs import Measurer, summary
from napari_virtual_paint._napari.cells.map import projected
from napari_virtual_paint._napari.cells.panel import CellsPanel
from napari_virtual_paint._napari.cells.slider_row import RowFacts
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed

if TYPE_CHECKING:
    import napari.viewer

    from napari_virtual_paint._napari.cells.state import Opened
    from napari_virtual_paint.cells.populations.population import Projection

Floats = npt.NDArray[np.float32]
LATE = 50
"""Milliseconds that a moved slider waits for its picture, to be drawn together with it."""
PLACING = 400
"""Milliseconds without a change before a cell is placed on a map that takes a while for that."""
CLICKED = 1_000_000_000
"""Cells that were clicked and measured are numbered from here on: they are in no cohort."""
Real = tuple[Floats | None, str]
"""The crop of a real cell, and its caption."""


class CellsShaping(CellsPanel):
    """The part of the Cells dock that shapes one cell.

    Attributes
    ----------
    opened
        The model and cells that are shown; None until the first are open.
    state
        The cell that is shaped.
    painter
        Paints it.
    measurer
        Measures what was painted.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.opened: Opened | None = None
        self.state = CellState(self)
        self.painter = GeneratorThread(self)
        self.measurer = Measurer(self)
        self.projections: dict[str, Projection] = {}
        self._files: ImageFiles | None = None
        self._jobs: dict[str, jobs.Job] = {}
        self._reals: dict[int, Real] = {}
        self._cell = -1
        self._facts: RowFacts | None = None
        self._turns = StepQueue()
        self._stale = -1
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(LATE)
        self._late.timeout.connect(self._refresh)
        self._placing = QTimer(self)
        self._placing.setSingleShot(True)
        self._placing.setInterval(PLACING)
        self._placing.timeout.connect(self._place)
        self._connect_shaping()

    @property
    def busy(self) -> bool:
        """Whether anything asked for is not there yet."""
        return bool(self._jobs) or self.painter.busy or self.measurer.busy or self._placing.isActive()

    def pick(self, position: int) -> None:
        """Go to a cell of the cohort."""
        if self.opened is not None and 0 <= position < len(self.opened.cohort):
            self.state.pick(self.opened.population.values[position], position, f"pick {self.opened.cohort.label(position)}")

    def pick_mean(self, column: str = "", value: str = "") -> None:
        """Go to the real cell nearest the mean of a group, or of all cells."""
        from napari_virtual_paint.cells.populations.walks import representative

        opened = self.opened
        if opened is not None:
            self.start(
                "mean",
                lambda: representative(opened.population, opened.cohort.group(column, value) if column else None),
                "Looking for the cell nearest the mean",
                self.pick,
                quiet=True,
            )

    def set_feature(self, name: str, value: float) -> None:
        """Move one feature, as its slider does."""
        if self.opened is not None:
            self.state.begin()
            self.state.move(self.opened.population.position(name), value)

    def show_cells(self, opened: Opened) -> None:
        """Show another model and other cells, beginning with the one nearest the mean."""
        from napari_virtual_paint.cells.cp2image.model import generate

        self.opened, self._reals, self._cell = opened, {}, -1
        self.look_in(opened.choice.images)
        model, population = opened.model, opened.population
        self.painter.open(lambda vectors: generate(model, vectors), lambda vector, cell: population.distance(vector, cell))
        self.measurer.restart()
        self.picture.open(model.channels, opened.limits, model.pixel_size)
        values = population.values[opened.first]
        self._facts = RowFacts(opened.scales, opened.units, values, values)
        self.sliders.show_facts(self._facts)
        self.state.start(population, values, opened.first)
        self._turns.add(self.sliders.unfold_some, lambda: self.sliders.search(self.find.text()) if self.find.text() else None)

    def look_in(self, folder: str) -> None:
        """Look for the images of the table's cells in this folder, too."""
        if self.opened is not None:
            self._files = ImageFiles(self.opened, folder)
            self.cells.images.setVisible(self._files.named)
            if self._cell >= 0:
                self._show_real(self._cell)

    def show_clicked(self, values: Floats, crop: Floats, caption: str) -> None:
        """Go to a cell that is in no table: it was clicked and measured."""
        key = CLICKED + sum(known >= CLICKED for known in self._reals)
        self._reals[key] = (crop, caption)
        self.state.pick(values, key, f"pick {caption}")

    def shut(self) -> None:
        """Stop what runs."""
        for job in list(self._jobs.values()):
            job.cancel()
        self._jobs = {}
        self._turns.clear()
        self._placing.stop()
        self.measurer.stop()
        self.painter.stop()

    def start(self, kind: str, work: Callable[[], Any], title: str, done: Callable[[Any], Any], quiet: bool = False) -> None:
        """Have something done in the background; of one kind only the newest goes on."""
        before = self._jobs.pop(kind, None)
        if before is not None:
            before.cancel()

        def ended(result: Any) -> None:
            if isalive(self):
                done(result)

        job = jobs.start_function(work, title=title, done=ended, failed=lambda _: self._failed(kind), quiet=quiet)
        self._jobs[kind] = job
        job.ended.connect(lambda: self._jobs.pop(kind, None) if self._jobs.get(kind) is job else None)

    def _failed(self, kind: str) -> None:
        """Called when something in the background failed; a notification has told it."""

    def _connect_shaping(self) -> None:
        self.channels_changed.connect(self.picture.set_shown)
        self.searched.connect(self._search)
        self.changed_only.toggled.connect(self._search)
        self.sliders.began.connect(self.state.begin)
        self.sliders.moved.connect(self.state.move)
        self.sliders.typed.connect(self._typed)
        self.sliders.resets.connect(self.state.reset)
        self.undo.clicked.connect(self.state.stack.undo)
        self.redo.clicked.connect(self.state.stack.redo)
        self.reset.clicked.connect(self.state.reset_all)
        self.state.stack.canUndoChanged.connect(self.undo.setEnabled)
        self.state.stack.canRedoChanged.connect(self.redo.setEnabled)
        self.undo.setEnabled(False)
        self.redo.setEnabled(False)
        self.state.changed.connect(self._shaped)
        self.painter.painted.connect(self._painted)
        self.painter.judged.connect(self._judged)
        self.picture.drawn.connect(lambda _: QTimer.singleShot(0, self.painter.on_screen))  # the window is flushed before that
        self.measurer.found.connect(self._measured)

    @timed
    def _shaped(self, index: int) -> None:
        """Show a new vector's numbers at once, and have its cell painted."""
        shape, opened, facts = self.state.shape, self.opened, self._facts
        if shape is None or opened is None or facts is None:
            return
        self.painter.ask(self.state.version, shape.values, shape.cell)
        self.measurer.hold()
        facts.values, facts.base = shape.values, shape.base
        facts.moved = {opened.population.position(name) for name in shape.moved}
        if facts.measured is not None:
            facts.measured, index = None, -1
            self.measured.setText("")
        self._refresh_soon(index)
        self.reset.setEnabled(bool(shape.moved) or not np.array_equal(shape.values, shape.base))
        if shape.cell != self._cell:
            self._cell = shape.cell
            self._show_real(shape.cell)
        if self.map.isVisible():
            self.show_on_map()

    def _refresh_soon(self, index: int) -> None:
        """Draw a row (or, with -1, all) again together with the picture, or a little later where the picture takes long.

        Under OpenGL each repaint of a dock has Qt put the whole window together anew: with software rendering this takes as long as
        the cell does, so one repaint shows both.
        """
        waiting = self._late.isActive()
        self._stale = index if not waiting or self._stale == index else -1
        if not waiting:
            self._late.start()

    @timed
    def _refresh(self) -> None:
        self._late.stop()
        self.sliders.refresh(self._stale)

    def show_on_map(self) -> None:
        """Mark the shaped cell on the map: at once where that can be told (PCA, a real cell), else after a pause."""
        shape, projection = self.state.shape, self.map.projection
        self._placing.stop()
        if shape is None or projection is None:
            return
        picked = shape.cell if shape.cell < CLICKED else -1
        here = None
        if projection.name == "PCA":
            here = projection.project(shape.values)[0]
        elif picked >= 0 and np.array_equal(shape.values, shape.base):
            here = projection.points[picked]
        else:
            self._placing.start()
        self.map.view.show_here(here, picked)

    @timed
    def _place(self) -> None:
        """Have the shaped cell placed on a map that takes a while for that (UMAP)."""
        shape, projection, version, opened = self.state.shape, self.map.projection, self.state.version, self.opened
        if shape is None or projection is None or opened is None or not self.map.isVisible():
            return

        def placed(here: Floats) -> None:
            if version == self.state.version and projection is self.map.projection:
                self.map.view.show_here(here, shape.cell if shape.cell < CLICKED else -1)

        self.start("here", lambda: projected(projection, shape.values[None], opened.population)[0], "Placing the cell", placed, quiet=True)

    @timed
    def _painted(self, painted: GeneratedCell) -> None:
        self.picture.set_made(painted.crop, painted.version)
        if self._late.isActive():
            self._refresh()
        if painted.version == self.state.version and self.opened is not None:
            self.measurer.ask(self.opened, painted.crop, painted.version, self._cell if self._cell < CLICKED else -1)

    @timed
    def _judged(self, judged: VectorDistance) -> None:
        self.meter.show_distance(judged.distance)

    @timed
    def _measured(self, version: int, has: Floats) -> None:
        if version == self.state.version and self._facts is not None and self.opened is not None:
            self._facts.measured = has
            self.measured.setText(summary(self.opened, self._facts.values, has, self._facts.moved))
            self.sliders.refresh()

    def _typed(self, index: int, value: float) -> None:
        self.state.begin()
        self.state.move(index, value)

    @timed
    def _search(self, _on: bool = False) -> None:
        among = None
        if self.changed_only.isChecked() and self._facts is not None:
            among = np.flatnonzero(self._facts.values != self._facts.base).tolist()
        self.sliders.search(self.find.text(), among)

    def _show_real(self, cell: int) -> None:
        """Show the picked cell's own crop: the package's, or cut out of an image that is open in the viewer, or of its file."""
        opened = self.opened
        if opened is None:
            return
        self.cells.show_picked(cell)
        if cell < CLICKED and cell not in self._reals:
            caption = f"Real cell {opened.cohort.label(cell).split()[0]}"
            self._reals[cell] = (None if opened.cohort.crops is None else np.asarray(opened.cohort.crops[cell]), caption)
        crop, caption = self._reals[cell]
        self.picture.set_real(crop, caption)
        if crop is not None:
            return
        spot, files = layers.crop_of(self.viewer, opened, cell), self._files
        if spot is None and (files is None or not files.named):
            return

        def look() -> Floats | None:
            return layers.crop_at(spot, opened) if spot is not None else files.crop(cell) if files is not None else None

        def found(crop: Floats | None) -> None:
            if crop is None or self.opened is not opened:
                return
            self._reals[cell] = (crop, caption)
            if self._cell == cell:
                self.picture.set_real(crop, caption)

        self.start("crop", look, "Reading the cell's image", found, quiet=True)
