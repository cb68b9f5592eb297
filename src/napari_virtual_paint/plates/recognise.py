"""Whether a path is a plate, told by a look at names and at small files: no pixel is read, and no long list of images."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.plates.layouts import image_table, imagexpress, incarta, loaddata, ome_zarr, phenix, yokogawa
from napari_virtual_paint.plates.layouts.assemble import canonical
from napari_virtual_paint.reading.file_series import placed
from napari_virtual_paint.reading.formats import SUFFIXES
from napari_virtual_paint.reading.ome_zarr import group_attributes, is_zarr

LISTS = (".xml", ".htd", ".mlf", ".mrf", ".xdce", ".jdce")
"""Suffixes of the files in which microscopes list a plate's images."""
_LISTING = (phenix, yokogawa, imagexpress, incarta)
_ENTRIES = 4096
"""As many entries of a folder are looked at."""
_NAMES = 200
"""Of these, the names of as many images."""


def is_plate(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a plate: what `opening.open_plate` opens, of several wells where names alone tell.

    An OME-Zarr plate, a microscope's folder or list of images, a LoadData table or a folder with a table of images, or a folder of images
    whose names tell two wells or more. A single image, an image's OME-Zarr, a well of a plate and a stack of files are none.
    """
    place = Path(path)
    try:
        if place.is_file():
            if place.suffix.lower() in LISTS:
                return any(layout.found(place) for layout in _LISTING)
            return loaddata.found(place)
        if not place.is_dir():
            return False
        if is_zarr(place):
            return ome_zarr.found(place) and "plate" in group_attributes(place, str(place))
        return any(layout.found(place) for layout in (*_LISTING, loaddata, image_table)) or _names_tell_wells(place)
    except (OSError, VirtualPaintError):
        return False


def _names_tell_wells(folder: Path) -> bool:
    """Return whether the images in a folder are of two wells or more, by the names of some."""
    with os.scandir(folder) as entries:
        found = [entry.name for entry in islice(entries, _ENTRIES) if entry.name.lower().endswith(SUFFIXES) and entry.name[0] != "."]
    some = sorted(found)[:: max(len(found) // _NAMES, 1)]
    if len(some) < 2:
        return False
    told = placed([folder / name for name in some], folder, None)
    return len({canonical(place["well"]) for _, place in told if "well" in place} - {None}) > 1
