"""What the Register dock looks like: a form that shows and edits one frozen value, and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QFormLayout, QListWidget, QListWidgetItem, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.progress import Progress, set_bar
from napari_virtual_paint._napari.shared.widgets import combo, row, words
from napari_virtual_paint.registration.settings import Kind, RegistrationSettings

KINDS: tuple[tuple[Kind, str], ...] = (
    ("similarity", "Shift, rotation and scale"),
    ("rigid", "Shift and rotation"),
    ("translation", "Shift alone"),
)
ROWS = 4
"""Layers that the list shows before it scrolls."""


@dataclass(frozen=True)
class RegisterState:
    """What is registered and how.

    Parameters
    ----------
    layers
        Names of the layers to move: one, or one a channel of one image.
    model
        Key of the model that paints; empty registers the layer as it is.
    stain
        The model's stain that is laid on the other layer.
    onto
        Name of the layer that they are laid on.
    kind, rotation, scale
        As of `RegistrationSettings`.
    """

    layers: tuple[str, ...] = ()
    model: str = ""
    stain: str = ""
    onto: str = ""
    kind: Kind = "similarity"
    rotation: float = 15.0
    scale: float = 1.15

    def settings(self) -> RegistrationSettings:
        """Return what the engine takes."""
        return RegistrationSettings(self.kind, self.rotation, self.scale)


class RegisterPanel(QWidget):  # type: ignore[misc]
    """Edits a `RegisterState`; `register.RegisterDock` gives it its work."""

    changed = Signal()
    """Something else is chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = QListWidget()
        self.layers.setToolTip("The image to move: one layer, or all channels of one image; what was painted from them moves along")
        self.layers.setAccessibleName("Layers to move")
        self.model = combo("Paints the stain of the image that is moved; without one the layer is registered as it is")
        self.stain = combo("The stain of the model that is looked for in the layer below")
        self.onto = combo("The layer with the real stain; it stays where it is")
        self.kind = combo("What may differ between the two", KINDS)
        self.rotation = _spin(0, 180, 15, "°", "Largest rotation either way; 180 tries all and takes longer")
        self.scale = _spin(1, 4, 1.15, " ×", "Largest factor of size either way, beyond what the pixel sizes tell")
        self.register = QPushButton("Register")
        self.register.setToolTip("Find where the image lies in the other one, and lay it there; no pixel is changed")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; nothing is moved")
        self.undo = QPushButton("Undo")
        self.undo.setToolTip("Bring the chosen layers back to where they were before their last registration")
        self.bar = QProgressBar()
        self.bar.hide()
        self.told = words()
        self._lay_out()
        self.layers.itemChanged.connect(lambda _item: self.changed.emit())
        for box in (self.model, self.onto, self.kind):
            box.activated.connect(lambda _index: self.changed.emit())

    def value(self) -> RegisterState:
        """Return what is chosen."""
        items = [self.layers.item(place) for place in range(self.layers.count())]
        return RegisterState(
            tuple(item.text() for item in items if item.checkState() == Qt.CheckState.Checked),
            self.model.currentData() or "",
            self.stain.currentData() or "",
            self.onto.currentData() or "",
            self.kind.currentData(),
            self.rotation.value(),
            self.scale.value(),
        )

    def setValue(self, value: RegisterState) -> None:  # noqa: N802 - as Qt's own
        """Choose something else, silently."""
        blocker = QSignalBlocker(self.layers)
        for place in range(self.layers.count()):
            item = self.layers.item(place)
            item.setCheckState(Qt.CheckState.Checked if item.text() in value.layers else Qt.CheckState.Unchecked)
        del blocker
        for box, data in ((self.model, value.model), (self.onto, value.onto), (self.kind, value.kind), (self.stain, value.stain)):
            box.setCurrentIndex(max(0, box.findData(data)))
        self.rotation.setValue(value.rotation)
        self.scale.setValue(value.scale)

    def setModels(self, models: Sequence[tuple[str, str, str]]) -> None:  # noqa: N802
        """Offer these models: key, name and tooltip of each."""
        self.model.addItem("No model: as it is", "")
        for key, name, tip in models:
            self.model.addItem(name, key)
            self.model.setItemData(self.model.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)

    def setLayers(self, names: Sequence[str]) -> None:  # noqa: N802
        """Offer these layers, silently; what is chosen stays so where it is still there."""
        if [self.layers.item(place).text() for place in range(self.layers.count())] == list(names):
            return
        before = self.value()
        blockers = QSignalBlocker(self.layers), QSignalBlocker(self.onto)
        self.layers.clear()
        self.onto.clear()
        self.onto.addItem("choose…", "")
        for name in names:
            item = QListWidgetItem(name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if name in before.layers else Qt.CheckState.Unchecked)
            self.layers.addItem(item)
            self.onto.addItem(name, name)
        self.onto.setCurrentIndex(max(0, self.onto.findData(before.onto)))
        height = max(self.layers.sizeHintForRow(0), 20)
        self.layers.setFixedHeight(height * min(max(len(names), 2), ROWS) + 2 * self.layers.frameWidth() + 4)
        del blockers

    def setStains(self, stains: Sequence[str], onto: str) -> None:  # noqa: N802
        """Offer the model's stains; of new ones the one that the other layer's name tells is chosen."""
        if [self.stain.itemData(place) for place in range(self.stain.count())] != list(stains):
            self.stain.clear()
            for stain in stains:
                self.stain.addItem(stain, stain)
            self._onto = ""
        if onto != getattr(self, "_onto", ""):
            self._onto = onto
            named = [stain for stain in stains if stain.casefold() in onto.casefold()]
            if named:
                self.stain.setCurrentIndex(self.stain.findData(max(named, key=len)))
        self.stain.setEnabled(bool(stains))

    def setState(self, running: bool, undo: bool) -> None:  # noqa: N802
        """Switch the buttons."""
        self.register.setEnabled(not running)
        self.cancel.setEnabled(running)
        self.undo.setEnabled(undo and not running)
        self.bar.setVisible(running)

    def show_progress(self, progress: Progress) -> None:
        """Move the bar."""
        set_bar(self.bar, round(1000 * progress.fraction))
        if progress.message:
            self.told.setText(progress.message)

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        self.told.setText(sentence)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, widget in (("Move", self.layers), ("Model", self.model), ("Stain", self.stain), ("Onto", self.onto), ("Fit", self.kind)):
            form.addRow(label, widget)
        form.addRow("Up to", row(self.rotation, self.scale))
        column.addLayout(form)
        column.addLayout(row(self.register, self.cancel, self.undo))
        column.addWidget(self.bar)
        column.addWidget(self.told)
        column.addStretch(1)


def _spin(low: float, high: float, value: float, suffix: str, tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setDecimals(2 if high < 10 else 0)
    box.setSingleStep(0.05 if high < 10 else 5)
    box.setValue(value)
    box.setSuffix(suffix)
    box.setToolTip(tip)
    return box
