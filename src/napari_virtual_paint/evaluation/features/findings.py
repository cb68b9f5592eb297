"""Findings of the level: JSON, tables, figures and differences between predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.features.compare import LABELS, SHAPE, Compared, Place, feature_deltas, field_errors
from napari_virtual_paint.evaluation.features.correlation import Bools, known, summed
from napari_virtual_paint.evaluation.features.measure import IMAGES, OWN
from napari_virtual_paint.evaluation.features.select import Selection
from napari_virtual_paint.evaluation.features.tables import (
    BY,
    HIGH,
    above_table,
    error_table,
    feature_table,
    heatmap_table,
    point_table,
    summary_table,
)
from napari_virtual_paint.evaluation.level import Figure, Findings, Headline, whole_table

if TYPE_CHECKING:
    import pandas as pd


def figures(compared: Compared) -> tuple[Figure, ...]:
    """Return the figures, each drawn from one of the tables."""
    over = compared.main[0] if compared.main else "wells"
    target = compared.forest.target if compared.forest else ""
    found = [
        Figure(
            "features_heatmap",
            "Correlation by stain, kind of feature and compartment",
            "Mean Spearman correlation between truth and prediction, and the number of features behind it (Cross-Zamirski 2022, Fig. 5). A "
            "correlation of two stains counts with each. In the truth's masks shapes are equal by themselves and left out.",
            "heatmap",
            "features_heatmap",
            {"x": "group", "y": "channel", "value": "mean", "count": "n", "facet": "compartment", "switch": "what", "hover": ("median",)},
        ),
        Figure(
            "features_box",
            "Correlation of each feature",
            "One point per feature: Spearman's correlation with the truth. Over wells, values are means of the images' medians over cells.",
            "box",
            "features",
            {"x": "group", "y": "spearman", "colour": "source", "facet": "masks", "switch": "over", "hover": ("feature", "n")},
        ),
        Figure(
            "features_above",
            "Features above 0.8",
            f"Spearman's correlation over {over}, with the bootstrap's 95 % interval.",
            "table",
            "features_above",
        ),
        Figure(
            "features_points",
            "From the best to the worst feature",
            f"Truth and prediction over {over}; the features are picked by the main prediction's correlation.",
            "scatter",
            "features_points",
            {"x": "truth", "y": "predicted", "colour": "source", "switch": "which", "diagonal": True, "hover": _rows(over)},
        ),
    ]
    if compared.forest is not None and compared.errors:
        caption = (
            "Mean absolute error over the cells in the truth's masks, in units of the truth's SD (Tonks 2024, Fig. 4): 0 is perfect, and a "
            f"prediction of the mean alone comes to about 0.8. The features are those that best separate {target}, best first."
        )
        encode = {"x": "feature", "y": "nmae", "low": "low", "high": "high", "colour": "source", "hover": ("rank", "importance")}
        found.append(Figure("features_nmae", "N-MAE of the 20 most informative features", caption, "bar", "features_nmae", encode))
    chosen = "What became of each feature: chosen on the truth alone (missing, block-list, correlation, controls)."
    found.append(Figure("features_chosen", "Choice of features", chosen, "table", "features_chosen"))
    return tuple(found)


def _rows(over: str) -> tuple[str, ...]:
    return ("field", "object") if over == "cells" else ("well",)


BENEATH: Mapping[str, Place] = {"cells": ("cells", TRUTH), "own": ("wells", OWN)}
"""Key of the JSON for further comparisons -> unit and masks."""


def findings(compared: Compared, selection: Selection, tables: Mapping[str, pd.DataFrame], context: Context) -> Findings:
    """Return the level's findings."""
    sections = {source: _section(compared, selection, source) for source in context.predictions}
    main, *others = context.predictions
    fields = field_errors(compared, context)
    values = {
        "features": feature_table(compared),
        "features_above": above_table(compared),
        "features_heatmap": heatmap_table(compared, context),
        "features_summary": summary_table(sections),
        "features_nmae": error_table(compared),
        "features_nmae_fields": fields,
        "features_points": point_table(compared, context),
        "features_chosen": selection.table(),
        IMAGES: whole_table(tables, IMAGES),
    }
    return Findings(
        "features",
        sections[main],
        {name: sections[name] for name in others},
        feature_deltas(compared, fields, context) if others else None,
        values,
        figures(compared),
        _headline(sections),
        tuple(dict.fromkeys((*selection.notes, *compared.notes, *_notes(compared, context)))),
    )


def nothing(selection: Selection, context: Context) -> Findings:
    """Return the findings where no feature is left to compare."""
    why = "" if not selection.dropped else "No feature is left to compare: each was dropped on the truth (table features_chosen)."
    section = {"n": 0, "median_correlation": None, "above_0.8": None, "by_group": {}, "nmae_top20": None, **_chosen(selection)}
    return Findings(
        "features",
        section,
        {name: section for name in context.predictions[1:]},
        tables={"features_chosen": selection.table()},
        notes=tuple(note for note in (*selection.notes, why) if note),
    )


def _chosen(selection: Selection) -> dict[str, Any]:
    """Return how many features there were, and why some were dropped."""
    reasons = list(selection.dropped.values())
    counts = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
    return {"measured": len(selection.features) + len(reasons), "selected": len(selection.features), "dropped": counts}


def _section(compared: Compared, selection: Selection, source: str) -> dict[str, Any]:
    """Return the JSON of one prediction: main values flat, other comparisons nested."""
    main = compared.main
    out = _scores(compared, source, main)
    out |= {"over": main[0] if main else None, "masks": main[1] if main else None}
    beneath = {name: place for name, place in BENEATH.items() if place in compared.values and place != main}
    out |= {name: {**_scores(compared, source, place), "over": place[0], "masks": place[1]} for name, place in beneath.items()}
    out |= _error_scores(compared, source)
    return out | _chosen(selection)


def _scores(compared: Compared, source: str, place: Place | None) -> dict[str, Any]:
    """Return the values over wells or cells, in one kind of masks."""
    found = compared.correlations[source].get(place) if place is not None else None
    if found is None or place is None:
        return {"n": 0, "median_correlation": None, "above_0.8": None, "by_group": {}, "observations": 0}
    counted = compared.counted(place)
    out = _some(compared, source, place, counted)
    median, (low, high) = summed(found.pearson, found.drawn_pearson, counted)
    out |= {"median_pearson": median, "median_pearson_low": low, "median_pearson_high": high}
    out["observations"] = len(compared.values[place].rows)
    for by, names_of in BY.items():
        names = dict.fromkeys(name for i in np.flatnonzero(counted) for name in names_of(compared.features[i]))
        each = {name: counted & np.array([name in names_of(feature) for feature in compared.features], bool) for name in sorted(names)}
        out[f"by_{by}"] = {name: _some(compared, source, place, chosen) for name, chosen in each.items()}
    return out


def _some(compared: Compared, source: str, place: Place, chosen: Bools) -> dict[str, Any]:
    """Return number, median with interval, mean and number of high correlations of some features."""
    found = compared.correlations[source][place]
    median, (low, high) = found.median(chosen)
    values = found.spearman[chosen & np.isfinite(found.spearman)]
    return {
        "n": len(values),
        "median_correlation": median,
        "median_correlation_low": low,
        "median_correlation_high": high,
        "mean_correlation": float(values.mean()) if len(values) else None,
        "above_0.8": int((values > HIGH).sum()),
    }


def _error_scores(compared: Compared, source: str) -> dict[str, Any]:
    """Return the mean N-MAE of the most informative features, with its interval, and how they were determined."""
    forest, errors = compared.forest, compared.errors.get(source)
    keys = ("nmae_top20", "nmae_top20_low", "nmae_top20_high", "nmae_top20_median", "forest")
    out: dict[str, Any] = {**dict.fromkeys(keys), "top20": {}}
    if forest is not None:
        out["forest"] = {"target": forest.target, "accuracy": forest.accuracy, "cells": forest.cells}
    if forest is not None and errors is not None:
        mean, (low, high) = summed(errors.nmae, errors.drawn, np.isfinite(errors.nmae), np.nanmean)
        out |= {"nmae_top20": mean, "nmae_top20_low": low, "nmae_top20_high": high}
        out["nmae_top20_median"], _ = summed(errors.nmae, errors.drawn, np.isfinite(errors.nmae))
        out["top20"] = {name: known(value) for name, value in zip(forest.features, errors.nmae, strict=True)}
    return out


ABOUT = {
    "median_correlation": "How well CellProfiler's features agree between prediction and truth: 1 is perfect.",
    "above_0.8": "Number of features that are nearly the same in prediction and truth; under truth, how many are compared.",
    "nmae_top20": "Mean error of the features that tell most about the cells, in standard deviations of the truth. 0 is perfect.",
}
"""Score in the headline -> what it measures."""


def _headline(sections: Mapping[str, Mapping[str, Any]]) -> tuple[Headline, ...]:
    def each(key: str) -> dict[str, float | None]:
        return {name: section[key] for name, section in sections.items()}

    number = next((float(section["n"]) for section in sections.values() if section["n"]), None)
    return (
        Headline(LABELS["median_correlation"], 1.0, each("median_correlation"), about=ABOUT["median_correlation"]),
        Headline("Features correlated above 0.8", number, each("above_0.8"), about=ABOUT["above_0.8"]),
        Headline(LABELS["nmae_top20"], 0.0, each("nmae_top20"), "low", "SD", ABOUT["nmae_top20"]),
    )


def _notes(compared: Compared, context: Context) -> list[str]:
    """Return notes on what the numbers describe, and what predictions leave undefined."""
    notes = []
    if compared.main is not None:
        over = compared.main[0]
        drawn = compared.values[compared.main].drawn
        shapes = sum(feature.group == SHAPE for feature in compared.features)
        notes.append(
            f"Features are correlated over {over} in the truth's masks, and intervals come from drawing {drawn} again; "
            f"the {shapes} shapes, which a shared mask makes equal, are left out."
        )
        for source in context.predictions:
            found = compared.correlations[source][compared.main]
            flat = int(((found.spearman == 0) & (found.pearson == 0) & compared.counted(compared.main)).sum())
            if flat:
                notes.append(f"{flat} features don't vary, or have no value, in {source}: they count as a correlation of 0.")
    if compared.forest is None:
        notes.append("There are too few cells to find the most informative features, so that their N-MAE is undefined.")
    else:
        notes.append(
            f"The most informative features tell {compared.forest.target} "
            f"(random forest on the truth, {100 * compared.forest.accuracy:.0f} % right out of bag)."
        )
    return notes
