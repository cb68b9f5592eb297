"""Doses as people write them (``10 uM``, ``0,25``, ``1e-3 M``, ``5 µg/ml``, ``DMSO``), as numbers in one unit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

UNTREATED = frozenset(
    ("control", "dmso", "untreated", "vehicle", "mock", "none", "negative", "negcon", "water", "pbs", "media", "medium", "buffer")
)
"""Names of treatments that mean untreated; as a dose they mean 0."""

_SHOWN = 3  # wells in a note
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")  # 1,000: a thousand, or one with three decimals
_POWER = re.compile(r"[-+]?(?:\d+(?:[.,]\d+)?\s*[x*\u00d7]\s*)?10\s*\^\s*[-+]?\d+")
_PREFIX = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0}
_MOLAR = re.compile(r"(?P<prefix>[fpnum]?)(?:m|mol/l|mol l-1|molar)", re.IGNORECASE)
_MASS = re.compile(r"(?P<prefix>[fpnum]?)g\s*/\s*(?P<volume>[um]?)l", re.IGNORECASE)


@dataclass(frozen=True)
class Dose:
    """A dose: its number, and its unit as a kind and a factor to the kind's base."""

    number: float
    unit: str = ""  # as written; empty for a bare number
    kind: str = ""  # ``molar``, ``mass`` (per volume), ``percent``; empty for a bare number
    factor: float = 1.0  # of the unit, in mol/l or g/l


def parse_number(text: str) -> float | None:
    """Return a number with a decimal point or comma, None if a text is none; ``1,000`` may mean either and is none."""
    text = text.strip()
    if re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3})+\.\d+", text):
        return float(text.replace(",", ""))
    if re.fullmatch(r"[-+]?\d{1,3}(?:\.\d{3})+,\d+", text):
        return float(text.replace(".", "").replace(",", "."))
    if _THOUSANDS.fullmatch(text) or not _NUMBER.fullmatch(text):
        return None
    return float(text.replace(",", "."))


def parse_dose(text: str) -> Dose | None:
    """Return a dose; None if a text is none, 0 if it names an untreated well."""
    text = " ".join(text.replace("\u00b5", "u").replace("\u03bc", "u").replace("\u2212", "-").split())
    if text.casefold() in UNTREATED:
        return Dose(0.0)
    match = _POWER.match(text) or _NUMBER.match(text)
    if match is None:
        return None
    number, rest = _power(match[0]) if "^" in match[0] else parse_number(match[0]), text[match.end() :].strip(" ()[]")
    if number is None:
        return None
    unit = _unit(rest)
    return None if unit is None else Dose(number, rest, *unit)


def _power(text: str) -> float:
    """Return the number of ``10^-3`` or ``2 x 10^-3``."""
    front, _, exponent = re.sub(r"\s", "", text).partition("^")
    factor = re.sub(r"[x*\u00d7]?10$", "", front).replace(",", ".")
    return float(f"{factor if factor not in ('', '+', '-') else factor + '1'}e{exponent}")


def _unit(text: str) -> tuple[str, float] | None:
    """Return kind and factor of a unit; None if it is none."""
    if not text:
        return "", 1.0
    if match := _MOLAR.fullmatch(text):
        # A lone m is no unit of doses; uM, um and UM are the same one.
        return None if text == "m" else ("molar", _PREFIX[match["prefix"].casefold()])
    if match := _MASS.fullmatch(re.sub(r"^mcg", "ug", text, flags=re.IGNORECASE)):
        return "mass", _PREFIX[match["prefix"].casefold()] / _PREFIX[match["volume"].casefold()]
    return ("percent", 1.0) if re.fullmatch(r"%(?: ?\(?[vw]/[vw]\)?)?|percent", text) else None


def read_doses(values: Mapping[str, Any], column: str) -> tuple[dict[str, float] | None, str]:
    """Return the doses of wells as numbers in one unit, and a note on how they were read.

    Parameters
    ----------
    values
        Well -> its dose, text or a number.
    column
        Name of the column, for the note.

    Returns
    -------
    dict or None
        Well -> number, in the unit that most wells have; None if a dose is no number, or they have units that can't be compared.
    str
        What was done, or why they are no numbers; empty if all were plain numbers.
    """
    doses: dict[str, Dose] = {}
    faulty = []
    for well, value in values.items():
        dose = Dose(float(value)) if isinstance(value, Real) else parse_dose(str(value))
        if dose is None:
            faulty.append(f"{value!r} in {well}")
        else:
            doses[well] = dose
    if faulty:
        shown = ", ".join(faulty[:_SHOWN]) + (", ..." if len(faulty) > _SHOWN else "")
        return None, f"{column} has {len(faulty)} doses that are no numbers ({shown}), so it counts as text and no dose is known."
    units = Counter(dose.unit for dose in doses.values() if dose.kind)
    bare = [well for well, dose in doses.items() if not dose.kind and dose.number]
    kinds = {dose.kind for dose in doses.values() if dose.kind}
    if len(kinds) > 1 or (kinds and bare):
        mixed = f"{bare[0]} has none" if bare else " and ".join(sorted(units)[:2])
        return (
            None,
            f"{column} has doses in units that can't be compared ({mixed}), so it counts as text; give all of them one kind of unit.",
        )
    words = sorted({str(value).strip() for value in values.values() if str(value).strip().casefold() in UNTREATED})
    zero = f"{column}: {', '.join(words)} counts as a dose of 0." if words else ""
    if not units:
        return {well: dose.number for well, dose in doses.items()}, zero
    unit = units.most_common(1)[0][0]
    well, base = next((well, dose.factor) for well, dose in doses.items() if dose.unit == unit)
    found = {well: float(f"{dose.number * (dose.factor / base if dose.kind else 1.0):.12g}") for well, dose in doses.items()}
    return found, " ".join(filter(None, (f"{column} is read as numbers in {unit} (from text such as {str(values[well])!r}).", zero)))
