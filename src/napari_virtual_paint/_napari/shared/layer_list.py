"""The viewer's list of layers: remove several at once, and follow its changes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from qtpy.QtCore import QObject


def remove_layers(viewer: Any, layers: Sequence[Any]) -> None:
    """Remove those of the layers that are still there, together: napari collects garbage and rebuilds its scene for each removal."""
    there = [layer for layer in layers if layer in viewer.layers]
    if there:
        with viewer.layers.batched_update():
            for layer in there:
                viewer.layers.remove(layer)


def follow_layers(viewer: Any, changed: Callable[[Any], Any], owner: QObject) -> None:
    """Call `changed` with each event of layers that are added, removed or moved in the list, until the owner is destroyed."""
    events = viewer.layers.events
    emitters = (events.inserted, events.removed, events.reordered)
    for emitter in emitters:
        emitter.connect(changed)
    owner.destroyed.connect(partial(_disconnect, emitters, changed))


def _disconnect(emitters: Sequence[Any], callback: Callable[[Any], Any], *_: Any) -> None:
    for emitter in emitters:
        with contextlib.suppress(RuntimeError, ValueError, TypeError):  # the viewer may be gone before
            emitter.disconnect(callback)
