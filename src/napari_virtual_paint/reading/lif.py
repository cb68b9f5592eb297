"""Leica LIF, through liffile, which bioio's own plugin stands on; that plugin can't read wavelength sweeps."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from liffile import LifFile

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.lazy import fingerprint, lazy_array, unchanged
from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.stack import PixelSize, Stack

# liffile's letters for the wavelength of emission and of excitation.
_WAVELENGTHS = {"λ": "em", "Λ": "ex"}


def scenes_lif(path: str) -> list[str]:
    """Return the names of the images in a LIF file."""
    with LifFile(path) as lif:
        return [str(image.path) for image in lif.images]


def read_lif(path: str, scene: int = 0) -> Stack:
    """Return one image of a LIF file; the steps of a wavelength sweep are its channels.

    Raises
    ------
    ReadError
        If it has axes beside time, wavelength or channel, z, y and x.
    """
    planes = _LifPlanes(path, scene)
    return Stack(
        lazy_array(planes),
        channels=planes.names,
        pixel_size=PixelSize(*(micrometres(_step(planes.coords.get(axis)), "m") for axis in "ZYX")),
        time_interval=seconds(_step(planes.coords.get("T")), "s"),
        source=path,
        rgb=planes.samples in (3, 4),
    )


def _step(coordinates: Any) -> float | None:
    """Return the step of evenly spaced coordinates."""
    if coordinates is None or len(coordinates) < 2:
        return None
    return abs(float(coordinates[-1] - coordinates[0])) / (len(coordinates) - 1)


class _LifPlanes:
    """An image of a LIF file as planes."""

    def __init__(self, path: str, scene: int) -> None:
        self.path, self._scene = path, scene
        self._was = fingerprint(path)
        self._lock = threading.Lock()
        with LifFile(path) as lif:
            image = lif.images[scene]
            self.sizes: Mapping[str, int] = dict(image.sizes)
            self.coords: Mapping[str, Any] = {name: np.array(values) for name, values in image.coords.items()}
            self.dtype = np.dtype(image.dtype)
            labels = [str(channel) for channel in self.coords.get("C", ())]
        self.samples = self.sizes.get("S", 1)
        self._groups = [axis for axis in self.sizes if axis in ("C", *_WAVELENGTHS)]
        odd = [axis for axis, n in self.sizes.items() if axis not in "TZYXS" and axis not in self._groups and n > 1]
        if odd or not {"Y", "X"} <= set(self.sizes):
            raise ReadError(
                path, f"its image {scene} has the axes {', '.join(self.sizes)}, more than time, channel, z, y and x; export one alone"
            )
        self._lengths = [self.sizes[axis] for axis in self._groups]
        count = int(np.prod(self._lengths, dtype=int)) * self.samples
        self.shape = (self.sizes.get("T", 1), count, self.sizes.get("Z", 1), self.sizes["Y"], self.sizes["X"])
        self.block = (self.sizes["Y"], self.sizes["X"])
        self.names = self._names(labels)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as the file's name."""
        return _LifPlanes, (self.path, self._scene)

    def _names(self, labels: list[str]) -> tuple[str, ...] | None:
        """Return the channels' names: those in the file, or the wavelengths of a sweep."""
        if self.samples in (3, 4):
            return ("Red", "Green", "Blue", "Alpha")[: self.samples]
        if len(self._groups) != 1:
            return None
        axis = self._groups[0]
        if axis in _WAVELENGTHS:
            return tuple(f"{_WAVELENGTHS[axis]} {value * 1e9:g} nm" for value in self.coords[axis])
        return tuple(labels) if len(labels) == self.shape[1] and not all(label.isdigit() for label in labels) else None

    def plane(self, t: int, c: int, z: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return (samples, rows, columns) of one plane."""
        unchanged(self.path, self._was)
        indices = [int(i) for i in np.unravel_index(c, self._lengths)] if self._groups else []
        place = dict(zip(self._groups, indices, strict=True))
        place |= {axis: index for axis, index in (("T", t), ("Z", z)) if axis in self.sizes}
        with self._lock, LifFile(self.path) as lif:
            pixels = lif.images[self._scene].frames(**place)[0]
        pixels = pixels.reshape(*self.shape[3:], self.samples)
        return np.moveaxis(pixels, 2, 0)[:, rows, columns]
