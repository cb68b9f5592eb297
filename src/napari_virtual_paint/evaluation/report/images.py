"""Images of the report: reduced to screen size and embedded in the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError

SIDE = 448  # most pixels per side

COUNT = 60  # most images per figure

QUALITY = 78  # WebP quality: indistinguishable from lossless for images of cells, at a fifth of its size


@dataclass(frozen=True)
class EmbeddedPicture:
    """One image in the page."""

    label: str
    caption: str
    uri: str  # the image as a data URI
    width: int
    height: int  # `width` and `height`: pixels, as stored


def pictures(images: tuple[tuple[str, str, npt.NDArray[np.uint8]], ...]) -> Iterator[EmbeddedPicture]:
    """Yield the first images of a figure, ready for the page.

    Raises `InputError` if an array is not an image: uint8, axes YX or YXC with 3 or 4 channels.
    """
    for label, caption, array in images[:COUNT]:
        yield EmbeddedPicture(label, caption, *_webp(label, array))


def left_out(images: tuple[tuple[str, str, npt.NDArray[np.uint8]], ...]) -> str:
    """Return a note on images left out of the page; empty if none."""
    sentences = []
    if len(images) > COUNT:
        sentences.append(f"The first {COUNT} of {len(images)} pictures.")
    if any(max(array.shape[:2]) > SIDE for _, _, array in images[:COUNT]):
        sentences.append(f"Pictures are brought down to {SIDE} pixels per side.")
    return " ".join(sentences)


def _webp(label: str, array: npt.NDArray[np.uint8]) -> tuple[str, int, int]:
    """Return an array as a data URI, with its width and height."""
    from PIL import Image

    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise InputError(
            f"{label}: a picture of {array.dtype} and shape {array.shape} can't be shown; give uint8, YX or YXC with 3 or 4 colors."
        )
    picture = Image.fromarray(np.ascontiguousarray(array))
    if max(picture.size) > SIDE:
        share = SIDE / max(picture.size)
        picture = picture.resize((max(1, round(picture.width * share)), max(1, round(picture.height * share))), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii"), picture.width, picture.height
