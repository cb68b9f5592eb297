"""Pairs of plates: each field of view is one, its unstained channels the input and its stains the target."""

from __future__ import annotations

from collections import Counter

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.training.config.data import Plates
from napari_virtual_paint.training.data.source import Source


def from_plates(settings: Plates) -> list[Source]:
    """List the fields of plates, plate by plate, by row and column; no pixel is read.

    Raises
    ------
    ReadError
        If a plate or its map is missing or damaged.
    InputError
        If a setting does not fit a plate.
    """
    plates = [_opened(settings, index) for index in range(len(settings.path))]
    counts = Counter(plate.name for plate in plates)
    twice = next((plate.source for plate in plates if sum(other.source == plate.source for other in plates) > 1), None)
    if twice is not None:
        raise InputError(f"{twice}: data.plate lists this plate twice.")
    sources = []
    for plate in plates:
        name = plate.name if counts[plate.name] == 1 else plate.source
        ahead = f"{name}/" if len(plates) > 1 else ""
        for field in plate.fields:
            known = {
                column.casefold(): str(value) for column, value in plate.metadata.get(field.well, {}).items() if value not in (None, "")
            }
            told = {**known, "plate": name, "well": field.well}
            label = f"{plate.source}: field {field.key}"
            sources.append(Source(ahead + field.key, label, label, place=(plate.reader, field), told=told))
    return sources


def _opened(settings: Plates, index: int) -> Plate:
    """Open one of the plates and take the fields that are wanted."""
    maps = settings.plate_map
    names = settings.names
    plate = open_plate(
        settings.path[index],
        pattern=settings.pattern,
        layout=settings.layout,
        plate_map=maps[index if len(maps) > 1 else 0] if maps else None,
        channels=list(names) if isinstance(names, tuple) else names,
    )
    return plate.select(settings.wells, settings.fields)
