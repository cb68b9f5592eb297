"""Which columns number the images, and the image of each cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_virtual_paint.cells.cellprofiler_names import IMAGE, METADATA
from napari_virtual_paint.cells.tables.joins import coded, image_keys, keys_of, repeated
from napari_virtual_paint.cells.tables.parquet import Rows, TableSource
from napari_virtual_paint.errors import ReadError

_PASSING = ("ExecutionTime", "ModuleError", "MemoryUsage")  # measurements that differ when an image is measured again


def keys_of_images(objects: Sequence[TableSource], image: TableSource) -> dict[str, tuple[str, ...]]:
    """Return the columns that tell the images apart besides their numbers; none where the numbers do.

    Where tables of several sites or plates were put together, numbers repeat; metadata that all tables have may tell the images apart.

    Returns
    -------
    dict
        Name of a table -> its columns, in the same order for all.

    Raises
    ------
    ReadError
        If nothing tells them apart.
    """
    columns = keys_of(image).image[-_shared([*objects, image]) :]
    keys = image_keys(image, columns)
    (codes,) = coded([keys])
    again = _again(codes)
    if not len(again) or _same(image, codes, again):
        return {}
    own = {table.name: _metadata(table) for table in (*objects, image)}
    names = [name for name in own[image.name] if all(name in known for known in own.values())]
    if names:
        (codes,) = coded([[*keys, *image_keys(image, [own[image.name][name] for name in names])]])
        if not len(_again(codes)):
            return {table: tuple(known[name] for name in names) for table, known in own.items()}
    raise ReadError(image.path, repeated(keys[-1][int(again[0])].as_py(), "several rows"))


def rows_of_images(
    source: TableSource, rows: Rows, image: TableSource, more: dict[str, tuple[str, ...]], shared: Sequence[TableSource], notes: list[str]
) -> Rows:
    """Return each cell's row in the image table; -1 where it is not listed.

    Parameters
    ----------
    source, rows
        The table whose objects are the cells, and their rows in it.
    more
        Result of `keys_of_images`.
    shared
        All tables that are joined.
    notes
        Gets sentences on images that are not listed, or twice.

    Raises
    ------
    ReadError
        If the image table lacks the table number, and image numbers are those of several tables.
    """
    count = _shared([*shared, image])
    own, listed = keys_of(source).image, keys_of(image).image
    cells = image_keys(source, [*own[-count:], *more.get(source.name, ())])
    if len(own) > count:
        (full,), (part,) = coded([image_keys(source, own)]), coded([cells])
        if len(np.unique(full)) > len(np.unique(part)):
            lacking = next(table for table in (image, *shared) if len(keys_of(table).image) <= count)
            raise ReadError(lacking.path, "it has no TableNumber, though several tables number images alike; export it again")
    images, code = coded([image_keys(image, [*listed[-count:], *more.get(image.name, ())]), cells])
    first_code, first = np.unique(images, return_index=True)
    first_code, first = first_code[first_code >= 0], first[first_code >= 0]
    if len(first_code) < len(images):
        notes.append(f"Rows of the Image table without a number of their own are left out: {len(images) - len(first_code)}.")
    row_of = np.full(int(max(images.max(initial=0), code.max(initial=0))) + 2, -1, np.int64)  # the last is for cells without a number
    row_of[first_code] = first
    found: Rows = row_of[code][rows]
    if missing := int((found < 0).sum()):
        notes.append(f"Cells in images that the Image table doesn't list, so without its metadata: {missing}.")
    return found


def _shared(tables: Sequence[TableSource]) -> int:
    """Return how many image key columns all tables have: the table number counts where all have it."""
    return min(len(keys_of(table).image) for table in tables)


def _again(codes: Rows) -> Rows:
    """Return the rows whose code was there before."""
    _, first = np.unique(codes, return_index=True)
    return np.setdiff1d(np.flatnonzero(codes >= 0), first, assume_unique=True)


def _same(image: TableSource, codes: Rows, again: Rows) -> bool:
    """Return whether repeated rows of the image table are those of images that are listed twice."""
    columns = [name for name in image.columns if name.removeprefix(f"{IMAGE}_").split("_")[0] not in _PASSING]
    there, first = np.unique(codes, return_index=True)
    before = first[np.searchsorted(there, codes[again])]
    table = image.read(columns, np.concatenate([before, again])).to_pandas()
    return bool(table.iloc[: len(again)].reset_index(drop=True).equals(table.iloc[len(again) :].reset_index(drop=True)))


def _metadata(table: TableSource) -> dict[str, str]:
    """Return the metadata of a table's images: name -> column."""
    found: dict[str, str] = {}
    for column in table.columns:
        name = column.removeprefix(f"{IMAGE}_").removeprefix(f"{METADATA}_{IMAGE}_")
        if name.startswith(f"{METADATA}_") and "Number" not in name and "Parent_" not in name:
            found.setdefault(name, column)
    return found
