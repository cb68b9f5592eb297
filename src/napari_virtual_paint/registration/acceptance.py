"""Whether two images really match where they were laid: the match must stand out from all other placements of the same image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_virtual_paint.registration.pyramid import PyramidLevel
from napari_virtual_paint.registration.refine import Fit
from napari_virtual_paint.registration.settings import Matrix, RegistrationSettings
from napari_virtual_paint.registration.template_search import Candidate, surface_of

DISTINCT = 6.0  # standard deviations of all placements' scores by which a match must stand above their mean
RUNNER_UP = 0.8  # largest share of the match's score that another placement may have
AGREEING = 1 / 3  # smallest share of windows that agree with the transform
ALLOWED = {"translation": "a shift", "rigid": "shift and rotation", "similarity": "shift, rotation and scale"}
SLACK = 1.03  # how far beyond the largest rotation and scale a fit may end: the search stops there, the fit does not know


@dataclass(frozen=True)
class Acceptance:
    """Whether a match is believed, why, and by what."""

    converged: bool
    reason: str
    distinct: float
    runner_up: float


def judge(level: PyramidLevel, fit: Fit, physical: Matrix, settings: RegistrationSettings, others: list[Candidate]) -> Acceptance:
    """Decide whether a match is accepted.

    Parameters
    ----------
    level
        Both images, at the resolution of the search.
    fit
        The last fit, at any resolution.
    physical
        Its transform in physical units.
    others
        The other placements that the search found, at all rotations and scales.
    """
    grid = level.to_grid(physical)
    score, mean, spread, second = _scores(level, grid, settings, others)
    distinct = (score - mean) / spread if spread > 0 else 0.0
    runner_up = max(second, 0.0) / score if score > 0 else 1.0
    reason = _doubt(fit, physical, settings, distinct, runner_up)
    if reason is None:
        reason = f"Clear match; next best {_percent(runner_up)}."
        return Acceptance(True, reason, distinct, runner_up)
    return Acceptance(False, reason, distinct, runner_up)


def _scores(
    level: PyramidLevel, grid: Matrix, settings: RegistrationSettings, others: list[Candidate]
) -> tuple[float, float, float, float]:
    """Return the match's score, mean and SD of all placements' far from it, and the best one's among them."""
    surface = surface_of(level, grid, settings.overlap)
    h, w = level.moving.shape[0], level.moving.shape[1]
    at = grid[:2, 2] - surface.base[:2, 2] - surface.origin
    rows, columns = np.ogrid[: surface.scores.shape[0], : surface.scores.shape[1]]
    off = np.sqrt((rows - at[0]) ** 2 + (columns - at[1]) ** 2)
    near, far = off <= 2.5, (off > max(5.0, 0.12 * min(h, w))) & (surface.scores > -1)
    if not near.any() or not far.any():
        return 0.0, 0.0, 1.0, 1.0
    scores = surface.scores[far]
    middle = np.array([(h - 1) / 2, (w - 1) / 2, 1.0])
    rest = [each.score for each in others if np.linalg.norm((each.grid - grid)[:2] @ middle) > max(5.0, 0.12 * min(h, w))]
    return float(surface.scores[near].max()), float(scores.mean()), float(scores.std()), max([float(scores.max()), *rest])


def _doubt(fit: Fit, physical: Matrix, settings: RegistrationSettings, distinct: float, runner_up: float) -> str | None:
    """Return why a match is not believed; None where nothing speaks against it."""
    scale = float(np.sqrt(abs(np.linalg.det(physical[:2, :2]))))
    angle = abs(float(np.degrees(np.arctan2(physical[0, 1], physical[0, 0]))))
    if distinct < DISTINCT:
        return (
            "No clear match. Check that both images show the same place and that the model was trained on such images "
            f"(the best place is {distinct:.1f} standard deviations above the average one; {DISTINCT:g} are needed)."
        )
    if runner_up > RUNNER_UP:
        return f"No clear match: another place scores {_percent(runner_up)} of the best. Choose a larger part of the image with more cells."
    if fit.overlap < 0.9 * settings.overlap:
        return f"Only {_percent(fit.overlap)} of the image would lie in the other; {_percent(settings.overlap)} are needed."
    if max(scale, 1 / scale) > settings.scale * SLACK or angle > settings.rotation + 1:
        return f"The best fit is turned by {angle:.1f}° and scaled by {scale:.3f}, more than is allowed; allow more, or check the images."
    if fit.residual is None or fit.agreeing < AGREEING:
        return (
            f"The place is roughly right, but only {_percent(fit.agreeing)} of the image fits it exactly; "
            f"the images may differ by more than {ALLOWED[settings.kind]}."
        )
    return None


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
