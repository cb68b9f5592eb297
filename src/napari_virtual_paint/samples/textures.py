"""Random textures and point clouds turned into images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Floats = npt.NDArray[np.float32]

WORKERS = 2


def radial_frequency(shape: tuple[int, int], *, half: bool = False) -> Floats:
    """Return the squared radial frequency of a discrete Fourier transform, cycles a pixel squared.

    Parameters
    ----------
    shape
        Pixels along y and x of the image.
    half
        Whether the transform is of real data (`rfft2`).
    """
    fy = fft.fftfreq(shape[0]).astype(np.float32)
    fx = (fft.rfftfreq(shape[1]) if half else fft.fftfreq(shape[1])).astype(np.float32)
    out: Floats = fy[:, None] ** 2 + fx[None, :] ** 2
    return out


def noise_pair(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> tuple[Floats, Floats]:
    """Return two independent noise images whose grain is about `scale` pixels, mean 0 and SD 1.

    White noise is band-passed in Fourier space; the real and the imaginary part of one inverse transform are the two images.
    """
    size = tuple(fft.next_fast_len(n) for n in shape)
    f2 = radial_frequency((size[0], size[1]))
    spectrum = np.empty(size, np.complex64)
    spectrum.real = rng.standard_normal(size, np.float32)
    spectrum.imag = rng.standard_normal(size, np.float32)
    spectrum *= np.exp(-2 * (np.pi * 0.5 * scale) ** 2 * f2) * (1 - np.exp(-2 * (np.pi * scale) ** 2 * f2))
    field = fft.ifft2(spectrum, workers=WORKERS, overwrite_x=True)[: shape[0], : shape[1]]
    return _standardise(field.real), _standardise(field.imag)


def _standardise(image: npt.NDArray[np.floating]) -> Floats:
    out: Floats = ((image - image.mean()) / (image.std() + 1e-30)).astype(np.float32)
    return out


def ridges(noise: Floats, width: float) -> Floats:
    """Return the bright lines where noise crosses zero: a net, as the endoplasmic reticulum shows; values 0 to 1."""
    out: Floats = np.exp(-np.square(noise / np.float32(width)))
    return out


def splat(y: npt.NDArray[np.floating], x: npt.NDArray[np.floating], weight: npt.NDArray[np.floating], shape: tuple[int, int]) -> Floats:
    """Add points to an image, each shared between the four pixels it lies among; points outside are dropped."""
    y0, x0 = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    fy, fx = y - y0, x - x0
    good = (y0 >= 0) & (x0 >= 0) & (y0 < shape[0] - 1) & (x0 < shape[1] - 1)
    y0, x0, fy, fx, w = y0[good], x0[good], fy[good], fx[good], weight[good]
    flat = np.zeros(shape[0] * shape[1])
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            flat += np.bincount((y0 + dy) * shape[1] + x0 + dx, w * wy * wx, minlength=flat.size)
    return flat.reshape(shape).astype(np.float32)


def smooth(image: Floats, sigma: float) -> Floats:
    """Blur with a Gaussian of `sigma` pixels; very narrow ones leave the image as it is."""
    if sigma < 0.2:
        return image
    out: Floats = ndimage.gaussian_filter(image, sigma, truncate=3.0, mode="nearest", output=np.float32)
    return out
