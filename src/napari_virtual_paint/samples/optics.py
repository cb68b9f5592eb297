"""Light through the cells: brightfield by angular-spectrum propagation, stains by blur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from napari_virtual_paint.samples.textures import WORKERS, Floats, radial_frequency

Complex = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Optics:
    """A transmitted-light microscope."""

    wavelength: float = 0.55  # mean wavelength in vacuum, micrometres
    bandwidth: float = 0.03  # half width of the band of wavelengths, micrometres
    medium: float = 1.335  # refractive index round the cells
    numerical_aperture: float = 1.0  # of the objective (1.0: the 20x water immersion of Cross-Zamirski 2022).
    condenser: float = 0.22  # numerical aperture of the illumination; small is more coherent, with stronger fringes
    sources: int = 6  # plane waves, of different directions and wavelengths, whose intensities are added
    pixel_blur: float = 0.42  # SD of the blur by the camera's pixels and by binning, micrometres

    def waves(self) -> list[tuple[float, float, float]]:
        """Return direction cosines along y and x and wavelength of each plane wave: a sunflower over the condenser's disc."""
        out = []
        for k in range(self.sources):
            radius = self.condenser * np.sqrt((k + 0.5) / self.sources)
            angle = k * np.pi * (3 - np.sqrt(5))
            band = self.bandwidth * (2 * ((k * 0.618) % 1) - 1)
            out.append((float(radius * np.sin(angle)), float(radius * np.cos(angle)), self.wavelength + float(band)))
        return out


def transmitted(
    slabs: Sequence[tuple[float, Complex]], planes: Sequence[float], pixel_size: float, optics: Optics
) -> npt.NDArray[np.float32]:
    """Return the intensity images of a transparent object, 1 where there is none; shape (planes, Y, X).

    Multi-slice: each plane wave passes the slabs from the lowest up, spreading freely between them; the field behind the last is brought
    to each focal plane by the angular spectrum (Goodman, Introduction to Fourier Optics, section 3.10). Intensities of the waves are added,
    which is partially coherent light (Abbe's way). The field is periodic: leave a margin to cut off.

    Parameters
    ----------
    slabs
        Height of each slab in micrometres, rising, and its complex transmission, axes YX.
    planes
        Heights that are in focus, micrometres.
    pixel_size
        Micrometres.
    """
    shape = (slabs[0][1].shape[0], slabs[0][1].shape[1])
    out = np.zeros((len(planes), *shape), np.float32)
    for wave in optics.waves():
        rate, pupil = _rates(shape, pixel_size, wave, optics)
        height, field = slabs[0]
        for above, transmission in slabs[1:]:
            field = _spread(field, rate, above - height) * transmission
            height = above
        spectrum = fft.fft2(field, workers=WORKERS) * pupil
        for index, plane in enumerate(planes):
            spectrum *= _phasor(rate, plane - height)
            height = plane
            image = fft.ifft2(spectrum, workers=WORKERS)
            out[index] += image.real**2 + image.imag**2
    out /= optics.sources
    return out


def _rates(shape: tuple[int, int], pixel_size: float, wave: tuple[float, float, float], optics: Optics) -> tuple[Floats, Floats]:
    """Return how fast each spatial frequency's phase turns along z (radians a micrometre, against the wave itself), and the pupil."""
    sine_y, sine_x, wavelength = wave
    fy = (fft.fftfreq(shape[0], pixel_size) + sine_y / wavelength).astype(np.float32)[:, None]
    fx = (fft.fftfreq(shape[1], pixel_size) + sine_x / wavelength).astype(np.float32)[None, :]
    f2 = fy**2 + fx**2
    full = (optics.medium / wavelength) ** 2
    own = np.sqrt(full - (sine_y**2 + sine_x**2) / wavelength**2)
    pupil = (f2 <= (optics.numerical_aperture / wavelength) ** 2).astype(np.float32)
    rate = (2 * np.pi * (np.sqrt(np.clip(full - f2, 0, None)) - own)).astype(np.float32)
    return rate, pupil


def _phasor(rate: Floats, distance: float) -> Complex:
    turn = rate * np.float32(distance)
    out = np.empty(rate.shape, np.complex64)
    out.real, out.imag = np.cos(turn), np.sin(turn)
    return out


def _spread(field: Complex, rate: Floats, distance: float) -> Complex:
    spectrum = fft.fft2(field, workers=WORKERS)
    spectrum *= _phasor(rate, distance)
    out: Complex = fft.ifft2(spectrum, workers=WORKERS, overwrite_x=True)
    return out


def transmission(path: Floats, absorption: Floats | float, wavelength: float) -> Complex:
    """Return the complex transmission of a slab from its optical path (micrometres) and its absorption (1 is e-fold in amplitude)."""
    out = _phasor(path, 2 * np.pi / wavelength)
    out *= np.exp(-np.asarray(absorption, np.float32))
    return out


def fluoresce(amount: Floats, pixel_size: float, sharp: float, haze: float) -> Floats:
    """Return a widefield image of a stain: a sharp part and two shares of out-of-focus light.

    Parameters
    ----------
    amount
        Stain along z, axes YX.
    pixel_size
        Micrometres.
    sharp
        SD of the sharp part's blur, micrometres.
    haze
        Share of the light that comes from out of focus, blurred with SDs of 4 and 20 um.
    """
    f2 = radial_frequency((amount.shape[0], amount.shape[1]), half=True)
    transfer = np.zeros_like(f2)
    for share, sigma in ((1 - haze, sharp), (0.7 * haze, 4.0), (0.3 * haze, 20.0)):
        transfer += np.float32(share) * np.exp(f2 * np.float32(-2 * (np.pi * sigma / pixel_size) ** 2))
    spectrum = fft.rfft2(amount, workers=WORKERS)
    spectrum *= transfer
    out: Floats = np.maximum(fft.irfft2(spectrum, s=amount.shape, workers=WORKERS), 0).astype(np.float32)
    return out
