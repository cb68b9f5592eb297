"""From the cells' numbers to maps of a field: which cell a pixel belongs to, and how thick cell and nucleus are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.samples.cells import ANGLES, INTERPHASE, Cells
from napari_virtual_paint.samples.textures import Floats, smooth

Labels = npt.NDArray[np.int32]

FAR = np.float32(50)  # normalised nuclear radius of a pixel without a cell


@dataclass(frozen=True, eq=False)
class FieldGeometry:
    """Maps of a field, axes YX; lengths in micrometres."""

    cell: Labels
    nucleus: Labels  # `cell` and `nucleus`: labels, 0 is background; a cell's nucleus carries the cell's label
    nuclear: Floats  # distance from the nucleus's centre, 1 at its edge
    edge: Floats  # distance from the cell's edge, 0 outside
    height: Floats  # thickness of the cell, which lies on the glass at 0
    nucleus_bottom: Floats
    nucleus_height: Floats  # `nucleus_bottom` and `nucleus_height`: underside and thickness of the nucleus
    pixel_size: float  # of the maps

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels along y and x."""
        return self.cell.shape[0], self.cell.shape[1]

    def of_cell(self, values: npt.NDArray[np.floating], outside: float = 0.0) -> Floats:
        """Return a map of one value per cell."""
        table = np.concatenate([[outside], values]).astype(np.float32)
        out: Floats = table[self.cell]
        return out


def map_cells(cells: Cells, shape: tuple[int, int], pixel_size: float, ragged: Floats, arborised: float) -> FieldGeometry:
    """Draw the cells into maps; where two would overlap the nearer one keeps the pixel.

    Parameters
    ----------
    shape
        Pixels along y and x.
    pixel_size
        Micrometres.
    ragged
        Noise (SD 1) of a few micrometres' grain, axes YX, that makes edges ragged and cuts branches.
    arborised
        Share by which the cytoplasm retracts to branches.
    """
    best = np.full(shape, np.inf, np.float32)
    cell = np.zeros(shape, np.int32)
    nuclear = np.full(shape, FAR, np.float32)
    for index in range(len(cells)):
        window = _window(cells, index, shape, pixel_size)
        if window is None:
            continue
        level, inner = _levels(cells, index, window, pixel_size, ragged[window], arborised)
        score = np.minimum(level, 0.5 * inner)
        wins = ((level < 1) | (inner < 1.08)) & (score < best[window])
        wins = _one_piece(wins, inner)
        best[window][wins] = score[wins]
        cell[window][wins] = index + 1
        nuclear[window][wins] = inner[wins]
    return _heights(cells, cell, nuclear, pixel_size)


def _window(cells: Cells, index: int, shape: tuple[int, int], pixel_size: float) -> tuple[slice, slice] | None:
    """Return the part of the field that a cell can reach, or None where it lies outside."""
    reach = float(cells.axes[index].max() * cells.outline[index].max() + np.abs(cells.offset[index]).max() + 3) / pixel_size
    y, x = cells.centre[index] / pixel_size
    low_y, high_y = max(0, int(y - reach)), min(shape[0], int(y + reach) + 1)
    low_x, high_x = max(0, int(x - reach)), min(shape[1], int(x + reach) + 1)
    if high_y - low_y < 2 or high_x - low_x < 2:
        return None
    return slice(low_y, high_y), slice(low_x, high_x)


def _levels(
    cells: Cells, index: int, window: tuple[slice, slice], pixel_size: float, ragged: Floats, arborised: float
) -> tuple[Floats, Floats]:
    """Return the normalised radius from the cell's middle and from its nucleus's; both are 1 on the outline."""
    y = ((np.arange(window[0].start, window[0].stop) + 0.5) * pixel_size - cells.centre[index, 0]).astype(np.float32)[:, None]
    x = ((np.arange(window[1].start, window[1].stop) + 0.5) * pixel_size - cells.centre[index, 1]).astype(np.float32)[None, :]
    cos, sin = np.cos(cells.angle[index], dtype=np.float32), np.sin(cells.angle[index], dtype=np.float32)
    along, across = cells.axes[index].astype(np.float32)
    u = (x * cos + y * sin - np.float32(cells.offset[index, 0])) / along
    v = (y * cos - x * sin - np.float32(cells.offset[index, 1])) / across
    spot = (np.arctan2(v, u) * np.float32(ANGLES / (2 * np.pi))).astype(np.int32) % ANGLES
    level = np.sqrt(u * u + v * v) / cells.outline[index].astype(np.float32)[spot]
    if cells.phase[index] == INTERPHASE:
        level += np.float32(0.02) * ragged
        if arborised:
            ramp = np.clip((level - 0.3) * 2.5, 0, 1)
            level += np.float32(1.1 * arborised) * ramp * np.clip(np.abs(ragged) - 0.22, 0, 1)
    inverse = np.zeros(level.shape, np.float32)
    for ly, lx, a, b, turn in cells.lobes[index].astype(np.float32):
        if a == 0:
            continue
        p = ((x - lx) * np.cos(turn) + (y - ly) * np.sin(turn)) / a
        q = ((y - ly) * np.cos(turn) - (x - lx) * np.sin(turn)) / b
        inverse += (p * p + q * q + np.float32(1e-3)) ** -4
    inner = inverse ** np.float32(-0.125)
    return level, inner


def _one_piece(wins: npt.NDArray[np.bool_], inner: Floats) -> npt.NDArray[np.bool_]:
    """Return the piece of a mask that holds the nucleus, so that no cell is in two parts."""
    parts, count = ndimage.label(wins)
    if count < 2:
        return wins
    core = parts[np.unravel_index(np.argmin(np.where(wins, inner, np.inf)), inner.shape)]
    out: npt.NDArray[np.bool_] = parts == core
    return out


def _heights(cells: Cells, cell: Labels, nuclear: Floats, pixel_size: float) -> FieldGeometry:
    """Return the geometry with thicknesses: a thin lamella, a hump round the nucleus, both falling off to the edge."""
    border = cell == 0
    border[1:] |= cell[1:] != cell[:-1]
    border[:, 1:] |= cell[:, 1:] != cell[:, :-1]
    edge = (ndimage.distance_transform_edt(~border) * pixel_size).astype(np.float32)
    geometry = FieldGeometry(cell, cell, nuclear, edge, edge, edge, edge, pixel_size)
    hump = np.exp(-0.5 * np.square(nuclear / geometry.of_cell(np.where(cells.phase == INTERPHASE, 1.4, 3.0), 1.0)))
    height = geometry.of_cell(cells.lamella) * (1 - np.exp(-np.square(edge / 2.2)))
    height += geometry.of_cell(cells.body) * hump * (1 - np.exp(-np.square(edge / 5.0)))
    height = smooth(height.astype(np.float32), 0.5 / pixel_size)
    inside = nuclear < 1
    profile = np.sqrt(np.clip(1 - nuclear**3, 0, 1))
    thick = geometry.of_cell(cells.nucleus_height) * profile * inside
    room = smooth(np.maximum(height, thick + 0.6 * inside), 0.8 / pixel_size)
    thick = smooth(thick.astype(np.float32), 0.5 / pixel_size)
    bottom = np.maximum(room - thick, 0) * 0.35
    return FieldGeometry(
        cell, np.where(inside, cell, 0).astype(np.int32), nuclear, edge, room, bottom.astype(np.float32), thick, pixel_size
    )
