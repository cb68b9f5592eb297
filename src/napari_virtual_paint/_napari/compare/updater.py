"""Keep the scores up to date in the background: wait for quiet, one worker at a time, drop stale results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.compare.scores import ScoreRow, ScoreTask, score_tasks
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.metrics.pixels import Scale

SOON, LATER = 0.2, 0.9
"""Seconds of quiet waited for after a move of the view, and after a change of pixels (which, while painting, come twice a second)."""
LONGEST = {SOON: 1.0, LATER: 8.0}  # seconds after which the scores are taken even if there was no quiet


@dataclass(frozen=True, eq=False)
class ScoreRequest:
    """What to score."""

    tasks: tuple[ScoreTask, ...]
    scale: Scale
    where: str


class Updater(QObject):  # type: ignore[misc]
    """Scores in the background.

    Parameters
    ----------
    make
        Takes the request when its time has come, on the GUI thread; None where there is nothing to score.

    Signals
    -------
    scored
        The rows, their request, and the seconds it took.
    began
        The scores shown are no longer those of what is seen.
    """

    scored = Signal(object, object, float)
    began = Signal()

    def __init__(self, make: Callable[[], ScoreRequest | None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._make = make
        self._job = LatestJob(self, one_at_a_time=True)
        self._stop = threading.Event()
        self._waiting: tuple[float, float] | None = None
        self._timer = Debounced(0, self._due, self)

    @property
    def busy(self) -> bool:
        """Whether scores are being taken, or will be."""
        return self._timer.isActive() or self._job.running

    def ask(self, wait: float = SOON) -> None:
        """Request new scores once there is quiet; what runs is stale now and stops."""
        now = time.monotonic()
        first, longest = self._waiting or (now, LONGEST.get(wait, wait))
        longest = min(longest, LONGEST.get(wait, wait))
        self._waiting = (first, longest)
        self._timer.start(max(0, round(1000 * min(wait, first + longest - now))))
        self._stop.set()
        self.began.emit()

    def stop(self) -> None:
        """Stop all work; nothing is reported any more."""
        self._timer.stop()
        self._waiting = None
        self._stop.set()
        self._job.drop()

    @timed
    def _due(self) -> None:
        self._waiting = None
        self._stop.set()
        request = self._make()
        if request is None:
            self._job.drop()
            self.scored.emit((), None, 0.0)
            return
        stop = self._stop = threading.Event()

        def make() -> Generator[ScoreRow, None, tuple[tuple[ScoreRow, ...], float]]:
            began = time.perf_counter()
            rows = yield from score_tasks(request.tasks, request.scale, stop.is_set)
            return tuple(rows), time.perf_counter() - began

        def done(found: tuple[tuple[ScoreRow, ...], float]) -> None:
            if not stop.is_set():
                self.scored.emit(found[0], request, found[1])

        self._job.start(make, title="Comparing", done=done)


class Watch:
    """Watches the viewer for changes of what is compared. A plain object, so that it can disconnect after its widget is gone.

    Parameters
    ----------
    moved
        Called when the view moves; True if only the camera or the canvas did, so that the same plane is shown.
    changed
        Called with a layer when its pixels or its place change.
    listed
        Called when layers come, go or get another name.
    """

    PLACE = ("scale", "translate", "rotate", "shear", "affine", "units")

    def __init__(self, viewer: Any, moved: Callable[[bool], None], changed: Callable[[Any], None], listed: Callable[[], None]) -> None:
        self._viewer, self._moved, self._changed, self._listed = viewer, moved, changed, listed
        self._seen: dict[Any, tuple[Any, ...]] = {}
        self._emitters = [
            *((getattr(viewer.dims.events, name), self._on_move) for name in ("point", "order", "ndisplay")),
            *((getattr(viewer.scene.camera.events, name), self._on_camera) for name in ("center", "zoom")),
            (viewer.canvas.events.size, self._on_camera),
            (viewer.canvas.grid.events.enabled, self._on_camera),
            (viewer.layers.events.inserted, self._on_insert),
            (viewer.layers.events.removed, self._on_remove),
        ]
        for emitter, callback in self._emitters:
            emitter.connect(callback)
        for layer in viewer.layers:
            self._follow(layer)

    def close(self) -> None:
        """Disconnect from the viewer."""
        for emitter, callback in self._emitters:
            emitter.disconnect(callback)
        self._emitters = []
        for layer in list(self._seen):
            self._leave(layer)

    def _follow(self, layer: Any) -> None:
        if type(layer).__name__ != "Image":
            return
        self._seen[layer] = self._state(layer)
        layer.events.name.connect(self._on_name)
        layer.events.set_data.connect(self._on_pixels)
        layer.events.visible.connect(self._on_visible)
        for name in self.PLACE:
            getattr(layer.events, name).connect(self._on_place)

    def _leave(self, layer: Any) -> None:
        if self._seen.pop(layer, None) is None:
            return
        layer.events.name.disconnect(self._on_name)
        layer.events.set_data.disconnect(self._on_pixels)
        layer.events.visible.disconnect(self._on_visible)
        for name in self.PLACE:
            getattr(layer.events, name).disconnect(self._on_place)

    def _state(self, layer: Any) -> tuple[Any, ...]:
        """Return what makes a layer take another slice although its pixels stay as they are."""
        dims = self._viewer.dims
        tile = (layer.data_level, *layer.corner_pixels.ravel().tolist()) if layer.multiscale else ()
        return (dims.point, dims.order, dims.ndisplay, layer.visible, id(layer.data), tile)

    @timed
    def _on_move(self, event: Any = None) -> None:
        self._moved(False)

    @timed
    def _on_camera(self, event: Any = None) -> None:
        self._moved(True)

    @timed
    def _on_pixels(self, event: Any) -> None:
        """Report changed pixels, not a mere new slice: that comes with a change of the view or of visibility."""
        layer = event.source
        state, before = self._state(layer), self._seen.get(layer)
        self._seen[layer] = state
        if before is None or state == before or state[4] != before[4]:
            self._changed(layer)

    @timed
    def _on_visible(self, event: Any) -> None:
        self._seen[event.source] = self._state(event.source)

    @timed
    def _on_place(self, event: Any) -> None:
        self._changed(event.source)

    @timed
    def _on_name(self, event: Any = None) -> None:
        self._listed()

    @timed
    def _on_insert(self, event: Any) -> None:
        self._follow(event.value)
        self._listed()

    @timed
    def _on_remove(self, event: Any) -> None:
        self._leave(event.value)
        self._listed()
