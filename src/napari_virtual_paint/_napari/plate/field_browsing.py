"""Browsing a plate: from field to field, several side by side, and which groups of layers are shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QMainWindow

from napari_virtual_paint._napari.plate.field_loader import ChannelSlot, FieldPictures, PictureCache, middle
from napari_virtual_paint._napari.plate.field_view import FieldView
from napari_virtual_paint._napari.plate.mosaic import MosaicView
from napari_virtual_paint._napari.plate.session import PlateSession
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.view.colouring import about, seldom

if TYPE_CHECKING:
    from napari_virtual_paint._napari.plate.panel import PlatePanel

FACTS = 6  # facts of the open well that are written below the map; its tooltip has all


class FieldBrowser(QObject):  # type: ignore[misc]
    """Opens what the user chooses on the map and with the keys.

    Attributes
    ----------
    fields
        Shows one field at a time.
    mosaic
        Shows several fields side by side.
    """

    def __init__(self, session: PlateSession, view: PlatePanel, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.view, self.viewer = session, view, viewer
        self.fields, self.mosaic = FieldView(viewer, self), MosaicView(viewer, self)
        self._fit = True
        view.map.about = self._tooltip
        self.fields.layers.hold = self._hold
        self._connect()

    @property
    def busy(self) -> bool:
        """Whether fields are being read."""
        return self.fields.busy or self.mosaic.busy

    def go_to_well(self, well: str, index: int = 0) -> None:
        """Open a field of a well by its number from 0; the last one where there are fewer."""
        plate = self.session.plate
        if plate is not None and well in plate.by_well:
            fields = plate.by_well[well]
            self.go_to(fields[min(max(index, 0), len(fields) - 1)])

    def go_to(self, field: Field) -> None:
        """Open a field."""
        plate = self.session.plate
        if plate is None:
            return
        self.leave_side_by_side()
        self.view.map.set_current(field.well)
        fields = plate.by_well[field.well]
        self.view.set_fields([each.name for each in fields], fields.index(field))
        self._show_facts(field)
        self.fields.go(field)

    def step(self, by: int) -> None:
        """Go forward by some fields in the order of the plate."""
        plate, current = self.session.plate, self.fields.field
        if plate is None:
            return
        at = plate.fields.index(current) + by if current is not None else 0
        if 0 <= at < len(plate.fields):
            self.view.map.set_selection(())
            self.go_to(plate.fields[at])

    def open_side_by_side(self, wells: Sequence[str]) -> None:
        """Open the same field of several wells side by side; of one well all its fields."""
        plate, store = self.session.plate, self.fields.store
        if plate is None or store is None:
            return
        some = [plate.by_well[well] for well in wells if well in plate.by_well]
        index = self._index()
        fields = list(some[0]) if len(some) == 1 else [each[min(index, len(each) - 1)] for each in some]
        if len(fields) == 1:
            self.go_to(fields[0])
        elif fields:
            self.fields.stop()  # a field that arrived later would cover the mosaic
            self.mosaic.show(store, fields, self.fields.layers.present(), self._shown_slots())

    def leave_side_by_side(self) -> None:
        """Bring back what was shown before several fields were side by side."""
        if self.mosaic.open:
            self.mosaic.close()

    def stop(self) -> None:
        """Stop reading."""
        self.fields.stop()
        self.mosaic.stop()

    def _shown_slots(self) -> set[ChannelSlot] | None:
        """Return the channels that the mosaic shows: those shown, or hidden by it; None where nothing is."""
        layers = self.fields.layers.present()
        return self.mosaic.slots() or {slot for slot, layer in layers.items() if layer.visible} or None

    def _index(self) -> int:
        """Return the number of the open field in its well."""
        plate, field = self.session.plate, self.fields.field
        return plate.by_well[field.well].index(field) if plate is not None and field is not None else 0

    # -- the plate ----------------------------------------------------------------------------------------------------

    def _plate_opened(self, again: bool) -> None:
        plate = self.session.plate
        if plate is None:
            return
        if not again:
            self.mosaic.close(restore=False)
            self.fields.layers.remove()
            self.view.set_groups({})
            self._fit = True
        self.fields.open(PictureCache(self.session.images(plate)))
        self.view.set_fields((), 0)
        self.view.place.setText("")
        self.view.message.setText("Click a well to open it; draw a box to open several side by side.")

    def _painted_changed(self) -> None:
        """Read the field anew where its stains lie in another output."""
        plate, store = self.session.plate, self.fields.store
        if plate is not None and store is not None:
            images = self.session.images(plate)
            # Another output has other stains: no cached picture may be shown.
            if (store.images.output, store.images.model) != (images.output, images.model):
                self.fields.store = PictureCache(images)
                self.fields.again()

    def _field_changed(self, key: str) -> None:
        field, plate = self.fields.field, self.session.plate
        if field is None or plate is None or self.mosaic.open:
            return
        if plate.by_key[key].well == field.well:
            self._show_facts(field)
        if field.key == key and self.session.painted.states.get(key) == "done":
            self.fields.again()

    # -- map, keys and buttons ----------------------------------------------------------------------------------------

    def _moved(self, well: str) -> None:
        """Follow the arrow keys, once a field is open."""
        if self.fields.field is not None:
            self.go_to_well(well, self._index())

    def _numbered(self, index: int) -> None:
        plate, well = self.session.plate, self.view.map.current
        if plate is not None and well and index < len(plate.by_well[well]):
            self.go_to_well(well, index)

    def _selected(self, wells: tuple[str, ...]) -> None:
        plate = self.session.plate
        self.view.form.setWells(len(plate.wells) if plate is not None else 0, len(wells))
        if wells:
            self.open_side_by_side(wells)
        elif self.mosaic.open and self.fields.field is not None:
            self.go_to(self.fields.field)
        else:
            self.leave_side_by_side()

    def _toggled(self, group: str, on: bool) -> None:
        if not self.mosaic.open:
            self.fields.layers.show_group(group, on)
            return
        slots = {slot for slot in self.mosaic.offered if slot.group == group}
        more = middle(self.mosaic.offered) if group == "brightfield" else slots
        chosen = (self.mosaic.slots() | more) if on else (self.mosaic.slots() - slots)
        if chosen and self.mosaic.plan is not None and self.fields.store is not None:
            self.mosaic.show(self.fields.store, self.mosaic.plan.fields, self.fields.layers.present(), chosen)

    def _go_to_failure(self, key: str) -> None:
        plate = self.session.plate
        if plate is not None and key in plate.by_key:
            self.go_to(plate.by_key[key])

    def _hold(self, on: bool) -> None:
        """Keep the canvas from being drawn until all layers have their pixels: one drawing, and never two fields at once."""
        window = self.view.window() if isalive(self.view) else None
        canvas = window.centralWidget() if isinstance(window, QMainWindow) else None
        if canvas is not None and canvas.updatesEnabled() == on:
            canvas.setUpdatesEnabled(not on)

    # -- what is shown ------------------------------------------------------------------------------------------------

    @timed
    def _shown(self, batch: FieldPictures) -> None:
        if self._fit and batch.first:
            self._fit = False
            self.viewer.fit_to_view()
        self.view.set_groups(self.fields.layers.groups())
        if batch.note:
            self.view.message.setText(f"⚠ {escape(batch.note)}")

    def _not_read(self, field: Field, reason: str) -> None:
        self.view.message.setText(f"⚠ {escape(str(field))}: {escape(reason)}")

    def _visibility_changed(self) -> None:
        if not self.mosaic.open:
            self.view.set_groups(self.fields.layers.groups())

    def _show_facts(self, field: Field) -> None:
        plate = self.session.plate
        if plate is None:
            return
        fields = plate.by_well[field.well]
        where = f"field {fields.index(field) + 1} of {len(fields)}" if len(fields) > 1 else ""
        self.view.place.setText(f"<b>{field.well}</b> {where}")
        facts = about(plate, field.well, self.session.painted.states, self.session.painted.rows)
        shown = [f"{escape(name)} <b>{escape(text)}</b>" for name, text in facts if not seldom(name)]
        self.view.message.setText(" · ".join(shown[:FACTS]))

    def _tooltip(self, well: str) -> str:
        """Return all that is known of a well, as HTML."""
        plate, painted = self.session.plate, self.session.painted
        if plate is None:
            return ""
        facts = about(plate, well, painted.states, painted.rows)
        rows = "".join(f"<tr><td>{escape(name)}&nbsp;</td><td>{escape(text)}</td></tr>" for name, text in facts)
        failed = [painted.failures[each.key] for each in plate.by_well.get(well, ()) if each.key in painted.failures]
        return f"<b>{well}</b><table>{rows}</table>" + "".join(f"<br>⚠ {escape(reason)}" for reason in failed[:3])

    def _connect(self) -> None:
        view, fields, session = self.view, self.fields, self.session
        session.plate_opened.connect(self._plate_opened)
        session.painted_changed.connect(self._painted_changed)
        session.field_changed.connect(self._field_changed)
        view.map.opened.connect(self.go_to_well)
        view.map.moved.connect(self._moved)
        view.map.numbered.connect(self._numbered)
        view.map.selected.connect(self._selected)
        view.field_chosen.connect(self._numbered)
        view.group_toggled.connect(self._toggled)
        view.previous.clicked.connect(lambda: self.step(-1))
        view.next.clicked.connect(lambda: self.step(1))
        view.form.failureChosen.connect(self._go_to_failure)
        fields.shown.connect(self._shown)
        fields.failed.connect(self._not_read)
        fields.layers.visibility.connect(self._visibility_changed)
        self.mosaic.message.connect(view.message.setText)
        self.mosaic.begun.connect(lambda: view.set_groups(self.mosaic.groups()))
        for key, by in ((Qt.Key.Key_PageUp, -1), (Qt.Key.Key_PageDown, 1)):
            shortcut = QShortcut(QKeySequence(key), view)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(partial(self.step, by))
