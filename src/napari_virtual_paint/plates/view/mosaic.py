"""Several fields in one image: their places and their binned pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.view.images import Pixels
from napari_virtual_paint.stack import Stack

MOST_PIXELS = 16_000_000  # largest number of pixels of one channel of a mosaic; fields are binned until they fit
LONGEST = 8192  # largest side of a mosaic in pixels: what every graphics card can show at once
GAP = 0.02  # space between the fields of a mosaic, as a share of a field's side


@dataclass(frozen=True)
class MosaicPlan:
    """Fields side by side in one image."""

    fields: tuple[Field, ...]  # the fields
    places: tuple[tuple[int, int], ...]  # row and column of each in the mosaic
    tile: tuple[int, int]  # pixels of one field in it, y and x
    step: int  # binning: pixels of the field along a side that make one of the mosaic
    gap: int  # pixels between two fields

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of the mosaic, y and x."""
        rows, columns = (max(place[axis] for place in self.places) + 1 for axis in (0, 1))
        return rows * (self.tile[0] + self.gap) - self.gap, columns * (self.tile[1] + self.gap) - self.gap

    def corner(self, index: int) -> tuple[int, int]:
        """Return the first pixel of a field in the mosaic, y and x."""
        row, column = self.places[index]
        return row * (self.tile[0] + self.gap), column * (self.tile[1] + self.gap)

    def at(self, y: float, x: float) -> Field | None:
        """Return the field at a place of the mosaic in pixels; None between two."""
        for index, field in enumerate(self.fields):
            top, left = self.corner(index)
            if top <= y < top + self.tile[0] and left <= x < left + self.tile[1]:
                return field
        return None


def plan_mosaic(fields: Sequence[Field], size: tuple[int, int], most: int = MOST_PIXELS, longest: int = LONGEST) -> MosaicPlan:
    """Lay fields out as their wells lie on the plate, without empty rows and columns; fields of one well in a square.

    Parameters
    ----------
    fields
        At least one.
    size
        Pixels of a field, y and x.
    most, longest
        Largest number of pixels of the mosaic, in all and along a side; the fields are binned until they fit.
    """
    places = _places(fields)
    step = 1
    while True:
        tile = (-(-size[0] // step), -(-size[1] // step))
        plan = MosaicPlan(tuple(fields), places, tile, step, max(1, round(GAP * max(tile))))
        height, width = plan.shape
        if (height * width <= most and max(height, width) <= longest) or max(tile) <= 1:
            return plan
        room = math.sqrt(height * width / most), height / longest, width / longest
        step = max(step + 1, math.floor(step * max(room)))


def fill(canvas: Pixels, plan: MosaicPlan, index: int, stack: Stack, channel: int) -> None:
    """Read a channel of a field (first time point, middle plane) into a mosaic; what exceeds its tile is cut off.

    Parameters
    ----------
    canvas
        The mosaic, axes YX.
    index
        Position of the field there.
    channel
        Position of the channel in it.
    """
    plane = np.asarray(stack.data[0, channel, stack.shape[2] // 2])
    small = binned(plane, plan.step)[: plan.tile[0], : plan.tile[1]]
    top, left = plan.corner(index)
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small


def binned(plane: Pixels, step: int) -> Pixels:
    """Return the means of blocks of step x step pixels, in the plane's type; blocks at the edge may be smaller."""
    if step == 1:
        return plane
    rows, columns = (np.arange(0, n, step) for n in plane.shape)
    sums = np.add.reduceat(np.add.reduceat(plane, rows, axis=0, dtype=np.float64), columns, axis=1)
    heights, widths = (np.diff(np.append(edges, n)) for edges, n in zip((rows, columns), plane.shape, strict=True))
    means = sums / (heights[:, None] * widths)
    return np.asarray(means if plane.dtype.kind == "f" else np.rint(means), plane.dtype)


def _places(fields: Sequence[Field]) -> tuple[tuple[int, int], ...]:
    """Return row and column of each field in a mosaic."""
    per_well: dict[str, list[Field]] = {}
    for field in fields:
        per_well.setdefault(field.well, []).append(field)
    most = max(len(some) for some in per_well.values())
    wide = math.ceil(math.sqrt(most))
    high = -(-most // wide)
    positions = {well: wells.position(well) for well in per_well}
    lines = [sorted({place[axis] for place in positions.values()}) for axis in (0, 1)]
    found = []
    for field in fields:
        row, column = (lines[axis].index(positions[field.well][axis]) for axis in (0, 1))
        down, right = divmod(per_well[field.well].index(field), wide)
        found.append((row * high + down, column * wide + right))
    return tuple(found)
