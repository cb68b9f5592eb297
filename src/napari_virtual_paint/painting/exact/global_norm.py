"""Exact tiling of networks that normalize over the whole field: the statistics of a stage are gathered before it is applied.

Every map is computed tile by tile, each tile with the margin that the stage needs. A normalization costs one more pass over the maps before
it, whose result is discarded: the largest maps of a network, between a convolution at full resolution and the next change of resolution,
never exist as a whole. Maps of one tile are computed whole, and very large ones again for every tile that reads them.
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
from napari_virtual_paint.networks.empty import empty_weights
from napari_virtual_paint.networks.staged import INPUT, OUTPUT, LocalStage, StagedNetwork, Statistics, axes_of, last_uses
from napari_virtual_paint.painting.tiles import Box, cover, grow, within
from napari_virtual_paint.runtime.running_stats import merge

TILE = 256  # pixels a side of a tile, on the finest grid that a stage touches
MOST = 1 << 21  # most numbers of one map in a tile: maps of many filters get smaller tiles
LARGE = 1 << 26
"""Maps of more numbers are not kept but computed again for every tile that reads them, if their sources are smaller and kept."""
Step = tuple[float, Box | None, Tensor | None]  # share of the work in this step, and box (Y, X) and stains that it finished, if any
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
    """The state of painting one field: maps and their geometry."""

    def __init__(self, network: StagedNetwork, x: Tensor, tile: int) -> None:
        self.stages = network.stages()
        self.tile = tile
        self.field = (int(x.shape[-2]), int(x.shape[-1]))
        self.maps: dict[str, Tensor] = {INPUT: x}
        self.steps = {INPUT: 1, **{stage.target: stage.step for stage in self.stages}}
        self.again: dict[str, tuple[LocalStage, Statistics | None]] = {}
        """Maps that are not kept -> stage and statistics that make them."""
        self.last = last_uses(self.stages)
        self.filters: dict[str, int] = {INPUT: int(x.shape[1])}

    def geometry(self, stage: LocalStage) -> tuple[int, int, bool]:
        """Return a stage's grid, the side of a tile in pixels of the field, and whether it is run whole."""
        steps = [stage.step, *(self.steps[name] for name in stage.sources), *((stage.measured_step,) if stage.measure else ())]
        steps += [self.steps[name] for source in stage.sources if source in self.again for name in self.again[source][0].sources]
        align, finest = lcm(*steps), min(steps)
        whole = max(self.field) <= self.tile * finest
        filters = max(self.filters[name] for name in stage.sources)
        tile = min(self.tile, round(sqrt(MOST / filters)))
        return align, max(tile * finest // align, 1) * align, whole

    def windows(self, stage: LocalStage, align: int, side: int) -> list[tuple[Box, Box]]:
        """Return the tiles of a stage, each with what must be read for it; both in pixels of the field."""
        margin = -(-stage.halo // align) * align
        tiles = cover(self.field, (side, side), align)
        return [(tile, grow(tile, margin, self.field)) for tile in tiles]

    def sources(self, stage: LocalStage, read: Box) -> list[Tensor]:
        """Return the parts of the maps that a stage reads."""
        return [self.source(name, read) for name in stage.sources]

    def source(self, name: str, read: Box) -> Tensor:
        """Return a part of a map, computed again if it is not kept."""
        if name not in self.again:
            return cut(self.maps[name], at_step(read, self.steps[name]))
        stage, found = self.again[name]
        align = lcm(stage.step, *(self.steps[source] for source in stage.sources))
        return self.apply(stage, read, grow(read, -(-stage.halo // align) * align, self.field), found)

    def is_large(self, stage: LocalStage, part: Tensor, tile: Box) -> bool:
        """Return whether a stage's map is computed again rather than kept, judged by its first tile."""
        pixels = self.field[0] * self.field[1]
        numbers = part.numel() * pixels // ((tile[0].stop - tile[0].start) * (tile[1].stop - tile[1].start))
        kept = all(name in self.maps for name in stage.sources)
        alone = sum(stage.target in other.sources for other in self.stages) == 1
        return kept and alone and numbers > max(LARGE, sum(self.maps[name].numel() for name in stage.sources))

    def remember(self, stage: LocalStage, found: Statistics | None) -> None:
        """Keep how a map is made, and what it is made of as long as it is needed."""
        self.again[stage.target] = (stage, found)
        for name in stage.sources:
            self.last[name] = max(self.last[name], self.last[stage.target])

    def forget(self, position: int) -> None:
        """Drop the maps that no later stage reads."""
        for name, last in self.last.items():
            if last == position:
                self.maps.pop(name, None)
                self.again.pop(name, None)

    @torch.inference_mode()
    def measure(self, stage: LocalStage, tile: Box, read: Box, gathered: Gathered) -> None:
        """Gather the statistics of one tile."""
        assert stage.measure is not None
        step = stage.measured_step
        gathered.add(cut(stage.measure(self.sources(stage, read)), within(at_step(tile, step), at_step(read, step))))

    @torch.inference_mode()
    def apply(self, stage: LocalStage, tile: Box, read: Box, found: Statistics | None) -> Tensor:
        """Make one tile of a stage's target."""
        out = stage.apply(self.sources(stage, read), found)
        return cut(out, within(at_step(tile, stage.step), at_step(read, stage.step)))

    def put(self, stage: LocalStage, tile: Box, part: Tensor) -> None:
        """Write a tile into the target's map, which is allocated with its first tile."""
        if stage.target not in self.maps:
            sides = [side // stage.step for side in self.field]
            self.maps[stage.target] = torch.empty((*part.shape[:-2], *sides), dtype=part.dtype, device=part.device)
        cut(self.maps[stage.target], at_step(tile, stage.step)).copy_(part)


def paint_stages(network: StagedNetwork, x: Tensor, tile: int | None = None) -> Iterator[Step]:
    """Paint one padded field.

    Parameters
    ----------
    network
        In eval mode, on the device and in the precision of `x`.
    x
        The normalized field, axes (1, C, [Z,] Y, X); Y and X multiples of the network's.
    tile
        Pixels a side of a tile; `TILE` by default.

    Yields
    ------
    tuple
        Share of the work done by the step, and, once the stains appear, the box (Y, X) of the padded field and its stains
        (1, stains, [Z,] Y, X).
    """
    run = _Run(network, x, tile or TILE)
    share = 1 / len(run.stages)
    everything: Box = tuple(slice(0, side) for side in run.field)
    for position, stage in enumerate(run.stages):
        align, side, whole = run.geometry(stage)
        windows = [(everything, everything)] if whole else run.windows(stage, align, side)
        passes = 2 if stage.measure is not None and not whole else 1
        found: Statistics | None = None
        if passes == 2:
            gathered = Gathered(stage.statistics)
            for box, read in windows:
                run.measure(stage, box, read, gathered)
                yield share / (2 * len(windows)), None, None
            found = gathered.statistics(x)
        for box, read in windows:
            part = run.apply(stage, box, read, found)
            if stage.target == OUTPUT:
                yield share / (passes * len(windows)), box, part
                continue
            run.filters[stage.target] = int(part.shape[1])
            if not whole and stage.target not in run.maps and run.is_large(stage, part, box):
                run.remember(stage, found)
                yield share / passes, None, None
                break
            if whole:
                run.maps[stage.target] = part
            else:
                run.put(stage, box, part)
            yield share / (passes * len(windows)), None, None
        run.forget(position)


def costs(architecture: str, config: Mapping[str, Any], shape: Sequence[int]) -> tuple[int, float]:
    """Return bytes (float32) and multiply-accumulates of painting a field (C, [Z,] Y, X) in stages, without memory for either.

    Every measured stage is counted twice, as it is run.
    """
    with empty_weights():
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
    stages, most = network.stages(), 0
    last = last_uses(stages)
    with torch.no_grad():
        for position, stage in enumerate(stages):
            given = [maps[name] for name in stage.sources]
            if stage.measure is not None:
                stage.measure(given)
            maps[stage.target] = stage.apply(given, None)
            most = max(most, sum(kept.numel() for kept in maps.values()))
            for name in stage.sources:
                if last[name] == position:
                    maps.pop(name, None)
    weights = sum(parameter.numel() for parameter in network.parameters())
    return 4 * (weights + most + 8 * MOST), sum(macs)
