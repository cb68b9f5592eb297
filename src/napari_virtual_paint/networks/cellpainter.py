"""CellPainter: a residual decoder whose every layer is modulated by the features, and a critic that also reads them off a crop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from napari_virtual_paint.networks.cp2image import DiscriminatorOutput

SLOPE = 0.1


@dataclass(frozen=True)
class CellPainterConfig:
    """Settings of `CellPainter`."""

    features: int  # length of the feature vector
    channels: int  # of a crop
    size: int  # side of a crop, px
    width: int = 24  # channels at the full side; each coarser level has more, up to `max_width`
    max_width: int = 96  # most channels of a level
    style: int = 160  # length of the code that the features are brought to
    turn: int = 0  # 1 if the last two features are cosine and sine of the angle by which the picture is rotated (see `rotated`), else 0

    def __post_init__(self) -> None:
        lows = {"features": 1, "channels": 1, "size": 16, "width": 4, "max_width": 4, "style": 4, "turn": 0}
        for name, low in lows.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise ValueError(f"CellPainter {name} must be a whole number of {low} or more, not {value!r}.")
        if self.turn > 1 or self.features <= 2 * self.turn:
            raise ValueError(
                f"CellPainter turn must be 0 or 1, and 1 needs more than two features, not turn {self.turn} of {self.features}."
            )

    @property
    def doublings(self) -> int:
        """How often the side doubles from the first map, of some 5 px, to the crop."""
        return max(1, round(math.log2(self.size / 5)))

    @property
    def first(self) -> int:
        """Side of the first map, px."""
        step: int = 2**self.doublings
        return -(-self.size // step)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the levels, the coarsest first."""
        return tuple(min(self.max_width, self.width * 2**level) for level in reversed(range(self.doublings)))


class Modulated(nn.Module):
    """A 3 x 3 convolution whose channels are scaled and shifted by the style (feature-wise modulation, Perez et al. 2018)."""

    def __init__(self, into: int, out: int, style: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 3, padding=1)
        self.norm = nn.GroupNorm(1, out, affine=False)
        self.film = nn.Linear(style, 2 * out)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map (N, into, Y, X) under styles (N, style) to (N, out, Y, X)."""
        gain, shift = self.film(style)[:, :, None, None].chunk(2, dim=1)
        out: Tensor = nn.functional.leaky_relu(self.norm(self.conv(x)) * (1 + gain) + shift, SLOPE)
        return out


class UpsamplingLevel(nn.Module):
    """Up-sampling by 2 and two modulated convolutions, with a way past them."""

    def __init__(self, into: int, out: int, style: int) -> None:
        super().__init__()
        self.first = Modulated(into, out, style)
        self.second = Modulated(out, out, style)
        self.past = nn.Conv2d(into, out, 1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map (N, into, Y, X) to (N, out, 2 Y, 2 X)."""
        past = nn.functional.interpolate(self.past(x), scale_factor=2, mode="nearest")
        x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        out: Tensor = past + self.second(self.first(x, style), style)
        return out


class CellPainter(nn.Module):
    """Features (N, p) -> crops (N, channels, size, size): a first map and every layer's gains and shifts are made from the features."""

    def __init__(
        self, features: int, channels: int, size: int, width: int = 24, max_width: int = 96, style: int = 160, turn: int = 0
    ) -> None:
        super().__init__()
        self.config = CellPainterConfig(features, channels, size, width, max_width, style, turn)
        self.style = nn.Sequential(nn.Linear(features - 2 * turn, style), nn.LeakyReLU(SLOPE), nn.Linear(style, style), nn.LeakyReLU(SLOPE))
        widths = self.config.widths
        self.start = nn.Linear(style, widths[0] * self.config.first**2)
        ins = (widths[0], *widths[:-1])
        self.levels = nn.ModuleList(UpsamplingLevel(into, out, style) for into, out in zip(ins, widths, strict=True))
        self.head = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Draw the crops of standardised features."""
        features, angle = features.tensor_split([features.shape[1] - 2 * self.config.turn], dim=1)
        style = self.style(features)
        first, size = self.config.first, self.config.size
        x: Tensor = self.start(style).reshape(len(features), -1, first, first)
        for level in self.levels:
            x = level(x, style)
        out: Tensor = self.head(x)
        edge = (out.shape[-1] - size) // 2
        out = out[..., edge : edge + size, edge : edge + size]
        return rotated(out, angle) if self.config.turn else out


def rotated(pictures: Tensor, angle: Tensor) -> Tensor:
    """Rotate pictures (N, C, d, d) about their center by angles given as cosine and sine (N, 2).

    The angle goes from the rows' axis (down) to the columns', as CellProfiler's orientations do: a cell that lies along the rows' axis
    comes to lie at that orientation. Between pixels cubic, beyond the edge the edge's values.
    """
    cosine, sine = angle.float().unbind(dim=1)
    zero = torch.zeros_like(cosine)
    # Where a pixel (x, y) of the rotated picture comes from.
    back = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], 1)
    grid = nn.functional.affine_grid(back, list(pictures.shape), align_corners=False)
    return nn.functional.grid_sample(pictures.float(), grid, mode="bicubic", padding_mode="border", align_corners=False)


class ReadingCritic(nn.Module):
    """Crops (N, channels, size, size) -> `DiscriminatorOutput`, with the features that it estimates.

    Trained on real crops to read what was measured on them, its layers hold what the features depend on: their distance is a perceptual
    loss that speaks the features' own language, and the reading itself is compared with what was asked for.
    """

    def __init__(self, features: int, channels: int, size: int, width: int = 32, code: int = 192) -> None:
        super().__init__()
        count = max(2, round(math.log2(size / 5)))
        widths = [min(4 * width, width * 2**level) for level in range(count)]
        ins = [channels, *widths[:-1]]
        self.blocks = nn.ModuleList(
            nn.Sequential(spectral_norm(nn.Conv2d(into, out, 4, stride=2, padding=1)), nn.LeakyReLU(SLOPE))
            for into, out in zip(ins, widths, strict=True)
        )
        side = size
        for _ in range(count):
            side //= 2
        self.logit = spectral_norm(nn.Conv2d(widths[-1], 1, 1))
        self.reader = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * side**2, code), nn.LeakyReLU(SLOPE), nn.Linear(code, features))

    def forward(self, crops: Tensor) -> DiscriminatorOutput:
        """Judge crops and read their features."""
        hidden, x = [], crops
        for block in self.blocks:
            x = block(x)
            hidden.append(x)
        return DiscriminatorOutput(self.logit(x).mean((1, 2, 3)), hidden, self.reader(x))


class CropReader(nn.Module):
    """A small network that reads features off crops; its code (N, code) is what the Fréchet distance is taken in.

    Parameters
    ----------
    features, channels, size
        Of the crops and of what is read; no features for a network that gives its code alone.
    code
        Length of the code.
    """

    def __init__(self, features: int, channels: int, size: int, width: int = 16, code: int = 64) -> None:
        super().__init__()
        widths = (channels, width, 2 * width, 3 * width, 4 * width)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.LeakyReLU(SLOPE), nn.AvgPool2d(2))
                for into, out in pairwise(widths)
            ),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * width, code),
        )
        self.head = nn.Sequential(nn.LeakyReLU(SLOPE), nn.Linear(code, features)) if features else nn.Sequential()

    def forward(self, crops: Tensor) -> Tensor:
        """Return the code of crops."""
        code: Tensor = self.blocks(crops)
        return code

    def read(self, crops: Tensor) -> Tensor:
        """Return the standardised features read off crops."""
        read: Tensor = self.head(self(crops))
        return read


def count_parameters(network: nn.Module) -> int:
    """Return how many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def frozen(network: nn.Module) -> nn.Module:
    """Return the network in eval mode with gradients off."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval()


__all__ = ["CellPainter", "CellPainterConfig", "CropReader", "ReadingCritic", "count_parameters", "frozen"]
