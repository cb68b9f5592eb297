"""Channels of pairs by name: those of each pair follow the names of the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models.channel_names import differ, find_names, is_named
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import Synonyms


@dataclass(frozen=True)
class ChannelOrder:
    """The channels of the first pair in order, which those of all other pairs follow."""

    inputs: tuple[str, ...]
    stains: tuple[str, ...]
    """`inputs` and `stains`: names of the channels of input and target as in the files; ``channel 0`` ... where they have none."""
    named: tuple[bool, bool] = (True, True)  # whether the files name those of input and target


def order_of(source: Stack, target: Stack) -> ChannelOrder:
    """Return the channels of a pair."""
    return ChannelOrder(source.channel_labels, target.channel_labels, (is_named(source), is_named(target)))


def by_names_given(stack: Stack, stains: Sequence[str] | None, synonyms: Synonyms | None) -> Stack:
    """Return the target of a first pair in the order of ``data.stains``, where these are its own channels in another order."""
    if stains is None or len(stains) != stack.shape[1] or not is_named(stack):
        return stack
    places = find_names(stains, stack.channel_labels, synonyms)
    return stack if None in places else _in_order(stack, [place for place in places if place is not None])


def followed(
    source: Stack, target: Stack, order: ChannelOrder, labels: tuple[str, str], synonyms: Synonyms | None, notes: list[str]
) -> tuple[Stack, Stack]:
    """Return a pair with its channels in an order, by their names.

    Parameters
    ----------
    order
        That of the first pair.
    labels
        Names of the two images in errors.
    synonyms
        The names of stains.
    notes
        Gets a sentence for what is not obvious.

    Raises
    ------
    InputError
        If the pair has other channels than the first.
    """
    sides = ((source, order.inputs, order.named[0], "channels"), (target, order.stains, order.named[1], "stains"))
    one, other = (_follow(*side, label, synonyms, notes) for side, label in zip(sides, labels, strict=True))
    return one, other


def _follow(
    stack: Stack, wanted: tuple[str, ...], named: bool, what: str, label: str, synonyms: Synonyms | None, notes: list[str]
) -> Stack:
    """Return an image with its channels in an order."""
    own = stack.channel_labels
    if own == wanted:
        return stack
    if len(own) != len(wanted):
        raise InputError(
            f"{label}: has {len(own)} {what} ({', '.join(own)}) where the first pair has {len(wanted)} ({', '.join(wanted)});"
            f" choose the same of all pairs by data.{'input' if what == 'channels' else 'target'}_channels."
        )
    if not (named and is_named(stack)):
        if len(own) > 1:
            has = "has no names" if named else "has names that the first pair lacks"
            notes.append(f"A file {has} of its {what}; they are taken in order, {', '.join(own)} as {', '.join(wanted)}.")
        return stack
    places = find_names(wanted, own, synonyms)
    found = [place for place in places if place is not None]
    if len(found) < len(wanted):
        if len(own) == 1 and not differ(own[0], wanted[0], synonyms):
            notes.append(f"The only {what[:-1]} of a file, {own[0]}, is taken as {wanted[0]}.")
            return stack
        raise InputError(
            f"{label}: its {what} are {', '.join(own)} where the first pair has {', '.join(wanted)}; name them alike, or list other names"
            " of one stain in data.synonyms."
        )
    for name, place in zip(wanted, found, strict=True):
        if own[place].strip().casefold() != name.strip().casefold():
            notes.append(f"{own[place]} is taken as {name}, another name of the same {what[:-1]}.")
    if found != sorted(found):
        notes.append(f"The {what} of a file come in another order, {', '.join(own)}; they are taken by their names.")
    return _in_order(stack, found)


def _in_order(stack: Stack, places: Sequence[int]) -> Stack:
    return stack if list(places) == list(range(stack.shape[1])) else stack.select(list(places))
