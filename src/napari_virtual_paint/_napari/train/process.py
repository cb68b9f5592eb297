"""A training as a process of its own, and those that end with napari."""

from __future__ import annotations

import atexit
import contextlib
import signal
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from napari_virtual_paint._napari.shared.cli_process import command, quiet, step_back
from napari_virtual_paint._napari.train.state import LOG, RUN
from napari_virtual_paint.errors import VirtualPaintError, WriteError
from napari_virtual_paint.training.run_folder.watch import RunState, send_command, watch

TAIL = 2000
"""Bytes of the log's end that are looked at for a reason."""

STOPPED = (-signal.SIGTERM, -getattr(signal, "SIGKILL", 9))
"""Exit codes of a process that was ended; Windows gives none that tells."""

STARTED: dict[Path, TrainingProcess] = {}
"""The trainings that this napari began, by their folder."""


@dataclass(eq=False)
class TrainingProcess:
    """A training that runs as a process.

    Parameters
    ----------
    folder
        The folder that the dock made for it; the run's own lies in it.
    process
        The process.
    keep
        Whether it goes on when napari ends.
    """

    folder: Path
    process: subprocess.Popen[bytes]
    keep: bool = False

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None


def begin(folder: Path, config: Path, *, keep: bool = False) -> TrainingProcess:
    """Start, or resume, the training of a configuration.

    Parameters
    ----------
    folder
        Where what it prints is written to.
    config
        The configuration's file.
    keep
        Whether it goes on when napari ends.

    Raises
    ------
    WriteError
        If the process can't be started.
    """
    old = STARTED.get(folder)
    if old is not None and old.alive:
        return old
    try:
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                command("train", str(config)), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder, **quiet()
            )
    except OSError as error:
        raise WriteError(folder, f"the training can't be started ({error.strerror or error})") from error
    step_back(process.pid)
    STARTED[folder] = TrainingProcess(folder, process, keep)
    return STARTED[folder]


def stop(folder: Path, run: Path) -> None:
    """Stop a training; one that has not come to its first step, or not to hear, is ended, for there is nothing of it to lose.

    Parameters
    ----------
    folder
        As `begin` was given it.
    run
        The run's own folder.
    """
    training, state = STARTED.get(folder), watch(run)
    ours = training is not None and training.alive
    if state.alive and (not ours or (training is not None and state.pid == training.process.pid)) and state.phase in ("training", "refit"):
        send_command(run, "stop")
    elif training is not None and ours:
        training.process.terminate()
    elif state.alive:
        send_command(run, "stop")


def reason(folder: Path) -> str:
    """Return the last line that a training printed, which says why it ended; empty where it said nothing."""
    try:
        text = (folder / LOG).read_bytes()[-TAIL:].decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1].removeprefix("virtual-paint: ") if lines else ""


def seen(folder: Path, run: Path) -> RunState:
    """Return how a training stands; one whose process has not written anything yet runs, and one that died before it could says why."""
    state, training = watch(run), STARTED.get(folder)
    if training is None:
        return state
    code = training.process.poll()
    if code is None:
        if state.pid == training.process.pid and state.alive:
            return state
        # Its last words are written, but it can only be resumed once it is gone.
        phase = "ending" if state.pid == training.process.pid else "starting"
        return replace(state, state="running", phase=phase, message="", seconds_left=None)
    if code in STOPPED and not state.resumable:
        return replace(state, state="stopped", seconds_left=None, message="It was stopped before its first step; resume begins anew.")
    if state.pid != training.process.pid and code not in (0, 130):
        words = reason(folder) or f"The training ended before it began (exit code {code})."
        return replace(state, state="failed" if not state.resumable else "stopped", message=words)
    return state


@atexit.register
def stop_started() -> None:
    """Stop what must not outlive napari; each keeps its folder and can be resumed."""
    for folder, training in list(STARTED.items()):
        if training.alive and not training.keep:
            with contextlib.suppress(OSError, VirtualPaintError):
                stop(folder, folder / RUN)
