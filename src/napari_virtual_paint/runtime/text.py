"""Durations, sizes, errors and tables as text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from napari_virtual_paint.runtime.delimited_text import escape_formula

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters other than tabs and line ends, marks that turn the direction of text, and halves of characters."""


def duration(seconds: float) -> str:
    """Return a duration to the second, as ``40 s``, ``9 min 20 s`` or ``3 h 24 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def elapsed(seconds: float) -> str:
    """Return a measured duration, as ``0.4 s``, ``40 s`` or ``9 min 20 s``."""
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def rough_duration(seconds: float) -> str:
    """Return an estimated duration, as ``40 s``, ``9 min``, ``3 h 20 min`` or ``4 days``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 36 * 60:
        return f"{minutes // 60} h {minutes % 60 // 10 * 10} min"
    return f"{round(minutes / 60 / 24)} days"


def byte_size(count: float) -> str:
    """Return a number of bytes, as ``850 MiB`` or ``1.2 GiB``."""
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def counted(number: int, noun: str) -> str:
    """Return a number of things, as ``1 field`` or ``3 fields``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def one_line(error: BaseException, limit: int = 160) -> str:
    """Return what an error says, short enough to be part of a sentence."""
    text = " ".join((str(error) or type(error).__name__).split()).rstrip(".")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def printable(text: str) -> str:
    """Return text that commands no terminal: a control character becomes its number, as ``<1b>``."""
    return _UNPRINTABLE.sub(lambda found: f"<{ord(found[0]):02x}>", text)


def printable_json(text: str) -> str:
    """Return JSON text with control characters as JSON writes them."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def notes_of_files(found: Iterable[tuple[str, str]], most: int = 8) -> list[str]:
    """Return each distinct note once, with the first file that has it and the number of the others.

    Parameters
    ----------
    found
        Files and their notes, a sentence each.
    most
        Notes to return; of further ones only their number.
    """
    files: dict[str, dict[str, None]] = {}
    for file, note in found:
        files.setdefault(note, {})[file] = None
    lines = []
    for note, own in list(files.items())[:most]:
        others = f" and {counted(len(own) - 1, 'other file')}" if len(own) > 1 else ""
        lines.append(f"{next(iter(own))}{others}: {note}")
    left = len(files) - len(lines)
    return [*lines, f"And {counted(left, 'further note')} of files."] if left else lines


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], lineterminator: str = "\n", *, for_people: bool = False) -> str:
    """Return rows as CSV with a header; values that a row lacks are empty, other keys are left out.

    With `for_people`, text that a spreadsheet would compute is escaped (`escape_formula`).
    """
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator=lineterminator)
    table.writeheader()
    table.writerows({name: escape_formula(value) for name, value in row.items()} if for_people else row for row in rows)
    return text.getvalue()
