"""Well names: ``A1``, ``a01``, ``A - 01`` and ``r01c01`` are all the well ``A01``.

``A01.a1`` to ``A01.d4`` are the 16 wells of a plate of 1536 where one of 96 has A01, as Yokogawa writes them: ``B03.d4`` is ``H12``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from string import ascii_uppercase

from napari_virtual_paint.errors import InputError

FORMATS = {6: (2, 3), 12: (3, 4), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24), 1536: (32, 48)}
"""Number of wells -> rows and columns of common plates."""

LARGEST = (702, 999)  # most rows (up to ZZ) and columns of a plate; a name beyond is no well

_LETTERS = re.compile(r"\s*([A-Za-z]{1,2})[\s_-]*0*(\d{1,3})\s*")
_PART = re.compile(r"\s*([A-Ha-h])0*(1[0-2]|[1-9])\.([A-Da-d])([1-4])\s*")
_NUMBERS = re.compile(r"\s*r(\d{1,3})[\s_-]*c(\d{1,3})\s*", re.IGNORECASE)


def well_name(row: int, column: int) -> str:
    """Return the name of the well at a row and a column, both from 0: (0, 0) is ``A01``, (31, 47) is ``AF48``."""
    return f"{row_name(row)}{column + 1:02d}"


def row_name(row: int) -> str:
    """Return the letters of a row, from 0: A to Z, then AA, AB ..."""
    high, low = divmod(row, 26)
    return (ascii_uppercase[high - 1] if high else "") + ascii_uppercase[low]


def row_of(letters: str) -> int:
    """Return the row, from 0, of its letters."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + ascii_uppercase.index(letter) + 1
    return number - 1


@lru_cache(maxsize=8192)
def position(name: str) -> tuple[int, int]:
    """Return row and column, both from 0, of a well by its name.

    Raises `InputError` if it is no well.
    """
    if match := _NUMBERS.fullmatch(name):
        row, column = int(match[1]) - 1, int(match[2]) - 1
    elif match := _LETTERS.fullmatch(name):
        row, column = row_of(match[1]), int(match[2]) - 1
    elif match := _PART.fullmatch(name):
        row, column = 4 * row_of(match[1]) + row_of(match[3]), 4 * int(match[2]) - 4 + int(match[4]) - 1
    else:
        row = column = -1
    if not (0 <= row < LARGEST[0] and 0 <= column < LARGEST[1]):
        raise InputError(f"{name!r} is no well; wells are called A01, B12, AA03 or r01c01.")
    return row, column


def canonical(name: str) -> str:
    """Return the canonical name of a well: ``a1`` -> ``A01``.

    Raises `InputError` if it is no well.
    """
    return well_name(*position(name))


def numbered(number: int, highest: int) -> str:
    """Return the name of a well by its number from 1, row by row, on the smallest plate of 96 wells or more that has the highest number.

    Raises `InputError` if no plate has that many wells.
    """
    shape = next((shape for count, shape in FORMATS.items() if count >= max(96, highest)), None)
    if shape is None or number < 1:
        raise InputError(f"{number} is the number of no well; plates have up to {max(FORMATS)}.")
    return well_name(*divmod(number - 1, shape[1]))


def plate_shape(wells: Iterable[str]) -> tuple[int, int]:
    """Return rows and columns of the smallest common plate that has these wells, or of the rectangle that holds them."""
    positions = [position(name) for name in wells] or [(0, 0)]
    rows, columns = max(row for row, _ in positions) + 1, max(column for _, column in positions) + 1
    for shape in FORMATS.values():
        if rows <= shape[0] and columns <= shape[1]:
            return shape
    return rows, columns


def parse_wells(text: str, existing: Iterable[str]) -> tuple[str, ...]:
    """Return the wells of a list such as ``A1:B12,C3``: rectangles from corner to corner, and single wells.

    Parameters
    ----------
    text
        Wells and rectangles, separated by commas.
    existing
        The plate's wells; only these are returned.

    Raises
    ------
    InputError
        If a part of the list is no well, or the plate has none of it.
    """
    known = {canonical(name): None for name in existing}
    found: dict[str, None] = {}
    for part in (part.strip() for part in text.split(",")):
        ends = [position(end) for end in part.split(":")] if part else []
        if len(ends) not in (1, 2):
            raise InputError(f"{text!r} names no wells; give them as A1:B12,C3.")
        (top, bottom), (left, right) = (sorted(values) for values in zip(ends[0], ends[-1], strict=True))
        inside = [name for name in known if top <= position(name)[0] <= bottom and left <= position(name)[1] <= right]
        if not inside:
            raise InputError(f"The plate has no image in {part}; it has {len(known)} wells from {next(iter(known), '-')} on.")
        found.update(dict.fromkeys(inside))
    return tuple(name for name in known if name in found)
