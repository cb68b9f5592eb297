"""Radial power spectrum of generated over real crops, per channel and per band of spatial frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

EDGES = (0.0, *(2.0 ** (-half / 2) for half in range(10, 1, -1)))
"""Edges of the bands in cycles per pixel: up to 1/32, then half octaves to 1/2, the finest detail along an axis that pixels can show."""


@dataclass(frozen=True, eq=False)
class SpectrumRatio:
    """Power of generated crops over that of real ones."""

    channels: tuple[str, ...]
    frequencies: npt.NDArray[np.float64]  # (k,), cycles per pixel, of rings as wide as one cycle per crop
    rings: npt.NDArray[np.float64]  # (C, k), the ratio in each ring
    bands: tuple[tuple[float, float], ...]  # (b,) pairs of `EDGES`, those in which there is a ring
    ratios: npt.NDArray[np.float64]  # (C, b), the geometric mean of the rings of each band

    @property
    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest ratio over all bands and channels."""
        return float(self.ratios.min()), float(self.ratios.max())


def power_ratio(real: npt.NDArray[np.floating], drawn: npt.NDArray[np.floating], channels: tuple[str, ...]) -> SpectrumRatio:
    """Return the ratio of the mean power spectra of generated and real crops, averaged over directions.

    Parameters
    ----------
    real, drawn
        (n, C, d, d) and (m, C, d, d) in the same gray levels. Each crop loses its mean and is weighted by a Hann window: the edges of a
        crop, where neighbors are cut off, would else spread over all frequencies.
    channels
        Names of the channels.

    Returns
    -------
    SpectrumRatio
        Frequencies above 1/2, which lie in the corners of the spectrum, are left out. A band's ratio is the geometric mean over its rings,
        or the lowest frequency of each band, which has the most power, would stand for all of it.
    """
    size = real.shape[-1]
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    ring = np.rint(frequency * size).astype(np.intp)
    last = size // 2
    above, below = (_rings(crops, ring, last) for crops in (drawn, real))
    floor = 1e-12 * max(float(below.max()), float(above.max()), 1e-30)  # a channel without any power gives 1
    rings = (above + floor) / (below + floor)
    frequencies = np.arange(1, last + 1) / size
    inside = [(low, high, (frequencies > low) & (frequencies <= high + 1e-9)) for low, high in pairwise(EDGES)]
    bands = tuple((low, high) for low, high, there in inside if there.any())
    ratios = np.stack([np.exp(np.log(rings[:, there]).mean(axis=1)) for _, _, there in inside if there.any()], axis=1)
    return SpectrumRatio(channels, frequencies, rings, bands, ratios)


def _rings(crops: npt.NDArray[np.floating], ring: npt.NDArray[np.intp], last: int) -> npt.NDArray[np.float64]:
    """Return the mean power (C, last) of crops in the rings 1 to last."""
    size = crops.shape[-1]
    line = np.hanning(size + 2)[1:-1]
    window = line[:, None] * line
    total = np.zeros((crops.shape[1], *ring.shape))
    for start in range(0, len(crops), 256):
        part = crops[start : start + 256].astype(np.float64)
        part -= (part * window).sum(axis=(2, 3), keepdims=True) / window.sum()
        total += (np.abs(np.fft.rfft2(part * window)) ** 2).sum(axis=0)
    total /= max(1, len(crops))
    # A column other than the first stands for its mirror image, too.
    weight = np.full(ring.shape, 2.0)
    weight[:, 0] = 1.0
    if size % 2 == 0:
        weight[:, -1] = 1.0
    count = np.bincount(ring.ravel(), weight.ravel(), last + 1)[1 : last + 1]
    return np.stack([np.bincount(ring.ravel(), (weight * plane).ravel(), last + 1)[1 : last + 1] / count for plane in total])
