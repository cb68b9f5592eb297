"""Pair the fields of predictions and truth by well and site, or by file name; pair stains by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.evaluation.inputs.sources import EvaluationSource
from napari_virtual_paint.metrics import pair_channels
from napari_virtual_paint.metrics.report import same_axes, size_notes
from napari_virtual_paint.models.channel_names import UNSTAINED, find_names, is_named, parse_name
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import Synonyms

SHOWN = 4  # most names listed in a sentence

Channel = str | int


@dataclass(frozen=True)
class FieldPairing:
    """The paired fields."""

    partners: Mapping[str, Mapping[str, str]]
    """Key of the truth's field -> name of a prediction -> key of its field; every prediction has all of them."""
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The truth's fields, in order."""
        return tuple(self.partners)


@dataclass(frozen=True)
class Stains:
    """The paired stains: names, and for each source their channels, by name or position."""

    names: tuple[str, ...]
    channels: Mapping[str, tuple[Channel, ...]]
    notes: tuple[str, ...] = ()


def pair_fields(truth: EvaluationSource, predictions: Mapping[str, EvaluationSource], *, complete: bool = True) -> FieldPairing:
    """Pair the fields.

    Parameters
    ----------
    truth
        With the requested fields.
    predictions
        Name -> prediction.
    complete
        Whether all of the truth was requested, so that a field that only a prediction has is worth a note.

    Raises
    ------
    InputError
        If a prediction has no field in common with the truth, or no field is in all of them.
    """
    found, notes = {}, []
    for name, source in predictions.items():
        found[name], how = _match(truth, source)
        if not found[name]:
            raise InputError(
                f"{source.path}: none of its {_count(source.keys)} is one of the truth's ({_some(truth.keys)}); "
                "fields pair by well and place, or by their files' names."
            )
        notes += [f"{name}: {how}"] if how else []
        left = [key for key in source.keys if key not in set(found[name].values())]
        if left and complete:
            notes.append(f"{name}: {_count(left)} without a partner in the truth, so left out.")
    paired = {
        key: {name: pairs[key] for name, pairs in found.items()} for key in truth.keys if all(key in pairs for pairs in found.values())
    }
    for name, pairs in found.items():
        missing = [key for key in truth.keys if key not in pairs]
        if missing:
            notes.append(f"{_count(missing, 'true field')} without a partner in {name}, so left out.")
    if not paired:
        raise InputError(f"No field is in all of the predictions {', '.join(predictions)}; fields pair by well and place, or by name.")
    return FieldPairing(paired, tuple(notes))


def _match(truth: EvaluationSource, prediction: EvaluationSource) -> tuple[dict[str, str], str]:
    """Return the truth's key -> the prediction's, and a note where the pairing is not obvious."""
    theirs = {key.casefold(): key for key in prediction.keys}
    same = {key: theirs[key.casefold()] for key in truth.keys if key.casefold() in theirs}
    if same:
        return same, ""
    if len(truth.keys) == len(prediction.keys) == 1:
        return {truth.keys[0]: prediction.keys[0]}, ""
    if placed := _by_place(truth, prediction):
        return placed, "its fields have other names than the truth's, and are paired by their order in each well."
    if held := _by_part_of_name(truth.keys, prediction.keys):
        first = next(iter(held))
        return held, f"its fields are paired by what their names share ({held[first]} with {first})."
    return {}, ""


def _by_place(truth: EvaluationSource, prediction: EvaluationSource) -> dict[str, str]:
    """Pair the fields of wells that have equally many, in order."""
    ours, theirs = _by_well(truth), _by_well(prediction)
    return {
        one: other
        for well, keys in ours.items()
        if len(theirs.get(well, ())) == len(keys)
        for one, other in zip(keys, theirs[well], strict=True)
    }


def _by_well(source: EvaluationSource) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, well in source.wells.items():
        if well and not source.by_field:
            found.setdefault(well, []).append(key)
    return found


def _by_part_of_name(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Pair names of which one contains the other, delimited by non-alphanumeric characters, where the match is unique."""

    def holds(long: str, short: str) -> bool:
        return re.search(rf"(?<![a-z0-9]){re.escape(short.casefold())}(?![a-z0-9])", long.casefold()) is not None

    pairs = [(one, other) for one in ours for other in theirs if holds(one, other) or holds(other, one)]
    left, right = [one for one, _ in pairs], [other for _, other in pairs]
    return {one: other for one, other in pairs if left.count(one) == right.count(other) == 1}


def pair_stains(truth: Stack, predictions: Mapping[str, Stack], synonyms: Synonyms | None = None) -> Stains:
    """Pair stains by name (see `metrics.pair_channels`), else by order; stains missing from a prediction are left out.

    Transmitted light is not a stain: brightfield, phase or DIC channels are left out where there are others.

    Parameters
    ----------
    synonyms
        The names of stains; `stain_names.default_synonyms` where None.

    Raises `InputError` if no stain is in all of them.
    """
    pairs, notes = {}, []
    for name, prediction in predictions.items():
        one, other, axis_notes = same_axes(_stained(prediction), _stained(truth))
        pairing = pair_channels(one, other, synonyms)
        labels = other.channel_labels
        called = {}
        taken = [there for _, _, there in pairing.pairs]
        for own, here, there in pairing.pairs:  # of several models that made one stain, each keeps its name
            stain = labels[there] if other.channels and taken.count(there) == 1 else own
            called[stain] = (_channel(one, here), _channel(other, there))
        pairs[name] = called
        notes += [f"{name}: {note}" for note in (*axis_notes, *pairing.notes, *size_notes(one, other))]
    first = next(iter(pairs.values()))
    names = tuple(stain for stain in first if all(stain in each for each in pairs.values()))
    if not names:
        raise InputError(f"No stain is in the truth and in all of the predictions {', '.join(predictions)}; name their channels alike.")
    dropped = dict.fromkeys(stain for each in pairs.values() for stain in each if stain not in names)
    if dropped:
        notes.append(f"Stains that not all predictions have are left out: {', '.join(dropped)}.")
    channels = {name: tuple(each[stain][0] for stain in names) for name, each in pairs.items()}
    return Stains(names, {"truth": tuple(first[stain][1] for stain in names), **channels}, tuple(notes))


def _stained(stack: Stack) -> Stack:
    """Return a stack without its transmitted-light channels, unless it has no others."""
    if stack.channels is None:
        return stack
    stained = [i for i, name in enumerate(stack.channels) if parse_name(name).kind not in UNSTAINED]
    return stack if not stained or len(stained) == len(stack.channels) else replace(stack.select(stained), source=stack.source)


def _channel(stack: Stack, index: int) -> Channel:
    """Return a channel's name where it has one, else its position."""
    return stack.channel_labels[index] if stack.channels is not None else index


def channel_indices(stack: Stack, channels: Sequence[Channel], stains: Sequence[str], synonyms: Synonyms | None = None) -> list[int]:
    """Return the positions of channels in a field: by name wherever it names them.

    Parameters
    ----------
    channels
        As in `Stains.channels`: names, or positions where the first field names none.
    stains
        The stains that they are.
    synonyms
        As of `pair_stains`.

    Raises
    ------
    ReadError
        If one is missing, or the field names other channels than the first.
    """
    labels = stack.channel_labels
    wanted = [str(channel) for channel in channels]
    places: tuple[int | None, ...] = tuple(int(each) if isinstance(each, int) and each < len(labels) else None for each in channels)
    if all(isinstance(channel, str) for channel in channels):
        each = tuple(dict.fromkeys(wanted))  # a true stain that several models made is wanted once for each
        found = dict(zip(each, find_names(each, labels, synonyms), strict=True))
        places = tuple(found[name] for name in wanted)
    elif is_named(stack) and any(place is not None for place in find_names(stains, labels, synonyms)):
        wanted, places = list(stains), find_names(stains, labels, synonyms)
    if None in places:
        missing = next(name for name, place in zip(wanted, places, strict=True) if place is None)
        raise ReadError(
            stack.source or "the image", f"it has no channel {missing!r}, which the first field has; it has {', '.join(labels)}"
        )
    return [place for place in places if place is not None]


def _count(keys: Sequence[str], noun: str = "field") -> str:
    return f"{len(keys)} {noun}{'s' if len(keys) > 1 else ''} ({_some(keys)})"


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
