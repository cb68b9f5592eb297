"""Composites of cells: channels overlaid in their stains' colors, with a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint import channel_colors
from napari_virtual_paint.channel_colors import RGB

Bytes = npt.NDArray[np.uint8]
Limits: TypeAlias = Sequence[tuple[float, float]]
Colour: TypeAlias = RGB

GRAY = channel_colors.GRAY.rgb
MOST_FULL = 3  # number of colored channels shown at full strength together


def colours_of(channels: Sequence[str]) -> list[Colour]:
    """Return a color for each channel by its name; see `channel_colors`."""
    return [channel_colors.channel_color(name, index).rgb for index, name in enumerate(channels)]


def scaled(crop: npt.NDArray[np.floating], limits: Limits) -> npt.NDArray[np.float32]:
    """Return a crop (C, Y, X) with 0 and 1 at the limits of each channel, unclipped: the display scale."""
    return np.stack(
        [(np.asarray(plane, np.float32) - low) / max(high - low, 1e-12) for plane, (low, high) in zip(crop, limits, strict=True)]
    )


def composite(crop: npt.NDArray[np.floating], limits: Limits, colours: Sequence[Colour], shown: Sequence[bool] | None = None) -> Bytes:
    """Overlay the channels of a cell, in grey levels (C, Y, X), at some contrast limits; see `overlay`."""
    return overlay(scaled(crop, limits), colours, shown)


def overlay(shares: npt.NDArray[np.floating], colours: Sequence[Colour], shown: Sequence[bool] | None = None) -> Bytes:
    """Overlay the channels of a cell on the display scale.

    Parameters
    ----------
    shares
        (C, Y, X); 0 is black, 1 full colour.
    colours
        Red, green and blue from 0 to 1 per channel. Colored channels add up; more than three at full strength would saturate to white,
        so each is halved then. Gray ones (transmitted light) shown with them lie below at half brightness.
    shown
        Which channels are shown; all where None.

    Returns
    -------
    uint8 (Y, X, 3).
    """
    on = [True] * len(shares) if shown is None else list(shown)
    coloured = sum(bool(use) and colour != GRAY for use, colour in zip(on, colours, strict=True))
    strength, below = (0.5 if coloured > MOST_FULL else 1.0), (0.5 if coloured else 1.0)
    out = np.zeros((*shares.shape[1:], 3), np.float32)
    for plane, colour, use in zip(shares, colours, on, strict=True):
        if use:
            out += np.clip(plane, 0.0, 1.0)[..., None] * (np.asarray(colour, np.float32) * (below if colour == GRAY else strength))
    return np.asarray(255.0 * np.clip(np.nan_to_num(out), 0.0, 1.0) + 0.5, np.uint8)


def difference(drawn: npt.NDArray[np.floating], real: npt.NDArray[np.floating], shown: Sequence[bool]) -> Bytes:
    """Show where a generated cell is brighter (orange) or darker (blue) than the real one, averaged over the shown channels.

    Parameters
    ----------
    drawn, real
        (C, Y, X) on the display scale; a difference of one half has the strongest colour.

    Returns
    -------
    uint8 (Y, X, 3), black where they are equal.
    """
    parts = [a - b for a, b, use in zip(drawn, real, shown, strict=True) if use]
    share = np.clip(2.0 * np.mean(parts, axis=0), -1.0, 1.0)[..., None] if parts else np.zeros((*drawn.shape[1:], 1), np.float32)
    brighter, darker = np.array((255.0, 140.0, 30.0)), np.array((40.0, 130.0, 255.0))
    return np.asarray(np.clip(share, 0, 1) * brighter + np.clip(-share, 0, 1) * darker + 0.5, np.uint8)


def limits_of(crops: npt.NDArray[np.floating]) -> list[tuple[float, float]]:
    """Return contrast limits of each channel of some crops (n, C, Y, X): the 1 and 99.8 percentiles of all their pixels."""
    found = []
    for plane in np.moveaxis(np.asarray(crops), 1, 0):
        low, high = np.nanpercentile(plane[:: max(1, len(plane) // 200)].astype(np.float32), (1.0, 99.8))
        found.append((float(low), float(high) if high > low else float(low) + 1.0))
    return found


def captioned(picture: Bytes, caption: str, scale: int = 1) -> Bytes:
    """Enlarge an image by an integer factor and write a caption below it.

    Parameters
    ----------
    picture
        uint8 (Y, X, 3).
    caption
        One line; nothing is added where it is empty. It is shrunk to fit.
    scale
        Repetitions of each pixel along each axis.

    Returns
    -------
    uint8; both sides are even, as video codecs need.
    """
    from PIL import Image, ImageDraw, ImageFont

    big = np.repeat(np.repeat(picture, scale, axis=0), scale, axis=1)
    height, width = big.shape[:2]
    band = 22 if caption else 0
    out = np.zeros((height + band + (height + band) % 2, width + width % 2, 3), np.uint8)
    out[:height, :width] = big
    if not caption:
        return out
    image = Image.fromarray(out)
    draw = ImageDraw.Draw(image)
    size = 14
    while size > 7 and draw.textlength(caption, ImageFont.load_default(size)) > width - 6:
        size -= 1
    draw.text((width // 2, height + band // 2), caption, (230, 230, 230), ImageFont.load_default(size), anchor="mm")
    return np.asarray(image)
