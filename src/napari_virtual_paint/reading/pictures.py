"""PNG, JPEG and other pictures, through imageio; 16-bit colour PNG through imagecodecs, since imageio would cut it to 8 bits."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.axes import check_count, check_samples, named
from napari_virtual_paint.reading.lazy import check_unchanged, fingerprint, lazy_array
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.stack import RGBA, Stack

_NAMES: dict[int, tuple[str, ...]] = {2: ("Grey", "Alpha"), 3: RGBA[:3], 4: RGBA}
_LARGEST = 2**29  # bytes of the largest picture that is decoded


class PicturePlanes:
    """One picture as planes; it is small, so it is decoded whole whenever it is read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fingerprint = fingerprint(path)
        if not self._fingerprint[0]:
            raise ReadError(path, "it is empty (0 bytes); copy it again")
        properties = iio.improps(path, index=0, plugin="pillow")
        size = int(np.prod(properties.shape)) * np.dtype(properties.dtype).itemsize
        if size > _LARGEST:
            raise ReadError(
                path, f"it is a picture of {size:,} bytes, more than can be decoded at once; save it as a tiled TIFF or OME-Zarr"
            )
        # Decoded once, since the header does not have the shape that a palette or an EXIF orientation leads to.
        pixels = self._decoded()
        self.samples = pixels.shape[0]
        self.dtype = pixels.dtype
        self.block: tuple[int, int] = (pixels.shape[1], pixels.shape[2])
        self.shape = (1, self.samples, 1, *self.block)

    def plane(self, t: int, c: int, z: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return (samples, rows, columns)."""
        return self._decoded()[:, rows, columns]

    def _decoded(self) -> npt.NDArray[Any]:
        """Return the whole picture, (samples, rows, columns)."""
        check_unchanged(self.path, self._fingerprint)
        if _is_deep_colour_png(self.path):
            pixels = _deep_png(self.path)
        else:
            pixels = np.asarray(iio.imread(self.path, index=0, plugin="pillow", rotate=True))
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        return np.ascontiguousarray(np.moveaxis(pixels, 2, 0)).astype(pixels.dtype.newbyteorder("="), copy=False)


class PictureImages:
    """The one image of a picture file."""

    def __init__(self, path: str, files: ExitStack) -> None:
        self._path = path

    def scenes(self) -> list[str]:
        """Return the one name, ``0``."""
        return ["0"]

    def read(self, index: int, axes: str | None = None) -> Stack:
        """Return the picture, a channel for each colour.

        Raises `ReadError` if it is empty, too large to be decoded at once, or has more or fewer axes than the ones given.
        """
        planes = PicturePlanes(self._path)
        stack = Stack(lazy_array(planes), channels=_NAMES.get(planes.samples), source=self._path, rgb=planes.samples in (3, 4))
        stored = "YX" if planes.samples == 1 else "YXS"
        if axes is None or axes == stored:
            return stack
        pixels = stack.data[0, 0, 0] if planes.samples == 1 else stack.data[0, :, 0].transpose(1, 2, 0)
        check_count(axes, pixels.shape, self._path)
        check_samples(axes, stored, self._path)
        return named(stack, pixels, axes)


def _is_deep_colour_png(path: str) -> bool:
    """Return whether a file is a PNG with 16 bits per colour (bytes 24 and 25 are the bit depth and the colour type)."""
    with Path(path).open("rb") as file:
        head = file.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 26 and head[24] == 16 and head[25] in (2, 6)


def _deep_png(path: str) -> npt.NDArray[Any]:
    """Return the pixels (rows, columns, samples) of a PNG with 16 bits per colour."""
    codecs = require("imagecodecs", extra="formats", purpose="PNG with 16 bits per color", path=path)
    return np.asarray(codecs.png_decode(Path(path).read_bytes()))
