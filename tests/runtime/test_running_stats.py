"""Statistics of parts put together, and Pearson's correlation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from napari_virtual_paint.runtime.running_stats import merge, pearson

VALUES = np.random.default_rng(0).normal(1e6, 3.0, 1000)


def summary(values: np.ndarray) -> tuple[int, float, float]:
    return values.size, float(values.mean()), float(((values - values.mean()) ** 2).sum())


@pytest.mark.parametrize("split", [1, 10, 500, 999])
def test_two_parts_give_the_statistics_of_all(split: int) -> None:
    mean, squares = merge(*summary(VALUES[:split]), *summary(VALUES[split:]))
    assert mean == pytest.approx(VALUES.mean(), rel=1e-14)
    assert squares / VALUES.size == pytest.approx(VALUES.var(), rel=1e-9)


def test_arrays_and_tensors() -> None:
    rows = VALUES.reshape(4, 250)
    parts = [(rows[:, part], rows[:, part]) for part in (slice(0, 100), slice(100, 250))]
    (one, _), (other, _) = parts
    columns = [(np.full(4, float(p.shape[1])), p.mean(axis=1), p.var(axis=1) * p.shape[1]) for p in (one, other)]
    mean, squares = merge(*columns[0], *columns[1])
    assert mean == pytest.approx(rows.mean(axis=1), rel=1e-14)
    assert squares / 250 == pytest.approx(rows.var(axis=1), rel=1e-9)
    tensors = [(p.shape[1], torch.from_numpy(p.mean(axis=1)), torch.from_numpy(p.var(axis=1) * p.shape[1])) for p in (one, other)]
    again = merge(*tensors[0], *tensors[1])
    assert np.array_equal(again[0].numpy(), mean)
    assert np.array_equal(again[1].numpy(), squares)


def test_nothing_and_nothing_is_nothing() -> None:
    nothing = np.zeros(2), np.zeros(2), np.zeros(2)
    assert [part.tolist() for part in merge(*nothing, *nothing)] == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_correlations_are_those_of_scipy(dtype: type) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(100, 20, (2, 30, 40)).astype(dtype)
    assert pearson(a, b) == pytest.approx(stats.pearsonr(a.ravel().astype(float), b.ravel().astype(float)).statistic, abs=1e-12)
    assert pearson(a, a) == pytest.approx(1.0)
    assert pearson(a, -a) == pytest.approx(-1.0)


def test_the_compiled_correlation_is_the_same() -> None:
    pytest.importorskip("numba", reason="the kernels are compiled by numba")
    from napari_virtual_paint.cells.measurement import kernels

    rng = np.random.default_rng(2)
    for count in (2, 3, 50, 5000):
        a, b = rng.normal(50, 5, (2, count))
        assert kernels._pearson(a, b) == pytest.approx(pearson(a, b), abs=1e-12)
    assert np.isnan(kernels._pearson(np.ones(5), np.arange(5.0)))


def test_without_variation_there_is_none() -> None:
    assert np.isnan(pearson(np.ones(5), np.arange(5)))
    assert np.isnan(pearson(np.arange(5), np.full(5, 0.1)))
    assert np.isnan(pearson(np.ones(1), np.ones(1)))
