"""How an image looks: colormap and blending by its stain's name, robust contrast limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

COLORMAPS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("dna", "dapi", "hoechst", "nucleus", "nuclei", "draq", "h2b", "sytox"), "blue"),
    (("er", "concanavalin", "cona", "sec61"), "green"),
    (("rna", "syto", "nucleoli", "nucleolus", "fibrillarin"), "yellow"),
    (("agp", "actin", "golgi", "phalloidin", "wga"), "bop orange"),
    (("mito", "mitochondria", "mitotracker", "tom20", "tomm20"), "magenta"),
    (("map2", "tuj1", "tubulin", "fitc", "gfp"), "green"),
    (("nfh", "rfp", "mcherry", "tritc"), "red"),
    (("membrane", "caax", "cell mask", "cellmask"), "cyan"),
)
"""Words in a stain's name -> napari's colormap; the first that fits wins."""

TRANSMITTED = ("brightfield", "bright field", "bf", "phase", "dic", "darkfield", "transmitted", "trans", "luminance", "tl")
"""Names of images that are no stain: shown in gray, not added to others."""

SPARE = ("cyan", "bop purple", "red", "gray", "yellow", "green")
"""Colormaps of stains whose name says nothing, in turn."""

PIXELS = 1_000_000
"""As many pixels as contrast limits are taken from."""


def words_of(name: str) -> list[str]:
    """Return the words of a name, lower case: ``"Mito_Tracker (pred)"`` -> ``["mito", "tracker", "pred"]``."""
    return "".join(char if char.isalnum() else " " for char in name.casefold()).split()


def is_transmitted(name: str) -> bool:
    """Whether a channel's name is that of a transmitted-light image (brightfield, phase, DIC)."""
    words = words_of(name)
    joined = " ".join(words)
    return any(word in words or (len(word) > 4 and word in joined) for word in TRANSMITTED)


def colormap_for(name: str, index: int = 0) -> str:
    """Return the colormap of a stain by its name: DNA blue, ER green, RNA yellow, AGP orange, Mito magenta, MAP2 green, NFH red.

    Parameters
    ----------
    name
        The stain or channel.
    index
        Its position among its fellows; chooses a spare colour if the name says nothing.
    """
    if is_transmitted(name):
        return "gray"
    words = words_of(name)
    for keys, colormap in COLORMAPS:
        if any(word == key or (len(key) >= 4 and word.startswith(key)) for word in words for key in keys):
            return colormap
    return SPARE[index % len(SPARE)]


def blending_for(name: str) -> str:
    """Return how a layer mixes with those below: stains add up, transmitted light covers."""
    return "translucent_no_depth" if is_transmitted(name) else "additive"


def opacity_for(count: int) -> float:
    """Return the opacity of stains that are shown together: more than three at full strength add up to white."""
    return 1.0 if count <= 3 else 0.5


def contrast_limits(pixels: npt.NDArray[Any], transmitted: bool = False) -> tuple[float, float] | None:
    """Return robust contrast limits, or None if the pixels give none (all the same or no number).

    Parameters
    ----------
    pixels
        An image of any shape; a regular sample of about a million pixels is looked at.
    transmitted
        Transmitted light spreads on both sides of its background (0.1 and 99.9 %); a stain rises from a dark one (20 and 99.7 %).
    """
    flat = pixels.reshape(-1)
    flat = flat[:: max(1, flat.size // PIXELS)]
    if flat.dtype.kind == "b":
        return 0.0, 1.0
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    if not flat.size:
        return None
    low, high = np.percentile(flat, (0.1, 99.9) if transmitted else (20.0, 99.7))
    if not high > low:
        low, high = float(flat.min()), float(flat.max())
    return (float(low), float(high)) if high > low else None
