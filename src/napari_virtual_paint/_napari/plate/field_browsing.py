"""The Plate dock's part that looks: going from field to field, several side by side, groups of layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QMainWindow

from napari_virtual_paint._napari.plate.browser import Browser
from napari_virtual_paint._napari.plate.field_loader import ChannelSlot, FieldPictures, middle
from napari_virtual_paint._napari.plate.mosaic import MosaicView
from napari_virtual_paint._napari.plate.paint_controller import PlatePainting
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.plates.view.colouring import about

DULL = ("seed",)
SAID = 6
"""Facts of the open well that are told below the map; its tooltip has all."""


class PlateLooking(PlatePainting):
    """What looks at fields; `plate.PlateDock` adds opening and the map's colours.

    Attributes
    ----------
    browser
        Goes from field to field.
    mosaic
        Shows several fields side by side.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self.browser, self.mosaic = Browser(viewer), MosaicView(viewer)
        self._fit = True
        self.map.about = self._tip
        self.browser.layers.hold = self._hold
        self._join_fields()

    @property
    def plate(self) -> Plate | None:
        """The plate that is shown."""
        return self.opened.plate if self.opened is not None else None

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

    def _shown_groups(self) -> set[ChannelSlot] | None:
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
    def _shown(self, batch: FieldPictures) -> None:
        if not isalive(self):
            return
        if self._fit and batch.first:
            self._fit = False
            self.viewer.fit_to_view()
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
        self.told.setText(" · ".join([f"{escape(name)} <b>{escape(text)}</b>" for name, text in facts if name not in DULL][:SAID]))

    def _tip(self, well: str) -> str:
        """Return all that is known of a well, as HTML."""
        plate = self.plate
        if plate is None:
            return ""
        facts = about(plate, well, self.painted.states, self.painted.rows)
        rows = "".join(f"<tr><td>{escape(name)}&nbsp;</td><td>{escape(text)}</td></tr>" for name, text in facts)
        failed = [self.painted.failures[each.key] for each in plate.by_well.get(well, ()) if each.key in self.painted.failures]
        return f"<b>{well}</b><table>{rows}</table>" + "".join(f"<br>⚠ {escape(reason)}" for reason in failed[:3])

    def _visibility(self) -> None:
        if isalive(self) and not self.mosaic.open:
            self.set_groups(self.browser.layers.groups())

    def _go_to_failure(self, key: str) -> None:
        plate = self.plate
        if plate is not None and key in plate.by_key:
            self.go_to(plate.by_key[key])

    def _join_fields(self) -> None:
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
        for key, by in ((Qt.Key.Key_PageUp, -1), (Qt.Key.Key_PageDown, 1)):
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(partial(self.step, by))
