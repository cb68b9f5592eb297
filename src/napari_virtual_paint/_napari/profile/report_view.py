"""The report in the Profile dock: read in the background, its wells placed on a map, coloured, and shown or hidden by source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QColor

from napari_virtual_paint._napari.profile.panel import ProfilePanel
from napari_virtual_paint._napari.profile.table import MAPS, ProfileTable, read_profiles
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.widgets import set_choices
from napari_virtual_paint.plates.view.colouring import Shading, shade_values
from napari_virtual_paint.plates.view.palette import SCALE, mixed
from napari_virtual_paint.runtime.text import counted

STEPS = 48  # colours in which a continuous scale is drawn
RECENT = 8  # reports that the menu lists


class ReportView(QObject):  # type: ignore[misc]
    """Shows one report.

    Signals
    -------
    replaced
        The table is that of another report, which is about to be shown.
    opened
        Another report is shown.

    Attributes
    ----------
    table
        The report; None before one is opened.
    recent
        Paths of the reports that were opened, the latest first.
    """

    replaced = Signal()
    opened = Signal()

    def __init__(self, panel: ProfilePanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.table: ProfileTable | None = None
        self.recent: list[str] = []
        self._reading, self._colouring = LatestJob(self), LatestJob(self)
        self._steps, self._showing = StepQueue(), False
        self.destroyed.connect(self._steps.clear)
        panel.kind.currentIndexChanged.connect(self._show_map)
        panel.column.currentIndexChanged.connect(self._colour)
        panel.sources_changed.connect(self._show_sources)
        panel.whole.clicked.connect(lambda _checked: panel.view.show_all())
        self._enable()

    @property
    def busy(self) -> bool:
        """Whether a report is read, coloured or drawn."""
        return self._reading.running or self._colouring.running or self._showing or self._panel.view.drawing

    def open(self, path: str | Path) -> None:
        """Read and show the report in a folder, in the background."""
        name = Path(path).name
        self._panel.title.setText(f"Opening {escape(name)}…")
        self._reading.start_function(partial(_read, path), title=f"Opening {name}", done=self._show, failed=self._show_error)

    def _show_error(self, error: BaseException) -> None:
        self._panel.title.setText(escape(str(error)))
        self._panel.title.setToolTip("")

    @timed
    def _show(self, table: ProfileTable) -> None:
        """Show a report that was read, one part per turn of the event loop."""
        self._steps.clear()
        self.table, self._showing = table, True
        self.replaced.emit()
        path = str(table.report)
        self.recent = [path, *(each for each in self.recent if each != path)][:RECENT]
        self._steps.add(partial(self._show_title, table), partial(self._offer, table), self._show_map, self._finish)

    def _show_title(self, table: ProfileTable) -> None:
        count = len(set(table.wells))
        missing = ", ".join(f"{lost} of {name}" for name, lost in table.wells_without_place().items())
        warning = f" · ⚠ no cells, so no profile: {escape(missing)}" if missing else ""
        names = escape(", ".join(table.names))
        self._panel.title.setText(f"<b>{escape(table.report.name)}</b> · {counted(count, 'well')} · {names}{warning}")
        self._panel.title.setToolTip(f"{table.report}\nTrue images: {table.truth or 'not known'}")

    def _offer(self, table: ProfileTable) -> None:
        """Offer the maps, columns and sources of a report."""
        set_choices(self._panel.kind, [(name, name.upper()) for name in MAPS if name in table.places])
        known = [name for name, values in table.columns.items() if name != "well" and any(value not in (None, "") for value in values)]
        columns = [(name, name.removeprefix("Metadata_").replace("_", " ")) for name in known]
        set_choices(self._panel.column, columns, self._panel.column.currentData() or "treatment")
        self._panel.set_sources(table.names)

    @timed
    def _show_map(self, _index: int = 0) -> None:
        """Show the map that is chosen."""
        if self.table is not None:
            name = self._panel.kind.currentData()
            self._panel.view.set_points(self.table.places[name], MAPS[name])

    def _finish(self) -> None:
        self._showing = False
        self._show_sources()
        self._colour()
        self._enable()
        self.opened.emit()

    def _enable(self) -> None:
        panel = self._panel
        for widget in (panel.kind, panel.column, panel.whole, panel.export, panel.among, *panel.modes.values()):
            widget.setEnabled(self.table is not None)

    # -- colours and sources ------------------------------------------------------------------------------------------

    @timed
    def _show_sources(self) -> None:
        table = self.table
        if table is not None:
            self._panel.view.set_symbols(table.numbers, np.array(self._panel.shown_sources(), bool)[table.numbers])

    @timed
    def _colour(self, _index: int = 0) -> None:
        """Colour the wells by the chosen column, on a worker."""
        table, key = self.table, self._panel.column.currentData()
        if table is not None and key:
            self._colouring.start_function(
                partial(colour_rows, key, table.columns[key]), title="Coloring the wells", done=partial(self._show_colours, table)
            )

    @timed
    def _show_colours(self, table: ProfileTable, found: RowColours) -> None:
        if table is self.table and found.shading.column.key == self._panel.column.currentData():
            self._panel.view.set_groups(found.numbers, [QColor(colour) for colour in found.colours])
            self._panel.legend.set_shading(found.shading)


@dataclass(frozen=True, eq=False)
class RowColours:
    """Colours of the rows of a table."""

    shading: Shading  # the colouring, for the legend
    numbers: npt.NDArray[np.intp]  # index of each row's colour
    colours: tuple[str, ...]  # the colours; an empty one where the value is not known


def colour_rows(key: str, values: Sequence[Any]) -> RowColours:
    """Colour rows by a column's values (on a worker)."""
    shading = shade_values(key, {str(row): value for row, value in enumerate(values)})
    scale, numbers = shading.scale, shading.values or {}
    if scale is None:
        parts = [shading.parts[str(row)][0] for row in range(len(values))]
        names = ["" if part.mark == "?" else part.colour for part in parts]
        colours = tuple(dict.fromkeys(names))
        index = {name: number for number, name in enumerate(colours)}
        return RowColours(shading, np.array([index[name] for name in names], np.intp), colours)
    steps = [STEPS if (value := numbers[str(row)]) is None else round(scale.share(value) * (STEPS - 1)) for row in range(len(values))]
    return RowColours(shading, np.array(steps, np.intp), (*(_on_scale(step / (STEPS - 1)) for step in range(STEPS)), ""))


def _on_scale(share: float) -> str:
    position = share * (len(SCALE) - 1)
    first = min(int(position), len(SCALE) - 2)
    return mixed(SCALE[first], SCALE[first + 1], position - first)


def _read(path: str | Path) -> ProfileTable:
    import skimage.measure  # on the worker, so that the first lasso need not wait for it

    assert skimage.measure.points_in_poly
    return read_profiles(path)
