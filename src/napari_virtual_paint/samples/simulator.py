"""Simulated fields of cells with exact truth: brightfield planes or stacks, stains, labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from napari_virtual_paint.samples.camera import Images, illumination, lit, photograph
from napari_virtual_paint.samples.cells import Cells, lay_out
from napari_virtual_paint.samples.optics import Optics, fluoresce, transmitted
from napari_virtual_paint.samples.scene import Scene, build
from napari_virtual_paint.samples.settings import PLANES, SimulationSettings
from napari_virtual_paint.samples.textures import Floats, noise_pair, smooth, splat
from napari_virtual_paint.stack import PixelSize, Stack

BRIGHTFIELD_CHANNELS = tuple(f"Brightfield {z:+.0f} um".replace("+0", "0") for z in PLANES)

GREY = MappingProxyType(
    {"DNA": (420, 2600), "ER": (330, 4800), "RNA": (270, 4200), "AGP": (280, 1500), "Mito": (3600, 26000), "Membrane": (300, 4200)}
)
"""Background and grey levels a unit of stain, after a Cell Painting field of a 20x plate scanner."""

SHARP = MappingProxyType({"DNA": 0.75, "ER": 0.65, "RNA": 0.8, "AGP": 0.6, "Mito": 0.5})
"""SD of each stain's blur in micrometres: widefield, each channel a little out of the others' focus."""

HAZE = MappingProxyType({"DNA": 0.12, "ER": 0.25, "RNA": 0.25, "AGP": 0.25, "Mito": 0.4})
"""Share of each stain's light that comes from out of focus."""

STAIN_ELECTRONS, STAIN_READ_NOISE = 2.0, 8.0
"""Electrons a grey level at gain 1, and SD of the read noise in grey levels, of a stain's image."""

BRIGHTFIELD_GREY = 11900.0
SLABS = (0.0, 1.6, 3.6, 16.0)  # borders in micrometres of the slabs through which a field without z is lit


@dataclass(frozen=True, eq=False)
class SimulatedField:
    """One field of view with its truth."""

    brightfield: Stack  # uint16; (1, 3, 1, Y, X) with one channel per focal plane, or (1, 1, Z, Y, X)
    stains: Stack
    """uint16, (1, 5, 1, Y, X), channels `STAINS`; or (1, 6, Z, Y, X) in the brightfield's planes, the sixth the membrane alone."""
    labels: dict[str, npt.NDArray[np.int32]]  # "nucleus" and "cell", int32 (Y, X); 0 is background and a nucleus has its cell's label
    treatment: str  # name of the treatment
    dose: float  # its dose; 0 for control
    seed: int  # of the field


def simulate_field(settings: SimulationSettings | None = None) -> SimulatedField:
    """Simulate one field of view; the same settings give the same pixels.

    Parameters
    ----------
    settings
        What to simulate; a control field of 1000 x 1000 pixels if left out.

    Raises
    ------
    InputError
        By `SimulationSettings`, for a value that can't be simulated.
    """
    settings = settings or SimulationSettings()
    return _image(settings, _margin(settings), _cells(settings), settings.seed)


def noiseless_stains(settings: SimulationSettings | None = None) -> Stack:
    """Return the stains of `simulate_field` without camera noise, float32: the best that a model could predict.

    Each of `simulate_field`'s stains is this with the electrons' Poisson noise (`STAIN_ELECTRONS` a grey level at gain 1) and a read noise
    of `STAIN_READ_NOISE` grey levels.
    """
    settings = settings or SimulationSettings()
    margin = _margin(settings)
    scene, crop = _scene(settings, margin, _cells(settings))
    planes = [lit(plane, settings.batch) for name in settings.stains for plane in _grey_planes(settings, scene, crop, name)]
    data = np.stack(planes).reshape(1, len(settings.stains), settings.z, *settings.shape)
    return Stack(data, settings.stains, _pixel_size(settings))


def optical_path(settings: SimulationSettings | None = None) -> npt.NDArray[np.float32]:
    """Return by how much the cells of `simulate_field` lengthen the light's path through the medium, micrometres, axes YX."""
    settings = settings or SimulationSettings()
    scene, crop = _scene(settings, _margin(settings), _cells(settings))
    return np.ascontiguousarray(scene.optical_path()[crop])


def plane_in_focus(settings: SimulationSettings) -> float:
    """Return the position of the focus among the planes of `simulate_field`'s stack: the mean height of what delays the light."""
    scene, crop = _scene(settings, _margin(settings), _cells(settings))
    heights = np.arange(0.25, 16, 0.5)
    weights = np.array([float(scene.optical_path(height - 0.25, height + 0.25)[crop].sum()) for height in heights])
    focus = _focus(settings)
    return float((weights @ heights / weights.sum() - focus[0]) / settings.z_step)


def simulate_timelapse(settings: SimulationSettings | None = None, frames: int = 10) -> Iterator[SimulatedField]:
    """Yield a field at each of `frames` times: the cells wander and turn a little from one to the next."""
    settings = settings or SimulationSettings(size=512)
    cells = _cells(settings)
    rng = np.random.default_rng([settings.seed, 0x71E])
    drift, turn = rng.normal(0, 0.9, (len(cells), 2)), rng.normal(0, 0.03, len(cells))
    for frame in range(frames):
        yield _image(settings, _margin(settings), cells, settings.seed + 7919 * frame)
        drift = 0.85 * drift + 0.5 * rng.normal(0, 0.9, drift.shape)
        cells = cells.moved(drift, turn)


def _margin(settings: SimulationSettings) -> int:
    """Return the pixels drawn beyond the field on each side, since propagation wraps round: what the widest focus spreads to."""
    reach = 8 + 0.45 * max(4.0, 0.5 * settings.z * settings.z_step)
    return int(np.ceil(reach / settings.pixel_size))


def _cells(settings: SimulationSettings) -> Cells:
    return lay_out(settings, np.random.default_rng([settings.seed, 1]))


def _image(settings: SimulationSettings, margin: int, cells: Cells, seed: int) -> SimulatedField:
    """Draw the cells on a canvas larger than the field, image it and cut the field out."""
    scene, crop = _scene(settings, margin, cells)
    noise = np.random.default_rng([seed, 3])
    pixel_size = _pixel_size(settings)
    bright = _brightfield(settings, scene, crop, noise)
    stains = _stains(settings, scene, crop, noise)
    channels = ("Brightfield",) if settings.z > 1 else BRIGHTFIELD_CHANNELS
    labels = {name: np.ascontiguousarray(getattr(scene.geometry, name)[crop]) for name in ("nucleus", "cell")}
    return SimulatedField(
        Stack(bright, channels, pixel_size),
        Stack(stains, settings.stains, pixel_size),
        labels,
        settings.treatment,
        0.0 if settings.treatment == "control" else settings.dose,
        settings.seed,
    )


def _scene(settings: SimulationSettings, margin: int, cells: Cells) -> tuple[Scene, tuple[slice, slice]]:
    """Return the structures on a canvas larger than the field, and where the field is cut out."""
    edge = fft.next_fast_len(settings.size + 2 * margin)
    cells = cells.moved(np.full((len(cells), 2), margin * settings.pixel_size), np.zeros(len(cells)))
    scene = build(settings, cells, (edge, edge), np.random.default_rng([settings.seed, 2]))
    return scene, (slice(margin, margin + settings.size),) * 2


def _pixel_size(settings: SimulationSettings) -> PixelSize:
    return PixelSize(settings.z_step if settings.z > 1 else None, settings.pixel_size, settings.pixel_size)


def _focus(settings: SimulationSettings) -> npt.NDArray[np.float64]:
    """Return the heights in focus: round a middle that no autofocus finds exactly."""
    middle = 0.2 + np.random.default_rng([settings.seed, 4]).normal(0, 0.35)
    if settings.z == 1:
        return np.float64(middle) + np.asarray(PLANES)
    planes: npt.NDArray[np.float64] = np.float64(middle + 2.6) + (np.arange(settings.z) - (settings.z - 1) / 2) * settings.z_step
    return planes


def _brightfield(settings: SimulationSettings, scene: Scene, crop: tuple[slice, slice], rng: np.random.Generator) -> Images:
    optics = Optics()
    borders = SLABS if settings.z == 1 else tuple(np.arange(0, 13, 1.0))
    slabs = []
    for low, high in pairwise(borders):
        slabs.append(((low + min(high, low + 3)) / 2, scene.slab(low, high, optics.wavelength)))
    light = transmitted(slabs, list(_focus(settings)), settings.pixel_size, optics)[(slice(None), *crop)]
    light = ndimage.gaussian_filter(light, (0, *(optics.pixel_blur / settings.pixel_size,) * 2), output=np.float32)
    fine, coarse = (noise_pair(rng, settings.shape, scale / settings.pixel_size)[0] for scale in (1.6, 6.0))
    uneven = illumination(settings.shape, 0.03) * (1 + np.float32(0.004) * fine + np.float32(0.003) * coarse)
    uneven *= _dirt(settings, rng)
    images = photograph([np.float32(BRIGHTFIELD_GREY) * plane * uneven for plane in light], settings.batch, rng, 3.0, 30)
    return images[None, :, None] if settings.z == 1 else images[None, None]


def _dirt(settings: SimulationSettings, rng: np.random.Generator) -> Floats:
    """Return the light that dust far out of focus lets through: broad smudges, the same in every plane."""
    px, (height, width) = settings.pixel_size, settings.shape
    smudges = np.zeros(settings.shape, np.float32)
    for sigma in (2.5, 6.0):
        count = int(rng.poisson(0.6 * settings.debris * height * width * px**2 / 1e6))
        y, x, weight = rng.uniform(0, height, count), rng.uniform(0, width, count), rng.normal(0.02, 0.02, count)
        smudges += smooth(splat(y, x, weight * 2 * np.pi * (sigma / px) ** 2, settings.shape), sigma / px)
    return 1 - smudges


def _stains(settings: SimulationSettings, scene: Scene, crop: tuple[slice, slice], rng: np.random.Generator) -> Images:
    """Return the stains' images; those of a stack one after the other, since their noiseless volumes together would fill the memory."""
    together = [settings.stains] if settings.z == 1 else [(name,) for name in settings.stains]
    images = []
    for names in together:
        planes = [plane for name in names for plane in _grey_planes(settings, scene, crop, name)]
        images.append(photograph(planes, settings.batch, rng, STAIN_ELECTRONS, STAIN_READ_NOISE))
    return np.concatenate(images).reshape(1, len(settings.stains), settings.z, *settings.shape)


def _grey_planes(settings: SimulationSettings, scene: Scene, crop: tuple[slice, slice], name: str) -> list[Floats]:
    """Return a stain's noiseless grey levels in even light."""
    background, scale = GREY[name]
    return [background + np.float32(scale) * plane[crop] for plane in _stain_planes(settings, scene, name)]


def _stain_planes(settings: SimulationSettings, scene: Scene, name: str) -> list[Floats]:
    """Return a stain's noiseless image, or with z its volume plane by plane as a confocal microscope blurs it."""
    px = settings.pixel_size
    if settings.z == 1:
        return [fluoresce(scene.stain(name), px, SHARP[name], HAZE[name])]
    focus, half = _focus(settings), settings.z_step / 2
    volume = np.stack([scene.stain(name, z - half, z + half) / settings.z_step for z in focus])
    volume = ndimage.gaussian_filter1d(volume, 0.6 / settings.z_step, axis=0, mode="nearest")
    return [fluoresce(2.5 * plane, px, 0.3, 0.04) for plane in volume]


def demo_field() -> SimulatedField:
    """Return the field of the demo and of napari's sample data: 512 x 512 pixels, made in about a second."""
    return simulate_field(replace(SimulationSettings(), size=512, seed=7))
