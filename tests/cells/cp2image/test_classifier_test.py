"""Whether the classifier tells apart what differs, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from napari_virtual_paint.cells.cp2image import classifier_test
from napari_virtual_paint.cells.cp2image.classifier_test import FOLDS, auc, classifier_auc, folds_of
from napari_virtual_paint.runtime.progress import Progress


def crops(seed: int, count: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(1000, 100, (count, 1, 16, 16)).astype(np.float32)


def judged(real: np.ndarray, drawn: np.ndarray) -> float:
    *steps, found = classifier_auc(real, drawn, folds_of(len(real)))
    assert all(isinstance(step, Progress) for step in steps)
    assert steps[-1].fraction == 1
    return found


def test_alike_crops_can_not_be_told_apart_and_smooth_ones_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_test, "STEPS", 25)
    real = crops(0)
    smooth = (real + np.roll(real, 1, 3)) / 2
    found = judged(real, smooth)
    assert found > 0.9
    assert 0.3 < judged(real, crops(1)) < 0.7
    assert judged(real, smooth) == found


def test_a_cell_is_never_trained_and_tested_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell has a mark of its own, by which its two crops could be remembered."""
    monkeypatch.setattr(classifier_test, "STEPS", 25)
    real = crops(0, 24)
    drawn = real.copy()
    drawn[:, :, 0, 0] += np.random.default_rng(3).normal(0, 1e-3, (24, 1))
    assert 0.4 < judged(real, drawn) < 0.6
    folds = folds_of(41)
    assert sorted(np.bincount(folds)) == [10, 10, 10, 11]
    assert len(np.bincount(folds)) == FOLDS


def test_too_few_cells_are_not_judged() -> None:
    assert np.isnan(list(classifier_auc(crops(0, 4), crops(1, 4), folds_of(4)))[-1])


def test_the_area_under_the_curve_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    above, below = rng.integers(0, 9, 40), rng.integers(0, 7, 30)
    expected = roc_auc_score(np.r_[np.ones(40), np.zeros(30)], np.r_[above, below])
    assert auc(above, below) == pytest.approx(expected)
