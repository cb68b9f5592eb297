"""Painting the cell that is being shaped: one worker that always takes the newest vector, so frames never queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari import run
from napari_virtual_paint._napari.timing import timed

if TYPE_CHECKING:
    from napari_virtual_paint.cells.population import Distance

LINGER = 1.0
"""Seconds that the worker waits for another vector before it goes home."""

Generate = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
Judge = Callable[[npt.NDArray[np.float32]], "Distance"]


@dataclass(frozen=True, eq=False)
class Painted:
    """A generated cell."""

    version: int
    vector: npt.NDArray[np.float32]
    crop: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Judged:
    """How far a vector is from real cells."""

    version: int
    distance: Distance


class CellPainter(QObject):  # type: ignore[misc]
    """Turns vectors into cells in the background; of those that come while it works, only the newest is painted.

    Attributes
    ----------
    asked, shown
        Versions of the vector asked for last, and of the last one that was painted.
    """

    painted = Signal(object)
    """A `Painted`; never an older one after a newer one."""
    judged = Signal(object)
    """A `Judged`, once no newer vector waits."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.asked = self.shown = -1
        self._generate: Generate | None = None
        self._judge: Judge | None = None
        self._waiting: tuple[int, npt.NDArray[np.float32], Generate, Judge] | None = None
        self._news = threading.Condition()
        self._at_work = False
        self._job: run.Job | None = None

    def open(self, generate: Generate, judge: Judge) -> None:
        """Paint and judge with these from now on; what still waits is forgotten."""
        self._generate, self._judge = generate, judge
        with self._news:
            self._waiting = None

    @property
    def busy(self) -> bool:
        """Whether the newest vector is not painted yet."""
        return self.shown < self.asked

    @timed
    def ask(self, version: int, vector: npt.NDArray[np.float32]) -> None:
        """Have a vector painted; one that still waits is dropped."""
        if self._generate is None or self._judge is None:
            return
        self.asked = version
        with self._news:
            self._waiting = (version, vector, self._generate, self._judge)
            self._news.notify()
            start, self._at_work = not self._at_work, True
        if start:
            self._job = run.start(self._work, title="Painting a cell", piece=self._piece, failed=self._failed, quiet=True)

    def stop(self) -> None:
        """Send the worker home."""
        with self._news:
            self._waiting = None
            self._news.notify()
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _work(self) -> Generator[Any, None, None]:
        """Run in the worker."""
        ended = False
        try:
            while True:
                order = self._next()
                if order is None:
                    ended = True
                    return
                version, vector, generate, judge = order
                yield Painted(version, vector, generate(vector[None])[0])
                if self._waiting is None:
                    yield Judged(version, judge(vector))
        finally:
            if not ended:
                with self._news:
                    self._at_work = False

    def _next(self) -> tuple[int, npt.NDArray[np.float32], Generate, Judge] | None:
        """Return the newest vector, waiting a while for it; None ends the work, in one step with looking for one."""
        with self._news:
            if self._waiting is None:
                self._news.wait(LINGER)
            order, self._waiting = self._waiting, None
            if order is None:
                self._at_work = False
            return order

    @timed
    def _piece(self, piece: Painted | Judged) -> None:
        if isinstance(piece, Painted):
            if piece.version > self.shown:
                self.shown = piece.version
                self.painted.emit(piece)
        elif piece.version == self.asked:
            self.judged.emit(piece)

    def _failed(self, _error: BaseException) -> None:
        self.shown = self.asked
