"""Interpret the stored values of a TIFF: orientation, inversion, bit depth and colours.

Values of OME-TIFF, ImageJ, LSM and other microscopes' files, and of arrays saved by tifffile (which marks masks as white-is-zero,
whatever they mean), are taken as stored. A plain TIFF is a picture, so the tags of the TIFF 6.0 specification apply, as in any viewer:
it is turned upright (Orientation), bright is high (PhotometricInterpretation 0 is inverted), 2- and 4-bit grey is stretched to 8 bits,
and 8-bit colours premultiplied with alpha are divided by it (deeper ones stay as stored, since decoders disagree on them). Palette
values stay indices: microscopes store intensities with a look-up table that way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.stack import RGBA

JPEG = (6, 7, 33007, 34892)  # values of the Compression tag that mean JPEG
_ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""Value of the Orientation tag -> whether to transpose, then flip rows, then flip columns; 1 (and unknown values) is upright."""


@dataclass(frozen=True)
class Photometry:
    """How stored values become intensities."""

    bits: int = 8  # bits of a sample
    inverted: bool = False  # whether 0 is white
    stretched: bool = False  # whether 2- or 4-bit values are stretched to 8 bits
    premultiplied: bool = False  # whether the last sample is an alpha by which the others are multiplied
    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False  # `transpose`, `flip_rows` and `flip_columns`: how to turn the stored picture upright

    def swap(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the upright (height, width) of a stored one, or the stored of an upright one: a transposition is its own inverse."""
        return (size[1], size[0]) if self.transpose else size

    def stored_region(self, rows: slice, columns: slice, plane: tuple[int, ...]) -> tuple[slice, slice]:
        """Return the stored rows and columns of a region of the upright plane (height, width)."""
        if self.flip_rows:
            rows = slice(plane[0] - rows.stop, plane[0] - rows.start)
        if self.flip_columns:
            columns = slice(plane[1] - columns.stop, plane[1] - columns.start)
        return (columns, rows) if self.transpose else (rows, columns)

    def upright(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn stored pixels (samples, rows, columns) upright."""
        if self.transpose:
            pixels = pixels.swapaxes(1, 2)
        return pixels[:, :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def intensities(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the intensities of stored pixels (samples, rows, columns)."""
        if self.inverted:
            pixels = ~pixels if pixels.dtype.kind == "b" else np.asarray(2**self.bits - 1, pixels.dtype) - pixels
        if self.stretched:
            pixels = pixels * pixels.dtype.type(255 // (2**self.bits - 1))
        return _unpremultiply(pixels) if self.premultiplied else pixels


def photometry_of(page: Any, plain: bool, path: object) -> Photometry:
    """Return how a page's values become intensities.

    Parameters
    ----------
    page
        The first page of a series.
    plain
        Whether the file is by no known microscope or program.
    path
        The file that errors name.

    Raises
    ------
    ReadError
        If its colours can't be converted to intensities.
    """
    bits = page.bitspersample
    if not isinstance(bits, int):
        raise ReadError(path, f"its samples have different depths ({bits}), which can't be read; save it with one depth")
    photometric = int(page.photometric)
    if photometric == 6 and int(page.compression) not in JPEG:
        raise ReadError(path, "its colors are YCbCr without JPEG compression, which can't be read; save it as RGB")
    if not plain:
        return Photometry(bits=bits)
    orientation = page.tags.get(274)
    turn = _ORIENTATIONS.get(orientation.value if orientation is not None else 1, (False, False, False))
    unsigned = np.dtype(page.dtype).kind in "bu"
    grey = photometric in (0, 1) and int(page.samplesperpixel) == 1
    alpha = bool(page.extrasamples) and int(page.extrasamples[-1]) == 1 and photometric == 2 and page.samplesperpixel == 4 and bits == 8
    return Photometry(bits, grey and photometric == 0 and unsigned, grey and unsigned and bits in (2, 4), alpha and unsigned, *turn)


def _unpremultiply(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return colours (red, green, blue, alpha) divided by their alpha; where alpha is 0 they stay."""
    top = np.iinfo(pixels.dtype).max
    alpha = pixels[3].astype(np.float64)
    scale = np.divide(float(top), alpha, out=np.ones_like(alpha), where=alpha > 0)
    out = pixels.copy()
    out[:3] = np.minimum(np.floor(pixels[:3] * scale + 1e-9), top).astype(pixels.dtype)
    return out


def channel_names(page: Any) -> tuple[tuple[str, ...] | None, bool]:
    """Return the names of a pixel's samples, and whether they are the colours of one picture."""
    count, photometric = int(page.samplesperpixel), int(page.photometric)
    if photometric in (2, 6) and count in (3, 4):
        return RGBA[:count], True
    if photometric == 5 and count == 4:
        return ("Cyan", "Magenta", "Yellow", "Black"), False
    if photometric in (8, 9, 10) and count == 3:
        return ("L*", "a*", "b*"), False
    if photometric in (0, 1) and count == 2 and page.extrasamples and int(page.extrasamples[0]) in (1, 2):
        return ("Grey", "Alpha"), False
    return None, False
