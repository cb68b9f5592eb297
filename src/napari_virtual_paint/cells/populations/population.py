"""A population of cells in feature space: percentiles, conditional means, distance from real cells, PCA and UMAP."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.populations.covariance import ShrunkCovariance
from napari_virtual_paint.cells.populations.feature_space import FeatureSpace
from napari_virtual_paint.cells.rotation import Turning
from napari_virtual_paint.cells.transform import Doubles, Floats
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.extras import require

Level = Literal["real", "rare", "beyond"]

MAD_TO_SD = 1.4826  # ratio of the standard deviation to the median absolute deviation of a normal distribution
CLIP = 10.0  # clipping limit in robust standard deviations: one outlying feature must not dominate
CACHED = 64  # most moved features whose columns of the covariance are kept
MOST = 2000  # most cells used for the covariance and the neighbors; more hardly change either
RARE, BEYOND = 95.0, 99.5
"""Percentiles of the real cells' own distances above which a vector counts as rare (amber) and as beyond the real cells (red)."""
OBEYS, IGNORES = 0.5, 0.1  # obedience of a picture below which it counts as rare (amber) and as beyond the real cells (red)
LEAST = 0.25  # robust standard deviations: a smaller change is lost in what the generated picture varies by
MORE = 8  # cells that are compared exactly beside the nearest ones
SAME = 1e-5  # distance (in robust standard deviations) to a real cell below which a vector counts as that cell


@dataclass(frozen=True)
class Distance:
    """Distance of a feature vector from the real cells."""

    mahalanobis: float  # distance from the population's mean under its regularized covariance, in standard deviations
    mahalanobis_percentile: float  # share of real cells (in percent) that are nearer to the mean, each under the covariance of the others
    neighbour: float  # root mean square distance over the features to the nearest real cell, in robust standard deviations
    neighbour_percentile: float  # share of real cells (in percent) that are nearer to their own nearest neighbor

    @property
    def rarity(self) -> float:
        """The larger of the two percentiles; 0 for a vector that equals a real cell, however unusual that cell is."""
        return 0.0 if self.neighbour < SAME else max(self.mahalanobis_percentile, self.neighbour_percentile)

    @property
    def level(self) -> Level:
        """Category of the rarity."""
        return "real" if self.rarity <= RARE else "rare" if self.rarity <= BEYOND else "beyond"


@dataclass(frozen=True)
class Trust:
    """How far a drawn cell can be trusted: how rare its vector is among real cells, and how well its picture obeys the vector."""

    distance: Distance
    gain: float = math.nan
    """From `Population.gain`; NaN where nothing was changed, or nothing is measured yet: the vector alone counts then."""

    @property
    def obedience(self) -> float:
        """1 where the picture shows the change that was asked for, falling to 0 where it shows none or twice as much; NaN if unknown."""
        return float(np.clip(1.0 - abs(1.0 - self.gain), 0.0, 1.0))

    @property
    def value(self) -> float:
        """Trust from 0 to 100: it falls from 100 where the vector begins to be rare to 0 where no real cell is as rare, times obedience."""
        common = float(np.clip((100.0 - self.distance.rarity) / (100.0 - RARE), 0.0, 1.0))
        return 100.0 * common * (1.0 if math.isnan(self.gain) else self.obedience)

    @property
    def level(self) -> Level:
        """The worse of the vector's level and the picture's."""
        if self.distance.level == "beyond" or self.obedience < IGNORES:
            return "beyond"
        return "rare" if self.distance.level == "rare" or self.obedience < OBEYS else "real"

    @property
    def low(self) -> Literal["", "vector", "picture", "both"]:
        """What is low: the vector is rare, the picture does not obey, or both."""
        rare, disobeys = self.distance.level != "real", self.obedience < OBEYS
        return "both" if rare and disobeys else "vector" if rare else "picture" if disobeys else ""


@dataclass(frozen=True, eq=False)
class Projection:
    """The population in two dimensions."""

    name: str  # ``"PCA"`` or ``"UMAP"``
    points: Floats  # float32 (n, 2), one row per cell
    project: Callable[[npt.ArrayLike], Floats]  # feature vectors (k, p) in their own units -> (k, 2)
    axes: tuple[str, str]  # labels of the two axes


class Population:
    """Cells as vectors of features.

    Parameters
    ----------
    values
        (n, p), one row per cell, in the features' own units; a missing (NaN) or infinite value counts as the feature's median.
    features
        Names of the p columns.

    Raises
    ------
    InputError
        If there are fewer than three cells, or the names don't fit the columns.

    Notes
    -----
    Everything except percentiles uses robustly standardized features: median and 1.4826 MAD (the standard deviation where more than
    half of the cells share one value), clipped at ten. A constant feature is 0 throughout and has no influence.
    Covariance, distances and maps use angles as cosine and sine (`feature_space.FeatureSpace`): -90 degrees equals 90.
    """

    def __init__(self, values: npt.ArrayLike, features: Sequence[str]) -> None:
        found = np.array(values, np.float32)
        self.features = tuple(str(name) for name in features)
        if found.ndim != 2 or found.shape[1] != len(self.features):
            raise InputError(f"A population of {len(self.features)} features needs values of (cells, features), not {found.shape}.")
        if len(found) < 3:
            raise InputError(f"A population needs three cells or more; there are {len(found)}.")
        found[~np.isfinite(found)] = np.nan
        usable = np.isfinite(found).any(axis=0)
        self.centre = np.zeros(found.shape[1])
        self.centre[usable] = np.nanmedian(found[:, usable], axis=0)
        self.values: Floats = np.where(np.isfinite(found), found, self.centre.astype(np.float32))
        self.spread = _spread(self.values, self.centre)
        self._at = {name: index for index, name in enumerate(self.features)}
        self.points = FeatureSpace(self.centre, self.spread, self.features)
        self._turning = Turning.of(self.features)

    def __len__(self) -> int:
        return len(self.values)

    def position(self, feature: str) -> int:
        """Return the column of a feature.

        Raises `InputError` if there is no such feature.
        """
        if feature not in self._at:
            import difflib

            close = difflib.get_close_matches(feature, self.features, 1)
            raise InputError(f"There is no feature {feature!r} here{f' (did you mean {close[0]}?)' if close else ''}.")
        return self._at[feature]

    @cached_property
    def sorted(self) -> Floats:
        """The values, each column in order."""
        return np.sort(self.values, axis=0)

    def percentile(self, feature: str, percent: npt.ArrayLike) -> Doubles:
        """Return the values at some percentiles of a feature, in its own units."""
        return np.asarray(np.percentile(self.sorted[:, self.position(feature)], np.asarray(percent)), np.float64)

    def rank(self, feature: str, value: float) -> float:
        """Return the percentile (0 to 100) of a value among the cells; ties count half."""
        column = self.sorted[:, self.position(feature)]
        below, upto = np.searchsorted(column, np.float32(value), "left"), np.searchsorted(column, np.float32(value), "right")
        return float(50.0 * (below + upto) / len(column))

    def histogram(self, feature: str, bins: int = 40) -> tuple[npt.NDArray[np.int64], Doubles]:
        """Return a histogram: counts in equal bins from the smallest to the largest value, and the bin edges."""
        counts, edges = np.histogram(self.sorted[:, self.position(feature)], bins=bins)
        return counts.astype(np.int64), np.asarray(edges, np.float64)

    def standard(self, values: npt.ArrayLike) -> Doubles:
        """Return vectors (..., p) in robust standard deviations from the median; NaN and constant features become 0."""
        z = (np.asarray(values, np.float64) - self.centre) / np.where(self.spread > 0, self.spread, np.inf)
        return np.asarray(np.clip(np.nan_to_num(z, nan=0.0, posinf=CLIP, neginf=-CLIP), -CLIP, CLIP))

    def gain(
        self, start: Floats, asked: Floats, measured_start: Floats, measured: Floats, moved: Collection[int], least: float = LEAST
    ) -> float:
        """Return how much of the change asked of a cell its generated picture shows: 1 all of it, 0 nothing.

        Parameters
        ----------
        start, asked
            (p,), the cell that the change began with, and the one asked for.
        measured_start, measured
            (p,), the features measured in the generated pictures of the two; NaN where one can't be measured.
        moved
            Columns of the features whose change is judged.
        least
            Smallest change, in robust standard deviations, that is judged.

        Returns
        -------
        The median over these features of measured change / asked change; NaN where there is none to judge by.
        """
        change, seen = self.points.difference(start, asked), self.points.difference(measured_start, measured)
        columns = np.array(sorted(moved), np.intp)
        columns = columns[np.isfinite(seen[columns]) & (np.abs(change[columns]) > least * self.spread[columns])]
        return float(np.median(seen[columns] / change[columns])) if len(columns) else float("nan")

    def conditional(self, vector: npt.ArrayLike, moved: Mapping[str, float] | Mapping[int, float]) -> Floats:
        """Move some features of a cell and let the others follow to where they are expected.

        Parameters
        ----------
        vector
            (p,), the cell, in the features' own units.
        moved
            Feature, by name or column -> its new value, which is met exactly.

        Returns
        -------
        float32 (p,): ``x_R + S_RM S_MM^-1 (new_M - x_M)`` under the regularized covariance S, angles as cosine and sine. The cell keeps
        its own residual: from the population's mean this is the conditional mean, and an unchanged feature changes
        nothing. Where an orientation is moved, the whole cell is rotated first (`rotation.Turning`): a rotated real cell is a
        real cell.

        Raises
        ------
        InputError
            If there is no such feature.
        """
        start = np.where(np.isfinite(vector := np.asarray(vector, np.float64)), vector, self.centre)
        if not moved:
            return np.asarray(start, np.float32)
        columns = np.array([each if isinstance(each, int) else self.position(each) for each in moved], np.intp)
        targets = np.array([float(value) for value in moved.values()])
        angular = np.flatnonzero(np.isin(columns, self._turning.orientations))
        if len(angular):
            first = angular[columns[angular].argmin()]
            start = self._turning.turned(start, targets[first] - start[columns[first]])
        there = start.copy()
        there[columns] = targets
        point = self.points.of(start)
        places = np.concatenate([self.points.places(int(column)) for column in columns])
        step = (self.points.of(there) - point)[places]
        carried = np.zeros(self.points.width)
        if step.any():
            if len(places) <= CACHED:
                rows = np.column_stack([self._covariance(int(at)) for at in places])
                carried = rows @ np.linalg.solve(rows[places], step)
            else:
                carried = self._spectrum.carried(places, step)
        found = self.points.moved(start, point, carried)
        found[columns] = targets
        return np.asarray(found, np.float32)

    def distance(self, vector: npt.ArrayLike, own: int | None = None) -> Distance:
        """Return the distance of a vector from the real cells.

        Parameters
        ----------
        vector
            (p,), in the features' own units.
        own
            The cell that the vector was derived from: it is left out of the covariance, as each real cell is for its own distance.
            Otherwise every vector near it would look too common, the more so with fewer cells than features.
        """
        z = self._place(vector)
        far = float(np.sqrt(max(0.0, self._squared_without(z, own))))
        near = float(self._nearest(z[None], 1)[1][0, 0])
        return Distance(far, _share(self._own_distances, far), near, _share(self._own_neighbours, near))

    def neighbours(self, values: npt.ArrayLike, count: int = 3) -> tuple[npt.NDArray[np.intp], Doubles]:
        """Return the real cells that are most like some vectors.

        Parameters
        ----------
        values
            (k, p) or (p,), in the features' own units.
        count
            Cells for each vector; all where there are fewer.

        Returns
        -------
        positions
            (k, count), the nearest first.
        distances
            (k, count), root mean square over the features in robust standard deviations, as `Distance.neighbour`.
        """
        return self._nearest(self._place(np.atleast_2d(np.asarray(values))), count)

    def prepare(self) -> None:
        """Precompute what `conditional`, `distance`, `neighbours` and `pca` need (a second or two for 2,000 features)."""
        _ = self.sorted, self._spectrum, self._own_distances, self._own_neighbours, self._squares

    def pca(self) -> Projection:
        """Return the two principal axes of the standardized features."""
        spectrum = self._spectrum
        axes = spectrum.vectors[:, :2]
        share = 100 * spectrum.extra[:2] / max(float(spectrum.extra.sum()), 1e-12)

        def project(values: npt.ArrayLike) -> Floats:
            return np.asarray((self._place(np.atleast_2d(np.asarray(values))) - spectrum.mean) @ axes, np.float32)

        return Projection("PCA", project(self.values), project, (f"PC 1 ({share[0]:.0f} %)", f"PC 2 ({share[1]:.0f} %)"))

    def umap(self, seed: int = 0) -> Projection:
        """Return two UMAP dimensions (McInnes 2018) of the first 50 principal components.

        Takes seconds to a minute, longer the first time (numba compiles); run it in the background.

        Raises `InputError` if umap-learn is not installed.
        """
        umap = require("umap", extra="cells", purpose="UMAP")
        spectrum = self._spectrum
        axes = spectrum.vectors[:, :50]
        fitted = umap.UMAP(random_state=seed, n_neighbors=min(15, len(self) - 1), n_jobs=1, init="pca")
        points = fitted.fit_transform(((self._place(self.values) - spectrum.mean) @ axes).astype(np.float32))

        def project(values: npt.ArrayLike) -> Floats:
            z = self._place(np.atleast_2d(np.asarray(values))) - spectrum.mean
            return np.asarray(fitted.transform((z @ axes).astype(np.float32)), np.float32)

        return Projection("UMAP", np.asarray(points, np.float32), project, ("UMAP 1", "UMAP 2"))

    @cached_property
    def _sample(self) -> npt.NDArray[np.intp]:
        """The cells used for the covariance and the neighbors, at regular intervals."""
        return np.unique(np.linspace(0, len(self) - 1, min(len(self), MOST)).round().astype(np.intp))

    @cached_property
    def _z(self) -> Doubles:
        return self._place(self.values[self._sample])

    def _place(self, values: npt.ArrayLike) -> Doubles:
        """Return the points of vectors (..., p), clipped."""
        return np.asarray(np.clip(self.points.of(values), -CLIP, CLIP))

    @cached_property
    def _spectrum(self) -> ShrunkCovariance:
        return ShrunkCovariance.of(self._z)

    def _squared_without(self, z: Doubles, own: int | None) -> float:
        """Return a squared Mahalanobis distance with one cell left out of the covariance (Sherman and Morrison)."""
        spectrum, total = self._spectrum, float(self._spectrum.squared(z[None])[0])
        at = -1 if own is None else int(np.searchsorted(self._sample, own))
        if not 0 <= at < len(self._sample) or self._sample[at] != own:
            return total
        cell = self._z[at : at + 1]
        cross, self_squared = float(spectrum.product(z[None], cell)[0]), float(spectrum.squared(cell)[0])
        return total + spectrum.weight * cross**2 / max(1 - spectrum.weight * self_squared, 1e-3)

    def _covariance(self, at: int) -> Doubles:
        """Return a column of the covariance; cached, since dragging a feature requests it sixty times a second."""
        if at not in self._columns:
            self._columns[at] = self._spectrum.column(at)
        return self._columns[at]

    @cached_property
    def _columns(self) -> dict[int, Doubles]:
        return {}

    @cached_property
    def _own_distances(self) -> Doubles:
        """Sorted Mahalanobis distances of the real cells, each left out of the covariance (Sherman and Morrison)."""
        squared = self._spectrum.squared(self._z)
        return np.sort(np.sqrt(np.maximum(squared / np.maximum(1 - self._spectrum.weight * squared, 1e-3), 0.0)))

    @cached_property
    def _own_neighbours(self) -> Doubles:
        """Sorted distances of the real cells to their nearest neighbors."""
        squares = (self._z**2).sum(axis=1)
        apart = squares[:, None] + squares[None] - 2 * self._z @ self._z.T
        np.fill_diagonal(apart, np.inf)
        return np.sort(np.sqrt(np.maximum(apart.min(axis=1), 0.0) / self._z.shape[1]))

    @cached_property
    def _small(self) -> Floats:
        return self._place(self.values).astype(np.float32)

    @cached_property
    def _squares(self) -> Floats:
        """Squared length of each cell's point."""
        return np.asarray(np.einsum("ij,ij->i", self._small, self._small))

    def _nearest(self, points: Doubles, count: int) -> tuple[npt.NDArray[np.intp], Doubles]:
        """Return the real cells nearest each of several points (k, q), and their distances."""
        z, count = points.astype(np.float32), min(count, len(self))
        # Without BLAS, as in `ShrunkCovariance.column`. Differences of squares are inexact: some more cells are compared exactly.
        rough = self._squares - 2 * np.einsum("kj,ij->ki", z, self._small)
        some = min(count + MORE, len(self))
        candidates = np.argpartition(rough, some - 1, axis=1)[:, :some]
        away = self._small[candidates] - z[:, None]
        found = np.sqrt(np.einsum("kcj,kcj->kc", away, away) / max(1, z.shape[1])).astype(np.float64)
        order = np.argsort(found, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(found, order, axis=1)


def _spread(values: Floats, centre: Doubles) -> Doubles:
    """Return a robust standard deviation of each column; 0 where all values are equal."""
    spread = MAD_TO_SD * np.median(np.abs(values - centre), axis=0)
    plain = values.std(axis=0, dtype=np.float64)
    tiny = 1e-6 * np.maximum(np.abs(centre), 1e-30)  # float32 can't tell less
    return np.where(spread > tiny, spread, np.where(plain > tiny, plain, 0.0))


def _share(ordered: Doubles, value: float) -> float:
    """Return the share of sorted values that are smaller, in percent."""
    return float(100.0 * np.searchsorted(ordered, value) / len(ordered))


def vector_of(features: Sequence[str], values: Mapping[str, Any]) -> Floats:
    """Return a vector of named values, NaN where one is missing."""
    return np.array([float(values.get(name, np.nan)) for name in features], np.float32)


__all__ = ["Distance", "Doubles", "Floats", "Level", "Population", "Projection", "Trust", "vector_of"]
