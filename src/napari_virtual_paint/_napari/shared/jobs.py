"""The only place that starts workers: a plain generator in a thread, with progress, time left and cancel.

Errors that a user may read become notifications, closing the viewer stops the work, and the generator is closed in the thread it ran in.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils.notifications import show_error
from qtpy.compat import isalive
from qtpy.QtCore import QEventLoop, QObject, QThreadPool, QTimer, Signal
from qtpy.QtWidgets import QApplication

from napari_virtual_paint._napari.shared import collection
from napari_virtual_paint._napari.shared.activity import ActivityBar
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.progress import JobProgress
from napari_virtual_paint.device import is_out_of_memory
from napari_virtual_paint.errors import Cancelled, VirtualPaintError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.processes import without_main_script
from napari_virtual_paint.runtime.progress import EtaEstimator
from napari_virtual_paint.runtime.text import elapsed, one_line
from napari_virtual_paint.runtime.write_errors import os_error_of

TICK = 500  # milliseconds between two updates of the screen while work runs: layers refresh twice a second at most
PATIENCE = 250  # milliseconds that a cancelled worker has to end by itself before its job is ended without it

THREADS = 8  # minimum number of threads in Qt's pool: a painting that waits for another must not keep the scores from their thread

LIVE: set[Job] = set()  # jobs whose thread runs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Outcome:
    """What a worker returns; errors travel as values, since a RuntimeError raised in a generator worker is swallowed."""

    result: Any = None
    error: BaseException | None = None


class _GeneratorWorker(GeneratorWorker):  # type: ignore[misc]
    """A generator worker that closes its generator in its own thread and notifies its job when napari quits it.

    Processes that it starts do not import the script that started napari.
    """

    job: weakref.ref[Job] | None = None

    def run(self) -> None:
        """Work, and end quietly where Qt has deleted the signals meanwhile: PyQt aborts the program for an error that leaves a thread."""
        try:
            super().run()
        except RuntimeError:
            if isalive(self.signals):
                raise

    def work(self) -> Any:
        with without_main_script():
            try:
                return super().work()
            finally:
                self._gen.close()

    def quit(self) -> None:
        super().quit()
        job = self.job() if self.job is not None else None
        if job is not None:
            job.worker_quit()


class Job(QObject):  # type: ignore[misc]
    """A generator that runs in a thread; made by `start`. All callbacks run on the GUI thread.

    Attributes
    ----------
    running
        Whether the work still goes on for the user (a cancelled worker may need a moment more to end).
    progress
        How far it is.
    """

    ended = Signal()
    """Emitted when the work is over for the user, however it ended; callbacks run after it."""
    stopped = Signal()
    """Emitted when the thread is free again, which for a cancelled job may be later."""

    def __init__(
        self, title: str, quiet: bool = False, sentence: Callable[[Any], str] | None = None, **callbacks: Callable[..., Any] | None
    ) -> None:
        super().__init__()
        self.title = title
        self.running = True
        self.progress = JobProgress()
        self._callbacks = callbacks
        self._cancel_requested = threading.Event()
        self._clock = EtaEstimator()
        self._timer = QTimer(self)
        self._timer.setInterval(TICK)
        self._timer.timeout.connect(self._tick)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE)
        self._patience.timeout.connect(self._cancelled)
        self._quiet = quiet
        self._activity: ActivityBar | None = None
        self._describe = sentence
        self._sentence = ""  # how it ended
        self._began = time.monotonic()

    def begin(self, make: Callable[[], Generator[Any, None, Any]]) -> None:
        """Start the worker."""
        once = [make]  # superqt keeps the function, and with it whatever `make` refers to

        def drive() -> Generator[Any, None, _Outcome]:
            return (yield from self._drive(once.pop()))

        drive.__qualname__ = self.title  # napari names it when the viewer is closed mid-run
        LIVE.add(self)
        collection.hold()
        pool = QThreadPool.globalInstance()
        pool.setMaxThreadCount(max(pool.maxThreadCount(), THREADS))
        self.worker = create_worker(drive, _worker_class=_GeneratorWorker, _start_thread=False)
        self.worker.job = weakref.ref(self)
        with contextlib.suppress(TypeError, RuntimeError):  # some Qt bindings relay warnings as a flood of notifications, some don't
            self.worker.warned.disconnect()
        self.worker.warned.connect(lambda args: log.info("%s: %s", self.title, args[0]))
        if self._callbacks.get("piece") is not None:
            self.worker.yielded.connect(self._piece)
        self.worker.returned.connect(self._returned)
        self.worker.finished.connect(self._finished)
        self.worker.start()
        self._timer.start()
        if not self._quiet:
            QTimer.singleShot(0, self._enter_activity)

    def cancel(self) -> None:
        """Stop the work: the job ends within a second, even where the worker needs longer to come to a stop."""
        if self.running and not self._cancel_requested.is_set():
            self._cancel_requested.set()
            self.worker.quit()
            self._patience.start()

    def worker_quit(self) -> None:
        """End at once, silently, when not the user but the closing viewer stops the worker."""
        if self.running and not self._cancel_requested.is_set():
            self._end()
            self._call("closed")

    def _drive(self, make: Callable[[], Generator[Any, None, Any]]) -> Generator[Any, None, _Outcome]:
        """Run in the thread: pass the pieces on, note the progress, turn errors into values."""
        _step_back()
        try:
            work = make()
            try:
                while True:
                    piece = next(work)
                    self._note(piece)
                    yield piece
                    if self._cancel_requested.is_set():
                        return _Outcome(error=Cancelled(f"{self.title}: cancelled."))
            except StopIteration as stop:
                return _Outcome(result=stop.value)
            finally:
                work.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the user gets a sentence and the log the rest
            return _Outcome(error=error)

    def _note(self, piece: Any) -> None:
        done, total = float(getattr(piece, "done", 0) or 0), float(getattr(piece, "total", 0) or 0)
        pace, own = self._clock.left(done, total, time.monotonic()), getattr(piece, "seconds_left", None)
        left = pace if own is None else float(own)
        self.progress = JobProgress(done, total, str(getattr(piece, "message", "") or ""), seconds_left=left)

    def _call(self, name: str, *args: Any) -> None:
        function = self._callbacks.get(name)
        if function is not None:
            function(*args)

    @timed
    def _piece(self, piece: Any) -> None:
        if self.running and not self._cancel_requested.is_set():
            self._call("piece", piece)

    @timed
    def _tick(self) -> None:
        if self.running:
            if self._activity is not None:
                self._activity.show(self.progress)
            self._call("tick", self.progress)

    @timed
    def _enter_activity(self) -> None:
        """Add a bar to the activity dialog, for which napari runs the event loop: in a turn of its own."""
        if not self.running:
            return
        self._activity = ActivityBar(self.title, self.cancel)
        self._leave_activity(self._sentence)  # if it ended meanwhile

    def _leave_activity(self, sentence: str) -> None:
        if not self.running and self._activity is not None:
            self._activity.end(sentence) if sentence else self._activity.close()

    @timed
    def _returned(self, outcome: _Outcome) -> None:
        if not self.running or self._cancel_requested.is_set():
            return
        if outcome.error is None:
            self._end(self._describe(outcome.result) if self._describe else f"Done in {elapsed(time.monotonic() - self._began)}.")
            self._call("done", outcome.result)
        elif isinstance(outcome.error, Cancelled):
            self._cancelled()
        else:
            self._end(failure_sentence(self.title, outcome.error))
            show_failure(self.title, outcome.error)
            self._call("failed", outcome.error)

    @timed
    def _finished(self) -> None:
        self._cancelled()
        self._callbacks = {}
        LIVE.discard(self)
        collection.release()
        self.stopped.emit()
        self.deleteLater()

    def _cancelled(self) -> None:
        if self.running:
            self._end("Cancelled.")
            self._call("cancelled")

    def _end(self, sentence: str = "") -> None:
        """End for the user; the sentence stays in the activity dialog for a while."""
        self.running = False
        self._timer.stop()
        self._patience.stop()
        self._sentence = sentence
        self._leave_activity(sentence)
        self.ended.emit()


def _step_back() -> None:
    """Let the GUI's thread go first where the system has priorities of threads (Linux): torch keeps every core busy."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


@atexit.register
def stop_all(milliseconds: int = 10_000) -> None:
    """Stop all jobs and wait for their threads: a thread that outlives Qt crashes the program as it ends."""
    for job in list(LIVE):
        job.worker.quit()
    if LIVE and QApplication.instance() is not None:
        QThreadPool.globalInstance().waitForDone(milliseconds)


def show_failure(title: str, error: BaseException) -> None:
    """Show an error as a notification (see `failure_sentence`); what is no fault of the user's is logged whole."""
    if not isinstance(error, VirtualPaintError):
        log.error("%s stopped", title, exc_info=error)
    show_error(failure_sentence(title, error))


def failure_sentence(title: str, error: BaseException) -> str:
    """Return what an error means for the user: what stopped, why, and what to do."""
    if isinstance(error, VirtualPaintError):
        return str(error)
    if isinstance(error, MemoryError) or ("torch" in sys.modules and is_out_of_memory(error)):
        return f"{title} ran out of memory; close other programs, or choose a smaller image."
    disk = os_error_of(error)
    if isinstance(disk, FileNotFoundError):
        return f"{title} stopped: {disk.filename or 'a file'} is no longer there; put it back or open the image again."
    if disk is not None and disk.filename:
        return f"{title} stopped: {disk.filename} can't be read ({one_line(OSError(disk.strerror))}); open the image again."
    words = str(error) or type(error).__name__
    return f"{title} stopped by a fault of the program ({type(error).__name__}: {words}). The log has the details; please report it."


def start(
    make: Callable[[], Generator[Any, None, Any]],
    *,
    title: str,
    piece: Callable[[Any], Any] | None = None,
    tick: Callable[[JobProgress], Any] | None = None,
    done: Callable[[Any], Any] | None = None,
    failed: Callable[[BaseException], Any] | None = None,
    cancelled: Callable[[], Any] | None = None,
    closed: Callable[[], Any] | None = None,
    quiet: bool = False,
    sentence: Callable[[Any], str] | None = None,
) -> Job:
    """Run a generator in a thread.

    Parameters
    ----------
    make
        Makes the generator; called in the thread, so it may read, load and fit. What it yields may have `done`, `total` and
        `message`; each yield is a place to cancel. It must never touch a layer or a widget.
    title
        What is done, as the activity dialog and error messages name it.
    piece
        Called with each thing that was yielded.
    tick
        Called with the progress at most twice a second.
    done
        Called with what the generator returned.
    failed
        Called with the error, after a notification has shown it.
    cancelled
        Called once when the user cancelled, within a second.
    closed
        Called instead of all these when the viewer is closed mid-run.
    quiet
        Whether to leave it out of the activity dialog, as what goes on in the background without being asked for.
    sentence
        Says of what the generator returned how it went, for the activity dialog; by default how long it took.

    Returns
    -------
    The job; `cancel` stops it.
    """
    job = Job(title, quiet, sentence, piece=piece, tick=tick, done=done, failed=failed, cancelled=cancelled, closed=closed)
    job.begin(make)
    return job


def start_function(
    function: Callable[[], Any],
    *,
    title: str,
    done: Callable[[Any], Any] | None = None,
    failed: Callable[[BaseException], Any] | None = None,
    quiet: bool = False,
) -> Job:
    """Run one function in a thread, as `start` does with a generator that never yields."""
    return start(partial(as_generator, function), title=title, done=done, failed=failed, quiet=quiet)


def as_generator(function: Callable[[], Any]) -> Generator[None, None, Any]:
    """Call a function as the last step of a generator."""
    yield None
    return function()


def wait_for(make: Callable[[], Generator[Any, None, Any]], *, title: str) -> Any:
    """Run a generator in a thread and return what it returned, keeping the screen alive; for callers that need the result at once.

    Returns
    -------
    None if it failed (a notification says why), was cancelled, or the viewer was closed. Without a running application the work is
    done on the spot and its errors are raised.
    """
    if QApplication.instance() is None:
        return run_to_end(make())
    results: list[Any] = []
    loop = QEventLoop()
    job = start(make, title=title, done=results.append)
    job.ended.connect(loop.quit)
    if job.running:
        loop.exec()
    return results[0] if results else None
