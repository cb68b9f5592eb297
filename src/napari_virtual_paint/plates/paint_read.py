"""A field's pixels brought into memory: what its painting and scores need, and no other channel."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from napari_virtual_paint.downloads.image_cache import is_remote
from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.models import Match, ModelInfo, match
from napari_virtual_paint.models.applicability.summary import Verdict
from napari_virtual_paint.plates.plate import Field, FieldReader
from napari_virtual_paint.stack import Stack

FETCHING = 8
"""Images of a field on the network that are fetched at once."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A field whose pixels are in memory.

    Parameters
    ----------
    field
        Which.
    stack
        The channels that are painted from, in the model's order.
    channels
        How `stack` gives them to the model.
    truth
        The stains of the field itself; None where it has none.
    notes
        What a user should know of how the channels were found.
    seconds
        Time of reading.
    verdict
        How far the field is from what the model learned from; None where its package doesn't tell.
    """

    field: Field
    stack: Stack
    channels: tuple[str | int, ...] | None
    truth: Stack | None
    notes: tuple[str, ...]
    seconds: float
    verdict: Verdict | None = None


def read_field(reader: FieldReader, field: Field, info: ModelInfo, channels: tuple[str | int, ...] | None, *, truth: bool) -> Loaded:
    """Read what a field's painting and scores need.

    Parameters
    ----------
    reader
        Reads the plate's fields.
    field
        Which.
    info
        The model's.
    channels
        Those of the image in the model's order; None matches them by name.
    truth
        Whether to read the true stains, too.

    Raises
    ------
    ReadError, ModelError
        If the field is damaged, or its channels are not the model's.
    """
    started = time.perf_counter()
    stack = reader.read(field)
    found = match(info, stack, channels)
    stains = true_stains(stack, found, info.stains) if truth else []
    if found.luminance or stack.rgb:
        return Loaded(field, in_memory(stack, field), channels, None, (), time.perf_counter() - started)
    taken = list(dict.fromkeys(found.channels))
    both = in_memory(stack.select([*taken, *stains]), field)
    positions = tuple(taken.index(channel) for channel in found.channels)
    true = both.select(range(len(taken), len(taken) + len(stains))) if stains else None
    return Loaded(field, both.select(range(len(taken))), positions, true, found.notes, time.perf_counter() - started)


def true_stains(stack: Stack, found: Match, stains: Sequence[str]) -> list[int]:
    """Return the channels of the field that are stains of the model, in the model's order."""
    labels = [label.strip().casefold() for label in stack.channel_labels]
    indices = [labels.index(stain.casefold()) for stain in stains if labels.count(stain.casefold()) == 1]
    return [index for index in indices if index not in found.channels]


def in_memory(stack: Stack, field: Field) -> Stack:
    """Return a field with its pixels read.

    Raises
    ------
    ReadError
        If some can't be; it names the field and the channel.
    """
    from dask import config, local, threaded

    # A field is a few chunks, and the cores are the painter's; what is fetched waits for the network, not for a core. Where the scheduler
    # is told by its name dask imports distributed, which takes a third of a second.
    how = {"scheduler": threaded.get, "num_workers": FETCHING} if is_remote(stack.source) else {"scheduler": local.get_sync}
    with config.set(how):
        try:
            return stack.compute()
        except ReadError:
            _read_one_by_one(stack, field)
            raise


def _read_one_by_one(stack: Stack, field: Field) -> None:
    """Raise an error that tells which channel of a field can't be read."""
    for index, label in enumerate(stack.channel_labels):
        try:
            stack.select([index]).compute()
        except ReadError as error:
            what_to_do = "" if ";" in error.reason else f"; copy the field {field} again, or leave it out"
            raise ReadError(error.path, f"the channel {label}: {error.reason}{what_to_do}") from error
