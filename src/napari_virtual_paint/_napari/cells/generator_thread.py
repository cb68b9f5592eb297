"""Generating the edited cell, or a shifted group: one thread that always takes the newest request, so that frames never queue."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.shared import collection, jobs
from napari_virtual_paint._napari.shared.gui_timing import timed

if TYPE_CHECKING:
    from napari_virtual_paint.cells.populations.population import Distance

LINGER = 2.0  # seconds that the thread waits for another vector before it ends
UNSEEN = 0.1  # seconds after which the next picture is begun although the last one was not drawn, as in a dock behind another
REST = 0.06  # seconds without a newer vector before the distance is computed: while a slider moves, each repaint spared is a sooner picture
NAME = "napari-virtual-paint cells"

Floats = npt.NDArray[np.float32]
Generate = Callable[[Any], Floats]  # a vector (p,), or what else is requested -> cells (..., C, d, d) on the display scale
DistanceTo = Callable[[Any, int], "Distance"]  # a vector and the cell that it was made from -> its distance from real cells
LikeTo = Callable[[Any, int], "Like"]  # a vector and the cell that it was made from -> the other real cells that are most like it


@dataclass(frozen=True, eq=False)
class Like:
    """Real cells that are most like a vector, the nearest first."""

    positions: npt.NDArray[np.intp]  # (m,), in the cells that have pictures
    distances: npt.NDArray[np.float64]  # (m,), standard deviations a feature


@dataclass(frozen=True, eq=False)
class GeneratedCell:
    """A generated cell (C, d, d) on the display scale (or several), the version of its vector, and the real cells like it."""

    version: int
    crop: Floats
    like: Like | None = None


@dataclass(frozen=True, eq=False)
class _VectorDistance:
    version: int
    distance: Distance


@dataclass(frozen=True, eq=False)
class _GenerateRequest:
    version: int
    vector: Any
    cell: int
    generate: Generate
    distance_to: DistanceTo | None
    like_to: LikeTo | None


class GeneratorThread(QObject):  # type: ignore[misc]
    """Turns vectors into cells in the background; of those that come while it works, only the newest is generated.

    This is a thread of its own, not one of `jobs`: those run at lower priority than the GUI thread, which is right for a painting that
    takes minutes. Here the user waits for the picture while dragging, and a low-priority thread that holds Python's lock delays the GUI.

    Attributes
    ----------
    requested, shown
        Versions of the newest vector requested, and of the newest one generated.
    """

    generated = Signal(object)
    """A `GeneratedCell`; never an older one after a newer one."""
    distance_known = Signal(object)
    """The `Distance` of the newest vector, once no other waits."""
    _result = Signal(object)
    """From the thread to the GUI thread: a `GeneratedCell`, a `_VectorDistance` or an error."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.requested = self.shown = self._last_distance = -1
        self._generate: Generate | None = None
        self._distance_to: DistanceTo | None = None
        self._like_to: LikeTo | None = None
        self._waiting: _GenerateRequest | None = None
        self._changed = threading.Condition()
        self._running = False
        self._on_screen = threading.Event()
        self._result.connect(self._arrived)

    def open(self, generate: Generate, distance_to: DistanceTo | None = None, like_to: LikeTo | None = None) -> None:
        """Use these functions from now on; a vector that still waits is dropped."""
        self._generate, self._distance_to, self._like_to = generate, distance_to, like_to
        with self._changed:
            self._waiting = None

    @property
    def busy(self) -> bool:
        """Whether the picture or the distance of the newest vector is missing."""
        return min(self.shown, self._last_distance) < self.requested

    @timed
    def request(self, version: int, vector: Any, cell: int = -1) -> None:
        """Request the picture of a vector; one that still waits is dropped."""
        if self._generate is None:
            return
        self.requested = version
        with self._changed:
            self._waiting = _GenerateRequest(version, vector, cell, self._generate, self._distance_to, self._like_to)
            self._changed.notify()
            start, self._running = not self._running, True
        if start:
            collection.hold()
            threading.Thread(target=self._work, name=NAME).start()

    def on_screen(self) -> None:
        """Report that the last picture is on the screen; only then is the next begun, from the newest vector at that time.

        Generating ahead would compete for the processor while the last picture is still being drawn, and the next one would show an
        outdated vector: both make the picture lag behind the mouse.
        """
        self._on_screen.set()

    def stop(self) -> None:
        """End the thread after the current picture."""
        with self._changed:
            self._waiting = None
            self._generate = self._distance_to = self._like_to = None
            self._changed.notify()

    def _work(self) -> None:
        """Run in the thread."""
        try:
            self._serve()
        finally:
            collection.release()

    def _serve(self) -> None:
        """Generate what is requested until nothing is."""
        _use_one_core()
        while (request := self._next()) is not None:
            try:
                crop = request.generate(request.vector)
                like = None if request.like_to is None else request.like_to(request.vector, request.cell)
                self._on_screen.clear()
                self._emit(GeneratedCell(request.version, crop, like))
                self._on_screen.wait(UNSEEN)
                if request.distance_to is not None and self._at_rest():
                    self._emit(_VectorDistance(request.version, request.distance_to(request.vector, request.cell)))
            except Exception as error:  # noqa: BLE001 - the user gets a sentence, and the next vector is tried
                self._emit(error)

    def _emit(self, result: GeneratedCell | _VectorDistance | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the dock was closed meanwhile
            self._result.emit(result)

    def _at_rest(self) -> bool:
        """Wait a moment for a newer vector; return whether there is none, so that there is time for the distance."""
        with self._changed:
            if self._waiting is None:
                self._changed.wait(REST)
            return self._waiting is None and self._generate is not None

    def _next(self) -> _GenerateRequest | None:
        """Return the newest vector, waiting a while for one; None ends the thread, decided under the same lock."""
        with self._changed:
            if self._waiting is None and self._generate is not None:
                self._changed.wait(LINGER)
            request, self._waiting = self._waiting, None
            if request is None:
                self._running = False
            return request

    @timed
    def _arrived(self, result: GeneratedCell | _VectorDistance | Exception) -> None:
        if isinstance(result, Exception):
            self.shown = self._last_distance = self.requested
            jobs.show_failure("Painting a cell", result)
        elif isinstance(result, _VectorDistance):
            self._last_distance = result.version
            if result.version == self.requested:
                self.distance_known.emit(result.distance)
        elif result.version > self.shown:
            self.shown = result.version
            if self._distance_to is None:
                self._last_distance = result.version
            self.generated.emit(result)


def _use_one_core() -> None:
    """Let torch use one core in this thread.

    One small cell gains nothing from several, and where other work keeps them busy their waiting for each other takes ten times as long
    as the computation. Torch's setting is this thread's own, but threads created later inherit it: another thread restores it for them.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    other = threading.Thread(target=torch.set_num_threads, args=(before,))
    other.start()
    other.join()
