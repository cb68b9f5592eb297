"""Figures of the level "profiles"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_virtual_paint.evaluation.level import Figure
from napari_virtual_paint.evaluation.profiles.regularization import Sweep

if TYPE_CHECKING:
    import pandas as pd

_HOVER = ("well", "treatment", "dose", "kind", "plate")


def figures(tables: Mapping[str, pd.DataFrame], swept: Sweep) -> tuple[Figure, ...]:
    """Return the figures whose tables have rows.

    Parameters
    ----------
    tables
        Of `findings`.
    swept
        Whether the profiles were sphered.
    """
    drawn = [*_places(tables["profiles_embedding"]), *_scores(), *_treatments()]
    if swept.table["regularisation"].nunique() > 1:
        drawn.append(_sweep())
    return tuple(figure for figure in drawn if figure.table in tables and len(tables[figure.table]))


def _places(table: pd.DataFrame) -> list[Figure]:
    """Return the two embeddings, colored by the wells' metadata."""
    colours = tuple(name for name in ("source", "treatment", "batch", "plate", "kind", "dose", "moa") if _varies(table, name))
    caption = (
        "Each point is a well, in the truth or in a prediction; choose what it is colored by. All share one space (units of the truth's"
        " mean and SD): where a prediction keeps the treatments apart as the truth does, its points lie as the truth's do, even if moved."
    )
    return [
        Figure(
            f"profiles_{name}", f"Profiles of wells: {title}", caption, "scatter", "profiles_embedding",
            {"x": f"{name}_1", "y": f"{name}_2", "colour": colours, "symbol": "source", "hover": _HOVER},
        )
        for name, title in (("umap", "UMAP"), ("pca", "PCA"))
        if table[f"{name}_1"].notna().any()
    ]  # fmt: skip


def _varies(table: pd.DataFrame, name: str) -> bool:
    """Return whether a column varies."""
    return name == "source" or (name in table and table[name].replace("", None).nunique() > (1 if name in ("batch", "plate") else 0))


def _scores() -> list[Figure]:
    return [
        Figure(
            "profiles_scores", "How far scores fall from truth to prediction",
            "Each score worked out on the stained images' profiles (truth) and on the predicted ones'; lines are 95 % bootstrap intervals.",
            "bar", "profiles_scores",
            {"x": "source", "y": "value", "low": "low", "high": "high", "colour": "source", "facet": "score", "hover": "fall_from_truth"},
        ),
        Figure(
            "profiles_hits", "Hits in the top 1 %",
            "Treatments whose most similar 1 % hold another treatment of the mechanism (treatment), another well or image of the same"
            " treatment (well, image; never the query's own well), of all that could.",
            "table", "profiles_hits",
        ),
        Figure(
            "profiles_mechanisms", "Mean average precision by mechanism",
            "How well treatments of one mechanism find each other: 1 is perfect; p is against random rankings, corrected for all.",
            "bar", "profiles_mechanisms",
            {"x": "label", "y": "map", "colour": "source", "hover": ("queries", "map_normalised", "p_corrected")},
        ),
    ]  # fmt: skip


def _treatments() -> list[Figure]:
    return [
        Figure(
            "profiles_similarity", "Similarity of treatments",
            "Cosine similarity of the treatments' profiles (mean over wells): a good prediction shows the truth's pattern.",
            "heatmap", "profiles_similarity", {"x": "treatment", "y": "other", "value": "cosine", "switch": "source"},
        ),
        Figure(
            "profiles_toxicity", "Called toxic",
            "Share of the classifier's votes for toxic, the mean over a treatment's wells: above a half the treatment looks like the"
            " positive controls. Truth and prediction are each classified by their own controls.",
            "bar", "profiles_toxicity_treatments", {"x": "condition", "y": "share_of_votes_toxic", "colour": "source", "hover": "wells"},
        ),
        Figure(
            "profiles_strong", "Strength of treatments",
            "How far a treatment lies from its plates' negative controls, in standard deviations of theirs, summed over plates"
            " (Moshkov 2022, Algorithm 1).",
            "bar", "profiles_strong", {"x": "condition", "y": "strength", "colour": "source", "hover": ("rank", "wells", "plates")},
        ),
    ]  # fmt: skip


def _sweep() -> Figure:
    return Figure(
        "profiles_sweep", "Regularization of the sphering",
        "mAP for each regularization, from none and mild to strong correction. What is best for the truth's replicates is taken for all.",
        "line", "profiles_sweep", {"x": "regularisation", "y": "mAP", "colour": "source", "facet": "measure"},
    )  # fmt: skip
