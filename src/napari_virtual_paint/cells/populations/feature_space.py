"""Feature space: feature vectors as points in which similar cells are near each other (standardized, angles as cosine and sine)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.rotation import wrapped
from napari_virtual_paint.cells.transform import Doubles, angles_of, polar


class FeatureSpace:
    """The map from features (p) to points (q) and back.

    Parameters
    ----------
    centre, spread
        (p,), per feature. A spread of 0 marks a constant feature.
    features
        Names of the p columns: orientations, and Zernike phases whose magnitudes exist, become cosine and sine, of twice the angle
        or of the phase times its magnitude.
    """

    def __init__(self, centre: Doubles, spread: Doubles, features: Sequence[str]) -> None:
        self.angles = np.array(angles_of(features), np.intp).reshape(-1, 2)
        self.plain = np.setdiff1d(np.arange(len(features)), self.angles[:, 0])
        self._centre, self._spread = centre, spread
        self._safe = np.where(spread > 0, spread, np.inf)[self.plain]
        size = self.angles[:, 1]
        self._unit = np.where(size < 0, 1.0, np.hypot(centre[size], spread[size]) + 1e-30)
        self._at: dict[int, tuple[int, ...]] = {int(column): (place,) for place, column in enumerate(self.plain)}
        first = len(self.plain)
        self._at |= {int(column): (first + 2 * k, first + 2 * k + 1) for k, column in enumerate(self.angles[:, 0])}

    @property
    def width(self) -> int:
        """Dimension of a point."""
        return len(self.plain) + 2 * len(self.angles)

    def places(self, column: int) -> tuple[int, ...]:
        """Return the columns of a feature in a point: two for an angle."""
        return self._at[column]

    def difference(self, start: npt.NDArray[np.floating], end: npt.NDArray[np.floating]) -> Doubles:
        """Return each feature's difference between one vector (p,) and another; angles the shorter way round."""
        out = np.asarray(end - start, np.float64)
        period = np.where(self.angles[:, 1] < 0, 180.0, 2 * np.pi)
        column = self.angles[:, 0]
        out[column] = (out[column] + period / 2) % period - period / 2
        return out

    def onto(self, values: Doubles) -> Doubles:
        """Return vectors (..., p) with angles wrapped into one period."""
        out = np.array(values, np.float64)
        period = np.where(self.angles[:, 1] < 0, 180.0, 2 * np.pi)
        column = self.angles[:, 0]
        out[..., column] = (out[..., column] + period / 2) % period - period / 2
        return out

    def mean(self, values: npt.NDArray[np.floating]) -> Doubles:
        """Return the mean vector (p,) of several (n, p); an angle's mean is the direction of the mean cosine and sine."""
        out = np.asarray(values.mean(axis=0, dtype=np.float64))
        cosine, sine = (self.of(values)[:, len(self.plain) + part :: 2].mean(axis=0) for part in (0, 1))
        phase = np.arctan2(sine, cosine)
        out[self.angles[:, 0]] = np.where(self.angles[:, 1] < 0, np.rad2deg(phase) / 2, phase)
        return out

    def of(self, values: npt.ArrayLike) -> Doubles:
        """Return the points (..., q) of vectors (..., p); NaN and constant features become 0."""
        values = np.asarray(values, np.float64)
        z = (values[..., self.plain] - self._centre[self.plain]) / self._safe
        return np.asarray(np.nan_to_num(np.concatenate([z, polar(values, self.angles, self._unit)], axis=-1), nan=0.0))

    def moved(self, vector: Doubles, point: Doubles, by: Doubles) -> Doubles:
        """Return the vector (p,) displaced by a point difference; an angle that loses its magnitude keeps its value."""
        out = vector.copy()
        out[self.plain] += by[: len(self.plain)] * self._spread[self.plain]
        if not len(self.angles):
            return out
        cosine, sine = ((point + by)[len(self.plain) + part :: 2] for part in (0, 1))
        phase = np.arctan2(sine, cosine)
        of_shape = self.angles[:, 1] < 0
        column = self.angles[:, 0]
        found = np.where(of_shape, wrapped(np.rad2deg(phase) / 2), phase)
        out[column] = np.where(np.hypot(cosine, sine) > 1e-9, found, out[column])
        return out
