"""Counts of channels, planes and time points in ImageJ's description, against the pages that a file has."""

from __future__ import annotations

import math
from typing import Any

import tifffile

from napari_virtual_paint.errors import ReadError

_KEYS = {"channels": "channels", "slices": "z-planes", "frames": "time points"}
"""Counts in ImageJ's description -> what they count."""
_ORDERS = {"czt": 0, "default": 0, "ctz": 1, "zct": 2, "ztc": 3, "tcz": 4, "tzc": 5}
_FASTEST = {
    0: ("channels", "slices", "frames"),
    1: ("channels", "frames", "slices"),
    2: ("slices", "channels", "frames"),
    3: ("slices", "frames", "channels"),
    4: ("frames", "channels", "slices"),
    5: ("frames", "slices", "channels"),
}


def correct_counts(tif: tifffile.TiffFile, path: str) -> tuple[str, ...]:
    """Bring the counts of an open ImageJ file in line with its pages.

    Where the description counts fewer than there are, the slowest of its axes takes all; a file that has one page may hold the others
    behind it, as ImageJ writes more than 4 GB.

    Returns
    -------
    Notes on what was changed.

    Raises
    ------
    ReadError
        If it claims more than the file can hold, or a number that its pages can't be divided by.
    """
    values: dict[str, Any] = dict(tif.imagej_metadata or {})
    counts = {key: _count(values.get(key, 1), key, path) for key in _KEYS}
    pages, page = len(tif.pages), tif.pages[0]
    claimed = math.prod(counts.values())
    samples = int(page.samplesperpixel)
    if samples > 1 and counts["channels"] == samples:
        claimed //= samples  # colours that are counted as channels
    words = " x ".join(f"{counts[key]:,} {what}" for key, what in _KEYS.items() if counts[key] > 1) or "one image"
    if claimed > pages:
        room = (tif.filehandle.size - int(page.dataoffsets[0])) // max(1, int(page.nbytes)) if page.is_final and pages == 1 else pages
        if room < claimed:
            raise ReadError(
                path, f"its ImageJ description counts {words} but it holds {max(pages, room):,}; it was cut off or its description is wrong"
            )
        return ()
    if claimed == pages or claimed == 1:
        return ()
    order = _FASTEST[_ORDERS.get(str(values.get("order", "czt")).lower(), 0)]
    long = [key for key in order if counts[key] > 1]
    others = claimed // counts[long[-1]]
    if pages % others:
        raise ReadError(
            path,
            f"its ImageJ description counts {words} but it has {pages} pages, which can't be divided by them;"
            " correct its properties in ImageJ and save it again",
        )
    counts[long[-1]] = pages // others
    tif.__dict__["imagej_metadata"] = {**values, **counts, "images": pages}
    taken = f"{pages // others} {_KEYS[long[-1]]}"
    return (f"Its ImageJ description counts {words} but it has {pages} pages; all of them were read, as {taken}.",)


def _count(value: object, key: str, path: str) -> int:
    """Return a count of the description, which must be a whole number above 0."""
    if isinstance(value, int) and value > 0:
        return value
    raise ReadError(path, f"its ImageJ description has {key}={value}, which is no number of {_KEYS[key]}; it is damaged")
