"""The pictures in the dock: the real cell, the generated one at the same contrast, the real ones like it, and optionally a difference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPalette, QPen, QPixmap
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.cells.populations.composite import Colour, Limits, composite, difference, overlay, scaled
from napari_virtual_paint.channel_colors import channel_color

if TYPE_CHECKING:
    from napari_virtual_paint._napari.cells.generator_thread import Like
    from napari_virtual_paint.cells.populations.cohort import Cohort

CAPTION, GAP = 18, 6  # pixels of the line above a picture, and between two pictures
LIKE, NARROW = 3, 3  # small pictures below each other beside the large ones, and pixels between two of them
LOW = 120  # pixels to which a picture shrinks in a low dock
KEPT = 300  # small pictures that are kept
TIP = (
    "The picked cell, the generated one, and on the right the three other real cells that are most like what is asked for, at one "
    "contrast. "
    "Difference: orange where the generated cell is brighter, blue where darker."
)
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
    picked = Signal(int)
    """The position of a real cell like the generated one, whose small picture was clicked."""

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
        self._cells: Cohort | None = None
        self._like: Like | None = None
        self._small: dict[int, QImage] = {}  # small pictures of real cells, by position
        self._pickable = True
        self._reported = -1
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setToolTip(TIP)

    def open(
        self, channels: Sequence[str], limits: Limits, pixel_size: float | None, cells: Cohort | None = None, pickable: bool = True
    ) -> None:
        """Show cells of other channels, 0 and 1 of the display scale at these limits.

        The small pictures are of `cells`; a click picks one of them where that is `pickable`.
        """
        self._limits, self._colours, self._pixel_size = limits, layer_colours(tuple(channels)), pixel_size
        self._shown = [True] * len(channels)
        self.real = self.made = self._real_scaled = None
        self._images = [None, None, None]
        self._cells, self._like, self._small, self._pickable = cells, None, {}, pickable
        self._limit_height()
        self.update()

    def set_shown(self, shown: Sequence[bool]) -> None:
        """Switch channels on and off."""
        self._shown = list(shown)
        self._images = [self._image(self._real_scaled), self._image(self.made), self._difference()]
        self._small = {}
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

    def set_seed(self, seed: int | None) -> None:
        """Name the seed of the generated cell; None where the model takes no noise."""
        self._captions[1] = f"Generated, seed {seed}" if seed else "Generated"
        self.update()

    @property
    def like(self) -> Like | None:
        """The real cells that are most like the generated one."""
        return self._like

    @timed
    def set_made(self, crop: npt.NDArray[np.floating[Any]], version: int, like: Like | None = None) -> None:
        """Show a generated cell, on the display scale, and the real cells that are most like it."""
        self.made, self.version, self._like = crop, version, like
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
        if self._cells is None:
            return max(40, min(260, (width - (count - 1) * GAP) // count))
        return max(40, min(260, int((width - count * GAP + (LIKE - 1) * NARROW / LIKE) / (count + 1 / LIKE))))

    @property
    def side(self) -> int:
        """The pixels across each picture."""
        return min(self._widest(self.width()), int(self.height()) - CAPTION - 2)

    def like_boxes(self) -> list[QRect]:
        """Return the places of the small pictures, the most similar cell on top."""
        if self._cells is None:
            return []
        side, (left, _) = self.side, self._span()
        small = (side - (LIKE - 1) * NARROW) // LIKE
        x = left + (3 if self._apart else 2) * (side + GAP)
        return [QRect(x, CAPTION + place * (small + NARROW), small, small) for place in range(LIKE)]

    def _span(self) -> tuple[int, int]:
        """Return where the pictures begin, and their width in all."""
        count, side = 3 if self._apart else 2, self.side
        width = count * side + (count - 1) * GAP
        if self._cells is not None:
            width += GAP + (side - (LIKE - 1) * NARROW) // LIKE
        return (self.width() - width) // 2, width

    def _like_at(self, place: QPoint) -> int:
        """Return the number of the small picture at a place; -1 for none."""
        shown = 0 if self._like is None else len(self._like.positions)
        return next((number for number, box in enumerate(self.like_boxes()[:shown]) if box.contains(place)), -1)

    def like_tip(self, number: int) -> str:
        """Return the tooltip of a small picture."""
        if self._cells is None or self._like is None:
            return TIP
        name, distance = self._cells.label(int(self._like.positions[number])), self._like.distances[number]
        what = "nearest" if number == 0 else f"{('second', 'third')[number - 1]} nearest"
        return (
            f"Real cell {name}: the {what} of {len(self._cells):,} to what is asked for, {distance:.2f} SD a feature away "
            f"(root mean square of the standardized features).{' Click to go to it.' if self._pickable else ''}"
        )

    def event(self, event: QEvent) -> bool:
        """Name the small picture below the mouse."""
        if event.type() == QEvent.Type.ToolTip:
            number = self._like_at(event.pos())
            QToolTip.showText(event.globalPos(), TIP if number < 0 else self.like_tip(number), self)
            return True
        return bool(super().event(event))

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802
        number = self._like_at(event.position().toPoint())
        if number >= 0 and self._like is not None and self._pickable and event.button() == Qt.MouseButton.LeftButton:
            self.picked.emit(int(self._like.positions[number]))
        else:
            super().mousePressEvent(event)

    def _draw_like(self, painter: QPainter) -> None:
        boxes = self.like_boxes()
        if self._cells is None or not boxes:
            return
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(QRect(boxes[0].left(), 0, boxes[0].width(), CAPTION), int(Qt.AlignmentFlag.AlignCenter), "Real")
        for number, box in enumerate(boxes):
            painter.fillRect(box, Qt.GlobalColor.black)
            if self._like is not None and number < len(self._like.positions):
                painter.drawImage(box, self._small_image(int(self._like.positions[number])))

    def _small_image(self, position: int) -> QImage:
        """Return the small picture of a real cell; those seen before are kept."""
        if position not in self._small and self._cells is not None and self._cells.crops is not None:
            found = self._image(scaled(np.asarray(self._cells.crops[position]), self._limits))
            if len(self._small) >= KEPT:
                del self._small[next(iter(self._small))]
            self._small[position] = found if found is not None else QImage()
        return self._small[position]

    def _image(self, shares: npt.NDArray[np.floating[Any]] | None) -> QImage | None:
        return None if shares is None else as_image(overlay(shares, self._colours, self._shown))

    def _difference(self) -> QImage | None:
        real = self._real_scaled
        if not self._apart or real is None or self.made is None or real.shape != self.made.shape:
            return None
        return as_image(difference(self.made, real, self._shown))

    @timed
    def paintEvent(self, event: Any) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        palette = self.palette()
        painter.fillRect(self.rect(), palette.color(QPalette.ColorRole.Window))
        count, side, left = 3 if self._apart else 2, self.side, self._span()[0]
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
        self._draw_like(painter)
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
    image = as_image(composite(crop[:, ::step, ::step], limits, layer_colours(tuple(channels))))
    return QPixmap.fromImage(image.scaled(side, side, transformMode=Qt.TransformationMode.SmoothTransformation))


def as_image(pixels: npt.NDArray[np.uint8]) -> QImage:
    """Return pixels (Y, X, 3) as an image that owns its memory."""
    height, width = pixels.shape[:2]
    return QImage(np.ascontiguousarray(pixels).tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
