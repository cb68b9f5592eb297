"""The Profile dock: the wells of a report by their profiles, linked with the plate map and the images both ways."""

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
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_virtual_paint._napari.profile.panel import ProfilePanel
from napari_virtual_paint._napari.profile.plate_link import PlateLink
from napari_virtual_paint._napari.profile.report_view import ReportView
from napari_virtual_paint._napari.profile.table import ProfileTable, as_text, write_rows
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.closing import delete_when_removed
from napari_virtual_paint._napari.shared.dock_area import join_tabs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.saving import saving
from napari_virtual_paint._napari.shared.viewer.layer_list import guard_removals
from napari_virtual_paint._napari.shared.widgets import fill_scrolled
from napari_virtual_paint.evaluation.scale import TRUTH

NOT_SHOWN = ("source", "well", "plate", "seed", "condition", "control")  # columns that are left out below the map
FACTS, TIP_FACTS = 4, 16  # most facts of a well below the map, and in a tooltip
NEIGHBOURS = 20

# Docks that Qt has not destroyed yet. Were they freed by the collector, it could clear the slot of `destroyed` before Qt calls it,
# which crashes.
_ALIVE: set[ProfileDock] = set()


class ProfileDock(QWidget):  # type: ignore[misc]
    """The Profile dock.

    Parameters
    ----------
    viewer
        The viewer whose Plate dock shows the images.

    Attributes
    ----------
    panel
        The widgets.
    report
        Reads and shows the report.
    link
        Keeps the Plate dock in step.
    wells
        The wells that are selected.
    here
        The current row of the table; -1 for none.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        guard_removals(viewer)
        join_tabs(self, "Profile")
        delete_when_removed(self)
        self.setWindowTitle("Profile")
        self.setAcceptDrops(True)
        self.viewer = viewer
        self.wells: tuple[str, ...] = ()
        self.here = -1
        self.panel = ProfilePanel()
        fill_scrolled(self, self.panel, self.panel.footer)
        self.report = ReportView(self.panel)
        self.link = PlateLink(viewer)
        self._saving = LatestJob(self)
        self._connect()
        _ALIVE.add(self)
        self.destroyed.connect(partial(_release, self))

    @property
    def table(self) -> ProfileTable | None:
        """The report that is shown; None before one is opened."""
        return self.report.table

    @property
    def busy(self) -> bool:
        """Whether something is being opened, coloured or drawn."""
        return self.report.busy or self.link.busy

    def open_report(self, path: str | Path) -> None:
        """Open a report in the background: a folder that ``virtual-paint evaluate --level profiles -o`` wrote."""
        self.report.open(path)

    def choose(self, *, map: str = "", column: str = "", among: str | None = None) -> None:
        """Choose the map (``"umap"``, ``"pca"``), the column of the colours, or the source that neighbours come from."""
        for box, data in ((self.panel.kind, map or None), (self.panel.column, column or None), (self.panel.among, among)):
            if data is not None and box.findData(data) >= 0:
                box.setCurrentIndex(box.findData(data))

    def _report_replaced(self) -> None:
        self.wells, self.here = (), -1  # rows of the report before

    def _report_opened(self) -> None:
        table = self.table
        if table is not None:
            self._show_here()
            self._show_selection()
            self.link.follow(table.truth, table.plate_map)

    # -- one well -----------------------------------------------------------------------------------------------------

    def go_to(self, row: int, *, show_images: bool = True) -> None:
        """Go to a row of the table, and open its field in the Plate dock where `show_images`."""
        table = self.table
        if table is None or not 0 <= row < len(table):
            return
        self.here = row
        self._show_here()
        if show_images:
            self.link.open(table.wells[row], table.images_of(row), painted=table.sources[row] != TRUTH)

    @timed
    def _show_here(self) -> None:
        """Show the current well: its points, some facts, and the nearest wells."""
        table, here, view = self.table, self.here, self.panel.view
        if table is None or here < 0:
            view.set_here(())
            self.panel.status.setText("Click a well to open its images." if table is not None else "")
            self.panel.set_near([])
            return
        view.set_here((here, *(row for row in table.by_well[table.wells[here]] if row != here)))
        facts: dict[str, str] = {}
        for name, text in table.facts(here):
            if name not in NOT_SHOWN:
                facts.setdefault(text, name)  # columns with the same value are shown once
        parts = [f"{escape(name)} <b>{escape(text)}</b>" for text, name in facts.items()][:FACTS]
        well, source = table.wells[here], table.sources[here]
        self.panel.status.setText(" · ".join([f"<b>{escape(well)}</b> {escape(source)}", *parts, *self._similarities(table, here)]))
        self._show_near()
        view.setAccessibleDescription(
            f"At well {well}, {source}. Arrows go to the next point, Enter opens its images, "
            "Ctrl+A selects all, Escape none, plus and minus zoom."
        )

    @staticmethod
    def _similarities(table: ProfileTable, row: int) -> list[str]:
        """Return the similarity of the truth's profile of a well with those of the predictions, in words."""
        truth = table.row(table.wells[row], TRUTH)
        sources = table.names[1:] if row == truth else (table.sources[row],)
        found = [(name, table.similarity(truth, table.row(table.wells[row], name))) for name in sources]
        return [f"cosine of truth and {escape(name)} <b>{value:.2f}</b>" for name, value in found if value is not None]

    @timed
    def _show_near(self, _index: int = 0) -> None:
        table, here = self.table, self.here
        if table is None or here < 0:
            return
        among = self.panel.among.currentData()
        found = table.nearest(here, table.sources[here] if among == "own" else among, NEIGHBOURS)
        treatments = table.columns.get("treatment") or table.columns.get("condition") or ("",) * len(table)
        self.panel.set_near([(row, table.wells[row], table.sources[row], as_text(treatments[row]), value) for row, value in found])

    def _tooltip(self, row: int) -> str:
        """Return the facts of a point, as HTML."""
        table = self.table
        if table is None:
            return ""
        facts = [(name, text) for name, text in table.facts(row) if name not in ("well", "source")]
        lines = "".join(f"<tr><td>{escape(name)}&nbsp;</td><td>{escape(text)}</td></tr>" for name, text in facts[:TIP_FACTS])
        return f"<b>{escape(table.wells[row])}</b> {escape(table.sources[row])}<table>{lines}</table>"

    # -- several wells ------------------------------------------------------------------------------------------------

    def select(self, wells: Sequence[str]) -> None:
        """Select wells, here and in the Plate dock's map."""
        self._take_selection(wells)
        self.link.mark(self.wells)

    def _take_selection(self, wells: Sequence[str]) -> None:
        self.wells = tuple(dict.fromkeys(wells))
        self._show_selection()

    @timed
    def _show_selection(self) -> None:
        table = self.table
        if table is None:
            return
        self.panel.view.set_selected(table.rows_of(self.wells))
        several = "wells are" if len(self.wells) != 1 else "well is"
        self.panel.selection.setText(f"{len(self.wells)} {several} selected; Enter shows their images side by side.")
        self.panel.selection.setVisible(bool(self.wells))

    @timed
    def _rows_selected(self, rows: npt.NDArray[np.bool_], how: str) -> None:
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
        """Follow the arrow keys; images are opened only once a field is shown."""
        dock = self.link.dock
        self.go_to(row, show_images=self.link.linked and dock is not None and dock.browsing.fields.field is not None)

    @timed
    def _entered(self) -> None:
        if self.wells and self.link.linked:
            self.link.open_many(self.wells)
        else:
            self.go_to(self.here)

    @timed
    def _plate_moved(self, well: str) -> None:
        """Follow the Plate dock to another well, within the current source."""
        table = self.table
        if table is None or (self.here >= 0 and table.wells[self.here] == well):
            return
        row = table.row(well, table.sources[self.here] if self.here >= 0 else table.names[0])
        if row >= 0:
            self.go_to(row, show_images=False)

    # -- files --------------------------------------------------------------------------------------------------------

    def save_rows(self, path: str | Path) -> None:
        """Save the selected wells, in all sources, as CSV; without a selection, all wells."""
        table = self.table
        if table is not None:
            rows = table.rows_of(self.wells) if self.wells else np.ones(len(table), bool)
            self._saving.start_function(
                saving(path, partial(write_rows, table, rows, Path(path))),
                title=f"Saving {Path(path).name}",
                done=lambda saved: self.panel.status.setText(f"Saved {rows.sum()} rows in {escape(str(saved))}."),
            )

    def _fill_menu(self) -> None:
        menu = self.panel.menu
        menu.clear()
        menu.addAction("Report folder…", self._ask_report)
        if self.report.recent:
            menu.addSeparator()
        for path in self.report.recent:
            menu.addAction(Path(path).name, partial(self.open_report, path)).setToolTip(path)
        menu.setToolTipsVisible(True)

    def _ask_report(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a report")
        if path:
            self.open_report(path)

    def _ask_export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the wells", "wells.csv", "Tables (*.csv)")
        if path:
            self.save_rows(path)

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Accept files and folders."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: N802
        """Open the report that was dropped."""
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.open_report(paths[0])

    def _connect(self) -> None:
        panel, view, link = self.panel, self.panel.view, self.link
        self.report.replaced.connect(self._report_replaced)
        self.report.opened.connect(self._report_opened)
        panel.menu.aboutToShow.connect(self._fill_menu)
        panel.among.currentIndexChanged.connect(self._show_near)
        panel.neighbour_chosen.connect(self.go_to)
        panel.export.clicked.connect(lambda _checked: self._ask_export())
        view.about = self._tooltip
        view.clicked.connect(self._clicked)
        view.moved.connect(self._moved)
        view.opened.connect(self._entered)
        view.selected.connect(self._rows_selected)
        link.selection_changed.connect(self._take_selection)
        link.well_changed.connect(self._plate_moved)
        link.problem.connect(lambda text: panel.status.setText(f"⚠ {escape(text)}"))


def _release(dock: ProfileDock) -> None:
    """Follow the Plate dock no more, once the dock is gone."""
    _ALIVE.discard(dock)
    with contextlib.suppress(RuntimeError):
        dock.link.blockSignals(True)
        dock.link.stop()
