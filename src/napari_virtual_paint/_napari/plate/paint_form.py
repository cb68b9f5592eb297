"""The part of the Plate dock that paints: shows a `PlateState` and edits it; it knows no plate and no science."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.plate.state import PlateState
from napari_virtual_paint._napari.shared.widgets import DEVICES, combo, row, words

KINDS = (("ome-zarr", "OME-Zarr plate"), ("in-place", "Into the plate itself"), ("ome-tiff", "OME-TIFFs, one a field"))
LINES = 4
"""Lines that a list shows before it scrolls."""


class PlateForm(QWidget):  # type: ignore[misc]
    """Edits what is painted, and how.

    Signals
    -------
    valueChanged
        The `PlateState`, when the user changed it.
    """

    valueChanged = Signal(object)  # noqa: N815 - Qt's own way of naming
    openPackage = Signal(str)  # noqa: N815
    """``"file"`` or ``"folder"``: a model's package is to be opened."""
    browse = Signal()
    failure = Signal(str)
    """The key of a failed field that was clicked."""
    dropped = Signal(int)
    """The row of the queue that is to go."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value, self._showing = PlateState(), False
        self.model = combo("The model that paints", letters=6)
        self.open = QPushButton("Open…")
        self.summary = words()
        self.output = QLineEdit()
        self.choose = QPushButton("…")
        self.kind = combo("How the stains are written", KINDS, letters=6)
        self.scope = combo("Which wells are painted", letters=6)
        self.workers = QSpinBox()
        self.device = combo("Where to paint; Auto takes the fastest device there is", DEVICES, letters=6)
        self.note = words()
        self.start = QPushButton("Paint")
        self.add = QPushButton("Add to queue")
        self.pause = QPushButton("Pause")
        self.cancel = QPushButton("Cancel")
        self.copy = QPushButton("Copy as command")
        self.bar = QProgressBar()
        self.status = words()
        self.queue, self.failures = QListWidget(), QListWidget()
        self.failed_head = words()
        self._build()
        self._connect()
        self.setWells(0, 0)

    def value(self) -> PlateState:
        """Return what is chosen."""
        return self._value

    def setValue(self, choice: PlateState) -> None:  # noqa: N802 - Qt's own way of naming
        """Show a choice, without telling that it changed."""
        self._value, self._showing = choice, True
        for widget, value in self._combos(choice):
            widget.setCurrentIndex(widget.findData(value))
        self.workers.setValue(choice.workers)
        if self.output.text() != choice.output:
            self.output.setText(choice.output)
        self._showing = False
        self._enable_output()

    def setModels(self, models: Sequence[tuple[str, str, str]]) -> None:  # noqa: N802
        """Offer these models: key, name and tooltip of each."""
        blocker = QSignalBlocker(self.model)
        self.model.clear()
        for index, (key, name, tip) in enumerate(models):
            self.model.addItem(name, key)
            self.model.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        self.model.setCurrentIndex(self.model.findData(self._value.model))
        del blocker

    def setWells(self, every: int, selected: int) -> None:  # noqa: N802
        """Tell how many wells there are and how many are selected."""
        blocker = QSignalBlocker(self.scope)
        self.scope.clear()
        self.scope.addItem(f"All {every} wells" if every else "All wells", "all")
        self.scope.addItem(f"The {selected} selected" if selected else "Selected wells (none yet)", "selected")
        self.scope.setCurrentIndex(self.scope.findData(self._value.scope))
        del blocker

    def setQueue(self, lines: Sequence[str]) -> None:  # noqa: N802
        """Show the queue."""
        _fill(self.queue, [(line, line, line) for line in lines])

    def setFailures(self, failures: Sequence[tuple[str, str]]) -> None:  # noqa: N802
        """Show the fields that failed: key and reason of each."""
        _fill(self.failures, [(f"{key}: {reason}", key, reason) for key, reason in failures])
        self.failed_head.setText(f"<b>{len(failures)} failed</b>; click one to go to its well")
        self.failed_head.setVisible(bool(failures))

    def setStatus(self, text: str) -> None:  # noqa: N802
        """Say how the painting stands."""
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def setBusy(self, busy: bool, paused: bool = False) -> None:  # noqa: N802
        """Enable what can be done while a plate is painted, or is not."""
        self.pause.setEnabled(busy)
        self.cancel.setEnabled(busy)
        self.pause.setText("Go on" if paused else "Pause")
        self.bar.setVisible(busy)

    def _combos(self, choice: PlateState) -> list[tuple[QComboBox, Any]]:
        return [(self.model, choice.model), (self.kind, choice.kind), (self.scope, choice.scope), (self.device, choice.device)]

    def _read(self) -> None:
        if self._showing:
            return
        found = replace(
            self._value,
            model=self.model.currentData() or "",
            output=self.output.text().strip(),
            kind=self.kind.currentData(),
            scope=self.scope.currentData(),
            workers=self.workers.value(),
            device=self.device.currentData(),
        )
        if found != self._value:
            self._value = found
            self._enable_output()
            self.valueChanged.emit(found)

    def _enable_output(self) -> None:
        for widget in (self.output, self.choose):
            widget.setEnabled(self._value.kind != "in-place")

    def _connect(self) -> None:
        for widget, _ in self._combos(self._value):
            widget.currentIndexChanged.connect(self._read)
        self.workers.valueChanged.connect(self._read)
        self.output.editingFinished.connect(self._read)
        self.choose.clicked.connect(self.browse.emit)
        self.failures.itemClicked.connect(self._failure)
        self.failures.itemActivated.connect(self._failure)
        self.queue.customContextMenuRequested.connect(self._queue_menu)

    def _failure(self, item: QListWidgetItem) -> None:
        self.failure.emit(item.data(Qt.ItemDataRole.UserRole))

    def _queue_menu(self, place: Any) -> None:
        item = self.queue.itemAt(place)
        if item is not None:
            menu = QMenu(self)
            row = self.queue.row(item)
            menu.addAction("Take off the queue", lambda: self.dropped.emit(row))
            menu.exec(self.queue.mapToGlobal(place))

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Delete takes the chosen line off the queue."""
        if event.key() == Qt.Key.Key_Delete and self.queue.hasFocus() and self.queue.currentRow() >= 0:
            self.dropped.emit(self.queue.currentRow())
            return
        super().keyPressEvent(event)

    def _build(self) -> None:
        self.open.setToolTip("Open a model package (bioimage.io) from disk")
        menu = QMenu(self.open)
        menu.addAction("Package file (.zip)…", lambda: self.openPackage.emit("file"))
        menu.addAction("Package folder…", lambda: self.openPackage.emit("folder"))
        self.open.setMenu(menu)
        self.output.setToolTip("The painted plate: a .zarr, or a folder for OME-TIFFs. One that is half painted goes on where it stopped")
        self.output.setPlaceholderText("Painted plate")
        self.choose.setToolTip("Choose where the painted plate goes, or one that is half painted")
        self.choose.setMaximumWidth(34)
        self.workers.setRange(0, 64)
        self.workers.setSpecialValueText("as many as are best")
        self.workers.setToolTip("Processes that paint, each with its own memory: on a CPU one a core is best. 1 paints in napari itself")
        tips = {
            self.start: "Paint the plate; one that is half painted goes on where it stopped",
            self.add: "Paint this plate after those that wait already",
            self.pause: "Hold the painting after the fields under way",
            self.cancel: "Stop within a second; what is painted is kept, and a later start goes on with the rest",
            self.copy: "Copy the command line that does the same",
        }
        for button, tip in tips.items():
            button.setToolTip(tip)
        self.bar.setTextVisible(True)
        self.bar.hide()
        self.status.hide()
        for box, name in ((self.queue, "Queue of plates"), (self.failures, "Failed fields")):
            box.setAccessibleName(name)
            box.setToolTip(name)
            box.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            box.hide()
        self.queue.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.queue.setToolTip("Plates that are painted one after the other; Delete or the context menu takes one off")
        self._lay_out()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(3)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Model", row(self.model, self.open))
        form.addRow(self.summary)
        form.addRow("Output", row(self.output, self.choose))
        form.addRow("As", self.kind)
        form.addRow("Wells", self.scope)
        form.addRow("Device", self.device)
        form.addRow("Workers", self.workers)
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, button in enumerate((self.start, self.add, self.pause, self.cancel)):
            grid.addWidget(button, place // 2, place % 2)
        grid.addWidget(self.copy, 2, 0, 1, 2)
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(4)
        top.addLayout(form)
        for widget in (self.note, self.bar, self.status):
            top.addWidget(widget)
        top.addLayout(grid)
        top.addWidget(self.queue)
        self.failed_head.hide()


def _fill(box: QListWidget, items: Sequence[tuple[str, str, str]]) -> None:
    """Show lines (text, data, tooltip); what is shown already is left as it is."""
    for index, (text, data, tip) in enumerate(items):
        item = box.item(index)
        if item is None:
            item = QListWidgetItem()
            box.addItem(item)
        if item.text() != text:
            item.setText(text)
            item.setToolTip(tip)
            item.setData(Qt.ItemDataRole.UserRole, data)
    while box.count() > len(items):
        box.takeItem(box.count() - 1)
    height = max(box.sizeHintForRow(0), 18) * min(max(len(items), 1), LINES) + 2 * box.frameWidth() + 4
    if box.height() != height:
        box.setFixedHeight(height)
    box.setVisible(bool(items))
