"""Preprocessing of images before a model paints them: phase from brightfield planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtual_paint.runtime.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from napari_virtual_paint.preprocessing.microscope import Microscope as Microscope
    from napari_virtual_paint.preprocessing.microscope import save_microscope as save_microscope
    from napari_virtual_paint.preprocessing.microscope import saved_microscopes as saved_microscopes
    from napari_virtual_paint.preprocessing.phase import PhaseSettings as PhaseSettings
    from napari_virtual_paint.preprocessing.phase import reconstruct_phase as reconstruct_phase

__all__ = ["Microscope", "PhaseSettings", "reconstruct_phase", "save_microscope", "saved_microscopes"]

__getattr__ = lazy_exports(
    __name__, {"microscope": "Microscope save_microscope saved_microscopes", "phase": "PhaseSettings reconstruct_phase"}
)
