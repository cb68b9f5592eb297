"""Preprocess an image, as the settings say: even light, phase from brightfield, the planes in focus."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtual_paint.choices import PhaseMode
from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.models import ModelInfo, match
from napari_virtual_paint.models.channel_names import UNSTAINED, light_of
from napari_virtual_paint.models.matching import around_focus, stack_channels, takes_focal_planes
from napari_virtual_paint.painting.illumination_files import functions_in
from napari_virtual_paint.painting.model_set import Member, ModelSet, as_model_set
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.preprocessing.focus import Focus, find_focus
from napari_virtual_paint.preprocessing.illumination import Floats, IlluminationEstimate, correct_illumination
from napari_virtual_paint.preprocessing.phase import reconstruct_phase
from napari_virtual_paint.preprocessing.phase_settings import PhaseSettings
from napari_virtual_paint.runtime.generators import relay, run_to_end
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.stain_names import Synonyms

KEPT = ("illumination", "phase", "focus")
"""Entries of the provenance of a preprocessed image, which its stains inherit."""
MOST_PLANES = 32  # planes and time points of one image that its illumination is estimated from


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """A preprocessed image, and what to paint it with."""

    models: ModelSet
    stack: Stack
    settings: PaintSettings
    """`models` and `settings`: as given, without the channels that the user chose where `stack` has other ones."""
    focus: int | None = None
    """Plane in focus at the first time point; None where it was not looked for."""
    curve: Focus | None = None
    """How it was found at the first time point."""
    notes: tuple[str, ...] = ()


def wants_preprocessing(settings: PaintSettings, stack: Stack) -> bool:
    """Return whether settings ask for anything that was not done to an image yet."""
    done = inherited(stack)
    asked = {"illumination": settings.illumination != "none", "phase": settings.phase is not None, "focus": settings.focus != "none"}
    return any(wanted and name not in done for name, wanted in asked.items())


def preprocess(
    models: Any,
    stack: Stack,
    settings: PaintSettings,
    *,
    functions: Mapping[str, Floats] | None = None,
    functions_from: Mapping[str, Any] | None = None,
    synonyms: Synonyms | None = None,
) -> Generator[Progress, None, Preprocessed]:
    """Correct the light, make phase, and take the planes in focus, each as far as the settings ask for it.

    What was done is in the provenance of the result, and is not done again to an image that has it.

    Parameters
    ----------
    models, settings
        As for `paint`.
    functions, functions_from
        Illumination functions (see `correct_illumination`) where they are known already, and what the provenance says of them.
    synonyms
        As for `match`.

    Yields
    ------
    Progress
        After each plane.

    Returns
    -------
    Preprocessed
        The image, and the models and settings to paint it with.

    Raises
    ------
    InputError
        If something that is asked for can't be done; the sentence says why.
    ModelError
        If the image does not fit the models.
    """
    now = Preprocessed(as_model_set(models), stack, settings)
    done = inherited(stack)
    if settings.illumination != "none" and "illumination" not in done:
        now = yield from _lit_evenly(now, functions, functions_from, synonyms)
    if settings.phase is not None and "phase" not in done:
        now = yield from _with_phase(now, synonyms)
    if settings.focus != "none" and "focus" not in done:
        now = yield from _in_focus(now, synonyms)
    return now


def expected(models: Any, stack: Stack, settings: PaintSettings, synonyms: Synonyms | None = None) -> Preprocessed:
    """Return what `preprocess` will give, for checks and estimates before: the same axes and channels, other pixels and planes.

    Raises
    ------
    InputError, ModelError
        As `preprocess` would, as far as no pixel has to be read.
    """
    now = Preprocessed(as_model_set(models), stack, settings)
    done = inherited(stack)
    if settings.phase is not None and "phase" not in done:
        flat = _check_phase([member.model.info for member in now.models.members], stack) == "2d"
        times, _, planes, height, width = stack.shape
        pixels = np.broadcast_to(np.float32(0), (times, 1, 1 if flat else planes, height, width))
        size = stack.pixel_size._replace(z=None) if flat else stack.pixel_size
        phase = replace(
            stack, data=pixels, channels=("Phase",), pixel_size=size, rgb=False, provenance={**(stack.provenance or {}), "phase": {}}
        )
        now = _forget_channels(replace(now, stack=phase))
    if settings.focus != "none" and "focus" not in done:
        known = now.settings if isinstance(settings.focus, int) else replace(now.settings, focus="middle")
        now = run_to_end(_in_focus(replace(now, settings=known), synonyms))
        now = replace(now, settings=replace(now.settings, focus=settings.focus))
    return now


def expected_for(
    info: ModelInfo, stack: Stack, channels: Sequence[str | int] | None, settings: PaintSettings, synonyms: Synonyms | None = None
) -> tuple[Stack, tuple[int, ...] | None]:
    """Return the image that one model will paint (see `expected`), and the channels of `stack` that it is made from.

    Parameters
    ----------
    channels
        The channels of `stack` that the user chose for it.

    Returns
    -------
    tuple
        `stack` itself and None where nothing changes its planes or channels. The channels are None where phase is made.
    """
    done = inherited(stack)
    cut = settings.focus != "none" and "focus" not in done and stack.shape[2] > 1
    made = settings.phase is not None and "phase" not in done
    if not cut and not made:
        return stack, None
    model: Any = _Described(info)
    taken = None if made else stack_channels(info, stack, channels, synonyms)[0]
    chosen = None if channels is None else tuple(channels)
    return expected(ModelSet((Member(model, channels=chosen),)), stack, settings, synonyms).stack, taken


@dataclass(frozen=True)
class _Described:
    """A model by its metadata alone."""

    info: ModelInfo


def channels_taken(models: ModelSet, stack: Stack, settings: PaintSettings, synonyms: Synonyms | None = None) -> tuple[str, ...]:
    """Return the names of the channels of an image that the models paint from (see `channels_of_model`)."""
    chosen = [(each.model.info, settings.channels if each.channels is None else each.channels) for each in models.members]
    found = [channels_of_model(info, stack, replace(settings, channels=channels), synonyms) for info, channels in chosen]
    return tuple(dict.fromkeys(name for names in found for name in names))


def channels_of_model(info: ModelInfo, stack: Stack, settings: PaintSettings, synonyms: Synonyms | None = None) -> tuple[str, ...]:
    """Return the names of the channels of an image that a model paints from, or that its phase is made from.

    Raises
    ------
    InputError, ModelError
        If they are ambiguous, or phase can't be made.
    """
    labels = stack.channel_labels
    if settings.phase is not None and "phase" not in inherited(stack):
        _check_phase([info], stack)
        return (labels[_brightfield(stack)],)
    if settings.focus == "none":
        found = match(info, stack, settings.channels, synonyms)
        indices, luminance = found.channels, found.luminance
    else:
        indices, luminance = stack_channels(info, stack, settings.channels, synonyms)
    return labels if luminance else tuple(labels[index] for index in indices)


def inherited(stack: Stack) -> dict[str, Any]:
    """Return what was done to an image already, which its stains' provenance takes over; a file's malformed entries are left out."""
    found = {name: value for name, value in (stack.provenance or {}).items() if name in KEPT and isinstance(value, Mapping)}
    planes = found.get("focus", {}).get("planes")
    known = isinstance(planes, Sequence) and len(planes) in (1, stack.shape[0]) and all(isinstance(plane, int) for plane in planes)
    return found if known else {name: value for name, value in found.items() if name != "focus"}


# -- light --------------------------------------------------------------------------------------------------------------


def _lit_evenly(
    now: Preprocessed, functions: Mapping[str, Floats] | None, source: Mapping[str, Any] | None, synonyms: Synonyms | None
) -> Generator[Progress, None, Preprocessed]:
    """Correct the light of the channels that the models take."""
    stack, settings = now.stack, now.settings
    taken = channels_taken(now.models, stack, settings, synonyms)
    record = dict(source or {})
    notes: tuple[str, ...] = ()
    if functions is None and settings.illumination == "auto":
        functions, planes = yield from _estimated(stack, taken)
        record = {"from": f"an estimate from {planes} {'plane' if planes == 1 else 'planes'} of the image"}
        if planes == 1:
            notes = ("The light was estimated from one plane; from the fields of a whole plate (plate predict) it is more certain.",)
    elif functions is None:
        folder = Path(settings.illumination)
        functions = functions_in(folder, stack.channel_labels, (stack.shape[3], stack.shape[4]), taken)
        record = {"from": str(folder)}
    used = {name: function for name, function in functions.items() if name in taken}
    return replace(now, stack=correct_illumination(stack, used, record), notes=(*now.notes, *notes))


def _estimated(stack: Stack, channels: Sequence[str]) -> Generator[Progress, None, tuple[dict[str, Floats], int]]:
    """Estimate the functions of channels from the planes of one image, and return of how many."""
    times, _, planes, height, width = stack.shape
    places = [(t, z) for t in range(times) for z in range(planes)]
    chosen = [places[round(index)] for index in np.linspace(0, len(places) - 1, min(len(places), MOST_PLANES))]
    found: dict[str, Floats] = {}
    for number, name in enumerate(channels):
        estimate = IlluminationEstimate((height, width))
        for step, (t, z) in enumerate(chosen):
            estimate.add(np.asarray(stack.data[t, stack.channel_index(name), z]))
            yield Progress(number * len(chosen) + step + 1, len(chosen) * len(channels))
        if not estimate.fields:
            raise InputError(
                f"{stack.source or 'The image'}: the light of its channel {name} can't be estimated, since it is dark; paint it without."
            )
        found[name] = estimate.function(same_cells=True)
    return found, len(chosen)


# -- phase --------------------------------------------------------------------------------------------------------------


def takes_phase(info: ModelInfo) -> bool:
    """Return whether a model paints from quantitative phase, which can be made from brightfield planes; phase contrast can't."""
    words = " ".join((*info.channels, info.name, info.description, info.card.trained_on)).casefold()
    return info.light == "phase" and "contrast" not in words


def phase_is_missing(info: ModelInfo, stack: Stack) -> bool:
    """Return whether a model paints from quantitative phase and an image has none, but brightfield by name."""
    lights = {light_of(label) for label in stack.channel_labels}
    return takes_phase(info) and "phase" not in lights and "brightfield" in lights and "phase" not in inherited(stack)


def why_no_phase(info: ModelInfo, stack: Stack) -> str:
    """Return why the phase that a model paints from can't be made of an image, in a sentence; empty where it can."""
    name = stack.source or "The image"
    if info.light != "phase":
        return f"{name}: model {info.id} does not paint from phase, so none is made; leave the phase out."
    if not takes_phase(info):
        return (
            f"{name}: model {info.id} paints from phase contrast, which is made in the microscope, not from brightfield; "
            "choose another model."
        )
    if stack.shape[2] < 2:
        return (
            f"{name}: model {info.id} paints from phase, which is made from brightfield planes at different focus, and there is one plane; "
            "open the whole z-stack."
        )
    return _why_no_brightfield(stack)


def _why_no_brightfield(stack: Stack) -> str:
    """Return why it is not known which channel phase is made from, in a sentence; empty where it is."""
    name = stack.source or "The image"
    lights = [light_of(label) for label in stack.channel_labels]
    if lights.count("brightfield") > 1 or ("brightfield" not in lights and len(lights) > 1):
        listed = ", ".join(stack.channel_labels)
        return f"{name}: which of its channels is the brightfield that phase is made from? There are {listed}; name one Brightfield."
    if "brightfield" not in lights and lights[0] is not None:
        return f"{name}: phase is made from brightfield, and its channel is {stack.channel_labels[0]}."
    return ""


def phase_of(stack: Stack, settings: PhaseSettings) -> Generator[Progress, None, Stack]:
    """Reconstruct the phase of an image's brightfield channel (see `reconstruct_phase`).

    Raises `InputError` if it is not known which one that is, or its planes can't be used.
    """
    if why := _why_no_brightfield(stack):
        raise InputError(why)
    return (yield from reconstruct_phase(stack, settings, channel=_brightfield(stack)))


def _with_phase(now: Preprocessed, synonyms: Synonyms | None) -> Generator[Progress, None, Preprocessed]:
    """Make the phase that the models paint from."""
    stack, settings = now.stack, now.settings
    assert settings.phase is not None
    how = replace(settings.phase, mode=_check_phase([member.model.info for member in now.models.members], stack))
    phase = yield from reconstruct_phase(stack, how, channel=_brightfield(stack))
    record = {**(stack.provenance or {}), **(phase.provenance or {})}
    phase = replace(phase, provenance=record)
    return _forget_channels(replace(now, stack=phase, notes=(*now.notes, *phase.notes)))


def _brightfield(stack: Stack) -> int:
    """Return the channel that phase is made from."""
    lights = [light_of(label) for label in stack.channel_labels]
    return lights.index("brightfield") if "brightfield" in lights else 0


def _check_phase(infos: Sequence[ModelInfo], stack: Stack) -> PhaseMode:
    """Return how the phase that models paint from is made.

    Raises `InputError` if it can't be made.
    """
    for info in infos:
        if why := why_no_phase(info, stack):
            raise InputError(why)
    flat = {info.dims == 2 and not takes_focal_planes(info) for info in infos}
    if len(flat) > 1:
        raise InputError(
            f"{stack.source or 'The image'}: one model takes one plane of phase and another several; paint with one after the other."
        )
    return "2d" if flat.pop() else "3d"


def _forget_channels(now: Preprocessed) -> Preprocessed:
    """Match by name: the channels that the user chose are those of the image as it was."""
    members = tuple(replace(member, channels=None) for member in now.models.members)
    return replace(now, models=replace(now.models, members=members), settings=replace(now.settings, channels=None))


# -- focus --------------------------------------------------------------------------------------------------------------


def _in_focus(now: Preprocessed, synonyms: Synonyms | None) -> Generator[Progress, None, Preprocessed]:
    """Find the plane in focus at each time point, and take the planes that the models want around it."""
    stack, settings = now.stack, now.settings
    count, name = stack.shape[2], stack.source or "The image"
    found: list[Focus] = []
    if isinstance(settings.focus, int):
        if settings.focus >= count:
            raise InputError(f"{name}: it has {count} planes (0 to {count - 1}), so there is no plane {settings.focus} to focus on.")
        planes = [settings.focus] * stack.shape[0]
    elif settings.focus == "middle" or count == 1:
        planes = [count // 2] * stack.shape[0]
    else:
        found = yield from _searched(now, synonyms)
        planes = [each.plane for each in found]
    how = str(settings.focus) if isinstance(settings.focus, str) else "given"
    record: dict[str, Any] = {"how": how, "planes": planes[:1] if len(set(planes)) == 1 else planes, "of": count}
    curve = found[0] if found else None
    if curve is not None:
        record |= {"curve": [round(value, 4) for value in curve.curve], "least_contrast": curve.least}
    if count == 1:
        kept = {**(stack.provenance or {}), "focus": record}
        return replace(now, stack=replace(stack, provenance=kept), focus=0)
    return _cut(replace(now, focus=planes[0], curve=curve), planes, record, synonyms)


def _searched(now: Preprocessed, synonyms: Synonyms | None) -> Generator[Progress, None, list[Focus]]:
    """Find the focus of each time point in the first transmitted channel that the first model takes, else in its first."""
    stack, member = now.stack, now.models.members[0]
    info = member.model.info
    chosen = now.settings.channels if member.channels is None else member.channels
    indices, luminance = stack_channels(info, stack, chosen, synonyms)
    source = stack.luminance() if luminance else stack
    labels = [source.channel_labels[index] for index in indices]
    first = next((i for i, label in enumerate(labels) if light_of(label) in UNSTAINED), 0)
    light = light_of(labels[first]) or info.light
    times, total = stack.shape[0], float(stack.shape[0] * stack.shape[2])
    found: list[Focus] = []
    for t in range(times):
        search = find_focus(
            source.data[t, indices[first]],
            brightfield=light == "brightfield",
            pixel_size=stack.pixel_size,
            name=stack.source or "The image",
        )
        done = float(t * stack.shape[2])
        one = yield from relay(search, lambda step, done=done: Progress(done + step.done, total))  # type: ignore[misc]
        found.append(one)
    return found


def _cut(now: Preprocessed, planes: Sequence[int], record: dict[str, Any], synonyms: Synonyms | None) -> Preprocessed:
    """Take the planes that the models want around those in focus."""
    stack = now.stack
    infos = [member.model.info for member in now.models.members]
    kinds = {"volume" if info.dims == 3 else "window" if takes_focal_planes(info) else "plane" for info in infos}
    if len(kinds) > 1 or (kinds == {"window"} and len({(info.channels, info.z_offsets) for info in infos}) > 1):
        name = stack.source or "The image"
        raise ModelError(f"{name}: the models take different planes around the focus; paint with one after the other.")
    kind = kinds.pop()
    if kind == "volume":
        kept = {**(stack.provenance or {}), "focus": record}
        note = f"{infos[0].id} paints the whole z-stack; the plane in focus is {planes[0]}."
        return replace(now, stack=replace(stack, provenance=kept), notes=(*now.notes, note))
    if kind == "plane":
        kept = {**(stack.provenance or {}), "focus": record}
        return replace(now, stack=replace(cut_to(stack, planes), provenance=kept))
    return _window(now, infos[0], planes, record, synonyms)


def _window(now: Preprocessed, info: ModelInfo, planes: Sequence[int], record: dict[str, Any], synonyms: Synonyms | None) -> Preprocessed:
    """Take the planes around the focus as the channels of a model that wants several."""
    stack, member = now.stack, now.models.members[0]
    chosen = now.settings.channels if member.channels is None else member.channels
    indices, luminance = stack_channels(info, stack, chosen, synonyms)
    source = stack.luminance() if luminance else stack
    windows, notes = [], list(now.notes)
    for plane in planes:
        window, note = around_focus(info, source, plane)
        windows.append(window)
        notes += [note] if note and note not in notes else []
    data = _gathered(source.select([indices[0]]), windows)  # (T, 1, planes, Y, X)
    kept = {**(stack.provenance or {}), "focus": record | {"taken": [list(window) for window in dict.fromkeys(windows)]}}
    size = PixelSize(None, stack.pixel_size.y, stack.pixel_size.x)
    cut = replace(source, data=data.swapaxes(1, 2), channels=info.channels, pixel_size=size, provenance=kept, rgb=False)
    return _forget_channels(replace(now, stack=cut, notes=tuple(notes)))


def _gathered(stack: Stack, planes: Sequence[Sequence[int]]) -> Any:
    """Return the pixels (T, C, planes, Y, X) of some planes at each time point, lazily where they are lazy."""
    if len(set(map(tuple, planes))) == 1:
        return stack.data[:, :, list(planes[0])]
    parts = [stack.data[t : t + 1, :, list(some)] for t, some in enumerate(planes)]
    if isinstance(stack.data, np.ndarray):
        return np.concatenate(parts)
    import dask.array as da

    return da.concatenate(parts)


def planes_in_focus(stack: Stack) -> tuple[int, ...] | None:
    """Return the plane in focus at each time point that a preprocessed image was cut to; None where it was not."""
    record = inherited(stack).get("focus")
    if record is None:
        return None
    planes = tuple(record["planes"])
    return planes if len(planes) == stack.shape[0] else planes[:1] * stack.shape[0]


def cut_to(stack: Stack, planes: Sequence[int]) -> Stack:
    """Return one plane of an image at each time point."""
    size = PixelSize(None, stack.pixel_size.y, stack.pixel_size.x)
    return replace(stack, data=_gathered(stack, [(plane,) for plane in planes]), pixel_size=size)


def summary(now: Preprocessed) -> dict[str, Any]:
    """Return what a report in JSON says of the preprocessing."""
    record = inherited(now.stack)
    found: dict[str, Any] = {} if now.focus is None else {"focus": now.focus}
    if "focus" in record and len(record["focus"]["planes"]) > 1:
        found["focus_over_time"] = record["focus"]["planes"]
    if "illumination" in record:
        found["illumination"] = record["illumination"]
    if now.settings.phase is not None and "phase" in record:
        found["phase"] = record["phase"]
    return found
