"""Yokogawa CellVoyager (CQ1, CV7000, CV8000): ``MeasurementData.mlf`` lists the images, ``MeasurementDetail.mrf`` describes the plate.

The mrf names the setting file (``.mes``), which names the channels. Rows, columns, fields, planes and channels count from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import (
    Plane,
    SourceMetadata,
    assemble_plate,
    inside,
    planes_of_records,
    stated_shape,
    strip_zeros,
    unique_names,
    well_at,
)
from napari_virtual_paint.plates.layouts.xml_records import Record, read_records
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import PixelSize

LIST, DETAIL = "MeasurementData.mlf", "MeasurementDetail.mrf"

_RECORD = "MeasurementData/MeasurementRecord"
_DETAIL, _CHANNEL, _PLATE = "MeasurementDetail", "MeasurementDetail/MeasurementChannel", "MeasurementDetail/MeasurementSamplePlate"
_CHANNELS, _STACK = "ChannelList/Channel", "ActionList/ActionAcquire3D"


def recognizes(path: Path) -> bool:
    """Return whether a folder has the list of a measurement, or a file belongs to one."""
    return (path / LIST).is_file() or (path.is_file() and path.suffix.lower() in (".mlf", ".mrf"))


def open_layout(request: OpenRequest) -> Plate:
    """Open a plate by its list.

    Raises `ReadError` if there is no list, or it is damaged.
    """
    folder = request.path if request.path.is_dir() else request.path.parent
    file = request.path if request.path.suffix.lower() == ".mlf" else folder / LIST
    if not file.is_file():
        raise ReadError(request.path, f"{LIST}, which lists the images, is missing; copy the whole measurement")
    records = [record for record in read_records(file, (_RECORD,))[_RECORD] if record.get("Type", "IMG") == "IMG" and record.get("")]
    if not records:
        raise ReadError(file, "it lists no image; copy the measurement again")
    return assemble_plate(request, planes_of_records(records, _plane, file, ""), _metadata(folder, records))


def _plane(record: Mapping[str, str], file: Path) -> Plane:
    """Return the plane of an entry."""
    return Plane(
        well=well_at(record["Row"], record["Column"], file),
        field=strip_zeros(record["FieldIndex"]),
        channel=record["Ch"],
        file=inside(record[""], file),
        z=record.get("ZIndex", ""),
        t=record.get("TimePoint", ""),
    )


def _metadata(folder: Path, records: Iterable[Record]) -> SourceMetadata:
    """Return the metadata of the measurement's detail and setting files."""
    file = folder / DETAIL
    if not file.is_file():
        return SourceMetadata("", folder, notes=(f"{DETAIL} is missing, so pixel size and names of channels are not known.",))
    detail = (read_records(file, (_DETAIL,))[_DETAIL] or [{}])[0]
    within = read_records(file, (_CHANNEL, _PLATE))
    names, step = _setting(folder, inside(detail.get("MeasurementSettingFileName", ""), file))
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


def _setting(folder: Path, name: str) -> tuple[dict[str, str], float | None]:
    """Return the channels' names and the z-step in a measurement's setting file, if it is beside the list.

    A channel's name is its target, or its fluorophore if the target is empty.
    """
    file = folder / name
    if not name or not file.is_file():
        return {}, None
    records = read_records(file, (_CHANNELS, _STACK))
    found = {
        record.get("Ch", ""): record.get("Target", "").strip() or record.get("Fluorophore", "").strip() for record in records[_CHANNELS]
    }
    steps = {record.get("SliceLength") for record in records[_STACK]}
    return unique_names(found), micrometres(steps.pop(), "um") if len(steps) == 1 else None
