"""The Profile dock's part that shows a report: reads it, places its wells on a map, and colours them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.compat import isalive
from qtpy.QtGui import QColor

from napari_virtual_paint._napari.profile.panel import ProfilePanel
from napari_virtual_paint._napari.profile.plate_link import PlateLink
from napari_virtual_paint._napari.profile.table import MAPS, ProfileTable, read_profiles
from napari_virtual_paint._napari.shared import jobs as run
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.plates.view.colouring import Shading, shade_values
from napari_virtual_paint.plates.view.palette import SCALE, mixed

NAMED = {"umap": "UMAP", "pca": "PCA"}
STEPS = 48
"""Colours that a scale is drawn in."""


@dataclass(frozen=True, eq=False)
class Coloured:
    """A table's rows by colour.

    Parameters
    ----------
    shading
        For the legend.
    of
        Number of each row's colour.
    colours
        The colours; empty where the value is not known.
    """

    shading: Shading
    of: npt.NDArray[np.intp]
    colours: tuple[str, ...]


class ProfileShowing(ProfilePanel):
    """What shows; `profile.ProfileDock` adds what is chosen.

    Attributes
    ----------
    table
        The report that is shown; None before one is opened.
    wells
        The wells that are selected.
    here
        The row that is looked at; -1 for none.
    link
        The tie to the Plate dock.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self.table: ProfileTable | None = None
        self.wells: tuple[str, ...] = ()
        self.here = -1
        self.link = PlateLink(viewer)
        self._turns = StepQueue()
        self._opening: run.Job | None = None
        self._colouring: run.Job | None = None
        self._recent: list[str] = []
        self._showing = False
        self.kind.currentIndexChanged.connect(self._kind_chosen)
        self.column.currentIndexChanged.connect(self._colour)
        self.sources_changed.connect(self._show_sources)
        self._enable()

    @property
    def busy(self) -> bool:
        """Whether something is being opened, coloured or drawn."""
        jobs = (self._opening, self._colouring)
        return any(job is not None and job.running for job in jobs) or self._showing or self.link.busy or self.view.drawing

    # -- a report -----------------------------------------------------------------------------------------------------

    def open_report(self, path: str | Path) -> None:
        """Open a report in the background.

        Parameters
        ----------
        path
            Its folder, as ``virtual-paint evaluate --level profiles -o`` wrote it.
        """
        if self._opening is not None:
            self._opening.cancel()
        self.title.setText(f"Opening {escape(Path(path).name)}…")
        job = self._opening = run.start_function(
            partial(_read, path), title=f"Opening {Path(path).name}", done=self._show, failed=self._not_opened, quiet=True
        )
        job.ended.connect(partial(self._opening_over, job))

    def _opening_over(self, job: run.Job) -> None:
        if job is self._opening:
            self._opening = None

    def _not_opened(self, error: BaseException) -> None:
        if isalive(self):
            self.title.setText(escape(str(error)))
            self.title.setToolTip("")

    @timed
    def _show(self, table: ProfileTable) -> None:
        """Show a report that was read, a part a turn of the event loop."""
        if not isalive(self):
            return
        self._turns.clear()
        self.table, self.wells, self.here, self._showing = table, (), -1, True
        path = str(table.report)
        self._recent = [path, *(each for each in self._recent if each != path)][:8]
        self._turns.add(partial(self._show_title, table), partial(self._offer, table), partial(self._show_map, table), self._begin)

    def _show_title(self, table: ProfileTable) -> None:
        count = len(set(table.wells))
        lacking = ", ".join(f"{lost} of {name}" for name, lost in table.without().items())
        said = f" · ⚠ no cells, so no profile: {escape(lacking)}" if lacking else ""
        self.title.setText(f"<b>{escape(table.report.name)}</b> · {count} wells · {escape(', '.join(table.names))}{said}")
        self.title.setToolTip(f"{table.report}\nTrue images: {table.truth or 'not known'}")

    def _offer(self, table: ProfileTable) -> None:
        """Offer the maps, columns and sources that there are."""
        before = self.column.currentData()
        for box in (self.kind, self.column):
            box.blockSignals(True)
            box.clear()
        for name in MAPS:
            if name in table.places:
                self.kind.addItem(NAMED[name], name)
        for name, values in table.columns.items():
            if name != "well" and any(value not in (None, "") for value in values):
                self.column.addItem(name.removeprefix("Metadata_").replace("_", " "), name)
        at = max(self.column.findData(before if before else "treatment"), 0)
        self.column.setCurrentIndex(at)
        for box in (self.kind, self.column):
            box.blockSignals(False)
        self.set_sources(table.names)

    def _show_map(self, table: ProfileTable) -> None:
        """Show the map that is chosen."""
        name = self.kind.currentData()
        self.view.set_points(table.places[name], MAPS[name])

    def _begin(self) -> None:
        self._showing = False
        self._show_sources()
        self._colour()
        self._enable()
        self.opened.emit()

    def _enable(self) -> None:
        for widget in (self.kind, self.column, self.whole, self.export, self.among, *self.modes.values()):
            widget.setEnabled(self.table is not None)

    # -- colours and sources ------------------------------------------------------------------------------------------

    def choose(self, *, map: str = "", column: str = "", among: str | None = None) -> None:
        """Choose the map (``"umap"``, ``"pca"``), the column of the colours, or the source that neighbours come from."""
        for box, data in ((self.kind, map or None), (self.column, column or None), (self.among, among)):
            if data is not None and box.findData(data) >= 0:
                box.setCurrentIndex(box.findData(data))

    @timed
    def _kind_chosen(self, _index: int) -> None:
        if self.table is not None:
            self._show_map(self.table)

    @timed
    def _show_sources(self) -> None:
        table = self.table
        if table is None:
            return
        self.view.set_symbols(table.numbers, np.array(self.shown_sources(), bool)[table.numbers])

    @timed
    def _colour(self, _index: int = 0) -> None:
        """Work the colours out, on a worker; a newer choice overtakes an older one."""
        table, key = self.table, self.column.currentData()
        if table is None or not key:
            return
        if self._colouring is not None:
            self._colouring.cancel()
        job = self._colouring = run.start_function(
            partial(coloured, key, table.columns[key]),
            title="Colouring the wells",
            done=lambda found: self._show_colours(table, found),
            quiet=True,
        )
        job.ended.connect(partial(self._colouring_over, job))

    def _colouring_over(self, job: run.Job) -> None:
        if job is self._colouring:
            self._colouring = None

    @timed
    def _show_colours(self, table: ProfileTable, found: Coloured) -> None:
        if isalive(self) and table is self.table and found.shading.column.key == self.column.currentData():
            self.view.set_groups(found.of, [QColor(colour) for colour in found.colours])
            self.legend.set_shading(found.shading)


def coloured(key: str, values: Sequence[Any]) -> Coloured:
    """Colour rows by a column's values (on a worker); where the value is not known there is no colour."""
    shading = shade_values(key, {str(row): value for row, value in enumerate(values)})
    scale, held = shading.scale, shading.values or {}
    if scale is None:
        parts = [shading.parts[str(row)][0] for row in range(len(values))]
        names = ["" if part.mark == "?" else part.colour for part in parts]
        colours = tuple(dict.fromkeys(names))
        at = {name: number for number, name in enumerate(colours)}
        return Coloured(shading, np.array([at[name] for name in names], np.intp), colours)
    steps = [STEPS if (value := held[str(row)]) is None else round(scale.share(value) * (STEPS - 1)) for row in range(len(values))]
    return Coloured(shading, np.array(steps, np.intp), (*(_on_scale(step / (STEPS - 1)) for step in range(STEPS)), ""))


def _on_scale(share: float) -> str:
    place = share * (len(SCALE) - 1)
    first = min(int(place), len(SCALE) - 2)
    return mixed(SCALE[first], SCALE[first + 1], place - first)


def _read(path: str | Path) -> ProfileTable:
    import skimage.measure  # so that the first lasso need not wait for it

    assert skimage.measure.points_in_poly
    return read_profiles(path)
