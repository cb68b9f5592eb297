"""The choices of a training on a user's own table as one frozen value, its configuration, and its runs on disk. No widget."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from napari_virtual_paint._napari.shared import cli_process
from napari_virtual_paint._napari.shared.new_model import LICENSES, MINUTES, NOT_FOR, checked_name, runs_folder, slug, split_names
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.system_user import full_name
from napari_virtual_paint.training.pace import TrainingPace, epoch_of

if TYPE_CHECKING:
    from napari_virtual_paint.cells.cp2image.table_defaults import TableDefaults

CELL_RUNS, CONFIG, RUN = "_cells", "cells.yaml", "run"
"""Names: of the folder of these runs, which is no model's id; in a run's folder of its configuration and of its run folder."""
CHECKPOINT = "last.ckpt"  # in a run folder, after the first epoch
HELD_OUT = 0.1
EPOCH = 200  # most steps between two checkpoints: so many are lost where a training is stopped


@dataclass(frozen=True)
class CellTrainState:
    """What to train on, and how long."""

    table: str = ""  # folder, database or file of the tables
    images: str = ""  # folder below which the pictures lie
    channels: tuple[str, ...] = ()
    nuclei: str = ""
    size: int = 64  # side of a crop, px
    length: str = "30 min"  # a key of `MINUTES`
    name: str = "My cells"
    author: str = field(default_factory=full_name)  # names with commas between; empty for nobody
    license: str = LICENSES[0][0]
    not_for: str = NOT_FOR


def with_defaults(state: CellTrainState, found: TableDefaults) -> CellTrainState:
    """Return the choices for another table: its channels, nuclei and size, the pictures' folder where it is known, and a name."""
    name = f"Cells of {slug(Path(state.table).stem).replace('-', ' ') or 'a table'}"[:120]
    return replace(
        state,
        images=found.images or (state.images if Path(state.images).is_dir() else ""),
        channels=found.channels,
        nuclei=found.nuclei,
        size=found.size,
        name=name,
    )


def missing(state: CellTrainState) -> str:
    """Return what is still to be chosen, as a sentence; empty where nothing is."""
    if not state.table:
        return "Choose the table of your cells: CellProfiler's folder of CSV files, its database, or a Parquet file."
    if not state.channels:
        return "Tick the channels to generate."
    if state.nuclei not in state.channels:
        return "The nuclear channel must be one of the ticked ones."
    if not state.images:
        return "Choose the folder below which the pictures lie."
    try:
        checked_name(state.name)
    except InputError as error:
        return str(error)
    return "" if state.not_for else "Say under 'Not for' what the model must not be used for."


def configuration(state: CellTrainState, package: Path, pace: TrainingPace | None = None) -> dict[str, Any]:
    """Return the training configuration of the choices, as mappings that a YAML can hold.

    Parameters
    ----------
    package
        The package to write.
    pace
        Converts the time into steps; where None the usual number of steps is kept.

    Raises
    ------
    InputError
        If something is missing.
    """
    if problem := missing(state):
        raise InputError(problem)
    table = Path(state.table)
    values: dict[str, Any] = {
        "id": checked_name(state.name),
        "name": state.name.strip(),
        "description": f"Generates the {', '.join(state.channels)} image of a cell from the features in {table.name}.",
        "trained_on": f"The cells of {table.name} and their pictures.",
        "not_for": state.not_for,
        "license": state.license or None,
        "authors": split_names(state.author),
        "output": str(package),
        "run": RUN,
        "data": {
            "table": str(table.absolute()),
            "images": [str(Path(state.images).absolute())],
            "channels": list(state.channels),
            "nuclei": state.nuclei,
            "size": state.size,
        },
        "held_out": HELD_OUT,
    }
    if pace is not None:
        steps = pace.steps_within(60 * MINUTES[state.length], EPOCH)
        values |= {"steps": steps, "epoch": epoch_of(steps, EPOCH)}
    return values


def cell_runs() -> Path:
    """Return the folder of the runs of cell models; it may not exist yet."""
    return runs_folder() / CELL_RUNS


def unfinished() -> list[Path]:
    """Return the folders of runs that can go on, the latest first: begun, and their package is not written yet."""
    folder = cell_runs()
    found = [each for each in folder.iterdir() if package_of(each) is not None] if folder.is_dir() else []
    return sorted((each for each in found if not _written(each)), key=lambda each: -(each / CONFIG).stat().st_mtime)


def package_of(folder: Path) -> Path | None:
    """Return the package that a run writes; None where its configuration is missing, or without the steps, which are set once timed."""
    try:
        values = yaml.safe_load((folder / CONFIG).read_text("utf-8"))
        return Path(values["output"]) if "steps" in values else None
    except (OSError, yaml.YAMLError, TypeError, KeyError, UnicodeDecodeError):
        return None


def _written(folder: Path) -> bool:
    package = package_of(folder)
    return package is not None and package.exists()


def begin(state: CellTrainState) -> Generator[Progress, None, Path]:
    """Train on a table (on a worker): time a few steps, fit their number to the time, and train; return the package.

    Raises `VirtualPaintError` if something is wrong; the sentence says what.
    """
    from napari_virtual_paint.cells.cp2image.model import list_cell_models
    from napari_virtual_paint.models.catalogue import bundled_folder, user_folder

    own = checked_name(state.name)
    package, folder = user_folder().absolute() / f"{own}.zip", cell_runs() / own
    taken = any((place / f"{own}{end}").exists() for place in (bundled_folder(), user_folder()) for end in ("", ".zip"))
    if taken or own in {model.id for model in list_cell_models()}:
        raise InputError(f"There is a model named {own} already; give another name.")
    if package_of(folder) is not None:
        raise InputError(f"A training named {own} was begun before; resume it, or give another name.")
    config = folder / CONFIG
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(config, configuration(state, package))
        found = yield from cli_process.run(["cells", "train", str(config), "--estimate"], "Timing the training", READING)
        pace = TrainingPace(**found["pace"])
        _write(config, configuration(state, package, pace))
    except OSError as error:
        raise WriteError(folder, f"the training can't be written ({error.strerror or error})") from error
    return (yield from go_on(folder))


def go_on(folder: Path) -> Generator[Progress, None, Path]:
    """Train, or go on from the last epoch (on a worker); return the package.

    Raises `VirtualPaintError` if something is wrong; the sentence says what.
    """
    report = yield from relay(cli_process.run(["cells", "train", str(folder / CONFIG)], "The training", READING), _in_words)
    return Path(str(report["output"]))


READING = Progress(message="Reading the cells")


def _in_words(step: Progress) -> Progress:
    """Return a progress whose message is for the user: the curve's numbers are not."""
    return replace(step, message="Training") if step.message.startswith("step ") else step


def _write(path: Path, values: Mapping[str, Any]) -> None:
    write_text(path, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=120))
