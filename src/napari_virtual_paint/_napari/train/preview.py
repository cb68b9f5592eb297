"""The preview of a training: input, true stain and painted stain of a held-out field beside each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QRectF, Qt, Signal
from qtpy.QtGui import QImage, QPainter, QPalette
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.widgets import combo, set_choices, words
from napari_virtual_paint._napari.train.watcher import Pictures

GAP, HEAD = 4, 15  # pixels between the pictures, and above them for their names
TALLEST = 320


class Triptych(QWidget):  # type: ignore[misc]
    """Shows three pictures of one size, as large as the width allows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._images: list[tuple[str, QImage]] = []
        self._pixels: list[Any] = []  # QImage does not copy: they must stay alive
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("Input, true and painted stain")

    def set_images(self, images: list[tuple[str, Any]]) -> None:
        """Show pictures (Y, X, 4), each with its name."""
        self._pixels = [np.ascontiguousarray(pixels) for _, pixels in images]
        self._images = [
            (name, QImage(pixels.data, pixels.shape[1], pixels.shape[0], 4 * pixels.shape[1], QImage.Format.Format_RGB32))
            for (name, _), pixels in zip(images, self._pixels, strict=True)
        ]
        self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:  # noqa: N802 - Qt's name
        """Return True: the pictures are as high as the width allows."""
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802 - Qt's name
        """Return the height at which the pictures fill the width."""
        return HEAD + min(TALLEST, round(self._side(width) * self._shape()))

    def sizeHint(self) -> Any:  # noqa: N802 - Qt's name
        """Return the size at the present width."""
        hint = super().sizeHint()
        hint.setHeight(self.heightForWidth(max(self.width(), 200)))
        return hint

    def minimumSizeHint(self) -> Any:  # noqa: N802 - Qt's name
        """Never cut the pictures."""
        hint = super().minimumSizeHint()
        hint.setHeight(self.heightForWidth(max(self.width(), 200)))
        return hint

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Request the height that belongs to the new width."""
        super().resizeEvent(event)
        self.updateGeometry()

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        side = self._side(self.width())
        for index, (name, image) in enumerate(self._images):
            left = index * (side + GAP)
            painter.drawText(QRectF(left, 0, side, HEAD), Qt.AlignmentFlag.AlignLeft, name)
            scale = min(side / image.width(), (self.height() - HEAD) / image.height())
            painter.drawImage(QRectF(left, HEAD, scale * image.width(), scale * image.height()), image)
        painter.end()

    def _side(self, width: int) -> float:
        return max(1.0, (width - 2 * GAP) / 3)

    def _shape(self) -> float:
        if not self._images:
            return 0.0
        image = self._images[0][1]
        return float(image.height() / image.width())


class PreviewView(QWidget):  # type: ignore[misc]
    """Shows the preview of one stain, with a choice of the stain and a button that adds layers.

    Signals
    -------
    add
        The preview is to be added to the viewer.
    """

    add = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pictures: Pictures | None = None
        self.stain = combo("The stain that is shown", letters=6)
        self.button = QPushButton("Add as layers")
        self.button.setToolTip("Add input, true and painted stains of this preview to the viewer, true and painted in one contrast")
        self.view = Triptych()
        self.caption = words()
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.stain, 1)
        line.addWidget(self.button)
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(3)
        top.addLayout(line)
        top.addWidget(self.view)
        top.addWidget(self.caption)
        self.stain.currentIndexChanged.connect(lambda _index: self._show())
        self.button.clicked.connect(self.add.emit)
        self.hide()

    @timed
    def set_pictures(self, pictures: Pictures | None) -> None:
        """Show another preview; None hides it."""
        self.pictures = pictures
        self.setVisible(pictures is not None)
        if pictures is None:
            return
        names = list(pictures.preview.stains)
        if [self.stain.itemText(i) for i in range(self.stain.count())] != names:
            set_choices(self.stain, [(name, name) for name in names])
        self._show()

    def _show(self) -> None:
        pictures, index = self.pictures, max(0, self.stain.currentIndex())
        if pictures is None or index >= len(pictures.truth):
            return
        self.view.set_images([("Input", pictures.input), ("True", pictures.truth[index]), ("Painted", pictures.painted[index])])
        preview = pictures.preview
        origin = "held out" if preview.held_out else "trained on, since nothing is held out"
        self.caption.setText(f"{preview.name} ({origin}), after step {preview.step}")
