"""Select the features to compare on the truth alone, so that no prediction influences it (Cross-Zamirski 2022, profile generation)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.features.measure import CELLS, IMAGES, KEYS
from napari_virtual_paint.evaluation.level import columns_of
from napari_virtual_paint.runtime.extras import require

if TYPE_CHECKING:
    import pandas as pd

MISSING = 0.05  # share of rows that are missing, or 0, above which a feature is dropped
ALIKE = 0.9  # correlation with another feature above which one of the two is dropped
FAR = 15.0  # standard deviations of the controls beyond which a feature is too variable
IMAGES_NEEDED = 20  # least images for selecting on images, as in the paper; with fewer, correlations say little, and cells are used
CONTROLS_NEEDED = 6  # least control rows for their standard deviation
MOST_ROWS = 2000  # most cells for the selection

REASONS: Mapping[str, str] = {
    "missing": "no value, or 0, in more than 5 % of the rows",
    "constant": "the same value in all rows",
    "block-listed": "on the list of noisy features (Way 2019)",
    "alike": "correlation above 0.9 with a feature that is kept",
    "variable": "beyond 15 standard deviations of the controls",
}
"""Reason for dropping a feature, in the order of the steps."""


@dataclass(frozen=True)
class Selection:
    """The selected features."""

    features: tuple[str, ...]  # names, in the table's order
    dropped: Mapping[str, str]  # name -> one of `REASONS`
    over: str  # ``images`` or ``cells``: the rows used for the selection; empty where there were none
    notes: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """Return one row per feature: ``feature``, ``kept``, ``reason``, ``meaning``."""
        import pandas as pd

        rows = [(name, True, "", "") for name in self.features]
        rows += [(name, False, why, REASONS[why]) for name, why in self.dropped.items()]
        return pd.DataFrame(rows, columns=["feature", "kept", "reason", "meaning"])


def select(tables: Mapping[str, pd.DataFrame], context: Context) -> Selection:
    """Select the features on the truth in its own masks.

    The steps are the paper's, in its order, by pycytominer: missing (no value, or 0, in more than 5 % of the rows),
    block-list, correlation above 0.9, values beyond 15 SD of the negative controls. One step is added after the first: constant
    features, which correlate with nothing. Rows are images; with fewer than 20 they are cells.

    Parameters
    ----------
    tables
        ``features_images``, and ``features_cells`` where images are few.
    context
        Defines the negative controls; with fewer than 6 of their rows the last step is skipped.

    Raises
    ------
    InputError
        If pycytominer is not installed.
    """
    rows, over = _rows(tables)
    if rows is None:
        return Selection((), {}, "", ("No cell was measured in the truth, so that there are no features to compare.",))
    features = [str(name) for name in rows.columns if name not in (*KEYS, "cells", "object")]
    if len(rows) == 1:
        known = rows[features].iloc[0].astype(np.float64)
        there = tuple(name for name in features if np.isfinite(known[name]))
        note = f"One cell of the truth does not tell which features vary: all {len(there)} that have a value are compared."
        return Selection(there, {name: "missing" for name in features if name not in there}, over, (note,))
    controls = rows["well"].isin(context.negative).to_numpy() if context.negative else np.zeros(len(rows), bool)
    selected, dropped = drop(rows[features], controls)
    notes = [f"Features were chosen on {len(rows)} {over} of the truth alone: {len(selected)} of {len(features)} are compared."]
    if controls.sum() < CONTROLS_NEEDED:
        notes.append(f"Fewer than {CONTROLS_NEEDED} {over} of negative controls are known, so that no feature was dropped as too variable.")
    return Selection(selected, dropped, over, tuple(notes))


def _rows(tables: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame | None, str]:
    """Return the truth's images with cells, or its cells where images are few."""
    if IMAGES not in tables or CELLS not in tables:
        return None, ""
    truth = {"source": TRUTH, "masks": TRUTH}
    images = columns_of(tables, IMAGES, where=truth)
    images = images[images["cells"].astype(float) > 0]
    if len(images) >= IMAGES_NEEDED:
        return images, "images"
    cells = columns_of(tables, CELLS, where=truth)
    if not len(cells):
        return None, ""
    return cells.sample(min(len(cells), MOST_ROWS), random_state=0).sort_index(), "cells"


def truth_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the truth in its own masks."""
    return table[(table["source"] == TRUTH) & (table["masks"] == TRUTH)]


def drop(values: pd.DataFrame, controls: Sequence[bool] | np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the selected features, and why each other one is dropped.

    Parameters
    ----------
    values
        One row per observation, one column per feature.
    controls
        Which rows are negative controls.
    """
    left, dropped = values.astype(np.float64).replace([np.inf, -np.inf], np.nan), {}

    def without(reason: str, names: Iterable[str]) -> None:
        nonlocal left
        excluded = set(names)
        dropped.update({name: reason for name in left.columns if name in excluded})
        left = left[[name for name in left.columns if name not in excluded]]

    without("missing", _selected_out(left.replace(0.0, np.nan), "drop_na_columns", na_cutoff=MISSING))
    spread, size = left.max() - left.min(), left.abs().max()
    without("constant", left.columns[~(spread > 1e-6 * size)])
    without("block-listed", _selected_out(left, "blocklist"))
    without("alike", _selected_out(left.fillna(left.median()), "correlation_threshold", corr_threshold=ALIKE))
    without("variable", _too_variable(left, np.asarray(controls, bool)))
    return tuple(left.columns), dropped


def _too_variable(values: pd.DataFrame, controls: np.ndarray[Any, np.dtype[np.bool_]]) -> list[str]:
    """Return the features with a value beyond `FAR` control SDs from the controls' mean."""
    if controls.sum() < CONTROLS_NEEDED or values.shape[1] == 0:
        return []
    known = values[controls]
    away = (values - known.mean()) / known.std(ddof=0)  # where no control varies, whatever does is infinitely far
    return sorted(_selected_out(away, "drop_outliers", outlier_cutoff=FAR))


def _selected_out(values: pd.DataFrame, operation: str, **options: float) -> set[str]:
    """Return the columns that one of pycytominer's operations removes."""
    if not values.shape[1]:
        return set()
    pycytominer = require("pycytominer", extra="evaluate", purpose="Selecting features")
    left = pycytominer.feature_select(values, features=list(values.columns), operation=[operation], **options)
    return set(values.columns) - set(left.columns)
