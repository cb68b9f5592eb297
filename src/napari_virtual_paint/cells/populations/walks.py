"""Walks through feature space (Ji et al. 2024, 4.2.2 and 4.2.3): from cell to cell, along a line, and over one feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.populations.population import Floats, Population
from napari_virtual_paint.errors import InputError

STEP = 50  # features changed per step of a walk, as in the paper
FRAMES = 9  # frames of a walk along a line
PERCENTILES = (5.0, 25.0, 50.0, 75.0, 95.0)  # percentiles of a feature sweep


@dataclass(frozen=True, eq=False)
class Walk:
    """Feature vectors from one cell to another."""

    features: tuple[str, ...]  # names of the p features
    values: Floats  # float32 (k, p), in the features' own units; first A, last B
    scores: tuple[float, ...]  # cosine similarity of each to B, about the population's center and on standardized features
    taken: tuple[int, ...]  # number of features that each has from B
    ends: tuple[str, str] = ("A", "B")  # labels of A and B

    def __len__(self) -> int:
        return len(self.values)

    def named(self, a: str, b: str) -> Walk:
        """Return the walk with other labels of its ends."""
        return replace(self, ends=(a, b))

    @property
    def captions(self) -> tuple[str, ...]:
        """A caption per frame: progress and cosine similarity to B."""
        last = len(self) - 1
        where = [self.ends[0], *(f"{index} of {last}" for index in range(1, last)), self.ends[1]]
        return tuple(f"{place}: cosine {score:.2f}" for place, score in zip(where, self.scores, strict=True))


def cosine(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return the cosine of the angle between two vectors; 0 where one is zero."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / length, -1.0, 1.0)) if length > 0 else 0.0


def stepwise(population: Population, a: npt.ArrayLike, b: npt.ArrayLike, step: int = STEP, follow: bool = True) -> Walk:
    """Walk from cell A to cell B, replacing the features that differ most first, some at each step.

    Parameters
    ----------
    population
        Source of each feature's scale: differences are in robust standard deviations.
    a, b
        (p,), in the features' own units; a missing value is its feature's median.
    step
        Features replaced per step; the last step may be smaller.
    follow
        Whether the other features follow those that were replaced (`Population.conditional`) or stay those of A, as in the paper.

    Raises
    ------
    InputError
        If a step is less than one feature.
    """
    if step < 1:
        raise InputError(f"A step takes over one feature at least, not {step}.")
    start, end = _completed(population, a), _completed(population, b)
    scale = np.where(population.spread > 0, population.spread, np.inf)
    order = np.argsort(-np.abs(population.points.difference(start, end) / scale), kind="stable")
    taken = [*range(0, len(order), step), len(order)]
    values = np.stack([start] * len(taken))
    for row, count in zip(values, taken, strict=True):
        changed = order[:count]
        if follow and 0 < count < len(order):
            row[:] = population.conditional(start, {int(at): float(end[at]) for at in changed})
        row[changed] = end[changed]
    return _scored(population, values, taken)


def line(population: Population, a: npt.ArrayLike, b: npt.ArrayLike, steps: int = FRAMES) -> Walk:
    """Walk along the straight line between two vectors (two cells, or the means of two groups); angles the shorter way round.

    Parameters
    ----------
    population
        Source of each feature's scale for the scores.
    a, b
        (p,), in the features' own units; a missing value is its feature's median.
    steps
        Number of frames, including both ends.

    Raises
    ------
    InputError
        If there are fewer than two frames.
    """
    if steps < 2:
        raise InputError(f"A walk has two frames at least, not {steps}.")
    start, end = (_completed(population, vector).astype(np.float64) for vector in (a, b))
    share = np.linspace(0.0, 1.0, steps)[:, None]
    values = population.points.onto(start + share * population.points.difference(start, end)).astype(np.float32)
    values[0], values[-1] = start, end
    return _scored(population, values, [0] * (steps - 1) + [len(start)])


def mean_of(population: Population, rows: npt.ArrayLike | None = None) -> Floats:
    """Return the mean vector of some cells (or of all).

    Raises `InputError` if there are no cells.
    """
    found = population.values if rows is None else population.values[np.asarray(rows, np.intp)]
    if not len(found):
        raise InputError("There is no cell in this group.")
    return np.asarray(population.points.mean(found), np.float32)


def representative(population: Population, rows: npt.ArrayLike | None = None) -> int:
    """Return the real cell nearest the mean of some cells (or of all), as their representative.

    Parameters
    ----------
    population
        The cells; their distance is Euclidean on standardized features.
    rows
        Positions of the group's cells.

    Returns
    -------
    Its position in the population.

    Raises
    ------
    InputError
        If there are no cells.
    """
    group = np.arange(len(population)) if rows is None else np.asarray(rows, np.intp)
    if not len(group):
        raise InputError("There is no cell in this group.")
    z = population.standard(population.values[group])
    return int(group[((z - z.mean(axis=0)) ** 2).sum(axis=1).argmin()])


def sweep(
    population: Population,
    feature: str,
    percentiles: Sequence[float] = PERCENTILES,
    base: npt.ArrayLike | None = None,
    follow: bool = True,
) -> Floats:
    """Sweep one feature of a cell over the population's percentiles (Ji et al. 2024, Fig. 4c).

    Parameters
    ----------
    population
        Source of the percentiles, and of the covariance where the others follow.
    feature
        The feature to sweep.
    percentiles
        Percentiles of the sweep.
    base
        (p,), the cell, in the features' own units; the population's median where None.
    follow
        Whether correlated features follow (`Population.conditional`) or stay fixed, as in the paper.

    Returns
    -------
    float32 (k, p).

    Raises
    ------
    InputError
        If there is no such feature.
    """
    start = _completed(population, population.centre if base is None else base)
    at = population.position(feature)
    out = np.stack([start] * len(percentiles))
    for row, value in zip(out, population.percentile(feature, percentiles), strict=True):
        if follow:
            row[:] = population.conditional(start, {feature: float(value)})
        row[at] = value
    return out


def _completed(population: Population, vector: npt.ArrayLike) -> Floats:
    """Return a validated vector without missing values."""
    found = np.asarray(vector, np.float32)
    if found.shape != (len(population.features),):
        raise InputError(f"A cell here has {len(population.features)} features, not {found.shape}.")
    return np.where(np.isfinite(found), found, population.centre.astype(np.float32))


def _scored(population: Population, values: Floats, taken: Sequence[int]) -> Walk:
    """Make a walk from its vectors."""
    z = population.standard(values)
    return Walk(population.features, values, tuple(cosine(row, z[-1]) for row in z), tuple(int(count) for count in taken))
