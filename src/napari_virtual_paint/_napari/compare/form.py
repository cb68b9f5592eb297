"""The list of pairs, and the form of what is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QRadioButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.compare.noise import CHOICES, NONE
from napari_virtual_paint._napari.compare.regions import Scope
from napari_virtual_paint._napari.shared.form_binding import BoundForm, radio_buttons
from napari_virtual_paint._napari.shared.viewer.layer_pairs import LayerFacts, StainPair
from napari_virtual_paint._napari.shared.widgets import combo, set_choices
from napari_virtual_paint.metrics.pixels import Scale

NOTHING = "—"
SCOPES: dict[Scope, tuple[str, str]] = {
    "plane": ("This plane", "Score the plane that you see."),
    "view": ("In view", "Score only the part of the plane that you see: zoom in to score one cell."),
    "stack": ("Whole stack", "Score all planes and time points, as the command virtual-paint evaluate does."),
}
VOLUME = ("This volume", "Score the volume that you see.")
"""What is scored in a 3D view instead of a plane, or of a part of one."""
NO_PART = "A 3D view has no part that is in view: the whole volume is scored."
SCALES: dict[Scale, tuple[str, str]] = {
    "zscore": ("z-scored", "Compare patterns: each image is first brought to mean 0 and SD 1, since predicted intensities have no unit."),
    "raw": ("Raw intensities", "Compare intensities as they are: for predictions in the unit of the true image."),
}


@dataclass(frozen=True)
class CompareSettings:
    """What is scored: which pixels, on which scale, and the source of the noise (see `compare.noise`) for the ceiling of PCC."""

    scope: Scope = "plane"
    scale: Scale = "zscore"
    noise: str = NONE

    def __post_init__(self) -> None:
        if self.scope not in get_args(Scope) or self.scale not in get_args(Scale):
            raise ValueError(f"There is no scope {self.scope!r} or scale {self.scale!r}.")


class SettingsForm(BoundForm[CompareSettings]):
    """Edits `CompareSettings`."""

    def __init__(self, value: CompareSettings | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        scopes, scales = self._radios(layout, SCOPES), self._radios(layout, SCALES)
        self._scopes = scopes
        self._noise = combo(
            "Noise in the true image limits the PCC of any prediction, however good. The noise ceiling adds that limit to the table,\n"
            "as the column C_max (Ounkomol et al. 2018). It needs an estimate of the noise, or an image without stain (a control).",
            CHOICES,
        )
        self._noise.setAccessibleName("Noise ceiling of PCC")
        layout.addWidget(self._noise)
        table = {"scope": radio_buttons(scopes, list(SCOPES)), "scale": radio_buttons(scales, list(SCALES)), "noise": self._noise}
        self.bind(value or CompareSettings(), table)

    def _radios(self, layout: QVBoxLayout, choices: Any) -> QButtonGroup:
        group = QButtonGroup(self)
        line = QHBoxLayout()
        line.setSpacing(8)
        for index, (text, tip) in enumerate(choices.values()):
            button = QRadioButton(text)
            button.setToolTip(tip)
            group.addButton(button, index)
            line.addWidget(button)
        line.addStretch(1)
        layout.addLayout(line)
        return group

    def setVolume(self, volume: bool) -> None:  # noqa: N802 - as Qt's own
        """Name what is scored in a 3D view, or in a 2D view."""
        plane, view = self._scopes.button(0), self._scopes.button(1)
        text, tip = VOLUME if volume else SCOPES["plane"]
        plane.setText(text)
        plane.setToolTip(tip)
        view.setEnabled(not volume)
        view.setToolTip(NO_PART if volume else SCOPES["view"][1])

    def setControls(self, layers: Sequence[LayerFacts]) -> None:  # noqa: N802 - as Qt's own
        """Offer layers as controls, without a signal; the choice falls back to the first where its layer is gone."""
        wanted = [*CHOICES, *((facts.key, f"Noise ceiling: control {facts.name}") for facts in layers if not facts.predicted)]
        if wanted == [(self._noise.itemData(i), self._noise.itemText(i)) for i in range(self._noise.count())]:
            return
        set_choices(self._noise, wanted)
        self.reread()


class _Choice(QComboBox):  # type: ignore[misc]
    """A combo box of layers that keeps its text within a narrow dock and leaves the wheel to the scroll area."""

    def __init__(self, tip: str) -> None:
        super().__init__()
        self._tip = tip
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(5)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def fill(self, layers: Sequence[LayerFacts], key: str | None) -> None:
        """Offer layers and choose one, silently."""
        self.blockSignals(True)
        self.clear()
        self.addItem(NOTHING, None)
        for facts in layers:
            self.addItem(facts.name, facts.key)
            self.setItemData(self.count() - 1, facts.name, Qt.ItemDataRole.ToolTipRole)
        self.setCurrentIndex(max(0, self.findData(key)))
        self.setToolTip(f"{self._tip}\nNow: {self.currentText()}")
        self.blockSignals(False)

    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class PairsForm(QWidget):  # type: ignore[misc]
    """Shows pairs of layers, a line each with two combo boxes, and reports what the user chooses.

    Signals
    -------
    chosen
        A line was changed: the predicted layer's key before (None for a new line) and the pair now.
    dismissed
        A line was taken away: its predicted layer's key.
    """

    chosen = Signal(object, object)
    dismissed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers: tuple[LayerFacts, ...] = ()
        self._pairs: tuple[StainPair, ...] = ()
        self._lines: list[tuple[_Choice, _Choice, QToolButton]] = []
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(4)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(0, 9)
        self._grid.setColumnStretch(1, 5)
        self._heads = [QLabel("Predicted"), QLabel("True")]
        for column, head in enumerate(self._heads):
            self._grid.addWidget(head, 0, column)
        outer.addLayout(self._grid)

    def value(self) -> tuple[StainPair, ...]:
        """Return the pairs shown."""
        return self._pairs

    def setValue(self, layers: Sequence[LayerFacts], pairs: Sequence[StainPair]) -> None:  # noqa: N802 - as Qt's own
        """Show other pairs and offer other layers; nothing is touched where nothing changed."""
        if (tuple(layers), tuple(pairs)) == (self._layers, self._pairs):
            return
        self._layers, self._pairs = tuple(layers), tuple(pairs)
        while len(self._lines) < len(pairs):
            self._add_line()
        while len(self._lines) > len(pairs):
            for widget in self._lines.pop():
                self._grid.removeWidget(widget)
                widget.hide()
                widget.deleteLater()
        for (predicted, truth, _button), pair in zip(self._lines, pairs, strict=True):
            predicted.fill(layers, pair.predicted)
            truth.fill([facts for facts in layers if facts.key != pair.predicted], pair.truth)
        for head in self._heads:
            head.setVisible(bool(pairs))

    def _add_line(self) -> None:
        row = len(self._lines)
        predicted = _Choice("The predicted layer of this pair.")
        truth = _Choice("The true layer: the measured stain that the prediction is compared with.")
        button = QToolButton()
        button.setText("✕")
        button.setAccessibleName("Remove this pair")
        button.setToolTip("Remove this pair from the list. 'Pair by name' brings it back.")
        predicted.activated.connect(lambda _index: self._picked(row))
        truth.activated.connect(lambda _index: self._picked(row))
        button.clicked.connect(lambda _checked: self.dismissed.emit(self._pairs[row].predicted))
        for column, widget in enumerate((predicted, truth, button)):
            self._grid.addWidget(widget, row + 1, column)
        self._lines.append((predicted, truth, button))

    def _picked(self, row: int) -> None:
        predicted, truth, _button = self._lines[row]
        self.chosen.emit(self._pairs[row].predicted, StainPair(predicted.currentData(), truth.currentData(), self._pairs[row].stain))
