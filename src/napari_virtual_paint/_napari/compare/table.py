"""The table of scores: sortable with the mean always last, best and worst marked, copied as text that spreadsheets take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt
from qtpy.QtGui import QBrush, QColor, QFont, QFontMetrics, QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QApplication, QHeaderView, QTableView, QWidget

from napari_virtual_paint._napari.compare.scores import ScoreRow, as_text, extras, extremes, mean_row
from napari_virtual_paint.metrics.metric import METRICS, metric

STAIN_TOOLTIP = "The stain compared. Click a heading to sort; click again to turn the order."
BEST, WORST = QColor(64, 140, 255, 70), QColor(255, 150, 40, 60)
"""Light blue and orange, distinguishable for the colour-blind; best is also bold and worst italic."""
SHORTEST_STAIN = 60  # pixels to which a name is cut with dots; it is whole in its tooltip
SORT_ROLE = int(Qt.ItemDataRole.UserRole) + 1


class ScoresModel(QAbstractTableModel):  # type: ignore[misc]
    """Rows of scores and, below them, their mean."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._rows: list[ScoreRow] = []
        self._mean: ScoreRow | None = None
        self._marks: dict[tuple[int, int], bool] = {}
        self.names: tuple[str, ...] = tuple(METRICS)

    @property
    def rows(self) -> list[ScoreRow]:
        """The stains' rows and the mean."""
        return [*self._rows, *([self._mean] if self._mean is not None else [])]

    def set_rows(self, rows: Sequence[ScoreRow]) -> None:
        """Show other rows; the selection stays where their number stays."""
        names = (*METRICS, *extras(rows))
        same = len(rows) == len(self._rows) and names == self.names
        if not same:
            self.beginResetModel()
        self._rows, self.names = list(rows), names
        self._mean = mean_row(rows) if rows else None
        self._marks = {}
        for column, name in enumerate(METRICS, start=1):
            for index, best in zip(extremes(rows, name), (True, False), strict=True):
                if index is not None:
                    self._marks[index, column] = best
        if same:
            self.dataChanged.emit(self.index(0, 0), self.index(self.rowCount() - 1, self.columnCount() - 1))
        else:
            self.endResetModel()

    def is_mean(self, row: int) -> bool:
        """Return whether a row is the mean."""
        return row == len(self._rows)

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 - Qt's name
        return 0 if parent is not None and parent.isValid() else 1 + len(self.names)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:  # noqa: N802 - Qt's name
        if orientation != Qt.Orientation.Horizontal:
            return None
        shown = None if section == 0 else metric(self.names[section - 1])
        if role == Qt.ItemDataRole.DisplayRole:
            return "Stain" if shown is None else shown.label
        if role == Qt.ItemDataRole.ToolTipRole:
            return STAIN_TOOLTIP if shown is None else f"{shown.label}: {shown.description}"
        return None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        row, column = self.rows[index.row()], index.column()
        if column == 0:
            return self._stain(row, index.row(), role)
        name = self.names[column - 1]
        value = row.values.get(name)
        mark = self._marks.get((index.row(), column))
        if role == Qt.ItemDataRole.DisplayRole:
            return "–" if value is None else metric(name).text(value) + ("?" if name in row.doubts else "")
        if role == SORT_ROLE:
            return float("-inf") if value is None else value
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.ToolTipRole:
            exact = (
                f"undefined: {row.doubts.get(name) or row.reason or 'there is nothing to compute it from.'}"
                if value is None
                else f"{metric(name).label} = {value:.6g} {row.doubts.get(name, '')}".rstrip()
            )
            left = sum(each.values.get(name) is None for each in self._rows) if self.is_mean(index.row()) and name in METRICS else 0
            if left and value is not None:
                exact += f", over {len(self._rows) - left} of {len(self._rows)} rows: it is undefined in the others"
            return exact + {None: "", True: " (best of the stains)", False: " (worst of the stains)"}[mark]
        if role == Qt.ItemDataRole.BackgroundRole and mark is not None:
            return QBrush(BEST if mark else WORST)
        if role == Qt.ItemDataRole.FontRole and (mark is not None or self.is_mean(index.row())):
            return _font(bold=mark is True or self.is_mean(index.row()), italic=mark is False)
        return None

    def _stain(self, row: ScoreRow, position: int, role: int) -> Any:
        if role in (Qt.ItemDataRole.DisplayRole, SORT_ROLE):
            return row.stain
        if role == Qt.ItemDataRole.ToolTipRole:
            return row.reason or (f"{row.stain}: {row.pixels:,} pixels compared" if row.pixels else row.stain)
        if role == Qt.ItemDataRole.FontRole and self.is_mean(position):
            return _font(bold=True)
        return None


def _bold(widget: QWidget) -> QFontMetrics:
    font = QFont(widget.font())
    font.setBold(True)
    return QFontMetrics(font)


def _font(bold: bool = False, italic: bool = False) -> QFont:
    font = QFont(QApplication.font())
    font.setBold(bold)
    font.setItalic(italic)
    return font


class _MeanLast(QSortFilterProxyModel):  # type: ignore[misc]
    """Sorts the stains and leaves the mean below them, whichever way is up."""

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:  # noqa: N802 - Qt's name
        model = self.sourceModel()
        ascending = self.sortOrder() == Qt.SortOrder.AscendingOrder
        if model.is_mean(left.row()) or model.is_mean(right.row()):
            return bool(ascending == model.is_mean(right.row()))
        first, second = left.data(SORT_ROLE), right.data(SORT_ROLE)
        return bool(first.casefold() < second.casefold()) if isinstance(first, str) else bool(first < second)


class ScoresTable(QTableView):  # type: ignore[misc]
    """Shows `ScoresModel`; Ctrl+C copies the selected rows, or all of them, with full precision."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scores = ScoresModel(self)
        self._proxy = _MeanLast(self)
        self._proxy.setSourceModel(self.scores)
        self._proxy.setSortRole(SORT_ROLE)
        self.setModel(self._proxy)
        self.setSortingEnabled(True)
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self._proxy.sort(-1)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setAlternatingRowColors(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setMinimumSectionSize(self.fontMetrics().horizontalAdvance("00.00") + 6)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setAccessibleName("Scores of each stain")
        self.setToolTip(
            "Scores of each stain. Select rows to act on those stains alone; Ctrl+C copies them.\n"
            "Blue and bold is the best, orange and italic the worst."
        )

    def set_rows(self, rows: Sequence[ScoreRow]) -> None:
        """Show other rows, in the order that the user sorted by."""
        self.scores.set_rows(rows)
        letters = _bold(self.horizontalHeader())
        for column, name in enumerate(self.scores.names, start=1):
            self.setColumnWidth(column, max(self.sizeHintForColumn(column), letters.horizontalAdvance(metric(name).label) + 10))
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Give the names of stains the room that the numbers leave, and scroll where that is too little: no number is cut."""
        header, bar = self.horizontalHeader(), self.horizontalScrollBar()
        numbers = sum(header.sectionSize(column) for column in range(1, header.count()))
        longest = max((_bold(self).horizontalAdvance(row.stain) for row in self.scores.rows), default=0) + 12
        least = min(max(longest, header.sectionSizeHint(0)), SHORTEST_STAIN)
        room = self.viewport().width() - numbers
        self.setColumnWidth(0, max(room, least))
        below = bar.sizeHint().height() if room < least else 0
        lines = self.verticalHeader().defaultSectionSize() * max(2, self.scores.rowCount())
        self.setFixedHeight(min(header.sizeHint().height() + lines + below + 4, 400))

    def displayed_rows(self) -> list[ScoreRow]:
        """Return the rows as they are shown, the mean last."""
        return [self.scores.rows[self._source(position)] for position in range(self._proxy.rowCount())]

    def selected(self) -> list[int]:
        """Return the positions of the selected stains, in the order of the pairs; empty where none is selected."""
        picked = {self._source(index.row()) for index in self.selectionModel().selectedRows()}
        return sorted(position for position in picked if not self.scores.is_mean(position))

    def copy(self) -> str:
        """Put the selected rows (or all of them) on the clipboard, tab-separated; returns the text."""
        picked = sorted({index.row() for index in self.selectionModel().selectedRows()})
        rows = self.displayed_rows()
        text = as_text([rows[position] for position in picked] if picked else rows)
        QApplication.clipboard().setText(text)
        return text

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
            event.accept()
            return
        super().keyPressEvent(event)

    def _source(self, position: int) -> int:
        return int(self._proxy.mapToSource(self._proxy.index(position, 0)).row())
