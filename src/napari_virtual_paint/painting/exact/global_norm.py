"""Exact painting of networks that normalise over the whole field: piece by piece, the statistics of a piece gathered before it is applied.

Every map is made tile by tile, each tile with the surroundings that the piece looks at. A normalisation costs one pass more over the maps
before it, whose result is thrown away: the largest maps of a network, those between a convolution at full resolution and the next change of
resolution, never exist as a whole. Maps of one tile are run whole, and very large ones are made again for every tile that reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import lcm, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_virtual_paint.networks import build
from napari_virtual_paint.networks.staged import INPUT, OUTPUT, LocalStage, StagedNetwork, Statistics, axes_of, last_uses
from napari_virtual_paint.painting.tiles import Box, cover, grow, within
from napari_virtual_paint.runtime.running_stats import merge

TILE = 256
"""Pixels a side of a tile, on the finest grid that a piece touches."""
MOST = 1 << 21
"""Most numbers of one map in a tile: maps of many filters get smaller tiles."""
LARGE = 1 << 26
"""Maps of more numbers, if what they are made of is smaller and kept, are not kept but made again for every tile that reads them."""
Step = tuple[float, Box | None, Tensor | None]
"""Share of the work done, and where (Y, X) and what stains were finished by it, if any."""
Floats = npt.NDArray[np.float32]


class Gathered:
    """Statistics of a map over its tiles, in float64."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.count = 0
        self.sums: list[Tensor] = []

    def add(self, tile: Tensor) -> None:
        """Add a tile (N, C, ..., Y, X)."""
        axes = axes_of(tile)
        if self.kind == "squares":
            squares = tile.square().sum(dim=axes, keepdim=True).double().cpu()
            self.sums = [self.sums[0] + squares if self.sums else squares]
            return
        variance, mean = torch.var_mean(tile, dim=axes, correction=0, keepdim=True)
        variance, mean, count = variance.double().cpu(), mean.double().cpu(), tile[0, 0].numel()
        if self.sums:
            before, squares = self.sums[0], self.count * self.sums[1]
            mean, squares = merge(self.count, before, squares, count, mean, count * variance)
            variance = squares / (self.count + count)
        self.count += count
        self.sums = [mean, variance]

    def statistics(self, like: Tensor) -> Statistics:
        """Return what was gathered, of a map's type and device."""
        return tuple(part.to(like.dtype).to(like.device) for part in self.sums)


def at_step(box: Box, step: int) -> Box:
    """Return a box of the field in pixels of a map of some step, which divides its edges."""
    return tuple(slice(s.start // step, s.stop // step) for s in box)


def cut(map_: Tensor, box: Box) -> Tensor:
    """Return a box (Y, X) of a map."""
    return map_[..., box[0], box[1]]


class _Run:
    """The pieces of one field under way."""

    def __init__(self, network: StagedNetwork, x: Tensor, tile: int) -> None:
        self.pieces = network.pieces()
        self.tile = tile
        self.field = (int(x.shape[-2]), int(x.shape[-1]))
        self.maps: dict[str, Tensor] = {INPUT: x}
        self.steps = {INPUT: 1, **{piece.target: piece.step for piece in self.pieces}}
        self.again: dict[str, tuple[LocalStage, Statistics | None]] = {}
        """Maps that are not kept: how each is made."""
        self.last = last_uses(self.pieces)
        self.filters: dict[str, int] = {INPUT: int(x.shape[1])}

    def geometry(self, piece: LocalStage) -> tuple[int, int, bool]:
        """Return a piece's grid, the side of a tile in pixels of the field, and whether it is run whole."""
        steps = [piece.step, *(self.steps[name] for name in piece.sources), *((piece.measured_step,) if piece.measure else ())]
        steps += [self.steps[name] for source in piece.sources if source in self.again for name in self.again[source][0].sources]
        align, finest = lcm(*steps), min(steps)
        whole = max(self.field) <= self.tile * finest
        filters = max(self.filters[name] for name in piece.sources)
        tile = min(self.tile, round(sqrt(MOST / filters)))
        return align, max(tile * finest // align, 1) * align, whole

    def windows(self, piece: LocalStage, align: int, side: int) -> list[tuple[Box, Box]]:
        """Return the tiles of a piece, each with what must be read for it; both in pixels of the field."""
        margin = -(-piece.halo // align) * align
        tiles = cover(self.field, (side, side), align)
        return [(tile, grow(tile, margin, self.field)) for tile in tiles]

    def sources(self, piece: LocalStage, read: Box) -> list[Tensor]:
        """Return the parts of the maps that a piece reads."""
        return [self.source(name, read) for name in piece.sources]

    def source(self, name: str, read: Box) -> Tensor:
        """Return a part of a map, made again if it is not kept."""
        if name not in self.again:
            return cut(self.maps[name], at_step(read, self.steps[name]))
        piece, found = self.again[name]
        align = lcm(piece.step, *(self.steps[source] for source in piece.sources))
        return self.apply(piece, read, grow(read, -(-piece.halo // align) * align, self.field), found)

    def is_large(self, piece: LocalStage, part: Tensor, tile: Box) -> bool:
        """Return whether a piece's map is rather made again than kept, from its first tile."""
        pixels = self.field[0] * self.field[1]
        numbers = part.numel() * pixels // ((tile[0].stop - tile[0].start) * (tile[1].stop - tile[1].start))
        kept = all(name in self.maps for name in piece.sources)
        alone = sum(piece.target in other.sources for other in self.pieces) == 1
        return kept and alone and numbers > max(LARGE, sum(self.maps[name].numel() for name in piece.sources))

    def remember(self, piece: LocalStage, found: Statistics | None) -> None:
        """Keep how a map is made, and what it is made of as long as it is needed."""
        self.again[piece.target] = (piece, found)
        for name in piece.sources:
            self.last[name] = max(self.last[name], self.last[piece.target])

    def forget(self, position: int) -> None:
        """Drop the maps that no later piece reads."""
        for name, last in self.last.items():
            if last == position:
                self.maps.pop(name, None)
                self.again.pop(name, None)

    @torch.inference_mode()
    def measure(self, piece: LocalStage, tile: Box, read: Box, gathered: Gathered) -> None:
        """Gather the statistics of one tile."""
        assert piece.measure is not None
        step = piece.measured_step
        gathered.add(cut(piece.measure(self.sources(piece, read)), within(at_step(tile, step), at_step(read, step))))

    @torch.inference_mode()
    def apply(self, piece: LocalStage, tile: Box, read: Box, found: Statistics | None) -> Tensor:
        """Make one tile of a piece's target."""
        out = piece.apply(self.sources(piece, read), found)
        return cut(out, within(at_step(tile, piece.step), at_step(read, piece.step)))

    def put(self, piece: LocalStage, tile: Box, part: Tensor) -> None:
        """Write a tile into the target's map, which is made when its first tile tells its form."""
        if piece.target not in self.maps:
            sides = [side // piece.step for side in self.field]
            self.maps[piece.target] = torch.empty((*part.shape[:-2], *sides), dtype=part.dtype, device=part.device)
        cut(self.maps[piece.target], at_step(tile, piece.step)).copy_(part)


def paint_pieces(network: StagedNetwork, x: Tensor, tile: int | None = None) -> Iterator[Step]:
    """Paint one padded field.

    Parameters
    ----------
    network
        In eval mode, on the device and in the precision of `x`.
    x
        The normalised field, axes (1, C, [Z,] Y, X); Y and X multiples of the network's.
    tile
        Pixels a side of a tile; `TILE` by default.

    Yields
    ------
    tuple
        Share of the work done by the step, and, once the stains appear, the box (Y, X) of the padded field and its stains
        (1, stains, [Z,] Y, X).
    """
    run = _Run(network, x, tile or TILE)
    share = 1 / len(run.pieces)
    everything: Box = tuple(slice(0, side) for side in run.field)
    for position, piece in enumerate(run.pieces):
        align, side, whole = run.geometry(piece)
        windows = [(everything, everything)] if whole else run.windows(piece, align, side)
        passes = 2 if piece.measure is not None and not whole else 1
        found: Statistics | None = None
        if passes == 2:
            gathered = Gathered(piece.statistics)
            for box, read in windows:
                run.measure(piece, box, read, gathered)
                yield share / (2 * len(windows)), None, None
            found = gathered.statistics(x)
        for box, read in windows:
            part = run.apply(piece, box, read, found)
            if piece.target == OUTPUT:
                yield share / (passes * len(windows)), box, part
                continue
            run.filters[piece.target] = int(part.shape[1])
            if not whole and piece.target not in run.maps and run.is_large(piece, part, box):
                run.remember(piece, found)
                yield share / passes, None, None
                break
            if whole:
                run.maps[piece.target] = part
            else:
                run.put(piece, box, part)
            yield share / (passes * len(windows)), None, None
        run.forget(position)


def costs(architecture: str, config: Mapping[str, Any], shape: Sequence[int]) -> tuple[int, float]:
    """Return bytes (float32) and multiply-accumulates of painting a field (C, [Z,] Y, X) in pieces, without memory for either.

    Every measured piece is counted twice, as it is run.
    """
    with torch.device("meta"):
        network = build(architecture, dict(config)).eval()
        maps: dict[str, Tensor] = {INPUT: torch.empty((1, *shape))}
    assert isinstance(network, StagedNetwork)
    macs: list[float] = []

    def count(module: Any, given: tuple[Tensor, ...], out: Tensor) -> None:
        # A transposed convolution spreads every pixel of its input, the others gather for every pixel of their output.
        spreads = isinstance(module, torch.nn.ConvTranspose2d)
        macs.append((given[0] if spreads else out).numel() * module.weight[0].numel())

    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.ConvTranspose2d)):
            module.register_forward_hook(count)
    pieces, most = network.pieces(), 0
    last = last_uses(pieces)
    with torch.no_grad():
        for position, piece in enumerate(pieces):
            given = [maps[name] for name in piece.sources]
            if piece.measure is not None:
                piece.measure(given)
            maps[piece.target] = piece.apply(given, None)
            most = max(most, sum(kept.numel() for kept in maps.values()))
            for name in piece.sources:
                if last[name] == position:
                    maps.pop(name, None)
    weights = sum(parameter.numel() for parameter in network.parameters())
    return 4 * (weights + most + 8 * MOST), sum(macs)
