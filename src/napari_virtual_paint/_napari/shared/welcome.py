"""What an empty dock says first: how to begin, with buttons that do."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.widgets import button_grid, words


class Welcome(QWidget):  # type: ignore[misc]
    """A sentence and buttons, which a dock shows until it has something to work on.

    Parameters
    ----------
    sentence
        How to begin.

    Attributes
    ----------
    buttons
        The buttons that were added, in their order.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = words(sentence)
        self.buttons: list[QPushButton] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 6)
        self._column.setSpacing(4)
        self._column.addWidget(self.sentence)

    def add_actions(self, *actions: tuple[str, str, Callable[[], object]]) -> None:
        """Add a row of buttons: text, tooltip, and what a click does, once the click itself is over."""
        made = []
        for text, tip, act in actions:
            button = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(lambda _checked, act=act: QTimer.singleShot(0, act))
            made.append(button)
        self.buttons += made
        self._column.addLayout(button_grid(made, max(len(made), 1)))
