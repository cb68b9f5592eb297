"""Transform features from their own units to network input: standardized, angles as cosine and sine."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.rotation import Turning

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Transform:
    """Transform of features to network input."""

    median: Floats
    scale: Floats
    """`median` and `scale`: (p,); of the training cells: the median, and 1.4826 times the median absolute deviation (the SD where that
    is 0)."""
    clip: float = 5.0  # standardized values are clipped at this distance from 0
    angles: tuple[tuple[int, int], ...] = ()
    """Angles given as cosine and sine, after the p features: the column of the angle, and that of its magnitude or -1."""
    frame: int = -1
    """Column of the orientation that defines the cell's own frame, or -1. With a frame, the cell is rotated until that orientation is 0,
    and the network gets, after the rest, cosine and sine of the angle by which it must rotate its image back. The angle columns
    themselves are left out."""
    turning: Turning | None = None  # how features change under rotation; needed with a frame

    @property
    def width(self) -> int:
        """Length of the network's input: p, and two more per angle; with a frame two per angle alone, and two for the frame."""
        extra = 2 * len(self.angles)
        return len(self.median) + (extra if self.frame < 0 else extra - len(self.angles) + 2)

    @classmethod
    def fit(cls, values: npt.NDArray[np.floating], clip: float = 5.0) -> Transform:
        """Fit to cells (n, p), ignoring NaN."""
        with warnings.catch_warnings():  # a feature that no cell has is NaN here, and 0 for the network
            warnings.filterwarnings("ignore", "All-NaN slice|Mean of empty slice|Degrees of freedom", RuntimeWarning)
            median = np.nanmedian(values, axis=0)
            away = np.abs(values - median)
            spread = 1.4826 * np.nanmedian(away, axis=0)
            # Half of the cells may share one value; the SD is then more informative than 0.
            flat = spread <= 0
            spread[flat] = np.nanstd(values[:, flat], axis=0)
        spread[~(spread > 0)] = 1.0
        return cls(median.astype(np.float32), spread.astype(np.float32), clip)

    @classmethod
    def of(cls, values: npt.NDArray[np.floating], features: Sequence[str], clip: float, polar: bool, frame: str | None) -> Transform:
        """Fit to cells (n, p) of named features, with angles as cosine and sine, in the frame of an orientation."""
        if frame is None:
            fitted = cls.fit(values, clip)
            return cls(fitted.median, fitted.scale, clip, angles_of(features) if polar else ())
        at, turning = list(features).index(frame), Turning.of(features)
        fitted = cls.fit(turning.turned(values, -_known(values[:, at])), clip)
        return cls(fitted.median, fitted.scale, clip, angles_of(features), at, turning)

    def apply(self, rows: npt.NDArray[np.floating]) -> Floats:
        """Standardize (n, p); a missing value becomes 0, the median."""
        values: Doubles = np.asarray(rows, np.float64)
        phase = None
        if self.frame >= 0:
            assert self.turning is not None
            phase = _known(values[:, self.frame])
            values = self.turning.turned(values, -phase)
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = (values - self.median) / self.scale
        limit = self.clip
        if self.angles:
            angles = [angle for angle, _ in self.angles]
            if phase is None:
                scaled[:, angles] = 0.0
            else:
                scaled = scaled[:, self._plain]
            scaled = np.concatenate([scaled, polar(values, *self._columns)], axis=1)
        scaled = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=limit, neginf=-limit), -limit, limit)
        if phase is not None:
            radians = np.deg2rad(phase)[:, None]
            scaled = np.concatenate([scaled, np.cos(radians), np.sin(radians)], axis=1)
        return scaled.astype(np.float32)

    def names(self, features: Sequence[str]) -> list[str]:
        """Return the names of the network's inputs."""
        polar = [f"{features[angle]}_{part}" for angle, _ in self.angles for part in ("cos", "sin")]
        if self.frame < 0:
            return [*features, *polar]
        return [*(features[i] for i in self._plain), *polar, "turn_cos", "turn_sin"]

    @cached_property
    def _plain(self) -> npt.NDArray[np.intp]:
        return np.setdiff1d(np.arange(len(self.median)), [angle for angle, _ in self.angles])

    @cached_property
    def _columns(self) -> tuple[npt.NDArray[np.intp], Doubles]:
        """The columns of the angles, and the magnitude that counts as 1 for each."""
        columns = np.array(self.angles, np.intp).reshape(-1, 2)
        size = columns[:, 1]
        return columns, np.where(size < 0, 1.0, np.hypot(self.median[size], self.scale[size]).astype(np.float64))


def polar(values: Doubles, angles: npt.NDArray[np.intp], unit: Doubles) -> Doubles:
    """Return cosine and sine (..., 2 k) of angles, interleaved.

    Parameters
    ----------
    values
        (..., p), features in their own units.
    angles
        (k, 2): the column of an angle, and that of its magnitude; -1 for an orientation in degrees, which is doubled and has magnitude 1.
    unit
        (k,), magnitude that is 1.
    """
    of_shape = angles[:, 1] < 0
    angle = values[..., angles[:, 0]]
    doubled = np.where(of_shape, np.deg2rad(2 * angle), angle)
    length = np.where(of_shape, 1.0, values[..., angles[:, 1]] / unit)
    out = np.empty((*values.shape[:-1], 2 * len(angles)))
    out[..., 0::2], out[..., 1::2] = length * np.cos(doubled), length * np.sin(doubled)
    return out


def angles_of(features: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return the orientations, and the Zernike phases whose magnitude exists, as in `Transform.angles`."""
    place = {name: index for index, name in enumerate(features)}
    found = [(index, -1) for name, index in place.items() if name.endswith("AreaShape_Orientation")]
    for name, index in place.items():
        size = place.get(name.replace("ZernikePhase", "ZernikeMagnitude"), index)
        if size != index:
            found.append((index, size))
    return tuple(found)


def _known(degrees: npt.NDArray[np.floating]) -> Doubles:
    """Return orientations, with 0 for missing ones."""
    found = np.asarray(degrees, np.float64)
    return np.where(np.isfinite(found), found, 0.0)
