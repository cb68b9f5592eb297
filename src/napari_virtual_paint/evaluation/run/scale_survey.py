"""Find the scales that predictions are mapped to, in a first pass over the fields they depend on."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from napari_virtual_paint.evaluation.context import TRUTH
from napari_virtual_paint.evaluation.run.batches import batches, run_batches
from napari_virtual_paint.evaluation.run.pace import EvaluationProgress
from napari_virtual_paint.evaluation.run.prepare import PreparedEvaluation
from napari_virtual_paint.evaluation.run.store import digest
from napari_virtual_paint.evaluation.run.tasks import SurveyTask, Work
from napari_virtual_paint.evaluation.scale import FAINT, IntensityScale, SourceMoments, scale_for
from napari_virtual_paint.runtime.text import counted
from napari_virtual_paint.runtime.worker_pool import ForEach, WorkerPool

FILE = "scale.json"
PARTS = ("count", "mean", "sd", "low", "high")

Pooled = Mapping[str, SourceMoments]

BATCHES = ("plate", "batch")  # columns that separate wells with different light, gain and stain


def find_scale(
    work: Work, pool: WorkerPool, prepared: PreparedEvaluation, levels: Sequence[str]
) -> Generator[EvaluationProgress, None, tuple[IntensityScale, Mapping[str, IntensityScale], tuple[str, ...]]]:
    """Find the scale: per plate and batch from its negative controls, without any from all controls, else per field.

    Without controls all fields are surveyed, for those whose truth may show no cell; not for pixels alone, which have their own scale.
    Fields that can't be read are skipped here; evaluating them reports the error.

    Yields
    ------
    EvaluationProgress
        After each field.

    Returns
    -------
    tuple
        The scale, the scales of fields that differ from it, and notes for the reader.
    """
    negative, well = set(prepared.context.negative), prepared.reader.wells
    controls = [key for key in prepared.keys if well[key] in negative]
    alone = prepared.gray_levels and (len(prepared.keys) == 1 or set(levels) == {"pixels"})
    surveyed = controls or ([] if alone else list(prepared.keys))
    found = yield from _surveyed(work, pool, surveyed, prepared.field_bytes)
    pooled = _pooled(found.values())
    lowest = None if prepared.gray_levels or pooled is None else pooled[TRUTH]
    if not controls or pooled is None:
        scale = scale_for(None, lowest, alone=len(prepared.keys) == 1)
        faint = {} if scale.alone or pooled is None else _faint(found, pooled, scale)
        return scale, faint, (_scale_note("the field's own mean and SD, since no field of a negative control is known"), *_units(scale))
    scale = scale_for(pooled, lowest)
    batch = _batches(prepared)
    parts = {name: _pooled(each for key, each in found.items() if batch[well[key]] == name) for name in dict.fromkeys(batch.values())}
    own = {name: scale_for(_bounded(part, pooled), lowest) for name, part in parts.items() if part is not None and len(parts) > 1}
    wells = len({well[key] for key in found})
    over = f"the mean and SD over the {counted(len(found), 'field')} of {counted(wells, 'negative control well')}"
    basis = f"{over}, each of the {len(own)} plates and batches by its own" if own else over
    return scale, {key: own[batch[well[key]]] for key in prepared.keys if batch[well[key]] in own}, (_scale_note(basis), *_units(scale))


def _faint(found: Mapping[str, Pooled], pooled: Pooled, scale: IntensityScale) -> dict[str, IntensityScale]:
    """Return the scale of the fields whose truth may show no cell: it has the moments over all fields."""
    least = FAINT * pooled[TRUTH].sd
    return {key: replace(scale, pooled=pooled) for key, each in found.items() if bool(np.any(each[TRUTH].sd < least))}


def _batches(prepared: PreparedEvaluation) -> dict[str, tuple[str, ...]]:
    """Return the plate and batch of each well."""
    wells, names = prepared.context.wells, [name for each in BATCHES if (name := prepared.context.role(each))]
    parts = [dict(wells[name].astype(str)) for name in names]
    return {well: tuple(part.get(well, "") for part in parts) for well in prepared.reader.wells.values()}


def _pooled(found: Iterable[Pooled]) -> Pooled | None:
    """Pool the moments of several fields; None if there are none."""
    each = list(found)
    return {name: reduce(add, (one[name] for one in each)) for name in each[0]} if each else None


def _bounded(part: Pooled, pooled: Pooled) -> Pooled:
    """Return the moments of a batch with the range of all batches, since gray levels mean the same in all of them."""
    return {name: replace(each, low=pooled[name].low, high=pooled[name].high) for name, each in part.items()}


def _scale_note(over: str) -> str:
    return (
        "Predictions have no unit: for instances, features and profiles each stain was mapped onto the truth's scale by "
        f"{over}, then rounded and clipped to 16 bits."
    )


def _units(scale: IntensityScale) -> tuple[str, ...]:
    """Return a note where the truth is not in gray levels."""
    if scale.gain is None:
        return ()
    return ("The truth is not in gray levels of 16 bits; it was brought there linearly, the same for all fields.",)


def _surveyed(work: Work, pool: WorkerPool, keys: list[str], field_bytes: int) -> Generator[EvaluationProgress, None, dict[str, Pooled]]:
    """Return the moments of the readable fields; those of an earlier run where nothing has changed."""
    if not keys:
        return {}
    mark = digest(keys, [work.reader.stamp(key) for key in keys], work.reader.stains)
    stored = work.store.load_json(FILE)
    if isinstance(stored, dict) and stored.get("digest") == mark and "fields" in stored:
        return {key: {name: _moments(each) for name, each in one.items()} for key, one in stored["fields"].items()}
    found: dict[str, Pooled] = {}
    ended = 0
    tasks = [SurveyTask(part) for part in batches(keys, pool, field_bytes)]
    for task, event in run_batches(pool, ForEach(work), tasks, _alone):
        if task is not None and event.state != "working":
            ended += len(task.keys)
            found |= event.value or {}
        yield EvaluationProgress(ended, len(keys), event.message)
    if found and len(found) == len(keys):
        plain = {key: {name: _plain(each) for name, each in found[key].items()} for key in keys}
        work.store.save_json(FILE, {"digest": mark, "fields": plain})
    return {key: found[key] for key in keys if key in found}


def _alone(task: SurveyTask) -> list[SurveyTask]:
    return [SurveyTask((key,)) for key in task.keys] if len(task.keys) > 1 else []


def _plain(moments: SourceMoments) -> dict[str, Any]:
    return {part: getattr(moments, part) for part in PARTS}


def _moments(stored: Mapping[str, Any]) -> SourceMoments:
    return SourceMoments(stored["count"], *(np.asarray(stored[part]) for part in PARTS[1:]))
