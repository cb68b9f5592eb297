"""The state of the Plate dock, one frozen value, and the plate that is opened for it; no widgets."""

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
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.view.colouring import STATE_COLUMN, State, number, row_key
from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    from napari_virtual_paint.plates.job.job import Kind
    from napari_virtual_paint.plates.paint import PlateProgress

RECENT = 8  # plates that are remembered


@dataclass(frozen=True)
class PlateState:
    """The state of the Plate dock."""

    path: str = ""  # the plate: a folder, a file of a microscope, a table
    plate: str = ""  # name of the plate, where the path lists several
    plate_map: str = ""  # A table of what is in the wells; empty for none
    output: str = ""  # the painted plate; empty for none
    kind: Kind = "ome-zarr"  # how the stains are written
    model: str = ""  # id of a listed model, or the path of a package
    workers: int = 0  # processes that paint; 0 for as many as are best
    count: bool = False  # whether nuclei and cells of the painted fields are counted
    scope: Literal["all", "selected"] = "all"  # whether all wells are painted, or the selected ones
    painting: PaintSettings = field(default_factory=PaintSettings)  # how each field is painted
    column: str = STATE_COLUMN  # key of the column that the map is coloured by

    @property
    def new_output(self) -> str:
        """The output, where stains are not painted into the plate itself; else empty."""
        return "" if self.kind == "in-place" else self.output


@dataclass(eq=False)
class PaintedFields:
    """The fields of a plate that are painted so far."""

    states: dict[str, State] = field(default_factory=dict)
    rows: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """`states`, `rows` and `failures`: key of a field -> its state, its row of scores and times, why it failed."""
    model: str = ""
    package: str = ""  # `model` and `package`: id of the model that paints, and the path of its package; empty where there is no job
    channels: tuple[str | int, ...] | None = None  # the channels that were chosen when the output was begun; None if taken by name
    kind: Kind = "ome-zarr"  # how the output is written

    @property
    def done(self) -> int:
        """Number of painted fields."""
        return sum(state == "done" for state in self.states.values())

    def update(self, step: PlateProgress) -> bool:
        """Take up a step of the painting; return whether the state of its field has changed."""
        if step.field is None or not step.state:
            return False
        key = step.field.key
        if step.state == "painting":
            changed = self.states.get(key) != "painting"
            self.states[key] = "painting"
            return changed
        self.add_row(key, {**step.row, "state": "failed" if step.state == "failed" else "done"})
        return True

    def add_row(self, key: str, row: Mapping[str, Any]) -> None:
        """Add the row of a field that is done or has failed."""
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
    """A plate and what is painted of it."""

    state: PlateState  # the requested state; where the output of a painting was opened, with its plate and output
    plate: Plate
    painted: PaintedFields  # `plate` and `painted`: the plate, and its painted fields


def open_chosen(state: PlateState) -> Generator[Progress, None, OpenedPlate]:
    """Open a plate and what is painted of it (on a worker).

    Raises `InputError` if it is no plate, or is damaged.
    """
    from napari_virtual_paint.plates.job.job import find_job
    from napari_virtual_paint.plates.opening import open_plate

    name = Path(state.path).name
    yield Progress(0, 3, f"Opening {name}")
    # The output of a painting has no brightfield: its own plate is opened, with it as output.
    output, job = find_job(state.path) or (Path(state.path), None)
    if job is not None and Path(job.plate).exists():
        state = replace(state, path=job.plate, plate=job.part, output=str(output), kind=job.kind)
        yield Progress(1, 3, f"Opening {Path(job.plate).name}, which {name} is painted from")
    elif job is not None:
        state = replace(state, path=str(output))
    plate = open_plate(state.path, plate_map=state.plate_map or None, plate=state.plate or None)
    if Path(plate.source).exists() and Path(state.path).expanduser().absolute() != Path(plate.source):
        state = replace(state, path=plate.source, plate="")  # a plate below the path, or one of several, which opens alone from now on
    yield Progress(2, 3, "Looking at what is painted of it")
    painted = painted_fields(plate, state.output)
    if painted.model and not state.output and painted.kind == "in-place":
        state = replace(state, kind="in-place")
    remember(state.path)
    return OpenedPlate(state, plate, painted)


def painted_fields(plate: Plate, output: str) -> PaintedFields:
    """Load what is painted of a plate (on a worker): into an output or, without one, into the plate itself.

    Raises `InputError` if what lies beside the output is no job that can be read.
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
    painted.channels = job.asked.channels
    for place, row in load_rows(folder).items():
        if place.key in plate.by_key:
            painted.add_row(place.key, row)
    _join_scores(painted, folder / SCORES, plate)
    return painted


def _join_scores(painted: PaintedFields, table: Path, plate: Plate) -> None:
    """Add columns that the user joined to the table of scores; none without pandas, or where the table is damaged."""
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


def default_output(path: str, model: str) -> str:
    """Return the default output of a plate: beside it, named after it and the model."""
    source = Path(path)
    name = source.name.split(".")[0] or "plate"
    return str(source.parent / f"{name}_{Path(model).stem if model else 'painted'}.zarr")


def command(state: PlateState, model: str, wells: Sequence[str] = ()) -> str:
    """Return the command line that paints the same.

    Parameters
    ----------
    state
        The state of the dock.
    model
        The model on the command line: its id, or its package's path.
    wells
        The wells to paint; none for all.
    """
    parts = ["virtual-paint", "plate", "predict", state.path or "PLATE", "-m", model]
    parts += ["--in-place"] if state.kind == "in-place" else ["-o", state.output or "OUTPUT.zarr"]
    parts += ["--plate", state.plate] if state.plate else []
    parts += ["--plate-map", state.plate_map] if state.plate_map else []
    if wells:
        parts += ["--wells", ",".join(wells)]
    if state.workers:
        parts += ["--workers", str(state.workers)]
    parts += ["--count"] if state.count else []
    parts += state.painting.to_options()
    return shlex.join(parts)


def recent() -> list[str]:
    """Return the plates that were opened recently and still exist, the latest first."""
    try:
        found = json.loads(_recent_file().read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return [path for path in found if isinstance(path, str) and Path(path).exists()] if isinstance(found, list) else []


def remember(path: str) -> None:
    """Put a plate first among the recent ones, if the file of preferences can be written."""
    from napari_virtual_paint.runtime.atomic_write import write_text

    paths = [path, *(each for each in recent() if each != path)][:RECENT]
    file = _recent_file()
    with contextlib.suppress(OSError, VirtualPaintError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(paths, indent=1))


def _recent_file() -> Path:
    return preferences.answers_file().with_name("plates.json")
