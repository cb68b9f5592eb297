"""Find tables in files and folders: the compartment of each file, and which files belong together."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_virtual_paint.cells.cellprofiler_names import COMPARTMENTS, GROUPS, IMAGE, METADATA, is_feature, parse
from napari_virtual_paint.cells.tables.combined import NO_PADDING, Padding, padding_of
from napari_virtual_paint.cells.tables.csv_files import Header, describe, is_csv, open_csv, read_header, stem
from napari_virtual_paint.cells.tables.image_numbers import keys_of_images, rows_of_images
from napari_virtual_paint.cells.tables.joined import JoinedColumn, JoinedTables
from napari_virtual_paint.cells.tables.joins import bare, is_image, is_objects, join, keys_of
from napari_virtual_paint.cells.tables.parquet import ParquetSource, Rows, TableSource
from napari_virtual_paint.cells.tables.sqlite import open_sqlite
from napari_virtual_paint.errors import ReadError

PARQUET = (".parquet", ".pq")
SQLITE = (".sqlite", ".sqlite3", ".db", ".db3")
_OF_IMAGES = (METADATA, "FileName", "PathName", "URL", "Group", "Series", "Frame", "Height", "Width", "Count", "Channel")
"""Columns taken from the image table; its measurements, times and check sums are left out."""
_KEY = re.compile(r"(Number|Parent_\w+)$")
WITHOUT_NUMBER = (
    "it has no column ImageNumber, so its wells and images can't be assigned to the cells; export it again with ImageNumber, or give the "
    "tables of objects themselves to do without"
)
WITHOUT_KEY = "it has no column {}, so its objects can't be joined to the other tables; export it again, or give it alone"
WHAT = "CellProfiler's tables as CSV (Image.csv, Nuclei.csv, Cells.csv ...), an SQLite database or Parquet"


@dataclass
class _Candidate:
    """A candidate file, of which only the columns have been read."""

    path: Path
    name: str
    columns: dict[str, bool]
    opened: TableSource | None
    header: Header | None

    def source(self) -> TableSource:
        if self.opened is None:
            assert self.header is not None
            self.opened = open_csv(self.path, self.name, self.header)
        self.opened.name = self.name
        return self.opened

    @property
    def is_joined(self) -> bool:
        """Whether the compartments are joined already, or there is no key to join them by."""
        return self.has_several or (bool(self.lacking) and any(numeric and is_feature(column) for column, numeric in self.columns.items()))

    @property
    def has_several(self) -> bool:
        """Whether it has features of several compartments."""
        features = [parse(column) for column, numeric in self.columns.items() if numeric and is_feature(column)]
        return len({feature.compartment for feature in features} - {""}) > 1

    @property
    def lacking(self) -> tuple[str, ...]:
        """Names of the columns without which it can't be joined to others."""
        keys = keys_of(self)
        return (*(() if keys.image else ("ImageNumber",)), *(() if keys.number is not None else ("ObjectNumber",)))

    @property
    def described(self) -> bool:
        """Whether the table itself holds wells, treatments or image names."""
        return any(column.startswith(f"{METADATA}_") and not _KEY.search(column) for column in self.columns)


def find(paths: Sequence[Path]) -> list[JoinedTables]:
    """Find and join the tables in files and folders.

    Raises `ReadError` if there is no table, or the tables don't belong together.
    """
    for path in paths:
        if not path.exists():
            raise ReadError(path, "there is no such file or folder; check the name")
    units: list[JoinedTables] = []
    for folder in (path for path in paths if path.is_dir()):
        units += _in_folder(folder)
    files = [path for path in paths if not path.is_dir()]
    units += [_database(path) for path in files if _is_sqlite(path)]
    tables = [path for path in files if not _is_sqlite(path)]
    for folder in dict.fromkeys(path.parent for path in tables):
        units += _together([path for path in tables if path.parent == folder], explicit=True)
    return units


def _in_folder(folder: Path) -> list[JoinedTables]:
    """Return the tables of a folder, or of its subfolders: one set per site or plate."""
    units = _flat(folder)
    if not units:
        units = [unit for inner in sorted(folder.iterdir()) if inner.is_dir() for unit in _flat(inner)]
    if not units:
        raise ReadError(folder, f"there is no table of cells in it; give {WHAT}")
    return units


def _flat(folder: Path) -> list[JoinedTables]:
    """Return the tables directly in a folder: CSV before Parquet before SQLite, which often hold the same."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    for suffixed in (is_csv, _is_parquet):
        if units := _together([path for path in files if suffixed(path)], explicit=False):
            return units
    return [_database(path) for path in files if _is_sqlite(path)]


def _together(paths: Sequence[Path], explicit: bool) -> list[JoinedTables]:
    """Return the joined tables of the files in one folder; files named by the user (`explicit`) must all be tables, others are ignored."""
    found, unread = _candidates(paths, explicit)
    nameless = next((item for item in found if item.name.lower() == IMAGE.lower() and not is_image(item)), None)
    images = [item for item in found if is_image(item)]
    joined = [item for item in found if item not in images and item.is_joined]
    objects = [item for item in found if item not in joined and is_objects(item)]
    keyless = next((item for item in joined if not item.has_several and (objects or images or len(joined) > 1)), None)
    if keyless is not None and (explicit or keyless.name in COMPARTMENTS):
        raise ReadError(keyless.path, WITHOUT_KEY.format(" and ".join(keyless.lacking)))
    neither = [item for item in found if item not in objects and item not in joined and item not in images]
    if explicit and neither and neither != [nameless]:
        raise ReadError(
            neither[0].path, f"it is no table of cells: it has no numbered objects with measurements such as AreaShape_Area; give {WHAT}"
        )
    if not objects:
        if explicit and not joined:
            raise ReadError(paths[0], "it describes images, not cells; give the tables of objects with it (Nuclei.csv, Cells.csv ...)")
        return [
            _already_joined(item.source(), [*unread, *(describe(item.path, item.header) if item.header is not None else ())])
            for item in joined
        ]
    if nameless is not None and not images and (explicit or not any(item.described for item in objects)):
        raise ReadError(nameless.path, WITHOUT_NUMBER)
    alone = not images and not any(item.described for item in objects)
    if alone and not explicit:
        names = ", ".join(item.path.name for item in objects[:3])
        raise ReadError(
            paths[0].parent, f"there is no Image table beside {names}; export Image.csv too, or give the files themselves to do without"
        )
    notes = [*unread, *(note for item in (*objects, *images[:1]) if item.header is not None for note in describe(item.path, item.header))]
    if alone:
        notes.append("No Image table was given: wells, treatments and names of images are unknown.")
    notes += [
        f"{item.path.name} holds joined cells beside the tables of compartments; it was not read."
        if item.has_several
        else f"{item.path.name} was not read: it has no column {' and '.join(item.lacking)}."
        for item in joined
    ]
    notes += [
        f"{item.path.name} was not read: it has no numbered objects with measurements such as AreaShape_Area."
        for item in neither
        if item.name in COMPARTMENTS
    ]
    return [_joined(paths[0].parent.name, [item.source() for item in objects], images[0].source() if images else None, notes)]


def _database(path: Path) -> JoinedTables:
    """Return the joined tables of a database."""
    sources, notes = open_sqlite(path)
    image = next((source for source in sources if is_image(source)), None)
    objects = [source for source in sources if source is not image]
    if image is None:
        raise ReadError(path, "it has tables of objects but none of images (Per_Image); export the image's measurements too")
    return _joined(stem(path), objects, image, notes)


def _candidates(paths: Sequence[Path], explicit: bool) -> tuple[list[_Candidate], list[str]]:
    """Read the columns of files, and return notes on files beside the tables that can't be read."""
    found, notes = [], []
    for path, name in zip(paths, _names(paths), strict=True):
        try:
            found.append(_candidate(path, name))
        except ReadError as error:
            if explicit or name in (*COMPARTMENTS, IMAGE):
                raise
            notes.append(f"{path.name} was not read: {error.reason}.")
    return found, notes


def _candidate(path: Path, name: str) -> _Candidate:
    """Read a file's columns."""
    if is_csv(path):
        header = read_header(path)
        return _Candidate(path, name, dict.fromkeys(header.used, True), None, header)
    if not _is_parquet(path):
        raise ReadError(path, f"its kind is not known; give {WHAT}")
    source = ParquetSource(path, name)
    owners = {parse(column).compartment for column in source.columns if is_feature(column)} - {""}
    if len(owners) == 1 and not is_image(source):
        source.name = owners.pop()
    return _Candidate(path, source.name, source.columns, source, None)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return table names from file names, without the prefix set in CellProfiler."""
    stems = [stem(path) for path in paths]
    image = next((name for name in stems if name.lower().endswith(IMAGE.lower())), None)
    if image is not None:
        prefix = image[: -len(IMAGE)]
    elif len(stems) > 1:
        prefix = re.sub(r"[^_]*$", "", os.path.commonprefix(stems))  # noqa: RUF071 - letter by letter is meant
    else:
        found = re.fullmatch(rf"(.+_)({'|'.join(COMPARTMENTS)})", stems[0]) if stems else None
        prefix = found[1] if found else ""
    usual = {name.lower(): name for name in (*COMPARTMENTS, IMAGE)}
    bare_names = [name.removeprefix(prefix) for name in stems]
    return [usual.get(name.lower(), name) for name in bare_names]


def _already_joined(source: TableSource, notes: Sequence[str]) -> JoinedTables:
    """Return a table that is already joined."""
    padding = padding_of(source)
    sources, rows = [source, *[source] * len(padding.gaps)], [padding.cells, *_gaps(padding, padding.cells)]
    of = {name: place for place, name in enumerate(padding.gaps, start=1)}
    columns: dict[str, JoinedColumn] = {}
    for raw, numeric in source.columns.items():
        name = _joined_name(raw, source.name)
        if not re.fullmatch(r"__index_level_\d+__|Unnamed: \d+|", raw):
            place = of.get(parse(name).compartment, 0)
            columns.setdefault(name if name not in source.columns else raw, JoinedColumn(place, raw, numeric, numeric and is_feature(name)))
    length = len(source) if padding.cells is None else len(padding.cells)
    all_notes = [*notes, padding.note, "" if length else "The table has no row."]
    return JoinedTables(source.name, tuple(sources), tuple(rows), columns, length, tuple(filter(None, all_notes)))


def _gaps(padding: Padding, cells: Rows | None) -> list[Rows]:
    """Return, for each compartment with gaps, its row for each cell."""
    return [rows if cells is None else rows[cells] for rows in padding.gaps.values()]


def _joined_name(raw: str, table: str) -> str:
    """Return the name of a column of a joined table."""
    if raw.startswith(f"{IMAGE}_{METADATA}_"):
        return raw.removeprefix(f"{IMAGE}_")
    return f"{table}_{raw}" if table in COMPARTMENTS and raw.split("_", 1)[0] in GROUPS else raw


def _joined(name: str, objects: Sequence[TableSource], image: TableSource | None, notes: Sequence[str]) -> JoinedTables:
    """Join compartments, and the image table to them."""
    more = {} if image is None else keys_of_images(objects, image)
    found, all_notes = join(objects, more)
    if any(more.values()):
        told = ", ".join(column.removeprefix(f"{IMAGE}_") for column in (more[image.name] if image is not None else ()))
        all_notes.append(f"ImageNumber is that of several images, so they were told apart by {told}, too.")
    by_name = {source.name: source for source in objects}
    sources = [by_name[table] for table in found]
    rows = list(found.values())
    padding = padding_of(sources[0]) if len(sources) == 1 else NO_PADDING
    if padding.cells is not None:
        rows = [rows[0][np.isin(rows[0], padding.cells)]]
    gaps = dict(zip(padding.gaps, _gaps(padding, rows[0]), strict=True))
    sources += [sources[0]] * len(gaps)
    rows += gaps.values()
    all_notes += [padding.note] if padding.note else []
    columns: dict[str, JoinedColumn] = {}
    keys = keys_of(sources[0])
    for key, raw in zip((*(bare(raw, sources[0].name) for raw in keys.image), "ObjectNumber"), (*keys.image, keys.number), strict=True):
        columns[key] = JoinedColumn(0, str(raw), sources[0].columns[str(raw)], False)
    known = {name: place for place, name in enumerate(COMPARTMENTS)}
    for index, source in sorted(enumerate(sources[: len(found)]), key=lambda item: known.get(item[1].name, len(known))):
        _add_objects(columns, index, source, list(gaps))
    all_notes = [*notes, *all_notes]
    if image is not None:
        left_out = _add_image(columns, len(sources), image)
        rows.append(rows_of_images(sources[0], rows[0], image, more, objects, all_notes))
        sources.append(image)
        if left_out:
            all_notes.append(f"Columns of the Image table left out, as measurements of whole images, times and check sums: {left_out}.")
    length = len(rows[0])
    same = [
        None if len(source) == length and np.array_equal(found, np.arange(length)) else found
        for source, found in zip(sources, rows, strict=True)
    ]
    if not length:
        all_notes.append("The tables have no row.")
    return JoinedTables(name, tuple(sources), tuple(same), columns, length, tuple(all_notes))


def _add_objects(columns: dict[str, JoinedColumn], index: int, source: TableSource, gaps: Sequence[str]) -> None:
    """Prefix the columns of a compartment with its name; compartments with gaps have further places."""
    for raw, numeric in source.columns.items():
        short = bare(raw, source.name)
        if short in ("ImageNumber", "TableNumber"):
            continue
        named = raw.startswith((f"{METADATA}_", f"{source.name}_"))
        name = f"{source.name}_{raw}" if not named and (short == "ObjectNumber" or raw.split("_", 1)[0] in GROUPS) else raw
        owner = parse(name).compartment
        place = index + 1 + gaps.index(owner) if owner in gaps else index
        columns.setdefault(name, JoinedColumn(place, raw, numeric, numeric and is_feature(name)))


def _add_image(columns: dict[str, JoinedColumn], index: int, image: TableSource) -> int:
    """Name the columns of the image table, and return how many were left out."""
    left_out = 0
    for raw, numeric in image.columns.items():
        short = raw.removeprefix(f"{METADATA}_{IMAGE}_").removeprefix(f"{IMAGE}_")
        if short.removeprefix(f"{METADATA}_") in ("ImageNumber", "TableNumber"):
            continue
        if short.split("_", 1)[0] not in _OF_IMAGES:
            left_out += 1
            continue
        columns.setdefault(short if short.startswith(f"{METADATA}_") else f"{IMAGE}_{short}", JoinedColumn(index, raw, numeric, False))
    return left_out


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in PARQUET


def _is_sqlite(path: Path) -> bool:
    """Return whether a file is a database, by its name or its first bytes."""
    if is_csv(path) or _is_parquet(path):
        return False
    if path.suffix.lower() in SQLITE:
        return True
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"
