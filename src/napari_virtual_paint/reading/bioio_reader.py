"""ND2 and other formats of microscopes, through bioio, or aicsimageio where only that is installed."""

from __future__ import annotations

import importlib.util
import re
import warnings
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.utils import SerializableLock

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.axes import agree
from napari_virtual_paint.reading.lazy import GuardedArray
from napari_virtual_paint.reading.silence import mute_logs
from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.runtime.file_kind import file_kind
from napari_virtual_paint.stack import AXES, RGBA, PixelSize, Stack

_MADE_UP = re.compile(r"^(Channel:)?\d+(:\d+)*$")  # names that the libraries make up for channels that have none

# bioio leaves a damaged ND2 file for Python to close, which then warns at some later time, in whatever the user does then.
warnings.filterwarnings("ignore", message="ND2File file not closed", category=UserWarning)


class BioioImages:
    """The images (positions, fields, series) of a file; the libraries open it anew whenever pixels are computed."""

    def __init__(self, path: str, files: ExitStack) -> None:
        self._image, self._path = _open(path), path

    def scenes(self) -> list[str]:
        """Return the names of the images."""
        return [str(name) for name in self._image.scenes]

    def read(self, index: int, axes: str | None = None) -> Stack:
        """Return one image, its pixels still in the file.

        Raises `ReadError` if it has other axes than time, channel, z, y and x, or others than the ones given.
        """
        image, path = self._image, self._path
        image.set_scene(index)
        sizes = dict(zip(image.dims.order, image.dims.shape, strict=True))
        more = [f"{axis} ({n})" for axis, n in sizes.items() if axis not in "TCZYXS" and n > 1]
        if more:
            raise ReadError(path, f"it has the axes {', '.join(more)}, more than time, channel, z, y and x; export one position of each")
        samples = 1
        if "S" in image.dims.order:
            pixels = image.get_image_dask_data("TCZYXS")
            t, c, z, y, x, samples = pixels.shape
            pixels = da.moveaxis(pixels, 5, 2).reshape((t, c * samples, z, y, x))
        else:
            pixels = image.get_image_dask_data("TCZYX")
        agree(axes, AXES, pixels.shape, path)
        data = GuardedArray(_SerialCompute(pixels), pixels.shape, pixels.dtype, path).lazy(pixels.chunks)
        rgb = samples in (3, 4) and data.shape[1] == samples
        return Stack(
            data,
            channels=RGBA[:samples] if rgb else _channel_names(image.channel_names, data.shape[1]),
            pixel_size=_pixel_size(image, data.shape[2]),
            time_interval=_interval(image, path) if data.shape[0] > 1 else None,
            source=path,
            rgb=rgb,
        )


class _SerialCompute:
    """Computes regions of a library's lazy array, one at a time: the libraries open and close one file around every region."""

    def __init__(self, pixels: da.Array) -> None:
        self._pixels, self._lock = pixels, SerializableLock()

    def __call__(self, where: tuple[slice, ...]) -> npt.NDArray[Any]:
        """Return the pixels of a tuple of slices, on this thread: it is a task of the outer array already."""
        with self._lock:
            return np.asarray(self._pixels[where].compute(scheduler="synchronous"))


def _open(path: str) -> Any:
    """Open a file with the library that is installed, or raise a `ReadError`."""
    if importlib.util.find_spec("bioio") is not None:
        from bioio import BioImage as Image
    elif importlib.util.find_spec("aicsimageio") is not None:
        from aicsimageio import AICSImage as Image
    else:
        raise ReadError(path, "this format needs bioio; install napari-virtual-paint[formats]")
    try:
        with mute_logs():  # again, since the import has made new loggers
            return Image(path)
    except Exception as error:
        if type(error).__name__ != "UnsupportedFileFormatError":
            raise
        suffix = Path(path).suffix or "without a suffix"
        kind = file_kind(Path(path))
        what = f"it is {kind.words}, which no" if kind is not None else f"it is damaged, or of a kind ({suffix}) that no"
        raise ReadError(
            path, f"{what} installed library reads; install the bioio plugin for it, or export it as OME-TIFF or OME-Zarr"
        ) from error


def _channel_names(names: Any, count: int) -> tuple[str, ...] | None:
    """Return the channels' names, unless they are made up."""
    found = tuple(str(name) for name in names or ())
    return None if len(found) != count or all(map(_MADE_UP.match, found)) else found


def _pixel_size(image: Any, depth: int) -> PixelSize:
    """Return the voxel size; of a single plane the libraries report a z-step of 1 that is in no file."""
    sizes = image.physical_pixel_sizes
    return PixelSize(micrometres(sizes.Z, "um") if depth > 1 else None, micrometres(sizes.Y, "um"), micrometres(sizes.X, "um"))


def _interval(image: Any, path: str) -> float | None:
    """Return the seconds between time points."""
    if path.lower().endswith(".nd2"):
        return _nd2_interval(path)
    value = getattr(image, "time_interval", None)
    return seconds(value.total_seconds(), "s") if isinstance(value, timedelta) else None


def _nd2_interval(path: str) -> float | None:
    """Return the interval of a Nikon time loop: as set, or the mean of the measured ones where none was set."""
    import nd2

    with nd2.ND2File(path) as file:
        loops = [loop.parameters for loop in file.experiment if loop.type == "TimeLoop"]
    if not loops:
        return None
    return seconds(loops[0].periodMs, "ms") or seconds(loops[0].periodDiff.avg, "ms")
