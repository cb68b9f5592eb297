"""Allen's fnet, 2D and 3D (Ounkomol et al. 2018), every number a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from napari_virtual_paint.networks.encoder_decoder import run_from

CONVS: dict[int, tuple[type[nn.Module], type[nn.Module], type[nn.Module]]] = {
    2: (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d),
    3: (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d),
}


@dataclass(frozen=True)
class FNetConfig:
    """Settings of `FNet`; the defaults are the paper's (3D 23,280,769 parameters, 2D 8,116,225)."""

    dims: Literal[2, 3] = 3
    in_channels: int = 1
    out_channels: int = 1
    depth: int = 4
    """Down-samplings (the published checkpoints count so; levels are one more)."""
    mult_chan: int = 32
    """Filters of the first level for one input channel; each level doubles them."""

    def __post_init__(self) -> None:
        if self.dims not in CONVS:
            raise ValueError(f"FNet dims must be 2 or 3, not {self.dims!r}.")
        for name in ("in_channels", "out_channels", "depth", "mult_chan"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"FNet {name} must be a whole number of 1 or more, not {value!r}.")


class Double(nn.Module):
    """Two times convolution 3 (zero padding), batch normalization, ReLU."""

    def __init__(self, dims: int, cin: int, cout: int) -> None:
        super().__init__()
        conv, _, norm = CONVS[dims]
        self.conv1, self.bn1 = conv(cin, cout, 3, padding=1), norm(cout)
        self.conv2, self.bn2 = conv(cout, cout, 3, padding=1), norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, ...) -> (N, cout, ...)."""
        x = nn.functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return nn.functional.relu(self.bn2(self.conv2(x)), inplace=True)


class NestedLevel(nn.Module):
    """One level and, inside it, all the levels below (the nesting gives the published names of the weights)."""

    def __init__(self, dims: int, cin: int, cout: int, below: int) -> None:
        super().__init__()
        self.sub_2conv_more = Double(dims, cin, cout)
        if below == 0:
            return
        conv, convt, norm = CONVS[dims]
        self.sub_2conv_less = Double(dims, 2 * cout, cout)
        self.conv_down, self.bn0 = conv(cout, cout, 2, stride=2), norm(cout)
        self.convt, self.bn1 = convt(2 * cout, cout, 2, stride=2), norm(cout)
        self.sub_u = NestedLevel(dims, cout, 2 * cout, below - 1)


class FNet(nn.Module):
    """fnet; output (N, out_channels, [Z,] Y, X).

    Parameters
    ----------
    **config
        The fields of `FNetConfig`. Every spatial axis must be a multiple of ``2 ** depth`` (config); `painting.paint` pads for you.

    References
    ----------
    Ounkomol et al., Nat. Methods 15, 917 (2018), "Model architecture description and training".
    """

    halo = 2
    head_halo = 1

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = cfg = FNetConfig(**config)
        self.dims: int = cfg.dims
        self.depth = cfg.depth + 1
        self.net_recurse = NestedLevel(cfg.dims, cfg.in_channels, cfg.mult_chan, cfg.depth)
        self.conv_out = CONVS[cfg.dims][0](cfg.mult_chan, cfg.out_channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def level(self, index: int) -> Any:
        """Return the modules of one level."""
        at: Any = self.net_recurse
        for _ in range(index):
            at = at.sub_u
        return at

    def encode(self, level: int, x: Tensor) -> Tensor:
        """Return the skip of a level from its input."""
        out: Tensor = self.level(level).sub_2conv_more(x)
        return out

    def down(self, level: int, skip: Tensor) -> Tensor:
        """Return the input of the next level: strided convolution, batch normalization, ReLU."""
        at = self.level(level)
        return nn.functional.relu(at.bn0(at.conv_down(skip)), inplace=True)

    def decode(self, level: int, below: Tensor, skip: Tensor) -> Tensor:
        """Return the output of a level from that of the level below and its own skip (the skip comes first)."""
        at = self.level(level)
        up = nn.functional.relu(at.bn1(at.convt(below)), inplace=True)
        out: Tensor = at.sub_2conv_less(torch.cat([skip, up], 1))
        return out

    def head(self, x: Tensor) -> Tensor:
        """Return the stains from the output of level 0."""
        out: Tensor = self.conv_out(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Predict the stains: (N, in_channels, [Z,] Y, X) -> (N, out_channels, [Z,] Y, X)."""
        return self.head(run_from(self, 0, x))
