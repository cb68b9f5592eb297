"""IN Cell Analyzer and In Carta: a list of images (``.xdce``) beside the TIFFs; In Carta's newer ``.jdce`` is in `jdce`.

Rows and columns count from 1, fields, wavelengths, planes and time points from 0. A field's name is its number from 1, as in the names of
the files: ``A - 01(fld 1 wv DAPI - DAPI z 2).tif``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest, jdce
from napari_virtual_paint.plates.layouts.assemble import (
    Plane,
    SourceMetadata,
    assemble_plate,
    planes_of_records,
    stated_shape,
    well_at,
)
from napari_virtual_paint.plates.layouts.file_location import find_images
from napari_virtual_paint.plates.layouts.index_search import IndexKind, find_index, indexes_in, list_folder, tag_in_head
from napari_virtual_paint.plates.layouts.xml_records import read_records
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import PixelSize

_IMAGE = "Image"
_KINDS = (_IMAGE, "ObjectiveCalibration", "Plate", "ZDimensionParameters", "Wavelength")
_CHILDREN = ("Row", "Column", "Identifier", "EmissionFilter", "ExcitationFilter", "FocusPosition", "Well")


INDEX = IndexKind(
    "incarta", lambda name: name.endswith(".xdce"), name_of=lambda path: tag_in_head(path, r"<Plate\b[^>]*?\bname=\"([^\"]*)\"")
)


def recognizes(path: Path) -> bool:
    """Return whether a folder has a list, or a file is one."""
    if path.is_file():
        return INDEX.matches(path.name.casefold()) or jdce.INDEX.matches(path.name.casefold())
    return bool(indexes_in(list_folder(path), (INDEX,))) or jdce.has_description(path)


def open_layout(request: OpenRequest) -> Plate:
    """Open a plate by its list.

    Raises `ReadError` if there is no list, or it is damaged.
    """
    path = request.path
    if jdce.INDEX.matches(path.name.casefold()) if path.is_file() else jdce.has_description(path):
        return jdce.open_layout(request)
    file = find_index(request, INDEX)
    if file is None:
        raise ReadError(request.path, "it has no .xdce or .jdce file, in which IN Cell lists the images; copy the whole plate")
    records = read_records(file, _KINDS, _CHILDREN)
    images = [record for record in records[_IMAGE] if record.get("filename")]
    if not images:
        raise ReadError(file, "it lists no image; copy the plate again")
    objective, plate, stack, wave = ((records[kind] or [{}])[0] for kind in _KINDS[1:])
    unit = objective.get("unit", "um")
    places, notes = find_images((record["filename"] for record in images), file, above=True)
    metadata = SourceMetadata(
        name=plate.get("name", "") or file.stem,
        folder=file.parent,
        names=_names(images),
        pixel_size=PixelSize(
            micrometres(stack.get("step"), "um") or micrometres(wave.get("z_step"), "um"),
            *(micrometres(objective.get(key), unit) for key in ("pixel_height", "pixel_width")),
        ),
        shape=stated_shape(plate.get("rows"), plate.get("columns")),
        notes=notes,
    )
    return assemble_plate(request, planes_of_records(images, partial(_plane, places), file, "filename"), metadata)


def _plane(places: Mapping[str, str], record: Mapping[str, str], file: Path) -> Plane:
    """Return the plane of an entry."""
    return Plane(
        well=well_at(record["Row@number"], record["Column@number"], file),
        field=_from_one(record["Identifier@field_index"]),
        channel=record["Identifier@wave_index"],
        file=places[record["filename"]],
        z=record.get("Identifier@z_index", ""),
        t=record.get("Identifier@time_index", ""),
    )


def _from_one(number: str) -> str:
    """Return a number counted from 0 as counted from 1; other text unchanged."""
    return str(int(number) + 1) if number.isdecimal() else number


def _names(images: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return number of a wavelength -> the name of its emission filter, after that of the excitation filter if two share it."""
    pairs: dict[str, tuple[str, str]] = {}
    for record in images:
        wave = record.get("Identifier@wave_index", "")
        pairs.setdefault(wave, (record.get("EmissionFilter@name", ""), record.get("ExcitationFilter@name", "")))
    emissions = [emission for emission, _ in pairs.values()]
    named = {
        wave: emission if emissions.count(emission) == 1 else f"{excitation} - {emission}"
        for wave, (emission, excitation) in pairs.items()
        if emission
    }
    return named if len(set(named.values())) == len(named) else {}
