"""open_plate(): any layout of a plate to a `Plate`; metadata is read, no pixel is."""

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
    ChannelNames,
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
from napari_virtual_paint.reading.ome_zarr import group_attributes

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

_MOST_ENTRIES = 4096  # entries of a folder that are looked at to recognize a plate
_MOST_NAMES = 200  # names of images, among these entries, that are parsed


def open_plate(
    path: str | os.PathLike[str],
    *,
    pattern: str | None = None,
    layout: str | None = None,
    plate_map: str | os.PathLike[str] | None = None,
    channels: ChannelNames = None,
) -> Plate:
    """Open a plate; its metadata is read, none of its pixels.

    Parameters
    ----------
    path
        An OME-Zarr plate, a microscope's folder (or the file in it that lists the images), a table of images, or a folder or glob of
        images whose names have their well.
    pattern
        What the names of the images mean, such as ``{well}_{field}_{channel}_{z}`` (see `reading.read`).
    layout
        One of `LAYOUTS`; recognized where none is given.
    plate_map
        A table of the wells' contents (see `plate_map.with_map`), joined by well name.
    channels
        New names of the channels, in the source's order or by the source's name of each; None keeps the source's names.

    Returns
    -------
    Plate
        `Plate.read` gives the image of a field, whose pixels are read when they are used. A field whose file is missing is listed, too;
        reading it fails.

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
    with as_read_errors(source), _garbage_collection_paused():
        _check_exists(source)
        name = layout or ("pattern" if pattern is not None else _recognize(source))
        if name is None:
            raise ReadError(source, "it is no plate: give a folder, a microscope's list of images or a table (CSV, Parquet)")
        plate: Plate = LAYOUTS[name].open_layout(OpenRequest(source, pattern, channels))
    plate = replace(plate, layout=name)
    return plate if plate_map is None else with_map(plate, plate_map)


def is_plate(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is surely a plate; `open_plate` opens more, such as any table or folder of images.

    An OME-Zarr plate, a microscope's folder or list of images, a LoadData table or a folder with a table of images, or a folder of images
    whose names have two wells or more. A single image, the OME-Zarr of an image, a well of a plate and a stack of files are none.
    """
    place = Path(path)
    try:
        layout = _recognize(place)
        if layout == "ome-zarr":
            return "plate" in group_attributes(place, str(place))
        if layout == "table":
            return place.is_dir()
        if layout == "pattern":
            return place.is_dir() and _has_several_wells(place)
        return layout is not None
    except (OSError, VirtualPaintError):
        return False


def _recognize(path: Path) -> str | None:
    """Return the layout of a path, by the names of its files alone."""
    return next((name for name, module in LAYOUTS.items() if module.recognizes(path)), None)


@contextlib.contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Pause garbage collection while a hundred thousand small values are made, all of which stay: it took 40 % of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _check_exists(path: Path) -> None:
    """Raise a `ReadError` if there is nothing at a path; a glob is checked by its layout."""
    if any(letter in str(path) for letter in "*?["):
        return
    if not path.exists():
        raise ReadError(path, "there is no such file or folder; check the path")
    if path.is_dir() and next(path.iterdir(), None) is None:
        raise ReadError(path, "it is an empty folder; check that the plate was copied")


def _has_several_wells(folder: Path) -> bool:
    """Return whether the images in a folder are of two wells or more, by a sample of their names."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, _MOST_ENTRIES) if entry.name.lower().endswith(SUFFIXES) and entry.name[0] != "."]
    sample = sorted(names)[:: max(len(names) // _MOST_NAMES, 1)]
    if len(sample) < 2:
        return False
    parsed = parse_names([folder / name for name in sample], folder, None)
    return len({canonical(parts["well"]) for _, parts in parsed if "well" in parts} - {None}) > 1
