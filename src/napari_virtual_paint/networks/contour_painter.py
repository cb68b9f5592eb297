"""ContourPainter: features and noise become the outlines of nucleus and cell, and then the picture inside and around them.

Areas, orientation and mean intensities are met by construction. The rest is learned, and noise draws the details that no feature fixes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from napari_virtual_paint.networks.outlines import MAPS, SHAPE, Outlines, soft_mask

SLOPE = 0.1
OUTLINE = SHAPE + 4
"""Numbers that describe an outline: its shape, the logarithms of both areas, and the center."""
REACH = 0.8  # where the cell's edge lies on the first map, which reaches from -1 to 1
FIRST = 6  # side of the first map
CONTRAST, DETAIL = 4.0, 12.0  # factors on what the critic sees, of the crop and of its difference from the mean of 3 x 3 pixels
ALONE = 1.2  # softness of a cell that stands alone, px: that of real crops (`cells.measurement.isolate.cell_alone`)
WIDE = 2.0  # softness of the regions whose light is changed, px: no edge appears
VARIETY = (
    0.5  # share of the spread of outlines that is drawn: one drawn outline with all of it is as far from a real cell's as two real ones
)
PEDESTAL = 0.1  # added to a stain before it is multiplied, so that a dark one can be brightened
NUCLEUS_AREA, CYTOPLASM_AREA, MEANS = 0, 1, 2
"""Rows of `ContourPainter.handles`: the areas, the means in nucleus and cytoplasm of each channel, then each channel's contrast in the
nucleus."""
LIMIT = 5.0  # standardized features are clipped here for all that is learned; handles take them as they are
STRONGEST = 4.0  # factor by which the details of a nucleus are amplified or weakened at most


@dataclass(frozen=True)
class ContourPainterConfig:
    """Settings of `ContourPainter`."""

    features: int  # length of the feature vector
    channels: int  # of a crop
    size: int  # side of a crop, px
    width: int = 16  # channels at the full side; each coarser level has more, up to `max_width`
    max_width: int = 48  # most channels of a level
    style: int = 128  # length of the code that the features are brought to
    code: int = 16  # length of the noise that all levels share
    turn: int = 0  # 1 if the last two features are cosine and sine of the nucleus's orientation, else 0: any orientation
    alone: int = 0  # 1 if everything outside the cell is background

    def __post_init__(self) -> None:
        lows = {"features": 1, "channels": 1, "size": 16, "width": 4, "max_width": 4, "style": 4, "code": 1, "turn": 0, "alone": 0}
        for name, low in lows.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise ValueError(f"ContourPainter {name} must be a whole number of {low} or more, not {value!r}.")
        if self.turn > 1 or self.alone > 1 or self.features <= 2 * self.turn:
            raise ValueError(
                f"ContourPainter turn and alone must be 0 or 1, and turn 1 needs more than two features, "
                f"not turn {self.turn} of {self.features} and alone {self.alone}."
            )

    @property
    def doublings(self) -> int:
        """How often the side doubles from the first level, of some 12 px, to the crop."""
        return max(1, round(math.log2(self.size / 12)))

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the levels, the coarsest first; the last is the crop's, or a little more."""
        first = -(-self.size // 2**self.doublings)
        return tuple(first * 2**level for level in range(self.doublings + 1))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the levels, the coarsest first."""
        return tuple(min(self.max_width, self.width * 2**level) for level in reversed(range(self.doublings + 1)))


class NoisyConv(nn.Module):
    """A 3 x 3 convolution with a map of noise added by a learned amount, whose channels are scaled and shifted by the style."""

    def __init__(self, into: int, out: int, style: int) -> None:
        super().__init__()
        # Repeated edges: beyond the edge of a crop the picture goes on, and zeros would draw a frame.
        self.conv = nn.Conv2d(into, out, 3, padding=1, padding_mode="replicate")
        self.norm = nn.GroupNorm(1, out, affine=False)
        self.film = nn.Linear(style, 2 * out)
        self.strength = nn.Parameter(torch.full((out,), 0.1))
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Map (N, into, Y, X) under styles (N, style) and noise (N, 1, Y, X) to (N, out, Y, X)."""
        gain, shift = self.film(style)[:, :, None, None].chunk(2, dim=1)
        x = self.norm(self.conv(x) + self.strength[:, None, None] * noise)
        return nn.functional.leaky_relu(x * (1 + gain) + shift, SLOPE)


class OutlinedLevel(nn.Module):
    """Two convolutions that see the maps of the outlines, beside a shortcut."""

    def __init__(self, into: int, out: int, style: int) -> None:
        super().__init__()
        self.first = NoisyConv(into + MAPS, out, style)
        self.second = NoisyConv(out, out, style)
        self.shortcut = nn.Conv2d(into, out, 1)

    def forward(self, x: Tensor, maps: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Map (N, into, Y, X), with the outlines' maps and two maps of noise (N, 2, Y, X), to (N, out, Y, X)."""
        inner = self.first(torch.cat([x, maps], 1), style, noise[:, :1])
        out: Tensor = self.shortcut(x) + self.second(inner, style, noise[:, 1:])
        return out


class ContourPainter(nn.Module):
    """Features (N, p) and noise (N, `noise`) -> crops (N, channels, size, size).

    `handles` says which features are met by construction: each row of `handle_weights` gives, with `handle_offset`, an area in px, a mean
    on the network's scale or a contrast (`contrasts`) from two of the standardized features (`handle_columns`); rows with `handle_known` 0
    are not set, and the network follows what it has learned. `fit_handles` in `cells.cp2image.handles` fills them from the training cells.
    """

    handle_columns: Tensor
    handle_weights: Tensor
    handle_offset: Tensor
    handle_known: Tensor
    additive: Tensor
    texture_scale: Tensor
    outline_mean: Tensor
    outline_spread: Tensor

    def __init__(
        self,
        features: int,
        channels: int,
        size: int,
        width: int = 16,
        max_width: int = 48,
        style: int = 128,
        code: int = 16,
        turn: int = 0,
        alone: int = 0,
    ) -> None:
        super().__init__()
        self.config = ContourPainterConfig(features, channels, size, width, max_width, style, code, turn, alone)
        rows = MEANS + 3 * channels
        self.register_buffer("handle_columns", torch.zeros(2 * rows, dtype=torch.int64))
        # One axis: packages store tensors of one axis in full precision.
        self.register_buffer("handle_weights", torch.zeros(2 * rows))
        self.register_buffer("handle_offset", torch.zeros(rows))
        self.register_buffer("handle_known", torch.zeros(rows))
        self.register_buffer("additive", torch.zeros(channels))
        self.register_buffer("texture_scale", torch.zeros(channels, dtype=torch.int64))  # distance of the pixels of a contrast, px
        areas = torch.tensor([0.1 * size**2, 0.1 * size**2]).log()
        self.register_buffer("outline_mean", torch.cat([torch.zeros(SHAPE), areas, torch.zeros(2)]))
        self.register_buffer("outline_spread", torch.cat([torch.full((SHAPE,), 0.1), torch.full((4,), 0.3)]))
        inner = features - 2 * turn
        self.outliner = nn.Sequential(nn.Linear(inner, style), nn.LeakyReLU(SLOPE), nn.Linear(style, 2 * OUTLINE))
        self.style = nn.Sequential(nn.Linear(inner, style), nn.LeakyReLU(SLOPE))
        self.mix = nn.Sequential(nn.Linear(style + code, style), nn.LeakyReLU(SLOPE))
        widths = self.config.widths
        self.start = nn.Linear(style, widths[0] * FIRST**2)
        ins = (widths[0], *widths[:-1])
        self.levels = nn.ModuleList(OutlinedLevel(into, out, style) for into, out in zip(ins, widths, strict=True))
        self.head = nn.Conv2d(widths[-1], channels, 3, padding=1, padding_mode="replicate")
        # A camera's noise: its variance grows with the light, and neighboring pixels may share some of it.
        self.noise_floor = nn.Parameter(torch.full((channels,), 0.01))
        self.noise_gain = nn.Parameter(torch.full((channels,), 0.01))
        kernel = torch.zeros(channels, 1, 3, 3)
        kernel[:, :, 1, 1] = 1
        self.noise_kernel = nn.Parameter(kernel)

    def first_layers(self) -> list[Tensor]:
        """Return the weights that the features meet."""
        return [layer.weight for part in (self.outliner, self.style) if isinstance(layer := part[0], nn.Linear)]

    @property
    def noise(self) -> int:
        """Length of the noise of a cell."""
        return sum(self._lengths)

    @property
    def _lengths(self) -> tuple[int, ...]:
        """Lengths of the parts of the noise: shared code, outline and orientation, two maps a level, camera."""
        config = self.config
        return (config.code, OUTLINE + 1, *(2 * side**2 for side in config.sides), config.channels * config.size**2)

    def _parts(self, noise: Tensor) -> tuple[Tensor, ...]:
        return noise.tensor_split(list(accumulate(self._lengths))[:-1], dim=1)

    def forward(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        """Draw the crops of standardized features; without noise, the expected cell."""
        if noise is None:
            noise = features.new_zeros(len(features), self.noise)
        return self.paint(features, self.outlines(features, noise, variety=VARIETY), noise)

    def handles(self, features: Tensor) -> Tensor:
        """Return areas, px, means in nucleus and cytoplasm and contrasts of each channel that features (N, p) ask for, (N, 2 + 3 C)."""
        picked = features[:, self.handle_columns].reshape(len(features), -1, 2)
        weights = self.handle_weights.reshape(-1, 2)
        return torch.einsum("nhk,hk->nh", picked, weights) + self.handle_offset

    def clipped(self, features: Tensor) -> Tensor:
        """Return what the learned layers take of features (N, p): without the orientation, and within `LIMIT`."""
        return features[:, : features.shape[1] - 2 * self.config.turn].clamp(-LIMIT, LIMIT)

    def expected_outline(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log spread (N, `OUTLINE`) of the standardized outline that features leave likely."""
        mean, spread = self.outliner(self.clipped(features)).chunk(2, dim=1)
        return mean, spread.clamp(-4, 1)

    def outlines(self, features: Tensor, noise: Tensor, shown: Tensor | None = None, variety: float = 1.0) -> Outlines:
        """Draw outlines with the areas and the orientation that are asked for.

        Parameters
        ----------
        features, noise
            (N, p) and (N, `noise`).
        shown
            The features with some hidden, by which the rest of the outline is drawn; all by default.
        variety
            Share of the spread of real outlines with these features: 0 for the expected one.
        """
        own = self._parts(noise)[1]
        mean, spread = self.expected_outline(features if shown is None else shown)
        values = (mean + variety * spread.exp() * own[:, :OUTLINE]) * self.outline_spread + self.outline_mean
        asked = self.handles(features)[:, :MEANS]
        free = values[:, SHAPE : SHAPE + 2].clamp(max=math.log(self.config.size**2)).exp()
        least = 0.2 * self.outline_mean[SHAPE : SHAPE + 2].exp()
        areas = torch.maximum(torch.where(self.handle_known[:MEANS] > 0, asked, free), least).clamp(max=0.8 * self.config.size**2)
        if self.config.turn:
            axis = features[:, -2:]
        else:
            angle = math.pi * torch.special.ndtr(own[:, OUTLINE])
            axis = torch.stack([angle.cos(), angle.sin()], 1)
        return Outlines(values[:, :SHAPE], areas[:, 0], areas[:, 1], axis, values[:, SHAPE + 2 :].clamp(-1, 1))

    def paint(self, features: Tensor, outlines: Outlines, noise: Tensor, shown: Tensor | None = None) -> Tensor:
        """Draw the crops of features within given outlines; parameters as in `outlines`."""
        config = self.config
        code, _, *fields, camera = self._parts(noise)
        given = features if shown is None else shown
        style = self.mix(torch.cat([self.style(self.clipped(given)), code], 1))
        x: Tensor = self.start(style).reshape(len(features), -1, FIRST, FIRST)
        reach = config.sides[-1]  # a level may reach beyond the crop by a pixel or two
        for number, (level, side, field) in enumerate(zip(self.levels, config.sides, fields, strict=True)):
            maps, place = outlines.maps(reach, side)
            if number:
                x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            else:
                x = nn.functional.grid_sample(x, place * REACH, mode="bilinear", padding_mode="border", align_corners=False)
            x = level(x, maps, style, field.reshape(-1, 2, side, side))
        edge = (reach - config.size) // 2
        x = self.head(x)[..., edge : edge + config.size, edge : edge + config.size]
        shift = (reach - config.size) / 2 - edge
        if shift:  # an odd margin: the crop's middle is half a pixel off
            outlines = Outlines(outlines.shape, outlines.nucleus, outlines.cytoplasm, outlines.axis, outlines.centre + shift)
        return self._finish(x, features, outlines, camera.reshape(x.shape))

    def _finish(self, x: Tensor, features: Tensor, outlines: Outlines, camera: Tensor) -> Tensor:
        """Add the camera's noise, hide what is outside a cell that stands alone, and bring the means to what is asked for."""
        kernel = self.noise_kernel / self.noise_kernel.flatten(1).norm(dim=1)[:, None, None, None]
        spread = (
            self.noise_floor.square()[:, None, None] + self.noise_gain.square()[:, None, None] * x.detach().clamp(min=0) + 1e-12
        ).sqrt()
        x = x + spread * nn.functional.conv2d(nn.functional.pad(camera, (1, 1, 1, 1), mode="reflect"), kernel, groups=x.shape[1])
        size = self.config.size
        edges = outlines.distances(size)
        nucleus, cell = (soft_mask(edge) for edge in edges)
        if self.config.alone:
            x = x * soft_mask(edges[1], ALONE)[:, None]
        wide = [soft_mask(edge, WIDE) for edge in edges]
        last = MEANS + 2 * x.shape[1]
        handles = self.handles(features)
        asked, known = handles[:, MEANS:last].reshape(len(features), -1, 2), self.handle_known[MEANS:last].reshape(-1, 2)
        regions = torch.stack([nucleus, (cell - nucleus).clamp(min=0)], 1)
        gains = torch.stack([wide[0], (wide[1] - wide[0]).clamp(min=0)], 1)
        x = with_means(x, regions, gains, asked, known, self.additive)
        inner = soft_mask(edges[0] - WIDE, WIDE)
        return with_contrasts(x, nucleus, inner, handles[:, last:], self.handle_known[last:], self.texture_scale)


def with_means(x: Tensor, regions: Tensor, gains: Tensor, asked: Tensor, known: Tensor, additive: Tensor) -> Tensor:
    """Return pictures changed such that the mean of each channel in each of two regions is the requested one.

    Parameters
    ----------
    x
        (N, C, d, d).
    regions, gains
        (N, 2, d, d): weights of the pixels in each mean, and where each mean is changed, a little wider so that no edge appears.
    asked, known
        (N, C, 2), the means, and (C, 2), which of them are set.
    additive
        (C,): 1 for channels that are shifted, such as transmitted light; others are multiplied.
    """
    weights = regions / regions.sum((2, 3), keepdim=True).clamp(min=1)
    means = torch.einsum("ncyx,nryx->ncr", x, weights)
    lacking = (asked - means) * known
    base = torch.where(additive[:, None, None] > 0, torch.ones_like(x), (x + PEDESTAL).clamp(min=0.02))
    # Two gains give two means: a system of two linear equations for each channel.
    effect = torch.einsum("ncyx,nryx,ngyx->ncrg", base, weights, gains)
    a, b, c, d = effect[..., 0, 0], effect[..., 0, 1], effect[..., 1, 0], effect[..., 1, 1]
    size = (a * d - b * c).clamp(min=1e-4)
    found = torch.stack([(d * lacking[..., 0] - b * lacking[..., 1]) / size, (a * lacking[..., 1] - c * lacking[..., 0]) / size], -1)
    found = torch.where(additive[:, None] > 0, found.clamp(-1, 1), found.clamp(-0.9, 8))
    return x + base * torch.einsum("ncg,ngyx->ncyx", found, gains)


def contrasts(x: Tensor, mask: Tensor, scale: int) -> Tensor:
    """Return the contrast (N,) of pictures (N, d, d) within masks (N, d, d), along rows and columns.

    Mean squared difference of pixels that lie `scale` px apart: Haralick's contrast (Haralick 1973) before gray levels are counted.
    """
    return _products(x, x, mask, scale)


def _products(one: Tensor, other: Tensor, mask: Tensor, scale: int) -> Tensor:
    """Return the mean product (N,) of the differences of two pictures between pixels that lie `scale` px apart."""
    total, weight = one.new_zeros(len(one)), one.new_zeros(len(one))
    for axis in (1, 2):
        near, far = (slice(0, -scale), slice(scale, None))
        first, second = ((slice(None), near), (slice(None), far)) if axis == 1 else ((..., near), (..., far))
        both = mask[first] * mask[second]
        total = total + (both * (one[second] - one[first]) * (other[second] - other[first])).sum((1, 2))
        weight = weight + both.sum((1, 2))
    return total / weight.clamp(min=1)


def with_contrasts(x: Tensor, nucleus: Tensor, inner: Tensor, asked: Tensor, known: Tensor, scales: Tensor) -> Tensor:
    """Return pictures whose details in the nucleus are amplified such that each channel has the requested contrast there.

    Means stay, and so do the edge and the coarse distribution of light (a Gaussian mean over the texture's scale, within the nucleus).

    Parameters
    ----------
    x
        (N, C, d, d).
    nucleus, inner
        (N, d, d): mask of the nucleus, and where the details are changed, which leaves out its edge.
    asked, known, scales
        (N, C), the contrasts; (C,), which of them are set, and the distance of the pixels, px.
    """
    weight = (nucleus * inner).sum((1, 2)).clamp(min=1e-3)
    rows = []
    for channel, (plane, is_set) in enumerate(zip(x.unbind(1), known.tolist(), strict=True)):
        scale = int(scales[channel])
        if not is_set or not 0 < scale < x.shape[-1]:
            rows.append(plane)
            continue
        detail = plane - smoothed(plane * nucleus, scale) / smoothed(nucleus, scale).clamp(min=1e-3)
        detail = inner * (detail - ((nucleus * inner * detail).sum((1, 2)) / weight)[:, None, None])
        # Contrast of the rest + factor x detail: a quadratic equation in the factor.
        rest = plane - detail
        a, b = contrasts(detail, nucleus, scale).clamp(min=1e-9), _products(rest, detail, nucleus, scale)
        c = contrasts(rest, nucleus, scale) - asked[:, channel].clamp(min=0)
        factor = ((b.square() - a * c).clamp(min=1e-12).sqrt() - b) / a
        rows.append(rest + factor.clamp(1 / STRONGEST, STRONGEST)[:, None, None] * detail)
    return torch.stack(rows, 1)


def smoothed(x: Tensor, sigma: float) -> Tensor:
    """Return pictures (N, d, d) blurred by a Gaussian, dark beyond their edges."""
    reach = math.ceil(2 * sigma)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device) / sigma).square())
    line = (line / line.sum()).reshape(1, 1, 1, -1)
    out = nn.functional.conv2d(x[:, None], line, padding=(0, reach))
    return nn.functional.conv2d(out, line.transpose(2, 3), padding=(reach, 0))[:, 0]


class ContourCritic(nn.Module):
    """Judges whether crops with the outlines of their cells are real, and reads features off crops alone.

    The judge sees the outlines too, so that a picture whose nucleus is not where the outline is looks drawn, and the crop's details
    apart, which are small beside its range. The reader is trained on real crops; its layers also give a perceptual loss in the
    language of the features.
    """

    def __init__(self, features: int, channels: int, size: int, width: int = 16, code: int = 128) -> None:
        super().__init__()
        count = max(2, round(math.log2(size / 5)))
        widths = [min(4 * width, width * 2**level) for level in range(count + 1)]
        self.texture = nn.Conv2d(2 * channels + 2, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(into, out, 4, stride=2, padding=1) for into, out in pairwise(widths))
        self.near = nn.Conv2d(widths[2], 1, 1)
        self.far = nn.Conv2d(widths[-1] + 1, 1, 3, padding=1)
        for layer in (self.texture, *self.blocks):
            nn.init.kaiming_normal_(layer.weight, SLOPE)
        self.reading = nn.ModuleList(
            nn.Conv2d(into, out, 4, stride=2, padding=1) for into, out in zip([channels, *widths[1:]], widths[1:], strict=False)
        )
        side = size
        for _ in range(count):
            side //= 2
        self.reader = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * side**2, code), nn.LeakyReLU(SLOPE), nn.Linear(code, features))

    def judge(self, crops: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, above 0 for real, of the details (N, k) and of the whole (N, m) of crops (N, C, d, d) with masks (N, 2, d, d)."""
        smooth = nn.functional.avg_pool2d(nn.functional.pad(crops, (1, 1, 1, 1), mode="replicate"), 3, 1)
        x = torch.cat([CONTRAST * crops, DETAIL * (crops - smooth), masks - 0.5], 1)
        x = nn.functional.leaky_relu(self.texture(x), SLOPE)
        near = x
        for number, block in enumerate(self.blocks):
            x = nn.functional.leaky_relu(block(x), SLOPE)
            if number == 1:
                near = self.near(x)
        # How much the batch varies: pictures that are all alike are found out.
        variety = (x.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(len(x), 1, *x.shape[2:])
        return near.flatten(1), self.far(torch.cat([x, variety], 1)).flatten(1)

    def read(self, crops: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the standardized features (N, p) read off crops, and the maps of the layers."""
        hidden, x = [], crops
        for block in self.reading:
            x = nn.functional.leaky_relu(block(x), SLOPE)
            hidden.append(x)
        read: Tensor = self.reader(x)
        return read, hidden


__all__ = ["LIMIT", "ContourCritic", "ContourPainter", "ContourPainterConfig", "contrasts", "with_contrasts", "with_means"]
