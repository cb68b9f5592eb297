"""Refine a match: align many small windows by cross-correlation, and fit one transform to all of them.

Ounkomol 2018 uses the optical flow. It assumes that grey values stay the same, but between a predicted and a real stain they differ from
cell to cell. Windows of a tenth of an image correlate whatever their brightness: at the true position of simulated pairs, four windows of
five are within a pixel, but only one point of ten of the flow (optical_flow_ilk, optical_flow_tvl1).
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

from napari_virtual_paint.choices import TransformKind
from napari_virtual_paint.registration.pyramid import Floats, PyramidLevel, correlate, lay, window_of
from napari_virtual_paint.registration.settings import Matrix

STEPS = 12  # most steps uphill


STILL = 0.01  # grid points: a step that moves the image's corners by less is the last


HALVED = 3  # how often a step that leads downhill is halved before it is given up


def polish(level: PyramidLevel, grid: Matrix, kind: TransformKind) -> tuple[Matrix, float, float]:
    """Maximize the correlation (ECC).

    The fixed image is fitted by the laid one and its derivatives along the transform's parameters, as in the enhanced correlation
    coefficient of Evangelidis and Psarakis 2008, which no gain or offset of either image touches. A step is taken only if the correlation
    rises.

    Parameters
    ----------
    grid
        Transform of the level's grids, a few grid points from the best.

    Returns
    -------
    The transform, the correlation and the overlap.
    """
    score, overlap = correlate(level, grid)
    for _ in range(STEPS):
        step = _step(level, grid, kind)
        if step is None:
            break
        for _ in range(HALVED):
            again = _moved(step, kind) @ grid
            found = correlate(level, again)
            if found[0] > score and found[1] > 0.8 * overlap:
                break
            step = step / 2
        else:
            break
        far = _reach(level, again - grid)
        grid, (score, overlap) = again, found
        if far < STILL:
            break
    return grid, score, overlap


def _step(level: PyramidLevel, grid: Matrix, kind: TransformKind) -> Doubles | None:
    """Return how the laid image should move: shift along y and x, growth, turn (about the fixed grid's first point)."""
    origin, shape = window_of((level.moving.shape[0], level.moving.shape[1]), grid, (level.fixed.shape[0], level.fixed.shape[1]))
    if min(shape) < 8:
        return None
    laid, inside = lay(level.moving, grid, shape, origin)
    there = level.fixed[origin[0] : origin[0] + shape[0], origin[1] : origin[1] + shape[1]]
    dy, dx = np.gradient(laid.astype(np.float64), axis=0), np.gradient(laid.astype(np.float64), axis=1)
    inside[[0, -1], :] = inside[:, [0, -1]] = False
    inside[1:-1, 1:-1] &= inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    y, x = (axis.astype(np.float64)[inside] for axis in np.indices(shape))
    if y.size < 64:
        return None
    middle = float(y.mean()), float(x.mean())
    slopes = _derivatives(dy[inside], dx[inside], y - middle[0], x - middle[1], kind)
    design = np.stack([laid[inside].astype(np.float64), np.ones(y.size), *slopes], axis=1)
    return _solve(design, there[inside].astype(np.float64), (middle[0] + origin[0], middle[1] + origin[1]))


def _derivatives(dy: Doubles, dx: Doubles, y: Doubles, x: Doubles, kind: TransformKind) -> list[Doubles]:
    """Return what each parameter takes from the laid image: the shifts, the turn, the growth, as many as the kind has."""
    found = [-dy, -dx]
    if kind != "translation":
        found.append(-(dy * x - dx * y))
    if kind == "similarity":
        found.append(-(dy * y + dx * x))
    return found


def _solve(design: Doubles, wanted: Doubles, middle: tuple[float, float]) -> Doubles | None:
    """Fit the wanted grey values by the columns and return the step (y, x, turn, growth), its shift brought from `middle` to 0."""
    normal = design.T @ design
    try:
        solved = np.linalg.solve(normal + 1e-9 * np.diag(np.diag(normal)), design.T @ wanted)
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(solved).all() or solved[0] <= 0:
        return None
    step = np.zeros(4)
    step[: len(solved) - 2] = solved[2:] / solved[0]
    step[0] -= step[3] * middle[0] + step[2] * middle[1]
    step[1] -= step[3] * middle[1] - step[2] * middle[0]
    return step


def _moved(step: Doubles, kind: TransformKind) -> Matrix:
    """Return the step as a transform of its kind."""
    y, x, turn, growth = step
    out = np.array([[1 + growth, turn, y], [-turn, 1 + growth, x], [0, 0, 1.0]])
    if kind == "rigid":
        out[:2, :2] /= np.hypot(1 + growth, turn)
    return out


def _reach(level: PyramidLevel, difference: Matrix) -> float:
    """Return how far a difference of transforms moves the moving image's corners, grid points."""
    h, w = level.moving.shape[0], level.moving.shape[1]
    corners = np.array([(y, x, 1.0) for y in (0, h - 1) for x in (0, w - 1)])
    return float(np.linalg.norm(corners @ difference[:2].T, axis=1).mean())


Doubles = npt.NDArray[np.float64]
ROUNDS = 3  # most fits to windows at one level
WINDOW = (16, 64)  # grid points per side, least and most, of a window; a quarter of the image's shorter side in between
WINDOWS = 256  # about as many windows at most
FINER = 20  # subdivisions of a grid point for a window's shift
FLAT = 0.25  # share of the images' SD that a window must have in both to be used
NEAR = 1.5  # distance in grid points from the transform up to which a window is an inlier
FEWEST = 4  # windows that must agree


@dataclass(frozen=True, eq=False)
class Fit:
    """A transform of a level's grids, the correlation it gives, the overlap, and how well the windows agree."""

    grid: Matrix
    correlation: float
    overlap: float
    residual: float | None = None  # median distance of the windows that agree from the transform, grid points; None where none was fitted
    agreeing: float = 0.0  # share of the windows that do


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


MODELS: dict[TransformKind, tuple[Any, int]] = {
    "translation": (Translation, 2),
    "rigid": (EuclideanTransform, 3),
    "similarity": (SimilarityTransform, 3),
}
"""Each kind's transform and the points that a trial fits it to."""


def refine(level: PyramidLevel, start: Matrix, kind: TransformKind, seed: int = 0, rounds: int = ROUNDS) -> Fit:
    """Fit the transform at one level, beginning a few grid points from the truth.

    The windows bring it near; then the correlation over all pixels decides (`polish`), since windows favour what is bright in them; and at
    last the windows tell how many of them agree.

    Parameters
    ----------
    start
        Transform of the level's grids to begin from.
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


def _points(level: PyramidLevel, grid: Matrix) -> tuple[Doubles, Doubles] | None:
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


def _fit(source: Doubles, target: Doubles, kind: TransformKind, seed: int) -> Matrix | None:
    """Fit a transform from the moving image's points to the fixed one's, most of which agree and some of which are wrong."""
    model, fewest = MODELS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no windows agree is reported by the acceptance test
        fitted, agree = ransac((source, target), model, min_samples=fewest, residual_threshold=NEAR, max_trials=200, rng=seed)
    if not fitted or agree is None or not np.isfinite(fitted.params).all() or agree.sum() < FEWEST:
        return None
    return np.asarray(fitted.params, np.float64)
