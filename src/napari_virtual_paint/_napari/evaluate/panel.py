"""The layout of the Evaluate dock: the form, the progress of the evaluation, and the headline of its report."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_virtual_paint._napari.evaluate.form import EvaluateForm
from napari_virtual_paint._napari.evaluate.headline import LEGEND, HeadTable
from napari_virtual_paint._napari.shared.widgets import button_grid, footer, push_button, words


class EvaluatePanel(QWidget):  # type: ignore[misc]
    """The widgets of the Evaluate dock, without their behaviour; `footer` stays below it where it scrolls."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form = EvaluateForm()
        self.inputs = words()
        self.start = push_button("Evaluate", "Evaluate what is chosen, in the background")
        self.cancel = push_button("Cancel", "Stop within a second; finished fields are kept, and Resume evaluates the rest")
        self.copy = push_button("Copy as command", "Copy the command line that does the same")
        self.earlier = push_button("Earlier…", "Open a report that was made, or begun, before")
        self.bar = QProgressBar()
        self.status = words()
        self.result = QWidget()
        self.table = HeadTable()
        self.page = push_button("Open report", "Show the report in the browser")
        self.profile = push_button("Open in Profile dock", "Show the wells by their profiles, linked with plate map and images")
        self._lay_out()

    def say(self, text: str) -> None:
        """Show a line of HTML on the evaluation, or hide it where empty."""
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def _lay_out(self) -> None:
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 4, 0)
        top.setSpacing(6)
        top.addWidget(self.form)
        top.addWidget(self.inputs)
        for label in (self.inputs, self.status):
            label.setTextFormat(Qt.TextFormat.RichText)
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.hide()
        self.status.hide()
        self.footer = footer(self.bar, self.status, button_grid((self.start, self.cancel, self.copy, self.earlier), 2))
        result = QVBoxLayout(self.result)
        result.setContentsMargins(0, 0, 0, 0)
        result.setSpacing(4)
        result.addWidget(self.table)
        result.addWidget(words(LEGEND))
        result.addLayout(button_grid((self.page, self.profile), 2))
        top.addWidget(self.result)
        self.result.hide()
        top.addStretch(1)
