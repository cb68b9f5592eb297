"""Compare truth and predictions feature by feature: over wells and over cells, in the truth's masks and in the prediction's own."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cellprofiler_names import Feature, parse
from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.features.correlation import (
    LEAST,
    Bools,
    Correlations,
    Groups,
    bounds_of,
    correlate,
    known,
    over_features,
    resamples,
)
from napari_virtual_paint.evaluation.features.importance import Errors, Forest, informative, nmae
from napari_virtual_paint.evaluation.features.measure import CELLS, IMAGES, KEYS, OWN
from napari_virtual_paint.evaluation.features.select import Selection
from napari_virtual_paint.evaluation.level import LevelProgress, columns_of
from napari_virtual_paint.evaluation.paired_deltas import COLUMNS, LEVEL, deltas
from napari_virtual_paint.evaluation.statistics import FEW, Floats, corrected
from napari_virtual_paint.runtime.text import counted

if TYPE_CHECKING:
    import pandas as pd


MOST_CELLS = 10_000  # most cells compared; larger sets are sampled

SHAPE = "AreaShape"  # feature groups that a shared mask makes equal

Place = tuple[str, str]  # unit of the correlation (``wells``, ``cells``) and masks (``truth``, ``own``)


@dataclass(frozen=True, eq=False)
class Values:
    """The values compared: the same rows in the truth and in each prediction."""

    rows: pd.DataFrame
    """Identity of each row: columns ``field``, ``object`` and ``well`` for cells, else ``well`` (the field's key where it has none)."""
    values: Mapping[str, npt.NDArray[np.floating]]  # source -> (n, p); float32 where measured so
    groups: Groups  # group that a resample draws together, (n,)
    drawn: str  # name of the groups: ``wells``, ``fields`` or ``cells``

    def some(self, source: str, columns: Sequence[int]) -> Floats:
        """Return some columns of a source's values."""
        return self.values[source][:, list(columns)].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Compared:
    """All comparisons."""

    features: tuple[Feature, ...]  # the p parsed names
    values: Mapping[Place, Values]  # (Unit, masks) -> the values; only what can be compared
    correlations: Mapping[str, Mapping[Place, Correlations]]  # prediction -> (unit, masks) -> correlations
    main: Place | None  # the (unit, masks) of the headline; None where nothing can be compared
    forest: Forest | None  # the most informative features; None where none could be determined
    errors: Mapping[str, Errors]  # prediction -> N-MAE of the informative features, in their order
    notes: tuple[str, ...]

    def counted(self, place: Place) -> Bools:
        """Return which features count in medians: in shared masks no shapes."""
        return np.array([place[1] == OWN or feature.group != SHAPE for feature in self.features], bool)


def compare(tables: Mapping[str, pd.DataFrame], selection: Selection, context: Context) -> Generator[LevelProgress, None, Compared]:
    """Compare the selected features.

    Parameters
    ----------
    tables
        ``features_images`` and ``features_cells``.
    """
    names = selection.features
    features = tuple(parse(name, context.stains) for name in names)
    values, notes = _values(tables, names, context)
    total = 2 + len(context.predictions) * len(values)
    seed, number = context.settings.seed, context.settings.bootstrap
    found: dict[str, dict[Place, Correlations]] = {source: {} for source in context.predictions}
    done = 0
    for place, each in values.items():
        weights = resamples(each.groups, seed, number)
        for source in context.predictions:
            yield done, total, f"Features: {source} over {place[0]}."
            if source in each.values:
                found[source][place] = correlate(each.values[TRUTH], each.values[source], each.groups, weights)
            done += 1
    yield done, total, "Features: the most informative ones."
    compared = [each.name for each in features if each.group != SHAPE]
    forest = informative(columns_of(tables, CELLS, ["well", *compared], {"source": TRUTH, "masks": TRUTH}), compared, context)
    errors = {}
    if forest is not None and ("cells", TRUTH) in values:
        each = values["cells", TRUTH]
        picked = [names.index(name) for name in forest.features]
        weights = resamples(each.groups, seed, number)
        predicted = {source: each.some(source, picked) for source in context.predictions}
        errors = {source: nmae(each.some(TRUTH, picked), value, each.groups, weights) for source, value in predicted.items()}
    main = next((place for place in (("wells", TRUTH), ("cells", TRUTH)) if place in values), None)
    return Compared(features, values, found, main, forest, errors, tuple(notes))


def _values(tables: Mapping[str, pd.DataFrame], names: Sequence[str], context: Context) -> tuple[dict[Place, Values], list[str]]:
    """Return what can be compared, and why the rest can't be."""
    found: dict[Place, Values] = {}
    notes = []
    images = columns_of(tables, IMAGES, [*KEYS, *names])
    for masks in (TRUTH, OWN):
        wells = _of_wells(images, masks, names, context)
        if len(wells.rows) >= LEAST:
            found["wells", masks] = wells
    count = len(_of_wells(images, TRUTH, names, context).rows)
    if count < LEAST:
        reason = "This is one field" if count == 1 else f"{count} wells are too few to correlate over"
        notes.append(f"{reason}: features are correlated over cells alone, in the truth's masks.")
    shared, cell_notes = _of_cells(tables, names, context)
    if len(shared.rows) >= LEAST:
        found["cells", TRUTH] = shared
        notes += cell_notes
    elif names:
        notes.append(f"With {counted(len(shared.rows), 'cell')} nothing can be correlated over cells; {LEAST} are needed.")
    return found, notes


def _units(table: pd.DataFrame) -> pd.Series:
    """Return the well of each row, or its field where it has none."""
    wells = table["well"].fillna("").astype(str)
    return wells.where(wells != "", table["field"].astype(str))


def _of_wells(images: pd.DataFrame, masks: str, names: Sequence[str], context: Context) -> Values:
    """Return the means of the wells' images."""
    import pandas as pd

    found = {}
    for source in context.sources:
        part = images[(images["source"] == source) & (images["masks"] == (TRUTH if source == TRUTH else masks))]
        found[source] = part[list(names)].astype(np.float64).groupby(_units(part).to_numpy(), sort=False).mean()
    truth = found[TRUTH]
    truth = truth[truth.notna().any(axis=1)]
    values = {source: each.reindex(truth.index).to_numpy(np.float64) for source, each in found.items()}
    return Values(pd.DataFrame({"well": truth.index}), values, np.arange(len(truth)), "wells")


def _of_cells(tables: Mapping[str, pd.DataFrame], names: Sequence[str], context: Context) -> tuple[Values, list[str]]:
    """Return the cells in the truth's masks, and notes; a resample draws wells or fields, where there are at least six."""
    import pandas as pd

    keys, notes = ["field", "object"], []
    columns = [*keys, "well", *names]
    truth = columns_of(tables, CELLS, columns, {"source": TRUTH, "masks": TRUTH})
    if len(truth) > MOST_CELLS:
        notes.append(f"Over cells, {MOST_CELLS:,} of the {len(truth):,} cells were drawn and compared.")
        truth = truth.sample(MOST_CELLS, random_state=context.settings.seed).sort_index()
    rows = truth[[*keys, "well"]].reset_index(drop=True)
    index = pd.MultiIndex.from_frame(truth[keys])
    values = {TRUTH: _numbers(truth, names)}
    for source in context.predictions:
        part = columns_of(tables, CELLS, columns, {"source": source, "masks": TRUTH})
        place = pd.MultiIndex.from_frame(part[keys]).get_indexer(index)
        values[source] = _numbers(part, names)[place]
        values[source][place < 0] = np.nan
    wells, fields = _units(truth), truth["field"]
    for drawn, units in (("wells", wells), ("fields", fields)):
        known, groups = np.unique(units.to_numpy().astype(str), return_inverse=True)
        if len(known) >= FEW:
            return Values(rows, values, groups.astype(np.intp), drawn), notes
    return Values(rows, values, np.arange(len(rows)), "cells"), notes


def _numbers(table: pd.DataFrame, names: Sequence[str]) -> npt.NDArray[np.floating]:
    """Return columns as they were measured: in float32 where all are."""
    values = table[list(names)]
    found: npt.NDArray[np.floating] = values.to_numpy(np.float32 if (values.dtypes == np.float32).all() else np.float64)
    return found


LABELS = {
    "median_correlation": "Correlation of features, median (Spearman)",
    "nmae_top20": "Error of the 20 most informative features (N-MAE)",
}
"""Metric -> its name in the headline."""


UNITS = {"wells": "well", "fields": "field", "cells": "cell"}


def field_errors(compared: Compared, context: Context) -> pd.DataFrame:
    """Return the mean error of the most informative features in each field, in units of the SD over all cells."""
    import pandas as pd

    keys, columns = ["field", "well"], ["field", "well", "source", "nmae_top20", "cells"]
    place = ("cells", TRUTH)
    if compared.forest is None or place not in compared.values:
        return pd.DataFrame(columns=columns)
    each = compared.values[place]
    names = [feature.name for feature in compared.features]
    picked = [names.index(name) for name in compared.forest.features]
    truth = each.some(TRUTH, picked)
    spread = np.nanstd(truth, axis=0)
    rows = []
    for source in context.predictions:
        away = np.abs(each.some(source, picked) - truth) / np.where(spread > 0, spread, np.nan)
        table = each.rows[keys].assign(away=_mean(away)).groupby(keys, sort=False)["away"]
        rows.append(pd.DataFrame({"source": source, "nmae_top20": table.mean(), "cells": table.size()}).reset_index())
    return pd.concat(rows, ignore_index=True)[columns]


def _mean(values: Any) -> Any:
    """Return the mean of each row, ignoring NaN."""
    there = np.isfinite(values)
    total = np.where(there, values, 0).sum(axis=1)
    return np.divide(total, there.sum(axis=1), out=np.full(len(values), np.nan), where=there.any(axis=1))


def feature_deltas(compared: Compared, fields: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Return the differences of the main prediction from each other one, in the columns of `paired_deltas.deltas`.

    The interval and p of a difference of medians come from the same resamples of wells (or cells) in both; those of errors from Wilcoxon's
    test over wells or fields.
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
    value, reference = (float(np.median(each.spearman[counted])) for each in (first, second))
    drawn = over_features(first.drawn[:, counted]) - over_features(second.drawn[:, counted])
    low, high = bounds_of(drawn[:, None])
    drawn = drawn[np.isfinite(drawn)]
    sides = min((drawn <= 0).mean(), (drawn >= 0).mean()) if len(drawn) else np.nan
    p = min(1.0, 2 * max(sides, 1 / (len(drawn) + 1))) if len(drawn) else None
    each = compared.values[place]
    row = {"metric": "median_correlation", "prediction": main, "against": other, "value": value, "other": reference}
    row |= {"delta": value - reference, "low": known(low[0]), "high": known(high[0]), "p": p, "n": len(set(each.groups.tolist()))}
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
