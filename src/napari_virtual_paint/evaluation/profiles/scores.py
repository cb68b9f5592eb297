"""All profile scores of the truth and of each prediction, with the tables behind them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.profiles.retrieval import RetrievalTask, by_label, hits, queries, replicates
from napari_virtual_paint.evaluation.profiles.table import NEGATIVE, POSITIVE, TREATED, Doubles, Profiles, consensus, cosine
from napari_virtual_paint.evaluation.profiles.toxicity import Toxicity, toxicity
from napari_virtual_paint.evaluation.profiles.treatment_strength import corrected, strengths
from napari_virtual_paint.evaluation.statistics import interval

if TYPE_CHECKING:
    import pandas as pd

SCORES: Mapping[str, str] = {
    "map": "Mean average precision",
    "enrichment_1pct": "Folds of enrichment at 1 %",
    "sensitivity": "Sensitivity to toxic treatments",
    "specificity": "Specificity to toxic treatments",
    "replicate_similarity": "Similarity of replicates",
    "similarity_to_truth": "Similarity of wells to the truth",
}
"""Scores with an interval: JSON key -> words."""

LEVELS = ("treatment", "well", "image")  # percentile at which hits are counted


@dataclass(eq=False)
class Scored:
    """Results of all sources."""

    sections: dict[str, dict[str, Any]] = field(default_factory=dict)  # source -> JSON values
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  # name -> rows, with the column ``source``
    toxicity: Toxicity | None = None  # calls of the classifier
    notes: list[str] = field(default_factory=list)


def score(normal: Profiles, sphered: Profiles, task: RetrievalTask | None, context: Context) -> Generator[tuple[int, int], None, Scored]:
    """Score each source.

    Parameters
    ----------
    normal
        Normalized profiles: for the toxicity classifier and treatment strengths.
    sphered
        Profiles whose similarity gives all rankings.
    task
        Task of mAP and enrichment.
    context
        Provides seed and number of bootstrap samples.

    Yields
    ------
    tuple
        Number of sources done, of all.
    """
    import pandas as pd

    found, parts = Scored(), _Parts()
    found.toxicity = toxicity(normal, context.settings.seed)
    strong, notes = corrected(normal)
    found.notes += [*found.toxicity.notes, *([notes] if notes else [])]
    if task is None:
        found.notes.append("mAP and folds of enrichment are undefined: no treatment has a second well, dose or compound to find.")
    for done, source in enumerate(sphered.sources):
        section = _retrieval(sphered, source, task, context, parts)
        section |= _agreement(found.toxicity, source, context)
        section |= _likeness(sphered, source, context, parts)
        parts.add("profiles_strong", source, strengths(strong, source))
        section["strong_spearman"] = _strong(parts, source)
        found.sections[source] = section
        yield done + 1, len(sphered.sources)
    found.tables = {name: pd.concat(frames.values(), ignore_index=True) for name, frames in parts.items()}
    found.tables["profiles_toxicity"] = found.toxicity.calls
    return found


class _Parts(dict[str, "dict[str, pd.DataFrame]"]):
    """Name of a table -> source -> its rows."""

    def add(self, name: str, source: str, table: pd.DataFrame) -> None:
        rows = table.assign(source=source)
        self.setdefault(name, {})[source] = rows[["source", *(column for column in rows if column != "source")]]


def _mean(key: str, values: npt.ArrayLike, context: Context) -> dict[str, Any]:
    """Return a mean and its interval as JSON values."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    low, high = interval(finite, np.mean, seed=context.settings.seed, n=context.settings.bootstrap)
    return {key: float(finite.mean()) if finite.size else None, f"{key}_low": low, f"{key}_high": high}


def _retrieval(profiles: Profiles, source: str, task: RetrievalTask | None, context: Context, parts: _Parts) -> dict[str, Any]:
    """Return the scores of the rankings."""
    seed = context.settings.seed
    section: dict[str, Any] = {"map": None, "enrichment_1pct": None}
    if task is not None:
        scores = queries(task.values(profiles, source), task, seed)
        parts.add("profiles_queries", source, scores)
        parts.add("profiles_mechanisms", source, by_label(scores, seed))
        section = _mean("map", scores["average_precision"], context)
        section |= {"map_interpolated": float(scores["interpolated_precision"].mean()), "queries": len(scores)}
        section |= _mean("enrichment_1pct", scores["odds_1pct"], context)
    counted = hits(profiles, source, task, seed)
    parts.add("profiles_hits", source, counted)
    records = counted.to_dict("records")
    section["hits_1pct"] = {row["level"]: {"hits": int(row["hits"]) if row["of"] else None, "of": int(row["of"])} for row in records}
    return section


def _agreement(found: Toxicity, source: str, context: Context) -> dict[str, Any]:
    """Return the scores of the toxicity classifier, with intervals over wells."""
    part = found.calls[found.calls["source"] == source]
    toxic, called = part["truth"].to_numpy(bool), part["toxic"].to_numpy(bool)
    section = _mean("sensitivity", called[toxic], context) | _mean("specificity", ~called[~toxic], context)
    return section | found.agreement(source)


def _likeness(profiles: Profiles, source: str, context: Context, parts: _Parts) -> dict[str, Any]:
    """Return the similarity of replicates, and of profiles to the truth's."""
    rows = profiles.rows(TREATED, POSITIVE)
    wells = profiles.wells.iloc[rows]
    similarity = replicates(profiles.values[source][rows], wells["condition"].tolist(), wells["treatment"].tolist())
    parts.add("profiles_replicates", source, similarity)
    section = _mean("replicate_similarity", similarity["similarity"], context)
    known = len(similarity) > 0 and similarity["chance"].notna().all()
    section["percent_replicating"] = 100 * int(similarity["replicates"].sum()) / len(similarity) if known else None
    own = paired_cosine(profiles.values[source], profiles.values[TRUTH])
    near = profiles.wells[["well", "treatment", "condition", "kind"]].assign(similarity_to_truth=own)
    parts.add("profiles_wells", source, near.reset_index(drop=True))
    section |= _mean("similarity_to_truth", own[np.setdiff1d(np.arange(len(own)), profiles.rows(NEGATIVE))], context)
    table = similarities(profiles, source)
    parts.add("profiles_similarity", source, table)
    section["similarity_structure"] = _structure(table, parts["profiles_similarity"][TRUTH])
    return section


def paired_cosine(a: Doubles, b: Doubles) -> Doubles:
    """Return the cosine similarity of each row with its partner, NaN where both are 0 (equal rows give exactly 1)."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found = np.divide((a * b).sum(axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0)
    found[(a == b).all(axis=1)] = 1.0
    found[~a.any(axis=1) & ~b.any(axis=1)] = np.nan
    return np.asarray(found)


def similarities(profiles: Profiles, source: str) -> pd.DataFrame:
    """Return the cosine similarity of each pair of treatments (and doses): ``treatment``, ``other``, ``cosine``."""
    import pandas as pd

    rows = profiles.rows(TREATED, POSITIVE)
    names, values = consensus(profiles.values[source][rows], profiles.wells["condition"].iloc[rows].tolist())
    order = sorted(range(len(names)), key=names.__getitem__)
    names, similar = [names[i] for i in order], cosine(values[order], values[order])
    pairs = [(a, b, float(similar[i, j])) for i, a in enumerate(names) for j, b in enumerate(names)]
    return pd.DataFrame(pairs, columns=["treatment", "other", "cosine"])


def _structure(table: pd.DataFrame, truth: pd.DataFrame) -> float | None:
    """Return Spearman's correlation between the similarities of all pairs of treatments in a source and in the truth."""
    above = (table["treatment"] < table["other"]).to_numpy()
    return _spearman(table.loc[above, "cosine"].to_numpy(), truth.loc[above, "cosine"].to_numpy())


def _strong(parts: _Parts, source: str) -> float | None:
    """Return Spearman's correlation of the strengths of treatments in a source and in the truth."""
    own, truth = (parts["profiles_strong"][name].set_index("condition")["strength"] for name in (source, TRUTH))
    both = own.index.intersection(truth.index)
    return _spearman(own[both].to_numpy(float), truth[both].to_numpy(float))


def _spearman(a: Doubles, b: Doubles) -> float | None:
    from scipy.stats import spearmanr

    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    if np.array_equal(a, b):
        return 1.0  # and not 1 less a rounding error
    return float(spearmanr(a, b).statistic)
