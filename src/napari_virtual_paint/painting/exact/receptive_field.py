"""Probe an encoder-decoder on a few pixels: its reach, filters, work and memory; and choose its tile plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from napari_virtual_paint.networks.encoder_decoder import EncoderDecoder
from napari_virtual_paint.painting.tiles import THICK, Reach, TilePlan

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
KEEP_SKIPS_UP_TO = 512 << 20  # bytes of shallow skips that are kept rather than computed again


@dataclass(frozen=True)
class Probe:
    """What an encoder-decoder costs."""

    reach: Reach  # its reach
    widths: tuple[int, ...]  # filters of each level
    macs: float  # multiply-accumulates a pixel of the field
    weights: int  # bytes of its parameters

    def skip_bytes(self, shape: Sequence[int], levels: int, itemsize: int) -> int:
        """Return the bytes of the skips of the shallow levels of a field."""
        area = prod(shape)
        return sum(width * area >> (level * len(shape)) for level, width in enumerate(self.widths[:levels])) * itemsize

    def deep_bytes(self, shape: Sequence[int], levels: int, itemsize: int) -> int:
        """Return the most bytes of deep maps that exist at one time while a field is painted."""
        area, deepest = prod(shape), len(self.widths) - 1

        def numbers(level: int, filters: int) -> int:
            return filters * area >> (level * len(shape))

        held = most = 0
        for level in range(levels, deepest + 1):
            own = numbers(level, self.widths[level])
            below = numbers(level + 1, self.widths[level]) if level < deepest else 0
            most = max(most, held + numbers(level, self.widths[level - 1]) + own + below)
            held += own
        for level in reversed(range(levels, deepest)):
            own = numbers(level, self.widths[level])  # as large as its skip, which it replaces
            most = max(most, held + own)
            held -= numbers(level + 1, self.widths[level + 1])
        return most * itemsize

    def held_bytes(self, shape: Sequence[int], itemsize: int) -> int:
        """Return the most bytes of maps that exist as a whole at one time while a padded field ([Z,] Y, X) is painted."""
        levels = shallow_levels(len(shape), self.reach.depth)
        kept = self.skip_bytes(shape, levels, itemsize)
        return self.deep_bytes(shape, levels, itemsize) + (kept if kept <= KEEP_SKIPS_UP_TO else 0)

    def memory(self, plan: TilePlan, channels: int, itemsize: int) -> int:
        """Return the peak memory in bytes of painting a field under a plan, with a generous working set for one tile."""
        area, dims, levels = prod(plan.shape), len(plan.shape), plan.levels
        deep = sum(3 * width * area >> (level * dims) for level, width in enumerate(self.widths) if level >= levels)
        tile = self.tile_bytes(plan, itemsize)
        kept = self.skip_bytes(plan.shape, levels, itemsize) if plan.keep_skips else 0
        return self.weights + kept + tile + (deep + channels * area) * itemsize

    def tile_bytes(self, plan: TilePlan, itemsize: int) -> int:
        """Return a generous number of bytes for the work on one tile."""
        return 8 * self.widths[0] * prod(side + 2 * plan.reach.skips(plan.levels) for side in plan.tile) * itemsize


def shallow_levels(dims: int, depth: int) -> int:
    """Return how many levels are run over tiles: two, or one in 3D, where a halo costs more and a tile is as thick as the stack."""
    return min(2 if dims == 2 else 1, depth - 1)


@torch.inference_mode()
def probe(network: nn.Module, in_channels: int) -> Probe:
    """Run an encoder-decoder on its smallest input to count its filters and its work."""
    if not isinstance(network, EncoderDecoder):
        raise TypeError(f"{type(network).__name__} does not work level by level.")
    parameter = next(network.parameters())
    counts: list[float] = []

    def count(module: Any, _inputs: Any, output: Tensor) -> None:
        # Each output pixel takes one product a weight and output channel; a transposed convolution spreads them over its stride.
        spread = prod(module.stride) if isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)) else 1
        counts.append(prod(output.shape[2:]) * module.weight.numel() / spread)

    hooks = [module.register_forward_hook(partial(count)) for module in network.modules() if isinstance(module, CONVOLUTIONS)]
    side = 2 ** (network.depth - 1)
    x = torch.zeros((1, in_channels, *([side] * network.dims)), device=parameter.device, dtype=parameter.dtype)
    try:
        skips, h = [], x
        for level in range(network.depth):
            skips.append(network.encode(level, h))
            if level < network.depth - 1:
                h = network.down(level, skips[-1])
        widths = tuple(int(skip.shape[1]) for skip in skips)
        out = skips.pop()
        for level in reversed(range(network.depth - 1)):
            out = network.decode(level, out, skips.pop())
        network.head(out)
    finally:
        for hook in hooks:
            hook.remove()
    reach = Reach(network.depth, network.halo, network.head_halo)
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    return Probe(reach, widths, sum(counts) / side**network.dims, weights)


def plan_field(shape: Sequence[int], found: Probe, tile: int | None, device: str, itemsize: int, free: int) -> TilePlan:
    """Choose the geometry for one padded field.

    Parameters
    ----------
    shape
        Sides of the padded field.
    found
        The network's reach and filters.
    tile
        Most pixels per side, or None to choose: small enough for a CPU's cache, large enough to fill a GPU.
    itemsize
        Bytes a number.
    free
        Bytes free on the device.
    """
    dims = len(shape)
    levels = shallow_levels(dims, found.reach.depth)
    defaults = {("cpu", 2): 256, ("cpu", 3): 64}
    side = tile or defaults.get((device, dims), 512 if dims == 2 else 128)
    sides = (min(side, THICK) if tile else THICK, side, side)[-dims:]
    kept = found.skip_bytes(shape, levels, itemsize)
    plan_tile = tuple(min(max(s, 2**levels), whole) for s, whole in zip(sides, shape, strict=True))
    return TilePlan(tuple(shape), plan_tile, levels, found.reach, kept <= min(KEEP_SKIPS_UP_TO, free // 4))
