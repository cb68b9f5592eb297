"""open_plate: any layout of a plate to a `Plate`; metadata is read, no pixel is."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType, ModuleType

from napari_virtual_paint.errors import InputError, ReadError, VirtualPaintError
from napari_virtual_paint.plates.layouts import (
    Names,
    OpenRequest,
    filename_pattern,
    image_table,
    imagexpress,
    incarta,
    loaddata,
    ome_zarr,
    phenix,
    yokogawa,
)
from napari_virtual_paint.plates.layouts.assemble import canonical
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.plate_map import with_map
from napari_virtual_paint.reading.file_series import parse_names
from napari_virtual_paint.reading.formats import SUFFIXES
from napari_virtual_paint.reading.lazy import as_read_errors
from napari_virtual_paint.reading.ome_zarr import group_attributes, is_zarr

LAYOUTS: MappingProxyType[str, ModuleType] = MappingProxyType(
    {
        "ome-zarr": ome_zarr,
        "opera-phenix": phenix,
        "yokogawa": yokogawa,
        "imagexpress": imagexpress,
        "incarta": incarta,
        "loaddata": loaddata,
        "table": image_table,
        "pattern": filename_pattern,
    }
)
"""Name of a layout -> its module; tried in this order."""


def open_plate(
    path: str | os.PathLike[str],
    *,
    pattern: str | None = None,
    layout: str | None = None,
    plate_map: str | os.PathLike[str] | None = None,
    channels: Names = None,
) -> Plate:
    """Open a plate; its metadata is read, none of its pixels.

    Parameters
    ----------
    path
        An OME-Zarr plate, a microscope's folder (or the file in it that lists the images), a table of images, or a folder or glob of
        images whose names tell their place.
    pattern
        How the names of the images tell their place, such as ``{well}_{field}_{channel}_{z}`` (see `reading.read`).
    layout
        One of `LAYOUTS`; found out where none is given.
    plate_map
        A table of what is in the wells (see `plate_map.with_map`), joined by the wells' names.
    channels
        What the channels are called, in the source's order or by the source's name of each; the source's own names where none is given.

    Returns
    -------
    Plate
        `Plate.read` gives the image of a field, its pixels read when they are asked for. A field whose file is missing is there too, and
        its reading fails.

    Raises
    ------
    ReadError
        If the source is missing, damaged or no plate.
    InputError
        If a setting does not fit the source.
    """
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"There is no layout {layout!r} of plates; there are {', '.join(LAYOUTS)}.")
    source = Path(path).expanduser().absolute()
    with as_read_errors(source), _without_collection():
        _existing(source)
        name = layout or _layout(source, pattern)
        plate: Plate = LAYOUTS[name].opened(OpenRequest(source, pattern, channels))
    plate = replace(plate, layout=name)
    return plate if plate_map is None else with_map(plate, plate_map)


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Keep Python from looking for garbage while a hundred thousand small values are made, none of which is; that took 40 % of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _existing(path: Path) -> None:
    """Raise a `ReadError` where there is nothing; a glob is looked at by its layout."""
    if any(letter in str(path) for letter in "*?["):
        return
    if not path.exists():
        raise ReadError(path, "there is no such file or folder; check the path")
    if path.is_dir() and next(path.iterdir(), None) is None:
        raise ReadError(path, "it is an empty folder; check that the plate was copied")


def _layout(path: Path, pattern: str | None) -> str:
    """Return which layout a path has, by a look at names."""
    if pattern is not None:
        return "pattern"
    name = next((name for name, module in LAYOUTS.items() if module.found(path)), None)
    if name is None:
        raise ReadError(path, "it is no plate: give a folder, a microscope's list of images or a table (CSV, Parquet)")
    return name


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
    told = parse_names([folder / name for name in some], folder, None)
    return len({canonical(place["well"]) for _, place in told if "well" in place} - {None}) > 1
