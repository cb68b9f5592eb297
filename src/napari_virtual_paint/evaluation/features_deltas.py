"""How far two predictions' features differ: medians of correlations by the bootstrap, errors by paired tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.features.compare import Compared
from napari_virtual_paint.evaluation.features.correlation import bounds_of, known, over_features
from napari_virtual_paint.evaluation.paired_deltas import COLUMNS, LEVEL, deltas
from napari_virtual_paint.evaluation.statistics import corrected

if TYPE_CHECKING:
    import pandas as pd

LABELS = {
    "median_correlation": "Feature correlation (Spearman), median",
    "nmae_top20": "N-MAE of the 20 most informative features",
}
"""Metric -> what the headline calls it."""

UNITS = {"wells": "well", "fields": "field", "cells": "cell"}


def field_errors(compared: Compared, context: Context) -> pd.DataFrame:
    """Return the mean error of the most informative features in each field, in units of the SD over all fields' cells."""
    import pandas as pd

    keys, columns = ["field", "well"], ["field", "well", "source", "nmae_top20", "cells"]
    place = ("cells", TRUTH)
    if compared.forest is None or place not in compared.values:
        return pd.DataFrame(columns=columns)
    each = compared.values[place]
    names = [feature.name for feature in compared.features]
    picked = [names.index(name) for name in compared.forest.features]
    truth = each.values[TRUTH][:, picked]
    spread = np.nanstd(truth, axis=0)
    rows = []
    for source in context.predictions:
        away = np.abs(each.values[source][:, picked] - truth) / np.where(spread > 0, spread, np.nan)
        table = each.rows[keys].assign(away=_mean(away)).groupby(keys, sort=False)["away"]
        rows.append(pd.DataFrame({"source": source, "nmae_top20": table.mean(), "cells": table.size()}).reset_index())
    return pd.concat(rows, ignore_index=True)[columns]


def _mean(values: Any) -> Any:
    """Return the mean of each row's values that there are."""
    there = np.isfinite(values)
    total = np.where(there, values, 0).sum(axis=1)
    return np.divide(total, there.sum(axis=1), out=np.full(len(values), np.nan), where=there.any(axis=1))


def feature_deltas(compared: Compared, fields: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Return the differences of the main prediction from each of the others, in the columns of `comparing.deltas`.

    The medians' difference gets its interval and p from the same resamples of wells (or cells) in both; the errors' from Wilcoxon's test
    over wells or fields.
    """
    import pandas as pd

    main, *others = context.predictions
    rows = [_medians(compared, main, other) for other in others] if compared.main is not None else []
    found = pd.DataFrame([row for row in rows if row is not None], columns=list(COLUMNS))
    if len(fields):
        seed, n = context.settings.seed, context.settings.bootstrap
        errors = deltas(fields, {"nmae_top20": "low"}, predictions=context.predictions, seed=seed, n=n)
        found = pd.concat([found, errors], ignore_index=True) if len(found) else errors
    if not len(found):
        return found
    found["p_corrected"] = corrected([known(float(p)) if p is not None else None for p in found["p"]], "fdr_bh")
    found["better"] = [_better(row) for row in found.to_dict("records")]
    return found.assign(label=[LABELS.get(metric) for metric in found["metric"]])


def _medians(compared: Compared, main: str, other: str) -> dict[str, Any] | None:
    """Return the row of the median correlation; p is twice the share of resamples on the other side of 0."""
    place = compared.main
    assert place is not None
    first, second = (compared.correlations[name][place] for name in (main, other))
    counted = compared.counted(place) & np.isfinite(first.spearman) & np.isfinite(second.spearman)
    if not counted.any():
        return None
    value, beside = (float(np.median(each.spearman[counted])) for each in (first, second))
    drawn = over_features(first.drawn[:, counted]) - over_features(second.drawn[:, counted])
    low, high = bounds_of(drawn[:, None])
    drawn = drawn[np.isfinite(drawn)]
    sides = min((drawn <= 0).mean(), (drawn >= 0).mean()) if len(drawn) else np.nan
    p = min(1.0, 2 * max(sides, 1 / (len(drawn) + 1))) if len(drawn) else None
    each = compared.values[place]
    row = {"metric": "median_correlation", "prediction": main, "against": other, "value": value, "other": beside}
    row |= {"delta": value - beside, "low": known(low[0]), "high": known(high[0]), "p": p, "n": len(set(each.groups.tolist()))}
    row |= {
        "unit": UNITS[each.drawn],
        "test": "bootstrap",
        "note": f"Median over {int(counted.sum())} features; {each.drawn} are drawn again.",
    }
    return row


def _better(row: dict[Any, Any]) -> str:
    p, delta = row["p_corrected"], row["delta"]
    if p is None or not np.isfinite(p) or p >= LEVEL or not delta:
        return ""
    high_is_good = row["metric"] == "median_correlation"
    return str(row["prediction"] if (delta > 0) == high_is_good else row["against"])
