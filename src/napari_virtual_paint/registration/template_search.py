"""The rough place: template matching over a list of rotations and scales."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.feature import match_template, peak_local_max

from napari_virtual_paint.registration.pyramid import Floats, PyramidLevel, lay
from napari_virtual_paint.registration.settings import Matrix, RegistrationSettings
from napari_virtual_paint.runtime.progress import Progress

TOLERANCE = 3.0  # grid points by which a corner of the image may lie wrong and the match still shows
PEAKS = 4  # placements kept of each rotation and scale
KEPT = 6  # placements kept in the end


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to lay the moving image: its transform on the level's grids and its score, the cross-correlation there."""

    grid: Matrix
    score: float


@dataclass(frozen=True, eq=False)
class Surface:
    """The score of every shift of an image under one rotation and scaling."""

    scores: Floats  # (Y, X); each entry is a place of the template's first pixel
    origin: tuple[int, int]  # the grid's point at which the template's first pixel lies for the first entry
    base: Matrix  # the transform from the moving image into the template

    def transform(self, row: int, column: int) -> Matrix:
        """Return the moving image's transform for an entry."""
        out = self.base.copy()
        out[:2, 2] += (row + self.origin[0], column + self.origin[1])
        return out


def rotation_matrix(angle: float, scale: float) -> Matrix:
    """Return a rotation (degrees, clockwise as images are shown) and scaling about 0, acting on columns (y, x, 1)."""
    cos, sin = np.cos(np.radians(angle)) * scale, np.sin(np.radians(angle)) * scale
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1.0]])


def poses(settings: RegistrationSettings, side: int) -> list[tuple[float, float]]:
    """Return the rotations (degrees) and scales to try on an image of so many grid points per side: so close that none is missed."""
    reach = TOLERANCE / (0.38 * side)
    angles, scales = [0.0], [1.0]
    if settings.kind != "translation" and settings.rotation > 0:
        count = int(np.ceil(settings.rotation / np.degrees(reach)))
        angles = list(np.linspace(-settings.rotation, settings.rotation, 2 * count + 1))
    if settings.kind == "similarity" and settings.scale > 1:
        count = int(np.ceil(np.log(settings.scale) / reach))
        scales = list(np.exp(np.linspace(-np.log(settings.scale), np.log(settings.scale), 2 * count + 1)))
    return [(angle, scale) for angle in angles for scale in scales]


def surface_of(level: PyramidLevel, linear: Matrix, overlap: float) -> Surface:
    """Score every shift of the moving image, rotated and scaled by `linear`, whose shift is ignored.

    Beyond the border of the fixed image its mean is put, so that placements partly outside are scored too, and lower for it.
    """
    base = linear.copy()
    base[:2, 2] = 0
    h, w = level.moving.shape
    corners = np.array([(y, x, 1.0) for y in (0, h - 1) for x in (0, w - 1)]) @ base[:2].T
    low, high = corners.min(axis=0), corners.max(axis=0)
    base[:2, 2] = -low
    size = np.ceil(high - low).astype(int) + 1
    template, _ = lay(level.moving, base, (int(size[0]), int(size[1])))
    beyond = np.ceil((1 - overlap) * size).astype(int)
    beyond = np.maximum(beyond, np.ceil((size - level.fixed.shape) / 2).astype(int) + 1)
    padded = np.pad(level.fixed, [(int(n), int(n)) for n in beyond])
    scores = match_template(padded, template).astype(np.float32)
    covered = [_covered(n, int(side), int(more)) for n, side, more in zip(level.fixed.shape, size, beyond, strict=True)]
    scores[np.outer(*covered) < overlap] = -1
    return Surface(scores, (-int(beyond[0]), -int(beyond[1])), base)


def _covered(fixed: int, template: int, beyond: int) -> npt.NDArray[np.float64]:
    """Return the share of a template's side that lies in the fixed image, for each of its places along an axis."""
    first = np.arange(fixed + 2 * beyond - template + 1) - beyond
    return np.clip((np.minimum(first + template, fixed) - np.maximum(first, 0)) / min(template, fixed), 0, 1)


def search(level: PyramidLevel, settings: RegistrationSettings, share: tuple[float, float]) -> Generator[Progress, None, list[Candidate]]:
    """Return the best candidates over all rotations, scales and shifts, best first.

    Parameters
    ----------
    share
        The part of the whole work that this is: where it begins and ends.
    """
    tried = poses(settings, min(level.moving.shape))
    apart = max(2, min(level.moving.shape) // 16)
    found: list[Candidate] = []
    for number, (angle, scale) in enumerate(tried):
        yield Progress(share[0] + (share[1] - share[0]) * number / len(tried), 1.0)
        surface = surface_of(level, rotation_matrix(angle, scale), settings.overlap)
        peaks = peak_local_max(surface.scores, min_distance=apart, num_peaks=PEAKS, exclude_border=False)
        found += [Candidate(surface.transform(int(r), int(c)), float(surface.scores[r, c])) for r, c in peaks]
    return different(sorted(found, key=lambda each: -each.score), level, apart)[:KEPT]


def different(placements: list[Candidate], level: PyramidLevel, apart: float) -> list[Candidate]:
    """Leave out placements whose middle lies within `apart` grid points of a better one's."""
    middle = np.array([(level.moving.shape[0] - 1) / 2, (level.moving.shape[1] - 1) / 2, 1.0])
    kept: list[Candidate] = []
    for each in placements:
        if all(np.linalg.norm((each.grid - other.grid)[:2] @ middle) > apart for other in kept):
            kept.append(each)
    return kept
