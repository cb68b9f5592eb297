"""Describe patches of a field, as the model gets it, by a few numbers each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.models.package.domain import DeepPlan

if TYPE_CHECKING:
    from torch import nn


Floats = npt.NDArray[np.float32]


Mask = npt.NDArray[np.bool_]


BLOCK = 8  # side in pixels of the blocks that are tested for data


def valid_pixels(planes: Floats) -> Mask:
    """Return which pixels (Y, X) of planes (C, Z, Y, X) hold data; padding is constant, or constant along an axis."""
    image = planes.reshape(-1, *planes.shape[-2:])
    alive = np.zeros(image.shape[1:], bool)
    height, width = (side // BLOCK * BLOCK for side in image.shape[1:])
    if not height or not width:
        return np.full(image.shape[1:], bool(image.min() < image.max()))
    found = np.zeros((height // BLOCK, width // BLOCK), bool)
    for plane in image:
        found |= _live_blocks(plane[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK), plane.min(), plane.max())
    alive[:height, :width] = found.repeat(BLOCK, 0).repeat(BLOCK, 1)
    alive[height:] = alive[height - 1 : height]
    alive[:, width:] = alive[:, width - 1 : width]
    return alive


def _live_blocks(blocks: Floats, low: np.float32, high: np.float32) -> Mask:
    """Return which blocks (rows, BLOCK, columns, BLOCK) of a plane between two values hold data."""
    corner, half = blocks[:, 0, :, 0], BLOCK // 2
    # Two pixels rule most blocks out; only the others are tested as a whole.
    flat_y = _where(corner == blocks[:, half, :, 0], blocks, lambda some: (some == some[:, :1]).all((1, 2)))
    flat_x = _where(corner == blocks[:, 0, :, half], blocks, lambda some: (some == some[:, :, :1]).all((1, 2)))
    alive: Mask = ~(flat_y | flat_x)
    if low < high:
        # Blocks at the largest value are saturated, not padding; a field without data has a single value.
        alive |= _where(corner >= high, blocks, lambda some: (some >= high).all((1, 2)))
    return alive


def _where(perhaps: Mask, blocks: Floats, holds: Callable[[Floats], Any]) -> Mask:
    """Return for which of the candidate blocks (rows, BLOCK, columns, BLOCK) a condition holds."""
    rows, columns = np.nonzero(perhaps)
    if len(rows):
        perhaps[rows, columns] = holds(blocks[rows, :, columns])
    return perhaps


PATCH = 64  # side of a patch, px
MOST_PATCHES = 196  # most patches described per field
MOST_CHANNELS = 4  # channels whose pixels are described; the network's own features see them all
MOST_PLANES = 8  # planes of a volume that are described
EDGES = 0.5 * 2.0 ** (-np.arange(9)[::-1] / 2.0)  # edges of the bands of spatial frequency, cycles a pixel: half octaves from 1/32 to 1/2
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
SCALES = (2.0, 4.0)  # SD of the Gaussians, px, whose band-passes distinguish dark on bright from bright on dark
COARSE = 4  # pixels averaged before texture is measured, so that neither noise nor slight defocus counts as texture
LIVE = 0.8  # share of a patch that must hold data
BATCH = 8  # patches per batch of the network
TINY = 1e-6

LAYOUT = {"brightness": 1, "contrast": 5, "polarity": 2, "detail": len(EDGES) - 1}
"""Part -> how many numbers describe it per channel, in order."""
WIDTH = sum(LAYOUT.values())


@dataclass(frozen=True, eq=False)
class PatchDescriptors:
    """The numbers that describe the patches of a field."""

    pixels: npt.NDArray[np.float64]  # shape (patches, channels * WIDTH): the parts of `LAYOUT`, channel by channel
    texture: npt.NDArray[np.float64]  # shape (patches, blocks): log10 of the local SD of the coarse image
    places: npt.NDArray[np.float64]  # shape (patches, 2): y and x of each patch's center, px
    deep: npt.NDArray[np.float64] | None
    """Shape (deep patches, features): means and SDs of the network's deepest maps; None for networks of unknown structure."""
    deep_places: npt.NDArray[np.float64]  # like `places`, of the deep patches
    saturated: float  # share of the pixels at the field's largest value
    levels: int  # number of values between the 5th and the 95th percentile of the first channel
    group: str = ""  # name of its image
    small: bool = False  # whether the field is smaller than a patch and was extended by reflection


def describe_field(
    field: Floats,
    network: nn.Module | None,
    plan: DeepPlan | None,
    mask: Mask | None = None,
    group: str = "",
    most: int = MOST_PATCHES,
    every: int = 1,
) -> PatchDescriptors | None:
    """Describe the patches of a field.

    Parameters
    ----------
    field
        As the model gets it: normalized, axes (C, [Z,] Y, X).
    network
        The model's network, for the deep features.
    plan
        How they are taken; None to leave them out.
    mask
        Pixels (Y, X) that count; None for all.
    group
        Name of its image.
    every
        Read one of so many rows for saturation and grey levels.

    Returns
    -------
    PatchDescriptors or None
        None if the field is empty or masked out.
    """
    watched = field[watched_channels(len(field))]
    planes = watched[:, None] if watched.ndim == 3 else watched[:, _spread(watched.shape[1], MOST_PLANES)]
    usable = valid_pixels(planes) if mask is None else valid_pixels(planes) & mask
    if not usable.any():
        return None
    pixels, texture, places = _describe(_big_enough(planes), _big_enough(usable[None, None])[0, 0], most)
    if not len(pixels):
        return None
    deep, deep_places = (None, np.zeros((0, 2)))
    if network is not None and plan is not None:
        deep, deep_places = deep_features(field, usable, network, plan)
    saturated, levels = _values(planes, usable, every)
    return PatchDescriptors(pixels, texture, places, deep, deep_places, saturated, levels, group, min(field.shape[-2:]) < PATCH)


def watched_channels(count: int) -> list[int]:
    """Return the channels to describe: all, or some evenly spaced."""
    return _spread(count, MOST_CHANNELS)


def _spread(count: int, most: int) -> list[int]:
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, most))})


def _big_enough(image: npt.NDArray[Any], side: int = PATCH) -> npt.NDArray[Any]:
    """Return an image (..., Y, X) extended by reflection to the side of a patch, where it is smaller."""
    short = [max(side - length, 0) for length in image.shape[-2:]]
    if not any(short):
        return image
    widths = [(0, 0)] * (image.ndim - 2) + [(more // 2, more - more // 2) for more in short]
    return np.pad(image, widths, mode="symmetric")


def corners(usable: Mask, side: int, most: int) -> list[tuple[int, int]]:
    """Return the corners (y, x) of patches that hold data, on a grid; at most so many, chosen at random with a fixed seed."""
    height, width = usable.shape
    rows, columns = (np.linspace(0, length - side, max(length // side, 1)).astype(int) for length in (height, width))
    found = [(int(y), int(x)) for y in rows for x in columns if usable[y : y + side, x : x + side].mean() >= LIVE]
    if not found:  # data is scattered: take the places that hold most
        shares = {(int(y), int(x)): float(usable[y : y + side, x : x + side].mean()) for y in rows for x in columns}
        found = [place for place, share in shares.items() if share >= max(0.25, 0.99 * max(shares.values()))]
    if len(found) <= most:
        return found
    order = np.random.default_rng(0).permutation(len(found))[:most]
    return [found[index] for index in sorted(order)]


def _describe(planes: Floats, usable: Mask, most: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return numbers, texture and places of the patches of planes (C, Z, Y, X), plane by plane."""
    channels, depth = planes.shape[:2]
    where = corners(usable, PATCH, max(most // depth, 1))
    if not where:
        return np.zeros((0, channels * WIDTH)), np.zeros((0, 1)), np.zeros((0, 2))
    patches = np.stack([planes[:, z, y : y + PATCH, x : x + PATCH] for z in range(depth) for y, x in where]).astype(np.float64)
    numbers = np.stack([_numbers(patches[:, channel]) for channel in range(channels)], 1)
    places = np.array([(y + PATCH / 2, x + PATCH / 2) for _ in range(depth) for y, x in where])
    return numbers.reshape(len(patches), -1), _texture(patches), places


def _numbers(patches: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the numbers of `LAYOUT` for patches (N, Y, X): (N, WIDTH)."""
    quantiles = np.quantile(patches.reshape(len(patches), -1), QUANTILES, axis=1).T
    middle, spread = quantiles[:, 3:4], quantiles[:, 5:6] - quantiles[:, 1:2]
    shape = (quantiles[:, [0, 2, 4, 6]] - middle) / np.maximum(spread, TINY)
    waves = _waves(patches)
    return np.concatenate([middle, np.log10(np.maximum(spread, TINY)), np.clip(shape, -5, 5), _polarity(waves), _spectrum(waves)], 1)


def _waves(patches: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    """Return the Fourier transforms of patches (N, Y, X) less their means, under a Hann window."""
    out: npt.NDArray[np.complex128] = np.fft.rfft2((patches - patches.mean((1, 2), keepdims=True)) * _window()[0])
    return out


def _polarity(waves: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
    """Return the skewness of band-passes, (N, scales); inverted contrast changes its sign."""
    squared = _window()[2] ** 2
    found = []
    for scale in SCALES:
        passed = np.exp(-2 * (np.pi * scale) ** 2 * squared) - np.exp(-8 * (np.pi * scale) ** 2 * squared)
        band = np.fft.irfft2(waves * passed, (PATCH, PATCH)).reshape(len(waves), -1)
        square = band * band
        variance = np.maximum(square.mean(1), TINY**2)
        # Multiplied: numpy takes ten times as long for a power of 3.
        found.append(np.clip((square * band).mean(1) / variance**1.5, -6, 6))
    return np.stack(found, 1)


def _spectrum(waves: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
    """Return log10 of the power in the bands, (N, bands), less its mean over the bands, which is part of contrast."""
    band = _window()[1]
    power = np.abs(waves) ** 2
    means = np.stack([power[:, band == index].mean(1) for index in range(len(EDGES) - 1)], 1)
    logs = np.log10(np.maximum(means, TINY**2))
    out: npt.NDArray[np.float64] = logs - logs.mean(1, keepdims=True)
    return out


@cache
def _window() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the Hann window of a patch, the band of each of its frequencies (-1 for none), and the frequencies, cycles a pixel."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(PATCH) + 0.5) / PATCH)
    radius = np.hypot(np.fft.fftfreq(PATCH)[:, None], np.fft.rfftfreq(PATCH)[None])
    band = np.searchsorted(EDGES, radius, side="right") - 1
    band[(radius < EDGES[0]) | (radius > EDGES[-1])] = -1
    band[band == len(EDGES) - 1] = len(EDGES) - 2
    return hann[:, None] * hann[None], band, radius


def _texture(patches: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return log10 of the local SD of the coarse patches (N, C, Y, X), the mean over the channels, (N, blocks)."""
    count, channels = patches.shape[:2]
    side = PATCH // COARSE
    coarse = patches.reshape(count, channels, side, COARSE, side, COARSE).mean((3, 5))
    blocks = coarse.reshape(count, channels, side // 4, 4, side // 4, 4).std((3, 5))
    out: npt.NDArray[np.float64] = np.log10(np.maximum(blocks, TINY)).mean(1).reshape(count, -1)
    return out


def _values(planes: Floats, usable: Mask, every: int) -> tuple[float, int]:
    """Return the share of pixels (C, Z, Y, X) at the largest value, and the number of grey levels of the first channel."""
    if usable[::every].any():
        planes, usable = planes[:, :, ::every], usable[::every]
    pixels = planes.reshape(*planes.shape[:2], -1) if usable.all() else planes[:, :, usable]
    shares = [float((channel == channel.max()).mean()) for channel in pixels]
    first = pixels[0].ravel()[: 2**20]
    low, high = np.quantile(first, (0.05, 0.95))
    levels = len(np.unique(first[(first >= low) & (first <= high)]))
    return max(shares), levels


def deep_features(
    field: Floats, usable: Mask, network: nn.Module, plan: DeepPlan
) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64]]:
    """Return means and SDs of the deepest map's channels in each patch, (patches, 2 * channels), and the patches' places."""
    import torch

    from napari_virtual_paint.models.applicability.network_features import deepest

    image, usable = _big_enough(field, plan.side), _big_enough(usable, plan.side)
    where = corners(usable, plan.side, plan.count)
    if not where:
        return None, np.zeros((0, 2))
    rows = []
    for start in range(0, len(where), BATCH):
        parts = [_depths(image[..., y : y + plan.side, x : x + plan.side], plan.depth) for y, x in where[start : start + BATCH]]
        with torch.inference_mode():
            found = deepest(network, torch.from_numpy(np.stack(parts)))
        flat = found[:, list(plan.channels)].flatten(2).double().numpy()
        rows.append(np.concatenate([flat.mean(2), flat.std(2)], 1))
    places = np.array([(y + plan.side / 2, x + plan.side / 2) for y, x in where])
    return np.concatenate(rows), places


def _depths(part: Floats, depth: int) -> Floats:
    """Return the middle planes of a patch, extended by reflection where there are too few."""
    if not depth:
        return part
    if part.shape[1] < depth:
        short = depth - part.shape[1]
        part = np.pad(part, [(0, 0), (short // 2, short - short // 2), (0, 0), (0, 0)], mode="symmetric")
    start = (part.shape[1] - depth) // 2
    return part[:, start : start + depth]
