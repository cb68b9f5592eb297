"""Evaluate all fields at the missing levels, then summarize all levels; results of an earlier run are reused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.evaluation.context import Context
from napari_virtual_paint.evaluation.level import Findings
from napari_virtual_paint.evaluation.run.batches import batches, run_batches
from napari_virtual_paint.evaluation.run.pace import EvaluationProgress
from napari_virtual_paint.evaluation.run.store import FieldStore, Records, code_digest, digest, stem
from napari_virtual_paint.evaluation.run.stored_findings import load_findings
from napari_virtual_paint.evaluation.run.tasks import Failures, FieldsTask, MissingField, SummaryTask, Work, level_at
from napari_virtual_paint.runtime.atomic_write import updating
from napari_virtual_paint.runtime.worker_pool import Failure, ForEach, WorkerPool

if TYPE_CHECKING:
    import pandas as pd


T = TypeVar("T")


UNSUMMED = ("workers", "noise")  # settings that affect no finding, or only through the fields' tables


@dataclass(frozen=True)
class Failed:
    """A field that failed; at all levels where `level` is empty."""

    key: str
    level: str
    failure: Failure


@dataclass(frozen=True)
class Outcome:
    """Outcome of the fields."""

    failures: tuple[Failed, ...] = ()

    @property
    def unread(self) -> frozenset[str]:
        """Fields that failed at every level."""
        return frozenset(each.key for each in self.failures if not each.level)

    def table(self, wells: Mapping[str, str]) -> pd.DataFrame:
        """Return the failures as rows: field, well, level, reason."""
        import pandas as pd

        rows = [(each.key, wells[each.key], each.level, each.failure.reason) for each in self.failures]
        return pd.DataFrame(rows, columns=["field", "well", "level", "reason"])


def evaluate_fields(
    work: Work, pool: WorkerPool, keys: Sequence[str], levels: Sequence[str], field_bytes: int
) -> Generator[EvaluationProgress, None, Outcome]:
    """Evaluate the fields at the missing levels.

    Parameters
    ----------
    field_bytes
        Bytes of a field's images: small fields are evaluated several at once.

    Raises `InputError` if every field fails at one of the levels.
    """
    assert work.context is not None
    missing = _missing(work, keys, levels)
    ended, found = len(keys) - len(missing), list[Failed]()
    yield EvaluationProgress(ended, len(keys), f"{ended} of {len(keys)} fields are there already" if ended and missing else "")
    tasks = [FieldsTask(part) for part in batches(missing, pool, field_bytes)]
    under: dict[FieldsTask, float] = {}
    for task, event in run_batches(pool, _sharing_cores(work, pool, tasks), tasks, _alone):
        if task is None or event.state == "working":
            under |= {task: event.share * len(task.fields)} if task is not None else {}
            yield EvaluationProgress(ended + sum(under.values()), len(keys), event.message)
            continue
        under.pop(task, None)
        failures: Failures = event.value or {}
        if event.failure is not None:
            failures = {(each.key, ""): event.failure for each in task.fields}
        for each in task.fields:
            failed = [Failed(each.key, level, failure) for (key, level), failure in failures.items() if key == each.key]
            for one in failed:
                _log(work.store, one)
            found += failed
            ended += 1
            reasons = "; ".join(one.failure.reason for one in failed) if len(keys) > 1 else ""  # a single field raises its error
            yield EvaluationProgress(ended + sum(under.values()), len(keys), event.message, each.key, reasons)
    place = {key: number for number, key in enumerate(keys)}
    outcome = Outcome(tuple(sorted(found, key=lambda each: place[each.key])))
    _check(work.store.records(), keys, levels, outcome)
    return outcome


def _alone(task: FieldsTask) -> list[FieldsTask]:
    return [FieldsTask((each,)) for each in task.fields] if len(task.fields) > 1 else []


def all_findings(work: Work, pool: WorkerPool, levels: Sequence[str]) -> Generator[EvaluationProgress, None, dict[str, Findings]]:
    """Summarize each level.

    Raises
    ------
    InputError, VirtualPaintError
        If a level can't be summarized.
    """
    assert work.context is not None
    records = work.store.records()
    marks = {level: _mark(work, records, level) for level in levels}
    found = {level: load_findings(work.store, level, mark) for level, mark in marks.items()}
    tasks = [SummaryTask(level, marks[level]) for level in levels if found[level] is None]
    under = dict.fromkeys(range(len(tasks)), 0.0)
    for event in pool.run(_sharing_cores(work, pool, tasks), tasks):
        if event.task >= 0:
            under[event.task] = event.share
        if event.failure is not None:
            level = tasks[event.task].level
            _log(work.store, Failed(f"findings.{level}", level, event.failure))
            raise (InputError if event.failure.of_input else VirtualPaintError)(f"{level}: {event.failure.reason.rstrip('.')}.")
        yield EvaluationProgress(sum(under.values()), len(tasks), event.message)
    complete = {level: each or load_findings(work.store, level, marks[level]) for level, each in found.items()}
    return {level: each for level, each in complete.items() if each is not None}


def noted(store: FieldStore, keys: Sequence[str], levels: Sequence[str]) -> list[str]:
    """Return the fields' notes, each sentence once, with the number of fields where it does not concern all."""
    several: Counter[str] = Counter()
    records = store.records()
    for key in keys:
        stored = [record for level in levels if (record := records.get(level, {}).get(key)) is not None]
        several.update({note: 1 for each in stored for note in each.notes})
    return [note if count == len(keys) else f"{note.rstrip('.')} (in {count} of {len(keys)} fields)." for note, count in several.items()]


def _missing(work: Work, keys: Sequence[str], levels: Sequence[str]) -> list[MissingField]:
    """Return the fields without results, or whose images have changed since."""
    missing, records = [], work.store.records()
    for key in keys:
        stamp = _stamp(work, key)
        left = [level for level in levels if (stored := records.get(level, {}).get(key)) is None or stored.stamp != stamp]
        if left:
            missing.append(MissingField(key, tuple(left), stamp))
    return missing


def _stamp(work: Work, key: str) -> str:
    """Return what a field's tables depend on: its images, the scale, the controls and the program."""
    scale = work.scale_of(key)
    moments = {name: vars(each) for name, each in scale.moments.items()}
    pooled = {name: vars(each) for name, each in scale.pooled.items()}
    return digest(work.reader.stamp(key), moments, pooled, scale.gain, scale.offset, code_digest())


def _mark(work: Work, records: Records, level: str) -> str:
    """Return what a level's findings depend on: its fields' tables, and the wells' metadata."""
    context = work.context
    assert context is not None
    needed = (level, *level_at(work.places[level]).needs)
    stored = [records.get(name, {}).get(key) for key in context.fields for name in needed]
    settings = {name: value for name, value in vars(context.settings).items() if name not in UNSUMMED}
    wells = context.wells.reset_index().to_dict("list")
    known = (context.predictions, context.stains, wells, context.roles, context.negative, context.positive, context.fields)
    return digest([each and each.mark for each in stored], settings, known, code_digest())


def _check(records: Records, keys: Sequence[str], levels: Sequence[str], outcome: Outcome) -> None:
    """Raise an `InputError` where a level has no field."""
    for level in levels:
        if any(key in records.get(level, {}) for key in keys if key not in outcome.unread):
            continue
        first = next(each for each in outcome.failures if each.level in ("", level))
        reason = first.failure.reason.rstrip(".")
        if len(keys) == 1:
            raise InputError(f"{reason}.")
        verb = "be evaluated" if not first.level else f"be evaluated at the level {level}"
        raise InputError(f"None of the {len(keys)} fields can {verb}; the first, {first.key}: {reason}.")


def _log(store: FieldStore, failed: Failed) -> None:
    """Log the traceback of an unexpected error."""
    if failed.failure.trace:
        with updating(store.folder / f"{stem(failed.key)}.error.txt") as path:
            path.write_text(failed.failure.trace, "utf-8")


def _sharing_cores(work: Work, pool: WorkerPool, tasks: Sequence[FieldsTask | SummaryTask]) -> ForEach:
    """Return the workers' function, with the number of processes that each task may use in the levels' settings."""
    context: Context | None = work.context
    assert context is not None
    settings = replace(context.settings, workers=pool.cores_per_task(len(tasks)))
    return ForEach(replace(work, context=replace(context, settings=settings)))
