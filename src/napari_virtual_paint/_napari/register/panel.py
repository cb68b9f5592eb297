"""The form of the Register dock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qtpy.QtWidgets import QDoubleSpinBox, QListWidget, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.form_binding import BoundForm
from napari_virtual_paint._napari.shared.progress import JobProgress, progress_words, set_bar
from napari_virtual_paint._napari.shared.widgets import (
    button_grid,
    combo,
    fill_scrolled,
    footer,
    form_rows,
    row,
    set_choices,
    set_names,
    words,
)
from napari_virtual_paint.choices import TransformKind
from napari_virtual_paint.models.channel_names import find_names
from napari_virtual_paint.registration.settings import RegistrationSettings

KINDS: tuple[tuple[TransformKind, str], ...] = (
    ("similarity", "Shift, rotation and scale"),
    ("rigid", "Shift and rotation"),
    ("translation", "Shift alone"),
)


@dataclass(frozen=True)
class RegisterState:
    """What is registered and how."""

    layers: tuple[str, ...] = ()  # names of the layers to move: one, or one a channel of one image
    model: str = ""  # key of the model that paints; empty registers the layer as it is
    stain: str = ""  # the model's stain that is laid on the other layer
    onto: str = ""  # name of the layer that they are laid on
    settings: RegistrationSettings = field(default_factory=RegistrationSettings)  # what may differ between the two images


def missing(choice: RegisterState, images: int) -> str:
    """Return a sentence on what is still to be chosen, given the number of image layers; empty where nothing is."""
    if images < 2:
        return "Open two images: the one to move, and the one with the real stain that it is laid on."
    if not choice.layers:
        return "Tick the image to move under 'Move'."
    if not choice.onto:
        return "Choose the layer with the real stain under 'Onto'."
    if choice.onto in choice.layers:
        return f"Choose another layer under 'Onto': '{choice.onto}' would be laid on itself."
    return ""


class RegisterPanel(BoundForm[RegisterState]):
    """Edits a `RegisterState`; a footer shows progress, a sentence about the outcome, and the buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = QListWidget()
        self.layers.setToolTip("The image to move: one layer, or all channels of one image; what was painted from them moves along")
        self.layers.setAccessibleName("Layers to move")
        self.model = combo("Paints the stain of the image that is moved; without one the layer is registered as it is")
        self.stain = combo("The stain of the model that is looked for in the layer below")
        self.stain.setEnabled(False)  # until a model is chosen
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
        self.status = words()
        self.status.setToolTip(
            "Shifts count from where the upper left corners of both images lie on each other, in pixels of the fixed layer"
        )
        self._offered: tuple[tuple[str, ...], str] = ((), "")
        self._lay_out()
        fields = {"layers": self.layers, "model": self.model, "stain": self.stain, "onto": self.onto}
        settings = {"settings.kind": self.kind, "settings.rotation": self.rotation, "settings.scale": self.scale}
        self.bind(RegisterState(), {**fields, **settings})
        self.setLayers(())

    def setModels(self, models: Sequence[tuple[str, str, str]]) -> None:  # noqa: N802 - as Qt's own
        """Offer these models: key, name and tooltip of each."""
        set_choices(self.model, [("", "No model: as it is"), *models])

    def setLayers(self, names: Sequence[str]) -> None:  # noqa: N802
        """Offer these layers, silently; what is chosen stays so where it is still there."""
        offered = [("", "choose…"), *((name, name) for name in names)]
        if [(self.onto.itemData(row), self.onto.itemText(row)) for row in range(self.onto.count())] == offered:
            return
        set_names(self.layers, names, self.value().layers)
        set_choices(self.onto, offered)
        self.reread()

    def setStains(self, stains: Sequence[str], onto: str) -> None:  # noqa: N802
        """Offer the model's stains; of new ones the one that the other layer's name means, or that is part of it, is chosen."""
        if (tuple(stains), onto) == self._offered and (self.value().stain in stains or not stains):
            return
        self._offered = tuple(stains), onto
        place = find_names([onto], stains)[0]
        named = [stain for stain in stains if stain.casefold() in onto.casefold()] if place is None else [stains[place]]
        set_choices(self.stain, [(stain, stain) for stain in stains], max(named, key=len) if named else None)
        self.stain.setEnabled(bool(stains))
        self.reread()

    def setState(self, running: bool, undo: bool) -> None:  # noqa: N802
        """Switch the buttons."""
        self.register.setEnabled(not running)
        self.cancel.setEnabled(running)
        self.undo.setEnabled(undo and not running)
        self.bar.setVisible(running)

    def show_progress(self, progress: JobProgress) -> None:
        """Move the bar."""
        set_bar(self.bar, round(1000 * progress.fraction))
        if words := progress_words(progress):
            self.say(words)

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        self.status.setText(sentence)

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 4, 0)
        chosen = (("Move", self.layers), ("Model", self.model), ("Stain", self.stain), ("Onto", self.onto), ("Fit", self.kind))
        column.addLayout(form_rows((*chosen, ("Up to", row(self.rotation, self.scale)))))
        column.addStretch(1)
        self.footer = footer(self.bar, self.status, button_grid((self.register, self.cancel, self.undo), 3))
        fill_scrolled(self, inner, self.footer)


def _spin(low: float, high: float, value: float, suffix: str, tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setDecimals(2 if high < 10 else 0)
    box.setSingleStep(0.05 if high < 10 else 5)
    box.setValue(value)
    box.setSuffix(suffix)
    box.setToolTip(tip)
    return box
