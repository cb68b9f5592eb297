"""The two images at one resolution: on grids of one step, flattened, with their mean at 0 and their SD at 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.registration.settings import Matrix
from napari_virtual_paint.runtime.running_stats import pearson

Floats = npt.NDArray[np.float32]
Sizes = tuple[float, float]

LOW, HIGH = -3.0, 5.0  # standard deviations at which grey values are cut: a few saturated specks must not decide where an image lies

GRAIN = 1.0  # SD, grid points, of the blur that takes the camera's noise away


@dataclass(frozen=True, eq=False)
class PyramidLevel:
    """Both images on grids of one step, and the step in units of the pixel sizes; a grid's first point is the first pixel's centre."""

    moving: Floats
    fixed: Floats
    step: float

    def to_grid(self, physical: Matrix) -> Matrix:
        """Return a transform of this level's grids from one of physical units."""
        out = physical.copy()
        out[:2, 2] /= self.step
        return out

    def to_physical(self, grid: Matrix) -> Matrix:
        """Return a transform of physical units from one of this level's grids."""
        out = grid.copy()
        out[:2, 2] *= self.step
        return out


def make_level(moving: Floats, fixed: Floats, sizes: tuple[Sizes, Sizes], step: float, background: float) -> PyramidLevel:
    """Bring both images to one step.

    Parameters
    ----------
    moving, fixed
        Finite grey values, (Y, X).
    sizes
        Pixel sizes of both, along y and x.
    step
        Of the grids, in the unit of the sizes.
    background
        SD, in that unit, of the blur that is taken for uneven light and subtracted.
    """
    flat = [flatten(to_step(image, size, step), background / step) for image, size in zip((moving, fixed), sizes, strict=True)]
    return PyramidLevel(flat[0], flat[1], step)


def to_step(image: Floats, size: Sizes, step: float) -> Floats:
    """Resample an image to a grid of square steps; it is blurred first where the steps are wider than its pixels."""
    ratios = [step / each for each in size]
    if all(abs(ratio - 1) < 1e-9 for ratio in ratios):
        return image
    blur = [0.5 * np.sqrt(max(ratio**2 - 1, 0.0)) for ratio in ratios]
    smooth = ndimage.gaussian_filter(image, blur, mode="nearest")
    shape = tuple(int((n - 1) / ratio) + 1 for n, ratio in zip(image.shape, ratios, strict=True))
    out: Floats = ndimage.affine_transform(smooth, ratios, output_shape=shape, order=1, mode="nearest")
    return out


def flatten(image: Floats, background: float) -> Floats:
    """Blur a little, subtract a wide blur, bring the rest to mean 0 and SD 1 and cut what is far out; without contrast it becomes 0."""
    rest = ndimage.gaussian_filter(image, GRAIN, mode="nearest") - ndimage.gaussian_filter(image, background, mode="nearest", truncate=2.0)
    rest -= np.median(rest)
    spread = float(rest.std())
    if not spread > 0:
        return np.zeros_like(rest)
    cut = np.clip(rest / spread, LOW, HIGH)
    out: Floats = ((cut - cut.mean()) / cut.std()).astype(np.float32)
    return out


def lay(
    image: Floats, transform: Matrix, shape: tuple[int, int], origin: tuple[int, int] = (0, 0), order: int = 1
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Lay an image onto a window of another grid.

    Parameters
    ----------
    image
        (Y, X).
    transform
        From its pixels to those of the grid.
    shape, origin
        Of the window on the grid.

    Returns
    -------
    The image there, 0 where it has no pixels, and where it has some.
    """
    back = np.linalg.inv(transform)
    offset = back[:2, :2] @ np.asarray(origin, float) + back[:2, 2]
    out = ndimage.affine_transform(image, back[:2, :2], offset, output_shape=shape, order=order, mode="constant")
    y = back[0, 0] * np.arange(shape[0])[:, None] + back[0, 1] * np.arange(shape[1])[None, :] + offset[0]
    x = back[1, 0] * np.arange(shape[0])[:, None] + back[1, 1] * np.arange(shape[1])[None, :] + offset[1]
    inside = (y >= 0) & (y <= image.shape[0] - 1) & (x >= 0) & (x <= image.shape[1] - 1)
    return np.where(inside, out, 0).astype(np.float32), inside


def window_of(shape: tuple[int, int], transform: Matrix, limits: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return origin and shape of the part of a grid, cut at its `limits`, that an image of `shape` covers; the shape has a 0 where none."""
    corners = np.array([(y, x, 1.0) for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)])
    laid = corners @ transform[:2].T
    low = np.clip(np.floor(laid.min(axis=0)), 0, limits).astype(int)
    high = np.clip(np.ceil(laid.max(axis=0)) + 1, 0, limits).astype(int)
    return (int(low[0]), int(low[1])), (max(int(high[0] - low[0]), 0), max(int(high[1] - low[1]), 0))


def correlate(level: PyramidLevel, grid: Matrix) -> tuple[float, float]:
    """Return the Pearson correlation of both images where they overlap, and the overlap as a share of the moving image."""
    origin, shape = window_of((level.moving.shape[0], level.moving.shape[1]), grid, (level.fixed.shape[0], level.fixed.shape[1]))
    if min(shape) < 2:
        return 0.0, 0.0
    laid, inside = lay(level.moving, grid, shape, origin)
    there = level.fixed[origin[0] : origin[0] + shape[0], origin[1] : origin[1] + shape[1]]
    area = abs(np.linalg.det(grid[:2, :2])) * level.moving.size
    r = pearson(laid[inside], there[inside])
    return (0.0 if np.isnan(r) else r), min(1.0, float(inside.sum()) / area)
