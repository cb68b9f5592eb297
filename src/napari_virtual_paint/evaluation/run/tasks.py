"""Tasks of the worker processes: survey a field for the scale, evaluate a field at each level, summarize a level."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from napari_virtual_paint.choices import LEVELS
from napari_virtual_paint.evaluation.context import Context, FieldImages
from napari_virtual_paint.evaluation.inputs.reader import Reader
from napari_virtual_paint.evaluation.level import Level, Tables
from napari_virtual_paint.evaluation.run.store import FieldStore, save_findings
from napari_virtual_paint.evaluation.scale import IntensityScale, SourceMoments
from napari_virtual_paint.runtime.extras import missing
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.worker_pool import Failure, Share

MODULES = {name: f"napari_virtual_paint.evaluation.{name}.level:{name.upper()}" for name in LEVELS}  # name of a level -> ``module:OBJECT``


@dataclass(frozen=True)
class FieldTask:
    """One task."""

    kind: Literal["survey", "field", "summary"]
    key: str  # the field, or the level to summarize
    levels: tuple[str, ...] = ()  # the missing levels of a field
    digest: str = ""  # digest of the result's inputs, stored with it


@dataclass(frozen=True)
class Work:
    """Run tasks. It is sent to each process once."""

    reader: Reader
    store: FieldStore  # stores the results
    context: Context | None = None  # context of the levels; None before it is known
    scale: IntensityScale = field(default_factory=IntensityScale)
    scales: Mapping[str, IntensityScale] = field(default_factory=dict)
    """`scale` and `scales`: the scale of the predictions, and those of the fields that differ from it, by key."""
    places: Mapping[str, str] = field(default_factory=lambda: MODULES)  # name of a level -> ``module:OBJECT``

    def __call__(self, task: FieldTask) -> Generator[Share, None, Any]:
        """Run a task. A survey returns the moments, a field its failures by level; findings are stored and nothing is returned."""
        yield 0.0, ""
        if task.kind == "survey":
            return self._survey(task.key)
        if task.kind == "field":
            return (yield from self._field(task))
        return (yield from self._summary(task))

    def scale_of(self, key: str) -> IntensityScale:
        """Return the scale of a field."""
        return self.scales.get(key, self.scale)

    def _survey(self, key: str) -> dict[str, SourceMoments]:
        return self.reader.survey(key)

    def _field(self, task: FieldTask) -> Generator[Share, None, dict[str, Failure]]:
        """Evaluate a field at each level; a failure at one does not affect the others."""
        assert self.context is not None
        failures: dict[str, Failure] = {}
        tables: dict[str, list[Tables]] = {level: [] for level in task.levels}
        notes: dict[str, list[str]] = {level: [] for level in task.levels}
        for number, images in enumerate(self.reader.read(task.key, self.scale_of(task.key))):
            for i, level in enumerate(task.levels):
                yield (number + i / len(task.levels)) / (number + 1), ""
                if level in failures:
                    continue
                images.memo["notes"] = []
                try:
                    tables[level].append(level_at(self.places[level]).field(images, self.context))
                except Exception as error:  # noqa: BLE001 - a failure is reported, and the other levels continue
                    failures[level] = Failure.of(error)
                notes[level] += images.memo["notes"]
        for level in task.levels:
            if level not in failures:
                self.store.save_field(task.key, level, _joined(tables[level]), task.digest, tuple(dict.fromkeys(notes[level])))
        return failures

    def _summary(self, task: FieldTask) -> Generator[Share, None, None]:
        """Summarize a level and store its findings."""
        assert self.context is not None
        level = level_at(self.places[task.key])
        tables = self.store.tables(self.context.fields, (task.key, *level.needs))
        steps = level.summary(tables, replace(self.context, images=self.images))
        found = yield from relay(steps, lambda step: (min(step[0] / step[1], 1.0) if step[1] else 0.0, step[2]))
        save_findings(self.store, found, task.digest)

    def images(self, key: str) -> FieldImages:
        """Read a field again, by its key or that of one of its time points.

        Raises `ReadError` if it can't be read any more.
        """
        field = key if key in self.reader.partners else key.rpartition("/")[0]
        return next(each for each in self.reader.read(field, self.scale_of(field)) if each.key == key)


def level_at(place: str) -> Level:
    """Return a level by the location of its object, ``module:NAME``.

    Raises `InputError` if a package that it needs is not installed.
    """
    module, _, name = place.partition(":")
    try:
        level: Level = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("napari_virtual_paint"):
            raise
        raise missing(error.name or module, extra="evaluate", purpose="This level") from error
    return level


def _joined(parts: list[Tables]) -> Tables:
    """Concatenate the tables of all time points."""
    import pandas as pd

    if len(parts) == 1:
        return parts[0]
    return {name: pd.concat([each[name] for each in parts], ignore_index=True) for name in parts[0]} if parts else {}
