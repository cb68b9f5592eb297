"""Move layers to where a registration found them, and back, by their affines; no pixel is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint._napari.shared.viewer.geometry import Geometry, in_unit
from napari_virtual_paint._napari.shared.viewer.layers import KEY, axes_of, our_metadata
from napari_virtual_paint.registration.settings import Registration

METADATA_KEY = "registration"  # metadata key of a moved layer: its affine before, and the figures of the registration
Matrix = npt.NDArray[np.float64]


def affine_for(moving: Any, fixed: Any, pixels: Matrix) -> Matrix:
    """Return the affine that lays a layer's pixels onto those of another one.

    Parameters
    ----------
    moving, fixed
        Image layers; both may be turned and moved already.
    pixels
        From the moving layer's pixels to the fixed one's, along y and x, (3, 3).

    Returns
    -------
    The moving layer's new affine, (n + 1, n + 1): its axes before y and x are left as they are.
    """
    target = _plane(Geometry.of_layer(fixed, axes_of(fixed)).to_world())
    for row, (own, other) in enumerate(zip(moving.units[-2:], fixed.units[-2:], strict=True)):
        target[row] *= in_unit(1.0, other, str(own)) or 1.0
    place = Geometry.of_layer(moving, axes_of(moving))
    wanted = target @ pixels @ np.linalg.inv(_plane(place.physical.affine_matrix))
    out = np.array(moving.affine.affine_matrix, np.float64)
    out[-3:-1, -3:-1], out[-3:-1, -1] = wanted[:2, :2], wanted[:2, 2]
    return out


def _plane(matrix: npt.ArrayLike) -> Matrix:
    """Return the part of a homogeneous matrix that acts along y and x."""
    return np.array(matrix, np.float64)[-3:, -3:].copy()


def move(layers: Sequence[Any], fixed: Any, found: Registration) -> None:
    """Move layers onto another one, and keep in their metadata where they were."""
    for layer in layers:
        before = np.array(layer.affine.affine_matrix, np.float64)
        noted = {"before": before.tolist(), "onto": fixed.name, **found.to_json()}
        first = our_metadata(layer).get(METADATA_KEY)
        if first is not None:
            noted["earlier"] = first
        layer.affine = affine_for(layer, fixed, found.guess)
        layer.metadata = {**layer.metadata, KEY: {**our_metadata(layer), METADATA_KEY: noted}}


def moved(layer: Any) -> bool:
    """Return whether a layer was moved by a registration."""
    return METADATA_KEY in our_metadata(layer)


def take_back(layers: Sequence[Any]) -> int:
    """Give layers the place from before their last registration; return how many of them had one."""
    count = 0
    for layer in layers:
        noted = our_metadata(layer)
        last = noted.pop(METADATA_KEY, None)
        if last is None:
            continue
        layer.affine = np.array(last["before"], np.float64)
        if last.get("earlier") is not None:
            noted[METADATA_KEY] = last["earlier"]
        layer.metadata = {**layer.metadata, KEY: noted}
        count += 1
    return count


def painted_from(layers: Sequence[Any], every: Sequence[Any]) -> list[Any]:
    """Return the stain layers that were painted from these, which lie on them and so move along."""
    names = {layer.name for layer in layers}
    return [layer for layer in every if layer not in layers and set(our_metadata(layer).get("inputs") or ()) & names]
