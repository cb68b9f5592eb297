"""Layers of the current field: one per channel, created once per plate and refilled on navigation."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from napari.experimental import link_layers
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.plate.field_loader import ChannelSlot, FieldPictures, Picture, middle
from napari_virtual_paint._napari.shared.background import Debounced
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.viewer.layer_list import remove_layers
from napari_virtual_paint._napari.shared.viewer.layers import KEY, our_metadata

SECONDS = 0.007  # time in which layers are filled in one turn of the event loop
LATER = 120  # milliseconds that hidden layers wait, so that the visible ones are drawn first
IN_PLACE = 32 * 2**20
"""Pictures up to this many bytes are copied into the array of their layer, which costs napari far less than a new array."""
LINKED = ("gamma", "colormap", "interpolation2d")
"""Attributes that a predicted layer shares with the true one; not visibility and contrast, since their intensities have no common unit."""


class FieldLayers(QObject):  # type: ignore[misc]
    """Shows fields in one set of layers.

    Attributes
    ----------
    hold
        Called with True to keep the canvas from being drawn until all layers have their pixels, then with False.
    """

    settled = Signal(object)
    """The `FieldPictures` whose pictures are all in their layers."""
    visibility = Signal()
    """A layer was shown or hidden."""

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layers: dict[ChannelSlot, Any] = {}
        self.field: Any = None
        self.hold: Callable[[bool], None] = lambda on: None
        self._steps = StepQueue()
        self._waiting: deque[tuple[ChannelSlot, Picture | None]] = deque()
        self._hidden: deque[tuple[ChannelSlot, Picture | None]] = deque()
        self._stale: list[Any] = []
        self._fresh: FieldPictures | None = None
        self._rest: FieldPictures | None = None
        self._later = Debounced(LATER, self._fill_hidden, self)

    @property
    def waits(self) -> bool:
        """Whether pictures wait for their layers."""
        return bool(self._waiting or self._hidden or self._stale) or self._later.isActive()

    def present(self) -> dict[ChannelSlot, Any]:
        """Return the layers that the user has not removed."""
        inside = set(self.viewer.layers)
        self.layers = {slot: layer for slot, layer in self.layers.items() if layer in inside}
        return self.layers

    def shown(self) -> set[ChannelSlot] | None:
        """Return the channels that are shown; None where the plate has no layers yet."""
        layers = self.present()
        return {slot for slot, layer in layers.items() if layer.visible} if layers else None

    def groups(self) -> dict[str, bool]:
        """Return which of ``brightfield``, ``true`` and ``painted`` there are, and whether any layer of each is shown."""
        found: dict[str, bool] = {}
        for slot, layer in self.present().items():
            found[slot.group] = found.get(slot.group, False) or layer.visible
        return found

    def show_group(self, group: str, on: bool) -> None:
        """Show or hide a group; of the brightfield planes only the middle one is shown."""
        some = {slot: layer for slot, layer in self.present().items() if slot.group == group}
        chosen = middle(list(some)) if group == "brightfield" else set(some)
        for slot, layer in some.items():
            wanted = on and slot in chosen
            if layer.visible != wanted:
                self._steps.add(partial(setattr, layer, "visible", wanted))

    def put(self, batch: FieldPictures) -> None:
        """Show pictures of a field; those of another field replace what still waits."""
        made = [(each.slot, each) for each in batch.pictures]
        if not batch.first:
            self._rest = batch
            self._hidden.extend(made)
            if not (self._waiting or self._later.isActive()):
                self._later.start()
            return
        self.field, self._fresh, self._rest = batch.field, batch, None
        gone = [slot for slot in self.present() if slot not in batch.slots]
        self._waiting = deque([*((slot, None) for slot in gone), *made])
        self._hidden.clear()
        self.hold(True)
        if batch.alone:
            shown = {each.slot for each in batch.pictures}
            self._steps.add(*(partial(setattr, layer, "visible", slot in shown) for slot, layer in self.present().items()))
        self._steps.add(self._fill_some)

    def _fill_hidden(self) -> None:
        """Fill the hidden layers, and draw the thumbnails of the visible ones."""
        self._waiting.extend(self._hidden)
        self._hidden.clear()
        stale, self._stale = self._stale, []
        self._steps.add(*(partial(_thumbnail, self.viewer, layer) for layer in stale))
        if self._waiting:
            self._steps.add(self._fill_some)

    def forget(self) -> None:
        """Forget the layers; they stay in the viewer as they are."""
        self.clear()
        self.layers = {}
        self.field = None

    def remove(self) -> None:
        """Remove the layers from the viewer."""
        layers = list(self.present().values())
        self.forget()
        remove_layers(self.viewer, layers)

    def clear(self) -> None:
        """Drop the pictures that still wait."""
        self._steps.clear()
        self._later.stop()
        self._waiting.clear()
        self._hidden.clear()
        self._stale, self._fresh = [], None
        self.hold(False)

    @timed
    def _fill_some(self) -> None:
        """Fill layers as long as the time of one turn lasts."""
        until = time.perf_counter() + SECONDS
        while self._waiting and time.perf_counter() < until:
            slot, made = self._waiting.popleft()
            layer = self.present().get(slot)
            if made is None:
                _blank(layer)
            elif layer is None or layer.ndim != made.data.ndim:
                self._add(slot, made, layer)
            else:
                _replace(layer, made)
        if self._waiting:
            self._steps.add(self._fill_some)
            return
        self.hold(False)
        if self._fresh is not None:
            self._stale = [layer for layer in self.present().values() if layer.visible]
        batch, self._fresh = self._fresh or self._rest, None
        if batch is not None:
            self.settled.emit(batch)
        if self._hidden or self._stale:
            self._later.start()

    def _add(self, slot: ChannelSlot, made: Picture, before: Any) -> None:
        """Add a layer, in place of one with other axes."""
        arguments = dict(made.arguments)
        if before is not None:
            arguments |= {"visible": before.visible, "contrast_limits": before.contrast_limits, "colormap": before.colormap}
            remove_layers(self.viewer, [before])
        layer = self.viewer.add_image(_own(made.data), **arguments)
        layer.events.visible.connect(self._visible)
        self.layers[slot] = layer
        partner = self.layers.get(ChannelSlot(slot.channel, not slot.painted))
        if partner is not None:
            link_layers([layer, partner], LINKED)

    def _visible(self, _event: Any = None) -> None:
        if isalive(self):  # the layers outlive the dock
            self.visibility.emit()


def _replace(layer: Any, made: Picture) -> None:
    """Replace the pixels of a layer; its contrast, colours and visibility stay."""
    layer.metadata = {**layer.metadata, **made.arguments["metadata"]}
    for name in ("scale", "translate"):
        if not np.allclose(getattr(layer, name), made.arguments[name]):
            setattr(layer, name, made.arguments[name])
    now, data = layer.data, made.data
    if not (fits_in_place(now) and isinstance(data, np.ndarray) and (now.shape, now.dtype) == (data.shape, data.dtype)):
        layer.data = _own(data)
        return
    np.copyto(now, data)
    layer.refresh(thumbnail=False, highlight=False, extent=False)


def _thumbnail(viewer: Any, layer: Any) -> None:
    if layer in viewer.layers:
        layer.refresh(data_displayed=False, highlight=False, extent=False)


def _blank(layer: Any) -> None:
    """Blank the layer of a channel that the field lacks: NaN is drawn black and has no score."""
    if layer is None or our_metadata(layer).get("blank"):
        return
    layer.metadata = {**layer.metadata, KEY: {**our_metadata(layer), "blank": True}}
    if fits_in_place(layer.data):
        layer.data.fill(np.nan if layer.dtype.kind == "f" else 0)
        layer.refresh(thumbnail=False, highlight=False, extent=False)
    else:
        layer.data = np.broadcast_to(np.float32(np.nan), layer.data.shape)


def fits_in_place(data: Any) -> bool:
    """Return whether the pixels of a layer are an array that may be overwritten, and small enough for it."""
    return isinstance(data, np.ndarray) and data.nbytes <= IN_PLACE and bool(data.flags.writeable)


def _own(data: Any) -> Any:
    """Return pixels that may be overwritten: the cache keeps its own."""
    return data.copy() if isinstance(data, np.ndarray) and data.nbytes <= IN_PLACE else data
