"""The widgets of the Plate dock: the plate's title, map and legend, the open field, and the form that paints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QMenu, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_virtual_paint._napari.plate.paint_form import PaintForm
from napari_virtual_paint._napari.plate.well_map import WellMap
from napari_virtual_paint._napari.shared.legend import Legend
from napari_virtual_paint._napari.shared.viewer.stain_view import StainButtons
from napari_virtual_paint._napari.shared.welcome import Welcome
from napari_virtual_paint._napari.shared.widgets import combo, fill_scrolled, fold, row, set_grouped_choices, words
from napari_virtual_paint.plates.view.colouring import ColourKey

SMALL = 22  # pixels across the button of a field
BUTTONS = 9  # fields of a well that have a button each; more are chosen in a box
GROUPS = (("brightfield", "Brightfield"), ("true", "True stains"), ("painted", "Predicted"))
NO_PLATE = "Drop a plate's folder here, or open one."


class PlatePanel(QWidget):  # type: ignore[misc]
    """The widgets, without the work that they start."""

    field_chosen = Signal(int)
    """The number of a field in its well."""
    group_toggled = Signal(str, bool)
    """A group of layers is to be shown or hidden."""

    def __init__(self, stains: StainButtons) -> None:
        super().__init__()
        self.stains = stains
        self.open = QPushButton("Open…")
        self.menu = QMenu(self.open)
        self.title = words()
        self.welcome = Welcome(NO_PLATE)
        self.column = combo("What the wells are colored by", letters=6)
        self.map, self.legend = WellMap(), Legend()
        self.previous = _arrow("◀", "The field before, in the order of the plate (Page Up)")
        self.next = _arrow("▶", "The next field (Page Down)")
        self.place = words()
        self.fields = QHBoxLayout()
        self.more = combo("The field of the well", letters=6)
        self.groups: dict[str, QPushButton] = {}
        self.suggest, self.suggested = QPushButton("Suggest wells to stain"), words()
        self.message = words()
        self.form = PaintForm()
        self.paint_section = fold("Paint")
        self._buttons: list[QPushButton] = []
        self._columns: list[tuple[str, Any, str]] = []  # group, key and label of what is offered
        self._lay_out()
        self.more.currentIndexChanged.connect(self.field_chosen.emit)

    def set_columns(self, columns: Sequence[ColourKey], chosen: str) -> None:
        """Offer what the map can be coloured by."""
        offered: list[tuple[str, Any, str]] = [(each.group, each.key, each.label) for each in columns]
        if offered != self._columns:
            self._columns = offered
            set_grouped_choices(self.column, offered, chosen)
        elif self.column.currentData() != chosen:
            blocker = QSignalBlocker(self.column)
            self.column.setCurrentIndex(max(0, self.column.findData(chosen)))
            del blocker

    def set_fields(self, names: Sequence[str], chosen: int) -> None:
        """Offer the fields of a well: a button each, or a box where there are many."""
        several = len(names) > BUTTONS
        while len(self._buttons) < min(len(names), BUTTONS):
            self._add_button(len(self._buttons))
        for index, button in enumerate(self._buttons):
            button.setVisible(not several and len(names) > 1 and index < len(names))
            button.setChecked(index == chosen)
            if index < len(names):
                button.setToolTip(f"Field {names[index]} of the well (key {index + 1})")
        blocker = QSignalBlocker(self.more)
        if several and self.more.count() != len(names):
            self.more.clear()
            self.more.addItems([f"field {name}" for name in names])
        self.more.setCurrentIndex(chosen)
        del blocker
        self.more.setVisible(several)

    def set_groups(self, groups: dict[str, bool]) -> None:
        """Show which groups of layers there are, and which are shown."""
        for name, button in self.groups.items():
            button.setVisible(name in groups)
            blocker = QSignalBlocker(button)
            button.setChecked(groups.get(name, False))
            del blocker

    def _add_button(self, index: int) -> None:
        button = QPushButton(str(index + 1))
        button.setCheckable(True)
        button.setFixedWidth(SMALL)
        button.setStyleSheet("padding: 3px 0px")
        button.clicked.connect(lambda _checked: self.field_chosen.emit(index))
        self.fields.insertWidget(index, button)
        self._buttons.append(button)

    def _lay_out(self) -> None:
        self.open.setMenu(self.menu)
        self.open.setToolTip("Open a plate: a folder, a microscope's file, a table of images; or drop it onto this dock")
        self.suggest.setToolTip(
            "Select the wells whose staining would teach the chosen model most: far from its training images and from each other, with "
            "controls and treatments among them"
        )
        self.suggest.setEnabled(False)
        self.suggested.hide()
        self.title.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.paint_section.addWidget(self.form)
        self.paint_section.setToolTip("Paint the stains of the whole plate")
        inner = QWidget()
        top = QVBoxLayout(inner)
        top.setContentsMargins(0, 0, 4, 0)
        top.setSpacing(5)
        top.addWidget(self.welcome)
        top.addLayout(row(self.title, self.open))
        colour = QHBoxLayout()
        colour.addWidget(QLabel("Color by"))
        colour.addWidget(self.column, 1)
        top.addLayout(colour)
        top.addWidget(self.map)
        top.addWidget(self.legend)
        top.addWidget(self.suggest)
        top.addWidget(self.suggested)
        top.addLayout(self._navigation())
        top.addLayout(self._toggles())
        top.addWidget(self.stains)
        for widget in (self.message, self.form.failed_head, self.form.failures, self.paint_section):
            top.addWidget(widget)
        top.addStretch(1)
        fill_scrolled(self, inner, self.form.footer)

    def _navigation(self) -> QHBoxLayout:
        self.fields.setSpacing(2)
        self.fields.addWidget(self.more)
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.previous)
        line.addWidget(self.place, 1)
        line.addLayout(self.fields)
        line.addWidget(self.next)
        self.more.hide()
        return line

    def _toggles(self) -> QHBoxLayout:
        line = QHBoxLayout()
        line.setSpacing(4)
        for name, text in GROUPS:
            button = QPushButton(text)
            button.setCheckable(True)
            button.setToolTip(f"Show or hide: {text.lower()}")
            button.toggled.connect(lambda on, name=name: self.group_toggled.emit(name, on))
            button.hide()
            line.addWidget(button, 1)
            self.groups[name] = button
        return line


def _arrow(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setFixedWidth(SMALL + 4)
    button.setStyleSheet("padding: 3px 0px")
    button.setToolTip(tip)
    button.setEnabled(False)
    return button
