"""Parse channel names: the kind of light or stain, and the distance from focus."""

from __future__ import annotations

import re
from typing import NamedTuple

KINDS: dict[str, tuple[str, ...]] = {
    "brightfield": (
        "brightfield", "bright field", "bright", "bf", "brightfield wide", "transmitted", "transmitted light", "transmission", "trans",
        "tl", "tl brightfield", "tl bf", "dia", "tpmt", "t pmt", "ebf", "bf lp",
    ),
    "phase": ("phase", "phase contrast", "phasecontrast", "ph", "ph1", "ph2", "ph3", "pc", "tl phase", "phase1"),
    "dic": ("dic", "nomarski", "differential interference contrast", "tl dic"),
    "dna": ("dna", "nucleus", "nuclei", "hoechst", "hoechst 33342", "dapi"),
    "er": ("er", "endoplasmic reticulum", "concanavalin", "concanavalin a", "cona"),
    "rna": ("rna", "syto", "syto 14", "syto14"),
    "agp": ("agp", "actin", "phalloidin", "wga"),
    "mito": ("mito", "mitochondria", "mitotracker"),
}  # fmt: skip
"""Kind -> the words, in small letters, that microscopes and people write for it."""
ALIASES = {word: kind for kind, words in KINDS.items() for word in words}
OFFSET = re.compile(r"([+\-\u2212]?)\s*(\d+(?:\.\d+)?)\s*(?:um|\u00b5m|\u03bcm|microns?|micrometers?|micrometres?)\b")
PLANE = re.compile(r"\b(?:z|plane|slice|focus)[\s_\-]*(\d+)\b")
SIDE = re.compile(r"^(?P<before>low|high)\s*z\s*(?P<kind>.+)$|^(?P<same>.+?)\s*\b(?P<after>l|low|h|high)(?:\s*z)?$")
"""A plane below or above focus without a distance: JUMP's ``Brightfield_L`` and ``HighZBF``."""
UNSTAINED = ("brightfield", "phase", "dic")
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


def parse_name(name: str) -> ParsedName:
    """Parse a channel's name, such as ``Brightfield -4um`` -> brightfield, -4.0."""
    text = name.casefold().strip()
    offset = plane = None
    text = text.replace("_", " ")
    if (numbered := PLANE.search(text)) is not None:
        plane, text = int(numbered.group(1)), text[: numbered.start()] + " " + text[numbered.end() :]
    if (found := OFFSET.search(text)) is not None:
        offset = float(found.group(2)) * (-1.0 if found.group(1) in ("-", "\u2212") else 1.0)
        text = text[: found.start()] + " " + text[found.end() :]
    elif (focus := re.search(r"\b(?:in[\s_-]?focus|focus(?:ed)?)\b", text)) is not None:
        offset, text = 0.0, text[: focus.start()] + " " + text[focus.end() :]
    words = " ".join(re.sub(r"\W+", " ", text).split())
    words = re.sub(r"\b(?:z|at|plane)\b", "", words).strip() if offset is not None else words
    if offset is None and plane is None and (sided := SIDE.match(words)) is not None:
        kind = ALIASES.get(sided["kind"] or sided["same"])
        if kind in UNSTAINED:
            return ParsedName(kind, side=-1 if (sided["before"] or sided["after"]).startswith("l") else 1)
    return ParsedName(ALIASES.get(words, words), offset, plane)


def is_generic(name: str) -> bool:
    """Return whether a name is only a number (``channel 0``, ``C1``, ``ch00``, ``2``)."""
    return GENERIC.fullmatch(name.casefold().strip()) is not None
