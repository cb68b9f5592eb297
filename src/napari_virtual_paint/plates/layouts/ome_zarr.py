"""OME-Zarr HCS plates, 0.4 and 0.5: the metadata of the plate lists wells, that of each well lists its images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.reading.formats import read_file
from napari_virtual_paint.reading.ome_zarr import group_attributes, inside_store, is_zarr
from napari_virtual_paint.stack import Stack

OWN = "napari-virtual-paint"  # key of our own attributes of a plate; `plates.ome_zarr.writer` describes them.

_THREADS = 16  # threads that read the metadata of wells; on a network drive each read waits for the network
_SHOWN = 3  # examples in a note, and images whose metadata is searched for channels


@dataclass(frozen=True)
class ZarrFields:
    """Reads the fields of an OME-Zarr plate."""

    source: str  # the plate's folder
    images: Mapping[Field, str]  # field -> path of its image, relative to the plate
    channels: tuple[str, ...] | None = None  # the user's names of the channels; None keeps those of the images
    axes: str | None = None  # what the user says the axes of each image are; it must agree with what the image states

    def read(self, field: Field) -> Stack:
        """Return a field's image, its pixels still in the store.

        Raises `ReadError` if it is missing or damaged.
        """
        if field not in self.images:
            raise ReadError(self.source, f"it has no field {field}")
        stack = read_file(Path(self.source, self.images[field]), axes=self.axes)
        if self.channels is None:
            return stack
        if len(self.channels) != stack.shape[1]:
            raise ReadError(stack.source, f"it has {stack.shape[1]} channels, and {len(self.channels)} names are given for them")
        return replace(stack, channels=self.channels)

    def paths(self, field: Field) -> list[Path]:
        """Return the folder of a field's image."""
        return [Path(self.source, self.images[field])]


@dataclass(frozen=True)
class _Image:
    """One image of a well: its name there, its acquisition and its path in the plate."""

    well: str
    name: str
    acquisition: str
    path: str


def recognizes(path: Path) -> bool:
    """Return whether a folder is a zarr."""
    return path.is_dir() and is_zarr(path)


def open_layout(request: OpenRequest) -> Plate:
    """Open an OME-Zarr plate.

    Raises `ReadError` if it is damaged, or an OME-Zarr but no plate.
    """
    source = request.path
    attributes = group_attributes(source, str(source))
    plate = _mapping(attributes.get("plate"), source, "it is an OME-Zarr but no plate; open it as an image")
    own = _mapping_or_empty(attributes.get(OWN))
    well_paths = _wells(plate, source)
    images, notes = _images(source, well_paths)
    painted = _painted(own)
    acquired = [image for image in images if image.path not in painted]
    fields = _fields(acquired, own)
    stains = _stains(painted, images, fields)
    channels = _channels(request, acquired)
    paths = {field: path for path, field in (*fields.items(), *stains.items())}
    return Plate(
        name=str(plate.get("name") or request.name),
        source=str(source),
        layout="ome-zarr",
        fields=tuple(fields.values()),
        reader=ZarrFields(str(source), paths, channels if request.channels is not None else None),
        shape=_shape(plate, well_paths),
        acquisitions=tuple(sorted({field.acquisition for field in fields.values()} - {""}, key=lambda name: (len(name), name))),
        channels=channels,
        metadata=_metadata(own, source),
        painted=_by_field(painted, fields, stains),
        notes=notes,
    )


def _wells(plate: Mapping[str, Any], source: Path) -> dict[str, str]:
    """Return well -> its path."""
    rows, columns = (_axis(plate, key) for key in ("rows", "columns"))
    found: dict[str, str] = {}
    for entry in _entries(plate.get("wells"), source, "wells"):
        path = inside_store(str(entry.get("path", "")), str(source)).strip("/")
        name = _well_name(entry, path, rows, columns, source)
        if found.setdefault(name, path) != path:
            raise ReadError(source, f"its metadata has the well {name} twice ({found[name]} and {path}); it is damaged")
    return found


def _well_name(entry: Mapping[str, Any], path: str, rows: Sequence[str], columns: Sequence[str], source: Path) -> str:
    """Return the name of a well, by the names of its row and column, or by their numbers if the names are unusual."""
    row, column = entry.get("rowIndex"), entry.get("columnIndex")
    names = path.split("/")
    if isinstance(row, int) and isinstance(column, int) and 0 <= row < len(rows) and 0 <= column < len(columns):
        names = [rows[row], columns[column]]
    if len(names) == 2 and names[0].isalpha():
        try:
            return wells.canonical("".join(names))
        except InputError:
            pass
    if isinstance(row, int) and isinstance(column, int) and 0 <= row < wells.LARGEST[0] and 0 <= column < wells.LARGEST[1]:
        return wells.well_name(row, column)
    raise ReadError(source, f"its metadata has no row and column of the well {path!r}; it is damaged")


def _axis(plate: Mapping[str, Any], key: str) -> list[str]:
    """Return the names of rows or columns."""
    values = plate.get(key)
    return [str(value.get("name", "")) if isinstance(value, Mapping) else "" for value in values] if isinstance(values, list) else []


def _shape(plate: Mapping[str, Any], well_names: Iterable[str]) -> tuple[int, int]:
    """Return rows and columns of the plate if the metadata lists all of them, from A1 on; else (0, 0)."""
    rows, columns = _axis(plate, "rows"), _axis(plate, "columns")
    complete = [name.upper() for name in rows] == [wells.row_name(i) for i in range(len(rows))]
    complete = complete and [name.lstrip("0") for name in columns] == [str(i + 1) for i in range(len(columns))]
    inside = all(row < len(rows) and column < len(columns) for row, column in map(wells.position, well_names))
    return (len(rows), len(columns)) if complete and inside else (0, 0)


def _images(source: Path, well_paths: Mapping[str, str]) -> tuple[list[_Image], tuple[str, ...]]:
    """Return the images of all wells, and a note on wells that can't be read."""
    with ThreadPoolExecutor(_THREADS) as pool:
        results = list(pool.map(lambda item: _images_of_well(source, *item), well_paths.items()))
    images = [image for result in results if not isinstance(result, ReadError) for image in result]
    errors = [result for result in results if isinstance(result, ReadError)]
    if errors and not images:
        raise errors[0]
    if not errors:
        return images, ()
    shown = "; ".join(str(error).rstrip(".") for error in errors[:_SHOWN])
    return images, (f"{len(errors)} of its {len(well_paths)} wells can't be read and are left out ({shown}).",)


def _images_of_well(source: Path, well: str, path: str) -> list[_Image] | ReadError:
    """Return the images of a well, or why they can't be listed; metadata that leads out of the plate is an error of the whole plate."""
    folder = source / path
    try:
        listing = _mapping(group_attributes(folder, str(folder)).get("well"), folder, "its metadata, which lists its images, is missing")
        entries = _entries(listing.get("images"), folder, "images")
    except ReadError as error:
        return error
    found = []
    for entry in entries:
        name = inside_store(str(entry.get("path", "")), str(folder)).strip("/")
        acquisition = entry.get("acquisition")
        found.append(_Image(well, name, "" if acquisition is None else str(acquisition), f"{path}/{name}"))
    return found


def _fields(images: Sequence[_Image], own: Mapping[str, Any]) -> dict[str, Field]:
    """Return the path of each image -> its field; with its acquisition if there are several.

    Name and acquisition of a field come from our own attributes if they have them, since a path allows only letters and digits.
    """
    # Images without a number are of the first acquisition: a well is listed anew only when it gets a second one.
    several = len({image.acquisition or "0" for image in images}) > 1
    own_names = _mapping_or_empty(own.get("fields"))
    found = {}
    for image in images:
        names = own_names.get(image.path)
        if not (isinstance(names, list) and len(names) == 2 and all(isinstance(name, str) for name in names)):
            names = [image.name, image.acquisition if several else ""]
        found[image.path] = Field(image.well, *names)
    return found


def _painted(own: Mapping[str, Any]) -> dict[str, str]:
    """Return the path of each image of painted stains -> the path of the image it was painted from."""
    entries = _mapping_or_empty(own.get("painted")).items()
    sources = {str(path): entry.get("of") if isinstance(entry, Mapping) else entry for path, entry in entries}
    return {path: source for path, source in sources.items() if isinstance(source, str)}


def _stains(painted: Mapping[str, str], images: Sequence[_Image], fields: Mapping[str, Field]) -> dict[str, Field]:
    """Return the path of each image of painted stains that wells list -> its field."""
    return {
        image.path: Field(image.well, image.name, image.acquisition)
        for image in images
        if image.path in painted and painted[image.path] in fields
    }


def _by_field(painted: Mapping[str, str], fields: Mapping[str, Field], stains: Mapping[str, Field]) -> dict[Field, tuple[Field, ...]]:
    """Return field -> the fields of its painted stains."""
    found: dict[Field, tuple[Field, ...]] = {}
    for path, field in stains.items():
        of = fields[painted[path]]
        found[of] = (*found.get(of, ()), field)
    return found


def _channels(request: OpenRequest, images: Sequence[_Image]) -> tuple[str, ...] | None:
    """Return the channels of the first image whose metadata has them."""
    for image in images[:_SHOWN]:
        folder = request.path / image.path
        try:
            omero = group_attributes(folder, str(folder)).get("omero")
        except ReadError:
            continue
        listed = omero.get("channels") if isinstance(omero, Mapping) else None
        if isinstance(listed, list) and listed and all(isinstance(channel, Mapping) for channel in listed):
            labels = [str(channel.get("label") or "") for channel in listed]
            if any(labels) or request.channels is not None:
                return request.name_channels([label or f"channel {i}" for i, label in enumerate(labels)])
    if request.channels is None or isinstance(request.channels, Mapping):
        return None
    return tuple(request.channels)


def _metadata(own: Mapping[str, Any], source: Path) -> dict[str, Mapping[str, Any]]:
    """Return well -> what our own attributes have on it."""
    found: dict[str, Mapping[str, Any]] = {}
    for well, row in _mapping_or_empty(own.get("metadata")).items():
        try:
            name = wells.canonical(str(well))
        except InputError as error:
            raise ReadError(source, f"its metadata names {well!r}, which is no well; it is damaged") from error
        found[name] = dict(_mapping(row, source, "its metadata of wells is damaged"))
    return found


def _mapping_or_empty(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mapping(value: Any, path: Path, reason: str) -> Mapping[str, Any]:
    """Return a value of the metadata that must be a mapping."""
    if not isinstance(value, Mapping):
        raise ReadError(path, reason)
    return value


def _entries(value: Any, path: Path, name: str) -> list[Mapping[str, Any]]:
    """Return a value of the metadata that must be a list of mappings."""
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        raise ReadError(path, f"its metadata has no list of {name}; it is damaged")
    return value
