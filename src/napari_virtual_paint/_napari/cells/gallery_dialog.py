"""The window that shows a gallery before it is saved."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QDialog, QFileDialog, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.widgets import push_button

SHARE = 0.8  # of the screen that the window takes at most


class GalleryDialog(QDialog):  # type: ignore[misc]
    """Shows a gallery as drawn, and asks where to save it."""

    saved = Signal(str)
    """The path to write it to."""
    sent = Signal()
    """The cells are to be layers of the viewer."""

    def __init__(self, picture: bytes, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Gallery")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        pixmap = QPixmap()
        pixmap.loadFromData(picture)
        self.picture = QLabel()
        self.picture.setPixmap(pixmap)
        self.save = push_button("Save…", "Write the gallery as a picture (PNG) or a drawing (PDF, SVG)")
        self.send = push_button("To viewer", "Add the cells to the viewer in a grid, a layer per channel; Undo removes them again")
        self.close_button = push_button("Close", "Close this window; nothing is saved")
        self.save.clicked.connect(self._choose)
        self.send.clicked.connect(self.sent)
        self.close_button.clicked.connect(self.close)
        scroll = QScrollArea()
        scroll.setWidget(self.picture)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.send)
        buttons.addWidget(self.save)
        buttons.addWidget(self.close_button)
        column = QVBoxLayout(self)
        column.addWidget(scroll, 1)
        column.addLayout(buttons)
        room = self.screen().availableGeometry().size() * SHARE
        self.resize(QSize(pixmap.width() + 40, pixmap.height() + 80).boundedTo(room))

    def _choose(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the gallery", "gallery.png", "Figures (*.png *.pdf *.svg)")
        if path:
            self.saved.emit(path)
