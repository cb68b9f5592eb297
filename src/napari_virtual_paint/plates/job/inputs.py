"""Which channels of a plate's fields a model paints from: by their names, or as the user chooses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from napari_virtual_paint.errors import InputError, ModelError, ReadError
from napari_virtual_paint.models import Match, ModelInfo, match
from napari_virtual_paint.models.channel_names import find_names
from napari_virtual_paint.models.matching import inputs_to_choose, stained_channels
from napari_virtual_paint.painting.image_preparation import channels_of_model, expected_for
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.plate import Field, FieldReader, Plate
from napari_virtual_paint.stack import Stack

TRIED_FIELDS = 24  # fields of which one must be readable for a job to begin


@dataclass(frozen=True)
class PlateInputs:
    """The channels of a plate's fields, and which of them a model gets."""

    wanted: tuple[str, ...] = ()  # the model's inputs
    offered: tuple[str, ...] = ()  # names of the fields' channels
    taken: tuple[int | None, ...] = ()  # the channel given to each input, as its position; None where it is to be chosen
    question: str = ""  # why the user must choose, in a sentence; empty where the names tell which channel is which
    unreadable: str = ""  # why nothing can be painted, in a sentence, where no field can be read


def find_inputs(
    plate: Plate, info: ModelInfo, channels: Sequence[str | int] | None = None, settings: PaintSettings | None = None
) -> PlateInputs:
    """Find the channels that a model gets from a plate, by its first field that can be read; reads no pixel.

    Parameters
    ----------
    channels
        Names or positions of the channels in the model's order, where the user chose them.
    settings
        How each field is preprocessed.

    Returns
    -------
    PlateInputs
        Without channels where no field can be read, with the reason, or where the colours of pictures become one channel.
    """
    stack, fault = _first_field(plate.reader, plate.fields)
    if stack is None:
        return PlateInputs(unreadable=_unreadable(plate, fault))
    if stack.rgb:
        return PlateInputs()
    wanted, offered = inputs_to_choose(info, stack), tuple(stack.channel_labels)
    try:
        if settings is not None and (settings.phase is not None or settings.focus != "none"):
            taken = channels_of_model(info, stack, replace(settings, channels=None if channels is None else tuple(channels)))
            wanted = wanted if len(taken) == len(wanted) else ("Planes",) * len(taken)
            return PlateInputs(wanted, offered, tuple(offered.index(name) for name in taken))
        found = match(info, stack, channels)
    except (InputError, ModelError) as error:
        question = str(error).removeprefix(f"{stack.source or 'The image'}: ")
        if "--channels" in question:
            question = f"the model {info.id} paints from {', '.join(wanted)}, and the plate's channels are {', '.join(offered)}."
        return PlateInputs(wanted, offered, (None,) * len(wanted), f"{question[:1].upper()}{question[1:]}")
    if channels is None and (stained := stained_channels(info, stack, found)):
        return PlateInputs(wanted, offered, (None,) * len(wanted), f"{_stained(info, stained)}.")
    return PlateInputs(wanted, offered, tuple(found.channels))


def check_inputs(plate: str, info: ModelInfo, stack: Stack, settings: PaintSettings) -> Match:
    """Match the channels of a plate's field, preprocessed as the settings say, to a model.

    Parameters
    ----------
    plate
        The plate's path, for messages.

    Raises
    ------
    ModelError
        If they are ambiguous, or one is fluorescence by its name where the model paints from transmitted light and the user did not
        name it.
    """
    ready, _ = expected_for(info, stack, settings.channels, settings)
    if ready is not stack:
        return match(info, ready)
    channels = settings.channels
    found = match(info, stack, channels)
    if channels is None and (stained := stained_channels(info, stack, found)):
        have = ", ".join(stack.channel_labels)
        raise ModelError(
            f"{plate}: {_stained(info, stained)}; its channels are {have}: "
            f"if that is meant, name the channel with --channels, as in --channels {','.join(stained)}."
        )
    return found


def true_stain_places(stack: Stack, stains: Sequence[str], taken: Sequence[int] = ()) -> list[int]:
    """Return the channels of a field that are stains of the model by their names (or other names of them), in the model's order."""
    places = find_names(stains, stack.channel_labels) if stack.channels is not None else ()
    return [place for place in places if place is not None and place not in taken]


def first_field(reader: FieldReader, fields: Iterable[Field]) -> Stack | None:
    """Return the first field that can be read, its pixels still in their files; None if the first ones are all damaged."""
    return _first_field(reader, fields)[0]


def _first_field(reader: FieldReader, fields: Iterable[Field]) -> tuple[Stack | None, str]:
    """Return the first field that can be read, or None and the fault of the first one."""
    fault = ""
    for field, _ in zip(fields, range(TRIED_FIELDS), strict=False):
        try:
            return reader.read(field), ""
        except (ReadError, OSError) as error:
            fault = fault or str(error)
    return None, fault


def _unreadable(plate: Plate, fault: str) -> str:
    tried = min(len(plate.fields), TRIED_FIELDS)
    which = "The only field" if len(plate.fields) == 1 else f"None of the {'first ' if tried < len(plate.fields) else ''}{tried} fields"
    fault = fault.removeprefix(f"{plate.source}/").rstrip(".")
    return f"{which} can{'not' if len(plate.fields) == 1 else ''} be read: {fault}." if fault else "This plate holds no field."


def _stained(info: ModelInfo, stained: Sequence[str]) -> str:
    be = "is" if len(stained) == 1 else "are"
    return f"{' and '.join(stained)} {be} fluorescence by name, and the model {info.id} paints from {info.light}"
