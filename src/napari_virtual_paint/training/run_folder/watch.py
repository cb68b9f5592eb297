"""Watch a run from outside: read its folder, send it a command. Needs neither torch nor Lightning.

A run folder holds, beside the checkpoint, ``progress.json`` (state, at most once a second), ``curve.csv`` (a line per
epoch), ``preview.npz`` (a held-out field, predicted after each epoch) and ``control``, from which the run reads a `RunCommand`.
"""

from __future__ import annotations

import csv
import json
import math
import platform
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.choices import RunCommand, values_of
from napari_virtual_paint.errors import InputError, ReadError, WriteError
from napari_virtual_paint.metrics.metric import METRICS
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.processes import is_running

PROGRESS, CURVE, PREVIEW, CONTROL, CHECKPOINT = "progress.json", "curve.csv", "preview.npz", "control", "last.ckpt"
"""File names in a run folder."""
CHECKED = ("looks.json", "pairs.json")  # what the checks of pairs write there
TAUGHT = ("teach.yaml", "teach.json", "pairs.csv")
"""What is there before a fine-tuning begins: its configuration, what it was made for, and the table of the pairs of two folders."""


def is_run_folder(folder: Path) -> bool:
    """Return whether a folder is one that a training wrote, of whatever version: it has one of its files, or only hidden ones."""
    known = {PROGRESS, CURVE, PREVIEW, CHECKPOINT, CONTROL, *CHECKED, *TAUGHT}
    names = {each.name for each in folder.iterdir()}
    return bool(known & names) or all(name.startswith(".") for name in names)


How = Literal["running", "paused", "stopped", "finished", "failed", "none"]  # ``none``: the folder holds no run yet
SILENCE = 60.0  # seconds without an update after which a run on another machine counts as stopped


@dataclass(frozen=True)
class EpochRecord:
    """Record of one epoch, a line of the curve."""

    step: int
    loss: float  # mean over its steps
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Metric -> its value for each stain on the validation part; empty where there is none."""

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the stains that have a value; NaN if none has."""
        defined = [value for value in self.scores.get(metric, ()) if not math.isnan(value)]
        return sum(defined) / len(defined) if defined else math.nan

    def rank(self, metric: str) -> float:
        """Return the mean by which epochs are ranked: an undefined value (a stain painted as one value) counts as 0."""
        values = self.scores.get(metric, ())
        return sum(value for value in values if not math.isnan(value)) / max(len(values), 1)


@dataclass(frozen=True)
class RunState:
    """State of a run."""

    folder: Path
    state: How = "none"  # running, paused, stopped (it can be resumed), finished, failed; none where no run has begun
    phase: str = ""  # current phase: "reading images", "training", "refit", "writing the package" ...
    step: int = 0
    steps: int = 0  # `step` and `steps`: steps done, and steps in the phase
    seconds_left: float | None = None  # for the phase; None where unknown
    message: str = ""  # A sentence for the user, such as the reason of a failure
    pid: int | None = None
    host: str = ""  # `pid` and `host`: process and machine that run it
    id: str = ""
    stains: tuple[str, ...] = ()
    package: str = ""  # `id`, `stains` and `package`: the model's id, names of the stains, and path of the package
    monitor: str = "pcc"  # the metric that selects the best epoch
    curve: tuple[EpochRecord, ...] = ()  # one record per epoch
    recent: tuple[tuple[int, float], ...] = ()  # (step, loss) of the latest steps, averaged over a fraction of a second each
    preview: int | None = None  # time (ns) at which the preview was written; None where there is none
    resumable: bool = False  # whether a checkpoint to resume from exists

    @property
    def alive(self) -> bool:
        """Whether the run's process is working or paused."""
        return self.state in ("running", "paused")

    @property
    def best(self) -> EpochRecord | None:
        """The epoch with the highest mean of the monitored metric, where an undefined value counts as 0; None before any has one."""
        scored = [line for line in self.curve if not math.isnan(line.mean(self.monitor))]
        return max(scored, key=lambda line: line.rank(self.monitor)) if scored else None


@dataclass(frozen=True, eq=False)
class Preview:
    """A held-out field and its current prediction."""

    input: npt.NDArray[np.float32]
    truth: npt.NDArray[np.float32]
    painted: npt.NDArray[np.float32]
    """`input`, `truth` and `painted`: (C, Y, X) float32 each, as the network takes them; the middle plane of a stack."""
    channels: tuple[str, ...]
    stains: tuple[str, ...]  # `channels` and `stains`: channel names of input and stains
    name: str
    step: int
    held_out: bool  # whether the field is held out; without a held-out part it is a training field
    pixel_size: tuple[float | None, float | None]  # um along y and x; None where unknown


def watch(folder: str | Path) -> RunState:
    """Read the state of a run.

    Parameters
    ----------
    folder
        The run folder; it may lie on a disk that another machine writes to.

    Returns
    -------
    RunState
        A run whose process ended without a final state counts as stopped.

    Raises
    ------
    ReadError
        If the files are not those of a run.
    """
    folder = Path(folder)
    found = RunState(folder, curve=read_curve(folder), preview=_written(folder / PREVIEW), resumable=(folder / CHECKPOINT).is_file())
    text = _text(folder / PROGRESS)
    if text is None:
        if not found.resumable:
            return found
        return replace(found, state="stopped", step=found.curve[-1].step if found.curve else 0, message="It can be resumed.")
    try:
        values = json.loads(text)
        state = _with(found, values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReadError(folder / PROGRESS, "it is not the progress of a training run; delete it, the run writes it anew") from error
    return state if not state.alive or _lives(state, values) else _ended_message(state)


def _with(found: RunState, values: Mapping[str, Any]) -> RunState:
    """Add the values of ``progress.json``."""
    state = values["state"]
    if state not in get_args(How):
        raise ValueError(state)
    left = values.get("seconds_left")
    return replace(
        found,
        state=state,
        phase=str(values.get("phase", "")),
        step=int(values.get("step", 0)),
        steps=int(values.get("steps", 0)),
        seconds_left=None if left is None else float(left),
        message=str(values.get("message", "")),
        pid=int(values["pid"]),
        host=str(values.get("host", "")),
        id=str(values.get("id", "")),
        stains=tuple(str(name) for name in values.get("stains", ())),
        package=str(values.get("package", "")),
        monitor=str(values.get("monitor", "pcc")),
        recent=tuple((int(step), float(loss)) for step, loss in values.get("recent", ())),
    )


def _lives(state: RunState, values: Mapping[str, Any]) -> bool:
    """Return whether the process of a run marked as running exists; on another machine, whether it was updated recently."""
    if state.host != platform.node():
        return time.time() - float(values.get("updated", 0)) < SILENCE
    born = values.get("born")
    return state.pid is not None and is_running(state.pid, None if born is None else float(born))


def _ended_message(state: RunState) -> RunState:
    done = f"after step {state.curve[-1].step}" if state.curve else "from the beginning"
    message = f"its process ended without a message; it can resume {done}" if state.resumable else "its process ended without a message"
    return replace(state, state="stopped", seconds_left=None, message=f"{message[0].upper()}{message[1:]}.")


def read_curve(folder: Path) -> tuple[EpochRecord, ...]:
    """Read a run's curve; empty where there is none. Unknown columns are ignored."""
    text = _text(folder / CURVE)
    lines = []
    for row in csv.DictReader((text or "").splitlines()):
        try:
            columns = {name: [value for column, value in row.items() if column and column.rpartition("_")[0] == name] for name in METRICS}
            scores = {name: tuple(map(float, values)) for name, values in columns.items() if any(values)}
            lines.append(EpochRecord(int(row["step"]), float(row["loss"]), scores))
        except (KeyError, TypeError, ValueError):
            continue
    return tuple(lines)


def read_preview(folder: str | Path) -> Preview:
    """Read a run's preview.

    Raises `ReadError` if there is none, or it can't be read.
    """
    path = Path(folder) / PREVIEW
    try:
        with np.load(path, allow_pickle=False) as file:
            size = [None if math.isnan(value) else float(value) for value in file["pixel_size"]]
            return Preview(
                file["input"],
                file["truth"],
                file["painted"],
                tuple(str(name) for name in file["channels"]),
                tuple(str(name) for name in file["stains"]),
                str(file["name"]),
                int(file["step"]),
                bool(file["held_out"]),
                (size[0], size[1]),
            )
    except FileNotFoundError as error:
        raise ReadError(path, "there is no preview yet; it comes with the first epoch") from error
    except (OSError, KeyError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise ReadError(path, "the preview can't be read; the next epoch writes a new one") from error


def send_command(folder: str | Path, command: str) -> None:
    """Send a command: pause, go on, stop (keeping all for a resume), or finish (write the package of the best epoch now).

    Raises
    ------
    InputError
        If the command is unknown, or the folder does not exist.
    WriteError
        If the command can't be written.
    """
    folder = Path(folder)
    if command not in values_of(RunCommand):
        raise InputError(f"{command!r} is no command of a run; use {', '.join(values_of(RunCommand))}.")
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give the run's own, which lies beside its package.")
    try:
        write_text(folder / CONTROL, f"{command}\n", durable=False)
    except OSError as error:
        raise WriteError(folder / CONTROL, f"it can't be written ({error.strerror or error})") from error


def read_command(folder: Path) -> RunCommand | None:
    """Return the latest command; None where there is none, or it is unknown."""
    text = (_text(folder / CONTROL) or "").strip()
    return next((command for command in get_args(RunCommand) if command == text), None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _written(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
