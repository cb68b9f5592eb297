"""The form of the Stain dock: shows a `StainState` and edits it; it knows no layer, no model and no science."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.shared.widgets import DEVICES, combo, fold, words
from napari_virtual_paint._napari.stain.state import StainState

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


PRECISIONS = (("float32", "float32 (exact)"), ("bfloat16", "bfloat16 (faster, ±0.1 SD)"))
BLENDS = (("exact", "Exact tiles"), ("median", "Median of patches"), ("gaussian", "Gaussian patches"))
AGAINS = (("replace", "Replaces its layers"), ("add", "Adds new layers"))
TTAS = (("none", "As it is"), ("flips", "Flipped too (4 passes)"), ("full", "Flipped and turned (8 passes)"))
MERGES = (("mean", "Mean"), ("median", "Median"))
OVERS = (("frame", "Each time point"), ("series", "The whole series"))
KEEPS = ((True, "Leaves what is painted"), (False, "Removes the layers"))
AXES = ((None, "As the layer tells"), ("YX", "y, x"), ("ZYX", "z, y, x"), ("TYX", "time, y, x"), ("CYX", "channel, y, x"),
        ("TZYX", "time, z, y, x"), ("TCYX", "time, channel, y, x"), ("CZYX", "channel, z, y, x"), ("ZCYX", "z, channel, y, x"))  # fmt: skip
ROWS = 4
"""Layers that the list shows before it scrolls."""


class StainForm(QWidget):  # type: ignore[misc]
    """Edits a `StainState`: ``StainForm(...).setValue(x)`` then ``value() == x`` for whatever the form offers."""

    valueChanged = Signal(object)  # noqa: N815 - Qt's own way of naming
    """The `StainState`, when the user changed it."""
    openFile = Signal()  # noqa: N815
    openFolder = Signal()  # noqa: N815

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value = StainState()
        self.layers = QListWidget()
        self.model = combo("The model that paints; its card is below")
        self.open = QPushButton("Open…")
        self.more = MoreModels()
        self.summary, self.card = words(), words()
        self.about = fold("About this model")
        self.channels = QFormLayout()
        self.ask, self.offer = words(), QCheckBox()
        self.device = combo("Where to paint; Auto takes the fastest device there is", DEVICES)
        self.device_line = words()
        self.advanced = fold("Advanced")
        self.precision = combo("float32 equals the field painted whole; bfloat16 is faster and loses about 0.1 SD", PRECISIONS)
        self.blend = combo("Exact tiles equal the field painted whole; the other two are kept for comparison", BLENDS)
        self.tile = QSpinBox()
        self.tta = combo(
            "Paint the image flipped and turned as well, and merge what comes out; the passes' SD becomes a hidden layer", TTAS
        )
        self.merge = combo("What several passes, or several models of one stain, become", MERGES)
        self.over = combo("Normalise each time point by itself, or all by the statistics of the whole series", OVERS)
        self.over_label = QLabel("Normalise")
        self.axes = combo("What the axes of the chosen layers are, where the layer's own axis labels don't tell", AXES)
        self.again = combo("What happens when the same image is painted again with the same model", AGAINS)
        self.keep = combo("What happens to the stain layers when a painting is cancelled", KEEPS)
        self.hide_input = QCheckBox("Hide the input while stains are shown")
        self._rows: list[QComboBox] = []
        self._models: list[tuple[str, str, str]] = []
        self._shown: tuple[Any, ...] = ()
        self._showing = False
        self._build()
        self._connect()

    def value(self) -> StainState:
        """Return what is chosen."""
        return self._value

    def setValue(self, choice: StainState) -> None:  # noqa: N802 - Qt's own way of naming
        """Show a choice, without telling that it changed."""
        self._value, self._showing = choice, True
        for row in range(self.layers.count()):
            item = self.layers.item(row)
            item.setCheckState(Qt.CheckState.Checked if item.text() in choice.layers else Qt.CheckState.Unchecked)
        for box, value in self._combos(choice):
            box.setCurrentIndex(box.findData(value))
        self.tile.setValue(choice.tile)
        self.more.setValue(choice.more)
        self.more.combine.setChecked(choice.ensemble)
        self.hide_input.setChecked(choice.hide_input)
        self.offer.setChecked(choice.resample)
        self._showing = False

    def setLayers(self, names: Sequence[str]) -> None:  # noqa: N802
        """Offer these layers."""
        blocker = QSignalBlocker(self.layers)
        self.layers.clear()
        for name in names:
            item = QListWidgetItem(name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if name in self._value.layers else Qt.CheckState.Unchecked)
            item.setToolTip(f"Paint from {name}")
            self.layers.addItem(item)
        height = max(self.layers.sizeHintForRow(0), 20)
        self.layers.setFixedHeight(height * min(max(len(names), 2), ROWS) + 2 * self.layers.frameWidth() + 4)
        del blocker

    def setModels(self, models: Sequence[tuple[str, str, str]]) -> None:  # noqa: N802
        """Offer these models: key, name and tooltip of each."""
        blocker = QSignalBlocker(self.model)
        self.model.clear()
        for index, (key, name, tip) in enumerate(models):
            self.model.addItem(name, key)
            self.model.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        self.model.setCurrentIndex(self.model.findData(self._value.model))
        self._models = list(models)
        self.more.setModels(self._models, self._value.model)
        del blocker

    def setTogether(self, shared: Sequence[str], series: bool) -> None:  # noqa: N802
        """Offer what depends on the choice: combining stains that several models make, and one normalisation for a time series."""
        self.more.setModels(self._models, self._value.model)
        self.more.setShared(shared)
        for widget in (self.over, self.over_label):
            widget.setVisible(series)

    def setChannels(  # noqa: N802
        self, wanted: Sequence[str], offered: Sequence[tuple[int, str]], taken: Sequence[int | None], fixed: str = ""
    ) -> None:
        """Show which channels the model gets.

        Parameters
        ----------
        wanted
            The model's inputs, a row each.
        offered
            Position and name of each of the image's channels.
        taken
            The position given to each input; None where it is to be chosen.
        fixed
            What is taken, where there is nothing to choose.
        """
        shown = (tuple(wanted), tuple(offered), fixed)
        if shown != self._shown:
            self._shown = shown
            self._rebuild_channels(wanted, offered, fixed)
        for box, index in zip(self._rows, taken, strict=False):
            blocker = QSignalBlocker(box)
            box.setCurrentIndex(box.findData(index))
            del blocker

    def _rebuild_channels(self, wanted: Sequence[str], offered: Sequence[tuple[int, str]], fixed: str) -> None:
        """Make the rows anew; the old ones are deleted later, since one of them may be telling a change right now."""
        while self.channels.rowCount():
            row = self.channels.takeRow(0)
            for item in (row.labelItem, row.fieldItem):
                if item is not None:
                    item.widget().hide()
                    item.widget().deleteLater()
        self._rows = []
        if fixed:
            line = words(fixed)
            line.setToolTip("What the model gets from the chosen layers")
            self.channels.addRow(wanted[0] if len(wanted) == 1 else "Planes", line)
            return
        for name, short in zip(wanted, without_common_start(wanted), strict=True):
            box = combo(f"The channel that the model takes as {name}", [(None, "choose…"), *offered])
            box.currentIndexChanged.connect(self._channels_changed)
            self.channels.addRow(_label(short, name), box)
            self._rows.append(box)

    def setBusy(self, busy: bool) -> None:  # noqa: N802
        """Lock the form while a painting runs: it shows what is being painted."""
        for widget in (
            self.layers,
            self.model,
            self.open,
            self.device,
            self.precision,
            self.blend,
            self.tile,
            self.axes,
            self.again,
            self.offer,
            self.more,
            self.tta,
            self.merge,
            self.over,
        ):
            widget.setEnabled(not busy)
        for box in self._rows:
            box.setEnabled(not busy)

    def _combos(self, choice: StainState) -> list[tuple[QComboBox, Any]]:
        return [
            (self.model, choice.model),
            (self.device, choice.device),
            (self.precision, choice.precision),
            (self.blend, choice.blend),
            (self.axes, choice.axes),
            (self.again, choice.again),
            (self.keep, choice.keep),
            (self.tta, choice.tta),
            (self.merge, choice.merge),
            (self.over, choice.normalize),
        ]

    def _read(self) -> None:
        """Take the value from the widgets and tell it, if it changed."""
        if self._showing:
            return
        checked = [self.layers.item(row) for row in range(self.layers.count())]
        layers = tuple(item.text() for item in checked if item.checkState() == Qt.CheckState.Checked)
        found = replace(
            self._value,
            layers=layers,
            model=self.model.currentData() or "",
            device=self.device.currentData(),
            precision=self.precision.currentData(),
            blend=self.blend.currentData(),
            tile=self.tile.value(),
            axes=self.axes.currentData(),
            again=self.again.currentData(),
            keep=self.keep.currentData(),
            hide_input=self.hide_input.isChecked(),
            resample=self.offer.isChecked(),
            more=self.more.value(),
            ensemble=self.more.combine.isChecked(),
            tta=self.tta.currentData(),
            merge=self.merge.currentData(),
            normalize=self.over.currentData(),
        )
        if (found.layers, found.model, found.axes) != (self._value.layers, self._value.model, self._value.axes):
            found = replace(found, channels=None)
        if found != self._value:
            self._value = found
            self.valueChanged.emit(found)

    def _channels_changed(self) -> None:
        taken = [combo.currentData() for combo in self._rows]
        whole = None if any(index is None or index < 0 for index in taken) else tuple(taken)
        if whole != self._value.channels:
            self._value = replace(self._value, channels=whole)
            self.valueChanged.emit(self._value)

    def _connect(self) -> None:
        self.layers.itemChanged.connect(self._read)
        for box, _ in self._combos(self._value):
            box.currentIndexChanged.connect(self._read)
        self.tile.valueChanged.connect(self._read)
        self.hide_input.toggled.connect(self._read)
        self.offer.toggled.connect(self._read)
        self.more.changed.connect(self._read)

    def _build(self) -> None:
        self.layers.setToolTip("The layers to paint from: one layer, or one a channel or plane")
        self.layers.setAccessibleName("Layers to paint from")
        self._build_open()
        self.offer.setToolTip("Bring the image to the pixel size that the model was trained at, and the stains back")
        self.offer.hide()
        self.ask.hide()
        self.tile.setRange(0, 8192)
        self.tile.setSingleStep(32)
        self.tile.setSpecialValueText("auto")
        self.tile.setSuffix(" px")
        self.tile.setToolTip("Most pixels a side of a tile; auto takes what fits the device")
        self.hide_input.setToolTip("Stains add up with what lies below: a bright transmitted-light image would drown them")
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
        top.addWidget(_heading("Channels"))
        top.addLayout(self.channels)
        for widget in (self.ask, self.offer, _heading("Device"), self.device, self.device_line, self.advanced):
            top.addWidget(widget)
        self.channels.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)

    def _build_open(self) -> None:
        self.open.setToolTip("Open a model package (bioimage.io) from disk; packages can also be dropped here")
        menu = QMenu(self.open)
        menu.addAction("Package file (.zip)…", self.openFile.emit)
        menu.addAction("Package folder…", self.openFolder.emit)
        self.open.setMenu(menu)

    def _build_advanced(self) -> None:
        inner = QWidget()
        form = QFormLayout(inner)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, widget in (
            ("Precision", self.precision),
            ("Blend", self.blend),
            ("Tile", self.tile),
            ("Turns", self.tta),
            ("Merge by", self.merge),
            (self.over_label, self.over),
            ("Axes", self.axes),
            ("Again", self.again),
            ("Cancel", self.keep),
        ):
            form.addRow(label, widget)
        form.addRow(self.hide_input)
        self.advanced.addWidget(inner)
        self.advanced.setToolTip("Precision, blending, turns, axes, and what happens to the layers")


def _label(text: str, tip: str) -> QLabel:
    label = QLabel(text if len(text) <= 20 else text[:18] + "…")
    label.setToolTip(tip)
    return label


def without_common_start(names: Sequence[str]) -> list[str]:
    """Return names without the words that all of them begin with, so that they fit beside what they are about."""
    words = [name.split(" ") for name in names]
    common = 0
    while len(names) > 1 and all(len(row) > common + 1 for row in words) and len({row[common] for row in words}) == 1:
        common += 1
    return [" ".join(row[common:]) for row in words]


def _heading(text: str) -> QLabel:
    return QLabel(f"<b>{text}</b>")
