"""Bootstrap intervals, paired tests, and corrections for multiple tests.

The number of independent observations counts: fields of one well are similar, cells of one field even more so (see
`paired_deltas.deltas`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.extras import require

Floats: TypeAlias = npt.NDArray[np.float64]
Statistic: TypeAlias = Callable[..., Any]
Bounds: TypeAlias = tuple[float | None, float | None]

CONFIDENCE = 0.95  # confidence level of all intervals

SKEW_AWARE = 2000
"""Most values for which the interval is corrected for bias and skewness, which takes the statistic without each value in turn."""

FEW = 6  # fewest pairs for which Wilcoxon's test can reach p < 0.05: with five, all in favor of one side, p is 2 / 2^5 = 0.06


def interval(
    values: npt.ArrayLike | tuple[npt.ArrayLike, ...],
    statistic: Statistic = np.mean,
    *,
    seed: int = 0,
    n: int = 1000,
    confidence: float = CONFIDENCE,
) -> Bounds:
    """Return a bootstrap interval of a statistic (Efron & Tibshirani 1993).

    It is the bias-corrected and accelerated one (BCa); with more than 2,000 values, or where that is undefined, the percentiles of the
    resampled statistic.

    Parameters
    ----------
    values
        The independent observations; non-finite ones are left out. A tuple of arrays of equal length, such as the truth's and the
        prediction's value of each well, is resampled together.
    statistic
        Statistic of the values (of each array of the tuple, in order); much faster with an argument ``axis``.
    seed
        Seed of the resampling.
    confidence
        Coverage of the interval.

    Returns
    -------
    tuple
        Lower and upper bound; (None, None) with fewer than two observations, or where the statistic is undefined. If all resamples give
        the same number, that number twice.

    Raises
    ------
    InputError
        If the arrays of a tuple differ in length.
    """
    from scipy import stats

    samples = _finite(values if isinstance(values, tuple) else (values,))
    if len(samples[0]) < 2:
        return None, None
    method = "BCa" if len(samples[0]) <= SKEW_AWARE else "percentile"
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what scipy warns of is handled below
        options: dict[str, Any] = {"paired": len(samples) > 1, "n_resamples": n, "confidence_level": confidence}
        found = stats.bootstrap(samples, statistic, method=method, rng=np.random.default_rng(seed), **options)
        low, high = float(found.confidence_interval.low), float(found.confidence_interval.high)
        if not (np.isfinite(low) and np.isfinite(high)):  # BCa of a statistic that no resample moves, or that one leaves undefined
            drawn = found.bootstrap_distribution[np.isfinite(found.bootstrap_distribution)]
            if not drawn.size:
                return None, None
            low, high = (float(np.quantile(drawn, share)) for share in ((1 - confidence) / 2, (1 + confidence) / 2))
    return low, high


@dataclass(frozen=True)
class Paired:
    """Comparison of two predictions, or two models, on the same observations."""

    delta: float | None  # mean of the first minus mean of the second, over the pairs; None without a pair
    low: float | None
    high: float | None  # `low` and `high`: 95 % bootstrap interval of `delta`; None with fewer than two pairs
    p: float | None  # two-sided; None with fewer than two pairs. It is 1 where no pair differs.
    n: int  # number of pairs with values on both sides
    test: str = ""  # name of the test, and how p was computed; empty where there is none
    note: str = ""  # caution about too few pairs, or empty


def paired(a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0, n: int = 1000) -> Paired:
    """Compare pairs of values: the mean difference a - b, its bootstrap interval, and Wilcoxon's signed rank test (1945).

    The test is whether the differences are symmetric about 0; pairs without a difference are left out. Up to 50 pairs p is exact, or
    with ties up to 13; above it comes from the normal approximation. With fewer than six pairs p can't fall below 0.05 whatever the values
    are: it is given, and `Paired.note` says so. With one pair there is no test.

    Parameters
    ----------
    a, b
        Values of equal length, in the same order.
    seed, n
        See `interval`.

    Raises
    ------
    InputError
        If the lengths differ.
    """
    first, second = _finite((a, b))
    difference = first - second
    if not difference.size:
        return Paired(None, None, None, None, 0)
    delta = float(difference.mean())
    if difference.size == 1:
        return Paired(delta, None, None, None, 1, note="One pair has no spread, so that there is neither an interval nor a test.")
    low, high = interval(difference, seed=seed, n=n)
    p, test = _signed_rank(difference)
    note = ""
    if difference.size < FEW:
        least = 2.0 ** (1 - difference.size)
        note = f"With {difference.size} pairs p can't be below {least:.2g}, however large the difference is; take {FEW} or more."
    return Paired(delta, low, high, p, int(difference.size), test, note)


def _signed_rank(difference: Floats) -> tuple[float, str]:
    """Return p and how it was computed."""
    from scipy import stats

    moved = difference[difference != 0]
    if not moved.size:
        return 1.0, "Wilcoxon signed rank (no pair differs)"
    tied = np.unique(np.abs(moved)).size < moved.size
    exact = moved.size <= (13 if tied else 50)  # from there on all signs are too many to go through, or the normal approximation is good
    if exact and tied:
        found = stats.wilcoxon(moved, method=stats.PermutationMethod(n_resamples=np.inf))
    else:
        found = stats.wilcoxon(moved, method="exact" if exact else "asymptotic", correction=not exact)
    return float(min(found.pvalue, 1.0)), f"Wilcoxon signed rank ({'exact' if exact else 'normal approximation'})"


def corrected(p: Sequence[float | None] | npt.NDArray[Any], method: Literal["holm", "fdr_bh"] = "holm") -> list[float | None]:
    """Correct p for multiple tests; None and NaN stay None and don't count.

    Parameters
    ----------
    method
        ``holm`` (Holm 1979) bounds the chance of one false positive or more among all tests: for a few tests that are read
        one by one. ``fdr_bh`` (Benjamini & Hochberg 1995) bounds the expected share of false positives: for hundreds.

    Raises
    ------
    InputError
        If statsmodels is not installed.
    """
    values = np.array([np.nan if each is None else each for each in p], float)
    known = np.isfinite(values)
    out: list[float | None] = [None] * len(values)
    if known.any():
        multitest = require("statsmodels.stats.multitest", extra="evaluate", purpose="Testing")
        for position, value in zip(np.flatnonzero(known), multitest.multipletests(values[known], method=method)[1], strict=True):
            out[position] = float(value)
    return out


def _finite(values: tuple[npt.ArrayLike, ...]) -> tuple[Floats, ...]:
    """Return the observations that are finite in all arrays."""
    arrays = tuple(np.asarray(each, np.float64).ravel() for each in values)
    if len({len(each) for each in arrays}) > 1:
        raise InputError(f"Values that belong together differ in number: {' and '.join(str(len(each)) for each in arrays)}.")
    keep = np.logical_and.reduce([np.isfinite(each) for each in arrays])
    return tuple(each[keep] for each in arrays)


@dataclass(frozen=True)
class Spread:
    """Mean of a score over fields, with its uncertainty."""

    mean: float | None
    sd: float | None  # `mean` and `sd`: over the fields where the score is defined (sample SD); None without one, and the SD with one
    low: float | None
    high: float | None  # `low` and `high`: bootstrap interval of the mean, 95 %: wells are drawn where there are six or more, else fields
    n: int  # fields

    def to_json(self, name: str) -> dict[str, float | None]:
        """Return the values flat: the mean under its name, ``_sd``, ``_low`` and ``_high`` beside it."""
        return {name: self.mean, f"{name}_sd": self.sd, f"{name}_low": self.low, f"{name}_high": self.high}


def spread(values: npt.ArrayLike, wells: Sequence[str] | npt.NDArray[Any] = (), *, seed: int = 0, n: int = 1000) -> Spread:
    """Return mean, SD and interval of a score over fields.

    Parameters
    ----------
    values
        One per field; non-finite ones are left out.
    wells
        The well of each; empty, or empty names, where there are none.
    seed, n
        See `interval`.
    """
    array = np.asarray(values, np.float64).ravel()
    keep = np.isfinite(array)
    known = array[keep]
    if not known.size:
        return Spread(None, None, None, None, 0)
    names = np.asarray(wells, object)[keep] if len(wells) else np.zeros(0, object)
    low, high = interval(of_wells(known, names), seed=seed, n=n)
    return Spread(float(known.mean()), float(known.std(ddof=1)) if known.size > 1 else None, low, high, int(known.size))


def of_wells(values: Floats, wells: npt.NDArray[Any]) -> Floats:
    """Return the independent values: means of the wells where there are six or more, else the fields' values."""
    names, place = np.unique(np.asarray(wells, str), return_inverse=True)
    if len(names) < FEW or "" in names:
        return values
    return np.bincount(place, values) / np.bincount(place)


def written(mean: float | None, sd: float | None, decimals: int) -> str:
    """Format a score as in papers: ``0.90 ± 0.06``; without an SD the mean alone, and a dash where undefined."""
    if mean is None or not np.isfinite(mean):
        return "–"
    return f"{mean:.{decimals}f}" if sd is None or not np.isfinite(sd) else f"{mean:.{decimals}f} ± {sd:.{decimals}f}"
