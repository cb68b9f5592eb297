"""Findings of the level "profiles": JSON, tables, figures and headline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.level import Findings, Headline
from napari_virtual_paint.evaluation.paired_deltas import deltas
from napari_virtual_paint.evaluation.profiles.figures import figures
from napari_virtual_paint.evaluation.profiles.regularization import Sweep
from napari_virtual_paint.evaluation.profiles.retrieval import RetrievalTask
from napari_virtual_paint.evaluation.profiles.scores import SCORES, Scored
from napari_virtual_paint.evaluation.profiles.table import NEGATIVE, POSITIVE, Profiles
from napari_virtual_paint.evaluation.statistics import corrected
from napari_virtual_paint.metrics.metric import Good

if TYPE_CHECKING:
    import pandas as pd

HEADLINE = {
    "map": "How well treatments of one mechanism are found by the similarity of their profiles. 1 is perfect.",
    "enrichment_1pct": "How many times more often than by chance the most similar 1 % share the mechanism. 1 is chance.",
    "sensitivity": "Share of the toxic treatments that are called toxic. 1 is perfect.",
    "specificity": "Share of the harmless treatments that are not called toxic. 1 is perfect.",
}
"""Score in the headline -> what it measures."""

_PAIRED = (
    ("profiles_queries", "query", {"average_precision": "map", "odds_1pct": "enrichment_1pct"}, "query"),
    ("profiles_toxicity", "well", {"found": "sensitivity", "spared": "specificity"}, "well"),
    ("profiles_replicates", "condition", {"similarity": "replicate_similarity"}, "treatment"),
    ("profiles_wells", "well", {"similarity_to_truth": "similarity_to_truth"}, "well"),
)
"""Table, the column that pairs rows of two predictions, its columns -> scores, and the unit of a pair."""


@dataclass(frozen=True, eq=False)
class ProfileResults:
    """Intermediate results."""

    normal: Profiles  # profiles normalized to controls
    swept: Sweep  # the sphering
    task: RetrievalTask | None  # task of mAP and enrichment
    scored: Scored  # scores and tables
    places: pd.DataFrame  # PCA and UMAP (see `embedding.embed`).
    notes: tuple[str, ...]


def nothing(context: Context, notes: tuple[str, ...]) -> Findings:
    """Return the findings where no feature was measured."""
    empty: dict[str, Any] = dict.fromkeys(SCORES)
    section = {**empty, TRUTH: dict(empty)}
    headline = tuple(Headline(SCORES[key], None, dict.fromkeys(context.predictions), about=about) for key, about in HEADLINE.items())
    return Findings("profiles", section, {name: dict(section) for name in context.predictions[1:]}, headline=headline, notes=notes)


def findings(results: ProfileResults, context: Context) -> Findings:
    """Return what the level found."""
    sections = results.scored.sections
    common = {
        "wells": len(results.normal.wells),
        "features": len(results.normal.features),
        "negative_controls": len(results.normal.rows(NEGATIVE)),
        "positive_controls": len(results.normal.rows(POSITIVE)),
        "regularisation": results.swept.chosen,
        "ranked": results.task.unit if results.task is not None else None,
    }
    each = {name: {**sections[name], **common, TRUTH: sections[TRUTH]} for name in context.predictions}
    main, *others = context.predictions
    headline = tuple(
        Headline(SCORES[key], sections[TRUTH][key], {name: sections[name][key] for name in context.predictions}, about=about)
        for key, about in HEADLINE.items()
    )
    tables = _tables(results, context)
    return Findings(
        "profiles",
        each[main],
        {name: each[name] for name in others},
        differences(results.scored.tables, context) if others else None,
        tables,
        figures(tables, results.swept),
        headline,
        tuple(dict.fromkeys(results.notes)),
    )


def differences(tables: Mapping[str, pd.DataFrame], context: Context) -> pd.DataFrame:
    """Return the differences of the main prediction from the others, paired by query, well or treatment (see `paired_deltas.deltas`).

    p is corrected over all of them.
    """
    import pandas as pd

    parts = []
    for name, key, columns, unit in _PAIRED:
        if name not in tables or tables[name].empty:
            continue
        table = _with_calls(tables[name]) if name == "profiles_toxicity" else tables[name]
        titles = {column: SCORES[score] for column, score in columns.items()}
        table = table[["source", key, *titles]].rename(columns=titles)
        good: dict[str, Good] = dict.fromkeys(titles.values(), "high")
        seed, n = context.settings.seed, context.settings.bootstrap
        parts.append(deltas(table, good, predictions=context.predictions, pair=(key,), seed=seed, n=n).assign(unit=unit))
    if not parts:
        return deltas(pd.DataFrame(columns=["source", "field"]), {}, predictions=context.predictions)
    found = pd.concat(parts, ignore_index=True)
    found["p_corrected"] = corrected(found["p"].to_numpy(float))
    return found


def _with_calls(calls: pd.DataFrame) -> pd.DataFrame:
    """Add whether a toxic well was found, and a harmless one spared; NaN for the other kind."""
    toxic, called = calls["truth"].to_numpy(bool), calls["toxic"].to_numpy(bool)
    return calls.assign(found=np.where(toxic, called, np.nan), spared=np.where(~toxic, ~called, np.nan))


def _tables(results: ProfileResults, context: Context) -> dict[str, pd.DataFrame]:
    """Return all tables by name; ``profiles`` and ``profiles_embedding`` are read by the Profile dock."""
    import pandas as pd

    normal, places = results.normal, results.places
    known = places.drop(columns=["pca_1", "pca_2", "umap_1", "umap_2"])
    tables = {"profiles": _wide(normal, known), "profiles_embedding": places, "profiles_scores": scores_table(results.scored.sections)}
    if results.swept.chosen is not None:
        tables["profiles_sphered"] = _wide(results.swept.profiles, known)
    tables |= results.scored.tables
    sweep = results.swept.table.melt(["source", "regularisation", "chosen"], ["replicate_map", "map"], "measure", "mAP")
    tables["profiles_sweep"] = sweep.replace({"measure": {"replicate_map": "replicate wells", "map": "mechanisms"}})
    calls = results.scored.tables["profiles_toxicity"]
    if len(calls):
        share = calls.groupby(["condition", "source"], sort=False)["votes"].agg(["mean", "size"]).reset_index()
        tables["profiles_toxicity_treatments"] = share.rename(columns={"mean": "share_of_votes_toxic", "size": "wells"})
    return {name: table for name, table in tables.items() if isinstance(table, pd.DataFrame)}


def _wide(profiles: Profiles, known: pd.DataFrame) -> pd.DataFrame:
    """Return profiles with one row per source and well: the well's metadata, then the features."""
    import pandas as pd

    values = np.concatenate([profiles.values[source] for source in profiles.sources]).astype(np.float32)
    return pd.concat([known, pd.DataFrame(values, columns=list(profiles.features))], axis=1)


def scores_table(sections: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the scores with intervals and their difference from the truth's: one row per score and source."""
    import pandas as pd

    rows = []
    for key, title in SCORES.items():
        truth = sections[TRUTH][key]
        for source, section in sections.items():
            value = section[key]
            fall = truth - value if value is not None and truth is not None else None
            limits = {"low": section.get(f"{key}_low"), "high": section.get(f"{key}_high")}
            rows.append({"score": title, "source": source, "value": value, **limits, "fall_from_truth": fall})
    return pd.DataFrame(rows).astype({name: float for name in ("value", "low", "high", "fall_from_truth")})
