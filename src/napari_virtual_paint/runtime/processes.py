"""Start child processes that ignore Ctrl-C, end with their parent and share the cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from multiprocessing import resource_tracker
from types import ModuleType
from typing import Any

import psutil

from napari_virtual_paint.runtime.extras import skip_optional_imports

POLL = 0.2  # seconds between two checks whether the caller has cancelled
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Variables that numeric libraries read when they are imported."""

_main_hidden: ContextVar[bool] = ContextVar("_main_hidden", default=False)
_main_lock = threading.Lock()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def openmp_threads() -> int:
    """Return OMP_NUM_THREADS where the user has set it, else the number of cores."""
    with contextlib.suppress(KeyError, ValueError):
        return max(int(os.environ["OMP_NUM_THREADS"]), 1)
    return cores()


def is_running(pid: int, created: float | None = None) -> bool:
    """Return whether a process runs on this machine.

    Parameters
    ----------
    pid
        Its number.
    created
        When it began, in seconds since 1970; a process that was given the same number later is then not mistaken for it.
    """
    try:
        process = psutil.Process(pid)
        same = created is None or abs(process.create_time() - created) < 2.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """Start processes in this context that Ctrl-C does not reach; only this process handles it, and stops them.

    A terminal sends Ctrl-C to every process of a command. A child that receives it while it imports prints a traceback before
    `ignore_sigint` can run, but it inherits the signal mask of the thread that starts it. A Ctrl-C that arrives in this context is
    delivered at its end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it unblocks the signal once it has started its own process, so that must be done before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def without_main_script() -> Iterator[None]:
    """Let processes that this thread starts in this context not import the script that Python runs.

    A new interpreter imports it as ``__mp_main__``, so that what it defines can be unpickled. A script that starts napari and has no
    ``if __name__ == "__main__"`` would then start napari again in each worker. Nothing that it defines can be sent to these processes.
    """
    token = _main_hidden.set(True)
    try:
        yield
    finally:
        _main_hidden.reset(token)


def start_child(process: Any) -> None:
    """Start a `multiprocessing` process, with Ctrl-C blocked, and without the main script in `without_main_script`."""
    with sigint_blocked():
        if not _main_hidden.get():
            process.start()
            return
        # multiprocessing takes the script's path from this entry when the process starts. The lock is for two threads that do the same.
        with _main_lock:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                process.start()
            finally:
                sys.modules["__main__"] = main


def ignore_sigint() -> None:
    """Ignore Ctrl-C in this process from now on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def become_worker() -> None:
    """Prepare this process, which another one started: Ctrl-C is its parent's, SIGTERM cleans up, and it does not outlive its parent."""
    skip_optional_imports()
    ignore_sigint()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # runs `finally` clauses, so that no temporary file or semaphore is left
    if sys.platform == "linux":
        # The semaphores that libraries create (numcodecs does on import) are then unnamed. Of named ones the resource tracker would
        # report a leak when this process is killed.
        multiprocessing.set_start_method("fork", force=True)
    threading.Thread(target=_follow_parent, daemon=True, name="parent").start()


def _follow_parent() -> None:
    """End this process and its children when its parent has ended, even by a kill."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        os._exit(1)


def spawn(target: Any, *arguments: Any, name: str) -> Any:
    """Start a process in a new interpreter: a copy of one in which torch or Qt runs threads might hang."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, name=name)
    start_child(process)
    return process


def spawn_single_threaded(target: Any, *arguments: Any, name: str) -> Any:
    """Start a process in a new interpreter whose numeric libraries use one thread each."""
    before = {variable: os.environ.get(variable) for variable in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        return spawn(target, *arguments, name=name)
    finally:
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value
