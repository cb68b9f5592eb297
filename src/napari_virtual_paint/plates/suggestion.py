"""Suggest wells to stain: those from which a model would learn most about the plate.

The fields are described as the domain check describes them (`models.applicability`), in units of the model's training images.
The wells are a greedy k-centre (Gonzalez, Theor. Comput. Sci. 38, 293, 1985): each next one is the farthest from those chosen before
it, and the first from the training images, which the model knows already (Sener and Savarese, ICLR 2018, choose images to label so).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError, ModelError, ReadError
from napari_virtual_paint.models.applicability.check import compare, verdict_word
from napari_virtual_paint.models.applicability.descriptors import MOST_PATCHES, PatchDescriptors, describe_field
from napari_virtual_paint.models.applicability.fit import rows_of
from napari_virtual_paint.models.applicability.sampling import fields_of
from napari_virtual_paint.models.model import Model
from napari_virtual_paint.models.package.domain import Domain
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.controls import treatments
from napari_virtual_paint.plates.job.field import read_field
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.runtime.progress import Progress

Numbers = npt.NDArray[np.float64]
SHARE = 3  # one of so many patches is described, of one field of a well
LONELY, LEAST = 6.0, 8  # times the median gap between neighbors beyond which a well stands alone; fewest wells of which one can


@dataclass(frozen=True)
class SuggestedWell:
    """A well that is worth staining."""

    well: str
    field: str  # the field that was looked at
    distance: float  # of the domain check, from the training images
    verdict: str  # of the domain check
    treatment: str  # by the plate map; empty where it is not known
    reason: str  # why it was chosen, in a sentence

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "distance": round(self.distance, 3), "treatment": self.treatment or None}


@dataclass(frozen=True)
class Suggestion:
    """Wells to stain, the most informative first."""

    wells: tuple[SuggestedWell, ...]
    notes: tuple[str, ...] = ()  # what the user should know, one sentence each


def suggesting(
    plate: Plate, model: Model, count: int, *, channels: tuple[str | int, ...] | None = None
) -> Generator[Progress, None, Suggestion]:
    """Choose wells whose staining would teach a model most.

    Parameters
    ----------
    plate
        The plate; of each well the first field that can be read is looked at.
    model
        A model with a summary of its training images.
    count
        How many wells.
    channels
        The fields' channels in the model's order; matched by name where None.

    Yields
    ------
    Progress
        Before each well.

    Returns
    -------
    Suggestion
        Deterministic. Where a plate map gives treatments, no treatment comes twice before each was chosen, and from two wells on one is a
        control.

    Raises
    ------
    InputError
        If the model has no summary, the plate has fewer wells than asked for, or none can be looked at.
    """
    domain = model.domain
    if domain is None:
        raise InputError(
            f"{model.info.id}: its package has no summary of its training images; "
            f"`virtual-paint models domain {model.info.id} --images FILE...` adds one."
        )
    if count > len(plate.wells):
        raise InputError(f"{plate.source}: it has {len(plate.wells)} wells, fewer than the {count} that are asked for.")
    seen: dict[str, tuple[Field, list[PatchDescriptors]]] = {}
    faults: list[str] = []
    for number, well in enumerate(plate.wells):
        yield Progress(number, len(plate.wells), f"Looking at {well}")
        for field in plate.by_well[well]:
            try:
                found = _describe(plate, field, model, domain, channels)
            except (ReadError, ModelError) as error:
                faults.append(str(error))
                continue
            if found:
                seen[well] = (field, found)
                break
    if not seen:
        raise InputError(faults[0] if faults else f"{plate.source}: no field holds anything to look at.")
    notes = [f"{len(plate.wells) - len(seen)} wells can't be looked at, being damaged or empty."] if len(seen) < len(plate.wells) else []
    points = {well: place_of(domain, found) for well, (_, found) in seen.items()}
    lonely = stand_alone(points) if len(points) - count >= LEAST else ()
    if lonely:
        notes.append(f"Unlike all other wells, so left out: {', '.join(lonely)}; look at them for bubbles, debris or a wrong focus.")
    groups, controls = treatments(plate)
    order = k_centre({well: point for well, point in points.items() if well not in lonely}, count, groups, controls)
    wells = []
    for place, well in enumerate(order):
        field, found = seen[well]
        distance = compare(domain, found).distance
        wells.append(
            SuggestedWell(
                well, field.key, distance, verdict_word(distance), groups.get(well, ""), _reason(place, well, distance, groups, controls)
            )
        )
    if len(wells) < count:
        notes.append(f"Only {len(wells)} wells are left to choose from.")
    return Suggestion(tuple(wells), tuple(notes))


def _describe(plate: Plate, field: Field, model: Model, domain: Domain, channels: tuple[str | int, ...] | None) -> list[PatchDescriptors]:
    """Return the descriptors of a field; none where it is empty."""
    loaded = read_field(plate.reader, field, model, PaintSettings(channels=channels), truth=False)
    pixels = list(fields_of(model.info, loaded.stack, loaded.match))
    plan = None if domain.deep is None else replace(domain.deep, count=-(-domain.deep.count // SHARE))
    network = None if plan is None else model.network
    found = (describe_field(one, network, plan, most=MOST_PATCHES // len(pixels) // SHARE) for one in pixels)
    return [one for one in found if one is not None]


def place_of(domain: Domain, found: Sequence[PatchDescriptors]) -> Numbers:
    """Return the place of a field relative to the training images, which are at 0; of each part its length is a distance.

    Pixel parts count by their logarithm beyond 1, as in the domain check.
    """
    every = [rows_of(one, domain) for one in found]
    parts = []
    for name, part in domain.parts.items():
        if not all(name in one for one in every):
            continue
        white = ((np.concatenate([one[name] for one in every]) - part.mean) @ part.whiten).mean(0)
        place = white / math.sqrt(len(white) * part.limit) / domain.scale
        length = float(np.linalg.norm(place))
        parts.append(place if name == "network" or length <= 1 else place * (1 + math.log(length)) / length)
    return np.concatenate(parts)


def stand_alone(points: Mapping[str, Numbers]) -> tuple[str, ...]:
    """Return the wells whose nearest neighbor is far beyond the usual gap: one bubble teaches nothing about the others."""
    wells, places = list(points), np.array(list(points.values()))
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    nearest = gaps.min(1)
    return tuple(well for well, gap in zip(wells, nearest, strict=True) if gap > LONELY * max(float(np.median(nearest)), 1e-9))


def k_centre(points: Mapping[str, Numbers], count: int, groups: Mapping[str, str], controls: frozenset[str]) -> tuple[str, ...]:
    """Choose wells greedily, each the farthest from those before and from 0; equal ones in the order given.

    Parameters
    ----------
    points
        Well -> its place.
    groups
        Well -> treatment; none is chosen twice before each was chosen.
    controls
        From two wells on, one of these is chosen, if there is any.
    """
    free = dict(points)
    gap = {well: float(np.linalg.norm(place)) for well, place in free.items()}
    chosen: list[str] = []
    while free and len(chosen) < count:
        offered = list(free)
        covered = {groups.get(well, "") for well in chosen}
        fresh = [well for well in offered if groups.get(well, "") not in covered] if groups else []
        last = len(chosen) == count - 1
        missing = [well for well in offered if well in controls] if count > 1 and last and not controls & set(chosen) else []
        best = max(missing or fresh or offered, key=gap.__getitem__)
        chosen.append(best)
        place = free.pop(best)
        for well, other in free.items():
            gap[well] = min(gap[well], float(np.linalg.norm(other - place)))
    return tuple(chosen)


def _reason(place: int, well: str, distance: float, groups: Mapping[str, str], controls: frozenset[str]) -> str:
    """Return why a well was chosen."""
    what = "a control" if well in controls else groups.get(well, "")
    kind = f" ({what})" if what else ""
    far = f"at a distance of {distance:.1f} from the training images"
    return f"The farthest{kind}, {far}." if place == 0 else f"Unlike those before it{kind}, {far}."
