"""What generators are trained against: critics of patches, and the layers of VGG-19. None of them is part of a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

SLOPE = 0.2  # of the LeakyReLU on negative values


class PatchCritic(nn.Module):
    """Patch discriminator (Isola et al. 2017): the output is a map with one number per patch.

    `layers` convolutions 4 x 4 with stride 2 and one with stride 1, each with LeakyReLU 0.2, then one to the verdict, without sigmoid.
    With the defaults a patch is 70 px wide.

    Parameters
    ----------
    in_channels
        Channels of the input and of the stains together.
    width
        Filters of the first level; each level doubles them, up to eight times as many.
    layers
        Convolutions with stride 2.
    norm
        ``none``, or ``instance`` (without parameters) behind every convolution but the first and the last.
    padding
        Zeros round each map: 1 in pix2pix, 2 in pix2pixHD.
    """

    def __init__(self, in_channels: int, width: int = 64, layers: int = 3, norm: str = "none", padding: int = 1) -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(layers + 1)]
        levels: list[nn.Module] = []
        for level, (cin, cout) in enumerate(zip([in_channels, *widths[:-1]], widths, strict=True)):
            parts: list[nn.Module] = [nn.Conv2d(cin, cout, 4, stride=2 if level < layers else 1, padding=padding)]
            if norm == "instance" and level:
                parts.append(nn.InstanceNorm2d(cout))
            levels.append(nn.Sequential(*parts, nn.LeakyReLU(SLOPE)))
        self.levels = nn.ModuleList([*levels, nn.Conv2d(widths[-1], 1, 4, padding=padding)])

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the map of every level, the verdict (N, 1, Y', X') last."""
        out = []
        for level in self.levels:
            x = level(x)
            out.append(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return one verdict an image, the mean of its map: (N, in_channels, Y, X) -> (N,)."""
        return self.maps(x)[-1].mean(dim=(1, 2, 3))


class MultiScaleCritic(nn.Module):
    """Discriminators of pix2pixHD (Wang et al. 2018, section 3.2): one per scale, each on the image halved once more.

    Parameters
    ----------
    in_channels
        Channels of the input and of the stains together.
    scales
        Number of critics.
    width, layers, norm
        As in `PatchCritic`.
    """

    def __init__(self, in_channels: int, scales: int = 2, width: int = 64, layers: int = 3, norm: str = "instance") -> None:
        super().__init__()
        self.critics = nn.ModuleList(PatchCritic(in_channels, width, layers, norm, padding=2) for _ in range(scales))
        self.pool = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return the maps of every critic, the finest scale first: (N, in_channels, Y, X) -> critics x levels."""
        out = []
        for number, critic in enumerate(self.critics):
            assert isinstance(critic, PatchCritic)
            x = self.pool(x) if number else x
            out.append(critic.maps(x))
        return out


VGG_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))
"""Filters and convolutions of VGG-19 up to relu5_1 (Simonyan and Zisserman 2015)."""
VGG_SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # weights of relu1_1 to relu5_1 in the perceptual loss of pix2pixHD
VGG_MEAN, VGG_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGGFeatures(nn.Module):
    """The perceptual loss of pix2pixHD: L1 between the maps relu1_1 to relu5_1 of VGG-19 (Johnson et al. 2016).

    Each stain is shown as a grey image. The weights are a user's own file, names as in torchvision (``features.0.weight`` ...).

    Parameters
    ----------
    state
        Tensors of the file.

    Raises
    ------
    ValueError
        If a tensor is missing or has another shape.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        cin, place = 3, 0
        for width, count in VGG_BLOCKS:
            for _ in range(count):
                convolution = nn.Conv2d(cin, width, 3, padding=1)
                for name, mine in convolution.named_parameters():
                    theirs = state.get(f"features.{place}.{name}")
                    if theirs is None or theirs.shape != mine.shape:
                        raise ValueError(f"it has no features.{place}.{name} of the shape {tuple(mine.shape)}")
                    mine.data.copy_(theirs)
                self.convolutions.append(convolution)
                cin, place = width, place + 2
            place += 1
        self.requires_grad_(False)

    def maps(self, x: Tensor) -> Sequence[Tensor]:
        """Return relu1_1 to relu5_1 of stains in [-1, 1]: (N, C, Y, X) -> five maps of N C images."""
        mean, sd = (torch.tensor(values, device=x.device)[:, None, None] for values in (VGG_MEAN, VGG_SD))
        h = ((x.flatten(0, 1)[:, None] + 1) / 2 - mean) / sd
        out, place = [], 0
        for block, (_, count) in enumerate(VGG_BLOCKS):
            h = nn.functional.max_pool2d(h, 2) if block else h
            for number in range(count):
                h = nn.functional.relu(self.convolutions[place](h))
                place += 1
                if number == 0:
                    out.append(h)
        return out

    def forward(self, painted: Tensor, real: Tensor) -> Tensor:
        """Return the loss of painted stains (N, C, Y, X)."""
        pairs = zip(VGG_SHARES, self.maps(painted), self.maps(real.detach()), strict=True)
        return torch.stack([share * (a - b).abs().mean() for share, a, b in pairs]).sum()
