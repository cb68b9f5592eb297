"""ImageXpress (MetaXpress): a folder with a description (``.HTD``) and TIFFs, in subfolders for time points and z-steps.

``PLATE/TimePoint_1/ZStep_2/NAME_A01_s1_w1GUID.tif``; a name has no site or wavelength where there is only one. The pixel size is in each
file (as MetaMorph's XML), so it is read with the field.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import tifffile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts import OpenRequest
from napari_virtual_paint.plates.layouts.assemble import Plane, SourceMetadata, assemble_plate, canonical, strip_zeros, unique_names
from napari_virtual_paint.plates.layouts.index_search import IndexKind, find_index, indexes_in, list_folder
from napari_virtual_paint.plates.layouts.xml_records import text_records
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading.instrument_names import PROJECTION
from napari_virtual_paint.reading.silence import mute_logs
from napari_virtual_paint.reading.units import micrometres
from napari_virtual_paint.stack import UNKNOWN, PixelSize

_FILE = re.compile(
    r"(?:.*?_)?(?P<well>[A-Za-z]{1,2}\d{1,2})(?:_s(?P<site>\d+))?(?:_w(?P<wave>\d+))?(?:_z(?P<z>\d+))?(?:_t(?P<t>\d+))?"
    r"(?P<guid>[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})?\.tiff?",
    re.IGNORECASE,
)
_FOLDER = re.compile(r"(?:(?P<t>TimePoint)|(?P<z>ZStep))_(?P<number>\d+)", re.IGNORECASE)
LEVELS = 3  # levels of other folders in which images are looked for where the plate's folder has none
_DEPTH = 3  # levels of folders: the plate, its time points and their z-steps


INDEX = IndexKind("imagexpress", lambda name: name.endswith(".htd"), name_of=lambda path: path.stem)


def recognizes(path: Path) -> bool:
    """Return whether a folder has a description or time points, or a file is a description."""
    if path.is_file():
        return INDEX.matches(path.name.casefold())
    folder = list_folder(path)
    return bool(indexes_in(folder, (INDEX,))) or any(_FOLDER.fullmatch(name) for name in folder.folders)


def belongs_to(folder: Path, description: Path) -> bool:
    """Return whether a folder with images is of the plate that a description in the folder above describes."""
    return _FOLDER.fullmatch(folder.name) is not None or any(name.startswith(f"{description.stem}_") for name in list_folder(folder).files)


def open_layout(request: OpenRequest) -> Plate:
    """Open a plate by the names of its files, and by its description if it has one.

    Raises `ReadError` if no image is named as MetaXpress does, or the description is damaged.
    """
    file = find_index(request, INDEX)
    folder = file.parent if file is not None else request.path if request.path.is_dir() else request.path.parent
    several = file is not None and len(indexes_in(list_folder(folder), (INDEX,))) > 1
    planes, notes = _all_planes(folder, f"{file.stem}_" if several and file is not None else "", "" if file is None else file.stem)
    if not planes:
        raise ReadError(request.path, "no image in it is named as MetaXpress does (NAME_A01_s1_w1.tif); give a pattern of its names")
    file = file or _description_above(folder)
    description = {} if file is None else _description(file)
    names = _names(description)
    step, stack_notes = _stacks(planes, folder, names)
    metadata = SourceMetadata(
        name="" if file is None else file.stem,
        folder=folder,
        names=names,
        pixel_size=PixelSize(step),
        shape=(_number(description, "YWells"), _number(description, "XWells")),
        notes=(
            *(() if file is not None else ("It has no description (.HTD), so the names of its channels are not known.",)),
            *notes,
            *stack_notes,
        ),
    )
    return assemble_plate(request, planes, metadata, calibration=calibration)


def _description_above(folder: Path) -> Path | None:
    """Return the description of a plate of which a folder holds a time point or a z-step, if it is up to two levels above."""
    for _ in range(2):
        above = [index.path for index in indexes_in(list_folder(folder.parent), (INDEX,))]
        own = [path for path in above if belongs_to(folder, path)]
        if len(own) == 1:
            return own[0]
        if _FOLDER.fullmatch(folder.name) is None:
            return None
        folder = folder.parent
    return None


def _all_planes(folder: Path, prefix: str, stem: str) -> tuple[list[Plane], tuple[str, ...]]:
    """Return the planes of a plate, in its folder or else in folders below or in the one above, with a note; projections are marked."""
    planes = list(_planes(folder, "", "", "", _DEPTH, prefix))
    notes: tuple[str, ...] = ()
    level = [""]
    for _ in range(LEVELS if not planes else 0):
        level = [f"{place}{name}/" for place in level for name in list_folder(folder / place).folders if not _FOLDER.fullmatch(name)]
        planes = [plane for place in level for plane in _planes(folder, place, "", "", _DEPTH, prefix)]
        if planes:
            break
    if not planes and stem:
        planes = list(_planes(folder, "../", "", "", 0, f"{stem}_"))
        notes = (f"Its images are not in the folder of {stem}.HTD; those in the folder above are taken.",) if planes else ()
    if any(plane.z and plane.z != PROJECTION for plane in planes):
        # Beside folders of z-steps, MetaXpress puts projections into the folder above them.
        planes = [plane if plane.z else plane._replace(z=PROJECTION) for plane in planes]
    return planes, notes


def _planes(root: Path, subfolder: str, t: str, z: str, depth: int, prefix: str) -> Iterator[Plane]:
    """Yield the planes in a folder and in those of its time points and z-steps, without thumbnails; ``ZStep_0`` holds projections."""
    listed = list_folder(root / subfolder)
    for name in listed.folders if depth else ():
        folder = _FOLDER.fullmatch(name)
        if folder:
            number = strip_zeros(folder["number"])
            inner = (number, z) if folder["t"] else (t, PROJECTION if number == "0" else number)
            yield from _planes(root, f"{subfolder}{name}/", *inner, depth - 1, prefix)
    for name in listed.files:
        file = _FILE.fullmatch(name)
        if file and name.startswith(prefix) and "_thumb" not in name.lower() and (well := canonical(file["well"])):
            yield Plane(
                well=well,
                field=strip_zeros(file["site"] or "1"),
                channel=strip_zeros(file["wave"] or "1"),
                file=subfolder + name,
                z=strip_zeros(file["z"] or z),
                t=strip_zeros(file["t"] or t),
            )


def _stacks(planes: Iterable[Plane], folder: Path, names: Mapping[str, str]) -> tuple[float | None, tuple[str, ...]]:
    """Return the z-step in micrometres, and a note on channels whose z-planes are copies of a projection, as their files say.

    The headers of two planes of each channel are read. MetaXpress copies the image of a channel without a stack into all z-steps.
    """
    first: dict[str, list[Plane]] = {}
    for plane in planes:
        if plane.z and plane.z != PROJECTION:
            listed = first.setdefault(plane.channel, [])
            if len(listed) < 2 and all(other.z != plane.z and other[:2] == plane[:2] and other.t == plane.t for other in listed):
                listed.append(plane)
    copied, step = [], None
    for channel, listed in first.items():
        with contextlib.suppress(Exception):  # a damaged file is an error of its field, when it is read
            properties = [_properties(folder / plane.file) for plane in listed]
            if "Z Projection Method" in properties[0]:
                copied.append(names.get(channel, channel))
            elif step is None and len(listed) == 2:
                low, high = (float(each["z-position"]) for each in properties)
                step = round(abs(high - low) / abs(int(listed[1].z) - int(listed[0].z)), 3) or None
    notes = (f"The z-planes of {', '.join(copied)} are copies of a projection, as their files say.",) if copied else ()
    return step, notes


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
    properties = _properties(file)
    if not properties or properties.get("spatial-calibration-state", "on").lower() != "on":
        return UNKNOWN
    unit = properties.get("spatial-calibration-units", "um")
    return PixelSize(None, *(micrometres(properties.get(f"spatial-calibration-{axis}"), unit) for axis in "yx"))


def _properties(file: Path) -> dict[str, str]:
    """Return what MetaMorph wrote into a TIFF, by name; nothing if it wrote nothing."""
    with mute_logs(), tifffile.TiffFile(file) as tif:
        text = str(tif.pages[0].tags.valueof("ImageDescription", "")).strip()
    if not text.startswith("<MetaData>") or not text.endswith("</MetaData>"):
        return {}
    records = text_records(text, file, ("prop", "custom-prop"))
    return {record.get("id", ""): record.get("value", "") for some in records.values() for record in some}
