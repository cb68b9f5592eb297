"""Simulated fields with exact truth, and real ones to download."""

from __future__ import annotations

from napari_virtual_paint.samples.settings import STAINS, TREATMENTS, Batch, SimulationSettings, Treatment
from napari_virtual_paint.samples.simulator import SimulatedField, demo_field, noiseless_stains, simulate_field, simulate_timelapse

__all__ = [
    "STAINS",
    "TREATMENTS",
    "Batch",
    "SimulatedField",
    "SimulationSettings",
    "Treatment",
    "demo_field",
    "noiseless_stains",
    "simulate_field",
    "simulate_timelapse",
]
