"""One name for what a table calls otherwise: the compartments Nuclei, Cells and Cytoplasm, and the channels of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from napari_virtual_paint.cells.cellprofiler_names import COMPARTMENTS, is_feature, parse

_WORDS = (("nucle", "Nuclei"), ("cytop", "Cytoplasm"), ("cell", "Cells"))  # beginning of a word in a compartment's name -> what it is


_SHORT = re.compile(r"_\d+_\d\d$")  # distance and direction of a texture, without gray levels after them


@dataclass(frozen=True)
class CanonicalNames:
    """What a table's objects and images are called here."""

    compartments: Mapping[str, str] = field(default_factory=dict)
    """Name in the table -> ``Nuclei``, ``Cells`` or ``Cytoplasm``; those of the same name are left out."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Measured image in the table, such as ``CropBlue`` -> channel of the model that it was made from, such as ``OrigBlue``."""

    levels: str = ""
    """Gray levels that textures were measured at, where their names leave them out, as CellProfiler 3 does: ``256``."""

    def __post_init__(self) -> None:
        for name in ("compartments", "images"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __bool__(self) -> bool:
        return bool(self.compartments or self.images or self.levels)

    def to_dict(self) -> dict[str, Any]:
        """Return the names as plain values, for JSON."""
        return {"compartments": dict(self.compartments), "images": dict(self.images), "levels": self.levels}

    def of(self, column: str) -> str:
        """Return the name of a column; one that is no feature stays as it is."""
        feature = parse(column, self.images)
        if not feature.group or not is_feature(column):
            return column
        rest = column.removeprefix(f"{feature.compartment}_") if feature.compartment else column
        for image in feature.channels:
            if image in self.images:
                rest = re.sub(rf"_{re.escape(image)}(?=_|$)", lambda _, new=self.images[image]: f"_{new}", rest, count=1)  # type: ignore[misc]
        if self.levels and feature.group == "Texture" and _SHORT.search(rest):
            rest += f"_{self.levels}"
        owner = self.compartments.get(feature.compartment, feature.compartment)
        return f"{owner}_{rest}" if owner else rest

    def renamed(self, columns: Iterable[str]) -> dict[str, str]:
        """Return column -> its name, for those that change; none takes a name that another column has."""
        every = list(columns)
        taken, found = set(every), {}
        for column in every:
            name = self.of(column)
            if name != column and name not in taken:
                taken.add(name)
                found[column] = name
        return found


def gray_levels(features: Iterable[str]) -> str:
    """Return the gray levels of textures that don't name theirs: CellProfiler's default; empty where all do, or there are none."""
    return "256" if any(parse(name).group == "Texture" and _SHORT.search(name) for name in features) else ""


def canonical_compartments(features: Iterable[str], parents: Iterable[str] = ()) -> dict[str, str]:
    """Return which objects of a table are the nuclei, the cells and the cytoplasm, where they have other names.

    Parameters
    ----------
    features
        Names of the measurements.
    parents
        Names of columns such as ``Cells_Parent_FilteredNuclei``, which tell which of several kinds of nuclei the cells belong to.
    """
    there = list(dict.fromkeys(name for name in (parse(feature).compartment for feature in features) if name))
    chosen = {name: name for name in COMPARTMENTS if name in there}
    links = [column.split("_Parent_") for column in parents if "_Parent_" in column]
    mothers = [mother for _, mother in (link for link in links if len(link) == 2)]
    for word, usual in _WORDS:
        if usual in chosen:
            continue
        fitting = [name for name in there if name not in chosen.values() and word in name.casefold()]
        fitting.sort(key=lambda name: (-mothers.count(name), len(name)))
        if fitting:
            chosen[usual] = fitting[0]
    if not chosen and len(there) == 1:
        chosen["Nuclei"] = there[0]
    return {name: usual for usual, name in chosen.items() if name != usual}
