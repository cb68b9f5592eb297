"""Match the channels and z-planes of an image to the inputs of a model: by name, by the user's list, or as the planes of a z-stack."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.channel_names import UNSTAINED, ParsedName, is_generic, light_of, parse_name
from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import Synonyms, numbered

Mode = Literal["planes", "window", "volume"]
FAR = 1.25  # pixel sizes that differ by more than this factor are reported in a note


@dataclass(frozen=True)
class Match:
    """The channels and planes of an image that a model gets."""

    channels: tuple[int, ...]
    """Indices into the image's channels, in the network's order; one index for ``window`` and where `luminance` is set."""
    mode: Mode
    """``planes``: each z-plane is painted alone. ``window``: the planes `z` of one channel are the network's channels and one plane
    comes out. ``volume``: the whole z-stack at once."""
    z: tuple[int, ...] | None = None  # the planes taken, lowest first as the model orders them, for ``window``; else None
    luminance: bool = False
    """Whether the colours of the picture are first made one grey channel (`Stack.luminance`); `channels` then is (0,)."""
    guessed: bool = False
    """Whether the channels were taken by their order for lack of names; a dock then asks, the command line prints a note."""
    notes: tuple[str, ...] = ()  # notes for the user, one sentence each


def match(info: ModelInfo, stack: Stack, channels: Sequence[str | int] | None = None, synonyms: Synonyms | None = None) -> Match:
    """Find the channels and planes of an image for a model.

    Parameters
    ----------
    channels
        Names or indices of the image's channels in the model's order, where the user chose them. For a model whose channels are
        z-planes, one channel of a z-stack is enough.
    synonyms
        The names of stains and light, by which channels of other names match; `stain_names.default_synonyms` where None.

    Raises
    ------
    ModelError
        If they are ambiguous; the message lists what the model needs and what the image has.
    """
    notes: list[str] = []
    if info.planes_as_channels and len(info.channels) > 1:
        found = _match_planes(info, stack, channels, synonyms, notes)
    else:
        indices, luminance, guessed = _match_channels(info, stack, channels, synonyms, notes)
        mode: Mode = "volume" if info.dims == 3 else "planes"
        found = Match(indices, mode, None, luminance, guessed)
    notes += _size_notes(info, stack, found)
    return Match(found.channels, found.mode, found.z, found.luminance, found.guessed, tuple(notes))


def inputs_to_choose(info: ModelInfo, stack: Stack) -> tuple[str, ...]:
    """Return the inputs of a model that a user may choose channels for: one where the planes of one channel are enough, else all."""
    if info.planes_as_channels and 1 < len(info.channels) <= stack.shape[2]:
        return ("the z-stack",)
    return info.channels


def stained_channels(info: ModelInfo, stack: Stack, found: Match) -> tuple[str, ...]:
    """Return the channels of a match whose names say fluorescence, although the model paints from transmitted light.

    An image's only channel is taken whatever its name is; a caller can then ask the user whether that is meant.
    """
    if found.luminance or info.light not in UNSTAINED:
        return ()
    names = [stack.channel_labels[index] for index in found.channels]
    wanted = info.channels if len(names) == len(info.channels) else info.channels[:1] * len(names)
    pairs = zip(names, wanted, strict=True)
    return tuple(name for name, input_ in pairs if light_of(name) == "fluorescence" != light_of(input_))


def takes_focal_planes(info: ModelInfo) -> bool:
    """Return whether the channels of a model are focal planes of one modality."""
    if len(info.channels) < 2:
        return False
    parsed = [parse_name(name) for name in info.channels]
    return info.planes_as_channels or (len({one.kind for one in parsed}) == 1 and any(one.offset or one.side for one in parsed))


def stack_channels(
    info: ModelInfo, stack: Stack, channels: Sequence[str | int] | None = None, synonyms: Synonyms | None = None
) -> tuple[tuple[int, ...], bool]:
    """Return the channels of an image from whose planes a model paints, and whether they are the colors of one luminance.

    A model of focal planes takes those of one channel of a z-stack; else its channels are those of `match`.

    Raises
    ------
    ModelError
        If they are ambiguous.
    """
    if not takes_focal_planes(info) or stack.shape[2] == 1 or (channels is not None and len(channels) == len(info.channels) > 1):
        found = match(info, stack, channels, synonyms)
        return found.channels, found.luminance
    if channels is not None:
        return _explicit(info, stack, channels, 1), False
    if stack.rgb or stack.shape[1] == 1:
        return (0,), stack.rgb
    kinds = {parse_name(name, synonyms).kind for name in info.channels}
    fitting = [index for index, name in enumerate(stack.channels or ()) if parse_name(name, synonyms).kind in kinds]
    if len(fitting) != 1:
        raise _ambiguous(info, stack)
    return (fitting[0],), False


def around_focus(info: ModelInfo, stack: Stack, focus: int) -> tuple[tuple[int, ...], str]:
    """Return the planes of a z-stack that a model of focal planes takes around the one in focus, and a note; empty where all is well.

    Its own distances from focus count where they and the step between the planes are known, else the planes next to the focus. Planes that
    lie beyond the stack are replaced by its last ones.

    Raises
    ------
    ModelError
        If the stack has too few planes.
    """
    have, needed, step = stack.shape[2], len(info.channels), stack.pixel_size.z
    if info.z_offsets is not None and step:
        wanted = [round(focus + offset / step) for offset in info.z_offsets]
        if len(set(wanted)) == needed:
            taken = tuple(min(max(plane, 0), have - 1) for plane in wanted)
            where = ", ".join(f"{offset:+g}" for offset in info.z_offsets)
            note = f"The stack does not reach {where} um from its plane {focus} in focus; the planes {_list(taken)} are taken."
            return taken, "" if list(taken) == wanted else note
    if have < needed:
        raise ModelError(_counts(info, stack))
    first = min(max(focus - needed // 2, 0), have - needed)
    taken = tuple(range(first, first + needed))
    if first == focus - needed // 2:
        return taken, ""
    return taken, f"The planes {first} to {first + needed - 1} are taken, as the plane {focus} in focus is near the stack's end."


def _match_channels(
    info: ModelInfo, stack: Stack, channels: Sequence[str | int] | None, synonyms: Synonyms | None, notes: list[str]
) -> tuple[tuple[int, ...], bool, bool]:
    """Return the channels' indices, whether they are one luminance, and whether they were guessed."""
    wanted, count = info.channels, stack.shape[1]
    if channels is not None:
        return _explicit(info, stack, channels, len(wanted)), False, False
    if len(wanted) == 1 and stack.rgb and count >= 3:
        notes.append("The picture is in color; its luminance is painted.")
        return (0,), True, False
    if len(wanted) == 1 and count == 1:
        have = stack.channel_labels[0]
        if stack.channels is not None and _differs(wanted[0], have, synonyms):
            notes.append(f"The image's only channel, {have}, is taken as the model's {wanted[0]}.")
        return (0,), False, False
    indices = _by_name(wanted, stack.channels, synonyms, notes)
    if indices is not None:
        return indices, False, False
    unnamed = stack.channels is None or all(is_generic(name) for name in stack.channels)
    if unnamed and count == len(wanted) and not stack.rgb:
        notes.append(f"The image's channels have no names; they are taken in order as {', '.join(wanted)}.")
        return tuple(range(count)), False, True
    raise _ambiguous(info, stack)


def _by_name(wanted: Sequence[str], names: Sequence[str] | None, synonyms: Synonyms | None, notes: list[str]) -> tuple[int, ...] | None:
    """Return the indices of the channels by their names, each once, or None."""
    if names is None:
        return None
    wanted, names = numbered(wanted), numbered(names)
    parsed = [parse_name(name, synonyms) for name in names]
    found: list[int] = []
    for name in wanted:
        index = _find(parse_name(name, synonyms), name, names, parsed, found)
        if index is None:
            return None
        found.append(index)
        if names[index].casefold().strip() != name.casefold().strip():
            notes.append(f"{names[index]} is taken as the model's {name}.")
    return tuple(found)


def _find(want: ParsedName, name: str, names: Sequence[str], parsed: Sequence[ParsedName], taken: Sequence[int]) -> int | None:
    """Return the one free channel that a wanted channel can be: the same words, else the same kind and focus, else the same kind."""
    free = [index for index in range(len(names)) if index not in taken]
    tests: tuple[Callable[[int], bool], ...] = (
        lambda i: names[i].casefold().strip() == name.casefold().strip(),
        lambda i: parsed[i] == want,
        lambda i: parsed[i].kind == want.kind and parsed[i].in_focus and want.in_focus,
        lambda i: parsed[i].kind == want.kind and bool(want.offset) and parsed[i].side * (want.offset or 0.0) > 0,
        lambda i: parsed[i].kind == want.kind and want.offset is None and want.plane is None,
    )
    for test in tests:
        fitting = [index for index in free if test(index)]
        if len(fitting) == 1:
            return fitting[0]
    return None


def _match_planes(
    info: ModelInfo, stack: Stack, channels: Sequence[str | int] | None, synonyms: Synonyms | None, notes: list[str]
) -> Match:
    """Match a model whose channels are z-planes of one modality."""
    count, planes, needed = stack.shape[1], stack.shape[2], len(info.channels)
    if channels is not None and len(channels) == needed:
        return Match(_explicit(info, stack, channels, needed), "planes")
    if channels is not None:
        indices = _explicit(info, stack, channels, 1)
        return Match(indices, "window", _planes(info, stack, notes))
    if planes > 1:
        return _match_window(info, stack, synonyms, notes)
    if stack.rgb:
        raise _ambiguous(info, stack)
    if (by_name := _by_name(info.channels, stack.channels, synonyms, notes)) is not None:
        return Match(by_name, "planes")
    unnamed = stack.channels is None or all(is_generic(name) for name in stack.channels)
    if count == needed and unnamed:
        notes.append(f"The image's channels have no names; they are taken in order as the planes {', '.join(info.channels)}.")
        return Match(tuple(range(count)), "planes", guessed=True)
    if count == 1:
        raise ModelError(_counts(info, stack))
    raise _ambiguous(info, stack)


def _match_window(info: ModelInfo, stack: Stack, synonyms: Synonyms | None, notes: list[str]) -> Match:
    """Match a z-stack: its one channel of the model's kind, and the planes."""
    if stack.rgb:
        notes.append("The pictures are in color; their luminance is painted.")
        return Match((0,), "window", _planes(info, stack, notes), luminance=True)
    if stack.shape[1] == 1:
        return Match((0,), "window", _planes(info, stack, notes))
    kinds = {parse_name(name, synonyms).kind for name in info.channels}
    names = stack.channels or ()
    fitting = [index for index, name in enumerate(names) if parse_name(name, synonyms).kind in kinds]
    if len(fitting) != 1:
        raise _ambiguous(info, stack)
    notes.append(f"The planes of {names[fitting[0]]} are taken.")
    return Match((fitting[0],), "window", _planes(info, stack, notes))


def _planes(info: ModelInfo, stack: Stack, notes: list[str]) -> tuple[int, ...]:
    """Return the planes of a z-stack that a model's channels are."""
    have, needed, step = stack.shape[2], len(info.channels), stack.pixel_size.z
    if have < needed:
        raise ModelError(_counts(info, stack))
    first = (have - needed) // 2
    central = tuple(range(first, first + needed))
    if info.z_offsets is not None and step:
        middle = (have - 1) / 2
        chosen = tuple(int(middle + offset / step + 0.5) if middle + offset / step >= 0 else -1 for offset in info.z_offsets)
        if len(set(chosen)) == needed and min(chosen) >= 0 and max(chosen) < have:
            if chosen != tuple(range(have)):
                where = ", ".join(f"{offset:+g}" for offset in info.z_offsets)
                notes.append(f"Of {have} planes, {_list(chosen)} are taken: nearest to {where} um from the middle.")
            return chosen
        span = max(info.z_offsets) - min(info.z_offsets)
        notes.append(f"The model wants planes over {span:g} um; the image's {have} planes are {step:g} um apart and don't hold them.")
    if have > needed:
        notes.append(f"Of {have} planes, the {needed} in the middle ({central[0]} to {central[-1]}) are taken.")
    return central


def _explicit(info: ModelInfo, stack: Stack, channels: Sequence[str | int], needed: int) -> tuple[int, ...]:
    """Return the indices of the channels that the user named."""
    if len(channels) != needed:
        wanted = f"{len(info.channels)} ({', '.join(info.channels)})"
        raise ModelError(f"{_name(stack)}: {len(channels)} channels are named and the model {info.id} wants {wanted}.")
    try:
        found = tuple(stack.channel_index(channel) for channel in channels)
    except KeyError as error:
        raise ModelError(f"{_name(stack)}: there is {error.args[0]}.") from error
    if (twice := next((index for index in found if found.count(index) > 1), None)) is not None:
        name = stack.channel_labels[twice]
        raise ModelError(f"{_name(stack)}: {name} is named twice; give each input of the model {info.id} a channel of its own.")
    return found


def _size_notes(info: ModelInfo, stack: Stack, found: Match) -> list[str]:
    """Return notes on pixel sizes and z."""
    notes = []
    for axis in ("y", "z"):
        have, want = getattr(stack.pixel_size, axis), getattr(info.pixel_size, axis)
        if have and want and not 1 / FAR <= have / want <= FAR and (axis == "y" or found.mode == "volume"):
            what = "Pixels are" if axis == "y" else "Planes are"
            gap = "wide" if axis == "y" else "apart"
            notes.append(f"{what} {have:g} um {gap}; the model was trained at {want:g} um.")
    if found.mode == "volume" and stack.shape[2] == 1:
        notes.append("The model works on z-stacks and the image has one plane.")
    return notes


def _differs(wanted: str, have: str, synonyms: Synonyms | None) -> bool:
    """Return whether a channel's own name says that it is something else."""
    return not is_generic(have) and parse_name(wanted, synonyms).kind != parse_name(have, synonyms).kind


def _counts(info: ModelInfo, stack: Stack) -> str:
    """Return the sentence on too few planes."""
    have, needed = stack.shape[2], len(info.channels)
    text = f"{_name(stack)}: the model {info.id} wants {needed} z-planes ({', '.join(info.channels)}) and the image has {have}"
    if stack.shape[0] >= needed:
        text += f"; it has {stack.shape[0]} time points, so if those are its planes, save it with the axis z"
    return text + "."


def _ambiguous(info: ModelInfo, stack: Stack) -> ModelError:
    """Return the error that lists what the model wants and what the image has."""
    count = len(info.channels)
    wanted = f"the {'channel' if count == 1 else 'channels'} {', '.join(info.channels)}"
    if count > 6:
        wanted = f"{count} channels or planes ({info.channels[0]} to {info.channels[-1]})"
    have = ", ".join(stack.channels) if stack.channels is not None else f"{stack.shape[1]} without names"
    example = ",".join(str(i) for i in range(count))
    planes = "; or take its planes from the z-stack with --focus auto" if takes_focal_planes(info) and stack.shape[2] > 1 else ""
    return ModelError(
        f"{_name(stack)}: the model {info.id} wants {wanted} and the image has {have}; "
        f"say which with --channels, by names or numbers in the model's order (such as --channels {example}){planes}."
    )


def _name(stack: Stack) -> str:
    return stack.source or "The image"


def _list(numbers: Sequence[int]) -> str:
    return re.sub(r", (\d+)$", r" and \1", ", ".join(str(number) for number in numbers))
