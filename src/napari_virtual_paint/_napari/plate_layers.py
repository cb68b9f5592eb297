"""The layers of the field that is looked at: one a channel, made once a plate, given other pixels from field to field."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from napari.experimental import link_layers
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.layers import KEY, known
from napari_virtual_paint._napari.plate_load import Batch, Picture, Slot, middle
from napari_virtual_paint._napari.stain_run import remove_layers
from napari_virtual_paint._napari.timing import timed
from napari_virtual_paint._napari.turns import Turns

SECONDS = 0.007
"""Layers are given their pixels for so long in one turn of the event loop."""
LINKED = ("gamma", "colormap", "interpolation2d")
"""What a predicted layer shares with the true one; each is shown and hidden by itself, and their intensities have no common unit."""


class FieldLayers(QObject):  # type: ignore[misc]
    """Shows fields in one set of layers.

    Signals
    -------
    settled
        All of a batch is in its layers.
    visibility
        A layer was shown or hidden.
    """

    settled = Signal(object)
    visibility = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self.layers: dict[Slot, Any] = {}
        self.field: Any = None
        self._turns = Turns()
        self._waiting: deque[tuple[Slot, Picture | None]] = deque()
        self._last: Batch | None = None

    # -- what there is ------------------------------------------------------------------------------------------------

    def there(self) -> dict[Slot, Any]:
        """Return the layers that the user has not removed."""
        inside = set(self.viewer.layers)
        self.layers = {slot: layer for slot, layer in self.layers.items() if layer in inside}
        return self.layers

    def shown(self) -> set[Slot] | None:
        """Return what is shown; None where nothing of the plate was shown yet."""
        layers = self.there()
        return {slot for slot, layer in layers.items() if layer.visible} if layers else None

    def groups(self) -> dict[str, bool]:
        """Return ``brightfield``, ``true``, ``painted``, as far as they are there, and whether any of each is shown."""
        found: dict[str, bool] = {}
        for slot, layer in self.there().items():
            found[slot.group] = found.get(slot.group, False) or layer.visible
        return found

    def show_group(self, group: str, on: bool) -> None:
        """Show or hide a group; of the planes of brightfield the one in the middle is shown."""
        some = {slot: layer for slot, layer in self.there().items() if slot.group == group}
        chosen = middle(list(some)) if group == "brightfield" else set(some)
        for slot, layer in some.items():
            wanted = on and slot in chosen
            if layer.visible != wanted:
                self._turns.add(partial(setattr, layer, "visible", wanted))

    # -- other pixels -------------------------------------------------------------------------------------------------

    def put(self, batch: Batch) -> None:
        """Show what is ready of a field; a batch of another field overtakes what still waits."""
        if batch.field != self.field:
            self._waiting.clear()
            gone = [slot for slot in self.there() if slot not in batch.slots]
            self._waiting.extend((slot, None) for slot in gone)
            self.field = batch.field
        self._waiting.extend((made.slot, made) for made in batch.pictures)
        self._last = batch
        self._turns.add(self._some)

    def forget(self) -> None:
        """Let go of the layers; they stay in the viewer as they are."""
        self.clear()
        self.layers = {}
        self.field = None

    def remove(self) -> None:
        """Take the layers out of the viewer."""
        layers = list(self.there().values())
        self.forget()
        remove_layers(self.viewer, layers)

    def clear(self) -> None:
        """Forget what still waits."""
        self._turns.clear()
        self._waiting.clear()

    @timed
    def _some(self) -> None:
        """Give layers their pixels as long as the time of a turn lasts."""
        until = time.perf_counter() + SECONDS
        while self._waiting and time.perf_counter() < until:
            slot, made = self._waiting.popleft()
            layer = self.there().get(slot)
            if made is None:
                _blank(layer)
            elif layer is None or layer.ndim != made.data.ndim:
                self._add(slot, made, layer)
            else:
                _replace(layer, made)
        if self._waiting:
            self._turns.add(self._some)
        elif self._last is not None:
            self.settled.emit(self._last)

    def _add(self, slot: Slot, made: Picture, before: Any) -> None:
        """Add a layer, in the place of one with other axes."""
        arguments = dict(made.arguments)
        if before is not None:
            arguments |= {"visible": before.visible, "contrast_limits": before.contrast_limits, "colormap": before.colormap}
            remove_layers(self.viewer, [before])
        layer = self.viewer.add_image(made.data, **arguments)
        layer.events.visible.connect(self._visible)
        self.layers[slot] = layer
        partner = self.layers.get(Slot(slot.channel, not slot.painted))
        if partner is not None:
            link_layers([layer, partner], LINKED)

    def _visible(self, _event: Any = None) -> None:
        self.visibility.emit()


def _replace(layer: Any, made: Picture) -> None:
    """Give a layer other pixels; its contrast, colours and visibility stay."""
    layer.metadata = {**layer.metadata, **made.arguments["metadata"]}
    for name in ("scale", "translate"):
        if not np.allclose(getattr(layer, name), made.arguments[name]):
            setattr(layer, name, made.arguments[name])
    layer.data = made.data


def _blank(layer: Any) -> None:
    """Show nothing where a field lacks a channel, or is not painted: pixels that are no number are black and have no score."""
    if layer is not None and not known(layer).get("blank"):
        layer.metadata = {**layer.metadata, KEY: {**known(layer), "blank": True}}
        layer.data = np.broadcast_to(np.float32(np.nan), layer.data.shape)


def extent_of(layers: Sequence[Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the corners in y and x of what some layers cover in the world; None where there are none."""
    if not layers:
        return None
    extents = np.stack([layer.extent.world[:, -2:] for layer in layers])
    return extents[:, 0].min(axis=0), extents[:, 1].max(axis=0)
