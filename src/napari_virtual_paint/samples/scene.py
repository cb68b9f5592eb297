"""A field's structures with their refractive index and their stains: the one description that every image is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.samples import organelles
from napari_virtual_paint.samples.cells import INTERPHASE, Cells
from napari_virtual_paint.samples.geometry import FieldGeometry, map_cells
from napari_virtual_paint.samples.optics import Complex, transmission
from napari_virtual_paint.samples.organelles import Organelle
from napari_virtual_paint.samples.settings import MEMBRANE, STAINS, SimulationSettings
from napari_virtual_paint.samples.textures import Floats, noise_pair, smooth, splat

INDEX = MappingProxyType(
    {
        "cytoplasm": 0.026,
        "nucleus": 0.017,
        "chromosomes": 0.030,
        "nucleoli": 0.020,
        "envelope": 0.014,
        "reticulum": 0.012,
        "mitochondria": 0.018,
        "fibres": 0.016,
        "golgi": 0.010,
        "rim": 0.028,
        "small droplets": 0.07,
        "large droplets": 0.07,
        "debris": 0.10,
    }
)
"""Refractive index of each structure above what lies round it (medium 1.335; after values measured by phase tomography)."""

UPTAKE: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "DNA": {"nucleus": 1.0, "nucleoli": -0.65, "chromosomes": 2.2, "cytoplasm": 0.012},
        "ER": {"reticulum": 1.0, "cytoplasm": 0.07, "envelope": 0.35, "nucleoli": 0.4, "nucleus": 0.06},
        "RNA": {"nucleoli": 1.0, "cytoplasm": 0.14, "nucleus": 0.3, "reticulum": 0.6},
        "AGP": {
            "upper membrane": 0.45,
            "lower membrane": 0.4,
            "rim": 0.45,
            "fibres": 0.8,
            "golgi": 2.2,
            "cytoplasm": 0.13,
            "nucleus": 0.08,
            "reticulum": 0.12,
        },
        "Mito": {"mitochondria": 1.0, "cytoplasm": 0.045, "nucleus": 0.03},
        "Membrane": {"upper membrane": 1.0, "lower membrane": 1.0, "rim": 0.8, "cytoplasm": 0.03},
    }
)
"""How much of each stain a micrometre of each structure takes up (a negative number: the structure pushes it out)."""


@dataclass(frozen=True, eq=False)
class Scene:
    """The structures of a field."""

    geometry: FieldGeometry  # which cell, how thick
    parts: Mapping[str, Organelle]  # the structures by name
    brightness: npt.NDArray[np.float64]  # each cell's factor on each stain, shape (cells, 5)

    def slab(self, low: float, high: float, wavelength: float) -> Complex:
        """Return the complex transmission of what lies between two heights (micrometres)."""
        path = self.optical_path(low, high)
        absorbed = np.float32(0.08) * path
        if "debris" in self.parts:
            absorbed += np.float32(0.25) * within(self.parts["debris"], low, high)
        return transmission(path, absorbed, wavelength)

    def optical_path(self, low: float = -np.inf, high: float = np.inf) -> Floats:
        """Return by how much what lies between two heights lengthens the path of light (micrometres), axes YX."""
        path = np.zeros(self.geometry.shape, np.float32)
        for name, index in INDEX.items():
            if name in self.parts:
                path += np.float32(index) * within(self.parts[name], low, high)
        return path

    def stain(self, name: str, low: float = -np.inf, high: float = np.inf) -> Floats:
        """Return the amount of a stain between two heights (micrometres), axes YX."""
        amount = np.zeros(self.geometry.shape, np.float32)
        for part, uptake in UPTAKE[name].items():
            amount += np.float32(uptake) * within(self.parts[part], low, high)
        factor = self.geometry.of_cell(self.brightness[:, STAINS.index("AGP" if name == MEMBRANE else name)], 1.0)
        out: Floats = np.maximum(amount, 0) * factor
        return out


def within(part: Organelle, low: float, high: float) -> Floats:
    """Return the thickness of a part that lies between two heights, its stuff spread evenly over its own extent."""
    if np.isinf(low) and np.isinf(high):
        return part.amount
    extent = np.maximum(part.high - part.low, 1e-3)
    share = np.clip((np.minimum(part.high, high) - np.maximum(part.low, low)) / extent, 0, 1)
    out: Floats = (part.amount * share).astype(np.float32)
    return out


def build(settings: SimulationSettings, cells: Cells, shape: tuple[int, int], rng: np.random.Generator) -> Scene:
    """Build the structures of a field of `shape` pixels from its cells."""
    px, effect = settings.pixel_size, settings.effect
    ragged, medium = noise_pair(rng, shape, 4.0 / px)
    geometry = map_cells(cells, shape, px, ragged, effect.arborised)
    net, coarse = organelles.reticulum(geometry, rng)
    chromatin = noise_pair(rng, shape, 1.6 / px)[0]
    height, thick, bottom = geometry.height, geometry.nucleus_height, geometry.nucleus_bottom
    top = bottom + thick
    interphase = geometry.of_cell((cells.phase == INTERPHASE).astype(np.float64)) > 0
    nucleolus = organelles.nucleoli(cells, geometry)
    chromatin_thick = thick * np.clip(1 + 0.13 * chromatin, 0.4, None)
    free = np.clip(height - thick, 0, None)
    slope = np.hypot(*np.gradient(height, px)) * (geometry.cell > 0)
    skin = 0.3 * (geometry.cell > 0)
    rim = 0.75 * np.exp(-np.square((geometry.edge - 0.7) / 0.8)) * (geometry.cell > 0) * np.clip(1 + 0.3 * coarse, 0.3, None)
    small, large = organelles.droplets(cells, geometry)
    middle, threads_at = 0.5 * height, height * np.clip(0.3 + 0.12 * coarse, 0.05, 0.6)
    parts = {
        "cytoplasm": Organelle(free * np.clip(1 + 0.12 * coarse + 0.18 * medium, 0.4, None), 0.0, height),
        "nucleus": Organelle(np.where(interphase, chromatin_thick, 0).astype(np.float32), bottom, top),
        "chromosomes": Organelle(np.where(interphase, 0, chromatin_thick).astype(np.float32), bottom, top),
        "nucleoli": Organelle(nucleolus, bottom + 0.5 * (thick - nucleolus), bottom + 0.5 * (thick + nucleolus)),
        "envelope": Organelle((0.5 * np.exp(-np.square((geometry.nuclear - 1) / 0.09)) * interphase).astype(np.float32), bottom, top + 0.5),
        "reticulum": Organelle(net, 0.1 * height, 0.75 * height),
        "mitochondria": Organelle(organelles.mitochondria(cells, geometry, effect), threads_at, threads_at + 0.9),
        "fibres": Organelle(organelles.stress_fibres(cells, geometry), 0.0, 0.5),
        "golgi": Organelle(organelles.golgi(cells, geometry), 0.45 * height, 0.8 * height),
        "rim": Organelle(rim.astype(np.float32), 0.0, np.maximum(height, 0.3)),
        "upper membrane": Organelle((skin * np.sqrt(1 + slope**2)).astype(np.float32), height - 0.3, height),
        "lower membrane": Organelle(skin.astype(np.float32), 0.0, 0.3),
        "small droplets": Organelle(small, 0.3 * height, 0.3 * height + 0.7),
        "large droplets": Organelle(large, middle - 0.5, middle + 0.8),
        "debris": _debris(settings, shape, rng),
    }
    return Scene(geometry, MappingProxyType(parts), cells.brightness)


def _debris(settings: SimulationSettings, shape: tuple[int, int], rng: np.random.Generator) -> Organelle:
    """Return specks of dirt that lie anywhere: seen in brightfield, stained by nothing."""
    px = settings.pixel_size
    count = int(rng.poisson(settings.debris * shape[0] * shape[1] * px**2 / 1e6))
    y, x = rng.uniform(0, shape[0], count), rng.uniform(0, shape[1], count)
    image = smooth(splat(y, x, rng.lognormal(0.4, 0.6, count) / px**2, shape), 0.75 / px)
    return Organelle(image, 0.5, 2.5)
