"""Which features are compared: chosen on the truth alone, so that no prediction has a say (Cross-Zamirski 2022, profile generation)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.features.measure import CELLS, IMAGES, KEYS

if TYPE_CHECKING:
    import pandas as pd

MISSING = 0.05
"""Share of rows without a value, or with 0, from which a feature is dropped."""
ALIKE = 0.9
"""Pearson's correlation with another feature above which one of the two is dropped."""
FAR = 15.0
"""Standard deviations of the controls beyond which a value makes its feature too variable."""
IMAGES_NEEDED = 20
"""Images from which the choice is made on images, as in the paper; correlations over fewer say little, so that cells take their place."""
CONTROLS_NEEDED = 6
"""Control rows from which their standard deviation is taken."""
MOST_ROWS = 2000
"""Cells that the choice is made on, at most."""

REASONS: Mapping[str, str] = {
    "missing": "no value, or 0, in more than 5 % of the rows",
    "constant": "the same value in all rows",
    "block-listed": "on the list of noisy features (Way 2019)",
    "alike": "correlation above 0.9 with a feature that is kept",
    "variable": "beyond 15 standard deviations of the controls",
}
"""Why a feature is dropped, in the order in which it is looked at."""


@dataclass(frozen=True)
class Selection:
    """Features that are compared.

    Parameters
    ----------
    kept
        Their names, in the table's order.
    dropped
        Name -> one of `REASONS`.
    over
        ``images`` or ``cells``: the rows that the choice was made on; empty where there was nothing to choose on.
    notes
        What a reader should know.
    """

    kept: tuple[str, ...]
    dropped: Mapping[str, str]
    over: str
    notes: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """Return a row a feature: ``feature``, ``kept``, ``reason``, ``meaning``."""
        import pandas as pd

        rows = [(name, True, "", "") for name in self.kept]
        rows += [(name, False, why, REASONS[why]) for name, why in self.dropped.items()]
        return pd.DataFrame(rows, columns=["feature", "kept", "reason", "meaning"])


def select(tables: Mapping[str, pd.DataFrame], context: Context) -> Selection:
    """Choose the features on the truth in its own masks.

    The steps are the paper's, in its order, by pycytominer: missing (a feature without a value, or with 0, in more than 5 % of the rows),
    block-list, correlation above 0.9, values beyond 15 SD of the negative controls. One is added after the first: a feature that does not
    vary, which has no correlation with anything. Rows are images; with fewer than 20 they are cells.

    Parameters
    ----------
    tables
        ``features_images``, and ``features_cells`` where the images are few.
    context
        Tells the negative controls; without 6 rows of them the last step is left out.

    Raises
    ------
    InputError
        If pycytominer is not installed.
    """
    rows, over = _rows(tables)
    if rows is None:
        return Selection((), {}, "", ("No cell was measured in the truth, so that there are no features to compare.",))
    features = [str(name) for name in rows.columns if name not in (*KEYS, "cells", "object")]
    controls = rows["well"].isin(context.negative).to_numpy() if context.negative else np.zeros(len(rows), bool)
    kept, dropped = drop(rows[features], controls)
    notes = [f"Features were chosen on {len(rows)} {over} of the truth alone: {len(kept)} of {len(features)} are compared."]
    if controls.sum() < CONTROLS_NEEDED:
        notes.append(f"Fewer than {CONTROLS_NEEDED} {over} of negative controls are known, so that no feature was dropped as too variable.")
    return Selection(kept, dropped, over, tuple(notes))


def _rows(tables: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame | None, str]:
    """Return the truth's images with cells, or where these are few its cells."""
    if IMAGES not in tables or CELLS not in tables:
        return None, ""
    images = truth_of(tables[IMAGES])
    images = images[images["cells"].astype(float) > 0]
    if len(images) >= IMAGES_NEEDED:
        return images, "images"
    cells = truth_of(tables[CELLS])
    if len(cells) < 2:
        return None, ""
    return cells.sample(min(len(cells), MOST_ROWS), random_state=0).sort_index(), "cells"


def truth_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the truth in its own masks."""
    return table[(table["source"] == TRUTH) & (table["masks"] == TRUTH)]


def drop(values: pd.DataFrame, controls: Sequence[bool] | np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the features that are kept, and why each of the others is dropped.

    Parameters
    ----------
    values
        A row an observation, a column a feature.
    controls
        Which rows are negative controls.
    """
    left, dropped = values.astype(np.float64).replace([np.inf, -np.inf], np.nan), {}

    def without(reason: str, names: Iterable[str]) -> None:
        nonlocal left
        gone = set(names)
        dropped.update({name: reason for name in left.columns if name in gone})
        left = left[[name for name in left.columns if name not in gone]]

    without("missing", _selected_out(left.replace(0.0, np.nan), "drop_na_columns", na_cutoff=MISSING))
    spread, size = left.max() - left.min(), left.abs().max()
    without("constant", left.columns[~(spread > 1e-6 * size)])
    without("block-listed", _selected_out(left, "blocklist"))
    without("alike", _selected_out(left.fillna(left.median()), "correlation_threshold", corr_threshold=ALIKE))
    without("variable", _too_variable(left, np.asarray(controls, bool)))
    return tuple(left.columns), dropped


def _too_variable(values: pd.DataFrame, controls: np.ndarray[Any, np.dtype[np.bool_]]) -> list[str]:
    """Return the features of which a value lies beyond `FAR` of the controls' standard deviations from their mean."""
    if controls.sum() < CONTROLS_NEEDED or values.shape[1] == 0:
        return []
    known = values[controls]
    away = (values - known.mean()) / known.std(ddof=0)  # where no control varies, whatever does is infinitely far
    return sorted(_selected_out(away, "drop_outliers", outlier_cutoff=FAR))


def _selected_out(values: pd.DataFrame, operation: str, **options: float) -> set[str]:
    """Return the columns that one of pycytominer's operations leaves out."""
    if not values.shape[1]:
        return set()
    try:
        from pycytominer import feature_select
    except ImportError as error:
        raise InputError(
            'Features are chosen by pycytominer, which is not installed; run: pip install "napari-virtual-paint[evaluate]".'
        ) from error
    left = feature_select(values, features=list(values.columns), operation=[operation], **options)
    return set(values.columns) - set(left.columns)
