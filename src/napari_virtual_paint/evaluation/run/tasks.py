"""Tasks of the worker processes: survey fields for the scale, evaluate fields at each level, summarize a level."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from napari_virtual_paint.choices import LEVELS
from napari_virtual_paint.evaluation.context import Context, FieldImages
from napari_virtual_paint.evaluation.inputs.reader import Reader
from napari_virtual_paint.evaluation.level import Level, Tables
from napari_virtual_paint.evaluation.run.store import FieldResult, FieldStore
from napari_virtual_paint.evaluation.run.stored_findings import save_findings
from napari_virtual_paint.evaluation.scale import IntensityScale, SourceMoments
from napari_virtual_paint.runtime.extras import missing
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.worker_pool import Failure, Share

MODULES = {name: f"napari_virtual_paint.evaluation.{name}.level:{name.upper()}" for name in LEVELS}  # name of a level -> ``module:OBJECT``


AT_ONCE = 16  # most fields of a task, whose cells are measured together
HELD = 2**25  # bytes of images from which on those read are evaluated before the next is read


@dataclass(frozen=True)
class MissingField:
    """A field without results at some levels."""

    key: str
    levels: tuple[str, ...]
    stamp: str  # digest of the results' inputs, stored with them


@dataclass(frozen=True)
class FieldsTask:
    """Evaluate several fields."""

    fields: tuple[MissingField, ...]


@dataclass(frozen=True)
class SurveyTask:
    """Find the moments of several fields, for the scale."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class SummaryTask:
    """Summarize a level."""

    level: str
    digest: str  # digest of the findings' inputs, stored with them


Failures = dict[tuple[str, str], Failure]  # key of a field and the level, empty for all levels -> why it failed


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

    def __call__(self, task: FieldsTask | SurveyTask | SummaryTask) -> Generator[Share, None, Any]:
        """Run a task. A survey returns the moments by field, fields return their failures; findings are stored."""
        yield 0.0, ""
        if isinstance(task, SurveyTask):
            return (yield from self._survey(task.keys))
        if isinstance(task, FieldsTask):
            return (yield from self._fields(task.fields))
        return (yield from self._summary(task))

    def scale_of(self, key: str) -> IntensityScale:
        """Return the scale of a field."""
        return self.scales.get(key, self.scale)

    def _survey(self, keys: Sequence[str]) -> Generator[Share, None, dict[str, dict[str, SourceMoments]]]:
        """Return the moments of the fields that can be read; evaluating the others reports the error."""
        found = {}
        for number, key in enumerate(keys):
            yield number / len(keys), ""
            with contextlib.suppress(Exception):
                found[key] = self.reader.survey(key)
        return found

    def _fields(self, fields: Sequence[MissingField]) -> Generator[Share, None, Failures]:
        """Evaluate fields and store their results; a failure at a level does not affect the others, nor other fields."""
        assert self.context is not None
        found = _Results(self.context, self.places)
        images: list[tuple[MissingField, FieldImages]] = []
        whole: list[MissingField] = []  # fields whose images were all read
        for number, each in enumerate(fields):
            done = number / len(fields)
            yield done, ""
            try:
                for part in self.reader.read(each.key, self.scale_of(each.key)):
                    images.append((each, part))
                    if sum(_size(image) for _, image in images) >= HELD:
                        for _ in found.add(images):
                            yield done, ""
                        images = []
            except Exception as error:  # noqa: BLE001 - a failure is reported, and the other fields continue
                found.failures = {place: failure for place, failure in found.failures.items() if place[0] != each.key}
                found.failures[each.key, ""] = Failure.of(error)
                images = [(field, image) for field, image in images if field is not each]
            else:
                whole.append(each)
            if not images:
                self.store.save_fields(found.taken(whole))
                whole = []
        yield from relay(found.add(images), lambda share: (share, ""))
        self.store.save_fields(found.taken(whole))
        return found.failures

    def _summary(self, task: SummaryTask) -> Generator[Share, None, None]:
        """Summarize a level and store its findings."""
        assert self.context is not None
        level = level_at(self.places[task.level])
        tables = self.store.tables(self.context.fields, (task.level, *level.needs))
        steps = level.summary(tables, replace(self.context, images=self.images))
        found = yield from relay(steps, lambda step: (min(step[0] / step[1], 1.0) if step[1] else 0.0, step[2]))
        save_findings(self.store, found, task.digest)

    def images(self, key: str) -> FieldImages:
        """Read a field again, by its key or that of one of its time points.

        Raises `ReadError` if it can't be read any more.
        """
        field = key if key in self.reader.partners else key.rpartition("/")[0]
        return next(each for each in self.reader.read(field, self.scale_of(field)) if each.key == key)


class _Results:
    """What the levels find in the images of some fields.

    Parameters
    ----------
    context, places
        As of `Work`.
    """

    def __init__(self, context: Context, places: Mapping[str, str]) -> None:
        self.failures: Failures = {}
        self._context, self._places = context, places
        self._tables: dict[tuple[str, str], list[Tables]] = {}
        self._notes: dict[tuple[str, str], list[str]] = {}

    def add(self, images: Sequence[tuple[MissingField, FieldImages]]) -> Generator[float, None, None]:
        """Evaluate images at each level; yield the share that is done."""
        levels = [level for level in self._places if any(level in each.levels for each, _ in images)]
        for done, name in enumerate(levels):
            yield done / len(levels)
            level = level_at(self._places[name])
            left = [(each, image) for each, image in images if name in each.levels and (each.key, name) not in self.failures]
            if (several := self._together(level, [image for _, image in left])) is not None:
                for (each, image), tables in zip(left, several, strict=True):
                    self._keep(each, name, tables, image)
                continue
            for each, image in left:
                if (each.key, name) in self.failures:  # at an earlier time point
                    continue
                image.memo["notes"] = []
                try:
                    self._keep(each, name, level.field(image, self._context), image)
                except Exception as error:  # noqa: BLE001 - a failure is reported, and the other levels continue
                    self.failures[each.key, name] = Failure.of(error)

    def _together(self, level: Level, images: Sequence[FieldImages]) -> list[Tables] | None:
        """Evaluate several images at once where the level can; None where it can't, or one of them fails, which shows alone."""
        if len(images) < 2 or not hasattr(level, "fields"):
            return None
        for each in images:
            each.memo["notes"] = []
        with contextlib.suppress(Exception):
            return list(level.fields(images, self._context))
        return None

    def _keep(self, field: MissingField, level: str, tables: Tables, images: FieldImages) -> None:
        self._tables.setdefault((field.key, level), []).append(tables)
        self._notes.setdefault((field.key, level), []).extend(images.memo["notes"])

    def taken(self, fields: Sequence[MissingField]) -> list[FieldResult]:
        """Return the results of whole fields, which are forgotten here."""
        out = []
        for each in fields:
            for level in each.levels:
                tables, notes = self._tables.pop((each.key, level), []), self._notes.pop((each.key, level), [])
                if (each.key, level) not in self.failures:
                    out.append(FieldResult(each.key, level, _joined(tables), each.stamp, tuple(dict.fromkeys(notes))))
        return out


def _size(images: FieldImages) -> int:
    return images.truth.nbytes + sum(each.nbytes for each in images.predictions.values())


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


def needed_levels(levels: Sequence[str], places: Mapping[str, str]) -> list[str]:
    """Return the levels whose tables of the fields are needed to summarize some levels."""
    return [name for name in places if name in levels or any(name in level_at(places[each]).needs for each in levels)]


def _joined(parts: list[Tables]) -> Tables:
    """Concatenate the tables of all time points."""
    import pandas as pd

    if len(parts) == 1:
        return parts[0]
    return {name: pd.concat([each[name] for each in parts], ignore_index=True) for name in parts[0]} if parts else {}
