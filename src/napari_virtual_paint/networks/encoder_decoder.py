"""The protocol of networks made of levels, which can be run in exact tiles level by level."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class EncoderDecoder(Protocol):
    """A local encoder-decoder: level 0 is full resolution, each level below halves every spatial axis.

    ``forward(x)`` equals ``head(decode(0, ...))`` of the recursion that `run_from` spells out. All convolutions inside a level pad
    with zeros, so a level run on a tile differs from the level run on the whole only within `halo` pixels of the tile's inner edges.
    """

    depth: int
    """Number of levels; sides must be multiples of ``2 ** (depth - 1)``."""
    dims: int
    """Spatial axes: 2 (NCYX) or 3 (NCZYX)."""
    halo: int
    """Reach in pixels, at its own level, of one `encode` or `decode` block."""
    head_halo: int
    """Reach in pixels of `head`."""

    def encode(self, level: int, x: Tensor) -> Tensor:
        """Return the skip of a level from that level's input."""
        ...

    def down(self, level: int, skip: Tensor) -> Tensor:
        """Return the input of level + 1 from the skip of this level; sides halve."""
        ...

    def decode(self, level: int, below: Tensor, skip: Tensor) -> Tensor:
        """Return the output of a level from the output of level + 1 and this level's skip."""
        ...

    def head(self, x: Tensor) -> Tensor:
        """Return the stains from the output of level 0."""
        ...


def run_from(network: EncoderDecoder, level: int, x: Tensor) -> Tensor:
    """Run every level from this one down and back up: the output of the level, from its input."""
    skip = network.encode(level, x)
    if level == network.depth - 1:
        return skip
    return network.decode(level, run_from(network, level + 1, network.down(level, skip)), skip)
