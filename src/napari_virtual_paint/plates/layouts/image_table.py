"""A table of one row an image: CSV, TSV or Parquet, its columns called in any of the usual ways."""

from __future__ import annotations

import os
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, Told, plain, plate_of
from napari_virtual_paint.plates.layouts.file_location import far_away, located, relocated
from napari_virtual_paint.plates.layouts.table_columns import (
    SUFFIXES,
    columns_of,
    header_of,
    meaning,
    metadata_of,
    plate_name,
    read_table,
    wells_of,
)
from napari_virtual_paint.plates.plate import Plate

_MANY = 16
"""No more tables of a folder are looked into."""


def found(path: Path) -> bool:
    """Return whether a file is called as tables are, or a folder holds one table of images."""
    return _table(path) is not None


def _table(path: Path) -> Path | None:
    """Return the table of a folder, if one alone in it has columns of paths and wells; the file itself if it is one."""
    if path.is_file():
        return path if path.suffix.lower() in SUFFIXES else None
    if not path.is_dir():
        return None
    with os.scandir(path) as entries:
        names = [entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES)]
    listing = [path / name for name in names[:_MANY] if {"path", "well"} <= {meaning(column) for column in header_of(path / name)}]
    return listing[0] if len(listing) == 1 else None


def opened(request: OpenRequest) -> Plate:
    """Open the images that a table lists, one a row; paths are relative to the table.

    Raises
    ------
    ReadError
        If there is none, or it is damaged, or has no column of wells or of paths.
    """
    file = _table(request.path)
    if file is None:
        raise ReadError(request.path, "it has no table of images (CSV or Parquet, a column of paths and one of wells), or several")
    table = read_table(file)
    known = columns_of(table)
    if "path" not in known:
        raise ReadError(file, f"it has no column of the images' paths (path, filename, url); there are {', '.join(table.header[:12])}")
    well = wells_of(table, known)
    folders = table.column(known.get("folder"))
    named = [_joined(folder, file) for folder, file in zip(folders, table.column(known["path"]), strict=True)]
    files, notes = relocated(named, file.parent)
    texts = [[cell.strip() for cell in table.column(known.get(key))] for key in ("field", "channel", "z", "t", "acquisition")]
    planes = (
        Plane(where, plain(field) or "0", channel, file, z, t, acquisition)
        for where, file, field, channel, z, t, acquisition in zip(well, files, *texts, strict=True)
        if file
    )
    told = Told(
        name=plate_name(table, known),
        folder=file.parent,
        order=tuple(dict.fromkeys(texts[1])),
        metadata=metadata_of(table, well, [name for name in table.header if meaning(name) not in (None, "plate")]),
        notes=(*notes, *far_away(files)),
    )
    return plate_of(request, planes, told, locate=located)


def _joined(folder: str, file: str) -> str:
    """Return the path of a file of which the folder is told apart."""
    folder, file = folder.strip(), file.strip()
    return f"{folder.rstrip('/')}/{file}" if folder and file else file
