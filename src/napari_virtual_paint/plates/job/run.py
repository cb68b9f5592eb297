"""One run of painting a plate: what is done, what is left, and when the tables were written last."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import Model
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.field import PaintFieldRequest
from napari_virtual_paint.plates.job.job import Kind, PlateJob, describe_job, job_folder, load_job, save_job
from napari_virtual_paint.plates.job.output import Output, output_of
from napari_virtual_paint.plates.job.pipeline import Events, FieldEvent
from napari_virtual_paint.plates.job.rows import FAILED, SCORES, drop_row, is_done, load_rows, write_tables
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.progress import Progress

EVERY = 30.0
"""Seconds between two updates of the plate's metadata and of the tables, at least."""
SETTLED = "settled.txt"
"""Tells which fields the metadata and the tables have, so that a run on a finished plate has nothing to write."""
SHARE = 0.02
"""Share of the time that such updates may take."""


@dataclass(frozen=True)
class PlateStep(Progress):
    """Progress of painting a plate, in fields, those under way included.

    Parameters
    ----------
    field
        The field that this is about; None for a sign of life.
    state
        ``painting``, ``done``, ``failed``, or ``skipped`` for one that was painted by an earlier run.
    row
        The field's row of scores and times, once it is done, failed or skipped.
    """

    field: Field | None = None
    state: Literal["painting", "done", "failed", "skipped", ""] = ""
    row: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class PlateSummary:
    """What a run did.

    Parameters
    ----------
    fields
        Fields that were asked for.
    painted, skipped, failed
        How many were painted by this run, were painted before, and failed in this run.
    seconds
        How long it took.
    output
        The painted plate.
    scores, failures
        Tables of all fields painted so far and, if there are any, of those that failed.
    """

    fields: int
    painted: int
    skipped: int
    failed: int
    seconds: float
    output: Path
    scores: Path
    failures: Path | None


class PlateRun:
    """One run: what is done, what is left, and when the tables were written last."""

    def __init__(self, plate: Plate, model: Model, target: Path, kind: Kind, settings: PaintSettings, score: bool) -> None:
        self.started = time.perf_counter()
        self.plate, self.model, self.score = plate, model, score
        self.wanted = describe_job(plate, model, settings, kind)
        self.output: Output = output_of(kind, target, plate, model.info.id)
        self.folder = job_folder(target, model.info.id if kind == "in-place" else "")
        self.painted = self.failed = 0
        self.shares: dict[Field, float] = {}
        self.settled, self.cost = time.monotonic(), 0.0
        self._look()

    def _look(self) -> None:
        """See what is there already."""
        self.job = load_job(self.folder)
        if self.job is not None and (changed := self.job.difference(self.wanted)):
            raise InputError(
                f"{self.output.path}: it was begun with another job, and {changed}; go on with what it was, or choose another output."
            )
        if self.job is None and self.output.is_foreign():
            raise InputError(f"{self.output.path}: it is there already and no job of `plate predict` painted it; choose another name.")
        self.rows = dict(load_rows(self.folder))
        painted = {each for each, row in self.rows.items() if is_done(row)}
        there = {each for each in painted if (self.output.path / self.rows[each]["image"]).exists()}
        self.done, self.stale = there & set(self.plate.fields), painted - there
        if painted and not there and self.output.is_foreign():
            raise InputError(
                f"{self.output.path}: what its job {self.folder.name} painted has gone, and something else is there; choose another name."
            )
        self.todo = [each for each in self.plate.fields if each not in self.done]
        self.skipped = len(self.done)

    def finished(self) -> bool:
        """Tell whether nothing is left to do, the metadata and the tables included."""
        return self.job is not None and not self.todo and not self.stale and _text(self.folder / SETTLED) == self._settled()

    def _settled(self) -> str:
        """Return a text that tells which fields the metadata and the tables must have."""
        rows = sorted(f"{each} {row.get('state')}" for each, row in self.rows.items())
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def begin(self) -> None:
        """Look again, now that no other run can change anything, and forget rows whose image has gone."""
        self._look()
        for each in self.stale:
            drop_row(self.folder, each)
            self.rows.pop(each, None)

    def request(self, resolved: Callable[[], PlateJob]) -> PaintFieldRequest:
        """Return the request for the painters; a job that is not resolved yet is resolved and saved."""
        if self.job is None:
            self.job = resolved()
            save_job(self.folder, self.job)
        self.output.prepare()
        return PaintFieldRequest(self.job, self.plate.reader, self.folder, self.output.path, self.score)

    def skip(self) -> Generator[PlateStep, None, None]:
        """Tell of what earlier runs painted."""
        for number, each in enumerate(each for each in self.plate.fields if each in self.done):
            yield PlateStep(number + 1, len(self.plate.fields), field=each, state="skipped", row=self.rows[each])

    def follow(self, events: Events) -> Generator[PlateStep, None, None]:
        """Pass on what the painters tell, and keep the plate's metadata and the tables up to date."""
        for event in events:
            if event.field is not None:
                self._count(event.field, event)
            yield self._step(event)
            first = self.cost == 0.0 and event.state == "done"  # listed at once: the plate can be opened from then on
            if first or time.monotonic() - self.settled > max(EVERY, self.cost / SHARE):
                self.settle()

    def _count(self, field: Field, event: FieldEvent) -> None:
        if event.state == "painting":
            self.shares[field] = event.share
            return
        if not event.row:
            return
        self.shares.pop(field, None)
        self.rows[field] = event.row
        if event.state == "done":
            self.done.add(field)
            self.painted += 1
        else:
            self.failed += 1

    def _step(self, event: FieldEvent) -> PlateStep:
        done = self.skipped + self.painted + self.failed + sum(self.shares.values())
        return PlateStep(done, len(self.plate.fields), event.message, event.field, event.state, event.row)

    def look_again(self) -> None:
        """Take over rows that are on the disk and were not told any more."""
        self.rows |= load_rows(self.folder)

    def settle(self) -> None:
        """List what is painted in the plate's metadata, and write the tables."""
        began = time.monotonic()
        self.output.list_fields(each for each, row in self.rows.items() if is_done(row))
        write_tables(self.folder, self.rows_in_order(), self.model.info.stains, self.plate.metadata)
        write_text(self.folder / SETTLED, self._settled())
        self.settled = time.monotonic()
        self.cost = self.settled - began

    def rows_in_order(self) -> Iterable[Mapping[str, Any]]:
        """Return all rows in the order of the plate; those of fields that were not asked for now come last."""
        ours = [self.rows[each] for each in self.plate.fields if each in self.rows]
        asked = set(self.plate.fields)
        return [*ours, *(row for each, row in self.rows.items() if each not in asked)]

    def summary(self) -> PlateSummary:
        """Return what was done."""
        failures = self.folder / FAILED
        return PlateSummary(
            fields=len(self.plate.fields),
            painted=self.painted,
            skipped=self.skipped,
            failed=self.failed,
            seconds=time.perf_counter() - self.started,
            output=self.output.path,
            scores=self.folder / SCORES,
            failures=failures if failures.exists() else None,
        )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
