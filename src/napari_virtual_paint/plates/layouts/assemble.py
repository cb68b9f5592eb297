"""Assemble a plate from a list of files, one for each plane: the common part of all such layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.models.channel_names import KINDS, parse_name
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.plane_reader import FileFields, PlaneFile, missing_plane
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.reading.file_parts import Place
from napari_virtual_paint.reading.filename_patterns import natural
from napari_virtual_paint.reading.name_words import is_projection
from napari_virtual_paint.stack import UNKNOWN, PixelSize

_SHOWN = 3  # examples in a note

Position: TypeAlias = tuple[str, str, str]  # time point, channel and z-plane, as the source writes them


class Plane(NamedTuple):
    """One file of a plate; everything is as the source writes it, except for the well, which is canonical."""

    well: str
    field: str
    channel: str
    file: str
    z: str = ""
    t: str = ""
    acquisition: str = ""


@dataclass(frozen=True)
class SourceMetadata:
    """What a source holds besides its list of files."""

    name: str  # name of the plate
    folder: Path  # folder of the files
    names: Mapping[str, str] = field(default_factory=dict)  # channel, as in the planes -> its name
    order: Sequence[str] = ()  # the channels in the source's order; others follow in natural order
    pixel_size: PixelSize = UNKNOWN  # micrometres; None keeps that of the files
    heights: Mapping[str, float] = field(default_factory=dict)  # z-plane, as in the planes -> micrometres from focus
    shape: tuple[int, int] = (0, 0)  # rows and columns of the plate; (0, 0) if unknown
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # well -> column -> value
    notes: tuple[str, ...] = ()  # notes for the user, one sentence each


@lru_cache(maxsize=4096)
def canonical(name: str) -> str | None:
    """Return the canonical name of a well, or None if it is no well; cached, since it is called for every image."""
    try:
        return wells.canonical(name)
    except InputError:
        return None


def well_at(row: str, column: str, source: Path) -> str:
    """Return the name of the well at a row and a column, both from 1, as in an index of images.

    Raises `ReadError` if there is no such well.
    """
    name = canonical(f"r{row}c{column}")
    if name is None:
        raise ReadError(source, f"it has an image in row {row!r} and column {column!r}, where no well is; it is damaged")
    return name


@lru_cache(maxsize=4096)
def strip_zeros(number: str) -> str:
    """Return a number without leading zeros, other text unchanged: ``007`` becomes ``7``, ``F007`` stays."""
    return str(int(number)) if number.isascii() and number.isdigit() else number


def planes_of_records(
    records: Iterable[Mapping[str, str]], plane_of: Callable[[Mapping[str, str], Path], Plane], file: Path, name: str
) -> Iterator[Plane]:
    """Yield the planes of an index of images, or raise a `ReadError` if an entry is incomplete.

    `plane_of` returns the plane of an entry; `file` is the index, and `name` the key of the image's name in an entry.
    """
    for record in records:
        try:
            yield plane_of(record, file)
        except KeyError as error:
            raise ReadError(file, f"its entry of the image {record[name]!r} has no {error.args[0]}; it is damaged") from error


def unique_names(names: Mapping[str, str]) -> dict[str, str]:
    """Return token of a channel -> its name, without empty names and names that two channels share."""
    given = list(names.values())
    return {token: name for token, name in names.items() if name and given.count(name) == 1}


def stated_shape(rows: object, columns: object) -> tuple[int, int]:
    """Return the rows and columns that a source states as numbers or text; (0, 0) unless it states both."""
    texts = str(rows), str(columns)
    return (int(texts[0]), int(texts[1])) if all(map(str.isdecimal, texts)) else (0, 0)


def assemble_plate(
    request: OpenRequest,
    planes: Iterable[Plane],
    metadata: SourceMetadata,
    *,
    locate: Callable[[str, str], Place] = Path,
    calibration: Callable[[Path], PixelSize] | None = None,
) -> Plate:
    """Return the plate whose planes are in these files.

    Parameters
    ----------
    request
        The request that is answered.
    metadata
        What the source holds besides.
    locate, calibration
        See `FileFields`; module-level functions, since they are pickled.

    Raises
    ------
    ReadError
        If two files are the same plane.
    """
    grouped = _group_by_field(planes, request.path)
    projections = _leave_out_projections(grouped)
    acquisitions = tuple(sorted({key[2] for key in grouped}, key=natural))
    several = len(acquisitions) > 1
    files: dict[Field, tuple[PlaneFile, ...]] = {}
    channels: dict[str, tuple[str, ...]] = {}
    for acquisition in acquisitions:
        name = acquisition if several else ""
        own = {Field(key[0], key[1], name): value for key, value in grouped.items() if key[2] == acquisition}
        numbers, channels[name], flat = _channels(request, own.values(), metadata)
        for each, positions in own.items():
            files[each] = tuple((t, numbers[c, z if flat else ""], "" if flat else z, file) for (t, c, z), file in positions.items())
    interleaved = {channel for positions in grouped.values() for _, channel, _ in positions} == {""}
    expected = _expected_channels(files, interleaved=interleaved)
    reader = FileFields(str(request.path), str(metadata.folder), files, channels, expected, metadata.pixel_size, locate, calibration)
    return Plate(
        name=metadata.name or request.name,
        source=str(request.path),
        layout="",
        fields=tuple(files),
        reader=reader,
        shape=_shape(metadata.shape, files),
        acquisitions=acquisitions if several else (),
        channels=tuple(dict.fromkeys(name for names in channels.values() for name in names)) or None,
        metadata=dict(metadata.metadata),
        notes=(*metadata.notes, *projections, *_notes(files, channels, expected)),
    )


def _group_by_field(planes: Iterable[Plane], source: Path) -> dict[tuple[str, str, str], dict[Position, str]]:
    """Return well, field and acquisition -> its planes."""
    found: dict[tuple[str, str, str], dict[Position, str]] = {}
    for well, field_name, channel, file, z, t, acquisition in planes:
        positions = found.setdefault((well, field_name, acquisition), {})
        other = positions.get((t, channel, z))
        positions[t, channel, z] = file
        if other is not None:
            fault = "listed twice" if other == file else f"the same plane as {other!r}"
            plane = ", ".join(
                f"{key} {value}" for key, value in (("field", field_name), ("channel", channel), ("z", z), ("time", t)) if value
            )
            shown = file.partition("\n")[0]  # without the numbers of a part of it
            raise ReadError(
                source, f"{shown!r} is {fault} (well {well}, {plane}); correct the list, or give a pattern that distinguishes them"
            )
    return found


def _leave_out_projections(grouped: Mapping[tuple[str, str, str], dict[Position, str]]) -> tuple[str, ...]:
    """Remove the projections of channels that have z-planes, and return a note on them; one without planes is its channel's only plane."""
    count = 0
    depths = {position[2] for positions in grouped.values() for position in positions}
    projections = {depth for depth in depths if depth and is_projection(depth)}
    for positions in grouped.values() if projections else ():
        marked = [position for position in positions if position[2] in projections]
        stacks = {position[:2] for position in positions if position[2] not in projections}
        for position in marked:
            file = positions.pop(position)
            if position[:2] in stacks:
                count += 1
            else:
                positions.setdefault((*position[:2], ""), file)
    return (f"{count} of its images are projections of z-planes and are left out.",) if count else ()


def _channels(
    request: OpenRequest, fields: Iterable[Mapping[Position, str]], metadata: SourceMetadata
) -> tuple[dict[tuple[str, str], int], tuple[str, ...], bool]:
    """Return channel (and z-plane) -> number, the names, and whether z-planes became channels.

    Where channels have different numbers of z-planes (three of brightfield and one of each stain), each plane becomes a channel, since
    they don't fit into one array otherwise.
    """
    depths: dict[str, dict[str, None]] = {}
    for positions in fields:
        for _, c, z in positions:
            depths.setdefault(c, {})[z] = None
    order = [c for c in metadata.order if c in depths]
    order += sorted((c for c in depths if c not in order), key=_channel_key)
    if order == [""]:
        return {("", ""): 0}, () if request.channels is None or isinstance(request.channels, Mapping) else tuple(request.channels), False
    flat = len({frozenset(some) for some in depths.values()}) > 1
    names = request.name_channels(order, metadata.names)
    if not flat:
        return {(c, ""): i for i, c in enumerate(order)}, names, False
    numbers: dict[tuple[str, str], int] = {}
    labels: list[str] = []
    for c, name in zip(order, names, strict=True):
        for z in sorted(depths[c], key=natural):
            numbers[c, z] = len(labels)
            labels.append(name if len(depths[c]) == 1 else _plane_name(name, z, metadata.heights))
    return numbers, tuple(labels), True


def _channel_key(channel: str) -> tuple[Any, ...]:
    """Return the key that sorts channels: known kinds in their usual order, those of one kind by their distance from focus."""
    parsed = parse_name(channel)
    kinds = list(KINDS)
    known = kinds.index(parsed.kind) if parsed.kind in KINDS else len(kinds)
    return known, natural(parsed.kind), parsed.offset or 0.0, natural(channel)


def _plane_name(name: str, z: str, heights: Mapping[str, float]) -> str:
    """Return the name of a z-plane as a channel: with its height if known, else its number."""
    return f"{name} {heights[z] or 0:{'+' if heights[z] else ''}g} um" if z in heights else f"{name} z{z}"


def _expected_channels(files: Mapping[Field, Sequence[PlaneFile]], *, interleaved: bool) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return well and acquisition -> numbers of the channels that any of its fields has.

    A stain that a whole well lacks was not imaged there; one that a single field lacks is missing.
    """
    found: dict[tuple[str, str], set[int]] = {}
    for each, planes in files.items():
        found.setdefault((each.well, each.acquisition), set()).update(c for _, c, _, _ in planes)
    return {key: () if interleaved else tuple(sorted(numbers)) for key, numbers in found.items()}


def _shape(shape: tuple[int, int], fields: Iterable[Field]) -> tuple[int, int]:
    """Return the rows and columns that the source states, if all wells lie within; else (0, 0)."""
    positions = [wells.position(well) for well in {each.well for each in fields}]
    return shape if all(row < shape[0] and column < shape[1] for row, column in positions) else (0, 0)


def _notes(
    files: Mapping[Field, Sequence[PlaneFile]], channels: Mapping[str, tuple[str, ...]], expected: Mapping[tuple[str, str], tuple[int, ...]]
) -> tuple[str, ...]:
    """Return notes on fields that lack planes, wells that lack channels, and acquisitions whose channels differ."""
    notes = []
    missing = {
        each: missing_plane(planes, expected[each.well, each.acquisition], channels[each.acquisition]) for each, planes in files.items()
    }
    incomplete = [f"{each} has no {words.removeprefix('the ')}" for each, words in missing.items() if words]
    if incomplete:
        notes.append(f"{len(incomplete)} of its {len(files)} fields lack an image and can't be read ({'; '.join(incomplete[:_SHOWN])}).")
    partial = [
        f"{well} has no {', '.join(name for i, name in enumerate(channels[acquisition]) if i not in numbers)}"
        for (well, acquisition), numbers in expected.items()
        if numbers and len(numbers) < len(channels[acquisition])
    ]
    if partial:
        notes.append(f"{len(partial)} of its {len(expected)} wells lack channels that others have ({'; '.join(partial[:_SHOWN])}).")
    if len(set(channels.values())) > 1:
        listed = "; ".join(f"{name}: {', '.join(names)}" for name, names in channels.items())
        notes.append(f"Its acquisitions have different channels ({listed}).")
    return tuple(notes)
