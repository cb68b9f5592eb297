"""Zeiss CZI, through aicspylibczi (libCZI); bioio's plugin, which is built on it, reads colours wrongly and needs a pixel size."""

from __future__ import annotations

import contextlib
import math
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from aicspylibczi import CziFile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.axes import agree
from napari_virtual_paint.reading.lazy import check_unchanged, fingerprint, lazy_array
from napari_virtual_paint.reading.ome_xml import parse_xml
from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.stack import AXES, RGBA, PixelSize, Stack

_FURTHER = {"R": "rotations", "I": "illuminations", "H": "phases", "V": "views", "B": "blocks"}
"""Axes of the format beyond those of a stack."""
_IMAGE = "./Metadata/Information/Image"


class Channel(NamedTuple):
    """A channel as the file stores it."""

    name: str | None
    samples: int  # 1 for grey, 3 or 4 for colours
    dtype: np.dtype[Any]


class CziImages:
    """The scenes of a CZI file."""

    def __init__(self, path: str, files: ExitStack) -> None:
        self._path = path
        self._czi = files.enter_context(_opened(path))
        self._xml = _metadata(self._czi)
        self._scenes = _scene_numbers(_dims(self._czi, path))

    def scenes(self) -> list[str]:
        """Return the names of the scenes; ``Image:0`` and so on where the file has none."""
        named = self._xml.findall(f"{_IMAGE}/Dimensions/S/Scenes/Scene")
        if len(named) <= max(self._scenes):
            return [f"Image:{i}" for i in range(len(self._scenes))]
        names = [_scene_name(named[number], f"{Path(self._path).stem}-{number}") for number in self._scenes]
        seen: dict[str, int] = {}
        out = []
        for name in names:
            seen[name] = seen.get(name, 0) + 1
            out.append(name if names.count(name) == 1 else f"{name}-{seen[name]}")
        return out

    def read(self, index: int, axes: str | None = None) -> Stack:
        """Return one scene, its pixels still in the file; the tiles of a mosaic are put together.

        Raises `ReadError` if it has phases, views or other axes than time, channel, z, y and x, or others than the ones given.
        """
        planes = CziPlanes(self._czi, self._path, self._scenes[index])
        agree(axes, AXES, planes.shape, self._path)
        depth = planes.shape[2]
        z, y, x = (_pixel_size(self._xml, axis) for axis in "ZYX")
        return Stack(
            lazy_array(planes),
            channels=planes.names(),
            pixel_size=PixelSize(z if depth > 1 else None, y, x),
            time_interval=_interval(self._czi, planes) if planes.shape[0] > 1 else None,
            source=self._path,
            rgb=len(planes.channels) == 1 and planes.channels[0].samples in (3, 4),
        )


@contextlib.contextmanager
def _opened(path: str) -> Iterator[CziFile]:
    """Open a CZI file."""
    with Path(path).open("rb") as file:
        try:
            czi = CziFile(file)
        except Exception as error:
            raise ReadError(path, _explain(error, {})) from error
        yield czi


def _metadata(czi: CziFile) -> ET.Element:
    """Return the root of the file's XML; an empty one where there is none that can be parsed."""
    text = str(czi.reader.read_meta())
    with contextlib.suppress(ET.ParseError):
        return parse_xml(text)
    return ET.Element("ImageDocument")


def _dims(czi: CziFile, path: str) -> list[dict[str, tuple[int, int]]]:
    """Return the first position and the one after the last along each axis, of all scenes together or of each."""
    try:
        return list(czi.get_dims_shape())
    except Exception as error:
        raise ReadError(path, _explain(error, {})) from error


def _scene_numbers(shapes: Sequence[Mapping[str, tuple[int, int]]]) -> list[int]:
    """Return the file's own numbers of its scenes; files that are split by scene begin with another than 0."""
    return [number for shape in shapes for number in range(*shape.get("S", (0, 1)))]


def _scene_name(scene: ET.Element, unnamed: str) -> str:
    """Return the name of a scene, with the one of its shape (the well of a plate)."""
    shape = scene.find("Shape")
    name = scene.get("Name")
    if shape is not None and shape.get("Name"):
        return f"{name}-{shape.get('Name')}"
    return name or unnamed


def _pixel_size(xml: ET.Element, axis: str) -> float | None:
    """Return the micrometres of a pixel along an axis; the file has metres."""
    value = xml.find(f"./Metadata/Scaling/Items/Distance[@Id='{axis}']/Value")
    return None if value is None else micrometres((value.text or "").strip(), "m")


def _interval(czi: CziFile, planes: CziPlanes) -> float | None:
    """Return the mean seconds between time points, by the times at which the first and the last were taken."""
    start, stop = planes.start["T"], planes.start["T"] + planes.shape[0] - 1
    first, last = (_acquired(czi, {**planes.scene_of_file, "T": t}) for t in (start, stop))
    return None if first is None or last is None else seconds((last - first).total_seconds() / (stop - start), "s")


def _acquired(czi: CziFile, where: Mapping[str, int]) -> datetime | None:
    """Return the first time at which planes at a position were taken."""
    found = []
    for _, text in czi.read_subblock_metadata(**where):
        with contextlib.suppress(ET.ParseError, ValueError):
            time = datetime.fromisoformat((parse_xml(text).findtext(".//AcquisitionTime") or "").strip())
            found.append(time if time.tzinfo is not None else time.replace(tzinfo=UTC))
    return min(found, default=None)


def open_planes(path: str, scene: int) -> CziPlanes:
    """Return the planes of one scene (module-level, so that a pickled array can call it)."""
    with _opened(path) as czi:
        return CziPlanes(czi, path, scene)


class CziPlanes:
    """A scene of a CZI file as planes; keeps no file open between reads.

    Parameters
    ----------
    scene
        The file's own number of the scene.
    """

    def __init__(self, czi: CziFile, path: str, scene: int) -> None:
        self.path, self._scene = path, scene
        self._fingerprint = fingerprint(path)
        self._lock = threading.Lock()
        dims = next((shape for shape in _dims(czi, path) if scene in range(*shape.get("S", (0, scene + 1)))), None)
        if dims is None or not {"Y", "X"} <= set(dims):
            raise ReadError(path, "it holds no pixels; if its scenes are in files of their own, open one of those")
        more = [f"{stop - start} {_FURTHER[axis]}" for axis, (start, stop) in dims.items() if axis in _FURTHER and stop - start > 1]
        if more:
            raise ReadError(path, f"it has {' and '.join(more)}, more than time, channel, z, y and x; export one of each, or their result")
        self.scene_of_file = {"S": scene} if "S" in dims else {}
        self.start = {axis: dims.get(axis, (0, 1))[0] for axis in "TCZ"}
        t, c, z = (dims.get(axis, (0, 1))[1] - self.start[axis] for axis in "TCZ")
        self._present = [axis for axis in "TCZ" if axis in dims]
        self._mosaic = bool(czi.is_mosaic())
        self._origin = (0, 0)
        height, width = (dims[axis][1] - dims[axis][0] for axis in "YX")
        self.block = (height, width)
        if self._mosaic:
            box = czi.get_mosaic_scene_bounding_box(index=scene)
            self._origin, height, width = (box.y, box.x), int(box.h), int(box.w)
        self.channels = [self._channel(czi, i, z) for i in range(c)]
        names = _names(_metadata(czi), self.start["C"], c)
        self.channels = [channel._replace(name=name) for channel, name in zip(self.channels, names, strict=True)]
        kinds = {channel.samples for channel in self.channels}
        self.samples = kinds.pop() if len(kinds) == 1 else 1
        self.dtype = np.dtype(np.result_type(*(channel.dtype for channel in self.channels)))
        self._starts = np.cumsum([0, *(channel.samples for channel in self.channels)])
        self.shape = (t, int(self._starts[-1]), z, height, width)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the path and the scene, which are opened again in the other process."""
        return open_planes, (self.path, self._scene)

    def names(self) -> tuple[str, ...] | None:
        """Return the channels' names: those in the file, and the colours of a channel that has them."""
        if len(self.channels) == 1 and self.channels[0].samples in (3, 4):
            return RGBA[: self.channels[0].samples]
        if all(channel.name is None and channel.samples == 1 for channel in self.channels):
            return None
        labels = [channel.name or f"channel {i}" for i, channel in enumerate(self.channels)]
        return tuple(
            name
            for label, channel in zip(labels, self.channels, strict=True)
            for name in ([label] if channel.samples == 1 else [f"{label} {colour}" for colour in RGBA[: channel.samples]])
        )

    def plane(self, t: int, c: int, z: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return (samples, rows, columns) of one plane."""
        check_unchanged(self.path, self._fingerprint)
        first = c * self.samples
        number = int(np.searchsorted(self._starts, first, side="right")) - 1
        with self._lock, _opened(self.path) as czi:
            pixels = self._pixels(czi, {"T": t, "C": number, "Z": z}, rows, columns)
        if self.samples == 1:
            pixels = pixels[..., first - self._starts[number]][..., None]
        return np.moveaxis(pixels, 2, 0).astype(self.dtype, copy=False)

    def _channel(self, czi: CziFile, number: int, depth: int) -> Channel:
        """Return how a channel is stored, by its first pixels: the file's own summary is that of its first channel."""
        corner = slice(0, min(self.block[0], 8)), slice(0, min(self.block[1], 8))
        for z in range(depth):  # a channel may have been taken in some of the planes alone
            try:
                pixels = self._pixels(czi, {"T": 0, "C": number, "Z": z}, *corner)
            except ReadError:
                if z == depth - 1:
                    raise
            else:
                break
        return Channel(None, pixels.shape[2], pixels.dtype)

    def _pixels(self, czi: CziFile, where: Mapping[str, int], rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return (rows, columns, samples), colours as red, green and blue, which the file has as blue, green and red."""
        at = {axis: self.start[axis] + index for axis, index in where.items() if axis in self._present}
        height, width = rows.stop - rows.start, columns.stop - columns.start
        try:
            if self._mosaic:
                region = (self._origin[1] + columns.start, self._origin[0] + rows.start, width, height)
                pixels = np.asarray(czi.read_mosaic(region=region, scale_factor=1.0, **at)).reshape(height, width, -1)
            else:
                pixels = self._stored_plane(czi, at)[rows, columns]
        except ReadError:
            raise
        except Exception as error:
            raise ReadError(self.path, _explain(error, at)) from error
        return pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]] if pixels.shape[2] >= 3 else pixels

    def _stored_plane(self, czi: CziFile, at: Mapping[str, int]) -> npt.NDArray[Any]:
        """Return a whole plane (rows, columns, samples)."""
        pixels, axes = czi.read_image(**self.scene_of_file, **at, cores=1)
        lengths = dict(axes)
        extra = math.prod(n for axis, n in lengths.items() if axis not in "YXA")
        if extra != 1:
            raise ReadError(self.path, f"it has {extra} images at one place ({lengths}); export one of them")
        return np.asarray(pixels).reshape(lengths["Y"], lengths["X"], lengths.get("A", 1))


def _explain(error: Exception, at: Mapping[str, int]) -> str:
    """Return what a failure of libCZI means."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    if "RegionSelection" in kind or "SelectedNoImages" in kind:
        where = ", ".join(f"{axis} {index}" for axis, index in at.items())
        return f"it has no plane for {where}; export the channels, planes and time points that are complete"
    if "PixelType" in kind:
        return f"its kind of pixels ({text.removeprefix('PixelType( ').partition(' ')[0]}) can't be decoded; export it as OME-TIFF"
    return f"its pixels are damaged or of a kind that can't be decoded ({text[:160].rstrip('.')})"


def _names(xml: ET.Element, start: int, count: int) -> list[str | None]:
    """Return the names of the channels; None for each that has none."""
    found = xml.findall(f"{_IMAGE}/Dimensions/Channels/Channel")[start : start + count]
    names = [(channel.get("Name") or "").strip() or None for channel in found]
    return names + [None] * (count - len(names))
