"""Match objects between tables: by image number and the numbers of parents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from napari_virtual_paint.cells.cellprofiler_names import COMPARTMENTS, IMAGE, METADATA, is_feature
from napari_virtual_paint.cells.tables.parquet import Rows, TableSource
from napari_virtual_paint.errors import ReadError

_ONE = 0.9  # least share of children with a parent of their own for two tables to be one to one
_NONE = np.iinfo(np.int64).min  # a missing number
_COMPARED = 1000  # most rows that are compared with an earlier one of the same object
_EXACT = 2.0**53  # largest float whose neighbors are whole numbers
AREA = "AreaShape_Area"  # no object has the area 0
_WHOLE = re.compile(r"([+-]?\d+)(?:\.0*)?")
PART_OF_ALL = 0.5  # a compartment that fewer cells than this share have is joined with gaps instead of dropping cells


class Named(Protocol):
    """Anything with a table's name and columns: a table, or the header of one."""

    @property
    def name(self) -> str:
        """The table's name."""

    @property
    def columns(self) -> Mapping[str, bool]:
        """Its columns, and whether each is numeric."""


@dataclass(frozen=True)
class Keys:
    """The key columns of a table."""

    image: tuple[str, ...]  # ``ImageNumber``, preceded by ``TableNumber`` where there is one
    number: str | None  # the object's number in its image, or None
    parents: Mapping[str, str]  # names of parent tables, and the column with the parent's number


def bare(column: str, table: str) -> str:
    """Return a column name without ``Metadata_`` and the table's own prefix."""
    return column.removeprefix(f"{METADATA}_").removeprefix(f"{table}_")


def keys_of(source: Named) -> Keys:
    """Find the key columns of a table, by the names that CSV, databases and CytoTable use."""
    short: dict[str, str] = {}
    for column in source.columns:
        short.setdefault(bare(column, source.name), column)
    image = tuple(short[name] for name in ("TableNumber", "ImageNumber") if name in short)
    number = short.get("ObjectNumber", short.get("Number_Object_Number", _only_number(source)))
    parents = {name.removeprefix("Parent_"): column for name, column in short.items() if name.startswith("Parent_")}
    return Keys(image if "ImageNumber" in short else (), number, parents)


def _only_number(source: Named) -> str | None:
    """Return the one column with numbers of objects, where they have another name than the table: ``Nuclei_`` in ``Per_(Nuclei)``."""
    found = [column for column in source.columns if column.endswith("_Number_Object_Number") and "_Parent_" not in column]
    return found[0] if len(found) == 1 else None


def is_image(source: Named) -> bool:
    """Return whether it is the image table."""
    return source.name.lower() == IMAGE.lower() and bool(keys_of(source).image)


def is_objects(source: Named) -> bool:
    """Return whether it is a table of objects: numbered, in numbered images, and with measurements."""
    keys = keys_of(source)
    measured = any(numeric and is_feature(column) for column, numeric in source.columns.items())
    return source.name.lower() != IMAGE.lower() and bool(keys.image) and keys.number is not None and measured


def coded(tables: Sequence[Sequence[Any]]) -> list[Rows]:
    """Return one code per row of each table, equal for equal images in all of them; -1 where a number is missing.

    Parameters
    ----------
    tables
        For each table its key columns (arrow), the same in number. Whole numbers are equal however they are stored (1, 1.0, "1"); other
        text, such as a hash, is compared as it is.
    """
    lengths = [len(columns[0]) for columns in tables]
    code: Rows = np.zeros(sum(lengths), np.int64)
    missing = np.zeros(len(code), bool)
    for columns in zip(*tables, strict=True):
        own = _identity(columns)
        missing |= own < 0
        # Sorting one column is many times faster than sorting rows.
        _, code = np.unique(code * (int(own.max(initial=0)) + 1) + own.clip(min=0), return_inverse=True)
        code = code.reshape(-1).astype(np.int64)
    return np.split(np.where(missing, -1, code), np.cumsum(lengths)[:-1])


def _identity(columns: Sequence[Any]) -> Rows:
    """Return one code per value of several columns, -1 where there is none."""
    whole = [_whole(column) for column in columns]
    if all(numbers is not None for numbers in whole):
        values = np.concatenate([numbers for numbers in whole if numbers is not None])
        _, code = np.unique(values, return_inverse=True)
        return np.where(values == _NONE, -1, code.reshape(-1)).astype(np.int64)
    codes: dict[str, int] = {}
    parts = []
    for column in columns:
        known = column.combine_chunks().dictionary_encode()
        of = [_code_of(value, codes) for value in known.dictionary.to_pylist()]
        place = known.indices.fill_null(len(of)).to_numpy(zero_copy_only=False)
        parts.append(np.array([*of, -1], np.int64)[place])
    return np.concatenate(parts)


def _whole(column: Any) -> Rows | None:
    """Return a column of whole numbers as integers, `_NONE` where there is none; None for a column of anything else."""
    import pyarrow as pa

    if pa.types.is_boolean(column.type) or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    if pa.types.is_integer(column.type):
        try:
            return np.asarray(column.cast(pa.int64()).fill_null(_NONE).to_numpy())
        except pa.ArrowInvalid:
            return None
    values = column.to_numpy().astype(np.float64)
    numbers = np.isfinite(values)
    if (values[numbers] % 1 != 0).any() or (np.abs(values[numbers]) > _EXACT).any():
        return None
    return np.where(numbers, np.where(numbers, values, 0), _NONE).astype(np.int64)


def _code_of(value: Any, codes: dict[str, int]) -> int:
    """Return the code of a value by its text, the same for 1, 1.0 and "1"; -1 for none."""
    text = "" if value is None else value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value).strip()
    if found := _WHOLE.fullmatch(text):
        text = str(int(found[1]))
    return -1 if text.lower() in ("", "nan", "none", "null") else codes.setdefault(text, len(codes))


def image_keys(source: TableSource, columns: Sequence[str]) -> list[Any]:
    """Read the key columns of a table's images, as arrow columns."""
    table = source.read(list(columns))
    return [table[column] for column in columns]


def repeated(image: Any, what: str) -> str:
    """Return what is wrong with tables in which one image number is that of several images."""
    number = int(image) if isinstance(image, float) and image.is_integer() else image
    return (
        f"it has {what} of ImageNumber {number} with different values, as where tables of several sites or plates were put together; "
        "give each its own folder, or a TableNumber"
    )


def as_numbers(column: Any) -> Rows:
    """Return the numbers of objects as integers; -1 where one is missing."""
    import pyarrow as pa

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pa.chunked_array([pa.array([_float(value) for value in column.to_pylist()], pa.float64())])
    numbers: Rows = np.nan_to_num(column.to_numpy().astype(float), nan=-1, posinf=-1, neginf=-1).astype(np.int64)
    return numbers


def _float(value: str | None) -> float:
    try:
        return float(value or "nan")
    except ValueError:
        return float("nan")


@dataclass(frozen=True)
class Link:
    """Matches from the children of one table to their parents in another."""

    child: str
    parent: str  # `child` and `parent`: names of the tables
    rows: Rows  # for each child, the parent's row; -1 where it has none
    length: int  # rows of parents
    parents: int  # parents, each counted once

    @cached_property
    def _parents(self) -> int:
        """Number of parents with a child; counting is many times faster than `numpy.unique`."""
        return int(np.count_nonzero(np.bincount(self.rows[self.rows >= 0], minlength=1)))

    @property
    def own(self) -> float:
        """Share of the children with a parent of their own, among those with a parent."""
        return self._parents / max(int(np.count_nonzero(self.rows >= 0)), 1)

    @property
    def covered(self) -> float:
        """Share of the parents that have a child."""
        return self._parents / max(self.parents, 1)

    @property
    def one_to_one(self) -> bool:
        """Whether nearly every parent has exactly one child."""
        return self.own >= _ONE and self.covered >= PART_OF_ALL

    def children(self) -> Rows:
        """Return the row of each parent's first child; -1 where it has none."""
        first = np.full(self.length, -1, np.int64)
        have = np.flatnonzero(self.rows >= 0)[::-1]
        first[self.rows[have]] = have
        return first


class Joining:
    """Tables of objects with their keys, and how they match."""

    def __init__(self, sources: Sequence[TableSource], more: Mapping[str, Sequence[str]]) -> None:
        self._more = {source.name: tuple(more.get(source.name, ())) for source in sources}
        self.sources = {source.name: source for source in sources}
        self.notes: list[str] = []
        self._keys = {source.name: keys_of(source) for source in sources}
        frames = {source.name: self._read(source) for source in sources}
        self._codes = self._coded(frames)
        self._firsts = {name: np.unique(codes, return_index=True) for name, codes in self._codes.items()}
        for name in self.sources:
            self._check_repeats(name, frames[name])
        self.links = self._linked(frames)

    def _read(self, source: TableSource) -> dict[str, Any]:
        """Read the key columns alone."""
        keys = self._keys[source.name]
        assert keys.number is not None
        parents = {other: column for other, column in keys.parents.items() if other in self.sources and other != source.name}
        area = next((name for name, numeric in source.columns.items() if numeric and bare(name, source.name) == AREA), None)
        area = area if area is not None and source.may_lack(area) else None
        table = source.read(
            [*dict.fromkeys([*keys.image, *self._more[source.name], keys.number, *parents.values(), *([area] if area else [])])]
        )
        number = as_numbers(table[keys.number])
        if area is not None:
            number = np.where(np.asarray(table[area].to_numpy() == 0, bool), 0, number)  # a row that pads a table is no object
        return {
            "image": [table[column] for column in (*keys.image[-self._shared_images() :], *self._more[source.name])],
            "number": number,
            "parents": {other: as_numbers(table[column]) for other, column in parents.items()},
        }

    def _shared_images(self) -> int:
        """Return how many image key columns all tables have: the table number counts where all have it."""
        return min(len(keys.image) for keys in self._keys.values())

    def _coded(self, frames: Mapping[str, Any]) -> dict[str, Rows]:
        """Return one code per object for image and object number, comparable across tables."""
        self._images = dict(zip(frames, coded([frame["image"] for frame in frames.values()]), strict=True))
        numbers = [value.max(initial=0) for frame in frames.values() for value in (frame["number"], *frame["parents"].values())]
        self._step = int(max(numbers)) + 1
        return {name: self._code(name, frame["number"]) for name, frame in frames.items()}

    def _code(self, name: str, number: Rows) -> Rows:
        """Return the codes of objects in a table's images; -1 for number 0, which means none, and where the image has no number."""
        return np.where((number > 0) & (self._images[name] >= 0), self._images[name] * self._step + number, -1)

    def _check_repeats(self, name: str, frame: Mapping[str, Any]) -> None:
        """Raise a `ReadError` where an object stands in a table more than once with different values, so images share a number."""
        codes, source = self._codes[name], self.sources[name]
        there, first = self._firsts[name]
        again = np.setdiff1d(np.flatnonzero(codes >= 0), first, assume_unique=True)[:_COMPARED]
        if not len(again):
            return
        before = first[np.searchsorted(there, codes[again])]
        table = source.read(list(source.columns), np.concatenate([before, again])).to_pandas()
        same = table.iloc[: len(again)].reset_index(drop=True), table.iloc[len(again) :].reset_index(drop=True)
        if not same[0].equals(same[1]):
            image = frame["image"][-1 - len(self._more[name])][int(again[0])].as_py()
            raise ReadError(source.path, repeated(image, f"the object {frame['number'][again[0]]} more than once"))

    def _linked(self, frames: Mapping[str, Any]) -> list[Link]:
        """Return the matches of all pairs of tables that have keys for it."""
        return [
            self._link(name, other, self._code(name, numbers))
            for name, frame in frames.items()
            for other, numbers in frame["parents"].items()
        ]

    def _link(self, name: str, other: str, codes: Rows) -> Link:
        """Return the matches between two tables."""
        codes = np.where(self._is_first(name), codes, -1)
        known = self._firsts[other][0]
        link = Link(name, other, self._found(codes, other), len(self.sources[other]), int((known >= 0).sum()))
        if (codes >= 0).any() and not (link.rows >= 0).any():
            raise ReadError(
                self.sources[name].path, f"none of its objects finds its parent in the table {other}; give tables of one and the same run"
            )
        return link

    def _is_first(self, name: str) -> Any:
        """Return which rows of a table are not there for the second time."""
        first = np.zeros(len(self.sources[name]), bool)
        first[self._firsts[name][1]] = True
        return first | (self._codes[name] < 0)

    def _found(self, codes: Rows, other: str) -> Rows:
        """Return the rows of another table that have these codes; -1 where none has, the first where several have."""
        there, first = self._firsts[other]
        if not len(there):
            return np.full(len(codes), -1, np.int64)
        place = np.searchsorted(there, codes).clip(max=len(there) - 1)
        return np.where((there[place] == codes) & (codes >= 0), first[place], -1).astype(np.int64)

    def same_numbers(self, name: str, other: str) -> Rows | None:
        """Return the rows of another table with the same object numbers, if both have exactly the same numbers in every image."""
        own_codes, other_codes = (codes[codes >= 0] for codes in (self._firsts[name][0], self._firsts[other][0]))
        return self._found(self._codes[name], other) if np.array_equal(own_codes, other_codes) else None

    def note_unused(self, name: str, used: Rows, anchor: str) -> None:
        """Note the objects of a joined table to which no cell belongs."""
        codes, first = self._firsts[name]
        objects = first[codes >= 0]
        if unused := len(np.setdiff1d(objects, used)):
            self.notes.append(f"{unused} of {len(objects)} {name} have no partner in {anchor} and are left out.")

    def once(self, name: str) -> Rows:
        """Return the rows where an object occurs for the first time."""
        codes, first = self._firsts[name]
        first = np.sort(first[codes >= 0])
        if lost := len(self._codes[name]) - len(first):
            self.notes.append(
                f"{name}: rows without an image number, object number or area, or that were there before, are left out ({lost})."
            )
        return first


def join(sources: Sequence[TableSource], more: Mapping[str, Sequence[str]] = MappingProxyType({})) -> tuple[dict[str, Rows], list[str]]:
    """Join the compartments' tables into one table of cells.

    Parameters
    ----------
    more
        Name of a table -> further columns that tell its images apart; see `keys_of_images`.

    Returns
    -------
    dict
        For each table that takes part, the row of each cell; -1 where there is none. The first is the table whose
        objects are the cells.
    list of str
        Notes: tables left out, cells without a partner.

    Raises
    ------
    ReadError
        If no cell is left.
    """
    tables = Joining(sources, more)
    anchor = _anchor(tables)
    rows = {anchor: tables.once(anchor)}
    needed = [anchor]
    while added := _next(tables, rows):
        name, found, everything = added
        rows[name] = found
        needed += [name] if everything else []
    for name in tables.sources:
        if name not in rows:
            _without_relation(tables, name, anchor, rows, needed)
    complete = np.logical_and.reduce([rows[name] >= 0 for name in needed])
    for name in rows.keys() - {anchor}:
        tables.note_unused(name, rows[name], anchor)
    if lost := int((~complete).sum()):
        lacking = " or ".join(name for name in needed if (rows[name] < 0).any())
        tables.notes.append(f"{lost} of {len(complete)} {anchor} have no partner in {lacking} and are left out.")
    if len(complete) and not complete.any():
        raise ReadError(sources[0].path, "no cell has a partner in every table; give tables of one and the same run")
    return {name: found[complete] for name, found in rows.items()}, tables.notes


def _anchor(tables: Joining) -> str:
    """Return the table whose objects are the cells: the one from which most others are reached, one to one, from child to parent."""

    def rank(name: str) -> tuple[bool, int, int, int]:
        reached, clean, queue = {name}, True, [name]
        for now in queue:
            for link in tables.links:
                if link.child == now and link.parent not in reached:
                    reached.add(link.parent)
                    queue.append(link.parent)
                    clean = clean and link.one_to_one
        known = COMPARTMENTS.index(name) + 1 if name in COMPARTMENTS else 0
        return clean, len(reached), known, len(tables.sources[name])

    return max(tables.sources, key=rank)


def _next(tables: Joining, rows: Mapping[str, Rows]) -> tuple[str, Rows, bool] | None:
    """Return the next table to join, its rows, and whether every cell has one; parents come before children."""
    for link in tables.links:
        if link.child in rows and link.parent not in rows:
            return link.parent, _through(rows[link.child], link.rows), link.covered >= PART_OF_ALL
    for link in tables.links:
        if link.parent in rows and link.child not in rows and link.own >= _ONE:
            return link.child, _through(rows[link.parent], link.children()), link.covered >= PART_OF_ALL
    return None


def _through(rows: Rows, onward: Rows) -> Rows:
    """Map rows of one table to those of the next; -1 stays."""
    return np.where(rows >= 0, onward[rows], -1) if len(onward) else np.full(len(rows), -1, np.int64)


def _without_relation(tables: Joining, name: str, anchor: str, rows: dict[str, Rows], needed: list[str]) -> None:
    """Join a table by equal object numbers where no parent is given, or note why it is left out."""
    links = [link for link in tables.links if name in (link.child, link.parent)]
    found = None if links else tables.same_numbers(anchor, name)
    if found is not None:
        rows[name] = _through(rows[anchor], found)
        needed.append(name)
        tables.notes.append(
            f"{name} has no parent column; it was joined to {anchor} by the object numbers, which are the same in every image."
        )
        return
    count = f"{name} ({len(tables.sources[name])} objects) is kept out"
    to_parents = [link for link in links if link.child == name]
    parents = ", ".join(dict.fromkeys(link.parent for link in to_parents))
    if not parents:
        why = "no column assigns them to cells"
    elif all((link.rows < 0).all() for link in to_parents):
        why = f"none of them has a parent in {parents}"
    else:
        why = f"several of them belong to one of {parents}"
    tables.notes.append(f"{count}: {why}.")
