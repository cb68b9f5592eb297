"""A folder or a glob of images whose names have well, field, channel, z-plane and time point, by a given or a known pattern."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, SourceMetadata, assemble_plate, canonical, strip_zeros
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.file_series import list_images, names_below, parse_names
from napari_virtual_paint.reading.instrument_names import NameParts, most_that_follow

_DEPTHS = 4  # depths at which images are looked for: the folder itself, its subfolders, theirs, theirs
_MOST_OTHERS = 0.5  # largest share of images whose names don't follow the pattern of the others, and are left out
_SHOWN = 3  # names in a note

Parsed = Sequence[tuple[Path, NameParts]]


def recognizes(path: Path) -> bool:
    """Return whether a path is a folder or a glob."""
    return path.is_dir() or not path.exists()


def open_layout(request: OpenRequest) -> Plate:
    """Open the images of a folder or a glob.

    Raises `ReadError` if there is none, or their names have no well.
    """
    files = _files(request)
    parsed, notes = parse_plate_names(files, request.path, request.pattern)
    folders = {os.path.dirname(file) for file, _ in parsed}  # noqa: PTH120 - several times as fast as `Path.parent`
    folder = Path(os.path.commonpath(folders))
    parsed, name = _one_plate(request, parsed, folder) if len(folders) > 1 else (parsed, "")
    request = replace(request, path=folder / name) if name else request  # each of several plates has a path of its own
    names, more = _names_of_wells(parsed) if request.pattern is None else ({}, ())
    planes = _planes(parsed, names, folder, request.path)
    return assemble_plate(request, planes, SourceMetadata(name or request.name, folder, notes=(*notes, *more)))


def parse_plate_names(files: Sequence[Path], path: Path, pattern: str | None) -> tuple[Parsed, tuple[str, ...]]:
    """Return the files with the parts of their names, and a note on those whose names don't follow the pattern of the others.

    Raises `ReadError` if no pattern is given and none can be guessed.
    """
    try:
        return parse_names(files, path, pattern), ()
    except ReadError:
        parts, count = most_that_follow(names_below(files)) if pattern is None else ([], 0)
        if count < 2 or count < _MOST_OTHERS * len(files):
            raise
    others = [file.name for file, part in zip(files, parts, strict=True) if part is None]
    shown = ", ".join(sorted(others)[:_SHOWN]) + (", ..." if len(others) > _SHOWN else "")
    note = f"{len(others)} of its images are left out, since their names don't follow the pattern of the others ({shown})."
    return [(file, part) for file, part in zip(files, parts, strict=True) if part is not None], (note,)


def _files(request: OpenRequest) -> list[Path]:
    """Return the images; without a pattern, those at the first depth that has any."""
    if request.pattern is not None or not request.path.is_dir():
        return list_images(request.path, (request.pattern or "").count("/"))
    for depth in range(_DEPTHS):
        try:
            return list_images(request.path, depth)
        except ReadError:
            continue
    return list_images(request.path)


def _one_plate(request: OpenRequest, parsed: Parsed, folder: Path) -> tuple[Parsed, str]:
    """Return the images of one plate where folders hold several: the one that is asked for, with its name.

    Folders hold several plates if an image of one has the same well, field, channel, plane and time point as one of another.

    Raises `InputError` if there are several, and none of them is asked for.
    """
    by_folder: dict[str, list[tuple[Path, NameParts]]] = {}
    for file, parts in parsed:
        below = file.parent.relative_to(folder).parts
        by_folder.setdefault(below[0] if below else "", []).append((file, parts))
    total = len({tuple(sorted(parts.items())) for _, parts in parsed})
    if len(by_folder) < 2 or total == len(parsed):
        return parsed, ""
    return request.choose(by_folder)


def _names_of_wells(parsed: Parsed) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return number of a well -> its name where the names count wells (``W0013``), and a note."""
    texts = {parts.get("well", "") for _, parts in parsed}
    if not all(re.fullmatch(r"W\d{3,}", text) for text in texts):
        return {}, ()
    highest = max(int(text[1:]) for text in texts)
    try:
        names = {text: wells.numbered(int(text[1:]), highest) for text in texts}
    except InputError:
        return {}, ()
    count = next(count for count in wells.FORMATS if count >= max(96, highest))
    return names, (f"The names of its images number the wells; they are taken as those of a plate of {count} wells, row by row.",)


def _planes(files: Iterable[tuple[Path, NameParts]], names: dict[str, str], folder: Path, source: Path) -> Iterable[Plane]:
    """Yield the planes, by the parts of the files' names."""
    prefix = len(str(folder)) + 1
    for file, parts in files:
        if "well" not in parts:
            raise ReadError(
                source, f"the names of its images ({file.name!r}) have no well; give a pattern such as '{{well}}_{{field}}_{{channel}}'"
            )
        well = names.get(parts["well"]) or canonical(parts["well"])
        if well is None:
            raise ReadError(source, f"the name {file.name!r} has the well {parts['well']!r}, which is none; give a pattern that fits")
        yield Plane(
            well, strip_zeros(parts.get("field", "0")), parts.get("channel", ""), str(file)[prefix:], parts.get("z", ""), parts.get("t", "")
        )
