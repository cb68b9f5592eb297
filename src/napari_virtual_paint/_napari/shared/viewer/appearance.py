"""How a layer looks: blending by its stain's name, robust contrast limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.channel_colors import is_transmitted

PIXELS = 1_000_000  # as many pixels as contrast limits are taken from


def blending_for(name: str) -> str:
    """Return how a layer mixes with those below: stains add up, transmitted light covers."""
    return "translucent_no_depth" if is_transmitted(name) else "additive"


def contrast_limits(pixels: npt.NDArray[Any], transmitted: bool = False) -> tuple[float, float] | None:
    """Return robust contrast limits, or None if the pixels give none (all the same or no number).

    Parameters
    ----------
    pixels
        An image of any shape; a regular sample of about a million pixels is used.
    transmitted
        Transmitted light spreads on both sides of its background (0.1 and 99.9 %); a stain rises from a dark one (20 and 99.8 %).
    """
    flat = pixels.reshape(-1)
    flat = flat[:: max(1, flat.size // PIXELS)]
    if flat.dtype.kind == "b":
        return 0.0, 1.0
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    if not flat.size:
        return None
    low, high = np.percentile(flat, (0.1, 99.9) if transmitted else (20.0, 99.8))
    if not high > low:
        low, high = float(flat.min()), float(flat.max())
    return (float(low), float(high)) if high > low else None
