"""`StagedNetwork`: a network with normalizations over the whole field, described so that it can run in tiles.

Instance normalization and the global response normalization of ConvNeXt V2 need a few numbers per channel of the *whole* map: mean and
variance, or the sum of squares. A `StagedNetwork` lists its `LocalStage`s: each reads maps of earlier stages. Before a stage is applied to
a tile, its statistics are gathered over all tiles, one pass per normalization. Nothing else couples one tile with another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

INPUT, OUTPUT = "input", "output"  # names of the first map and the last one
Statistics: TypeAlias = tuple[Tensor, ...]  # (mean, variance) or (sum of squares,), each of shape (N, C, 1, ...)
Kind = Literal["", "moments", "squares"]


@dataclass(frozen=True)
class LocalStage:
    """A local step of a network with at most one normalization over the whole field."""

    target: str
    """Name of the map that is made."""
    step: int
    """Pixels of the field that one pixel of it is wide, along Y and along X."""
    sources: tuple[str, ...]
    """Names of the maps that are read, made by stages before."""
    apply: Callable[[Sequence[Tensor], Statistics | None], Tensor]
    """Maps (N, C, ..., Y, X) and the statistics -> the target. Without statistics (None) they are taken of what is given, which must
    then be whole maps."""
    halo: int = 0
    """Pixels *of the field* around a tile that `apply` and `measure` read."""
    measure: Callable[[Sequence[Tensor]], Tensor] | None = None
    """Maps -> what the statistics are taken of; None for a stage without a normalization."""
    measured_step: int = 1
    """Like `step`, of what is measured."""
    statistics: Kind = ""
    """Which numbers."""


@runtime_checkable
class StagedNetwork(Protocol):
    """A network that is a list of stages; ``forward(x)`` equals `run_stages`."""

    multiple: int
    """What Y and X must be multiples of."""

    def stages(self) -> list[LocalStage]:
        """Return the stages in the order in which they run; the last one makes `OUTPUT`."""
        ...


def last_uses(stages: Sequence[LocalStage]) -> dict[str, int]:
    """Return, for every map, the position of the last stage that reads it."""
    return {name: position for position, stage in enumerate(stages) for name in stage.sources}


def run_stages(stages: Sequence[LocalStage], x: Tensor, end: int | None = None) -> Tensor:
    """Run the stages on whole maps, up to position `end` or all; each map is freed after its last use."""
    maps, last = {INPUT: x}, last_uses(stages)
    stop = len(stages) if end is None else end + 1
    for position, stage in enumerate(stages[:stop]):
        maps[stage.target] = stage.apply([maps[name] for name in stage.sources], None)
        for name in stage.sources:
            if last[name] == position:
                maps.pop(name, None)
    return maps[stages[stop - 1].target]


def axes_of(x: Tensor) -> tuple[int, ...]:
    """Return the axes that statistics are taken over: all but the first two."""
    return tuple(range(2, x.ndim))


def instance_norm(x: Tensor, statistics: Statistics | None, eps: float = 1e-5) -> Tensor:
    """Bring each channel of a map to mean 0 and variance 1, by given moments or its own (Ulyanov et al. 2016)."""
    if statistics is None:
        return torch.nn.functional.instance_norm(x, eps=eps)
    mean, variance = statistics
    return (x - mean).mul_(torch.rsqrt(variance + eps))


def response_norm(x: Tensor, statistics: Statistics | None, weight: Tensor, bias: Tensor, eps: float = 1e-6) -> Tensor:
    """Scale each channel by its share of the response, and add the map (global response normalization, Woo et al. 2023, section 3.3).

    Parameters
    ----------
    x
        (N, C, Y, X).
    statistics
        Sum of squares of each channel over the whole field, (N, C, 1, 1).
    weight, bias
        (C,).
    """
    squares = x.square().sum(dim=(2, 3), keepdim=True) if statistics is None else statistics[0]
    norm = squares.sqrt()
    share = norm / (norm.mean(dim=1, keepdim=True) + eps)
    return x * (1 + weight[:, None, None] * share) + bias[:, None, None]
