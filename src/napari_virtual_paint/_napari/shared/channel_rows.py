"""A row for each input of a model, with the channel of the image that it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QWidget

from napari_virtual_paint._napari.shared.widgets import combo, words
from napari_virtual_paint.models.channel_names import parse_name

LONGEST = 20  # letters of an input's name that are shown in full


class ChannelRows(QWidget):  # type: ignore[misc]
    """Shows and edits which channels of an image a model gets."""

    valueChanged = Signal(object)  # noqa: N815 - Qt's own way of naming
    """The positions of the channels in the model's order, when the user changed one; None while one is still to be chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setVerticalSpacing(3)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.boxes: list[QComboBox] = []
        self._silent = False
        self._shown: tuple[Any, ...] = ()

    def show_channels(
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
            self._rebuild(wanted, offered, fixed)
        self._silent = True
        for box, index in zip(self.boxes, taken, strict=False):
            box.setCurrentIndex(box.findData(index))
        self._silent = False

    def _rebuild(self, wanted: Sequence[str], offered: Sequence[tuple[int, str]], fixed: str) -> None:
        """Make the rows anew; the old ones are deleted later, since one of them may be emitting a signal right now."""
        while self.form.rowCount():
            row = self.form.takeRow(0)
            for item in (row.labelItem, row.fieldItem):
                if item is not None:
                    item.widget().hide()
                    item.widget().deleteLater()
        self.boxes = []
        if fixed:
            line = words(fixed)
            line.setToolTip("What the model gets")
            self.form.addRow(wanted[0] if len(wanted) == 1 else "Planes", line)
            return
        for name, short in zip(wanted, without_common_start(wanted), strict=True):
            box = combo(f"The channel that the model takes as {name}", [(None, "choose…"), *offered])
            box.currentIndexChanged.connect(self._changed)
            self.form.addRow(_label(short, name), box)
            self.boxes.append(box)

    def _changed(self) -> None:
        if not self._silent:
            taken = [box.currentData() for box in self.boxes]
            self.valueChanged.emit(None if any(index is None for index in taken) else tuple(taken))


def _label(text: str, tip: str) -> QLabel:
    label = QLabel(text if len(text) <= LONGEST else text[: LONGEST - 2] + "…")
    label.setToolTip(tip)
    return label


def without_common_start(names: Sequence[str]) -> list[str]:
    """Return names without the words that all of them begin with, so that they fit beside what they are about."""
    words = [name.split(" ") for name in names]
    common = 0
    while len(names) > 1 and all(len(row) > common + 1 for row in words) and len({row[common] for row in words}) == 1:
        common += 1
    return [_in_words(" ".join(row[common:])) for row in words]


def _in_words(name: str) -> str:
    """Return ``plane 0`` for a name that is a number of a z-plane alone, like ``z0``; other names as they are."""
    found = parse_name(name)
    return f"plane {found.plane}" if found.plane is not None and not found.kind else name
