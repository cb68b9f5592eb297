"""open_plate(): any layout of a plate to a `Plate`; metadata is read, no pixel is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, ModuleType

from napari_virtual_paint.errors import InputError, ReadError, VirtualPaintError
from napari_virtual_paint.plates.layouts import (
    ChannelNames,
    OpenRequest,
    SeveralPlatesError,
    filename_pattern,
    image_table,
    imagexpress,
    incarta,
    jdce,
    loaddata,
    ome_zarr,
    phenix,
    yokogawa,
)
from napari_virtual_paint.plates.layouts.assemble import canonical
from napari_virtual_paint.plates.layouts.index_search import (
    MOST_ENTRIES,
    Folder,
    FoundIndex,
    choose,
    each_folder_listed_once,
    has_images,
    indexes_below,
    indexes_in,
    list_folder,
    plates_in,
)
from napari_virtual_paint.plates.layouts.ome_zarr import ZarrFields
from napari_virtual_paint.plates.layouts.plane_reader import FileFields
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.plate_map import with_map
from napari_virtual_paint.reading.axes import parse_axes
from napari_virtual_paint.reading.file_series import parse_names
from napari_virtual_paint.reading.formats import SUFFIXES
from napari_virtual_paint.reading.lazy import as_read_errors
from napari_virtual_paint.reading.ome_zarr import group_attributes, is_zarr
from napari_virtual_paint.runtime import garbage
from napari_virtual_paint.runtime.file_kind import file_kind

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

KINDS = (phenix.INDEX, yokogawa.INDEX, imagexpress.INDEX, incarta.INDEX, jdce.INDEX)
"""Kinds of files in which microscopes list or describe the images of a plate."""
_BY_INDEX = frozenset(kind.layout for kind in KINDS)
_MOST_ENTRIES = 4096  # entries of a folder that are looked at to recognize a plate
_QUICK_BYTES = 1 << 22  # bytes of an index in which images are looked for where the answer must be quick
_MOST_NAMES = 200  # names of images, among these entries, that are parsed


def open_plate(
    path: str | os.PathLike[str],
    *,
    pattern: str | None = None,
    layout: str | None = None,
    plate_map: str | os.PathLike[str] | None = None,
    channels: ChannelNames = None,
    plate: str | None = None,
    axes: str | None = None,
) -> Plate:
    """Open a plate; its metadata is read, none of its pixels.

    Parameters
    ----------
    path
        An OME-Zarr plate, a microscope's folder (or the file in it that lists the images), a folder up to three levels above one, a table
        of images, or a folder or glob of images whose names have their well.
    pattern
        What the names of the images mean, such as ``{well}_{field}_{channel}_{z}`` (see `reading.read`).
    layout
        One of `LAYOUTS`; recognized where none is given.
    plate_map
        A table of the wells' contents (see `plate_map.with_map`), joined by well name.
    channels
        New names of the channels, in the source's order or by the source's name of each; None keeps the source's names.
    plate
        Which plate, where the path holds several: its name, or that of its folder or of the file that lists its images.
    axes
        What the axes of the array in each image file are, where the files state none (see `reading.read`).

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
        If a setting does not fit the source, the axes are no axes, or (`SeveralPlatesError`) it holds several plates and none is named.
    """
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"There is no layout {layout!r} of plates; there are {', '.join(LAYOUTS)}.")
    letters = None if axes is None else parse_axes(axes)
    request = OpenRequest(Path(path).expanduser().absolute(), pattern, channels, plate)
    with as_read_errors(request.path), garbage.paused(), each_folder_listed_once():
        _check_exists(request.path)
        name = layout or ("pattern" if pattern is not None else None)
        if name is None:
            request, name = _found(request)
        opened: Plate = LAYOUTS[name].open_layout(request)
    opened = replace(opened, layout=name)
    if letters is not None:
        opened = with_axes(opened, letters)
    if plate is not None and request.plate is not None:
        own = (opened.name, request.path.name, request.path.stem)
        if plate.strip().casefold() not in map(str.casefold, own):
            raise InputError(f"{path}: it holds the plate {opened.name}, none called {plate!r}; leave the name out.")
    return opened if plate_map is None else with_map(opened, plate_map)


def with_axes(plate: Plate, axes: str) -> Plate:
    """Return a plate whose images are read with the letters of axes (see `axes.parse_axes`) that a user gives."""
    reader = plate.reader
    assert isinstance(reader, FileFields | ZarrFields)  # the readers of all layouts
    return replace(plate, axes=axes, reader=replace(reader, axes=axes))


def is_plate(path: str | os.PathLike[str], *, quick: bool = False) -> bool:
    """Return whether a path is surely a plate; `open_plate` opens more, such as any table or folder of images.

    An OME-Zarr plate, a microscope's folder or list of images, or a folder above them, a LoadData table or a folder with a table of images,
    or a folder of images whose names have two wells or more. A single image, the OME-Zarr of an image, a well of a plate and a stack of
    files are none.

    Parameters
    ----------
    quick
        Whether only the first entries of large folders are looked at, for the thread that draws. A plate is then missed only if its images'
        names have no wells and the file that lists them, under an unusual name, is not among the first.
    """
    place = Path(path).absolute()
    try:
        with each_folder_listed_once(quick=quick):
            return _is_plate(place)
    except SeveralPlatesError:
        return True
    except (OSError, VirtualPaintError):
        return False


def _is_plate(place: Path) -> bool:
    """Return whether a path is surely a plate; raise an error if it is none, or several."""
    request, layout = _found(OpenRequest(place), _MOST_ENTRIES)
    if layout == "ome-zarr":
        return "plate" in group_attributes(request.path, str(place))
    if layout == "table":
        return place.is_dir()
    return layout != "pattern" or (place.is_dir() and _has_several_wells(place))


def _found(request: OpenRequest, most_entries: int = MOST_ENTRIES) -> tuple[OpenRequest, str]:
    """Return the request for the plate at its path, below it or above it, and the plate's layout, by the names of files alone.

    Raises
    ------
    SeveralPlatesError
        If there are several, and the request does not name one.
    ReadError
        If nothing is known that a plate could be in.
    """
    path = request.path
    own = next((name for name in LAYOUTS if name != "pattern" and LAYOUTS[name].recognizes(path)), None)
    if own is not None and own in _BY_INDEX and path.is_dir():
        found = plates_in(path, KINDS)[0]
        index = choose(found, request) if len(found) > 1 else None
        return (request, own) if index is None else (_request_of(index, request), index.layout)
    if own is not None:
        return request, own
    if path.is_dir():
        below, top = indexes_below(path, KINDS, _is_zarr_plate, most_entries)
        below = _runs(below)
        if has_images(top):
            # An index below the images names them only if none lie beside it.
            below = [index for index in below if index.path.parent.parent == path and not has_images(list_folder(index.path.parent))]
        if below:
            index = choose(below, request)
            return _request_of(index, request), index.layout
        above = _above(path, top)
        if above:
            index = choose(above, request)
            return (request if index.layout == "imagexpress" else _request_of(index, request)), index.layout
    if not filename_pattern.recognizes(path):
        raise ReadError(path, _no_plate(path))
    return request, "pattern"


def _no_plate(path: Path) -> str:
    """Return what a file is that is no plate, and what to do."""
    kind = file_kind(path)
    if kind is not None and kind.key == "zarr":
        return f"it is {kind.words}, of which single images are read, no plate; unpack it, and open the folder"
    words = "no plate" if kind is None else f"{kind.words}, no plate"
    return f"it is {words}: give a folder, a microscope's list of images or a table (CSV, Parquet)"


def _request_of(index: FoundIndex, request: OpenRequest) -> OpenRequest:
    """Return the request for the plate of an index: by its folder, or by the index itself where the folder has several."""
    path = index.path
    if path.is_file() and len(indexes_in(list_folder(path.parent), KINDS)) == 1:
        path = path.parent
        if index.layout == "opera-phenix" and path.name.casefold() == "images":
            path = path.parent
    return replace(request, path=path, plate=None)


def _runs(found: Sequence[FoundIndex]) -> list[FoundIndex]:
    """Return the indexes with those of one run of In Carta (tiles, montages, stacks) as one, which opens by the run's folder."""
    kept: dict[Path, FoundIndex] = {}
    for index in found:
        run = jdce.run_of(index.path) if index.path.suffix.casefold() == ".jdce" else index.path
        several = run == index.path.parent and len(indexes_in(list_folder(run), KINDS)) > 1
        place = index.path if run == index.path or several else run
        kept.setdefault(place, replace(index, path=place))
    return list(kept.values())


def _above(path: Path, top: Folder) -> list[FoundIndex]:
    """Return the indexes in the folder above that name an image of a folder."""
    images = [name for name in top.files if name.casefold().endswith(SUFFIXES)]
    sample = [name.encode() for name in dict.fromkeys((*images[:1], *images[len(images) // 2 : len(images) // 2 + 1], *images[-1:]))]
    found = indexes_in(list_folder(path.parent), KINDS) if images else []
    kept = []
    for index in found:
        if index.layout == "imagexpress":
            named = imagexpress.belongs_to(path, index.path)
        elif index.path.suffix.casefold() == ".jdce":
            named = path.name.casefold().startswith("timepoint")
        else:
            with index.path.open("rb") as file:
                content = file.read(_QUICK_BYTES if top.cut else -1).lower()
            named = any(name.lower() in content for name in sample)
        if named:
            kept.append(index)
    return kept


def _is_zarr_plate(path: Path) -> bool:
    """Return whether a Zarr is a plate."""
    try:
        return is_zarr(path) and "plate" in group_attributes(path, str(path))
    except (OSError, VirtualPaintError):
        return False


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
    names = [name for name in list_folder(folder).files if name.lower().endswith(SUFFIXES)]
    sample = names[:: max(len(names) // _MOST_NAMES, 1)]
    if len(sample) < 2:
        return False
    parsed = parse_names([folder / name for name in sample], folder, None)
    return len({canonical(parts["well"]) for _, parts in parsed if "well" in parts} - {None}) > 1
