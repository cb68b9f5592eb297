"""What a pair of images looks like, in numbers: saturated, empty, sharp, shifted. Whether that is a fault is said in `checks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.signal.windows import hann

from napari_virtual_paint.stack import Stack
from napari_virtual_paint.training.checks_shift import Shift, shifts

SIDE = 1024
"""Pixels a side, in the middle, that structure and sharpness are taken of."""
NOISE = 0.4
"""Frequency, cycles a pixel, beyond which an image is taken to be noise alone."""
CELLS = (0.015, 0.18)
"""Frequencies at which cells are seen, cycles a pixel."""
LEVELS = 16
"""An image of fewer different values is a mask and can't be saturated."""


@dataclass(frozen=True)
class ChannelLook:
    """What one channel looks like.

    Parameters
    ----------
    name
        The channel's.
    side
        Whether it belongs to the input or is a stain.
    saturated
        Share of pixels at the ceiling: the largest value, if more pixels lie there than below it; else 0.
    structure
        Power at the frequencies of cells over that of the noise there; 1 where there is as much of both, 0 where there is noise alone.
    sharpness
        Logarithm of the mean frequency of the image without its noise, cycles a pixel; None where there is noise alone.
    """

    name: str
    side: Literal["input", "stain"]
    saturated: float
    structure: float
    sharpness: float | None


@dataclass(frozen=True)
class Look:
    """What a pair looks like.

    Parameters
    ----------
    name
        The pair's.
    channels
        Of the input, then the stains.
    shifts
        Stain -> how far it lies beside the input; None where that can't be told.
    failure
        Why the pair can't be used; empty where it can.
    """

    name: str
    channels: tuple[ChannelLook, ...] = ()
    shifts: Mapping[str, Shift | None] | None = None
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Look:
        """Return a look from plain values."""
        told = {stain: Shift(**shift) if shift else None for stain, shift in (values["shifts"] or {}).items()}
        return cls(values["name"], tuple(ChannelLook(**one) for one in values["channels"]), told, values["failure"])


def look_at(name: str, source: Stack, target: Stack) -> list[Look]:
    """Look at each time point of a pair.

    Parameters
    ----------
    name
        The pair's.
    source, target
        Input and stains, of the same pixels along y and x (or scaled by a whole factor: then the shift is not told).
    """
    times = min(source.shape[0], target.shape[0])
    return [_look(name + (f" t{t}" if times > 1 else ""), source, target, t) for t in range(times)]


def _look(name: str, source: Stack, target: Stack, t: int) -> Look:
    """Look at one time point: of stacks at the plane in which the stains are richest; of planes of the input alone, at three of them."""
    stains = np.asarray(target.data[t])
    richest = int(np.argmax([np.std(stains[:, z, ::4, ::4].astype(np.float32), axis=(1, 2)).sum() for z in range(stains.shape[1])]))
    stains = stains[:, richest]
    inputs = np.asarray(source.data[t])
    planes = inputs.shape[1]
    chosen = [richest] if planes == target.shape[2] else sorted({planes // 4, planes // 2, planes - 1 - planes // 4})
    inputs, labels = inputs[:, chosen], source.channel_labels
    channels = [_channel(label, "input", inputs[c, len(chosen) // 2]) for c, label in enumerate(labels)]
    channels += [_channel(label, "stain", stain) for label, stain in zip(target.channel_labels, stains, strict=True)]
    beside: list[Shift | None] = [None] * len(stains)
    if inputs.shape[-2:] == stains.shape[-2:]:
        beside = shifts(_plain(inputs.reshape(-1, *inputs.shape[-2:])), [_plain(stain) for stain in stains])
    return Look(name, tuple(channels), dict(zip(target.channel_labels, beside, strict=True)))


def _plain(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return pixels as float32, those that are no number at 0."""
    return np.nan_to_num(pixels.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _channel(name: str, side: Literal["input", "stain"], image: npt.NDArray[Any]) -> ChannelLook:
    """Look at one channel (Y, X)."""
    structure, sharpness = spectrum(_plain(_middle(image)))
    return ChannelLook(name, side, saturated(image), structure, sharpness)


def _middle(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the middle of an image, of a size that is transformed fast."""
    lengths = []
    for side in image.shape:
        length = min(side, SIDE)
        while length > 16 and fft.next_fast_len(length, real=True) != length:
            length -= 1
        lengths.append(length)
    at = tuple(slice((side - length) // 2, (side - length) // 2 + length) for side, length in zip(image.shape, lengths, strict=True))
    return image[at]


def saturated(image: npt.NDArray[Any]) -> float:
    """Return the share of pixels at an image's ceiling; 0 where its largest value is only the last of a few bright ones.

    At a ceiling, that of the camera or of the file, lie all that would be brighter: many more than at each of the values below.
    """
    if image.dtype.kind == "b" or image.size == 0:
        return 0.0
    top = image.max()
    share = float(np.mean(image == top))
    low = float(np.min(image))
    if share == 0 or float(top) == low or not np.isfinite(float(top)):
        return 0.0
    near = image[image > top - (float(top) - low) * 0.02]
    below = np.unique(near[near < top], return_counts=True)[1]
    if below.size < 3 and len(np.unique(image[::4, ::4])) < LEVELS:
        return 0.0
    usual = float(np.median(below)) / image.size if below.size else 0.0
    return share if share > 4 * usual else 0.0


def spectrum(image: npt.NDArray[np.float32]) -> tuple[float, float | None]:
    """Return structure and sharpness of an image (Y, X), see `ChannelLook`."""
    window = np.outer(*(hann(side, sym=False) for side in image.shape)).astype(np.float32)
    cut = np.clip(image, *np.percentile(image[::3, ::3], (0.2, 99.8)))
    power = np.square(np.abs(fft.rfft2((cut - cut.mean()) * window)))
    radius = np.hypot(fft.fftfreq(image.shape[0])[:, None], fft.rfftfreq(image.shape[1])[None])
    edges = np.arange(0, 0.51, 0.01)
    ring = np.digitize(radius.ravel(), edges) - 1
    counts = np.bincount(ring, minlength=len(edges))[: len(edges) - 1]
    mean = np.bincount(ring, power.ravel(), minlength=len(edges))[: len(edges) - 1] / np.maximum(counts, 1)
    middles = (edges[:-1] + edges[1:]) / 2
    noise = float(np.median(mean[middles > NOISE]))
    cells = (middles > CELLS[0]) & (middles < CELLS[1]) & (counts > 0)
    amount = np.maximum(mean - noise, 0) * counts
    total = float(noise * counts[cells].sum())
    structure = float(amount[cells].sum() / total) if total > 0 else 0.0 if not mean[cells].any() else float("inf")
    seen = (middles > CELLS[0]) & (middles < NOISE)
    # What rises little over the noise is noise by chance: a third of it is left out.
    rising = np.where(mean > 1.3 * noise, amount, 0)[seen]
    if structure < 0.05 or rising.sum() <= 0:
        return structure, None
    return structure, float(np.log((rising * middles[seen]).sum() / rising.sum()))
