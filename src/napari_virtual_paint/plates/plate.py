"""Plate: the one value for a plate. Every layout opens as one, everything that paints, shows or scores plates takes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Protocol

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.reading.filename_patterns import natural
from napari_virtual_paint.stack import Stack

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Field:
    """One field of view: a place in a well, taken once.

    Parameters
    ----------
    well
        Its well, as ``A01`` (see `wells.canonical`).
    name
        The place in the well, as the source names it.
    acquisition
        Which of several acquisitions of the plate; empty where there is one.
    """

    well: str
    name: str
    acquisition: str = ""

    @property
    def key(self) -> str:
        """One text for one field: ``A01/0``, with several acquisitions ``A01/0/2``."""
        return "/".join(part for part in (self.well, self.name, self.acquisition) if part)

    def __str__(self) -> str:
        return self.key


class FieldReader(Protocol):
    """What reads the fields of a plate. It travels to other processes, so it holds names and no open file."""

    def read(self, field: Field) -> Stack:
        """Return a field's image, its pixels still in their files.

        Raises
        ------
        ReadError
            If a file of it is missing or damaged.
        """


@dataclass(frozen=True, eq=False)
class Plate:
    """A plate with what is known about it; no pixel of it is read.

    Parameters
    ----------
    name
        What it is called.
    source
        The path that it was opened from.
    layout
        How it is stored (``ome-zarr``, ``opera-phenix`` ...).
    fields
        All fields of view; sorted here by row, column, place and acquisition.
    reader
        Reads them.
    shape
        Rows and columns of the plate; those of the smallest plate that is made where the source does not tell.
    acquisitions
        Names of several acquisitions; empty where there is one.
    channels
        The fields' channels, where the source tells.
    metadata
        Well -> what is known of it (treatment, dose, control ...), by column.
    painted
        Fields in the plate itself that are stains painted before (``--in-place``): field -> the fields of its stains.
    notes
        What a user should know of how it was opened, one sentence each.

    Raises
    ------
    InputError
        If it has no field, or one twice.
    """

    name: str
    source: str
    layout: str
    fields: tuple[Field, ...]
    reader: FieldReader
    shape: tuple[int, int] = (0, 0)
    acquisitions: tuple[str, ...] = ()
    channels: tuple[str, ...] | None = None
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    painted: Mapping[Field, tuple[Field, ...]] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.fields:
            raise InputError(f"{self.source}: it has no field of view; check that the whole plate was copied.")
        ordered = sorted(self.fields, key=_order)
        twice = next((a for a, b in pairwise(ordered) if a == b), None)
        if twice is not None:
            raise InputError(f"{self.source}: the field {twice} is there twice; give a pattern that tells its images apart.")
        object.__setattr__(self, "fields", tuple(ordered))
        if self.shape == (0, 0):
            object.__setattr__(self, "shape", wells.plate_shape(each.well for each in ordered))

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process: views of mappings as the mappings themselves, and without what is worked out of the rest."""
        state = {each.name: getattr(self, each.name) for each in dataclass_fields(self)}
        state["metadata"] = {well: dict(row) for well, row in self.metadata.items()}
        state["painted"] = dict(self.painted)
        return state

    @cached_property
    def wells(self) -> tuple[str, ...]:
        """Wells that have a field, by row and column."""
        return tuple(dict.fromkeys(each.well for each in self.fields))

    @cached_property
    def by_well(self) -> Mapping[str, tuple[Field, ...]]:
        """Well -> its fields."""
        found: dict[str, list[Field]] = {}
        for each in self.fields:
            found.setdefault(each.well, []).append(each)
        return MappingProxyType({well: tuple(some) for well, some in found.items()})

    @cached_property
    def by_key(self) -> Mapping[str, Field]:
        """Key of a field -> the field."""
        return MappingProxyType({each.key: each for each in self.fields})

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Columns of the metadata, in the order in which they come."""
        return tuple(dict.fromkeys(name for row in self.metadata.values() for name in row))

    def read(self, field: Field) -> Stack:
        """Return a field's image, its pixels still in their files.

        Raises
        ------
        ReadError
            If a file of it is missing or damaged.
        """
        return self.reader.read(field)

    def select(self, wells_: str | None = None, names: Sequence[str] | None = None) -> Plate:
        """Return the plate with some of its fields.

        Parameters
        ----------
        wells_
            Such as ``A1:B12,C3``; None takes all.
        names
            Of places in the wells, as `Field.name`; a number also means the place of that number, counted from 0. None takes all.

        Raises
        ------
        InputError
            If nothing is left.
        """
        chosen: Iterable[Field] = self.fields
        if wells_ is not None:
            within = set(wells.parse_wells(wells_, self.wells))
            chosen = [each for each in chosen if each.well in within]
        if names is not None:
            known = {each.name for each in self.fields}
            numbered = {str(i): name for i, name in enumerate(sorted(known, key=natural))}
            asked = {name if name in known else numbered.get(name) for name in names}
            if None in asked:
                missing = next(name for name in names if name not in known and name not in numbered)
                raise InputError(f"{self.source}: no well has a field {missing!r}; there are {', '.join(sorted(known, key=natural)[:12])}.")
            chosen = [each for each in chosen if each.name in asked]
        kept = tuple(chosen)
        if not kept:
            raise InputError(f"{self.source}: no field of those wells has that name.")
        return replace(self, fields=kept)


def _order(field: Field) -> tuple[Any, ...]:
    """Return the key that sorts fields as a plate is read: row by row."""
    return (*wells.position(field.well), natural(field.name), natural(field.acquisition))
