"""A part of a file as an image of its own: one series of it, and one plane of that, by the numbers that CellProfiler gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from napari_virtual_paint.downloads.image_cache import Remote, with_copy
from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.formats import TIFF, read_file
from napari_virtual_paint.reading.silence import mute_logs
from napari_virtual_paint.stack import Stack

T = TypeVar("T")


@dataclass(frozen=True)
class FilePart:
    """A series of a file, and a plane of it."""

    path: Path | Remote
    frame: int | None = None  # number of the plane in the file's own order, from 0; None for all planes
    series: int = 0  # number of the series, from 0

    def __str__(self) -> str:
        return str(self.path)


Place = Path | Remote | FilePart


def is_remote_place(place: Place) -> bool:
    """Return whether a file must be fetched."""
    return isinstance(place.path if isinstance(place, FilePart) else place, Remote)


def with_place(place: Place, use: Callable[[Path | FilePart], T]) -> T:
    """Call a function with a file, or with a fetched copy of a remote one."""
    if isinstance(place, FilePart):
        part = place
        return with_copy(part.path, lambda path: use(replace(part, path=path))) if isinstance(part.path, Remote) else use(part)
    return with_copy(place, use) if isinstance(place, Remote) else use(place)


def read_place(place: Path | FilePart, axes: str | None = None) -> Stack:
    """Return the image of a file, or of a part of one.

    Parameters
    ----------
    axes
        What the user says the axes of the file's array are.

    Raises
    ------
    ReadError
        If it can't be read, or has no such part.
    """
    if not isinstance(place, FilePart):
        return read_file(place, axes=axes)
    path = Path(str(place.path))
    stack = read_file(path, scene=place.series, axes=axes)
    if place.frame is None:
        return stack
    t, c, z = _position(path, place.frame, place.series, stack)
    channels = slice(None) if stack.rgb else slice(c, c + 1)
    names = stack.channels if stack.channels is None or stack.rgb else stack.channels[channels]
    return replace(stack, data=stack.data[t : t + 1, channels, z : z + 1], channels=names)


def _position(path: Path, frame: int, series: int, stack: Stack) -> tuple[int, int, int]:
    """Return the time point, channel and z-plane of a plane by its number in the file."""
    lengths = dict(zip("TCZ", stack.shape[:3], strict=True))
    if stack.rgb:
        lengths["C"] = 1
    # Bio-Formats, by whose order CellProfiler counts, has channels, planes and time points in this order in most formats.
    lead = [(axis, lengths[axis]) for axis in "TZC"]
    if path.suffix.lower() in TIFF:
        lead = _lead_of_tiff(path, series, lengths) or lead
    total = int(np.prod([length for _, length in lead]))
    if not 0 <= frame < total:
        raise ReadError(path, f"it has no frame {frame}: its {total} planes count from 0; correct the table")
    place = dict.fromkeys("TCZ", 0) | {
        axis: int(i) for (axis, _), i in zip(lead, np.unravel_index(frame, [n for _, n in lead]), strict=True)
    }
    return place["T"], place["C"], place["Z"]


def _lead_of_tiff(path: Path, series: int, lengths: dict[str, int]) -> list[tuple[str, int]]:
    """Return the axes that count the pages of a series, slowest first, with their lengths; none if they are not those of the image."""
    import tifffile

    with mute_logs(), tifffile.TiffFile(path) as tif:
        read = tif.series[series]
        axes = [(axis, int(length)) for axis, length in zip(read.axes, read.shape, strict=True) if axis not in "YXS" and length > 1]
    free = {axis: length for axis, length in lengths.items() if length > 1}
    lead = []
    for axis, length in axes:
        own = axis if free.get(axis) == length else next((each for each, n in free.items() if n == length), None)
        if own is None:
            return []
        del free[own]
        lead.append((own, length))
    return lead if not free else []
