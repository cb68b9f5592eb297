"""Opera Phenix, Operetta, Operetta CLS and Sonata: Harmony's index of images.

``Index.xml`` (an export) or ``Index.idx.xml`` (a measurement), beside the images or in the folder ``Images``. Harmony 5 and before tell the
channel's name and pixel size with each image, Harmony 6 and 7 once in a map of channels. Rows, columns, fields and planes count from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, Told, inside, plain, plate_of, well_at
from napari_virtual_paint.plates.layouts.xml_records import Record, read_records
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.filename_patterns import natural
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import PixelSize

INDICES = ("Index.idx.xml", "Index.xml", "Index.ref.xml")
"""Names of the index; the first that is there is read."""

_IMAGE, _PLATE, _MAP = "Images/Image", "Plates/Plate", "Map/Entry"
_CHILDREN = (
    *("URL", "Row", "Col", "FieldID", "PlaneID", "TimepointID", "ChannelID", "AcquisitionID", "ChannelName", "PositionZ"),
    *("ImageResolutionX", "ImageResolutionY", "Name", "PlateRows", "PlateColumns"),
)


def found(path: Path) -> bool:
    """Return whether a folder has an index, or a file is one."""
    return _index(path) is not None


def opened(request: OpenRequest) -> Plate:
    """Open a plate by its index.

    Raises
    ------
    ReadError
        If there is no index, or it is damaged.
    """
    index = _index(request.path)
    if index is None:
        raise ReadError(request.path, f"it has no {' or '.join(INDICES[:2])}, in which Harmony lists the images; export the plate again")
    records = read_records(index, (_IMAGE, _PLATE, _MAP), _CHILDREN)
    images = [record for record in records[_IMAGE] if record.get("URL")]
    if not images:
        raise ReadError(index, "it lists no image; export the plate again")
    plate = (records[_PLATE] or [{}])[0]
    named = {**_of_map(records[_MAP]), **_of_images(images)}
    told = Told(
        name=plate.get("Name", ""),
        folder=index.parent,
        names={channel: record["ChannelName"] for channel, record in named.items() if record.get("ChannelName")},
        pixel_size=_pixel_size([*named.values(), images[0]], images),
        heights=_heights(images),
        shape=_shape(plate),
    )
    return plate_of(request, _planes(images, index), told)


def _index(path: Path) -> Path | None:
    """Return the index of a folder, or the file itself if it is one."""
    if path.is_file():
        return path if path.name in INDICES else None
    places = [folder / name for folder in (path, path / "Images") for name in INDICES]
    return next((place for place in places if place.is_file()), None)


def _planes(images: Iterable[Record], index: Path) -> Iterable[Plane]:
    """Return the planes that the index lists."""
    for record in images:
        try:
            yield Plane(
                well=well_at(record["Row"], record["Col"], index),
                field=plain(record["FieldID"]),
                channel=record["ChannelID"],
                file=inside(record["URL"], index),
                z=record.get("PlaneID", ""),
                t=record.get("TimepointID", ""),
                acquisition=record.get("AcquisitionID", ""),
            )
        except KeyError as error:
            raise ReadError(index, f"its entry of the image {record['URL']!r} has no {error.args[0]}; it is damaged") from error


def _of_map(entries: Iterable[Record]) -> dict[str, Record]:
    """Return channel -> what the map of channels tells of it; there are maps of other things too."""
    return {entry["ChannelID"]: entry for entry in entries if "ChannelID" in entry and "ChannelName" in entry}


def _of_images(images: Iterable[Record]) -> dict[str, Record]:
    """Return channel -> its first image, where images tell the channel's name."""
    first: dict[str, Record] = {}
    for record in images:
        if "ChannelName" in record:
            first.setdefault(record.get("ChannelID", ""), record)
    return first


def _pixel_size(channels: Iterable[Record], images: list[Record]) -> PixelSize:
    """Return the voxel size; the index tells metres."""
    size: Record = next((record for record in channels if "ImageResolutionX" in record), {})
    steps = sorted(set(_heights(images).values()))
    gaps = {round(high - low, 4) for low, high in pairwise(steps)}
    return PixelSize(
        gaps.pop() if len(gaps) == 1 else None,
        _metres(size, "ImageResolutionY"),
        _metres(size, "ImageResolutionX"),
    )


def _metres(record: Mapping[str, str], key: str) -> float | None:
    return micrometres(record.get(key), record.get(f"{key}@Unit", "m"))


def _heights(images: Iterable[Record]) -> dict[str, float]:
    """Return z-plane -> micrometres from the focus that the microscope found, in the first field of the index."""
    found: dict[str, float] = {}
    for record in images:
        plane = record.get("PlaneID", "")
        if plane and plane not in found and "PositionZ" in record:
            try:
                found[plane] = 1e6 * float(record["PositionZ"])
            except ValueError:
                continue
    return {plane: found[plane] for plane in sorted(found, key=natural)} if len(found) > 1 else {}


def _shape(plate: Mapping[str, str]) -> tuple[int, int]:
    """Return the plate's rows and columns."""
    rows, columns = plate.get("PlateRows", ""), plate.get("PlateColumns", "")
    return (int(rows), int(columns)) if rows.isdecimal() and columns.isdecimal() else (0, 0)
