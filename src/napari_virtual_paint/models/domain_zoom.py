"""Another magnification: the factor by which a field must be resized to look like the training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_virtual_paint.models.domain_fit import rows_of, shift
from napari_virtual_paint.models.domain_look import PATCH, Floats, Look, look
from napari_virtual_paint.models.domain_values import Domain

if TYPE_CHECKING:
    from torch import nn

FACTORS: dict[float, tuple[float, ...]] = {0.5: (0.4, 0.6), 0.7: (0.6, 0.85), 1.4: (1.2, 1.7), 2.0: (1.7, 2.5)}
"""What a field is resized by, and, for the best of these, what is tried around it."""
SIDE = 6 * PATCH
"""Side of what is looked at at each factor, px."""
DEEP = 6
"""Patches that the network sees at each factor."""
TURNED = 0.2
"""Squared distance of the part "polarity" from which another magnification is looked for."""
BETTER = 0.35
"""Share of the distance, squared, that must be left at the right factor."""


def may_be_zoomed(domain: Domain, looks: Sequence[Look]) -> bool:
    """Return whether another magnification is worth looking for: it turns the sign of details at some scale."""
    rows = np.concatenate([rows_of(one, domain)["polarity"] for one in looks])
    return shift(rows, domain.parts["polarity"]) > TURNED


def find_zoom(domain: Domain, network: nn.Module | None, fields: Sequence[Floats]) -> float | None:
    """Return how many times as large things are as in the training images, if that is what sets a field apart.

    The middle of the field is resized by some factors. Only another magnification is undone by that, so that the sign of its details at
    each scale (the part "polarity") and the network's features come back to those of the training images; defocus and noise are not.

    Parameters
    ----------
    domain, network
        Of the model; the network is needed where its features were summarised.
    fields
        Of the image, as the network gets them; the middle one is taken.

    Returns
    -------
    float or None
        None where no factor brings the field near.
    """
    field = fields[len(fields) // 2]
    as_is = _scores(domain, network, field, 1.0)
    if as_is is None:
        return None
    known: dict[float, tuple[float, float]] = {}
    for factor in FACTORS:
        _try(known, factor, _scores(domain, network, field, factor))
    if not known:
        return None
    for factor in FACTORS[min(known, key=lambda factor: sum(known[factor]))]:
        _try(known, factor, _scores(domain, network, field, factor))
    best = min(known, key=lambda factor: sum(known[factor]))
    fits = sum(known[best]) < BETTER * sum(as_is) and known[best][0] < max(0.5 * as_is[0], 0.05)
    return 1.0 / best if fits and as_is[0] > TURNED else None


def _try(known: dict[float, tuple[float, float]], factor: float, scores: tuple[float, float] | None) -> None:
    if scores is not None:
        known[factor] = scores


def _scores(domain: Domain, network: nn.Module | None, field: Floats, factor: float) -> tuple[float, float] | None:
    """Return the squared distances of polarity and of the network's features (or else of detail) at a factor; None if it is too small."""
    cut = [_middle(side, round(SIDE / factor)) for side in field.shape[-2:]]
    middle = field[..., cut[0], cut[1]]
    sides = [round(side * factor) for side in middle.shape[-2:]]
    if min(sides) < PATCH:
        return None
    if factor != 1.0:
        from skimage.transform import resize

        shape = (*middle.shape[:-2], *sides)
        middle = resize(middle, shape, order=1, mode="reflect", anti_aliasing=factor < 1, preserve_range=True).astype(np.float32)
    plan = None if domain.deep is None else replace(domain.deep, count=DEEP)
    found = look(middle, network, plan, most=36)
    if found is None:
        return None
    rows = rows_of(found, domain)
    other = "network" if "network" in rows and "network" in domain.parts else "detail"
    first, second = (shift(rows[name], domain.parts[name]) for name in ("polarity", other))
    return first, second


def _middle(length: int, most: int) -> slice:
    start = max((length - most) // 2, 0)
    return slice(start, min(start + most, length))
