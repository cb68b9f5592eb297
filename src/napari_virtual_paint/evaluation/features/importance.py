"""Find the most informative features by a random forest on the truth, and the prediction's error in them (Tonks 2024, level 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.context import Context
from napari_virtual_paint.evaluation.features.correlation import Bools, Groups, grouped, varies
from napari_virtual_paint.evaluation.statistics import Floats
from napari_virtual_paint.runtime.extras import require

if TYPE_CHECKING:
    import pandas as pd

TOP = 20  # number of features, as in the paper
TREES = 200
MOST = 4000  # most cells for training the forest
LEAST = 6  # least cells per class; the accuracy shows how well it was learned


@dataclass(frozen=True)
class Forest:
    """The most informative features."""

    features: tuple[str, ...]  # names, most informative first
    importance: tuple[float, ...]  # mean decrease of impurity of each, relative to the sum over all features
    target: str  # what the forest classified
    accuracy: float  # out-of-bag balanced accuracy
    cells: int

    def table(self) -> pd.DataFrame:
        """Return one row per feature: ``rank``, ``feature``, ``importance``."""
        import pandas as pd

        ranks = range(1, len(self.features) + 1)
        return pd.DataFrame({"rank": ranks, "feature": self.features, "importance": self.importance})


def informative(cells: pd.DataFrame, features: Sequence[str], context: Context) -> Forest | None:
    """Find the features that separate the truth's cells.

    The paper ranks features by a random forest (Saabas 2014) without saying what it predicts. Here it separates cells of positive from
    those of negative controls (toxic or not); without both, treatments; without metadata, real cells from synthetic ones, each of whose
    features comes from another cell (Shi & Horvath 2006), so that features count by how they depend on each other.

    Parameters
    ----------
    cells
        The truth's cells in its own masks.
    context
        Metadata of the wells.

    Returns
    -------
    Forest or None
        None with too few cells, or no feature.

    Raises
    ------
    InputError
        If scikit-learn is not installed.
    """
    rng = np.random.default_rng(context.settings.seed)
    if not len(features) or len(cells) < LEAST:
        return None
    target, classes = _classes(cells["well"].astype(str).to_numpy(), context)
    if classes is None:
        values = _complete(cells, features, np.sort(rng.permutation(len(cells))[: MOST // 2]))
        shuffled = np.stack([rng.permutation(column) for column in values.T], axis=1)
        values, classes = np.concatenate([values, shuffled]), np.repeat(["real", "made up"], len(values))
    else:
        rows = _balanced(classes, rng)
        values, classes = _complete(cells, features, rows), classes[rows]
    return _grown(values, classes, tuple(features), target, context.settings.seed)


def _complete(cells: pd.DataFrame, features: Sequence[str], rows: Groups) -> Floats:
    """Return some rows; what is missing is the median of all."""
    middle = np.array([np.nanmedian(cells[name].to_numpy(np.float64)) for name in features])
    values = cells[list(features)].iloc[rows].to_numpy(np.float64)
    return np.where(np.isfinite(values), values, middle)


def _classes(wells: npt.NDArray[np.str_], context: Context) -> tuple[str, npt.NDArray[np.str_] | None]:
    """Return what is classified and the class of each cell, empty where it has none; None where nothing is known."""
    column = context.role("treatment")
    choices: list[tuple[str, dict[str, str]]] = []
    if context.negative and context.positive:
        kinds = dict.fromkeys(context.negative, "negative") | dict.fromkeys(context.positive, "positive")
        choices.append(("cells of positive from those of negative controls", kinds))
    if column is not None and column in context.wells:
        treatments = {str(well): str(value) for well, value in context.wells[column].items() if value == value and value is not None}
        choices.append((f"cells by {column}", treatments))
    for target, of_well in choices:
        classes = np.array([of_well.get(well, "") for well in wells], str)
        names, sizes = np.unique(classes[classes != ""], return_counts=True)
        enough = names[sizes >= LEAST]
        if len(enough) >= 2:
            return target, np.where(np.isin(classes, enough), classes, "")
    return "real cells from made-up ones, of which each feature comes from another cell, since nothing is known of the wells", None


def _balanced(classes: npt.NDArray[np.str_], rng: np.random.Generator) -> Groups:
    """Return rows with equally many cells of each class, or all of a smaller class."""
    names = np.unique(classes[classes != ""])
    share = max(LEAST, MOST // len(names))
    rows = [rng.permutation(np.flatnonzero(classes == name))[:share] for name in names]
    return np.sort(np.concatenate(rows))


def _grown(values: Floats, classes: npt.NDArray[np.str_], features: tuple[str, ...], target: str, seed: int) -> Forest:
    ensemble = require("sklearn.ensemble", extra="evaluate", purpose="Ranking features")
    from sklearn.metrics import balanced_accuracy_score

    forest = ensemble.RandomForestClassifier(TREES, class_weight="balanced_subsample", oob_score=True, random_state=seed, n_jobs=1)
    forest.fit(values, classes)
    guessed = forest.classes_[np.nan_to_num(forest.oob_decision_function_).argmax(axis=1)]
    order = np.lexsort((np.arange(len(features)), -forest.feature_importances_))[:TOP]
    importance = tuple(float(forest.feature_importances_[i]) for i in order)
    accuracy = float(balanced_accuracy_score(classes, guessed))
    return Forest(tuple(features[i] for i in order), importance, target, accuracy, len(values))


@dataclass(frozen=True, eq=False)
class Errors:
    """N-MAE of p features: mean absolute error over the cells, in units of the truth's SD over the same cells."""

    nmae: Floats  # (p,), NaN where undefined
    drawn: Floats  # N-MAE of each resample, (B, p)


def nmae(truth: Floats, predicted: Floats, groups: Groups, weights: Floats) -> Errors:
    """Return the N-MAE of each column of (n, p) (Tonks 2024: MAE over instances / SD of the truth).

    A cell without a true value is left out; one without a predicted value counts as the truth's mean, so that
    missing predictions are no advantage.

    Parameters
    ----------
    truth, predicted
        Values of the same cells, NaN where missing.
    groups, weights
        See `correlation.correlate`.
    """
    there: Bools = np.isfinite(truth)
    count = np.maximum(there.sum(axis=0), 1)
    centred = np.where(there, truth, 0) - np.where(there, truth, 0).sum(axis=0) / count
    centred = np.where(there, centred, 0)
    error = np.where(there, np.abs(np.where(np.isfinite(predicted), predicted - truth, centred)), 0)
    sums = np.stack([grouped(part, groups) for part in (there.astype(float), error, centred, centred**2)])
    sums[:, :, ~varies(truth, there)] = 0
    return Errors(_ratio(np.ones((1, sums.shape[1])), sums)[0], _ratio(weights, sums))


def _ratio(weights: Floats, sums: Floats) -> Floats:
    """Return MAE / SD (B, p) with group weights; NaN where the truth is constant."""
    n, error, first, second = (weights @ each for each in sums)
    with np.errstate(all="ignore"):
        spread = np.sqrt(np.maximum(second / n - (first / n) ** 2, 0))
        return np.asarray(np.where(spread > 0, error / n / spread, np.nan))
