"""Measure how far a stain is shifted against its input, although the two look different.

Phase correlation of an unstained image with a stain finds nothing: what is bright in the one is dark, bright or a rim in the other, and
that differs from size to size. So the transfer from the input to the stain is left open: in each ring of spatial frequency it is a real
number for each map of the input (the image itself, and how strong its fine and its coarse texture are), the same in all directions. A real,
round transfer can't move a picture, so the shift is what remains. For each shift the numbers that fit best are found, and with them the
likelihood of the shift. Each ring has Gaussian noise of its own, which weighs it by its coherence (Hannan and Thomson 1973, "Estimating
group delay").

It is done in four tiles: the sum of their likelihoods gives the shift, their disagreement its error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.signal.windows import tukey

Floats = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]

RINGS = (0.01, 0.02, 0.035, 0.055, 0.08, 0.12, 0.18, 0.26, 0.36)  # borders of the rings, cycles per pixel; beyond is noise
TEXTURES = (0.07, 0.2)  # frequencies round which the strength of texture is mapped, cycles a pixel
REACH = 16  # largest shift searched, pixels along y and along x
TILE = 448  # most pixels a side of a tile
SMALLEST = 24  # fewest pixels a side of a tile
PLANES = 3  # most channels or planes of the input that are used


@dataclass(frozen=True)
class Shift:
    """Shift of a stain against the input."""

    y: float
    x: float  # `y` and `x`: pixels by which the stain is shifted along y and x relative to the input
    error: float  # standard error of either, pixels, by the disagreement of the tiles
    evidence: float
    """Logarithm of how much likelier this shift is than any that is more than 4 pixels off; little means that nothing was found."""


def shifts(inputs: Floats, stains: Sequence[Floats]) -> list[Shift | None]:
    """Return the shift of each stain against the input; None where the image is too small or constant.

    Parameters
    ----------
    inputs
        Channels (or planes) of the input, (C, Y, X).
    stains
        Stains, (Y, X) each.
    """
    chosen = inputs[np.unique(np.linspace(0, len(inputs) - 1, min(len(inputs), PLANES)).round().astype(int))]
    tiles = _tiles(inputs.shape[-2], inputs.shape[-1])
    if min(tiles[0][0].stop - tiles[0][0].start, tiles[0][1].stop - tiles[0][1].start) < SMALLEST:
        return [None] * len(stains)
    found = np.array([_likelihoods(chosen[(slice(None), *tile)], [stain[tile] for stain in stains]) for tile in tiles])
    return [_summed(found[:, number]) for number in range(len(stains))]


def _tiles(height: int, width: int) -> list[tuple[slice, slice]]:
    """Return four tiles, each in the middle of a quarter."""
    spans = []
    for side in (height, width):
        length = min(side // 2, TILE)
        while length > SMALLEST and fft.next_fast_len(length, real=True) != length:
            length -= 1
        spans.append([slice(middle - length // 2, middle - length // 2 + length) for middle in (side // 4, side - side // 4)])
    spans = [[slice(max(span.start, 0), max(span.start, 0) + span.stop - span.start) for span in pair] for pair in spans]
    return [(y, x) for y in spans[0] for x in spans[1]]


def _summed(likelihoods: npt.NDArray[np.float64]) -> Shift | None:
    """Return the shift that the tiles' likelihoods (tiles, shifts along y, along x) give together."""
    total = likelihoods.sum(0)
    if not np.isfinite(total).all() or total.max() <= 0:
        return None
    (y, x), evidence = _peak(total)
    each = np.array([_peak(one)[0] for one in likelihoods])
    # The third smallest of four deviations: about one SD, less often small by chance than their median, and one empty tile does no harm.
    spread = np.sort(np.abs(each - (y, x)), axis=0)[2] / np.sqrt(len(each))
    return Shift(y, x, float(spread.max()), evidence)


def _peak(likelihood: npt.NDArray[np.float64]) -> tuple[tuple[float, float], float]:
    """Return the likeliest shift, between pixels by a parabola, and by how much it is likelier than others."""
    size = len(likelihood)
    top, left = (int(i) for i in np.unravel_index(likelihood.argmax(), likelihood.shape))
    rows, columns = np.ogrid[:size, :size]
    evidence = float(likelihood[top, left] - likelihood[np.hypot(rows - top, columns - left) > 4].max())
    y, x = _between(likelihood[:, left], top), _between(likelihood[top], left)
    return (y - size // 2, x - size // 2), evidence


def _between(values: npt.NDArray[np.float64], at: int) -> float:
    """Return where a parabola through a value and its neighbours has its top."""
    if not 0 < at < len(values) - 1:
        return float(at)
    before, peak, after = values[at - 1 : at + 2]
    bend = before - 2 * peak + after
    return at + float(0.5 * (before - after) / bend) if bend < 0 else float(at)


def _likelihoods(inputs: Floats, stains: Sequence[Floats]) -> npt.NDArray[np.float64]:
    """Return the logarithm of the likelihood of each shift for each stain, (stains, 2 REACH + 1, 2 REACH + 1)."""
    shape = inputs.shape[-2:]
    window = np.outer(*(tukey(side, 0.3) for side in shape)).astype(np.float32)
    # The window leaves fewer independent numbers than there are pixels.
    share = float(np.square(window).sum() ** 2 / (window**4).sum() / window.size)
    fy, fx = fft.fftfreq(shape[0]), fft.rfftfreq(shape[1])
    maps = _maps(inputs, window)
    targets = [fft.rfft2(_flattened(stain) * window).astype(np.complex64) for stain in stains]
    steps = np.arange(-REACH, REACH + 1)
    found = np.zeros((len(stains), len(steps), len(steps)))
    for low, high in pairwise(RINGS):
        rows, columns = np.flatnonzero(np.abs(fy) <= high), np.flatnonzero(fx <= high)
        radius = np.hypot(fy[rows][:, None], fx[columns])
        # A real image's spectrum is stored by half: all but the first and the last column count twice.
        weight = (np.where((fx[columns] == 0) | (fx[columns] == 0.5), 1, 2) * ((radius >= low) & (radius < high))).astype(np.float32)
        if np.count_nonzero(weight) <= 2 * len(maps):
            continue
        phase_y = np.exp(2j * np.pi * np.outer(steps, fy[rows])).astype(np.complex64)
        phase_x = np.exp(2j * np.pi * np.outer(fx[columns], steps)).astype(np.complex64)
        ring = maps[:, rows[:, None], columns]
        for number, target in enumerate(targets):
            found[number] += _ring(ring, target[rows[:, None], columns], weight, phase_y, phase_x) * weight.sum() * share / 2
    return found


def _ring(maps: Spectrum, target: Spectrum, weight: Floats, phase_y: Spectrum, phase_x: Spectrum) -> npt.NDArray[np.float64]:
    """Return -log(1 - R2) of each shift in one ring: R2 is the share of the stain that the input's maps explain at that shift."""
    flat = (maps * np.sqrt(weight)).reshape(len(maps), -1)
    gram = (flat.conj() @ flat.T).real.astype(np.float64)
    power = float((np.square(np.abs(target)) * weight).sum())
    scale = float(np.trace(gram)) / len(maps)
    if power <= 0 or scale <= 0:
        return np.zeros((len(phase_y), len(phase_y)))
    gram += np.diag(1e-3 * np.diag(gram) + 1e-9 * scale)
    cross = np.stack([((phase_y @ (one.conj() * target * weight)) @ phase_x).real for one in maps]).astype(np.float64)
    flat_cross = cross.reshape(len(maps), -1)
    share = (flat_cross * np.linalg.solve(gram, flat_cross)).sum(0) / power
    gain: npt.NDArray[np.float64] = -np.log1p(-np.clip(share, 0, 0.999))
    return gain.reshape(cross.shape[1:])


def _maps(inputs: Floats, window: Floats) -> Spectrum:
    """Return the spectra of the input's maps, (maps, fy, fx): each channel itself, and the strength of its texture at two sizes."""
    shape = inputs.shape[-2:]
    radius = np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None]).clip(1e-4)
    bands = [np.exp(-np.square(np.log(radius / middle) / 0.5)).astype(np.float32) for middle in TEXTURES]
    maps = []
    for channel in inputs:
        plain = _standard(channel)
        spectrum = fft.rfft2(plain)
        maps.append(fft.rfft2(plain * window))
        for band in bands:
            strength = np.sqrt(np.abs(fft.irfft2(spectrum * band, s=shape)))
            maps.append(fft.rfft2((strength - strength.mean()) * window))
    return np.stack(maps).astype(np.complex64)


def _standard(image: Floats) -> Floats:
    """Return an image with mean 0 and SD 1, the half per cent at both ends cut off: one piece of dust must not be all there is."""
    cut = np.clip(image, *np.percentile(image[::3, ::3], (0.5, 99.5))).astype(np.float32)
    cut -= cut.mean()
    cut /= cut.std() + np.float32(1e-9)
    return cut


def _flattened(stain: Floats) -> Floats:
    """Return a stain with its bright end drawn in: a few bright cells must not be all there is."""
    low, high = np.percentile(stain[::3, ::3], (1, 99.5))
    out: Floats = np.log1p(8 * np.clip((stain - low) / (high - low + 1e-9), 0, 1.5)).astype(np.float32)
    out -= out.mean()
    return out
