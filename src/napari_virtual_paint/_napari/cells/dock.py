"""The Cells dock: drag a feature and watch the cell that would have it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog

from napari_virtual_paint._napari.cells import layers
from napari_virtual_paint._napari.cells.jobs import gallery_features, measured, write_gallery, write_walk
from napari_virtual_paint._napari.cells.layers import InViewer
from napari_virtual_paint._napari.cells.map import projected
from napari_virtual_paint._napari.cells.shaping import CellsShaping
from napari_virtual_paint._napari.cells.state import CellsState, Opened, describe, listed_models, open_cells
from napari_virtual_paint._napari.cells.walk import Walked, WalkPlan, make_walk
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.errors import VirtualPaintError

if TYPE_CHECKING:
    import napari.viewer

    from napari_virtual_paint.cells.populations.population import Projection

OWN = "The model's own cells"
TABLES = "Tables of cells (*.parquet *.csv *.csv.gz *.tsv *.sqlite *.db);;All files (*)"
MAP_TAB = 3


class CellsDock(CellsShaping):
    """The Cells dock.

    Attributes
    ----------
    in_viewer
        What it has in the viewer: clicks, and the caption of a walk.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.in_viewer = InViewer(viewer, self)
        self._choice = CellsState()
        self._models: list[tuple[str, str, str]] = []
        self._tables: list[str] = []
        self._connect()
        self.set_ready(False)
        self.status.setText("Looking for cell models…")
        self._offer()
        self.start("list", listed_models, "Looking for cell models", self._listed, quiet=True)

    def value(self) -> CellsState:
        """Return what is chosen."""
        return self._choice

    def setValue(self, choice: CellsState) -> None:  # noqa: N802 - Qt's own way of naming
        """Choose; another model or table is opened in the background."""
        before, self._choice = self._choice, choice
        self.follow.setChecked(choice.follow)
        self.difference.setChecked(choice.difference)
        self._offer()
        if (choice.model, choice.table) != (before.model, before.table):
            self._open()
        elif choice.images != before.images:
            self.look_in(choice.images)
        elif choice.hidden != before.hidden and self.opened is not None:
            self.set_channels(self.opened.model.channels, choice.hidden)
            self.picture.set_shown(self.shown_channels())

    def choose(self, **changes: Any) -> None:
        """Change some of the choice, as in ``choose(model="jurkat-cells", follow=True)``."""
        self.setValue(replace(self._choice, **changes))

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
            self.pick(row)
            return

        def look() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            crop = layers.crop_at(spot, opened)
            return measured(opened, crop), crop

        def seen(found: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]) -> None:
            if np.isfinite(found[0]).any() and self.opened is opened:
                self.show_clicked(*found, f"x {spot.x:.0f}, y {spot.y:.0f}")
            else:
                show_error("No cell was found where you clicked; click the middle of a nucleus.")

        self.start("click", look, "Measuring the cell that was clicked", seen)

    def make_walk(self, plan: WalkPlan) -> None:
        """Walk; its steps become layers of the viewer."""
        opened = self.opened
        if opened is not None:
            self.walk.setValue(plan)
            self.start("walk", lambda: (opened, make_walk(opened, plan)), "Walking", lambda found: self._walked(*found))

    def save_walk(self, path: str | Path) -> None:
        """Write the walk as GIF, MP4 or TIFF."""
        opened, walked = self.opened, self.walk.walked
        if opened is not None and walked is not None:
            told = lambda found: show_info(f"The walk is in {found}")  # noqa: E731 - one line says it
            self.start("export", lambda: write_walk(opened, walked, Path(path)), "Writing the walk", told)

    def save_gallery(self, path: str | Path) -> None:
        """Write the gallery of the features selected, moved, or of the usual ones, on the picked cell."""
        opened, shape = self.opened, self.state.shape
        if opened is not None and shape is not None:
            names = gallery_features(opened, self.sliders.selected(), shape.moved)
            base, follow = shape.base, self.state.follow
            told = lambda found: show_info(f"The gallery is in {found}")  # noqa: E731
            self.start("gallery", lambda: write_gallery(opened, names, base, follow, Path(path)), "Drawing the gallery", told)

    def send_to_viewer(self) -> None:
        """Add the generated cell to the viewer."""
        if self.opened is not None and self.picture.made is not None and self.state.shape is not None:
            row = layers.cells_in(self.viewer)
            self.in_viewer.add(layers.cell_layers(self.opened, self.picture.made, self.state.shape.moved, row))

    def show_map(self, kind: str) -> None:
        """Show the population by ``"pca"`` or ``"umap"``; the latter is made in the background, once."""
        opened = self.opened
        if opened is None:
            return
        if kind in self.projections:
            self.map.show_projection(self.projections[kind])
            self.show_on_map()
            self._draw_path()
            return
        title = "UMAP of the cells" if kind == "umap" else "PCA of the cells"
        self.start("map", lambda: (opened, kind, getattr(opened.population, kind)()), title, lambda found: self._mapped(*found))

    def closeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Stop what runs, and leave the viewer alone."""
        self.shut()
        super().closeEvent(event)

    def shut(self) -> None:
        """Stop what runs, and leave the viewer alone."""
        super().shut()
        self.in_viewer.close()

    def _connect(self) -> None:
        self.model.currentIndexChanged.connect(lambda _: self.choose(model=self.model.currentData() or ""))
        self.table.currentIndexChanged.connect(lambda _: self.choose(table=self.table.currentData() or ""))
        self.open_model.clicked.connect(self._open_model)
        self.open_table.clicked.connect(self._open_table)
        self.channels_changed.connect(self._hide)
        self.difference.toggled.connect(self._differ)
        self.follow.toggled.connect(self._follow)
        self.send.clicked.connect(self.send_to_viewer)
        self.gallery.clicked.connect(self._ask_gallery)
        self.cells.picked.connect(self.pick)
        self.cells.means.connect(self.pick_mean)
        self.cells.folders.connect(self._open_images)
        self.cells.picking.connect(self.in_viewer.set_picking)
        self.in_viewer.clicked.connect(self.pick_at)
        self.in_viewer.stepped.connect(self._step_in_viewer)
        self.walk.walks.connect(self.make_walk)
        self.walk.exports.connect(self._ask_export)
        self.walk.steps.connect(self._step_in_dock)
        self.walk.current = self._current
        self.map.view.clicked.connect(self.pick)
        self.map.kinds.connect(self.show_map)
        self.tabs.currentChanged.connect(self._tab_changed)

    def _listed(self, models: list[tuple[str, str, str]]) -> None:
        known = {row[0] for row in self._models}
        self._models = [*(row for row in models if row[0] not in known), *self._models]
        if not self._models:
            self.status.setText("There is no cell model here; train one with 'virtual-paint cells train', or open a package.")
        elif not self._choice.model:
            self.choose(model=self._models[0][0])
        self._offer()

    def _offer(self) -> None:
        """Show the models and tables that can be chosen."""
        choice = self._choice
        if choice.model and choice.model not in {row[0] for row in self._models}:
            self._models.append((choice.model, Path(choice.model).name, choice.model))
        if choice.table and choice.table not in self._tables:
            self._tables.append(choice.table)
        self.set_items(self.model, self._models, choice.model)
        tables = [("", OWN, "Real cells that the model's package brings"), *((path, Path(path).name, path) for path in self._tables)]
        self.set_items(self.table, tables, choice.table)

    def _open_model(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a cell model", "", "Cell models (*.zip)")
        if path:
            self.choose(model=path)

    def _open_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a table of cells", "", TABLES)
        if path:
            self.choose(table=path)

    def _open_images(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "The folder of the table's images", self._choice.images)
        if folder:
            self.choose(images=folder)

    def _open(self) -> None:
        choice = self._choice
        if choice.model:
            self.set_ready(False)
            self.status.setText("Opening the model and its cells…")
            self.status.show()
            self.start("open", lambda: open_cells(choice), "Opening cells", self._show)

    @timed
    def _show(self, opened: Opened) -> None:
        """Show what was opened, a part a turn of the event loop."""
        self.projections = {}
        row = describe(opened.model)
        self._models = [(known[0], row[1], row[2]) if known[0] == opened.choice.model else known for known in self._models]
        self._offer()
        self.set_channels(opened.model.channels, self._choice.hidden)
        self._turns.add(
            lambda: self.sliders.tree.set_features(opened.features),
            lambda: self.show_cells(opened),
            lambda: self.picture.set_shown(self.shown_channels()),
            lambda: self.cells.open(opened),
            lambda: self.cells.show_picked(self._cell),
            lambda: self.walk.open(opened),
            lambda: self.map.set_groups({name: opened.cohort.texts(name) for name in opened.cohort.groupings}, opened.cohort.groupings),
            lambda: self._tab_changed(self.tabs.currentIndex()),
            lambda: self.status.hide(),
            lambda: self.set_ready(True),
        )

    def _failed(self, kind: str) -> None:
        if kind in ("list", "open"):
            self.status.setText("Choose a model, and cells that have its features.")
            self.status.show()
            self.set_ready(self.opened is not None)

    def _hide(self, shown: tuple[bool, ...]) -> None:
        if self.opened is not None:
            channels = self.opened.model.channels
            self._choice = replace(self._choice, hidden=tuple(name for name, on in zip(channels, shown, strict=True) if not on))

    def _differ(self, on: bool) -> None:
        self._choice = replace(self._choice, difference=on)
        self.picture.set_apart(on)

    def _follow(self, on: bool) -> None:
        self._choice = replace(self._choice, follow=on)
        self.state.set_follow(on)

    def _tab_changed(self, tab: int) -> None:
        if tab == MAP_TAB:
            self.show_map(self.map.kind.currentData())

    @timed
    def _mapped(self, opened: Opened, kind: str, projection: Projection) -> None:
        if self.opened is opened:
            self.projections[kind] = projection
            if self.map.kind.currentData() == kind:
                self.show_map(kind)

    @timed
    def _walked(self, opened: Opened, walked: Walked) -> None:
        if self.opened is opened:
            self.walk.show_walk(walked, opened)
            self.in_viewer.show_walk(layers.walk_layers(opened, walked.frames, walked.walk.ends), walked.walk.captions)
            self._step_in_dock(0)
            self._draw_path()

    def _draw_path(self) -> None:
        """Draw the walk on the map; UMAP needs a while to place it."""
        walked, projection = self.walk.walked, self.map.projection
        if walked is None or projection is None or self.opened is None:
            return
        if projection.name == "PCA":
            self.map.view.show_path(projection.project(walked.walk.values))
        else:
            population = self.opened.population
            place = lambda: projected(projection, walked.walk.values, population)  # noqa: E731 - one line says it
            self.start("path", place, "Placing the walk", self.map.view.show_path, quiet=True)

    def _step_in_dock(self, step: int) -> None:
        if self.walk.walked is not None:
            self.state.put(self.walk.walked.walk.values[step], "step of the walk")
            self.in_viewer.show_step(step)

    def _step_in_viewer(self, step: int) -> None:
        if self.walk.walked is not None and self.walk.slider.value() != step:
            self.walk.show_step(step)
            self.state.put(self.walk.walked.walk.values[step], "step of the walk")

    def _current(self) -> tuple[int, str] | None:
        """Return the picked cell, if it is one of the cohort."""
        if self.opened is None or not 0 <= self._cell < len(self.opened.cohort):
            return None
        return self._cell, f"#{self.opened.cohort.rows[self._cell]}"

    def _ask_export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Export the walk", "walk.gif", "Walks (*.gif *.mp4 *.ome.tif *.tif)")
        if path:
            self.save_walk(path)

    def _ask_gallery(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the feature gallery", "gallery.png", "Figures (*.png *.pdf *.svg)")
        if path:
            self.save_gallery(path)
