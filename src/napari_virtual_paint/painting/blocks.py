"""Split a field that is too large to be painted whole into blocks, whose stains are those of the whole all the same.

A block is painted with all pixels around it that its stains depend on, on the grid of the network's deepest level, so its stains equal
those of the whole field. The larger the blocks, the less is computed twice: their size follows from the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import psutil

from napari_virtual_paint.models import Match, ModelInfo
from napari_virtual_paint.painting import network_input
from napari_virtual_paint.painting.exact.receptive_field import Probe
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.stack import Stack

Block = tuple[slice, slice]  # Y and X in pixels of the image

WHOLE = 2 << 30  # bytes that a field may take, on a CPU, to be painted whole
PER_BLOCK = 1 << 30  # bytes that a block may take, on a CPU
ON_GPU = 4  # times as much on other devices, which need larger fields to be busy
ALIGN = 512  # edges of blocks lie on multiples of it, so that no chunk of an output (see `writing.ome_zarr.CHUNK`) lies in two blocks


@dataclass(frozen=True)
class Limits:
    """Bytes that painting may take for one field at once."""

    whole: int  # up to which a field is painted whole
    block: int  # for one block of a larger field


def limits_of(memory: int | None, free: int, kind: str, *, steady: bool) -> Limits:
    """Return the limits on a device.

    Parameters
    ----------
    memory
        Bytes that the caller allows; None to choose.
    free
        Bytes that are free on the device.
    steady
        Whether only the field's size may decide, not what is free.
    """
    if memory is not None:
        return Limits(memory, memory)
    times = 1 if kind == "cpu" else ON_GPU
    whole, block = times * WHOLE, times * PER_BLOCK
    free = min(free, psutil.virtual_memory().available)
    return Limits(whole, block) if steady else Limits(min(whole, free // 2), min(block, free // 4))


@dataclass(frozen=True)
class BlockNeeds:
    """What the blocks of a field need for one network."""

    reach: int  # pixels around a block that its stains depend on
    grid: int  # what is read begins and ends on multiples of it
    need: Callable[[int, int], int]  # bytes of memory for height and width in pixels

    def window(self, block: Block, height: int, width: int) -> Block:
        """Return what is read for a block of an image."""
        rows, columns = (
            slice(max(side.start - self.reach, 0) // self.grid * self.grid, min(_up_to(side.stop + self.reach, self.grid), whole))
            for side, whole in zip(block, (height, width), strict=True)
        )
        return rows, columns


def must_be_whole(info: ModelInfo, settings: PaintSettings) -> bool:
    """Return whether what is done before or after the network needs the whole field."""
    return settings.resample or any(step.needs_field for step in info.postprocessing)


def part_bytes(info: ModelInfo, stack: Stack, found: Match, settings: PaintSettings, probe: Probe | None, height: int, width: int) -> int:
    """Return the bytes that a part of a field of this height and width takes while it is painted.

    Parameters
    ----------
    probe
        Of the model's network; None for one that is painted in patches, which holds no maps.
    """
    shape = (*((stack.shape[2],) if info.dims == 3 else ()), height, width)
    numbers = network_input.numbers(stack, found, height, width)
    maps = 0
    if probe is not None and settings.blend == "exact":
        maps = probe.held_bytes(shape, 4 if settings.precision == "float32" else 2)
    # The pixels as read, as float32, and twice more while they are normalized or laid out for the network.
    pixels: int = numbers * (stack.dtype.itemsize + 12) + 4 * len(info.stains) * prod(shape)
    return pixels + maps


def block_side(height: int, width: int, splits: Sequence[BlockNeeds], limits: Limits) -> int | None:
    """Return the most pixels a side of a block, for all networks; None to paint a field of this size whole."""
    if max(split.need(height, width) for split in splits) <= limits.whole:
        return None
    least = max(64, *(split.grid for split in splits))
    largest = _up_to(max(height, width), ALIGN)
    sides = [*range(largest, ALIGN - 1, -ALIGN), *(side for side in (ALIGN // 2, ALIGN // 4) if side >= least)]
    side = next((side for side in sides if _fits(side, height, width, splits, limits.block)), sides[-1])
    return side if side < max(height, width) else None


def _fits(side: int, height: int, width: int, splits: Sequence[BlockNeeds], most: int) -> bool:
    """Return whether a block with all that is read for it takes no more than so many bytes."""
    for split in splits:
        read = _up_to(side + 2 * split.reach, split.grid)
        if split.need(min(read, height), min(read, width)) > most:
            return False
    return True


def blocks_of(region: Block, side: int | None, center: tuple[float, float] | None = None) -> list[Block]:
    """Return the blocks of a region, row by row, or those nearest to a point (y, x) first; the region itself where it is not split."""
    if side is None:
        return [region]
    rows, columns = (_cuts(each, side) for each in region)
    found = [(y, x) for y in rows for x in columns]
    if center is not None:
        found.sort(key=lambda block: sum(((s.start + s.stop) / 2 - at) ** 2 for s, at in zip(block, center, strict=True)))
    return found


def _cuts(span: slice, most: int) -> list[slice]:
    """Cut a span into parts of about equal length, whose edges are multiples of a power of two of at most `ALIGN`."""
    align = min(ALIGN, most)
    count = -(-(span.stop - span.start) // most)
    length = min(_up_to(-(-(span.stop - span.start) // count), align), most)
    edges = [span.start, *range((span.start // length + 1) * length, span.stop, length), span.stop]
    return [slice(first, last) for first, last in pairwise(edges)]


def _up_to(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
