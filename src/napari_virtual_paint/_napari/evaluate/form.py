"""The form of the Evaluate dock: shows and edits an `EvaluateState`; it knows no file, layer or plate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, get_args

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.evaluate.state import EvaluateState
from napari_virtual_paint._napari.shared.form_binding import BoundForm, ticked_boxes
from napari_virtual_paint._napari.shared.widgets import combo, fold, form_rows, row, words
from napari_virtual_paint.choices import LEVELS, Segmenter
from napari_virtual_paint.metrics import METRICS

LEVEL_TIPS = {
    "pixels": f"{', '.join(each.label for each in METRICS.values())} per stain, over whole fields and in the foreground alone",
    "instances": "Nuclei and cells found in truth and prediction, matched one to one: F1, Jaccard, and which were missed",
    "features": "CellProfiler's features of every cell, measured in both: how well they correlate, and which are lost",
    "profiles": "Wells by their features: UMAP, mechanisms found again, toxic or not; measures the features, too",
}
SEGMENTERS = {"auto": "Cellpose where installed", "skimage": "scikit-image", "cellpose": "Cellpose", "instanseg": "InstanSeg"}
SMALL = 26  # smallest width of a button with one letter, in pixels; a large font needs more
WELL_FIELDS = {
    "treatment": ("Treatment", "Column of what was added to the wells"),
    "moa": ("Mechanism", "Column of the mechanism of action; without one each treatment counts as its own"),
    "batch": ("Batch", "Column of what was done together"),
    "controls": ("Negative controls", "Which wells got nothing, as COLUMN=VALUE"),
    "positive": ("Positive controls", "Which wells were treated with what surely acts, as COLUMN=VALUE"),
}
"""Field of `EvaluateState` -> label and tooltip."""


class PredictionLine(QWidget):  # type: ignore[misc]
    """Name and path of one prediction."""

    changed = Signal()
    browse = Signal(str)
    removed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name, self.path = QLineEdit(), QLineEdit()
        self.name.setPlaceholderText("name")
        self.name.setToolTip("Name in the report; the file's name where empty")
        self.path.setPlaceholderText("predicted stains: a file, folder or plate")
        self.path.setToolTip("A field's file, a folder of fields, a plate, or the output of painting a plate")
        self.choose, self.remove = QPushButton("…"), QPushButton("✕")
        add_menu(self.choose, self.browse.emit)
        self.remove.setToolTip("Remove this prediction")
        for each in (self.choose, self.remove):
            make_small(each)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        for widget, stretch in ((self.name, 1), (self.path, 3), (self.choose, 0), (self.remove, 0)):
            line.addWidget(widget, stretch)
        self.name.editingFinished.connect(self.changed)
        self.path.editingFinished.connect(self.changed)
        self.remove.clicked.connect(lambda _checked: self.removed.emit())

    def value(self) -> tuple[str, str]:
        """Return name and path."""
        return self.name.text().strip(), self.path.text().strip()


class PredictionList(QWidget):  # type: ignore[misc]
    """Edits the predictions, a line each; there is always at least one line.

    Signals
    -------
    valueChanged
        The user changed, added or removed a line.
    browse
        Number of the line for which a ``file`` or ``folder`` is to be chosen.
    """

    valueChanged = Signal()  # noqa: N815 - Qt's own way of naming
    browse = Signal(int, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lines: list[PredictionLine] = []
        self.add = QPushButton("Add prediction")
        self.add.setToolTip("Compare another model's stains of the same fields with these")
        self.add.clicked.connect(lambda _checked: self._edit([*self.value(), ("", "")]))
        self._rows = QVBoxLayout()
        self._rows.setSpacing(4)
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(4)
        top.addLayout(self._rows)
        top.addWidget(self.add, 0, Qt.AlignmentFlag.AlignLeft)

    def value(self) -> tuple[tuple[str, str], ...]:
        """Return name and path of each prediction."""
        return tuple(line.value() for line in self.lines)

    def setValue(self, value: Sequence[tuple[str, str]]) -> None:  # noqa: N802 - Qt's own way of naming
        """Show other predictions."""
        value = value or (("", ""),)
        while len(self.lines) > len(value):
            line = self.lines.pop()
            self._rows.removeWidget(line)
            line.hide()
            line.deleteLater()
        while len(self.lines) < len(value):
            self._add_line()
        for line, (name, path) in zip(self.lines, value, strict=True):
            for edit, text in ((line.name, name), (line.path, path)):
                if edit.text() != text:
                    edit.setText(text)
                    edit.setCursorPosition(len(text))
            line.remove.setVisible(len(value) > 1)

    def _add_line(self) -> None:
        line = PredictionLine()
        line.changed.connect(self.valueChanged)
        line.browse.connect(lambda kind: self.browse.emit(self.lines.index(line), kind))
        line.removed.connect(lambda: self._edit([each.value() for each in self.lines if each is not line]))
        self.lines.append(line)
        self._rows.addWidget(line)

    def _edit(self, value: Sequence[tuple[str, str]]) -> None:
        self.setValue(value)
        self.valueChanged.emit()


class EvaluateForm(BoundForm[EvaluateState]):
    """Edits what is compared, and how.

    Signals
    -------
    browse
        A path is to be chosen for ``truth``, ``plate_map``, ``output`` or ``prediction 0``; and whether a ``file`` or a ``folder``.
    source_chosen
        Number of the source, among those offered, that the user chose.
    """

    browse = Signal(str, str)
    source_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.source = combo("What is compared: the plate that is open, layers that are open, or anything by its path", letters=10)
        self.paths, self.predictions = QWidget(), PredictionList()
        self.truth, self.plate_map, self.output = QLineEdit(), QLineEdit(), QLineEdit()
        self.levels = {name: QCheckBox(name.capitalize()) for name in LEVELS}
        self.well_fields = {name: _editable_combo(tip) for name, (_, tip) in WELL_FIELDS.items()}
        self.segmenter = combo("What finds nuclei and cells", [(name, SEGMENTERS.get(name, name)) for name in get_args(Segmenter)])
        self.workers = QSpinBox()
        self.wells = fold("What is in the wells")
        self.more = fold("More")
        self._lay_out()
        self.source.activated.connect(self.source_chosen)
        self.predictions.browse.connect(lambda number, kind: self.browse.emit(f"prediction {number}", kind))
        self.shown.connect(lambda value: self.paths.setVisible(value.source == "paths"))
        table = {
            "predictions": self.predictions,
            "truth": self.truth,
            "levels": ticked_boxes(self.levels),
            "plate_map": self.plate_map,
            **self.well_fields,
            "segmenter": self.segmenter,
            "workers": self.workers,
            "output": self.output,
        }
        self.bind(EvaluateState(), table)

    def setSources(self, texts: Sequence[str], chosen: int) -> None:  # noqa: N802
        """Offer these sources."""
        blocker = QSignalBlocker(self.source)
        if [self.source.itemText(i) for i in range(self.source.count())] != list(texts):
            self.source.clear()
            self.source.addItems(list(texts))
        self.source.setCurrentIndex(chosen)
        del blocker

    def setColumns(self, columns: Sequence[str], values: Sequence[str], found: Mapping[str, str]) -> None:  # noqa: N802
        """Offer columns and ``COLUMN=VALUE``, and show what is used where nothing is chosen (see `InputSummary`)."""
        with self.silenced():
            for name, box in self.well_fields.items():
                text = box.currentText()
                box.clear()
                box.addItems(["", *(values if name in ("controls", "positive") else columns)])
                box.setEditText(text)
                box.lineEdit().setPlaceholderText(f"found: {found[name]}" if name in found else "found")

    def _lay_out(self) -> None:
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(5)
        top.addWidget(self.source)
        top.addWidget(self.paths)
        self._lay_out_paths()
        grid = QGridLayout()
        for place, (name, box) in enumerate(self.levels.items()):
            box.setToolTip(LEVEL_TIPS.get(name, ""))
            grid.addWidget(box, place // 2, place % 2)
        top.addWidget(words("<b>Levels</b>"))
        top.addLayout(grid)
        self.plate_map.setPlaceholderText("that of the plate")
        self.plate_map.setToolTip("A table of what is in the wells: well, treatment, dose, control, mechanism …")
        fields = [(WELL_FIELDS[name][0], box) for name, box in self.well_fields.items()]
        self.wells.addWidget(_holder([("Plate map", self._path_row(self.plate_map, "plate_map")), *fields]))
        top.addWidget(self.wells)
        self.workers.setRange(0, 256)
        self.workers.setSpecialValueText("as many as cores")
        self.workers.setToolTip("Number of processes that evaluate fields, each with its own memory")
        self.more.addWidget(_holder([("Cells found by", self.segmenter), ("Processes", self.workers)]))
        top.addWidget(self.more)
        top.addWidget(words("<b>Report</b>"))
        self.output.setPlaceholderText("a new folder, or one to go on with")
        self.output.setToolTip("Folder of the report; an evaluation that was begun there is continued")
        top.addLayout(self._path_row(self.output, "output"))

    def _lay_out_paths(self) -> None:
        inner = QVBoxLayout(self.paths)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addWidget(words("<b>Predicted</b>"))
        inner.addWidget(self.predictions)
        inner.addWidget(words("<b>True</b>"))
        self.truth.setPlaceholderText("true stains: a file, folder or plate")
        self.truth.setToolTip("The same fields, truly stained; a plate whose stains lie beside brightfield may be the one that was painted")
        inner.addLayout(self._path_row(self.truth, "truth"))

    def _path_row(self, edit: QLineEdit, field: str) -> QHBoxLayout:
        choose = QPushButton("…")
        make_small(choose)
        if field == "truth":
            add_menu(choose, partial(self.browse.emit, field))
        else:
            choose.clicked.connect(lambda _checked: self.browse.emit(field, "file" if field == "plate_map" else "folder"))
        return row(edit, choose)


def make_small(button: QPushButton) -> None:
    """Make a button as wide as its one letter, whatever the font."""
    button.setStyleSheet(
        f"QPushButton {{ padding: 3px; min-width: {SMALL - 6}px }} QPushButton::menu-indicator {{ image: none; width: 0px }}"
    )
    button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)


def add_menu(button: QPushButton, chosen: Callable[[str], Any]) -> None:
    """Give a button a menu of ``folder`` and ``file``."""
    menu = QMenu(button)
    menu.addAction("Folder or plate…", partial(chosen, "folder"))
    menu.addAction("File…", partial(chosen, "file"))
    button.setMenu(menu)


def _holder(rows: Sequence[tuple[str, Any]]) -> QWidget:
    holder = QWidget()
    holder.setLayout(form_rows(rows))
    return holder


def _editable_combo(tip: str) -> QComboBox:
    box = combo(tip, letters=6)
    box.setEditable(True)
    box.lineEdit().setPlaceholderText("found by itself")
    return box
