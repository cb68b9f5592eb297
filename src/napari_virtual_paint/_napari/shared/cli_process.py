"""An evaluation as a process of its own, so that nothing it works out holds up the viewer."""

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

NICE = 5
"""How far the training steps back behind napari where the system has priorities (Linux, macOS)."""


def command(*arguments: str) -> list[str]:
    """Return the command line of ``virtual-paint``, in the Python that napari runs in."""
    return [sys.executable, "-m", "napari_virtual_paint.cli", *arguments]


def quiet() -> dict[str, Any]:
    """Return what starts a process without a window, out of the reach of the terminal's Ctrl-C."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def step_back(pid: int) -> None:
    """Let napari go before a process, where the system has priorities."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, NICE)


NOD = 0.1
"""Seconds between two looks at what the process has said; one that is not wanted any more is stopped as soon."""
GRACE = 3.0
"""Seconds that a stopped process has to end by itself before it is killed, which loses nothing that was finished."""
TAIL = 4000
PARTLY = 3
"""Exit code of an evaluation of which some fields failed."""
PREFIX = "virtual-paint: "


class Evaluator:
    """Runs ``virtual-paint`` and follows what it says.

    Attributes
    ----------
    process
        The process; None before it is begun.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = [*arguments, "--json"]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def follow(self) -> Generator[Progress, None, dict[str, Any]]:
        """Run it to its end (on a worker); closed, it is stopped.

        Returns
        -------
        The JSON that it gave.

        Raises
        ------
        InputError, VirtualPaintError
            The sentence that the command ended with.
        """
        with tempfile.TemporaryDirectory(prefix="virtual-paint-") as room:
            said, told = Path(room, "stderr"), Path(room, "stdout")
            with said.open("wb") as errors, told.open("wb") as results:
                self.process = subprocess.Popen(
                    command(*self.arguments),
                    stdin=subprocess.DEVNULL,
                    stdout=results,
                    stderr=errors,
                    env={**os.environ, PROGRESS: "json"},
                    **quiet(),
                )
            step_back(self.process.pid)
            try:
                yield from self._listen(said)
            finally:
                self.stop()
            return _result(self.process.returncode, said, told)

    def _listen(self, said: Path) -> Generator[Progress, None, None]:
        """Tell how far it is, until it has ended."""
        progress, at = Progress(0, 0, "Starting"), 0
        while True:
            ended = not self.alive
            with said.open("rb") as file:
                file.seek(at)
                fresh = file.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            at += len(whole)
            for line in whole.decode("utf-8", "replace").splitlines():
                progress = _progress(line, progress)
            yield progress
            if ended:
                return
            time.sleep(NOD)

    def stop(self) -> None:
        """End the process and those that it started; what it finished is kept."""
        if self.process is None:
            return
        if self.alive:
            family = _family(self.process.pid)
            with contextlib.suppress(OSError):
                self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)
            for each in family:
                with contextlib.suppress(psutil.Error):
                    each.kill()
        self.process.wait()


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return [*process.children(recursive=True), process]
    return []


def _progress(line: str, before: Progress) -> Progress:
    """Return how far it is by a line that it said; what is no progress is a remark."""
    if line.startswith("{"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found = json.loads(line)
            return Progress(float(found["done"]), float(found["total"]), str(found["message"] or before.message))
    return before


def _result(code: int, said: Path, told: Path) -> dict[str, Any]:
    """Return what the command gave, or raise what it ended with."""
    if code in (0, PARTLY):
        try:
            found = json.loads(told.read_text("utf-8"))
            if isinstance(found, dict):
                return found
        except ValueError:
            pass
        raise VirtualPaintError("The evaluation gave no result; run it from a terminal to see why (Copy as command).")
    lines = [line for line in said.read_bytes()[-TAIL:].decode("utf-8", "replace").splitlines() if line.startswith(PREFIX)]
    words = lines[-1].removeprefix(PREFIX) if lines else f"The evaluation ended with exit code {code}."
    raise (InputError if code == 2 else VirtualPaintError)(words)
