"""Update the JSON metadata of OME-Zarr plates and wells: entries of others are kept, and only files that change are replaced."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import InputError, ReadError, WriteError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.reading.filename_patterns import natural
from napari_virtual_paint.reading.ome_zarr import inside_store
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.writing.ome_zarr import OWN, Version

_THREADS = 8  # threads that write the metadata of wells; each mostly waits for the disk


def natural_path(path: str) -> tuple[Any, ...]:
    """Return a key that sorts paths such as A/2/0 before A/10/0, and rows Z before AA."""
    parts = path.split("/")
    return tuple((len(part) if part.isalpha() else 0, natural(part)) for part in parts)


def version_of(plate: Path) -> Version:
    """Return the OME-Zarr version of a plate, by its files.

    Raises `WriteError` if there is no zarr.
    """
    if (plate / "zarr.json").is_file():
        return "0.5"
    if (plate / ".zattrs").is_file():
        return "0.4"
    raise WriteError(plate, "it is no OME-Zarr plate; create it first")


def with_ome(attributes: Mapping[str, Any], ome: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """Return attributes of a group together with OME's, which each version has in another place."""
    versioned = {key: {**value, "version": version} for key, value in ome.items()}
    return {"ome": {"version": version, **versioned}, **attributes} if version == "0.5" else {**versioned, **attributes}


def write(
    folder: Path, attributes: Mapping[str, Any], version: Version, save: Callable[[Path, Mapping[str, Any]], None] | None = None
) -> None:
    """Write a new group with its attributes.

    Parameters
    ----------
    folder
        Folder of the group.
    save
        Writes a JSON file; by default atomically.
    """
    save = save or _save
    folder.mkdir(exist_ok=True)
    if version == "0.5":
        save(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})
        return
    save(folder / ".zgroup", {"zarr_format": 2})
    if attributes:
        save(folder / ".zattrs", dict(attributes))


def save_plain(file: Path, value: Mapping[str, Any]) -> None:
    """Write JSON directly, into a folder that does not have its final name yet."""
    file.write_text(json.dumps(value, indent=2, allow_nan=False), encoding="utf-8")


def make_groups(plate: Path, well: str, version: Version) -> None:
    """Create the groups of a row and a well unless they exist; another process may do the same."""
    marker = "zarr.json" if version == "0.5" else ".zgroup"
    row, _, _ = well.partition("/")
    for group in (plate / row, plate / well):
        if not (group / marker).is_file():
            write(group, {}, version)


def _save(file: Path, value: Mapping[str, Any]) -> None:
    """Write JSON atomically."""
    with replacing(file, overwrite=True) as beside:
        save_plain(beside, value)


def _load(file: Path) -> dict[str, Any]:
    """Read JSON; {} if there is no file."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ReadError(file, f"this metadata is damaged ({error})") from error
    if not isinstance(value, dict):
        raise ReadError(file, "this metadata is damaged (it is no JSON object)")
    return value


class _Group:
    """The metadata file of a group, and OME's part of it."""

    def __init__(self, folder: Path, version: Version) -> None:
        self.folder, self.version = folder, version
        self.file = folder / ("zarr.json" if version == "0.5" else ".zattrs")
        self._read = _load(self.file)
        self.value = copy.deepcopy(self._read)
        self.attributes: dict[str, Any] = self.value
        if version == "0.5":
            self.value = {"zarr_format": 3, "node_type": "group", **self.value}
            self.attributes = self.value.setdefault("attributes", {})
        self.ome: dict[str, Any] = self.attributes
        if version == "0.5" and isinstance(self.attributes, dict):
            self.ome = self.attributes.setdefault("ome", {"version": version})
        if not isinstance(self.attributes, dict) or not isinstance(self.ome, dict):
            raise ReadError(self.file, "this metadata is damaged (no attributes)")

    def save(self) -> None:
        """Write the file if it changed."""
        if self.value == self._read:
            return
        # An optional copy of the metadata of all groups below, which is now out of date.
        self.value.pop("consolidated_metadata", None)
        (self.folder / ".zmetadata").unlink(missing_ok=True)
        if self.version == "0.4" and not (self.folder / ".zgroup").is_file():
            _save(self.folder / ".zgroup", {"zarr_format": 2})
        _save(self.file, self.value)


class HcsMetadata:
    """Metadata of an OME-Zarr plate and its wells.

    Raises
    ------
    ReadError
        If the metadata is damaged.
    WriteError
        If there is no zarr.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.version = path, version_of(path)
        self._group = _Group(path, self.version)
        plate = self._group.ome.get("plate")
        if not isinstance(plate, dict) or not isinstance(plate.get("wells"), list):
            raise ReadError(path, "it is an OME-Zarr but no plate")
        self._plate: dict[str, Any] = plate

    @property
    def wells(self) -> list[str]:
        """Paths of the listed wells."""
        return [inside_store(str(each.get("path", "")), str(self.path)) for each in self._plate["wells"]]

    @property
    def field_count(self) -> int:
        """The largest number of fields per well, as listed; 0 if it is not."""
        count = self._plate.get("field_count")
        return count if isinstance(count, int) else 0

    @property
    def acquisitions(self) -> list[dict[str, Any]]:
        """The listed acquisitions."""
        return list(self._plate.get("acquisitions") or [])

    def own(self, key: str) -> dict[str, Any]:
        """Return a part of our own attributes."""
        own = self._group.attributes.get(OWN)
        part = own.get(key) if isinstance(own, dict) else None
        return dict(part) if isinstance(part, dict) else {}

    def name_fields(self, names: Mapping[str, list[str]]) -> None:
        """Set name and acquisition of images whose path does not show them; written by `write`."""
        own = self._group.attributes.get(OWN)
        if names:
            self._group.attributes[OWN] = {**(own if isinstance(own, dict) else {}), "fields": {**self.own("fields"), **names}}

    def write_wells(self, listed: Mapping[str, list[dict[str, Any]]]) -> None:
        """Set the images of wells, and write their metadata; a well without images becomes a plain group."""
        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in pool.map(self._write_well, listed.keys(), listed.values()):
                pass

    def _write_well(self, path: str, images: list[dict[str, Any]]) -> None:
        """Set the images of one well."""
        group = _Group(self.path / path, self.version)
        if images:
            well = group.ome.get("well")
            group.ome["well"] = {**(well if isinstance(well, dict) else {"version": self.version}), "images": images}
        elif self.version == "0.5":
            group.attributes.pop("ome")
        else:
            group.ome.pop("well", None)
        group.save()

    def write(self, listed: Iterable[str], most: int) -> None:
        """Set the wells and the largest number of fields per well, and write the plate's metadata."""
        self._plate["wells"] = [self._entry(well) for well in sorted(listed, key=natural_path)]
        self._plate.pop("field_count", None)
        if most:
            self._plate["field_count"] = most
        self._group.save()

    def _entry(self, well: str) -> dict[str, Any]:
        row, column = wells.position(well.replace("/", ""))
        return {"path": well, "rowIndex": row, "columnIndex": column}

    def image_of(self, field: Field) -> str:
        """Return the path of a field's image, relative to the plate.

        Raises `InputError` if there is none.
        """
        for path, names in self.own("fields").items():
            if names == [field.name, field.acquisition] and _well_of(path.rpartition("/")[0]) == field.well:
                return path
        for entry in self._plate["wells"]:
            well = inside_store(str(entry.get("path", "")), str(self.path))
            if (_well_of(well) or self._by_number(entry)) == field.well and any(
                image.get("path") == field.name for image in self.images(well)
            ):
                return f"{well}/{field.name}"
        raise InputError(f"{self.path}: it has no field {field}.")

    def _by_number(self, entry: Mapping[str, Any]) -> str:
        return wells.well_name(int(entry.get("rowIndex", 0)), int(entry.get("columnIndex", 0)))

    def images(self, well: str) -> list[dict[str, Any]]:
        """Return the images that a well lists."""
        value = _Group(self.path / well, self.version).ome.get("well")
        images = value.get("images") if isinstance(value, dict) else None
        return [image for image in images if isinstance(image, dict)] if isinstance(images, list) else []

    def add_painted(self, new: Mapping[str, Mapping[str, Any]], acquisition: str, *, every_well: bool = True) -> None:
        """List images of stains as a new acquisition.

        Our own attributes are written first: an image that only they list is ignored by all readers, while one that only a well lists would
        be taken for a field.

        Parameters
        ----------
        new
            Path of an image -> its entry: the image it was painted from, and the model.
        acquisition
            Name of the acquisition.
        every_well
            Whether to look at all wells, whose images get an acquisition if they have none; else only at those of the new images.
        """
        known_before = any(each.get("name") == acquisition for each in self.acquisitions)
        number = self._acquisition(acquisition)
        own = self._group.attributes.get(OWN)
        self._group.attributes[OWN] = {**(own if isinstance(own, dict) else {}), "painted": {**self.own("painted"), **new}}
        self._group.save()
        by_well: dict[str, list[str]] = {}
        for path in sorted(new, key=natural_path):
            well, _, image = path.rpartition("/")
            by_well.setdefault(well, []).append(image)
        listed = {}
        for well in self.wells if every_well or not known_before else (well for well in self.wells if well in by_well):
            images = [{"acquisition": 0, **image} for image in self.images(well)]
            known = {image.get("path") for image in images}
            images += [{"path": image, "acquisition": number} for image in by_well.get(well, ()) if image not in known]
            if images:
                listed[well] = images
        self.write_wells(listed)
        most = max(map(len, listed.values()), default=1)
        self._plate["field_count"] = most if every_well else max(most, self.field_count)
        self._group.save()

    def _acquisition(self, name: str) -> int:
        """Return the number of an acquisition; a new one is added if there is none of this name."""
        listed = self.acquisitions or [{"id": 0}]
        for each in listed:
            if each.get("name") == name:
                return int(each["id"])
        number = 1 + max(int(each["id"]) for each in listed)
        self._plate["acquisitions"] = [*listed, {"id": number, "name": name}]
        return number


def _well_of(path: str) -> str:
    """Return the well of a path such as A/1; "" if it is none."""
    try:
        return wells.canonical(path.replace("/", ""))
    except InputError:
        return ""
