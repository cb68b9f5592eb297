"""Shaping a cell: from a moved slider to the picture, the distance meter and the measured features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer

from napari_virtual_paint._napari.cells import layers
from napari_virtual_paint._napari.cells.feature_vector import CLICKED, VectorEditor
from napari_virtual_paint._napari.cells.generator_thread import GeneratedCell, GeneratorThread, Like
from napari_virtual_paint._napari.cells.image_files import ImageFiles
from napari_virtual_paint._napari.cells.jobs import Measurer, summary
from napari_virtual_paint._napari.cells.picture import LIKE
from napari_virtual_paint._napari.cells.slider_row import RowFacts
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed

if TYPE_CHECKING:
    import napari.viewer

    from napari_virtual_paint._napari.cells.panel import CellsPanel
    from napari_virtual_paint._napari.cells.state import Opened
    from napari_virtual_paint.cells.populations.population import Distance

Floats = npt.NDArray[np.float32]
LATE = 50  # milliseconds that a moved slider waits for its picture, to be drawn together with it


class ShapingController(QObject):  # type: ignore[misc]
    """Shows the edited cell: sliders, generated and real picture, meter, and what is measured in the generated picture.

    Attributes
    ----------
    opened
        The model and cells that are shown; None until the first are open.
    cell
        The picked cell, numbered as in `EditedVector`.
    seed
        The seed of the generated cell.
    facts
        What the slider rows show.
    """

    def __init__(self, view: CellsPanel, editor: VectorEditor, viewer: napari.viewer.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self.view, self.editor, self.viewer = view, editor, viewer
        self.opened: Opened | None = None
        self.cell = -1
        self.seed = 0
        self.facts: RowFacts | None = None
        self.generator, self.measurer = GeneratorThread(self), Measurer(self)
        self._finding_mean, self._reading_crop = LatestJob(self), LatestJob(self)
        self._files: ImageFiles | None = None
        self._reals: dict[int, tuple[Floats | None, str]] = {}  # crop and caption of each real cell shown so far
        self._measured_base: tuple[int, Floats] | None = None  # the picked cell, and what was measured in its unchanged picture
        self._steps = StepQueue()
        self._stale = -1
        self._late = Debounced(LATE, self._refresh, self)
        self._connect()

    @property
    def busy(self) -> bool:
        """Whether a requested result is still missing."""
        return self._finding_mean.running or self._reading_crop.running or self.generator.busy or self.measurer.busy

    def open(self, opened: Opened) -> None:
        """Show another model and other cells, beginning with the one nearest the mean."""
        self.opened, self._reals, self.cell, self._measured_base = opened, {}, -1, None
        self.look_in(opened.choice.images)
        model, population = opened.model, opened.population
        self._open_generator(opened)
        self.measurer.restart()
        self.view.picture.open(model.channels, opened.limits, model.pixel_size, opened.pictured, opened.pictured is opened.cohort)
        self.view.set_noise(model.takes_noise)
        values = population.values[opened.first]
        self.facts = RowFacts(opened.scales, opened.units, values, values)
        self.view.sliders.show_facts(self.facts)
        self.editor.start(population, values, opened.first)
        find = self.view.find
        self._steps.add(self.view.sliders.unfold_some, lambda: self.view.sliders.search(find.text()) if find.text() else None)

    def set_seed(self, seed: int) -> None:
        """Generate the cell anew with another seed."""
        self.seed = seed
        if self.opened is not None and self.opened.model.takes_noise:
            self.view.set_noise(True)
            self._measured_base = None  # of another picture
            self._open_generator(self.opened)
            self.editor.renew()

    def _open_generator(self, opened: Opened) -> None:
        from napari_virtual_paint.cells.cp2image.model import generate_scaled

        model, seed, pictured, among = opened.model, self.seed, opened.pictured, opened.pictured is opened.cohort

        def generate(vector: Floats) -> Floats:
            crop: Floats = generate_scaled(model, vector, seed=seed)[0]
            return crop

        def like(vector: Floats, cell: int) -> Like:
            assert pictured is not None
            positions, distances = (found[0] for found in pictured.population.neighbours(vector, LIKE + 1))
            others = np.flatnonzero(positions != (cell if among else -1))[:LIKE]  # the picked one stands on the left already
            return Like(positions[others], distances[others])

        self.generator.open(generate, opened.population.distance, None if pictured is None else like)

    def look_in(self, folder: str) -> None:
        """Also look for the images of the table's cells in this folder."""
        if self.opened is not None:
            self._files = ImageFiles(self.opened, folder)
            self.view.cells.images.setVisible(self._files.named)
            if self.cell >= 0:
                self._show_real(self.cell)

    def pick(self, position: int) -> None:
        """Go to a cell of the cohort."""
        if self.opened is not None and 0 <= position < len(self.opened.cohort):
            self.editor.pick(self.opened.population.values[position], position, f"pick {self.opened.cohort.label(position)}")

    def pick_mean(self, column: str = "", value: str = "") -> None:
        """Go to the real cell nearest the mean of a group, or of all cells."""
        from napari_virtual_paint.cells.populations.walks import representative

        opened = self.opened
        if opened is not None:
            self._finding_mean.start_function(
                lambda: representative(opened.population, opened.cohort.group(column, value) if column else None),
                title="Looking for the cell nearest the mean",
                done=self.pick,
            )

    def pick_clicked(self, values: Floats, crop: Floats, caption: str) -> None:
        """Go to a cell that is in no table: it was clicked in an image and measured."""
        key = CLICKED + sum(known >= CLICKED for known in self._reals)
        self._reals[key] = (crop, caption)
        self.editor.pick(values, key, f"pick {caption}")

    def set_feature(self, name: str, value: float) -> None:
        """Move one feature, as its slider does."""
        if self.opened is not None:
            self._typed(self.opened.population.position(name), value)

    def close(self) -> None:
        """Stop all work."""
        self._finding_mean.close()
        self._reading_crop.close()
        self._steps.clear()
        self.measurer.stop()
        self.generator.stop()

    def _connect(self) -> None:
        view, editor = self.view, self.editor
        view.searched.connect(self._search)
        view.changed_only.toggled.connect(self._search)
        view.sliders.began.connect(editor.begin)
        view.sliders.moved.connect(editor.move)
        view.sliders.typed.connect(self._typed)
        view.sliders.resets.connect(editor.reset)
        view.reset.clicked.connect(editor.reset_all)
        view.cells.picked.connect(self.pick)
        view.cells.means.connect(self.pick_mean)
        view.map.view.clicked.connect(self.pick)
        view.picture.picked.connect(self.pick)
        for button, act, can in (
            (view.undo, editor.stack.undo, editor.stack.canUndoChanged),
            (view.redo, editor.stack.redo, editor.stack.canRedoChanged),
        ):
            button.clicked.connect(act)
            can.connect(button.setEnabled)
            button.setEnabled(False)
        editor.changed.connect(self._edited)
        self.generator.generated.connect(self._generated)
        self.generator.distance_known.connect(self._show_distance)
        self.measurer.found.connect(self._measured)
        # Qt flushes the window after the paint event: only in the next turn is the picture on the screen.
        view.picture.drawn.connect(lambda _: QTimer.singleShot(0, self.generator.on_screen))

    @timed
    def _edited(self, index: int) -> None:
        """Show a new vector's numbers at once, and request its picture."""
        vector, facts = self.editor.vector, self.facts
        if vector is None or facts is None:
            return
        self.generator.request(self.editor.version, vector.values, vector.cell)
        self.measurer.hold()
        facts.values, facts.base, facts.moved = vector.values, vector.base, set(vector.moved)
        if facts.measured is not None:
            facts.measured, index = None, -1
            self.view.measured.setText("")
            self.view.meter.show_gain(math.nan)
        self._refresh_soon(index)
        self.view.reset.setEnabled(vector.changed)
        if vector.cell != self.cell:
            self.cell = vector.cell
            self._show_real(vector.cell)

    def _refresh_soon(self, index: int) -> None:
        """Redraw a row (all with -1) together with the picture, or a little later where the picture takes long.

        Under OpenGL each repaint of a dock makes Qt compose the whole window again; with software rendering this takes as long as
        generating the cell, so one repaint shows both.
        """
        waiting = self._late.isActive()
        self._stale = index if not waiting or self._stale == index else -1
        if not waiting:
            self._late.start()

    @timed
    def _refresh(self) -> None:
        self._late.stop()
        self.view.sliders.refresh(self._stale)

    @timed
    def _generated(self, cell: GeneratedCell) -> None:
        self.view.picture.set_made(cell.crop, cell.version, cell.like)
        if self._late.isActive():
            self._refresh()
        if cell.version == self.editor.version and self.opened is not None:
            self.measurer.request(self.opened, cell.crop, cell.version, self.cell if self.cell < CLICKED else -1)

    @timed
    def _show_distance(self, distance: Distance) -> None:
        self.view.meter.show_distance(distance)

    @timed
    def _measured(self, version: int, values: Floats) -> None:
        if version == self.editor.version and self.facts is not None and self.opened is not None:
            self.facts.measured = values
            self._show_gain(values)
            self.view.measured.setText(summary(self.opened, self.facts.values, values, self.facts.moved))
            self.view.sliders.refresh()

    def _show_gain(self, values: Floats) -> None:
        """Show how much of the change the picture shows, against the unchanged picture where that was measured, else the picked cell."""
        vector, opened = self.editor.vector, self.opened
        if vector is None or opened is None:
            return
        if not vector.changed:
            self._measured_base = (vector.cell, values)
        cell, before = self._measured_base or (vector.cell, vector.base)
        before = before if cell == vector.cell else vector.base
        self.view.meter.show_gain(opened.population.gain(vector.base, vector.values, before, values, vector.moved))

    def _typed(self, index: int, value: float) -> None:
        self.editor.begin()
        self.editor.move(index, value)

    @timed
    def _search(self, _on: bool = False) -> None:
        among = None
        if self.view.changed_only.isChecked() and self.facts is not None:
            among = np.flatnonzero(self.facts.values != self.facts.base).tolist()
        self.view.sliders.search(self.view.find.text(), among)

    def _show_real(self, cell: int) -> None:
        """Show the picked cell's own crop: the package's, or cut out of an image that is open in the viewer, or of its file."""
        opened = self.opened
        if opened is None:
            return
        self.view.cells.show_picked(cell)
        if cell < CLICKED and cell not in self._reals:
            caption = f"Real cell {opened.cohort.label(cell).split()[0]}"
            self._reals[cell] = (None if opened.cohort.crops is None else np.asarray(opened.cohort.crops[cell]), caption)
        crop, caption = self._reals[cell]
        self.view.picture.set_real(crop, caption)
        if crop is not None:
            return
        spot, files = layers.crop_of(self.viewer, opened, cell), self._files
        if spot is None and (files is None or not files.named):
            return

        def read() -> Floats | None:
            return layers.crop_at(spot, opened) if spot is not None else files.crop(cell) if files is not None else None

        def found(crop: Floats | None) -> None:
            if crop is not None and self.opened is opened:
                self._reals[cell] = (crop, caption)
                if self.cell == cell:
                    self.view.picture.set_real(crop, caption)

        self._reading_crop.start_function(read, title="Reading the cell's image", done=found)
