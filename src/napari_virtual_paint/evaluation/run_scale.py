"""The scale that predictions are brought to, found in a first pass over the fields that it rests on."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from napari_virtual_paint.evaluation.context import TRUTH
from napari_virtual_paint.evaluation.run_crew import Crew
from napari_virtual_paint.evaluation.run_pace import Step
from napari_virtual_paint.evaluation.run_prepare import Prepared
from napari_virtual_paint.evaluation.run_work import Task, Work
from napari_virtual_paint.evaluation.scale import Moments, Scale, scale_for
from napari_virtual_paint.evaluation.store import digest

FILE = "scale.json"
PARTS = ("count", "mean", "sd", "low", "high")

Pooled = Mapping[str, Moments]


def find_scale(work: Work, crew: Crew, prepared: Prepared) -> Generator[Step, None, tuple[Scale, tuple[str, ...]]]:
    """Find the scale: one for the whole plate from its negative controls, else each field's own.

    Fields that can't be read are passed over here; they are told of when they are judged.

    Yields
    ------
    Step
        After each field.

    Returns
    -------
    tuple
        The scale, and what a reader should know of it.
    """
    negative = set(prepared.context.negative)
    controls = [key for key in prepared.keys if prepared.reader.wells[key] in negative]
    keys = controls or ([] if prepared.whole else list(prepared.keys))
    pooled, done = yield from _surveyed(work, crew, keys)
    if not controls or pooled is None:
        scale = scale_for(None, None if prepared.whole or pooled is None else pooled[TRUTH])
        return scale, (_words("the field's own mean and SD, since no field of a negative control is known"), *_units(scale))
    scale = scale_for(pooled, None if prepared.whole else pooled[TRUTH])
    wells = len({prepared.reader.wells[key] for key in done})
    return scale, (_words(f"the mean and SD over the {len(done)} fields of the {wells} negative control wells"), *_units(scale))


def _words(over: str) -> str:
    return (
        "Predictions have no unit: for instances, features and profiles each stain was mapped onto the truth's scale by "
        f"{over}, then rounded and clipped to 16 bits."
    )


def _units(scale: Scale) -> tuple[str, ...]:
    """Tell of a truth that is not in grey levels."""
    if scale.gain is None:
        return ()
    return ("The truth is not in grey levels of 16 bits; it was brought there linearly, the same for all fields.",)


def _surveyed(work: Work, crew: Crew, keys: list[str]) -> Generator[Step, None, tuple[Pooled | None, list[str]]]:
    """Return the pooled moments of some fields and which were read; an earlier run's where nothing has changed."""
    if not keys:
        return None, []
    mark = digest(keys, [work.reader.stamp(key) for key in keys], work.reader.stains)
    told = work.store.load_json(FILE)
    if isinstance(told, dict) and told.get("digest") == mark:
        return {name: _moments(each) for name, each in told["pooled"].items()}, told["keys"]
    found: dict[str, Pooled] = {}
    ended = 0
    for event in crew.run(work, [Task("survey", key) for key in keys]):
        ended += event.state != "working"
        if event.state == "done":
            found[keys[event.task]] = event.value
        yield Step(ended, len(keys), event.message)
    done = [key for key in keys if key in found]
    if not done:
        return None, []
    pooled = {name: reduce(add, (found[key][name] for key in done)) for name in found[done[0]]}
    if len(done) == len(keys):
        work.store.save_json(FILE, {"digest": mark, "keys": done, "pooled": {name: _plain(each) for name, each in pooled.items()}})
    return pooled, done


def _plain(moments: Moments) -> dict[str, Any]:
    return {part: getattr(moments, part) for part in PARTS}


def _moments(told: Mapping[str, Any]) -> Moments:
    return Moments(told["count"], *(np.asarray(told[part]) for part in PARTS[1:]))
