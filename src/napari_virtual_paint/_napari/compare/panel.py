"""The widgets of the Compare dock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

from napari_virtual_paint._napari.compare.form import PairsForm, SettingsForm
from napari_virtual_paint._napari.compare.scores import ScoreRow
from napari_virtual_paint._napari.compare.side_by_side import LONGEST, SHORTEST, USUAL
from napari_virtual_paint._napari.compare.table import ScoresTable
from napari_virtual_paint._napari.compare.updater import ScoreRequest
from napari_virtual_paint._napari.shared.stain_view import StainButtons
from napari_virtual_paint._napari.shared.widgets import button, combo, fill_scrolled, footer
from napari_virtual_paint.runtime.text import elapsed

LAYOUTS = {"each": "separate", "overlaid": "overlaid"}
KEYS = {"side": "Ctrl+Alt+G", "flicker": "Ctrl+Alt+F", "errors": "Ctrl+Alt+E"}
"""Shortcuts of the whole window; the command palette's titles name them too."""


class ComparePanel(QWidget):  # type: ignore[misc]
    """The widgets of the Compare dock: pairs and scores, which scroll where the dock is low, above a footer with the views.

    Attributes
    ----------
    request
        What the scores shown are of; None where there are none.
    """

    def __init__(self, stains: StainButtons, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.request: ScoreRequest | None = None
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 4, 0)
        column.setSpacing(8)
        self._add_pairs(column)
        self.settings = SettingsForm()
        column.addWidget(self.settings)
        self.table = ScoresTable()
        column.addWidget(self.table)
        self._status = QLabel()
        self._status.setWordWrap(True)
        self._status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard)
        self._status.setToolTip("What the scores are of, and what could not be done.")
        self._add_outputs(column)
        column.addStretch(1)
        self.footer = footer(self._status, stains, self._views())
        self.scroll = fill_scrolled(self, inner, self.footer)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(360, super().sizeHint().height())

    def _add_pairs(self, column: QVBoxLayout) -> None:
        self.pairs = PairsForm()
        column.addWidget(self.pairs)
        self._hint = QLabel()
        self._hint.setWordWrap(True)
        self._hint.setToolTip("How to begin.")
        column.addWidget(self._hint)
        self.by_name = button(
            "Pair by name", "Pair all predicted layers with the true ones by their names, and forget what was chosen here."
        )
        self.add = button("Add pair", "Add a line in which any two layers can be chosen.")
        column.addLayout(_line(self.by_name, self.add))

    def _views(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(4)
        self.side = button(
            "Side by side",
            "Show predicted beside true in a grid, with one camera and linked layers and contrast.\n"
            "Click again to get the view from before back. Acts on the stains selected in the table, or on all.",
            KEYS["side"],
        )
        self.layout_choice = combo(
            "Side by side: one box for each layer, or two boxes with all stains laid over each other.", LAYOUTS.items()
        )
        self.flicker = button(
            "Flicker",
            "Show predicted and true in turn at the same place: what moves is wrong.\n"
            "Click again to get the view from before back. Acts on the stains selected in the table, or on all.",
            KEYS["flicker"],
        )
        self.period = QSpinBox()
        self.period.setRange(SHORTEST, LONGEST)
        self.period.setSingleStep(50)
        self.period.setSuffix(" ms")
        self.period.setValue(USUAL)
        self.period.setKeyboardTracking(False)
        self.period.setToolTip(f"Flicker: how long each of the two is shown, from {SHORTEST} ms (no faster, for the sake of your eyes).")
        self.errors = button(
            "Error map",
            "Add a layer of predicted minus true, both z-scored over the pixels scored:\n"
            "orange where too much is predicted, blue where too little, black where it is right.\n"
            "Acts on the stains selected in the table, or on all.",
            KEYS["errors"],
        )
        for each in (self.side, self.flicker, self.errors):
            each.setCheckable(True)
        for row, pair in enumerate(((self.side, self.layout_choice), (self.flicker, self.period), (self.errors, None))):
            for place, widget in enumerate(pair):
                if widget is not None:
                    grid.addWidget(widget, row, place)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        return grid

    def _add_outputs(self, column: QVBoxLayout) -> None:
        self.save = button("Save CSV…", "Save the table with full precision as CSV.")
        self.copy = button("Copy table", "Copy the selected rows, or all, with full precision for a spreadsheet (Ctrl+C in the table).")
        self.command = button("Copy as command", "Copy the 'virtual-paint evaluate' command that scores the same files.")
        column.addLayout(_line(self.save, self.copy))
        column.addLayout(_line(self.command))

    def show_pairs(self, complete: bool, hint: str) -> None:
        """Enable what needs a pair where there is one, else show a hint."""
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))
        for widget in (self.side, self.flicker, self.errors, self.command):
            widget.setEnabled(complete)

    def show_waiting(self) -> None:
        """Show that the scores are being updated."""
        if self.request is not None and not self._status.text().endswith("updating…"):
            self._status.setText(f"{self._status.text()}  updating…")

    def show_rows(self, rows: Sequence[ScoreRow], request: ScoreRequest | None, seconds: float) -> None:
        """Show scores and what they are of."""
        self.request = request
        self.table.set_rows(rows)
        for widget in (self.save, self.copy):
            widget.setEnabled(bool(rows))
        self._status.setText(_summary(rows, request, seconds))

    def show_mode(self, mode: str) -> None:
        """Press the button of the current mode."""
        self.side.setChecked(mode == "side by side")
        self.flicker.setChecked(mode == "flicker")
        self.side.setText("Back" if mode == "side by side" else "Side by side")
        self.flicker.setText("Stop" if mode == "flicker" else "Flicker")

    def show_error_maps(self, on: bool) -> None:
        """Press the button of the error maps where there are any, or will be."""
        self.errors.setChecked(on)
        self.errors.setText("Remove error maps" if on else "Error map")

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        self._status.setText(sentence)


def _summary(rows: Sequence[ScoreRow], request: ScoreRequest | None, seconds: float) -> str:
    """Return what the scores are of, and why some are missing."""
    if request is None:
        return ""
    scored = [row for row in rows if row.pixels]
    reasons = list(dict.fromkeys(row.reason for row in rows if row.reason))
    scale = "z-scored" if request.scale == "zscore" else "raw intensities"
    summary = f"{request.where.capitalize()}, {scale}, {scored[0].pixels:,} pixels per stain, in {elapsed(seconds)}." if scored else ""
    more = f" (and {len(reasons) - 2} more: point at a dash)" if len(reasons) > 2 else ""
    return " ".join(part for part in (summary, *reasons[:2]) if part) + more


def _line(*widgets: Any) -> QHBoxLayout:
    line = QHBoxLayout()
    line.setSpacing(6)
    for widget in widgets:
        line.addWidget(widget)
    return line
