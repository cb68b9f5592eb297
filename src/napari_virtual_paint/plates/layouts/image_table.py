"""A table with one row for each image: CSV, TSV or Parquet, with any of the usual column names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, SourceMetadata, assemble_plate, strip_zeros
from napari_virtual_paint.plates.layouts.file_location import locate, relocate, remote_note
from napari_virtual_paint.plates.layouts.index_search import list_folder
from napari_virtual_paint.plates.layouts.table_columns import (
    SUFFIXES,
    columns_of,
    header_of,
    meaning,
    metadata_of,
    of_one_plate,
    read_table,
    wells_of,
)
from napari_virtual_paint.plates.plate import Plate

_MOST_TABLES = 16  # tables of a folder whose header is read


def recognizes(path: Path) -> bool:
    """Return whether a file has the suffix of a table, or a folder holds one table of images."""
    return _table(path) is not None


def _table(path: Path) -> Path | None:
    """Return the table of a folder, if exactly one in it has columns of paths and wells; the file itself if it is one."""
    if path.is_file():
        return path if path.suffix.lower() in SUFFIXES else None
    if not path.is_dir():
        return None
    names = [name for name in list_folder(path).files if name.lower().endswith(SUFFIXES)]
    tables = [path / name for name in names[:_MOST_TABLES] if {"path", "well"} <= {meaning(column) for column in header_of(path / name)}]
    return tables[0] if len(tables) == 1 else None


def open_layout(request: OpenRequest) -> Plate:
    """Open the images that a table lists; paths are relative to the table.

    Raises `ReadError` if there is no table, it is damaged, or it has no column of wells or paths.
    """
    file = _table(request.path)
    if file is None:
        raise ReadError(request.path, "it has no table of images (CSV or Parquet, a column of paths and one of wells), or several")
    table, name, several = of_one_plate(read_table(file), request)
    known = columns_of(table)
    if "path" not in known:
        raise ReadError(file, f"it has no column of the images' paths (path, filename, url); there are {', '.join(table.header[:12])}")
    wells = wells_of(table, known)
    folders = table.column(known.get("folder"))
    paths = [_join(folder, name) for folder, name in zip(folders, table.column(known["path"]), strict=True)]
    files, notes = relocate(paths, file.parent)
    texts = [[cell.strip() for cell in table.column(known.get(key))] for key in ("field", "channel", "z", "t", "acquisition")]
    planes = (
        Plane(well, strip_zeros(field) or "0", channel, name, z, t, acquisition)
        for well, name, field, channel, z, t, acquisition in zip(wells, files, *texts, strict=True)
        if name
    )
    metadata = SourceMetadata(
        name=name,
        folder=file.parent,
        order=tuple(dict.fromkeys(texts[1])),
        metadata=metadata_of(table, wells, [name for name in table.header if meaning(name) not in (None, "plate")]),
        notes=(*notes, *remote_note(files)),
    )
    plate = assemble_plate(request, planes, metadata, locate=locate)
    return replace(plate, part=name) if several else plate


def _join(folder: str, file: str) -> str:
    """Return the path of a file whose folder is in a column of its own."""
    folder, file = folder.strip(), file.strip()
    return f"{folder.rstrip('/')}/{file}" if folder and file else file
