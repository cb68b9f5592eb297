"""Run a study from its configuration to its tables: units in order, stopped and resumed at any point."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.atomic_write import make_folder, write_text
from napari_virtual_paint.runtime.delimited_text import escape_formulas
from napari_virtual_paint.runtime.lock_file import OutputLock
from napari_virtual_paint.runtime.outputs import check_outputs, check_own_folder
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import elapsed
from napari_virtual_paint.study.config import StudyConfig
from napari_virtual_paint.study.executors import Executor, make_executor, ready
from napari_virtual_paint.study.tables import headline, long_table, matrices
from napari_virtual_paint.study.units import TrainingUnit, Unit, all_units, check_apart, load_result
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.inputs import digest_of

if TYPE_CHECKING:
    import pandas as pd

ASKED, LOCK, SCORES, MATRICES, REPORT, SUMMARY = "study.json", ".lock", "scores.csv", "matrices.csv", "report.html", "report.json"
"""File names in a study folder."""
TEST_SHARE = 0.4  # a test's share of the work relative to a training, until some of both are timed


@dataclass(frozen=True, eq=False)
class StudyResult:
    """Result of a study."""

    config: StudyConfig
    scores: pd.DataFrame  # every score, a row each (see `tables.long_table`).
    matrices: pd.DataFrame  # scores and differences from the baseline, mean and SD over seeds (see `tables.matrices`).
    images: Mapping[str, Mapping[str, int]]  # domain -> number of images for training (at most), validation and testing
    finished: int
    existing: int  # `finished` and `existing`: units completed in this run, and before
    seconds: float
    notes: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the study as plain values."""
        return {
            "name": self.config.name,
            "output": str(self.config.output),
            "domains": {name: dict(count) for name, count in self.images.items()},
            "seeds": list(self.config.seeds),
            "sizes": list(self.config.sizes),
            "levels": list(self.config.levels),
            "baseline": self.config.baseline,
            "units": {"made": self.finished, "there": self.existing},
            "headline": headline(self.config, self.matrices),
            "matrices": self.matrices.astype(object).where(self.matrices.notna(), None).to_dict("records"),
            "notes": list(self.notes),
            "files": {name: str(path) for name, path in self.files.items()},
            "seconds": round(self.seconds, 1),
        }


def check_output(config: StudyConfig) -> None:
    """Check that the folder of a study replaces no input, and holds nothing but an earlier run of a study.

    Raises `InputError` if it does.
    """
    check_outputs([config.output], [source for domain in config.domains.values() for source in domain.sources()])
    check_own_folder(config.output, lambda folder: (folder / ASKED).is_file() or not any(folder.glob("[!.]*")), what="a study")


def study(config: StudyConfig, *, workers: int = 1, scheduler: str | None = None) -> Generator[Progress, None, StudyResult]:
    """Train on each domain, test on each, and write tables, figures and a report.

    A stopped or killed study resumes where it was: each training and each test is a file written atomically, and a training
    resumes from its last epoch. The tables equal those of an uninterrupted study.

    Parameters
    ----------
    config
        From `load_study`.
    workers
        Worker processes; 0 runs everything in this process, where a training can't be cancelled before its end.
    scheduler
        Address of a Dask scheduler whose workers run the units instead.

    Yields
    ------
    Progress
        Several times a second; each yield is a place to cancel (``close()``), after which no process of this study is left.

    Raises
    ------
    InputError
        If the data or the settings don't fit, or the folder holds another study.
    VirtualPaintError
        If a unit fails; completed units are kept.
    """
    began = time.monotonic()
    check_output(config)
    images = check_apart(config)
    with _lock(config):
        _begin(config)
        units = all_units(config)
        done = {unit for unit in units if unit.is_done(config)}
        existing = len(done)
        work = _Work(config, units, done)
        if existing:
            yield work.step(f"{existing} of {len(units)} trainings and tests are done already.")
        if existing < len(units):
            yield from _do(config, units, done, work, make_executor(config, workers, scheduler))
        yield work.step("writing tables and figures")
        return _finish(config, images, len(units) - existing, existing, began)


def _do(config: StudyConfig, units: list[Unit], done: set[Unit], work: _Work, executor: Executor) -> Generator[Progress, None, None]:
    """Give out units as they can begin, until all are done."""
    started: set[Unit] = set()
    try:
        while len(done) < len(units):
            for unit in ready(units, started, done, config):
                if not executor.has_room():
                    break
                executor.submit(unit)
                started.add(unit)
                work.begins(unit)
            for unit in executor.finished():
                done.add(unit)
                yield work.step(work.ends(unit))
            yield work.step()
    finally:
        executor.stop()


class _Work:
    """Progress of the whole study, from the trainings' own progress and the time of completed units."""

    def __init__(self, config: StudyConfig, units: list[Unit], done: set[Unit]) -> None:
        self.config, self.units, self.done = config, units, done
        self.under_way: dict[Unit, float] = {}
        self._last_poll, self._share = 0.0, 0.0
        share = _test_share(config, done)
        self.weights = {unit: 1.0 if isinstance(unit, TrainingUnit) else share for unit in units}

    def begins(self, unit: Unit) -> None:
        """Record that a unit started."""
        self.under_way[unit] = time.monotonic()

    def ends(self, unit: Unit) -> str:
        """Record that a unit ended, and log it."""
        seconds = time.monotonic() - self.under_way.pop(unit, time.monotonic())
        verb = "trained on" if isinstance(unit, TrainingUnit) else "tested on"
        number = f"{len(self.done)} of {len(self.units)}"
        size = "" if len(self.config.sizes) == 1 else f", {unit.size} image{'' if unit.size == 1 else 's'}"
        return f"{number}: {verb} {unit.domain}{size}, seed {unit.seed} ({elapsed(seconds)})"

    def step(self, message: str = "") -> Progress:
        """Return the current progress."""
        now = time.monotonic()
        if now - self._last_poll > 0.5:
            self._last_poll = now
            self._share = sum(self._of(unit) for unit in self.under_way)
        done = sum(self.weights[unit] for unit in self.done)
        return Progress(done + self._share, sum(self.weights.values()), message)

    def _of(self, unit: Unit) -> float:
        """Return the completed share of a running training, from its run folder."""
        from napari_virtual_paint.training.run_folder.watch import watch

        if not isinstance(unit, TrainingUnit):
            return 0.0
        state = watch(self.config.output / "runs" / unit.key)
        return min(state.step / state.steps, 1.0) if state.phase == "training" and state.steps else 0.0


def _test_share(config: StudyConfig, done: set[Unit]) -> float:
    """Return a test's share of the work, from the times of completed trainings and tests."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for unit in done:
        if isinstance(unit, TrainingUnit):
            seconds[True].append(float(load_result(unit.result(config))["seconds"]))
        else:
            seconds[False].append(max(float(load_result(unit.result(config, level))["seconds"]) for level in unit.levels(config)))
    means = {kind: sum(values) / len(values) for kind, values in seconds.items() if values and sum(values) > 0}
    return means[False] / means[True] if len(means) == 2 else TEST_SHARE


def _lock(config: StudyConfig) -> OutputLock:
    """Create the study's folder and return the lock that keeps other runs out of it."""
    make_folder(config.output)
    return OutputLock(config.output / LOCK, config.output, "written")


def _begin(config: StudyConfig) -> None:
    """Write the configuration, or check that it matches the one that the folder's study was started with."""
    path, request = config.output / ASKED, config.fixed_settings()
    images = {f"domains.{name}.images": digest_of(find(config.train_config(name, 0, "all").data)) for name in config.domains}
    request |= images
    if path.is_file():
        before = load_result(path)["asked"]
        if not images.keys() & before.keys():  # begun before the images were part of a study
            before = {**before, **images}
        changed = sorted(name for name in before.keys() | request.keys() if before.get(name) != request.get(name))
        if changed:
            shown = ", ".join(dict.fromkeys(name.removesuffix(".data").removesuffix(".images") for name in changed))
            if all(name.endswith(".images") for name in changed):
                raise InputError(
                    f"{config.output}: tables or images have changed since this study was started ({shown}); set another output, or delete"
                    " this folder to begin again."
                )
            raise InputError(
                f"{config.output}: this study was started with other settings ({shown}); set another output, or delete this folder to begin"
                " again. Seeds, sizes and levels alone may be added to."
            )
        return
    if any(config.output.glob("[!.]*")):
        raise InputError(f"{config.output}: there are other files in this folder; set another output.")
    values = {"asked": request, "version": __version__, "begun": datetime.now(UTC).isoformat(timespec="seconds"), "host": platform.node()}
    write_text(path, json.dumps(values, indent=1))


def _finish(config: StudyConfig, images: dict[str, dict[str, int]], finished: int, existing: int, began: float) -> StudyResult:
    """Write tables, figures and report."""
    from napari_virtual_paint.study.figures import draw

    scores = long_table(config)
    table = matrices(config, scores)
    write_text(config.output / SCORES, escape_formulas(scores).to_csv(index=False, float_format="%.6g"))
    write_text(config.output / MATRICES, escape_formulas(table).to_csv(index=False, float_format="%.6g"))
    files = {"scores": config.output / SCORES, "matrices": config.output / MATRICES}
    files |= draw(config, scores, table, images)
    result = StudyResult(config, scores, table, images, finished, existing, time.monotonic() - began, _notes(config), files)
    write_text(config.output / SUMMARY, json.dumps(result.to_json(), indent=1))
    return result


def _notes(config: StudyConfig) -> tuple[str, ...]:
    """Return the notes of all levels, each sentence once."""
    notes: dict[str, None] = {}
    for unit in all_units(config):
        if not isinstance(unit, TrainingUnit):
            for level in unit.levels(config):
                notes.update(dict.fromkeys(f"{level}: {note}" for note in load_result(unit.result(config, level))["notes"]))
    return tuple(notes)
