"""Opera Phenix, Operetta, Operetta CLS and Sonata: Harmony's index of images.

``Index.xml`` (an export) or ``Index.idx.xml`` (a measurement), beside the images or in the folder ``Images``. Harmony up to 5 has the
channel's name and pixel size in each image, Harmony 6 and 7 once in a map of channels. Rows, columns, fields and planes count from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
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
    well_at,
)
from napari_virtual_paint.plates.layouts.xml_records import Record, read_records
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.filename_patterns import natural
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import PixelSize

INDICES = ("Index.idx.xml", "Index.xml", "Index.ref.xml")  # names of the index; the first that exists is read

_IMAGE, _PLATE, _MAP = "Images/Image", "Plates/Plate", "Map/Entry"
_CHILDREN = (
    *("URL", "Row", "Col", "FieldID", "PlaneID", "TimepointID", "ChannelID", "AcquisitionID", "ChannelName", "PositionZ"),
    *("ImageResolutionX", "ImageResolutionY", "Name", "PlateRows", "PlateColumns"),
)


def recognizes(path: Path) -> bool:
    """Return whether a folder has an index, or a file is one."""
    return _index(path) is not None


def open_layout(request: OpenRequest) -> Plate:
    """Open a plate by its index.

    Raises `ReadError` if there is no index, or it is damaged.
    """
    index = _index(request.path)
    if index is None:
        raise ReadError(request.path, f"it has no {' or '.join(INDICES[:2])}, in which Harmony lists the images; export the plate again")
    records = read_records(index, (_IMAGE, _PLATE, _MAP), _CHILDREN)
    images = [record for record in records[_IMAGE] if record.get("URL")]
    if not images:
        raise ReadError(index, "it lists no image; export the plate again")
    plate = (records[_PLATE] or [{}])[0]
    channels = {**_channels_of_map(records[_MAP]), **_channels_of_images(images)}
    heights = _heights(images)
    metadata = SourceMetadata(
        name=plate.get("Name", ""),
        folder=index.parent,
        names={channel: record["ChannelName"] for channel, record in channels.items() if record.get("ChannelName")},
        pixel_size=_pixel_size([*channels.values(), images[0]], heights),
        heights=heights,
        shape=stated_shape(plate.get("PlateRows"), plate.get("PlateColumns")),
    )
    return assemble_plate(request, planes_of_records(images, _plane, index, "URL"), metadata)


def _index(path: Path) -> Path | None:
    """Return the index of a folder, or the file itself if it is one."""
    if path.is_file():
        return path if path.name in INDICES else None
    files = (folder / name for folder in (path, path / "Images") for name in INDICES)
    return next((file for file in files if file.is_file()), None)


def _plane(record: Mapping[str, str], index: Path) -> Plane:
    """Return the plane of an entry."""
    return Plane(
        well=well_at(record["Row"], record["Col"], index),
        field=strip_zeros(record["FieldID"]),
        channel=record["ChannelID"],
        file=inside(record["URL"], index),
        z=record.get("PlaneID", ""),
        t=record.get("TimepointID", ""),
        acquisition=record.get("AcquisitionID", ""),
    )


def _channels_of_map(entries: Iterable[Record]) -> dict[str, Record]:
    """Return channel -> its entry in the map of channels; the index has other maps, too."""
    return {entry["ChannelID"]: entry for entry in entries if "ChannelID" in entry and "ChannelName" in entry}


def _channels_of_images(images: Iterable[Record]) -> dict[str, Record]:
    """Return channel -> its first image, if images have the channel's name."""
    first: dict[str, Record] = {}
    for record in images:
        if "ChannelName" in record:
            first.setdefault(record.get("ChannelID", ""), record)
    return first


def _pixel_size(channels: Iterable[Record], heights: Mapping[str, float]) -> PixelSize:
    """Return the voxel size; it has a z-step if the planes are evenly spaced."""
    size: Record = next((record for record in channels if "ImageResolutionX" in record), {})
    gaps = {round(high - low, 4) for low, high in pairwise(sorted(set(heights.values())))}
    keys = ("ImageResolutionY", "ImageResolutionX")
    return PixelSize(gaps.pop() if len(gaps) == 1 else None, *(micrometres(size.get(key), size.get(f"{key}@Unit", "m")) for key in keys))


def _heights(images: Iterable[Record]) -> dict[str, float]:
    """Return z-plane -> micrometres from the focus that the microscope found, by the first field of the index."""
    found: dict[str, float] = {}
    for record in images:
        plane = record.get("PlaneID", "")
        if plane and plane not in found and "PositionZ" in record:
            try:
                found[plane] = 1e6 * float(record["PositionZ"])
            except ValueError:
                continue
    return {plane: found[plane] for plane in sorted(found, key=natural)} if len(found) > 1 else {}
