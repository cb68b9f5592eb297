"""The domain check: whether a field looks like what a model learned from.

What Tonks et al. (2024) ask for, "a framework to quantify the domain of applicability of virtual staining": a package stores a summary
of its training inputs (`summarise`), and a new field gets a distance from it, a verdict, and the reason (`check_domain`).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_virtual_paint.models.applicability.descriptors import MOST_PATCHES, Floats, Mask, PatchDescriptors, look
from napari_virtual_paint.models.applicability.fit import excess, fit_domain, rows_of, shift
from napari_virtual_paint.models.applicability.magnification import find_zoom
from napari_virtual_paint.models.applicability.reasons import reasons
from napari_virtual_paint.models.applicability.sampling import fields_of
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.model import Model
from napari_virtual_paint.models.package.domain import Domain
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import UNKNOWN, PixelSize, Stack

if TYPE_CHECKING:
    from torch import nn

Word = Literal["inside", "edge", "outside"]
EDGE, OUTSIDE = 1.0, 2.0
"""Distances from which a field is at the edge and outside."""


@dataclass(frozen=True)
class DomainVerdict:
    """How far a field is from what a model learned from.

    Parameters
    ----------
    distance
        1 is as far as held-out training images lie at most; that of the part that is furthest out.
    verdict
        ``inside`` up to 1, ``edge`` up to 2, ``outside`` beyond.
    reasons
        Why it is not inside, a sentence each, the most telling first; empty inside.
    parts
        Part (brightness, contrast, polarity, detail, density, saturation, pixel size, network) -> its own distance.
    """

    distance: float
    verdict: Word
    reasons: tuple[str, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))

    def to_dict(self, parts: bool = True) -> dict[str, Any]:
        """Return it as plain values, for JSON and provenance."""
        out: dict[str, Any] = {"distance": round(self.distance, 3), "verdict": self.verdict, "reasons": list(self.reasons)}
        if parts:
            out["parts"] = {name: round(value, 3) for name, value in self.parts.items()}
        return out


FAR = 1.25
"""Factor between pixel sizes at which a field is at the edge."""
QUICK = 12
"""Of so many patches one is looked at where it has to be quick."""
QUICK_ROWS = 8
"""Of so many rows one is looked at for saturation and grey levels where it has to be quick."""
SMALL = 1.75
"""What distances of an image smaller than a patch are divided by: reflected at its edges it is another texture."""
SATURATED = 0.01
"""Share of saturated pixels at which a field is at the edge."""


def summarise(model: Model, stacks: Sequence[Stack], *, channels: Sequence[str | int] | None = None) -> Generator[Progress, None, Domain]:
    """Summarise what a model learned from.

    Parameters
    ----------
    model
        An opened model.
    stacks
        Its training inputs, raw, each an image of its own; they may be lazy. Of each some planes are looked at.
    channels
        Their channels in the model's order, as for `match`.

    Yields
    ------
    Stage
        After each image.

    Returns
    -------
    Domain
        The same for the same images in the same order.

    Raises
    ------
    ModelError
        If an image does not fit the model.
    InputError
        If there is nothing to summarise.
    """

    def fields() -> Iterable[tuple[str, Floats, Mask | None]]:
        for number, stack in enumerate(stacks):
            for pixels in fields_of(model.info, stack, channels):
                yield f"image {number}", pixels, None

    return (yield from summarise_fields(model.info, model.network, fields(), len(stacks)))


def summarise_fields(
    info: ModelInfo, network: nn.Module, fields: Iterable[tuple[str, Floats, Mask | None]], total: int
) -> Generator[Progress, None, Domain]:
    """Summarise fields as the network gets them.

    Parameters
    ----------
    info, network
        Of the model; the network in eval mode on the CPU.
    fields
        Name of the image, pixels (C, [Z,] Y, X) normalised, and which of them (Y, X) were trained on; None for all.
    total
        How many images there are.

    Yields
    ------
    Stage
        After each field.

    Raises
    ------
    InputError
        If there is nothing to summarise.
    """
    from napari_virtual_paint.models.applicability.network_features import plan_deep

    plan = plan_deep(network, info)
    looks: list[PatchDescriptors] = []
    for name, pixels, mask in fields:
        found = look(pixels, network, plan, mask, name)
        if found is not None:
            looks.append(found)
        yield Progress(len({one.group for one in looks}), total, f"Looked at {name}.")
    return fit_domain(looks, info, plan)


def check_domain(
    model: Model, stack: Stack, *, channels: Sequence[str | int] | None = None, resample: bool = False, quick: bool = False
) -> DomainVerdict | None:
    """Tell how far an image is from what a model learned from.

    Some patches of at most four of its planes are looked at, whatever its size: under a second for most networks.

    Parameters
    ----------
    model
        An opened model.
    stack
        The image, axes TCZYX; it may be lazy, then only what is looked at is read.
    channels
        Its channels in the model's order, as for `match`.
    resample
        Whether it will be brought to the model's pixel size before it is painted.
    quick
        Look at a twelfth of the patches, and do not look for another magnification: for the many fields of a plate.

    Returns
    -------
    Verdict or None
        None where the package holds no summary, or the image nothing to look at.

    Raises
    ------
    ModelError
        If the image does not fit the model, or the package's summary is damaged.
    """
    domain = model.domain
    if domain is None:
        return None
    network = model.network if domain.deep is not None else None
    fields = list(fields_of(model.info, stack, channels, resample))
    most, plan = MOST_PATCHES // len(fields), domain.deep
    if quick:
        most, plan = most // QUICK, None if plan is None else replace(plan, count=-(-plan.count // QUICK))
    looks = [look(field, network, plan, most=most, every=QUICK_ROWS if quick else 1) for field in fields]
    known = [one for one in looks if one is not None]
    if not known:
        return None
    size = UNKNOWN if resample else stack.pixel_size
    verdict = judge(domain, known, size)
    if quick or verdict.verdict == "inside" or verdict.parts.get("pixel size", 0.0) > EDGE:
        return verdict
    return judge(domain, known, size, find_zoom(domain, network, fields))


def judge(domain: Domain, looks: Sequence[PatchDescriptors], pixel_size: PixelSize = UNKNOWN, zoom: float | None = None) -> DomainVerdict:
    """Compare what was seen of an image with a summary.

    Parameters
    ----------
    looks
        Of its fields; one at least.
    pixel_size
        Of the image; UNKNOWN leaves it out.
    zoom
        How many times as large things are as in the training images, as `find_zoom` has it; None where that is not what differs.
    """
    every = [rows_of(one, domain) for one in looks]
    rows = {name: np.concatenate([one[name] for one in every]) for name in domain.parts if all(name in one for one in every)}
    room = domain.scale * (SMALL if any(one.small for one in looks) else 1.0)
    parts = {name: excess(shift(rows[name], domain.parts[name]), domain.parts[name], len(rows[name])) / room for name in rows}
    parts = {name: value if name == "network" else _tempered(value) for name, value in parts.items()}
    saturated = max(one.saturated for one in looks)
    parts["saturation"] = math.sqrt(saturated / max(SATURATED, 2.0 * domain.saturated))
    if (far := _magnification(domain, pixel_size)) is not None:
        parts["pixel size"] = far
    distance = max(parts.values())
    said = reasons(domain, rows, parts, saturated, min(one.levels for one in looks), pixel_size, zoom)
    return DomainVerdict(distance, word(distance), said, parts)


def _tempered(distance: float) -> float:
    """Return a pixel part's distance with what is beyond 1 on a logarithm: networks make light of much that is far out for pixels."""
    return distance if distance <= 1 else 1 + math.log(distance)


def word(distance: float) -> Word:
    """Return the verdict on a distance."""
    return "inside" if distance <= EDGE else "edge" if distance <= OUTSIDE else "outside"


def _magnification(domain: Domain, pixel_size: PixelSize) -> float | None:
    """Return the distance of a pixel size; None where one is unknown."""
    have, want = pixel_size.x or pixel_size.y, domain.pixel_size.x or domain.pixel_size.y
    return None if not have or not want else abs(math.log(have / want)) / math.log(FAR)
