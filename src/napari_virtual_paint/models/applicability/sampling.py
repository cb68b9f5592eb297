"""Read the fields of a stack for the domain check: a few, in tiles where they are large, normalized for the model."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.models.applicability.descriptors import Floats
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.matching import Match
from napari_virtual_paint.models.resampling import resize
from napari_virtual_paint.normalize import fit
from napari_virtual_paint.stack import Stack

MOST_FIELDS = 4  # most planes or volumes of a stack
BUDGET = 2**24  # most pixels read of a stack, all channels together
TILE = 512  # side in pixels of the tiles read of a large field, or half of it for many channels; a multiple of a patch's side
MOST_TILES = 5  # tiles along an axis


def fields_of(info: ModelInfo, stack: Stack, found: Match, resample: bool = False) -> Iterator[Floats]:
    """Yield some of a stack's fields as the network gets them.

    Of a large field, tiles spread evenly over it are read and put side by side; its statistics are theirs.

    Parameters
    ----------
    stack
        The image, axes TCZYX.
    found
        The channels and planes that the model gets.
    resample
        Bring it to the model's pixel size first, where both are known.

    Yields
    ------
    ndarray
        (C, [Z,] Y, X), float32, normalized.
    """
    if found.luminance:
        stack = stack.luminance()
    times, _, planes, _, _ = stack.shape
    places = [(t, z) for t in range(times) for z in range(planes if found.mode == "planes" else 1)]
    chosen = [places[index] for index in sorted({round(i) for i in np.linspace(0, len(places) - 1, min(len(places), MOST_FIELDS))})]
    labels = [stack.channel_labels[i] for i in found.channels]
    for t, z in chosen:
        raw = _read(stack, found, t, z, BUDGET // len(chosen))
        field = fit(raw, info.preprocessing, labels if len(labels) == len(raw) else None).apply(raw)
        yield _resampled(field, info, stack) if resample else field


def _read(stack: Stack, found: Match, t: int, z: int, budget: int) -> npt.NDArray[np.generic]:
    """Return the pixels (C, [Z,] Y, X) of a field, or of tiles of it side by side."""
    height, width = stack.shape[3:]
    depth = _planes(stack.shape[2], found, budget)
    count = len(found.z or found.channels) * (depth.stop - depth.start if found.mode == "volume" else 1)
    tile = TILE if budget >= 4 * count * TILE * TILE else TILE // 2
    each = min(max(budget // (count * tile * tile), 1), MOST_TILES**2)
    if height * width <= each * tile * tile or min(height, width) < 2 * tile:
        return _cut(stack, found, t, z, depth, _middle(height, 8 * tile), _middle(width, 8 * tile))
    tops, lefts = (_starts(length, tile, min(isqrt(each), MOST_TILES)) for length in (height, width))
    rows = [
        np.concatenate([_cut(stack, found, t, z, depth, slice(top, top + tile), slice(left, left + tile)) for left in lefts], -1)
        for top in tops
    ]
    return np.concatenate(rows, -2)


def _starts(length: int, tile: int, count: int) -> list[int]:
    """Return where tiles begin along an axis: evenly spread, on the grid in which files are often chunked."""
    places = length // tile
    return sorted({round(index) * tile for index in np.linspace(0, places - 1, min(count, places))})


def _middle(length: int, most: int) -> slice:
    """Return the middle of an axis, at most so long."""
    start = max((length - most) // 2, 0)
    return slice(start, min(start + most, length))


def _planes(planes: int, found: Match, budget: int) -> slice:
    """Return the planes of a volume that are read: all, or those in the middle."""
    return _middle(planes, max(budget // (len(found.channels) * 4 * TILE * TILE), 16))


def _cut(stack: Stack, found: Match, t: int, z: int, depth: slice, rows: slice, columns: slice) -> npt.NDArray[np.generic]:
    """Return a rectangle of a field."""
    frame = stack.data[t, ..., rows, columns]
    if found.mode == "window":
        return np.asarray(frame[found.channels[0]][list(found.z or ())])
    picked = frame[list(found.channels)]
    return np.asarray(picked[:, z] if found.mode == "planes" else picked[:, depth])


def _resampled(field: Floats, info: ModelInfo, stack: Stack) -> Floats:
    """Bring a field (C, [Z,] Y, X) to the model's pixel size."""
    pairs = list(zip(stack.pixel_size[-info.dims :], info.pixel_size[-info.dims :], strict=True))
    if any(have is None or want is None for have, want in pairs[-2:]):
        return field
    shape = [
        side if have is None or want is None else max(round(side * have / want), 1)
        for side, (have, want) in zip(field.shape[1:], pairs, strict=True)
    ]
    return resize(field, shape)
