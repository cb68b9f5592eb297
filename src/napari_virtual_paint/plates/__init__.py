"""Plates: open any layout, paint all fields, resume, simulate. Modules are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtual_paint.runtime.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from napari_virtual_paint.plates.opening import is_plate, open_plate
    from napari_virtual_paint.plates.paint import (
        PlateProgress,
        PlateSummary,
        job_folder,
        paint_plate,
        plate_state,
        read_failures,
        read_scores,
    )
    from napari_virtual_paint.plates.plate import Field, Plate
    from napari_virtual_paint.plates.plate_map import read_plate_map, with_map
    from napari_virtual_paint.plates.simulation.design import PlateDesign
    from napari_virtual_paint.plates.simulation.simulate import simulate_plate

__all__ = [
    "Field",
    "Plate",
    "PlateDesign",
    "PlateProgress",
    "PlateSummary",
    "is_plate",
    "job_folder",
    "open_plate",
    "paint_plate",
    "plate_state",
    "read_failures",
    "read_plate_map",
    "read_scores",
    "simulate_plate",
    "with_map",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "opening": "is_plate open_plate",
        "plate": "Field Plate",
        "paint": "PlateProgress PlateSummary job_folder paint_plate plate_state read_failures read_scores",
        "plate_map": "read_plate_map with_map",
        "simulation.design": "PlateDesign",
        "simulation.simulate": "simulate_plate",
    },
)
