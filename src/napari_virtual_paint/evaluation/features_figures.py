"""Figures of the level of features."""

from __future__ import annotations

from napari_virtual_paint.evaluation.features.compare import Compared
from napari_virtual_paint.evaluation.level import Figure


def figures(compared: Compared) -> tuple[Figure, ...]:
    """Return the figures, each drawn from a table of `features_tables`."""
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
            "A point a feature: Spearman's correlation with the truth. Over wells, values are means of the images' medians over cells.",
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
            f"prediction of the mean alone comes to about 0.8. The features are those that best tell {target}; the first tells most."
        )
        encode = {"x": "feature", "y": "nmae", "low": "low", "high": "high", "colour": "source", "hover": ("rank", "importance")}
        found.append(Figure("features_nmae", "N-MAE of the 20 most informative features", caption, "bar", "features_nmae", encode))
    chosen = "What became of each feature: chosen on the truth alone (missing, block-list, correlation, controls)."
    found.append(Figure("features_chosen", "Choice of features", chosen, "table", "features_chosen"))
    return tuple(found)


def _rows(over: str) -> tuple[str, ...]:
    return ("field", "object") if over == "cells" else ("well",)
