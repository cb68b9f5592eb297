"""The pictures in the dock: the real cell, the generated one at the same contrast, and optionally their difference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPalette, QPen, QPixmap
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.cells.populations.composite import Colour, Limits, composite, difference, overlay, scaled
from napari_virtual_paint.channel_colors import channel_color

CAPTION, GAP = 18, 6  # pixels of the line above a picture, and between two pictures
LOW = 120  # pixels to which a picture shrinks in a low dock
BARS = (1, 2, 5, 10, 20, 50, 100)  # micrometres that a scale bar may have


@lru_cache(maxsize=32)
def layer_colours(channels: tuple[str, ...]) -> list[Colour]:
    """Return red, green and blue of each channel, the colours of the Stain dock's layers."""
    from napari.utils.colormaps import ensure_colormap

    names = [channel_color(name, index).colormap for index, name in enumerate(channels)]
    found = [np.asarray(ensure_colormap(name).colors)[-1, :3] for name in names]
    return [(float(red), float(green), float(blue)) for red, green, blue in found]


class CellPicture(QWidget):  # type: ignore[misc]
    """Draws the cells itself, from arrays; no layer is touched.

    Attributes
    ----------
    version
        The version of the vector whose generated cell is shown.
    real
        The real cell (C, d, d) in grey levels; None where there is no picture.
    made
        The generated cell (C, d, d) on the display scale.
    """

    drawn = Signal(int)
    """The cell of this version has been painted."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.version = -1
        self.real: npt.NDArray[np.floating[Any]] | None = None
        self.made: npt.NDArray[np.floating[Any]] | None = None
        self._limits: Limits = []
        self._real_scaled: npt.NDArray[np.float32] | None = None
        self._colours: list[Colour] = []
        self._shown: list[bool] = []
        self._pixel_size: float | None = None
        self._apart = False
        self._captions = ["Real cell", "Generated", "Generated − real"]
        self._images: list[QImage | None] = [None, None, None]
        self._reported = -1
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setToolTip("The picked cell and the generated one, at one contrast. Orange: generated brighter; blue: darker.")

    def open(self, channels: Sequence[str], limits: Limits, pixel_size: float | None) -> None:
        """Show cells of other channels, 0 and 1 of the display scale at these limits."""
        self._limits, self._colours, self._pixel_size = limits, layer_colours(tuple(channels)), pixel_size
        self._shown = [True] * len(channels)
        self.real = self.made = self._real_scaled = None
        self._images = [None, None, None]
        self.update()

    def set_shown(self, shown: Sequence[bool]) -> None:
        """Switch channels on and off."""
        self._shown = list(shown)
        self._images = [self._image(self._real_scaled), self._image(self.made), self._difference()]
        self.update()

    def set_apart(self, on: bool) -> None:
        """Show the difference, or not."""
        self._apart = on
        self._images[2] = self._difference()
        self._limit_height()
        self.update()

    def set_real(self, crop: npt.NDArray[np.floating[Any]] | None, caption: str) -> None:
        """Show the crop of the real cell, in grey levels, or that there is none."""
        self.real, self._captions[0] = crop, caption
        self._real_scaled = None if crop is None else scaled(crop, self._limits)
        self._images[0], self._images[2] = self._image(self._real_scaled), self._difference()
        self.update()

    @timed
    def set_made(self, crop: npt.NDArray[np.floating[Any]], version: int) -> None:
        """Show a generated cell, on the display scale."""
        self.made, self.version = crop, version
        self._images[1] = self._image(crop)
        if self._apart:
            self._images[2] = self._difference()
        self.update()

    def image(self) -> QImage | None:
        """Return the picture of the generated cell, unscaled."""
        return self._images[1]

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(380, self._height(self._widest(self.width())))

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        if event.size().width() != event.oldSize().width():
            self._limit_height()

    def _limit_height(self) -> None:
        """Let pictures be as high as they are wide, or lower where the dock is low: the sliders need the room more."""
        widest = self._widest(self.width())
        self.setMinimumHeight(self._height(min(LOW, widest)))
        self.setMaximumHeight(self._height(widest))
        self.updateGeometry()

    @staticmethod
    def _height(side: int) -> int:
        return CAPTION + side + 2

    def _widest(self, width: int) -> int:
        """Return the side of the pictures that the width allows."""
        count = 3 if self._apart else 2
        return max(40, min(260, (width - (count - 1) * GAP) // count))

    @property
    def side(self) -> int:
        """The pixels across each picture."""
        return min(self._widest(self.width()), int(self.height()) - CAPTION - 2)

    def _image(self, shares: npt.NDArray[np.floating[Any]] | None) -> QImage | None:
        return None if shares is None else _as_image(overlay(shares, self._colours, self._shown))

    def _difference(self) -> QImage | None:
        real = self._real_scaled
        if not self._apart or real is None or self.made is None or real.shape != self.made.shape:
            return None
        return _as_image(difference(self.made, real, self._shown))

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        palette = self.palette()
        painter.fillRect(self.rect(), palette.color(QPalette.ColorRole.Window))
        count, side = 3 if self._apart else 2, self.side
        left = (self.width() - count * side - (count - 1) * GAP) // 2
        for place in range(count):
            box = QRect(left + place * (side + GAP), CAPTION, side, side)
            painter.setPen(palette.color(QPalette.ColorRole.WindowText))
            words = painter.fontMetrics().elidedText(self._captions[place], Qt.TextElideMode.ElideRight, side)
            painter.drawText(QRect(box.left(), 0, side, CAPTION), int(Qt.AlignmentFlag.AlignCenter), words)
            painter.fillRect(box, Qt.GlobalColor.black)
            image = self._images[place]
            if image is not None:
                painter.drawImage(box, image)
                if place < 2:
                    self._scale_bar(painter, box)
            elif place != 1:
                painter.setPen(QColor(150, 150, 150))
                painter.drawText(
                    box.adjusted(8, 8, -8, -8), int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), self._no_picture()
                )
        painter.end()
        if self.version != self._reported:
            self._reported = self.version
            self.drawn.emit(self.version)

    def _no_picture(self) -> str:
        return (
            "No picture of this cell: open its image in the viewer, or choose the folder of the images (Cells)"
            if self.made is not None
            else ""
        )

    def _scale_bar(self, painter: QPainter, box: QRect) -> None:
        """Draw a bar of about a quarter of the crop, where the pixel size is known."""
        if not self._pixel_size or self.made is None:
            return
        across = self.made.shape[-1] * self._pixel_size
        length = max((bar for bar in BARS if bar <= across / 3), default=0)
        if not length:
            return
        pixels = round(box.width() * length / across)
        painter.setPen(QPen(Qt.GlobalColor.white, 2))
        y = box.bottom() - 6
        painter.drawLine(box.right() - 6 - pixels, y, box.right() - 6, y)
        painter.drawText(
            QRect(box.right() - 86, y - 18, 80, 15), int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), f"{length} µm"
        )


def thumbnail(crop: npt.NDArray[np.floating[Any]], limits: Limits, channels: Sequence[str], side: int) -> QPixmap:
    """Return a small picture of a crop (C, Y, X) in grey levels, all channels shown."""
    step = max(1, crop.shape[-1] // (2 * side))
    image = _as_image(composite(crop[:, ::step, ::step], limits, layer_colours(tuple(channels))))
    return QPixmap.fromImage(image.scaled(side, side, transformMode=Qt.TransformationMode.SmoothTransformation))


def _as_image(pixels: npt.NDArray[np.uint8]) -> QImage:
    """Return pixels (Y, X, 3) as an image that owns its memory."""
    height, width = pixels.shape[:2]
    return QImage(np.ascontiguousarray(pixels).tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
