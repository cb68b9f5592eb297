"""An ensemble: the mean of several U-Nets trained from different initial weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_virtual_paint.networks.unet import UNet, UNetConfig


class UNetEnsemble(nn.Module):
    """The mean of several U-Nets; output = (N, out_channels, Y, X).

    From little data several small networks predict better than one of their joint size (Lakshminarayanan et al., NeurIPS 2017). At each
    level the members are concatenated along the channels, so that the ensemble runs in exact tiles like a single network.

    Parameters
    ----------
    members
        Number of U-Nets.
    **config
        The fields of `UNetConfig`, the same for all members.
    """

    dims = 2
    halo = UNet.halo
    head_halo = UNet.head_halo

    def __init__(self, members: int = 4, **config: Any) -> None:
        super().__init__()
        if not isinstance(members, int) or members < 1:
            raise ValueError(f"UNetEnsemble members must be a whole number of 1 or more, not {members!r}.")
        self.config = UNetConfig(**config)
        self.depth = self.config.depth
        self.members = nn.ModuleList(UNet(**config) for _ in range(members))

    def each(self, x: Tensor) -> Tensor:
        """Return what every member predicts: (N, in_channels, Y, X) -> (members, N, out_channels, Y, X)."""
        return torch.stack([member(x) for member in self.members])

    def encode(self, level: int, x: Tensor) -> Tensor:
        """Return the members' skips of a level, one behind the other; level 0 gets the input that all share."""
        inputs = [x] * len(self.members) if level == 0 else self._split(x)
        return torch.cat([member.encode(level, part) for member, part in zip(self._unets(), inputs, strict=True)], 1)

    def down(self, level: int, skip: Tensor) -> Tensor:
        """Return the members' inputs of the next level."""
        return torch.cat([member.down(level, part) for member, part in zip(self._unets(), self._split(skip), strict=True)], 1)

    def decode(self, level: int, below: Tensor, skip: Tensor) -> Tensor:
        """Return the members' outputs of a level."""
        parts = zip(self._unets(), self._split(below), self._split(skip), strict=True)
        return torch.cat([member.decode(level, low, own) for member, low, own in parts], 1)

    def head(self, x: Tensor) -> Tensor:
        """Return the mean of the members' stains."""
        return torch.stack([member.head(part) for member, part in zip(self._unets(), self._split(x), strict=True)]).mean(0)

    def forward(self, x: Tensor) -> Tensor:
        """Predict the stains: (N, in_channels, Y, X) -> (N, out_channels, Y, X)."""
        return self.each(x).mean(0)

    def _unets(self) -> list[UNet]:
        return [member for member in self.members if isinstance(member, UNet)]

    def _split(self, x: Tensor) -> list[Tensor]:
        """Return each member's channels, laid out for convolution."""
        form = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        return [part.contiguous(memory_format=form) for part in x.chunk(len(self.members), 1)]
