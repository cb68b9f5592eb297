"""The Plate dock: the map of wells, the field that is looked at, and the painting of the whole plate."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import napari.viewer
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_virtual_paint._napari.plate.browser import Browser
from napari_virtual_paint._napari.plate.field_browsing import PlateLooking
from napari_virtual_paint._napari.plate.field_loader import PictureCache
from napari_virtual_paint._napari.plate.mosaic import MosaicView
from napari_virtual_paint._napari.plate.paint_queue import Entry
from napari_virtual_paint._napari.plate.state import OpenedPlate, PlateState, open_chosen, recent
from napari_virtual_paint._napari.shared import jobs as run
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.view.colouring import STATE_COLUMN, ColourKey, Shading, columns_of, shade
from napari_virtual_paint.plates.view.images import PlateImages

PACE = 250
"""Milliseconds between two drawings of the map while a plate is painted, at least."""
TABLES = (".csv", ".tsv", ".txt", ".parquet")


class PlateDock(PlateLooking):
    """The Plate dock.

    Parameters
    ----------
    viewer
        The viewer that shows the fields.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._columns: dict[str, ColourKey] = {}
        self._opening: run.Job | None = None
        self._shading: run.Job | None = None
        self._again = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PACE)
        self._timer.timeout.connect(self._shade)
        self._join()
        self.setAcceptDrops(True)
        parts = (self.browser, self.mosaic, self.queue)
        self.destroyed.connect(lambda: _let_go(*parts))

    def value(self) -> PlateState:
        """Return what is chosen."""
        return self._choice

    def setValue(self, choice: PlateState) -> None:  # noqa: N802 - Qt's own way of naming
        """Choose; another plate or plate map is opened in the background."""
        before = self._choice
        if (choice.path, choice.plate_map) != (before.path, before.plate_map) and choice.path:
            self._open(choice)
            return
        self._take(choice)
        if choice.column != before.column:
            self._shade()

    def choose(self, **changes: Any) -> None:
        """Change some of the choice, as in ``choose(column="pcc_DNA", workers=2)``."""
        self.setValue(replace(self._choice, **changes))

    @property
    def busy(self) -> bool:
        """Whether something is being opened, read or drawn (painting is the queue's)."""
        jobs = (self._opening, self._shading, self._looking)
        return any(job is not None and job.running for job in jobs) or self._timer.isActive() or self.browser.busy or self.mosaic.busy

    # -- opening ------------------------------------------------------------------------------------------------------

    def open_plate(self, path: str | Path, plate_map: str | Path = "", output: str | Path = "") -> None:
        """Open a plate in the background.

        Parameters
        ----------
        path
            What `plates.opening.open_plate` takes; or the output of a painting, which shows the plate that it is painted from.
        plate_map
            A table of what is in the wells.
        output
            What it is painted into.
        """
        self._open(replace(self._choice, path=str(path), plate_map=str(plate_map), output=str(output)))

    def _open(self, choice: PlateState) -> None:
        if self._opening is not None:
            self._opening.cancel()
        self.title.setText(f"Opening {escape(Path(choice.path).name)}…")
        job = self._opening = run.start(
            lambda: open_chosen(choice),
            title=f"Opening {Path(choice.path).name}",
            done=self._show,
            failed=lambda _error: self._show_title(),
            cancelled=self._show_title,
            quiet=True,  # the title tells; a bar of napari's takes longer than our turn
        )
        job.ended.connect(lambda: self._opening_ended(job))

    def _opening_ended(self, job: run.Job) -> None:
        if job is self._opening:
            self._opening = None

    @timed
    def _show(self, opened: OpenedPlate) -> None:
        """Show a plate that was opened."""
        if not isalive(self):
            return
        again = self.plate is not None and opened.plate.source == self.plate.source
        choice = opened.choice
        live = self._live(opened.plate.source, opened.plate.source if choice.kind == "in-place" else choice.output)
        self.opened = opened if live is None else OpenedPlate(choice, opened.plate, live)
        self._choice = replace(self._choice, path=choice.path, plate_map=choice.plate_map, output=choice.output, kind=choice.kind)
        if not again:
            self.mosaic.close(restore=False)
            self.browser.layers.remove()
            self._fit = True
        self.browser.open(PictureCache(self._images(opened.plate)))
        self.map.set_plate(opened.plate)
        self.form.setWells(len(opened.plate.wells), 0)
        self.set_fields((), 0)
        self.place.setText("")
        self.told.setText("Click a well to open it; draw a box to open several side by side.")
        for button in (self.back, self.on):
            button.setEnabled(True)
        self._show_title()
        self._adopt_model()
        self.painted_changed()
        self._shade()

    def _images(self, plate: Plate) -> PlateImages:
        """Return the images of a plate, and of what it is painted into."""
        choice, model = self._choice, self.model
        if choice.kind == "in-place":
            return PlateImages(plate, None, self.painted.model or (model.info.id if model is not None else ""))
        return PlateImages(plate, choice.output or None)

    def _show_title(self) -> None:
        plate = self.plate
        if plate is None:
            self.title.setText("Open a plate, or drop its folder here.")
            return
        several = f" · {len(plate.acquisitions)} acquisitions" if len(plate.acquisitions) > 1 else ""
        warn = " ⚠" if plate.notes else ""
        self.title.setText(f"<b>{escape(plate.name)}</b> · {len(plate.wells)} wells · {len(plate.fields)} fields{several}{warn}")
        self.title.setToolTip("\n".join([plate.source, f"Layout: {plate.layout}", *plate.notes]))

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802
        """Take files and folders."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: N802
        """Open the plate that was dropped; a table dropped onto an open plate tells what is in its wells."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if not paths:
            return
        event.acceptProposedAction()
        path = paths[0]
        if self.opened is not None and path.suffix.casefold() in TABLES and not _lists_images(path):
            self.join_map(path)
        else:
            self.open_plate(path)

    def join_map(self, path: str | Path) -> None:
        """Join a table of what is in the wells to the plate that is shown."""
        if self._choice.path:
            self._open(replace(self._choice, plate_map=str(path)))

    # -- the map's colours --------------------------------------------------------------------------------------------

    def painted_changed(self) -> None:
        """Draw the map anew, soon."""
        super().painted_changed()
        plate, store = self.plate, self.browser.store
        if plate is not None and store is not None:
            images = self._images(plate)
            if (store.images.output, store.images.model) != (images.output, images.model):
                self.browser.store = PictureCache(images)
                self.browser.again()
        if not self._timer.isActive():
            self._timer.start()

    def _stepped(self, entry: Entry, key: str) -> None:
        """Follow the painting: the map, the list of failures, and the field that is looked at."""
        if not isalive(self) or self.opened is None or entry.painted is not self.opened.painted:
            return
        if not self._timer.isActive():
            self._timer.start()
        field = self.browser.field
        if field is not None and field.key == key and entry.painted.states.get(key) == "done" and not self.mosaic.open:
            self.browser.again()
        if entry.painted.states.get(key) == "failed":
            self._tell()

    @timed
    def _shade(self) -> None:
        """Work the colours out, on a worker; one such job at a time."""
        opened = self.opened
        if opened is None:
            return
        if self._shading is not None:
            self._again = True
            return
        plate, key = opened.plate, self._choice.column
        states, rows = dict(opened.painted.states), dict(opened.painted.rows)

        def work() -> tuple[tuple[ColourKey, ...], Shading]:
            columns = columns_of(plate, rows)
            chosen = next((column for column in columns if column.key == key), columns[0])
            return columns, shade(plate, chosen, states, rows)

        self._shading = run.start_function(
            work,
            title="Colouring the map",
            done=lambda found: self._shaded(opened.plate, *found),
            failed=lambda _error: self._shading_over(),
            quiet=True,
        )

    @timed
    def _shaded(self, plate: Plate, columns: tuple[ColourKey, ...], shading: Shading) -> None:
        if not isalive(self):
            return
        if plate is self.plate:
            self._columns = {column.key: column for column in columns}
            self.set_columns(columns, shading.column.key)
            self.map.set_shading(shading)
            self.legend.set_shading(shading)
        self._shading_over()

    def _shading_over(self) -> None:
        self._shading = None
        if self._again:
            self._again = False
            self._shade()

    def _column_chosen(self, _index: int) -> None:
        self._choice = replace(self._choice, column=self.column.currentData() or STATE_COLUMN)
        self._shade()

    # -- wiring -------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        self.menu.aboutToShow.connect(self._fill_menu)
        self.column.currentIndexChanged.connect(self._column_chosen)
        self.queue.stepped.connect(self._stepped)

    def _fill_menu(self) -> None:
        self.menu.clear()
        self.menu.addAction("Plate folder…", self._ask_folder)
        self.menu.addAction("Plate file…", self._ask_file)
        joined = self.menu.addAction("Plate map…", self._ask_map)
        joined.setEnabled(self.opened is not None)
        paths = recent()
        if paths:
            self.menu.addSeparator()
        for path in paths:
            action = self.menu.addAction(Path(path).name, partial(self.open_plate, path))
            action.setToolTip(path)
        self.menu.setToolTipsVisible(True)

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a plate (or a painted one, to go on with it)")
        if path:
            self.open_plate(path)

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a plate", "", "Plates (*.xml *.HTD *.htd *.mlf *.mrf *.xdce *.csv *.tsv *.parquet);;All files (*)"
        )
        if path:
            self.open_plate(path)

    def _ask_map(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Join a plate map", "", "Tables (*.csv *.tsv *.txt *.parquet)")
        if path:
            self.join_map(path)


def _lists_images(path: Path) -> bool:
    """Whether a table lists images (a plate of its own), by its first line."""
    if path.suffix.casefold() == ".parquet":
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.readline(20_000).casefold()
    except OSError:
        return False
    return any(word in head for word in ("filename_", "pathname_", "url_", "image_file", "path"))


def _let_go(browser: Browser, mosaic: MosaicView, queue: Any) -> None:
    """End all work once the dock is gone."""
    with contextlib.suppress(RuntimeError):
        for part in (browser, mosaic, queue):
            part.blockSignals(True)
        browser.stop()
        mosaic.stop()
        queue.close()
