"""Plates that wait to be painted, one after the other; what becomes of each field is told as it happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from qtpy.QtCore import QObject, QTimer, Signal

from napari_virtual_paint._napari.plate.state import PaintedFields, PlateState
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.progress import JobProgress
from napari_virtual_paint.models import Model
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.view.colouring import State
from napari_virtual_paint.runtime.progress import EtaEstimator, time_left
from napari_virtual_paint.runtime.text import duration

How = Literal["waiting", "painting", "paused", "done", "cancelled", "failed"]
NOD = 0.1
"""Seconds between two looks whether a pause is over."""
WAIT = 200
"""Milliseconds between two looks whether the last painting has come to a stop."""


@dataclass(frozen=True, eq=False)
class PlateOrder:
    """A plate to be painted.

    Parameters
    ----------
    choice
        Output, kind, workers, device.
    plate
        The plate, or the part of it that is to be painted.
    model
        The opened model.
    """

    choice: PlateState
    plate: Plate
    model: Model

    @property
    def output(self) -> str:
        """The painted plate."""
        return self.plate.source if self.choice.kind == "in-place" else self.choice.output


@dataclass(eq=False)
class Entry:
    """An order in the queue, and how far it is.

    Parameters
    ----------
    order
        What is to be painted.
    painted
        What is painted; shared with whoever shows the plate.
    how
        How it stands.
    progress
        How far it is.
    said
        How it ended, in words.
    left
        Seconds that it will still take; fields that were painted before say nothing of the pace.
    clock
        Tells that.
    """

    order: PlateOrder
    painted: PaintedFields
    how: How = "waiting"
    progress: JobProgress = field(default_factory=JobProgress)
    said: str = ""
    left: float | None = None
    clock: EtaEstimator = field(default_factory=EtaEstimator)

    def line(self) -> str:
        """Return the entry in one line."""
        name = f"{Path(self.order.plate.source).name} → {Path(self.order.output).name}"
        if self.how in ("painting", "paused"):
            left = time_left(self.left) if self.how == "painting" else ""
            parts = [f"{int(self.progress.done)} of {len(self.order.plate.fields)} fields", left]
            return f"{name}: {self.how}, {', '.join(part for part in parts if part)}"
        return f"{name}: {self.said or self.how}"


class PlateQueue(QObject):  # type: ignore[misc]
    """Paints plates, one after the other.

    Signals
    -------
    stepped
        The entry and the key of a field whose state changed.
    changed
        Something in the list changed: an entry came, went, or is further on.
    ended
        The entry that came to its end.
    """

    stepped = Signal(object, str)
    changed = Signal()
    ended = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self.current: Entry | None = None
        self._job: jobs.Job | None = None
        self._last: Any = None
        self._hold = threading.Event()
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a plate is being painted."""
        return self.current is not None

    def add(self, order: PlateOrder, painted: PaintedFields) -> Entry:
        """Put an order last, and begin with it if nothing else is painted."""
        entry = Entry(order, painted)
        for place in order.plate.fields:
            if painted.states.get(place.key) != "done":
                painted.states[place.key] = "queued"
        self.entries.append(entry)
        self.changed.emit()
        self._next()
        return entry

    def remove(self, entry: Entry) -> None:
        """Take an entry off the list; the one that is painted is cancelled."""
        if entry is self.current:
            self.cancel()
            return
        if entry in self.entries:
            self.entries.remove(entry)
            self._settle(entry)
            self.changed.emit()

    def cancel(self) -> None:
        """Stop the painting that runs, within a second; what is painted is kept, and a later run goes on with the rest."""
        if self._job is not None:
            self._hold.clear()
            self._job.cancel()

    def pause(self, on: bool) -> None:
        """Hold the painting after the fields that are under way, or go on."""
        if self.current is None:
            return
        (self._hold.set if on else self._hold.clear)()
        self.current.how = "paused" if on else "painting"
        self.changed.emit()

    def close(self) -> None:
        """Stop for good."""
        self._closed = True
        self.entries = [entry for entry in self.entries if entry is self.current]
        self.cancel()

    def _next(self) -> None:
        waiting = next((entry for entry in self.entries if entry.how == "waiting"), None)
        if self.current is not None or waiting is None or self._closed:
            return
        if self._last in jobs.LIVE:
            QTimer.singleShot(WAIT, self._next)  # a cancelled painting may take a moment more to let go of its output
            return
        entry = self.current = waiting
        entry.how = "painting"
        self._hold.clear()
        job = self._job = jobs.start(
            lambda: paint(entry.order, self._hold),
            title=f"Painting {Path(entry.order.plate.source).name} with {entry.order.model.info.name}",
            piece=lambda step: self._step(entry, step),
            tick=lambda progress: self._tick(entry, progress),
            done=lambda summary: self._end(entry, "done", told(summary)),
            failed=lambda _error: self._end(entry, "failed", "stopped by an error"),
            cancelled=lambda: self._end(entry, "cancelled", "cancelled; it can go on later"),
        )
        job.ended.connect(self.changed.emit)
        self.changed.emit()

    @timed
    def _step(self, entry: Entry, step: Any) -> None:
        place, state = getattr(step, "field", None), getattr(step, "state", "")
        if state != "skipped" and getattr(step, "total", 0):
            entry.left = entry.clock.left(step.done, step.total, time.monotonic())
        if place is None or not state:
            return
        painted, key = entry.painted, place.key
        if state in ("done", "skipped", "failed"):
            painted.take(key, {**dict(step.row), "state": "failed" if state == "failed" else "done"})
        elif painted.states.get(key) == state:
            return
        else:
            painted.states[key] = "painting"
        self.stepped.emit(entry, key)

    @timed
    def _tick(self, entry: Entry, progress: JobProgress) -> None:
        entry.progress = progress
        self.changed.emit()

    @timed
    def _end(self, entry: Entry, how: How, said: str) -> None:
        entry.how, entry.said = how, said
        self._last, self.current, self._job = self._job, None, None
        self._settle(entry)
        self.changed.emit()
        self.ended.emit(entry)
        self._next()

    @staticmethod
    def _settle(entry: Entry) -> None:
        """Nothing of an entry that has ended is queued or being painted any more."""
        states: dict[str, State] = entry.painted.states
        for place in entry.order.plate.fields:
            if states.get(place.key) in ("queued", "painting"):
                del states[place.key]


def paint(order: PlateOrder, hold: threading.Event) -> Generator[Any, None, Any]:
    """Paint one plate (on a worker), and wait while it is held."""
    from napari_virtual_paint.painting.settings import PaintSettings
    from napari_virtual_paint.plates import paint as engine

    choice = order.choice
    output = None if choice.kind == "in-place" else choice.output
    work = engine.paint_plate(
        order.plate, order.model, output, PaintSettings(device=choice.device), kind=choice.kind, workers=choice.workers or None
    )
    try:
        while True:
            yield next(work)
            while hold.is_set():
                time.sleep(NOD)
                yield None
    except StopIteration as stop:
        return stop.value
    finally:
        work.close()


def told(summary: Any) -> str:
    """Return how a painting ended, in words."""
    said = [f"{summary.painted} painted"]
    if summary.skipped:
        said.append(f"{summary.skipped} before")
    if summary.failed:
        said.append(f"{summary.failed} failed")
    return f"{', '.join(said)} in {duration(summary.seconds)}"
