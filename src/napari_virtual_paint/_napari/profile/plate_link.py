"""The Profile dock's tie to the Plate dock: the same wells are marked in both, and a point's field is opened there."""

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

LOOK = 700
"""Milliseconds between two looks for a Plate dock, while there is none."""
STAINED = ("true", "painted")
"""Groups of layers of which a point shows one."""
WAIT = 100
"""Milliseconds between two looks whether a plate is open by now."""


class PlateLink(QObject):  # type: ignore[misc]
    """Follows the Plate dock of a viewer, where it shows the plate of the report, and marks wells in it.

    What it does to the Plate dock itself it never tells again, so that nothing goes round in circles.

    Signals
    -------
    marked
        The wells that are selected in the map now.
    went
        The well that is looked at.
    told
        What the user should know, in words.
    """

    marked = Signal(tuple)
    went = Signal(str)
    told = Signal(str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self.dock: PlateDock | None = None
        self._plate, self._plate_map = "", ""
        self._marked: tuple[str, ...] = ()
        self._well = ""
        self._goal: tuple[str, str] | None = None
        self._group = ""
        self._turns, self._showing = StepQueue(), False
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK)
        self._timer.timeout.connect(self.find)
        self._waiting = QTimer(self)
        self._waiting.setInterval(WAIT)
        self._waiting.timeout.connect(self._arrive)

    @property
    def busy(self) -> bool:
        """Whether a field is to be opened once its plate is, or its stains are to be shown."""
        return bool(self._waiting.isActive()) or self._showing

    @property
    def linked(self) -> bool:
        """Whether the Plate dock shows the plate of the report."""
        plate = self.dock.plate if self.dock is not None and isalive(self.dock) else None
        return plate is not None and _same(plate.source, self._plate)

    def follow(self, plate: str, plate_map: str = "") -> None:
        """Follow a plate, by its path."""
        self._plate, self._plate_map, self._marked, self._well, self._goal = plate, plate_map, (), "", None
        self._waiting.stop()
        self.find()
        self._timer.start()
        self._pull()

    @timed
    def find(self) -> None:
        """Take up the Plate dock, if there is one by now."""
        if self.dock is not None and isalive(self.dock):
            return
        self.dock = find_dock(self.viewer, "Plate")
        if self.dock is not None:
            well_map = self.dock.map
            for signal in (well_map.selected, well_map.opened, well_map.moved, self.dock.browser.went):
                signal.connect(self._pull)
            self.dock.browser.shown.connect(self._see)
            self._push()

    def mark(self, wells: Sequence[str]) -> None:
        """Select wells in the map, without opening them."""
        self._marked = tuple(wells)
        self._push()

    def open(self, well: str, output: str = "", *, painted: bool = False) -> None:
        """Open a well's first field in the Plate dock, and with it what was painted into a path; the dock and the plate are opened first.

        Parameters
        ----------
        well
            The well.
        output
            Where its predicted stains are; the plate itself where they were painted into it; empty leaves it as it is.
        painted
            Whether the predicted stains are to be seen, or the true ones; where both are seen, both stay.
        """
        self.find()
        if not self._plate or not Path(self._plate).exists():
            self.told.emit(f"The images are not at {self._plate or 'a path that the report tells'} any more; open their plate again there.")
            return
        if self.dock is None:
            open_dock("Plate")
            self.find()
        if self.dock is None:
            return
        self._goal, self._group = (well, output), "painted" if painted else "true"
        if not self.linked:
            own = not output or _same(output, self._plate)
            self.dock.open_plate(self._plate, self._plate_map, "" if own else output)
        self._waiting.start()
        self._arrive()

    def open_many(self, wells: Sequence[str]) -> None:
        """Open wells side by side, where the plate is shown."""
        if self.linked and self.dock is not None:
            self.dock.open_side_by_side(wells)

    @timed
    def _arrive(self) -> None:
        """Go to the field once its plate is there; give up where it could not be opened (the Plate dock tells why)."""
        dock, goal = self.dock, self._goal
        if dock is None or goal is None or not isalive(dock):
            self._waiting.stop()
            return
        if not self.linked:
            if not dock.busy:
                self._waiting.stop()
            return
        self._waiting.stop()
        self._goal = None
        well, output = goal
        if dock.plate is not None and well not in dock.plate.by_well:
            self.told.emit(f"Well {well} has no image in {dock.plate.name}.")
            return
        self._adopt(dock, output)
        self._push()
        self._well = well
        dock.go_to_well(well)

    def _adopt(self, dock: PlateDock, output: str) -> None:
        """Let the Plate dock show what was painted into a path."""
        choice = dock.value()
        if output and _same(output, self._plate):
            if choice.kind != "in-place":
                dock.choose(kind="in-place")
        elif output and (choice.kind == "in-place" or not _same(choice.output, output)):
            dock.choose(kind="ome-zarr", output=output)

    @timed
    def _see(self, batch: FieldPictures) -> None:
        """Show the stains that belong to the point, once all their layers are there."""
        dock, group = self.dock, self._group
        if dock is None or not group or self._goal is not None:
            return
        wanted = {slot for slot in batch.slots if slot.group == group}
        if wanted and wanted <= set(dock.browser.layers.there()):
            self._group = ""
            layers = dock.browser.layers
            if not layers.groups()[group]:
                # In turns of our own: those of the dock are forgotten where it reads the field anew meanwhile.
                some = [(layer, slot.group == group) for slot, layer in layers.there().items() if slot.group in STAINED]
                steps = [partial(setattr, layer, "visible", on) for layer, on in some if layer.visible != on]
                self._showing = True
                self._turns.add(partial(layers.hold, True), *steps, self._shown)

    def _shown(self) -> None:
        """Let the canvas be drawn again."""
        self._showing = False
        if self.dock is not None and isalive(self.dock):
            self.dock.browser.layers.hold(False)

    def _push(self) -> None:
        dock = self.dock
        if dock is None or not self.linked or dock.plate is None:
            return
        there = tuple(well for well in self._marked if well in dock.plate.by_well)
        if there != dock.map.selection:
            dock.map.set_selection(there)  # this one tells nobody
            dock.form.setWells(len(dock.plate.wells), len(there))

    @timed
    def _pull(self, *_: Any) -> None:
        """Take up what is selected and looked at in the Plate dock."""
        dock = self.dock
        if dock is None or not self.linked or dock.plate is None:
            return
        there = tuple(well for well in self._marked if well in dock.plate.by_well)
        if dock.map.selection != there:
            self._marked = tuple(dock.map.selection)
            self.marked.emit(self._marked)
        well = dock.browser.field.well if dock.browser.field is not None else ""
        if well and well != self._well:
            self._well = well
            self.went.emit(well)

    def stop(self) -> None:
        """Follow nothing more."""
        self._turns.clear()
        if self._showing:
            self._shown()
        self._timer.stop()
        self._waiting.stop()
        self._goal = None


def _same(one: str, other: str) -> bool:
    """Whether two paths are one."""
    if not one or not other:
        return False
    return one == other or Path(one).expanduser().resolve() == Path(other).expanduser().resolve()
