"""Geometry of tiles: which box to read, which to keep, and in which order.

A `Box` is one slice an axis, in pixels of one level of the network; level ``l`` has a pixel for every ``2 ** l`` pixels of the field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import ceil, sqrt

STEP = 35e9  # multiply-accumulates of one step: about a third of a second on two cores, so that painting can be cancelled soon
THICK = 64  # most planes of a tile or block: a z-stack is rarely thicker, and every cut costs a halo

Box = tuple[slice, ...]
Shape = tuple[int, ...]


def _up_to(value: int, multiple: int) -> int:
    """Return the next multiple, or the value if it is one."""
    return -(-value // multiple) * multiple


def grow(box: Box, margin: int, shape: Sequence[int]) -> Box:
    """Widen a box by a margin on every side, no further than the map reaches."""
    return tuple(slice(max(s.start - margin, 0), min(s.stop + margin, side)) for s, side in zip(box, shape, strict=True))


def at_level(box: Box, level: int) -> Box:
    """Return the box in pixels of a deeper level; its edges must lie on that level's grid."""
    return tuple(slice(s.start >> level, s.stop >> level) for s in box)


def within(box: Box, outer: Box) -> Box:
    """Return a box relative to the start of another that holds it."""
    return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True))


def clip(box: Box, shape: Sequence[int]) -> Box:
    """Cut a box at the end of a map; an axis wholly outside becomes empty."""
    return tuple(slice(min(s.start, side), min(s.stop, side)) for s, side in zip(box, shape, strict=True))


def volume(box: Box) -> int:
    """Return the number of pixels in a box."""
    out = 1
    for s in box:
        out *= s.stop - s.start
    return out


def cover(shape: Sequence[int], tile: Sequence[int], align: int = 1, center: Sequence[float] | None = None) -> tuple[Box, ...]:
    """Cover a map with boxes that do not overlap, of about equal size.

    Parameters
    ----------
    shape
        Sides of the map, multiples of `align`.
    tile
        Most pixels per side.
    align
        Every edge lies on a multiple of it.
    center
        Boxes near this point come first; by default row by row.
    """
    axes: list[list[slice]] = []
    for side, most in zip(shape, tile, strict=True):
        units = side // align
        count = max(1, ceil(units / max(most // align, 1)))
        edges = [round(i * units / count) * align for i in range(count + 1)]
        axes.append([slice(a, b) for a, b in pairwise(edges)])
    boxes = list(product(*axes))
    if center is not None:
        boxes.sort(key=lambda box: sum(((s.start + s.stop) / 2 - c) ** 2 for s, c in zip(box, center, strict=True)))
    return tuple(boxes)


@dataclass(frozen=True)
class Reach:
    """The reach of each part of an `EncoderDecoder`, in pixels."""

    depth: int
    """Levels of the network."""
    halo: int
    """Reach of one encode or decode block, at its own level."""
    head: int
    """Reach of the last layer."""

    def below(self, levels: int) -> tuple[int, ...]:
        """Return, for level 0 .. `levels`, the margin of that level's output that the levels above it need."""
        margins = [self.head]
        for _ in range(levels):
            margins.append(ceil((margins[-1] + self.halo) / 2))
        return tuple(margins)

    def window(self, levels: int) -> tuple[int, ...]:
        """Return, for level 0 .. `levels` - 1, the margin at which that level is decoded (twice the margin of the level below)."""
        return tuple(2 * margin for margin in self.below(levels)[1:])

    def encoder(self, levels: int) -> int:
        """Return the margin at level 0 that keeps the tile's edge out of the map at level `levels`, on its grid."""
        margin = 0
        for _ in range(levels):
            margin = 2 * margin + self.halo
        return _up_to(margin, 1 << levels)

    def skips(self, levels: int) -> int:
        """Return the margin at level 0 that yields the skips that decoding `levels` levels needs, on the grid of level `levels`."""
        windows = self.window(levels)
        margin = 0
        for level in reversed(range(levels)):
            margin = max(2 * margin, windows[level]) + self.halo
        return _up_to(margin, 1 << levels)

    def field(self) -> int:
        """Return the halo within which a pixel of the output depends on the input, on the grid of the deepest level."""
        deepest = self.depth - 1
        margin = self.below(deepest)[-1] + self.halo
        for level in reversed(range(deepest)):
            margin = max(2 * margin, self.window(deepest)[level]) + self.halo
        return _up_to(margin, 1 << deepest)


@dataclass(frozen=True)
class TilePlan:
    """How one padded field is painted level by level."""

    shape: Shape
    """Sides of the padded field ([Z,] Y, X), multiples of ``2 ** (reach.depth - 1)``."""
    tile: Shape
    """Most pixels a side of a tile at full resolution, per axis."""
    levels: int
    """Shallow levels that run fused, tile by tile; the deeper ones run over whole maps, block by block."""
    reach: Reach
    """Reach of the network."""
    keep_skips: bool
    """Keep the shallow skips from the way down (faster), or compute them again on the way up (smaller)."""
    wanted: Box | None = None
    """The part of the field whose stains are wanted; None for all. Its edges lie on the grid of level `levels`."""

    def level_shape(self, level: int) -> Shape:
        """Return the sides of the map at a level."""
        return tuple(side >> level for side in self.shape)

    def tiles(self) -> tuple[Box, ...]:
        """Return the tiles of the field at full resolution."""
        return cover(self.shape, self.tile, 2**self.levels)

    def wanted_tiles(self, center: Sequence[float] | None = None) -> tuple[Box, ...]:
        """Return the tiles of the wanted part at full resolution, those nearest to `center` first."""
        if self.wanted is None:
            return cover(self.shape, self.tile, 2**self.levels, center)
        starts = [s.start for s in self.wanted]
        near = None if center is None else [at - start for at, start in zip(center, starts, strict=True)]
        inner = cover([s.stop - s.start for s in self.wanted], self.tile, 2**self.levels, near)
        return tuple(tuple(slice(s.start + start, s.stop + start) for s, start in zip(box, starts, strict=True)) for box in inner)

    @property
    def wanted_share(self) -> float:
        """Share of the field that is wanted."""
        return 1.0 if self.wanted is None else volume(self.wanted) / volume(tuple(slice(0, side) for side in self.shape))

    def blocks(self, level: int, filters: int, *, shared: bool = False) -> Iterator[tuple[Box, Box]]:
        """Yield the boxes to keep and to read of a deep level's map, each of about `STEP` work.

        With `shared` a 2D map is split into four or more, one per core.

        Decoding takes three times ``filters ** 2`` products per pixel and tap of the kernel (twice as many filters in, then as many again).
        """
        shape = self.level_shape(level)
        deepest = level == self.reach.depth - 1
        planes = min(shape[0], THICK) if len(shape) == 3 else 1
        side = max(int(sqrt(STEP / (3 ** (len(shape) + 1) * filters**2) / planes)), 16)
        if shared and len(shape) == 2:
            side = min(side, max(-(-max(shape) // 2), 16))
        tile = (THICK, side, side)[-len(shape) :]
        margin = ceil(self.reach.halo / 2) * 2  # even, so that the box can be halved
        for box in cover(shape, tile, 1 if deepest else 2):
            yield box, grow(box, margin, shape)


def patches(shape: Sequence[int], patch: int, stride: int) -> Iterator[tuple[int, int]]:
    """Yield the upper left corners (y, x) of square patches over a map whose sides are multiples of `stride`, row by row."""
    rows, columns = ((side - patch) // stride + 1 for side in shape)
    for row, column in product(range(rows), range(columns)):
        yield row * stride, column * stride
