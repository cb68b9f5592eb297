"""ND2, CZI and the microscopes' other formats, through bioio, or aicsimageio where that is what is installed."""

from __future__ import annotations

import importlib.util
import re
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.utils import SerializableLock

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.lazy import Guarded
from napari_virtual_paint.reading.silence import quiet
from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.stack import PixelSize, Stack

SUFFIXES = (".nd2", ".czi", ".lif", ".oib", ".oif", ".vsi", ".ims", ".dv", ".r3d", ".mrc", ".sld", ".lof", ".xlif")
# Names that the libraries make up for channels that have none.
_MADE_UP = re.compile(r"^(Channel:)?\d+(:\d+)*$")

# bioio leaves a damaged ND2 file for Python to close, which then warns at some later time, in whatever the user does then.
warnings.filterwarnings("ignore", message="ND2File file not closed", category=UserWarning)


def scenes_vendor(path: str) -> list[str]:
    """Return the names of a file's images (positions, fields, series)."""
    return [str(name) for name in _open(path).scenes]


def read_vendor(path: str, scene: int = 0) -> Stack:
    """Return one image of a microscope's own file, its pixels still in the file.

    Raises
    ------
    ReadError
        If no installed library reads it.
    """
    image = _open(path)
    image.set_scene(scene)
    colours = "S" in image.dims.order
    pixels = image.get_image_dask_data("TCZYXS" if colours else "TCZYX")
    samples = pixels.shape[5] if colours else 1
    if colours:
        t, c, z, y, x, s = pixels.shape
        pixels = da.moveaxis(pixels, 5, 2).reshape((t, c * s, z, y, x))
    data = Guarded(_Computed(pixels), pixels.shape, pixels.dtype, path).lazy(pixels.chunks)
    names = _channel_names(image.channel_names, data.shape[1])
    rgb = colours and samples in (3, 4) and data.shape[1] == samples
    if rgb:
        names = ("Red", "Green", "Blue", "Alpha")[:samples]
    return Stack(
        data,
        channels=names,
        pixel_size=_pixel_size(image, path, data.shape[2]),
        time_interval=_interval(image, path) if data.shape[0] > 1 else None,
        source=path,
        rgb=rgb,
    )


class _Computed:
    """Computes pieces of a library's own lazy array, one at a time: the libraries open and close one file around every piece."""

    def __init__(self, pixels: da.Array) -> None:
        self._pixels, self._alone = pixels, SerializableLock()

    def __call__(self, where: tuple[slice, ...]) -> npt.NDArray[Any]:
        """Return the pixels of a tuple of slices; within a task of the outer array, so without a second pool of threads."""
        with self._alone:
            return np.asarray(self._pixels[where].compute(scheduler="synchronous"))


def _open(path: str) -> Any:
    """Open a file with the library that is installed."""
    if importlib.util.find_spec("bioio") is not None:
        from bioio import BioImage as Image
    elif importlib.util.find_spec("aicsimageio") is not None:
        from aicsimageio import AICSImage as Image
    else:
        raise ReadError(path, "this format needs bioio; install napari-virtual-paint[formats]")
    try:
        # Once more, for the loggers that came with the import.
        with quiet():
            return Image(path)
    except Exception as error:
        if type(error).__name__ != "UnsupportedFileFormatError":
            raise
        suffix = Path(path).suffix or "without a suffix"
        raise ReadError(
            path,
            f"no installed library reads this file ({suffix}): it is damaged, or its bioio plugin is missing;"
            " install the plugin, or export the image as OME-TIFF or OME-Zarr",
        ) from error


def _channel_names(names: Any, count: int) -> tuple[str, ...] | None:
    """Return the channels' own names."""
    found = tuple(str(name) for name in names or ())
    if len(found) != count or all(_MADE_UP.match(name) for name in found):
        return None
    return found


def _pixel_size(image: Any, path: str, depth: int) -> PixelSize:
    """Return the voxel size; of a single plane the libraries report a z-step of 1 that no file holds."""
    sizes = image.physical_pixel_sizes
    return PixelSize(micrometres(sizes.Z, "um") if depth > 1 else None, micrometres(sizes.Y, "um"), micrometres(sizes.X, "um"))


def _interval(image: Any, path: str) -> float | None:
    """Return the seconds between time points."""
    if path.lower().endswith(".nd2"):
        return _nd2_interval(path)
    value = getattr(image, "time_interval", None)
    return seconds(value.total_seconds(), "s") if isinstance(value, timedelta) else None


def _nd2_interval(path: str) -> float | None:
    """Return the interval of a Nikon time loop: the one that was set, or the mean of those measured where none was set."""
    import nd2

    with nd2.ND2File(path) as file:
        loops = [loop.parameters for loop in file.experiment if loop.type == "TimeLoop"]
    if not loops:
        return None
    return seconds(loops[0].periodMs, "ms") or seconds(loops[0].periodDiff.avg, "ms")
