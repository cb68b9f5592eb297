"""Exact tiling of encoder-decoders, level by level.

The shallow levels, where maps are large, run over small tiles with a small halo; the deep levels, where maps are small and the receptive
field is long, run over whole maps. Every step is short, so that painting can be cancelled within a second.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from napari_virtual_paint.networks.encoder_decoder import EncoderDecoder
from napari_virtual_paint.painting.exact.tile_threads import TileThreadPool
from napari_virtual_paint.painting.tiles import Box, TilePlan, at_level, grow, volume, within

ENCODE, DECODE = 1.0, 2.2  # relative work of encoding and decoding a pixel of a level, measured on the network of Cross-Zamirski 2022

Step = tuple[float, Box | None, Tensor | None]  # work of the step, and box and stains that it finished, if any


def memory_format(tensor: Tensor) -> torch.memory_format:
    """Return channels-last, the fastest layout on every device."""
    return torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d


def cut(tensor: Tensor, box: Box) -> Tensor:
    """Return a box of a map (N, C, ...), laid out for convolution."""
    part = tensor[(slice(None), slice(None), *box)]
    return part.contiguous(memory_format=memory_format(part))


def empty_like_map(part: Tensor, shape: Sequence[int]) -> Tensor:
    """Return an empty map with a part's channels, type and device."""
    return torch.empty((1, part.shape[1], *shape), dtype=part.dtype, device=part.device, memory_format=memory_format(part))


class Maps:
    """Whole maps that are filled box by box; a map is allocated with its first part, which has the number of channels."""

    def __init__(self, plan: TilePlan) -> None:
        self.plan = plan
        self.maps: dict[str, Tensor] = {}
        self.making = threading.Lock()

    def put(self, name: str, level: int, box: Box, part: Tensor) -> None:
        """Write a part into a map."""
        with self.making:
            if name not in self.maps:
                self.maps[name] = empty_like_map(part, self.plan.level_shape(level))
        self.maps[name][(slice(None), slice(None), *box)] = part

    def get(self, name: str, box: Box) -> Tensor:
        """Read a box of a map."""
        return cut(self.maps[name], box)

    def drop(self, name: str) -> None:
        """Free a map."""
        self.maps.pop(name, None)


def work(plan: TilePlan) -> float:
    """Return the work units of a whole field under a plan."""
    depth, levels = plan.reach.depth, plan.levels
    total = sum(_unit(plan, level, ENCODE + (DECODE if levels <= level < depth - 1 else 0.0)) for level in range(depth))
    return total + plan.wanted_share * sum(_unit(plan, level, _up_work(plan)) for level in range(levels))


def _up_work(plan: TilePlan) -> float:
    """Return the relative work of running a pixel of a shallow level up."""
    return DECODE + (0.0 if plan.keep_skips else ENCODE)


def _unit(plan: TilePlan, level: int, share: float) -> float:
    """Return the work of a share of a level. Per level the work per pixel quadruples and pixels decrease 2**dims-fold."""
    return share * float(volume(tuple(slice(0, side) for side in plan.shape))) * 2.0 ** (level * (2 - len(plan.shape)))


@torch.inference_mode()
def _down(network: EncoderDecoder, plan: TilePlan, maps: Maps, x: Tensor, tile: Box) -> None:
    """Run the shallow levels down over one tile: its part of the map at level `levels`, and the skips if they are kept."""
    read = grow(tile, plan.reach.encoder(plan.levels), plan.shape)
    h = cut(x, read)
    for level in range(plan.levels):
        skip = network.encode(level, h)
        if plan.keep_skips:
            core = at_level(tile, level)
            maps.put(f"skip{level}", level, core, skip[(slice(None), slice(None), *within(core, at_level(read, level)))])
        h = network.down(level, skip)
    core = at_level(tile, plan.levels)
    maps.put(f"in{plan.levels}", plan.levels, core, h[(slice(None), slice(None), *within(core, at_level(read, plan.levels)))])


@torch.inference_mode()
def _encode(network: EncoderDecoder, plan: TilePlan, maps: Maps, level: int, core: Box, read: Box) -> None:
    """Run one deep level down over one block of its map."""
    skip = network.encode(level, maps.get(f"in{level}", read))
    part = skip[(slice(None), slice(None), *within(core, read))]
    if level == plan.reach.depth - 1:
        maps.put(f"out{level}", level, core, part)
        return
    maps.put(f"skip{level}", level, core, part)
    maps.put(f"in{level + 1}", level + 1, at_level(core, 1), network.down(level, part))


@torch.inference_mode()
def _decode(network: EncoderDecoder, maps: Maps, level: int, core: Box, read: Box) -> None:
    """Run one deep level up over one block of its map."""
    out = network.decode(level, maps.get(f"out{level + 1}", at_level(read, 1)), maps.get(f"skip{level}", read))
    maps.put(f"out{level}", level, core, out[(slice(None), slice(None), *within(core, read))])


def _skips(network: EncoderDecoder, plan: TilePlan, maps: Maps, x: Tensor, tile: Box) -> list[Tensor]:
    """Return each shallow level's skip at the window that decoding the tile needs, kept or computed again."""
    windows = [grow(at_level(tile, lv), margin, plan.level_shape(lv)) for lv, margin in enumerate(plan.reach.window(plan.levels))]
    if plan.keep_skips:
        return [maps.get(f"skip{level}", window) for level, window in enumerate(windows)]
    read = grow(tile, plan.reach.skips(plan.levels), plan.shape)
    h, out = cut(x, read), []
    for level, window in enumerate(windows):
        skip = network.encode(level, h)
        out.append(cut(skip, within(window, at_level(read, level))))
        if level < plan.levels - 1:
            h = network.down(level, skip)
    return out


@torch.inference_mode()
def _up(network: EncoderDecoder, plan: TilePlan, maps: Maps, x: Tensor, tile: Box) -> Tensor:
    """Run the shallow levels up over one tile, to the stains."""
    skips = _skips(network, plan, maps, x, tile)
    margins = plan.reach.below(plan.levels)
    boxes = [grow(at_level(tile, level), margin, plan.level_shape(level)) for level, margin in enumerate(margins)]
    below = maps.get(f"out{plan.levels}", boxes[plan.levels])
    for level in reversed(range(plan.levels)):
        window = grow(at_level(tile, level), plan.reach.window(plan.levels)[level], plan.level_shape(level))
        below = cut(network.decode(level, below, skips.pop()), within(boxes[level], window))
    return network.head(below)[(slice(None), slice(None), *within(tile, boxes[0]))]


def paint_field(
    network: EncoderDecoder, plan: TilePlan, x: Tensor, pool: TileThreadPool, center: Sequence[float] | None = None
) -> Iterator[Step]:
    """Paint one padded field.

    Parameters
    ----------
    network
        In eval mode, on the device and in the precision of `x`.
    plan
        The geometry; ``plan.shape`` is the shape of `x` without its first two axes.
    x
        The normalized field, axes (1, C, [Z,] Y, X).
    center
        Point in pixels of the padded field that is finished first.

    Yields
    ------
    tuple
        Work units of the step, and, once stains appear, a box of the padded field and its stains (1, stains, [Z,] Y, X).
    """
    maps, depth, levels = Maps(plan), plan.reach.depth, plan.levels
    area = volume(tuple(slice(0, side) for side in plan.shape))
    tiles = plan.tiles()
    for tile, _ in pool.run([partial(_down, network, plan, maps, x, tile) for tile in tiles], tiles):
        yield sum(_unit(plan, level, ENCODE * volume(tile) / area) for level in range(levels)), None, None
    for level in range(levels, depth):
        blocks = list(plan.blocks(level, 2 * maps.maps[f"in{level}"].shape[1], shared=pool.steady))
        encode = [partial(_encode, network, plan, maps, level, core, read) for core, read in blocks]
        for (core, _), _ in pool.run(encode, blocks):
            yield _unit(plan, level, ENCODE * _share(plan, level, core)), None, None
        maps.drop(f"in{level}")
    for level in reversed(range(levels, depth - 1)):
        blocks = list(plan.blocks(level, maps.maps[f"skip{level}"].shape[1], shared=pool.steady))
        decode = [partial(_decode, network, maps, level, core, read) for core, read in blocks]
        for (core, _), _ in pool.run(decode, blocks):
            yield _unit(plan, level, DECODE * _share(plan, level, core)), None, None
        maps.drop(f"out{level + 1}")
        maps.drop(f"skip{level}")
    each = sum(_unit(plan, level, _up_work(plan)) for level in range(levels))
    tiles = plan.wanted_tiles(center)
    for tile, stains in pool.run([partial(_up, network, plan, maps, x, tile) for tile in tiles], tiles):
        yield each * volume(tile) / area, tile, stains


def _share(plan: TilePlan, level: int, box: Box) -> float:
    """Return a box's share of a level's map."""
    return volume(box) / volume(tuple(slice(0, side) for side in plan.level_shape(level)))
