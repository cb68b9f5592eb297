"""Shards of zarr 3 written from pixels in memory: the bytes that zarr writes, without what it does around them.

For an image of a plate zarr itself takes several times as long as the compression, in Python that keeps other threads waiting. A shard is
its chunks one after another, then an index of each one's place and length (unsigned, 8 bytes each; all bits set for a chunk that is
zeros) and the CRC32C of the index: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]
_ABSENT = np.iinfo(np.uint64).max


def write_shards(
    array: Path, t: int, pixels: Pixels, chunk: tuple[int, int], shard: tuple[int, int], encode: Callable[[Pixels], bytes]
) -> None:
    """Write the planes of one time point of an array TCZYX whose chunks and shards are of one plane each, and whose fill value is 0.

    Parameters
    ----------
    array
        Folder of the array, whose metadata zarr has written.
    t
        The time point.
    pixels
        Axes CZYX.
    chunk, shard
        Height and width in pixels; those of a shard are multiples of those of a chunk.
    encode
        Compresses the pixels of a chunk.
    """
    height, width = pixels.shape[-2:]
    for c, z in product(range(pixels.shape[0]), range(pixels.shape[1])):
        for y, x in product(range(-(-height // shard[0])), range(-(-width // shard[1]))):
            part = pixels[c, z, y * shard[0] : (y + 1) * shard[0], x * shard[1] : (x + 1) * shard[1]]
            data = _shard(part, chunk, shard, encode)
            if data is not None:
                file = array / "c" / str(t) / str(c) / str(z) / str(y) / str(x)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)


def _shard(part: Pixels, chunk: tuple[int, int], shard: tuple[int, int], encode: Callable[[Pixels], bytes]) -> bytes | None:
    """Return a shard; None where all its pixels are zero, which are not stored."""
    from google_crc32c import value

    rows, columns = shard[0] // chunk[0], shard[1] // chunk[1]
    index = np.full((rows, columns, 2), _ABSENT, "<u8")
    pieces: list[bytes] = []
    end = 0
    for i, j in product(range(rows), range(columns)):
        tile = part[i * chunk[0] : (i + 1) * chunk[0], j * chunk[1] : (j + 1) * chunk[1]]
        if not tile.any():
            continue
        pieces.append(encode(_whole(tile, chunk)))
        index[i, j] = end, len(pieces[-1])
        end += len(pieces[-1])
    if not pieces:
        return None
    stored = index.tobytes()
    return b"".join([*pieces, stored, value(stored).to_bytes(4, "little")])


def _whole(tile: Pixels, chunk: tuple[int, int]) -> Pixels:
    """Return a tile as a whole chunk, zeros behind the image's edge, in little-endian bytes one after another."""
    if tile.shape != chunk:
        edge = np.zeros(chunk, tile.dtype)
        edge[: tile.shape[0], : tile.shape[1]] = tile
        tile = edge
    return np.ascontiguousarray(tile, tile.dtype.newbyteorder("<"))
