"""Match the objects of two label images one to one by overlap, and score the matches.

The matching is that of stardist's and Cellpose's metrics: the one-to-one matching with most pairs whose intersection over union
(IoU, Jaccard index) reaches the threshold; ties are broken by the sum of the IoU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from napari_virtual_paint.errors import InputError

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.5, 0.55 ... 0.95: thresholds of the F1 curve and of the mean average precision of the 2018 Data Science Bowl."""

AT = 0.7  # IoU at which an object counts as found (Caicedo 2019, Tonks 2024)


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Overlaps of the objects in two label images; true objects are rows i, predicted ones columns j, from 0."""

    true_numbers: Ints
    predicted_numbers: Ints
    """`true_numbers` and `predicted_numbers`: numbers in the label images, ascending, of the n and m objects."""
    true_areas: Ints
    predicted_areas: Ints
    """`true_areas` and `predicted_areas`: pixels of each object."""
    rows: Ints
    columns: Ints
    """`rows` and `columns`: the pairs that share pixels."""
    shared: Ints
    """Pixels shared by each pair."""

    @property
    def iou(self) -> Floats:
        """Intersection over union of each pair."""
        ratio: Floats = self.shared / (self.true_areas[self.rows] + self.predicted_areas[self.columns] - self.shared)
        return ratio

    @property
    def union(self) -> int:
        """Pixels in an object of either image."""
        return int(self.true_areas.sum() + self.predicted_areas.sum() - self.shared.sum())


def overlaps(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Overlaps:
    """Count the pixels that objects share.

    Parameters
    ----------
    truth, prediction
        Label images of one shape, any number of axes, whole numbers, 0 is background.

    Raises
    ------
    InputError
        If the shapes differ, or an image holds no labels.
    """
    true_numbers, true = _numbered(truth)
    numbers, found = _numbered(prediction)
    if np.shape(truth) != np.shape(prediction):
        raise InputError(f"Labels of the truth {np.shape(truth)} and of the prediction {np.shape(prediction)} differ in shape.")
    width = len(numbers) + 1
    counts = np.bincount(true * width + found, minlength=(len(true_numbers) + 1) * width)
    pairs = np.flatnonzero(counts)
    rows, columns = np.divmod(pairs, width)
    inside = (rows > 0) & (columns > 0)
    areas = [np.bincount(each, minlength=n)[1:] for each, n in ((true, len(true_numbers) + 1), (found, width))]
    return Overlaps(true_numbers, numbers, areas[0], areas[1], rows[inside] - 1, columns[inside] - 1, counts[pairs][inside])


def _numbered(labels: npt.ArrayLike) -> tuple[Ints, Ints]:
    """Return the label numbers, and the flat image renumbered from 1."""
    array = np.asarray(labels)
    if array.dtype.kind not in "bui" or (array.size and array.min() < 0):
        raise InputError(f"An image of type {array.dtype} is no label image; labels are whole numbers from 0 up.")
    there = np.flatnonzero(np.bincount(array.ravel().astype(np.int64)))
    there = there[there > 0]
    position = np.zeros(int(array.max(initial=0)) + 1, np.int64)
    position[there] = np.arange(1, len(there) + 1)
    return there, position[array.ravel().astype(np.int64)]


def matched(between: Overlaps, threshold: float = 0.0) -> tuple[Ints, Ints, Floats]:
    """Match objects one to one.

    Parameters
    ----------
    between
        Result of `overlaps`.
    threshold
        Least IoU of a pair; with 0 the matching maximizes the sum of IoU.

    Returns
    -------
    tuple
        Rows, columns (positions of true and predicted objects) and IoU of the pairs.
    """
    iou = between.iou
    near = np.flatnonzero(iou >= threshold)
    # Each connected group of overlapping objects is solved by itself: all at once takes n m memory and n m (n + m) time.
    n, m = len(between.true_areas), len(between.predicted_areas)
    graph = sparse.coo_array((np.ones(len(near)), (between.rows[near], between.columns[near] + n)), shape=(n + m, n + m))
    _, group = sparse.csgraph.connected_components(graph, directed=False)
    order = near[np.argsort(group[between.rows[near]], kind="stable")]
    edges = np.flatnonzero(np.diff(group[between.rows[order]])) + 1
    chosen = [_assigned(between, iou, pairs, threshold) for pairs in np.split(order, edges) if len(pairs)]
    taken = np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
    return between.rows[taken], between.columns[taken], iou[taken]


def _assigned(between: Overlaps, iou: Floats, pairs: Ints, threshold: float) -> Ints:
    """Return those of the pairs that are matched."""
    if len(pairs) == 1:
        return pairs
    rows, i = np.unique(between.rows[pairs], return_inverse=True)
    columns, j = np.unique(between.columns[pairs], return_inverse=True)
    # The sum of all tie breaks is below 1, so that no gain in IoU outweighs one more pair.
    bonus = float(threshold > 0)
    gain = np.zeros((len(rows), len(columns)))
    gain[i, j] = bonus + iou[pairs] / (2 * min(gain.shape))
    place = np.full(gain.shape, -1)
    place[i, j] = pairs
    chosen: Ints = place[linear_sum_assignment(gain, maximize=True)]
    return np.asarray(chosen[chosen >= 0], np.int64)


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives at one IoU."""

    tp: int
    fp: int
    fn: int
    """`tp`, `fp` and `fn`: matched pairs, predicted objects without a true one, true objects without a predicted one."""

    @property
    def precision(self) -> float | None:
        """``TP / (TP + FP)``; None where nothing was predicted."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """``TP / (TP + FN)``; None without a true object."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """``2 TP / (2 TP + FP + FN)``; None where there is no object in either image."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def jaccard(self) -> float | None:
        """``TP / (TP + FP + FN)``, stardist's accuracy and Cellpose's average precision; None where there is no object in either image."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    def __add__(self, other: Counts) -> Counts:
        """Pool with the counts of another image."""
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


def _ratio(part: float, total: float) -> float | None:
    return part / total if total else None


def counts(between: Overlaps, threshold: float) -> Counts:
    """Return the counts at one IoU."""
    found = len(matched(between, threshold)[0])
    return Counts(found, len(between.predicted_areas) - found, len(between.true_areas) - found)


def curve(between: Overlaps, thresholds: tuple[float, ...] = THRESHOLDS) -> dict[float, Counts]:
    """Return the counts at several IoU from 0.5 up, by one matching.

    Objects in one image don't overlap, so of two with IoU above 0.5 neither has another partner at 0.5 or more: at every higher threshold
    the matching is that at 0.5 without the pairs below the threshold.
    """
    n, m = len(between.true_areas), len(between.predicted_areas)
    if not thresholds or min(thresholds) < 0.5:
        return {threshold: counts(between, threshold) for threshold in thresholds}
    iou = matched(between, 0.5)[2]
    found = [int((iou >= threshold).sum()) for threshold in thresholds]
    return {threshold: Counts(tp, m - tp, n - tp) for threshold, tp in zip(thresholds, found, strict=True)}


def map_dsb(counted: dict[float, Counts]) -> float | None:
    """Return the mean over thresholds of ``TP / (TP + FP + FN)`` (Moshkov 2022, eq. 2); None without any object."""
    values = [each.jaccard for each in counted.values()]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


TRUE_STATES = ("matched", "split", "merged", "loose", "missed")
"""States of a true object; the first that applies.

matched: it has a partner at the threshold. split: two predicted objects or more lie in it. merged: it lies in a predicted object in which
another true one lies, too. loose: a predicted object lies in it or it in one, but the outline is too far off. missed: none of these.
An object lies in another if more than half of its pixels do.
"""

PREDICTED_STATES = ("matched", "part", "merge", "loose", "extra")
"""States of a predicted object; the first that applies.

matched: as above. part: it lies in a true object in which another predicted one lies, too. merge: two true objects or more lie in it.
loose: it lies in a true object or one in it, but the outline is too far off. extra: none of these.
"""


def states(between: Overlaps, threshold: float = AT) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    """Return the state of each true object (`TRUE_STATES`) and each predicted one (`PREDICTED_STATES`)."""
    rows, columns, _ = matched(between, threshold)
    n, m = len(between.true_areas), len(between.predicted_areas)
    in_predicted = 2 * between.shared > between.true_areas[between.rows]  # the true object of a pair lies in the predicted one
    in_true = 2 * between.shared > between.predicted_areas[between.columns]
    parts = np.bincount(between.rows[in_true], minlength=n)
    held = np.bincount(between.columns[in_predicted], minlength=m)
    near = in_true | in_predicted
    true = _states(n, TRUE_STATES, rows, parts > 1, _any(n, between.rows, in_predicted & (held[between.columns] > 1)), between.rows[near])
    part = _any(m, between.columns, in_true & (parts[between.rows] > 1))
    return true, _states(m, PREDICTED_STATES, columns, part, held > 1, between.columns[near])


def _any(size: int, where: Ints, condition: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    out = np.zeros(size, bool)
    out[where[condition]] = True
    return out


def _states(
    size: int, names: tuple[str, ...], found: Ints, second: npt.NDArray[np.bool_], third: npt.NDArray[np.bool_], near: Ints
) -> npt.NDArray[np.str_]:
    """Give each object the first name that applies."""
    conditions: list[Any] = [np.isin(np.arange(size), found), second, third, np.isin(np.arange(size), near)]
    out: npt.NDArray[np.str_] = np.select(conditions, list(names[:-1]), default=names[-1])
    return out
