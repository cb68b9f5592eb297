"""Parse file names: which well, field, channel, z-plane and time point each of many files is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.instrument_names import KEYS, NameParts, match_instrument
from napari_virtual_paint.reading.name_words import match_words

_NAMES = ", ".join(f"{{{key}}}" for key in KEYS)

_ALIASES = {
    "site": "field",
    "fov": "field",
    "position": "field",
    "time": "t",
    "frame": "t",
    "plane": "z",
    "slice": "z",
    "c": "channel",
    "ch": "channel",
}
_WELL = r"[A-Za-z]{1,2}[ -]{0,3}\d{1,3}"
_FORMS = {
    # The strict form first, so that fields without a separator between them are split where a reader would split them.
    "well": rf"(?:{_WELL}|r\d+c\d+|.+?)",
    "field": r"(?:\d+|.+?)",
    "channel": r".+?",
    "z": r"(?:[-+]?\d+(?:\.\d+)?|.+?)",
    "t": r"(?:\d+|.+?)",
}

# Numbers after a letter or word, in any order: experiment_t03_z01_ch00, xy2c1, ...
_WORDS = "channel|ch|c|w|slice|plane|z|time|t|position|pos|field|xy|f|s"
_TOKEN = re.compile(rf"(?<![A-Za-z0-9])({_WORDS})[-_ ]?(\d+)(?![0-9A-Za-z])", re.IGNORECASE)
_JOINED = re.compile(rf"(?<![A-Za-z0-9])(?:(?:{_WORDS})\d+){{2,}}(?![0-9A-Za-z])", re.IGNORECASE)  # C001Z002 of an Olympus
_TOKENS = {
    **dict.fromkeys(("channel", "ch", "c", "w"), "channel"),
    **dict.fromkeys(("slice", "plane", "z"), "z"),
    **dict.fromkeys(("time", "t"), "t"),
    **dict.fromkeys(("position", "pos", "field", "xy", "f", "s"), "field"),
}


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern such as ``{well}_{field}_{channel}_{z}``.

    ``{}`` stands for text to ignore; a field that occurs twice must be the same text both times.

    Raises `ReadError` if the pattern has an unknown field, or none.
    """
    parts: list[str] = []
    seen: set[str] = set()
    for literal, field in re.findall(r"([^{}]*)(\{[^{}]*\})?", pattern):
        parts.append(re.escape(literal))
        if field == "{}":
            parts.append(".*?")
        elif field:
            key = field[1:-1].strip().lower()
            key = _ALIASES.get(key, key)
            if key not in KEYS:
                raise ReadError(f"pattern {pattern!r}", f"{field} is unknown; use {_NAMES} or {{}}")
            parts.append(f"(?P={key})" if key in seen else f"(?P<{key}>{_FORMS[key]})")
            seen.add(key)
    if not seen:
        raise ReadError(f"pattern {pattern!r}", f"it names nothing; use {_NAMES}")
    return re.compile("".join(parts))


def match_all(stems: Sequence[str], expression: re.Pattern[str]) -> list[NameParts | None]:
    """Return the parts of each name; None where it does not follow the pattern."""
    matches = [expression.fullmatch(stem) for stem in stems]
    return [None if match is None else {k: v for k, v in match.groupdict().items() if v is not None} for match in matches]


def guess(names: Sequence[str]) -> list[NameParts] | None:
    """Return the parts of each name by a pattern that all of them follow, or None where there is none.

    Parameters
    ----------
    names
        Names without suffix; with the folders below their common one, if they lie in several: ``A01/site1_DAPI``.
    """
    stems = [name.rpartition("/")[2] for name in names]
    by_tokens = None if any("/" in name for name in names) else _by_tokens(stems)
    return match_instrument(names) or by_tokens or match_words(names) or _by_tokens(stems) or _by_words(stems)


def _by_tokens(stems: Sequence[str]) -> list[NameParts] | None:
    """Return parts from numbers after letters, if the names are otherwise the same."""
    parts: list[NameParts] = []
    rests = set()
    for stem in (_JOINED.sub(_separated, stem) for stem in stems):
        found = [(_TOKENS[match[1].lower()], match[2]) for match in _TOKEN.finditer(stem)]
        if not found or len({key for key, _ in found}) < len(found):
            return None
        parts.append(dict(found))
        rests.add(_TOKEN.sub("#", stem))
    return parts if len(rests) == 1 else None


def _separated(joined: re.Match[str]) -> str:
    """Return tokens with underscores between them: C001_Z002."""
    return re.sub(r"(?<=\d)(?=[A-Za-z])", "_", joined[0])


def _by_words(stems: Sequence[str]) -> list[NameParts] | None:
    """Return each file as a channel, named by the word in which the names differ (``cell_dna``, ``cell_actin``)."""
    split = [re.split(r"[_\-. ]+", stem) for stem in stems]
    if len({len(words) for words in split}) != 1:
        return [{"channel": stem} for stem in stems] if len(stems) <= 16 and not any(re.search(r"\d", stem) for stem in stems) else None
    different = [column for column in zip(*split, strict=True) if len(set(column)) > 1]
    if len(different) != 1 or any(word.isdigit() for word in different[0]) or not all(word[0].isalpha() for word in different[0] if word):
        return None
    return [{"channel": word} for word in different[0]]


@lru_cache(maxsize=4096)
def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """Return a key that sorts z2 before z10 and -4 before 0."""
    if re.fullmatch(r"[-+]?\d+(\.\d+)?", text):
        return ((0, float(text), ""),)
    return tuple((0, float(part), "") if part.isdigit() else (1, 0.0, part.casefold()) for part in re.split(r"(\d+)", text) if part)
