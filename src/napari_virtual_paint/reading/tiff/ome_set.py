"""OME-TIFF sets: which files hold the planes of an image, by the OME-XML in one of them or in a companion file.

The XML is brought into a form that tifffile reads as its writer meant it: planes of this file are marked as such, whatever UUID they go
by, and files that were renamed go by the names they have now.
"""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import tifffile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.ome_xml import COMPANION, parse_xml
from napari_virtual_paint.reading.silence import mute_logs

_MOST_PLANES = 1_000_000  # of an image whose files hold fewer
_SEARCHED = 200  # files of a folder whose UUID is looked up where a file of a set is not found by its name
_SHOWN = 3  # missing files that an error names


@dataclass(frozen=True)
class OmeSet:
    """The OME-XML of a file, with the files of its set as they are found now."""

    xml: str | None  # for tifffile; None where the file's own is right as it is
    files: tuple[Path, ...]  # the files of the set that are there, this one among them
    notes: tuple[str, ...] = ()


def resolve(xml: str, path: Path, pages: int) -> OmeSet:
    """Find the files of the set that a TIFF belongs to.

    Parameters
    ----------
    xml
        The OME-XML in the file, or in its companion.
    path
        The TIFF.
    pages
        Number of its pages.

    Raises
    ------
    ReadError
        If a file is missing, or the XML claims more planes than there can be.
    xml.etree.ElementTree.ParseError
        If it is no XML.
    """
    root = parse_xml(xml)
    own = root.get("UUID")
    reference = next((element for element in root if _tag(element) == "BinaryOnly"), None)
    if reference is not None:
        own = reference.get("UUID") or own
        root = parse_xml(_companion(reference.get("MetadataFile") or "", path))
    _check_moduli(root, path)
    finder = _Files(path, own, root, pages)
    images = [(image, pixels) for image in root if _tag(image) == "Image" for pixels in image if _tag(pixels) == "Pixels"]
    absent: dict[str, list[str]] = {}
    for image, pixels in images:
        _check_count(pixels, path, pages)
        missing = finder.locate(pixels)
        if missing:
            absent[image.get("Name") or image.get("ID") or "?"] = missing
            root.remove(image)
    notes = () if not absent else (_left_out(path, absent),)
    if not images or not any(_tag(image) == "Image" for image in root):
        if absent:
            raise ReadError(path, _missing([name for names in absent.values() for name in names], finder.total()))
        return OmeSet(None, (path,))
    changed = finder.changed or reference is not None or bool(absent)
    if changed:
        root.attrib.pop("UUID", None) if finder.uuid is None else root.set("UUID", finder.uuid)
    return OmeSet(ET.tostring(root, encoding="unicode") if changed else None, finder.paths(), notes)


def _companion(name: str, path: Path) -> str:
    """Return the OME-XML of a companion file."""
    place = _beside(path, name)
    if place is None:
        raise ReadError(path, f"its metadata is in {name or 'a companion file'!r}, which is missing; copy it into the same folder")
    return read_companion(place)


def read_companion(path: Path) -> str:
    """Return the text of a companion file."""
    return path.read_text(encoding="utf-8-sig")


def first_tiff(path: Path) -> Path:
    """Return a TIFF that a companion file names.

    Raises `ReadError` if there is none.
    """
    try:
        root = parse_xml(read_companion(path))
    except (ET.ParseError, UnicodeDecodeError) as error:
        raise ReadError(path, f"its OME-XML is damaged ({error}); copy it again") from error
    names = list(dict.fromkeys(uuid.get("FileName") or "" for uuid in root.iter() if _tag(uuid) == "UUID"))
    for name in names:
        place = _beside(path, name)
        if place is not None:
            return place
    raise ReadError(path, _missing(names, len(names)) if names else "it names no TIFF that holds the pixels; open the TIFFs themselves")


def members(path: Path) -> tuple[Path, ...]:
    """Return the files of the set that a TIFF or companion file belongs to; only itself where it belongs to none."""
    with contextlib.suppress(Exception), mute_logs():  # a file that can't be read is reported when it is opened
        tiff = first_tiff(path) if path.name.casefold().endswith(COMPANION) else path
        with tifffile.TiffFile(tiff) as tif:
            text = tif.pages[0].description if tif.is_ome else ""
            xml = read_companion(path) if tiff != path else text
            return resolve(xml, tiff, len(tif.pages)).files if xml else (path,)
    return (path,)


def _beside(path: Path, name: str) -> Path | None:
    """Return the file of a name in the folder of another, or below it, in any case of letters; None if there is none.

    A name that leads out of the folder is taken as that of a file in it: the set was moved here.
    """
    parts = [part for part in (*PurePosixPath(name.replace("\\", "/")).parts,) if part not in ("/", "..", ".")]
    if not parts or PureWindowsPath(name).drive or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        parts = parts[-1:]
    if not parts:
        return None
    place = path.parent.joinpath(*parts)
    if place.is_file():
        return place
    folder = path.parent
    same = [file for file in folder.iterdir() if file.name.casefold() == parts[-1].casefold()] if folder.is_dir() else []
    return same[0] if len(same) == 1 and same[0].is_file() else None


class _Files:
    """Finds the files that the TiffData elements of OME-XML name, and writes what it finds into the elements."""

    def __init__(self, path: Path, own: str | None, root: ET.Element, pages: int) -> None:
        self.path, self.uuid, self.changed = path, own, False
        self._pages = pages
        self._places: dict[str, Path | None] = {}  # UUID -> the file
        self._uuids: dict[str, Path] | None = None
        self._named = {element.text or "": element.get("FileName") or "" for element in root.iter() if _tag(element) == "UUID"}
        self._self = self._of_this_file(root)

    def _of_this_file(self, root: ET.Element) -> str | None:
        """Return the UUID by which the XML calls this file: its own, that of its name, or the only one of a file that isn't there."""
        if self.uuid is not None and self.uuid in self._named:
            return self.uuid
        for uuid, name in self._named.items():
            if name.replace("\\", "/").rsplit("/", 1)[-1].casefold() == self.path.name.casefold():
                return uuid
        absent = [uuid for uuid in self._named if self._place(uuid) is None]
        # A file that was renamed or copied out of a set of one: it holds the pages that the XML asks of the file it was.
        if len(absent) == 1 and _needed(root, absent[0]) <= self._pages:
            return absent[0]
        return None

    def _place(self, uuid: str) -> Path | None:
        """Return the file that a UUID stands for: by its name, else by its UUID."""
        if uuid not in self._places:
            name = self._named.get(uuid, "")
            self._places[uuid] = _beside(self.path, name) or self._by_uuid(uuid)
        return self._places[uuid]

    def _by_uuid(self, uuid: str) -> Path | None:
        """Return the file in the folder whose own UUID this is; it was renamed."""
        if self._uuids is None:
            self._uuids = {}
            files = sorted(file for file in self.path.parent.iterdir() if file.name.casefold().endswith((".tif", ".tiff", ".btf")))
            for file in files[:_SEARCHED]:
                found = _own_uuid(file) if file != self.path and not file.name.startswith(".") else None
                if found is not None:
                    self._uuids.setdefault(found, file)
        return self._uuids.get(uuid)

    def locate(self, pixels: ET.Element) -> list[str]:
        """Write into the TiffData of an image where its planes are; return the names of the files that are missing."""
        missing: dict[str, None] = {}
        for data, uuid in _blocks(pixels):
            if uuid is None:
                continue
            text = uuid.text or ""
            if text == self._self:
                # Without a UUID a block is one of the file that is read.
                data.remove(uuid)
                self.changed = self.changed or text != self.uuid
                continue
            place = self._place(text)
            if place is None:
                missing[self._named.get(text) or text or "a file without a name"] = None
                continue
            name = str(place.relative_to(self.path.parent))
            self.changed = self.changed or name != uuid.get("FileName")
            uuid.set("FileName", name)
        return list(missing)

    def total(self) -> int:
        """Return how many files the set has."""
        return len(self._named)

    def paths(self) -> tuple[Path, ...]:
        """Return the files of the set that are there."""
        others = [place for uuid, place in self._places.items() if place is not None and uuid != self._self]
        return tuple(dict.fromkeys((self.path, *others)))


def _own_uuid(path: Path) -> str | None:
    """Return the UUID of an OME-TIFF; None where it has none or can't be read."""
    with contextlib.suppress(Exception), mute_logs(), tifffile.TiffFile(path) as tif:
        root = parse_xml(tif.pages[0].description)
        return next((element for element in root if _tag(element) == "BinaryOnly"), root).get("UUID")
    return None


def _blocks(pixels: ET.Element) -> Iterator[tuple[ET.Element, ET.Element | None]]:
    """Yield each TiffData of an image and the UUID in it."""
    for data in pixels:
        if _tag(data) == "TiffData":
            yield data, next((element for element in data if _tag(element) == "UUID"), None)


def _needed(root: ET.Element, uuid: str) -> int:
    """Return how many pages of a file the XML asks for."""
    count = 0
    for pixels in (element for element in root.iter() if _tag(element) == "Pixels"):
        for data, of in _blocks(pixels):
            if of is not None and of.text == uuid:
                first, planes = _integer(data, "IFD", 0), _integer(data, "PlaneCount", _integer(data, "NumPlanes", 1))
                count = max(count, first + planes)
    return count


def _check_count(pixels: ET.Element, path: Path, pages: int) -> None:
    """Raise a `ReadError` if an image claims far more planes than its files can hold; tifffile would make room for each."""
    sizes = [_integer(pixels, f"Size{axis}", 1) for axis in "TCZ"]
    planes = 1
    for size in sizes:
        planes *= max(size, 1)
    blocks = list(_blocks(pixels))
    most = max(
        [planes, *(_integer(data, key, 0) for data, _ in blocks for key in ("PlaneCount", "NumPlanes", "FirstC", "FirstZ", "FirstT"))]
    )
    if most > max(_MOST_PLANES, pages * max(1, len(blocks))):
        raise ReadError(path, f"its OME-XML claims {most:,} planes but the file has {pages:,} pages; it is damaged or hostile")


def _check_moduli(root: ET.Element, path: Path) -> None:
    """Raise a `ReadError` if an axis that is folded into another one is longer than any can be; tifffile would list its steps."""
    for element in root.iter():
        if _tag(element).startswith("ModuloAlong") and "Start" in element.attrib:
            try:
                start, end, step = (float(element.get(key, default)) for key, default in (("Start", 0), ("End", 0), ("Step", 1)))
                count = abs((end - start) / step)
            except (ValueError, ZeroDivisionError):
                count = float("inf")
            if not count <= _MOST_PLANES:
                raise ReadError(path, "its OME-XML claims an axis of endless length; it is damaged or hostile")


def _integer(element: ET.Element, name: str, default: int) -> int:
    """Return an attribute that is a whole number."""
    try:
        return int(element.get(name, default))
    except ValueError:
        return default


def _missing(names: list[str], total: int) -> str:
    """Return the sentence on files of a set that are missing."""
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    verb = "is" if len(names) == 1 else "are"
    return f"it belongs to a set of {max(total, len(names))} files, of which {shown} {verb} missing; copy the whole set into one folder"


def _left_out(path: Path, absent: dict[str, list[str]]) -> str:
    """Return the note on images whose files are missing."""
    names = [name for missing in absent.values() for name in missing]
    shown = ", ".join(list(dict.fromkeys(names))[:_SHOWN])
    count = len(absent)
    return f"{path.name}: {count} of the images of its set {'is' if count == 1 else 'are'} left out, since files are missing ({shown})."


def _tag(element: ET.Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]
