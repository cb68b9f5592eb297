"""The layout of the Profile dock: the scatter with its legend and sources, facts of the chosen well, and the wells most like it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.profile.scatter import ScatterView
from napari_virtual_paint._napari.profile.symbols import symbol_icon
from napari_virtual_paint._napari.shared.legend import Legend
from napari_virtual_paint._napari.shared.widgets import button_grid, combo, footer, set_choices, words

NO_REPORT = "Drop the folder of a report here, or open one. The Evaluate dock writes reports: tick Profiles there."
MODES = (
    ("box", "Box", "Drag a box over wells to select them (B); with Shift they are added"),
    ("lasso", "Lasso", "Draw around wells to select them (L); with Shift they are added"),
    ("pan", "Move", "Drag the map (H; the middle button does it, too); the wheel zooms"),
)
LINES = 5  # nearest wells that the list shows before it scrolls
IN_A_ROW = 3


class ProfilePanel(QWidget):  # type: ignore[misc]
    """The widgets of the Profile dock, without their behaviour; `footer` stays below it where it scrolls.

    Signals
    -------
    sources_changed
        Other sources are shown.
    neighbour_chosen
        A row of the list of nearest wells was chosen, by its number in the `ProfileTable`.
    """

    sources_changed = Signal()
    neighbour_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = words(NO_REPORT)
        self.open = QPushButton("Open…")
        self.menu = QMenu(self.open)
        self.kind = combo("UMAP keeps neighbors together; PCA shows the two directions that differ most", letters=4)
        self.column = combo("What the wells are colored by", letters=6)
        self.view, self.legend = ScatterView(), Legend()
        self.modes: dict[str, QPushButton] = {}
        self.whole = QPushButton("Whole")
        self.sources: list[QPushButton] = []
        self.selection = words()
        self.export = QPushButton("Export…")
        self.status = words()
        self.among = combo("Where to look for wells with similar profiles", letters=6)
        self.near = QTableWidget(0, 4)
        self._rows: list[int] = []
        self._source_grid = QGridLayout()
        self._lay_out()

    def set_sources(self, names: Sequence[str]) -> None:
        """Offer a button for each source, with its symbol; all are shown."""
        for button in self.sources:
            self._source_grid.removeWidget(button)
            button.deleteLater()
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        self.sources = []
        for index, name in enumerate(names):
            button = QPushButton(symbol_icon(index, ink), name)
            button.setCheckable(True)
            button.setChecked(True)
            button.setToolTip(f"Show or hide: {name}")
            button.toggled.connect(lambda _on: self.sources_changed.emit())
            self._source_grid.addWidget(button, index // IN_A_ROW, index % IN_A_ROW)
            self.sources.append(button)
        set_choices(self.among, [("own", "the same source"), ("", "all sources"), *((name, name) for name in names)], "own")

    def shown_sources(self) -> list[bool]:
        """Return which sources are shown."""
        return [button.isChecked() for button in self.sources]

    def set_near(self, lines: Sequence[tuple[int, str, str, str, float]]) -> None:
        """Show the nearest wells: row of the `ProfileTable`, well, source, treatment, similarity."""
        self._rows = [line[0] for line in lines]
        self.near.setRowCount(len(lines))
        blocker = QSignalBlocker(self.near.model())  # else the table lays itself out anew for each text
        for place, (_, *texts, similarity) in enumerate(lines):
            for column, text in enumerate((*texts, f"{similarity:.3f}")):
                self._cell(place, column).setText(text)
        del blocker
        self.near.viewport().update()

    def _cell(self, place: int, column: int) -> QTableWidgetItem:
        """Return a cell of the list of nearest wells; it is made where there is none yet."""
        item = self.near.item(place, column)
        if item is None:
            item = QTableWidgetItem()
            if column == 3:
                item.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
            self.near.setItem(place, column, item)
        return item

    def show_mode(self, mode: str) -> None:
        """Press the button of a mode."""
        self.modes[mode].setChecked(True)

    def _lay_out(self) -> None:
        for label in (self.title, self.selection, self.status):
            label.setTextFormat(Qt.TextFormat.RichText)
        self.open.setMenu(self.menu)
        self.open.setToolTip("Open the folder of a report; or drop it onto this dock")
        self.whole.setToolTip("Show all wells of the sources that are shown (0, or a double click beside the points)")
        self.export.setToolTip("Save the selected wells as CSV, in all sources; without a selection, all wells")
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 4, 0)
        top.setSpacing(5)
        top.addWidget(self.title)
        choice = QHBoxLayout()
        choice.addWidget(self.kind, 1)
        choice.addWidget(QLabel("Color by"))
        choice.addWidget(self.column, 2)
        top.addLayout(choice)
        top.addWidget(self.view, 1)
        top.addWidget(self.legend)
        self._source_grid.setSpacing(4)
        top.addLayout(self._source_grid)
        top.addLayout(self._tools())
        self.selection.hide()
        self.footer = footer(self.selection, self.status, button_grid((self.open, self.export), 2))
        near = QHBoxLayout()
        near.addWidget(QLabel("Most like it among"))
        near.addWidget(self.among, 1)
        top.addLayout(near)
        top.addWidget(self.near)
        self._set_up_near()

    def _tools(self) -> QHBoxLayout:
        line, group = QHBoxLayout(), QButtonGroup(self)
        line.setSpacing(4)
        for mode, text, tip in MODES:
            button = QPushButton(text)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.clicked.connect(partial(self.view.set_mode, mode))
            group.addButton(button)
            line.addWidget(button, 1)
            self.modes[mode] = button
        self.view.mode_changed.connect(self.show_mode)
        self.show_mode("box")
        line.addWidget(self.whole, 1)
        return line

    def _set_up_near(self) -> None:
        self.near.setHorizontalHeaderLabels(["Well", "Source", "What", "Cosine"])
        self.near.verticalHeader().hide()
        header = self.near.horizontalHeader()
        for column, sample in enumerate(("AA48", "a prediction", "", "Cosine")):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Interactive if sample else QHeaderView.ResizeMode.Stretch)
            self.near.setColumnWidth(column, self.near.fontMetrics().horizontalAdvance(sample) + 14)
        self.near.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.near.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.near.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.near.setToolTip("Wells by the cosine similarity of their profiles: click one, or press Enter, to go there")
        self.near.setAccessibleName("Nearest wells")
        height = self.near.fontMetrics().height() + 6
        self.near.verticalHeader().setDefaultSectionSize(height)
        self.near.setFixedHeight(height * (LINES + 1) + 12)
        self.near.cellClicked.connect(self._near_chosen)
        self.near.cellActivated.connect(self._near_chosen)

    def _near_chosen(self, place: int, _column: int) -> None:
        if 0 <= place < len(self._rows):
            self.neighbour_chosen.emit(self._rows[place])
