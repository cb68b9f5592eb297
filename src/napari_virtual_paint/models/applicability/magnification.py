"""Estimate another magnification: the factor by which a field must be resized to look like the training images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_virtual_paint.models.applicability.descriptors import EDGES, LAYOUT, PATCH, Floats, describe_field
from napari_virtual_paint.models.applicability.fit import Numbers, excess, rows_of, shift
from napari_virtual_paint.models.package.domain import Domain
from napari_virtual_paint.models.resampling import resize

if TYPE_CHECKING:
    from torch import nn

Scores = tuple[float, float, float]
FACTORS: dict[float, tuple[float, ...]] = {0.5: (0.4, 0.6), 0.7: (0.6, 0.85), 1.4: (1.2, 1.7), 2.0: (1.7, 2.5)}
"""Factors to resize a field by -> factors tried around the best one."""
SIDE = 6 * PATCH  # side in pixels of the part that is described at each factor
DEEP = 6  # patches for the network at each factor ...
CHEAP = 24  # ... if a check affords it so many per field; a larger network would take too long.
BETTER = 0.4  # largest share of the squared distances that may remain at the right factor
LEFT = 4.0  # largest sum of squared distances of "polarity" and "network" that may remain; more means another cause as well
NO_WORSE = 0.8  # largest share of the squared distance of "polarity" and of "network" each that may remain ...
NEAR = 0.5  # ... unless it is as small as this.


def find_zoom(domain: Domain, network: nn.Module | None, fields: Sequence[Floats]) -> float | None:
    """Return the size of structures relative to the training images, if the magnification is what sets a field apart.

    The center of the field is resized by some factors. That undoes another magnification only: then the sign of details at each scale
    (the part "polarity"), the network's features and the spectrum all return to those of the training images. After defocus or noise,
    shrinking restores the spectrum alone.

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
    known: dict[float, Scores] = {}
    for factor in FACTORS:
        _try(known, factor, _scores(domain, network, field, factor))
    if not known:
        return None
    for factor in FACTORS[min(known, key=lambda factor: sum(known[factor]))]:
        _try(known, factor, _scores(domain, network, field, factor))
    best = min(known, key=lambda factor: sum(known[factor]))
    mended = all(after <= max(NO_WORSE * before, NEAR) for after, before in zip(known[best][:2], as_is[:2], strict=True))
    mended = mended and sum(known[best][:2]) < LEFT
    return 1.0 / best if mended and sum(as_is) > 1 and sum(known[best]) < BETTER * sum(as_is) else None


def _try(known: dict[float, Scores], factor: float, scores: Scores | None) -> None:
    if scores is not None:
        known[factor] = scores


def _scores(domain: Domain, network: nn.Module | None, field: Floats, factor: float) -> Scores | None:
    """Return the squared distances of polarity, the network's features and detail at a factor; None where the field is too small."""
    cut = [_middle(side, round(SIDE / factor)) for side in field.shape[-2:]]
    middle = field[..., cut[0], cut[1]]
    sides = [round(side * factor) for side in middle.shape[-2:]]
    if min(sides) < PATCH:
        return None
    if factor != 1.0:
        middle = resize(middle, (*middle.shape[1:-2], *sides))
    plan = replace(domain.deep, count=DEEP) if domain.deep is not None and domain.deep.count >= CHEAP else None
    found = describe_field(middle, network, plan, most=36)
    if found is None:
        return None
    rows = rows_of(found, domain)
    first, second = (
        excess(shift(rows[name], domain.parts[name]), domain.parts[name], len(rows[name])) ** 2
        if name in rows and name in domain.parts
        else 0.0
        for name in ("polarity", "network")
    )
    return first, second, _detail(domain, rows["detail"], factor)


def _detail(domain: Domain, rows: Numbers, factor: float) -> float:
    """Return the squared distance of detail at a factor, without the bands that enlarging can't fill; large ones are tempered."""
    part, bands = domain.parts["detail"], LAYOUT["detail"]
    filled = EDGES[1:] <= 0.5 / max(factor, 1.0) + 1e-6
    deviation = np.sqrt(np.diag(np.linalg.inv(part.whiten @ part.whiten.T)))
    gap, deviation = ((values.reshape(-1, bands)[:, filled]) for values in (rows.mean(0) - part.mean, deviation))
    gap = (gap - gap.mean(1, keepdims=True)) / deviation
    squared = float((gap**2).mean()) / (part.limit + part.noise / len(rows))
    return squared if squared <= 1 else (1 + math.log(squared) / 2) ** 2


def _middle(length: int, most: int) -> slice:
    start = max((length - most) // 2, 0)
    return slice(start, min(start + most, length))
