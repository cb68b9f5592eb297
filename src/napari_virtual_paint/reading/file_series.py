"""Many files that are one image: a folder, a glob or a sequence."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.downloads.image_cache import Remote
from napari_virtual_paint.errors import NamesError, ReadError
from napari_virtual_paint.reading import filename_patterns
from napari_virtual_paint.reading.file_parts import FilePart, Place, is_remote_place, read_place, with_place
from napari_virtual_paint.reading.formats import (
    SUFFIXES,
    TIFF,
    OpenFile,
    Source,
    is_image_name,
    literal_part,
    open_file,
)
from napari_virtual_paint.reading.instrument_names import NameParts
from napari_virtual_paint.reading.lazy import lazy_array
from napari_virtual_paint.reading.name_words import is_projection
from napari_virtual_paint.reading.ome_xml import COMPANION
from napari_virtual_paint.reading.ome_zarr import is_zarr
from napari_virtual_paint.runtime.hidden_files import is_hidden
from napari_virtual_paint.stack import Stack

_CHECKED = 64  # of more files than this, or of remote ones, only the first is opened at once, the others when their pixels are used
_NOTHING = "it {} that can be read (TIFF, OME-Zarr, PNG, JPEG, ND2, CZI, LIF); check the path"
_JOINED = ("t", "channel", "z")  # axes along which files are joined
Position = tuple[str, ...]  # time point, channel and z-plane of a file, as its name has them
T = TypeVar("T")


class FileSeries:
    """Files that are one image, or one image for each well and field.

    Parameters
    ----------
    path
        What the user named; errors name it.
    pattern
        What the names of the files mean; guessed where it is None.
    axes
        What the user says the axes of each file are.

    Raises
    ------
    ReadError
        If the names can't be understood, or two files are the same plane.
    """

    def __init__(self, files: Sequence[Path], path: Source, pattern: str | None, axes: str | None = None) -> None:
        self._path, self._axes = path, axes
        self._scenes = _group_by_scene(files, path, pattern)

    def scenes(self) -> list[str]:
        """Return the names of the wells and fields."""
        return list(self._scenes)

    def read(self, scene: int | str | None = None) -> Stack:
        """Return the image of one well and field.

        Raises `ReadError` if the files don't fit together, or there are several images and none is chosen.
        """
        names = list(self._scenes)
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        if scene is None and len(names) > 1:
            raise ReadError(
                self._path,
                f"it holds {len(names)} wells or fields ({shown}); choose one with scene={names[0]!r}, or name only its files",
            )
        if isinstance(scene, str) and scene in self._scenes:
            return join_files(self._scenes[scene], self._path, self._axes)
        if not isinstance(scene, str) or scene.isdigit():
            index = int(scene or 0)
            if 0 <= index < len(names):
                return join_files(self._scenes[names[index]], self._path, self._axes)
        raise ReadError(self._path, f"it has no scene {scene!r}; there are {shown}")


@contextlib.contextmanager
def open_series(path: Source, pattern: str | None, axes: str | None = None) -> Iterator[OpenFile | FileSeries]:
    """Open a folder, a glob or a sequence of files; a single file, and the files of one OME-TIFF set, are opened as such.

    Raises `ReadError` if there is no image, or the names of the files can't be understood.
    """
    files = image_files(path, pattern)
    single = files[0] if len(files) == 1 else _set_of(files)
    if single is not None and pattern is None:
        with open_file(single, axes) as file:
            yield file
    else:
        yield FileSeries(files, path, pattern, axes)


def _set_of(files: Sequence[Path]) -> Path | None:
    """Return the file that opens all of them, if they are one OME-TIFF set: their companion file, or else the first of them."""
    if not files or not all(file.suffix.casefold() in TIFF for file in files) or len({file.parent for file in files}) > 1:
        return None
    from napari_virtual_paint.reading.tiff.ome_set import members

    companions = [file for file in files[0].parent.iterdir() if file.name.casefold().endswith(COMPANION) and not is_hidden(file.name)]
    wanted = {file.resolve() for file in files}
    return next((file for file in (*companions, files[0]) if wanted <= {each.resolve() for each in members(file.absolute())}), None)


def image_files(path: Source, pattern: str | None) -> list[Path]:
    """Return the image files that a path means, in natural order."""
    if isinstance(path, str | os.PathLike):
        files = list_images(Path(path), pattern.count("/") if pattern else 0)
        return sorted(files, key=lambda file: filename_patterns.natural(str(file)))
    files = [Path(item).expanduser() for item in path]
    for file in files:
        if not file.exists():
            raise ReadError(file, "there is no such file or folder; check the path")
    if not files:
        raise ReadError(path, _NOTHING.format("names no file"))
    return files


def list_images(path: Path, depth: int = 0) -> list[Path]:
    """Return the image files in a folder, or in its subfolders at some depth, or those that a glob matches; in no order.

    Raises `ReadError` if there is none.
    """
    folder = path.expanduser()
    found = _images_in(folder, depth) if folder.is_dir() else (file for file in map(Path, matching(folder)) if _is_image(file, file))
    files = list(found)
    if not files:
        raise ReadError(path, _NOTHING.format("has no image in it" if folder.is_dir() else "matches no image"))
    return files


def matching(pattern: Path, *, recursive: bool = False) -> list[str]:
    """Return the paths that a glob matches; what is there is taken as it is called, whatever its name.

    Parameters
    ----------
    recursive
        Whether ``**`` goes through folders in folders.
    """
    if pattern.exists():
        return [str(pattern)]
    folder, rest = literal_part(pattern)
    return glob.glob(str(Path(glob.escape(str(folder)), *rest)), recursive=recursive)  # noqa: PTH207 - the folder may be a pattern too


def _images_in(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the images in a folder, or in its subfolders at some depth; of a folder that can't be read none."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                file = folder / entry.name
                if not depth and _is_image(file, entry):
                    yield file
                elif depth and entry.is_dir():
                    yield from _images_in(file, depth - 1)
    except PermissionError:
        return


def _is_image(file: Path, entry: os.DirEntry[str] | Path) -> bool:
    """Return whether a file in a folder is an image; microscopes' small previews are not."""
    name = file.name
    if is_hidden(name) or "thumb" in os.path.splitext(name)[0].lower():  # noqa: PTH122 - for speed
        return False
    return is_zarr(file) if entry.is_dir() else is_image_name(name) and not name.casefold().endswith(COMPANION)


def _stem(file: Path) -> str:
    """Return the name of a file without its suffix; ``.ome.tif`` is one suffix."""
    return file.stem[:-4] if file.stem.lower().endswith(".ome") else file.stem


def _group_by_scene(files: Sequence[Path], path: Source, pattern: str | None) -> dict[str, dict[Position, Path]]:
    """Return the files of each well and field by their position."""
    found: dict[str, dict[Position, Path]] = {}
    for file, parts in _without_projections(parse_names(files, path, pattern)):
        name = "/".join(parts[key] for key in ("well", "field") if key in parts)
        position = tuple(parts.get(key, "") for key in _JOINED)
        first = found.setdefault(name, {}).setdefault(position, file)
        if first is not file:
            raise NamesError(
                path,
                f"by their names {first.name!r} and {file.name!r} are the same plane",
                "give a pattern that distinguishes them, such as '{channel}_{z}'",
            )
    return dict(sorted(found.items(), key=lambda item: filename_patterns.natural(item[0])))


def _without_projections(
    parsed: Sequence[tuple[Path, NameParts]],
) -> Iterator[tuple[Path, NameParts]]:
    """Yield the files without the projections of z-planes that are there; a projection without planes is a plane."""
    stacks = {_place(parts) for _, parts in parsed if not is_projection(parts.get("z", ""))}
    for file, parts in parsed:
        if not is_projection(parts.get("z", "")):
            yield file, parts
        elif _place(parts) not in stacks:
            yield file, {key: text for key, text in parts.items() if key != "z"}


def _place(parts: NameParts) -> tuple[str, ...]:
    return tuple(parts.get(key, "") for key in ("well", "field", "channel", "t"))


def parse_names(files: Sequence[Path], path: Source, pattern: str | None) -> list[tuple[Path, NameParts]]:
    """Return the files with the parts of their names; with a pattern, only those that follow it.

    Raises `ReadError` if no pattern is given and none can be guessed, or no file follows the one given.
    """
    if pattern is None:
        guessed = filename_patterns.guess(names_below(files))
        if guessed is None:
            shown = ", ".join(repr(file.name) for file in files[:2])
            raise NamesError(
                path,
                f"the names of its {len(files)} images ({shown}, ...) don't show how they belong together",
                "give a pattern such as '{well}_{field}_{channel}_{z}' ({t} for time, {} for text to ignore), or open one file",
            )
        return list(zip(files, guessed, strict=True))
    expression = filename_patterns.compile_pattern(pattern)
    with_suffix = pattern.lower().endswith((*SUFFIXES, ".zarr"))
    depth = pattern.count("/")
    names = ["/".join([*file.parts[len(file.parts) - 1 - depth : -1], file.name if with_suffix else _stem(file)]) for file in files]
    matched = [
        (file, parts) for file, parts in zip(files, filename_patterns.match_all(names, expression), strict=True) if parts is not None
    ]
    if not matched:
        raise ReadError(path, f"none of its {len(files)} images ({names[0]!r}, ...) follows the pattern {pattern!r}")
    return matched


def names_below(files: Sequence[Path]) -> list[str]:
    """Return the names of files without suffix, after the folders below their common one: ``A01/site1_DAPI``."""
    folders = {os.path.dirname(file) for file in files}  # noqa: PTH120 - several times as fast as `Path.parent`
    if len(folders) < 2:
        return [_stem(file) for file in files]
    depth = len(Path(os.path.commonpath(folders)).parts)
    return ["/".join((*file.parts[depth:-1], _stem(file))) for file in files]


def join_files(files: Mapping[Position, Place], path: Source | Place, axes: str | None = None) -> Stack:
    """Return the image whose planes are in these files; remote ones are fetched when their pixels are used.

    Parameters
    ----------
    files
        Position -> file.
    path
        The file, folder or URL that becomes the source of the stack; of a sequence, the folder of its first file does.
    axes
        What the user says the axes of each file are.

    Raises
    ------
    ReadError
        If a plane is missing, or the files differ in shape or type.
    """
    order = [sorted({position[i] for position in files}, key=filename_patterns.natural) for i in range(len(_JOINED))]
    for position in itertools.product(*order):
        if position not in files:
            missing = ", ".join(f"{key} {value}" for key, value in zip(_JOINED, position, strict=True) if value)
            raise ReadError(
                path, f"there is no file for {missing}, and an image needs all its planes; copy the missing file, or name only the others"
            )
    single = isinstance(path, str | os.PathLike | Remote | FilePart)
    planes = JoinedPlanes(str(path if single else next(iter(files.values())).parent), files, order, axes)  # type: ignore[union-attr]
    names = planes.first.channels
    if order[1] != [""]:
        names = _channel_names(order[1], planes)
    return replace(planes.first, data=lazy_array(planes), channels=names, source=planes.path, rgb=planes.first.rgb and len(order[1]) == 1)


def _channel_names(tokens: list[str], planes: JoinedPlanes) -> tuple[str, ...] | None:
    """Return the channels' names: those in the names of the files, or in the files where those are mere numbers."""
    if not all(token.isdigit() for token in tokens):
        return tuple(tokens)
    own = [planes.channel_name(i) for i in range(len(tokens))] if planes.checked else []
    return tuple(str(name) for name in own) if own and all(own) and len(set(own)) == len(own) else None


class JoinedPlanes:
    """Planes that are in many files; see `join_files`."""

    def __init__(self, path: str, files: Mapping[Position, Place], order: list[list[str]], axes: str | None = None) -> None:
        self.path = path
        self._files, self._axes, self._letters = files, order, axes
        self._cached = lru_cache(maxsize=8)(self._read)
        self.first = self._with_file(tuple(axis[0] for axis in order), self._open)
        t, c, z, y, x = self.first.shape
        for own, axis, letter in zip((t, c, z), order, ("time points", "channels", "z-planes"), strict=True):
            if own > 1 and len(axis) > 1:
                content = "is a color picture" if letter == "channels" and self.first.rgb else f"holds {own} {letter} itself"
                raise ReadError(
                    self.first.source, f"it {content}, so it can't be joined with others along the same axis; open the files one by one"
                )
        self.samples = c
        self.shape = (t * len(order[0]), c * len(order[1]), z * len(order[2]), y, x)
        self.dtype, self.block = self.first.dtype, (y, x)
        self.checked = len(files) <= _CHECKED and not any(map(is_remote_place, files.values()))
        if self.checked:
            for position in files:
                self._with_file(position, self._read)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the paths, which are opened again in the other process."""
        return JoinedPlanes, (self.path, self._files, self._axes, self._letters)

    def _with_file(self, position: Position, use: Callable[[Path | FilePart], T]) -> T:
        """Call a function with the file at a position, or with a fetched copy of a remote one."""
        return with_place(self._files[position], use)

    def _open(self, path: Path | FilePart) -> Stack:
        """Return the stack of one file."""
        return read_place(path, self._letters)

    def _read(self, path: Path | FilePart) -> Stack:
        """Return the stack of one file, which must have the shape and type of the first."""
        stack = self._open(path)
        if (stack.shape, stack.dtype) != (self.first.shape, self.first.dtype):
            raise ReadError(
                stack.source,
                f"it is {stack.dtype} {stack.shape} but {self.first.source} is {self.first.dtype} {self.first.shape} (TCZYX),"
                " so they are not one image; open them one by one",
            )
        return stack

    def channel_name(self, index: int) -> str | None:
        """Return the name of a channel in its file."""
        names = self._with_file((self._axes[0][0], self._axes[1][index], self._axes[2][0]), self._cached).channels
        return names[0] if names is not None and len(names) == 1 else None

    def plane(self, t: int, c: int, z: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return (samples, rows, columns) of one plane."""
        own_t, _, own_z = self.first.shape[:3]
        group = c if len(self._axes[1]) > 1 else 0
        position = (self._axes[0][t // own_t], self._axes[1][group], self._axes[2][z // own_z])

        def pixels(path: Path | FilePart) -> npt.NDArray[Any]:
            # The copy of a remote file may have been evicted and replaced by the next time, so its stack is not cached.
            stack = self._read(path) if is_remote_place(self._files[position]) else self._cached(path)
            region = stack.data[t % own_t, :, z % own_z, rows, columns]
            return np.asarray(region if isinstance(region, np.ndarray) else region.compute(scheduler="synchronous"))

        return self._with_file(position, pixels)
