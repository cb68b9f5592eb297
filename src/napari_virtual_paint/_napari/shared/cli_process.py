"""Run the ``virtual-paint`` command line as a process beside napari, at a lower priority, and follow its progress."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import psutil

from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.runtime.progress import PROGRESS, Progress

NICE = 5  # priority of the process below napari's (Linux, macOS)
POLL = 0.1  # seconds between two reads of the progress; a cancelled process is stopped as soon
GRACE = 3.0  # seconds that a stopped process has to end by itself before it is killed, which loses nothing that was finished
TAIL = 4000  # bytes at the end of a log in which the last message is looked for
PARTLY = 3  # exit code of an evaluation of which some fields failed
PREFIX = "virtual-paint: "
STARTING = Progress(message="Starting")


def command(*arguments: str) -> list[str]:
    """Return the command line of ``virtual-paint``, in the Python that napari runs in."""
    return [sys.executable, "-m", "napari_virtual_paint.cli", *arguments]


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start the command line without a window, out of reach of the terminal's Ctrl-C.

    Parameters
    ----------
    arguments
        Of ``virtual-paint``.
    options
        Of `subprocess.Popen`: where it prints to, its folder and environment.

    Raises
    ------
    OSError
        If it can't be started.
    """
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options["start_new_session"] = True
    process = subprocess.Popen(command(*arguments), stdin=subprocess.DEVNULL, **options)
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    return process


def last_message(log: Path, prefix: str = "") -> str:
    """Return the last line of a log that begins with a prefix, without "virtual-paint: "; empty where there is none."""
    try:
        text = log.read_bytes()[-TAIL:].decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and line.startswith(prefix)]
    return lines[-1].removeprefix(PREFIX) if lines else ""


def run(arguments: Sequence[str], title: str, first: Progress = STARTING) -> Generator[Progress, None, dict[str, Any]]:
    """Run ``virtual-paint`` with ``--json`` to its end (on a worker); if the generator is closed, the process is stopped.

    Parameters
    ----------
    arguments
        All but ``--json``.
    title
        What is run, as the subject of a sentence: "The evaluation".
    first
        The progress until the command reports its own.

    Returns
    -------
    The JSON that it printed.

    Raises
    ------
    InputError, VirtualPaintError
        The sentence that the command ended with.
    """
    with tempfile.TemporaryDirectory(prefix="virtual-paint-") as folder:
        # Files, not pipes: a full pipe would block the process while this generator is not resumed.
        log, output = Path(folder, "stderr"), Path(folder, "stdout")
        with log.open("wb") as stderr, output.open("wb") as stdout:
            process = start(*arguments, "--json", stdout=stdout, stderr=stderr, env={**os.environ, PROGRESS: "json"})
        try:
            yield from _follow(process, log, first)
        finally:
            _stop(process)
        code = process.returncode
        if code not in (0, PARTLY):
            message = last_message(log, PREFIX) or f"{title} ended with exit code {code}."
            raise (InputError if code == 2 else VirtualPaintError)(message)
        with contextlib.suppress(ValueError):
            found = json.loads(output.read_text("utf-8"))
            if isinstance(found, dict):
                return found
        raise VirtualPaintError(f"{title} gave no result; run it from a terminal to see why.")


def _follow(process: subprocess.Popen[bytes], log: Path, progress: Progress) -> Generator[Progress, None, None]:
    """Yield the progress until the process has ended."""
    position = 0
    while True:
        ended = process.poll() is not None
        with log.open("rb") as file:
            file.seek(position)
            new = file.read()
        complete = new[: new.rfind(b"\n") + 1]
        position += len(complete)
        for line in complete.decode("utf-8", "replace").splitlines():
            progress = parse_progress(line, progress)
        yield progress
        if ended:
            return
        time.sleep(POLL)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started; what it finished is kept."""
    if process.poll() is not None:
        return
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(process.pid)
        family = [*root.children(recursive=True), root]
    with contextlib.suppress(OSError):
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    for each in family:
        with contextlib.suppress(psutil.Error):
            each.kill()
    process.wait()


def parse_progress(line: str, before: Progress) -> Progress:
    """Return the progress that a line reports, with the time left and the message of before where it has none; else that of before."""
    if line.startswith("{"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found = json.loads(line)
            left = found.get("seconds_left")
            left = before.seconds_left if left is None else float(left)
            return Progress(float(found["done"]), float(found["total"]), str(found["message"] or before.message), seconds_left=left)
    return before
