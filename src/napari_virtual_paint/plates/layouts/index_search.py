"""Find the files in which microscopes list or describe a plate's images: in a folder, up to three levels below, or one above."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from napari_virtual_paint.plates.layouts import OpenRequest, SeveralPlatesError
from napari_virtual_paint.reading.formats import SUFFIXES as IMAGES

DEPTH = 3  # levels below a folder at which an index is looked for; a folder ``Images`` is part of the one above it
MOST_ENTRIES = 400_000  # entries of folders that are looked at for one
QUICK_FOLDER, QUICK = 400, 1600  # entries of a folder, and of all folders, that are looked at where the answer must be quick
HEAD = 1 << 16  # bytes of an index in which its plate's name is looked for


@dataclass(frozen=True)
class IndexKind:
    """How the index of a layout is recognized."""

    layout: str  # name of the layout
    matches: Callable[[str], bool]  # whether a file, by its name in small letters, is an index
    rank: Callable[[str], int] = lambda name: 0
    """Sorts the files of one folder by their names in small letters; of several with the same plate the first is read."""
    name_of: Callable[[Path], str] = lambda path: ""  # name of the plate in an index, read quickly; empty if it has none
    folders: Callable[[str], bool] = lambda name: False  # whether a folder, by its name, can be part of the plate without an index
    usual: tuple[str, ...] = ()  # names that such files usually have, which are looked for in folders that are too large to be listed


@dataclass(frozen=True)
class FoundIndex:
    """An index of a plate."""

    path: Path
    layout: str
    name: str  # name of the plate in it; empty if it has none
    painted: bool = False  # whether a job of ours lies beside it: the output of painting another plate


@dataclass(frozen=True)
class Folder:
    """A folder's entries that are not hidden."""

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]
    cut: bool = False  # whether there are more

    @cached_property
    def others(self) -> tuple[tuple[str, str], ...]:
        """The files that are no images, each in small letters and as it is: few of the many names that every layout looks at."""
        small = ((name.casefold(), name) for name in self.files)
        return tuple((low, name) for low, name in small if not low.endswith(IMAGES))


class _Listing:
    """What `list_folder` has returned, and how many entries it may still look at."""

    def __init__(self, quick: bool) -> None:
        self.known: dict[Path, Folder] = {}
        self.most = QUICK_FOLDER if quick else sys.maxsize
        self.left = QUICK if quick else sys.maxsize


_listing: ContextVar[_Listing | None] = ContextVar("_listing", default=None)


@contextmanager
def each_folder_listed_once(*, quick: bool = False) -> Iterator[None]:
    """Remember what `list_folder` returns while one plate is opened: every layout looks at the same folders, which may hold many images.

    Parameters
    ----------
    quick
        Whether only the first entries of folders are listed, `QUICK_FOLDER` of each and `QUICK` in all.
    """
    token = _listing.set(_Listing(quick)) if _listing.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _listing.reset(token)


def list_folder(path: Path) -> Folder:
    """Return the entries of a folder, sorted; none if it can't be read."""
    listing = _listing.get()
    if listing is None:
        return _list(path, sys.maxsize)
    if path not in listing.known:
        found = listing.known[path] = _list(path, min(listing.most, listing.left))
        listing.left -= len(found.files) + len(found.folders)
    return listing.known[path]


def _list(path: Path, most: int) -> Folder:
    files: list[str] = []
    folders: list[str] = []
    cut = False
    try:
        with os.scandir(path) as entries:
            for count, entry in enumerate(entries):
                if count >= most:
                    cut = True
                    break
                if not is_hidden(entry.name):
                    (folders if entry.is_dir() else files).append(entry.name)
    except OSError:
        return Folder(path, (), ())
    return Folder(path, tuple(sorted(files)), tuple(sorted(folders)), cut)


def is_hidden(name: str) -> bool:
    """Return whether a file is hidden or made by a file manager: ``._Index.xml``, ``.DS_Store``, ``Thumbs.db``."""
    return name.startswith(".") or (len(name) < 12 and name.casefold() in ("thumbs.db", "desktop.ini"))


def indexes_in(folder: Folder, kinds: Iterable[IndexKind]) -> list[FoundIndex]:
    """Return the indexes in a folder, one for each plate."""
    found: list[FoundIndex] = []
    for kind in kinds:
        names = [name for low, name in folder.others if kind.matches(low)]
        if folder.cut:
            names += [name for name in kind.usual if name not in names and (folder.path / name).is_file()]
        seen: set[str] = set()
        for name in sorted(names, key=lambda name: (kind.rank(name.casefold()), name)):
            path = folder.path / name
            plate = kind.name_of(path) if len(names) > 1 else ""
            if kind.rank(name.casefold()) and plate in seen:
                continue  # another form of an index that was found: Index.ref.xml beside Index.idx.xml
            seen.add(plate)
            found.append(FoundIndex(path, kind.layout, plate))
    return found


def indexes_below(
    path: Path, kinds: tuple[IndexKind, ...], is_plate: Callable[[Path], bool], most_entries: int = MOST_ENTRIES
) -> tuple[list[FoundIndex], Folder]:
    """Return the indexes of plates in the folders below a folder, and the folder's own entries.

    Folders below an index belong to its plate and are not looked at; so are those below a Zarr.

    Parameters
    ----------
    is_plate
        Whether a ``.zarr`` is a plate.
    most_entries
        Number of entries after which the search ends.
    """
    top = list_folder(path)
    found: list[FoundIndex] = []
    level, seen = [top], len(top.files) + len(top.folders)
    for depth in range(DEPTH + 1):
        following: list[Folder] = []
        for folder, name in _inner(level):
            inner = folder.path / name
            if depth == DEPTH and name.casefold() != "images":
                continue
            if name.casefold().endswith(".zarr"):
                painted = f"{name}.job" in folder.folders
                found += [FoundIndex(inner, "ome-zarr", "", painted)] if is_plate(inner) else []
            elif not name.casefold().endswith(".job"):
                listed = list_folder(inner)
                here = indexes_in(listed, kinds)
                found += here
                following += [] if here else [listed]
                seen += len(listed.files) + len(listed.folders)
            if seen > most_entries:
                return found, top
        level = following
    return found, top


def _inner(level: Iterable[Folder]) -> Iterator[tuple[Folder, str]]:
    for folder in level:
        for name in folder.folders:
            yield folder, name


def find_index(request: OpenRequest, kind: IndexKind) -> Path | None:
    """Return the index of a kind that a request names or that lies in its folder or, where none does, below it; None if there is none.

    Raises `SeveralPlatesError` if there are several, and the request does not say which plate.
    """
    path = request.path
    if path.is_file():
        return path if kind.matches(path.name.casefold()) else None
    if not path.is_dir():
        return None
    found, _ = plates_in(path, (kind,))
    if not found:
        found, _ = indexes_below(path, (kind,), lambda _: False)
    return choose(found, request).path if found else None


def plates_in(path: Path, kinds: Iterable[IndexKind]) -> tuple[list[FoundIndex], Folder]:
    """Return the indexes in a folder or in its folder ``Images``, which belongs to the plate, and the folder's entries."""
    kinds, top = tuple(kinds), list_folder(path)
    found = indexes_in(top, kinds)
    layouts = {index.layout for index in found}
    for name in top.folders:
        if name.casefold() == "images":
            found += [index for index in indexes_in(list_folder(path / name), kinds) if index.layout not in layouts]
    return found, top


def choose(found: Sequence[FoundIndex], request: OpenRequest) -> FoundIndex:
    """Return the one index of several plates that a request names.

    The painted plates among others are opened only by their names.

    Raises `SeveralPlatesError` if it names none, or there is none of that name.
    """
    offered = [index for index in found if not index.painted] or list(found)
    if len(found) == 1 or (len(offered) == 1 and request.plate is None):
        return offered[0]  # `open_plate` checks its name, which may be in it
    plates = plates_by_name(offered, request.path)
    for named in () if request.plate is None else (plates, plates_by_name(found, request.path)):
        label = chosen_by(request.plate or "", named)
        if label is not None:
            return named[label]
    raise SeveralPlatesError(request.path, tuple(plates), request.plate)


def has_images(folder: Folder) -> bool:
    """Return whether a folder itself has image files."""
    return any(name.casefold().endswith(IMAGES) for name in folder.files)


def plates_by_name(found: Iterable[FoundIndex], path: Path) -> dict[str, FoundIndex]:
    """Return name -> index: the name in the index where each has one of its own, else that of its folder or file below a path."""
    indexes = list(found)
    names = [index.name for index in indexes]
    if len({name.casefold() for name in names}) == len(names) and all(names):
        return dict(zip(names, indexes, strict=True))
    parents = [index.path.parent for index in indexes]
    labels: dict[str, FoundIndex] = {}
    for index in indexes:
        own = index.path.is_dir() or parents.count(index.path.parent) > 1
        place = index.path if own else index.path.parent
        label = re.sub(r"/images$", "", place.relative_to(path).as_posix(), flags=re.IGNORECASE) if place != path else place.name
        short = label.removesuffix(place.suffix) if own and not index.path.is_dir() else label
        labels[label if short in labels else short] = index
    return labels


def chosen_by(wanted: str, plates: Mapping[str, FoundIndex]) -> str | None:
    """Return the name of the one plate that a text names: by its name, that of its index, folder or file; None for none or several."""
    text = wanted.strip().strip("/").casefold()

    def names(label: str, index: FoundIndex) -> set[str]:
        file = index.path
        own = {label, index.name, Path(label).name, file.name, file.stem, str(file), str(file.parent)}
        return {name.casefold() for name in own if name}

    exact = [label for label in plates if label.casefold() == text]
    found = exact or [label for label, index in plates.items() if text in names(label, index)]
    return found[0] if len(found) == 1 else None


def head_of(path: Path) -> str:
    """Return the first part of a file as text; empty if it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD).decode("utf-8", errors="replace")
    except OSError:
        return ""


def tag_in_head(path: Path, pattern: str) -> str:
    """Return the first group of a regular expression in the first part of a file; empty if it is not there."""
    match = re.search(pattern, head_of(path))
    return match[1].strip() if match else ""
