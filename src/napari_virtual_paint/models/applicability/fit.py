"""Fit a `Domain` to the descriptors of training inputs: means, covariances, and limits from left-out images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models.applicability.descriptors import LAYOUT, WIDTH, PatchDescriptors
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.package.domain import DeepPlan, DescriptorGroup, Domain

Numbers = npt.NDArray[np.float64]
COMPONENTS = 12  # principal components kept of the network's features
UNITS = 8  # fewest fields, or parts of fields, to take the limits on; fields are split until there are so many
IMAGES = 3  # fewest images for leaving out whole images
COVERAGE, CONFIDENCE = 0.95, 0.9  # share of further fields of the same kind that should be inside, and the confidence in it
ROOM = 1.5  # squared factor between the outermost training image and the limit
OWN = 1.1  # factor on the distance of a training image, whose patches may be drawn a little differently when it is checked
SINGLE = 1.5  # factor on limits taken on parts of few images, since images differ more than parts of one


LEAST = {"brightness": 0.1, "contrast": 0.03, "polarity": 0.1, "detail": 0.05, "density": 0.05}
"""Smallest SD per part: training images that are all alike say nothing about smaller differences."""


@dataclass(frozen=True, eq=False)
class FitUnit:
    """A field or a part of one: its image, and the numbers of its patches by part."""

    group: str
    rows: Mapping[str, Numbers]


def fit_domain(descriptors: Sequence[PatchDescriptors], info: ModelInfo, plan: DeepPlan | None) -> Domain:
    """Fit a domain to descriptors of training inputs.

    Raises `InputError` if there is nothing to summarise.
    """
    from skimage.filters import threshold_otsu

    if not descriptors or sum(len(one.pixels) for one in descriptors) < UNITS:
        raise InputError(f"{info.id}: the training inputs are too small or too empty to be summarized.")
    texture = np.concatenate([one.texture.ravel() for one in descriptors])
    threshold = float(threshold_otsu(texture)) if np.ptp(texture) > 0 else float(texture[0])
    domain = Domain(
        parts={},
        pixel_size=info.pixel_size,
        channels=info.channels,
        texture=threshold,
        density=float((texture > threshold).mean()),
        saturated=max(one.saturated for one in descriptors),
        levels=int(np.median([one.levels for one in descriptors])),
        images=len({one.group for one in descriptors}),
        patches=sum(len(one.pixels) for one in descriptors),
    )
    if plan is not None and all(one.deep is not None for one in descriptors):
        domain = _with_deep(domain, np.concatenate([one.deep for one in descriptors if one.deep is not None]), plan)
    units = [unit for one in descriptors for unit in split_by_place(one, domain, _parts_of(descriptors))]
    return _calibrated(domain, units)


def _parts_of(descriptors: Sequence[PatchDescriptors]) -> int:
    """Return the number of parts to split each field into."""
    return max(1, -(-UNITS // len(descriptors)))


def _with_deep(domain: Domain, deep: Numbers, plan: DeepPlan) -> Domain:
    """Add the principal components of the network's features, each feature brought to SD 1 first."""
    centre, deviation = deep.mean(0), deep.std(0)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-6 * max(float(deviation.max()), 1e-12))
    _, _, axes = np.linalg.svd((deep - centre) * scale, full_matrices=False)
    count = min(COMPONENTS, max(len(deep) // 4, 1), len(axes))
    return replace(domain, deep=plan, centre=centre, project=(axes[:count] * scale).T)


def rows_of(one: PatchDescriptors, domain: Domain) -> dict[str, Numbers]:
    """Return the numbers of a field by part: (patches, numbers of the part)."""
    channels = one.pixels.shape[1] // WIDTH
    numbers = one.pixels.reshape(len(one.pixels), channels, WIDTH)
    rows, start = {}, 0
    for name, width in LAYOUT.items():
        rows[name] = numbers[:, :, start : start + width].reshape(len(numbers), -1)
        start += width
    rows["density"] = (one.texture > domain.texture).mean(1, keepdims=True)
    if one.deep is not None and domain.centre is not None and domain.project is not None:
        rows["network"] = (one.deep - domain.centre) @ domain.project
    return rows


def split_by_place(one: PatchDescriptors, domain: Domain, parts: int) -> list[FitUnit]:
    """Split a look into parts that lie side by side, each of which gives a unit; parts without a patch are left out."""
    rows = rows_of(one, domain)
    if parts == 1:
        return [FitUnit(one.group, rows)]
    down = -(-parts // 2)
    marks = {name: _marks(one.deep_places if name == "network" else one.places, one.places, down) for name in rows}
    found = []
    for mark in range(2 * down):
        part = {name: values[marks[name] == mark] for name, values in rows.items()}
        if all(len(values) for values in part.values()):
            found.append(FitUnit(one.group, part))
    return found or [FitUnit(one.group, rows)]


def _marks(places: Numbers, every: Numbers, down: int) -> npt.NDArray[np.int64]:
    """Number the cells of a grid, `down` rows of two, that places lie in."""
    low, high = every.min(0), every.max(0) + 1.0
    share = np.clip((places - low) / (high - low), 0, 0.999)
    long, short = (0, 1) if high[0] - low[0] >= high[1] - low[1] else (1, 0)
    out: npt.NDArray[np.int64] = (share[:, long] * down).astype(int) * 2 + (share[:, short] * 2).astype(int)
    return out


def make_part(rows: Sequence[Numbers], least: float = 1e-4) -> DescriptorGroup:
    """Return mean and whitening of the patches of several units, without limits yet."""
    every = np.concatenate(rows)
    mean = every.mean(0)
    return DescriptorGroup(mean, whitening(every - mean, least), 1.0, 1.0)


def whitening(centred: Numbers, least: float) -> Numbers:
    """Return the inverse square root of the covariance of centred rows (N, D), shrunk towards a multiple of the identity.

    References
    ----------
    Ledoit and Wolf, J. Multivar. Anal. 88, 365 (2004), section 3.3, on numbers that were brought to SD 1.
    """
    count, size = centred.shape
    deviation = np.maximum(centred.std(0), least)
    x = centred / deviation
    sample = x.T @ x / count
    sample += np.diag(np.maximum(1.0 - np.diag(sample), 0.0))  # at least the least variance
    target = np.trace(sample) / size
    gap = float(((sample - target * np.eye(size)) ** 2).sum())
    spread = float((((x**2).sum(1)) ** 2).sum() / count - (sample**2).sum()) / count
    share = min(max(spread / gap, 0.0), 1.0) if gap > 0 else 1.0
    values, vectors = np.linalg.eigh((1 - share) * sample + share * max(target, 1e-6) * np.eye(size))
    root = (vectors / np.sqrt(np.maximum(values, 1e-3 * max(values[-1], 1e-9)))) @ vectors.T
    out: Numbers = root / deviation[:, None]
    return out


def shift(rows: Numbers, part: DescriptorGroup) -> float:
    """Return the squared distance of a field's mean from the training patches, per number."""
    white = (rows - part.mean) @ part.whiten
    return float((white.mean(0) ** 2).mean())


def excess(found: float, part: DescriptorGroup, count: int) -> float:
    """Return a shift as a distance: 1 at the limit for so many patches."""
    return float(np.sqrt(found / (part.limit + part.noise / count)))


def widened(domain: Domain, images: Sequence[PatchDescriptors]) -> Domain:
    """Return a domain in which these images are inside: training images as a whole, of which a part was held out.

    The part may differ from the rest of its image, but a user who paints the very image must not be warned of it.
    """
    if not images:
        return domain
    found = [(name, rows) for one in images for name, rows in rows_of(one, domain).items() if name in domain.parts]
    farthest = max((excess(shift(rows, domain.parts[name]), domain.parts[name], len(rows)) for name, rows in found), default=0.0)
    saturated = max(one.saturated for one in images)
    return replace(domain, scale=max(domain.scale, OWN * farthest), saturated=max(domain.saturated, saturated))


def _calibrated(domain: Domain, units: Sequence[FitUnit]) -> Domain:
    """Take the limits on left-out units: image by image, or one by one where images are few."""
    by_image = domain.images >= IMAGES
    groups = [unit.group if by_image else str(index) for index, unit in enumerate(units)]
    calibrated: Literal["images", "parts"] = "images" if by_image else "parts"
    parts = {name: _limited(name, units, groups, 1.0 if by_image else SINGLE) for name in units[0].rows}
    distances = []
    for unit in units:
        found = [excess(shift(rows, parts[name]), parts[name], len(rows)) for name, rows in unit.rows.items()]
        distances.append(max(found))
    return replace(domain, parts=parts, calibrated=calibrated, scale=max(upper(distances), 1.0))


def _limited(name: str, units: Sequence[FitUnit], groups: Sequence[str], factor: float) -> DescriptorGroup:
    """Return the descriptor group of a part with its limits."""
    from scipy import stats

    least = LEAST.get(name, 1e-4)
    part = make_part([unit.rows[name] for unit in units], least)
    size = len(part.mean)
    noise = float(stats.chi2.ppf(0.99, size) / size)
    without = []
    for group in dict.fromkeys(groups):
        rest = [unit.rows[name] for unit, other in zip(units, groups, strict=True) if other != group]
        left = make_part(rest, least) if rest else part
        without += [_between(unit.rows[name], left) for unit, other in zip(units, groups, strict=True) if other == group]
    within = max(_between(unit.rows[name], part) for unit in units)
    limit = max(ROOM * within, ROOM * float(np.median(without)), 0.5 / size)
    return replace(part, limit=factor**2 * limit, noise=noise)


def _between(rows: Numbers, part: DescriptorGroup) -> float:
    """Return the shift of a unit less what its few patches give by chance."""
    return max(shift(rows, part) - 1.0 / len(rows), 0.02 / len(rows))


def upper(values: Sequence[float]) -> float:
    """Return the upper tolerance limit of log-normal numbers: at least the largest, at most a quarter more."""
    from scipy import stats

    logs = np.log(np.maximum(values, 1e-9))
    count = len(logs)
    if count < 2:
        return 1.25 * float(np.max(values))
    factor = stats.nct.ppf(CONFIDENCE, count - 1, np.sqrt(count) * stats.norm.ppf(COVERAGE)) / np.sqrt(count)
    high = float(np.exp(logs.mean() + factor * logs.std(ddof=1)))
    return float(np.clip(high, np.max(values), 1.25 * np.max(values)))
