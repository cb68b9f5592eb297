"""Leica LIF, through liffile; bioio's plugin, which is built on it, can't read wavelength sweeps."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
from liffile import LifFile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.axes import agree
from napari_virtual_paint.reading.lazy import check_unchanged, fingerprint, lazy_array
from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.stack import AXES, RGBA, PixelSize, Stack

_WAVELENGTHS = {"λ": "em", "Λ": "ex"}  # liffile's letters for the axes of emission and excitation wavelengths


class LifImages:
    """The images of a LIF file, which stays open until `files` is closed; each tile of a tile scan is an image."""

    def __init__(self, path: str, files: ExitStack) -> None:
        self._lif, self._path = files.enter_context(LifFile(path)), path
        self._places: list[tuple[int, int | None]] = []
        for number, image in enumerate(self._lif.images):
            tiles = _tiles(image)
            self._places += [(number, tile) for tile in range(tiles)] if tiles > 1 else [(number, None)]

    def scenes(self) -> list[str]:
        """Return the names of the images, of a tile scan with the number of the tile."""
        return [f"{self._lif.images[number].path}{'' if tile is None else f' tile {tile + 1}'}" for number, tile in self._places]

    def read(self, index: int, axes: str | None = None) -> Stack:
        """Return one image, its pixels still in the file; the steps of a wavelength sweep are its channels.

        Raises `ReadError` if it has other axes than time, wavelength or channel, z, y and x, or others than the ones given.
        """
        number, tile = self._places[index]
        planes = LifPlanes(self._lif, self._path, number, tile)
        agree(axes, AXES, planes.shape, self._path)
        return Stack(
            lazy_array(planes),
            channels=planes.names,
            pixel_size=PixelSize(*(micrometres(_step(planes.coords.get(axis)), "m") for axis in "ZYX")),
            time_interval=seconds(_step(planes.coords.get("T")), "s"),
            source=self._path,
            rgb=planes.samples in (3, 4),
        )


def _tiles(image: Any) -> int:
    """Return the number of positions of a tile scan, 1 of another image or of one of unknown sizes."""
    try:
        return int(image.sizes.get("M", 1))
    except (ValueError, AssertionError):
        return 1


def _step(coordinates: Any) -> float | None:
    """Return the step of evenly spaced coordinates."""
    if coordinates is None or len(coordinates) < 2:
        return None
    return abs(float(coordinates[-1] - coordinates[0])) / (len(coordinates) - 1)


def open_planes(path: str, scene: int, tile: int | None) -> LifPlanes:
    """Return the planes of one image (module-level, so that a pickled array can call it)."""
    with LifFile(path) as lif:
        return LifPlanes(lif, path, scene, tile)


class LifPlanes:
    """An image of a LIF file as planes; keeps no file open between reads.

    Parameters
    ----------
    tile
        Which position of a tile scan; None of another image.
    """

    def __init__(self, lif: LifFile, path: str, scene: int, tile: int | None = None) -> None:
        self.path, self._scene, self._tile = path, scene, tile
        self._fingerprint = fingerprint(path)
        self._lock = threading.Lock()
        image = lif.images[scene]
        depths = {channel.dtype for channel in getattr(image, "_channels", ())}
        if len(depths) > 1:
            raise ReadError(path, f"the channels of its image {image.path!r} have different types ({_listed(depths)}); export each alone")
        self.sizes: Mapping[str, int] = dict(image.sizes)
        self.coords: Mapping[str, Any] = {name: np.array(values) for name, values in image.coords.items()}
        self.dtype = np.dtype(image.dtype)
        self.samples = self.sizes.get("S", 1)
        self._groups = [axis for axis in self.sizes if axis in ("C", *_WAVELENGTHS)]
        unknown = [axis for axis, n in self.sizes.items() if axis not in ("T", "Z", "Y", "X", "S", "M", *self._groups) and n > 1]
        # A line that was scanned over z or time has no y, and liffile leaves out axes of length 1.
        if unknown or not {"Y", "X"} & set(self.sizes):
            raise ReadError(
                path,
                f"its image {image.path!r} has the axes {', '.join(self.sizes) or 'of a single point'}, not those of time, channel, z, y"
                " and x; export the part that is an image",
            )
        self._lengths = [self.sizes[axis] for axis in self._groups]
        count = int(np.prod(self._lengths, dtype=int)) * self.samples
        height, width = self.sizes.get("Y", 1), self.sizes.get("X", 1)
        self.shape = (self.sizes.get("T", 1), count, self.sizes.get("Z", 1), height, width)
        self.block = (height, width)
        self._whole_frames = {"Y", "X"} <= set(image.frames.frame_sizes)
        self.names = self._names()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the path and the image, which are opened again in the other process."""
        return open_planes, (self.path, self._scene, self._tile)

    def _names(self) -> tuple[str, ...] | None:
        """Return the channels' names: those in the file, or the wavelengths of a sweep."""
        if self.samples in (3, 4):
            return RGBA[: self.samples]
        if len(self._groups) != 1:
            return None
        axis = self._groups[0]
        if axis in _WAVELENGTHS:
            return tuple(f"{_WAVELENGTHS[axis]} {value * 1e9:g} nm" for value in self.coords[axis])
        labels = [str(channel) for channel in self.coords.get("C", ())]
        return tuple(labels) if len(labels) == self.shape[1] and not all(label.isdigit() for label in labels) else None

    def plane(self, t: int, c: int, z: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return (samples, rows, columns) of one plane."""
        check_unchanged(self.path, self._fingerprint)
        indices = [int(i) for i in np.unravel_index(c, self._lengths)] if self._groups else []
        frame = dict(zip(self._groups, indices, strict=True))
        frame |= {axis: index for axis, index in (("T", t), ("Z", z), ("M", self._tile or 0)) if axis in self.sizes}
        with self._lock, LifFile(self.path) as lif:
            image = lif.images[self._scene]
            if self._whole_frames:
                pixels = image.frames(**frame)[0]
                return np.moveaxis(pixels.reshape(*self.shape[3:], self.samples), 2, 0)[:, rows, columns]
            return self._scanned_otherwise(image, frame)[:, rows, columns]

    def _scanned_otherwise(self, image: Any, frame: Mapping[str, int]) -> npt.NDArray[Any]:
        """Return (samples, y, x) of a plane whose rows don't follow one another in the file, as in a scan in x and z."""
        pixels = image.asarray(out="memmap" if self.samples == 1 else None)
        pixels = pixels[tuple(frame.get(axis, slice(None)) for axis in self.sizes)]
        left = [axis for axis in self.sizes if axis not in frame]
        pixels = pixels.transpose([left.index(axis) for axis in "SYX" if axis in left])
        return np.array(pixels[tuple(slice(None) if axis in left else None for axis in "SYX")])


def _listed(kinds: set[np.dtype[Any]]) -> str:
    """Return types of pixels as text."""
    return ", ".join(sorted(map(str, kinds)))
