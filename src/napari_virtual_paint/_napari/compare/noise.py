"""Sources of a true layer's noise, for the ceiling of PCC in the Compare dock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from napari_virtual_paint._napari.shared.viewer.layer_pairs import words
from napari_virtual_paint._napari.shared.viewer.layers import pixels_of
from napari_virtual_paint.metrics.noise import Controls, Estimated, NoiseSource
from napari_virtual_paint.stack import Stack

NONE, ESTIMATE, NAMED = "", "estimate", "named"
CHOICES = (
    (NONE, "Noise ceiling: off"),
    (ESTIMATE, "Noise ceiling: noise estimated"),
    (NAMED, "Noise ceiling: controls by name"),
)
"""Choices beside a single control layer, which is chosen by its key."""
CONTROL_WORDS = frozenset({"control", "controls", "unlabelled", "unlabeled", "unstained", "blank", "dark"})


def is_control(name: str) -> bool:
    """Return whether a layer's name says that it shows no label, as ``DNA control`` or ``unlabelled ER``."""
    return bool(CONTROL_WORDS & set(re.split(r"[^a-z]+", name.casefold())))


def noise_of(choice: str, stain: str, layers: Mapping[str, Any]) -> NoiseSource | None:
    """Return the source of a stain's noise; None where no ceiling is wanted.

    Parameters
    ----------
    choice
        `NONE`, `ESTIMATE`, `NAMED`, or the key of a control layer.
    stain
        Name of the stain.
    layers
        The viewer's image layers by their keys.
    """
    if choice == NONE:
        return None
    if choice == ESTIMATE:
        return Estimated()
    if choice == NAMED:
        wanted = set(words(stain))
        named = [layer for layer in layers.values() if is_control(layer.name) and wanted <= set(words(layer.name))]
        return Controls([_stack(layer) for layer in named])
    return Controls([_stack(layers[choice])] if choice in layers else [])


def _stack(layer: Any) -> Stack:
    """Return a control layer's planes as one image, not read."""
    pixels = pixels_of(layer)
    return Stack(pixels.reshape((1, 1, -1, *pixels.shape[-2:])), source=layer.name)
