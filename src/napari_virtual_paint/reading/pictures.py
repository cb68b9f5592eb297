"""PNG, JPEG and the like, through imageio; 16-bit colour PNG through imagecodecs, since imageio would cut it to 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.lazy import fingerprint, lazy_array, unchanged
from napari_virtual_paint.stack import Stack

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm")
_NAMES: dict[int, tuple[str, ...]] = {2: ("Grey", "Alpha"), 3: ("Red", "Green", "Blue"), 4: ("Red", "Green", "Blue", "Alpha")}
_LARGEST = 2**29


class _Picture:
    """One picture as planes; it is small, so each reading decodes it whole."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._was = fingerprint(path)
        properties = iio.improps(path, index=0, plugin="pillow")
        size = int(np.prod(properties.shape)) * np.dtype(properties.dtype).itemsize
        if size > _LARGEST:
            raise ReadError(
                path, f"it is a picture of {size:,} bytes, more than can be decoded at once; save it as a tiled TIFF or OME-Zarr"
            )
        # The header alone does not tell what a palette or an EXIF orientation makes of the picture, so it is decoded once.
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
        unchanged(self.path, self._was)
        if _is_deep_colour_png(self.path):
            pixels = _deep_png(self.path)
        else:
            pixels = np.asarray(iio.imread(self.path, index=0, plugin="pillow", rotate=True))
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        return np.ascontiguousarray(np.moveaxis(pixels, 2, 0)).astype(pixels.dtype.newbyteorder("="), copy=False)


def read_picture(path: str) -> Stack:
    """Return a PNG, JPEG or the like as a stack of its colours.

    Raises
    ------
    ReadError
        If it is empty or too large to be decoded at once.
    """
    if not Path(path).stat().st_size:
        raise ReadError(path, "it is empty (0 bytes); copy it again")
    picture = _Picture(path)
    return Stack(lazy_array(picture), channels=_NAMES.get(picture.samples), source=path, rgb=picture.samples in (3, 4))


def _is_deep_colour_png(path: str) -> bool:
    """Return whether a file is a PNG with 16 bits a colour (bit depth and colour type stand in bytes 24 and 25)."""
    with Path(path).open("rb") as file:
        head = file.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 26 and head[24] == 16 and head[25] in (2, 6)


def _deep_png(path: str) -> npt.NDArray[Any]:
    """Return a PNG of 16 bits a colour."""
    try:
        from imagecodecs import png_decode
    except ImportError as error:
        raise ReadError(path, "PNG with 16 bits a colour needs the package imagecodecs; install napari-virtual-paint[formats]") from error
    return np.asarray(png_decode(Path(path).read_bytes()))
