"""OME-Zarr up to 0.5: images, plates and collections of images, read with zarr 3 or zarr 2, whichever is installed."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import dask.array as da

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.axes import agree, check_count, to_tczyx
from napari_virtual_paint.reading.lazy import CHUNK, GuardedArray
from napari_virtual_paint.reading.ome_xml import PROVENANCE
from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.reading.zip_store import root_of
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.file_kind import ZARR_FILES
from napari_virtual_paint.stack import AXES, PixelSize, Stack

_LARGEST = 4 * 2**30  # bytes of the largest chunk that is read
_JOINED = 2048  # pixels a side up to which small chunks are joined: a part of a mosaic should not need all of its columns
_DAMAGED = "its metadata does not follow the OME-Zarr specification; it is damaged"

_NEWEST = (0, 5)  # version of OME-Zarr
_LETTERS = {
    "t": "T", "time": "T", "timepoint": "T", "frame": "T",
    "c": "C", "ch": "C", "channel": "C", "wavelength": "C",
    "z": "Z", "depth": "Z", "plane": "Z", "slice": "Z",
    "y": "Y", "row": "Y", "height": "Y",
    "x": "X", "column": "X", "col": "X", "width": "X",
}  # fmt: skip
"""Names of axes, without a plural s -> letters of `AXES`."""
_TYPES = {"time": "T", "channel": "C"}
_SHOWN = 3  # wells that a note names

Folder: TypeAlias = Path | zipfile.Path
"""A folder on disk or in a ZIP archive."""


class Axis(NamedTuple):
    """An axis as the metadata describes it."""

    name: str
    kind: str | None  # time, channel, space ...
    unit: str | None


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a zarr group or array."""
    return any((path / name).is_file() for name in ZARR_FILES)


class ZarrImages:
    """The images of an OME-Zarr, in a folder or zipped: one image, the fields of a plate (``A/1/0``), or the images of a collection."""

    def __init__(self, path: str, files: ExitStack) -> None:
        self._path = path
        self._notes: list[str] = []
        self._zip = None if Path(path).is_dir() else path
        self._root: Folder = Path(path) if self._zip is None else root_of(files.enter_context(zipfile.ZipFile(path)), path)
        self._groups = _image_groups(self._root, group_attributes(self._root, path), path, self._notes)
        if not self._groups and _is_array(self._root):
            self._groups = [""]
        if not self._groups:
            raise ReadError(path, "it is a zarr without an OME-Zarr image (no multiscales, plate or bioformats2raw layout in its metadata)")

    def scenes(self) -> list[str]:
        """Return the paths of the images within the store; empty for the store itself."""
        return self._groups

    def read(self, index: int, axes: str | None = None) -> Stack:
        """Return one image at full resolution, its pixels still in the store.

        Raises `ReadError` if it is damaged, or its axes are others than the ones given.
        """
        path = self._path
        folder = self._root / self._groups[index] if self._groups[index] else self._root
        attributes = group_attributes(folder, path)
        if "multiscales" not in attributes and _is_array(folder):
            return self._plain_array(folder, axes)
        multiscale = _first(attributes.get("multiscales"), path, "multiscales")
        dataset = _first(multiscale.get("datasets"), path, "datasets")
        array = _open_array(folder, str(dataset.get("path", "")), path, self._zip)
        described = _axes(multiscale, array.ndim, path)
        if described is None:
            letters = list(_needs_axes(axes, array, path))
        else:
            letters = _letters(described, array.shape, path)
            sizes = [(letter, n) for letter, n in zip(letters, array.shape, strict=True) if letter != "?"]
            agree(axes, "".join(letter for letter, _ in sizes), [n for _, n in sizes], path)
        # A scale without a unit is a bare number, not a size.
        units = [None] * len(letters) if described is None else [axis.unit for axis in described]
        steps = _scale(multiscale, dataset, len(letters))
        scales = {letter: (step, unit) for letter, unit, step in zip(letters, units, steps, strict=True)}
        data = _to_tczyx(_pixels(array, path), letters)
        own = attributes.get(PROVENANCE.partition("/")[0])
        own = own if isinstance(own, Mapping) else {}
        provenance = own.get("provenance")
        return Stack(
            data,
            channels=_channel_names(attributes, data.shape[1]),
            pixel_size=PixelSize(*(micrometres(*scales.get(letter, (None, None))) for letter in "ZYX")),
            time_interval=seconds(*scales.get("T", (None, None))),
            source=path,
            rgb=bool(own.get("rgb")) and data.shape[1] in (3, 4),
            provenance=provenance if isinstance(provenance, Mapping) else None,
            notes=tuple(self._notes),
        )

    def coarser(self, index: int) -> tuple[da.Array, ...]:
        """Return the smaller levels of an image's pyramid, TCZYX, the largest first; none where their axes are not described."""
        folder = self._root / self._groups[index] if self._groups[index] else self._root
        attributes = group_attributes(folder, self._path)
        if "multiscales" not in attributes:
            return ()
        multiscale = _first(attributes["multiscales"], self._path, "multiscales")
        found = []
        for dataset in _sequence(multiscale.get("datasets"), self._path)[1:]:
            array = _open_array(folder, str(_mapping(dataset, self._path).get("path", "")), self._path, self._zip)
            described = _axes(multiscale, array.ndim, self._path)
            if described is None:
                return ()
            found.append(_to_tczyx(_pixels(array, self._path), _letters(described, array.shape, self._path)))
        return tuple(found)

    def labels(self, index: int) -> dict[str, Stack]:
        """Return the label images of an image by their names, one channel each; none where it has none, or they can't be read."""
        folder = (self._root / self._groups[index] if self._groups[index] else self._root) / "labels"
        found: dict[str, Stack] = {}
        if not folder.is_dir() or self._zip is not None:
            return found
        listed = group_attributes(folder, self._path).get("labels")
        for name in listed if isinstance(listed, list) else ():
            with suppress(ReadError), ExitStack() as files:
                image = ZarrImages(str(Path(str(folder)) / inside_store(str(name), self._path)), files)
                stack = image.read(0)
                if stack.dtype.kind in "ui" and stack.shape[1] == 1:
                    found[str(name)] = stack
        return found

    def _plain_array(self, folder: Folder, axes: str | None) -> Stack:
        """Return a zarr array without OME metadata, whose axes the user names."""
        array = _open_array(folder, "", self._path, self._zip)
        return Stack(to_tczyx(_pixels(array, self._path), _needs_axes(axes, array, self._path)), source=self._path)


def _needs_axes(axes: str | None, array: Any, path: str) -> str:
    """Return the axes that the user gives for an array whose own no metadata states.

    Raises `ReadError` if none are given, or more or fewer than the array has.
    """
    if axes is None:
        shape = " x ".join(map(str, array.shape))
        how = "name them, such as ZCYX (--axes on the command line, axes= in Python)"
        raise ReadError(path, f"it is a zarr array of {shape} whose metadata states no axes; {how}")
    check_count(axes, array.shape, path)
    return axes


def _is_array(folder: Folder) -> bool:
    """Return whether a folder is a zarr array."""
    if (folder / ".zarray").is_file():
        return True
    file = folder / "zarr.json"
    try:
        value = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("node_type") == "array"


def _zarr() -> Any:
    """Return the zarr library."""
    return require("zarr", extra="formats", purpose="reading it", path="OME-Zarr")


def group_attributes(folder: Folder, path: str) -> dict[str, Any]:
    """Return the OME metadata of a group, version 0.4 (``.zattrs``) or 0.5 (``ome`` in ``zarr.json``).

    Raises `ReadError` if the metadata file is damaged; it names `path`, the whole store.
    """
    for name in ("zarr.json", ".zattrs"):
        file = folder / name
        if not file.is_file():
            continue
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ReadError(path, f"its metadata file {file.name} is damaged ({error})") from error
        attributes = value.get("attributes", {}) if name == "zarr.json" and isinstance(value, dict) else value
        if not isinstance(attributes, dict):
            raise ReadError(path, f"its metadata file {file.name} is damaged (no attributes)")
        ome = attributes.get("ome")
        found = {**attributes, **ome} if isinstance(ome, dict) else attributes
        _check_version(found, path)
        return found
    return {}


def _check_version(attributes: Mapping[str, Any], path: str) -> None:
    """Raise a `ReadError` if metadata is of a version that is not known yet."""
    stated = [attributes.get("version")]
    for key in ("multiscales", "plate", "well"):
        value = attributes.get(key)
        value = value[0] if isinstance(value, list) and value else value
        stated.append(value.get("version") if isinstance(value, Mapping) else None)
    newest = ".".join(map(str, _NEWEST))
    for version in filter(lambda each: isinstance(each, str), stated):
        match = re.match(r"(\d+)\.(\d+)", str(version))
        if match is not None and (int(match[1]), int(match[2])) > _NEWEST:
            known = f"newer than {newest}, the newest that is read"
            raise ReadError(path, f"it is OME-Zarr {str(version)[:20]}, {known}; save it as OME-Zarr {newest}")


def _image_groups(root: Folder, attributes: Mapping[str, Any], path: str, notes: list[str]) -> list[str]:
    """Return the paths of the images below a group, relative to it; a note is added on wells and fields that are not there."""
    if "multiscales" in attributes:
        return [""]
    plate = attributes.get("plate")
    if isinstance(plate, Mapping):
        return _fields_of_plate(root, plate, path, notes)
    if "well" in attributes:
        return _fields(root, "", path)
    if "bioformats2raw.layout" in attributes:
        series = group_attributes(root / "OME", path).get("series") if (root / "OME").is_dir() else None
        if isinstance(series, list):
            return [inside_store(str(name), path) for name in series]
        return sorted((entry.name for entry in root.iterdir() if entry.name.isdigit()), key=int)
    return []


def _fields_of_plate(root: Folder, plate: Mapping[str, Any], path: str, notes: list[str]) -> list[str]:
    """Return the paths of the fields of a plate that are there; a note is added on those that are not.

    Raises `ReadError` if none is there, or the metadata leads out of the store.
    """
    wells = [inside_store(str(_mapping(well, path).get("path", "")), path) for well in _sequence(plate.get("wells"), path)]
    there: list[str] = []
    missing: list[str] = []
    for well in wells:
        fields = _fields(root, well, path) if (root / well).is_dir() else []
        found = [field for field in fields if (root / field).is_dir()]
        there += found
        missing += [field for field in fields if field not in found] or ([] if fields else [well])
    if wells and not there:
        raise ReadError(path, f"it is a plate of {len(wells)} wells, and none of their images is there; copy the whole folder again")
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        notes.append(f"{Path(path).name}: {len(missing)} of the wells and fields that its metadata lists are not there ({shown}).")
    return there


def _fields(root: Folder, well: str, path: str) -> list[str]:
    """Return the paths of a well's fields, relative to the plate."""
    well = inside_store(well, path)
    listed = group_attributes(root / well if well else root, path).get("well")
    if listed is None:
        return []
    images = _sequence(_mapping(listed, path).get("images"), path)
    names = [inside_store(str(_mapping(image, path).get("path", "")), path) for image in images]
    return [f"{well}/{name}" if well else name for name in names]


def inside_store(name: str, path: str) -> str:
    """Return a path below the store.

    Raises `ReadError` if it leads out of the store, as only damaged or hostile metadata does.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ReadError(path, f"its metadata points out of the store ({name!r}); it is damaged or hostile")
    return name


def _open_array(folder: Folder, name: str, path: str, archive: str | None) -> Any:
    """Return the zarr array of the full resolution.

    Parameters
    ----------
    folder, name
        The group, and the array in it; empty for the folder itself.
    archive
        The ZIP archive that the folder is in, if it is in one.
    """
    name = inside_store(name, path)
    place = folder / name if name else folder
    if not place.is_dir():
        raise ReadError(path, f"its array {name!r} is missing; copy the whole folder again")
    zarr = _zarr()
    if isinstance(place, zipfile.Path):
        array = zarr.open(zarr.storage.ZipStore(archive, mode="r"), path=place.at.strip("/"), mode="r")
    else:
        array = zarr.open(str(place), mode="r")
    if not hasattr(array, "chunks"):
        raise ReadError(path, f"{name!r} in it is no array; it is damaged")
    piece = math.prod(array.chunks) * array.dtype.itemsize
    if piece > _LARGEST:
        raise ReadError(
            path, f"each of its chunks has {piece:,} bytes, more than can be read; it is damaged, or store it in smaller chunks"
        )
    if 0 in array.shape:
        raise ReadError(path, f"it has no pixels (shape {tuple(array.shape)})")
    return array


def _pixels(array: Any, path: str) -> da.Array:
    """Return a dask array over a zarr array, with small chunks of a plane joined."""
    chunks = list(getattr(array, "shards", None) or array.chunks)
    if math.prod(chunks) * array.dtype.itemsize > CHUNK:
        chunks = list(array.chunks)
    for axis in (array.ndim - 1, array.ndim - 2):
        factor = min(CHUNK // max(1, math.prod(chunks) * array.dtype.itemsize * 2), max(_JOINED // chunks[axis], 1))
        chunks[axis] = min(array.shape[axis], chunks[axis] * max(1, min(factor, -(-array.shape[axis] // chunks[axis]))))
    return GuardedArray(array.__getitem__, tuple(array.shape), array.dtype, path).lazy(tuple(chunks))


def _axes(multiscale: Mapping[str, Any], ndim: int, path: str) -> list[Axis] | None:
    """Return the axes that the metadata describes; None where it describes none.

    Before version 0.4 they are plain names, before 0.3 there are none and they are always TCZYX.
    """
    if "axes" not in multiscale:
        return [Axis(letter.lower(), None, None) for letter in AXES] if ndim == len(AXES) else None
    found = []
    for axis in _sequence(multiscale["axes"], path):
        if isinstance(axis, str):
            found.append(Axis(axis, None, None))
        else:
            kind, unit = (_mapping(axis, path).get(key) for key in ("type", "unit"))
            found.append(Axis(str(axis.get("name", "")), kind if isinstance(kind, str) else None, unit if isinstance(unit, str) else None))
    if len(found) != ndim:
        raise ReadError(path, f"its metadata names {len(found)} axes but its array has {ndim}; it is damaged")
    return found


def _letters(axes: Sequence[Axis], shape: Sequence[int], path: str) -> list[str]:
    """Return the letter of each axis, by its name, else by its type; ``?`` for one of length 1 that is none of them.

    Raises `ReadError` if they are not those of an image.
    """
    names = [_LETTERS.get(_singular(axis.name), "?") for axis in axes]
    kinds = [(axis.kind or "").casefold() for axis in axes]
    letters = [_TYPES.get(kind, "?") if name in ("?", _TYPES.get(kind)) else "?" for name, kind in zip(names, kinds, strict=True)]
    for i, name in enumerate(names):
        if letters[i] == "?" and name not in letters:
            letters[i] = name
    unnamed = [i for i, kind in enumerate(kinds) if letters[i] == "?" and kind == "space" and names[i] not in "ZYX"]
    free = [letter for letter in "XYZ" if letter not in letters]
    for i, letter in zip(reversed(unnamed), free, strict=False):  # axes in space end in y and x, whatever they are called
        letters[i] = letter
    for i, letter in enumerate(letters):
        if (letter == "?" or letter in letters[:i]) and shape[i] == 1:
            letters[i] = "?"
        elif letter == "?" and names[i] == "?":
            raise ReadError(path, f"its axis {axes[i].name!r} is none of time, channel, z, y and x; save one position of it alone")
    known = [letter for letter, n in zip(letters, shape, strict=True) if letter != "?" or n > 1]
    if "?" in known or len(set(known)) < len(known) or not {"Y", "X"} <= set(known):
        names = [axis.name or "?" for axis in axes]
        raise ReadError(
            path, f"its axes ({', '.join(names)}) are not those of an image, which has y and x and each axis once; it is damaged"
        )
    return letters


def _singular(name: str) -> str:
    """Return the name of an axis in small letters, without a plural s."""
    text = name.strip().casefold().replace("_", "").replace(" ", "")
    return text[:-1] if len(text) > 2 and text.endswith("s") else text


def _to_tczyx(pixels: da.Array, letters: Sequence[str]) -> da.Array:
    """Return pixels with the axes TCZYX; axes that have no letter are dropped, which have length 1."""
    kept = pixels[tuple(0 if letter == "?" else slice(None) for letter in letters)]
    return to_tczyx(kept, "".join(letter for letter in letters if letter != "?"))


def _scale(multiscale: Mapping[str, Any], dataset: Mapping[str, Any], count: int) -> list[float | None]:
    """Return the scale of each axis: that of the dataset times that of the image; None where there is none."""
    total: list[float | None] = [None] * count
    for transforms in (dataset.get("coordinateTransformations"), multiscale.get("coordinateTransformations")):
        for transform in transforms if isinstance(transforms, list) else []:
            scale = transform.get("scale") if isinstance(transform, Mapping) else None
            if isinstance(scale, list) and len(scale) == count and all(isinstance(value, int | float) for value in scale):
                total = [value if old is None else old * value for old, value in zip(total, scale, strict=True)]
    return total


def _channel_names(attributes: Mapping[str, Any], count: int) -> tuple[str, ...] | None:
    """Return the channels' labels in the ``omero`` metadata."""
    omero = attributes.get("omero")
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list) or len(channels) != count:
        return None
    labels = [str(channel.get("label") or "") if isinstance(channel, Mapping) else "" for channel in channels]
    return tuple(label or f"channel {i}" for i, label in enumerate(labels)) if any(labels) else None


def _first(values: Any, path: str, what: str) -> Mapping[str, Any]:
    """Return the first of a list of mappings in the metadata."""
    if not isinstance(values, list) or not values or not isinstance(values[0], Mapping):
        raise ReadError(path, f"its metadata has no {what}; it is damaged")
    return values[0]


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    """Return a value of the metadata that must be a mapping."""
    if not isinstance(value, Mapping):
        raise ReadError(path, _DAMAGED)
    return value


def _sequence(value: Any, path: str) -> Sequence[Any]:
    """Return a value of the metadata that must be a list."""
    if not isinstance(value, list):
        raise ReadError(path, _DAMAGED)
    return value
