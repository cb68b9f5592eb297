"""Further models in the Stain dock: a row each, and whether stains that several of them make are combined."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.widgets import combo

ENSEMBLE = (
    "Ensemble: the mean (or the median, under Advanced) of what they paint, each brought to the first one's scale; "
    "how far they differ becomes an SD layer"
)


class MoreModels(QWidget):  # type: ignore[misc]
    """Edits the keys of further models; empty by default, and then one line high.

    Attributes
    ----------
    combine
        Whether shared stains are combined; shown where there are any.
    """

    changed = Signal()
    """The user added, chose or removed a model, or ticked the box."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models: list[tuple[str, str, str]] = []
        self._first = ""
        self._rows: list[tuple[QWidget, QComboBox]] = []
        self.add = QPushButton("+ Another model")
        self.add.setFlat(True)
        self.add.setCursor(Qt.CursorShape.PointingHandCursor)
        self.add.setToolTip("Paint with several models at once: the layers come from all; equal stains can be combined into one")
        self.add.clicked.connect(self._added)
        self.combine = QCheckBox("Combine equal stains (ensemble)")  # a box does not wrap: a longer text would widen the dock
        self.combine.setChecked(True)
        self.combine.toggled.connect(self.changed)
        self.combine.hide()
        self._lines = QVBoxLayout()
        self._lines.setSpacing(2)
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(2)
        top.addLayout(self._lines)
        line = QHBoxLayout()
        line.addWidget(self.add)
        line.addStretch(1)
        top.addLayout(line)
        top.addWidget(self.combine)

    def value(self) -> tuple[str, ...]:
        """Return the keys of the further models."""
        return tuple(str(box.currentData()) for _, box in self._rows if box.currentData())

    def setValue(self, keys: Sequence[str]) -> None:  # noqa: N802 - Qt's own way of naming
        """Show these, without telling that anything changed."""
        if tuple(keys) == self.value() and len(keys) == len(self._rows):
            return
        for line, _ in self._rows:
            line.hide()
            line.deleteLater()
        self._rows = []
        for key in keys:
            self._row(key)

    def setModels(self, models: Sequence[tuple[str, str, str]], first: str) -> None:  # noqa: N802
        """Offer these models: key, name and tooltip of each; `first` is chosen above."""
        if (list(models), first) == (self._models, self._first):
            return
        self._models, self._first = list(models), first
        keys = self.value()
        for _, box in self._rows:
            self._fill(box, str(box.currentData() or ""))
        self.add.setEnabled(len(models) > 1 + len(keys))

    def setShared(self, stains: Sequence[str]) -> None:  # noqa: N802
        """Offer to combine these stains, which several of the models make."""
        self.combine.setToolTip(f"Several of the models make {', '.join(stains)}. {ENSEMBLE}")
        self.combine.setVisible(bool(stains))

    def _added(self) -> None:
        taken = {self._first, *self.value()}
        free = next((key for key, _, _ in self._models if key not in taken), "")
        if free:
            self._row(free)
            self._tell()

    def _tell(self) -> None:
        self.add.setEnabled(len(self._models) > 1 + len(self._rows))
        self.changed.emit()

    def _row(self, key: str) -> None:
        line = QWidget()
        layout = QHBoxLayout(line)
        layout.setContentsMargins(0, 0, 0, 0)
        box = combo("A further model; its stains become layers too")
        self._fill(box, key)
        box.currentIndexChanged.connect(self.changed)
        away = QToolButton()
        away.setText("✕")
        away.setToolTip("Take this model away")
        away.clicked.connect(lambda: self._remove(line))
        layout.addWidget(box, 1)
        layout.addWidget(away)
        self._lines.addWidget(line)
        self._rows.append((line, box))

    def _fill(self, box: QComboBox, key: str) -> None:
        blocker = QSignalBlocker(box)
        box.clear()
        for index, (each, name, tip) in enumerate(each for each in self._models if each[0] != self._first or each[0] == key):
            box.addItem(name, each)
            box.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        box.setCurrentIndex(box.findData(key))
        del blocker

    def _remove(self, line: QWidget) -> None:
        self._rows = [row for row in self._rows if row[0] is not line]
        line.hide()
        line.deleteLater()
        self._tell()
