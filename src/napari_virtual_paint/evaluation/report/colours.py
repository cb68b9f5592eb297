"""Colors of the report: a source keeps its color everywhere, and groups and scales are distinguishable for the color-blind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from napari_virtual_paint.evaluation.scale import TRUTH
from napari_virtual_paint.plates.view.palette import SCALE, mixed

INK, PAPER = "@ink", "@paper"  # colors defined by the page: of text, and of the background of figures, light or dark

GREY = "#767b85"
"""Color of the truth."""

SOURCES = ("#0f83c9", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colors of the predictions in turn (Okabe and Ito 2008; the blue is slightly lighter, to be visible on black and white)."""

SINGLE = "#7b93a8"
"""Color of ungrouped data."""

GROUPS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#8c8c8c")
"""Colors of other groups in turn (the "bright" scheme of Paul Tol); each cycle has another symbol."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star")
GLYPHS = ("●", "■", "◆", "▲", "✚", "✖", "▼", "★")  # the same symbols as letters, for legends

DIVERGING = ("#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b")[::-1]
"""From red (below 0) over white to blue, as in the matrices of Tonks 2024; distinguishable for nearly everyone."""


def of_sources(predictions: Iterable[str]) -> dict[str, str]:
    """Return the colors of the truth and of each prediction, in order."""
    found = {TRUTH: GREY}
    for place, name in enumerate(predictions):
        lap, index = divmod(place, len(SOURCES))
        colour = SOURCES[index]
        found[name] = colour if lap == 0 else mixed(colour, "#ffffff" if lap % 2 else "#000000", 0.4)
    return found


def of_groups(values: Iterable[Any], sources: Mapping[str, str]) -> dict[Any, tuple[str, int]]:
    """Return a color and a symbol number for each group, in order of appearance; sources keep their own color."""
    found: dict[Any, tuple[str, int]] = {}
    others = 0
    names = tuple(sources)
    for value in values:
        if value in found:
            continue
        if value == "":
            found[value] = (SINGLE, 0)
        elif isinstance(value, str) and value in sources:
            found[value] = (sources[value], names.index(value) % len(SYMBOLS))
        else:
            found[value] = (GROUPS[others % len(GROUPS)], (others // len(GROUPS)) % len(SYMBOLS))
            others += 1
    return found


def scale_for(low: float, high: float) -> tuple[float, float, tuple[str, ...]]:
    """Return the ends and the colors of a scale: symmetric about 0 where any value is negative, else from the lowest to the highest."""
    if low < 0:
        far = max(-low, high)
        return -far, far, DIVERGING
    return low, high if high > low else low + 1.0, SCALE


def steps(colours: tuple[str, ...]) -> list[list[Any]]:
    """Return a scale's colors as plotly takes them: position 0 to 1, color."""
    return [[place / (len(colours) - 1), colour] for place, colour in enumerate(colours)]


def colour_at(colours: tuple[str, ...], share: float) -> str:
    """Return the color at a position of a scale, 0 to 1."""
    place = min(1.0, max(0.0, share)) * (len(colours) - 1)
    first = min(int(place), len(colours) - 2)
    return mixed(colours[first], colours[first + 1], place - first)


def text_on(colour: str) -> str:
    """Return black or white, whichever has more contrast to a color (relative luminance of WCAG 2)."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"


def veil(colour: str, share: float) -> str:
    """Return a translucent color."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{share:g})"
