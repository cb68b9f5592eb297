"""The link of the Profile dock with the Plate dock: both mark the same wells, and the field of a point is opened there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_virtual_paint._napari.commands import find_dock, open_dock
from napari_virtual_paint._napari.plate.dock import PlateDock
from napari_virtual_paint._napari.plate.field_loader import FieldPictures
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed

FIND = 700  # milliseconds between two searches for a Plate dock, while there is none
STAINED = ("true", "painted")  # groups of layers, one of which a point shows
WAIT = 100  # milliseconds between two checks whether the plate has been opened


class PlateLink(QObject):  # type: ignore[misc]
    """Follows the Plate dock of a viewer, where it shows the plate of the report, and marks wells in it.

    Signals report what the user does in the Plate dock; what the link itself does there it does not report, so nothing goes in circles.

    Signals
    -------
    selection_changed
        The wells that are selected in the map now.
    well_changed
        The current well.
    problem
        Why a well can't be shown.
    """

    selection_changed = Signal(tuple)
    well_changed = Signal(str)
    problem = Signal(str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self.dock: PlateDock | None = None
        self._plate, self._plate_map = "", ""
        self._marked: tuple[str, ...] = ()
        self._well = ""
        self._target: tuple[str, str] | None = None
        self._group = ""
        self._steps, self._showing = StepQueue(), False
        self._timer = QTimer(self)
        self._timer.setInterval(FIND)
        self._timer.timeout.connect(self.find)
        self._waiting = QTimer(self)
        self._waiting.setInterval(WAIT)
        self._waiting.timeout.connect(self._arrive)

    @property
    def busy(self) -> bool:
        """Whether a field is waiting for its plate, or its stains are being shown."""
        return bool(self._waiting.isActive()) or self._showing

    @property
    def linked(self) -> bool:
        """Whether the Plate dock shows the plate of the report."""
        plate = self.dock.plate if self.dock is not None and isalive(self.dock) else None
        return plate is not None and _same(plate.source, self._plate)

    def follow(self, plate: str, plate_map: str = "") -> None:
        """Follow a plate, by its path."""
        self._plate, self._plate_map, self._marked, self._well, self._target = plate, plate_map, (), "", None
        self._waiting.stop()
        self.find()
        self._timer.start()
        self._pull()

    @timed
    def find(self) -> None:
        """Connect to the Plate dock, if there is one by now."""
        if self.dock is not None and isalive(self.dock):
            return
        self.dock = find_dock(self.viewer, "Plate")
        if self.dock is not None:
            well_map = self.dock.view.map
            for signal in (well_map.selected, well_map.opened, well_map.moved, self.dock.browsing.fields.went):
                signal.connect(self._pull)
            self.dock.browsing.fields.shown.connect(self._show_group)
            self._push()

    def mark(self, wells: Sequence[str]) -> None:
        """Select wells in the map, without opening them."""
        self._marked = tuple(wells)
        self._push()

    def open(self, well: str, output: str = "", *, painted: bool = False) -> None:
        """Open a well's first field in the Plate dock with its predicted stains, and before that the dock and the plate.

        Parameters
        ----------
        output
            Path of the predicted stains; that of the plate where they were painted into it; empty to leave them as they are.
        painted
            Whether to show the predicted or the true stains; where both are shown, both stay.
        """
        self.find()
        if not self._plate or not Path(self._plate).exists():
            self.problem.emit(
                f"The images are not at {self._plate or 'a path that the report names'} any more; put their plate back there."
            )
            return
        if self.dock is None:
            open_dock("Plate")
            self.find()
        if self.dock is None:
            return
        self._target, self._group = (well, output), "painted" if painted else "true"
        if not self.linked:
            own = not output or _same(output, self._plate)
            self.dock.open_plate(self._plate, self._plate_map, "" if own else output)
        self._waiting.start()
        self._arrive()

    def open_many(self, wells: Sequence[str]) -> None:
        """Open wells side by side, where the plate is shown."""
        if self.linked and self.dock is not None:
            self.dock.browsing.open_side_by_side(wells)

    @timed
    def _arrive(self) -> None:
        """Go to the field once its plate is open; give up where it could not be opened, which the Plate dock reports."""
        dock, target = self.dock, self._target
        if dock is None or target is None or not isalive(dock):
            self._waiting.stop()
            return
        if not self.linked:
            if not dock.busy:
                self._waiting.stop()
            return
        self._waiting.stop()
        self._target = None
        well, output = target
        if dock.plate is not None and well not in dock.plate.by_well:
            self.problem.emit(f"Well {well} has no image in {dock.plate.name}.")
            return
        self._show_output(dock, output)
        self._push()
        self._well = well
        dock.browsing.go_to_well(well)

    def _show_output(self, dock: PlateDock, output: str) -> None:
        """Let the Plate dock show the predicted stains at a path."""
        choice = dock.value()
        if output and _same(output, self._plate):
            if choice.kind != "in-place":
                dock.choose(kind="in-place")
        elif output and (choice.kind == "in-place" or not _same(choice.output, output)):
            dock.choose(kind="ome-zarr", output=output)

    @timed
    def _show_group(self, batch: FieldPictures) -> None:
        """Show the stains that belong to the point, once all their layers exist."""
        dock, group = self.dock, self._group
        if dock is None or not group or self._target is not None:
            return
        wanted = {slot for slot in batch.slots if slot.group == group}
        if wanted and wanted <= set(dock.browsing.fields.layers.present()):
            self._group = ""
            layers = dock.browsing.fields.layers
            if not layers.groups()[group]:
                # In a queue of our own: the dock clears its queue when it reads the field anew meanwhile.
                some = [(layer, slot.group == group) for slot, layer in layers.present().items() if slot.group in STAINED]
                changes = [partial(setattr, layer, "visible", on) for layer, on in some if layer.visible != on]
                self._showing = True
                self._steps.add(partial(layers.hold, True), *changes, self._redraw)

    def _redraw(self) -> None:
        """Let the canvas be drawn again."""
        self._showing = False
        if self.dock is not None and isalive(self.dock):
            self.dock.browsing.fields.layers.hold(False)

    def _push(self) -> None:
        dock = self.dock
        if dock is None or not self.linked or dock.plate is None:
            return
        there = tuple(well for well in self._marked if well in dock.plate.by_well)
        if there != dock.view.map.selection:
            dock.view.map.set_selection(there)  # emits no signal
            dock.view.form.setWells(len(dock.plate.wells), len(there))

    @timed
    def _pull(self, *_: Any) -> None:
        """Report the selection and the current well of the Plate dock."""
        dock = self.dock
        if dock is None or not self.linked or dock.plate is None:
            return
        there = tuple(well for well in self._marked if well in dock.plate.by_well)
        if dock.view.map.selection != there:
            self._marked = tuple(dock.view.map.selection)
            self.selection_changed.emit(self._marked)
        well = dock.browsing.fields.field.well if dock.browsing.fields.field is not None else ""
        if well and well != self._well:
            self._well = well
            self.well_changed.emit(well)

    def stop(self) -> None:
        """Follow the Plate dock no more."""
        self._steps.clear()
        if self._showing:
            self._redraw()
        self._timer.stop()
        self._waiting.stop()
        self._target = None


def _same(one: str, other: str) -> bool:
    """Return whether two paths are the same."""
    if not one or not other:
        return False
    return one == other or Path(one).expanduser().resolve() == Path(other).expanduser().resolve()
