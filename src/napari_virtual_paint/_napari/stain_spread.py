"""The SD over the passes of a painting as layers: hidden at first, dark where the passes agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_virtual_paint._napari.shared.appearance import PIXELS
from napari_virtual_paint._napari.shared.geometry import Geometry
from napari_virtual_paint._napari.shared.layers import LayerData, layer_data_from_stack
from napari_virtual_paint.stack import Stack

ROLE = "uncertainty"
"""Role of such a layer in its metadata."""
COLORMAP = "inferno"
CLIP = 99.5
"""Percentile of the SD that is shown brightest."""


def spread_limits(stack: Stack) -> list[tuple[float, float]]:
    """Return contrast limits from 0, of each channel (on the worker: it looks at about a million pixels)."""
    out = []
    for channel in range(stack.shape[1]):
        flat = np.asarray(stack.data[:, channel]).reshape(-1)
        high = float(np.percentile(flat[:: max(1, flat.size // PIXELS)], CLIP)) if flat.size else 0.0
        out.append((0.0, high if high > 0 else 1.0))
    return out


def spread_layers(stack: Stack, geometry: Geometry, limits: list[tuple[float, float]], noted: dict[str, Any]) -> list[LayerData]:
    """Return the layers ``DNA SD`` ... of a painting, hidden."""
    made = layer_data_from_stack(stack, geometry, metadata={**noted, "role": ROLE}, limits=limits, visible=False)
    return [(data, {**arguments, "colormap": COLORMAP, "blending": "translucent_no_depth"}, kind) for data, arguments, kind in made]
