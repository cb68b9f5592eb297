"""evaluate(): pair fields, evaluate each level, summarize and write; used by the command line, the dock and scripts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from napari_virtual_paint.choices import LEVELS
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.context import EvaluationSettings
from napari_virtual_paint.evaluation.report.folder import painted_by, write_report_folder
from napari_virtual_paint.evaluation.report_files import FOLDER
from napari_virtual_paint.evaluation.result import Evaluation
from napari_virtual_paint.evaluation.run.fields import all_findings, evaluate_fields, noted
from napari_virtual_paint.evaluation.run.pace import EvaluationProgress, ProgressScale, estimate
from napari_virtual_paint.evaluation.run.prepare import EvaluationRequest, PreparedEvaluation, describe, prepare
from napari_virtual_paint.evaluation.run.scale_survey import find_scale
from napari_virtual_paint.evaluation.run.store import FieldStore
from napari_virtual_paint.evaluation.run.tasks import MODULES, Work, level_at, needed_levels
from napari_virtual_paint.evaluation.wells import ControlSelection
from napari_virtual_paint.runtime.contention import slowdown
from napari_virtual_paint.runtime.lock_file import LOCK, OutputLock
from napari_virtual_paint.runtime.outputs import check_outputs
from napari_virtual_paint.runtime.processes import cores, spawn_single_threaded
from napari_virtual_paint.runtime.temporary import temporary_folder
from napari_virtual_paint.runtime.worker_pool import WorkerPool
from napari_virtual_paint.stain_names import Synonyms

OPENING = "Opening the images"
MANY = 500  # fields from which on processes of their own summarize them

__all__ = ["ControlSelection", "EvaluationProgress", "evaluate"]


def evaluate(
    predictions: Mapping[str, Path | str] | Sequence[tuple[str, Path | str]],
    truth: Path | str,
    levels: Sequence[str] = LEVELS,
    *,
    output: Path | str | None = None,
    plate_map: Path | str | None = None,
    wells: str | None = None,
    fields: Sequence[str] | None = None,
    choice: ControlSelection | None = None,
    settings: EvaluationSettings | None = None,
    synonyms: Synonyms | None = None,
    axes: tuple[str | None, str | None] = (None, None),
    places: Mapping[str, str] | None = None,
    plate: str | None = None,
) -> Generator[EvaluationProgress, None, Evaluation]:
    """Evaluate predictions at some levels.

    A generator: each ``yield`` is a place to cancel (``close()`` it). However it ends, the next call with the same output resumes
    with what is missing.

    Parameters
    ----------
    predictions
        Name -> a field's file, a folder of fields or a plate, or pairs of these; the first is the main one. An empty name: the file's.
    truth
        The same fields with true stains; a plate whose stains lie beside brightfield may be the one that was painted.
    levels
        Of `LEVELS`.
    output
        The report folder; without one nothing is stored.
    plate_map
        A table of the wells' contents.
    wells, fields
        Selection from the truth; all where None (see `Plate.select`).
    choice
        Roles of the map's columns, and the control wells.
    settings
        Settings. A script that asks for more than one worker needs ``if __name__ == "__main__":``.
    synonyms
        The names of stains, by which channels of other names pair; `stain_names.default_synonyms` where None.
    axes
        What the axes of the predictions' arrays are, and those of the truth's (see `reading.read`).
    places
        Additional levels: name -> ``module:OBJECT``.
    plate
        Which plate, where the truth or a prediction is a folder or table of several.

    Yields
    ------
    EvaluationProgress
        After each field, and several times a second between.

    Returns
    -------
    Evaluation
        The result; already written if there is an output.

    Raises
    ------
    InputError
        If an input is invalid, no field pairs, every field fails, or the output folder belongs to another request.
    WriteError
        If the report can't be written.
    """
    began = time.monotonic()
    pairs = predictions.items() if isinstance(predictions, Mapping) else predictions
    request = EvaluationRequest(
        predictions=tuple((name, str(path)) for name, path in pairs),
        truth=str(truth),
        plate_map=None if plate_map is None else Path(plate_map).expanduser().absolute(),
        wells=wells,
        fields=None if fields is None else tuple(fields),
        choice=choice or ControlSelection(),
        settings=settings or EvaluationSettings(),
        synonyms=synonyms,
        plate=plate,
        axes=axes,
    )
    check_outputs([output], [*(path for _, path in request.predictions), truth, plate_map])
    yield EvaluationProgress(phase=OPENING)
    known = {**MODULES, **(places or {})}
    chosen = _levels(levels, known)
    prepared = prepare(request)
    for level in chosen:
        getattr(level_at(known[level]), "check", lambda context: None)(prepared.context)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(temporary_folder()) if output is None else output).expanduser().absolute()
        store = FieldStore(folder / FOLDER)
        store.begin(describe(request, prepared))
        stack.enter_context(OutputLock(store.folder / LOCK, folder, "written"))
        store, former = store.tidy()
        if former:
            yield EvaluationProgress(0, 0, "the report's fields were stored by an earlier version; they are evaluated again")
        pace = ProgressScale(estimate(len(prepared.keys), prepared.field_bytes, chosen, request.settings.workers, known), slowdown())
        report = yield from _run(prepared, request, chosen, known, store, pace)
        report = replace(report, output=None if output is None else folder, seconds=time.monotonic() - began)
        if output is not None:
            yield from pace.follow(_written(report, prepared, store), "report")
        else:  # the tables are read before their files are removed
            held = {level: replace(found, tables=dict(found.tables)) for level, found in report.findings.items()}
            report = replace(report, findings=held)
    return report


def _written(report: Evaluation, prepared: PreparedEvaluation, store: FieldStore) -> Generator[EvaluationProgress, None, None]:
    """Write the report."""
    yield EvaluationProgress(0, 1)
    write_report_folder(report, prepared, store)
    yield EvaluationProgress(1, 1)


def _run(
    prepared: PreparedEvaluation,
    request: EvaluationRequest,
    levels: tuple[str, ...],
    places: Mapping[str, str],
    store: FieldStore,
    pace: ProgressScale,
) -> Generator[EvaluationProgress, None, Evaluation]:
    """Survey, evaluate, summarize."""
    needed = needed_levels(levels, places)
    workers = request.settings.workers or cores()
    # A single worker is this process: none need be started.
    with WorkerPool(workers if workers > 1 else 0, start=spawn_single_threaded, name="evaluation worker", output=store.folder) as pool:
        work = Work(prepared.reader, store, places=places)
        scale, scales, notes = yield from pace.follow(find_scale(work, pool, prepared, needed), "survey")
        context = replace(prepared.context, notes=(*prepared.context.notes, *notes))
        work = replace(work, scale=scale, scales=scales, context=context)
        outcome = yield from pace.follow(evaluate_fields(work, pool, prepared.keys, needed, prepared.field_bytes), "fields")
        context = replace(context, fields=tuple(key for key in prepared.keys if key not in outcome.unread))
        work = replace(work, context=context)
        if len(prepared.keys) >= MANY:
            pool.close()  # the summaries of large tables begin in new processes, without the memory that images took
        findings = yield from pace.follow(all_findings(work, pool, levels), "findings")
    return Evaluation(
        findings=findings,
        context=replace(context, notes=(*context.notes, *noted(store, context.fields, needed))),
        predictions={name: source.path for name, source in prepared.predictions.items()},
        truth=prepared.truth.path,
        fields=len(context.fields),
        failed=outcome.table(prepared.reader.wells),
        request=describe(request, prepared),
        versions=prepared.versions,
        models={name: painter for name, each in prepared.predictions.items() if (painter := painted_by(each.images, each.keys))},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _levels(levels: Sequence[str], known: Mapping[str, str]) -> tuple[str, ...]:
    """Return the levels in order."""
    unknown = next((name for name in levels if name not in known), None)
    if unknown is not None or not levels:
        raise InputError(f"There is no level {unknown or ''!r}; there are {', '.join(known)}.")
    return tuple(name for name in known if name in levels)
