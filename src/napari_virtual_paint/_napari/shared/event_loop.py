"""Run queued GUI work one step per iteration of the event loop, so that the UI stays responsive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_virtual_paint._napari.shared.gui_timing import timed

_BUSY: set[StepQueue] = set()  # queues with pending steps: they must outlive the object that queued them
_held = 0  # how many blocks of `steps_held` are entered


@contextmanager
def steps_held() -> Iterator[None]:
    """Hold the steps of all queues during a call that lets events run: layers change, and the canvas is drawn, in turns of their own."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
        if not _held:
            for queue in list(_BUSY):
                queue.resume()


class StepQueue(QObject):  # type: ignore[misc]
    """Steps that run in order, one per iteration of the event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: deque[Callable[[], Any]] = deque()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._next)

    def add(self, *steps: Callable[[], Any]) -> None:
        """Queue more steps."""
        self._steps.extend(steps)
        if self._steps:
            _BUSY.add(self)
            self._timer.start()

    def clear(self) -> None:
        """Discard the pending steps."""
        self._steps.clear()
        self._timer.stop()
        _BUSY.discard(self)

    def resume(self) -> None:
        """Go on after `steps_held`."""
        if self._steps:
            self._timer.start()

    @timed
    def _next(self) -> None:
        if _held:
            return
        step = self._steps.popleft()
        try:
            step()
        except RuntimeError as error:
            if "deleted" not in str(error):
                raise
            self.clear()  # Qt's objects are gone: the viewer was closed in between
        finally:
            if self._steps:
                self._timer.start()
            else:
                _BUSY.discard(self)
