"""The Cells dock: drag a feature and see the cell that would have it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_virtual_paint._napari.cells import layers
from napari_virtual_paint._napari.cells.feature_vector import VectorEditor
from napari_virtual_paint._napari.cells.gallery_dialog import GalleryDialog
from napari_virtual_paint._napari.cells.group import GroupController
from napari_virtual_paint._napari.cells.jobs import Gallery, draw_gallery, gallery_features, measured, write_gallery
from napari_virtual_paint._napari.cells.layers import InViewer
from napari_virtual_paint._napari.cells.map import MapController
from napari_virtual_paint._napari.cells.panel import CellsPanel
from napari_virtual_paint._napari.cells.shaping import ShapingController
from napari_virtual_paint._napari.cells.slider_row import number
from napari_virtual_paint._napari.cells.state import CellsState, Opened, describe, listed_models, open_cells
from napari_virtual_paint._napari.cells.train_dialog import CellTrainDialog
from napari_virtual_paint._napari.cells.walk import WalkController
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.closing import delete_when_removed
from napari_virtual_paint._napari.shared.dock_area import join_tabs
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.jobs import failure_sentence
from napari_virtual_paint._napari.shared.saving import saving
from napari_virtual_paint._napari.shared.viewer.layer_list import guard_removals
from napari_virtual_paint._napari.shared.widgets import fill_height, set_choices
from napari_virtual_paint.errors import MissingFeaturesError, VirtualPaintError

if TYPE_CHECKING:
    import napari.viewer

OWN = "The model's own cells"
TABLES = "Tables of cells (*.parquet *.csv *.csv.gz *.tsv *.sqlite *.db);;All files (*)"
GROUP_TAB, WALK_TAB, MAP_TAB = 2, 3, 4


class CellsDock(QWidget):  # type: ignore[misc]
    """The Cells dock.

    Attributes
    ----------
    view
        Its widgets, which edit the `CellsState`.
    editor
        The feature vector that is edited.
    shaping, group, walks, map
        Controllers: of the edited cell, of a shifted group, of walks, and of the map of the population.
    in_viewer
        What it has in the viewer: clicks, and the caption of a walk.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        guard_removals(viewer)
        join_tabs(self, "Cells")
        delete_when_removed(self, self.shut)
        self.viewer = viewer
        self.view = CellsPanel()
        self.editor = VectorEditor(self)
        self.in_viewer = InViewer(viewer, self)
        self.shaping = ShapingController(self.view, self.editor, viewer, self)
        self.group = GroupController(self.view.group, self.editor, self.in_viewer, self)
        self.walks = WalkController(self.view.walk, self.editor, self.in_viewer, self)
        self.map = MapController(self.view.map, self.editor, self)
        self._listing, self._opening, self._clicking, self._drawing = (LatestJob(self) for _ in range(4))
        self._jobs = (self._listing, self._opening, self._clicking, self._drawing)
        self._steps = StepQueue()
        self._misfit = ""  # a table that has too few of the model's features
        self._models: list[tuple[str, str, str]] = []
        self._tables: list[str] = []
        self._gallery: Gallery | None = None
        self.gallery_dialog: GalleryDialog | None = None
        self._training: CellTrainDialog | None = None
        self._applied = self.view.value()
        self.editor.set_follow(self._applied.follow)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self.view)
        fill_height(self)
        self._connect()
        self.view.set_ready(False)
        self.view.set_status("Looking for cell models…")
        self._offer()
        self._listing.start_function(listed_models, title="Looking for cell models", done=self._listed, failed=self._not_opened)

    def value(self) -> CellsState:
        """Return the state."""
        return self.view.value()

    def setValue(self, state: CellsState) -> None:  # noqa: N802 - Qt's own way of naming
        """Apply another state; another model or table is opened in the background."""
        self.view.setValue(state)

    def choose(self, **changes: Any) -> None:
        """Change some of the state, as in ``choose(model="jurkat-cells", follow=True)``."""
        self.setValue(replace(self.value(), **changes))

    @property
    def opened(self) -> Opened | None:
        """The model and cells that are shown; None until the first are open."""
        return self.shaping.opened

    @property
    def busy(self) -> bool:
        """Whether a requested result is still missing."""
        return any(job.running for job in self._jobs) or any(part.busy for part in (self.shaping, self.group, self.walks, self.map))

    def pick_at(self, position: Any) -> None:
        """Go to the cell at a place in the viewer (world coordinates): the table's row there, else it is measured."""
        opened = self.opened
        if opened is None:
            return
        try:
            spot = layers.spot_of(self.viewer, opened.model.channels, position)
        except VirtualPaintError as error:
            show_error(str(error))
            return
        row = layers.row_at(spot, opened)
        if row is not None:
            self.shaping.pick(row)
            return

        def measure() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            crop = layers.crop_at(spot, opened)
            return measured(opened, crop), crop

        def done(found: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]) -> None:
            if np.isfinite(found[0]).any() and self.opened is opened:
                self.shaping.pick_clicked(*found, f"x {spot.x:.0f}, y {spot.y:.0f}")
            else:
                show_error("No cell was found where you clicked; click the middle of a nucleus.")

        self._clicking.start_function(measure, title="Measuring the cell that was clicked", done=done, quiet=False)

    def show_gallery(self) -> None:
        """Draw the gallery of the features selected, moved, or of the usual ones, on the picked cell, and show it in a window."""
        opened, vector = self.opened, self.editor.vector
        if opened is not None and vector is not None:
            names, state = gallery_features(opened, self.view.sliders.selected(), vector.moved), self.value()
            self._drawing.start_function(
                lambda: draw_gallery(opened, names, vector.base, state.follow, state.seed),
                title="Drawing the gallery",
                done=self._gallery_drawn,
                quiet=False,
            )

    def save_gallery(self, path: str | Path) -> None:
        """Write the gallery that was drawn last."""
        drawn, opened = self._gallery, self.opened
        if drawn is not None and opened is not None:
            self._drawing.start_function(
                saving(path, lambda: write_gallery(drawn, path), opened.choice.table or None),
                title="Saving the gallery",
                done=lambda found: show_info(f"The gallery is in {found}"),
            )

    def send_gallery(self) -> None:
        """Add the cells of the gallery that was drawn last to the viewer, in a grid."""
        drawn, opened = self._gallery, self.opened
        if drawn is not None and opened is not None:
            swept = drawn.swept
            labels = [
                [f"{percent:g} %: {number(float(value))}" for percent, value in zip(swept.percentiles, row, strict=True)]
                for row in swept.values
            ]
            rows = [name.replace("_", " ") for name in swept.features]
            made = layers.grid_layers(opened, swept.cells, "gallery", drawn.provenance, rows, labels)
            self.in_viewer.add_whole(made, self.editor.stack, "add the gallery")

    def _gallery_drawn(self, drawn: Gallery) -> None:
        self._gallery = drawn
        self.gallery_dialog = GalleryDialog(drawn.picture, self)
        self.gallery_dialog.saved.connect(self.save_gallery)
        self.gallery_dialog.sent.connect(self.send_gallery)
        self.gallery_dialog.show()

    def send_to_viewer(self) -> None:
        """Add the generated cell to the viewer."""
        if self.opened is not None and self.view.picture.made is not None and self.editor.vector is not None:
            row = layers.cells_in(self.viewer)
            moved, seed = self.editor.vector.moved, self.value().seed
            self.in_viewer.add(layers.cell_layers(self.opened, self.view.picture.made, moved, row, seed))

    def train_on_table(self, table: str = "") -> CellTrainDialog:
        """Open the dialog that trains a model on a table, and return it; the model opens here once it is trained."""
        if self._training is None:
            self._training = CellTrainDialog(self)
            self._training.trained.connect(self._use_trained)
        if table and not self._training.running:
            self._training.open_table(table)
        self._training.show()
        self._training.raise_()
        return self._training

    def _use_trained(self, package: str) -> None:
        """Open a model that was trained, with its own cells."""
        self._listing.start_function(listed_models, title="Looking for cell models", done=self._listed)
        self.choose(model=package, table="")

    def closeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Stop all work, and leave the viewer alone."""
        self.shut()
        super().closeEvent(event)

    def shut(self) -> None:
        """Stop all work, and leave the viewer alone."""
        for job in self._jobs:
            job.close()
        if self._training is not None:
            self._training.shut()
        self._steps.clear()
        for part in (self.shaping, self.group, self.walks, self.map, self.in_viewer):
            part.close()

    def _connect(self) -> None:
        view = self.view
        view.shown.connect(self._apply)
        view.open_model.clicked.connect(lambda: self._choose_file("model", "Open a cell model", "Cell models (*.zip)"))
        view.open_table.clicked.connect(lambda: self._choose_file("table", "Open a table of cells", TABLES))
        view.train.clicked.connect(lambda _checked: self.train_on_table(self.value().table))
        view.offer.clicked.connect(lambda _checked: self.train_on_table(self._misfit))
        view.send.clicked.connect(self.send_to_viewer)
        view.another.clicked.connect(lambda _checked: self.choose(seed=self.value().seed + 1))
        view.gallery.clicked.connect(lambda _checked: self.show_gallery())
        view.cells.folders.connect(self._choose_images)
        view.cells.picking.connect(self.in_viewer.set_picking)
        view.tabs.currentChanged.connect(self._tab_changed)
        self.in_viewer.clicked.connect(self.pick_at)
        self.walks.made.connect(self.map.show_path)

    @timed
    def _apply(self, state: CellsState) -> None:
        """Follow the state, whoever changed it."""
        before, self._applied = self._applied, state
        self._offer()
        if state.follow != before.follow:
            self.editor.set_follow(state.follow)
            self.view.walk.follow = state.follow
            self.group.set_follow(state.follow)
        if state.seed != before.seed:
            self.view.walk.seed = state.seed
            self.shaping.set_seed(state.seed)
            self.group.set_seed(state.seed)
        if state.difference != before.difference:
            self.view.picture.set_apart(state.difference)
        if (state.model, state.table) != (before.model, before.table):
            self._open(state)
        elif state.images != before.images:
            self.shaping.look_in(state.images)
        if state.hidden != before.hidden and self.opened is not None:
            self._show_channels()

    def _listed(self, models: list[tuple[str, str, str]]) -> None:
        known = {row[0] for row in self._models}
        self._models = [*(row for row in models if row[0] not in known), *self._models]
        if not self._models:
            self.view.set_status("There is no cell model here; train one with 'virtual-paint cells train', or open a package.")
        elif not self.value().model:
            self.choose(model=self._models[0][0])
        self._offer()

    def _offer(self) -> None:
        """Offer the models and tables that can be chosen."""
        state = self.value()
        if state.model and state.model not in {row[0] for row in self._models}:
            self._models.append((state.model, Path(state.model).name, state.model))
        if state.table and state.table not in self._tables:
            self._tables.append(state.table)
        set_choices(self.view.model, self._models, state.model)
        tables = [("", OWN, "Real cells that the model's package brings"), *((path, Path(path).name, path) for path in self._tables)]
        set_choices(self.view.table, tables, state.table)

    def _open(self, state: CellsState) -> None:
        if state.model:
            self.view.set_ready(False)
            self.view.set_status("Opening the model and its cells…")
            self._opening.start_function(
                lambda: open_cells(state), title="Opening cells", done=self._show, failed=self._not_opened, quiet=False
            )

    def _not_opened(self, error: BaseException) -> None:
        """Say why, and go back to the model and cells that are shown, if there are any: the choice must never name others."""
        self.view.set_status(failure_sentence("Opening cells", error))
        self._misfit = self.value().table if isinstance(error, MissingFeaturesError) else ""
        self.view.offer.setVisible(bool(self._misfit))
        self.view.set_ready(self.opened is not None)
        if self.opened is not None:
            choice = self.opened.choice
            self._applied = replace(self.value(), model=choice.model, table=choice.table, images=choice.images)
            self.view.setValue(self._applied)

    @timed
    def _show(self, opened: Opened) -> None:
        """Show what was opened, a part in each turn of the event loop."""
        view, row = self.view, describe(opened.model)
        self._models = [(known[0], row[1], row[2]) if known[0] == opened.choice.model else known for known in self._models]
        self._offer()
        view.set_channels(opened.model.channels)
        self._steps.add(
            lambda: view.sliders.tree.set_features(opened.features),
            lambda: self.map.open(opened),
            lambda: self.shaping.open(opened),
            lambda: view.cells.open(opened),
            lambda: view.cells.show_picked(self.shaping.cell),
            lambda: self.walks.open(opened),
            lambda: self.group.open(opened),
            self._show_channels,
            lambda: self._tab_changed(view.tabs.currentIndex()),
            lambda: view.set_status(""),
            view.offer.hide,
            lambda: view.set_ready(True),
        )

    def _show_channels(self) -> None:
        shown = self.view.shown_channels()
        self.view.picture.set_shown(shown)
        self.view.group.view.set_shown(shown)

    def _tab_changed(self, tab: int) -> None:
        if tab == MAP_TAB:
            self.map.show()
        if tab == GROUP_TAB:
            self.group.show()
        else:
            self.group.hide()

    def _choose_file(self, field: str, title: str, kinds: str) -> None:
        path, _ = QFileDialog.getOpenFileName(self, title, "", kinds)
        if path:
            self.choose(**{field: path})

    def _choose_images(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "The folder of the table's images", self.value().images)
        if folder:
            self.choose(images=folder)
