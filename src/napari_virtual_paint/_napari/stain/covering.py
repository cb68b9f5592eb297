"""Hide what lies at the same place as new stains: the input, true stains and those of other models would add up with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from napari_virtual_paint._napari.shared.viewer.layers import our_metadata
from napari_virtual_paint._napari.shared.viewer.view_state import one_redraw

TOLERANCE = 0.01  # share of an image's side by which the edges of two images of one place may differ


class HiddenLayers:
    """The layers that a painting hid.

    Attributes
    ----------
    layers
        Those that were visible before.
    """

    def __init__(self) -> None:
        self.layers: list[Any] = []

    def hide(self, viewer: Any, inputs: Sequence[Any], made: Collection[Any]) -> None:
        """Hide the inputs and all images at their place but those made; not in a grid, where each layer has a place of its own."""
        if self.layers or viewer.grid.enabled:
            return
        self.layers = [layer for layer in viewer.layers if layer.visible and layer not in made and same_place(layer, inputs)]
        with one_redraw(viewer):
            for layer in self.layers:
                layer.visible = False

    def show(self, viewer: Any) -> None:
        """Show again what was hidden."""
        layers, self.layers = self.layers, []
        with one_redraw(viewer):
            for layer in layers:
                layer.visible = True


def same_place(layer: Any, inputs: Sequence[Any]) -> bool:
    """Return whether a layer is an image that lies where one of the inputs does: it has the same edges along y and x."""
    if layer in inputs:
        return True
    if type(layer).__name__ != "Image" or our_metadata(layer).get("role") == "preview":
        return False
    return any(_same_edges(layer.extent.world[:, -2:], image.extent.world[:, -2:]) for image in inputs)


def _same_edges(one: Any, other: Any) -> bool:
    sides = np.abs(other[1] - other[0])
    return bool(np.all(np.abs(one - other) <= TOLERANCE * sides))
