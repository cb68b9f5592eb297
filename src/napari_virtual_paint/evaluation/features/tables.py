"""Tables of the feature comparison; each becomes a CSV beside the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.cells.cellprofiler_names import Feature
from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.features.compare import Compared, Place
from napari_virtual_paint.evaluation.features.correlation import Correlations, bounds_of

if TYPE_CHECKING:
    import pandas as pd

HIGH = 0.8  # correlation above which a feature is listed (Cross-Zamirski 2022)
NO_CHANNEL = "no stain"  # value of the column ``channel`` for a shape
BY: Mapping[str, Callable[[Feature], tuple[str, ...]]] = {
    "group": lambda each: (each.group,),
    "compartment": lambda each: (each.compartment,),
    "channel": lambda each: each.channels or (NO_CHANNEL,),
}
"""Groupings of features; a feature of two stains counts with each."""
SHOWN = {"best": 0.0, "upper quarter": 0.25, "median": 0.5, "lower quarter": 0.75, "worst": 1.0}
"""Features shown as scatter plots -> their rank among all, best first."""

FEATURE_COLUMNS = ("source", "over", "masks", "feature", "compartment", "group", "channel", "spearman", "low", "high", "pearson", "n")
SUMMED = ("n", "median_correlation", "median_correlation_low", "median_correlation_high", "mean_correlation", "above_0.8")


def feature_table(compared: Compared) -> pd.DataFrame:
    """Return one row per prediction, comparison and feature; ``equal_by_mask`` marks shapes, which are equal in shared masks."""
    import pandas as pd

    parts = []
    for source, place, found in _each(compared):
        low, high = found.bounds()
        counted = compared.counted(place)
        columns: dict[str, Any] = {"source": source, "over": place[0], "masks": place[1], **_named(compared)}
        numbers = {"spearman": found.spearman, "low": low, "high": high, "pearson": found.pearson}
        columns |= {name: np.where(counted, values, np.nan) for name, values in numbers.items()}
        parts.append(pd.DataFrame({**columns, "n": found.n, "equal_by_mask": ~counted}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*FEATURE_COLUMNS, "equal_by_mask"])


def _named(compared: Compared) -> dict[str, list[str]]:
    return {
        "feature": [each.name for each in compared.features],
        "compartment": [each.compartment for each in compared.features],
        "group": [each.group for each in compared.features],
        "channel": [", ".join(each.channels) or NO_CHANNEL for each in compared.features],
    }


def _each(compared: Compared) -> Iterator[tuple[str, Place, Correlations]]:
    for source, places in compared.correlations.items():
        for place, found in places.items():
            yield source, place, found


def above_table(compared: Compared) -> pd.DataFrame:
    """Return the features above 0.8 in the main comparison, by prediction, highest first."""
    table = feature_table(compared)[list(FEATURE_COLUMNS)]
    over, masks = compared.main or ("", "")
    above = table[(table["spearman"].astype(float) > HIGH) & (table["over"] == over) & (table["masks"] == masks)]
    order = above["source"].map({source: i for i, source in enumerate(compared.correlations)})
    return above.assign(order=order).sort_values(["order", "spearman"], ascending=[True, False], ignore_index=True).drop(columns="order")


def heatmap_table(compared: Compared, context: Context) -> pd.DataFrame:
    """Return mean (the paper's) and median correlation by compartment, stain and group of features, with their number."""
    import pandas as pd

    rows = []
    order = [*context.stains, NO_CHANNEL]
    for source, place, found in _each(compared):
        title = f"{source}: over {place[0]}, {'the truth’s' if place[1] == TRUTH else 'its own'} masks"
        cells: dict[tuple[str, int, str], list[float]] = {}
        for i in np.flatnonzero(compared.counted(place) & np.isfinite(found.spearman)):
            feature = compared.features[i]
            for channel in BY["channel"](feature):
                cells.setdefault((feature.compartment, order.index(channel), feature.group), []).append(float(found.spearman[i]))
        for (compartment, channel_at, group), values in sorted(cells.items()):
            key = (title, source, *place, compartment, order[channel_at], group)
            rows.append((*key, float(np.mean(values)), float(np.median(values)), len(values)))
    columns = ["what", "source", "over", "masks", "compartment", "channel", "group", "mean", "median", "n"]
    return pd.DataFrame(rows, columns=columns)


def summary_table(sections: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per prediction, comparison and set of features: all of them, and by group, compartment and stain."""
    import pandas as pd

    rows = []
    for source, section in sections.items():
        for scores in (section, *(section[name] for name in ("cells", "own") if name in section)):
            parts = [("all", "all", scores)]
            parts += [(by, name, each) for by in BY for name, each in scores.get(f"by_{by}", {}).items()]
            place = {"over": scores["over"], "masks": scores["masks"]}
            rows += [
                {"source": source, **place, "by": by, "part": name} | {key: each.get(key) for key in SUMMED} for by, name, each in parts
            ]
    return pd.DataFrame(rows, columns=["source", "over", "masks", "by", "part", *SUMMED])


def error_table(compared: Compared) -> pd.DataFrame:
    """Return one row per prediction and informative feature: its N-MAE with its interval."""
    import pandas as pd

    parts = []
    for source, errors in compared.errors.items():
        assert compared.forest is not None
        low, high = bounds_of(errors.drawn)
        parts.append(compared.forest.table().assign(source=source, nmae=errors.nmae, low=low, high=high))
    columns = ["source", "rank", "feature", "importance", "nmae", "low", "high"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def point_table(compared: Compared, context: Context) -> pd.DataFrame:
    """Return truth and prediction of a few features, from the main prediction's best to its worst."""
    import pandas as pd

    place, rows = compared.main, []
    if place is not None:
        found = compared.correlations[context.predictions[0]][place]
        counted = np.flatnonzero(compared.counted(place) & np.isfinite(found.spearman))
        order = counted[np.argsort(-found.spearman[counted], kind="stable")]
        each = compared.values[place]
        for which, share in SHOWN.items() if len(order) else ():
            k = order[round(share * (len(order) - 1))]
            name = compared.features[k].name
            for source in context.predictions:
                values = {"truth": each.some(TRUTH, [k])[:, 0], "predicted": each.some(source, [k])[:, 0]}
                rows.append(each.rows.assign(which=f"{which}: {name}", feature=name, source=source, **values))
    columns = ["which", "feature", "source", "truth", "predicted"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)
