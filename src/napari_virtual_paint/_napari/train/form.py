"""The form of the Train dock: shows a `TrainState` and edits it; it knows no layer and no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPlainTextEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.shared.widgets import DEVICES, combo, fold, row, words
from napari_virtual_paint._napari.train.state import TrainState

SOURCES = (("layers", "Layers"), ("files", "Files: a folder or a table"), ("plate", "A plate"))
HELD_OUT = (
    ("right", "The right fifth of each image"),
    ("left", "The left fifth of each image"),
    ("top", "The top fifth of each image"),
    ("bottom", "The bottom fifth of each image"),
    ("images", "A tenth of the images"),
    ("none", "Nothing (no scores)"),
)
LENGTHS = (("recipe", "As the recipe says"), ("minutes", "Minutes"), ("steps", "Steps"))
ROWS = 4
"""Layers that a list shows before it scrolls."""
TEXT_HEIGHT = 170


class TrainForm(QWidget):  # type: ignore[misc]
    """Edits what is trained on, and how.

    Signals
    -------
    valueChanged
        The `TrainState`, when the user changed it.
    browse
        ``"folder"``, ``"table"`` or ``"plate"`` is to be chosen.
    adopt
        The plate of the Plate dock is to be taken.
    save
        The configuration is to be saved elsewhere.
    """

    valueChanged = Signal(object)  # noqa: N815 - Qt's own way of naming
    browse = Signal(str)
    adopt = Signal()
    save = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value, self._showing = TrainState(), False
        self.source = combo("Where the pairs of unstained and stained images are", SOURCES)
        self.inputs, self.stains = QListWidget(), QListWidget()
        self.path, self.choose, self.take = QLineEdit(), QPushButton("…"), QPushButton("That of the Plate dock")
        self.input_pattern, self.target_pattern = QLineEdit(), QLineEdit()
        self.wells, self.input_channels, self.stain_channels = QLineEdit(), QLineEdit(), QLineEdit()
        self.recipe = combo("How to train: network, loss, steps; those of the papers, and a small one for a laptop")
        self.about = words()
        self.name, self.stain_names = QLineEdit(), QLineEdit()
        self.held_out = combo("What the network never learns from: it chooses the best epoch, and gives the scores on the card", HELD_OUT)
        self.length = combo("How long to train", LENGTHS, letters=6)
        self.amount = QSpinBox()
        self.device = combo("Where to train; Auto takes the fastest device there is", DEVICES)
        self.advanced = fold("Advanced")
        self.text = QPlainTextEdit()
        self.back, self.save_as = QPushButton("Back to the form"), QPushButton("Save as YAML…")
        self.keep = QCheckBox("Keep running when napari is closed")
        self._parts: dict[str, QWidget] = {}
        self._build()
        self._connect()
        self.setValue(self._value)

    def value(self) -> TrainState:
        """Return what is chosen."""
        return self._value

    def setValue(self, choice: TrainState) -> None:  # noqa: N802 - Qt's own way of naming
        """Show a choice, without telling that it changed."""
        self._value, self._showing = choice, True
        for box, value in self._combos(choice):
            box.setCurrentIndex(box.findData(value))
        for line, text in self._texts(choice):
            if line.text() != text:
                line.setText(text)
        for box, names in ((self.inputs, choice.inputs), (self.stains, choice.stains)):
            for index in range(box.count()):
                item = box.item(index)
                item.setCheckState(Qt.CheckState.Checked if item.text() in names else Qt.CheckState.Unchecked)
        self.amount.setValue(choice.amount)
        self.keep.setChecked(choice.keep_running)
        self._showing = False
        self._follow()

    def finish(self) -> None:
        """Take what is still being typed; a shortcut leaves no field."""
        self._read()

    def setLayers(self, names: Sequence[str]) -> None:  # noqa: N802
        """Offer these layers."""
        for box, chosen in ((self.inputs, self._value.inputs), (self.stains, self._value.stains)):
            blocker = QSignalBlocker(box)
            box.clear()
            for name in names:
                item = QListWidgetItem(name)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(Qt.CheckState.Checked if name in chosen else Qt.CheckState.Unchecked)
                item.setToolTip(name)
                box.addItem(item)
            height = max(box.sizeHintForRow(0), 20)
            box.setFixedHeight(height * min(max(len(names), 2), ROWS) + 2 * box.frameWidth() + 4)
            box.scrollToTop()
            del blocker

    def setRecipes(self, recipes: Sequence[tuple[str, str, str]]) -> None:  # noqa: N802
        """Offer these recipes: name, title and tooltip of each."""
        blocker = QSignalBlocker(self.recipe)
        self.recipe.clear()
        for index, (name, title, tip) in enumerate(recipes):
            self.recipe.addItem(title, name)
            self.recipe.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        self.recipe.setCurrentIndex(self.recipe.findData(self._value.recipe))
        del blocker

    def setText(self, text: str) -> None:  # noqa: N802
        """Show the configuration that follows from the form; one that the user edited stays."""
        shown = text if self._value.text is None else self._value.text
        if self.text.toPlainText() != shown:
            blocker = QSignalBlocker(self.text)
            self.text.setPlainText(shown)
            del blocker
        self.back.setEnabled(self._value.text is not None)

    def setStainsHint(self, names: Sequence[str]) -> None:  # noqa: N802
        """Show how the stains are called where the user says nothing."""
        self.stain_names.setPlaceholderText(", ".join(names) or "their own names")

    def _combos(self, choice: TrainState) -> list[tuple[QComboBox, Any]]:
        return [
            (self.source, choice.source),
            (self.recipe, choice.recipe),
            (self.held_out, choice.held_out),
            (self.length, choice.length),
            (self.device, choice.device),
        ]

    def _texts(self, choice: TrainState) -> list[tuple[QLineEdit, str]]:
        return [
            (self.path, choice.path),
            (self.input_pattern, choice.input_pattern),
            (self.target_pattern, choice.target_pattern),
            (self.wells, choice.wells),
            (self.input_channels, choice.input_channels),
            (self.stain_channels, choice.stain_channels),
            (self.name, choice.name),
            (self.stain_names, choice.stain_names),
        ]

    def _read(self) -> None:
        """Take the value from the widgets and tell it, if it changed."""
        if self._showing:
            return
        found = replace(
            self._value,
            source=self.source.currentData(),
            inputs=_checked(self.inputs),
            stains=_checked(self.stains),
            path=self.path.text().strip(),
            input_pattern=self.input_pattern.text().strip(),
            target_pattern=self.target_pattern.text().strip(),
            wells=self.wells.text().strip(),
            input_channels=self.input_channels.text().strip(),
            stain_channels=self.stain_channels.text().strip(),
            recipe=self.recipe.currentData() or self._value.recipe,
            name=self.name.text().strip(),
            stain_names=self.stain_names.text().strip(),
            held_out=self.held_out.currentData(),
            length=self.length.currentData(),
            amount=self.amount.value(),
            device=self.device.currentData(),
            keep_running=self.keep.isChecked(),
        )
        if found != self._value:
            self._value = found
            self._follow()
            self.valueChanged.emit(found)

    def _edited(self) -> None:
        self._change(text=self.text.toPlainText())

    def _forget_text(self) -> None:
        self._change(text=None)

    def _change(self, **changes: Any) -> None:
        self._value = replace(self._value, **changes)
        self.valueChanged.emit(self._value)

    def _follow(self) -> None:
        """Show the fields that belong to what is chosen."""
        source = self._value.source
        for name, part in self._parts.items():
            part.setVisible(source in name.split("|"))
        self.amount.setVisible(self._value.length != "recipe")
        self.amount.setSuffix({"minutes": " min", "steps": ""}.get(self._value.length, ""))
        tips = {
            "files": "A folder of images, or a table with the columns input, target (and split)",
            "plate": "The plate: a .zarr, a folder",
        }
        self.path.setToolTip(tips.get(source, ""))
        self.path.setPlaceholderText("Folder or table.csv" if source == "files" else "Plate")
        self._menu.actions()[0].setVisible(source == "files")
        self._menu.actions()[1].setVisible(source == "files")
        self._menu.actions()[2].setVisible(source == "plate")
        self._menu.actions()[3].setVisible(source == "plate")

    def _connect(self) -> None:
        for box, _ in self._combos(self._value):
            box.currentIndexChanged.connect(self._read)
        for line, _ in self._texts(self._value):
            line.editingFinished.connect(self._read)
        self.inputs.itemChanged.connect(self._read)
        self.stains.itemChanged.connect(self._read)
        self.amount.valueChanged.connect(self._read)
        self.keep.toggled.connect(self._read)
        self.text.textChanged.connect(self._edited)
        self.back.clicked.connect(self._forget_text)
        self.save_as.clicked.connect(self.save.emit)
        self.take.clicked.connect(self.adopt.emit)

    def _build(self) -> None:
        self._tips()
        self._menu = QMenu(self.choose)
        self._menu.addAction("Folder…", lambda: self.browse.emit("folder"))
        self._menu.addAction("Table of pairs…", lambda: self.browse.emit("table"))
        self._menu.addAction("Plate folder…", lambda: self.browse.emit("plate"))
        self._menu.addAction("Plate file…", lambda: self.browse.emit("plate file"))
        self.choose.setMenu(self._menu)
        self.amount.setRange(1, 10_000_000)
        self.text.setFixedHeight(TEXT_HEIGHT)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(4)
        top.addWidget(heading("Pairs"))
        top.addWidget(self.source)
        for part in self._sources():
            top.addWidget(part)
        top.addWidget(heading("Recipe"))
        top.addWidget(self.recipe)
        top.addWidget(self.about)
        top.addLayout(self._settings())
        self._build_advanced()
        top.addWidget(self.advanced)

    def _sources(self) -> list[QWidget]:
        """Return the parts of the form for layers, files and plates."""
        layers = QWidget()
        both = QVBoxLayout(layers)
        both.setContentsMargins(0, 0, 0, 0)
        both.setSpacing(3)
        for title, box in (("Input (unstained)", self.inputs), ("True stains", self.stains)):
            both.addWidget(QLabel(title))
            both.addWidget(box)
        where, files, plate, channels = QWidget(), QWidget(), QWidget(), QWidget()
        line = QHBoxLayout(where)
        line.setContentsMargins(0, 0, 0, 0)
        line.addLayout(row(self.path, self.choose))
        _rows(files, (("Input", self.input_pattern), ("Stains", self.target_pattern)))
        _rows(plate, (("Wells", self.wells), ("", self.take)))
        _rows(channels, (("Input channels", self.input_channels), ("Stain channels", self.stain_channels)))
        self._parts = {"layers": layers, "files|plate": where, "files": files, "plate": plate, "plate|files": channels}
        return [layers, where, files, plate, channels]

    def _settings(self) -> QFormLayout:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(3)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Model", self.name)
        form.addRow("Stains", self.stain_names)
        form.addRow("Held out", self.held_out)
        form.addRow("Length", row(self.length, self.amount))
        form.addRow("Device", self.device)
        return form

    def _build_advanced(self) -> None:
        inner = QWidget()
        top = QVBoxLayout(inner)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(3)
        top.addWidget(words("The configuration, as virtual-paint train takes it. What you change here counts."))
        top.addWidget(self.text)
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.back, 1)
        line.addWidget(self.save_as, 1)
        top.addLayout(line)
        top.addWidget(self.keep)
        self.advanced.addWidget(inner)
        self.advanced.setToolTip("The whole configuration as a YAML; what becomes of the training when napari is closed")

    def _tips(self) -> None:
        for widget, tip, name in (
            (self.inputs, "The layers to paint from later: one, or one a channel or plane", "Input layers"),
            (self.stains, "The layers that show the true stains: one, or one a stain", "Layers of true stains"),
            (self.choose, "Choose it", "Choose the pairs"),
            (self.take, "Take the plate that is open in the Plate dock", ""),
            (self.input_pattern, "Names of the inputs; what * stands for names the pair", "Pattern of inputs"),
            (self.target_pattern, "Names of the stained images, with the same *", "Pattern of stains"),
            (self.wells, "Wells to train on, as A1:B12,C3; empty for all", "Wells"),
            (self.input_channels, "Names or numbers of the input's channels, with commas between; empty for those of no stain", ""),
            (self.stain_channels, "Names or numbers of the stains' channels, with commas between; empty for all stains", ""),
            (self.name, "Name of the model; its id is made of it", "Name of the model"),
            (self.stain_names, "Names of the stains in the model, with commas between", "Names of the stains"),
            (self.amount, "How many", "How many minutes or steps"),
            (self.text, "The configuration; what you change here goes before the form", "Configuration"),
            (self.back, "Forget the changes made by hand", ""),
            (self.save_as, "Save configuration (and the layers' images beside it), to train elsewhere: virtual-paint train FILE", ""),
            (self.keep, "Else a training is stopped when napari is closed, and can be resumed here", ""),
        ):
            widget.setToolTip(tip)
            if name:
                widget.setAccessibleName(name)
        self.input_channels.setPlaceholderText("those of no stain")
        self.stain_channels.setPlaceholderText("all stains")
        self.wells.setPlaceholderText("all")


def heading(text: str) -> QLabel:
    """Return a heading of a part of the dock."""
    return QLabel(f"<b>{text}</b>")


def _rows(widget: QWidget, lines: Sequence[tuple[str, QWidget]]) -> None:
    form = QFormLayout(widget)
    form.setContentsMargins(0, 0, 0, 0)
    form.setVerticalSpacing(3)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for label, field in lines:
        form.addRow(label, field) if label else form.addRow(field)


def _checked(box: QListWidget) -> tuple[str, ...]:
    items = [box.item(index) for index in range(box.count())]
    return tuple(item.text() for item in items if item.checkState() == Qt.CheckState.Checked)
