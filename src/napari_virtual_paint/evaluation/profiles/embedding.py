"""Embed truth and predictions together, by PCA and UMAP (Cross-Zamirski 2022, Fig. 6)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from napari_virtual_paint.evaluation.context import TRUTH, Context
from napari_virtual_paint.evaluation.profiles.table import Doubles, Profiles
from napari_virtual_paint.runtime.extras import require

if TYPE_CHECKING:
    import pandas as pd

NEIGHBOURS, DISTANCE = 15, 0.8  # UMAP's n_neighbors and min_dist, as in the paper

FEWEST = 5  # least profiles for UMAP

FAR = 10.0
"""Standard deviations of the truth beyond which a value counts as this far: one feature that a prediction exaggerates would else be an axis
of its own."""


def common(profiles: Profiles) -> Doubles:
    """Return the wells of all sources, concatenated, (sources x n, p): in units of the truth's mean and SD over its wells.

    Distances between batches and sources are kept; missing values become the truth's mean.
    """
    truth = profiles.values[TRUTH]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean, spread = np.nanmean(truth, axis=0), np.nanstd(truth, axis=0)
    varied = np.isfinite(spread) & (spread > 1e-9 * np.abs(np.nan_to_num(mean)))
    values = np.concatenate([profiles.values[source] for source in profiles.sources])
    return np.asarray(np.clip(np.nan_to_num((values[:, varied] - mean[varied]) / spread[varied]), -FAR, FAR))


def embed(profiles: Profiles, context: Context) -> tuple[pd.DataFrame, list[str]]:
    """Embed the wells of all sources in one plane.

    Returns
    -------
    pandas.DataFrame
        One row per source and well: ``source``, ``well``, ``treatment``, ``batch``, ``plate``, ``pca_1``, ``pca_2``, ``umap_1``,
        ``umap_2``, then ``dose``, ``condition``, ``kind``, ``moa`` and the plate map's other columns.
    list
        Notes.
    """
    import pandas as pd

    # A well without cells has no profile: as the mean it would lie amid the truth's.
    there = np.concatenate([~np.isnan(profiles.values[source]).all(axis=1) for source in profiles.sources])
    values = common(profiles)[there]
    wells = pd.concat([profiles.wells.assign(source=source) for source in profiles.sources], ignore_index=True)
    notes, table = [], wells[["source", "well", "treatment", "batch", "plate"]].copy()
    table[["pca_1", "pca_2", "umap_1", "umap_2"]] = np.nan
    places, share = pca(values)
    table.loc[there, ["pca_1", "pca_2"]] = places
    table.loc[there, ["umap_1", "umap_2"]] = umap(values, context.settings.seed)
    if not there.all():
        notes.append(
            f"Wells in which no cell was measured have no place among the profiles: {(~there).sum()} of {len(there)} of all sources."
        )
    if len(values) < FEWEST:
        notes.append(f"{len(values)} profiles are too few for a UMAP; there are coordinates of PCA alone.")
    elif share:
        notes.append(f"The first two principal components hold {share:.0%} of the variance of truth and predictions together.")
    table = table.join(wells[["dose", "condition", "kind", "moa"]])
    used = {context.role(role) for role in ("treatment", "dose", "moa", "batch", "plate")}
    others = [name for name in context.wells.columns if name not in used and name not in table]
    known = context.wells.reindex(table["well"])[others].reset_index(drop=True)
    return pd.concat([table, known], axis=1), notes


def pca(values: Doubles) -> tuple[Doubles, float]:
    """Return the first two principal components (n, 2) and their share of the variance; zeros for constant data."""
    from sklearn.decomposition import PCA

    found = np.zeros((len(values), 2))
    if len(values) < 2 or not values.size or not np.ptp(values, axis=0).any():
        return found, 0.0
    fitted = PCA(min(2, *values.shape), svd_solver="full").fit(values)
    places = fitted.transform(values)
    found[:, : places.shape[1]] = places
    return found, float(np.nan_to_num(fitted.explained_variance_ratio_).sum())


def umap(values: Doubles, seed: int) -> Doubles:
    """Return two UMAP coordinates (n, 2) with the paper's parameters; fewer neighbors where there are fewer wells. NaN with too few."""
    if len(values) < FEWEST or not values.size:
        return np.full((len(values), 2), np.nan)
    umap = require("umap", extra="evaluate", purpose="Profiling")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the one thread that a seed asks for, and of graphs that fall apart
        model = umap.UMAP(n_neighbors=min(NEIGHBOURS, len(values) - 1), min_dist=DISTANCE, n_components=2, random_state=seed, n_jobs=1)
        return np.asarray(model.fit_transform(values.astype(np.float32)), np.float64)
