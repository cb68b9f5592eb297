"""Colours of groups and of numbers on a scale, and the text of the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_virtual_paint.errors import InputError

CATEGORIES = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#0072b2", "#f0e442", "#d55e00", "#a6a6a6")
"""Colours of groups in order (Okabe and Ito 2008); further groups get them lighter, then darker."""

SCALE = ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838")
"""Cividis (Nuñez et al. 2018), low to high: it looks almost the same with red-green blindness."""

UNKNOWN = "#808080"
"""Colour of a well whose value is not known, which is also hatched."""

WIDE = 30.0  # A scale is logarithmic if its highest value is more than this many times its lowest positive one


@dataclass(frozen=True)
class ColourScale:
    """A sequential scale."""

    low: float
    high: float  # `low` and `high`: the values at its ends
    log: bool = False  # whether it is logarithmic; then `low` is the lowest positive value, and 0 lies at the lower end

    def share(self, value: float) -> float:
        """Return the place of a value on the scale, 0 to 1."""
        if self.high <= self.low:
            return 0.5
        if self.log:
            span = math.log(self.high) - math.log(self.low)
            return min(1.0, max(0.0, (math.log(max(value, self.low)) - math.log(self.low)) / span))
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def colour(self, value: float) -> str:
        """Return the colour of a value as ``#rrggbb``."""
        place = self.share(value) * (len(SCALE) - 1)
        first = min(int(place), len(SCALE) - 2)
        return mixed(SCALE[first], SCALE[first + 1], place - first)

    def ticks(self) -> tuple[float, ...]:
        """Return the values of the ticks of the colour bar, from low to high."""
        if self.high <= self.low:
            return (self.low,)
        if self.log:
            return (self.low, math.sqrt(self.low * self.high), self.high)
        return (self.low, (self.low + self.high) / 2, self.high)


def scale_of(values: Sequence[float]) -> ColourScale:
    """Return the scale of some values, logarithmic where none is negative and they span a wide range."""
    positive = [value for value in values if value > 0]
    log = bool(positive) and min(values) >= 0 and max(positive) / min(positive) > WIDE
    return ColourScale(min(positive) if log else min(values), max(values), log)


def figure(value: float) -> str:
    """Return a number with three significant digits: ``0.912``, ``12.5``, ``1.2e+06``."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
        return text
    return f"{value:.1e}"


def mixed(one: str, other: str, share: float) -> str:
    """Return a mixture of two colours."""
    pairs = zip(_rgb(one), _rgb(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def category_colour(index: int) -> str:
    """Return the colour of a group by its number; lighter, then darker, once all are used."""
    turn, place = divmod(index, len(CATEGORIES))
    colour = CATEGORIES[place]
    if turn % 3 == 0:
        return colour
    return mixed(colour, "#ffffff" if turn % 3 == 1 else "#000000", 0.5)


def _rgb(colour: str) -> tuple[int, int, int]:
    if len(colour) != 7 or not colour.startswith("#"):
        raise InputError(f"{colour!r} is no color of the form #rrggbb.")
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
