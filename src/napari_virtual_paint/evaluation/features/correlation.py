"""Correlation of each feature between truth and prediction with its uncertainty: bootstrap over wells or cells."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.statistics import CONFIDENCE, Bounds, Floats

Bools: TypeAlias = npt.NDArray[np.bool_]
AnyFloats: TypeAlias = npt.NDArray[np.floating]
Groups: TypeAlias = npt.NDArray[np.intp]

LEAST = 6  # least observations for a correlation
MEASURED = 0.5  # a feature missing from the prediction for a larger share of the truth's values has no correlation
AT_ONCE = 2**21  # values that are correlated at once; of more, the columns are taken in parts, since each step is another copy
EXACT = 60  # most observations for which each resample is ranked anew; beyond, ranks of all observations are used, which hardly differ


@dataclass(frozen=True, eq=False)
class Correlations:
    """Correlations of p features over n observations."""

    spearman: Floats
    pearson: Floats  # `spearman` and `pearson`: (p,), NaN where the truth is constant; 0 where only the prediction is missing or constant
    n: npt.NDArray[np.intp]  # observations with both values, (p,)
    drawn: Floats  # spearman's of each resample, (B, p); NaN where a resample is constant
    drawn_pearson: Floats  # pearson's

    def bounds(self) -> tuple[Floats, Floats]:
        """Return Spearman's intervals, low (p,) and high (p,)."""
        return bounds_of(self.drawn)

    def median(self, chosen: Bools) -> tuple[float | None, Bounds]:
        """Return the median of Spearman's over features, and its interval."""
        return summed(self.spearman, self.drawn, chosen)


def summed(values: Floats, drawn: Floats, chosen: Bools, how: Callable[..., Any] = np.nanmedian) -> tuple[float | None, Bounds]:
    """Return the median (or `how`) over features with a value, and its interval over the resamples."""
    chosen = chosen & np.isfinite(values)
    if not chosen.any():
        return None, (None, None)
    low, high = bounds_of(over_features(drawn[:, chosen], how)[:, None])
    return float(how(values[chosen])), (known(low[0]), known(high[0]))


def over_features(drawn: Floats, how: Callable[..., Any] = np.nanmedian) -> Floats:
    """Return the median (or `how`) over the features of each resample, ignoring undefined ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one that leaves all undefined is NaN
        return np.asarray(how(drawn, axis=1), float)


def bounds_of(drawn: Floats) -> tuple[Floats, Floats]:
    """Return the percentiles of resampled values (B, p) that span 95 %, ignoring undefined ones; NaN without any."""
    tail = (1 - CONFIDENCE) / 2
    bounds = np.full((2, drawn.shape[1]), np.nan)
    complete = np.isfinite(drawn).all(axis=0) & (len(drawn) > 0)
    bounds[:, complete] = np.quantile(drawn[:, complete], [tail, 1 - tail], axis=0) if complete.any() else 0
    for k in np.flatnonzero(~complete):
        finite = drawn[np.isfinite(drawn[:, k]), k]
        bounds[:, k] = np.quantile(finite, [tail, 1 - tail]) if len(finite) else np.nan
    return bounds[0], bounds[1]


def known(value: float) -> float | None:
    """Return a number, or None where it is undefined."""
    return float(value) if np.isfinite(value) else None


def resamples(groups: Groups, seed: int, number: int) -> Floats:
    """Return how often each group (well, field, cell) is drawn in each resample, (B, groups)."""
    count = int(groups.max(initial=-1)) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, count, (number if count > 1 else 0, count))
    return np.stack([np.bincount(each, minlength=count) for each in drawn]).astype(float) if len(drawn) else np.zeros((0, count))


def correlate(truth: AnyFloats, predicted: AnyFloats, groups: Groups, weights: Floats) -> Correlations:
    """Correlate the columns of two tables.

    Parameters
    ----------
    truth, predicted
        Values (n, p), NaN where missing; incomplete pairs are left out per feature.
    groups
        Group drawn together in a resample, (n,), from 0.
    weights
        Result of `resamples`, the same for all predictions, so that their differences have intervals too.
    """
    step = truth.shape[1] if truth.size <= AT_ONCE else max(AT_ONCE // len(truth), 1)
    parts = []
    for start in range(0, max(truth.shape[1], 1), max(step, 1)):
        columns = slice(start, start + step)
        parts.append(_correlate(truth[:, columns].astype(np.float64), predicted[:, columns].astype(np.float64), groups, weights))
    if len(parts) == 1:
        return parts[0]
    return Correlations(*(np.concatenate([getattr(each, name.name) for each in parts], axis=-1) for name in fields(Correlations)))


def _correlate(truth: Floats, predicted: Floats, groups: Groups, weights: Floats) -> Correlations:
    both = np.isfinite(truth) & np.isfinite(predicted)
    n = both.sum(axis=0)
    defined = (np.isfinite(truth).sum(axis=0) >= LEAST) & varies(truth, np.isfinite(truth))
    answered = defined & (n >= np.maximum(LEAST, MEASURED * np.isfinite(truth).sum(axis=0))) & varies(truth, both) & varies(predicted, both)
    found = []
    for ranked in (True, False):
        a, b = (_ranks(each, both) if ranked else _standard(each, both) for each in (truth, predicted))
        sums = _sums(a, b, both, groups)
        value = np.where(answered, _from_sums(np.ones((1, sums.shape[1])), sums)[0], np.where(defined, 0.0, np.nan))
        drawn = _from_sums(weights, sums)
        if ranked and len(truth) <= EXACT and len(weights) and sums.shape[1] == len(truth):
            complete = answered & both.all(axis=0)
            alone = weights[:, groups]
            drawn[:, complete] = _drawn_anew(truth[:, complete], predicted[:, complete], alone)
        drawn[:, ~answered] = 0.0
        found += [value, drawn]
    return Correlations(found[0], found[2], n, found[1], found[3])


def varies(values: Floats, there: Bools) -> Bools:
    """Return which columns vary where `there` holds."""
    high = np.where(there, values, -np.inf).max(axis=0, initial=-np.inf)
    low = np.where(there, values, np.inf).min(axis=0, initial=np.inf)
    size = np.where(there, np.abs(values), 0).max(axis=0, initial=0)
    return np.asarray((high > low) & (high - low > 1e-6 * size), bool)


def _ranks(values: Floats, there: Bools) -> Floats:
    """Return the centered ranks of each column, ties shared, relative to their number; 0 where missing."""
    from scipy import stats

    ranks = np.zeros(values.shape)
    for k in range(values.shape[1]):
        rows = there[:, k]
        ranks[rows, k] = (stats.rankdata(values[rows, k]) - (rows.sum() + 1) / 2) / max(rows.sum(), 1)
    return ranks


def _standard(values: Floats, there: Bools) -> Floats:
    """Return each column centered in units of its SD; 0 where missing."""
    count = np.maximum(there.sum(axis=0), 1)
    centred = np.where(there, values - np.where(there, values, 0).sum(axis=0) / count, 0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    scaled: Floats = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return scaled


def _sums(a: Floats, b: Floats, there: Bools, groups: Groups) -> Floats:
    """Return the sums over each group of 1, a, b, a a, b b and a b, axes (6, groups, p)."""
    parts = (there.astype(float), a, b, a * a, b * b, a * b)
    return np.stack([grouped(each, groups) for each in parts])


def _from_sums(weights: Floats, sums: Floats) -> Floats:
    """Return Pearson's correlation (B, p) with group weights (B, groups); NaN where one side is constant."""
    n, a, b, aa, bb, ab = (weights @ each for each in sums)
    with np.errstate(all="ignore"):
        spread_a, spread_b = aa - a * a / n, bb - b * b / n
        value = (ab - a * b / n) / np.sqrt(spread_a * spread_b)
        flat = (spread_a <= 1e-9 * aa) | (spread_b <= 1e-9 * bb)
    return np.asarray(np.clip(np.where(flat, np.nan, value), -1, 1))


def _drawn_anew(truth: Floats, predicted: Floats, weights: Floats) -> Floats:
    """Return Spearman's correlation (B, p) of each resample, ranked anew; every observation is its own group and complete."""
    sides = [_order(each) for each in (truth, predicted)]
    out = np.empty((len(weights), truth.shape[1]))
    for i, weight in enumerate(weights):
        a, b = (_weighted_ranks(*side, weight) for side in sides)
        out[i] = _from_sums(weight[None], np.stack([np.ones(a.shape), a, b, a * a, b * b, a * b]))[0]
    return out


def _order(values: Floats) -> tuple[Groups, Groups, Groups]:
    """Return the sort order of each column, and for each position in it the first and last position of the same value."""
    order = np.argsort(values, axis=0)
    same = np.diff(np.take_along_axis(values, order, 0), axis=0) == 0
    places = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
    edge = np.zeros((1, values.shape[1]), bool)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, same]), 0, places), axis=0)
    last = np.minimum.accumulate(np.where(np.concatenate([same, edge]), len(values), places)[::-1], axis=0)[::-1]
    return order, first, last


def _weighted_ranks(order: Groups, first: Groups, last: Groups, weight: Floats) -> Floats:
    """Return the shared, centered ranks of observations repeated as often as the weights say."""
    drawn = weight[order]
    up_to = np.cumsum(drawn, axis=0)
    middle = (np.take_along_axis(up_to, last, 0) + np.take_along_axis(up_to - drawn, first, 0)) / 2
    ranks = np.empty(middle.shape)
    np.put_along_axis(ranks, order, middle - weight.sum() / 2, 0)
    return ranks


def grouped(values: Floats, groups: Groups) -> Floats:
    """Return the sums of the rows of each group; groups are numbered from 0."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(int(groups.max(initial=-1)) + 1))
    return np.asarray(np.add.reduceat(values[order], starts, axis=0)) if len(starts) else np.zeros((0, values.shape[1]))
