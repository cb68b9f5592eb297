"""Pairs of files: matched by pattern in a folder, or listed in a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.plates import wells
from napari_virtual_paint.training.config.data import STAR, Data
from napari_virtual_paint.training.data.source import PARTS, Part, Source

PATHS = ("input", "target", "image")


def from_folder(data: Data) -> list[Source]:
    """Match the files of a folder by what ``*`` (or, for folders in folders, ``**``) stands for.

    Raises
    ------
    InputError
        If there is no such folder, or no file that matches.
    """
    folder = data.folder
    assert folder is not None
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder (data.folder).")
    first, second, label = (data.image, data.image, "image") if data.image is not None else (data.input, data.target, "input")
    if "*" not in first:
        return [Source(folder.resolve().name, str(folder / first), str(folder / second))]
    before, after = STAR.split(first)
    ahead, behind = STAR.split(second)
    sources = []
    for path in sorted(folder.glob(first)):
        shown = path.relative_to(folder).as_posix()
        star = shown[len(before) : len(shown) - len(after)]
        sources.append(Source(star, str(path), str(folder / f"{ahead}{star}{behind}")))
    if not sources:
        raise InputError(f"{folder}: no file matches {first!r} (data.{label}).")
    return sources


def from_csv(path: Path) -> list[Source]:
    """Read the table of pairs.

    Parameters
    ----------
    path
        A CSV file with the columns ``input`` and ``target``, or ``image`` for files that hold both; ``split``; and what else is known
        of each, such as ``plate``, ``well``, ``batch`` and ``treatment``. Paths start from its folder. The case of a column's name and
        ``Metadata_`` before it don't matter.

    Raises
    ------
    InputError
        If it can't be read, or a line can't be used.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            read = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: the table of pairs can't be read ({error}).") from error
    rows = [{_key(name): (value or "").strip() for name, value in row.items() if name is not None} for row in read]
    header = set(rows[0]) if rows else set()
    if not ({"input", "target"} <= header or "image" in header):
        raise InputError(
            f"{path}: the table needs a first line 'input,target' (or 'image', for files that hold both, and if wanted split, plate, well,"
            " batch, treatment), then a line for each pair."
        )
    return [_table_row(path, number, row) for number, row in enumerate(rows, start=2)]


def _key(name: str) -> str:
    return name.strip().casefold().removeprefix("metadata_")


def _table_row(path: Path, number: int, row: Mapping[str, str]) -> Source:
    """Return the pair of a line of the table."""
    split = row.get("split", "").lower()
    part: Part | None = next((part for part in PARTS if part == split), None)
    if split and part is None:
        raise InputError(f"{path}: line {number}: split must be train, validation or test, not {split!r}.")
    first, second = (row.get(column, "") for column in (("image", "image") if row.get("image") else ("input", "target")))
    if not first or not second:
        raise InputError(f"{path}: line {number}: a pair needs both input and target.")
    source, target = path.parent / first, path.parent / second
    told = {key: value for key, value in row.items() if value and key not in (*PATHS, "split")}
    if "well" in told:
        told["well"] = _well(told["well"])
    return Source(source.name.split(".")[0], str(source), str(target), part, told=told)


def _well(name: str) -> str:
    """Return a well's one name, whatever way it is written; what is no well's name stays."""
    try:
        return wells.canonical(name)
    except InputError:
        return name
