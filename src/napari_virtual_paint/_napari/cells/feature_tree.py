"""The features as a tree: compartment, channel, feature group; rows are asked for one by one, so thousands cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractItemModel, QModelIndex, Qt

from napari_virtual_paint.cells.cellprofiler_names import Feature

FEATURE = int(Qt.ItemDataRole.UserRole)
"""Role that gives a feature's position, or -1 for a branch."""
ORDER = ("Nuclei", "Cells", "Cytoplasm")


class Node:
    """A branch, or a leaf: a feature."""

    __slots__ = ("count", "feature", "kids", "parent", "row", "text")

    def __init__(self, text: str, parent: Node | None, feature: int = -1) -> None:
        self.text, self.parent, self.feature = text, parent, feature
        self.kids: list[Node] = []
        self.row = self.count = 0

    def kid(self, text: str) -> Node:
        """Return the branch of this name, made if need be."""
        for node in self.kids:
            if node.text == text and node.feature < 0:
                return node
        return self.add(Node(text, self))

    def add(self, node: Node) -> Node:
        """Hang a node on this one."""
        node.row = len(self.kids)
        self.kids.append(node)
        return node


class FeatureTree(QAbstractItemModel):  # type: ignore[misc]
    """Names of features as a tree of one column.

    Attributes
    ----------
    features
        All of them, taken apart, in the order of the model; a row's position among them is its role `FEATURE`.
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
        """Show only the features whose name has all words of a text (and that are among some); return how many."""
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
        """Return the row of a feature; an invalid one where it is not shown."""
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
    """Note at each branch how many features hang on it."""
    node.count = 1 if node.feature >= 0 else sum(_count(kid) for kid in node.kids)
    return node.count
