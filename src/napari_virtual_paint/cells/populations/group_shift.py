"""Shift one feature of a whole group of cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.populations.population import Floats, Population
from napari_virtual_paint.errors import InputError

MOST = 12  # cells that stand for a group


def members(rows: npt.ArrayLike, most: int = MOST, seed: int = 0) -> npt.NDArray[np.intp]:
    """Return some cells that stand for a group, in their order: a random sample where there are more than `most`.

    Raises `InputError` if the group has no cell.
    """
    found = np.asarray(rows, np.intp)
    if not len(found):
        raise InputError("There is no cell in this group.")
    return found if len(found) <= most else np.sort(np.random.default_rng(seed).choice(found, most, replace=False))


def shifted(population: Population, rows: npt.ArrayLike, feature: str, by: float, follow: bool = True) -> Floats:
    """Shift one feature of several cells by the same amount.

    Parameters
    ----------
    population
        The cells.
    rows
        Positions of k of them.
    feature
        The feature to shift.
    by
        The shift, in the feature's own units; an angle is wrapped into its period.
    follow
        Whether correlated features follow (`Population.conditional`) or stay fixed.

    Returns
    -------
    float32 (k, p), the shifted vectors.

    Raises
    ------
    InputError
        If there is no such feature.
    """
    at, out = population.position(feature), population.values[np.asarray(rows, np.intp)].copy()
    for row in out if by else ():
        target = float(row[at]) + by
        if follow:
            row[:] = population.conditional(row, {at: target})
        row[at] = target
    return np.asarray(population.points.onto(out.astype(np.float64)), np.float32) if by else out
