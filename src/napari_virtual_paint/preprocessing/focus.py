"""Find the plane of a z-stack that is in focus."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import UNKNOWN, PixelSize

WAVELENGTH = 0.55
"""Micrometres, of transmitted light where it is not known."""
TILE, MOST_TILES = 1024, 5  # pixels a side of the parts whose spectra are taken, and how many of a large plane
BINS = 256  # frequencies of a spectrum, from 0 to half a cycle a pixel
FREQUENCIES = (np.arange(BINS) + 0.5) / (2 * BINS)  # cycles a pixel
CORNER = BINS // 8  # highest frequencies, whose power is the noise
USUAL_PIXEL, USUAL_STEP = 0.5, 1.0  # micrometres, where the image states none
LOWEST = 0.02  # cycles a pixel; below, the spectrum of a sharp image shows the light's unevenness
SHARE = 0.35  # lower end of the band of sharp detail, as a share of its upper end
RATIO = 1.5  # of the ends of a band of brightfield contrast, and of one band to the next
CYCLES = 3  # least cycles a field of the lowest band
FIRST, LAST = 0.1, 0.3  # cycles a pixel: highest upper end of the first band, and of the last
COHERENCE = 1.5
"""Upper end of the first band, times the depth of the stack: beyond, light from a condenser of NA 0.4 blurs the contrast away."""
DEPTH = 1.05  # least ratio by which the contrast grows on each side of the plane in focus

Profile = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Focus:
    """The plane in focus, and how it was found."""

    plane: int
    """Its position, from 0."""
    curve: tuple[float, ...]
    """The measure of each plane, from 0 to 1: the power of fine detail, which is greatest in focus; or the contrast of brightfield, which
    is least in focus."""
    least: bool
    """Whether the plane of least contrast was looked for, as for unstained cells in brightfield."""


def find_focus(
    planes: Any, *, brightfield: bool, pixel_size: PixelSize = UNKNOWN, wavelength: float = WAVELENGTH, name: str = "The image"
) -> Generator[Progress, None, Focus]:
    """Find the plane in focus.

    Fluorescence, phase, phase contrast and DIC are sharpest in focus: the measure is the power of the frequencies between the noise and
    about a third of the highest frequency that stands out of it, each frequency as a share of its mean over the planes, so that no
    frequency outweighs the others.

    Unstained cells in brightfield are phase objects, whose contrast vanishes in focus and grows on both sides, as
    ``sin(pi wavelength z f^2)`` at the frequency f and the distance z. The curve of a high frequency therefore has further minima, and that
    of a low one is shifted by what the cells absorb. The search begins at the highest frequency whose contrast grows over the whole stack,
    and the minimum is followed to higher frequencies.

    Parameters
    ----------
    planes
        One channel at one time point, axes ZYX; planes are read one by one.
    brightfield
        Whether it is brightfield, where the plane of least contrast is in focus.
    pixel_size
        Micrometres; unknown ones are taken as usual ones.
    wavelength
        Of the light in the medium's vacuum, micrometres; used for brightfield.
    name
        The image, for errors.

    Yields
    ------
    Progress
        After each plane.

    Returns
    -------
    Focus
        The first plane of those that are equally sharp.

    Raises
    ------
    InputError
        If a plane is not finite, or no plane shows anything.
    """
    count = int(planes.shape[0])
    profiles = np.empty((count, BINS))
    for index in range(count):
        profiles[index] = _profile(np.asarray(planes[index], np.float32), f"{name}: plane {index}")
        yield Progress(index + 1, count)
    if not profiles.any():
        raise InputError(f"{name}: its planes are uniform, so none is in focus; choose the plane by its number (--focus 0).")
    noise = profiles[:, -CORNER:].mean(axis=1, keepdims=True)
    power = np.maximum(profiles - noise, 0)
    if brightfield:
        side = min(TILE, *planes.shape[1:])
        curve, plane = _least_contrast(power, noise, side, pixel_size, wavelength)
    else:
        curve = _sharpness(power, noise)
        plane = int(np.argmax(curve))
    top = float(curve.max())
    return Focus(plane, tuple(float(value) for value in (curve / top if top > 0 else curve)), brightfield)


def _profile(plane: npt.NDArray[np.float32], name: str) -> Profile:
    """Return the mean power of a plane's contrast by frequency, over parts of a large plane."""
    level = float(plane.mean(dtype=np.float64))
    if not np.isfinite(level):
        raise InputError(f"{name} is not finite, so its focus can't be found; leave it out.")
    level = abs(level) or 1.0
    sides = [min(side, TILE) for side in plane.shape]
    window = np.outer(*(np.hanning(side + 2)[1:-1].astype(np.float32) for side in sides))
    radius = np.hypot(fft.fftfreq(sides[0])[:, None], fft.rfftfreq(sides[1]))
    which = np.minimum((radius * 2 * BINS).astype(np.intp), BINS).ravel()
    counts = np.maximum(np.bincount(which, minlength=BINS + 1)[:BINS], 1)
    found = np.zeros(BINS)
    corners = _corners(plane.shape, sides)
    for y, x in corners:
        part = plane[y : y + sides[0], x : x + sides[1]]
        spectrum = fft.rfft2((part - part.mean(dtype=np.float64)).astype(np.float32) * (window / np.float32(level)))
        power = (spectrum.real**2 + spectrum.imag**2).ravel()
        found += np.bincount(which, power, BINS + 1)[:BINS] / counts
    return found / len(corners)


def _corners(shape: tuple[int, ...], sides: list[int]) -> list[tuple[int, int]]:
    """Return where the parts of a plane begin: its middle, and of a large one places around."""
    rest = [whole - side for whole, side in zip(shape, sides, strict=True)]
    middle = (rest[0] // 2, rest[1] // 2)
    around = [(rest[0] * y // 6, rest[1] * x // 6) for y, x in ((1, 1), (5, 5), (1, 5), (5, 1))]
    return list(dict.fromkeys([middle, *around]))[:MOST_TILES]


def _sharpness(power: Profile, noise: Profile) -> Profile:
    """Return the power of fine detail of each plane."""
    seen = (power.max(axis=0) > noise.mean()) & (FREQUENCIES > LOWEST)
    highest = float(FREQUENCIES[seen].max()) if seen.any() else 0.25
    band = _band(max(SHARE * highest, LOWEST), highest * 1.001)
    mean = power[:, band].mean(axis=0)
    shares = power[:, band][:, mean > 0] / mean[mean > 0]
    curve: Profile = shares.mean(axis=1) if shares.size else power.sum(axis=1)
    return curve


def _band(low: float, high: float) -> npt.NDArray[np.bool_]:
    """Return which frequencies lie in a band, in cycles a pixel."""
    found: npt.NDArray[np.bool_] = np.greater_equal(FREQUENCIES, low) & np.less(FREQUENCIES, high)
    return found


def _least_contrast(power: Profile, noise: Profile, side: int, pixel_size: PixelSize, wavelength: float) -> tuple[Profile, int]:
    """Return the contrast of each plane in the highest band that shows the focus, and the plane of its minimum."""
    pixel = pixel_size.y or USUAL_PIXEL
    depth = max((len(power) - 1) * (pixel_size.z or USUAL_STEP), 1e-3)
    # The contrast of the frequency f grows up to the distance 1 / (2 wavelength f^2), as far as the light is coherent.
    high = pixel * min(1 / np.sqrt(2 * wavelength * depth), COHERENCE / depth)
    high = min(max(high, CYCLES * RATIO / side), FIRST)
    curve, plane, failed = np.sqrt(power.sum(axis=1)), -1, 0
    reach = max(2, len(power) // 4)
    while high <= LAST and failed < 2:
        band = _band(high / RATIO, high)
        high *= RATIO
        weights = FREQUENCIES[band]  # as many as there are on the circle of this frequency
        strength = power[:, band] @ weights
        if not band.any() or strength.max() < 2 * float(noise.mean()) * weights.sum():
            failed += int(band.any())
            continue
        contrast: Profile = ndimage.gaussian_filter1d(np.sqrt(strength), 0.6, mode="nearest")
        if plane < 0:
            curve, plane = contrast, int(np.argmin(contrast))
            continue
        lower = _descend(contrast, plane)
        if abs(lower - plane) <= reach and _is_valley(contrast, lower):
            curve, plane, failed = contrast, lower, 0
        else:
            failed += 1
    return curve, plane if plane >= 0 else int(np.argmin(curve))


def _descend(curve: Profile, plane: int) -> int:
    """Return the minimum that is reached from a plane without passing over higher ones."""
    while True:
        near = range(max(plane - 1, 0), min(plane + 2, len(curve)))
        lowest = min(near, key=lambda index: float(curve[index]))
        if curve[lowest] >= curve[plane]:
            return plane
        plane = lowest


def _is_valley(curve: Profile, plane: int) -> bool:
    """Return whether a curve grows on both sides of a plane, as far as there are planes."""
    width = max(2, len(curve) // 2)
    sides = (curve[max(plane - width, 0) : plane], curve[plane + 1 : plane + 1 + width])
    return all(side.max() >= DEPTH * curve[plane] for side in sides if len(side))
