"""Background work of a dock: calls that wait until nothing changes any more, and jobs of which only the newest counts."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_virtual_paint._napari.shared import jobs


class Debounced(QTimer):  # type: ignore[misc]
    """A single-shot timer: each `start` begins the wait anew, so a burst of changes ends in one call.

    Parameters
    ----------
    milliseconds
        How long to wait after the last `start`; 0 waits for the next turn of the event loop.
    call
        Called without arguments on the GUI thread.
    parent
        The object that the timer dies with.
    """

    def __init__(self, milliseconds: int, call: Callable[[], Any], parent: QObject) -> None:
        super().__init__(parent)
        self.setSingleShot(True)
        self.setInterval(milliseconds)
        self.timeout.connect(call)

    def start_unless_active(self) -> None:
        """Start the wait, or let the one under way go on: calls that never cease then still come to their end."""
        if not self.isActive():
            self.start()


class LatestJob(QObject):  # type: ignore[misc]
    """Runs one job after another, each of which supersedes the one before.

    A superseded job is cancelled and none of its callbacks is called any more; nor are they once the parent is gone.

    Parameters
    ----------
    parent
        The object that owns the work; when it is destroyed, the job is cancelled.
    one_at_a_time
        Whether a new job waits until the thread of the one before has come to its end: for work that can't stop between two steps, or
        whose memory must not be needed twice. Of several that wait only the newest is run.
    """

    ended = Signal()
    """Emitted when the newest job is over, however it ended, before its callbacks; not when it was superseded or dropped."""

    def __init__(self, parent: QObject, *, one_at_a_time: bool = False) -> None:
        super().__init__(parent)
        self._one_at_a_time = one_at_a_time
        self._number = 0
        self._closed = False
        self._waiting: Callable[[], None] | None = None
        self._newest: jobs.Job | None = None
        self._jobs: list[jobs.Job] = []  # all whose threads still run

    @property
    def running(self) -> bool:
        """Whether the newest job runs or waits for its turn."""
        return self._waiting is not None or self.job is not None

    @property
    def job(self) -> jobs.Job | None:
        """The newest job while it runs, else None."""
        return self._newest if self._newest is not None and self._newest.running else None

    def start(
        self,
        make: Callable[[], Generator[Any, None, Any]],
        *,
        title: str,
        piece: Callable[[Any], Any] | None = None,
        tick: Callable[[Any], Any] | None = None,
        done: Callable[[Any], Any] | None = None,
        failed: Callable[[BaseException], Any] | None = None,
        cancelled: Callable[[], Any] | None = None,
        closed: Callable[[], Any] | None = None,
        quiet: bool = True,
    ) -> None:
        """Run a generator in a thread, in place of the job before; the parameters are those of `jobs.start`."""
        if self._closed:
            return
        self.drop()
        number = self._number
        # A tick is always followed: it finds out that the parent is gone. A slot of `destroyed` can't: where Python's collector frees
        # the parent, it may have cleared the slot before Qt calls it, which crashes.
        calls = {"piece": piece, "tick": tick or _ignore, "done": done, "failed": failed, "cancelled": cancelled, "closed": closed}
        guarded: dict[str, Any] = {name: partial(self._call, number, call) for name, call in calls.items() if call is not None}

        def begin() -> None:
            job = self._newest = jobs.start(make, title=title, quiet=quiet, **guarded)
            self._jobs.append(job)
            job.ended.connect(partial(self._call, number, self.ended.emit))
            job.stopped.connect(partial(self._stopped, job))

        if self._one_at_a_time and self._jobs:
            self._waiting = begin
        else:
            begin()

    def start_function(
        self,
        function: Callable[[], Any],
        *,
        title: str,
        done: Callable[[Any], Any] | None = None,
        failed: Callable[[BaseException], Any] | None = None,
        quiet: bool = True,
    ) -> None:
        """Run one function in a thread, as `start` does with a generator that never yields."""
        self.start(partial(jobs.as_generator, function), title=title, done=done, failed=failed, quiet=quiet)

    def cancel(self) -> None:
        """Stop the newest job as its user wishes: `cancelled` is called within a second."""
        self._waiting = None
        if self.job is not None:
            self.job.cancel()

    def drop(self) -> None:
        """Stop without a callback."""
        self._number += 1
        self._newest = self._waiting = None
        _cancel_all(self._jobs)

    def close(self) -> None:
        """Stop without a callback, and start nothing any more."""
        self._closed = True
        self.drop()

    def _call(self, number: int, function: Callable[..., Any], *args: Any) -> None:
        if not isalive(self):
            self._waiting = None
            _cancel_all(self._jobs)
        elif number == self._number:
            function(*args)

    def _stopped(self, job: jobs.Job) -> None:
        self._jobs.remove(job)
        if isalive(self) and self._waiting is not None and not self._jobs:
            begin, self._waiting = self._waiting, None
            begin()


def _cancel_all(running: list[jobs.Job]) -> None:
    for job in running:
        job.cancel()


def _ignore(*_: Any) -> None:
    pass
