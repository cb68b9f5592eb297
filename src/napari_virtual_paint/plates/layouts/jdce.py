"""ImageXpress of the kind HCS.ai (MetaXpress Acquire, In Carta): a description in JSON (``.jdce``) and a folder of TIFFs a time point.

``RUN/experiment/NAME.jdce`` beside ``timepoint0/NAME_t0_C05_s0_w0_z0.tif``; all numbers count from 0. A run may hold more than one
such folder: tiles, montages, stacks.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, Told, canonical, plain, plate_of
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import PixelSize

_FILE = re.compile(r".*_t(\d+)_([A-Za-z]{1,2}\d{1,2})_s(\d+)_w(\d+)_z(\d+)\.tiff?", re.IGNORECASE)
_FOLDER = re.compile(r"timepoint\d+", re.IGNORECASE)
_USUAL = "experiment"


def description(path: Path) -> Path | None:
    """Return the description in a folder, else in one of its subfolders (``experiment`` before others); the file itself if it is one."""
    if path.is_file():
        return path if path.suffix.lower() == ".jdce" else None
    if not path.is_dir():
        return None
    own = _within(path)
    return own or next((file for folder in _units(path) if (file := _within(folder)) is not None), None)


def _within(folder: Path) -> Path | None:
    """Return the description in a folder."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower().endswith(".jdce"))
    return folder / names[0] if names else None


def _units(path: Path) -> list[Path]:
    """Return the folders of a run that may be acquisitions; they are few and called experiment, experiment_montage, experiment_z_stack."""
    with os.scandir(path) as entries:
        names = [entry.name for entry in entries if entry.name.lower().startswith(_USUAL) and entry.is_dir()]
    return [path / name for name in sorted(names, key=lambda name: (name.lower() != _USUAL, name))]


def opened(request: OpenRequest) -> Plate:
    """Open a plate by its description and the names of its files.

    Raises
    ------
    ReadError
        If the description is damaged, or no image is named as its program does.
    """
    file = description(request.path)
    if file is None:
        raise ReadError(request.path, "it has no description (.jdce); copy the whole run")
    folder = file.parent
    protocol = _of(_of(_content(file), "ImageStack"), "AutoLeadAcquisitionProtocol")
    planes = list(_planes(folder))
    if not planes:
        raise ReadError(folder, "it has no image in folders such as timepoint0, named as NAME_t0_C05_s0_w0_z0.tif; copy the whole run")
    objective, plate = _of(protocol, "ObjectiveCalibration"), _of(protocol, "Plate")
    unit = str(objective.get("Unit") or "um")
    rows, columns = plate.get("Rows"), plate.get("Columns")
    others = [unit.name for unit in _units(request.path) if unit != folder and _within(unit)] if request.path.is_dir() else []
    told = Told(
        name=str(_of(_content(file), "ImageStack").get("PlateId") or ""),
        folder=folder,
        names=_names(protocol),
        pixel_size=PixelSize(_step(protocol), *(micrometres(objective.get(f"Pixel{side}"), unit) for side in ("Height", "Width"))),
        shape=(rows, columns) if isinstance(rows, int) and isinstance(columns, int) else (0, 0),
        notes=(f"The run also holds {', '.join(others)}, which open by their own folders.",) if others else (),
    )
    return plate_of(request, planes, told)


def _content(file: Path) -> dict[str, Any]:
    """Return a description's JSON."""
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ReadError(file, f"its JSON is damaged ({error})") from error
    if not isinstance(value, dict) or not isinstance(value.get("ImageStack"), dict):
        raise ReadError(file, "it is no description of an acquisition (no ImageStack in it)")
    return value


def _of(value: dict[str, Any], key: str) -> dict[str, Any]:
    """Return an object within another; an empty one where it is not there."""
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _wavelengths(protocol: dict[str, Any]) -> list[dict[str, Any]]:
    listed = protocol.get("Wavelengths")
    return [wave for wave in listed if isinstance(wave, dict)] if isinstance(listed, list) else []


def _names(protocol: dict[str, Any]) -> dict[str, str]:
    """Return number of a wavelength -> the name of its emission filter; names that two share tell nothing."""
    found = {str(wave.get("Index", i)): str(_of(wave, "EmissionFilter").get("Name") or "") for i, wave in enumerate(_wavelengths(protocol))}
    names = list(found.values())
    return {number: name for number, name in found.items() if name and names.count(name) == 1}


def _step(protocol: dict[str, Any]) -> float | None:
    """Return the step in z; a plane alone has a step of 0, which is none."""
    steps = [_of(_of(protocol, "PlateMap"), "ZDimensionParameters").get("Step"), *(wave.get("ZStep") for wave in _wavelengths(protocol))]
    return next((size for step in steps if (size := micrometres(step, "um")) is not None), None)


def _planes(folder: Path) -> Iterator[Plane]:
    """Return the planes in the folders of the time points."""
    with os.scandir(folder) as entries:
        times = sorted(entry.name for entry in entries if _FOLDER.fullmatch(entry.name) and entry.is_dir())
    for time in times:
        with os.scandir(folder / time) as entries:
            for entry in entries:
                match = _FILE.fullmatch(entry.name)
                if match and (well := canonical(match[2])):
                    t, _, site, wave, z = map(plain, match.groups())
                    yield Plane(well, site, wave, f"{time}/{entry.name}", z, t)
