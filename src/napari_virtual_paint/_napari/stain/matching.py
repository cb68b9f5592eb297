"""What is worked out before a painting: how layers fit the models (at once), and memory and run time (on a worker)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_virtual_paint._napari.shared.preferences import recall
from napari_virtual_paint._napari.shared.viewer.layer_list import MANY
from napari_virtual_paint._napari.shared.viewer.layers import (
    LayerData,
    LayerSource,
    image_layers,
    layer_data_from_stack,
    our_metadata,
    stack_from_layers,
)
from napari_virtual_paint._napari.stain.state import StainState
from napari_virtual_paint.channel_colors import is_transmitted
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.models import Match, Model, ModelInfo, match
from napari_virtual_paint.models.channel_names import UNSTAINED, light_of
from napari_virtual_paint.models.matching import inputs_to_choose, stained_channels
from napari_virtual_paint.models.ranking import RankedModel, rank_models, shortfall
from napari_virtual_paint.painting.image_preparation import expected, expected_for, phase_is_missing, phase_of, why_no_phase
from napari_virtual_paint.painting.model_set import Member, ModelSet, matches
from napari_virtual_paint.painting.results import Estimate
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.preprocessing.phase_settings import PhaseSettings
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack

if TYPE_CHECKING:
    from napari_virtual_paint.models.applicability.check import DomainVerdict

LUMINANCE = -1  # stands for the luminance among a colour picture's channels


@dataclass(frozen=True, eq=False)
class ModelFit:
    """How the chosen layers fit the chosen model."""

    source: LayerSource | None = None  # the image; None if the layers give none
    match: Match | None = None  # what the model gets; None if that is not settled
    problem: str = ""  # why not, in a sentence
    wanted: tuple[str, ...] = ()  # the model's inputs that the user may choose channels for
    offered: tuple[tuple[int, str], ...] = ()  # position and name of the image's channels
    taken: tuple[int | None, ...] = ()  # position given to each wanted input; None where it is to be chosen
    ask: bool = False  # whether the user should check the channels: they were guessed or are missing
    channels: tuple[int, ...] = ()  # positions of the image's channels that it is painted from
    ready_stack: Stack | None = None  # the image as it will be once it is preprocessed, with other pixels; None where there is none

    @property
    def ready(self) -> bool:
        """Whether it can be painted."""
        return self.source is not None and self.match is not None

    @property
    def used(self) -> int:
        """How many channels or planes the model gets without a question; 0 if there is one."""
        if self.match is None or self.ask:
            return 0
        return len(self.match.z or self.match.channels)

    def as_taken(self) -> tuple[Stack, Match]:
        """Return an image and a match whose channels are the user's own, or those that it is painted from once it is preprocessed."""
        assert self.source is not None
        assert self.match is not None
        if self.channels:
            return self.source.stack, replace(self.match, channels=self.channels)
        return self.ready_stack or self.source.stack, self.match


@dataclass(frozen=True)
class Forecast:
    """The device and the estimate of a painting; a sentence where there is none."""

    device: str = ""
    estimate: Estimate | None = None
    problem: str = ""


def fit_layers(layers: Sequence[Any], info: ModelInfo | None, state: StainState) -> ModelFit:
    """Match layers to a model; reads no pixel."""
    try:
        source = stack_from_layers(layers, state.axes)
    except VirtualPaintError as error:
        return ModelFit(problem=str(error))
    if info is None:
        return ModelFit(source, problem="No model is chosen; choose one, or open a package from disk.")
    return fit_source(source, info, state)


def fit_source(source: LayerSource, info: ModelInfo, state: StainState) -> ModelFit:
    """Match an image to a model; reads no pixel."""
    stack = source.stack
    chosen = state.channels if state.channels is not None else recall(info.id, stack.channel_labels)
    offered = tuple(enumerate(stack.channel_labels))
    if stack.rgb and len(info.channels) == 1:
        offered = ((LUMINANCE, "Luminance"), *offered)
    try:
        ready, channels = expected_for(info, stack, chosen, state.painting)
        found = match(info, ready, chosen if ready is stack or (channels is not None and ready.channels == stack.channels) else None)
    except VirtualPaintError as error:
        if missing := shortfall(info, stack):
            return ModelFit(source, None, missing)
        wanted = inputs_to_choose(info, stack)
        taken = tuple(chosen) if chosen is not None and len(chosen) == len(wanted) else (None,) * len(wanted)
        return ModelFit(source, None, str(error).split("; say which with")[0].rstrip(".") + ".", wanted, offered, taken, ask=True)
    own = found.channels if ready is stack else channels or ()
    taken = (LUMINANCE,) if found.luminance else own
    wanted = ("Planes",) if found.mode == "window" or len(taken) < len(info.channels) else info.channels
    return ModelFit(source, found, "", wanted, offered, taken, found.guessed, own, ready)


def rank_for(source: LayerSource, models: Mapping[str, Model], verdicts: Mapping[str, DomainVerdict | None]) -> list[RankedModel]:
    """Rank models for an image, the best first; those that the user assigned channels to before get the same ones."""
    labels = source.stack.channel_labels
    infos = {key: model.info for key, model in models.items()}
    return rank_models(infos, source.stack, {key: recall(info.id, labels) for key, info in infos.items()}, verdicts)


def fitting_names(ranked: Sequence[RankedModel]) -> str:
    """Return the sentence on the models that fit an image."""
    names = [candidate.info.name for candidate in ranked if candidate.fits and not candidate.light]
    return f"Models that fit: {_list(names)}." if names else "No model in the list fits this image."


def fluorescence_doubt(info: ModelInfo, stack: Stack, found: Match, light: str | None) -> str:
    """Return the question whether an image that seems to be fluorescence is to be painted by a model of transmitted light.

    Parameters
    ----------
    found
        What the model gets of the image.
    light
        The light that its pixels look like; None where that is not known.

    Returns
    -------
    str
        Empty where the names say that it is transmitted light, or nothing speaks for fluorescence.
    """
    if info.light not in UNSTAINED or found.luminance:
        return ""
    if stained := stained_channels(info, stack, found):
        return f"{stained[0]} is named for fluorescence; this model paints from {info.light}."
    name = stack.channel_labels[found.channels[0]]
    return f"{name} looks like fluorescence; this model paints from {info.light}." if light == "fluorescence" else ""


def phase_doubt(info: ModelInfo, stack: Stack) -> str:
    """Return the question whether a model that paints from phase is to paint brightfield as it is; empty where there is none."""
    if not phase_is_missing(info, stack):
        return ""
    if why := why_no_phase(info, stack):
        return why
    return f"{info.name} paints from phase, and the image is brightfield: choose your microscope at Phase, and it is made of these planes."


def phase_layers(source: LayerSource, settings: PhaseSettings) -> Generator[Progress, None, list[LayerData]]:
    """Reconstruct the phase of an image, and return its layer (on a worker)."""
    made = yield from phase_of(source.stack, settings)
    return layer_data_from_stack(made, source.geometry)


def forecast(models: ModelSet | None, fit: ModelFit, settings: PaintSettings) -> Forecast:
    """Estimate memory and run time; loads the networks, so it runs on a worker."""
    from napari_virtual_paint import device
    from napari_virtual_paint.painting import estimate

    try:
        where = str(device.resolve(settings.device))
    except VirtualPaintError as error:
        return Forecast(problem=str(error))
    if fit.source is None or fit.match is None or models is None:
        return Forecast(where)
    try:
        made = expected(models, fit.source.stack, settings)
        return Forecast(where, estimate(made.models, made.stack, made.settings))
    except VirtualPaintError as error:
        return Forecast(where, problem=str(error))


def paintable(viewer: Any) -> list[Any]:
    """Return the layers that can be painted from: images that this plugin didn't paint."""
    return [layer for layer in image_layers(viewer) if our_metadata(layer).get("role") not in ("stain", "preview")]


def likely(viewer: Any) -> tuple[str, ...]:
    """Return the names of the layers that are most likely to be painted from.

    The selected transmitted-light layers, else all of those that came from where the first one did; else the active layer, else the first,
    of those whose names don't say that they are a stain.
    """
    offered = paintable(viewer)
    transmitted = [layer for layer in offered if light_of(layer.name) in UNSTAINED]
    transmitted = transmitted or [layer for layer in offered if is_transmitted(layer.name)]
    chosen = [layer for layer in transmitted if layer in viewer.layers.selection]
    if not chosen and transmitted:
        first = transmitted[0]
        chosen = [layer for layer in transmitted if alike(layer, first)]
    elif chosen:
        chosen = [layer for layer in transmitted if any(alike(layer, one) for one in chosen)]
    if len(chosen) > MANY:  # so many layers are not the channels of one image
        chosen = []
    if not chosen and offered:
        active = viewer.layers.selection.active
        unstained = [layer for layer in offered if light_of(layer.name) != "fluorescence"] or offered
        chosen = [active if active in unstained else unstained[0]]
    return tuple(layer.name for layer in chosen)


def unstained(names: Sequence[str]) -> bool:
    """Return whether the names of layers are those of transmitted light alone."""
    return bool(names) and all(light_of(name) in UNSTAINED or is_transmitted(name) for name in names)


def alike(one: Any, other: Any) -> bool:
    """Return whether two layers are channels of one image: the same source and size."""
    same = our_metadata(one).get("source") == our_metadata(other).get("source") and one.source.path == other.source.path
    return bool(same and one.data.shape == other.data.shape)


@dataclass(frozen=True, eq=False)
class SelectedModels:
    """The chosen models with their channels of the image."""

    models: ModelSet | None = None  # what is painted with; None where that is not settled
    problem: str = ""  # why not, in a sentence
    shared: tuple[str, ...] = ()  # stains that several of the models make


def select_models(
    models: Sequence[Model], fit: ModelFit, channels: tuple[int, ...] | None, ensemble: bool, settings: PaintSettings | None = None
) -> SelectedModels:
    """Combine the chosen models into one set.

    Parameters
    ----------
    models
        The chosen models, the first one with the channels that the dock shows.
    fit
        How the layers fit the first one.
    channels
        Positions of the channels that it gets; None matches by name. The others find theirs by name, or by an earlier answer.
    ensemble
        Whether shared stains are combined; else each model's become layers of their own.
    settings
        How the image is preprocessed and painted.
    """
    shared = shared_stains(models)
    if not models or fit.source is None:
        return SelectedModels(shared=shared)
    labels = fit.source.stack.channel_labels
    rest = tuple(Member(model, channels=recall(model.info.id, labels)) for model in models[1:])
    try:
        combined = ModelSet((Member(models[0], channels=channels), *rest), ensemble=ensemble)
    except VirtualPaintError as error:
        return SelectedModels(problem=str(error), shared=shared)
    if fit.match is None:
        return SelectedModels(shared=shared)
    try:
        made = expected(combined, fit.source.stack, settings or PaintSettings())
        found = matches(made.models, made.stack, made.settings)
    except VirtualPaintError as error:
        return SelectedModels(problem=str(error).split("; say which with")[0].rstrip(".") + ".", shared=shared)
    for model, each in zip(models[1:], found[1:], strict=True):
        if each.guessed:
            words = f"It is not known which channels {model.info.name} wants. Choose it alone once and check them; this is remembered."
            return SelectedModels(problem=words, shared=shared)
    return SelectedModels(combined, "", shared)


def shared_stains(models: Sequence[Model]) -> tuple[str, ...]:
    """Return the stains that several of the models make."""
    names = [stain for model in models for stain in model.info.stains]
    folded = [name.casefold() for name in names]
    return tuple({name.casefold(): name for name in names if folded.count(name.casefold()) > 1}.values())


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + ("…" if len(names) > 4 else "")
