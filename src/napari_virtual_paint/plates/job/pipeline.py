"""Paint fields in a pipeline: the next one is read and the last one written, each in a thread, while one is painted."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from napari_virtual_paint.painting.results import Painting
from napari_virtual_paint.plates.job.field import DiskFullError, Loaded, Painter
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.runtime.processes import POLL

PATIENCE = 1.0  # seconds that a cancelled pipeline waits for a field that is being written


@dataclass(frozen=True)
class FieldEvent:
    """Progress or the end of a field."""

    field: Field | None  # which; None for an event without content, an opportunity to cancel
    state: Literal["painting", "done", "failed", ""] = ""  # ``painting``, ``done`` or ``failed``; empty for a message alone
    share: float = 0.0  # how much of it is painted, 0 to 1
    message: str = ""  # for the user; often empty
    row: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # its row, once it is done or failed


Events = Generator[FieldEvent, None, None]


def run_pipeline(painter: Painter, fields: Iterable[Field], *, ahead: bool = True) -> Events:
    """Paint fields one after another on this thread.

    Parameters
    ----------
    painter
        Reads, paints and writes them.
    fields
        Which, in order; may block until the next one is known.
    ahead
        Whether the next field is read while one is painted, which is faster and holds one more field in memory.

    Yields
    ------
    FieldEvent
        Each is an opportunity to cancel.

    Raises
    ------
    DiskFullError
        If the disk is full.
    """
    painter.open()
    pipeline = FieldPipeline(painter, fields, ahead)
    try:
        yield from pipeline.run()
    finally:
        pipeline.close()


class FieldPipeline:
    """A reader and a writer thread, which pass their results to the painter's thread."""

    def __init__(self, painter: Painter, fields: Iterable[Field], ahead: bool) -> None:
        self.painter = painter
        # Calls that the painter's thread makes for the other two: they change its state, return an event or raise an error.
        self.inbox: queue.SimpleQueue[Callable[[], FieldEvent | None]] = queue.SimpleQueue()
        self.ready: deque[Loaded] = deque()
        self.to_write: queue.SimpleQueue[tuple[Loaded, Painting] | None] = queue.SimpleQueue()
        self.may_read, self.ahead = threading.Semaphore(1), ahead
        self.reading, self.writing, self.stopped = True, 0, False
        # Daemons, so that a disk that hangs does not keep a stopped program alive.
        self.threads = [
            threading.Thread(target=self._read, args=(fields,), daemon=True, name="plate reader"),
            threading.Thread(target=self._write, daemon=True, name="plate writer"),
        ]
        for thread in self.threads:
            thread.start()

    def run(self) -> Events:
        """Paint the fields that are read, and yield the events of all threads."""
        while self.reading or self.ready or self.writing:
            if self.ready and self.writing < 1 + self.ahead:
                yield from self._paint(self.ready.popleft())
                continue
            event = self._receive(POLL)
            yield event or FieldEvent(None)

    def close(self) -> None:
        """End the threads, after a short wait for a field that is being written."""
        self.stopped = True
        self.to_write.put(None)
        self.may_read.release()
        self.threads[1].join(PATIENCE)

    def _paint(self, loaded: Loaded) -> Events:
        """Paint one field; events of the other threads are yielded in between."""
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
                except Exception as error:  # noqa: BLE001 - a field that fails does not stop the others
                    yield self._failed(loaded.field, error)
                    return
                yield FieldEvent(loaded.field, "painting", piece.done / max(piece.total, 1e-9), piece.message)
                while (event := self._receive(0.0)) is not None:
                    yield event
        finally:
            pieces.close()
            if not self.ahead:
                self.may_read.release()

    def _receive(self, seconds: float) -> FieldEvent | None:
        """Wait some seconds for a call of another thread and make it; its errors are raised here."""
        try:
            call = self.inbox.get(timeout=seconds) if seconds else self.inbox.get_nowait()
        except queue.Empty:
            return None
        return call()

    def _failed(self, field: Field, error: BaseException) -> FieldEvent:
        return FieldEvent(field, "failed", row=self.painter.failed(field, error))

    def _read(self, fields: Iterable[Field]) -> None:
        """Read fields, at most one ahead of the one that is painted."""
        error: BaseException | None = None
        waiting = iter(fields)
        while not self.stopped:
            self.may_read.acquire()
            try:
                field = None if self.stopped else next(waiting, None)
            except BaseException as broken:  # noqa: BLE001 - raised in the painter's thread
                field, error = None, broken
            if field is None:
                break
            try:
                loaded = self.painter.read(field)
            except BaseException as damaged:  # noqa: BLE001 - a damaged field does not stop the others
                self.inbox.put(lambda field=field, error=damaged: self._failed(field, error))  # type: ignore[misc]
                self.may_read.release()
                continue
            self.inbox.put(lambda loaded=loaded: self.ready.append(loaded))  # type: ignore[misc]
            del loaded  # or its pixels stay in memory until the next one is read
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
            except BaseException as error:  # noqa: BLE001 - handled in the painter's thread
                self.inbox.put(lambda field=loaded.field, error=error: self._written(self._failed(field, error)))  # type: ignore[misc]
                if isinstance(error, DiskFullError):
                    return  # that ends the job, and a smaller field that still fits would be written by chance
            else:
                done = FieldEvent(loaded.field, "done", 1.0, row=row)
                self.inbox.put(lambda done=done: self._written(done))  # type: ignore[misc]
            del loaded, painting, item  # frees their memory while it waits for the next one

    def _written(self, event: FieldEvent) -> FieldEvent:
        self.writing -= 1
        return event
