"""A folder or a glob of images whose names tell well, field, channel, z-plane and time point, by a pattern or in a usual way."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, Told, canonical, plain, plate_of
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.file_series import list_images, parse_names
from napari_virtual_paint.reading.filename_patterns import NameParts

_DEEP = 3
"""Depths of folders that are looked at for images: the folder itself, its subfolders, theirs."""


def found(path: Path) -> bool:
    """Return whether a path is a folder or a glob."""
    return path.is_dir() or not path.exists()


def opened(request: OpenRequest) -> Plate:
    """Open the images of a folder or a glob.

    Raises
    ------
    ReadError
        If there is none, or their names tell no well.
    """
    files = _files(request)
    folder = Path(os.path.commonpath([str(file.parent) for file in (min(files), max(files))]))
    planes = _planes(parse_names(files, request.path, request.pattern), folder, request.path)
    return plate_of(request, planes, Told(request.name, folder))


def _files(request: OpenRequest) -> list[Path]:
    """Return the images; without a pattern, those of the first depth of folders that has some."""
    if request.pattern is not None or not request.path.is_dir():
        return list_images(request.path, (request.pattern or "").count("/"))
    for depth in range(_DEEP):
        try:
            return list_images(request.path, depth)
        except ReadError:
            continue
    return list_images(request.path)


def _planes(files: Iterable[tuple[Path, NameParts]], folder: Path, source: Path) -> Iterable[Plane]:
    """Return the planes that the names tell."""
    above = len(str(folder)) + 1
    for file, place in files:
        if "well" not in place:
            raise ReadError(
                source, f"the names of its images ({file.name!r}) tell no well; give a pattern such as '{{well}}_{{field}}_{{channel}}'"
            )
        well = canonical(place["well"])
        if well is None:
            raise ReadError(source, f"the name {file.name!r} tells the well {place['well']!r}, which is none; give a pattern that fits")
        yield Plane(
            well, plain(place.get("field", "0")), place.get("channel", ""), str(file)[above:], place.get("z", ""), place.get("t", "")
        )
