"""Plates painted one after another, each field reported as it is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QObject, QTimer, Signal

from napari_virtual_paint._napari.plate.state import PaintedFields, PlateState
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.progress import JobProgress
from napari_virtual_paint.counting.settings import CountSettings
from napari_virtual_paint.models import Model
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.runtime.progress import EtaEstimator, time_left
from napari_virtual_paint.runtime.text import counted

if TYPE_CHECKING:
    from napari_virtual_paint.plates.paint import PlateProgress

Status = Literal["waiting", "painting", "paused", "done", "cancelled", "failed"]
POLL = 0.1  # seconds between two checks whether a pause is over
WAIT = 200  # milliseconds between two checks whether the last painting has released its output


@dataclass(eq=False)
class PaintTask:
    """A plate to be painted, and its progress."""

    state: PlateState  # output, kind, workers and settings of the painting
    plate: Plate  # the plate, or the part of it that is to be painted
    model: Model  # the opened model
    painted: PaintedFields  # what is painted; shared with whoever shows the plate
    status: Status = "waiting"  # its place in the course of things
    progress: JobProgress = field(default_factory=JobProgress)  # fields done and in all
    outcome: str = ""  # how it ended, in words
    seconds_left: float | None = None  # estimate from the fields painted by this run; None while there is none
    _eta: EtaEstimator = field(default_factory=EtaEstimator)

    @property
    def output(self) -> str:
        """The painted plate."""
        return self.state.new_output or self.plate.source

    def line(self) -> str:
        """Return the task in one line, with its plate and output."""
        return f"{Path(self.plate.source).name} → {Path(self.output).name}: {self.words()}"

    def words(self) -> str:
        """Return how far it is, or how it ended."""
        if self.status in ("painting", "paused"):
            left = time_left(self.seconds_left) if self.status == "painting" else ""
            parts = [f"{int(self.progress.done)} of {counted(len(self.plate.fields), 'field')}", left]
            return f"{self.status}, {', '.join(part for part in parts if part)}"
        return self.outcome or self.status

    def update(self, step: PlateProgress) -> bool:
        """Take up a step of the painting; return whether the state of its field has changed."""
        if step.state != "skipped" and step.total:  # fields painted by an earlier run say nothing about the pace
            self.seconds_left = self._eta.left(step.done, step.total, time.monotonic())
        changed = self.painted.update(step)
        if changed and step.state != "failed":  # there is a job, and this model paints it
            self.painted.model, self.painted.package = self.model.info.id, str(self.model.info.source)
            self.painted.kind, self.painted.channels = self.state.kind, self.state.painting.channels
        return changed

    def settle(self) -> None:
        """Mark no field as queued or being painted any more."""
        for place in self.plate.fields:
            if self.painted.states.get(place.key) in ("queued", "painting"):
                del self.painted.states[place.key]


class PaintQueue(QObject):  # type: ignore[misc]
    """Paints plates, one after another."""

    field_changed = Signal(object, str)
    """The task and the key of a field whose state changed."""
    changed = Signal()
    """Something in the list changed: a task was added, removed, or has made progress."""
    ended = Signal(object)
    """The task that has come to its end."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.tasks: list[PaintTask] = []
        self.current: PaintTask | None = None
        self._job: jobs.Job | None = None
        self._last: jobs.Job | None = None
        self._hold = threading.Event()
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a plate is being painted."""
        return self.current is not None

    def find(self, source: str, output: str) -> PaintTask | None:
        """Return the task that waits or is painted now, of a plate and an output."""
        running = (task for task in self.tasks if task.status in ("waiting", "painting", "paused"))
        return next((task for task in running if task.plate.source == source and task.output == output), None)

    def add(self, task: PaintTask) -> None:
        """Append a task, and begin with it if nothing else is painted."""
        for place in task.plate.fields:
            if task.painted.states.get(place.key) != "done":
                task.painted.states[place.key] = "queued"
        self.tasks.append(task)
        self.changed.emit()
        self._next()

    def remove(self, task: PaintTask) -> None:
        """Remove a task from the list; the one that is painted is cancelled."""
        if task is self.current:
            self.cancel()
        elif task in self.tasks:
            self.tasks.remove(task)
            task.settle()
            self.changed.emit()

    def cancel(self) -> None:
        """Stop the running painting within a second; what is painted is kept, and a later run continues with the rest."""
        if self._job is not None:
            self._hold.clear()
            self._job.cancel()

    def pause(self, on: bool) -> None:
        """Hold the painting after the fields under way, or continue it."""
        if self.current is None:
            return
        (self._hold.set if on else self._hold.clear)()
        self.current.status = "paused" if on else "painting"
        self.changed.emit()

    def close(self) -> None:
        """Stop for good."""
        self._closed = True
        self.tasks = [task for task in self.tasks if task is self.current]
        self.cancel()

    def _next(self) -> None:
        task = next((task for task in self.tasks if task.status == "waiting"), None)
        if self.current is not None or task is None or self._closed:
            return
        if self._last in jobs.LIVE:
            QTimer.singleShot(WAIT, self._next)  # a cancelled painting may need a moment to release its output
            return
        self.current, task.status = task, "painting"
        self._hold.clear()
        job = self._job = jobs.start(
            lambda: paint(task, self._hold),
            title=f"Painting {Path(task.plate.source).name} with {task.model.info.name}",
            piece=lambda step: self._step(task, step),
            tick=lambda progress: self._tick(task, progress),
            done=lambda summary: self._end(task, "done", summary.words()),
            failed=lambda _error: self._end(task, "failed", "stopped by an error"),
            cancelled=lambda: self._end(task, "cancelled", f"stopped; press {'Go on' if task.painted.done else 'Paint'} to paint the rest"),
        )
        job.ended.connect(self.changed.emit)
        self.changed.emit()

    @timed
    def _step(self, task: PaintTask, step: PlateProgress | None) -> None:
        if step is not None and task.update(step) and step.field is not None:
            self.field_changed.emit(task, step.field.key)

    @timed
    def _tick(self, task: PaintTask, progress: JobProgress) -> None:
        if progress.total:  # there is none while it is held
            task.progress = progress
        self.changed.emit()

    @timed
    def _end(self, task: PaintTask, status: Status, outcome: str) -> None:
        task.status, task.outcome = status, outcome
        self._last, self.current, self._job = self._job, None, None
        task.settle()
        self.changed.emit()
        self.ended.emit(task)
        self._next()


def paint(task: PaintTask, hold: threading.Event) -> Generator[PlateProgress | None, None, Any]:
    """Paint one plate (on a worker), waiting while it is held."""
    from napari_virtual_paint.plates import paint as engine

    state = task.state
    work = engine.paint_plate(
        task.plate,
        task.model,
        state.new_output or None,
        state.painting,
        kind=state.kind,
        workers=state.workers or None,
        count=CountSettings() if state.count else None,
    )
    try:
        while True:
            yield next(work)
            while hold.is_set():
                time.sleep(POLL)
                yield None
    except StopIteration as stop:
        return stop.value
    finally:
        work.close()
