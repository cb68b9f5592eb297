"""Arrange cells in one image with gaps, so that they are measured together but independently of neighbors and position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.counting.segmentation import Labels

GAP = 2  # background pixels around each cell


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell cut out of an image by its bounding box."""

    row: int  # its row in the table
    y: int
    x: int  # `y` and `x`: position of the box in the image
    nucleus: npt.NDArray[np.bool_]
    cell: npt.NDArray[np.bool_]  # `nucleus` and `cell`: masks, axes YX of the box
    pixels: npt.NDArray[np.float64]  # intensities relative to full scale, 0 outside the cell, axes CYX


@dataclass(frozen=True, eq=False)
class CellMosaic:
    """Cells side by side; number k of the labels is `cells[k - 1]`."""

    cells: tuple[Cell, ...]
    shift: npt.NDArray[np.float64]  # added to a position in the mosaic to get the position in the image, (n, 2) yx
    nuclei: npt.NDArray[np.int32]
    whole: npt.NDArray[np.int32]
    cytoplasm: npt.NDArray[np.int32]  # `nuclei`, `whole` and `cytoplasm`: labels, axes YX
    planes: npt.NDArray[np.float64]  # intensities, 0 outside the cells, axes CYX
    boxes: npt.NDArray[np.intp]  # box of each cell: first row, end row, first column, end column, (n, 4)


def boxes_of(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.intp]:
    """Return the boxes (see `CellMosaic.boxes`) of objects numbered 1 to n."""
    boxes = [(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in ndimage.find_objects(labels)]
    return np.array(boxes, np.intp).reshape(-1, 4)


def blank(channels: int) -> Cell:
    """Return a dummy cell, for the feature names where there is none."""
    cell = np.ones((9, 9), bool)
    nucleus = cell.copy()
    nucleus[:, :3] = nucleus[:, -3:] = False
    return Cell(0, 0, 0, nucleus, cell, np.full((channels, 9, 9), 0.5))


def cut(planes: npt.NDArray[Any], labels: Labels, scale: npt.NDArray[np.float64]) -> Iterator[Cell]:
    """Yield the cells of an image (CYX) in the order of their numbers; `scale` is the full scale of each channel."""
    for number, box in enumerate(ndimage.find_objects(labels.cells), start=1):
        if box is None:
            continue
        mask = labels.cells[box] == number
        pixels = np.where(mask, np.maximum(planes[(slice(None), *box)], 0), 0) / scale[:, None, None]
        yield Cell(number - 1, box[0].start, box[1].start, labels.nuclei[box] == number, mask, pixels)


def lay_out(cells: Sequence[Cell]) -> CellMosaic:
    """Pack cells in rows, tall ones first, to waste little space."""
    order = sorted(range(len(cells)), key=lambda i: (-cells[i].cell.shape[0], i))
    widest = max(cell.cell.shape[1] for cell in cells) + 2 * GAP
    area = sum((cell.cell.shape[0] + GAP) * (cell.cell.shape[1] + GAP) for cell in cells)
    width = max(widest, int(np.sqrt(area)))
    places = np.zeros((len(cells), 2), int)
    top, left, row_height = GAP, GAP, 0
    for i in order:
        high, wide = cells[i].cell.shape
        if left + wide + GAP > width:
            top, left, row_height = top + row_height + GAP, GAP, 0
        places[i] = top, left
        left, row_height = left + wide + GAP, max(row_height, high)
    nuclei, cell_labels = (np.zeros((top + row_height + GAP, width), np.int32) for _ in range(2))
    planes = np.zeros((len(cells[0].pixels), *nuclei.shape))
    for number, (cell, (y, x)) in enumerate(zip(cells, places, strict=True), start=1):
        box = (slice(y, y + cell.cell.shape[0]), slice(x, x + cell.cell.shape[1]))
        cell_labels[box] += np.int32(number) * cell.cell
        nuclei[box] += np.int32(number) * (cell.nucleus & cell.cell)
        planes[(slice(None), *box)] += cell.pixels
    sizes = np.array([cell.cell.shape for cell in cells])
    boxes = np.stack([places[:, 0], places[:, 0] + sizes[:, 0], places[:, 1], places[:, 1] + sizes[:, 1]], axis=1)
    shift = np.array([(cell.y, cell.x) for cell in cells], float) - places
    return CellMosaic(tuple(cells), shift, nuclei, cell_labels, np.where(nuclei > 0, 0, cell_labels).astype(np.int32), planes, boxes)
