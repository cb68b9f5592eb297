"""The runs there are: where each lies, and how it stands, in words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from html import escape
from pathlib import Path

from qtpy.QtGui import QColor

from napari_virtual_paint._napari.train import process
from napari_virtual_paint._napari.train.state import CONFIG, RUN, runs_folder
from napari_virtual_paint._napari.train.watcher import colours
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.runtime.progress import time_left
from napari_virtual_paint.training.run_folder.watch import PROGRESS, RunState

ENDED = {"finished": "finished", "failed": "failed", "stopped": "stopped, can be resumed", "none": "not begun"}


@dataclass(frozen=True)
class RunLocation:
    """Where a run lies.

    Parameters
    ----------
    folder
        That of a run of the dock; of others the run's own.
    run
        The run's own folder.
    """

    folder: Path
    run: Path

    @property
    def config(self) -> Path | None:
        """The configuration, where the dock knows it: then the run can be resumed from here."""
        path = self.folder / CONFIG
        return path if self.folder != self.run and path.is_file() else None


def find_runs(opened: tuple[Path, ...] = ()) -> list[tuple[RunLocation, RunState]]:
    """Return the runs of the dock's folder and those that were opened, the latest first."""
    folder = runs_folder()
    own = [each for each in folder.iterdir() if has_begun(each)] if folder.is_dir() else []
    places = [RunLocation(each, each / RUN) for each in own]
    places += [RunLocation(each, each if (each / PROGRESS).is_file() else each / RUN) for each in opened if each not in own]
    found = []
    for place in sorted(places, key=lambda each: _time(each.run), reverse=True):
        try:
            found.append((place, process.seen(place.folder, place.run)))
        except VirtualPaintError:
            continue
    return found


def has_begun(folder: Path) -> bool:
    """Whether a folder of the dock holds a run that has begun; one whose pairs were looked at alone is written over."""
    return folder in process.STARTED or (folder / RUN / PROGRESS).is_file()


def _time(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def line(place: RunLocation, state: RunState) -> str:
    """Return a run in one line of the list."""
    if not state.alive:
        return f"{place.folder.name}: {ENDED.get(state.state, state.state)}"
    share = f", {100 * state.step / state.steps:.0f} %" if state.steps else ""
    return f"{place.folder.name}: {state.state}{share}"


def bare(state: RunState) -> str:
    """Return what a run says without its own folder, which the dock shows already."""
    words = state.message.removeprefix(f"{state.folder}: ").replace(f"{state.folder.parent}{os.sep}", "")
    return words[:1].upper() + words[1:]


def told(state: RunState) -> str:
    """Return how a run stands, as HTML."""
    parts = []
    if state.alive:
        head = f"<b>{state.phase or 'starting'}</b>" if state.state == "running" else "<b>paused</b>"
        steps = f": step {state.step} of {state.steps}" if state.steps else "…"
        left = time_left(state.seconds_left) if state.state == "running" else ""
        parts.append(head + steps + (f", {left}" if left else ""))
    else:
        parts.append(f"<b>{ENDED.get(state.state, state.state)}</b>")
    best = state.best
    if best is not None:
        scores = " · ".join(
            f'<font color="{QColor(*colour).name()}">{escape(name)} {value:.2f}</font>'
            for name, value, colour in zip(state.stains, best.pcc, colours(state.stains), strict=False)
        )
        parts.append(f"Best epoch: step {best.step}, PCC {best.mean_pcc:.3f}" + (f" ({scores})" if len(best.pcc) > 1 else ""))
    if state.message and not (state.state == "paused" or state.state == "finished"):
        parts.append(escape(bare(state)))
    return "<br>".join(parts)
