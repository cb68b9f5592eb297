"""The exact place: many small windows are each brought onto the fixed image by cross-correlation, and a transform is fitted to them all.

Ounkomol 2018 takes the optical flow for this. Between a predicted and a real stain it is worth little, since it is told by grey values that
stay, and here they differ from cell to cell. Windows of a tenth of an image correlate whatever their brightness: at the true place of
simulated pairs, four windows of five are within a pixel, and one point of ten of the flow (optical_flow_ilk, optical_flow_tvl1).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.measure import ransac
from skimage.registration import phase_cross_correlation
from skimage.transform import EuclideanTransform, SimilarityTransform

from napari_virtual_paint.registration.polish import polish
from napari_virtual_paint.registration.pyramid import Floats, Level, correlate, lay, window_of
from napari_virtual_paint.registration.settings import Kind, Matrix

Doubles = npt.NDArray[np.float64]
ROUNDS = 3
"""Most fits to windows at one level."""
WINDOW = (16, 64)
"""Grid points a side, least and most, of a window; a quarter of the image's shorter side in between."""
WINDOWS = 256
"""About as many windows at most."""
FINER = 20
"""Parts of a grid point to which a window's shift is told."""
FLAT = 0.25
"""Share of the images' SD that a window must have in both, to have something to be told by."""
NEAR = 1.5
"""Grid points by which a window may miss the transform and count as one of its own."""
FEWEST = 4
"""Windows that must agree."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A transform of a level's grids, the correlation it gives, the overlap, and how well the windows agree.

    Parameters
    ----------
    residual
        Median distance of the windows that agree from the transform, grid points; None where none was fitted.
    agreeing
        Share of the windows that do.
    """

    grid: Matrix
    correlation: float
    overlap: float
    residual: float | None = None
    agreeing: float = 0.0


class Translation:
    """A shift alone, for `skimage.measure.ransac`, which has none among its transforms."""

    def __init__(self) -> None:
        self.params: Matrix = np.eye(3)

    @classmethod
    def from_estimate(cls, source: Doubles, target: Doubles) -> Translation:
        """Return the shift that fits best."""
        out = cls()
        out.estimate(source, target)
        return out

    def estimate(self, source: Doubles, target: Doubles) -> bool:
        """Fit the shift."""
        self.params[:2, 2] = (target - source).mean(axis=0)
        return True

    def residuals(self, source: Doubles, target: Doubles) -> Doubles:
        """Return how far each point lands from its target."""
        out: Doubles = np.linalg.norm(target - source - self.params[:2, 2], axis=1)
        return out


MODELS: dict[Kind, tuple[Any, int]] = {
    "translation": (Translation, 2),
    "rigid": (EuclideanTransform, 3),
    "similarity": (SimilarityTransform, 3),
}
"""Each kind's transform and the points that a trial fits it to."""


def refine(level: Level, start: Matrix, kind: Kind, seed: int = 0, rounds: int = ROUNDS) -> Fit:
    """Fit the transform at one level, beginning a few grid points from the truth.

    The windows bring it near; then the correlation over all pixels decides (`polish`), since windows favour what is bright in them; and at
    last the windows tell how many of them agree.

    Parameters
    ----------
    level
        Both images.
    start
        Transform of the level's grids to begin from.
    kind
        Of the transform.
    seed
        Of the random trials of the fit.
    rounds
        Most fits to windows.
    """
    best, score = start, correlate(level, start)[0]
    for number in range(rounds):
        points = _points(level, best)
        again = None if points is None else _fit(*points, kind, seed + number)
        found = 0.0 if again is None else correlate(level, again)[0]
        if again is None or found <= score:
            break
        best, score = again, found
    grid, score, overlap = polish(level, best, kind)
    points = _points(level, grid)
    if points is None:
        return Fit(grid, score, overlap)
    source, target = points
    off = np.linalg.norm(source @ grid[:2, :2].T + grid[:2, 2] - target, axis=1)
    agree = off < NEAR
    return Fit(grid, score, overlap, float(np.median(off[agree])) if agree.any() else None, float(agree.mean()))


def _points(level: Level, grid: Matrix) -> tuple[Doubles, Doubles] | None:
    """Lay the image, shift its windows onto the fixed one, and return their middles in both; None where there are too few."""
    origin, shape = window_of((level.moving.shape[0], level.moving.shape[1]), grid, (level.fixed.shape[0], level.fixed.shape[1]))
    if min(shape) < WINDOW[0]:
        return None
    laid, inside = lay(level.moving, grid, shape, origin)
    there = level.fixed[origin[0] : origin[0] + shape[0], origin[1] : origin[1] + shape[1]]
    side = int(np.clip(min(level.moving.shape) // 4, *WINDOW))
    pairs = list(_windows(there, laid, inside, side))
    if len(pairs) < FEWEST:
        return None
    middle, shift = (np.array(each, np.float64) for each in zip(*pairs, strict=True))
    target = middle + np.array(origin, float)
    back = np.linalg.inv(grid)
    return (target - shift) @ back[:2, :2].T + back[:2, 2], target


def _windows(
    there: Floats, laid: Floats, inside: npt.NDArray[np.bool_], side: int
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Yield the middle of each window with structure in both images, and the shift that brings the laid image onto the fixed one there."""
    taper = np.sqrt(np.outer(np.hanning(side + 2)[1:-1], np.hanning(side + 2)[1:-1])).astype(np.float32)
    step = max(side // 2, int(np.sqrt(inside.size / WINDOWS)))
    for y in range(0, inside.shape[0] - side + 1, step):
        for x in range(0, inside.shape[1] - side + 1, step):
            part = (slice(y, y + side), slice(x, x + side))
            if not inside[part].all():
                continue
            one, two = there[part] - there[part].mean(), laid[part] - laid[part].mean()
            if min(one.std(), two.std()) < FLAT:
                continue
            shift = phase_cross_correlation(one * taper, two * taper, upsample_factor=FINER, normalization=None)[0]
            yield (y + (side - 1) / 2, x + (side - 1) / 2), (float(shift[0]), float(shift[1]))


def _fit(source: Doubles, target: Doubles, kind: Kind, seed: int) -> Matrix | None:
    """Fit a transform from the moving image's points to the fixed one's, most of which agree and some of which are wrong."""
    model, fewest = MODELS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no windows agree is no news to the user: the judge tells it
        fitted, agree = ransac((source, target), model, min_samples=fewest, residual_threshold=NEAR, max_trials=200, rng=seed)
    if not fitted or agree is None or not np.isfinite(fitted.params).all() or agree.sum() < FEWEST:
        return None
    return np.asarray(fitted.params, np.float64)
