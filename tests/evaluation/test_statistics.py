"""Intervals, paired tests and corrections: against scipy, statsmodels' definitions and by hand; few pairs; deltas of predictions."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.paired_deltas import COLUMNS, deltas, values
from napari_virtual_paint.evaluation.statistics import FEW, corrected, interval, of_wells, paired, spread

RANDOM = np.random.default_rng(0)


def test_interval_of_a_mean_is_about_that_of_t() -> None:
    values = RANDOM.normal(3, 2, 60)
    low, high = interval(values, seed=1, n=2000)
    want = stats.t.interval(0.95, 59, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(want, abs=0.12)
    assert interval(values, seed=1, n=2000) == (low, high)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    hits = 0
    for trial in range(120):
        low, high = interval(random.exponential(1, 40), seed=trial, n=200)
        assert low is not None
        assert high is not None
        hits += low <= 1 <= high
    assert 105 <= hits <= 119


def test_interval_of_pairs_is_that_of_resampled_pairs() -> None:
    x = RANDOM.normal(size=50)
    y = x + RANDOM.normal(0, 0.5, 50)
    low, high = interval((x, y), lambda a, b: stats.pearsonr(a, b).statistic, n=200)
    want = stats.pearsonr(x, y).confidence_interval()
    assert (low, high) == pytest.approx((want.low, want.high), abs=0.06)
    with pytest.raises(InputError, match="50 and 3"):
        interval((x, y[:3]))


@pytest.mark.parametrize(
    ("values", "bounds"), [([], (None, None)), ([2.0], (None, None)), ([2.0, math.nan], (None, None)), ([4, 4, 4], (4, 4))]
)
def test_interval_of_too_little(values: list[float], bounds: tuple[float | None, float | None]) -> None:
    assert interval(values) == bounds


def test_large_samples_take_percentiles() -> None:
    values = RANDOM.normal(size=4000)
    low, high = interval(values, np.median, n=200)
    assert low is not None
    assert high is not None
    assert low < np.median(values) < high
    assert high - low == pytest.approx(2 * 1.96 * 1.253 / math.sqrt(4000), rel=0.35)


def exact_p(difference: np.ndarray) -> float:
    """Two-sided p of the signed ranks, by going through all signs."""
    moved = difference[difference != 0]
    ranks = stats.rankdata(np.abs(moved))
    middle = ranks.sum() / 2
    here = abs(ranks[moved > 0].sum() - middle)
    sums = [abs(sum(rank for rank, up in zip(ranks, signs, strict=True) if up) - middle) for signs in product((0, 1), repeat=len(moved))]
    return float(np.mean([each >= here - 1e-9 for each in sums]))


@pytest.mark.parametrize(
    "difference",
    [[1, 2, 3, 4, 5, 6, 7], [1, -2, 3, 4, 5, -6, 7.5], [1, 1, 1, 2, -2, 3, 0, 0], [5, 4, -3], [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, -0.1, 0.2]],
)
def test_signed_ranks_by_going_through_all_signs(difference: list[float]) -> None:
    zero = np.zeros(len(difference))
    got = paired(np.array(difference), zero, n=100)
    assert got.p == pytest.approx(exact_p(np.array(difference)))
    assert got.delta == pytest.approx(np.mean(difference))
    assert "exact" in got.test


def test_many_pairs_take_the_normal_approximation() -> None:
    a = RANDOM.normal(size=200)
    b = a + RANDOM.normal(0.05, 0.5, 200)
    got = paired(a, b, n=100)
    assert got.p == pytest.approx(stats.wilcoxon(a, b, correction=True, method="asymptotic").pvalue)
    assert "normal" in got.test
    assert got.low is not None
    assert got.high is not None
    assert got.low < got.delta < got.high  # type: ignore[operator]


def test_few_pairs() -> None:
    none, one, five, six = (paired(np.arange(1, n + 1), np.zeros(n), n=100) for n in (0, 1, 5, 6))
    assert (none.delta, none.p, none.n) == (None, None, 0)
    assert (one.delta, one.low, one.p, one.n) == (1, None, None, 1)
    assert one.note
    assert five.p == pytest.approx(2 / 2**5)
    assert "0.062" in five.note
    assert six.p == pytest.approx(2 / 2**6)
    assert six.p < 0.05
    assert six.note == ""
    assert six.n == FEW
    equal = paired([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6])
    assert (equal.delta, equal.low, equal.high, equal.p) == (0, 0, 0, 1)
    holes = paired([1, math.nan, 3], [0, 0, math.nan])
    assert holes.n == 1


def test_corrections_by_hand() -> None:
    p = [0.01, None, 0.04, 0.03, math.nan]
    assert corrected(p, "holm") == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06), None]
    assert corrected(p, "fdr_bh") == [pytest.approx(0.03), None, pytest.approx(0.04), pytest.approx(0.04), None]
    assert corrected([None]) == [None]
    random = np.random.default_rng(1).uniform(size=50)
    assert corrected(random, "fdr_bh") == pytest.approx(list(stats.false_discovery_control(random)))


def test_spread_over_fields_and_wells() -> None:
    values = np.array([1.0, 3, 2, 4, 3, 5, 4, 6, 5, 7, 6, 8])
    wells = np.repeat([f"A{n}" for n in range(6)], 2)
    assert of_wells(values, wells).tolist() == [2, 3, 4, 5, 6, 7]
    assert of_wells(values[:4], wells[:4]).tolist() == [1, 3, 2, 4]  # two wells are too few
    assert of_wells(values, np.full(12, "")).tolist() == values.tolist()
    by_well, by_field = spread(values, wells, n=500), spread(values, n=500)
    assert by_well.mean == by_field.mean == 4.5
    assert by_well.sd == pytest.approx(np.std(values, ddof=1))
    assert (by_well.low, by_well.high) != (by_field.low, by_field.high)
    assert spread([math.nan]).to_json("x") == {"x": None, "x_sd": None, "x_low": None, "x_high": None}
    assert spread([2.0]).sd is None


def table(wells: int, fields: int, *, shift: float = 1.0) -> pd.DataFrame:
    """A score of three predictions: "weak" is lower by `shift`, "same" is equal; an error goes the other way."""
    random = np.random.default_rng(0)
    rows = []
    for well, number, stain in product(range(wells), range(fields), ("DNA", "ER")):
        value = random.normal()
        for source, away in (("main", 0.0), ("weak", -shift * random.uniform(0.5, 1.5)), ("same", 0.0)):
            rows.append((f"W{well}/{number}", f"W{well}", stain, source, value + away, -value - away))
    return pd.DataFrame(rows, columns=["field", "well", "stain", "source", "score", "error"])


def test_deltas_pair_wells() -> None:
    known = table(8, 3)
    found = deltas(known, {"score": "high", "error": "low"}, predictions=("main", "weak", "same"), by=("stain",), n=100)
    assert list(found.columns) == ["stain", *COLUMNS]
    assert len(found) == 2 * 2 * 2
    assert set(found["unit"]) == {"well"}
    assert set(found["n"]) == {8}
    assert set(found[found["against"] == "weak"]["better"]) == {"main"}
    assert set(found[found["against"] == "same"]["better"]) == {""}
    row = found[(found["stain"] == "DNA") & (found["metric"] == "score") & (found["against"] == "weak")].iloc[0]
    means = known[known["stain"] == "DNA"].groupby(["source", "well"])["score"].mean()
    want = paired(means["main"], means["weak"], n=100)
    assert (row["delta"], row["p"], row["low"]) == pytest.approx((want.delta, want.p, want.low))
    assert row["value"] - row["other"] == pytest.approx(row["delta"])
    assert (found["p_corrected"].dropna() >= found["p"].dropna()).all()


def test_deltas_take_fields_where_wells_are_few() -> None:
    found = deltas(table(2, 4), {"score": "high"}, predictions=("main", "weak"), n=100)
    assert found["unit"].tolist() == ["field"]
    assert found["n"].tolist() == [8]
    assert "independent" in found["note"][0]
    folder = table(7, 1).assign(well="")
    assert deltas(folder, {"score": "high"}, predictions=("main", "weak"), n=100)[["unit", "n"]].to_numpy().tolist() == [["field", 7]]


def test_deltas_of_nothing() -> None:
    known = table(3, 1)
    assert deltas(known, {"score": "high"}, predictions=("main",)).empty
    known["score"] = math.nan
    found = deltas(known, {"score": "high"}, predictions=("main", "weak"), by=("stain",))
    assert found["n"].tolist() == [0, 0]
    assert found["better"].tolist() == ["", ""]
    assert found["delta"].isna().all()


def test_values_to_draw_are_means_of_wells_where_fields_are_many() -> None:
    few = table(3, 2)
    drawn = values(few, ("score", "error"), ("stain", "source"))
    assert len(drawn) == 2 * len(few)
    assert list(drawn.columns) == ["field", "well", "stain", "source", "score", "value"]
    many = table(101, 5)
    drawn = values(many, ("score",), ("stain", "source"))
    assert len(drawn) == 101 * 2 * 3
    one = drawn.query("well == 'W7' and stain == 'ER' and source == 'weak'")["value"].item()
    assert one == pytest.approx(many.query("well == 'W7' and stain == 'ER' and source == 'weak'")["score"].mean())
    assert len(values(many.assign(well=""), ("score",), ("stain", "source"))) == len(many)
