"""The Plate dock: the map of wells, the field that is looked at, and the painting of the whole plate."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import napari.viewer
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QFileDialog, QMainWindow

from napari_virtual_paint._napari import run
from napari_virtual_paint._napari.plate_browser import Browser
from napari_virtual_paint._napari.plate_choice import OpenedPlate, PlateChoice, open_chosen, recent
from napari_virtual_paint._napari.plate_load import Batch, Slot, Store, middle
from napari_virtual_paint._napari.plate_mosaic import Mosaic
from napari_virtual_paint._napari.plate_painting import PlatePainting
from napari_virtual_paint._napari.plate_queue import Entry
from napari_virtual_paint._napari.timing import timed
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.plates.show import STATE_COLUMN, Column, Shading, about, columns_of, shade
from napari_virtual_paint.plates.show_fields import PlateImages

PACE = 250
"""Milliseconds between two drawings of the map while a plate is painted, at least."""
TABLES = (".csv", ".tsv", ".txt", ".parquet")
SAID = 6
"""Facts of the open well that are told below the map; its tooltip has all."""


class PlateDock(PlatePainting):
    """The Plate dock.

    Parameters
    ----------
    viewer
        The viewer that shows the fields.

    Attributes
    ----------
    browser
        Goes from field to field.
    mosaic
        Shows several fields side by side.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer: Any = viewer
        self.browser, self.mosaic = Browser(viewer), Mosaic(viewer)
        self._columns: dict[str, Column] = {}
        self._opening: run.Job | None = None
        self._shading: run.Job | None = None
        self._again = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PACE)
        self._timer.timeout.connect(self._shade)
        self.map.about = self._tip
        self.browser.layers.hold = self._hold
        self._join()
        self.setAcceptDrops(True)
        parts = (self.browser, self.mosaic, self.queue)
        self.destroyed.connect(lambda: _let_go(*parts))

    def value(self) -> PlateChoice:
        """Return what is chosen."""
        return self._choice

    def setValue(self, choice: PlateChoice) -> None:  # noqa: N802 - Qt's own way of naming
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
    def plate(self) -> Plate | None:
        """The plate that is shown."""
        return self.opened.plate if self.opened is not None else None

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

    def _open(self, choice: PlateChoice) -> None:
        if self._opening is not None:
            self._opening.cancel()
        self.title.setText(f"Opening {escape(Path(choice.path).name)}…")
        job = self._opening = run.start(
            lambda: open_chosen(choice),
            title=f"Opening {Path(choice.path).name}",
            done=self._show,
            failed=lambda _error: self._show_title(),
            cancelled=self._show_title,
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
            self.browser.layers.forget()
        self.browser.open(Store(self._images(opened.plate)))
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

    # -- going from field to field ------------------------------------------------------------------------------------

    def go_to_well(self, well: str, index: int | None = None) -> None:
        """Open a field of a well: the first, or the one of a number (from 0)."""
        plate = self.plate
        if plate is not None and well in plate.by_well:
            fields = plate.by_well[well]
            self.go_to(fields[min(max(index or 0, 0), len(fields) - 1)])

    def go_to(self, field: Field) -> None:
        """Open a field."""
        plate = self.plate
        if plate is None:
            return
        if self.mosaic.open:
            self.mosaic.close()
        self.map.set_current(field.well)
        fields = plate.by_well[field.well]
        self.set_fields([each.name for each in fields], fields.index(field))
        self._show_place(field)
        self.browser.go(field)

    def step(self, by: int) -> None:
        """Go on by some fields in the order of the plate."""
        plate = self.plate
        if plate is None:
            return
        current = self.browser.field
        at = plate.fields.index(current) + by if current is not None else 0
        if 0 <= at < len(plate.fields):
            self.map.set_selection(())
            self.go_to(plate.fields[at])

    def open_side_by_side(self, wells: Sequence[str]) -> None:
        """Open the same field of several wells side by side; of one well all its fields."""
        plate, store = self.plate, self.browser.store
        if plate is None or store is None:
            return
        some = [plate.by_well[well] for well in wells if well in plate.by_well]
        index = self._index()
        fields = list(some[0]) if len(some) == 1 else [each[min(index, len(each) - 1)] for each in some]
        if len(fields) == 1:
            self.go_to(fields[0])
        elif fields:
            self.browser.stop()
            self.mosaic.show(store, fields, self.browser.layers.there(), self._shown_groups())

    def _shown_groups(self) -> set[Slot] | None:
        """Return the channels that the mosaic shows: those shown, or hidden by it."""
        layers = self.browser.layers.there()
        return self.mosaic.slots() or {slot for slot, layer in layers.items() if layer.visible} or None

    def _index(self) -> int:
        """Return the number of the open field in its well."""
        plate, field = self.plate, self.browser.field
        return plate.by_well[field.well].index(field) if plate is not None and field is not None else 0

    def _keyed(self, well: str) -> None:
        """Follow the keys, once a field is open."""
        if self.browser.field is not None:
            self.go_to_well(well, self._index())

    def _numbered(self, index: int) -> None:
        plate = self.plate
        if plate is not None and self.map.current and index < len(plate.by_well[self.map.current]):
            self.go_to_well(self.map.current, index)

    def _selected(self, wells: tuple[str, ...]) -> None:
        self.form.setWells(len(self.plate.wells) if self.plate is not None else 0, len(wells))
        if wells:
            self.open_side_by_side(wells)
        elif self.mosaic.open and self.browser.field is not None:
            self.go_to(self.browser.field)

    def _toggled(self, group: str, on: bool) -> None:
        if not self.mosaic.open:
            self.browser.layers.show_group(group, on)
            return
        slots = {slot for slot in self.mosaic.offered if slot.group == group}
        more = middle(self.mosaic.offered) if group == "brightfield" else slots
        chosen = (self.mosaic.slots() | more) if on else (self.mosaic.slots() - slots)
        if chosen and self.mosaic.plan is not None and self.browser.store is not None:
            self.mosaic.show(self.browser.store, self.mosaic.plan.fields, self.browser.layers.there(), chosen)

    def _hold(self, on: bool) -> None:
        """Keep the canvas as it is until all layers have their pixels: one drawing, and never two fields at once."""
        window = self.window() if isalive(self) else None
        canvas = window.centralWidget() if isinstance(window, QMainWindow) else None
        if canvas is not None and canvas.updatesEnabled() == on:
            canvas.setUpdatesEnabled(not on)

    @timed
    def _shown(self, batch: Batch) -> None:
        if not isalive(self):
            return
        self.set_groups(self.browser.layers.groups())
        if batch.note:
            self.told.setText(f"⚠ {escape(batch.note)}")

    def _failed_field(self, field: Field, reason: str) -> None:
        if isalive(self):
            self.told.setText(f"⚠ {escape(str(field))}: {escape(reason)}")

    def _show_place(self, field: Field) -> None:
        plate = self.plate
        if plate is None:
            return
        fields = plate.by_well[field.well]
        where = f"field {fields.index(field) + 1} of {len(fields)}" if len(fields) > 1 else ""
        self.place.setText(f"<b>{field.well}</b> {where}")
        facts = about(plate, field.well, self.painted.states, self.painted.rows)
        self.told.setText(" · ".join(f"{escape(name)} <b>{escape(text)}</b>" for name, text in facts[:SAID]))

    def _tip(self, well: str) -> str:
        """Return all that is known of a well, as HTML."""
        plate = self.plate
        if plate is None:
            return ""
        facts = about(plate, well, self.painted.states, self.painted.rows)
        rows = "".join(f"<tr><td>{escape(name)}&nbsp;</td><td>{escape(text)}</td></tr>" for name, text in facts)
        failed = [self.painted.failures[each.key] for each in plate.by_well.get(well, ()) if each.key in self.painted.failures]
        return f"<b>{well}</b><table>{rows}</table>" + "".join(f"<br>⚠ {escape(reason)}" for reason in failed[:3])

    # -- the map's colours --------------------------------------------------------------------------------------------

    def painted_changed(self) -> None:
        """Draw the map anew, soon."""
        super().painted_changed()
        plate, store = self.plate, self.browser.store
        if plate is not None and store is not None:
            images = self._images(plate)
            if (store.images.output, store.images.model) != (images.output, images.model):
                self.browser.store = Store(images)
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

        def work() -> tuple[tuple[Column, ...], Shading]:
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
    def _shaded(self, plate: Plate, columns: tuple[Column, ...], shading: Shading) -> None:
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
        self.map.opened.connect(lambda well: self.go_to_well(well))
        self.map.moved.connect(self._keyed)
        self.map.numbered.connect(self._numbered)
        self.map.selected.connect(self._selected)
        self.field_chosen.connect(self._numbered)
        self.group_toggled.connect(self._toggled)
        self.back.clicked.connect(lambda: self.step(-1))
        self.on.clicked.connect(lambda: self.step(1))
        self.form.failure.connect(self._go_to_failure)
        self.browser.shown.connect(self._shown)
        self.browser.failed.connect(self._failed_field)
        self.browser.layers.visibility.connect(self._visibility)
        self.mosaic.told.connect(self.told.setText)
        self.mosaic.begun.connect(lambda: self.set_groups(self.mosaic.groups()))
        self.queue.stepped.connect(self._stepped)
        for key, by in ((Qt.Key.Key_PageUp, -1), (Qt.Key.Key_PageDown, 1)):
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(partial(self.step, by))

    def _visibility(self) -> None:
        if isalive(self) and not self.mosaic.open:
            self.set_groups(self.browser.layers.groups())

    def _go_to_failure(self, key: str) -> None:
        plate = self.plate
        if plate is not None and key in plate.by_key:
            self.go_to(plate.by_key[key])

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


def _let_go(browser: Browser, mosaic: Mosaic, queue: Any) -> None:
    """End all work once the dock is gone."""
    with contextlib.suppress(RuntimeError):
        for part in (browser, mosaic, queue):
            part.blockSignals(True)
        browser.stop()
        mosaic.stop()
        queue.close()
