"""The colours of stains and channels, by name: for layers, OME-Zarr files, pictures of cells and curves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from napari_virtual_paint import stain_names

RGB: TypeAlias = tuple[float, float, float]


class Look(NamedTuple):
    """How a stain is shown among others whose colors add to its own."""

    opacity: float = 1.0  # share of the full color
    gamma: float = 1.0  # above 1, dim parts are shown darker


ALONE = Look()
MOST_FULL = 3  # stains that are shown at full strength together; the sum of more is white


class ChannelColor(NamedTuple):
    """One colour in the forms that its users need."""

    colormap: str  # name of napari's colormap
    rgb: RGB  # red, green and blue on black, 0 to 1
    hex: str  # for the ``omero`` metadata of OME-Zarr
    line: tuple[int, int, int]  # red, green and blue of a line that is seen on dark and on light ground, 0 to 255
    together: Look  # among more than `MOST_FULL` stains


# Together: the brighter a color is to the eye, and the more of a cell its stain fills, the less of it. Compared on a real Cell Painting
# field and on sparse and dense simulated ones (`scripts/composite_table.py`).
BLUE = ChannelColor("blue", (0.12, 0.35, 1.0), "0000FF", (77, 140, 255), Look(0.8, 1.0))
GREEN = ChannelColor("green", (0.0, 0.85, 0.15), "00FF00", (60, 180, 80), Look(0.4, 1.2))
YELLOW = ChannelColor("yellow", (0.95, 0.9, 0.0), "FFFF00", (205, 175, 20), Look(0.3, 1.6))
ORANGE = ChannelColor("bop orange", (1.0, 0.45, 0.1), "FF8000", (250, 140, 40), Look(0.4, 1.0))
MAGENTA = ChannelColor("magenta", (1.0, 0.0, 0.85), "FF00FF", (225, 75, 215), Look(0.55, 1.3))
RED = ChannelColor("red", (1.0, 0.1, 0.1), "FF0000", (235, 85, 75), Look(0.55, 1.2))
CYAN = ChannelColor("cyan", (0.0, 0.85, 0.85), "00FFFF", (30, 185, 200), Look(0.4, 1.2))
PURPLE = ChannelColor("bop purple", (0.7, 0.4, 1.0), "B266FF", (165, 110, 250), Look(0.5, 1.2))
GRAY = ChannelColor("gray", (1.0, 1.0, 1.0), "FFFFFF", (150, 150, 150), Look(0.3, 1.2))

STAIN_COLORS: dict[str, ChannelColor] = {"DNA": BLUE, "ER": GREEN, "RNA": YELLOW, "AGP": ORANGE, "Mito": MAGENTA}
"""Stain of `stain_names.STAINS` -> its color."""
WORDS: tuple[tuple[tuple[str, ...], ChannelColor], ...] = (
    *((stain_names.STAINS[stain], color) for stain, color in STAIN_COLORS.items()),
    (("bfp", "405"), BLUE),
    (("map", "map2", "tuj1", "tubulin", "fitc", "gfp", "cy2", "488"), GREEN),
    (("nfh", "rfp", "mcherry", "tritc", "cy3", "texas", "555", "561", "568", "594"), RED),
    (("cy5", "633", "640", "647"), MAGENTA),
    (("membrane", "caax", "cellmask"), CYAN),
)
"""Words in a channel's name -> color: those of the stains, then other markers, dyes and laser lines in nm. The first row that fits wins."""
SPARE = (CYAN, PURPLE, RED, GRAY, YELLOW, GREEN)  # colours of channels whose name says nothing, in turn
TRANSMITTED = ("brightfield", "bright field", "bf", "phase", "dic", "darkfield", "transmitted", "trans", "luminance", "tl")
"""Names of images that are no stain: gray, and not added to others."""


@lru_cache(maxsize=8192)
def is_transmitted(name: str) -> bool:
    """Return whether a channel's name is that of a transmitted-light image (brightfield, phase, DIC)."""
    words = _words(name)
    joined = " ".join(words)
    return any(word in words or (len(word) > 4 and word in joined) for word in TRANSMITTED)


def channel_color(name: str, index: int = 0) -> ChannelColor:
    """Return the color of a channel: gray for transmitted light, that of its stain or dye, else a spare one.

    Parameters
    ----------
    name
        The stain or channel.
    index
        Its position among the channels; chooses a spare colour if the name says nothing.
    """
    if is_transmitted(name):
        return GRAY
    words = _words(name)
    for keys, color in WORDS:
        if any(word == key or (len(key) >= 4 and word.startswith(key)) for word in words for key in keys):
            return color
    return SPARE[index % len(SPARE)]


def looks_together(names: Sequence[str]) -> list[Look]:
    """Return how each of some channels is shown when all of them are.

    Up to three stains are shown as they are; of more, each is dimmed by its color so that their sum stays readable. Images in transmitted
    light are always shown as they are.
    """
    if sum(not is_transmitted(name) for name in names) <= MOST_FULL:
        return [ALONE] * len(names)
    return [ALONE if is_transmitted(name) else channel_color(name, index).together for index, name in enumerate(names)]


def _words(name: str) -> list[str]:
    """Return the words of a name without its model, lower case: ``"Mito_Tracker (pred)"`` -> ``["mito", "tracker", "pred"]``."""
    return "".join(char if char.isalnum() else " " for char in stain_names.split_painted(name)[0].casefold()).split()
