"""The domain check: whether a field is like what a model learned from.

Tonks et al. (2024) ask for "a framework to quantify the domain of applicability of virtual staining". Here a package stores a summary
of its training inputs (`summarize`), and a new field gets a distance from it, a verdict, and the reason (`check_domain`).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_virtual_paint.models.applicability.descriptors import MOST_PATCHES, Floats, Mask, PatchDescriptors, describe_field
from napari_virtual_paint.models.applicability.fit import excess, fit_domain, rows_of, shift, widened
from napari_virtual_paint.models.applicability.magnification import find_zoom
from napari_virtual_paint.models.applicability.modality import light_of_image, wrong_light
from napari_virtual_paint.models.applicability.reasons import reasons
from napari_virtual_paint.models.applicability.sampling import fields_of
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.matching import Match, match
from napari_virtual_paint.models.model import Model
from napari_virtual_paint.models.package.domain import Domain
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import UNKNOWN, PixelSize, Stack

if TYPE_CHECKING:
    from torch import nn

VerdictWord = Literal["inside", "edge", "outside"]
EDGE, OUTSIDE = 1.0, 2.0  # distances from which a field is at the edge and outside


@dataclass(frozen=True)
class DomainVerdict:
    """How far a field lies from the training images of a model."""

    distance: float
    """The largest of the parts; 1 is as far as held-out training images lie at most."""
    verdict: VerdictWord
    """``inside`` up to 1, ``edge`` up to 2, ``outside`` beyond."""
    reasons: tuple[str, ...] = ()
    """Why it is not inside, one sentence each, the most informative first; empty inside."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Part (brightness, contrast, polarity, detail, density, saturation, pixel size, color, network) -> distance."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))

    def to_dict(self, parts: bool = True) -> dict[str, Any]:
        """Return the verdict as plain values, for JSON and provenance."""
        out: dict[str, Any] = {"distance": round(self.distance, 3), "verdict": self.verdict, "reasons": list(self.reasons)}
        if parts:
            out["parts"] = {name: round(value, 3) for name, value in self.parts.items()}
        return out


FAR = 1.25  # factor between pixel sizes at which a field is at the edge
QUICK = 12  # a quick check describes one of so many patches
QUICK_ROWS = 8  # a quick check reads one of so many rows for saturation and grey levels
SMALL = 1.75  # divisor for distances of an image smaller than a patch: reflection at its edges changes its texture
COLOR = 1.5  # distance of a picture whose colors are not all gray, whatever its luminance looks like
SATURATED = 0.01  # share of saturated pixels at which a field is at the edge


def summarize(model: Model, stacks: Sequence[Stack], *, channels: Sequence[str | int] | None = None) -> Generator[Progress, None, Domain]:
    """Summarize the training inputs of a model.

    Parameters
    ----------
    model
        An opened model.
    stacks
        Its training inputs, raw and possibly lazy, one per image; some planes of each are described.
    channels
        Their channels in the model's order, as for `match`.

    Yields
    ------
    Stage
        After each image.

    Returns
    -------
    Domain
        Deterministic for the same images in the same order.

    Raises
    ------
    ModelError
        If an image does not fit the model.
    InputError
        If there is nothing to summarise.
    """

    def fields() -> Iterable[tuple[str, Floats, Mask | None]]:
        for number, stack in enumerate(stacks):
            for pixels in fields_of(model.info, stack, match(model.info, stack, channels)):
                yield f"image {number}", pixels, None

    return (yield from summarize_fields(model.info, model.network, fields(), len(stacks)))


def summarize_fields(
    info: ModelInfo, network: nn.Module, fields: Iterable[tuple[str, Floats, Mask | None]], total: int
) -> Generator[Progress, None, Domain]:
    """Summarize fields as the network gets them.

    Parameters
    ----------
    info, network
        Of the model; the network in eval mode on the CPU.
    fields
        Name of the image, normalized pixels (C, [Z,] Y, X), and a mask (Y, X) of those trained on; None for all. An image of which only
        a part was trained on counts as inside as a whole.
    total
        Number of images.

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
    descriptors: list[PatchDescriptors] = []
    whole: list[PatchDescriptors] = []
    for name, pixels, mask in fields:
        found = describe_field(pixels, network, plan, mask, name)
        if found is not None:
            descriptors.append(found)
            if mask is not None and not mask.all() and (every := describe_field(pixels, network, plan, None, name)) is not None:
                whole.append(every)
        yield Progress(len({one.group for one in descriptors}), total, f"Looked at {name}.")
    return widened(fit_domain(descriptors, info, plan), whole)


def check_domain(
    model: Model,
    stack: Stack,
    *,
    channels: Sequence[str | int] | None = None,
    matched: Match | None = None,
    resample: bool = False,
    quick: bool = False,
) -> DomainVerdict | None:
    """Return how far an image lies from the training images of a model.

    Describes some patches of at most four planes, whatever the size: under a second for most networks.

    Parameters
    ----------
    model
        An opened model.
    stack
        The image, axes TCZYX; of a lazy one only the described parts are read.
    channels
        Its channels in the model's order, as for `match`.
    matched
        The channels and planes that the model gets, if they are known already.
    resample
        Bring it to the model's pixel size first.
    quick
        Describe a twelfth of the patches, and do not estimate the magnification: for the fields of a plate.

    Returns
    -------
    DomainVerdict or None
        None where the package has no summary, or the image nothing to describe.

    Raises
    ------
    ModelError
        If the image does not fit the model, or the package's summary is damaged.
    """
    domain = model.domain
    if domain is None:
        return None
    network = model.network if domain.deep is not None else None
    found = matched or match(model.info, stack, channels)
    fields = list(fields_of(model.info, stack, found, resample))
    most, plan = MOST_PATCHES // len(fields), domain.deep
    if quick:
        most, plan = most // QUICK, None if plan is None else replace(plan, count=-(-plan.count // QUICK))
    descriptors = [describe_field(field, network, plan, most=most, every=QUICK_ROWS if quick else 1) for field in fields]
    known = [one for one in descriptors if one is not None]
    if not known:
        return None
    size = UNKNOWN if resample else stack.pixel_size
    verdict = compare(domain, known, size)
    if quick or (verdict.verdict == "inside" and not found.luminance):
        return verdict
    light = wrong_light(model.info, light_of_image(model.info, stack, found))
    if verdict.verdict == "inside" and not light:
        return verdict
    if not light and verdict.parts.get("pixel size", 0.0) > EDGE:
        return verdict
    zoom = None if light else find_zoom(domain, network, fields)
    return compare(domain, known, size, zoom, light, color=found.luminance and bool(light))


def compare(
    domain: Domain,
    descriptors: Sequence[PatchDescriptors],
    pixel_size: PixelSize = UNKNOWN,
    zoom: float | None = None,
    light: str = "",
    color: bool = False,
) -> DomainVerdict:
    """Compare the descriptors of an image with a summary.

    Parameters
    ----------
    descriptors
        Descriptors of its fields; at least one.
    pixel_size
        Of the image; UNKNOWN to ignore it.
    zoom
        Size of structures relative to the training images, from `find_zoom`; None where the magnification is not what differs.
    light
        The sentence on another light than that of the training images, from `wrong_light`.
    color
        Whether the image is a color picture, of which the luminance is compared.
    """
    every = [rows_of(one, domain) for one in descriptors]
    rows = {name: np.concatenate([one[name] for one in every]) for name in domain.parts if all(name in one for one in every)}
    tolerance = domain.scale * (SMALL if any(one.small for one in descriptors) else 1.0)
    parts = {name: excess(shift(rows[name], domain.parts[name]), domain.parts[name], len(rows[name])) / tolerance for name in rows}
    parts = {name: value if name == "network" else _tempered(value) for name, value in parts.items()}
    saturated = max(one.saturated for one in descriptors)
    parts["saturation"] = math.sqrt(saturated / max(SATURATED, 2.0 * domain.saturated))
    if (far := _magnification(domain, pixel_size)) is not None:
        parts["pixel size"] = far
    if color:
        parts["color"] = COLOR
    distance = max(parts.values())
    sentences = reasons(domain, rows, parts, saturated, min(one.levels for one in descriptors), pixel_size, zoom, light)
    return DomainVerdict(distance, verdict_word(distance), sentences, parts)


def _tempered(distance: float) -> float:
    """Return the distance of a pixel part, logarithmic beyond 1: networks tolerate much that is extreme in pixels."""
    return distance if distance <= 1 else 1 + math.log(distance)


def verdict_word(distance: float) -> VerdictWord:
    """Return the verdict for a distance."""
    return "inside" if distance <= EDGE else "edge" if distance <= OUTSIDE else "outside"


def _magnification(domain: Domain, pixel_size: PixelSize) -> float | None:
    """Return the distance of a pixel size; None where either is unknown."""
    have, want = pixel_size.x or pixel_size.y, domain.pixel_size.x or domain.pixel_size.y
    return None if not have or not want else abs(math.log(have / want)) / math.log(FAR)
