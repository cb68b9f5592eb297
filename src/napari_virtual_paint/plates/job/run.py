"""One run of painting a plate: which fields are done and left, and the upkeep of metadata and tables."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_virtual_paint.errors import InputError, VirtualPaintError, WriteError
from napari_virtual_paint.models import Model
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.field import PaintFieldRequest
from napari_virtual_paint.plates.job.job import Kind, PlateJob, describe_job, job_folder, load_job, save_job
from napari_virtual_paint.plates.job.output import Output, output_of
from napari_virtual_paint.plates.job.pipeline import Events, FieldEvent
from napari_virtual_paint.plates.job.rows import COUNTS, FAILED, SCORES, drop_row, is_done, load_rows, write_tables
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import counted, elapsed

if TYPE_CHECKING:
    from napari_virtual_paint.counting.settings import CountSettings

UPDATE_INTERVAL = 30.0  # least seconds between two updates of the tables; the plate's metadata lists each field as it is finished
UPDATE_SHARE = 0.02  # largest share of the time that these updates take
SETTLED = "settled.txt"  # file with a digest of the fields in metadata and tables, so that a run on a finished plate has nothing to write


@dataclass(frozen=True)
class PlateProgress(Progress):
    """Progress of painting a plate, in fields (with the share of those that are being painted)."""

    field: Field | None = None  # the field whose state changed; None if none did
    state: Literal["painting", "done", "failed", "skipped", ""] = ""
    """``painting``, ``done``, ``failed``, or ``skipped`` if an earlier run painted it."""
    row: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The field's row of scores and times, once it is done, failed or skipped."""


@dataclass(frozen=True)
class PlateSummary:
    """Result of a run."""

    fields: int  # number of requested fields
    painted: int
    skipped: int
    failed: int
    """`painted`, `skipped` and `failed`: number of fields that this run painted, that were painted before, and that failed in this run."""
    seconds: float  # duration
    output: Path  # the painted plate
    scores: Path
    failures: Path | None  # `scores` and `failures`: tables of all fields painted so far and of those that failed, if any

    objects: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """``nuclei`` and ``cells`` -> their number in all fields counted so far; empty where none were counted."""
    table: Path | None = None  # table of all counted objects

    def words(self) -> str:
        """Return it in words, as ``20 fields painted in 15 s; 28 were already done``."""
        parts = [f"{counted(self.painted, 'field')} painted in {elapsed(self.seconds)}"]
        if self.skipped:
            parts.append(f"{self.skipped} {'was' if self.skipped == 1 else 'were'} already done")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.objects:
            parts.append(f"{self.objects['nuclei']} nuclei and {counted(self.objects['cells'], 'cell')} counted")
        return "; ".join(parts)


class PlateRun:
    """One run of a job.

    Parameters
    ----------
    plate, model, settings, score
        As for `plates.paint.paint_plate`.
    target, kind
        What is written, and how.
    count, gray
        As for `plates.paint.paint_plate`.
    """

    def __init__(
        self,
        plate: Plate,
        model: Model,
        target: Path,
        kind: Kind,
        settings: PaintSettings,
        score: bool,
        count: CountSettings | None = None,
        gray: str = "",
    ) -> None:
        self.started = time.perf_counter()
        self.plate, self.model, self.score, self.count = plate, model, score, count
        self.requested = describe_job(plate, model, settings, kind, gray)
        self.output: Output = output_of(kind, target, plate, model.info.id)
        self.folder = job_folder(target, model.info.id if kind == "in-place" else "")
        self.painted = self.failed = 0
        self.shares: dict[Field, float] = {}
        self.updated, self.cost = time.monotonic(), 0.0
        self._load()

    def _load(self) -> None:
        """Read the job and the rows of earlier runs."""
        self.job = load_job(self.folder)
        if self.job is not None and (changed := self.job.difference(self.requested)):
            raise InputError(
                f"{self.output.path}: it was begun with another job, and {changed}; go on with what it was, or choose another output."
            )
        if self.job is None and self.output.is_foreign():
            raise InputError(f"{self.output.path}: it exists already and no job of `plate predict` painted it; choose another name.")
        self.rows = dict(load_rows(self.folder))
        painted = {each for each, row in self.rows.items() if is_done(row)}
        existing = {each for each in painted if (self.output.path / self.rows[each]["image"]).exists()}
        self.done, self.stale = existing & set(self.plate.fields), painted - existing
        if painted and not existing and self.output.is_foreign():
            raise InputError(
                f"{self.output.path}: what its job {self.folder.name} painted is gone, and something else is there; choose another name."
            )
        self.todo = [each for each in self.plate.fields if each not in self.done]
        self.to_count = [each for each in self.plate.fields if each in self.done and self._uncounted(self.rows[each])]
        self.skipped = len(self.done)

    def _uncounted(self, row: Mapping[str, Any]) -> bool:
        """Return whether the objects of a painted field are still to be counted, or were counted with other settings."""
        if self.count is None:
            return False
        from napari_virtual_paint.plates.job.counts import digest_of

        return bool(row.get("counted") != digest_of(self.count))

    @property
    def settings(self) -> PaintSettings:
        """The settings that the fields are preprocessed by: those of the job, or as requested where there is none yet."""
        return (self.job or self.requested).settings

    def finished(self) -> bool:
        """Return whether nothing is left to do, the metadata and tables included."""
        left = self.todo or self.stale or self.to_count
        return self.job is not None and not left and _text(self.folder / SETTLED) == self._digest()

    def _digest(self) -> str:
        """Return a digest of the fields that metadata and tables must have."""
        rows = sorted(f"{each} {row.get('state')}{row.get('counted', '')}" for each, row in self.rows.items())
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def begin(self) -> None:
        """Read the job again, now that no other run can change it, and drop rows whose image is gone."""
        self._load()
        for each in self.stale:
            drop_row(self.folder, each)
            self.rows.pop(each, None)

    def request(self, resolve: Callable[[], PlateJob], gray: Mapping[str, Any] | None = None) -> PaintFieldRequest:
        """Return the request for the painters; a new job is resolved and saved first, with the mapping of its gray levels."""
        if self.job is None:
            self.job = dataclasses.replace(resolve(), gray=dict(gray or {}))
            save_job(self.folder, self.job)
        self.output.prepare()
        return PaintFieldRequest(self.job, self.plate.reader, self.folder, self.output.path, self.score, self.count)

    def skip(self) -> Generator[PlateProgress, None, None]:
        """Report the fields that earlier runs painted."""
        for number, each in enumerate(each for each in self.plate.fields if each in self.done):
            yield PlateProgress(number + 1, len(self.plate.fields), field=each, state="skipped", row=self.rows[each])

    def count_rest(self) -> Generator[PlateProgress, None, None]:
        """Count the objects of the fields that earlier runs painted and did not count; one that can't be counted fails."""
        from napari_virtual_paint.plates.job.counts import count_painted
        from napari_virtual_paint.plates.job.field import read_field
        from napari_virtual_paint.plates.job.illumination import functions_for

        job, settings = self.job, self.count
        if job is None or settings is None:
            return
        total = len(self.to_count)
        for number, each in enumerate(self.to_count):
            yield PlateProgress(number, total, f"Counting {each}." if not number else "")
            try:
                functions = functions_for(self.folder, job.settings)
                truth = read_field(self.plate.reader, each, self.model, job.settings, truth=self.score, functions=functions).truth
            except VirtualPaintError:  # the plate itself is gone or damaged, and its painted stains are not
                truth = None
            try:
                steps = count_painted(job, self.folder, self.output.path, each, self.rows[each], truth, settings)
                share = partial(_part, number, total)
                self.rows[each] = yield from relay(steps, share)
            except WriteError:
                raise
            except VirtualPaintError as error:
                yield PlateProgress(number, total, f"{each} can't be counted: {error}")

    def follow(self, events: Events) -> Generator[PlateProgress, None, None]:
        """Report the events of the painters, and keep the plate's metadata and tables up to date."""
        for event in events:
            if event.field is not None:
                self._count(event.field, event)
            first = self.cost == 0.0 and event.state == "done"
            if first or time.monotonic() - self.updated > max(UPDATE_INTERVAL, self.cost / UPDATE_SHARE):
                self.update()
            elif event.state == "done" and event.field is not None:
                self.output.list_more([event.field])  # before it is reported, so that the plate lists what is said to be done
            done = self.skipped + self.painted + self.failed + sum(self.shares.values())
            yield PlateProgress(done, len(self.plate.fields), event.message, event.field, event.state, event.row)

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

    def load_rows(self) -> None:
        """Read the rows that painters saved but did not report."""
        self.rows |= load_rows(self.folder)

    def update(self) -> None:
        """List the painted fields in the plate's metadata, and write the tables."""
        began = time.monotonic()
        self.output.list_fields(each for each, row in self.rows.items() if is_done(row))
        write_tables(self.folder, self.rows_in_order(), self.model.info.stains, self.plate.metadata)
        write_text(self.folder / SETTLED, self._digest())
        self.updated = time.monotonic()
        self.cost = self.updated - began

    def rows_in_order(self) -> Iterable[Mapping[str, Any]]:
        """Return all rows in the order of the plate; those of fields that are not requested now come last."""
        first = dict.fromkeys(each for each in self.plate.fields if each in self.rows)
        return [self.rows[each] for each in (*first, *(each for each in self.rows if each not in first))]

    def summary(self) -> PlateSummary:
        """Return the result of the run."""
        failures = self.folder / FAILED
        counted_rows = [row for each, row in self.rows.items() if is_done(row) and row.get("nuclei") is not None]
        table = None
        if self.count is not None and counted_rows:
            from napari_virtual_paint.plates.job.counts import TABLE, write_objects

            known = self.folder / TABLE
            table = known if self.finished() and known.is_file() else write_objects(self.folder, [*self.rows])
        return PlateSummary(
            fields=len(self.plate.fields),
            painted=self.painted,
            skipped=self.skipped,
            failed=self.failed,
            seconds=time.perf_counter() - self.started,
            output=self.output.path,
            scores=self.folder / SCORES,
            failures=failures if failures.exists() else None,
            objects={kind: sum(int(row[kind]) for row in counted_rows) for kind in COUNTS} if self.count is not None else {},
            table=table,
        )


def _part(number: int, total: int, step: Progress) -> PlateProgress:
    """Return the progress of one field as that of all."""
    return PlateProgress(number + step.fraction, total)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
