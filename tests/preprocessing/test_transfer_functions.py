"""The transfer functions are those of the coherent limit, and of the overlap of two discs on a grid of frequencies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from napari_virtual_paint.preprocessing.microscope import Microscope
from napari_virtual_paint.preprocessing.transfer_functions import at_frequencies, thin_object_factors
from napari_virtual_paint.runtime.generators import run_to_end


def test_coherent_light_turns_phase_into_contrast_as_the_sine_of_the_defocus() -> None:
    """One direction of light: the contrast of a radian is 2 sin, that of absorption -2 cos of the wave's delay over the defocus."""
    microscope = Microscope(0.8, 1e-6, 0.5, 1.0)
    found = run_to_end(thin_object_factors(microscope, 5, 3.0))
    frequencies = np.array([0.1, 0.4, 0.9])  # per micrometre; the pupil ends at 1.6
    for plane, defocus in enumerate((-6, -3, 0, 3, 6)):
        delay = 2 * np.pi * defocus * (np.sqrt(2.0**2 - frequencies**2) - 2.0)
        phase = at_frequencies(found.phase[plane : plane + 1], found.step, frequencies)[0]
        absorption = at_frequencies(found.absorption[plane : plane + 1], found.step, frequencies)[0]
        assert phase == pytest.approx(-2 * np.sin(delay), abs=0.01)
        assert absorption == pytest.approx(-2 * np.cos(delay), abs=0.01)


def test_partially_coherent_light_is_the_overlap_of_two_discs_on_a_grid() -> None:
    """The same sum over all directions of a grid, shifted by whole steps of it."""
    microscope, defocus = Microscope(0.6, 0.35, 0.53, 1.33), -1.7
    found = run_to_end(thin_object_factors(microscope, 3, defocus))
    half, step = 160, 0.014
    along, across = np.meshgrid(*(np.arange(-half, half + 1) * step,) * 2, indexing="ij")

    def pupil(shift: float) -> npt.NDArray[np.complex128]:
        square = (along + shift) ** 2 + across**2
        axial = np.sqrt(np.clip((1.33 / 0.53) ** 2 - square, 0, None))
        return (square <= (0.6 / 0.53) ** 2) * np.exp(2j * np.pi * defocus * axial)

    source = np.hypot(along, across) <= 0.35 / 0.53
    for shift in (10, 45, 90, 120):
        upper = (source * pupil(0).conj() * pupil(shift * step)).sum() / source.sum()
        lower = (source * pupil(0) * pupil(-shift * step).conj()).sum() / source.sum()
        frequency = np.array([shift * step])
        assert at_frequencies(found.phase[2:], found.step, frequency)[0, 0] == pytest.approx(1j * (upper - lower), abs=0.02)
        assert at_frequencies(found.absorption[2:], found.step, frequency)[0, 0] == pytest.approx(-(upper + lower), abs=0.02)


def test_nothing_passes_beyond_the_cutoff() -> None:
    """Above the sum of both apertures there is no contrast."""
    microscope = Microscope(0.5, 0.3, 0.5, 1.0)
    found = run_to_end(thin_object_factors(microscope, 2, 1.0))
    assert not at_frequencies(found.phase, found.step, np.array([1.61, 5.0])).any()
    assert abs(found.phase[:, -1]).max() < 1e-6
