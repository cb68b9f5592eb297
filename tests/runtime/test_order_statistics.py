"""Percentiles of numbers given in parts equal those that numpy takes of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtual_paint.runtime.order_statistics import OrderStatistics, between, ranks_of

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")


def numbers(dtype: str, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        drawn = rng.normal(0, 1, count) * 10.0 ** rng.integers(-3, 4, count)
        drawn[:: max(count // 7, 1)] = 0.0
        drawn[1 :: max(count // 5, 1)] = -0.0
        return drawn.astype(kind)
    limits = np.iinfo(kind)
    few = rng.integers(limits.min, limits.max, 5, kind, endpoint=True)
    return np.where(rng.random(count) < 0.3, rng.choice(few, count), rng.integers(limits.min, limits.max, count, kind, endpoint=True))


def found(parts: list[np.ndarray], dtype: np.dtype, ranks: list[int]) -> OrderStatistics:
    statistics = OrderStatistics(dtype)
    while True:
        for part in parts:
            statistics.add(part)
        if statistics.advance(ranks):
            return statistics


@settings(max_examples=80, deadline=None)
@given(dtype=st.sampled_from(TYPES), count=st.integers(1, 100), seed=st.integers(0, 99))
def test_numbers_at_all_ranks_are_those_of_sorting(dtype: str, count: int, seed: int) -> None:
    drawn = numbers(dtype, count, seed)
    statistics = found(np.array_split(drawn, 3), drawn.dtype, list(range(count)))
    np.testing.assert_array_equal([statistics.value(rank) for rank in range(count)], np.sort(drawn))


@settings(max_examples=80, deadline=None)
@given(
    dtype=st.sampled_from([each for each in TYPES if each not in ("float16", "uint64", "int64")]),
    count=st.integers(1, 300),
    seed=st.integers(0, 99),
    shares=st.lists(st.floats(0, 100), min_size=2, max_size=2),
)
def test_percentiles_are_numpys(dtype: str, count: int, seed: int, shares: list[float]) -> None:
    drawn = numbers(dtype, count, seed)
    if drawn.dtype.kind == "i":
        drawn //= 2  # numpy's own difference of two numbers overflows beyond
    for method in ("linear", "inverted_cdf"):
        spans = [ranks_of(count, share, method) for share in shares]
        statistics = found(np.array_split(drawn, 2), drawn.dtype, [rank for span in spans for rank in span[:2]])
        ours = [between(statistics.value(low), statistics.value(high), part) for low, high, part in spans]
        np.testing.assert_array_equal(ours, np.percentile(drawn, tuple(shares), method=method))


def test_integers_of_few_bits_keep_their_histogram() -> None:
    statistics = OrderStatistics(np.dtype("int8"))
    statistics.add(np.array([-128, 5, 5], np.int8))
    histogram = statistics.histogram
    assert histogram is not None
    assert {int(place) + statistics.smallest: int(histogram[place]) for place in np.flatnonzero(histogram)} == {-128: 1, 5: 2}
    assert statistics.total == 3
    assert OrderStatistics(np.dtype("float32")).histogram is None


@pytest.mark.parametrize("share", [0.0, 100.0])
def test_the_ends_of_one_number(share: float) -> None:
    assert ranks_of(1, share) == (0, 0, 0.0)
