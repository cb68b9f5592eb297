"""The viewer's list of layers: remove several at once, follow its changes, and keep their removal from ending napari."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakMethod, WeakSet, ref

from qtpy.compat import isalive

from napari_virtual_paint._napari.shared.viewer.proxy import unwrapped

MANY = 32  # layers that are more than the channels of one image; beyond, a burst of changes to the list is followed at its end ...
BURST = 100  # ... milliseconds after the last change
_GUARDED: WeakSet[Any] = WeakSet()  # viewers whose removals are guarded


def guard_removals(viewer: Any) -> None:
    """Make the canvas's OpenGL context current before any layer is removed, by whomever.

    napari 0.9 deletes a removed layer's buffers at once, in whatever context is current. Outside a paint event this is Qt's own: the
    canvas's context keeps pointing to deleted buffers, and the next drawing is a segmentation fault in ``glDrawArrays`` (Mesa), or an
    access violation (Windows).
    """
    viewer = unwrapped(viewer)
    if viewer in _GUARDED or getattr(viewer, "window", None) is None:
        return
    _GUARDED.add(viewer)
    weak: Callable[[], Any] = ref(viewer)

    def make_current(event: Any = None) -> None:
        # The names are private to napari; without them removal is as it is in napari alone.
        with contextlib.suppress(AttributeError, RuntimeError):
            weak().window._qt_viewer.canvas._scene_canvas.set_current()

    viewer.layers.events.removing.connect(make_current)


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
