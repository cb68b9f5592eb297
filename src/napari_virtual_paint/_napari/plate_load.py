"""A field's pictures made ready on a worker: what is shown first, the rest after it, all of it kept in a cache."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from napari_virtual_paint._napari.appearance import contrast_limits, is_transmitted, opacity_for
from napari_virtual_paint._napari.layers import KEY, layer_data_from_stack
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.show_fields import ByteCache, PlateImages
from napari_virtual_paint.stack import Stack

SHARE, MOST = 16, 2**30
"""The cache takes this part of the machine's memory, and no more than this many bytes."""
LARGE = 4
"""A picture larger than this part of the cache stays in its file."""


@dataclass(frozen=True)
class Slot:
    """A channel of a plate's fields, which has one layer.

    Parameters
    ----------
    channel
        Its name.
    painted
        Whether a model painted it.
    """

    channel: str
    painted: bool = False

    @property
    def name(self) -> str:
        """What its layer is called: as the Compare dock pairs by itself."""
        return f"{self.channel} (predicted)" if self.painted else self.channel

    @property
    def group(self) -> str:
        """``brightfield``, ``true`` or ``painted``."""
        return "painted" if self.painted else "brightfield" if is_transmitted(self.channel) else "true"


@dataclass(frozen=True, eq=False)
class Picture:
    """One channel of one field, ready for its layer.

    Parameters
    ----------
    slot
        Which layer it belongs to.
    data
        The pixels with the layer's axes; in memory, unless it is large.
    arguments
        Of a new layer: name, colours, scale, units ...
    """

    slot: Slot
    data: Any
    arguments: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures of a field that are ready together.

    Parameters
    ----------
    field
        The field.
    pictures
        What is ready.
    slots
        All that the field has.
    note
        What the user should know.
    """

    field: Field
    pictures: tuple[Picture, ...]
    slots: tuple[Slot, ...]
    note: str = ""


@dataclass(eq=False)
class Store:
    """What is read of a plate: its images, and the pictures that are kept.

    Parameters
    ----------
    images
        The plate's images.
    cache
        Pictures by field and slot.
    """

    images: PlateImages
    cache: ByteCache = field(default_factory=lambda: ByteCache(min(MOST, psutil.virtual_memory().total // SHARE)))

    def key(self, place: Field, slot: Slot) -> Hashable:
        """Return what a picture is kept under."""
        return place.key, slot

    def read(self, place: Field, slot: Slot, lazy: Any) -> Any:
        """Return a picture's pixels in memory, from the cache where they are there; as they are if they are too large."""
        found = self.cache.get(self.key(place, slot))
        if found is not None:
            return found
        if lazy.nbytes > self.cache.limit // LARGE:
            return lazy
        pixels = np.asarray(lazy)
        self.cache.put(self.key(place, slot), pixels)
        return pixels


def opened(store: Store, place: Field) -> tuple[list[tuple[Slot, Stack, int]], str]:
    """Return the slots of a field with the stack and the channel of each, and what the user should know.

    Raises
    ------
    ReadError
        If the field as taken can't be read; stains that can't be read are a note.
    """
    note = ""
    taken = store.images.taken(place)
    try:
        painted = store.images.painted(place)
    except VirtualPaintError as error:
        painted, note = None, str(error)
    found = [(Slot(label), taken, index) for index, label in enumerate(taken.channel_labels)]
    if painted is not None:
        found += [(Slot(label, True), painted, index) for index, label in enumerate(painted.channel_labels)]
    return found, note


def wanted_at_first(slots: Sequence[Slot]) -> set[Slot]:
    """Return what is shown of a plate at first: painted stains, else true ones, else the middle plane of brightfield."""
    for group in ("painted", "true"):
        found = {slot for slot in slots if slot.group == group}
        if found:
            return found
    return middle(slots)


def middle(slots: Sequence[Slot]) -> set[Slot]:
    """Return the plane in the middle of those of brightfield: they would cover each other."""
    planes = [slot for slot in slots if slot.group == "brightfield"]
    return {planes[len(planes) // 2]} if planes else set()


def load(store: Store, place: Field, shown: set[Slot] | None, limited: frozenset[Slot]) -> Generator[Batch | None, None, None]:
    """Read a field (on a worker): one batch of what is shown, then the rest one by one; each yield is a place to cancel.

    Parameters
    ----------
    store
        Where from.
    place
        The field.
    shown
        What is shown now; None where nothing of the plate was shown yet.
    limited
        The slots that have a layer, and contrast limits with it.
    """
    yield None
    found, note = opened(store, place)
    slots = tuple(slot for slot, _, _ in found)
    first = wanted_at_first(slots) if shown is None else shown
    pictures = []
    for slot, stack, index in found:
        if slot in first:
            pictures.append(picture(store, place, slot, stack, index, slot in limited, slots, visible=True))
            yield None
    yield Batch(place, tuple(pictures), slots, note)
    for slot, stack, index in found:
        if slot not in first:
            made = picture(store, place, slot, stack, index, slot in limited, slots, visible=False)
            yield Batch(place, (made,), slots, note)


def picture(
    store: Store, place: Field, slot: Slot, stack: Stack, index: int, limited: bool, slots: Sequence[Slot], *, visible: bool
) -> Picture:
    """Read one channel of a field and say how its layer looks."""
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
    data = store.read(place, slot, data)
    arguments["blending"] = "translucent_no_depth" if slot.group == "brightfield" else "additive"
    arguments["metadata"][KEY]["index"] = index
    arguments["opacity"] = 1.0 if slot.group == "brightfield" else opacity_for(sum(each.group == slot.group for each in slots))
    if not limited and isinstance(data, np.ndarray):
        found = contrast_limits(data, is_transmitted(slot.channel))
        if found is not None:
            arguments["contrast_limits"] = found
    return Picture(slot, data, arguments)


def prefetch(store: Store, places: Sequence[Field], shown: set[Slot]) -> Generator[None, None, None]:
    """Read what is shown of other fields into the cache (on a worker), as long as they fill no more than half of it."""
    room = store.cache.limit // 2
    for place in places:
        try:
            found, _ = opened(store, place)
            for slot, stack, index in found:
                if slot not in shown:
                    continue
                yield None
                size = stack.data[:, index].nbytes
                if size > room:
                    return
                room -= size
                if store.key(place, slot) not in store.cache:
                    picture(store, place, slot, stack, index, True, (), visible=False)
        except VirtualPaintError:
            continue  # whoever goes there is told
