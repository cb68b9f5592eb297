"""Convert lengths and times in the units of image files to micrometres and seconds."""

from __future__ import annotations

import math

_MICROMETRES = {
    "pm": 1e-6,
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "å": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "dm": 1e5,
    "decimeter": 1e5,
    "m": 1e6,
    "meter": 1e6,
    "in": 25400.0,
    "inch": 25400.0,
    "ft": 304800.0,
    "foot": 304800.0,
}

_SECONDS = {
    "ns": 1e-9,
    "nanosecond": 1e-9,
    "us": 1e-6,
    "microsecond": 1e-6,
    "ms": 1e-3,
    "millisecond": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
}


def micrometres(value: object, unit: str | None) -> float | None:
    """Return a length in micrometres; None if the value is no positive number or the unit no length (pixel, reference frame)."""
    return _convert(value, unit, _MICROMETRES)


def seconds(value: object, unit: str | None) -> float | None:
    """Return a time in seconds; None if the value is no positive number or the unit no time."""
    return _convert(value, unit, _SECONDS)


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
    if text not in _MICROMETRES and text not in _SECONDS and text.endswith("s"):
        text = text[:-1]
    return text
