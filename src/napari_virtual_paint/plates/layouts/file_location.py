"""Locate a file that a table names: by a path (also of files that were moved), a ``file://`` URL or a remote URL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from napari_virtual_paint.downloads.image_cache import Remote, is_remote
from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.layouts.index_search import list_folder

_LEVELS_BELOW = 3  # levels of folders in which files are looked for
_DRIVE = re.compile(r"[A-Za-z]:")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def locate(folder: str, name: str) -> Path | Remote:
    """Return the path of a file, or its remote location.

    Parameters
    ----------
    folder
        The folder that a relative path starts from.
    name
        A path (of Windows, too, if it is relative) or a URL.

    Raises
    ------
    ReadError
        If it is a URL of an unknown kind.
    """
    if not _URL.match(name):
        return Path(folder, name.replace("\\", "/") if not Path(name).is_absolute() else name).expanduser()
    if is_remote(name):
        return Remote(name)
    parts = urlsplit(name)
    if parts.scheme.lower() == "file" and parts.netloc.lower() in ("", "localhost"):
        return Path(url2pathname(parts.path))
    raise ReadError(name, "images are fetched only by https://, http:// and s3://; copy this one to a disk and name the copy in the table")


def relocate(names: Sequence[str], folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of a table's files, and a note if they were found beside the table instead of where it says.

    A table made on another machine names folders that don't exist here. Where the first file of such a folder is missing, its files are
    looked for below the table's folder (see `FileFinder`). Copies of remote files count only in the folders that their addresses end in.
    """
    found, finder = list(names), FileFinder(folder)
    notes: list[str] = []
    for place, rows in _by_folder(names).items():
        if exists(folder, names[rows[0]]):
            continue
        parts = [part for part in place.split("/") if part not in ("", ".", "..")]
        own = [_file_of(names[row]) for row in rows]
        files = finder.find(parts, own, below=not is_remote(names[rows[0]]))
        if files:
            for row, file in zip(rows, own, strict=True):
                found[row] = files.get(file.casefold(), names[row])
            notes.append(_moved(place, str(Path(next(iter(files.values()))).parent)))
    return found, tuple(dict.fromkeys(f"Its images are not in {place}, as it says; those beside the table are taken." for place in notes))


def find_images(names: Iterable[str], index: Path, *, above: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return each name of an image in a microscope's index -> where it is now, relative to the index's folder, and notes.

    Images are looked for in the folder that their names say, then below and, if `above`, beside it (see `FileFinder`): they may have been
    moved, renamed to other letters, or be named by the path that they had on the instrument. One that is nowhere keeps its name.

    Raises `ReadError` for a URL or a name that leads further up than the folder above, which no instrument writes.
    """
    every = list(dict.fromkeys(names))
    finder = FileFinder(index.parent, above=above)
    found: dict[str, str] = {}
    elsewhere: dict[str, None] = {}
    missing: list[str] = []
    for place, rows in _by_folder(every).items():
        parts = _parts_inside(place, every[rows[0]], index)
        own = [_file_of(every[row]) for row in rows]
        files = finder.find(parts, own)
        named = "/".join(parts)
        for row, file in zip(rows, own, strict=True):
            there = files.get(file.casefold())
            missing += [file] if there is None else []
            found[every[row]] = there if there is not None else "/".join((*parts, file))
        folders = {file.rpartition("/")[0] for file in files.values()}
        if any(folder.casefold() != named.casefold() for folder in folders) and (place or any(".." in folder for folder in folders)):
            elsewhere[_moved(place, min(folders))] = None
    notes = [f"Its images are not in {place or 'its folder'}, as {index.name} says; those near it are taken." for place in elsewhere]
    if len(missing) == len(every):
        notes.append(f"None of the {len(every)} images that {index.name} lists is there.")
    elif missing:
        notes.append(f"{index.name} lists {len(every)} images, of which {len(missing)} are not there ({missing[0]} ...).")
    return found, tuple(notes)


class FileFinder:
    """Finds files by their names, in any case of letters, in a folder and near it; each folder is listed once.

    Parameters
    ----------
    folder
        Files are returned relative to it.
    above
        Whether to look in the folder above, too.
    """

    def __init__(self, folder: Path, *, above: bool = False) -> None:
        self._folder, self._above = folder, above
        self._listed: dict[str, tuple[dict[str, str], dict[str, str]]] = {}

    def find(self, parts: Sequence[str], files: Sequence[str], *, below: bool = True) -> dict[str, str]:
        """Return name of a file in small letters -> its path relative to the folder, with slashes, for those that are found.

        Parameters
        ----------
        parts
            The folders that the files are said to be in. They are looked for there, then in the end of these folders (``images`` of
            ``plates/P1/images``), then in all folders up to three levels below, and in the folder above.
        files
            Names of files, without folders.
        below
            Whether to look in all folders below, too.

        Raises
        ------
        ReadError
            If two folders of one level have a file of a name.
        """
        left = {file.casefold() for file in files}
        found: dict[str, str] = {}
        for level in self._levels(parts, below):
            here: dict[str, str] = {}
            for place in level:
                names = self._list(place)[0]
                for key in left & names.keys() if len(left) < len(names) else [key for key in names if key in left]:
                    if key in here:
                        raise ReadError(
                            self._folder,
                            f"the image {names[key]!r} is in {here[key].rpartition('/')[0]} and in {place}; open the one to take alone",
                        )
                    here[key] = f"{place}/{names[key]}" if place else names[key]
            found |= here
            left -= here.keys()
            if not left:
                break
        return found

    def _levels(self, parts: Sequence[str], below: bool) -> Iterator[list[str]]:
        """Yield lists of folders, in the order in which they are looked at."""
        for kept in range(len(parts), -1, -1):
            place = self._in_any_case("", parts[len(parts) - kept :])
            if place is not None:
                yield [place]
        level = [""]
        for _ in range(_LEVELS_BELOW if below else 0):
            level = [f"{place}/{name}" if place else name for place in level for name in self._list(place)[1].values()]
            yield level
        if self._above:
            for kept in range(len(parts), -1, -1):
                place = self._in_any_case("..", parts[len(parts) - kept :])
                if place is not None:
                    yield [place]

    def _in_any_case(self, place: str, parts: Sequence[str]) -> str | None:
        """Return a folder below a place by the names of folders, in any case; None if there is none."""
        for part in parts:
            name = self._list(place)[1].get(part.casefold())
            if name is None:
                return None
            place = f"{place}/{name}" if place else name
        return place

    def _list(self, place: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the files and the folders of a place, by their names in small letters."""
        if place not in self._listed:
            listed = list_folder(self._folder / place)
            folders = {name.casefold(): name for name in listed.folders if not name.casefold().endswith((".zarr", ".job"))}
            self._listed[place] = ({name.casefold(): name for name in listed.files}, folders)
        return self._listed[place]


def _by_folder(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the folder in names of files -> the numbers of the names."""
    found: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        if name:
            found.setdefault(name.replace("\\", "/").rpartition("/")[0], []).append(i)
    return found


def _file_of(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _parts_inside(place: str, name: str, index: Path) -> list[str]:
    """Return the folders of a name in an index, without a drive and the way up.

    Raises `ReadError` if it is a URL, or leads further up than one folder.
    """
    parts = [part for part in place.split("/") if part not in ("", ".")]
    if _URL.match(name) or parts.count("..") > 1 or ".." in parts[1:]:
        raise ReadError(index, f"it points out of its folder ({name!r}); it is damaged, hostile, or the images were never copied")
    return [part for part in parts if part != ".." and not _DRIVE.fullmatch(part)]


def _moved(named: str, found: str) -> str:
    """Return the folder that is said, without the end that is the same where the files were found."""
    said, here = named.split("/"), [part for part in found.split("/") if part not in ("", ".", "..")]
    while here and said and said[-1].casefold() == here[-1].casefold():
        said.pop()
        here.pop()
    return "/".join(said)


def exists(folder: Path, name: str) -> bool:
    """Return whether a local file is where its name says; False for a remote one, which is not looked up."""
    try:
        location = locate(str(folder), name)
    except ReadError:
        return False
    return isinstance(location, Path) and location.is_file()


def remote_note(names: Sequence[str]) -> tuple[str, ...]:
    """Return a note if a table's images are remote, judged by the first."""
    first = next((name for name in names if name), "")
    if not is_remote(first):
        return ()
    host = urlsplit(first)
    return (f"Its images are at {host.scheme}://{host.netloc} and are fetched when they are read.",)
