"""Simulated fields with exact truth, and real ones to download."""

from __future__ import annotations

from napari_virtual_paint.samples.settings import CELL_TYPES, STAINS, TREATMENTS, Batch, CellType, SimulationSettings, Treatment
from napari_virtual_paint.samples.simulator import SimulatedField, demo_field, noiseless_stains, simulate_field, simulate_timelapse

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
    "noiseless_stains",
    "simulate_field",
    "simulate_timelapse",
]
