"""Paint the stains of an image with one or several models, tile by tile and exactly. Torch is imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtual_paint.painting.results import Estimate, Painting, PaintReport, PaintUpdate
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from napari_virtual_paint.painting.engine import paint
    from napari_virtual_paint.painting.estimation import estimate
    from napari_virtual_paint.painting.gray_levels import original_values
    from napari_virtual_paint.painting.model_set import Member, ModelSet

__all__ = [
    "Estimate",
    "Member",
    "ModelSet",
    "PaintReport",
    "PaintSettings",
    "PaintUpdate",
    "Painting",
    "estimate",
    "original_values",
    "paint",
    "run_to_end",
]

__getattr__ = lazy_exports(
    __name__, {"model_set": "Member ModelSet", "estimation": "estimate", "engine": "paint", "gray_levels": "original_values"}
)
