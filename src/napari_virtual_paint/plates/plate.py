"""Plate: the value that every layout opens as, and that everything that paints, shows or scores plates takes."""

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
    """One field of view: a position in a well, in one acquisition."""

    well: str  # its well, as ``A01`` (see `wells.canonical`).
    name: str  # the position in the well, as the source names it
    acquisition: str = ""  # which of several acquisitions of the plate; empty if there is only one

    @property
    def key(self) -> str:
        """Unique text: ``A01/0``, with several acquisitions ``A01/0/2``."""
        return "/".join(part for part in (self.well, self.name, self.acquisition) if part)

    def __str__(self) -> str:
        return self.key


class FieldReader(Protocol):
    """Reads the fields of a plate. It is pickled for other processes, so it holds names and no open file."""

    def read(self, field: Field) -> Stack:
        """Return a field's image, its pixels still in their files.

        Raises `ReadError` if a file of it is missing or damaged.
        """


@dataclass(frozen=True, eq=False)
class Plate:
    """A plate and its metadata; no pixel of it is read.

    Raises
    ------
    InputError
        If it has no field, or one twice.
    """

    name: str  # its name
    source: str  # the path that it was opened from
    layout: str  # how it is stored (``ome-zarr``, ``opera-phenix`` ...).
    fields: tuple[Field, ...]  # all fields of view; sorted here by row, column, position and acquisition
    reader: FieldReader  # reads them
    shape: tuple[int, int] = (0, 0)  # rows and columns of the plate; (0, 0) becomes the smallest common plate that has all wells
    acquisitions: tuple[str, ...] = ()  # names of several acquisitions; empty if there is only one
    channels: tuple[str, ...] | None = None  # the channels of the fields, if known without reading one
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    """Well -> column (treatment, dose, control ...) -> value."""
    painted: Mapping[Field, tuple[Field, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Field -> the fields of its stains, for stains that were painted into the plate itself (``--in-place``)."""
    part: str = ""  # its name in the source, where that is a table of several plates
    axes: str = ""  # what the user said the axes of its images' arrays are; empty if nothing was said
    notes: tuple[str, ...] = ()  # notes for the user on how it was opened, one sentence each

    def __post_init__(self) -> None:
        if not self.fields:
            raise InputError(f"{self.source}: it has no field of view; check that the whole plate was copied.")
        ordered = sorted(self.fields, key=_order)
        twice = next((a for a, b in pairwise(ordered) if a == b), None)
        if twice is not None:
            raise InputError(f"{self.source}: the field {twice} is there twice; give a pattern that distinguishes its images.")
        object.__setattr__(self, "fields", tuple(ordered))
        if self.shape == (0, 0):
            object.__setattr__(self, "shape", wells.plate_shape(each.well for each in ordered))

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the parameters only, without cached properties, and read-only mappings as plain ones."""
        state = {each.name: getattr(self, each.name) for each in dataclass_fields(self)}
        state["metadata"] = {well: dict(row) for well, row in self.metadata.items()}
        state["painted"] = dict(self.painted)
        return state

    @cached_property
    def wells(self) -> tuple[str, ...]:
        """Wells that have a field, sorted by row and column."""
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
        """Columns of the metadata, in order of appearance."""
        return tuple(dict.fromkeys(name for row in self.metadata.values() for name in row))

    def read(self, field: Field) -> Stack:
        """Return a field's image, its pixels still in their files.

        Raises `ReadError` if a file of it is missing or damaged.
        """
        return self.reader.read(field)

    def select(self, wells_: str | None = None, names: Sequence[str] | None = None) -> Plate:
        """Return the plate with some of its fields.

        Parameters
        ----------
        wells_
            Such as ``A1:B12,C3``; None selects all.
        names
            `Field.name` of fields, or their numbers within the wells, counted from 0. None selects all.

        Raises
        ------
        InputError
            If nothing is left.
        """
        selected: Iterable[Field] = self.fields
        if wells_ is not None:
            within = set(wells.parse_wells(wells_, self.wells))
            selected = [each for each in selected if each.well in within]
        if names is not None:
            known = sorted({each.name for each in self.fields}, key=natural)
            numbered = {**{str(i): name for i, name in enumerate(known)}, **{name: name for name in known}}
            missing = next((name for name in names if name not in numbered), None)
            if missing is not None:
                raise InputError(f"{self.source}: no well has a field {missing!r}; there are {', '.join(known[:12])}.")
            requested = {numbered[name] for name in names}
            selected = [each for each in selected if each.name in requested]
        selected = tuple(selected)
        if not selected:
            raise InputError(f"{self.source}: no field of those wells has that name.")
        return replace(self, fields=selected)


def _order(field: Field) -> tuple[Any, ...]:
    """Return the key that sorts fields as a plate is read: row by row."""
    return (*wells.position(field.well), natural(field.name), natural(field.acquisition))
