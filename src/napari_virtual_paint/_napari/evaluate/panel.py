"""The Evaluate dock as it looks: the form, how far the evaluation is, and what came of it."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QMenu, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_virtual_paint._napari.evaluate.form import EvaluateForm
from napari_virtual_paint._napari.evaluate.headline import HeadTable
from napari_virtual_paint._napari.shared.widgets import fill_scrolled, words


class EvaluatePanel(QWidget):  # type: ignore[misc]
    """Widgets alone; `evaluate.EvaluateDock` gives them their work."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form = EvaluateForm()
        self.check = words()
        self.start = _button("Evaluate", "Judge what is chosen, in the background")
        self.cancel = _button("Cancel", "Stop within a second; what was judged is kept, and Evaluate goes on with the rest")
        self.copy = _button("Copy as command", "Copy the command line that does the same")
        self.earlier = _button("Earlier…", "Open a report that was made, or begun, before")
        self.menu = QMenu(self.earlier)
        self.bar = QProgressBar()
        self.status = words()
        self.result = QWidget()
        self.table = HeadTable()
        self.page = _button("Open report", "Show the report in the browser")
        self.profile = _button("Open in Profile dock", "Show the wells by their profiles, tied to plate map and images")
        self._lay_out()

    def say(self, text: str) -> None:
        """Say how it stands."""
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def _lay_out(self) -> None:
        inner = QWidget()
        top = QVBoxLayout(inner)
        top.setContentsMargins(0, 0, 4, 0)
        top.setSpacing(6)
        top.addWidget(self.form)
        top.addWidget(self.check)
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, button in enumerate((self.start, self.cancel, self.copy, self.earlier)):
            grid.addWidget(button, place // 2, place % 2)
        top.addLayout(grid)
        for label in (self.check, self.status):
            label.setTextFormat(Qt.TextFormat.RichText)
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.hide()
        top.addWidget(self.bar)
        top.addWidget(self.status)
        self.status.hide()
        head = QVBoxLayout(self.result)
        head.setContentsMargins(0, 0, 0, 0)
        head.setSpacing(4)
        head.addWidget(self.table)
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addWidget(self.page, 1)
        buttons.addWidget(self.profile, 1)
        head.addLayout(buttons)
        top.addWidget(self.result)
        self.result.hide()
        top.addStretch(1)
        self.scroll = fill_scrolled(self, inner)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button
