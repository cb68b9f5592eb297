"""Statistics of a pair: saturation, structure, sharpness, shift. `faults` decides whether they are faults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.signal.windows import hann

from napari_virtual_paint.stack import Stack
from napari_virtual_paint.training.pair_checks.shift import Shift, shifts

SIDE = 1024  # side of the central crop for structure and sharpness, pixels
NOISE = 0.4  # frequency, cycles per pixel, above which there is only noise
CELLS = (0.015, 0.18)  # frequency band of cells, cycles per pixel
COARSE, FINE = (0.015, 0.05), (0.06, 0.2)  # bands of outlines, and of detail that is lost out of focus
TILES, LEAST = 3, 96  # most tiles per side in the focus measure, and least pixels per side of a tile
STRUCTURE = 0.5  # structure of a tile below which it says nothing about focus
MASKS = re.compile(r"\b(masks?|labels?|segmentation)\b")
"""Names of channels that are masks: a soft mask cannot be distinguished from a clipped image by its pixels."""
REGION = 20  # pixels of a label image's regions on average, at least
STEPS = 0.8  # share of the borders between values that go to the next gray level, above which an image is smooth and no label image
MASK = 0.7  # share of equal neighbors (other than at the extremes) above which an image is a mask and cannot be saturated


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of one channel."""

    name: str
    side: Literal["input", "stain"]  # whether it is an input or a stain
    saturated: float  # share of pixels at the largest value, if more pixels lie there than just below; else 0
    structure: float  # power in the cells' band relative to the noise there: 1 where both are equal, 0 where there is only noise
    sharpness: float | None  # log ratio of fine to coarse amplitude, noise removed; None where there is only noise
    invalid: int = 0  # number of pixels that are no numbers (NaN or infinite)
    regions: int | None = None  # number of regions of one value, if it is a label image; None where it is none


@dataclass(frozen=True)
class PairStatistics:
    """Statistics of a pair."""

    name: str
    channels: tuple[ChannelStatistics, ...] = ()  # inputs, then stains
    shifts: Mapping[str, Shift | None] | None = None  # stain -> its shift against the input; None where it can't be determined
    failure: str = ""  # why the pair can't be used; empty where it can

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PairStatistics:
        """Return statistics from plain values."""
        shifts = {stain: Shift(**shift) if shift else None for stain, shift in (values["shifts"] or {}).items()}
        return cls(values["name"], tuple(ChannelStatistics(**one) for one in values["channels"]), shifts, values["failure"])


def measure_pair(name: str, source: Stack, target: Stack) -> list[PairStatistics]:
    """Measure each time point of a pair.

    Parameters
    ----------
    source, target
        Input and stains with the same pixels along y and x (or scaled by an integer: then the shift is not measured).
    """
    times = min(source.shape[0], target.shape[0])
    return [_measure_pair(name + (f" t{t}" if times > 1 else ""), source, target, t) for t in range(times)]


def _measure_pair(name: str, source: Stack, target: Stack, t: int) -> PairStatistics:
    """Measure one time point: in the plane with the richest stains, or, where only the input has planes, in three of them."""
    stains = np.asarray(target.data[t])
    richest = int(np.argmax([np.std(_plain(stains[:, z, ::4, ::4]), axis=(1, 2)).sum() for z in range(stains.shape[1])]))
    inputs = np.asarray(source.data[t])
    lost = [_invalid(channel) for image in (inputs, stains) for channel in image]
    stains = stains[:, richest]
    planes = inputs.shape[1]
    chosen = [richest] if planes == target.shape[2] else sorted({planes // 4, planes // 2, planes - 1 - planes // 4})
    inputs, labels = inputs[:, chosen], source.channel_labels
    channels = [_channel(label, "input", inputs[c, len(chosen) // 2]) for c, label in enumerate(labels)]
    channels += [_channel(label, "stain", stain) for label, stain in zip(target.channel_labels, stains, strict=True)]
    channels = [replace(channel, invalid=count) for channel, count in zip(channels, lost, strict=True)]
    shift_list: list[Shift | None] = [None] * len(stains)
    if inputs.shape[-2:] == stains.shape[-2:]:
        shift_list = shifts(_plain(inputs.reshape(-1, *inputs.shape[-2:])), [_plain(stain) for stain in stains])
    return PairStatistics(name, tuple(channels), dict(zip(target.channel_labels, shift_list, strict=True)))


def _plain(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return pixels as float32, with 0 for non-finite values."""
    return np.nan_to_num(pixels.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _invalid(pixels: npt.NDArray[Any]) -> int:
    """Return the number of pixels that are no numbers."""
    return int(pixels.size - np.isfinite(pixels).sum()) if pixels.dtype.kind == "f" else 0


def _channel(name: str, side: Literal["input", "stain"], image: npt.NDArray[Any]) -> ChannelStatistics:
    """Measure one channel (Y, X)."""
    structure, sharpness = spectrum(_plain(_middle(image)))
    is_mask = MASKS.search(name.casefold()) is not None
    regions = None if is_mask or side == "input" else label_regions(_middle(image))
    return ChannelStatistics(name, side, 0.0 if is_mask or regions is not None else saturated(image), structure, sharpness, regions=regions)


def label_regions(image: npt.NDArray[Any]) -> int | None:
    """Return the number of regions of a label image (Y, X); None where the image holds gray levels.

    A label image (or a mask) holds whole numbers, and beside its most frequent value (the background) connected regions of one value that
    are far larger than a pixel. Gray levels differ from pixel to pixel or, where few and smooth, by one step from region to region.
    """
    if image.dtype.kind == "f" and (not np.isfinite(image).all() or (image != np.rint(image)).any()):
        return None
    values, places, counts = np.unique(image, return_inverse=True, return_counts=True)
    if len(values) < 2 or len(values) > image.size / REGION:
        return None
    from skimage.measure import label

    codes = places.reshape(image.shape).astype(np.int32)
    steps = np.concatenate([np.abs(np.diff(codes, axis=axis)).ravel() for axis in (0, 1)])
    if len(values) > 3 and np.count_nonzero(steps == 1) > STEPS * np.count_nonzero(steps):
        return None
    background = int(np.argmax(counts))
    regions = int(label(codes, background=background, connectivity=1).max())
    return regions if 0 < regions <= (image.size - int(counts[background])) / REGION else None


def _middle(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the center of an image, with FFT-friendly sides."""
    lengths = []
    for side in image.shape:
        length = min(side, SIDE)
        while length > 16 and fft.next_fast_len(length, real=True) != length:
            length -= 1
        lengths.append(length)
    at = tuple(slice((side - length) // 2, (side - length) // 2 + length) for side, length in zip(image.shape, lengths, strict=True))
    return image[at]


def saturated(image: npt.NDArray[Any]) -> float:
    """Return the share of pixels at the ceiling of an image; 0 where its largest value is just the last of a few bright ones.

    At a ceiling, of the camera or of the file, all brighter pixels gather: many more than at the values just below.
    """
    if image.dtype.kind == "b" or image.size == 0:
        return 0.0
    top = image.max()
    share = float(np.mean(image == top))
    low = float(np.min(image))
    if share == 0 or float(top) == low or not np.isfinite(float(top)):
        return 0.0
    between = (image[:, 1:] > low) & (image[:, 1:] < top)
    if not between.any() or np.mean(image[:, 1:][between] == image[:, :-1][between]) > MASK:
        return 0.0
    near = image[(image > float(top) - (float(top) - low) * 0.02) & (image < top)]
    below = np.unique(near, return_counts=True)[1]
    usual = float(np.median(below)) / image.size if below.size else 0.0
    return share if share > 4 * usual else 0.0


def spectrum(image: npt.NDArray[np.float32]) -> tuple[float, float | None]:
    """Return structure and sharpness of an image (Y, X), see `ChannelStatistics`: means and median over its tiles."""
    count = int(np.clip(min(image.shape) // LEAST, 1, TILES))
    length = [side // count for side in image.shape]
    window = np.outer(*(hann(side, sym=False) for side in length)).astype(np.float32)
    radius = np.hypot(fft.fftfreq(length[0])[:, None], fft.rfftfreq(length[1])[None])
    tiles = image[: count * length[0], : count * length[1]].reshape(count, length[0], count, length[1]).swapaxes(1, 2)
    found = np.array([_bands(tile, window, radius) for tile in tiles.reshape(-1, *length)])
    noise = found[:, 0].mean()
    structure = float(found[:, 1].mean() / noise) if noise > 0 else 0.0
    resolved = found[:, 1] > STRUCTURE * found[:, 0]
    # A clump of dead cells fills one tile; the others measure the focus.
    return structure, float(np.median(found[resolved, 2])) if resolved.any() else None


def _bands(tile: npt.NDArray[np.float32], window: npt.NDArray[np.float32], radius: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return noise, structure (both as power) and sharpness of a tile."""
    cut = np.clip(tile, *np.percentile(tile[::3, ::3], (0.2, 99.8)))
    power = np.square(np.abs(fft.rfft2((cut - cut.mean()) * window)))
    # Noise power is exponentially distributed: its mean is its median over ln 2, which a few strong frequencies don't move.
    noise = float(np.median(power[radius > NOISE]) / np.log(2)) if (radius > NOISE).any() else 0.0
    amounts, floors = [], []
    for low, high in (CELLS, COARSE, FINE):
        ring = (radius >= low) & (radius < high)
        floors.append(noise * np.count_nonzero(ring))
        amounts.append(float(power[ring].sum()) - floors[-1])
    # Below a twentieth of the noise nothing is detectable.
    coarse, fine = (max(amount, 0.05 * floor, 1e-30) for amount, floor in zip(amounts[1:], floors[1:], strict=True))
    return max(floors[0], 1e-30 * (amounts[0] > 0)), max(amounts[0], 0.0), float(0.5 * np.log(fine / coarse))
