"""What the stored values of a TIFF mean: which way up, which end is white, and which colours.

The values of OME-TIFF, ImageJ, LSM and other microscopes' files, and of arrays that Python saved by tifffile (which marks masks as
white-is-zero, whatever they mean), are taken as they are stored. A plain TIFF is a picture, so the tags of the TIFF 6.0 specification
apply, as in any viewer: turned upright (Orientation), bright is high (PhotometricInterpretation 0 is inverted), 2- and 4-bit grey is
stretched to 8 bits, and 8-bit colours premultiplied with alpha are divided by it (deeper ones stay as stored, since decoders don't
agree on them). Values of a palette stay indices: microscopes store intensities with a look-up table that way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ReadError

_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""Orientation tag: transpose, then flip rows, then flip columns."""


@dataclass(frozen=True)
class Photometry:
    """How stored values become intensities.

    Parameters
    ----------
    bits
        Bits of a sample.
    inverted
        Whether 0 is white.
    stretched
        Whether 2- or 4-bit values are spread over 8 bits.
    premultiplied
        Whether the last sample is an alpha that the others are multiplied with.
    transpose, flip_rows, flip_columns
        How the stored picture is turned upright.
    """

    bits: int = 8
    inverted: bool = False
    stretched: bool = False
    premultiplied: bool = False
    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def turned(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) after turning, or before: a transposition is its own inverse."""
        return (size[1], size[0]) if self.transpose else size

    def stored(self, rows: slice, columns: slice, plane: tuple[int, ...]) -> tuple[slice, slice]:
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


def look_of(page: Any, plain: bool, path: object) -> Photometry:
    """Return how a page's values are to be taken; ``plain`` is a TIFF of no known microscope or program.

    Raises
    ------
    ReadError
        For colours that can't be brought to intensities.
    """
    bits = page.bitspersample
    if not isinstance(bits, int):
        raise ReadError(path, f"its samples have different depths ({bits}), which can't be read; save it with one depth")
    photometric = int(page.photometric)
    if photometric == 6 and int(page.compression) not in (6, 7, 33007, 34892):
        raise ReadError(path, "its colours are YCbCr without JPEG compression, which can't be read; save it as RGB")
    if not plain:
        return Photometry(bits=bits)
    orientation = page.tags.get(274)
    turn = _TURNS.get(orientation.value if orientation is not None else 1, (False, False, False))
    unsigned = np.dtype(page.dtype).kind in "bu"
    grey = photometric in (0, 1) and int(page.samplesperpixel) == 1
    alpha = bool(page.extrasamples) and int(page.extrasamples[-1]) == 1 and photometric == 2 and page.samplesperpixel == 4 and bits == 8
    return Photometry(bits, grey and photometric == 0 and unsigned, grey and unsigned and bits in (2, 4), alpha and unsigned, *turn)


def intensities(pixels: npt.NDArray[Any], look: Photometry) -> npt.NDArray[Any]:
    """Return the intensities of stored pixels (samples, rows, columns)."""
    if look.inverted:
        pixels = ~pixels if pixels.dtype.kind == "b" else np.asarray(2**look.bits - 1, pixels.dtype) - pixels
    if look.stretched:
        pixels = pixels * pixels.dtype.type(255 // (2**look.bits - 1))
    if look.premultiplied:
        pixels = _divided(pixels)
    return pixels


def _divided(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return colours (red, green, blue, alpha) that alpha no longer dims; where alpha is 0 they stay."""
    top = np.iinfo(pixels.dtype).max
    alpha = pixels[3].astype(np.float64)
    scale = np.divide(float(top), alpha, out=np.ones_like(alpha), where=alpha > 0)
    out = pixels.copy()
    out[:3] = np.minimum(np.floor(pixels[:3] * scale + 1e-9), top).astype(pixels.dtype)
    return out


def channel_names(page: Any) -> tuple[tuple[str, ...] | None, bool]:
    """Return the names of the samples of a pixel, and whether they are the colours of one picture."""
    count, photometric = int(page.samplesperpixel), int(page.photometric)
    if photometric in (2, 6) and count in (3, 4):
        return ("Red", "Green", "Blue", "Alpha")[:count], True
    if photometric == 5 and count == 4:
        return ("Cyan", "Magenta", "Yellow", "Black"), False
    if photometric in (8, 9, 10) and count == 3:
        return ("L*", "a*", "b*"), False
    if photometric in (0, 1) and count == 2 and page.extrasamples and int(page.extrasamples[0]) in (1, 2):
        return ("Grey", "Alpha"), False
    return None, False
