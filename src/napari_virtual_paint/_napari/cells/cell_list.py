"""The Cells tab: real cells with thumbnails made as they come into view, and their groups."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QAbstractListModel, QModelIndex, QSize, Qt, Signal
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QAbstractItemView, QGridLayout, QLabel, QListView, QVBoxLayout, QWidget

from napari_virtual_paint._napari.cells.picture import thumbnail
from napari_virtual_paint._napari.cells.state import Opened
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.widgets import combo, push_button, set_choices

THUMB = 44  # pixels a side of a thumbnail
EVERY = "All cells"


class CellRows(QAbstractListModel):  # type: ignore[misc]
    """Some of the cells of a cohort, one a row."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.positions: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self._opened: Opened | None = None
        self._thumbs: dict[int, QPixmap] = {}

    def open(self, opened: Opened) -> None:
        """Show other cells."""
        self.beginResetModel()
        self._opened, self._thumbs = opened, {}
        self.positions = np.arange(len(opened.cohort))
        self.endResetModel()

    def set_positions(self, positions: npt.NDArray[np.intp]) -> None:
        """Show only some of the cells."""
        self.beginResetModel()
        self.positions = positions
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's own
        return 0 if parent.isValid() else len(self.positions)

    @timed
    def data(self, index: QModelIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        if self._opened is None or not index.isValid():
            return None
        position = int(self.positions[index.row()])
        if role == Qt.ItemDataRole.DisplayRole:
            return self._opened.cohort.label(position)
        if role == Qt.ItemDataRole.ToolTipRole:
            row = self._opened.cohort.metadata.iloc[position]
            return "\n".join(f"{name}: {value}" for name, value in list(row.items())[:20]) or None
        if role == Qt.ItemDataRole.DecorationRole and self._opened.cohort.crops is not None:
            return self._thumb(position)
        return None

    def _thumb(self, position: int) -> QPixmap:
        if position not in self._thumbs and self._opened is not None and self._opened.cohort.crops is not None:
            crop = np.asarray(self._opened.cohort.crops[position])
            self._thumbs[position] = thumbnail(crop, self._opened.limits, self._opened.model.channels, THUMB)
        return self._thumbs[position]


class CellList(QWidget):  # type: ignore[misc]
    """Picks a cell from a list, at the mean of a group, or by a click in the image."""

    picked = Signal(int)
    """The position of a cell in the cohort."""
    means = Signal(str, str)
    """The user wants the cell nearest the mean of a group (column and value, empty for all cells)."""
    folders = Signal()
    """The user wants to choose the folder of the table's images."""
    picking = Signal(bool)
    """Whether clicks in the image pick cells."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._opened: Opened | None = None
        self.column = combo("Show only one group of cells: the metadata that groups them", letters=6)
        self.value = combo("The group", letters=6)
        self.mean = push_button("Nearest the mean", "Pick the real cell nearest the mean of the cells listed")
        self.click = push_button(
            "Pick in image", "Click a cell in the viewer: its row in the table is picked; without a table it is measured at once"
        )
        self.images = push_button(
            "Folder of the images…", "Where the table's images are, if not beside it: the real cell's picture is cut out of them"
        )
        self.rows = CellRows(self)
        self.list = QListView()
        self.notes = QLabel()
        self._build()
        self.column.currentIndexChanged.connect(self._column_changed)
        self.value.currentIndexChanged.connect(self._value_changed)
        self.list.clicked.connect(self._chosen)
        self.list.activated.connect(self._chosen)
        self.mean.clicked.connect(lambda: self.means.emit(*self.group()))
        self.click.toggled.connect(self.picking)
        self.images.clicked.connect(self.folders)

    def open(self, opened: Opened) -> None:
        """Show the cells of another cohort."""
        self._opened = opened
        self.rows.open(opened)
        columns = ((name, name.removeprefix("Metadata_")) for name in opened.cohort.groupings)
        set_choices(self.column, [("", EVERY), *columns], "")
        self._column_changed()
        self.notes.setText("\n".join(_brief(note) for note in opened.cohort.notes[:3]))
        self.notes.setToolTip("\n".join(opened.cohort.notes))
        self.notes.setVisible(bool(opened.cohort.notes))

    def group(self) -> tuple[str, str]:
        """Return the column and value that the list is narrowed to; empty for all cells."""
        column = self.column.currentData() or ""
        return column, (self.value.currentData() or "") if column else ""

    def show_picked(self, position: int) -> None:
        """Mark a cell in the list, if it is listed."""
        found = np.flatnonzero(self.rows.positions == position)
        if len(found):
            self.list.setCurrentIndex(self.rows.index(int(found[0]), 0))
        else:
            self.list.clearSelection()

    def _chosen(self, index: QModelIndex) -> None:
        self.picked.emit(int(self.rows.positions[index.row()]))

    def _column_changed(self, _index: int = 0) -> None:
        column = self.column.currentData() or ""
        values = self._opened.cohort.groupings.get(column, ()) if self._opened is not None else ()
        set_choices(self.value, [(value, value) for value in values], values[0] if values else None)
        self.value.setVisible(bool(column))
        self._value_changed()

    @timed
    def _value_changed(self, _index: int = 0) -> None:
        if self._opened is None:
            return
        column, value = self.group()
        whole = np.arange(len(self._opened.cohort))
        self.rows.set_positions(self._opened.cohort.group(column, value) if column and value else whole)

    def _build(self) -> None:
        self.click.setCheckable(True)
        self.images.hide()
        self.list.setModel(self.rows)
        self.list.setUniformItemSizes(True)
        self.list.setIconSize(QSize(THUMB, THUMB))
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setAccessibleName("Cells")
        self.notes.setWordWrap(True)
        self.notes.hide()
        grid = QGridLayout()
        grid.setSpacing(4)
        grid.addWidget(self.column, 0, 0)
        grid.addWidget(self.value, 0, 1)
        grid.addWidget(self.mean, 1, 0)
        grid.addWidget(self.click, 1, 1)
        for place in (0, 1):
            grid.setColumnStretch(place, 1)
        top = QVBoxLayout(self)
        top.setContentsMargins(2, 6, 2, 2)
        top.addLayout(grid)
        top.addWidget(self.list, 1)
        top.addWidget(self.images)
        top.addWidget(self.notes)


def _brief(note: str) -> str:
    """Return a note without the examples in brackets."""
    return re.sub(r" \([^()]*\)", "", note)
