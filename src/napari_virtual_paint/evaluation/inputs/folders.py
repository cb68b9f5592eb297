"""Folders of fields: a file each, a folder each (as `virtual-paint simulate` writes them), or files that form one field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts.assemble import canonical
from napari_virtual_paint.plates.layouts.table_columns import converter, read_table
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.reading import filename_patterns, scenes
from napari_virtual_paint.reading.file_series import list_images
from napari_virtual_paint.reading.formats import read_file
from napari_virtual_paint.reading.lazy import as_read_errors
from napari_virtual_paint.runtime.hidden_files import is_hidden

PLACED = re.compile(r"(?P<well>(?:[A-P]|A[A-F])\d{2})(?:_(?P<field>[^@]+))?(?:@(?P<acquisition>.+))?")
"""A field's file as named by `plates.job.rows.file_stem`."""

Files = dict[str, tuple[str, str | None]]  # key of a field -> its path, and the image within it where it holds several

STAINS = "stains"  # name of the file with the stains in a field's folder, where there are others
LISTED = "fields.csv"  # name of the simulator's table of fields
NO_METADATA = ("brightfield", "stains", "labels", "cells", "seed")  # its columns that are no property of the sample


@dataclass(frozen=True)
class FieldFile:
    """Contents of a folder."""

    files: Files = field(default_factory=dict)  # its fields
    places: Mapping[Field, str] = field(default_factory=dict)
    """Field of a plate -> path, where files are named as `plate predict` names them; the folder is a plate then."""
    by_names: bool = False
    """Whether it is a plate whose images are joined from planes by their names (see `plates.layouts.filename_pattern`)."""
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # key of a field -> its metadata
    notes: tuple[str, ...] = ()


def fields_in(folder: Path) -> FieldFile:
    """Return the fields of a folder.

    Raises `ReadError` if neither it nor its subfolders hold an image.
    """
    try:
        images = sorted(list_images(folder), key=lambda file: filename_patterns.natural(file.name))
    except ReadError:
        return _in_subfolders(folder)
    if (own := _stains_among(images)) is not None:
        return FieldFile({folder.name: (str(own), None)})
    places = filename_patterns.guess([stem_of(file) for file in images])
    by_well = places is not None and all("well" in place for place in places)
    if by_well and places is not None and all("channel" in place for place in places):
        return FieldFile(by_names=True)
    if placed := _placed(images):
        return FieldFile(places=placed)
    if by_well:
        return FieldFile(by_names=True)
    if places is not None and len(images) > 1 and any("channel" in place for place in places) and _is_one_channel(images[0]):
        return FieldFile(_joined(folder))
    return FieldFile({stem_of(file): (str(file), None) for file in images})


def holds_painted_fields(folder: Path) -> bool:
    """Return whether the images of a folder are named as `plate predict` names them, each with all stains of a field."""
    try:
        images = list_images(folder)
    except ReadError:
        return False
    if not _placed(images):
        return False
    places = filename_patterns.guess([stem_of(file) for file in images])
    return places is None or not any("channel" in place for place in places)


def stem_of(file: Path) -> str:
    """Return a file name without its suffix, ``.ome.tif`` and ``.ome.zarr`` being one."""
    return file.stem[:-4] if file.stem.lower().endswith(".ome") else file.stem


def by_field(path: Path, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return metadata of fields from a table, by the column that names most of them.

    Parameters
    ----------
    path
        A CSV, TSV or Parquet file with one row per field; the field's name, or its file's, stands in one of the columns.

    Raises
    ------
    ReadError
        If it can't be read, or names none of the fields.
    """
    with as_read_errors(path):
        table = read_table(path)
    known = set(keys)
    named = {name: [stem_of(Path(cell.strip())) for cell in column] for name, column in zip(table.header, table.columns, strict=True)}
    best = max(named, key=lambda name: sum(cell in known for cell in named[name]))
    if not known & set(named[best]):
        raise ReadError(path, f"none of its columns names the fields ({', '.join(list(keys)[:3])}, ...)")
    found: dict[str, dict[str, Any]] = {key: {} for key in named[best] if key in known}
    for name, column in zip(table.header, table.columns, strict=True):
        values = {key: cell for key, cell in zip(named[best], column, strict=True) if key in known and cell.strip()}
        if name == best or not values:
            continue
        convert = converter(list(values.values()))
        for key, cell in values.items():
            found[key][name] = convert(cell)
    return found


def _placed(images: Sequence[Path]) -> dict[Field, str]:
    """Return the fields of files called ``A01_0``, ``A01_0@2`` or ``A01``; none if any name differs."""
    found = {}
    for file in images:
        match = PLACED.fullmatch(stem_of(file))
        if match is None:
            return {}
        well = canonical(match["well"])
        if well is None:
            return {}
        place = Field(well, unquote(match["field"] or "0"), unquote(match["acquisition"] or ""))
        found[place] = str(file)
    return found if len(found) == len(images) else {}


def _stains_among(images: Iterable[Path]) -> Path | None:
    """Return the file called ``stains``, if any."""
    return next((file for file in images if stem_of(file).casefold() == STAINS), None)


def _is_one_channel(file: Path) -> bool:
    return read_file(file).shape[1] == 1


def _joined(folder: Path) -> Files:
    """Return the images joined from single planes."""
    names = scenes(folder)
    return {folder.name: (str(folder), None)} if len(names) == 1 else {name: (str(folder), name) for name in names}


def _in_subfolders(folder: Path) -> FieldFile:
    """Return a field for each subfolder."""
    files: Files = {}
    folders = [each for each in folder.iterdir() if each.is_dir() and not is_hidden(each.name)]
    for inner in sorted(folders, key=lambda each: filename_patterns.natural(each.name)):
        try:
            images = list_images(inner)
        except ReadError:
            continue
        chosen = images[0] if len(images) == 1 else _stains_among(images) or inner
        files[inner.name] = (str(chosen), None)
    if not files:
        raise ReadError(folder, "it has no image in it, nor have the folders in it; give a field's file, a folder of fields or a plate")
    table = folder / LISTED
    if not table.is_file():
        return FieldFile(files)
    try:
        by_name = by_field(table, list(files))
    except ReadError as error:
        return FieldFile(files, notes=(f"{LISTED} is not used: {error}",))
    metadata = {key: {name: value for name, value in row.items() if name not in NO_METADATA} for key, row in by_name.items()}
    return FieldFile(
        files, metadata=metadata, notes=(f"What is known of the fields is taken from {LISTED}; each counts as a well of its own.",)
    )
