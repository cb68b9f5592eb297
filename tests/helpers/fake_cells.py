"""Cells for tests without a trained model: correlated features, and a painter that draws what some of them say."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

CHANNELS = ("DNA", "ER")
GROUPS = {
    "Nuclei": ("AreaShape_Area", "AreaShape_Eccentricity", "AreaShape_Orientation", "Intensity_MeanIntensity_DNA"),
    "Cells": ("AreaShape_Area", "Intensity_MeanIntensity_ER", "Texture_Contrast_ER_3_00_256", "Correlation_Correlation_DNA_ER"),
    "Cytoplasm": ("AreaShape_Area", "RadialDistribution_FracAtD_ER_1of4", "Granularity_1_DNA", "Intensity_StdIntensity_ER"),
}
SIZE = 32


def feature_names(extra: int = 0) -> tuple[str, ...]:
    """Twelve features, and as many textures more as asked for."""
    names = [f"{compartment}_{rest}" for compartment, group in GROUPS.items() for rest in group]
    compartments = tuple(GROUPS)
    names += [f"{compartments[i % 3]}_Texture_Contrast_{CHANNELS[i % 2]}_{3 + i // 6}_{i % 4:02d}_256" for i in range(extra)]
    return tuple(dict.fromkeys(names))


def correlated(count: int = 200, features: int = 12, seed: int = 0) -> np.ndarray:
    """Cells whose features share three hidden causes, in odd units."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(count, 3))
    values = hidden @ rng.normal(size=(3, features)) + 0.5 * rng.normal(size=(count, features))
    return (values * rng.uniform(0.1, 40, features) + rng.uniform(-50, 300, features)).astype(np.float32)


def draw(values: np.ndarray, median: np.ndarray, size: int = SIZE) -> np.ndarray:
    """A disk for the nucleus, larger with the first feature, on a larger one for the cell."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius = np.hypot(y, x)
    gain = np.tanh((np.asarray(values, np.float32) - median)[:, :2] / (1 + np.abs(median[:2])))
    nucleus = radius < (size / 6 * (1 + gain[:, 0]))[:, None, None]
    cell = radius < (size / 3 * (1 + 0.5 * gain[:, 1]))[:, None, None]
    return np.stack([nucleus * 1000.0, cell * 600.0], axis=1).astype(np.float32)


@dataclass
class FakeModel:
    """Looks like `cells.model.CellModel`; `paint` stands for its `generate`."""

    features: tuple[str, ...]
    values: np.ndarray
    id: str = "fake"
    name: str = "A fake"
    version: str = "0"
    channels: tuple[str, ...] = CHANNELS
    size: int = SIZE
    pixel_size: float | None = 0.65
    scale: tuple = ((0.0, 1000.0), (0.0, 600.0))
    card: dict = field(default_factory=dict)

    @property
    def population(self) -> SimpleNamespace:
        count = len(self.values)
        metadata = {
            "Metadata_Treatment": tuple("DMSO" if i % 2 else "drug" for i in range(count)),
            "Metadata_Dose": tuple(float(i % 4) for i in range(count)),
        }
        return SimpleNamespace(values=self.values, crops=self.paint(self.values), metadata=metadata)

    def paint(self, values: np.ndarray) -> np.ndarray:
        values = np.atleast_2d(values)
        return draw(np.where(np.isfinite(values), values, np.median(self.values, axis=0)), np.median(self.values, axis=0), self.size)


def fake_model(count: int = 60, extra: int = 0, seed: int = 0) -> FakeModel:
    names = feature_names(extra)
    return FakeModel(names, correlated(count, len(names), seed))
