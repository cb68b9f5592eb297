"""Choose the regularization of sphering: all candidates are tried, and the truth's replicates decide."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.evaluation.context import TRUTH
from napari_virtual_paint.evaluation.profiles.retrieval import RetrievalTask, mean_precision, replicate_task
from napari_virtual_paint.evaluation.profiles.sphering import STRENGTHS, sphere
from napari_virtual_paint.evaluation.profiles.table import Profiles

if TYPE_CHECKING:
    import pandas as pd

NONE = "none"  # value of the column ``regularisation`` without sphering


@dataclass(frozen=True, eq=False)
class Sweep:
    """Results of each regularization."""

    table: pd.DataFrame
    """One row per source and regularization: ``source``, ``regularisation`` (text, ``none`` for no sphering), ``replicate_map``,
    ``map``, ``chosen``."""
    profiles: Profiles  # profiles sphered by the chosen one
    chosen: float | None  # the chosen regularization; None for no sphering
    notes: tuple[str, ...]  # why nothing was sphered, or how the choice was made


def sweep(profiles: Profiles, mechanism: RetrievalTask | None, seed: int) -> Generator[tuple[int, int], None, Sweep]:
    """Try each regularization and choose the one for which the truth's replicates retrieve each other best.

    The criterion is the mAP of wells of one treatment and dose in the truth (or, without replicates, that of mechanisms), so that no
    prediction influences the choice, nor do mechanisms. Among equals the mildest is chosen, no sphering first.

    Parameters
    ----------
    mechanism
        Task of ``map``.
    seed
        Seed that breaks ties in rankings.

    Yields
    ------
    tuple
        Number done, of all.
    """
    import pandas as pd

    replicate = replicate_task(profiles)
    tried: list[float | None] = []
    notes: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = []
    for done, strength in enumerate((None, *STRENGTHS)):
        found = profiles if strength is None else sphere(profiles, strength)
        if isinstance(found, str):
            notes = (found,)
            break
        tried.append(strength)
        rows += _scores(found, strength, replicate, mechanism, seed)
        yield done + 1, len(STRENGTHS) + 1
    table = pd.DataFrame(rows)
    chosen = _choose(table, tried)
    table["chosen"] = table["regularisation"] == _strength_text(chosen)
    if len(tried) > 1:
        notes = (_choice_note(table, chosen, len(tried) - 1),)
    # Computed again, since those of a whole plate with each regularization are most of a gigabyte.
    best = profiles if chosen is None else sphere(profiles, chosen)
    assert isinstance(best, Profiles)
    return Sweep(table, best, chosen, notes)


def _scores(
    profiles: Profiles, strength: float | None, replicate: RetrievalTask, mechanism: RetrievalTask | None, seed: int
) -> list[dict[str, Any]]:
    rows = []
    for source in profiles.sources:
        row: dict[str, Any] = {"source": source, "regularisation": _strength_text(strength)}
        for name, task in (("replicate_map", replicate), ("map", mechanism)):
            answerable = task is not None and task.answerable
            row[name] = mean_precision(task.values(profiles, source), task, seed) if task is not None and answerable else np.nan
        rows.append(row)
    return rows


def _strength_text(strength: float | None) -> str:
    return NONE if strength is None else f"{strength:g}"


def _choose(table: pd.DataFrame, tried: list[float | None]) -> float | None:
    """Return the best by the truth; among equals the first."""
    truth = table[table["source"] == TRUTH].set_index("regularisation")
    criterion = "replicate_map" if truth["replicate_map"].notna().all() else "map"
    values = [float(truth.at[_strength_text(strength), criterion]) for strength in tried]
    best = max((value for value in values if np.isfinite(value)), default=np.nan)
    return next((strength for strength, value in zip(tried, values, strict=True) if value >= best - 1e-9), None)


def _choice_note(table: pd.DataFrame, chosen: float | None, tried: int) -> str:
    """Return the choice and its reason."""
    truth = table[table["source"] == TRUTH]
    criterion = "replicate_map" if truth["replicate_map"].notna().all() else "map"
    if not truth[criterion].notna().all():
        return "Profiles are not sphered: neither replicates nor mechanisms show which regularization is best."
    value = float(truth.loc[truth["regularisation"] == _strength_text(chosen), criterion].iloc[0])
    basis = "of the truth's replicate wells" if criterion == "replicate_map" else "by mechanism in the truth"
    choice = "no sphering" if chosen is None else f"sphering with regularization {chosen:g}"
    return f"Of {tried} regularizations and none, {choice} was taken: with it the mAP {basis} is {value:.2f}, the highest of all."
