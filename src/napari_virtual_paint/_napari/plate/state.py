"""What the user chose in the Plate dock: one frozen value; and what is opened for it, on a worker, without any widget."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_virtual_paint._napari.shared import preferences
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.view.colouring import State, number, row_key
from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    from napari_virtual_paint.plates.job.job import PlateJob

Kind = Literal["ome-zarr", "in-place", "ome-tiff"]
RECENT = 8
"""Plates that are remembered."""
JOB = ".job"


@dataclass(frozen=True)
class PlateState:
    """One choice in the Plate dock.

    Parameters
    ----------
    path
        The plate: a folder, a file of a microscope, a table.
    plate_map
        A table of what is in the wells; empty for none.
    output
        What it is painted into; empty for none.
    kind
        How that is written.
    model
        Id of a listed model, or the path of a package.
    workers
        Processes that paint; 0 for as many as are best.
    scope
        Whether all wells are painted, or the selected ones.
    device
        As in `painting.PaintSettings`.
    column
        Key of what the map is coloured by.
    """

    path: str = ""
    plate_map: str = ""
    output: str = ""
    kind: Kind = "ome-zarr"
    model: str = ""
    workers: int = 0
    scope: Literal["all", "selected"] = "all"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    column: str = "state"


@dataclass(eq=False)
class PaintedFields:
    """What is painted of a plate so far.

    Parameters
    ----------
    states
        Key of a field -> its state.
    rows
        Key of a field -> its row of scores and times.
    failures
        Key of a field -> why it failed.
    model
        Id of the model that paints; empty where there is no job.
    package
        Path of its package.
    kind
        How the output is written.
    """

    states: dict[str, State] = field(default_factory=dict)
    rows: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    model: str = ""
    package: str = ""
    kind: Kind = "ome-zarr"

    @property
    def done(self) -> int:
        """How many fields are painted."""
        return sum(state == "done" for state in self.states.values())

    def take(self, key: str, row: Mapping[str, Any]) -> None:
        """Take up a field's row."""
        failed = row.get("state") == "failed"
        self.states[key] = "failed" if failed else "done"
        if failed:
            self.failures[key] = str(row.get("reason") or "It failed.")
            self.rows.pop(key, None)
        else:
            self.failures.pop(key, None)
            self.rows[key] = row


@dataclass(frozen=True, eq=False)
class OpenedPlate:
    """A plate with what is painted of it.

    Parameters
    ----------
    choice
        What was asked for; where the output of a painting was opened, its plate and output.
    plate
        The plate.
    painted
        What is painted of it.
    """

    choice: PlateState
    plate: Plate
    painted: PaintedFields


def open_chosen(choice: PlateState) -> Generator[Progress, None, OpenedPlate]:
    """Open a plate and what is painted of it (on a worker).

    Raises
    ------
    InputError
        If it is no plate, or damaged.
    """
    from napari_virtual_paint.plates.opening import open_plate

    name = Path(choice.path).name
    yield Progress(0, 3, f"Opening {name}")
    job = _job_of_output(choice.path)
    if job is not None and Path(job.plate).exists():
        choice = replace(choice, path=job.plate, output=choice.path, kind=job.kind)
        yield Progress(1, 3, f"Opening {Path(job.plate).name}, which {name} is painted from")
    plate = open_plate(choice.path, plate_map=choice.plate_map or None)
    yield Progress(2, 3, "Looking at what is painted of it")
    painted = look_at(plate, choice.output)
    if painted.model and not choice.output and painted.kind == "in-place":
        choice = replace(choice, kind="in-place")
    remember(choice.path)
    return OpenedPlate(choice, plate, painted)


def look_at(plate: Plate, output: str) -> PaintedFields:
    """Return what is painted of a plate (on a worker): into an output, or, without one, into the plate itself.

    Raises
    ------
    InputError
        If what lies beside the output is no job that can be read.
    """
    from napari_virtual_paint.plates.job.job import load_job
    from napari_virtual_paint.plates.job.rows import SCORES, find_folder, load_rows

    painted = PaintedFields()
    painted.states.update(dict.fromkeys((place.key for place in plate.painted), "done"))
    try:
        folder = find_folder(output or plate.source)
    except InputError:
        return painted
    job = load_job(folder)
    if job is None:
        return painted
    painted.model, painted.package, painted.kind = job.model, job.package, job.kind
    for place, row in load_rows(folder).items():
        if place in plate.by_key.values() or place.key in plate.by_key:
            painted.take(place.key, row)
    _join_scores(painted, folder / SCORES, plate)
    return painted


def _join_scores(painted: PaintedFields, table: Path, plate: Plate) -> None:
    """Add columns that someone joined to the table of scores; without pandas, or with a table that is damaged, there are none."""
    if not table.exists():
        return
    with contextlib.suppress(ImportError, OSError, ValueError, KeyError, VirtualPaintError):
        import pandas as pd

        for row in pd.read_parquet(table).to_dict("records"):
            key = row_key({str(name): value for name, value in row.items()})
            known = painted.rows.get(key, {})
            more = {str(name): value for name, value in row.items() if name not in known and name not in plate.columns}
            more = {name: value for name, value in more.items() if number(value) is not None}
            if key in plate.by_key and more and painted.states.get(key) != "failed":
                painted.rows[key] = {**known, **more}


def _job_of_output(path: str) -> PlateJob | None:
    """Return the job that painted a plate, where a path is the output of one."""
    from napari_virtual_paint.plates.job.job import job_folder, load_job

    try:
        return load_job(job_folder(path))
    except VirtualPaintError:
        return None


def default_output(path: str, model: str) -> str:
    """Return where a plate is painted to if nobody says: beside it, named after it and the model."""
    source = Path(path)
    name = source.name.split(".")[0] or "plate"
    return str(source.parent / f"{name}_{Path(model).stem if model else 'painted'}.zarr")


def command(choice: PlateState, packaged: str, wells: Sequence[str] = ()) -> str:
    """Return the command line that paints the same.

    Parameters
    ----------
    choice
        What is chosen.
    packaged
        What the command line calls the model: its id, or its package's path.
    wells
        The wells to paint; none for all.
    """
    parts = ["virtual-paint", "plate", "predict", choice.path or "PLATE", "-m", packaged]
    parts += ["--in-place"] if choice.kind == "in-place" else ["-o", choice.output or "OUTPUT.zarr"]
    if wells:
        parts += ["--wells", ",".join(wells)]
    if choice.workers:
        parts += ["--workers", str(choice.workers)]
    if choice.device != "auto":
        parts += ["--device", choice.device]
    return shlex.join(parts)


def recent() -> list[str]:
    """Return the plates that were opened last and are still there, the last one first."""
    try:
        found = json.loads(_recent_file().read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return [path for path in found if isinstance(path, str) and Path(path).exists()] if isinstance(found, list) else []


def remember(path: str) -> None:
    """Put a plate first among those opened last; a folder that can't be written is no reason to stop."""
    from napari_virtual_paint.runtime.atomic_write import write_text

    paths = [path, *(each for each in recent() if each != path)][:RECENT]
    file = _recent_file()
    with contextlib.suppress(OSError, VirtualPaintError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(paths, indent=1))


def _recent_file() -> Path:
    return preferences.answers_file().with_name("plates.json")
