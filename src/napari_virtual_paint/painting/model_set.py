"""Several models for one painting: their stains side by side, or merged where they make the same one (an ensemble)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.models import Match, Model, match
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import Synonyms, painted_name


@dataclass(frozen=True, eq=False)
class Member:
    """A model of a set, and what is wanted of it."""

    model: Model  # an opened model
    stains: tuple[str, ...] | None = None  # names of the wanted stains, in any case, in this order; None for all
    channels: tuple[str | int, ...] | None = None
    """Channels of the image in this model's order; None takes those of the settings, or matches them by name."""

    @property
    def picks(self) -> tuple[int, ...]:
        """Positions of the wanted stains among the model's.

        Raises `InputError` if the model does not make a stain, or one is named twice.
        """
        made = self.model.info.stains
        if self.stains is None:
            return tuple(range(len(made)))
        folded = [stain.casefold() for stain in made]
        wanted = [stain.casefold() for stain in self.stains]
        for stain, key in zip(self.stains, wanted, strict=True):
            if key not in folded:
                raise InputError(f"Model {self.model.info.id} makes no {stain}; it makes {', '.join(made)}.")
            if wanted.count(key) > 1:
                raise InputError(f"The stain {stain} of model {self.model.info.id} is named twice; name it once.")
        return tuple(folded.index(key) for key in wanted)


@dataclass(frozen=True)
class PaintedStain:
    """A stain that a set of models makes."""

    stain: str  # its name in the model
    members: tuple[int, ...]  # positions of the members that make it
    model: str  # ids of these models, joined by ``+``
    version: str  # versions of these models, joined by ``+``
    apart: bool = False  # whether other models of the set make the same stain, so that the model is part of its name

    @property
    def name(self) -> str:
        """Name of its channel: ``DNA``, or ``DNA (predicted, MODEL)``."""
        return painted_name(self.stain, model=self.model) if self.apart else self.stain

    @property
    def sd_name(self) -> str:
        """Name of its SD's channel: ``DNA SD``, or ``DNA SD (predicted, MODEL)``."""
        return replace(self, stain=f"{self.stain} SD").name


@dataclass(frozen=True, eq=False)
class ModelSet:
    """Models that paint one image together.

    Raises
    ------
    InputError
        If there is no member, a model does not make a wanted stain, or one model makes a stain twice and this is no ensemble.
    """

    members: tuple[Member, ...]  # the models; each finds its own channels in the image and has its own normalisation
    ensemble: bool = False  # whether a stain that several of them make is merged. Without it, each model's is a stain of its own.
    painted: tuple[PaintedStain, ...] = field(init=False, default=())  # the stains, those of the first member first

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError("No model is chosen; choose one or more.")
        made = [(member.model.info.stains[pick], at) for at, member in enumerate(self.members) for pick in member.picks]
        makers: dict[str, list[int]] = {}
        for stain, at in made:
            makers.setdefault(stain.casefold(), []).append(at)
        found: list[PaintedStain] = []
        for stain, at in made:
            key = stain.casefold()
            if not self.ensemble and len(makers[key]) > 1:
                found.append(PaintedStain(stain, (at,), self._label(at), self.members[at].model.info.version, apart=True))
            elif makers[key][0] == at:
                infos = [self.members[each].model.info for each in makers[key]]
                versions = {info.id: info.version for info in infos}
                found.append(PaintedStain(stain, tuple(makers[key]), " + ".join(versions), " + ".join(versions.values())))
        names = [each.name.casefold() for each in found]
        for each, name in zip(found, names, strict=True):
            if names.count(name) > 1:
                raise InputError(f"{each.stain} is made by {each.model} twice; choose the model once, or combine equal stains (ensemble).")
        object.__setattr__(self, "painted", tuple(found))

    def _label(self, position: int) -> str:
        """Return a member's id, with its version where another member has the same id and another version."""
        own = self.members[position].model.info
        versions = {member.model.info.version for member in self.members if member.model.info.id == own.id}
        return f"{own.id} {own.version}" if len(versions) > 1 else own.id

    @property
    def stains(self) -> tuple[str, ...]:
        """Names of the stains' channels."""
        return tuple(each.name for each in self.painted)

    def rows(self, member: Member) -> tuple[int, ...]:
        """Return the positions among `stains` of what a member makes, in the order of its picks."""
        at = self.members.index(member)
        keys = {each.stain.casefold(): row for row, each in enumerate(self.painted) if at in each.members}
        return tuple(keys[member.model.info.stains[pick].casefold()] for pick in member.picks)

    def makers(self) -> tuple[int, ...]:
        """Return how many members make each stain."""
        return tuple(len(each.members) for each in self.painted)

    @property
    def apart(self) -> tuple[str, ...]:
        """Stains that several of the models make, each on its own."""
        return tuple({each.stain.casefold(): each.stain for each in reversed(self.painted) if each.apart}.values())[::-1]

    @property
    def id(self) -> str:
        """Ids of the models, joined by ``+``."""
        return " + ".join(dict.fromkeys(member.model.info.id for member in self.members))

    @property
    def version(self) -> str:
        """Versions of the models, joined by ``+``."""
        versions = {member.model.info.id: member.model.info.version for member in self.members}
        return " + ".join(versions.values())

    @property
    def name(self) -> str:
        """Names of the models, joined by ``+``."""
        return " + ".join(dict.fromkeys(member.model.info.name for member in self.members))


def as_model_set(model: Model | ModelSet) -> ModelSet:
    """Return a single model as a set of one."""
    return model if isinstance(model, ModelSet) else ModelSet((Member(model),))


def matches(models: ModelSet, stack: Stack, settings: PaintSettings, synonyms: Synonyms | None = None) -> tuple[Match, ...]:
    """Find each member's channels and planes; `synonyms` as for `match`.

    Raises `ModelError` if the image does not fit one of them, or their stains would not lie on each other: one folds the z-stack, another
    does not.
    """
    found = tuple(
        match(member.model.info, stack, settings.channels if member.channels is None else member.channels, synonyms)
        for member in models.members
    )
    names = [member.model.info.id for member in models.members]
    if len(names) > 1:
        found = tuple(replace(each, notes=tuple(f"{name}: {note}" for note in each.notes)) for each, name in zip(found, names, strict=True))
    planes = [1 if each.mode == "window" else stack.shape[2] for each in found]
    for name, count in zip(names, planes, strict=True):
        if count != planes[0]:
            folds, keeps = (names[0], name) if planes[0] < count else (name, names[0])
            raise ModelError(
                f"{stack.source or 'The image'}: {folds} makes one plane of its z-stack and {keeps} paints all {stack.shape[2]}; "
                "paint with one after the other."
            )
    return found
