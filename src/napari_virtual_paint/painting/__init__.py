"""Paint the stains of an image with one or several models, tile by tile and exactly. Torch is imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.painting.results import Estimate, Painting, PaintReport, PaintUpdate
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.runtime.generators import run_to_end

if TYPE_CHECKING:
    from napari_virtual_paint.painting.engine import paint
    from napari_virtual_paint.painting.estimation import estimate
    from napari_virtual_paint.painting.model_set import Member, ModelSet

__all__ = ["Estimate", "Member", "ModelSet", "PaintReport", "PaintSettings", "PaintUpdate", "Painting", "estimate", "paint", "run_to_end"]

_LATER = {"ModelSet": "model_set", "Member": "model_set", "estimate": "estimation", "paint": "engine"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
