"""Load the pictures of a field on a worker: the visible channels first, then the rest, all through a cache."""

from __future__ import annotations

from collections.abc import Collection, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import psutil

from napari_virtual_paint._napari.shared.viewer.appearance import contrast_limits
from napari_virtual_paint._napari.shared.viewer.layers import KEY, layer_data_from_stack
from napari_virtual_paint.channel_colors import is_transmitted, looks_together
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.view.images import ByteCache, PlateImages
from napari_virtual_paint.stack import Stack

SHARE, MOST = 16, 2**30  # the cache takes this share of the machine's memory, and no more than this many bytes
LARGE = 4  # A picture larger than this share of the cache is not read into memory


@dataclass(frozen=True)
class ChannelSlot:
    """A channel of a plate's fields, which has one layer: its name, and whether a model painted it."""

    channel: str
    painted: bool = False

    @property
    def name(self) -> str:
        """Name of its layer; the Compare dock pairs predicted and true layers by these names."""
        return f"{self.channel} (predicted)" if self.painted else self.channel

    @property
    def group(self) -> str:
        """``brightfield``, ``true`` or ``painted``."""
        return "painted" if self.painted else "brightfield" if is_transmitted(self.channel) else "true"


Channel: TypeAlias = tuple[ChannelSlot, Stack, int]  # a slot, the stack that has its pixels, and the position of the channel there


@dataclass(frozen=True, eq=False)
class Picture:
    """One channel of one field, ready for its layer."""

    slot: ChannelSlot  # the channel
    data: Any  # the pixels with the layer's axes; in memory unless they are large
    arguments: dict[str, Any]  # arguments of a new layer: name, colours, scale, units ...


@dataclass(frozen=True, eq=False)
class FieldPictures:
    """Some pictures of a field, loaded together."""

    field: Field
    pictures: tuple[Picture, ...]  # `field` and `pictures`: the field and its pictures
    slots: tuple[ChannelSlot, ...]  # all channels of the field
    note: str = ""  # A message for the user
    first: bool = False  # whether these are the visible channels; the others follow
    alone: bool = False  # whether these alone are to be visible: the first stains of the plate that a model painted


@dataclass(eq=False)
class PictureCache:
    """The images of a plate, and a cache of pictures."""

    images: PlateImages  # the plate's images
    cache: ByteCache = field(default_factory=lambda: ByteCache(min(MOST, psutil.virtual_memory().total // SHARE)))
    """Pictures by field and slot."""

    def key(self, place: Field, slot: ChannelSlot) -> Hashable:
        """Return the key of a picture in the cache."""
        return place.key, slot

    def read(self, place: Field, lazies: Mapping[ChannelSlot, Any]) -> dict[ChannelSlot, Any]:
        """Return pixels in memory, from the cache or read together; those that are too large stay lazy."""
        import dask

        found = {slot: self.cache.get(self.key(place, slot)) for slot in lazies}
        missing = [slot for slot, pixels in found.items() if pixels is None]
        small = [slot for slot in missing if lazies[slot].nbytes <= self.cache.limit // LARGE]
        for slot, pixels in zip(small, dask.compute(*(lazies[slot] for slot in small)), strict=True):
            self.cache.put(self.key(place, slot), pixels)
            found[slot] = pixels
        return {slot: lazies[slot] if pixels is None else pixels for slot, pixels in found.items()}


def opened(store: PictureCache, place: Field) -> tuple[list[Channel], str]:
    """Return the channels of a field, and a message for the user.

    Raises `ReadError` if the field as taken can't be read; stains that can't be read are a note.
    """
    note = ""
    taken = store.images.taken(place)
    try:
        painted = store.images.painted(place)
    except VirtualPaintError as error:
        painted, note = None, str(error)
    found = [(ChannelSlot(label), taken, index) for index, label in enumerate(taken.channel_labels)]
    if painted is not None:
        found += [(ChannelSlot(label, True), painted, index) for index, label in enumerate(painted.channel_labels)]
    return found, note


def wanted_at_first(slots: Sequence[ChannelSlot]) -> set[ChannelSlot]:
    """Return the channels shown by default: painted stains, else true ones, else the middle plane of brightfield."""
    for group in ("painted", "true"):
        found = {slot for slot in slots if slot.group == group}
        if found:
            return found
    return middle(slots)


def middle(slots: Sequence[ChannelSlot]) -> set[ChannelSlot]:
    """Return the middle one of the brightfield planes, which would cover each other."""
    planes = [slot for slot in slots if slot.group == "brightfield"]
    return {planes[len(planes) // 2]} if planes else set()


def first_painted(slots: Collection[ChannelSlot], there: Collection[ChannelSlot]) -> bool:
    """Return whether a field has the first painted stains of its plate: none of the channels that have layers is painted."""
    return any(slot.painted for slot in slots) and not any(slot.painted for slot in there)


def load(
    store: PictureCache, place: Field, shown: set[ChannelSlot] | None, limited: Collection[ChannelSlot]
) -> Generator[FieldPictures | None, None, None]:
    """Read a field (on a worker): the visible channels together, then the rest one by one; each yield is a place to cancel.

    Parameters
    ----------
    store, place
        The field, and what it is read from.
    shown
        The visible channels; None where the plate has no layers yet. Where a field is the first one with painted stains, these are
        shown instead.
    limited
        The channels that have layers, with contrast limits.
    """
    yield None
    found, note = opened(store, place)
    slots = tuple(slot for slot, _, _ in found)
    alone = shown is not None and first_painted(slots, limited)
    first = wanted_at_first(slots) if shown is None or alone else shown
    ready = pictures(store, place, [each for each in found if each[0] in first], limited, visible=True)
    yield FieldPictures(place, ready, slots, note, first=True, alone=alone)
    for each in found:
        if each[0] not in first:
            yield FieldPictures(place, pictures(store, place, [each], limited, visible=False, beside=slots), slots, note)


def pictures(
    store: PictureCache,
    place: Field,
    channels: Sequence[Channel],
    limited: Collection[ChannelSlot],
    *,
    visible: bool,
    beside: Sequence[ChannelSlot] | None = None,
) -> tuple[Picture, ...]:
    """Read channels of a field together, with the arguments of their layers.

    Parameters
    ----------
    store, place
        The field, and what it is read from.
    channels
        Channels returned by `opened`.
    limited
        The channels that have contrast limits already.
    visible
        Whether the layers are shown.
    beside
        All channels of the field; `channels` where None.
    """
    slots = [slot for slot, _, _ in channels] if beside is None else beside
    made = {channel[0]: _arguments(store, place, channel, slots, visible) for channel in channels}
    pixels = store.read(place, {slot: lazy for slot, (lazy, _) in made.items()})
    found = []
    for slot, (_, arguments) in made.items():
        if slot not in limited and isinstance(pixels[slot], np.ndarray):
            limits = contrast_limits(pixels[slot], is_transmitted(slot.channel))
            arguments |= {} if limits is None else {"contrast_limits": limits}
        found.append(Picture(slot, pixels[slot], arguments))
    return tuple(found)


def _arguments(
    store: PictureCache, place: Field, channel: Channel, slots: Sequence[ChannelSlot], visible: bool
) -> tuple[Any, dict[str, Any]]:
    """Return the pixels of a channel, not read yet, and the arguments of its layer."""
    slot, stack, index = channel
    noted = {"plate": store.images.plate.source, "field": place.key}
    if slot.painted:
        noted["role"] = "stain"
    single = Stack(
        stack.data[:, index : index + 1],
        (slot.channel,),
        stack.pixel_size,
        stack.time_interval,
        stack.source,
        provenance=stack.provenance,
    )
    data, arguments, _kind = layer_data_from_stack(single, names=[slot.name], metadata=noted, limits=[None], visible=visible)[0]
    arguments["blending"] = "translucent_no_depth" if slot.group == "brightfield" else "additive"
    arguments["metadata"][KEY]["index"] = index
    group = [each for each in slots if each.group == slot.group]
    if slot.group != "brightfield":
        arguments |= looks_together([each.channel for each in group])[group.index(slot)]._asdict()
    return data, arguments


def prefetch(store: PictureCache, places: Sequence[Field], shown: set[ChannelSlot]) -> Generator[None, None, None]:
    """Read the visible channels of other fields into the cache (on a worker), until half of it is filled."""
    room = store.cache.limit // 2
    for place in places:
        yield None
        try:
            found = [channel for channel in opened(store, place)[0] if channel[0] in shown]
            room -= sum(stack.data[:, index].nbytes for _, stack, index in found)
            if room < 0:
                return
            pictures(store, place, found, shown, visible=False)
        except VirtualPaintError:
            continue  # reported when the user goes there
