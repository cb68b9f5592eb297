"""ImageXpress (MetaXpress): a folder with a description (``.HTD``) and TIFFs, in subfolders for time points and z-steps.

``PLATE/TimePoint_1/ZStep_2/NAME_A01_s1_w1GUID.tif``; a name has no site or wavelength where there is only one. The pixel size is in each
file (as MetaMorph's XML), so it is read with the field.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import tifffile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, SourceMetadata, assemble_plate, canonical, strip_zeros, unique_names
from napari_virtual_paint.plates.layouts.xml_records import text_records
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.silence import mute_logs
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import UNKNOWN, PixelSize

_FILE = re.compile(
    r"(?:.*?_)?(?P<well>[A-Za-z]{1,2}\d{1,2})(?:_s(?P<site>\d+))?(?:_w(?P<wave>\d+))?(?:_z(?P<z>\d+))?(?:_t(?P<t>\d+))?"
    r"(?P<guid>[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})?\.tiff?",
    re.IGNORECASE,
)
_FOLDER = re.compile(r"(?:(?P<t>TimePoint)|(?P<z>ZStep))_(?P<number>\d+)", re.IGNORECASE)
_DEPTH = 3  # levels of folders: the plate, its time points and their z-steps


def recognizes(path: Path) -> bool:
    """Return whether a folder has a description or time points, or a file is a description."""
    if path.is_file():
        return path.suffix.lower() == ".htd"
    if not path.is_dir():
        return False
    with os.scandir(path) as entries:
        return any(entry.name.lower().endswith(".htd") or (_FOLDER.fullmatch(entry.name) and entry.is_dir()) for entry in entries)


def open_layout(request: OpenRequest) -> Plate:
    """Open a plate by the names of its files, and by its description if it has one.

    Raises `ReadError` if no image is named as MetaXpress does, or the description is damaged.
    """
    folder = request.path if request.path.is_dir() else request.path.parent
    descriptions = [request.path] if request.path.is_file() else sorted(file for file in folder.iterdir() if file.suffix.lower() == ".htd")
    description = _description(descriptions[0]) if descriptions else {}
    planes = list(_planes(folder, "", "", "", _DEPTH))
    if not planes:
        raise ReadError(request.path, "no image in it is named as MetaXpress does (NAME_A01_s1_w1.tif); give a pattern of its names")
    metadata = SourceMetadata(
        name=descriptions[0].stem if descriptions else "",
        folder=folder,
        names=_names(description),
        shape=(_number(description, "YWells"), _number(description, "XWells")),
        notes=() if descriptions else ("It has no description (.HTD), so the names of its channels are not known.",),
    )
    return assemble_plate(request, planes, metadata, calibration=calibration)


def _planes(root: Path, subfolder: str, t: str, z: str, depth: int) -> Iterator[Plane]:
    """Yield the planes in a folder and in those of its time points and z-steps, without thumbnails."""
    with os.scandir(root / subfolder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            folder = _FOLDER.fullmatch(entry.name)
            if folder and depth and entry.is_dir():
                number = strip_zeros(folder["number"])
                inner = (number, z) if folder["t"] else (t, number)
                yield from _planes(root, f"{subfolder}{entry.name}/", *inner, depth - 1)
            elif (file := _FILE.fullmatch(entry.name)) and "_thumb" not in entry.name.lower() and (well := canonical(file["well"])):
                yield Plane(
                    well=well,
                    field=strip_zeros(file["site"] or "1"),
                    channel=strip_zeros(file["wave"] or "1"),
                    file=subfolder + entry.name,
                    z=strip_zeros(file["z"] or z),
                    t=strip_zeros(file["t"] or t),
                )


def _description(file: Path) -> dict[str, list[str]]:
    """Return the lines of a description, as key -> values."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = file.read_text(encoding="cp1252", errors="replace")
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), skipinitialspace=True) if row]
    found = {row[0]: row[1:] for row in rows}
    if "XWells" not in found and "HTSInfoFile" not in found:
        raise ReadError(file, "it is no description of a plate (it has neither HTSInfoFile nor XWells); copy it again")
    return found


def _names(description: Mapping[str, list[str]]) -> dict[str, str]:
    """Return number of a wavelength -> its name, without names that two share."""
    return unique_names(
        {key.removeprefix("WaveName"): values[0] for key, values in description.items() if key.startswith("WaveName") and values}
    )


def _number(description: Mapping[str, list[str]], key: str) -> int:
    values = description.get(key, ["0"])
    return int(values[0]) if values and values[0].isdecimal() else 0


def calibration(file: Path) -> PixelSize:
    """Return the pixel size that MetaMorph wrote into a TIFF; unknown if it wrote none or the file was not calibrated."""
    with mute_logs(), tifffile.TiffFile(file) as tif:
        text = str(tif.pages[0].tags.valueof("ImageDescription", "")).strip()
    if not text.startswith("<MetaData>") or not text.endswith("</MetaData>"):
        return UNKNOWN
    records = text_records(text, file, ("prop",))
    properties = {record.get("id", ""): record.get("value", "") for some in records.values() for record in some}
    if properties.get("spatial-calibration-state", "on").lower() != "on":
        return UNKNOWN
    unit = properties.get("spatial-calibration-units", "um")
    return PixelSize(None, *(micrometres(properties.get(f"spatial-calibration-{axis}"), unit) for axis in "yx"))
