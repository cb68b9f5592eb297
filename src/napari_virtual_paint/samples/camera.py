"""The camera: uneven light, gain, and the noise of electrons and of reading them out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.samples.settings import Batch
from napari_virtual_paint.samples.textures import WORKERS, Floats

Images = npt.NDArray[np.uint16]


def illumination(shape: tuple[int, int], fall: float, centre: tuple[float, float] = (0.5, 0.5)) -> Floats:
    """Return the light's unevenness, at most 1 and `fall` lower half a field's diagonal away from `centre` (shares of y and x)."""
    y = (np.arange(shape[0], dtype=np.float32) / shape[0] - np.float32(centre[0]))[:, None]
    x = (np.arange(shape[1], dtype=np.float32) / shape[1] - np.float32(centre[1]))[None, :]
    out: Floats = (1 - np.float32(fall) * (y**2 + x**2) / 0.5).astype(np.float32)
    return out


def photograph(planes: Sequence[Floats], batch: Batch, rng: np.random.Generator, electrons: float, read_noise: float) -> Images:
    """Return camera images of noiseless planes, shape (planes, Y, X).

    Each plane has its own random generator, so that threads may draw the noise side by side and the pixels stay the same.

    Parameters
    ----------
    planes
        Noiseless grey levels, each YX.
    batch
        The plate's light, gain and offset.
    electrons
        Electrons a grey level at gain 1.
    read_noise
        SD in grey levels.
    """

    def take(plane: Floats, child: np.random.Generator) -> Images:
        return expose(lit(plane, batch), child, electrons / batch.gain, read_noise)

    with ThreadPoolExecutor(WORKERS) as pool:
        return np.stack(list(pool.map(take, planes, rng.spawn(len(planes)))))


def lit(plane: Floats, batch: Batch) -> Floats:
    """Return a noiseless plane under a plate's light, gain and offset: what a camera without noise would give."""
    even = plane * illumination((plane.shape[0], plane.shape[1]), batch.illumination, batch.centre) if batch.illumination else plane
    out: Floats = np.float32(batch.gain) * even + np.float32(batch.offset)
    return out


def expose(grey: Floats, rng: np.random.Generator, electrons: float, read_noise: float) -> Images:
    """Return a camera image: Poisson noise of the electrons and Gaussian read noise.

    Parameters
    ----------
    grey
        Noiseless grey levels.
    electrons
        Electrons a grey level.
    read_noise
        SD in grey levels.
    """
    counts = rng.poisson(np.maximum(grey, 0) * np.float32(electrons)).astype(np.float32)
    counts *= np.float32(1 / electrons)
    counts += np.float32(read_noise) * rng.standard_normal(counts.shape, np.float32)
    out: Images = np.clip(counts + 0.5, 0, 65535).astype(np.uint16)
    return out
