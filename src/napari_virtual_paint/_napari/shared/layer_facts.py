"""Plain facts of a layer: whether its pixels can be compared, its shape, scale and role."""

from __future__ import annotations

from typing import Any

from napari_virtual_paint._napari.shared.layer_pairs import LayerFacts
from napari_virtual_paint._napari.shared.layers import our_metadata

ROLE = "error map"


def is_error_map(layer: Any) -> bool:
    """Whether a layer is an error map of ours."""
    return our_metadata(layer).get("role") == ROLE


def comparable(viewer: Any) -> list[Any]:
    """Return the layers that can be compared: images of one channel that are neither error maps nor SDs."""
    images = [layer for layer in viewer.layers if type(layer).__name__ == "Image" and not layer.rgb]
    return [layer for layer in images if not is_error_map(layer) and our_metadata(layer).get("role") != "uncertainty"]


def key_of(layer: Any) -> str:
    """Return a key that identifies a layer for its lifetime, whatever its name."""
    return str(layer.unique_id)


def facts_of(layer: Any) -> LayerFacts:
    """Return what pairing needs to know of a layer."""
    noted = our_metadata(layer)
    predicted = noted.get("role") in ("stain", "preview") or bool(noted.get("provenance"))
    shape = _shape(layer)
    stain = str(noted.get("channel") or "") if predicted else ""
    return LayerFacts(key_of(layer), layer.name, predicted, stain, (int(shape[-2]), int(shape[-1])))


def _shape(layer: Any) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(length) for length in data.shape)
