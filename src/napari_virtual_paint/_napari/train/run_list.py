"""Find the runs of training, and describe their states in words."""

from __future__ import annotations

import contextlib
import os
from html import escape
from pathlib import Path

from qtpy.QtGui import QColor

from napari_virtual_paint._napari.shared.new_model import runs_folder
from napari_virtual_paint._napari.train import process
from napari_virtual_paint._napari.train.process import RunLocation
from napari_virtual_paint._napari.train.state import RUN
from napari_virtual_paint._napari.train.watcher import colours
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.metrics.metric import METRICS
from napari_virtual_paint.runtime.progress import time_left
from napari_virtual_paint.training.run_folder.watch import PROGRESS, RunState

ENDED = {"finished": "finished", "failed": "failed", "none": "not begun"}


BY_USER = ("training was stopped", "It was stopped", "the same command resumes", "It can be resumed")
"""Words of the messages of runs that the user stopped."""


def find_runs(opened: tuple[Path, ...] = ()) -> list[tuple[RunLocation, RunState]]:
    """Return the runs of the dock and those that the user opened, with their states; the latest first."""
    folder = runs_folder()
    own = [each for each in folder.iterdir() if has_begun(each)] if folder.is_dir() else []
    locations = [RunLocation(each, each / RUN) for each in own]
    locations += [RunLocation(each, each if (each / PROGRESS).is_file() else each / RUN) for each in opened if each not in own]
    found = []
    for location in sorted(locations, key=lambda each: _time(each.run), reverse=True):
        with contextlib.suppress(VirtualPaintError):
            found.append((location, process.state_of(location)))
    return found


def has_begun(folder: Path) -> bool:
    """Return whether a training has begun in a folder of the dock; where pairs were only checked, it may be overwritten."""
    return folder in process.STARTED or (folder / RUN / PROGRESS).is_file()


def _time(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def list_text(location: RunLocation, state: RunState) -> str:
    """Return the text of a run in the list."""
    if state.state == "stopped":
        step = _stopped_after(state)
        return f"{location.folder.name}: stopped" + (f" after step {step:,}" if step else "")
    if not state.alive:
        count = f" after {state.step:,} of {state.steps:,} steps" if state.state == "finished" and state.step < state.steps else ""
        return f"{location.folder.name}: {ENDED.get(state.state, state.state)}{count}"
    share = f", {100 * state.step / state.steps:.0f} %" if state.steps else ""
    return f"{location.folder.name}: {state.state}{share}"


def message_of(state: RunState) -> str:
    """Return the message of a run without the path of its folder, which the dock shows already."""
    words = state.message.removeprefix(f"{state.folder}: ").replace(f"{state.folder.parent}{os.sep}", "")
    return words[:1].upper() + words[1:]


def stop_sentence(state: RunState, location: RunLocation) -> str:
    """Return where a run stopped and how it goes on; before that why, where it was not the user who stopped it."""
    reason = "" if any(words in state.message for words in BY_USER) else message_of(state)
    step = _stopped_after(state)
    after = f"Stopped after step {step:,}." if step else "Stopped before its first step was kept."
    how = "Press Resume to continue." if location.config is not None else "The command that began it continues it."
    return " ".join(part for part in (reason, after, how) if part)


def _stopped_after(state: RunState) -> int:
    """Return the step whose state is kept; 0 where none is."""
    if not state.resumable:
        return 0
    # While images are read, the step counts these.
    return state.step if state.phase in ("training", "refit") else state.curve[-1].step if state.curve else 0


def status_html(state: RunState, location: RunLocation) -> str:
    """Describe the state of a run, as HTML."""
    if state.state == "stopped":
        parts = [escape(stop_sentence(state, location))]
        return "<br>".join([*parts, *_best_html(state)])
    parts = []
    if state.alive:
        head = f"<b>{state.phase or 'starting'}</b>" if state.state == "running" else "<b>paused</b>"
        steps = f": step {state.step} of {state.steps}" if state.steps else "…"
        left = time_left(state.seconds_left) if state.state == "running" else ""
        parts.append(head + steps + (f", {left}" if left else ""))
    else:
        parts.append(f"<b>{ENDED.get(state.state, state.state)}</b>")
    parts += _best_html(state)
    if state.message and not (state.state == "paused" or state.state == "finished"):
        parts.append(escape(message_of(state)))
    return "<br>".join(parts)


def _best_html(state: RunState) -> list[str]:
    """Describe the best epoch, as HTML; nothing where no epoch has scores."""
    parts = []
    best = state.best
    if best is not None:
        values, label = best.scores[state.monitor], METRICS[state.monitor].label
        scores = " · ".join(
            f'<font color="{QColor(*colour).name()}">{escape(name)} {value:.2f}</font>'
            for name, value, colour in zip(state.stains, values, colours(state.stains), strict=False)
        )
        mean = best.mean(state.monitor)
        parts.append(f"Best epoch: step {best.step}, {label} {mean:.3f}" + (f" ({scores})" if len(values) > 1 else ""))
    return parts
