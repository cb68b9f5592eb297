"""Opera Phenix, Operetta, Operetta CLS and Sonata: Harmony's index of images.

``Index.xml`` (an export) or ``Index.idx.xml`` (a measurement), beside the images, in the folder ``Images`` or above it. Harmony up to 5 has
the channel's name and pixel size in each image, Harmony 6 and 7 once in a map of channels. Rows, columns, fields and planes count from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import pairwise
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
    well_at,
)
from napari_virtual_paint.plates.layouts.file_location import find_images
from napari_virtual_paint.plates.layouts.index_search import IndexKind, find_index, plates_in, tag_in_head
from napari_virtual_paint.plates.layouts.xml_records import Record, read_records
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.filename_patterns import natural
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import PixelSize

INDICES = ("Index.idx.xml", "Index.xml", "Index.ref.xml")  # names of the index; of one plate the first that exists is read
_NAMES = tuple(map(str.casefold, INDICES))

_IMAGE, _PLATE, _MAP = "Images/Image", "Plates/Plate", "Map/Entry"
_CHILDREN = (
    *("URL", "Row", "Col", "FieldID", "PlaneID", "TimepointID", "ChannelID", "AcquisitionID", "ChannelName", "PositionZ"),
    *("ImageResolutionX", "ImageResolutionY", "Name", "PlateRows", "PlateColumns"),
)


def _plate_name(path: Path) -> str:
    """Return the plate's name in an index."""
    return tag_in_head(path, r"(?s)<Plate>.*?<Name>([^<]*)</Name>") or tag_in_head(path, r"<PlateID>([^<]*)</PlateID>")


INDEX = IndexKind("opera-phenix", _NAMES.__contains__, _NAMES.index, _plate_name, usual=INDICES)


def recognizes(path: Path) -> bool:
    """Return whether a folder has an index, or a file is one."""
    return INDEX.matches(path.name.casefold()) if path.is_file() else bool(plates_in(path, (INDEX,))[0])


def open_layout(request: OpenRequest) -> Plate:
    """Open a plate by its index.

    Raises `ReadError` if there is no index, or it is damaged.
    """
    index = find_index(request, INDEX)
    if index is None:
        raise ReadError(request.path, f"it has no {' or '.join(INDICES[:2])}, in which Harmony lists the images; export the plate again")
    records = read_records(index, (_IMAGE, _PLATE, _MAP), _CHILDREN)
    images = [record for record in records[_IMAGE] if record.get("URL")]
    if not images:
        raise ReadError(index, "it lists no image; export the plate again")
    plate = (records[_PLATE] or [{}])[0]
    channels = {**_channels_of_map(records[_MAP]), **_channels_of_images(images)}
    heights = _heights(images)
    places, notes = find_images((record["URL"] for record in images), index, above=True)
    metadata = SourceMetadata(
        name=plate.get("Name", ""),
        folder=index.parent,
        names={channel: record["ChannelName"] for channel, record in channels.items() if record.get("ChannelName")},
        pixel_size=_pixel_size([*channels.values(), images[0]], heights),
        heights=heights,
        shape=stated_shape(plate.get("PlateRows"), plate.get("PlateColumns")),
        notes=notes,
    )
    return assemble_plate(request, planes_of_records(images, partial(_plane, places), index, "URL"), metadata)


def _plane(places: Mapping[str, str], record: Mapping[str, str], index: Path) -> Plane:
    """Return the plane of an entry."""
    return Plane(
        well=well_at(record["Row"], record["Col"], index),
        field=strip_zeros(record["FieldID"]),
        channel=record["ChannelID"],
        file=places[record["URL"]],
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
