"""The generators of pix2pixHD (Wang et al. 2018), as used by Tonks et al. 2024: global, and global with local enhancers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from torch import Tensor, nn

from napari_virtual_paint.networks.staged import INPUT, OUTPUT, Kind, LocalStage, Statistics, instance_norm, run_stages

Layers = list[nn.Module]
NORMS = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}


@dataclass(frozen=True)
class Pix2PixHDConfig:
    """Settings of `Pix2PixHD`; the defaults are the published ones (182.44 M parameters)."""

    in_channels: int = 3
    out_channels: int = 3
    width: int = 64
    """Filters of the first convolution at full resolution."""
    downs: int = 4
    """Down-samplings of the global generator."""
    blocks: int = 9
    """Residual blocks of the global generator."""
    enhancers: int = 0
    """Local enhancers, each of which doubles the resolution of the one before."""
    local_blocks: int = 3
    """Residual blocks of each local enhancer."""
    norm: str = "instance"
    """``instance`` (without parameters) or ``batch``."""

    def __post_init__(self) -> None:
        least = {"downs": 1, "blocks": 0, "enhancers": 0, "local_blocks": 0}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "norm" and (not isinstance(value, int) or value < least.get(item.name, 1)):
                raise ValueError(f"Pix2PixHD {item.name} must be a whole number of {least.get(item.name, 1)} or more, not {value!r}.")
        if self.norm not in NORMS:
            raise ValueError(f"Pix2PixHD norm must be instance or batch, not {self.norm!r}.")


class ResBlock(nn.Module):
    """Reflection, convolution 3, norm, ReLU, reflection, convolution 3, norm, and the input added."""

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), NORMS[norm](width)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), NORMS[norm](width)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(inplace=True), *again)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, Y, X) -> the same."""
        out: Tensor = x + self.conv_block(x)
        return out


def _first(cin: int, width: int, norm: str) -> Layers:
    return [nn.ReflectionPad2d(3), nn.Conv2d(cin, width, 7), NORMS[norm](width), nn.ReLU(inplace=True)]


def _down(width: int, norm: str) -> Layers:
    return [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), NORMS[norm](2 * width), nn.ReLU(inplace=True)]


def _up(width: int, norm: str) -> Layers:
    return [nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1), NORMS[norm](width), nn.ReLU(inplace=True)]


def _last(width: int, cout: int) -> Layers:
    return [nn.ReflectionPad2d(3), nn.Conv2d(width, cout, 7), nn.Tanh()]


class Pix2PixHD(nn.Module):
    """Generator of pix2pixHD; images in [-1, 1], output (N, out_channels, Y, X) in [-1, 1]. Weights have the published names.

    Parameters
    ----------
    **config
        The fields of `Pix2PixHDConfig`. Y and X must be multiples of ``2 ** (downs + enhancers)``; `painting.paint` pads for you.

    References
    ----------
    Wang et al., CVPR 2018, "High-resolution image synthesis and semantic manipulation with conditional GANs", section 3.2 and appendix.
    """

    dims = 2

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = cfg = Pix2PixHDConfig(**config)
        self.multiple = 2 ** (cfg.downs + cfg.enhancers)
        width, norm = cfg.width * 2**cfg.enhancers, cfg.norm
        layers = _first(cfg.in_channels, width, norm)
        for level in range(cfg.downs):
            layers += _down(width * 2**level, norm)
        layers += [ResBlock(width * 2**cfg.downs, norm) for _ in range(cfg.blocks)]
        for level in reversed(range(cfg.downs)):
            layers += _up(width * 2**level, norm)
        self.model = nn.Sequential(*layers, *([] if cfg.enhancers else _last(width, cfg.out_channels)))
        for number in range(1, cfg.enhancers + 1):
            width = cfg.width * 2 ** (cfg.enhancers - number)
            blocks = [ResBlock(2 * width, norm) for _ in range(cfg.local_blocks)]
            end = _last(width, cfg.out_channels) if number == cfg.enhancers else []
            setattr(self, f"model{number}_1", nn.Sequential(*_first(cfg.in_channels, width, norm), *_down(width, norm)))
            setattr(self, f"model{number}_2", nn.Sequential(*blocks, *_up(width, norm), *end))
        self.pool = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)

    def stages(self) -> list[LocalStage]:
        """Return the stages: the global generator on the image shrunk once for each enhancer, then the enhancers."""
        cfg, out = self.config, []
        for number in range(cfg.enhancers):
            source, step = _pooled(number), 2 ** (number + 1)
            out.append(LocalStage(_pooled(number + 1), step, (source,), lambda maps, _: self.pool(maps[0]), halo=step))
        step = 2**cfg.enhancers
        out += _chain(list(self.model), "global", _pooled(cfg.enhancers), step, None if cfg.enhancers else OUTPUT)
        for number in range(1, cfg.enhancers + 1):
            step = 2 ** (cfg.enhancers - number)
            before = out[-1].target
            fine, rest = list(getattr(self, f"model{number}_1")), list(getattr(self, f"model{number}_2"))
            out += _chain(fine, f"fine{number}", _pooled(cfg.enhancers - number), step, None)
            joined = f"joined{number}"
            out.append(LocalStage(joined, 2 * step, (out[-1].target, before), lambda maps, _: maps[0] + maps[1]))
            out += _chain(rest, f"local{number}", joined, 2 * step, OUTPUT if number == cfg.enhancers else None)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Predict the stains: (N, in_channels, Y, X) -> (N, out_channels, Y, X)."""
        return run_stages(self.stages(), x)


def _pooled(number: int) -> str:
    """Return the name of the image shrunk so many times."""
    return f"shrunk{number}" if number else INPUT


def _chain(layers: Layers, name: str, source: str, step: int, target: str | None) -> list[LocalStage]:
    """Cut a chain of layers into stages of at most one normalization.

    A stage ends behind a convolution that shrinks the map, so that what is kept is small: the normalization behind it is measured on the
    kept map itself. Before a normalization at full resolution the convolution is run twice, once to measure it and once to go on, so that
    its output, the largest map of the network, is never held as a whole.
    """
    out: list[LocalStage] = []
    head: Layers = []  # layers before the normalization of the stage under way
    tail: Layers = []  # the normalization and what follows

    def end(final: str | None = None) -> None:
        nonlocal head, tail, source, step
        if head or tail:
            made = final or f"{name}.{len(out)}"
            out.append(_stage(made, source, step, head, tail))
            source, step, head, tail = made, out[-1].step, [], []

    for layer in layers:
        if isinstance(layer, ResBlock):
            end()
            out += _block(layer, f"{name}.{len(out)}", source, step)
            source = out[-1].target
        elif isinstance(layer, nn.InstanceNorm2d):
            if tail:
                end()
            tail = [layer]
        else:
            if isinstance(layer, nn.ConvTranspose2d):
                end()  # its own stage: what comes before it lies on the coarser grid
            (tail if tail else head).append(layer)
            if isinstance(layer, nn.Conv2d) and layer.stride[0] > 1:
                end()
    end(target)
    return out


def _block(block: ResBlock, name: str, source: str, step: int) -> list[LocalStage]:
    """Return the two stages of a residual block."""
    layers = list(block.conv_block)
    second = f"{name}b"
    inner = _stage(second, source, step, layers[:2], layers[2:6])
    if not isinstance(layers[6], nn.InstanceNorm2d):
        last = layers[6]
        return [inner, LocalStage(name, step, (source, second), lambda maps, _: maps[0] + last(maps[1]))]
    outer = LocalStage(
        name,
        step,
        (source, second),
        lambda maps, found: maps[0] + instance_norm(maps[1], found),
        measure=lambda maps: maps[1],
        measured_step=step,
        statistics="moments",
    )
    return [inner, outer]


def _stage(target: str, source: str, step: int, head: Layers, tail: Layers) -> LocalStage:
    """Return the stage that runs some layers, of which `tail` begins with the one normalization if there is one."""
    at, halo, measured = float(step), 0.0, float(step)
    for position, layer in enumerate([*head, *tail]):
        if position == len(head):
            measured = at
        if isinstance(layer, nn.ConvTranspose2d):
            halo, at = halo + at, at / layer.stride[0]
        elif isinstance(layer, nn.Conv2d):
            halo, at = halo + at * (layer.kernel_size[0] // 2), at * layer.stride[0]
    normed = bool(tail) and isinstance(tail[0], nn.InstanceNorm2d)
    measure: Callable[[Sequence[Tensor]], Tensor] | None = partial(_measure, head) if normed else None
    kind: Kind = "moments" if normed else ""
    return LocalStage(target, int(at), (source,), partial(_apply, head, tail), int(halo), measure, int(measured), kind)


def _run(layers: Layers, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _measure(head: Layers, maps: Sequence[Tensor]) -> Tensor:
    return _run(head, maps[0])


def _apply(head: Layers, tail: Layers, maps: Sequence[Tensor], found: Statistics | None) -> Tensor:
    x = _run(head, maps[0])
    if tail and isinstance(tail[0], nn.InstanceNorm2d):
        return _run(tail[1:], instance_norm(x, found))
    return _run(tail, x)
