"""Preprocessing of images before a model paints them: even light, the plane in focus, phase from brightfield planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtual_paint.runtime.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from napari_virtual_paint.preprocessing.focus import Focus as Focus
    from napari_virtual_paint.preprocessing.focus import find_focus as find_focus
    from napari_virtual_paint.preprocessing.illumination import IlluminationEstimate as IlluminationEstimate
    from napari_virtual_paint.preprocessing.illumination import correct_illumination as correct_illumination
    from napari_virtual_paint.preprocessing.microscope import Microscope as Microscope
    from napari_virtual_paint.preprocessing.microscope import save_microscope as save_microscope
    from napari_virtual_paint.preprocessing.microscope import saved_microscopes as saved_microscopes
    from napari_virtual_paint.preprocessing.phase import reconstruct_phase as reconstruct_phase
    from napari_virtual_paint.preprocessing.phase_settings import PhaseSettings as PhaseSettings

__all__ = [
    "Focus",
    "IlluminationEstimate",
    "Microscope",
    "PhaseSettings",
    "correct_illumination",
    "find_focus",
    "reconstruct_phase",
    "save_microscope",
    "saved_microscopes",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "focus": "Focus find_focus",
        "illumination": "IlluminationEstimate correct_illumination",
        "microscope": "Microscope save_microscope saved_microscopes",
        "phase": "reconstruct_phase",
        "phase_settings": "PhaseSettings",
    },
)
