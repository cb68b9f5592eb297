"""Write OME-Zarr HCS plates: created once, fields written by any number of processes, listed by one of them.

A plate is a folder with ``zarr.json``, a group for each row and well, and an image for each field (``A/1/0``). The metadata of plate and
wells lists only complete images, so that the plate is valid at any moment. Our own attributes of the plate are under
``napari-virtual-paint``::

    "metadata": {"A01": {"treatment": "control", "dose": 0.0}}               metadata of the wells
    "fields":   {"A/1/s1a2": ["s1", "2"]}                                    name and acquisition, if they can't be the path
    "painted":  {"A/1/0p1a2b3c4d": {"of": "A/1/0", "model": "some-model"}}   images of stains, and the image each was painted from

The lists can be made again at any time: an image is complete if it has its final name, since it is written under another one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.ome_zarr import metadata as groups
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.reading.ome_zarr import is_zarr
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing.api import as_write_errors
from napari_virtual_paint.writing.ome_zarr import OWN, write_labels, write_zarr, zarr_version

_PAINTED = "p"
"""Prefix of the level names of painted images. ome-zarr-py, and with it napari-ome-zarr, tiles all images of a well and looks in each for
the levels of the first; it fails at an image with other channels, but skips one without these levels."""


def image_path(field: Field) -> str:
    """Return the path of a field's image, relative to the plate: ``ROW/COLUMN/IMAGE`` such as ``A/1/0``.

    OME-Zarr allows only letters and digits in the name of an image, which must be unique in its well; so the acquisition follows the name,
    and a checksum replaces other characters.
    """
    row, column = wells.position(field.well)
    image = _alphanumeric(field.name) + (f"a{_alphanumeric(field.acquisition)}" if field.acquisition else "")
    return f"{wells.row_name(row)}/{column + 1}/{image}"


def painted_path(field_path: str, model_id: str) -> str:
    """Return the path of the stains that a model painted from an image: beside it, always the same for the same model."""
    return f"{field_path}p{zlib.crc32(model_id.encode()):08x}"


def create(
    path: Path | str,
    name: str,
    shape: tuple[int, int],
    fields: Iterable[Field],
    acquisitions: Sequence[str] = (),
    *,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    version: Literal["0.4", "0.5"] | None = None,
) -> None:
    """Create a plate without images, atomically.

    Parameters
    ----------
    path
        The folder, ``.zarr``; it must not exist.
    name
        Name of the plate.
    shape
        Rows and columns.
    fields
        All fields that will be written; `list_fields` lists those that have been.
    acquisitions
        Names of several acquisitions; integers become their numbers, other names are numbered.
    metadata
        Well -> column -> value.
    version
        Version of OME-Zarr; by default 0.5 with zarr 3 and 0.4 with zarr 2.

    Raises
    ------
    InputError
        If two fields would have the same path, or a well is outside the plate.
    WriteError
        If the path exists, or can't be written.
    """
    path = Path(path)
    version = zarr_version(path, version)
    paths = _field_paths(path, shape, fields)
    own: dict[str, Any] = {"metadata": {well: dict(row) for well, row in (metadata or {}).items()}}
    names = _names_not_in_path(paths)
    own |= {"fields": names} if names else {}
    plate: dict[str, Any] = {
        "name": name,
        "rows": [{"name": wells.row_name(i)} for i in range(shape[0])],
        "columns": [{"name": str(i + 1)} for i in range(shape[1])],
        "wells": [],
    }
    if acquisitions:
        plate["acquisitions"] = [{"id": number, "name": text} for text, number in _numbers(acquisitions).items()]
    well_groups = sorted({where.rpartition("/")[0] for where in paths})
    with as_write_errors(path), replacing(path, overwrite=False, folder=is_zarr) as beside:
        groups.write(beside, groups.with_ome({OWN: own}, {"plate": plate}, version), version, groups.save_plain)
        for group in sorted({where.partition("/")[0] for where in well_groups}) + well_groups:
            groups.write(beside / group, {}, version, groups.save_plain)


def write_field(
    plate_path: Path | str,
    field: Field,
    stack: Stack,
    *,
    labels: Mapping[str, Stack] | None = None,
    overwrite: bool = True,
) -> Path:
    """Write a field's image into a plate, atomically; `list_fields` then lists it.

    Several processes may write different fields at once.

    Parameters
    ----------
    labels
        Name -> label image of one channel.
    overwrite
        Whether to replace an existing image.

    Returns
    -------
    Path
        Path of the image.

    Raises
    ------
    WriteError
        If it can't be written; an existing image is untouched.
    ReadError
        If the pixels of a lazy stack can't be read.
    """
    return _write(Path(plate_path), image_path(field), stack, labels or {}, overwrite)


def list_fields(plate_path: Path | str, fields: Iterable[Field]) -> None:
    """List exactly these fields in the metadata of plate and wells, as far as their images are complete.

    Stains of theirs that are listed (see `list_painted`) stay so. Only one process may call it. Only files that change are written, each
    atomically, in an order that keeps the plate valid.

    Raises
    ------
    ReadError
        If the plate's metadata is damaged.
    WriteError
        If it can't be written.
    """
    path = Path(plate_path)
    with as_write_errors(path):
        plate, fields = groups.HcsMetadata(path), tuple(fields)
        plate.name_fields(_names_not_in_path({image_path(field): field for field in fields}))  # some may be unknown to `create`
        images = _images_to_list(plate, fields)
        plate.write_wells(images)
        removed: dict[str, list[dict[str, Any]]] = {well: [] for well in plate.wells if well not in images}
        plate.write(images.keys(), max(map(len, images.values()), default=0))
        plate.write_wells(removed)


def list_more(plate_path: Path | str, fields: Iterable[Field]) -> None:
    """List some more complete fields in the metadata of their wells and, if a well is new, of the plate; quicker than `list_fields`.

    Raises
    ------
    ReadError
        If the plate's metadata is damaged.
    WriteError
        If it can't be written.
    """
    path = Path(plate_path)
    with as_write_errors(path):
        plate, fields = groups.HcsMetadata(path), tuple(fields)
        plate.name_fields(_names_not_in_path({image_path(field): field for field in fields}))
        images: dict[str, list[dict[str, Any]]] = {}
        for well, listed in _images_to_list(plate, fields).items():
            names = {str(image["path"]): image for image in (*plate.images(well), *listed)}
            images[well] = [names[name] for name in sorted(names, key=groups.natural_path)]
        plate.write_wells(images)
        plate.write({*plate.wells, *images}, max([plate.field_count, *map(len, images.values())]))


def done_fields(plate_path: Path | str) -> tuple[Field, ...]:
    """Return the fields of a plate made by `create` whose images are complete, listed or not.

    Raises `ReadError` if the plate's metadata is damaged.
    """
    path = Path(plate_path)
    plate = groups.HcsMetadata(path)
    named = {where: Field(wells.canonical("".join(where.split("/")[:2])), *names) for where, names in plate.own("fields").items()}
    painted = plate.own("painted")
    found = []
    for entry in sorted(path.glob("*/*/*"), key=lambda entry: groups.natural_path(str(entry))):
        row, column, image = entry.parts[-3:]
        where = f"{row}/{column}/{image}"
        if image.isalnum() and column.isdigit() and is_zarr(entry) and where not in painted:
            found.append(named.get(where) or Field(wells.canonical(row + column), image))
    return tuple(found)


def add_painted(
    plate_path: Path | str,
    field: Field,
    stack: Stack,
    model_id: str,
    *,
    of: str | None = None,
    labels: Mapping[str, Stack] | None = None,
) -> Path:
    """Write the stains that a model painted of a field as another image of its well, atomically.

    Several processes may write different fields at once; one of them then lists the images with `list_painted`.

    Parameters
    ----------
    plate_path
        The plate, by any software.
    field
        The field that was painted.
    model_id
        The model; stains that it painted before are replaced.
    of
        Path of the field's image, relative to the plate; by default the one in the plate's metadata.
    labels
        Name -> label image of one channel.

    Returns
    -------
    Path
        Path of the new image.

    Raises
    ------
    InputError
        If the plate has no such field.
    WriteError
        If it can't be written; an existing image is untouched.
    """
    path = Path(plate_path)
    where = painted_path(of or groups.HcsMetadata(path).image_of(field), model_id)
    return _write(path, where, stack, labels or {}, overwrite=True, prefix=_PAINTED)


def list_painted(plate_path: Path | str, fields: Iterable[Field], model_id: str, *, every_well: bool = True) -> None:
    """List the stains that `add_painted` wrote of these fields as an acquisition, and the image that each was painted from.

    Only one process may call it; images, wells and attributes of other software are kept. Images of a plate without acquisitions get
    acquisition 0, since the format requires the number if there are several.

    Parameters
    ----------
    fields
        The fields that were painted.
    model_id
        The model.
    every_well
        False looks only at the wells of these fields, which is quicker, where the model's acquisition is listed already.

    Raises
    ------
    InputError
        If the plate has no such field.
    ReadError
        If the plate's metadata is damaged.
    WriteError
        If it can't be written.
    """
    path = Path(plate_path)
    with as_write_errors(path):
        plate = groups.HcsMetadata(path)
        pairs = [(of, painted_path(of, model_id)) for of in map(plate.image_of, fields)]
        new = {painted: {"of": of, "model": model_id} for of, painted in pairs if is_zarr(path / painted)}
        if new:
            plate.add_painted(new, f"painted by {model_id}", every_well=every_well)


def _images_to_list(plate: groups.HcsMetadata, fields: Iterable[Field]) -> dict[str, list[dict[str, Any]]]:
    """Return well -> the complete images of these fields, and those of their stains that the well lists already."""
    numbers = {str(each.get("name", each["id"])): int(each["id"]) for each in plate.acquisitions}
    numbered = {image_path(field): numbers.get(field.acquisition) for field in fields}
    painted = {where: str(entry.get("of") if isinstance(entry, Mapping) else entry) for where, entry in plate.own("painted").items()}
    images: dict[str, list[dict[str, Any]]] = {}
    for where in sorted(filter(lambda where: is_zarr(plate.path / where), numbered), key=groups.natural_path):
        well, _, image = where.rpartition("/")
        images.setdefault(well, []).append({"path": image} | ({} if numbered[where] is None else {"acquisition": numbered[where]}))
    for well, listed in images.items():
        before = {str(image.get("path")): image for image in plate.images(well)}
        stains = [image for name, image in before.items() if painted.get(f"{well}/{name}") in numbered]
        images[well] = [before.get(image["path"], image) for image in listed] + stains
    return images


def _field_paths(path: Path, shape: tuple[int, int], fields: Iterable[Field]) -> dict[str, Field]:
    """Return path of an image -> its field."""
    found: dict[str, Field] = {}
    for field in fields:
        row, column = wells.position(field.well)
        if row >= shape[0] or column >= shape[1]:
            raise InputError(f"{path}: the well {field.well} is outside a plate of {shape[0]} x {shape[1]} wells; use a larger plate.")
        other = found.setdefault(image_path(field), field)
        if other != field:
            raise InputError(f"{path}: the fields {other} and {field} would have the same path; rename one of them.")
    return found


def _names_not_in_path(paths: Mapping[str, Field]) -> dict[str, list[str]]:
    """Return path -> name and acquisition of the fields whose name is not in their path."""
    return {where: [field.name, field.acquisition] for where, field in paths.items() if where.rpartition("/")[2] != field.name}


def _numbers(names: Sequence[str]) -> dict[str, int]:
    """Return the number of each acquisition: its name if all names are numbers, else its position."""
    numeric = all(name.isdecimal() and str(int(name)) == name for name in names)
    return {name: int(name) if numeric else index for index, name in enumerate(names)}


def _alphanumeric(name: str) -> str:
    """Return a unique name of only ASCII letters and digits."""
    kept = re.sub(r"[^A-Za-z0-9]", "", name)
    return kept if kept == name and kept else f"{kept}x{zlib.crc32(name.encode()):08x}"


def _write(plate: Path, where: str, stack: Stack, labels: Mapping[str, Stack], overwrite: bool, prefix: str = "") -> Path:
    """Write an image with its labels, atomically."""
    target = plate / where
    version = groups.version_of(plate)
    with as_write_errors(target):
        groups.make_groups(plate, where.rpartition("/")[0], version)
        with replacing(target, overwrite=overwrite, folder=is_zarr, cached=False) as beside:
            write_zarr(stack, beside, target.name, version, packed=True, prefix=prefix)
            if labels:
                write_labels(labels, beside, version, packed=True)
    return target
