"""The Stain dock as it looks: the form in a scroll area; below it what a painting needs, the buttons and the progress."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QFrame, QGridLayout, QLabel, QProgressBar, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_virtual_paint._napari.stain.domain_label import DomainLine
from napari_virtual_paint._napari.stain.form import StainForm

KEYS = {"paint": "Ctrl+Return", "preview": "Ctrl+Shift+Return", "cancel": "Ctrl+.", "compare": "Ctrl+Alt+Return"}


class StainPanel(QWidget):  # type: ignore[misc]
    """Widgets alone; `stain.StainWidget` gives them their work."""

    def __init__(self) -> None:
        super().__init__()
        self.form = StainForm()
        self.check = self._words("What a painting will need, and what speaks against it")
        self.domain = DomainLine()
        self.button_paint = self._button("Paint", "Paint the whole image, what is in view first", "paint")
        self.button_preview = self._button("Preview", "Paint only what is in view, into temporary layers", "preview")
        self.button_cancel = self._button("Cancel", "Stop within a second; Advanced says what happens to the layers", "cancel")
        self.button_copy = self._button("Copy as command", "Copy the command line that does the same")
        self.button_compare = self._button("Compare", "Open the Compare dock: score predicted against true stains", "compare")
        self.bar = QProgressBar()
        self.status = self._words("How far the painting is, and how it ended")
        self._lay_out()

    def _lay_out(self) -> None:
        self.form.layout().addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self.form)
        self.bar.setTextVisible(True)
        self.bar.setToolTip("How much is painted")
        self.bar.hide()
        buttons = QGridLayout()
        buttons.setSpacing(4)
        for column, button in enumerate((self.button_paint, self.button_preview, self.button_cancel)):
            buttons.addWidget(button, 0, 2 * column, 1, 2)
        buttons.addWidget(self.button_copy, 1, 0, 1, 3)
        buttons.addWidget(self.button_compare, 1, 3, 1, 3)
        for column in range(6):
            buttons.setColumnStretch(column, 1)
        top = QVBoxLayout(self)
        top.setContentsMargins(6, 6, 6, 6)
        top.setSpacing(4)
        top.addWidget(scroll, 1)
        for widget in (self.domain, self.check, self.bar, self.status):
            top.addWidget(widget)
        top.addLayout(buttons)
        self.setMinimumWidth(300)

    def _button(self, text: str, tip: str, key: str = "") -> QPushButton:
        """Return a button; with a key, a shortcut of the whole window clicks it."""
        button = QPushButton(text)
        if key:
            sequence = QKeySequence(KEYS[key])
            tip = f"{tip} ({sequence.toString(QKeySequence.SequenceFormat.NativeText)})"
            QShortcut(sequence, self, activated=button.click, context=Qt.ShortcutContext.WindowShortcut)
        button.setToolTip(tip)
        return button

    @staticmethod
    def _words(tip: str) -> QLabel:
        label = QLabel()
        label.setWordWrap(True)
        label.setToolTip(tip)
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        return label
