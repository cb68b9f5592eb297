"""UNeXt2 and the fully convolutional autoencoder of VisCy (Liu et al. 2025): a ConvNeXt V2 encoder, a decoder, one of two heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from napari_virtual_paint.networks.staged import INPUT, OUTPUT, LocalStage, Statistics, instance_norm, response_norm, run_stages

MOST_LEVELS, MOST_BLOCKS, MOST_WIDTH = 8, 64, 4096


@dataclass(frozen=True)
class UNeXt2Config:
    """Settings of `UNeXt2`; the defaults are those of VSCyto3D (32.04 M parameters)."""

    in_channels: int = 1
    out_channels: int = 2
    planes: int = 5
    """Z-planes of the input."""
    out_planes: int = 5
    """Z-planes of the output."""
    stem_planes: int = 5
    """Z-planes that one kernel of the stem takes together."""
    stem: int = 4
    """Pixels that one kernel of the stem takes together, along Y and along X."""
    widths: str = "96,192,384,768"
    """Filters of each level."""
    blocks: str = "3,3,9,3"
    """Blocks of each level of the encoder."""
    decoder_blocks: int = 2
    """Blocks of each level of the decoder."""
    out_widths: str = "384,192,224"
    """Filters of each level of the decoder, the deepest first."""
    head: str = "conv"
    """``conv``: shuffle by 2, 3D convolutions, shuffle by 2. ``shuffle``: shuffle by the stem's size, no weights."""
    pool: bool = True
    """Whether the head averages neighbours behind its first shuffle."""
    flat_stem: bool = False
    """Whether the stem is a 2D convolution of one plane."""
    encoder_bias: bool = True
    """Whether the 7x7 convolutions of the encoder add a number; not in the autoencoder."""
    encoder_eps: float = 1e-6
    """Of the encoder's layer normalizations; 1e-5 in the autoencoder."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("in_channels", "out_channels", "planes", "out_planes", "stem_planes", "stem", "decoder_blocks") and (
                not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_WIDTH
            ):
                raise ValueError(f"UNeXt2 {item.name} must be a whole number from 1 to {MOST_WIDTH}, not {value!r}.")
        widths, blocks, out = self.numbers("widths"), self.numbers("blocks"), self.numbers("out_widths")
        if len(widths) < 2 or len(widths) > MOST_LEVELS or len(blocks) != len(widths) or len(out) != len(widths) - 1:
            raise ValueError("UNeXt2 needs 2 to 8 widths, as many blocks, and one out_width fewer.")
        if max(*blocks, self.decoder_blocks) > MOST_BLOCKS or max(*widths, *out) > MOST_WIDTH:
            raise ValueError(f"UNeXt2 has at most {MOST_BLOCKS} blocks a level and {MOST_WIDTH} filters.")
        if self.head not in ("conv", "shuffle"):
            raise ValueError(f"UNeXt2 head must be conv or shuffle, not {self.head!r}.")
        if self.planes % self.stem_planes or widths[0] % (self.planes // self.stem_planes) or (self.flat_stem and self.planes != 1):
            raise ValueError("UNeXt2 planes must be a multiple of stem_planes whose quotient divides the first width; 1 for a flat stem.")
        self._check_head(out[-1])

    def _check_head(self, width: int) -> None:
        """Raise where the last filters don't make the configured planes and stains."""
        if self.head == "shuffle" and width != self.out_channels * self.out_planes * self.stem**2:
            raise ValueError("UNeXt2 must end with out_channels x out_planes x stem x stem filters before a shuffle head.")
        if self.head == "conv" and (self.stem != 4 or width % (4 * (self.out_planes + 2))):
            raise ValueError("UNeXt2 must have a stem of 4 and end with a multiple of 4 x (out_planes + 2) filters before a conv head.")

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return a setting such as ``96,192`` as numbers."""
        text = getattr(self, name)
        parts = text.split(",") if isinstance(text, str) and len(text) < 100 else [""]
        if not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise ValueError(f"UNeXt2 {name} must be whole numbers with commas between them, not {text!r}.")
        return tuple(int(part) for part in parts)


class ChannelNorm(nn.LayerNorm):
    """Layer normalization of each pixel over its channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, Y, X) -> the same."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Weights of a global response normalization."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, found: Statistics | None = None) -> Tensor:
        """(N, C, Y, X) -> the same."""
        return response_norm(x, found, self.weight, self.bias)


class Mlp(nn.Module):
    """Two 1x1 convolutions with GELU and a response normalization between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.grn, self.fc2 = nn.Conv2d(width, 4 * width, 1), ResponseNorm(4 * width), nn.Conv2d(4 * width, width, 1)


class ConvNeXtBlock(nn.Module):
    """ConvNeXt V2 block (Woo et al. 2023): 7x7 a channel, layer normalization, MLP with response normalization, and the input added."""

    def __init__(self, width: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width, bias=bias)
        self.norm, self.mlp = ChannelNorm(width, eps=eps), Mlp(width)

    def measure(self, maps: Sequence[Tensor]) -> Tensor:
        """Return what the response is measured on: (N, 4 width, Y, X)."""
        return nn.functional.gelu(self.mlp.fc1(self.norm(self.conv_dw(maps[0]))))

    def apply_to(self, maps: Sequence[Tensor], found: Statistics | None) -> Tensor:
        """Map (N, width, Y, X) to the same under a response measured before; by its own without one."""
        out: Tensor = maps[0] + self.mlp.fc2(self.mlp.grn(self.measure(maps), found))
        return out

    def local_stage(self, target: str, source: str, step: int) -> LocalStage:
        """Return the block as a stage."""
        return LocalStage(target, step, (source,), self.apply_to, 3 * step, self.measure, step, "squares")


class Stage(nn.Module):
    """A change of width, and blocks."""

    def __init__(self, cin: int, cout: int, blocks: int, stride: int, eps: float = 1e-6, bias: bool = True) -> None:
        super().__init__()
        change = nn.Sequential(ChannelNorm(cin, eps=eps), nn.Conv2d(cin, cout, stride, stride=stride))
        self.downsample: nn.Module = change if cin != cout or stride > 1 else nn.Identity()
        self.blocks = nn.ModuleList(ConvNeXtBlock(cout, eps, bias) for _ in range(blocks))

    def local_stages(self, name: str, source: str, step: int) -> list[LocalStage]:
        """Return the blocks as stages; the last makes the map `name`."""
        out: list[LocalStage] = []
        for number, block in enumerate(self.blocks):
            assert isinstance(block, ConvNeXtBlock)
            made = name if number == len(self.blocks) - 1 else f"{name}.{number}"
            out.append(block.local_stage(made, source, step))
            source = made
        return out


class Head(nn.Module):
    """Convolutions over planes behind the first shuffle: 3x3x3 without padding along Z, instance norm, PReLU, 1x1x1."""

    def __init__(self, cin: int, inner: int, cout: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(cin, inner, 3, padding=(0, 1, 1))
        self.prelu = nn.PReLU()
        self.last = nn.Conv3d(inner, cout, 1)


def shuffle(x: Tensor, factor: int, pool: bool) -> Tensor:
    """Spread channels over pixels; then optionally average each with its neighbours above and to the left (zeros beyond the edge).

    The average takes away the chequered pattern of sub-pixel convolutions (Sugawara et al. 2019, as MONAI has it).
    """
    x = nn.functional.pixel_shuffle(x, factor)
    if not pool:
        return x
    return nn.functional.avg_pool2d(nn.functional.pad(x, (factor - 1, 0, factor - 1, 0)), factor, stride=1)


class UNeXt2(nn.Module):
    """The networks of VisCy's virtual staining.

    Takes (N, in_channels, planes, Y, X) and gives (N, out_channels, out_planes, Y, X); of one plane in the output also (N, channels, Y, X),
    the planes being the channels of the input.

    Parameters
    ----------
    **config
        The fields of `UNeXt2Config`. Y and X must be multiples of ``stem * 2 ** (levels - 1)``; `painting.paint` pads for you.

    References
    ----------
    Liu, Hirata-Miyasaki et al., Nat. Mach. Intell. (2025), "Robust virtual staining of landmark organelles with Cytoland", Methods.
    Woo et al., CVPR 2023, "ConvNeXt V2".
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = cfg = UNeXt2Config(**config)
        widths, blocks, out = cfg.numbers("widths"), cfg.numbers("blocks"), cfg.numbers("out_widths")
        self.multiple = cfg.stem * 2 ** (len(widths) - 1)
        self.dims = 2 if cfg.out_planes == 1 else 3
        kernel, first = (cfg.stem_planes, cfg.stem, cfg.stem), widths[0] // (cfg.planes // cfg.stem_planes)
        flat = nn.Conv2d(cfg.in_channels, widths[0], cfg.stem, stride=cfg.stem)
        self.stem = flat if cfg.flat_stem else nn.Conv3d(cfg.in_channels, first, kernel, stride=kernel)
        self.stem_norm = ChannelNorm(widths[0], eps=cfg.encoder_eps)
        ins = (widths[0], *widths[:-1])
        self.encoder = nn.ModuleList(
            Stage(cin, cout, count, 2 if level else 1, cfg.encoder_eps, cfg.encoder_bias)
            for level, (cin, cout, count) in enumerate(zip(ins, widths, blocks, strict=True))
        )
        below = (widths[-1], *out[:-1])
        skips = widths[-2::-1]
        self.decoder = nn.ModuleList(
            Stage(low // 4 + skip, cout, cfg.decoder_blocks, 1) for low, skip, cout in zip(below, skips, out, strict=True)
        )
        if cfg.head == "conv":
            inner = out[-1] // (4 * (cfg.out_planes + 2))
            self.head = Head(inner, 4 * inner, 4 * cfg.out_channels)

    def stages(self) -> list[LocalStage]:
        """Return the stages: stem, encoder, decoder, head; one plane is given without an axis for it."""
        step = self.config.stem
        out = [LocalStage("stem", step, (INPUT,), self._stem)]
        skips = []
        for level, stage in enumerate(self.encoder):
            assert isinstance(stage, Stage)
            source = out[-1].target
            if level:
                step *= 2
                out.append(LocalStage(f"down{level}", step, (source,), partial(_change, stage)))
                source = out[-1].target
            out += stage.local_stages(f"skip{level}", source, step)
            skips.append(out[-1].target)
        for level, stage in enumerate(self.decoder):
            assert isinstance(stage, Stage)
            sources = (out[-1].target, skips[-2 - level])
            out.append(LocalStage(f"up{level}", step // 2, sources, partial(_join, stage), halo=step))
            step //= 2
            out += stage.local_stages(f"level{level}", out[-1].target, step)
        if self.config.head == "shuffle":
            return [*out, LocalStage(OUTPUT, 1, (out[-1].target,), self._shuffle_head, halo=2 * step)]
        measured = step // 2
        head = LocalStage(OUTPUT, 1, (out[-1].target,), self._conv_head, step + 2 * measured, self._measure_head, measured, "moments")
        return [*out, head]

    def _stem(self, maps: Sequence[Tensor], _: Statistics | None) -> Tensor:
        """(N, C, Z, Y, X), or planes as channels (N, C Z, Y, X), to (N, widths[0], Y / stem, X / stem)."""
        cfg, x = self.config, maps[0]
        if x.ndim == 4:
            x = x.reshape(x.shape[0], cfg.in_channels, cfg.planes, *x.shape[2:])
        x = self.stem(x[:, :, 0]) if cfg.flat_stem else self.stem(x).flatten(1, 2)
        out: Tensor = self.stem_norm(x)
        return out

    def _shuffle_head(self, maps: Sequence[Tensor], _: Statistics | None) -> Tensor:
        cfg = self.config
        x = shuffle(maps[0], cfg.stem, cfg.pool)
        return x if cfg.out_planes == 1 else x.reshape(x.shape[0], cfg.out_channels, cfg.out_planes, *x.shape[2:])

    def _measure_head(self, maps: Sequence[Tensor]) -> Tensor:
        planes = self.config.out_planes + 2
        x = shuffle(maps[0], 2, self.config.pool)
        out: Tensor = self.head.first(x.reshape(x.shape[0], -1, planes, *x.shape[2:]))
        return out

    def _conv_head(self, maps: Sequence[Tensor], found: Statistics | None) -> Tensor:
        x = self.head.last(self.head.prelu(instance_norm(self._measure_head(maps), found)))
        planes = x.transpose(1, 2)  # of four axes, since exporters know no other shuffle
        spread = nn.functional.pixel_shuffle(planes.flatten(0, 1), 2)
        if self.config.out_planes == 1:
            return spread
        return spread.reshape(planes.shape[0], planes.shape[1], *spread.shape[1:]).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Predict the stains."""
        out = run_stages(self.stages(), x)
        return out[:, :, None] if self.config.out_planes == 1 and x.ndim == 5 else out


def _change(stage: Stage, maps: Sequence[Tensor], _: Statistics | None) -> Tensor:
    out: Tensor = stage.downsample(maps[0])
    return out


def _join(stage: Stage, maps: Sequence[Tensor], _: Statistics | None) -> Tensor:
    """Bring the map below to this level, put the skip behind it, and change the width."""
    out: Tensor = stage.downsample(torch.cat([nn.functional.pixel_shuffle(maps[0], 2), maps[1]], 1))
    return out
