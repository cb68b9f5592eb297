"""From the models that are chosen in the Stain dock to the one value that is painted with; no widget is needed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_virtual_paint._napari.shared.preferences import recall
from napari_virtual_paint._napari.stain.matching import Meeting
from napari_virtual_paint._napari.stain.state import StainChoice
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.models import Model
from napari_virtual_paint.painting.model_set import Many, Member, matches
from napari_virtual_paint.painting.settings import PaintSettings


@dataclass(frozen=True, eq=False)
class Team:
    """The chosen models, as they meet the image.

    Parameters
    ----------
    many
        What is painted with; None where that is not settled.
    problem
        Why not, in a sentence.
    shared
        Stains that several of the models make.
    """

    many: Many | None = None
    problem: str = ""
    shared: tuple[str, ...] = ()


def team(models: Sequence[Model], meeting: Meeting, channels: tuple[int, ...] | None, choice: StainChoice) -> Team:
    """Put the chosen models together.

    Parameters
    ----------
    models
        The chosen models, the first one with the channels that the dock shows.
    meeting
        How the first one meets the layers.
    channels
        Positions of the channels that it gets; None where names tell. The others find theirs by name, or by what was answered once.
    choice
        Whether shared stains are combined.
    """
    shared = shared_stains(models)
    if not models or meeting.source is None:
        return Team(shared=shared)
    labels = meeting.source.stack.channel_labels
    rest = tuple(Member(model, channels=recall(model.info.id, labels)) for model in models[1:])
    try:
        many = Many((Member(models[0], channels=channels), *rest), ensemble=choice.ensemble)
    except VirtualPaintError:
        return Team(problem=f"Several of the models make {_list(shared)}; combine them, or take one of the models away.", shared=shared)
    if meeting.match is None:
        return Team(shared=shared)
    try:
        found = matches(many, meeting.source.stack, PaintSettings())
    except VirtualPaintError as error:
        return Team(problem=str(error).split("; say which with")[0].rstrip(".") + ".", shared=shared)
    for model, each in zip(models[1:], found[1:], strict=True):
        if each.guessed:
            words = f"Which channels {model.info.name} wants can't be told; choose it alone once and check them, the answer is remembered."
            return Team(problem=words, shared=shared)
    return Team(many, "", shared)


def shared_stains(models: Sequence[Model]) -> tuple[str, ...]:
    """Return the stains that several of the models make."""
    names = [stain for model in models for stain in model.info.stains]
    folded = [name.casefold() for name in names]
    return tuple({name.casefold(): name for name in names if folded.count(name.casefold()) > 1}.values())


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + ("…" if len(names) > 4 else "")
