"""Parse channel names: the kind of light or stain, and the distance from focus; find channels by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from napari_virtual_paint import stain_names
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import Synonyms, default_synonyms, numbered, split_painted

KINDS: dict[str, tuple[str, ...]] = {
    "brightfield": (
        "brightfield", "bright field", "bright", "bf", "brightfield wide", "transmitted", "transmitted light", "transmission", "trans",
        "tl", "tl brightfield", "tl bf", "dia", "tpmt", "t pmt", "ebf", "bf lp",
    ),
    "phase": ("phase", "phase contrast", "phasecontrast", "ph", "ph1", "ph2", "ph3", "pc", "tl phase", "phase1"),
    "dic": ("dic", "nomarski", "differential interference contrast", "tl dic"),
    **{stain.casefold(): words for stain, words in stain_names.STAINS.items()},
}  # fmt: skip
"""Kind -> the words, in small letters, that microscopes and people write for it."""
ALIASES = {word: kind for kind, words in KINDS.items() for word in words}
OFFSET = re.compile(r"([+\-\u2212]?)\s*(\d+(?:\.\d+)?)\s*(?:um|\u00b5m|\u03bcm|microns?|micrometers?|micrometres?)\b")
PLANE = re.compile(r"\b(?:z|plane|slice|focus)[\s_\-]*(\d+)\b")
SIDE = re.compile(r"^(?P<before>low|high)\s*z\s*(?P<kind>.+)$|^(?P<same>.+?)\s*\b(?P<after>l|low|h|high)(?:\s*z)?$")
"""A plane below or above focus without a distance: JUMP's ``Brightfield_L`` and ``HighZBF``."""
UNSTAINED = ("brightfield", "phase", "dic")
DYES = frozenset(
    {
        *("fitc", "gfp", "egfp", "yfp", "eyfp", "cfp", "bfp", "rfp", "tritc", "dsred", "mcherry", "tdtomato", "citrine"),
        *("cy2", "cy3", "cy5", "cy7", "texas", "rhodamine", "fluorescein", "alexa", "atto", "bodipy", "nile", "tubulin"),
        *("membrane", "cellmask", "map2", "nfh", "tuj1", "fluo", "fluorescence", "fluorescent", "confocal", "tirf"),
        *("gcamp", "calcein", "lysotracker", "405", "488", "555", "561", "568", "594", "633", "640", "647"),
    }
)
"""Words for fluorescence beside those of `stain_names.STAINS`: dyes, markers and laser lines in nm."""
CELL_CYCLE = ("g0", "g1", "g2", "s", "m", "cycle")  # words before ``phase`` that speak of the cell cycle, not of light
WAVELENGTH = re.compile(r"^(?:w|c|ch)\d+[\s\-]*(?=[a-z]{2})")  # number before a name: MetaMorph's ``w1DAPI``, ImageJ's ``C1-DAPI``
REPEATED = re.compile(r"\s\(\d+\)$")  # number behind a repeated name (`stain_names.numbered`)
GENERIC = re.compile(r"(?:c|ch|chan|channel|img|image|layer|series|w|wavelength)?[\s_:#\-.]*\d*(?:[\s_:#\-.]+\d+)*")


class ParsedName(NamedTuple):
    """A parsed channel name."""

    kind: str  # A key of `KINDS`, else the name's own words
    offset: float | None = None  # micrometres from focus; None where the name doesn't say
    plane: int | None = None  # number of the z-plane; None where the name doesn't say
    side: int = 0  # -1 and 1 for a plane that is said to lie below or above focus without saying how far, else 0

    @property
    def in_focus(self) -> bool:
        """Whether the name says focus, or nothing about it."""
        return not self.offset and self.plane is None and not self.side


def parse_name(name: str, synonyms: Synonyms | None = None) -> ParsedName:
    """Parse a channel's name, such as ``Brightfield -4um`` -> brightfield, -4.0, or ``Hoechst 33342`` -> dna.

    Parameters
    ----------
    synonyms
        The names of stains; `default_synonyms` where None.
    """
    parsed = _parse(name)
    if parsed.kind in UNSTAINED:
        return parsed
    known = synonyms or default_synonyms()
    stain = known.stain_of(name) or known.stain_of(parsed.kind)
    return parsed if stain is None else parsed._replace(kind=stain.casefold())


def _parse(name: str) -> ParsedName:
    """Parse a name without the names of stains."""
    text = split_painted(name)[0].casefold().strip()
    offset = plane = None
    text = REPEATED.sub("", text.replace("_", " "))
    if (counted := PLANE.search(text)) is not None:
        plane, text = int(counted.group(1)), text[: counted.start()] + " " + text[counted.end() :]
    if (found := OFFSET.search(text)) is not None:
        offset = float(found.group(2)) * (-1.0 if found.group(1) in ("-", "\u2212") else 1.0)
        text = text[: found.start()] + " " + text[found.end() :]
    elif (focus := re.search(r"\b(?:in[\s_-]?focus|focus(?:ed)?)\b", text)) is not None:
        offset, text = 0.0, text[: focus.start()] + " " + text[focus.end() :]
    words = " ".join(re.sub(r"\W+", " ", WAVELENGTH.sub("", text)).split())
    words = re.sub(r"\b(?:z|at|plane)\b", "", words).strip() if offset is not None else words
    if offset is None and plane is None and (sided := SIDE.match(words)) is not None:
        kind = ALIASES.get(sided["kind"] or sided["same"])
        if kind in UNSTAINED:
            return ParsedName(kind, side=-1 if (sided["before"] or sided["after"]).startswith("l") else 1)
    return ParsedName(ALIASES.get(words, words), offset, plane)


@lru_cache(maxsize=8192)
def light_of(name: str) -> str | None:
    """Return the light that a channel, layer or model is named for: one of `UNSTAINED`, or ``fluorescence``; None where the name is silent.

    Unlike `parse_name` it also finds the word among others, as in ``site3_w2Phase`` or ``well A1 DAPI``. Transmitted light wins: a name
    with both words is taken for the image to paint from.
    """
    name = split_painted(name)[0]
    kind = parse_name(name, Synonyms()).kind
    if kind in UNSTAINED:
        return kind
    if kind in KINDS:
        return "fluorescence"
    parts = [WAVELENGTH.sub("", part.casefold()) for part in re.split(r"[\W_]+", name) if part]
    words = [*dict.fromkeys([*parts, *(WAVELENGTH.sub("", word) for word in stain_names.words_of(name)), *map("".join, pairwise(parts))])]
    found = {ALIASES.get(word) for word in words}
    if any((one, other) in pairwise(parts) for one in CELL_CYCLE for other in ("phase", "phases")):
        found.discard("phase")
    if any("brightfield" in part for part in parts):
        found.add("brightfield")
    if (named := next((light for light in ("phase", "dic", "brightfield") if light in found), None)) is not None:
        return named
    return "fluorescence" if DYES.intersection(words) or stain_names.stains_named(word for word in words if len(word) > 3) else None


def is_generic(name: str) -> bool:
    """Return whether a name is only a number (``channel 0``, ``C1``, ``ch00``, ``2``)."""
    return GENERIC.fullmatch(name.casefold().strip()) is not None


def is_named(stack: Stack) -> bool:
    """Return whether the names of an image's channels say something: not where there are none, or they only count."""
    return stack.channels is not None and not all(is_generic(name) for name in stack.channels)


def find_names(wanted: Sequence[str], names: Sequence[str], synonyms: Synonyms | None = None) -> tuple[int | None, ...]:
    """Return for each wanted name its place among others; None where none, or more than one, fits.

    Names fit if they are equal (in any case), else if they mean the same stain or light at the same distance from focus. No place is
    taken twice; of repeated names the first fits the first.

    Parameters
    ----------
    synonyms
        The names of stains; `default_synonyms` where None.
    """
    ours, theirs = numbered(wanted), numbered(names)
    plain = [[name.casefold().strip() for name in side] for side in (ours, theirs)]
    parsed = [[parse_name(name, synonyms) for name in side] for side in (ours, theirs)]
    found: list[int | None] = [None] * len(ours)
    tests: tuple[Callable[[int, int], bool], ...] = (
        lambda i, j: plain[0][i] == plain[1][j],
        lambda i, j: parsed[0][i] == parsed[1][j],
        lambda i, j: parsed[0][i].kind == parsed[1][j].kind and parsed[0][i].in_focus and parsed[1][j].in_focus,
    )
    for test in tests:
        left = [i for i, place in enumerate(found) if place is None]
        free = [j for j in range(len(theirs)) if j not in found]
        fitting = {i: [j for j in free if test(i, j)] for i in left}
        for i, places in fitting.items():
            if len(places) == 1 and sum(places[0] in others for others in fitting.values()) == 1:
                found[i] = places[0]
    return tuple(found)


def differ(one: str, other: str, synonyms: Synonyms | None = None) -> bool:
    """Return whether two names are known to mean different stains or light: ``DNA`` and ``ER`` do, ``DNA`` and ``Cy5`` may be one."""
    synonyms = synonyms or default_synonyms()
    known = set(KINDS) | {stain.casefold() for stain in synonyms.own or ()}
    kinds = [parse_name(name, synonyms).kind for name in (one, other)]
    return kinds[0] != kinds[1] and known.issuperset(kinds)
