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
from napari_virtual_paint.reading.lazy import check_unchanged, fingerprint, lazy_array
from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.stack import RGBA, PixelSize, Stack

_WAVELENGTHS = {"λ": "em", "Λ": "ex"}  # liffile's letters for the axes of emission and excitation wavelengths


class LifImages:
    """The images of a LIF file, which stays open until `files` is closed."""

    def __init__(self, path: str, files: ExitStack) -> None:
        self._lif, self._path = files.enter_context(LifFile(path)), path

    def scenes(self) -> list[str]:
        """Return the names of the images."""
        return [str(image.path) for image in self._lif.images]

    def read(self, index: int) -> Stack:
        """Return one image, its pixels still in the file; the steps of a wavelength sweep are its channels.

        Raises `ReadError` if it has other axes than time, wavelength or channel, z, y and x.
        """
        planes = LifPlanes(self._lif, self._path, index)
        return Stack(
            lazy_array(planes),
            channels=planes.names,
            pixel_size=PixelSize(*(micrometres(_step(planes.coords.get(axis)), "m") for axis in "ZYX")),
            time_interval=seconds(_step(planes.coords.get("T")), "s"),
            source=self._path,
            rgb=planes.samples in (3, 4),
        )


def _step(coordinates: Any) -> float | None:
    """Return the step of evenly spaced coordinates."""
    if coordinates is None or len(coordinates) < 2:
        return None
    return abs(float(coordinates[-1] - coordinates[0])) / (len(coordinates) - 1)


def open_planes(path: str, scene: int) -> LifPlanes:
    """Return the planes of one image (module-level, so that a pickled array can call it)."""
    with LifFile(path) as lif:
        return LifPlanes(lif, path, scene)


class LifPlanes:
    """An image of a LIF file as planes; keeps no file open between reads."""

    def __init__(self, lif: LifFile, path: str, scene: int) -> None:
        self.path, self._scene = path, scene
        self._fingerprint = fingerprint(path)
        self._lock = threading.Lock()
        image = lif.images[scene]
        self.sizes: Mapping[str, int] = dict(image.sizes)
        self.coords: Mapping[str, Any] = {name: np.array(values) for name, values in image.coords.items()}
        self.dtype = np.dtype(image.dtype)
        self.samples = self.sizes.get("S", 1)
        self._groups = [axis for axis in self.sizes if axis in ("C", *_WAVELENGTHS)]
        unknown = [axis for axis, n in self.sizes.items() if axis not in "TZYXS" and axis not in self._groups and n > 1]
        if unknown or not {"Y", "X"} <= set(self.sizes):
            raise ReadError(
                path, f"its image {scene} has the axes {', '.join(self.sizes)}, more than time, channel, z, y and x; export one alone"
            )
        self._lengths = [self.sizes[axis] for axis in self._groups]
        count = int(np.prod(self._lengths, dtype=int)) * self.samples
        self.shape = (self.sizes.get("T", 1), count, self.sizes.get("Z", 1), self.sizes["Y"], self.sizes["X"])
        self.block = (self.sizes["Y"], self.sizes["X"])
        self.names = self._names()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the path and the image, which are opened again in the other process."""
        return open_planes, (self.path, self._scene)

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
        frame |= {axis: index for axis, index in (("T", t), ("Z", z)) if axis in self.sizes}
        with self._lock, LifFile(self.path) as lif:
            pixels = lif.images[self._scene].frames(**frame)[0]
        pixels = pixels.reshape(*self.shape[3:], self.samples)
        return np.moveaxis(pixels, 2, 0)[:, rows, columns]
