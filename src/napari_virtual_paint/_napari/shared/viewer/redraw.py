"""How long the canvas takes to be drawn, so that what fills it while work runs leaves most of the time to the work."""

from __future__ import annotations

import contextlib
import time
from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QTimer

from napari_virtual_paint._napari.shared.viewer.proxy import unwrapped

SHARE = 0.2  # most of the time that may be spent drawing
SLOW = 0.1  # seconds from which on drawing is slow: several layers are then changed in one turn, for one drawing

_PACES: WeakKeyDictionary[Any, RedrawPace] = WeakKeyDictionary()


class RedrawPace:
    """Measures how long a viewer's canvas takes to be drawn, and says when it may be drawn again.

    Attributes
    ----------
    cost
        Seconds that the last drawing took; 0 before the first.
    """

    def __init__(self, viewer: Any) -> None:
        self.cost = 0.0
        self._began = self._ended = 0.0
        # The names are private to napari; without them every drawing counts as quick.
        with contextlib.suppress(AttributeError):
            viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(self._drawing, position="first")

    @property
    def slow(self) -> bool:
        """Whether the canvas is slow to draw (3D without a graphics card, mosaics)."""
        return self.cost > SLOW

    def ready(self) -> bool:
        """Return whether so much time has passed that drawing again takes at most `SHARE` of it."""
        return time.perf_counter() - self._ended >= self.cost * (1 / SHARE - 1)

    def _drawing(self, _event: Any = None) -> None:
        """Note that a drawing begins; it is over in the next turn of the event loop, with the window's."""
        self._began = time.perf_counter()
        QTimer.singleShot(0, self._drawn)

    def _drawn(self) -> None:
        self._ended = time.perf_counter()
        self.cost = self._ended - self._began


def redraw_pace(viewer: Any) -> RedrawPace:
    """Return the pace of a viewer's canvas."""
    viewer = unwrapped(viewer)
    if viewer not in _PACES:
        _PACES[viewer] = RedrawPace(viewer)
    return _PACES[viewer]
