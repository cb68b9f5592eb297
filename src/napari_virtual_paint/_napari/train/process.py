"""Trainings as processes of their own: begin, stop, and end with napari those that are not to outlive it."""

from __future__ import annotations

import atexit
import contextlib
import signal
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from napari_virtual_paint._napari.shared import cli_process
from napari_virtual_paint._napari.train.state import CONFIG, LOG, RUN
from napari_virtual_paint.errors import VirtualPaintError, WriteError
from napari_virtual_paint.training.run_folder.watch import RunState, send_command, watch

STOPPED = (-signal.SIGTERM, -getattr(signal, "SIGKILL", 9), 130, 143)
"""Exit codes of a process that was stopped by a signal; Windows has none for that."""
INTERRUPTED = (130, 143)  # exit codes of a training that was stopped by a command, Ctrl-C or SIGTERM, and can be resumed

STARTED: dict[Path, TrainingProcess] = {}  # the trainings that this napari began, by their folder


@dataclass(frozen=True)
class RunLocation:
    """Folders of a run."""

    folder: Path  # the folder that the dock made for the training; of a run that was started elsewhere, the run folder
    run: Path  # the run folder

    @property
    def config(self) -> Path | None:
        """The configuration, from which the run can be resumed; None for a run that was started elsewhere."""
        path = self.folder / CONFIG
        return path if self.folder != self.run and path.is_file() else None


@dataclass(eq=False)
class TrainingProcess:
    """A training that runs as a process."""

    folder: Path  # the folder that the dock made for it; the run folder lies in it
    process: subprocess.Popen[bytes]  # the process
    keep: bool = False  # whether it goes on when napari ends

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None


def begin(folder: Path, config: Path, *, keep: bool = False) -> TrainingProcess:
    """Start, or resume, the training of a configuration file, with its log in `folder`; it outlives napari where `keep`.

    Raises `WriteError` if the process can't be started.
    """
    old = STARTED.get(folder)
    if old is not None and old.alive:  # two processes must not write one run folder
        return old
    try:
        with (folder / LOG).open("wb") as log:
            process = cli_process.start("train", str(config), stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    except OSError as error:
        raise WriteError(folder, f"the training can't be started ({error.strerror or error})") from error
    STARTED[folder] = TrainingProcess(folder, process, keep)
    return STARTED[folder]


def stop(location: RunLocation) -> None:
    """Stop a training; a process that can't read commands yet is terminated, since nothing of it would be lost."""
    training, state = STARTED.get(location.folder), watch(location.run)
    ours = training is not None and training.alive
    if state.alive and (not ours or (training is not None and state.pid == training.process.pid)) and state.phase in ("training", "refit"):
        send_command(location.run, "stop")
    elif training is not None and ours:
        training.process.terminate()
    elif state.alive:
        send_command(location.run, "stop")


def state_of(location: RunLocation) -> RunState:
    """Return the state of a training, from its run folder and, where this napari began it, from its process.

    A process that has not written a state yet counts as running; for one that died before it could, the log says why.
    """
    state, training = watch(location.run), STARTED.get(location.folder)
    if training is None:
        return state
    code = training.process.poll()
    if code is None:
        if state.pid == training.process.pid and state.alive:
            return state
        # Its last state is written, but it can only be resumed once the process is gone.
        phase = "ending" if state.pid == training.process.pid else "starting"
        return replace(state, state="running", phase=phase, message="", seconds_left=None)
    if code in STOPPED and not state.resumable:
        return replace(state, state="stopped", seconds_left=None, message="It was stopped before its first step; resume begins anew.")
    if state.pid != training.process.pid and code not in (0, *INTERRUPTED):
        message = cli_process.last_message(location.folder / LOG) or f"The training ended before it began (exit code {code})."
        return replace(state, state="failed" if not state.resumable else "stopped", message=message)
    return state


@atexit.register
def stop_started() -> None:
    """Stop the trainings that must not outlive napari; each keeps its folder and can be resumed."""
    for folder, training in list(STARTED.items()):
        if training.alive and not training.keep:
            with contextlib.suppress(OSError, VirtualPaintError):
                stop(RunLocation(folder, folder / RUN))
