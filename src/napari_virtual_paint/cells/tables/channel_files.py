"""The pictures that a CellProfiler run measured: which file shows each channel of an image, and where that file lies here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading.file_series import matching
from napari_virtual_paint.runtime.hidden_files import is_hidden

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.cells.tables.table import CellTable

_COLUMN = re.compile(r"(?:Metadata_Image_|Image_|Metadata_)?(FileName|PathName|URL|Frame|Series)_(.+)")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?!\\)")  # of a URL; a single letter is a drive
_LIMIT = 1_000_000  # files below a folder


@dataclass(frozen=True)
class NamedFile:
    """A file as a table names it."""

    name: str
    folders: tuple[str, ...] = ()  # as on the machine that measured it, outermost first
    remote: bool = False  # whether the table gives its address in a network
    frame: int = 0  # which of its planes was measured
    series: int = 0  # which of its images

    @classmethod
    def of(cls, name: object, folder: object = None, url: object = None, frame: object = None, series: object = None) -> NamedFile | None:
        """Return what ``FileName_``, ``PathName_``, ``URL_``, ``Frame_`` and ``Series_`` of a channel say; None where they name no file."""
        parts, remote = _parts(name)
        if not parts:
            parts, remote = _parts(url)
            if not parts:
                return None
        else:
            before, elsewhere = _parts(folder)
            parts, remote = [*before, *parts], remote or elsewhere
        return cls(parts[-1], tuple(parts[:-1]), remote, _whole(frame), _whole(series))

    def __str__(self) -> str:
        return "/".join((*self.folders, self.name))


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The pictures of one image, a file for each channel."""

    files: Mapping[str, NamedFile]  # channel -> its file
    rows: npt.NDArray[np.int64]  # rows of the table whose cells it shows

    @property
    def name(self) -> str:
        """The name of its first file."""
        return next(iter(self.files.values())).name


class ChannelFiles:
    """The files that a table names for each channel: ``FileName_DNA``, ``PathName_DNA``, ``URL_DNA``, as of LoadData.

    Attributes
    ----------
    channels
        Names of the channels that have files.
    """

    def __init__(self, table: CellTable) -> None:
        self._table = table
        self._columns: dict[tuple[str, str], str] = {}
        for column in sorted(table.metadata, key=lambda name: not name.startswith("Image_")):
            if found := _COLUMN.fullmatch(column):
                self._columns.setdefault((found[2], found[1]), column)
        self.channels = tuple(dict.fromkeys(channel for channel, kind in self._columns if kind in ("FileName", "URL")))

    @cached_property
    def image_sets(self) -> tuple[ImageSet, ...]:
        """The images in the order of their first cells; cells of images without a file are in none."""
        columns = [name for (channel, _), name in self._columns.items() if channel in self.channels]
        numbers = [name for name in ("Metadata_Folder", "TableNumber", "ImageNumber") if name in self._table.metadata]
        frame = self._table.frame([*numbers, *columns])
        number = frame.groupby([*numbers, *columns], sort=False, dropna=False).ngroup().to_numpy()
        first = np.unique(number, return_index=True)[1]
        rows = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number, minlength=len(first)))[:-1])
        found = []
        for at, own in zip(first, rows, strict=True):
            files = {channel: self._file(frame, int(at), channel) for channel in self.channels}
            known = {channel: file for channel, file in files.items() if file is not None}
            if known:
                found.append(ImageSet(known, own.astype(np.int64)))
        return tuple(found)

    def _file(self, frame: pd.DataFrame, row: int, channel: str) -> NamedFile | None:
        def value(kind: str) -> Any:
            column = self._columns.get((channel, kind))
            return None if column is None else frame[column].iloc[row]

        return NamedFile.of(*(value(kind) for kind in ("FileName", "PathName", "URL", "Frame", "Series")))


class FileIndex:
    """The files below some folders, by name.

    Parameters
    ----------
    places
        Folders, files, or patterns of them.

    Raises
    ------
    InputError
        If a place does not exist, or holds too many files.
    """

    def __init__(self, places: Iterable[str | Path]) -> None:
        self.places = tuple(dict.fromkeys(str(place) for place in places))
        self._paths: dict[str, dict[Path, None]] = {}
        self._count = 0
        for place in self.places:
            there = matching(Path(place).expanduser(), recursive=True)
            if not there:
                raise InputError(f"{place}: there is no such file or folder; name the folder of the pictures.")
            for path in map(Path, sorted(there)):
                for file in _files(path) if path.is_dir() else (path,):
                    self._add(file.absolute())

    def _add(self, path: Path) -> None:
        self._paths.setdefault(path.name.casefold(), {})[path] = None
        self._count += 1
        if self._count > _LIMIT:
            raise InputError(f"{', '.join(self.places)}: there are more than {_LIMIT:,} files below it; name the folder of the pictures.")

    def find(self, file: NamedFile) -> Path | None:
        """Return the file of this name; of several the one whose folders agree deepest with those in the table. None where there is none.

        Raises `InputError` if the folders don't tell several apart.
        """
        every = list(self._paths.get(file.name.casefold(), ()))
        same = [path for path in every if path.name == file.name] or every
        if not same:
            return None
        shared = [_shared(path.parent.parts, file.folders) for path in same]
        best = [path for path, count in zip(same, shared, strict=True) if count == max(shared)]
        if len({path.resolve() for path in best}) > 1:
            raise InputError(
                f"{best[0]}, {best[1]}: both may be the {file} of the table, whose folders are on another machine; name the folder of one "
                "of them as the images."
            )
        return best[0]


def _files(folder: Path) -> Iterable[Path]:
    """Yield the files below a folder; links to folders are not followed, so that none is walked twice."""
    for inner, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (Path(inner, name) for name in sorted(names) if not is_hidden(name))


def _shared(own: Sequence[str], named: Sequence[str]) -> int:
    """Return how many folders agree, from the innermost outwards, in any case of the letters."""
    count = 0
    for a, b in zip(reversed(own), reversed(named), strict=False):
        if a.casefold() != b.casefold():
            break
        count += 1
    return count


def _parts(value: object) -> tuple[list[str], bool]:
    """Return the parts of a path of whatever machine, or of a URL, and whether it is in a network; steps upwards are left out."""
    if not isinstance(value, str) or not value.strip() or value.strip().casefold() in ("nan", "none"):
        return [], False
    text, remote = value.strip(), False
    if found := _SCHEME.match(text):
        remote = found[1].casefold() != "file"
        text = unquote(text[found.end() :].split("?")[0].split("#")[0] if remote else text[found.end() :])
    return [part for part in re.split(r"[\\/]+", text) if part not in ("", ".", "..") and not re.fullmatch(r"[A-Za-z]:", part)], remote


def _whole(value: object) -> int:
    """Return a number of a plane, 0 where there is none."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 0
    return int(number) if np.isfinite(number) and number > 0 else 0
