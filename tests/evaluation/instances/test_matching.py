"""Matching of objects: by hand, against stardist's and Cellpose's published definitions, and against every possible matching."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.instances.matching import THRESHOLDS, Counts, counts, curve, map_dsb, matched, overlaps, states


def boxes(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    """Return a label image of boxes (top, left, height, width), numbered from 1."""
    out = np.zeros(shape, np.int32)
    for number, (top, left, height, width) in enumerate(boxes, start=1):
        out[top : top + height, left : left + width] = number
    return out


def blobs(seed: int, count: int = 12, size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return two crowded label images whose objects overlap more or less."""
    random = np.random.default_rng(seed)
    out = []
    centres, radii = random.uniform(0, size, (count, 2)), random.uniform(3, 8, count)
    y, x = np.mgrid[:size, :size]
    for _ in range(2):
        labels = np.zeros((size, size), np.int32)
        for number, ((cy, cx), radius) in enumerate(zip(centres + random.normal(0, 0.8, centres.shape), radii, strict=True), start=1):
            labels[np.hypot(y - cy, x - cx) < radius * random.uniform(0.85, 1.15)] = 3 * number
        out.append(labels)
    return out[0], out[1]


def slow_iou(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Mask by mask."""
    rows, columns = (np.unique(each[each > 0]) for each in (truth, prediction))
    table = [[((truth == i) & (prediction == j)).sum() / ((truth == i) | (prediction == j)).sum() for j in columns] for i in rows]
    return np.array(table).reshape(len(rows), len(columns))


def published_matching(iou: np.ndarray, threshold: float) -> dict[str, float]:
    """What stardist.matching.matching and cellpose.metrics define: written from their documentation's formulas.

    The matching maximises the number of pairs with IoU >= threshold, the IoU divided by twice the smaller number of objects breaks ties.
    """
    n_true, n_predicted = iou.shape
    smaller = min(n_true, n_predicted)
    tp, total = 0, 0.0
    if smaller and (iou >= threshold).any():
        i, j = linear_sum_assignment(-(iou >= threshold).astype(float) - iou / (2 * smaller))
        good = iou[i, j] >= threshold
        tp, total = int(good.sum()), float(iou[i, j][good].sum())
    fp, fn = n_predicted - tp, n_true - tp
    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "precision": tp / (tp + fp) if tp else 0.0,
        "recall": tp / (tp + fn) if tp else 0.0,
        "f1": 2 * tp / (2 * tp + fp + fn) if tp else 0.0,
        "accuracy": tp / (tp + fp + fn) if tp else 0.0,  # Cellpose's average precision
        "mean_true_score": total / n_true if n_true else 0.0,
    }


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", [0.1, 0.3, *THRESHOLDS])
def test_as_stardist_and_cellpose_define_it(seed: int, threshold: float) -> None:
    truth, prediction = blobs(seed)
    between, want = overlaps(truth, prediction), published_matching(slow_iou(truth, prediction), threshold)
    got = counts(between, threshold)
    assert (got.tp, got.fp, got.fn) == (want["tp"], want["fp"], want["fn"])
    assert want["tp"] > 0 or threshold > 0.6  # the case is worth something
    for name, other in (("precision", "precision"), ("recall", "recall"), ("f1", "f1"), ("jaccard", "accuracy")):
        assert getattr(got, name) == pytest.approx(want[other])
    assert curve(between, (threshold,))[threshold] == got
    assert matched(between, threshold)[2].sum() / len(between.true_areas) == pytest.approx(want["mean_true_score"])


@pytest.mark.parametrize("seed", range(5))
def test_no_matching_is_better(seed: int) -> None:
    truth, prediction = blobs(seed, count=6, size=22)
    table = slow_iou(truth, prediction)
    if table.shape[0] > table.shape[1]:
        table, truth, prediction = table.T, prediction, truth
    every = [[(i, j) for i, j in enumerate(order)] for order in permutations(range(table.shape[1]), table.shape[0])]
    for threshold in (0.2, 0.5):
        most = max(sum(table[i, j] >= threshold for i, j in order) for order in every)
        assert counts(overlaps(truth, prediction), threshold).tp == most
    best = max(sum(table[i, j] for i, j in order) for order in every)
    assert matched(overlaps(truth, prediction))[2].sum() == pytest.approx(best)


def test_by_hand() -> None:
    # IoU 1 (equal), 80/120 = 2/3 (shifted by a fifth), 50/100 = 0.5 (half of it), a missed and an extra object.
    truth = boxes((0, 0, 10, 10), (0, 20, 10, 10), (20, 0, 10, 10), (20, 40, 10, 10))
    prediction = boxes((0, 0, 10, 10), (0, 22, 10, 10), (20, 0, 10, 5), (30, 55, 5, 5))
    between = overlaps(truth, prediction)
    assert between.iou.tolist() == pytest.approx([1, 2 / 3, 0.5])
    assert between.union == 100 + 120 + 100 + 100 + 25
    found = curve(between)
    assert [found[t].tp for t in THRESHOLDS] == [3, 2, 2, 2, 1, 1, 1, 1, 1, 1]
    assert found[0.5] == Counts(3, 1, 1)
    assert found[0.7] == Counts(1, 3, 3)
    assert found[0.7].f1 == 2 / 8
    assert found[0.5].jaccard == 3 / 5
    assert map_dsb(found) == pytest.approx((3 / 5 + 3 * 2 / 6 + 6 * 1 / 7) / 10)
    assert [part.tolist() for part in states(between)] == [["matched", "loose", "loose", "missed"], ["matched", "loose", "loose", "extra"]]


def test_split_merge_missed_extra() -> None:
    truth = boxes((0, 0, 10, 20), (15, 0, 10, 10), (15, 10, 10, 10), (0, 40, 10, 10), (30, 0, 8, 20))
    prediction = boxes((0, 0, 10, 9), (0, 11, 10, 9), (15, 0, 10, 20), (30, 40, 5, 5), (30, 0, 8, 18), (30, 18, 8, 2))
    true, found = states(overlaps(truth, prediction))
    assert true.tolist() == ["split", "merged", "merged", "missed", "matched"]
    assert found.tolist() == ["part", "part", "merge", "extra", "matched", "part"]


def test_exactly_at_the_threshold_counts_and_a_tie_is_one_pair() -> None:
    truth = boxes((0, 0, 10, 10))
    halves = boxes((0, 0, 10, 5), (0, 5, 10, 5))
    assert counts(overlaps(truth, halves), 0.5) == Counts(1, 1, 0)
    assert counts(overlaps(truth, boxes((0, 0, 10, 7))), 0.7) == Counts(1, 0, 0)


def test_the_pair_that_leaves_more_pairs_wins() -> None:
    # The first predicted box is the best partner of both true ones; to give it to the first would leave the second without any.
    truth, prediction = boxes((0, 0, 10, 20), (10, 0, 4, 20)), boxes((2, 0, 12, 20), (0, 0, 2, 20))
    assert counts(overlaps(truth, prediction), 0.1).tp == published_matching(slow_iou(truth, prediction), 0.1)["tp"] == 2


@pytest.mark.parametrize(("truth", "prediction"), [(0, 0), (3, 0), (0, 2)])
def test_no_object(truth: int, prediction: int) -> None:
    images = [boxes(*[(0, 12 * i, 10, 10) for i in range(count)]) for count in (truth, prediction)]
    between = overlaps(*images)
    got = counts(between, 0.7)
    assert got == Counts(0, prediction, truth)
    nothing = truth == prediction == 0
    assert got.f1 == got.jaccard == map_dsb(curve(between)) == (None if nothing else 0)
    assert got.precision == (0 if prediction else None)
    assert got.recall == (0 if truth else None)
    assert [len(each) for each in states(between)] == [truth, prediction]


def test_the_same_image_is_perfect_whatever_its_numbers() -> None:
    truth, _ = blobs(1)
    shuffled = np.where(truth > 0, 100 - truth, 0)
    between = overlaps(truth, shuffled)
    assert map_dsb(curve(between)) == 1
    assert all(np.concatenate(states(between)) == "matched")
    assert (between.true_numbers[between.rows] == 100 - between.predicted_numbers[between.columns]).all()


def test_many_objects_at_once() -> None:
    grid = np.kron(np.arange(1, 2501).reshape(50, 50), np.ones((10, 10), int))
    moved = np.roll(grid, 1, axis=1)  # each shares 90 pixels with itself: IoU 90/110
    assert counts(overlaps(grid, moved), 0.81) == Counts(2500, 0, 0)
    assert counts(overlaps(grid, moved), 0.82) == Counts(0, 2500, 2500)


@pytest.mark.parametrize("wrong", [np.ones((3, 3)), np.full((3, 3), -1), np.ones((2, 3), int)])
def test_what_is_no_label_image(wrong: np.ndarray) -> None:
    with pytest.raises(InputError):
        overlaps(np.ones((3, 3), int), wrong)
