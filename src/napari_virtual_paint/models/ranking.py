"""Rank models by how well they suit an image: its channels and planes, the domain check, and the held-out scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.catalogue import GENERAL
from napari_virtual_paint.models.channel_names import UNSTAINED, light_of
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.matching import Match, match, takes_focal_planes
from napari_virtual_paint.stack import Stack

if TYPE_CHECKING:
    from napari_virtual_paint.models.applicability.check import DomainVerdict

COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
FOCUS = "have the plane in focus found"
VERDICTS = {"inside": 3, "edge": 2, "": 1, "outside": 0}  # better verdicts first; none at all stands before ``outside``


@dataclass(frozen=True)
class RankedModel:
    """A model that might paint an image, with what is known of how well it suits."""

    key: str  # what its owner knows it by
    info: ModelInfo
    shortfall: str = ""  # why it can't paint the image whatever the user chooses, in a sentence; empty if it can
    match: Match | None = None  # what it gets of the image; None where names don't tell
    light: str = ""  # the image's light, where that is another one than the model was trained on
    verdict: DomainVerdict | None = None  # of the domain check; None until it is known, or without a summary

    @property
    def needs_focus(self) -> bool:
        """Whether it can paint the image once the planes around its focus are taken."""
        return bool(self.shortfall) and FOCUS in self.shortfall

    @property
    def fits(self) -> bool:
        """Whether its channels and planes are found without a question."""
        return not self.shortfall and self.match is not None and not self.match.guessed

    @property
    def comparable(self) -> bool:
        """Whether a domain check could tell how well it suits: it fits, by its light too, and knows its training images."""
        return self.fits and not self.light and self.info.domain is not None

    @property
    def reason(self) -> str:
        """Why it can't paint the image, may not suit it, or how well it does, in a sentence or two."""
        if self.shortfall:
            return self.shortfall
        if not self.fits:
            return "Its channels are to be chosen."
        if self.light:
            return f"It paints from {self.info.light}; the image is named {self.light}."
        if self.verdict is None:
            return (
                "It has no summary of its training images."
                if self.info.domain is None
                else "The image was not compared with its training images."
            )
        return " ".join(self.verdict.reasons) or "The image is like its training images."

    @property
    def used(self) -> int:
        """How many channels or planes of the image it gets; 0 where that is to be asked."""
        return len(self.match.z or self.match.channels) if self.match is not None and self.fits else 0

    @property
    def score(self) -> float | None:
        """Its mean PCC over the stains on held-out images; None where its card has none."""
        return held_out_score(self.info)

    @property
    def rank(self) -> tuple[float, ...]:
        """What it is ordered by, larger first: fit, light, verdict of the domain check, channels used, held-out score.

        Each model's scores are those on images like its own training images. They say nothing about an image outside, where the distance
        counts before them, nor before the check, where a general model comes before one of special images.
        """
        verdict = VERDICTS[self.verdict.verdict if self.verdict is not None else ""]
        nearness = -self.verdict.distance if self.verdict is not None and self.verdict.verdict == "outside" else 0.0
        general = self.verdict is None and self.info.id in GENERAL
        score = -1.0 if self.score is None else self.score
        return (not self.shortfall, self.fits, not self.light, verdict, self.used, nearness, general, score)


def held_out_score(info: ModelInfo) -> float | None:
    """Return the mean PCC over the stains of the card; None where it gives none."""
    found = [row["pcc"] for row in info.card.scores.values() if row.get("pcc") is not None]
    return sum(found) / len(found) if found else None


def rank_models(
    models: Mapping[str, ModelInfo],
    stack: Stack,
    channels: Mapping[str, Sequence[int] | None] | None = None,
    verdicts: Mapping[str, DomainVerdict | None] | None = None,
) -> list[RankedModel]:
    """Rank models for an image, the best first; reads no pixel.

    Parameters
    ----------
    models
        Metadata of each, by key.
    stack
        The image, axes TCZYX.
    channels
        Key -> positions of the image's channels in the model's order, for those that the user assigned before.
    verdicts
        Key -> verdict of the domain check, as far as they are known.

    Returns
    -------
    list of RankedModel
        All models. Models of equal rank stay in their order.
    """
    found = []
    for key, info in models.items():
        try:
            matched = match(info, stack, (channels or {}).get(key))
        except ModelError:
            matched = None
        light = "" if matched is None else other_light(info, stack, matched)
        found.append(RankedModel(key, info, shortfall(info, stack), matched, light, (verdicts or {}).get(key)))
    return sorted(found, key=lambda one: one.rank, reverse=True)


def other_light(info: ModelInfo, stack: Stack, found: Match) -> str:
    """Return the light of the channels that a model gets if their names say that it was trained on another; else an empty string."""
    wanted = info.light
    if wanted not in UNSTAINED or found.luminance:
        return ""
    lights = [light_of(stack.channel_labels[index]) for index in found.channels]
    return next((light for light in lights if light is not None and light != wanted), "")


def shortfall(info: ModelInfo, stack: Stack) -> str:
    """Return why an image can't fit a model, whichever of its channels are taken; an empty string if it can."""
    times, have, planes, _, _ = stack.shape
    needed = len(info.channels)
    if info.dims == 3 and planes == 1:
        return "This model needs a z-stack; your image has one plane."
    if takes_focal_planes(info):
        if stack.rgb and planes < needed:
            return f"This model needs {_count(needed)} focal planes; your image is a color picture."
        if have >= needed or (info.planes_as_channels and planes >= needed):
            return ""
        if planes >= needed:
            return (
                f"This model takes its {_count(needed)} focal planes as channels; split the z-stack into layers and tick {_count(needed)}, "
                f"or {FOCUS}."
            )
        also = f" (and {times} time points)" if times >= needed else ""
        return f"This model needs {_count(needed)} focal planes; your image has {_count(max(have, planes))}{also}."
    if have < needed:
        return f"This model needs {_count(needed)} channels ({', '.join(info.channels)}); your image has {_count(have)}."
    return ""


def _count(number: int) -> str:
    return COUNTS[number] if number < len(COUNTS) else str(number)
