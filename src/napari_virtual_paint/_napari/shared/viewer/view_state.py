"""The view of a viewer: recorded and brought back exactly, fitted to layers, and changed with one redrawing for many changes."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint._napari.shared.viewer.geometry import in_unit

APPEARANCE = ("visible", "opacity", "gamma", "colormap", "blending", "interpolation2d", "contrast_limits_range", "contrast_limits")
"""What is brought back of every layer, in this order (limits lie within their range)."""
MARGIN = 0.05  # share of the canvas that is left free around the layers, as napari does


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A view as it was: layers in order with their appearance, grid, camera and text."""

    layers: tuple[Any, ...]
    looks: tuple[dict[str, Any], ...]
    named: tuple[bool, ...]
    selected: frozenset[Any]
    grid: dict[str, Any]
    camera: dict[str, Any]
    ndisplay: int  # displayed axes that the camera is of
    text: dict[str, Any]

    @classmethod
    def take(cls, viewer: Any) -> Snapshot:
        """Record the viewer's view."""
        layers = tuple(viewer.layers)
        grid, camera, text = viewer.canvas.grid, viewer.scene.camera, viewer.canvas.overlays["text"]
        return cls(
            layers,
            tuple({name: getattr(layer, name) for name in APPEARANCE if hasattr(layer, name)} for layer in layers),
            tuple(bool(layer.name_overlay.visible) for layer in layers),
            frozenset(viewer.layers.selection),
            {name: getattr(grid, name) for name in ("stride", "shape", "spacing", "enabled")},
            {name: getattr(camera, name) for name in ("center", "zoom", "angles")},
            int(viewer.dims.ndisplay),
            {name: getattr(text, name) for name in ("text", "position", "font_size", "visible")},
        )

    def restore(self, viewer: Any) -> None:
        """Bring the view back, within `one_redraw`; removed layers are skipped and new ones stay on top."""
        there = [layer for layer in self.layers if layer in viewer.layers]
        set_grid(viewer, enabled=False)  # until the end, so that no layer is put into a box that it has no place in
        for layer, look, named in zip(self.layers, self.looks, self.named, strict=True):
            if layer in there:
                set_appearance(layer, look)
                if layer.name_overlay.visible != named:
                    layer.name_overlay.visible = named
        order_layers(viewer, there)
        set_grid(viewer, **self.grid)
        viewer.layers.selection = {layer for layer in self.selected if layer in there}
        for name, value in self.text.items():
            setattr(viewer.canvas.overlays["text"], name, value)
        if viewer.dims.ndisplay == self.ndisplay:
            for name, value in self.camera.items():
                setattr(viewer.scene.camera, name, value)
        else:  # the user went from 2D to 3D or back since, and a camera of the one shows nothing of use in the other
            fit_to_layers(viewer, [layer for layer in there if layer.visible])


@contextmanager
def one_redraw(viewer: Any) -> Iterator[None]:
    """Let napari rebuild its scene once, at the end of the block, instead of for each layer that is shown, hidden or moved in it."""
    # At the end of a batch napari collects garbage, for the sake of removed layers; none is removed here. With torch loaded a collection
    # takes longer than all the rest, and so do those that Python starts by itself among so many new objects. Frozen objects are passed
    # over. Where other code has frozen some already, all is left as it is.
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
    try:
        with viewer.layers.batched_update():
            yield
    finally:
        if ours:
            gc.unfreeze()


def set_appearance(layer: Any, look: dict[str, Any]) -> None:
    """Set those attributes of a layer that differ: setting redraws, also where nothing changes."""
    for name, value in look.items():
        now = getattr(layer, name)
        same = now is value or (now == value if not hasattr(now, "colors") else now.name == value.name)
        if not same:
            setattr(layer, name, value)


def set_grid(viewer: Any, **values: Any) -> None:
    """Set those attributes of napari's grid that differ."""
    for name, value in values.items():
        if getattr(viewer.canvas.grid, name) != value:
            setattr(viewer.canvas.grid, name, value)


def order_layers(viewer: Any, wanted: Sequence[Any]) -> None:
    """Bring layers to the front of the layer list in this order, with one event at the end."""
    layers = viewer.layers
    if list(layers[: len(wanted)]) == list(wanted):
        return
    with layers.events.reordered.blocker():
        for index, layer in enumerate(wanted):
            layers.move(layers.index(layer), index)
    layers.events.reordered(value=layers)


def world_box(viewer: Any, layers: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Return the lowest and the highest corner of the box around layers, in the viewer's world.

    Parameters
    ----------
    layers
        At least one; their numbers of axes and their units may differ from each other's and from the viewer's.

    Returns
    -------
    Shape (2, N) for the N axes of the viewer; an axis that none of the layers has is from 0 to 0.
    """
    n, units = viewer.dims.ndim, viewer.layers.units
    boxes = np.full((len(layers), 2, n), np.nan)
    for box, layer in zip(boxes, layers, strict=True):
        own = np.array(layer.extent.world, np.float64)
        if units is not None:  # None where the layers have no units in common; napari then shows the bare numbers
            own *= [in_unit(1.0, unit, str(common)) or 1.0 for unit, common in zip(layer.units, units[-layer.ndim :], strict=True)]
        box[:, n - layer.ndim :] = own
    low = np.where(np.isnan(boxes[:, 0]), np.inf, boxes[:, 0]).min(axis=0)
    high = np.where(np.isnan(boxes[:, 1]), -np.inf, boxes[:, 1]).max(axis=0)
    return np.where(np.isfinite([low, high]), [low, high], 0.0)


def displayed_box(viewer: Any, layers: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Return `world_box` along the displayed axes, shape (2, ndisplay)."""
    box = world_box(viewer, layers)[:, list(viewer.dims.displayed)]
    missing = viewer.dims.ndisplay - box.shape[1]  # 2D layers alone, in a 3D view
    return np.pad(box, ((0, 0), (max(missing, 0), 0)))


def fit_to_layers(viewer: Any, layers: Sequence[Any]) -> None:
    """Center the camera on layers, and zoom so that they fill the canvas, or one box of the grid.

    napari's own `fit_to_view` raises an IndexError for layers that have fewer axes than the viewer.
    """
    if not layers:
        return
    low, high = displayed_box(viewer, layers)
    camera = viewer.scene.camera
    size = high - low
    if viewer.dims.ndisplay == 3:
        across = np.cross(camera.view_direction, camera.up_direction)
        size = np.abs([camera.up_direction, across]) @ size
    room = np.asarray(viewer.canvas.viewbox_size(viewer.layers), np.float64)
    camera.center = tuple((low + high) / 2)
    if np.any(size > 0):
        camera.zoom = (1 - MARGIN) * float(np.min(room[size > 0] / size[size > 0]))
