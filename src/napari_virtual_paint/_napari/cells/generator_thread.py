"""Painting the cell that is being shaped: one worker that always takes the newest vector, so frames never queue."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.gui_timing import timed

if TYPE_CHECKING:
    from napari_virtual_paint.cells.populations.population import Distance

LINGER = 2.0
"""Seconds that the thread waits for another vector before it ends."""
UNSEEN = 0.1
"""Seconds after which the next picture is begun even if nobody tells that the last one was seen, as in a dock behind another."""
REST = 0.06
"""Seconds without a newer vector after which one is judged: while a slider moves, each repaint that is spared is a sooner picture."""
NAME = "napari-virtual-paint cells"

Generate = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
Judge = Callable[[npt.NDArray[np.float32], int], "Distance"]
"""Tells how far a vector, made from a cell, is from real cells."""


@dataclass(frozen=True, eq=False)
class GeneratedCell:
    """A generated cell."""

    version: int
    vector: npt.NDArray[np.float32]
    crop: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class VectorDistance:
    """How far a vector is from real cells."""

    version: int
    distance: Distance


@dataclass(frozen=True, eq=False)
class _DrawRequest:
    version: int
    vector: npt.NDArray[np.float32]
    cell: int
    generate: Generate
    judge: Judge


class GeneratorThread(QObject):  # type: ignore[misc]
    """Turns vectors into cells in the background; of those that come while it works, only the newest is painted.

    It has a thread of its own, not one of `run`: those step back behind the screen's thread, which is right for a painting that takes
    minutes. Here the user's hand waits for the picture, and a thread that steps back while it holds Python's lock holds up the screen.

    Attributes
    ----------
    asked, shown
        Versions of the vector asked for last, and of the last one that was painted.
    """

    painted = Signal(object)
    """A `GeneratedCell`; never an older one after a newer one."""
    judged = Signal(object)
    """A `VectorDistance`, once no newer vector waits."""
    _made = Signal(object)
    """From the thread to the screen's: a `GeneratedCell`, a `VectorDistance` or an error."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.asked = self.shown = self._last_judged = -1
        self._generate: Generate | None = None
        self._judge: Judge | None = None
        self._waiting: _DrawRequest | None = None
        self._news = threading.Condition()
        self._at_work = False
        self._on_screen = threading.Event()
        self._made.connect(self._arrived)

    def open(self, generate: Generate, judge: Judge) -> None:
        """Paint and judge with these from now on; what still waits is forgotten."""
        self._generate, self._judge = generate, judge
        with self._news:
            self._waiting = None

    @property
    def busy(self) -> bool:
        """Whether the newest vector is not painted and judged yet."""
        return min(self.shown, self._last_judged) < self.asked

    @timed
    def ask(self, version: int, vector: npt.NDArray[np.float32], cell: int = -1) -> None:
        """Have a vector painted; one that still waits is dropped."""
        if self._generate is None or self._judge is None:
            return
        self.asked = version
        with self._news:
            self._waiting = _DrawRequest(version, vector, cell, self._generate, self._judge)
            self._news.notify()
            start, self._at_work = not self._at_work, True
        if start:
            threading.Thread(target=self._work, name=NAME).start()

    def on_screen(self) -> None:
        """Tell that the last picture is on the screen: only then the next is begun, from the vector that is the newest then.

        Painting ahead would take the processor from the screen while the screen is still busy with the last picture, and the next one
        would show a vector from before: both make the picture lag behind the hand.
        """
        self._on_screen.set()

    def stop(self) -> None:
        """End the thread, after the picture it is at."""
        with self._news:
            self._waiting = None
            self._generate = self._judge = None
            self._news.notify()

    def _work(self) -> None:
        """Run in the thread."""
        _one_core()
        while (order := self._next()) is not None:
            try:
                crop = order.generate(order.vector[None])[0]
                self._on_screen.clear()
                self._tell(GeneratedCell(order.version, order.vector, crop))
                self._on_screen.wait(UNSEEN)
                if self._at_rest():
                    self._tell(VectorDistance(order.version, order.judge(order.vector, order.cell)))
            except Exception as error:  # noqa: BLE001 - the user gets a sentence, and the next vector is tried
                self._tell(error)

    def _tell(self, thing: GeneratedCell | VectorDistance | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the dock was closed meanwhile
            self._made.emit(thing)

    def _at_rest(self) -> bool:
        """Wait a moment for a newer vector; return whether there is none: then there is time to judge this one."""
        with self._news:
            if self._waiting is None:
                self._news.wait(REST)
            return self._waiting is None and self._generate is not None

    def _next(self) -> _DrawRequest | None:
        """Return the newest vector, waiting a while for it; None ends the thread, in one step with looking for one."""
        with self._news:
            if self._waiting is None and self._generate is not None:
                self._news.wait(LINGER)
            order, self._waiting = self._waiting, None
            if order is None:
                self._at_work = False
            return order

    @timed
    def _arrived(self, thing: GeneratedCell | VectorDistance | Exception) -> None:
        if isinstance(thing, Exception):
            self.shown = self._last_judged = self.asked
            jobs.show_failure("Painting a cell", thing)
        elif isinstance(thing, VectorDistance):
            self._last_judged = thing.version
            if thing.version == self.asked:
                self.judged.emit(thing)
        elif thing.version > self.shown:
            self.shown = thing.version
            self.painted.emit(thing)


def _one_core() -> None:
    """Have this thread paint with one core.

    One small cell gains nothing from several, and where other work keeps them busy their waiting for each other takes ten times as long
    as the painting. Torch's setting is this thread's own, but threads made from now on take it too: another thread puts that back.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    other = threading.Thread(target=torch.set_num_threads, args=(before,))
    other.start()
    other.join()
