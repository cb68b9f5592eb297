"""How a cell's features change when its image is rotated or mirrored, as found by measuring rotated crops.

Orientations rotate with the image, Zernike phases by the angle times their repetition, and textures move to the next direction.
Other morphological features stay the same, up to ties between pixels in radial rings and wedges. Positions in the crop
(centers, boxes, moments) are not changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Columns = npt.NDArray[np.intp]

_PHASE = re.compile(r"_ZernikePhase_.*_(\d+)$")
_TEXTURE = re.compile(r"(.*_Texture_.*_)(0[0-3])(_\d+)$")
_ALONG = ("02", "01", "00", "03")
"""Directions of textures at 0, 45, 90 and 135 degrees of orientation, which is counted from the rows' axis (down) to the columns'."""


@dataclass(frozen=True, eq=False)
class Turning:
    """Columns of a feature vector that change when the image is rotated."""

    orientations: Columns  # (k,), angles in degrees that repeat after half a turn
    phases: Columns
    orders: Doubles  # `phases` and `orders`: (m,), Zernike phases in radians, and their repetitions
    textures: Columns  # (t, 4), textures at 0, 45, 90 and 135 degrees

    @classmethod
    def of(cls, features: Sequence[str]) -> Turning:
        """Return the columns by CellProfiler's names; a texture that lacks a direction is left out."""
        place = {name: index for index, name in enumerate(features)}
        phases = [(index, int(found[1])) for name, index in place.items() if (found := _PHASE.search(name))]
        stems = {(found[1], found[3]): None for name in features if (found := _TEXTURE.fullmatch(name))}
        sets = [[place.get(f"{stem}{direction}{levels}", -1) for direction in _ALONG] for stem, levels in stems]
        return cls(
            np.array([index for name, index in place.items() if name.endswith("AreaShape_Orientation")], np.intp),
            np.array([index for index, _ in phases], np.intp),
            np.array([order for _, order in phases], np.float64),
            np.array([each for each in sets if min(each) >= 0], np.intp).reshape(-1, 4),
        )

    def turned(self, values: npt.ArrayLike, degrees: npt.ArrayLike) -> Doubles:
        """Return vectors (..., p) of the cells rotated by angles in degrees (...,), as orientations count them.

        Textures are exact for quarter turns. In between, the component of period 180 degrees is rotated; the offset of the
        diagonals, whose pixel pairs lie further apart, stays.
        """
        out = np.array(values, np.float64)
        angle = np.asarray(degrees, np.float64)[..., None]
        out[..., self.orientations] = wrapped(out[..., self.orientations] + angle)
        radians = np.deg2rad(angle)
        out[..., self.phases] = _round(out[..., self.phases] - self.orders * radians)
        t0, t45, t90, t135 = (out[..., self.textures[:, direction]] for direction in range(4))
        a, b = (t0 - t90) / 2, (t45 - t135) / 2
        cosine, sine = np.cos(2 * radians), np.sin(2 * radians)
        da, db = a * cosine - b * sine - a, a * sine + b * cosine - b
        for direction, change in enumerate((da, db, -da, -db)):
            out[..., self.textures[:, direction]] += change
        return out

    def mirrored(self, values: npt.ArrayLike) -> Doubles:
        """Return vectors (..., p) of the cells mirrored left to right."""
        out = np.array(values, np.float64)
        out[..., self.orientations] = wrapped(-out[..., self.orientations])
        out[..., self.phases] = _round(np.pi - out[..., self.phases])
        out[..., self.textures[:, [1, 3]]] = out[..., self.textures[:, [3, 1]]]
        return out


def wrapped(degrees: Doubles) -> Doubles:
    """Return orientations between -90 and 90 degrees."""
    return np.asarray((degrees + 90) % 180 - 90)


def _round(radians: Doubles) -> Doubles:
    """Return angles between -pi and pi."""
    return np.asarray((radians + np.pi) % (2 * np.pi) - np.pi)
