"""Convert lengths and times in the units of image files to micrometres and seconds."""

from __future__ import annotations

import math

_MICROMETRES = {
    "pm picometer": 1e-6,
    "angstrom å": 1e-4,
    "nm nanometer": 1e-3,
    "um micron micrometer mikrometer": 1.0,
    "mm millimeter": 1e3,
    "cm centimeter": 1e4,
    "dm decimeter": 1e5,
    "m meter": 1e6,
    "in inch inches": 25400.0,
    "ft foot feet": 304800.0,
}
_SECONDS = {
    "ns nanosecond": 1e-9,
    "us microsecond": 1e-6,
    "ms msec millisecond": 1e-3,
    "s sec second": 1.0,
    "min minute": 60.0,
    "h hr hour": 3600.0,
    "d day": 86400.0,
}
_LENGTHS, _TIMES = ({name: factor for names, factor in table.items() for name in names.split()} for table in (_MICROMETRES, _SECONDS))
"""Name of a unit -> micrometres, or seconds."""


def micrometres(value: object, unit: str | None) -> float | None:
    """Return a length in micrometres; None if the value is no positive number or the unit no length (pixel, reference frame)."""
    return _convert(value, unit, _LENGTHS)


def seconds(value: object, unit: str | None) -> float | None:
    """Return a time in seconds; None if the value is no positive number or the unit no time."""
    return _convert(value, unit, _TIMES)


def _convert(value: object, unit: str | None, factors: dict[str, float]) -> float | None:
    """Return a value times the factor of its unit, or None."""
    factor = factors.get(_normalized(unit))
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if factor is None or not math.isfinite(number) or number <= 0:
        return None
    return number * factor


def _normalized(unit: str | None) -> str:
    r"""Return the name of a unit in one spelling: ``µm``, ``μm`` and ImageJ's ``\u00B5m`` are all ``um``."""
    text = (unit or "").strip().replace("\\u00B5", "u").replace("\\u00b5", "u").replace("µ", "u").replace("μ", "u")
    text = text.casefold().replace("metre", "meter")
    if text not in _LENGTHS and text not in _TIMES and text.endswith("s"):
        text = text[:-1]
    return text
