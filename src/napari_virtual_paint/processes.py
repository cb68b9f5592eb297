"""Processes of our own that one Ctrl-C does not end: the first process answers it and tells them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def ctrl_c_is_ours() -> Iterator[None]:
    """
    Start processes in this context that Ctrl-C does not reach, from their first moment.

    A terminal sends Ctrl-C to every process of the command. A process that hears it while it imports prints a traceback of its
    own, before any line of ours could ask it to be deaf; the mask of blocked signals of the thread that starts it is inherited.
    Ctrl-C itself is not lost meanwhile: it is delivered where the context ends.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows; there a process is deaf from `deaf` on
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def deaf() -> None:
    """Ignore Ctrl-C in this process from here on, on any system."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
