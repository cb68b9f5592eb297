"""The U-Net of label-free Cell Painting (Cross-Zamirski et al. 2022), every number a field."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from napari_virtual_paint.networks.encoder_decoder import run_from


@dataclass(frozen=True)
class UNetConfig:
    """Settings of `UNet`; the defaults are the paper's (31,106,661 parameters)."""

    in_channels: int = 3
    out_channels: int = 5
    depth: int = 6
    """Levels in the downsampling path, the deepest included."""
    width: int = 32
    """Filters of the first level; each level doubles them ..."""
    max_width: int = 1024
    """... up to this many."""
    batch_norm: bool = True
    """Batch normalization behind every ReLU."""
    dropout: float = 0.0
    """Share of the channels that each block drops while training; painting is the same network without it."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in ("batch_norm", "dropout") and (not isinstance(value, int) or value < 1):
                raise ValueError(f"UNet {item.name} must be a whole number of 1 or more, not {value!r}.")
        if self.depth < 2:
            raise ValueError("UNet depth must be 2 or more.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"UNet dropout must be from 0 to below 1, not {self.dropout!r}.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of each level, from full resolution down."""
        return tuple(min(self.width * 2**level, self.max_width) for level in range(self.depth))


class ConvBlock(nn.Module):
    """Two times convolution 3x3 (zero padding), ReLU and optional batch normalization; then optional dropout of channels."""

    def __init__(self, cin: int, cout: int, batch_norm: bool, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (cin, cout):
            layers += [nn.Conv2d(channels, cout, 3, padding=1), nn.ReLU(inplace=True)]
            if batch_norm:
                layers.append(nn.BatchNorm2d(cout))
        if dropout:
            layers.append(nn.Dropout2d(dropout))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, Y, X) -> (N, cout, Y, X)."""
        out: Tensor = self.block(x)
        return out


class Up(nn.Module):
    """Up-convolution 2x2 by 2, concatenation with the skip (up first), block."""

    def __init__(self, cin: int, cout: int, batch_norm: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(cin, cout, 2, stride=2)
        self.conv_block = ConvBlock(2 * cout, cout, batch_norm, dropout)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """(N, cin, Y/2, X/2), (N, cout, Y, X) -> (N, cout, Y, X)."""
        out: Tensor = self.conv_block(torch.cat([self.up(below), skip], 1))
        return out


class UNet(nn.Module):
    """U-Net with max-pooling, up-convolutions and a linear 1x1 last layer; output = (N, out_channels, Y, X).

    Parameters
    ----------
    **config
        The fields of `UNetConfig`. Y and X must be multiples of ``2 ** (depth - 1)``; `painting.paint` pads for you.

    References
    ----------
    Cross-Zamirski et al., Sci. Rep. 12, 10001 (2022), "U-net with L1 loss network architecture".
    """

    dims = 2
    halo = 2
    head_halo = 0

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = UNetConfig(**config)
        self.depth = self.config.depth
        widths, settings = self.config.widths, (self.config.batch_norm, self.config.dropout)
        ins = (self.config.in_channels, *widths[:-1])
        self.down_path = nn.ModuleList(ConvBlock(cin, cout, *settings) for cin, cout in zip(ins, widths, strict=True))
        # up_path is stored deepest first, as in published checkpoints.
        self.up_path = nn.ModuleList(Up(widths[level + 1], widths[level], *settings) for level in reversed(range(self.depth - 1)))
        self.last = nn.Conv2d(widths[0], self.config.out_channels, 1)

    def encode(self, level: int, x: Tensor) -> Tensor:
        """Return the skip of a level: (N, widths[level - 1], Y, X) -> (N, widths[level], Y, X)."""
        out: Tensor = self.down_path[level](x)
        return out

    def down(self, level: int, skip: Tensor) -> Tensor:
        """Return the input of the next level: max-pooling 2x2."""
        return nn.functional.max_pool2d(skip, 2)

    def decode(self, level: int, below: Tensor, skip: Tensor) -> Tensor:
        """Return the output of a level from that of the level below and its own skip."""
        out: Tensor = self.up_path[self.depth - 2 - level](below, skip)
        return out

    def head(self, x: Tensor) -> Tensor:
        """Return the stains from the output of level 0."""
        out: Tensor = self.last(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Predict the stains: (N, in_channels, Y, X) -> (N, out_channels, Y, X)."""
        return self.head(run_from(self, 0, x))
