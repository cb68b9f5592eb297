"""Yokogawa CellVoyager (CQ1, CV7000, CV8000): ``MeasurementData.mlf`` lists the images, ``MeasurementDetail.mrf`` describes the plate.

The mrf names the setting file (``.mes``), which names the channels. Rows, columns, fields, planes and channels count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import (
    Plane,
    SourceMetadata,
    assemble_plate,
    planes_of_records,
    stated_shape,
    strip_zeros,
    unique_names,
    well_at,
)
from napari_virtual_paint.plates.layouts.file_location import find_images
from napari_virtual_paint.plates.layouts.index_search import IndexKind, find_index, indexes_in, list_folder
from napari_virtual_paint.plates.layouts.xml_records import Record, read_records
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.instrument_names import PROJECTION
from napari_virtual_paint.reading.name_words import is_projection
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import PixelSize

LIST, DETAIL = "MeasurementData.mlf", "MeasurementDetail.mrf"

_RECORD = "MeasurementData/MeasurementRecord"
_DETAIL, _CHANNEL, _PLATE = "MeasurementDetail", "MeasurementDetail/MeasurementChannel", "MeasurementDetail/MeasurementSamplePlate"
_CHANNELS, _STACK = "ChannelList/Channel", "ActionList/ActionAcquire3D"


INDEX = IndexKind("yokogawa", lambda name: name.endswith(".mlf"), usual=(LIST,))


def recognizes(path: Path) -> bool:
    """Return whether a folder has the list of a measurement, or a file belongs to one."""
    return path.suffix.lower() in (".mlf", ".mrf") if path.is_file() else bool(indexes_in(list_folder(path), (INDEX,)))


def open_layout(request: OpenRequest) -> Plate:
    """Open a plate by its list.

    Raises `ReadError` if there is no list, or it is damaged.
    """
    path = request.path
    file = find_index(replace(request, path=path.parent) if path.suffix.lower() == ".mrf" else request, INDEX)
    if file is None:
        raise ReadError(path, f"{LIST}, which lists the images, is missing; copy the whole measurement")
    records = [record for record in read_records(file, (_RECORD,))[_RECORD] if record.get("Type", "IMG") == "IMG" and record.get("")]
    if not records:
        raise ReadError(file, "it lists no image; copy the measurement again")
    places, notes = find_images((record[""] for record in records), file, above=True)
    metadata = _metadata(file, records)
    metadata = replace(metadata, notes=(*metadata.notes, *notes))
    return assemble_plate(request, planes_of_records(records, partial(_plane, places), file, ""), metadata)


def _plane(places: Mapping[str, str], record: Mapping[str, str], file: Path) -> Plane:
    """Return the plane of an entry."""
    return Plane(
        well=well_at(record["Row"], record["Column"], file),
        field=strip_zeros(record["FieldIndex"]),
        channel=record["Ch"],
        file=places[record[""]],
        z=PROJECTION if _is_projected(record) else record.get("ZIndex", ""),
        t=record.get("TimePoint", ""),
    )


def _is_projected(record: Mapping[str, str]) -> bool:
    """Return whether an image is a projection: planes count from 1, and the action of a projection says so."""
    return record.get("ZIndex") == "0" or _projects(record.get("Action", ""))


@lru_cache(maxsize=256)
def _projects(action: str) -> bool:
    """Return whether a word in the name of an action means a projection."""
    return any(is_projection(word) for word in re.split(r"[^A-Za-z]+", action))


def _beside(file: Path, name: str) -> Path | None:
    """Return the file beside another by its name, in any case of letters; a path of the instrument is none."""
    names = list_folder(file.parent).files
    wanted = name.replace("\\", "/").rpartition("/")[2].casefold()
    return next((file.parent / each for each in names if each.casefold() == wanted), None)


def _detail_of(file: Path) -> Path | None:
    """Return the description beside a list: of the usual name, else of the list's own, else the only one."""
    others = [name for name in list_folder(file.parent).files if name.casefold().endswith(".mrf")]
    own = _beside(file, DETAIL) if file.name.casefold() == LIST.casefold() else _beside(file, f"{file.stem}.mrf")
    return own or (file.parent / others[0] if len(others) == 1 else None)


def _metadata(mlf: Path, records: Iterable[Record]) -> SourceMetadata:
    """Return the metadata of the measurement's detail and setting files."""
    file, folder = _detail_of(mlf), mlf.parent
    if file is None:
        return SourceMetadata("", folder, notes=(f"{DETAIL} is missing, so pixel size and names of channels are not known.",))
    detail = (read_records(file, (_DETAIL,))[_DETAIL] or [{}])[0]
    within = read_records(file, (_CHANNEL, _PLATE))
    names, step = _setting(_beside(mlf, detail.get("MeasurementSettingFileName", "")))
    used = {record.get("Ch", "") for record in records}
    size: Record = next((channel for channel in within[_CHANNEL] if channel.get("Ch") in used), {})
    x, y = (micrometres(size.get(f"{direction}PixelDimension"), "um") for direction in ("Horizontal", "Vertical"))
    return SourceMetadata(
        name=(within[_PLATE] or [{}])[0].get("Name", "") or detail.get("Title", ""),
        folder=folder,
        names=names,
        pixel_size=PixelSize(step, y or x, x),
        shape=stated_shape(detail.get("RowCount"), detail.get("ColumnCount")),
    )


def _setting(file: Path | None) -> tuple[dict[str, str], float | None]:
    """Return the channels' names and the z-step in a measurement's setting file, if it is beside the list.

    A channel's name is its target, or its fluorophore if the target is empty.
    """
    if file is None:
        return {}, None
    records = read_records(file, (_CHANNELS, _STACK))
    found = {
        record.get("Ch", ""): record.get("Target", "").strip() or record.get("Fluorophore", "").strip() for record in records[_CHANNELS]
    }
    steps = {record.get("SliceLength") for record in records[_STACK]}
    return unique_names(found), micrometres(steps.pop(), "um") if len(steps) == 1 else None
