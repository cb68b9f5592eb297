"""OME-Zarr HCS plates written: created once, one process a field, listed by one coordinator.

A plate is a folder: ``zarr.json``, a group a row, a group a well, an image a field (``A/1/0``). The metadata of plate and wells
lists the images that are complete, so that a plate is valid at any moment. Our own attributes of the plate, beside OME's, are under
``napari-virtual-paint``::

    "metadata": {"A01": {"treatment": "control", "dose": 0.0}}               what is known of the wells
    "fields":   {"A/1/s1a2": ["s1", "2"]}                                    name and acquisition, where the path is no plain name
    "painted":  {"A/1/0p1a2b3c4d": {"of": "A/1/0", "model": "some-model"}}   images of stains, and the image each was painted from

The plate can be listed again from nothing: an image is complete if it has its name, since it was written beside and renamed.
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
"""Before the numbers of the levels of painted images. ome-zarr-py, and with it napari-ome-zarr, lays all images of a well side by
side and looks in each for the levels of the first; it fails at an image with other channels, and passes over one without the levels."""


def image_path(field: Field) -> str:
    """Return where a field's image is, relative to the plate: ``ROW/COLUMN/IMAGE`` such as ``A/1/0``.

    OME-Zarr allows letters and digits alone in the name of an image, and a well's images must differ in it; so an acquisition
    follows the name, and a checksum takes the place of what is left out.
    """
    row, column = wells.position(field.well)
    image = _plain(field.name) + (f"a{_plain(field.acquisition)}" if field.acquisition else "")
    return f"{wells.row_name(row)}/{column + 1}/{image}"


def painted_path(field_path: str, model_id: str) -> str:
    """Return where the stains that a model painted from an image are: beside it, the same name for the same model."""
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
    """Create a plate without images, whole or not at all.

    Parameters
    ----------
    path
        Where to, ``.zarr``; nothing may be there.
    name
        What the plate is called.
    shape
        Rows and columns.
    fields
        All that will be written; `list_fields` lists those that are there.
    acquisitions
        Names of several acquisitions; whole numbers stay what they are, others are counted.
    metadata
        Well -> column -> value.
    version
        Of OME-Zarr; by default 0.5 with zarr 3 and 0.4 with zarr 2.

    Raises
    ------
    InputError
        If two fields would be one image, or a well is outside the plate.
    WriteError
        If something is there, or it can't be written.
    """
    path = Path(path)
    version = zarr_version(path, version)
    paths = _checked_paths(path, shape, fields)
    own: dict[str, Any] = {"metadata": {well: dict(row) for well, row in (metadata or {}).items()}}
    strange = _strange(paths)
    own |= {"fields": strange} if strange else {}
    plate: dict[str, Any] = {
        "name": name,
        "rows": [{"name": wells.row_name(i)} for i in range(shape[0])],
        "columns": [{"name": str(i + 1)} for i in range(shape[1])],
        "wells": [],
    }
    if acquisitions:
        plate["acquisitions"] = [{"id": number, "name": text} for text, number in _numbers(acquisitions).items()]
    in_wells = sorted({where.rpartition("/")[0] for where in paths})
    with as_write_errors(path), replacing(path, overwrite=False, folder=is_zarr) as beside:
        groups.write(beside, groups.with_ome({OWN: own}, {"plate": plate}, version), version, groups.save_plain)
        for group in sorted({where.partition("/")[0] for where in in_wells}) + in_wells:
            groups.write(beside / group, {}, version, groups.save_plain)


def write_field(
    plate_path: Path | str,
    field: Field,
    stack: Stack,
    *,
    labels: Mapping[str, Stack] | None = None,
    overwrite: bool = True,
) -> Path:
    """Write a field's image into a plate, whole or not at all; `list_fields` then lists it.

    Several processes may write at once, each other fields.

    Parameters
    ----------
    plate_path
        The plate.
    field
        Which.
    stack
        Its image.
    labels
        Name -> label image of one channel.
    overwrite
        Whether an image that is there is replaced.

    Returns
    -------
    Path
        Of the image.

    Raises
    ------
    WriteError
        If it can't be written; what was there is untouched.
    ReadError
        If the pixels of a lazy stack can't be read.
    """
    return _write(Path(plate_path), image_path(field), stack, labels or {}, overwrite)


def list_fields(plate_path: Path | str, fields: Iterable[Field]) -> None:
    """List exactly these fields, as far as their images are complete, in the metadata of plate and wells.

    Their stains that are listed (see `list_painted`) stay so. Called by one process. Only files that change are written, each beside and
    renamed, in an order that keeps the plate valid.

    Raises
    ------
    ReadError
        If the plate's metadata is damaged.
    WriteError
        If it can't be written.
    """
    path = Path(plate_path)
    with as_write_errors(path):
        plate, fields = groups.HcsMetadata.read(path), tuple(fields)
        plate.name_fields(_strange({image_path(field): field for field in fields}))  # some may not have been known to `create`
        images = _listed(plate, fields)
        plate.write_wells(images)
        gone: dict[str, list[dict[str, Any]]] = {well: [] for well in plate.wells if well not in images}
        plate.write(images.keys(), max(map(len, images.values()), default=0))
        plate.write_wells(gone)


def done_fields(plate_path: Path | str) -> tuple[Field, ...]:
    """Return the fields of a plate made by `create` whose images are complete, listed or not.

    Raises
    ------
    ReadError
        If the plate's metadata is damaged.
    """
    path = Path(plate_path)
    plate = groups.HcsMetadata.read(path)
    named = {where: Field(wells.canonical("".join(where.split("/")[:2])), *names) for where, names in plate.own("fields").items()}
    painted = plate.own("painted")
    found = []
    for entry in sorted(path.glob("*/*/*"), key=lambda entry: groups.natural_path(str(entry))):
        row, column, image = entry.parts[-3:]
        where = f"{row}/{column}/{image}"
        if image.isalnum() and column.isdigit() and is_zarr(entry) and where not in painted:
            found.append(named.get(where) or Field(wells.canonical(row + column), image))
    return tuple(found)


def add_painted(plate_path: Path | str, field: Field, stack: Stack, model_id: str, *, of: str | None = None) -> Path:
    """Write the stains that a model painted of a field as a second image of its well, whole or not at all.

    Several processes may write at once, each other fields; the coordinator then lists them by `list_painted`.

    Parameters
    ----------
    plate_path
        The plate, of whatever maker.
    field
        Which field was painted.
    stack
        Its stains.
    model_id
        By which model; other stains by the same model are replaced.
    of
        Path of the field's image, relative to the plate; left out, the one that the plate's metadata has for it.

    Returns
    -------
    Path
        Of the new image.

    Raises
    ------
    InputError
        If the plate has no such field.
    WriteError
        If it can't be written; what was there is untouched.
    """
    path = Path(plate_path)
    return _write(
        path, painted_path(of or groups.HcsMetadata.read(path).image_of(field), model_id), stack, {}, overwrite=True, prefix=_PAINTED
    )


def list_painted(plate_path: Path | str, fields: Iterable[Field], model_id: str) -> None:
    """List the stains that `add_painted` wrote of these fields: an acquisition of their own, and what each was painted from.

    Called by one process; images, wells and attributes of others stay as they are.
    Images of a plate without acquisitions become those of acquisition 0, since the format wants one of each where there are two.

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
        plate = groups.HcsMetadata.read(path)
        pairs = [(of, painted_path(of, model_id)) for of in map(plate.image_of, fields)]
        new = {painted: {"of": of, "model": model_id} for of, painted in pairs if is_zarr(path / painted)}
        if new:
            plate.add_painted(new, f"painted by {model_id}")


def _listed(plate: groups.HcsMetadata, fields: Iterable[Field]) -> dict[str, list[dict[str, Any]]]:
    """Return what each well is to list: the images of these fields that are complete, and the stains of theirs that it lists already."""
    numbers = {str(each.get("name", each["id"])): int(each["id"]) for each in plate.acquisitions}
    numbered = {image_path(field): numbers.get(field.acquisition) for field in fields}
    painted = {where: str(told.get("of") if isinstance(told, Mapping) else told) for where, told in plate.own("painted").items()}
    images: dict[str, list[dict[str, Any]]] = {}
    for where in sorted(filter(lambda where: is_zarr(plate.path / where), numbered), key=groups.natural_path):
        well, _, image = where.rpartition("/")
        images.setdefault(well, []).append({"path": image} | ({} if numbered[where] is None else {"acquisition": numbered[where]}))
    for well, listed in images.items():
        before = {str(image.get("path")): image for image in plate.images(well)}
        stains = [image for name, image in before.items() if painted.get(f"{well}/{name}") in numbered]
        images[well] = [before.get(image["path"], image) for image in listed] + stains
    return images


def _checked_paths(path: Path, shape: tuple[int, int], fields: Iterable[Field]) -> dict[str, Field]:
    """Return path of image -> field."""
    found: dict[str, Field] = {}
    for field in fields:
        row, column = wells.position(field.well)
        if row >= shape[0] or column >= shape[1]:
            raise InputError(f"{path}: the well {field.well} is outside a plate of {shape[0]} x {shape[1]} wells; give a larger plate.")
        other = found.setdefault(image_path(field), field)
        if other != field:
            raise InputError(f"{path}: the fields {other} and {field} would be one image; rename one of them.")
    return found


def _strange(paths: Mapping[str, Field]) -> dict[str, list[str]]:
    """Return path -> name and acquisition of the fields that the path alone does not tell."""
    return {where: [field.name, field.acquisition] for where, field in paths.items() if where.rpartition("/")[2] != field.name}


def _numbers(names: Sequence[str]) -> dict[str, int]:
    """Return the number of each acquisition: its name where all are numbers, else its place."""
    numeric = all(name.isdecimal() and str(int(name)) == name for name in names)
    return {name: int(name) if numeric else index for index, name in enumerate(names)}


def _plain(name: str) -> str:
    """Return a name of ASCII letters and digits alone."""
    plain = re.sub(r"[^A-Za-z0-9]", "", name)
    return plain if plain == name and plain else f"{plain}x{zlib.crc32(name.encode()):08x}"


def _write(plate: Path, where: str, stack: Stack, labels: Mapping[str, Stack], overwrite: bool, prefix: str = "") -> Path:
    """Write an image with its labels beside, and rename it."""
    target = plate / where
    version = groups.version_of(plate)
    with as_write_errors(target):
        groups.make(plate, where.rpartition("/")[0], version)
        with replacing(target, overwrite=overwrite, folder=is_zarr, cached=False) as beside:
            write_zarr(stack, beside, target.name, version, packed=True, prefix=prefix)
            if labels:
                write_labels(labels, beside, version, packed=True)
    return target
