"""Plain values of layers and viewer for scoring, taken on the GUI thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_virtual_paint._napari.compare.regions import Placement, Scope, View, shared_region
from napari_virtual_paint._napari.compare.scores import ScoreTask
from napari_virtual_paint._napari.shared.viewer.geometry import Geometry, in_unit
from napari_virtual_paint._napari.shared.viewer.layer_pairs import shape_of
from napari_virtual_paint._napari.shared.viewer.layers import axes_of, our_metadata, pixels_of
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics.noise import NoiseSource

PIXEL = "pixel"


def view_of(viewer: Any) -> View:
    """Return what the viewer shows now; the corners of the canvas in a 2D view alone."""
    dims = viewer.dims
    point, displayed = tuple(float(value) for value in dims.point), tuple(int(axis) for axis in dims.displayed)
    if dims.ndisplay != 2:
        return View(point, displayed)
    half = np.asarray(viewer.canvas.viewbox_size(viewer.layers), float) / 2 / max(viewer.scene.camera.zoom, 1e-12)
    middle = np.asarray(viewer.scene.camera.center[-2:], float)
    return View(point, displayed, tuple(float(v) for v in middle - half), tuple(float(v) for v in middle + half))


def task_of(viewer: Any, stain: str, predicted: Any, truth: Any, scope: Scope, view: View, noise: NoiseSource | None = None) -> ScoreTask:
    """Return the work of scoring one pair: references and slices alone, nothing is read.

    Parameters
    ----------
    viewer
        The viewer, for the units of its world.
    stain
        Name for the table.
    predicted, truth
        The layers; None where none is chosen.
    scope, view
        Which pixels.
    noise
        Knows the true layer's noise, where the ceiling is asked for.
    """
    if predicted is None or truth is None or predicted is truth:
        if predicted is truth and truth is not None:
            return ScoreTask(stain, reason=f"'{stain}' is compared with itself; choose two different layers in the list of pairs.")
        missing = "true" if truth is None else "predicted"
        return ScoreTask(stain, reason=f"'{stain}' has no {missing} layer yet; choose a {missing} layer in the list of pairs.")
    units = viewer.layers.units
    places = [placement_of(layer, units) for layer in (predicted, truth)]
    if _size_unknown(predicted) != _size_unknown(truth) and places[0].shape == places[1].shape:
        # only one of the two files gives a pixel size: pixels of images of one size lie on each other
        better = places[0] if _size_unknown(truth) else places[1]
        places = [Placement(place.name, place.shape, better.linear, better.origin) for place in places]
    try:
        crop = shared_region(places[0], places[1], scope, view)
        axes = _letters(predicted, truth, scope, view)
    except InputError as error:
        return ScoreTask(stain, reason=str(error))
    spread = our_metadata(predicted).get("uncertainty")
    return ScoreTask(stain, pixels_of(predicted), pixels_of(truth), crop, axes, "", {} if spread is None else {"sd": float(spread)}, noise)


def placement_of(layer: Any, units: Sequence[Any] | None) -> Placement:
    """Return the placement of a layer in world coordinates, in the viewer's units (None where its layers have none in common)."""
    n = layer.ndim
    geometry = Geometry.of_layer(layer, "ABTZYX"[-n:])
    matrix = geometry.to_world()
    factor = np.ones(n)
    if units is not None:
        for axis, (own, common) in enumerate(zip(layer.units, units[-n:], strict=True)):
            factor[axis] = 1.0 if own == common else in_unit(1.0, own, str(common)) or 1.0
    return Placement(layer.name, shape_of(layer), matrix[:n, :n] * factor[:, None], matrix[:n, n] * factor)


def _size_unknown(layer: Any) -> bool:
    """Return whether a layer has no pixel size: its unit is a pixel."""
    return all(str(unit) == PIXEL for unit in layer.units[-2:])


def _letters(predicted: Any, truth: Any, scope: Scope, view: View) -> str:
    """Return the letters of the axes that both layers have, for `Task.axes`."""
    n = min(predicted.ndim, truth.ndim)
    if scope == "stack":
        fuller = truth if truth.ndim == n else predicted
        try:
            named = axes_of(fuller)
        except InputError:
            named = "T" * (n - 2) + "YX"
        return "".join("T" if letter == "C" else letter for letter in named)
    shown = sorted(view.displayed)
    volume = dict(zip(shown, "ZYX"[-len(shown) :], strict=True))
    ndim = len(view.point)
    return "".join(volume.get(axis, "T") for axis in range(ndim - n, ndim))
