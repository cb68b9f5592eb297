"""The form of the Stain dock: shows a `StainState` and edits it; it knows no layer, no model and no science."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QMenu,
    QPushButton,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari import commands
from napari_virtual_paint._napari.shared.background import Debounced
from napari_virtual_paint._napari.shared.channel_rows import ChannelRows
from napari_virtual_paint._napari.shared.form_binding import Binding, BoundForm
from napari_virtual_paint._napari.shared.preparation import FocusChoice, IlluminationChoice, PhaseChoice
from napari_virtual_paint._napari.shared.widgets import DEVICES, combo, fold, set_choices, set_names, words
from napari_virtual_paint._napari.stain.state import StainState
from napari_virtual_paint.choices import BLENDS, TTA_LABELS

ModelRow: TypeAlias = tuple[str, str, str, bool]
"""Key, text and tooltip of a model, and whether it can be chosen."""
OPEN_LIST = 300  # milliseconds until an open list of models is looked at again
WIDEST_LIST = 520  # most pixels of the list of models, which is wider than its box where names are long
SMALLEST_TILE = 16  # pixels per side; a smaller number means ``auto``
ENSEMBLE = (
    "Ensemble: the mean (or the median, under Advanced) of what they paint, each brought to the first one's scale; "
    "how far they differ becomes an SD layer. Unticked: each model's stains become layers of their own, with its name"
)


class MoreModels(QWidget):  # type: ignore[misc]
    """Edits the keys of further models; empty by default, and then one line high.

    Attributes
    ----------
    combine
        Whether shared stains are combined; shown where there are any.
    """

    valueChanged = Signal()  # noqa: N815 - Qt's own way of naming
    """The user added, chose or removed a model."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models: list[ModelRow] = []
        self._first = ""
        self._rows: list[tuple[QWidget, QComboBox]] = []
        self.add = QPushButton("+ Another model")
        self.add.setFlat(True)
        self.add.setCursor(Qt.CursorShape.PointingHandCursor)
        self.add.setToolTip("Paint with several models at once: the layers come from all; equal stains can be combined into one")
        self.add.clicked.connect(self._added)
        self.combine = QCheckBox("Combine equal stains (ensemble)")  # a box does not wrap: a longer text would widen the dock
        self.combine.setChecked(True)
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
        """Show these, without a signal."""
        if tuple(keys) == self.value():  # a row without a model stays until one is chosen
            return
        for line, _ in self._rows:
            line.hide()
            line.deleteLater()
        self._rows = []
        for key in keys:
            self._row(key)

    def setModels(self, models: Sequence[ModelRow], first: str) -> None:  # noqa: N802
        """Offer these models; `first` is chosen above."""
        if (list(models), first) == (self._models, self._first):
            return
        self._models, self._first = list(models), first
        for _, box in self._rows:
            self._fill(box, str(box.currentData() or ""))
        self._enable_add()

    def setShared(self, stains: Sequence[str]) -> None:  # noqa: N802
        """Offer to combine these stains, which several of the models make."""
        self.combine.setToolTip(f"Several of the models make {', '.join(stains)}. {ENSEMBLE}")
        self.combine.setVisible(bool(stains))

    def _added(self) -> None:
        self._row("")
        self._enable_add()

    def _rows_changed(self) -> None:
        self._enable_add()
        self.valueChanged.emit()

    def _enable_add(self) -> None:
        """Offer a further row while there are models left, and none waits to be chosen."""
        self.add.setEnabled(len(self._models) > 1 + len(self._rows) and len(self.value()) == len(self._rows))

    def _row(self, key: str) -> None:
        line = QWidget()
        layout = QHBoxLayout(line)
        layout.setContentsMargins(0, 0, 0, 0)
        box = combo("A further model; its stains become layers too")
        self._fill(box, key)
        box.currentIndexChanged.connect(self._rows_changed)
        away = QToolButton()
        away.setText("✕")
        away.setToolTip("Take this model away")
        away.clicked.connect(lambda: self._remove(line))
        layout.addWidget(box, 1)
        layout.addWidget(away)
        self._lines.addWidget(line)
        self._rows.append((line, box))

    def _fill(self, box: QComboBox, key: str) -> None:
        offered = [each for each in self._models if each[0] != self._first or each[0] == key]
        set_choices(box, [("", "choose a model…", "Paints nothing until a model is chosen"), *offered], key)

    def _remove(self, line: QWidget) -> None:
        self._rows = [row for row in self._rows if row[0] is not line]
        line.hide()
        line.deleteLater()
        self._rows_changed()


LABELS: dict[str, dict[str, str]] = {
    "blend": {name: label for name, (label, _) in BLENDS.items()},
    "device": dict(DEVICES),
    "precision": {"float32": "float32 (exact)", "bfloat16": "bfloat16 (faster, ±0.1 SD)"},
    "tta": dict(TTA_LABELS),
    "merge": {"mean": "Mean", "median": "Median"},
    "normalize": {"frame": "Each time point", "series": "The whole series"},
}
"""Setting of a painting -> its values, and the text that the form shows for each."""
AGAINS = (("replace", "Replace layers"), ("add", "Add new layers"))
KEEPS = ((True, "Keep partial result"), (False, "Remove the layers"))
AXES = ((None, "From the layer"), ("YX", "y, x"), ("ZYX", "z, y, x"), ("TYX", "time, y, x"), ("CYX", "channel, y, x"),
        ("TZYX", "time, z, y, x"), ("TCYX", "time, channel, y, x"), ("CZYX", "channel, z, y, x"), ("ZCYX", "z, channel, y, x"))  # fmt: skip


class StainForm(BoundForm[StainState]):
    """Edits a `StainState`: ``StainForm(...).setValue(x)`` then ``value() == x`` for whatever the form offers."""

    openFile = Signal()  # noqa: N815 - Qt's own way of naming
    openFolder = Signal()  # noqa: N815
    modelPicked = Signal()  # noqa: N815
    """The user picked a model from the list, be it the one that was shown already."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layers = QListWidget()
        self.model = combo("The model that paints; its card is below")
        self.model.activated.connect(lambda _: self.modelPicked.emit())
        self.open = QPushButton("Open…")
        self.more = MoreModels()
        self.summary, self.card = words(), words()
        self.about = fold("About this model")
        self.channels, self.channels_heading = ChannelRows(), _heading("Channels")
        self.ask, self.offer = words(), QCheckBox()
        self.doubt, self.confirm = words(), QCheckBox("Paint from it all the same")
        self.device = self._choices("device", "Where to paint; Auto takes the fastest device there is")
        self.device_line = words()
        self.advanced = fold("Advanced")
        self.precision = self._choices("precision", "float32 equals the field painted whole; bfloat16 is faster and loses about 0.1 SD")
        self.blend = self._choices("blend", "Exact tiles equal the field painted whole; the others are kept for comparison")
        self.tile = QSpinBox()
        self.tta = self._choices(
            "tta", "Paint the image flipped and turned as well, and merge what comes out; the passes' SD becomes a hidden layer"
        )
        self.merge = self._choices("merge", "What several passes, or several models of one stain, become")
        self.normalize = self._choices("normalize", "Normalize each time point by itself, or all by the statistics of the whole series")
        self.normalize_label = QLabel("Normalize")
        self.focus, self.illumination, self.phase = FocusChoice(), IlluminationChoice(), PhaseChoice()
        self.make_phase = QPushButton("Make a layer of the phase")
        self.make_phase.setToolTip("Reconstruct the phase of the chosen brightfield planes into a layer, with your microscope's optics")
        self.axes = combo("What the axes of the chosen layers are, where the layer's own axis labels don't tell", AXES)
        self.again = combo("What happens when the same image is painted again with the same model", AGAINS)
        self.keep = combo("What happens to the stain layers when a painting is cancelled", KEEPS)
        self.hide_input = QCheckBox("Hide the input and other stains of the image")
        self._models: list[ModelRow] = []
        self._waiting: list[ModelRow] = []
        self._later = Debounced(OPEN_LIST, lambda: self.setModels(self._waiting), self)
        self._build()
        own = {name: getattr(self, name) for name in ("layers", "model", "more", "axes", "again", "keep", "hide_input")}
        painting = {f"painting.{name}": getattr(self, name) for name in LABELS}
        others = {
            "ensemble": self.more.combine,
            "confirmed": self.confirm,
            "painting.resample": self.offer,
            "painting.focus": self.focus,
            "painting.illumination": self.illumination,
            "painting.phase": self.phase,
            "painting.tile": self._tile_size(),
        }
        self.bind(StainState(), {**own, **painting, **others}, settle=_forget_channels)

    def setLayers(self, names: Sequence[str]) -> None:  # noqa: N802
        """Offer these layers."""
        set_names(self.layers, names, self.value().layers, "Paint from {}")

    def setModels(self, models: Sequence[ModelRow]) -> None:  # noqa: N802
        """Offer these models; not while the list is open, where a choice would move from under the pointer."""
        if list(models) == self._models:
            return
        if self.model.view().isVisible():
            self._later.start()
            self._waiting = list(models)
            return
        self._models = list(models)
        with self.silenced():
            set_choices(self.model, models, self.value().model)
        self.model.view().setMinimumWidth(min(self.model.view().sizeHintForColumn(0) + 24, WIDEST_LIST))
        self.more.setModels(self._models, self.value().model)

    def setTogether(self, shared: Sequence[str], series: bool) -> None:  # noqa: N802
        """Offer what depends on the choice: combining stains that several models make, and one normalisation for a time series."""
        self.more.setModels(self._models, self.value().model)
        self.more.setShared(shared)
        for widget in (self.normalize, self.normalize_label):
            widget.setVisible(series)

    def setChannels(  # noqa: N802
        self, wanted: Sequence[str], offered: Sequence[tuple[int, str]], taken: Sequence[int | None], fixed: str = ""
    ) -> None:
        """Show which channels the model gets; the parameters are those of `ChannelRows.show_channels`."""
        self.channels.show_channels(wanted, offered, taken, fixed)
        for widget in (self.channels_heading, self.channels):
            widget.setVisible(bool(wanted))

    def setDoubt(self, question: str) -> None:  # noqa: N802
        """Ask whether an image is what the model paints from; an empty string asks nothing."""
        self.doubt.setText(f"⚠ {question}")
        for widget in (self.doubt, self.confirm):
            widget.setVisible(bool(question))

    def setBusy(self, busy: bool) -> None:  # noqa: N802
        """Lock the form while a painting runs: it shows what is being painted."""
        self.lock(busy, but=("keep", "hide_input"))
        for widget in (self.open, *self.channels.boxes):
            widget.setEnabled(not busy)

    def _channels_changed(self, taken: tuple[int, ...] | None) -> None:
        self.change(channels=None if taken is None or min(taken) < 0 else taken)

    def _choices(self, setting: str, tip: str) -> QComboBox:
        return combo(tip, LABELS[setting].items())

    def _tile_size(self) -> Binding:
        """Return how the spin box edits the size of a tile; what is too small for one is ``auto``."""
        self.tile.editingFinished.connect(lambda: self.setValue(self.value()))
        return Binding(
            self.tile,
            lambda: self.tile.value() if self.tile.value() >= SMALLEST_TILE else "auto",
            lambda size: self.tile.setValue(0 if size == "auto" else size),
            (self.tile.valueChanged,),
        )

    def _build(self) -> None:
        self.layers.setToolTip("The layers to paint from: one layer, or one a channel or plane")
        self.layers.setAccessibleName("Layers to paint from")
        self._build_open()
        self.offer.setToolTip("Bring the image to the pixel size that the model was trained at, and the stains back")
        self.offer.hide()
        self.ask.hide()
        self.confirm.setToolTip(
            "Stains painted from fluorescence by a model of transmitted light mean nothing; tick this if the guess is wrong"
        )
        self.setDoubt("")
        self.tile.setRange(0, 8192)
        self.tile.setSingleStep(32)
        self.tile.setSpecialValueText("auto")
        self.tile.setSuffix(" px")
        self.tile.setToolTip("Most pixels a side of a tile; auto takes what fits the device")
        self.hide_input.setToolTip(
            "Stains add up with what lies at the same place: the input would drown them, and true stains would pass for the model's"
        )
        self.hide_input.setChecked(True)
        self.about.addWidget(self.card)
        self.about.setToolTip("What the model was trained on, its scores, what it is not for")
        self._build_advanced()
        row = QHBoxLayout()
        row.addWidget(self.model, 1)
        row.addWidget(self.open)
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(4)
        top.addWidget(_heading("Image"))
        top.addWidget(self.layers)
        top.addWidget(_heading("Model"))
        top.addLayout(row)
        for widget in (self.more, self.summary, self.about):
            top.addWidget(widget)
        for widget in (self.channels_heading, self.channels):
            widget.hide()
            top.addWidget(widget)
        for widget in (self.ask, self.doubt, self.confirm, self.offer, _heading("Device"), self.device, self.device_line, self.advanced):
            top.addWidget(widget)
        self.channels.valueChanged.connect(self._channels_changed)

    def _build_open(self) -> None:
        self.open.setToolTip("Open a model package (bioimage.io) from disk; packages can also be dropped here")
        menu = QMenu(self.open)
        menu.addAction("Package file (.zip)…", self.openFile.emit)
        menu.addAction("Package folder…", self.openFolder.emit)
        menu.addSeparator()
        menu.addAction("Manage models…", commands.manage_models)
        self.open.setMenu(menu)

    def _build_advanced(self) -> None:
        inner = QWidget()
        form = QFormLayout(inner)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, widget in (
            ("Focus", self.focus),
            ("Light", self.illumination),
            ("Phase", self.phase),
            ("", self.make_phase),
            ("Precision", self.precision),
            ("Blend", self.blend),
            ("Tile", self.tile),
            ("Test-time augmentation", self.tta),
            ("Merge by", self.merge),
            (self.normalize_label, self.normalize),
            ("Axes", self.axes),
            ("When painting again", self.again),
            ("After cancel", self.keep),
        ):
            if widget is self.tta:  # its texts would be cut beside so long a label
                form.addRow(QLabel(label))
                form.addRow(widget)
            else:
                form.addRow(label, widget)
        form.addRow(self.hide_input)
        self.advanced.addWidget(inner)
        self.advanced.setToolTip("Focus, light, phase, precision, blending, test-time augmentation, axes, and what happens to the layers")


def _forget_channels(before: StainState, after: StainState) -> StainState:
    """Match the channels anew where the image or the model is another one."""
    if (after.layers, after.model, after.axes) != (before.layers, before.model, before.axes):
        return replace(after, channels=None)
    return after


def _heading(text: str) -> QLabel:
    return QLabel(f"<b>{text}</b>")
