"""Remove layers from a viewer's list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def remove_layers(viewer: Any, layers: Sequence[Any]) -> None:
    """Remove those of the layers that are still there, together: napari collects garbage and rebuilds its scene for each removal."""
    there = [layer for layer in layers if layer in viewer.layers]
    if there:
        with viewer.layers.batched_update():
            for layer in there:
                viewer.layers.remove(layer)
