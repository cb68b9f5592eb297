"""CP2Image (Ji et al., 2024): a vector of CellProfiler features to the picture of its cell, and the critic it is trained against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

FIRST = 5  # side of the map behind the first block, px: one point, zero-padded by 4, under a 5 x 5 kernel
SLOPE = 0.01  # of the LeakyReLU on negative values


class DiscriminatorOutput(NamedTuple):
    """What a critic makes of crops."""

    logit: Tensor  # (N,); above 0: real
    hidden: list[Tensor]  # the maps of its layers, (N, C, Y, X) each, the first layer first
    reading: Tensor | None = None  # the standardised features that it reads off the crops, (N, p); None for a critic that reads none


@dataclass(frozen=True)
class CP2ImageConfig:
    """Settings of the paper's generator and discriminator."""

    features: int = 453  # length of the feature vector; 453 in the paper
    channels: int = 3  # of a crop; 3 in the paper
    size: int = 68  # side of a crop, px; 68 in the paper
    width: int = 32  # channels of a block

    def __post_init__(self) -> None:
        for name, low in (("features", 1), ("channels", 1), ("size", 16), ("width", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise ValueError(f"CP2Image {name} must be a whole number of {low} or more, not {value!r}.")

    @property
    def growth(self) -> int:
        """Pixels by which a block's convolution widens its map: 4, 2 or 0, whichever ends nearest to the size (40 + 7 x growth)."""
        return min((4, 2, 0), key=lambda growth: abs(8 * FIRST + 7 * growth - self.size))


class CP2ImageGenerator(nn.Module):
    """The paper's generator: features (N, p) -> crops (N, channels, size, size).

    Four blocks of zero-padding, 5 x 5 convolution, batch norm and LeakyReLU, with nearest up-sampling by 2 between them, then a 1 x 1
    convolution, batch norm and LeakyReLU. Sides at the paper's size: 1 -> 5, 10 -> 14, 28 -> 32, 64 -> 68. For another size the padding
    that ends nearest to it is taken and the last up-sampling brings what is missing.
    """

    def __init__(self, features: int = 453, channels: int = 3, size: int = 68, width: int = 32) -> None:
        super().__init__()
        self.config = CP2ImageConfig(features, channels, size, width)
        growth = self.config.growth
        self.last = size - growth
        pads = (4, *(2 + growth // 2,) * 3)
        ins = (features, width, width, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(into, width, 5, padding=pad), nn.BatchNorm2d(width), nn.LeakyReLU(SLOPE))
            for into, pad in zip(ins, pads, strict=True)
        )
        self.head = nn.Sequential(nn.Conv2d(width, channels, 1), nn.BatchNorm2d(channels), nn.LeakyReLU(SLOPE))

    def forward(self, features: Tensor) -> Tensor:
        """Draw the crops of standardised features."""
        x: Tensor = self.blocks[0](features[:, :, None, None])
        for index in (1, 2, 3):
            side = self.last if index == 3 else 2 * x.shape[-1]
            x = self.blocks[index](nn.functional.interpolate(x, size=(side, side), mode="nearest"))
        out: Tensor = self.head(x)
        return out


class CP2ImageDiscriminator(nn.Module):
    """The paper's discriminator: crops (N, channels, size, size) -> `DiscriminatorOutput`.

    Three blocks of 5 x 5 convolution, batch norm, LeakyReLU and max-pooling, one 5 x 5 convolution to a point and a 1 x 1 convolution to
    the logit, all with spectral norm (Miyato et al., 2018). Crops smaller than the paper's are zero-padded at each block.
    """

    def __init__(self, features: int = 453, channels: int = 3, size: int = 68, width: int = 32) -> None:
        super().__init__()
        self.config = CP2ImageConfig(features, channels, size, width)
        pad = 0 if size >= 68 else 2
        ins = (channels, width, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(into, width, 5, padding=pad)), nn.BatchNorm2d(width), nn.LeakyReLU(SLOPE), nn.MaxPool2d(2)
            )
            for into in ins
        )
        self.point = nn.Sequential(
            nn.AdaptiveMaxPool2d(FIRST), spectral_norm(nn.Conv2d(width, 2 * width, FIRST)), nn.BatchNorm2d(2 * width), nn.LeakyReLU(SLOPE)
        )
        self.logit = spectral_norm(nn.Conv2d(2 * width, 1, 1))

    def forward(self, crops: Tensor) -> DiscriminatorOutput:
        """Judge crops."""
        hidden, x = [], crops
        for block in (*self.blocks, self.point):
            x = block(x)
            hidden.append(x)
        return DiscriminatorOutput(self.logit(x).flatten(), hidden)


class CropEncoder(nn.Module):
    """Crops to a normal distribution of codes, for the autoencoders that the paper compares with: -> mean and log variance (N, code)."""

    def __init__(self, code: int = 256, channels: int = 3, size: int = 68, width: int = 32) -> None:
        super().__init__()
        ins = (channels, width, width)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(into, width, 5, padding=2), nn.BatchNorm2d(width), nn.LeakyReLU(SLOPE), nn.MaxPool2d(2))
                for into in ins
            ),
            nn.AdaptiveAvgPool2d(FIRST),
            nn.Flatten(),
        )
        self.moments = nn.Linear(width * FIRST**2, 2 * code)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Encode crops."""
        mean, log_variance = torch.chunk(self.moments(self.blocks(crops)), 2, dim=1)
        return mean, log_variance.clamp(-8, 8)
