"""The names of stains: which words mean one and the same stain, a table that the user can add to; repeated names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import InputError

STAINS: dict[str, tuple[str, ...]] = {
    "DNA": ("dna", "dapi", "hoechst", "nuc", "nucleus", "nuclei", "nuclear", "draq", "h2b", "sytox"),
    "ER": ("er", "con", "concanavalin", "cona", "sec61", "endoplasmic", "reticulum"),
    "RNA": ("rna", "syto", "nucleoli", "nucleolus", "fibrillarin"),
    "AGP": ("agp", "actin", "golgi", "phalloidin", "wga", "wheat", "germ", "agglutinin"),
    "Mito": ("mito", "mitochondria", "mitotracker", "tom20", "tomm20"),
}
"""Stain -> the words that mean it, in small letters (the dyes of Cell Painting, Bray et al. 2016, and the markers of the same structures).
Channels pair by it where their names differ, and layers get their colors by it."""

VARIABLE = "VIRTUAL_PAINT_SYNONYMS"  # environment variable with the file of the user's own names

_BESIDE = frozenset(
    {
        *("alexa", "fluor", "fluorescent", "dye", "stain", "stained", "staining", "label", "channel", "ch", "tracker", "a", "c", "w", "fm"),
        *("deep", "far", "red", "green", "orange", "blue", "orig", "original"),
        *("pred", "predicted", "prediction", "painted", "virtual", "true", "truth", "real"),
    }
)
"""Words that stand beside a stain's and don't change which it is: dyes' colors, and whether it is painted."""
_NUMBER = re.compile(r"\d+[a-z]?|(?:c|ch|w|af|cf|channel|alexa|ex|em)\d+|\d+nm")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PAINTED = re.compile(r"(?P<stain>.*\S) \((?:predicted|preview), (?P<model>.+)\)(?: \[\d+\])?")  # `painted_name`, and napari's counter
_LARGEST = 2**20  # bytes of a file of names


@dataclass(frozen=True)
class Synonyms:
    """Names of one and the same stain: the table `STAINS`, and what the user adds to it."""

    own: Mapping[str, tuple[str, ...]] | None = None
    """Stain -> further names of it; they win over the table."""
    _names: Mapping[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        names: dict[str, str] = {}
        for stain, others in (self.own or {}).items():
            for name in (stain, *others):
                key = " ".join(words_of(name))
                if not key or names.setdefault(key, stain) != stain:
                    why = f"is given to {names[key]!r}, too" if key else "has no letter or digit"
                    raise InputError(f"synonyms: the name {name!r} of the stain {stain!r} {why}; give each name to one stain.")
        object.__setattr__(self, "own", {stain: tuple(others) for stain, others in (self.own or {}).items()})
        object.__setattr__(self, "_names", names)

    def stain_of(self, name: str) -> str | None:
        """Return the stain that a name means; None where it is no known one, or more than one.

        ``Hoechst 33342``, ``MitoTracker Deep Red`` and ``WGA-AF555`` mean DNA, Mito and AGP; ``nuclear envelope`` means none of them.
        """
        words = words_of(split_painted(name)[0])
        bare = [word for word in words if not _is_beside(word)]
        for key in (" ".join(words), " ".join(bare)):
            if key in self._names:
                return self._names[key]
        found = {_stain_of_word(word) for word in bare}
        return found.pop() if len(found) == 1 else None

    def __hash__(self) -> int:
        return hash(tuple((self.own or {}).items()))


def words_of(name: str) -> list[str]:
    """Return the words of a name in small letters: ``"MitoTrackerDeepRed_ConA"`` -> ``["mito", "tracker", "deep", "red", "cona"]``."""
    parted = re.sub(r"[\W_]+", " ", name).split()
    apart = (word if _stain_of_word(word.casefold()) else _CAMEL.sub(" ", word) for word in parted)
    return " ".join(apart).casefold().split()


def stains_named(words: Iterable[str]) -> frozenset[str]:
    """Return the stains of the table that some of the words mean."""
    return frozenset(stain for word in words if (stain := _stain_of_word(word)) is not None)


def painted_name(stain: str, word: str = "predicted", model: str = "") -> str:
    """Return the name of a painted stain, as ``DNA (predicted)``, or ``DNA (predicted, MODEL)`` where several models made it."""
    inside = ", ".join(part for part in (word, model) if part)
    return f"{stain} ({inside})" if inside else stain


def split_painted(name: str) -> tuple[str, str]:
    """Return stain and model of a name like ``DNA (predicted, MODEL)``; the name itself and "" where it names no model.

    The words of a model's name say nothing of what is shown: ``DNA (predicted, neurons-phase)`` is no phase contrast.
    """
    found = _PAINTED.fullmatch(name.strip())
    return (name, "") if found is None else (found["stain"], found["model"])


def numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of which none is repeated: of several ``DAPI`` the first becomes ``DAPI (0)``, the next ``DAPI (1)``."""
    folded = [name.strip().casefold() for name in names]
    if len(set(folded)) == len(folded):
        return tuple(names)
    return tuple(
        f"{name} ({folded[:place].count(key)})" if folded.count(key) > 1 else name
        for place, (name, key) in enumerate(zip(names, folded, strict=True))
    )


def read_synonyms(path: str | Path) -> Synonyms:
    """Read a user's own names of stains.

    Parameters
    ----------
    path
        A YAML or JSON file with a name, or a list of names, for each stain: ``DNA: [NucBlue, channel A]``.

    Raises
    ------
    InputError
        If it can't be read, is no such table, or gives one name to two stains.
    """
    import yaml

    place = Path(path).expanduser()
    try:
        if place.stat().st_size > _LARGEST:
            raise InputError(f"{place}: it is too large to be a table of stains' names; give a YAML file such as 'DNA: [NucBlue]'.")
        content = yaml.safe_load(place.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{place}: the names of stains can't be read ({error.strerror or error}); check the path.") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{place}: it is no YAML ({' '.join(str(error).split())[:120]}); write lines such as 'DNA: [NucBlue]'.") from None
    try:
        return as_synonyms(content)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def as_synonyms(content: Any) -> Synonyms:
    """Return names given as a mapping from a stain to a name or a list of names.

    Raises `InputError` if it is no such mapping, or gives one name to two stains.
    """
    if isinstance(content, Synonyms):
        return content
    if not isinstance(content, Mapping):
        raise InputError("synonyms: a mapping from a stain to its other names is needed, such as 'DNA: [NucBlue]'.")
    found = {}
    for stain, names in content.items():
        listed = [names] if isinstance(names, str) else names
        if not isinstance(stain, str) or not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed):
            raise InputError(f"synonyms: {stain!r} needs a name or a list of names, such as 'DNA: [NucBlue]', all of them texts.")
        found[stain] = tuple(listed)
    return Synonyms(found)


def default_synonyms() -> Synonyms:
    """Return the table with the names of the file that the environment variable ``VIRTUAL_PAINT_SYNONYMS`` names, if it does."""
    return _read_once(os.environ.get(VARIABLE, ""))


@cache
def _read_once(path: str) -> Synonyms:
    return read_synonyms(path) if path else Synonyms()


def _is_beside(word: str) -> bool:
    return word in _BESIDE or _NUMBER.fullmatch(word) is not None


@cache
def _stain_of_word(word: str) -> str | None:
    """Return the stain that a word means, with digits behind it or not: ``hoechst33342``."""
    for bare in (word, word.rstrip("0123456789")):
        for stain, words in STAINS.items():
            if bare in words:
                return stain
    return None
