"""The viewer's list of layers: remove several at once, and follow its changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakMethod

from qtpy.compat import isalive


def remove_layers(viewer: Any, layers: Sequence[Any]) -> None:
    """Remove those of the layers that are still there, together: napari collects garbage and rebuilds its scene for each removal."""
    there = [layer for layer in layers if layer in viewer.layers]
    if there:
        with viewer.layers.batched_update():
            for layer in there:
                viewer.layers.remove(layer)


def follow_layers(viewer: Any, changed: Callable[[Any], Any]) -> None:
    """Call a method of a widget with each event of layers that are added, removed or moved in the list, as long as the widget lives."""
    method = WeakMethod(changed)

    def relay(event: Any = None) -> None:
        call: Any = method()
        if call is not None and isalive(call.__self__):
            call(event)

    events = viewer.layers.events
    for emitter in (events.inserted, events.removed, events.reordered):
        emitter.connect(relay)
