"""The Profile dock: the wells of a report by their profiles, tied to the plate map and to the images, both ways."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import napari.viewer
import numpy as np
import numpy.typing as npt
from qtpy.compat import isalive
from qtpy.QtWidgets import QFileDialog

from napari_virtual_paint._napari.profile.plate_link import PlateLink
from napari_virtual_paint._napari.profile.report_view import ProfileShowing
from napari_virtual_paint._napari.profile.table import as_text, write_rows
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.evaluation.scale import TRUTH

DULL = ("source", "well", "plate", "seed", "condition", "control")
SAID = 4
"""Facts of a well that are told below the map; its tooltip has all."""
NEIGHBOURS = 20


class ProfileDock(ProfileShowing):
    """The Profile dock.

    Parameters
    ----------
    viewer
        The viewer whose Plate dock shows the images.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.setWindowTitle("Profile")
        self._join()
        self.setAcceptDrops(True)
        self.destroyed.connect(partial(_let_go, self.link, self._turns))

    def _opened(self) -> None:
        """Take up a report that is shown now."""
        table = self.table
        if table is not None:
            self._show_here()
            self._show_wells()
            self.link.follow(table.truth, table.plate_map)

    # -- one well -----------------------------------------------------------------------------------------------------

    def go_to(self, row: int, *, look: bool = True) -> None:
        """Go to a row of the table.

        Parameters
        ----------
        row
            The row.
        look
            Whether the well's field is opened in the Plate dock.
        """
        table = self.table
        if table is None or not 0 <= row < len(table):
            return
        self.here = row
        self._show_here()
        if look:
            self.link.open(table.wells[row], self._output(row), painted=table.sources[row] != TRUTH)

    def _output(self, row: int) -> str:
        """Return where the stains lie that go with a row: its own prediction's; those of the first one for the truth."""
        table = self.table
        if table is None or not table.predictions:
            return ""
        name = table.sources[row] if table.sources[row] in table.predictions else next(iter(table.predictions))
        return table.predictions[name]

    @timed
    def _show_here(self) -> None:
        """Tell of the well that is looked at: its points, what is known, and the nearest wells."""
        table, here = self.table, self.here
        if table is None or here < 0:
            self.view.set_here(())
            self.told.setText("Click a well to open its images." if table is not None else "")
            self.set_near([])
            return
        self.view.set_here((here, *(row for row in table.by_well[table.wells[here]] if row != here)))
        told: dict[str, str] = {}
        for name, text in table.about(here):
            if name not in DULL:
                told.setdefault(text, name)  # what says the same is said once
        facts = [f"{escape(name)} <b>{escape(text)}</b>" for text, name in told.items()][:SAID]
        alike = self._alike(here)
        self.told.setText(" · ".join([f"<b>{escape(table.wells[here])}</b> {escape(table.sources[here])}", *facts, *alike]))
        self._show_near()
        self.view.setAccessibleDescription(
            f"At well {table.wells[here]}, {table.sources[here]}. Arrows go to the next point, Enter opens its images, "
            "Ctrl+A selects all, Escape none, plus and minus zoom."
        )

    def _alike(self, row: int) -> list[str]:
        """Return how alike the truth's profile of a well and each prediction's are."""
        table = self.table
        if table is None:
            return []
        truth = table.row(table.wells[row], TRUTH)
        asked = table.names[1:] if row == truth else (table.sources[row],)
        found = [(name, table.similarity(truth, table.row(table.wells[row], name))) for name in asked]
        return [f"cosine of truth and {escape(name)} <b>{alike:.2f}</b>" for name, alike in found if alike is not None]

    @timed
    def _show_near(self, _index: int = 0) -> None:
        table, here = self.table, self.here
        if table is None or here < 0:
            return
        among = table.sources[here] if self.among.currentData() == "own" else self.among.currentData()
        what = table.columns.get("treatment") or table.columns.get("condition") or ("",) * len(table)
        found = table.nearest(here, among, NEIGHBOURS)
        self.set_near([(row, table.wells[row], table.sources[row], as_text(what[row]), alike) for row, alike in found])

    def _tip(self, row: int) -> str:
        """Return all that is known of a point, as HTML."""
        table = self.table
        if table is None:
            return ""
        facts = [(name, text) for name, text in table.about(row) if name not in ("well", "source")]
        lines = "".join(f"<tr><td>{escape(name)}&nbsp;</td><td>{escape(text)}</td></tr>" for name, text in facts[:16])
        return f"<b>{escape(table.wells[row])}</b> {escape(table.sources[row])}<table>{lines}</table>"

    # -- several wells ------------------------------------------------------------------------------------------------

    def select(self, wells: Sequence[str]) -> None:
        """Select wells, here and in the Plate dock's map."""
        self._take(wells)
        self.link.mark(self.wells)

    def _take(self, wells: Sequence[str]) -> None:
        self.wells = tuple(dict.fromkeys(wells))
        self._show_wells()

    @timed
    def _show_wells(self) -> None:
        table = self.table
        if table is None:
            return
        self.view.set_selected(table.rows_of(self.wells))
        several = "wells are" if len(self.wells) != 1 else "well is"
        self.chosen.setText(f"{len(self.wells)} {several} selected; Enter shows their images side by side.")
        self.chosen.setVisible(bool(self.wells))

    @timed
    def _selected(self, rows: npt.NDArray[np.bool_], how: str) -> None:
        """Take up a box, a lasso or a click with Ctrl."""
        table = self.table
        if table is None:
            return
        found = table.wells_of(rows)
        if how == "add":
            found = (*self.wells, *found)
        elif how == "toggle":
            found = tuple(well for well in (*self.wells, *found) if (well in self.wells) != (well in found))
        self.select(found)

    @timed
    def _clicked(self, row: int) -> None:
        if self.wells:
            self.select(())
        self.go_to(row)

    @timed
    def _moved(self, row: int) -> None:
        """Follow the arrows; images follow once the plate is shown."""
        dock = self.link.dock
        self.go_to(row, look=self.link.linked and dock is not None and dock.browser.field is not None)

    @timed
    def _entered(self) -> None:
        if self.wells and self.link.linked:
            self.link.open_many(self.wells)
        else:
            self.go_to(self.here)

    @timed
    def _went(self, well: str) -> None:
        """Follow the Plate dock to another well; the point stays in the source that it is in."""
        table = self.table
        if table is None or (self.here >= 0 and table.wells[self.here] == well):
            return
        source = table.sources[self.here] if self.here >= 0 else table.names[0]
        row = table.row(well, source)
        if row >= 0:
            self.go_to(row, look=False)

    def save_rows(self, path: str | Path) -> None:
        """Save the selected wells, in all sources, as CSV; without a selection, all wells."""
        table = self.table
        if table is not None:
            rows = table.rows_of(self.wells) if self.wells else np.ones(len(table), bool)
            jobs.start_function(
                partial(write_rows, table, rows, Path(path)),
                title=f"Saving {Path(path).name}",
                done=partial(self._saved, int(rows.sum())),
                quiet=True,
            )

    @timed
    def _saved(self, count: int, path: Path) -> None:
        if isalive(self):
            self.told.setText(f"Saved {count} rows in {escape(str(path))}.")

    # -- wiring -------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        self.opened.connect(self._opened)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.among.currentIndexChanged.connect(self._show_near)
        self.went.connect(self.go_to)
        self.whole.clicked.connect(lambda _checked: self.view.show_all())
        self.export.clicked.connect(lambda _checked: self._ask_export())
        self.view.about = self._tip
        self.view.clicked.connect(self._clicked)
        self.view.moved.connect(self._moved)
        self.view.opened.connect(self._entered)
        self.view.selected.connect(self._selected)
        self.view.mode_changed.connect(self.show_mode)
        self.link.marked.connect(self._take)
        self.link.went.connect(self._went)
        self.link.told.connect(lambda text: self.told.setText(f"⚠ {escape(text)}"))

    def _fill_menu(self) -> None:
        self.menu.clear()
        self.menu.addAction("Report folder…", self._ask_report)
        if self._recent:
            self.menu.addSeparator()
        for path in self._recent:
            self.menu.addAction(Path(path).name, partial(self.open_report, path)).setToolTip(path)
        self.menu.setToolTipsVisible(True)

    def _ask_report(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a report")
        if path:
            self.open_report(path)

    def _ask_export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the wells", "wells.csv", "Tables (*.csv)")
        if path:
            self.save_rows(path)

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Take files and folders."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: N802
        """Open the report that was dropped."""
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.open_report(paths[0])


def _let_go(link: PlateLink, turns: StepQueue) -> None:
    """Follow nothing more, once the dock is gone."""
    with contextlib.suppress(RuntimeError):
        link.blockSignals(True)
        link.stop()
        turns.clear()
