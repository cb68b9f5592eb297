"""Plain facts of a layer: whether its pixels can be compared, its shape, scale and role."""

from __future__ import annotations

from typing import Any

from napari_virtual_paint._napari.shared.layers import known

ROLE = "error map"


def is_error_map(layer: Any) -> bool:
    """Whether a layer is an error map of ours."""
    return known(layer).get("role") == ROLE
