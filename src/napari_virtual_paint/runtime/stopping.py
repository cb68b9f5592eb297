"""End a command on Ctrl-C, SIGTERM and SIGHUP: its code unwinds, and nothing that it started outlives it.

Python runs a signal's handler between two steps of the main thread, which may be in a library for seconds. The system therefore reports
each signal to a thread of its own as well, which ends the children and at last the process itself when the main thread does not get to it.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from napari_virtual_paint.runtime.atomic_write import remove_unfinished
from napari_virtual_paint.runtime.temporary import remove_own_folder

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
CHILDREN = 1.2  # seconds after a signal in which children end by themselves; then they are killed, which harms no output
KILL_AGAIN = 0.3  # seconds between two such kills, while the process unwinds
PATIENCE = 5.0  # seconds after a signal in which the process itself ends; finished work is on the disk anyway
AGAIN = 1.0  # the same after a second signal
TRACKER = "multiprocessing.resource_tracker"  # Python's own child, which ends with its parent


_last: list[Callable[[], None]] = []  # what `at_the_very_end` calls


def at_the_very_end() -> None:
    """Do what is to be done after everything else; to be registered with `atexit` before anything else is."""
    for call in _last:
        call()


class StopSignals:
    """Context in which the first signal to stop raises `KeyboardInterrupt`, and later ones only shorten what is left.

    Signals that whoever started this process had it ignore (`nohup`, a job in the background) stay ignored. In another thread than the main
    one nothing is changed.

    Parameters
    ----------
    to_the_end
        Whether the signals stay handled after the context, while the interpreter ends; a first one is then without effect.

    Attributes
    ----------
    received
        The first signal, if there was one.
    said
        Whether the user has read that the command was stopped; if not, the last resort says it.
    """

    def __init__(self, *, to_the_end: bool = False) -> None:
        self.received: int | None = None
        self.said = False
        self._to_the_end, self._over = to_the_end, False
        self._before: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._wakeup = -1
        self._seen: int | None = None  # by the thread; the handler may not have run yet

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after a signal that ends."""
        received = self.received or self._seen
        return 128 + (signal.SIGINT if received in (None, signal.SIGINT) else signal.SIGTERM)

    def __enter__(self) -> StopSignals:
        """Handle the signals from now on."""
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before not in (signal.SIG_IGN, None):
                self._before[number] = before
                signal.signal(number, self._handle)
        with contextlib.suppress(OSError, ValueError):
            reading, writing = self._pipe = os.pipe()
            os.set_blocking(writing, False)
            self._wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=(reading,), daemon=True, name="signals").start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Restore the handlers, unless the interpreter is about to end."""
        self._over = True
        if self._to_the_end:
            return
        for number, before in self._before.items():
            signal.signal(number, before)
        if self._pipe is not None:
            signal.set_wakeup_fd(self._wakeup)
            os.close(self._pipe[1])  # which ends the thread

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Raise `KeyboardInterrupt` at the first signal."""
        if self.received is None and not self._over:
            self.received = number
            raise KeyboardInterrupt

    def _watch(self, reading: int) -> None:
        """End children and process when they have not ended some time after a signal."""
        kill_at = end_at = math.inf
        while True:
            left = min(kill_at, end_at) - time.monotonic()
            ready, _, _ = select.select([reading], [], [], None if left == math.inf else max(left, 0.0))
            data = os.read(reading, 64) if ready else b""
            if ready and not data:
                os.close(reading)
                return
            now = time.monotonic()
            for number in data:
                if number in self._before:
                    again, self._seen = self._seen is not None, self._seen or number
                    kill_at = now if again else now + CHILDREN
                    end_at = min(end_at, now + AGAIN) if again else now + PATIENCE
            if now >= kill_at:
                kill_children()
                kill_at = now + KILL_AGAIN  # those that were about to start
            if now >= end_at:
                self._end()

    def leave(self, code: int) -> None:
        """End the process with an exit code, where it was stopped, after all else that is done at its end.

        Python would end itself by SIGINT instead if a Ctrl-C ever came while it ran code from a string, as libraries do when they make
        classes, even though it was handled.
        """

        def end() -> None:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(code)

        if self.received is not None and self._to_the_end:
            _last.append(end)

    def _end(self) -> None:
        """End the process at once."""
        kill_children()
        remove_unfinished()
        remove_own_folder()
        with contextlib.suppress(Exception):
            if not self.said:
                os.write(2, b"virtual-paint: stopped; what was finished is kept.\n")
        os._exit(self.exit_code)


def children() -> list[Any]:
    """Return the living processes that this one and its children started."""
    import psutil

    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.status() != psutil.STATUS_ZOMBIE and not any(TRACKER in word for word in child.cmdline()):
                    found.append(child)
    return found


def kill_children() -> None:
    """Kill all processes that this one and its children started."""
    import psutil

    for child in children():
        with contextlib.suppress(psutil.Error):
            child.kill()
