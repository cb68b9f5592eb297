"""The widgets of the Compare dock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from napari_virtual_paint._napari.compare.form import PairsForm, SettingsForm
from napari_virtual_paint._napari.compare.scores import ScoreRow
from napari_virtual_paint._napari.compare.side_by_side import LONGEST, SHORTEST, USUAL
from napari_virtual_paint._napari.compare.table import ScoresTable
from napari_virtual_paint._napari.compare.updater import ScoreRequest
from napari_virtual_paint._napari.shared.viewer.stain_view import StainButtons
from napari_virtual_paint._napari.shared.widgets import button, combo, fill_scrolled, footer, words
from napari_virtual_paint.runtime.text import elapsed

LAYOUTS = {"each": "One panel per layer", "overlaid": "Two panels, overlaid"}
KEYS = {"side": "Ctrl+Alt+G", "flicker": "Ctrl+Alt+F", "errors": "Ctrl+Alt+E"}
"""Shortcuts of the whole window; the command palette's titles name them too."""
WHICH = "Shows the stains selected in the table, or all of them."


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
        self._status = words()
        self._status.setToolTip("Which pixels the scores are of, and what could not be scored.")
        self._add_outputs(column)
        column.addStretch(1)
        self.footer = footer(self._status, stains, self._views())
        self.scroll = fill_scrolled(self, inner, self.footer)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(360, super().sizeHint().height())

    def _add_pairs(self, column: QVBoxLayout) -> None:
        self.pairs = PairsForm()
        column.addWidget(self.pairs)
        self._hint = words()
        self._hint.setToolTip("What to do first.")
        column.addWidget(self._hint)
        self.by_name = button(
            "Pair by name", "Pair each predicted layer with the true layer of the same name. Pairs that you chose yourself are replaced."
        )
        self.add = button("Add pair", "Add a row in which you choose the two layers yourself.")
        column.addLayout(_line(self.by_name, self.add))

    def _views(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(4)
        self.side = button(
            "Side by side",
            "Show predicted and true images side by side; they move, zoom and change contrast together.\n"
            f"Click again to go back to the view from before. {WHICH}",
            KEYS["side"],
        )
        self.layout_choice = combo(
            "How Side by side divides the canvas: a panel for each layer, or one panel for all predicted and one for all true stains.",
            LAYOUTS.items(),
        )
        self.flicker = button(
            "Flicker",
            "Show the predicted and the true image in turn at the same place: whatever moves is wrong.\n"
            f"Click again to go back to the view from before. {WHICH}",
            KEYS["flicker"],
        )
        self.period = QSpinBox()
        self.period.setRange(SHORTEST, LONGEST)
        self.period.setSingleStep(50)
        self.period.setSuffix(" ms")
        self.period.setValue(USUAL)
        self.period.setKeyboardTracking(False)
        self.period.setToolTip(
            f"How long Flicker shows each image: at least {SHORTEST} ms, since faster flashing can harm people with epilepsy."
        )
        self.errors = button(
            "Error map",
            "Show where the prediction is wrong: predicted minus true, in standard deviations.\n"
            "Orange: too much is predicted. Blue: too little. Black (clear in 3D): right.\n"
            f"Click again to remove the maps. {WHICH}",
            KEYS["errors"],
        )
        for each in (self.side, self.flicker, self.errors):
            each.setCheckable(True)
        for row, pair in enumerate(((self.side, self.layout_choice), (self.flicker, self.period), (self.errors, None))):
            for place, widget in enumerate(pair):
                if widget is not None:
                    grid.addWidget(widget, row, place)
        grid.setColumnStretch(0, 4)
        grid.setColumnStretch(1, 5)  # or the text of the layout would be cut
        return grid

    def _add_outputs(self, column: QVBoxLayout) -> None:
        self.save = button("Save CSV…", "Save the table as a CSV file, with all digits.")
        self.copy = button("Copy table", "Copy the selected rows, or all, with all digits, for a spreadsheet (Ctrl+C in the table).")
        self.command = button(
            "Copy as command",
            "Copy the command that computes these scores in a terminal, from the files of the layers (virtual-paint evaluate).",
        )
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

    def show_view(self, ndisplay: int) -> None:
        """Name the pixels scored as the viewer shows them: a plane, or in 3D a volume."""
        self.settings.setVolume(ndisplay == 3)

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
    summary = (
        f"{request.where.capitalize()}, {scale}, {scored[0].pixels:,} pixels per stain, scored in {elapsed(seconds)}." if scored else ""
    )
    more = f" ({len(reasons) - 2} more: hold the mouse over a dash in the table.)" if len(reasons) > 2 else ""
    return " ".join(part for part in (summary, *reasons[:2]) if part) + more


def _line(*widgets: Any) -> QHBoxLayout:
    line = QHBoxLayout()
    line.setSpacing(6)
    for widget in widgets:
        line.addWidget(widget)
    return line
