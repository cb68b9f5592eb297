"""Compute the pixels of a lazy array block by block, so that memory holds one block, however large the image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from napari_virtual_paint.runtime.scratch import release
from napari_virtual_paint.stack import Array

LARGEST = 256 * 2**20  # bytes of a block

Pixels = npt.NDArray[Any]


def block_shape(data: Array, tile: int) -> tuple[int, int, int, int, int]:
    """Return the shape (TCZYX) of the blocks: whole planes if one fits, else bands of a multiple of `tile` rows.

    A chunk of a lazy array that spans planes would be computed anew for each of them, so they share a block as far as they fit.
    """
    y, x = data.shape[3:]
    chunks = [max(sizes) for sizes in data.chunks] if isinstance(data, da.Array) else [1, 1, 1, y, x]
    itemsize = data.dtype.itemsize
    if y * x * itemsize > LARGEST:
        rows = max(tile, math.ceil(min(chunks[3], y) / tile) * tile)
        fitting = max(tile, LARGEST // (x * itemsize) // tile * tile)
        return 1, 1, 1, min(y, rows, fitting), x
    shape = [1, 1, 1, y, x]
    for axis in (1, 2, 0):
        wanted = min(chunks[axis], data.shape[axis])
        if math.prod(shape) * wanted * itemsize <= LARGEST:
            shape[axis] = wanted
    return shape[0], shape[1], shape[2], y, x


def compute(data: Array, where: tuple[slice, ...]) -> Pixels:
    """Return pixels in memory."""
    block = data[where]
    return np.asarray(block.compute() if isinstance(block, da.Array) else block)


class BlockReader:
    """Reads planes in bands from the block that was computed last, so that neighbours share one computation.

    Parameters
    ----------
    data
        The pixels, TCZYX.
    tile
        Bands that are no whole plane have a multiple of this many rows.
    """

    def __init__(self, data: Array, tile: int) -> None:
        self._data = data
        self._shape = block_shape(data, tile)
        self._index: tuple[int, ...] | None = None
        self._pixels: Pixels = np.empty(0)

    def rows(self, t: int, c: slice, z: int) -> Iterator[tuple[int, Pixels]]:
        """Yield the bands of a plane from top to bottom: first row, pixels (channels, rows, columns)."""
        for top in range(0, self._data.shape[3], self._shape[3]):
            yield top, self._band(t, c, z, top)

    def _band(self, t: int, c: slice, z: int, top: int) -> Pixels:
        """Return a band of one plane, all its columns."""
        steps = self._shape[0], max(self._shape[1], c.stop - c.start), self._shape[2], self._shape[3]
        index = t // steps[0], c.start // steps[1], z // steps[2], top // steps[3]
        starts = [i * step for i, step in zip(index, steps, strict=True)]
        if index != self._index:
            self._pixels = np.empty(0)  # frees the last block before the next one is computed
            release(self._data)
            self._pixels = compute(self._data, tuple(slice(start, start + step) for start, step in zip(starts, steps, strict=True)))
            self._index = index
        return self._pixels[t - starts[0], c.start - starts[1] : c.stop - starts[1], z - starts[2]]
