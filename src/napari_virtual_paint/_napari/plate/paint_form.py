"""The Paint part of the Plate dock: edits what of a `PlateState` concerns painting, and shows the queue and the failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QProgressBar,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari import commands
from napari_virtual_paint._napari.plate.state import PlateState
from napari_virtual_paint._napari.shared.channel_rows import ChannelRows
from napari_virtual_paint._napari.shared.form_binding import BoundForm
from napari_virtual_paint._napari.shared.preparation import FocusChoice, IlluminationChoice, PhaseChoice
from napari_virtual_paint._napari.shared.widgets import (
    DEVICES,
    LINES,
    button_grid,
    combo,
    fold,
    footer,
    form_rows,
    push_button,
    row,
    set_choices,
    words,
)
from napari_virtual_paint.runtime.text import counted

KINDS = (("ome-zarr", "OME-Zarr plate"), ("in-place", "Into the plate itself"), ("ome-tiff", "OME-TIFFs, one a field"))


class PaintForm(BoundForm[PlateState]):
    """Edits how a plate is painted; its `footer`, with progress and buttons, stays in view where the rest is folded away or scrolls."""

    packageRequested = Signal(str)  # noqa: N815 - Qt's own way of naming
    """The user wants to open a model's package: a ``"file"`` or a ``"folder"``."""
    outputRequested = Signal()  # noqa: N815
    """The user wants to choose the output."""
    failureChosen = Signal(str)  # noqa: N815
    """The key of a failed field that was clicked."""
    taskRemoved = Signal(int)  # noqa: N815
    """The row of the queue that the user removed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = combo("The model that paints", letters=6)
        self.open = push_button("Open…", "Open a model package (bioimage.io) from disk")
        self.summary = words()
        self.channels, self.ask = ChannelRows(), words()
        self.output = QLineEdit()
        self.choose = push_button("…", "Choose where the painted plate goes, or one that is partly painted")
        self.kind = combo("How the stains are written", KINDS, letters=6)
        self.scope = combo("Which wells are painted", letters=6)
        self.workers = QSpinBox()
        self.count = QCheckBox("Count nuclei and cells")
        self.device = combo("Where to paint; Auto takes the fastest device there is", DEVICES, letters=6)
        self.focus, self.illumination, self.phase = FocusChoice(), IlluminationChoice(plate=True), PhaseChoice()
        self.preparation = fold("Focus, light, phase")
        self.note = words()
        self.start = push_button("Paint", "Paint the plate; one that is partly painted is continued")
        self.add = push_button("Add to queue", "Paint this plate after those in the queue")
        self.pause = push_button("Pause", "Hold the painting after the fields under way")
        self.cancel = push_button("Cancel", "Stop within a second; what is painted is kept, and a later start continues with the rest")
        self.copy = push_button("Copy as command", "Copy the command line that does the same")
        self.bar = QProgressBar()
        self.status = words()
        self.queue, self.failures = QListWidget(), QListWidget()
        self.failed_head = words()
        self._build()
        self.choose.clicked.connect(self.outputRequested.emit)
        for signal in (self.failures.itemClicked, self.failures.itemActivated):
            signal.connect(lambda item: self.failureChosen.emit(item.data(Qt.ItemDataRole.UserRole)))
        self.queue.customContextMenuRequested.connect(self._queue_menu)
        self.shown.connect(self._enable_output)
        table = {name: getattr(self, name) for name in ("model", "output", "kind", "scope", "workers", "count")}
        prepared = {f"painting.{name}": getattr(self, name) for name in ("device", "focus", "illumination", "phase")}
        self.bind(PlateState(), table | prepared)
        self.setWells(0, 0)

    def setModels(self, models: Sequence[tuple[Any, ...]]) -> None:  # noqa: N802
        """Offer models: key, name and tooltip of each, and whether it can be chosen."""
        set_choices(self.model, models, self.value().model)

    def setWells(self, every: int, selected: int) -> None:  # noqa: N802
        """Show how many wells there are and how many are selected."""
        whole = f"All {counted(every, 'well')}" if every > 1 else "All wells"
        part = f"The {selected} selected" if selected else "Selected wells (none yet)"
        set_choices(self.scope, (("all", whole), ("selected", part)), self.value().scope)

    def setQueue(self, lines: Sequence[str]) -> None:  # noqa: N802
        """Show the queue."""
        _fill(self.queue, [(line, line, line) for line in lines])

    def setFailures(self, failures: Sequence[tuple[str, str]]) -> None:  # noqa: N802
        """Show the fields that failed: key and reason of each."""
        _fill(self.failures, [(f"{key}: {reason}", key, reason) for key, reason in failures])
        self.failed_head.setText(f"<b>{len(failures)} failed</b>; click one to go to its well")
        self.failed_head.setVisible(bool(failures))

    def setStatus(self, text: str) -> None:  # noqa: N802
        """Show how far the painting is."""
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def setBusy(self, busy: bool, paused: bool = False) -> None:  # noqa: N802
        """Enable what can be done while a plate is painted, or is not."""
        self.pause.setEnabled(busy)
        self.cancel.setEnabled(busy)
        self.pause.setText("Go on" if paused else "Pause")
        self.bar.setVisible(busy)

    def _enable_output(self, state: PlateState) -> None:
        for widget in (self.output, self.choose):
            widget.setEnabled(state.kind != "in-place")

    def _queue_menu(self, place: Any) -> None:
        item = self.queue.itemAt(place)
        if item is not None:
            menu = QMenu(self)
            row = self.queue.row(item)
            menu.addAction("Take off the queue", lambda: self.taskRemoved.emit(row))
            menu.exec(self.queue.mapToGlobal(place))

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Remove the chosen line from the queue with Delete."""
        if event.key() == Qt.Key.Key_Delete and self.queue.hasFocus() and self.queue.currentRow() >= 0:
            self.taskRemoved.emit(self.queue.currentRow())
            return
        super().keyPressEvent(event)

    def _build(self) -> None:
        menu = QMenu(self.open)
        menu.addAction("Package file (.zip)…", lambda: self.packageRequested.emit("file"))
        menu.addAction("Package folder…", lambda: self.packageRequested.emit("folder"))
        menu.addSeparator()
        menu.addAction("Manage models…", commands.manage_models)
        self.open.setMenu(menu)
        self.output.setToolTip("The painted plate: a .zarr, or a folder for OME-TIFFs. One that is partly painted is continued")
        self.output.setPlaceholderText("Painted plate")
        self.choose.setMaximumWidth(34)
        self.workers.setRange(0, 64)
        self.workers.setSpecialValueText("as many as are best")
        self.workers.setToolTip("Processes that paint, each with its own memory: on a CPU one per core is best. 1 paints in napari itself")
        self.count.setToolTip("Count each field once it is painted: columns of the map, labels in the painted plate, a table of objects")
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
        model, output = row(self.model, self.open), row(self.output, self.choose)
        how = (("As", self.kind), ("Wells", self.scope), ("Device", self.device), ("Workers", self.workers), ("", self.count))
        form = form_rows((("Model", model), ("", self.summary), ("", self.channels), ("", self.ask), ("Output", output), *how))
        self.footer = footer(self.note, self.bar, self.status, button_grid((self.start, self.pause, self.cancel, self.add, self.copy), 3))
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(4)
        top.addLayout(form)
        inner = QWidget()
        inner.setLayout(form_rows((("Focus", self.focus), ("Light", self.illumination), ("Phase", self.phase))))
        self.preparation.addWidget(inner)
        self.preparation.setToolTip("How each field is preprocessed before it is painted")
        top.addWidget(self.preparation)
        top.addWidget(self.queue)
        for label in (self.ask, self.note):
            label.setTextFormat(Qt.TextFormat.PlainText)
        for widget in (self.failed_head, self.channels, self.ask):
            widget.hide()


def _fill(box: QListWidget, items: Sequence[tuple[str, str, str]]) -> None:
    """Show lines (text, data, tooltip), changing only those that differ."""
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
