"""Several models for one painting: their stains side by side, or merged where they make the same one (an ensemble)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.models import Match, Model, match
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import Synonyms


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


@dataclass(frozen=True, eq=False)
class ModelSet:
    """Models that paint one image together.

    Raises
    ------
    InputError
        If there is no member, a model does not make a wanted stain, or two make the same one and this is no ensemble.
    """

    members: tuple[Member, ...]  # the models; each finds its own channels in the image and has its own normalisation
    ensemble: bool = False  # whether a stain that several of them make is merged. Without it such a stain is an error.

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError("No model is chosen; choose one or more.")
        makers: dict[str, tuple[int, str]] = {}
        for position, member in enumerate(self.members):
            info = member.model.info
            for stain in (info.stains[pick] for pick in member.picks):
                first, other = makers.setdefault(stain.casefold(), (position, info.id))
                if first != position and not self.ensemble:
                    twice = f"{stain} is made by {other} and by {info.id}" if other != info.id else f"{stain} is made by {other} twice"
                    raise InputError(f"{twice}; merge them (--ensemble), or pick the stains of each (as in -m {other}:{stain}).")

    @property
    def stains(self) -> tuple[str, ...]:
        """Names of the stains, those of the first member first."""
        found: dict[str, str] = {}
        for member in self.members:
            for pick in member.picks:
                name = member.model.info.stains[pick]
                found.setdefault(name.casefold(), name)
        return tuple(found.values())

    def rows(self, member: Member) -> tuple[int, ...]:
        """Return the positions among `stains` of what a member makes, in the order of its picks."""
        keys = [stain.casefold() for stain in self.stains]
        return tuple(keys.index(member.model.info.stains[pick].casefold()) for pick in member.picks)

    def makers(self) -> tuple[int, ...]:
        """Return how many members make each stain."""
        rows = [row for member in self.members for row in self.rows(member)]
        return tuple(rows.count(index) for index in range(len(self.stains)))

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
