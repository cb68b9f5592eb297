"""Which pixels of a field hold data, for the domain check: padding says nothing of an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

BLOCK = 8
"""Side of a block that holds data if it changes along both axes, px."""


def live(planes: Floats) -> Mask:
    """Return the pixels (Y, X) of planes (C, Z, Y, X) that hold data: no padding, which is flat, or striped along an axis."""
    image = planes.reshape(-1, *planes.shape[-2:])
    alive = np.zeros(image.shape[1:], bool)
    height, width = (side // BLOCK * BLOCK for side in image.shape[1:])
    if not height or not width:
        return np.full(image.shape[1:], bool(image.min() < image.max()))
    found = np.zeros((height // BLOCK, width // BLOCK), bool)
    for plane in image:
        found |= _live_blocks(plane[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK), plane.min(), plane.max())
    alive[:height, :width] = found.repeat(BLOCK, 0).repeat(BLOCK, 1)
    alive[height:] = alive[height - 1 : height]
    alive[:, width:] = alive[:, width - 1 : width]
    return alive


def _live_blocks(blocks: Floats, low: np.float32, high: np.float32) -> Mask:
    """Return which blocks (rows, BLOCK, columns, BLOCK) of a plane between two values hold data."""
    corner, half = blocks[:, 0, :, 0], BLOCK // 2
    # Two pixels rule most blocks out; the others are looked at whole.
    flat_y = _where(corner == blocks[:, half, :, 0], blocks, lambda some: (some == some[:, :1]).all((1, 2)))
    flat_x = _where(corner == blocks[:, 0, :, half], blocks, lambda some: (some == some[:, :, :1]).all((1, 2)))
    alive: Mask = ~(flat_y | flat_x)
    if low < high:
        # The brightest and the darkest value are no padding but saturated; a field without any data is told by its one value.
        alive |= _where(corner >= high, blocks, lambda some: (some >= high).all((1, 2)))
    return alive


def _where(perhaps: Mask, blocks: Floats, holds: Callable[[Floats], Any]) -> Mask:
    """Return for which blocks (rows, BLOCK, columns, BLOCK) of those that come into question something holds."""
    rows, columns = np.nonzero(perhaps)
    if len(rows):
        perhaps[rows, columns] = holds(blocks[rows, :, columns])
    return perhaps
