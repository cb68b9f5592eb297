"""A table of one row an image: CSV, TSV or Parquet, its columns called in any of the usual ways."""

from __future__ import annotations

from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import Request
from napari_virtual_paint.plates.layouts.files import located, relocated
from napari_virtual_paint.plates.layouts.planes import Plane, Told, plain, plate_of
from napari_virtual_paint.plates.layouts.rows import SUFFIXES, columns_of, metadata_of, plate_name, read_table, wells_of
from napari_virtual_paint.plates.plate import Plate


def found(path: Path) -> bool:
    """Return whether a file is called as tables are."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def opened(request: Request) -> Plate:
    """Open the images that a table lists, one a row; paths are relative to the table.

    Raises
    ------
    ReadError
        If it is damaged, or has no column of wells or of paths.
    """
    table = read_table(request.path)
    known = columns_of(table)
    if "path" not in known:
        shown = ", ".join(table.header[:12])
        raise ReadError(request.path, f"it has no column of the images' paths (path, filename, url); there are {shown}")
    well = wells_of(table, known)
    folders = table.column(known.get("folder"))
    named = [_joined(folder, file) for folder, file in zip(folders, table.column(known["path"]), strict=True)]
    files, notes = relocated(named, request.path.parent)
    texts = [[cell.strip() for cell in table.column(known.get(key))] for key in ("field", "channel", "z", "t", "acquisition")]
    planes = (
        Plane(where, plain(field) or "0", channel, file, z, t, acquisition)
        for where, file, field, channel, z, t, acquisition in zip(well, files, *texts, strict=True)
        if file
    )
    told = Told(
        name=plate_name(table, known),
        folder=request.path.parent,
        order=tuple(dict.fromkeys(texts[1])),
        metadata=metadata_of(table, well, set(known.values()) - {known.get("plate", "")}),
        notes=notes,
    )
    return plate_of(request, planes, told, locate=located)


def _joined(folder: str, file: str) -> str:
    """Return the path of a file of which the folder is told apart."""
    folder, file = folder.strip(), file.strip()
    return f"{folder.rstrip('/')}/{file}" if folder and file else file
