"""Which model painted a prediction, as its images tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.errors import VirtualPaintError

if TYPE_CHECKING:
    from napari_virtual_paint.evaluation.inputs.sources import Images

LOOKED_AT = 3
"""Fields that are looked at: the first may be damaged."""


def painted_by(images: Images, keys: Sequence[str]) -> str:
    """Return the model and the software that painted a prediction, from what was written with its stains; empty where nothing was.

    Parameters
    ----------
    images
        Reads the prediction's fields; no pixel is read.
    keys
        Their keys.
    """
    for key in keys[:LOOKED_AT]:
        try:
            known = images.read(key).provenance
        except VirtualPaintError:
            continue
        told = _told(known or {})
        if told:
            return told
    return ""


def _told(known: Any) -> str:
    model = " ".join(str(known[name]) for name in ("model", "version") if known.get(name))
    return ", painted by ".join(filter(None, [model, str(known.get("software") or "")])) if model else ""
