"""The form of the Evaluate dock: shows an `EvaluateState` and edits it; it knows no file, no layer and no plate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.evaluate.state import EvaluateState
from napari_virtual_paint._napari.shared.widgets import combo, fold, row, words
from napari_virtual_paint.evaluation.level import LEVELS

ABOUT = {
    "pixels": ("Pixels", "PCC, SSIM, PSNR, MSE and MAE per stain, over whole fields and in the foreground alone"),
    "instances": (
        "Instances",
        "Nuclei and cells found in truth and prediction, matched one to one: F1, Jaccard, and which were missed",
    ),
    "features": ("Features", "CellProfiler's features of every cell, measured in both: how well they correlate, and which are lost"),
    "profiles": (
        "Profiles",
        "Wells by their features: UMAP, mechanisms found again, toxic or not; measures the features, too",
    ),
}
SEGMENTERS = (("auto", "Cellpose where installed"), ("skimage", "scikit-image"), ("cellpose", "Cellpose"))
SMALL = 26
FOUND = "found"
ROLES = {
    "treatment": ("Treatment", "Column of what was added to the wells"),
    "moa": ("Mechanism", "Column of the mechanism of action; without one each treatment counts as its own"),
    "batch": ("Batch", "Column of what was done together"),
    "controls": ("Negative controls", "Which wells got nothing, as COLUMN=VALUE"),
    "positive": ("Positive controls", "Which wells were treated with what surely acts, as COLUMN=VALUE"),
}


class PredictionLine(QWidget):  # type: ignore[misc]
    """Name and path of one prediction."""

    changed = Signal()
    browse = Signal(str)
    gone = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name, self.path = QLineEdit(), QLineEdit()
        self.name.setPlaceholderText("name")
        self.name.setToolTip("What it is called in the report; its file's name where empty")
        self.path.setPlaceholderText("predicted stains: a file, folder or plate")
        self.path.setToolTip("A field's file, a folder of fields, a plate, or what a plate was painted into")
        self.choose, self.drop = browser(self, self.browse), QPushButton("✕")
        self.drop.setFixedWidth(SMALL)
        self.drop.setToolTip("Take this prediction away")
        self.drop.setStyleSheet("padding: 3px 0px")
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        for widget, share in ((self.name, 1), (self.path, 3), (self.choose, 0), (self.drop, 0)):
            line.addWidget(widget, share)
        self.name.editingFinished.connect(self.changed)
        self.path.editingFinished.connect(self.changed)
        self.drop.clicked.connect(lambda _checked: self.gone.emit())


class EvaluateForm(QWidget):  # type: ignore[misc]
    """Edits what is compared, and how.

    Signals
    -------
    valueChanged
        The `EvaluateState`, when the user changed it.
    browse
        What is to be chosen (``prediction 0``, ``truth``, ``plate_map``, ``output``), and ``file`` or ``folder``.
    offered
        One of the sources that were offered was chosen, by its number.
    """

    valueChanged = Signal(object)  # noqa: N815 - Qt's own way of naming
    browse = Signal(str, str)
    offered = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value, self._showing = EvaluateState(), False
        self.source = combo("What is compared: the plate that is open, layers that are open, or anything by its path", letters=10)
        self.lines: list[PredictionLine] = []
        self.paths, self.predictions = QWidget(), QVBoxLayout()
        self.add = QPushButton("Add prediction")
        self.truth, self.plate_map, self.output = QLineEdit(), QLineEdit(), QLineEdit()
        self.levels = {name: QCheckBox(ABOUT[name][0]) for name in LEVELS}
        self.roles: dict[str, QComboBox] = {}
        self.segmenter = combo("What finds nuclei and cells", SEGMENTERS, letters=8)
        self.workers = QSpinBox()
        self.wells = fold("What is in the wells")
        self.more = fold("More")
        self._build()
        self.setValue(self._value)

    def value(self) -> EvaluateState:
        """Return what is chosen."""
        return self._value

    def setValue(self, choice: EvaluateState) -> None:  # noqa: N802 - Qt's own way of naming
        """Show a choice, without telling that it changed."""
        self._value, self._showing = choice, True
        given = choice.predictions or (("", ""),)
        while len(self.lines) != len(given):
            if len(self.lines) < len(given):
                self._add_line()
            else:
                self._drop_line(self.lines[-1])
        for line, (name, path) in zip(self.lines, given, strict=True):
            _write(line.name, name)
            _write(line.path, path)
            line.drop.setVisible(len(given) > 1)
        for widget, text in ((self.truth, choice.truth), (self.plate_map, choice.plate_map), (self.output, choice.output)):
            _write(widget, text)
        for name, box in self.levels.items():
            box.setChecked(name in choice.levels)
        for name, editable in self.roles.items():
            editable.setEditText(getattr(choice, name))
        self.segmenter.setCurrentIndex(self.segmenter.findData(choice.segmenter))
        self.workers.setValue(choice.workers)
        self.paths.setVisible(choice.source == "paths")
        self._showing = False

    def setSources(self, texts: Sequence[str], chosen: int) -> None:  # noqa: N802
        """Offer these sources."""
        blocker = QSignalBlocker(self.source)
        if [self.source.itemText(i) for i in range(self.source.count())] != list(texts):
            self.source.clear()
            self.source.addItems(list(texts))
        self.source.setCurrentIndex(chosen)
        del blocker

    def setColumns(self, columns: Sequence[str], values: Sequence[str], found: Mapping[str, str]) -> None:  # noqa: N802
        """Offer these columns and these choices of controls, and tell what was found where nothing is chosen."""
        self._showing = True
        for name, box in self.roles.items():
            text = box.currentText()
            box.clear()
            box.addItems(["", *(values if name in ("controls", "positive") else columns)])
            box.setEditText(text)
            box.lineEdit().setPlaceholderText(f"{FOUND}: {found[name]}" if name in found else FOUND)
        self._showing = False

    def _read(self, *_: Any) -> None:
        if self._showing:
            return
        found = replace(
            self._value,
            predictions=tuple((line.name.text().strip(), line.path.text().strip()) for line in self.lines),
            truth=self.truth.text().strip(),
            plate_map=self.plate_map.text().strip(),
            output=self.output.text().strip(),
            levels=tuple(name for name, box in self.levels.items() if box.isChecked()),
            segmenter=self.segmenter.currentData(),
            workers=self.workers.value(),
            **{name: box.currentText().strip() for name, box in self.roles.items()},
        )
        if found != self._value:
            self._value = found
            self.valueChanged.emit(found)

    # -- predictions --------------------------------------------------------------------------------------------------

    def _add_line(self) -> None:
        line = PredictionLine()
        line.changed.connect(self._read)
        line.browse.connect(lambda what: self.browse.emit(f"prediction {self.lines.index(line)}", what))
        line.gone.connect(lambda: self._give_up(line))
        self.lines.append(line)
        self.predictions.addWidget(line)

    def _drop_line(self, line: PredictionLine) -> None:
        self.lines.remove(line)
        self.predictions.removeWidget(line)
        line.hide()
        line.deleteLater()

    def _give_up(self, line: PredictionLine) -> None:
        kept = tuple(each for each, shown in zip(self._value.predictions, self.lines, strict=True) if shown is not line)
        self._change(replace(self._value, predictions=kept or (("", ""),)))

    def _one_more(self) -> None:
        self._read()
        self._change(replace(self._value, predictions=(*self._value.predictions, ("", ""))))

    def _change(self, choice: EvaluateState) -> None:
        self.setValue(choice)
        self.valueChanged.emit(choice)

    # -- looks --------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(5)
        top.addWidget(self.source)
        top.addWidget(self.paths)
        self._build_paths()
        grid = QGridLayout()
        for place, (name, box) in enumerate(self.levels.items()):
            box.setToolTip(ABOUT[name][1])
            box.toggled.connect(self._read)
            grid.addWidget(box, place // 2, place % 2)
        top.addWidget(words("<b>Levels</b>"))
        top.addLayout(grid)
        self._build_wells()
        top.addWidget(self.wells)
        self._build_more()
        top.addWidget(self.more)
        top.addWidget(words("<b>Report</b>"))
        self.output.setPlaceholderText("a new folder, or one to go on with")
        self.output.setToolTip("Folder of the report; one that was begun is gone on with")
        top.addLayout(self._path_row(self.output, "output"))

    def _build_paths(self) -> None:
        inner = QVBoxLayout(self.paths)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addWidget(words("<b>Predicted</b>"))
        inner.addLayout(self.predictions)
        self.predictions.setSpacing(4)
        self.add.setToolTip("Judge another model's stains of the same fields beside these")
        self.add.clicked.connect(lambda _checked: self._one_more())
        inner.addWidget(self.add, 0, Qt.AlignmentFlag.AlignLeft)
        inner.addWidget(words("<b>True</b>"))
        self.truth.setPlaceholderText("true stains: a file, folder or plate")
        self.truth.setToolTip("The same fields, truly stained; a plate whose stains lie beside brightfield may be the one that was painted")
        inner.addLayout(self._path_row(self.truth, "truth"))

    def _build_wells(self) -> None:
        holder = QWidget()
        lines = QFormLayout(holder)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setVerticalSpacing(3)
        self.plate_map.setPlaceholderText("that of the plate")
        self.plate_map.setToolTip("A table of what is in the wells: well, treatment, dose, control, mechanism …")
        lines.addRow(_label("Plate map", self.plate_map.toolTip()), self._path_row(self.plate_map, "plate_map"))
        for name, (text, tip) in ROLES.items():
            box = combo(tip, letters=6)
            box.setEditable(True)
            box.lineEdit().setPlaceholderText("found by itself")
            box.lineEdit().editingFinished.connect(self._read)
            box.activated.connect(self._read)
            self.roles[name] = box
            lines.addRow(_label(text, tip), box)
        self.wells.addWidget(holder)

    def _build_more(self) -> None:
        holder = QWidget()
        lines = QFormLayout(holder)
        lines.setContentsMargins(0, 0, 0, 0)
        self.workers.setRange(0, 256)
        self.workers.setSpecialValueText("as many as cores")
        self.workers.setToolTip("Processes that judge fields, each with its own memory")
        self.workers.valueChanged.connect(self._read)
        self.segmenter.currentIndexChanged.connect(self._read)
        lines.addRow(_label("Cells found by", self.segmenter.toolTip()), self.segmenter)
        lines.addRow(_label("Processes", self.workers.toolTip()), self.workers)
        self.more.addWidget(holder)
        self.source.activated.connect(self.offered)

    def _path_row(self, edit: QLineEdit, what: str) -> QHBoxLayout:
        edit.editingFinished.connect(self._read)
        choose = QPushButton("…")
        choose.setFixedWidth(SMALL)
        if what == "truth":
            add_menu(choose, partial(self.browse.emit, what))
        else:
            choose.clicked.connect(lambda _checked: self.browse.emit(what, "file" if what == "plate_map" else "folder"))
        return row(edit, choose)


def browser(parent: QWidget, signal: Any) -> QPushButton:
    """Return a button that asks for a file or a folder."""
    button = QPushButton("…", parent)
    button.setFixedWidth(SMALL)
    add_menu(button, signal.emit)
    return button


def add_menu(button: QPushButton, chosen: Any) -> None:
    """Give a button a menu of a file and a folder."""
    menu = QMenu(button)
    menu.addAction("Folder or plate…", partial(chosen, "folder"))
    menu.addAction("File…", partial(chosen, "file"))
    button.setStyleSheet("QPushButton { padding: 3px 0px } QPushButton::menu-indicator { image: none }")
    button.setMenu(menu)


def _label(text: str, tip: str) -> QLabel:
    label = QLabel(text)
    label.setToolTip(tip)
    return label


def _write(edit: QLineEdit, text: str) -> None:
    if edit.text() != text:
        edit.setText(text)
        edit.setCursorPosition(len(text))
