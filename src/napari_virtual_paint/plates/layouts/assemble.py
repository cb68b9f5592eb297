"""Plates of many files, one a plane: what every such layout does with the list of its files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from napari_virtual_paint.downloads.image_cache import Remote
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.models.channel_names import KINDS, parse_name
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.plane_reader import FileFields, Located, missing_plane
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.reading.filename_patterns import natural
from napari_virtual_paint.stack import UNKNOWN, PixelSize

_SHOWN = 3
_DRIVE = re.compile(r"[A-Za-z]:")

Place: TypeAlias = tuple[str, str, str]
"""Time point, channel and z-plane, as the source writes them."""


class Plane(NamedTuple):
    """One file of a plate, all as the source writes it but for the well, which is canonical."""

    well: str
    field: str
    channel: str
    file: str
    z: str = ""
    t: str = ""
    acquisition: str = ""


@dataclass(frozen=True)
class Told:
    """What a source tells besides its list of files.

    Parameters
    ----------
    name
        Of the plate.
    folder
        Where the files lie.
    names
        Channel as the planes have it -> its name.
    order
        The channels in the source's order; others follow in natural order.
    pixel_size
        Micrometres; None leaves what the files tell.
    heights
        z-plane as the planes have it -> micrometres from focus.
    shape
        Rows and columns; (0, 0) where it is not told.
    metadata
        Well -> column -> value.
    notes
        What a user should know.
    """

    name: str
    folder: Path
    names: Mapping[str, str] = field(default_factory=dict)
    order: Sequence[str] = ()
    pixel_size: PixelSize = UNKNOWN
    heights: Mapping[str, float] = field(default_factory=dict)
    shape: tuple[int, int] = (0, 0)
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def inside(name: str, source: Path) -> str:
    """Return the name of a file in the plate's folder; one that leads out of it is refused.

    Raises
    ------
    ReadError
        If it is absolute, a URL, or has ``..`` in it.
    """
    plain = name.replace("\\", "/")
    if "://" in plain or plain.startswith("/") or _DRIVE.match(plain) or ".." in plain.split("/"):
        raise ReadError(source, f"it points out of its folder ({name!r}); it is damaged, hostile, or the images were never copied")
    return plain


@lru_cache(maxsize=4096)
def canonical(name: str) -> str | None:
    """Return a well's name, or None where it is none; remembered, as every image of a table asks."""
    try:
        return wells.canonical(name)
    except InputError:
        return None


def well_at(row: str, column: str, source: Path) -> str:
    """Return the name of the well at a row and a column, both from 1, as an index of images has them.

    Raises
    ------
    ReadError
        If there is no such well.
    """
    name = canonical(f"r{row}c{column}")
    if name is None:
        raise ReadError(source, f"it has an image in row {row!r} and column {column!r}, which are no well; it is damaged")
    return name


@lru_cache(maxsize=4096)
def plain(number: str) -> str:
    """Return a number without leading zeros, other text as it is: ``F007`` stays, ``007`` is ``7``."""
    return str(int(number)) if number.isascii() and number.isdigit() else number


def plate_of(
    request: OpenRequest,
    planes: Iterable[Plane],
    told: Told,
    *,
    locate: Callable[[str, str], Path | Remote] = Path,
    calibration: Callable[[Path], PixelSize] | None = None,
) -> Plate:
    """Return the plate whose planes lie in these files.

    Parameters
    ----------
    request
        What is opened.
    planes
        All files.
    told
        What the source tells besides.
    locate, calibration
        See `FileFields`; functions of a module, for they travel to other processes.

    Raises
    ------
    ReadError
        If two files are the same plane.
    """
    grouped = _grouped(planes, request.path)
    acquisitions = tuple(sorted({key[2] for key in grouped}, key=natural))
    several = len(acquisitions) > 1
    files: dict[Field, tuple[Located, ...]] = {}
    channels: dict[str, tuple[str, ...]] = {}
    for acquisition in acquisitions:
        name = acquisition if several else ""
        own = {Field(key[0], key[1], name): value for key, value in grouped.items() if key[2] == acquisition}
        numbers, channels[name], flat = _channels(request, own.values(), told)
        for each, places in own.items():
            files[each] = tuple((t, numbers[c, z if flat else ""], "" if flat else z, file) for (t, c, z), file in places.items())
    within = {channel for places in grouped.values() for _, channel, _ in places} == {""}
    wanted = _wanted(files, within=within)
    reader = FileFields(str(request.path), str(told.folder), files, channels, wanted, told.pixel_size, locate, calibration)
    return Plate(
        name=told.name or request.name,
        source=str(request.path),
        layout="",
        fields=tuple(files),
        reader=reader,
        shape=_shape(told.shape, files),
        acquisitions=acquisitions if several else (),
        channels=tuple(dict.fromkeys(name for names in channels.values() for name in names)) or None,
        metadata=dict(told.metadata),
        notes=(*told.notes, *_notes(files, channels, wanted)),
    )


def _grouped(planes: Iterable[Plane], source: Path) -> dict[tuple[str, str, str], dict[Place, str]]:
    """Return well, field and acquisition -> its planes."""
    found: dict[tuple[str, str, str], dict[Place, str]] = {}
    for well, name, channel, file, z, t, acquisition in planes:
        places = found.setdefault((well, name, acquisition), {})
        other = places.get((t, channel, z))
        places[t, channel, z] = file
        if other is not None:
            what = "listed twice" if other == file else f"the same plane as {other!r}"
            place = ", ".join(f"{key} {value}" for key, value in (("field", name), ("channel", channel), ("z", z), ("time", t)) if value)
            raise ReadError(source, f"{file!r} is {what} (well {well}, {place}); correct the list, or give a pattern that tells them apart")
    return found


def _channels(
    request: OpenRequest, fields: Iterable[Mapping[Place, str]], told: Told
) -> tuple[dict[tuple[str, str], int], tuple[str, ...], bool]:
    """Return channel (and z-plane) -> number, the names, and whether z-planes became channels.

    Where channels have different numbers of z-planes (three of brightfield and one of each stain), each plane is a channel of its own,
    as no array holds them otherwise.
    """
    depths: dict[str, dict[str, None]] = {}
    for places in fields:
        for _, c, z in places:
            depths.setdefault(c, {})[z] = None
    order = [c for c in told.order if c in depths]
    order += sorted((c for c in depths if c not in order), key=_by_name)
    if order == [""]:
        return {("", ""): 0}, () if request.channels is None or isinstance(request.channels, Mapping) else tuple(request.channels), False
    flat = len({frozenset(some) for some in depths.values()}) > 1
    names = request.named(order, told.names)
    if not flat:
        return {(c, ""): i for i, c in enumerate(order)}, names, False
    numbers: dict[tuple[str, str], int] = {}
    labels: list[str] = []
    for c, name in zip(order, names, strict=True):
        for z in sorted(depths[c], key=natural):
            numbers[c, z] = len(labels)
            labels.append(name if len(depths[c]) == 1 else _plane_name(name, z, told.heights))
    return numbers, tuple(labels), True


def _by_name(channel: str) -> tuple[Any, ...]:
    """Return the key that sorts channels: kinds that are known in their usual order, those of one kind by their distance from focus."""
    parsed = parse_name(channel)
    kinds = list(KINDS)
    known = kinds.index(parsed.kind) if parsed.kind in KINDS else len(kinds)
    return known, natural(parsed.kind), parsed.offset or 0.0, natural(channel)


def _plane_name(name: str, z: str, heights: Mapping[str, float]) -> str:
    """Return the name of a z-plane as a channel: with its height where that is known."""
    return f"{name} {heights[z] or 0:{'+' if heights[z] else ''}g} um" if z in heights else f"{name} z{z}"


def _wanted(files: Mapping[Field, Sequence[Located]], *, within: bool) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return well and acquisition -> numbers of the channels that any of its fields has.

    Stains that a whole well lacks were not taken there; one that a single field lacks is missing.
    """
    found: dict[tuple[str, str], set[int]] = {}
    for each, planes in files.items():
        found.setdefault((each.well, each.acquisition), set()).update(c for _, c, _, _ in planes)
    return {key: () if within else tuple(sorted(numbers)) for key, numbers in found.items()}


def _shape(told: tuple[int, int], fields: Iterable[Field]) -> tuple[int, int]:
    """Return rows and columns as they are told, if all wells lie within."""
    places = [wells.position(well) for well in {each.well for each in fields}]
    return told if all(row < told[0] and column < told[1] for row, column in places) else (0, 0)


def _notes(
    files: Mapping[Field, Sequence[Located]], channels: Mapping[str, tuple[str, ...]], wanted: Mapping[tuple[str, str], tuple[int, ...]]
) -> tuple[str, ...]:
    """Return what is to be said of fields that lack planes, of wells that lack channels, and of acquisitions that differ."""
    notes = []
    absent = {
        each: missing_plane(planes, wanted[each.well, each.acquisition], channels[each.acquisition]) for each, planes in files.items()
    }
    lacking = [f"{each} has no {words.removeprefix('the ')}" for each, words in absent.items() if words]
    if lacking:
        notes.append(f"{len(lacking)} of its {len(files)} fields lack an image and can't be read ({'; '.join(lacking[:_SHOWN])}).")
    poor = [
        f"{well} has no {', '.join(name for i, name in enumerate(channels[acquisition]) if i not in numbers)}"
        for (well, acquisition), numbers in wanted.items()
        if numbers and len(numbers) < len(channels[acquisition])
    ]
    if poor:
        notes.append(f"{len(poor)} of its {len(wanted)} wells lack channels that others have ({'; '.join(poor[:_SHOWN])}).")
    if len(set(channels.values())) > 1:
        told = "; ".join(f"{name}: {', '.join(names)}" for name, names in channels.items())
        notes.append(f"Its acquisitions have different channels ({told}).")
    return tuple(notes)
