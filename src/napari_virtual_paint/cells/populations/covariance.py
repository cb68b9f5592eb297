"""Regularized covariance of a population (Ledoit and Wolf 2004), by its eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.transform import Doubles


@dataclass(frozen=True, eq=False)
class ShrunkCovariance:
    """The Ledoit-Wolf covariance ``floor * I + V diag(extra) V'`` of points, and their mean."""

    mean: Doubles  # (q,)
    vectors: Doubles
    extra: Doubles  # `vectors` and `extra`: (q, r) and (r,), largest first
    floor: float  # shrinkage added to each variance
    weight: float  # contribution of one point to the covariance, per squared distance from the mean

    @classmethod
    def of(cls, points: Doubles) -> ShrunkCovariance:
        """Fit to points (n, q); with fewer points than dimensions, no q x q matrix is formed."""
        from sklearn.covariance import ledoit_wolf_shrinkage

        mean = points.mean(axis=0)
        away = points - mean
        n, q = away.shape
        shrinkage = float(ledoit_wolf_shrinkage(away, assume_centered=True)) if away.any() else 1.0
        floor = max(shrinkage * float((away**2).sum()) / (n * q), 1e-6)
        if n < q:  # by the smaller of the two squares
            values, left = np.linalg.eigh(away @ away.T)
            nonzero = values > max(values[-1], 1e-12) * 1e-10
            vectors = (away.T @ left[:, nonzero]) / np.sqrt(values[nonzero])
        else:
            values, vectors = np.linalg.eigh(away.T @ away)
            nonzero = np.ones(len(values), bool)
        extra = (1 - shrinkage) * np.maximum(values[nonzero], 0.0) / n
        vectors = _two_at_least(_signed(vectors[:, ::-1]))
        return cls(mean, vectors, np.pad(extra[::-1], (0, vectors.shape[1] - len(extra))), floor, (1 - shrinkage) / n)

    def column(self, at: int) -> Doubles:
        """Return a column of the covariance, (q,)."""
        # Without BLAS, whose threads contend on busy cores: this is called between two frames.
        found = np.einsum("ij,j->i", self.vectors, self.extra * self.vectors[at])
        found[at] += self.floor
        return np.asarray(found)

    def columns(self, places: npt.NDArray[np.intp]) -> Doubles:
        """Return several columns of the covariance at once, (q, k)."""
        found = (self.vectors * self.extra) @ self.vectors[places].T
        found[places, np.arange(len(places))] += self.floor
        return np.asarray(found)

    def carried(self, places: npt.NDArray[np.intp], step: Doubles) -> Doubles:
        """Return ``S_AM S_MM^-1 step``, (q,): how far all coordinates are expected to move where those at `places` (M) move by a step.

        The smaller of two systems is solved: as large as the number of moved coordinates, or as the number of eigenvectors.
        """
        if len(places) <= len(self.extra):
            rows = self.columns(places)
            return np.asarray(rows @ np.linalg.solve(rows[places], step))
        scaled = self.vectors * np.sqrt(self.extra)
        own = scaled[places]
        found = scaled @ np.linalg.solve(own.T @ own + self.floor * np.eye(len(self.extra)), own.T @ step)
        found[places] = step
        return np.asarray(found)

    def squared(self, z: Doubles) -> Doubles:
        """Return the squared Mahalanobis distance of points (k, q)."""
        return self.product(z, z)

    def product(self, a: Doubles, b: Doubles) -> Doubles:
        """Return ``(a - mean)' S^-1 (b - mean)`` for each row of (k, q)."""
        a, b = a - self.mean, b - self.mean
        less = 1 / self.floor - 1 / (self.floor + self.extra)
        return np.asarray((a * b).sum(axis=1) / self.floor - ((a @ self.vectors) * (b @ self.vectors) * less).sum(axis=1))


def _signed(vectors: Doubles) -> Doubles:
    """Choose the sign that makes each vector's largest entry positive: an axis must not flip between runs."""
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return np.asarray(vectors * np.where(signs == 0, 1.0, signs))


def _two_at_least(vectors: Doubles) -> Doubles:
    """Pad eigenvectors with zeros to two: a map has two axes even where the cells differ along one only."""
    return np.pad(vectors, ((0, 0), (0, max(0, 2 - vectors.shape[1]))))
