"""Compare predictions pairwise: differences with intervals and paired tests, for any table with a row per field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_virtual_paint.evaluation.statistics import FEW, corrected, paired
from napari_virtual_paint.metrics.metric import Good

if TYPE_CHECKING:
    import pandas as pd

MANY = 500  # above this number of fields, plots show one point per well

LEVEL = 0.05  # corrected p below which a difference counts

COLUMNS = (
    "metric",
    "prediction",
    "against",
    "value",
    "other",
    "delta",
    "low",
    "high",
    "p",
    "p_corrected",
    "n",
    "unit",
    "test",
    "better",
    "note",
)
"""Columns of the table that `deltas` returns, after those of `by`."""


def deltas(
    table: pd.DataFrame,
    metrics: Mapping[str, Good],
    *,
    predictions: Sequence[str],
    by: Sequence[str] = (),
    pair: Sequence[str] = ("field",),
    seed: int = 0,
    n: int = 1000,
    correction: Literal["holm", "fdr_bh"] = "fdr_bh",
) -> pd.DataFrame:
    """Compare the main prediction with each of the others.

    The paired unit is the well where at least six wells have a score (fields of one well are not independent: their mean counts
    once), else the field; the column ``unit`` says which. Tests are Wilcoxon's signed rank; p is corrected over all rows of the table.

    Parameters
    ----------
    table
        One row per observation and prediction: columns ``source`` (the prediction), those of `pair` and `by`, the metrics (NaN where
        undefined), and ``well`` where there are wells.
    metrics
        Column -> whether high or low values are better.
    predictions
        Names in ``source``; the first is the main one.
    by
        Columns to group by, such as ``("stain",)``.
    pair
        Columns that pair the rows of two predictions; ``("field",)``, or ``("well",)`` for a table with one row per well.
    seed, n
        Settings of the intervals.
    correction
        See `statistics.corrected`. Scores of one stain are correlated; Holm's correction would treat each as a separate test, and with six
        or seven wells nothing would be significant.

    Returns
    -------
    pandas.DataFrame
        The columns of `by`, then ``metric``; ``prediction`` and ``against``; ``value`` and ``other``, the means of the two over the pairs;
        ``delta`` = value - other with ``low`` and ``high`` (95 %); ``p``, ``p_corrected``; ``n`` pairs of ``unit``; ``test``; ``better``,
        the better of the two where p_corrected < 0.05, else empty; ``note``. Empty with one prediction.
    """
    import pandas as pd

    main, *others = predictions
    rows: list[dict[str, Any]] = []
    groups = table.groupby(list(by), sort=False, observed=True) if by else [((), table)]
    for key, part in groups:
        known = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        for other in others:
            for metric in metrics:
                rows.append(
                    {**known, "metric": metric, "prediction": main, "against": other, **_delta(part, metric, main, other, pair, seed, n)}
                )
    if not rows:
        return pd.DataFrame(columns=[*by, *COLUMNS])
    found = pd.DataFrame(rows)
    found["p_corrected"] = corrected(found["p"].to_numpy(float), correction)
    found["better"] = [_better(row, metrics[row["metric"]]) for row in found.to_dict("records")]
    return found[[*by, *COLUMNS]]


def on_common(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    predictions: Sequence[str],
    pair: Sequence[str] = ("field", "stain"),
    by: Sequence[str] = (),
) -> pd.DataFrame:
    """Return a table in which each metric counts on the same observations in all predictions.

    An observation where one prediction has no value (a stain painted as one value has no correlation) becomes NaN in all of them: left
    out of one mean alone, it would raise that.

    Parameters
    ----------
    table
        One row per observation and prediction, as for `deltas`.
    metrics
        Columns of the metrics.
    predictions
        Names in ``source`` that are compared.
    pair
        Columns that identify an observation.
    by
        Columns of groups, such as ``("stain",)``. A prediction that has no value of a metric in a whole group does not count there.
    """
    compared = table["source"].isin(predictions)
    out = table.copy()
    for metric in metrics:
        defined = table[metric].notna()
        any_there = defined.groupby([table[name] for name in (*by, "source")]).transform("any")
        lacking = (compared & any_there & ~defined).groupby([table[name] for name in pair]).transform("any")
        out.loc[compared & lacking, metric] = np.nan
    return out


def _delta(part: pd.DataFrame, metric: str, main: str, other: str, pair: Sequence[str], seed: int, n: int) -> dict[str, Any]:
    """Return one row's figures."""
    wide = part.pivot_table(index=_index(part, pair), columns="source", values=metric, aggfunc="mean", observed=True)
    both = wide.reindex(columns=[main, other]).dropna()
    unit = "well" if tuple(pair) == ("well",) else "field"
    if "well" in both.index.names and unit != "well":
        wells = both.groupby(level="well").mean()
        if len(wells) >= FEW and all(wells.index != ""):
            both, unit = wells, "well"
    found = asdict(paired(both[main], both[other], seed=seed, n=n))
    if unit == "field" and "well" in both.index.names and 1 < both.index.get_level_values("well").nunique() < len(both):
        found["note"] = f"Fields of one well are taken as independent, since there are fewer than {FEW} wells. {found['note']}".strip()
    value, reference = (float(both[name].mean()) if len(both) else None for name in (main, other))
    return {"value": value, "other": reference, **found, "unit": unit}


def _index(part: pd.DataFrame, pair: Sequence[str]) -> list[str]:
    return [*pair, *(["well"] if "well" in part.columns and "well" not in pair else [])]


def _better(row: Mapping[str, Any], good: Good) -> str:
    p, delta = row["p_corrected"], row["delta"]
    if p is None or not np.isfinite(p) or p >= LEVEL or not delta:
        return ""
    return str(row["prediction"] if (delta > 0) == (good == "high") else row["against"])


def values(table: pd.DataFrame, scores: Sequence[str], by: Sequence[str]) -> pd.DataFrame:
    """Return scores with one row per value, for plots.

    Parameters
    ----------
    table
        One row per field and combination of `by`, with columns ``field`` and ``well``. Above 500 fields on a plate the wells' means
        are used, since no page can draw that many points.
    scores
        Columns with the values.
    by
        Columns to keep, such as stain and source.

    Returns
    -------
    pandas.DataFrame
        ``field`` (empty for means of wells), ``well``, those of `by`, ``score`` (the column's name), ``value``.
    """
    if table["field"].nunique() > MANY and (table["well"] != "").all():
        table = table.groupby(["well", *by], sort=False, observed=True)[list(scores)].mean().reset_index().assign(field="")
    return table.melt(["field", "well", *by], list(scores), "score", "value")
