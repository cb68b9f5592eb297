"""ImageXpress HCS.ai (MetaXpress Acquire, In Carta): a description in JSON (``.jdce``) and a folder of TIFFs for each time point.

``RUN/experiment/NAME.jdce`` beside ``timepoint0/NAME_t0_C05_s0_w0_z0.tif``; all numbers count from 0. A run may hold several such
folders: tiles, montages, stacks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import (
    Plane,
    SourceMetadata,
    assemble_plate,
    canonical,
    stated_shape,
    strip_zeros,
    unique_names,
)
from napari_virtual_paint.plates.layouts.index_search import IndexKind, choose, find_index, indexes_in, list_folder, tag_in_head
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import PixelSize

_FILE = re.compile(r".*_t(\d+)_([A-Za-z]{1,2}\d{1,2})_s(\d+)_w(\d+)_z(\d+)\.tiff?", re.IGNORECASE)
_FOLDER = re.compile(r"timepoint\d+", re.IGNORECASE)
_EXPERIMENT = "experiment"


INDEX = IndexKind("incarta", lambda name: name.endswith(".jdce"), name_of=lambda path: tag_in_head(path, r"\"PlateId\"\s*:\s*\"([^\"]*)\""))


def has_description(folder: Path) -> bool:
    """Return whether a description is in a folder or one of its acquisitions."""
    return any(indexes_in(list_folder(inner), (INDEX,)) for inner in (folder, *_acquisitions(folder)))


def run_of(file: Path) -> Path:
    """Return the run that a description belongs to: the folder above ``experiment``, else that of the description."""
    return file.parent.parent if file.parent.name.casefold().startswith(_EXPERIMENT) else file.parent


def _description(request: OpenRequest) -> Path | None:
    """Return the description in a folder or one of its acquisitions (``experiment`` before others); the file itself if it is one."""
    path = request.path
    if path.is_dir():
        for folder in (path, *_acquisitions(path)):
            found = indexes_in(list_folder(folder), (INDEX,))
            if found:
                # The plate is chosen among the descriptions of one acquisition; of a run it is the same in all.
                return choose(found, request).path if len(found) > 1 else found[0].path
    return find_index(request, INDEX)


def _acquisitions(run: Path) -> list[Path]:
    """Return the folders of a run that may be acquisitions (experiment, experiment_montage, experiment_z_stack)."""
    names = [name for name in list_folder(run).folders if name.lower().startswith(_EXPERIMENT)]
    return [run / name for name in sorted(names, key=lambda name: (name.lower() != _EXPERIMENT, name))]


def open_layout(request: OpenRequest) -> Plate:
    """Open a plate by its description and the names of its files.

    Raises `ReadError` if the description is damaged, or no image is named as the program does.
    """
    file = _description(request)
    if file is None:
        raise ReadError(request.path, "it has no description (.jdce); copy the whole run")
    folder = _image_folder(file)
    several = len(indexes_in(list_folder(file.parent), (INDEX,))) > 1
    image_stack = _content(file)
    protocol = _object(image_stack, "AutoLeadAcquisitionProtocol")
    planes = list(_planes(folder, f"{file.stem}_" if several else ""))
    if not planes:
        raise ReadError(folder, "it has no image in folders such as timepoint0, named as NAME_t0_C05_s0_w0_z0.tif; copy the whole run")
    objective, plate = _object(protocol, "ObjectiveCalibration"), _object(protocol, "Plate")
    unit = str(objective.get("Unit") or "um")
    folders = _acquisitions(request.path) if request.path.is_dir() else []
    others = [other.name for other in folders if other != folder and indexes_in(list_folder(other), (INDEX,))]
    metadata = SourceMetadata(
        name=str(image_stack.get("PlateId") or ""),
        folder=folder,
        names=_names(protocol),
        pixel_size=PixelSize(_step(protocol), *(micrometres(objective.get(f"Pixel{side}"), unit) for side in ("Height", "Width"))),
        shape=stated_shape(plate.get("Rows"), plate.get("Columns")),
        notes=(f"The run also holds {', '.join(others)}, which open by their own folders.",) if others else (),
    )
    return assemble_plate(request, planes, metadata)


def _content(file: Path) -> dict[str, Any]:
    """Return the object ``ImageStack`` of a description."""
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ReadError(file, f"its JSON is damaged ({error})") from error
    stack = value.get("ImageStack") if isinstance(value, dict) else None
    if not isinstance(stack, dict):
        raise ReadError(file, "it is no description of an acquisition (it has no ImageStack)")
    return stack


def _object(value: dict[str, Any], key: str) -> dict[str, Any]:
    """Return an object within another; empty if there is none."""
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _wavelengths(protocol: dict[str, Any]) -> list[dict[str, Any]]:
    listed = protocol.get("Wavelengths")
    return [wave for wave in listed if isinstance(wave, dict)] if isinstance(listed, list) else []


def _names(protocol: dict[str, Any]) -> dict[str, str]:
    """Return number of a wavelength -> the name of its emission filter, without names that two share."""
    waves = enumerate(_wavelengths(protocol))
    return unique_names({str(wave.get("Index", i)): str(_object(wave, "EmissionFilter").get("Name") or "") for i, wave in waves})


def _step(protocol: dict[str, Any]) -> float | None:
    """Return the step in z; None for a single plane, which is stored with a step of 0."""
    plate_map = _object(_object(protocol, "PlateMap"), "ZDimensionParameters")
    steps = [plate_map.get("Step"), *(wave.get("ZStep") for wave in _wavelengths(protocol))]
    return next((size for step in steps if (size := micrometres(step, "um")) is not None), None)


def _image_folder(file: Path) -> Path:
    """Return the folder with the time points of a description: its own, else an acquisition below it, else the one above."""
    places = (file.parent, *_acquisitions(file.parent), file.parent.parent)
    return next((place for place in places if any(_FOLDER.fullmatch(name) for name in list_folder(place).folders)), file.parent)


def _planes(folder: Path, prefix: str) -> Iterator[Plane]:
    """Yield the planes in the folders of the time points, of files whose names begin with a prefix."""
    for time in filter(_FOLDER.fullmatch, list_folder(folder).folders):
        for name in list_folder(folder / time).files:
            match = _FILE.fullmatch(name)
            if match and name.startswith(prefix) and (well := canonical(match[2])):
                t, _, site, wave, z = map(strip_zeros, match.groups())
                yield Plane(well, site, wave, f"{time}/{name}", z, t)
