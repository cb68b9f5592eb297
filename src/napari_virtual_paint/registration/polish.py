"""The last of the exact place: the transform for which the two images correlate most, over all pixels where they overlap."""

from __future__ import annotations

import numpy as np

from napari_virtual_paint.registration.pyramid import Level, correlate, lay, window_of
from napari_virtual_paint.registration.refine import Doubles
from napari_virtual_paint.registration.settings import Kind, Matrix

STEPS = 12
"""Most steps uphill."""
STILL = 0.01
"""Grid points: a step that moves the image's corners by less is the last."""
HALVED = 3
"""How often a step that leads downhill is halved before it is given up."""


def polish(level: Level, grid: Matrix, kind: Kind) -> tuple[Matrix, float, float]:
    """Follow the correlation uphill.

    The fixed image is fitted by the laid one and its derivatives along the transform's parameters, as in the enhanced correlation
    coefficient of Evangelidis and Psarakis 2008, which no gain or offset of either image touches. A step is taken only if the correlation
    rises.

    Parameters
    ----------
    level
        Both images.
    grid
        Transform of the level's grids, a few grid points from the best.
    kind
        Of the transform.

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


def _step(level: Level, grid: Matrix, kind: Kind) -> Doubles | None:
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


def _derivatives(dy: Doubles, dx: Doubles, y: Doubles, x: Doubles, kind: Kind) -> list[Doubles]:
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


def _moved(step: Doubles, kind: Kind) -> Matrix:
    """Return the step as a transform of its kind."""
    y, x, turn, growth = step
    out = np.array([[1 + growth, turn, y], [-turn, 1 + growth, x], [0, 0, 1.0]])
    if kind == "rigid":
        out[:2, :2] /= np.hypot(1 + growth, turn)
    return out


def _reach(level: Level, difference: Matrix) -> float:
    """Return how far a difference of transforms moves the moving image's corners, grid points."""
    h, w = level.moving.shape[0], level.moving.shape[1]
    corners = np.array([(y, x, 1.0) for y in (0, h - 1) for x in (0, w - 1)])
    return float(np.linalg.norm(corners @ difference[:2].T, axis=1).mean())
