"""The sliders: a tree of features whose rows are drawn, not made of widgets, so that 2,000 are as fast as ten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from qtpy.QtCore import QAbstractItemModel, QModelIndex, QPoint, QSize, Qt, Signal
from qtpy.QtGui import QDoubleValidator, QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QAbstractItemView, QLineEdit, QStyledItemDelegate, QTreeView, QWidget

from napari_virtual_paint._napari.cells.slider_row import BRANCH, HEIGHT, RowFacts, number_rect, paint_row, track_rect
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.cells.cellprofiler_names import Feature

FEATURE = int(Qt.ItemDataRole.UserRole)  # role that gives the column of a feature, or -1 for a branch


ORDER = ("Nuclei", "Cells", "Cytoplasm")


class Node:
    """A branch, or a leaf: a feature."""

    __slots__ = ("count", "feature", "kids", "parent", "row", "text")

    def __init__(self, text: str, parent: Node | None, feature: int = -1) -> None:
        self.text, self.parent, self.feature = text, parent, feature
        self.kids: list[Node] = []
        self.row = self.count = 0

    def kid(self, text: str) -> Node:
        """Return the branch of this name, adding it if it is missing."""
        for node in self.kids:
            if node.text == text and node.feature < 0:
                return node
        return self.add(Node(text, self))

    def add(self, node: Node) -> Node:
        """Append a node."""
        node.row = len(self.kids)
        self.kids.append(node)
        return node


class FeatureTree(QAbstractItemModel):  # type: ignore[misc]
    """Names of features as a tree of one column.

    Attributes
    ----------
    features
        All of them, parsed, in the order of the model's columns.
    """

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.features: list[Feature] = []
        self._root = Node("", None)
        self._leaves: dict[int, Node] = {}
        self._folded: list[str] = []

    def set_features(self, features: Sequence[Feature]) -> None:
        """Show other features."""
        self.features = list(features)
        self._folded = [feature.name.casefold().replace("_", " ") for feature in features]
        self.search("")

    def search(self, text: str, among: set[int] | None = None) -> int:
        """Show only the features whose name has all words of a text, and which are among some; return how many."""
        words = text.casefold().replace("_", " ").split()
        self.beginResetModel()
        self._root, self._leaves = Node("", None), {}
        for index, feature in enumerate(self.features):
            if all(word in self._folded[index] for word in words) and (among is None or index in among):
                self._insert(index, feature)
        self._root.kids.sort(key=lambda node: (ORDER.index(node.text) if node.text in ORDER else len(ORDER), node.text))
        for row, node in enumerate(self._root.kids):
            node.row = row
        _count(self._root)
        self.endResetModel()
        return len(self._leaves)

    def index_of(self, feature: int) -> QModelIndex:
        """Return the model index of a feature; an invalid one where it is not shown."""
        node = self._leaves.get(feature)
        return QModelIndex() if node is None else self.createIndex(node.row, 0, node)

    def index(self, row: int, column: int, parent: QModelIndex = QModelIndex()) -> QModelIndex:  # noqa: B008 - Qt's own signature
        kids = self._node(parent).kids
        return self.createIndex(row, column, kids[row]) if column == 0 and 0 <= row < len(kids) else QModelIndex()

    def parent(self, index: QModelIndex = QModelIndex()) -> Any:  # noqa: B008
        above = self._node(index).parent
        return QModelIndex() if above is None or above is self._root else self.createIndex(above.row, 0, above)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return len(self._node(parent).kids)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return 1

    def flags(self, index: QModelIndex) -> Any:
        found = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return found | Qt.ItemFlag.ItemIsEditable if self._node(index).feature >= 0 else found

    def data(self, index: QModelIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        node = self._node(index)
        if role == FEATURE:
            return node.feature
        if role == Qt.ItemDataRole.DisplayRole:
            return node.text if node.feature >= 0 else f"{node.text}  ({node.count})"
        if role == Qt.ItemDataRole.ToolTipRole and node.feature >= 0:
            return f"{self.features[node.feature].name}\nDrag to move it, double-click to reset it, click the number to type one."
        return None

    def _node(self, index: QModelIndex) -> Node:
        return index.internalPointer() if index.isValid() else self._root

    def _insert(self, index: int, feature: Feature) -> None:
        node = self._root.kid(feature.compartment or "Other")
        if feature.channels:
            node = node.kid(" × ".join(feature.channels))
        if feature.group:
            node = node.kid(feature.group)
        self._leaves[index] = node.add(Node(feature.measure.replace("_", " "), node, index))


def _count(node: Node) -> int:
    """Store in each branch the number of its features."""
    node.count = 1 if node.feature >= 0 else sum(_count(kid) for kid in node.kids)
    return node.count


FINE = 0.01  # share of a slider that an arrow key moves it
OPEN = 40  # up to this many found features are unfolded at once


class SliderDelegate(QStyledItemDelegate):  # type: ignore[misc]
    """Draws rows, and edits numbers."""

    def __init__(self, view: Sliders) -> None:
        super().__init__(view)
        self._view = view

    def sizeHint(self, option: Any, index: QModelIndex) -> QSize:  # noqa: N802 - Qt's name
        return QSize(120, HEIGHT if index.data(FEATURE) >= 0 else BRANCH)

    def paint(self, painter: Any, option: Any, index: QModelIndex) -> None:
        feature = index.data(FEATURE)
        if feature < 0 or self._view.facts is None:
            super().paint(painter, option, index)
            return
        painter.save()
        paint_row(painter, option, self._view.facts, feature, index.data())
        painter.restore()

    def createEditor(self, parent: QWidget, option: Any, index: QModelIndex) -> QWidget:  # noqa: N802
        editor = QLineEdit(parent)
        editor.setValidator(QDoubleValidator(editor))
        editor.setAlignment(Qt.AlignmentFlag.AlignRight)
        editor.setToolTip("Type a value and press Return")
        return editor

    def setEditorData(self, editor: QWidget, index: QModelIndex) -> None:  # noqa: N802
        if self._view.facts is not None:
            editor.setText(f"{float(self._view.facts.values[index.data(FEATURE)]):.6g}")
            editor.selectAll()

    def setModelData(self, editor: QWidget, model: Any, index: QModelIndex) -> None:  # noqa: N802
        value, fine = editor.locale().toDouble(editor.text())
        if fine:
            self._view.typed.emit(index.data(FEATURE), value)

    def updateEditorGeometry(self, editor: QWidget, option: Any, index: QModelIndex) -> None:  # noqa: N802
        editor.setGeometry(number_rect(option.rect).adjusted(-1, -2, 1, 2))


class Sliders(QTreeView):  # type: ignore[misc]
    """Shows `RowFacts` and reports the user's edits; it changes no value itself.

    Attributes
    ----------
    facts
        The values shown; None shows nothing.
    """

    began = Signal()
    """A gesture begins: all its moves are undone together."""
    moved = Signal(int, float)
    """The column of a feature, and the value that it was dragged or stepped to."""
    typed = Signal(int, float)
    """The column of a feature, and the number typed for it."""
    resets = Signal(int)
    """The column of a feature that was double-clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.facts: RowFacts | None = None
        self.tree = FeatureTree(self)
        self._dragged = -1
        self.setModel(self.tree)
        self.setItemDelegate(SliderDelegate(self))
        self.setHeaderHidden(True)
        self.setIndentation(12)
        self.setAnimated(False)
        self.setMouseTracking(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setExpandsOnDoubleClick(False)
        self.setAccessibleName("Features")
        self.setMinimumHeight(150)

    def show_facts(self, facts: RowFacts | None) -> None:
        """Show the values of other cells and features."""
        self.facts = facts
        self.viewport().update()

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        super().paintEvent(event)

    @timed
    def refresh(self, feature: int = -1) -> None:
        """Redraw the row of a feature, or all visible ones."""
        if feature < 0:
            self.viewport().update()
            return
        rect = self.visualRect(self.tree.index_of(feature))
        if rect.isValid():
            self.viewport().update(rect)

    def search(self, text: str, among: Iterable[int] | None = None) -> int:
        """Show the features that match a text, unfolded if they are few; return how many."""
        found = self.tree.search(text, None if among is None else set(among))
        if found and (text.strip() or among is not None) and found <= OPEN:
            self.expandAll()
        else:
            self.unfold_some()
        return found

    def unfold_some(self) -> None:
        """Unfold the first branches, so that there is a slider to drag."""
        index = self.tree.index(0, 0)
        while index.isValid() and index.data(FEATURE) < 0:
            self.expand(index)
            index = self.tree.index(0, 0, index)

    def selected(self) -> list[int]:
        """Return the selected features, from top to bottom."""
        rows = sorted((self.visualRect(index).top(), index.data(FEATURE)) for index in self.selectionModel().selectedIndexes())
        return [feature for _, feature in rows if feature >= 0]

    def _at(self, point: QPoint) -> tuple[QModelIndex, int]:
        index = self.indexAt(point)
        return index, index.data(FEATURE) if index.isValid() else -1

    def _drag_to(self, point: QPoint) -> None:
        track = track_rect(self.visualRect(self.tree.index_of(self._dragged)))
        if self.facts is not None and track.width() > 0:
            share = (point.x() - track.left()) / track.width()
            self.moved.emit(self._dragged, self.facts.scales.value(self._dragged, share))

    @timed
    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        point = event.position().toPoint()
        index, feature = self._at(point)
        if event.button() != Qt.MouseButton.LeftButton or feature < 0 or self.facts is None:
            super().mousePressEvent(event)
            return
        rect = self.visualRect(index)
        if number_rect(rect).contains(point):
            self.setCurrentIndex(index)
            self.edit(index)
        elif track_rect(rect).adjusted(-6, -3, 6, 4).contains(point) and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.setCurrentIndex(index)
            self._dragged = feature
            self.began.emit()
            self._drag_to(point)
        else:
            super().mousePressEvent(event)

    @timed
    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if self._dragged >= 0:
            self._drag_to(event.position().toPoint())
        else:
            super().mouseMoveEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if self._dragged >= 0:
            self._dragged = -1
        else:
            super().mouseReleaseEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        point = event.position().toPoint()
        index, feature = self._at(point)
        if feature >= 0 and not number_rect(self.visualRect(index)).contains(point):
            self.resets.emit(feature)
        elif index.isValid() and feature < 0:
            self.setExpanded(index, not self.isExpanded(index))
        else:
            super().mouseDoubleClickEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        feature = self.currentIndex().data(FEATURE) if self.currentIndex().isValid() else -1
        key = event.key()
        if feature is None or feature < 0 or self.facts is None or self.state() == QAbstractItemView.State.EditingState:
            super().keyPressEvent(event)
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            scales, now = self.facts.scales, float(self.facts.values[feature])
            step = FINE * (scales.high[feature] - scales.low[feature]) * (1 if key == Qt.Key.Key_Right else -1)
            self.began.emit()
            self.moved.emit(feature, now + step)
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.resets.emit(feature)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_F2):
            self.edit(self.currentIndex())
        else:
            super().keyPressEvent(event)
