"""Power spectra of crops against spectra that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_virtual_paint.cells.cp2image.spectrum import power_ratio


@pytest.mark.parametrize("size", [40, 41, 80])
def test_the_ratio_of_white_noises_is_that_of_their_variances(size: int) -> None:
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(size=(2, 150, 2, size, size)) * np.array([1.0, 3.0])[None, None, :, None, None] + 100
    drawn[:, 1] = 100 + 2 * (drawn[:, 1] - 100)
    found = power_ratio(real, drawn, ("DNA", "ER"))
    assert found.ratios.shape == (2, len(found.bands))
    np.testing.assert_allclose(found.ratios[0], 1, rtol=0.25)
    np.testing.assert_allclose(found.ratios[1], 4, rtol=0.25)
    assert found.extremes == (found.ratios.min(), found.ratios.max())
    assert found.frequencies[0] == pytest.approx(1 / size)
    assert found.bands[-1] == (pytest.approx(2**-1.5), 0.5)


def test_a_blur_takes_the_power_that_its_transfer_function_says() -> None:
    """A Gaussian of sigma passes exp(-(2 pi f sigma)^2) of the power at a frequency f."""
    real = np.random.default_rng(1).normal(size=(200, 1, 64, 64))
    sigma = 0.8
    drawn = ndimage.gaussian_filter(real, (0, 0, sigma, sigma), mode="wrap", truncate=8)
    found = power_ratio(real, drawn, ("DNA",))
    low = found.frequencies < 0.35  # beyond, the kernel of some pixels is no Gaussian any more
    np.testing.assert_allclose(found.rings[0][low], np.exp(-((2 * np.pi * found.frequencies[low] * sigma) ** 2)), rtol=0.1)
    assert found.extremes[0] < 0.05
    assert found.extremes[1] == pytest.approx(1, abs=0.05)


def test_a_missing_detail_is_seen_although_a_band_has_stronger_frequencies() -> None:
    """The spectrum of cells falls steeply: its lowest frequency must not stand for a band."""
    rng = np.random.default_rng(2)
    f = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    spectra = np.fft.fft2(rng.normal(size=(100, 1, 64, 64))) / np.maximum(f, 1 / 64) ** 3
    real, drawn = np.fft.ifft2(spectra).real, np.fft.ifft2(np.where(f > 0.42, 0.1 * spectra, spectra)).real
    found = power_ratio(real, drawn, ("DNA",))
    assert found.ratios[0, -1] < 0.7
    assert found.ratios[0, :-1] == pytest.approx(1, rel=0.05)
