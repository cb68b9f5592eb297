"""OME-Zarr 0.4 and 0.5: images, plates and collections of images, read with zarr 3 or zarr 2, whichever is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dask.array as da

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.lazy import CHUNK, GuardedArray
from napari_virtual_paint.reading.ome_xml import PROVENANCE
from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.stack import AXES, PixelSize, Stack

MARKERS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")  # A folder with one of these files is a zarr
_LARGEST = 4 * 2**30  # bytes of the largest chunk that is read
_JOINED = 2048  # pixels a side up to which small chunks are joined: a part of a mosaic should not need all of its columns
_DAMAGED = "its metadata does not follow the OME-Zarr specification; it is damaged"

Axis = tuple[str, str | None]  # name and unit of an axis


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a zarr group or array."""
    return any((path / name).is_file() for name in MARKERS)


class ZarrImages:
    """The images of an OME-Zarr: one image, the fields of a plate (``A/1/0``), or the images of a collection."""

    def __init__(self, path: str, files: ExitStack) -> None:
        self._path = path
        root = Path(path)
        self._groups = _image_groups(root, group_attributes(root, path), path)
        if not self._groups:
            raise ReadError(path, "it is a zarr without an OME-Zarr image (no multiscales, plate or bioformats2raw layout in its metadata)")

    def scenes(self) -> list[str]:
        """Return the paths of the images within the store; empty for the store itself."""
        return self._groups

    def read(self, index: int) -> Stack:
        """Return one image at full resolution, its pixels still in the store.

        Raises `ReadError` if it is damaged.
        """
        path = self._path
        folder = Path(path) / self._groups[index]
        attributes = group_attributes(folder, path)
        multiscale = _first(attributes.get("multiscales"), path, "multiscales")
        dataset = _first(multiscale.get("datasets"), path, "datasets")
        axes = _axes(multiscale, path)
        array = _open_array(folder, str(dataset.get("path", "")), path)
        if array.ndim != len(axes):
            raise ReadError(path, f"its metadata names {len(axes)} axes but its array has {array.ndim}; it is damaged")
        data = _to_tczyx(_pixels(array, path), [name for name, _ in axes], path)
        # A scale without a unit is a bare number, not a size.
        scales = {name: (scale, unit) for (name, unit), scale in zip(axes, _scale(multiscale, dataset, len(axes)), strict=True)}
        own = attributes.get(PROVENANCE.partition("/")[0])
        own = own if isinstance(own, Mapping) else {}
        provenance = own.get("provenance")
        return Stack(
            data,
            channels=_channel_names(attributes, data.shape[1]),
            pixel_size=PixelSize(*(micrometres(*scales.get(letter, (None, None))) for letter in "zyx")),
            time_interval=seconds(*scales.get("t", (None, None))),
            source=path,
            rgb=bool(own.get("rgb")) and data.shape[1] in (3, 4),
            provenance=provenance if isinstance(provenance, Mapping) else None,
        )


def _zarr() -> Any:
    """Return the zarr library."""
    return require("zarr", extra="formats", purpose="reading it", path="OME-Zarr")


def group_attributes(folder: Path, path: str) -> dict[str, Any]:
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
        return {**attributes, **ome} if isinstance(ome, dict) else attributes
    return {}


def _image_groups(root: Path, attributes: Mapping[str, Any], path: str) -> list[str]:
    """Return the paths of the images below a group, relative to it."""
    if "multiscales" in attributes:
        return [""]
    plate = attributes.get("plate")
    if isinstance(plate, Mapping):
        wells = [str(_mapping(well, path).get("path", "")) for well in _sequence(plate.get("wells"), path)]
        return [field for well in wells for field in _fields(root, well, path)]
    if "well" in attributes:
        return _fields(root, "", path)
    if "bioformats2raw.layout" in attributes:
        series = group_attributes(root / "OME", path).get("series") if (root / "OME").is_dir() else None
        if isinstance(series, list):
            return [inside_store(str(name), path) for name in series]
        return sorted((entry.name for entry in root.iterdir() if entry.name.isdigit()), key=int)
    return []


def _fields(root: Path, well: str, path: str) -> list[str]:
    """Return the paths of a well's fields, relative to the plate."""
    well = inside_store(well, path)
    images = _sequence(_mapping(group_attributes(root / well, path).get("well"), path).get("images"), path)
    names = [inside_store(str(_mapping(image, path).get("path", "")), path) for image in images]
    return [f"{well}/{name}" if well else name for name in names]


def inside_store(name: str, path: str) -> str:
    """Return a path below the store.

    Raises `ReadError` if it leads out of the store, as only damaged or hostile metadata does.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ReadError(path, f"its metadata points out of the store ({name!r}); it is damaged or hostile")
    return name


def _open_array(folder: Path, name: str, path: str) -> Any:
    """Return the zarr array of the full resolution."""
    name = inside_store(name, path)
    if not (folder / name).is_dir():
        raise ReadError(path, f"its array {name!r} is missing; copy the whole folder again")
    array = _zarr().open(str(folder / name), mode="r")
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


def _axes(multiscale: Mapping[str, Any], path: str) -> list[Axis]:
    """Return name and unit of each axis; before version 0.4 they are plain names, before 0.3 always TCZYX."""
    found: list[Axis] = []
    for axis in _sequence(multiscale.get("axes", list(AXES.lower())), path):
        if isinstance(axis, str):
            found.append((axis.lower(), None))
        else:
            unit = _mapping(axis, path).get("unit")
            found.append((str(axis.get("name", "")).lower(), unit if isinstance(unit, str) else None))
    names = [name for name, _ in found]
    if len(set(names)) < len(names) or not {"y", "x"} <= set(names):
        raise ReadError(path, f"its axes ({', '.join(names)}) are not those of an image; it is damaged")
    return found


def _to_tczyx(pixels: da.Array, letters: list[str], path: str) -> da.Array:
    """Return pixels with the axes TCZYX; an axis of another name is dropped, which it can be only if it has length 1."""
    for position in reversed(range(len(letters))):
        if letters[position] not in "tczyx":
            if pixels.shape[position] != 1:
                raise ReadError(path, f"its axis {letters[position]!r} is none of time, channel, z, y and x; save one position of it alone")
            pixels = pixels[(slice(None),) * position + (0,)]
            letters = letters[:position] + letters[position + 1 :]
    order = [letters.index(letter) for letter in "tczyx" if letter in letters]
    if order != sorted(order):
        pixels = pixels.transpose(order)
    return pixels[tuple(slice(None) if letter in letters else None for letter in "tczyx")]


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
