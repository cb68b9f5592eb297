"""Simulated fields with exact truth, and real ones to download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtual_paint.runtime.lazy_exports import lazy_exports
from napari_virtual_paint.samples.settings import CELL_TYPES, STAINS, TREATMENTS, Batch, CellType, SimulationSettings, Treatment
from napari_virtual_paint.samples.simulator import (
    SimulatedField,
    demo_field,
    noiseless_stains,
    optical_path,
    simulate_field,
    simulate_timelapse,
)

if TYPE_CHECKING:
    from napari_virtual_paint.samples.public import load_public

__all__ = [
    "CELL_TYPES",
    "STAINS",
    "TREATMENTS",
    "Batch",
    "CellType",
    "SimulatedField",
    "SimulationSettings",
    "Treatment",
    "demo_field",
    "load_public",
    "noiseless_stains",
    "optical_path",
    "simulate_field",
    "simulate_timelapse",
]

__getattr__ = lazy_exports(__name__, {"public": "load_public"})
