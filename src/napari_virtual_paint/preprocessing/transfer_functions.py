"""Transfer functions of a weak object in partially coherent transmitted light.

An object that changes the light little is imaged linearly: each frequency of its phase and absorption reaches the image with a factor,
the overlap of the condenser's disc with the objective's pupil, shifted by that frequency and propagated to the plane (Streibl, J. Opt. Soc.
Am. A 2, 121, 1985; Noda et al., Appl. Opt. 29, 3810, 1990). Both discs are round, so the factors depend on the length of the frequency
alone, and are computed along one radius.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.preprocessing.microscope import Microscope
from napari_virtual_paint.runtime.progress import Progress

RADII = 768
"""Frequencies along the radius, between which the factors are interpolated."""
SOURCES = 1024
"""Directions of light over the condenser's disc."""
GROUP = 64  # frequencies that are computed together

Floats = npt.NDArray[np.floating]
Complexes = npt.NDArray[np.complex64]


@dataclass(frozen=True, eq=False)
class RadialFactors:
    """Factors of the absorption and of the phase of a thin object, in several planes."""

    step: float
    """Distance of two frequencies along the radius, cycles per micrometre; the first is 0."""
    absorption: Complexes
    """Contrast for each unit of absorption (natural logarithm of the amplitude), shape (planes, frequencies)."""
    phase: Complexes
    """Contrast for each radian of phase, shape (planes, frequencies)."""


def thin_object_factors(
    microscope: Microscope, planes: int, spacing: float, *, oblique: bool = False
) -> Generator[Progress, None, RadialFactors]:
    """Compute the factors of a thin object in equally spaced planes, the middle one (``planes // 2``) in focus.

    Parameters
    ----------
    microscope
        The optics.
    planes
        Number of planes.
    spacing
        How much further along the light each plane is than the one before, micrometres; negative if the planes go against the light.
    oblique
        Weigh scattered light by the inverse cosine of its angle, as in a thick object (first Born approximation).

    Yields
    ------
    Progress
        After each group of frequencies.

    Returns
    -------
    RadialFactors
        For frequencies from 0 to the microscope's cutoff.
    """
    per_um = microscope.index / microscope.wavelength
    pupil, disc = microscope.na / microscope.wavelength, microscope.condenser_na / microscope.wavelength
    # A sunflower covers the disc evenly. Light that the pupil stops gives no background.
    turn, radius = np.arange(SOURCES) * np.pi * (3 - np.sqrt(5)), disc * np.sqrt((np.arange(SOURCES) + 0.5) / SOURCES)
    turn, radius = turn[radius <= pupil], radius[radius <= pupil]
    along, across = radius * np.cos(turn), radius * np.sin(turn)
    before = np.sqrt(per_um**2 - radius**2)
    frequencies = np.linspace(0, microscope.cutoff, RADII)
    absorption, phase = (np.zeros((planes, RADII), np.complex64) for _ in range(2))
    for start in range(0, RADII, GROUP):
        group = slice(start, start + GROUP)
        for sign in (1, -1):
            square = (along + sign * frequencies[group, None]) ** 2 + across**2
            after = np.sqrt(np.clip(per_um**2 - square, 1e-12, None))
            wave = (square <= pupil**2) * (per_um / after if oblique else 1.0) / len(radius)
            turned = sign * 2j * np.pi * spacing * (after - before)
            wave, each = wave * np.exp(turned * -(planes // 2)), np.exp(turned)
            for plane in range(planes):
                overlap = wave.sum(axis=1)
                absorption[plane, group] -= overlap
                phase[plane, group] += sign * 1j * overlap
                wave *= each
        yield Progress(min(start + GROUP, RADII), RADII)
    return RadialFactors(float(frequencies[1]), absorption, phase)


def at_frequencies(factors: Complexes, step: float, frequencies: Floats) -> Complexes:
    """Interpolate radial factors.

    Parameters
    ----------
    factors
        Shape (n, radii).
    step
        Distance of two radii, cycles per micrometre.
    frequencies
        Lengths of spatial frequencies, any shape, cycles per micrometre; the factor above the last radius is 0.

    Returns
    -------
    numpy.ndarray
        Shape (n, ...), complex64; the last axes are those of the frequencies.
    """
    place = frequencies.astype(np.float32) / np.float32(step)
    low = np.minimum(place.astype(np.intp), factors.shape[1] - 2)
    share = place - low
    inside = share <= 1
    return np.where(inside, factors[:, low] * (1 - share) + factors[:, low + 1] * share, 0).astype(np.complex64)
