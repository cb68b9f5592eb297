"""CellProfiler's LoadData table, as CellProfiler and JUMP write it: a row for each field, a column (or two) for each channel.

``FileName_OrigDNA`` with ``PathName_OrigDNA`` (a folder), or ``URL_OrigDNA``; the channel is what follows ``Orig``. Where several channels
are in one file, ``Series_OrigDNA`` and ``Frame_OrigDNA`` say which image and which plane of it, from 0. Illumination functions (``Illum``)
and outlines are no channels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, SourceMetadata, assemble_plate, strip_zeros
from napari_virtual_paint.plates.layouts.file_location import exists, locate, relocate, remote_note
from napari_virtual_paint.plates.layouts.table_columns import (
    SUFFIXES,
    Table,
    columns_of,
    header_of,
    meaning,
    metadata_of,
    of_one_plate,
    read_table,
    wells_of,
)
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.file_parts import FilePart, Place
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import PixelSize

_COLUMN = re.compile(r"(?:Image_)?(?P<kind>FileName|PathName|URL|Frame|Series)_(?P<orig>Orig)?(?P<channel>.+)", re.IGNORECASE)
_ILLUMINATION = re.compile(r"(?:Image_)?(?P<kind>FileName|PathName)_Illum(?P<channel>.+)", re.IGNORECASE)
_NONE = re.compile(r"Illum|.*(Outlines|Mask|Labels|Objects)$", re.IGNORECASE)
_METADATA = re.compile(r"(?:Image_)?Metadata_", re.IGNORECASE)
_PART = "\n"  # between a file's name and the numbers of a part of it
_LARGEST = 100.0  # micrometres; a larger pixel size is in another unit
_USUAL_NAMES = ("load_data.csv", "load_data.parquet", "load_data_with_illum.csv", "load_data_with_illum.parquet")


def recognizes(path: Path) -> bool:
    """Return whether a table has LoadData's columns, or a folder has such a table under its usual name."""
    file = _table(path)
    return file is not None and bool(_columns(header_of(file)))


def open_layout(request: OpenRequest) -> Plate:
    """Open the images that a LoadData table lists.

    Raises `ReadError` if it is damaged, or has no column of images or of wells.
    """
    file = _table(request.path)
    if file is None:
        raise ReadError(request.path, f"it has no LoadData table ({', '.join(_USUAL_NAMES[:2])}); give the table itself")
    table, name, several = of_one_plate(read_table(file), request)
    columns = _columns(table.header)
    if not columns:
        raise ReadError(file, "it has no column of images (FileName_OrigDNA, URL_OrigDNA ...), so it is no LoadData table")
    known = {key: name for key, name in columns_of(table).items() if not _COLUMN.fullmatch(name)}
    wells = wells_of(table, known)
    files, notes = _locate_files(table, columns)
    files = _with_parts(table, columns, files)
    fields, depths, times = ([cell.strip() for cell in table.column(known.get(key))] for key in ("field", "z", "t"))
    planes = (
        Plane(wells[i], strip_zeros(fields[i]) or "0", channel, files[c * table.rows + i], depths[i], times[i])
        for c, channel in enumerate(columns)
        for i in range(table.rows)
        if files[c * table.rows + i]
    )
    others = [name for name in table.header if not _METADATA.match(name) or meaning(name) not in (None, "plate")]
    metadata = SourceMetadata(
        name=name,
        folder=file.parent,
        order=tuple(columns),
        pixel_size=_pixel_size(table),
        metadata=metadata_of(table, wells, others),
        notes=(*notes, *remote_note(files)),
    )
    plate = assemble_plate(request, planes, metadata, locate=locate_part)
    return replace(plate, part=name) if several else plate


def illumination_files(request: OpenRequest) -> dict[str, Path]:
    """Return channel -> the file of its illumination function, where a table names one (``FileName_IllumDNA``, ``PathName_IllumDNA``).

    The table's folder is looked into where the named one is not there; files need not exist.
    """
    file = _table(request.path)
    if file is None:
        return {}
    table = of_one_plate(read_table(file), request)[0]
    names = {
        match["channel"]: name
        for name in table.header
        if (match := _ILLUMINATION.fullmatch(name)) is not None and match["kind"].lower() == "filename"
    }
    folders = {
        match["channel"]: name
        for name in table.header
        if (match := _ILLUMINATION.fullmatch(name)) is not None and match["kind"].lower() == "pathname"
    }
    found = {}
    for channel, name in names.items():
        row = next((i for i, cell in enumerate(table.column(name)) if cell.strip()), None)
        if row is None:
            continue
        own = table.column(name)[row].strip()
        folder = table.column(folders[channel])[row].strip().rstrip("/\\") if channel in folders else ""
        stated = locate(str(file.parent), f"{folder}/{own}" if folder else own)
        beside = file.parent / Path(own).name
        found[channel] = stated if isinstance(stated, Path) and (stated.is_file() or not beside.is_file()) else beside
    return found


def locate_part(folder: str, name: str) -> Place:
    """Return a file, its remote location, or a part of it; the name is what `_with_parts` makes of it."""
    file, *numbers = name.split(_PART)
    place = locate(folder, file)
    return FilePart(place, int(numbers[0]) if numbers[0] else None, int(numbers[1] or 0)) if numbers else place


def _with_parts(table: Table, columns: Mapping[str, Mapping[str, str]], files: Sequence[str]) -> list[str]:
    """Return the images of all channels, one channel after another, with the numbers of frame and series where the table has them.

    Raises `ReadError` if one is no number.
    """
    found: list[str] = []
    for c, names in enumerate(columns.values()):
        own = files[c * table.rows : (c + 1) * table.rows]
        if "frame" not in names and "series" not in names:
            found += own
            continue
        frames, series = (table.column(names.get(kind)) for kind in ("frame", "series"))
        for i, file in enumerate(own):
            numbers = [text.strip().removesuffix(".0") for text in (frames[i], series[i])]
            wrong = next((text for text in numbers if text and not text.isdecimal()), None)
            if wrong is not None:
                raise ReadError(
                    table.path, f"its {table.place(i)} has the frame or series {wrong!r}, which is no number from 0; correct it"
                )
            found.append(_PART.join((file, *numbers)) if file and any(numbers) else file)
    return found


def _pixel_size(table: Table) -> PixelSize:
    """Return the pixel size that JUMP's tables took from Harmony's index (in metres), if it is the same in all rows."""
    sizes = []
    for axis in "YX":
        values = set(table.column(f"Metadata_ImageResolution{axis}")) if f"Metadata_ImageResolution{axis}" in table.header else set()
        size = micrometres(values.pop(), "m") if len(values) == 1 else None
        sizes.append(size if size is not None and size < _LARGEST else None)
    return PixelSize(None, *sizes)


def _locate_files(table: Table, columns: Mapping[str, Mapping[str, str]]) -> tuple[list[str], tuple[str, ...]]:
    """Return the images of all channels, one channel after another, and a note if they were moved.

    Files are preferred to URLs, which may be slow, unless a sample of the files does not exist.
    """
    folder = table.path.parent
    kinds = [kind for kind in ("filename", "url") if all(kind in names for names in columns.values())]
    candidates = [_files(table, columns, [kind]) for kind in kinds] or [_files(table, columns, ["filename", "url"])]
    for files in candidates:
        moved, notes = relocate(files, folder)
        if any(exists(folder, moved[i]) for i in (0, len(moved) // 2, -1) if moved[i]):
            return moved, notes
    return candidates[-1], ()


def _files(table: Table, columns: Mapping[str, Mapping[str, str]], kinds: Sequence[str]) -> list[str]:
    """Return the path or URL of each channel's images, row by row; empty where there is none."""
    found: list[str] = []
    for names in columns.values():
        kind = next(kind for kind in kinds if kind in names)
        files = [cell.strip() for cell in table.column(names[kind])]
        if kind == "filename" and "pathname" in names:
            folders = [cell.strip().rstrip("/\\") for cell in table.column(names["pathname"])]
            files = [f"{folder}/{file}" if folder and file else file for folder, file in zip(folders, files, strict=True)]
        found += files
    return found


def _table(path: Path) -> Path | None:
    """Return the table of a folder, or the file itself if it is one."""
    if path.is_file():
        return path if path.suffix.lower() in SUFFIXES else None
    return next((path / name for name in _USUAL_NAMES if (path / name).is_file()), None) if path.is_dir() else None


def _columns(header: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Return channel -> its columns, by kind: ``filename``, ``pathname`` (the folder) and ``url``."""
    kinds: dict[str, dict[str, dict[str, str]]] = {"orig": {}, "": {}}
    for name in header:
        match = _COLUMN.fullmatch(name)
        if match is not None and not _NONE.match(match["channel"]):
            kinds["orig" if match["orig"] else ""].setdefault(match["channel"], {})[match["kind"].lower()] = name
    found = kinds["orig"] or kinds[""]
    return {channel: names for channel, names in found.items() if "filename" in names or "url" in names}
