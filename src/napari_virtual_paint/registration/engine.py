"""register(): rough place, exact place, and whether to believe it."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.registration.acceptance import Acceptance, judge
from napari_virtual_paint.registration.pyramid import Floats, PyramidLevel, Sizes, correlate, make_level
from napari_virtual_paint.registration.refine import Fit, refine
from napari_virtual_paint.registration.settings import Matrix, Registration, RegistrationSettings
from napari_virtual_paint.registration.template_search import Candidate, search
from napari_virtual_paint.runtime.progress import Progress

SIDES = (96, 144)  # grid points of the smaller image's shorter side for the coarse search; the second where the first finds nothing
SMALLEST = 32  # pixels a side that an image must have
FINEST = 1536  # grid points of the smaller image's longer side at most for the refinement
BACKGROUND = 0.2  # SD of what is taken for uneven light, as a share of the smaller image's shorter side
Steps = Generator[Progress, None, "_Found"]


class _Found:
    """The best that one search found."""

    def __init__(self, physical: Matrix, fit: Fit, step: float, verdict: Acceptance) -> None:
        self.physical, self.fit, self.step, self.verdict = physical, fit, step, verdict


def register(
    moving: npt.ArrayLike,
    fixed: npt.ArrayLike,
    *,
    moving_size: Sizes | None = None,
    fixed_size: Sizes | None = None,
    settings: RegistrationSettings | None = None,
    seed: int = 0,
) -> Generator[Progress, None, Registration]:
    """Register two images of the same stain, predicted or real.

    Template matching at a reduced scale over the rotations and scales asked for; then, at scales that double up to the images' own, small
    windows of the image laid there are shifted onto the fixed one by cross-correlation, and the transform is fitted to all of them by
    RANSAC, again until it moves no more (after Ounkomol et al. 2018, "Registration across imaging modalities"; they take the optical
    flow). At last the match is compared with all other placements of the same image.

    Parameters
    ----------
    moving, fixed
        Images, (Y, X), of any real type. Either may be the smaller one.
    moving_size, fixed_size
        Micrometres of a pixel along y and x. Where either is unknown, pixels are taken to be of one size.
    settings
        What may differ between the images.
    seed
        Of the random trials of the fit: the same seed gives the same matrix.

    Yields
    ------
    Progress
        Progress; each is a place to cancel.

    Returns
    -------
    Registration
        Its `matrix` is None where the images match nowhere.

    Raises
    ------
    InputError
        If an image is none, is too small, or has no contrast.
    """
    settings = settings or RegistrationSettings()
    images = _checked(moving, "image to register"), _checked(fixed, "image to register onto")
    known = moving_size is not None and fixed_size is not None
    sizes: tuple[Sizes, Sizes] = ((1.0, 1.0), (1.0, 1.0)) if moving_size is None or fixed_size is None else (moving_size, fixed_size)
    areas = [image.size * size[0] * size[1] for image, size in zip(images, sizes, strict=True)]
    swapped = areas[0] > areas[1]
    pair, pair_sizes = (images[::-1], sizes[::-1]) if swapped else (images, sizes)
    found = yield from _find((pair[0], pair[1]), (pair_sizes[0], pair_sizes[1]), settings, seed)
    physical: Matrix = np.asarray(np.linalg.inv(found.physical) if swapped else found.physical, np.float64)
    yield Progress(1.0, 1.0, "")
    return _report(images, sizes, known, physical, found, settings)


def _checked(image: npt.ArrayLike, name: str) -> Floats:
    """Return an image as finite float32, with the median in place of pixels that are not finite.

    Raises `InputError` if it can't be registered.
    """
    array = np.asarray(image)
    if array.ndim != 2 or array.dtype.kind not in "buif":
        raise InputError(f"The {name} is no plane of gray values: shape {array.shape}, type {array.dtype}; give one with the axes y and x.")
    if min(array.shape) < SMALLEST:
        raise InputError(f"The {name} is {array.shape[0]} x {array.shape[1]} pixels; {SMALLEST} a side are needed to place it.")
    floats = array.astype(np.float32)
    good = np.isfinite(floats)
    if not good.any() or float(floats[good].min()) == float(floats[good].max()):
        raise InputError(f"The {name} has the same value everywhere, so it matches everywhere; choose another channel.")
    return floats if good.all() else np.where(good, floats, np.median(floats[good])).astype(np.float32)


def _find(images: tuple[Floats, Floats], sizes: tuple[Sizes, Sizes], settings: RegistrationSettings, seed: int) -> Steps:
    """Look for the place, at first on few grid points, then on more if there is doubt; the moving image is the smaller one here."""
    sides = [n * size for n, size in zip(images[0].shape, sizes[0], strict=True)]
    finest = max(*sizes[0], *sizes[1], max(sides) / FINEST)
    steps = sorted({max(finest, min(sides) / side) for side in SIDES}, reverse=True)
    tried: list[_Found] = []
    for number, step in enumerate(steps):
        share = number / len(steps), (number + 1) / len(steps)
        tried.append((yield from _attempt(images, sizes, settings, seed, step, finest, share)))
        if tried[-1].verdict.converged:
            break
    return max(tried, key=lambda each: (each.verdict.converged, each.verdict.distinct))


def _attempt(
    images: tuple[Floats, Floats],
    sizes: tuple[Sizes, Sizes],
    settings: RegistrationSettings,
    seed: int,
    coarse: float,
    finest: float,
    share: tuple[float, float],
) -> Steps:
    """Look for the place beginning at one step of the grids."""
    background = BACKGROUND * min(n * size for n, size in zip(images[0].shape, sizes[0], strict=True))
    start, end = share
    level = make_level(*images, sizes, coarse, background)
    yield Progress(start, 1.0, "Looking for the rough place.")
    placements = yield from search(level, settings, (start, start + 0.5 * (end - start)))
    best = _best(level, placements, settings, seed)
    best = refine(level, best.grid, settings.kind, seed)
    physical, fit, reached = level.to_physical(best.grid), best, coarse
    finer = _steps(coarse, finest)
    for number, step in enumerate(finer):
        yield Progress(start + (end - start) * (0.5 + 0.5 * number / len(finer)), 1.0, "Fitting the transform.")
        here = make_level(*images, sizes, step, background)
        again = refine(here, here.to_grid(physical), settings.kind, seed)
        if again.residual is None and fit.residual is not None:
            break  # so fine that there is more noise than structure
        fit, physical, reached = again, here.to_physical(again.grid), step
    return _Found(physical, fit, reached, judge(level, fit, physical, settings, placements))


def _steps(coarse: float, finest: float) -> list[float]:
    """Return the steps below the coarse one, each about half the one before, down to the finest."""
    count = int(np.ceil(np.log2(coarse / finest) - 1e-6))
    return [] if count <= 0 else [float(step) for step in np.geomspace(coarse, finest, count + 1)[1:]]


def _best(level: PyramidLevel, placements: list[Candidate], settings: RegistrationSettings, seed: int) -> Fit:
    """Fit each placement a little and return the one that then matches best, small overlaps counting less."""
    fits = [refine(level, each.grid, settings.kind, seed, rounds=2) for each in placements]
    return max(fits, key=lambda fit: fit.correlation * np.sqrt(fit.overlap))


def _report(
    images: tuple[Floats, Floats], sizes: tuple[Sizes, Sizes], known: bool, physical: Matrix, found: _Found, settings: RegistrationSettings
) -> Registration:
    """Put the result together, in pixels of the images as they were given."""
    moving, fixed = sizes
    guess = np.diag([1 / fixed[0], 1 / fixed[1], 1.0]) @ physical @ np.diag([*moving, 1.0])
    laid_before = np.diag([moving[0] / fixed[0], moving[1] / fixed[1], 1.0])
    plain = PyramidLevel(images[0], images[1], 1.0)
    correlation, _ = correlate(plain, guess)
    before, share = correlate(plain, laid_before)
    residual = None if found.fit.residual is None else found.fit.residual * found.step / float(np.mean(fixed))
    verdict = found.verdict
    return Registration(
        guess=guess,
        moving_size=moving,
        fixed_size=fixed,
        unit="um" if known else "px",
        shape=(images[0].shape[0], images[0].shape[1]),
        kind=settings.kind,
        correlation=correlation,
        before=before if share > 0 else None,
        residual=residual,
        overlap=found.fit.overlap,
        distinct=verdict.distinct,
        runner_up=verdict.runner_up,
        converged=verdict.converged,
        reason=verdict.reason,
    )
