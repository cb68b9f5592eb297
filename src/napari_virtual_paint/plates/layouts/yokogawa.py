"""Yokogawa CellVoyager (CQ1, CV7000, CV8000): ``MeasurementData.mlf`` lists the images, ``MeasurementDetail.mrf`` tells of the plate.

The mrf names the setting (``.mes``), which names the channels. Rows, columns, fields, planes and channels count from 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, Told, inside, plain, plate_of, well_at
from napari_virtual_paint.plates.layouts.xml_records import Record, read_records
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import PixelSize

LIST, DETAIL = "MeasurementData.mlf", "MeasurementDetail.mrf"

_RECORD = "MeasurementData/MeasurementRecord"
_DETAIL, _CHANNEL, _PLATE = "MeasurementDetail", "MeasurementDetail/MeasurementChannel", "MeasurementDetail/MeasurementSamplePlate"
_CHANNELS, _STACK = "ChannelList/Channel", "ActionList/ActionAcquire3D"


def found(path: Path) -> bool:
    """Return whether a folder has the list of a measurement, or a file is of one."""
    return (path / LIST).is_file() or (path.is_file() and path.suffix.lower() in (".mlf", ".mrf"))


def opened(request: OpenRequest) -> Plate:
    """Open a plate by its list.

    Raises
    ------
    ReadError
        If there is no list, or it is damaged.
    """
    folder = request.path if request.path.is_dir() else request.path.parent
    file = request.path if request.path.suffix.lower() == ".mlf" else folder / LIST
    if not file.is_file():
        raise ReadError(request.path, f"{LIST}, which lists the images, is missing; copy the whole measurement")
    records = [record for record in read_records(file, (_RECORD,))[_RECORD] if record.get("Type", "IMG") == "IMG" and record.get("")]
    if not records:
        raise ReadError(file, "it lists no image; copy the measurement again")
    return plate_of(request, _planes(records, file), _told(folder, records))


def _planes(records: Iterable[Record], file: Path) -> Iterable[Plane]:
    """Return the planes that the list has."""
    for record in records:
        try:
            yield Plane(
                well=well_at(record["Row"], record["Column"], file),
                field=plain(record["FieldIndex"]),
                channel=record["Ch"],
                file=inside(record[""], file),
                z=record.get("ZIndex", ""),
                t=record.get("TimePoint", ""),
            )
        except KeyError as error:
            raise ReadError(file, f"its entry of the image {record['']!r} has no {error.args[0]}; it is damaged") from error


def _told(folder: Path, records: Iterable[Record]) -> Told:
    """Return what the detail and the setting tell."""
    file = folder / DETAIL
    if not file.is_file():
        return Told("", folder, notes=(f"{DETAIL} is missing, so pixel size and names of channels are not known.",))
    detail = (read_records(file, (_DETAIL,))[_DETAIL] or [{}])[0]
    parts = read_records(file, (_CHANNEL, _PLATE))
    names, step = _setting(folder, inside(detail.get("MeasurementSettingFileName", ""), file))
    used = {record.get("Ch", "") for record in records}
    size: Record = next((channel for channel in parts[_CHANNEL] if channel.get("Ch") in used), {})
    title = (parts[_PLATE] or [{}])[0].get("Name", "") or detail.get("Title", "")
    across, down = (micrometres(size.get(f"{way}PixelDimension"), "um") for way in ("Horizontal", "Vertical"))
    rows, columns = detail.get("RowCount", ""), detail.get("ColumnCount", "")
    return Told(
        name=title,
        folder=folder,
        names=names,
        pixel_size=PixelSize(step, down or across, across),
        shape=(int(rows), int(columns)) if rows.isdecimal() and columns.isdecimal() else (0, 0),
    )


def _setting(folder: Path, name: str) -> tuple[dict[str, str], float | None]:
    """Return the channels' names and the step in z of a measurement's setting, where it lies beside the list.

    A channel is called by its target, or by its fluorophore where the target is empty; names that two channels share tell nothing.
    """
    file = folder / name
    if not name or not file.is_file():
        return {}, None
    records = read_records(file, (_CHANNELS, _STACK))
    found = {
        record.get("Ch", ""): record.get("Target", "").strip() or record.get("Fluorophore", "").strip() for record in records[_CHANNELS]
    }
    names = list(found.values())
    steps = {record.get("SliceLength") for record in records[_STACK]}
    step = micrometres(steps.pop(), "um") if len(steps) == 1 else None
    return {channel: text for channel, text in found.items() if text and names.count(text) == 1}, step
