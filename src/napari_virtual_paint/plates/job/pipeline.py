"""The line of a painter: the next field is read and the last one written, each in a thread, while this one is painted."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from napari_virtual_paint.painting.results import Painting
from napari_virtual_paint.plates.job.field import Loaded, Painter
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.runtime.processes import POLL

PATIENCE = 1.0
"""Seconds that a field being written has to end when the work is cancelled; it is written whole or not at all anyway."""


@dataclass(frozen=True)
class FieldEvent:
    """What happens to a field.

    Parameters
    ----------
    field
        Which; None for a sign of life.
    state
        ``painting``, ``done`` or ``failed``; empty for words alone.
    share
        How much of it is painted, 0 to 1.
    message
        Something to tell.
    row
        Its row, once it is done or failed.
    """

    field: Field | None
    state: Literal["painting", "done", "failed", ""] = ""
    share: float = 0.0
    message: str = ""
    row: Mapping[str, Any] = dataclasses.field(default_factory=dict)


Events = Generator[FieldEvent, None, None]


def run_line(painter: Painter, fields: Iterable[Field], *, ahead: bool = True) -> Events:
    """Paint fields one after another on this thread.

    Parameters
    ----------
    painter
        Who paints.
    fields
        Which, in order; may wait for the next one to be known.
    ahead
        Whether the next field is read while one is painted: faster, and one more field is in memory.

    Yields
    ------
    Event
        What happens; each is a place to cancel.

    Raises
    ------
    DiskFullError
        If the disk takes no more.
    """
    painter.open()
    line = FieldPipeline(painter, fields, ahead)
    try:
        yield from line.run()
    finally:
        line.close()


class FieldPipeline:
    """A reader and a writer in threads of their own, and their letters to the painter."""

    def __init__(self, painter: Painter, fields: Iterable[Field], ahead: bool) -> None:
        self.painter = painter
        self.inbox: queue.SimpleQueue[Callable[[], FieldEvent | None]] = queue.SimpleQueue()
        self.ready: deque[Loaded] = deque()
        self.to_write: queue.SimpleQueue[tuple[Loaded, Painting] | None] = queue.SimpleQueue()
        self.may_read, self.ahead = threading.Semaphore(1), ahead
        self.reading, self.writing, self.stopped = True, 0, False
        # Daemons: a disk that hangs must not keep a stopped program alive.
        self.threads = [
            threading.Thread(target=self._read, args=(fields,), daemon=True, name="plate reader"),
            threading.Thread(target=self._write, daemon=True, name="plate writer"),
        ]
        for thread in self.threads:
            thread.start()

    def run(self) -> Events:
        """Paint what is ready, pass on what the threads tell."""
        while self.reading or self.ready or self.writing:
            if self.ready and self.writing < 1 + self.ahead:
                yield from self._paint(self.ready.popleft())
                continue
            event = self._hear(POLL)
            yield event or FieldEvent(None)

    def close(self) -> None:
        """End the threads; a field that is being written may end if it does so soon."""
        self.stopped = True
        self.to_write.put(None)
        self.may_read.release()
        self.threads[1].join(PATIENCE)

    def _paint(self, loaded: Loaded) -> Events:
        """Paint one field, telling what was heard meanwhile."""
        if self.ahead:
            self.may_read.release()
        yield FieldEvent(loaded.field, "painting")
        pieces = self.painter.paint(loaded)
        try:
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as stop:
                    self.writing += 1
                    self.to_write.put((loaded, stop.value))
                    return
                except Exception as error:  # noqa: BLE001 - whatever is wrong with one field, the others go on
                    yield self._failed(loaded.field, error)
                    return
                yield FieldEvent(loaded.field, "painting", piece.done / max(piece.total, 1e-9), piece.message)
                while (event := self._hear(0.0)) is not None:
                    yield event
        finally:
            pieces.close()
            if not self.ahead:
                self.may_read.release()

    def _hear(self, seconds: float) -> FieldEvent | None:
        """Return what a thread told, if it did within some seconds; its errors are raised here."""
        try:
            letter = self.inbox.get(timeout=seconds) if seconds else self.inbox.get_nowait()
        except queue.Empty:
            return None
        return letter()

    def _failed(self, field: Field, error: BaseException) -> FieldEvent:
        return FieldEvent(field, "failed", row=self.painter.failed(field, error))

    def _read(self, fields: Iterable[Field]) -> None:
        """Read fields, one ahead."""
        error: BaseException | None = None
        waiting = iter(fields)
        while not self.stopped:
            self.may_read.acquire()
            try:
                field = None if self.stopped else next(waiting, None)
            except BaseException as broken:  # noqa: BLE001 - told by the painter's thread
                field, error = None, broken
            if field is None:
                break
            try:
                loaded = self.painter.read(field)
            except BaseException as damaged:  # noqa: BLE001 - one damaged field is a row of its own
                self.inbox.put(lambda field=field, error=damaged: self._failed(field, error))  # type: ignore[misc]
                self.may_read.release()
                continue
            self.inbox.put(lambda loaded=loaded: self.ready.append(loaded))  # type: ignore[misc]
            del loaded  # else it were held until the next one is read
        self.inbox.put(lambda: self._end_of_reading(error))

    def _end_of_reading(self, error: BaseException | None) -> None:
        self.reading = False
        if error is not None:
            raise error

    def _write(self) -> None:
        """Write painted fields."""
        while (item := self.to_write.get()) is not None:
            if self.stopped:
                return
            loaded, painting = item
            try:
                row = self.painter.finish(loaded, painting)
            except BaseException as error:  # noqa: BLE001 - told by the painter's thread
                self.inbox.put(lambda field=loaded.field, error=error: self._written(self._failed(field, error)))  # type: ignore[misc]
            else:
                done = FieldEvent(loaded.field, "done", 1.0, row=row)
                self.inbox.put(lambda done=done: self._written(done))  # type: ignore[misc]
            del loaded, painting, item  # the next one may be long in coming

    def _written(self, event: FieldEvent) -> FieldEvent:
        self.writing -= 1
        return event
