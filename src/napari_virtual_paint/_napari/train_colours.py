"""Colours of stains in the Train dock: those of their layers, mended where they would be hard to see on a dock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_virtual_paint._napari.shared.appearance import colormap_for

COLOURS: dict[str, tuple[int, int, int]] = {
    "blue": (77, 140, 255),
    "green": (60, 180, 80),
    "yellow": (205, 175, 20),
    "bop orange": (250, 140, 40),
    "magenta": (225, 75, 215),
    "red": (235, 85, 75),
    "cyan": (30, 185, 200),
    "bop purple": (165, 110, 250),
    "gray": (150, 150, 150),
}
"""napari's colormap -> red, green, blue of a line, to be seen on dark and on light."""


def colours(names: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return a colour for each stain; two of one colour become a lighter and a darker one."""
    found: list[tuple[int, int, int]] = []
    for index, name in enumerate(names):
        colour = COLOURS.get(colormap_for(name, index), (150, 150, 150))
        while colour in found:
            colour = tuple(round(0.65 * part + 0.35 * 128) for part in colour)  # type: ignore[assignment]
            if len(found) > len(COLOURS):
                break
        found.append(colour)
    return found


def tint(pixels: npt.NDArray[np.float32], limits: tuple[float, float], name: str) -> npt.NDArray[np.uint8]:
    """Return a plane (Y, X) as a picture (Y, X, 4), 8-bit blue, green, red, opaque: from black to its colour, light grey for no stain."""
    low, high = limits
    share = np.clip((pixels - low) / max(high - low, 1e-9), 0, 1)
    colour = colormap_for(name)
    full = np.array((255, 255, 255) if colour == "gray" else COLOURS[colour], np.float32)
    full = full * (255 / full.max())
    out = np.full((*pixels.shape, 4), 255, np.uint8)
    out[..., :3] = (share[..., None] * full[::-1]).astype(np.uint8)
    return out
