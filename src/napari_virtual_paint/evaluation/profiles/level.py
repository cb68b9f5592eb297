"""The level "profiles": whether profiles of predicted stains lead to the conclusions of true ones."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from napari_virtual_paint.evaluation.context import Context, FieldImages
from napari_virtual_paint.evaluation.features.measure import IMAGES, KEYS
from napari_virtual_paint.evaluation.level import Findings, LevelProgress, Tables, columns_of
from napari_virtual_paint.evaluation.profiles.embedding import embed
from napari_virtual_paint.evaluation.profiles.findings import ProfileResults, findings, nothing
from napari_virtual_paint.evaluation.profiles.regularization import sweep
from napari_virtual_paint.evaluation.profiles.retrieval import mechanism_task
from napari_virtual_paint.evaluation.profiles.scores import score
from napari_virtual_paint.evaluation.profiles.table import aggregate, choose_features, standardise
from napari_virtual_paint.runtime.generators import relay

T = TypeVar("T")


class _Profiles:
    """The level of profiles (see `level.Level`): it uses the tables of features, and has no field tables."""

    name = "profiles"
    needs = ("features",)

    def field(self, images: FieldImages, context: Context) -> Tables:
        """Return nothing: a field contributes its features only."""
        return {}

    def summary(self, tables: Tables, context: Context) -> Generator[LevelProgress, None, Findings]:
        """Compute all profile scores; see `level.Level.summary`."""
        yield 0, 100, "selecting features"
        chosen, notes = choose_features(tables, context)
        if not chosen:
            return nothing(context, tuple(notes))
        raw = aggregate(columns_of(tables, IMAGES, [*KEYS, *chosen]), context, chosen)
        normal, scaling_notes = standardise(raw)
        task = mechanism_task(normal)
        notes += [task.note] if task is not None and task.note else []
        seed = context.settings.seed
        swept = yield from _part(sweep(normal, task, seed), 5, 45, "sphering")
        scored = yield from _part(score(normal, swept.profiles, task, context), 45, 70, "scoring profiles")
        yield 70, 100, "laying out PCA and UMAP"
        places, embedding_notes = embed(raw, context)
        yield 95, 100, "comparing predictions"
        results = ProfileResults(
            normal, swept, task, scored, places, (*notes, *scaling_notes, *swept.notes, *scored.notes, *embedding_notes)
        )
        return findings(results, context)


def _part(steps: Generator[tuple[int, int], None, T], low: float, high: float, message: str) -> Generator[LevelProgress, None, T]:
    """Relay a part's steps as percentages of the whole; return its result."""
    return (yield from relay(steps, lambda step: (low + (high - low) * step[0] / step[1], 100, message)))


PROFILES = _Profiles()  # the level of profiles
