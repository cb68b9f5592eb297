"""A folder or a glob of images whose names have well, field, channel, z-plane and time point, by a given or a known pattern."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, SourceMetadata, assemble_plate, canonical, strip_zeros
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.file_series import list_images, parse_names
from napari_virtual_paint.reading.filename_patterns import NameParts

_DEPTHS = 3  # depths at which images are looked for: the folder itself, its subfolders, theirs


def recognizes(path: Path) -> bool:
    """Return whether a path is a folder or a glob."""
    return path.is_dir() or not path.exists()


def open_layout(request: OpenRequest) -> Plate:
    """Open the images of a folder or a glob.

    Raises `ReadError` if there is none, or their names have no well.
    """
    files = _files(request)
    folder = Path(os.path.commonpath([str(file.parent) for file in (min(files), max(files))]))
    planes = _planes(parse_names(files, request.path, request.pattern), folder, request.path)
    return assemble_plate(request, planes, SourceMetadata(request.name, folder))


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


def _planes(files: Iterable[tuple[Path, NameParts]], folder: Path, source: Path) -> Iterable[Plane]:
    """Yield the planes, by the parts of the files' names."""
    prefix = len(str(folder)) + 1
    for file, parts in files:
        if "well" not in parts:
            raise ReadError(
                source, f"the names of its images ({file.name!r}) have no well; give a pattern such as '{{well}}_{{field}}_{{channel}}'"
            )
        well = canonical(parts["well"])
        if well is None:
            raise ReadError(source, f"the name {file.name!r} has the well {parts['well']!r}, which is none; give a pattern that fits")
        yield Plane(
            well, strip_zeros(parts.get("field", "0")), parts.get("channel", ""), str(file)[prefix:], parts.get("z", ""), parts.get("t", "")
        )
