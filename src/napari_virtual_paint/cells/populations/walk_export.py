"""Write a walk to a file: GIF or MP4 as captioned images, TIFF with the intensities of every channel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.cells.populations.composite import Bytes, Limits, captioned, colours_of, composite
from napari_virtual_paint.cells.populations.population import Floats
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write

if TYPE_CHECKING:
    from napari_virtual_paint.cells.populations.walks import Walk

ENDINGS = (".gif", ".mp4", ".tif", ".tiff")
SIDE = 320  # least pixels per side of a film frame
HOLD = 3  # repetitions of the first and the last frame of a film


def walk_pictures(
    frames: Floats, captions: Sequence[str], channels: Sequence[str], limits: Limits, real: Floats | None = None
) -> list[Bytes]:
    """Return the frames of a walk as images, if wanted with real cells above the generated ones (Ji et al. 2024, Fig. 5).

    Parameters
    ----------
    frames
        (k, C, Y, X).
    captions
        The caption of each frame.
    channels
        Channel names, which give the colors.
    limits
        Contrast limits of each channel.
    real
        (k, C, Y, X), the real cell that is most like each step; None for the generated cells alone.

    Returns
    -------
    k times uint8 (Y, X, 3), at least 320 pixels wide, all of one size.
    """
    scale = max(1, -(-SIDE // frames.shape[-1]))
    colours = colours_of(channels)
    below = [captioned(composite(frame, limits, colours), caption, scale) for frame, caption in zip(frames, captions, strict=True)]
    if real is None:
        return below
    above = [_named(captioned(composite(frame, limits, colours), "", scale), "real") for frame in real]
    return [np.concatenate([top, _named(bottom, "generated")]) for top, bottom in zip(above, below, strict=True)]


def _named(picture: Bytes, name: str) -> Bytes:
    """Write a name into the corner of an image."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((6, 4), name, (230, 230, 230), ImageFont.load_default(14))
    return np.asarray(image)


def save_walk(
    path: str | Path,
    walk: Walk,
    frames: Floats,
    channels: Sequence[str],
    limits: Limits,
    *,
    real: Floats | None = None,
    pixel_size: float | None = None,
    rate: float = 4.0,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a walk: ``.gif`` and ``.mp4`` as captioned images, ``.tif`` or ``.ome.tif`` as float32 intensities, one time point per step.

    Parameters
    ----------
    path
        The suffix selects the format.
    walk
        Source of the captions.
    frames
        float32 (k, C, Y, X), the generated cells.
    channels
        Names of the C channels.
    limits
        Contrast limits of each channel (a TIFF keeps the intensities instead).
    pixel_size
        Micrometers, written to a TIFF.
    real
        (k, C, Y, X), real cells that a film shows above the generated ones.
    rate
        Frames per second of a film.
    provenance
        How the frames were made, such as the model and the seed; written to a TIFF and a GIF.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If the suffix is another one, or the package that writes MP4 is missing.
    WriteError
        If it can't be written; no partial file is left.
    """
    target = Path(path)
    ending = target.suffix.casefold()
    if ending not in ENDINGS:
        raise InputError(f"{target}: a walk is written as .gif, .mp4, .tif or .ome.tif; choose one of these endings.")
    if ending in (".tif", ".tiff"):
        data = np.ascontiguousarray(frames[:, :, None], np.float32)
        size = PixelSize(None, pixel_size, pixel_size)
        return write(Stack(data, tuple(channels), size, provenance=dict(provenance or {})), target, overwrite=overwrite)
    pictures = walk_pictures(frames, walk.captions, channels, limits, real)
    with replacing(target, overwrite=overwrite) as temporary:
        if ending == ".gif":
            _gif(temporary, pictures, rate, json.dumps(provenance) if provenance else "")
        else:
            _mp4(temporary, pictures, rate)
    return target


def _gif(path: Path, pictures: Sequence[Bytes], rate: float, comment: str) -> None:
    """Write an endless animation that pauses at its ends."""
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    durations = [round(1000 / rate)] * len(images)
    durations[0] = durations[-1] = HOLD * durations[0]
    images[0].save(path, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, comment=comment.encode())


def _mp4(path: Path, pictures: Sequence[Bytes], rate: float) -> None:
    """Write a film (H.264)."""
    imageio_ffmpeg = require("imageio_ffmpeg", extra="cells", purpose="Writing MP4")
    height, width = pictures[0].shape[:2]
    film = [pictures[0]] * (HOLD - 1) + list(pictures) + [pictures[-1]] * (HOLD - 1)
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=rate, quality=8, macro_block_size=2, output_params=["-f", "mp4"], ffmpeg_log_level="error"
    )
    try:
        writer.send(None)
        for picture in film:
            writer.send(np.ascontiguousarray(picture))
    finally:
        writer.close()
