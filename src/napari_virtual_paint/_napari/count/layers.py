"""The label and track layers of a count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from napari_virtual_paint._napari.shared.viewer.layers import LayerSource, label_data_from_stack, our_metadata
from napari_virtual_paint.stack import Stack

ROLE = "counted"  # role of a label layer in our metadata


def add_counted(viewer: Any, source: LayerSource, labels: Stack) -> None:
    """Show label images as layers; those of an earlier count of the same layers get the new labels."""
    noted = {"role": ROLE, "inputs": list(source.layers)}
    for data, arguments, _ in label_data_from_stack(labels, source.geometry, metadata=noted):
        old = _layer_of(viewer, source, arguments["name"])
        if old is not None and old.data.shape == data.shape:
            old.data = data
            continue
        layer = viewer.add_labels(data, **arguments)
        if arguments["name"] == "cells":
            layer.contour = 2  # so that the nuclei in them stay in view


def labels_in(viewer: Any, source: LayerSource, labels: Stack) -> Stack | None:
    """Return the label images as they are in the viewer now; None where a layer is gone or has another shape."""
    planes = []
    for kind in labels.channel_labels:
        layer = _layer_of(viewer, source, kind)
        shape = (labels.shape[0], *labels.shape[3:])
        if layer is None or int(np.prod(layer.data.shape)) != int(np.prod(shape)):
            return None
        planes.append(np.array(layer.data, np.int32).reshape(shape))
    data = np.stack(planes, axis=1)[:, :, None]
    kept = np.uint16 if data.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    return replace(labels, data=data.astype(kept))


def add_tracks(viewer: Any, source: LayerSource, objects: Mapping[str, Any]) -> None:
    """Show the tracks of the nuclei, or of the cells where there are no nuclei, as a layer."""
    kind = "nucleus" if (objects["object"] == "nucleus").any() else "cell"
    own = objects["object"] == kind
    if not own.any() or "T" not in source.geometry.axes:
        return
    places = {"T": objects["time"][own], "Z": np.zeros(own.sum()), "Y": objects["y"][own], "X": objects["x"][own]}
    axes = source.geometry.axes
    table = np.stack([objects["track"][own], *(places[axis] for axis in axes)], axis=1).astype(np.float64)
    parents = dict(zip(objects["track"][own].tolist(), objects["parent"][own].tolist(), strict=True))
    graph = {track: [parent] for track, parent in parents.items() if parent}
    name = f"tracks of {'nuclei' if kind == 'nucleus' else 'cells'}"
    viewer.add_tracks(table, graph=graph, name=name, **source.geometry.layer_arguments())


def _layer_of(viewer: Any, source: LayerSource, kind: str) -> Any:
    """Return the label layer of a kind that an earlier count of the same layers made."""
    for layer in viewer.layers:
        noted = our_metadata(layer)
        if noted.get("role") == ROLE and noted.get("inputs") == list(source.layers) and noted.get("channel") == kind:
            return layer
    return None
