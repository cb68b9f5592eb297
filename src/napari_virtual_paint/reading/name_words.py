"""Names that follow no instrument's pattern: a well among their words, numbers after letters, and words that differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from napari_virtual_paint.reading.instrument_names import PROJECTION, WELL, NameParts

TOKENS = {
    **dict.fromkeys(("channel", "ch", "chan", "c", "w", "wv", "wave", "wavelength", "d"), "channel"),
    **dict.fromkeys(("slice", "plane", "z", "zstep", "p"), "z"),
    **dict.fromkeys(("time", "timepoint", "t", "tp", "sk"), "t"),
    **dict.fromkeys(("quadrant", "quad", "q"), "quadrant"),
    **dict.fromkeys(("position", "pos", "field", "fld", "fov", "site", "series", "scene", "point", "xy", "f", "s"), "field"),
}
"""Word or letter before a number -> what the number is."""

_SPLIT = re.compile(r"[_\s()\[\]{},;.]+|-+")
_WELL = re.compile(rf"(?:well[ _-]?)?(?P<well>{WELL}|r\d+c\d+)", re.IGNORECASE)
_QUADRANT = re.compile(r"(?<![A-Za-z0-9])([A-Ha-h]\d{1,2})\.([a-d][1-4])(?![A-Za-z0-9])")
_PROJECTION = re.compile(r"(?:max|min|mean|avg|sum|z)?[ _-]?(?:ip|mip|proj(?:ected|ection)?s?)|maximum|edf|max|stdev", re.IGNORECASE)
_ONE_LETTER = set("cdfpstz")


@dataclass
class _Words:
    """The words of one name, sorted by what they may be."""

    well: str
    tokens: NameParts = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    projection: bool = False


@lru_cache(maxsize=4096)
def is_projection(text: str) -> bool:
    """Return whether a word (of a name, or in a column of z-planes) means a projection: MIP, MaxIP, proj, projection, EDF."""
    return text == PROJECTION or _PROJECTION.fullmatch(text.strip()) is not None


def match_words(names: Sequence[str]) -> list[NameParts] | None:
    """Return the parts of names that have a well among their words, or None.

    Parameters
    ----------
    names
        Names without suffix, with the folders below their common one: ``A01/site1_DAPI``. A well may be the name of a folder.
    """
    split = [_words_of(name) for name in names]
    column = _well_column(split)
    if column is None:
        return None
    for joined in (False, True):
        found = [each for words in split if (each := _sort(words, column, joined=joined)) is not None]
        if len(found) == len(names) and len({len(each.numbers) for each in found}) == 1:
            return _parts(found, names)
    return None


def _words_of(name: str) -> list[str]:
    """Return the words of a name; a folder that is a well stays one (``Well A01``)."""
    words: list[str] = []
    for part in name.split("/"):
        if match := re.fullmatch(rf"(?:[Ww]ell[ _-]?)?({WELL}|[A-Pa-p] - \d{{1,2}}|r\d+c\d+)", part):
            words.append(re.sub(r"[ -]+", "", match[1]))
            continue
        marked = _QUADRANT.sub(lambda match: f"{match[1]}\0{match[2]}", part)
        words += [word.replace("\0", ".") for word in _SPLIT.split(marked) if word]
    return words


def _well_column(split: Sequence[Sequence[str]]) -> int | None:
    """Return the position of the well among the words, counted from the left, or from the right if negative."""
    shortest = min(map(len, split), default=0)
    best: tuple[tuple[bool, bool, bool], int] | None = None
    for column in [*range(shortest), *(range(-1, -shortest - 1, -1) if len(set(map(len, split))) > 1 else ())]:
        matches = [_WELL.match(words[column]) for words in split]
        if not all(match is not None and _rest(words[column], match) is not None for match, words in zip(matches, split, strict=True)):
            continue
        texts = [match["well"] for match in matches if match is not None]
        letters = {text[0] for text in texts}
        if len(letters) == 1 and letters <= _ONE_LETTER and all(text[1:].isdigit() for text in texts):
            continue  # c1, z2: the number of a channel, a plane
        padded = all(re.match(r"[A-Za-z]{1,2}\d{2}|r\d", text) for text in texts)
        score = (padded, all(text[0].isupper() or text[0] == "r" for text in texts), len(set(texts)) > 1)
        if best is None or score > best[0]:
            best = (score, column)
    return None if best is None else best[1]


def _rest(word: str, match: re.Match[str]) -> NameParts | None:
    """Return the numbers after letters that follow a well in the same word (``A01f02d1``); None if something else follows."""
    rest = word[match.end() :]
    if not rest:
        return {}
    pairs = re.findall(r"([A-Za-z]+)(\d+)", rest)
    if "".join(letters + number for letters, number in pairs) != rest or any(letters.lower() not in TOKENS for letters, _ in pairs):
        return None
    return {TOKENS[letters.lower()]: number for letters, number in pairs}


def _sort(words: Sequence[str], column: int, *, joined: bool) -> _Words | None:
    """Sort the words of a name, with a number after a text as part of it (``Alexa 568``) or not; None if it has two numbers of one kind."""
    position = column % len(words)
    match = _WELL.match(words[position])
    rest = None if match is None else _rest(words[position], match)
    if match is None or rest is None:
        return None
    found = _Words(match["well"], dict(rest))
    skip = False
    previous = ""
    for i, (word, following) in enumerate(zip(words, [*words[1:], ""], strict=True)):
        before, previous = previous, "" if word.isdigit() or i == position else word
        if skip or i == position:
            skip = False
            continue
        token = re.fullmatch(r"([A-Za-z]+)(\d+)", word)
        pair = following if word.lower() in TOKENS and len(word) > 1 and following.isdigit() else ""
        key = TOKENS.get(word.lower() if pair else token[1].lower() if token else "")
        if key is not None:
            number = pair or (token[2] if token else "")
            if found.tokens.setdefault(key, number) != number:
                return None
            skip = bool(pair)
        elif word.isdigit() and joined and before and found.texts[-1:] == [before]:
            found.texts[-1] = f"{before} {word}"
        elif word.isdigit():
            found.numbers.append(word)
        elif is_projection(word):
            found.projection = True
        else:
            found.texts.append(word)
    return found


def _parts(found: Sequence[_Words], names: Sequence[str]) -> list[NameParts] | None:
    """Return the parts of names from their words: only as many of them as it takes to tell all images apart."""
    if len({frozenset(each.tokens.keys() - {"z", "t"}) for each in found}) > 1:
        return None
    parts: list[NameParts] = [{"well": each.well, **each.tokens} for each in found]
    for part in parts:
        if quadrant := part.pop("quadrant", ""):
            part["field"] = "_".join(filter(None, (quadrant, part.get("field", ""))))
    if len({each.projection for each in found}) > 1:
        for part, each in zip(parts, found, strict=True):
            if each.projection:
                part["z"] = PROJECTION
    texts = _differing(found)
    if "channel" not in parts[0] and len(set(texts)) > 1 and all(texts):
        for part, text in zip(parts, texts, strict=True):
            part["channel"] = text
    columns = [column for column in zip(*(each.numbers for each in found), strict=True) if len(set(column)) > 1]
    for column, key in zip(columns, (key for key in ("field", "z") if key not in parts[0]), strict=False):
        if _are_different(parts, names):
            break
        for part, number in zip(parts, column, strict=True):
            part[key] = number
    return parts if _are_different(parts, names) else None


def _differing(found: Sequence[_Words]) -> list[str]:
    """Return the words of each name in which the names differ, joined."""
    lists = [each.texts for each in found]
    if len(set(map(len, lists))) == 1:
        kept = [len(set(column)) > 1 for column in zip(*lists, strict=True)]
        return ["_".join(word for word, keep in zip(words, kept, strict=True) if keep) for words in lists]
    common = set(lists[0]).intersection(*lists[1:])
    return [" ".join(word for word in words if word not in common) for words in lists]


def _are_different(parts: Sequence[NameParts], names: Sequence[str]) -> bool:
    """Return whether no two images of one folder have the same parts."""
    return len({(name.rpartition("/")[0], *sorted(part.items())) for part, name in zip(parts, names, strict=True)}) == len(parts)
