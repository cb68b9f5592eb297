"""Many files that are one image: a folder, a glob or a sequence."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.downloads.image_cache import Remote, with_copy
from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading import filename_patterns
from napari_virtual_paint.reading.formats import SUFFIXES, Source, read_one
from napari_virtual_paint.reading.lazy import lazy_array
from napari_virtual_paint.reading.ome_zarr import is_zarr
from napari_virtual_paint.stack import Stack

_CHECKED = 64
"""Of more files than this, or where they must be fetched, only the first is opened at once; the others when their pixels are asked for."""
_NOTHING = "it {} that can be read (TIFF, OME-Zarr, PNG, JPEG, ND2, CZI, LIF); check the path"
_JOINED = ("t", "channel", "z")
T = TypeVar("T")


def scenes_joined(path: Source, pattern: str | None) -> list[str]:
    """Return the names of the wells and fields in a folder or among files."""
    return list(_scenes(image_files(path, pattern), path, pattern))


def read_joined(path: Source, pattern: str | None, scene: int | str | None) -> Stack:
    """Return one image joined from many files.

    Raises
    ------
    ReadError
        If the files are no one image, or several and none is chosen.
    """
    files = image_files(path, pattern)
    if len(files) == 1 and pattern is None:
        return read_one(files[0], scene)
    found = _scenes(files, path, pattern)
    return join_files(_chosen(found, scene, path), path)


def image_files(path: Source, pattern: str | None) -> list[Path]:
    """Return the image files that are meant, in natural order."""
    if isinstance(path, str | os.PathLike):
        files = listed_files(Path(path), pattern.count("/") if pattern else 0)
        return sorted(files, key=lambda file: filename_patterns.natural(str(file)))
    files = [Path(item).expanduser() for item in path]
    for file in files:
        if not file.exists():
            raise ReadError(file, "there is no such file or folder; check the path")
    if not files:
        raise ReadError(path, _NOTHING.format("names no file"))
    return files


def listed_files(path: Path, depth: int = 0) -> list[Path]:
    """Return the image files in a folder, or in its subfolders of some depth, or those that a glob matches; in no order.

    Raises
    ------
    ReadError
        If there is none.
    """
    folder = path.expanduser()
    if folder.is_dir():
        files = [file for file in folder.glob("*/" * depth + "*") if _is_image(file)]
    else:
        files = [Path(name) for name in glob.glob(str(folder)) if _is_image(Path(name))]  # noqa: PTH207 - the folder may be a pattern too
    if not files:
        raise ReadError(path, _NOTHING.format("has no image in it" if folder.is_dir() else "matches no image"))
    return files


def _is_image(file: Path) -> bool:
    """Return whether a file in a folder is an image; microscopes' small previews are not."""
    if file.name.startswith(".") or "thumb" in file.stem.lower():
        return False
    return is_zarr(file) if file.is_dir() else file.suffix.lower() in SUFFIXES


def _stem(file: Path) -> str:
    """Return a file's name without its suffix, ``.ome.tif`` being one."""
    return file.stem[:-4] if file.stem.lower().endswith(".ome") else file.stem


def _scenes(files: Sequence[Path], path: Source, pattern: str | None) -> dict[str, dict[tuple[str, ...], Path]]:
    """Return the files of each well and field by their place (t, channel, z)."""
    found: dict[str, dict[tuple[str, ...], Path]] = {}
    for file, place in placed(files, path, pattern):
        name = "/".join(place[key] for key in ("well", "field") if key in place)
        where = tuple(place.get(key, "") for key in _JOINED)
        taken = found.setdefault(name, {}).setdefault(where, file)
        if taken is not file:
            raise ReadError(
                path,
                f"by their names {taken.name!r} and {file.name!r} are the same plane;"
                " give a pattern that tells them apart, such as '{channel}_{z}'",
            )
    return dict(sorted(found.items(), key=lambda item: filename_patterns.natural(item[0])))


def placed(files: Sequence[Path], path: Source, pattern: str | None) -> list[tuple[Path, filename_patterns.Place]]:
    """Return the files with what their names tell."""
    if pattern is None:
        places = filename_patterns.guess([_stem(file) for file in files])
        if places is None:
            shown = ", ".join(repr(file.name) for file in files[:2])
            raise ReadError(
                path,
                f"how its {len(files)} images ({shown}, ...) belong together can't be told from their names;"
                " give a pattern such as '{well}_{field}_{channel}_{z}' ({t} for time, {} for what to pass over), or open one file",
            )
        return list(zip(files, places, strict=True))
    expression = filename_patterns.compile_pattern(pattern)
    with_suffix = pattern.lower().endswith((*SUFFIXES, ".zarr"))
    depth = pattern.count("/")
    names = ["/".join([*file.parts[len(file.parts) - 1 - depth : -1], file.name if with_suffix else _stem(file)]) for file in files]
    matched = [
        (file, place) for file, place in zip(files, filename_patterns.match_all(names, expression), strict=True) if place is not None
    ]
    if not matched:
        raise ReadError(path, f"none of its {len(files)} images ({names[0]!r}, ...) follows the pattern {pattern!r}")
    return matched


def _chosen(found: dict[str, dict[tuple[str, ...], Path]], scene: int | str | None, path: Source) -> dict[tuple[str, ...], Path]:
    """Return the files of the scene that is asked for."""
    names = list(found)
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    if scene is None:
        if len(names) > 1:
            raise ReadError(
                path, f"it holds {len(names)} wells or fields ({shown}); choose one with scene={names[0]!r}, or name its files alone"
            )
        return found[names[0]]
    if isinstance(scene, str) and scene in found:
        return found[scene]
    if not isinstance(scene, str) or scene.isdigit():
        index = int(scene)
        if 0 <= index < len(names):
            return found[names[index]]
    raise ReadError(path, f"it has no scene {scene!r}; there are {shown}")


def join_files(files: Mapping[tuple[str, ...], Path | Remote], path: Source | Remote) -> Stack:
    """Return the image whose planes lie in these files, by time point, channel and z-plane; those on the network are fetched when read."""
    axes = [sorted({place[i] for place in files}, key=filename_patterns.natural) for i in range(len(_JOINED))]
    for place in itertools.product(*axes):
        if place not in files:
            named = ", ".join(f"{key} {value}" for key, value in zip(_JOINED, place, strict=True) if value)
            raise ReadError(
                path, f"there is no file for {named}, and an image needs all its planes; copy the missing file or name the others alone"
            )
    whole = isinstance(path, str | os.PathLike | Remote)
    planes = _JoinedPlanes(str(path if whole else next(iter(files.values())).parent), files, axes)  # type: ignore[union-attr]
    names = planes.first.channels
    if axes[1] != [""]:
        names = _channel_names(axes[1], planes)
    return replace(planes.first, data=lazy_array(planes), channels=names, source=planes.path, rgb=planes.first.rgb and len(axes[1]) == 1)


def _channel_names(tokens: list[str], planes: _JoinedPlanes) -> tuple[str, ...] | None:
    """Return the channels' names: the words in the files' names, or what the files say where those are mere numbers."""
    if not all(token.isdigit() for token in tokens):
        return tuple(tokens)
    own = [planes.channel_name(i) for i in range(len(tokens))] if planes.checked else []
    return tuple(str(name) for name in own) if own and all(own) and len(set(own)) == len(own) else None


class _JoinedPlanes:
    """Planes that lie in many files."""

    def __init__(self, path: str, files: Mapping[tuple[str, ...], Path | Remote], axes: list[list[str]]) -> None:
        self.path = path
        self._files, self._axes = files, axes
        self._open = lru_cache(maxsize=8)(self._opened)
        self.first = self._with(tuple(axis[0] for axis in axes), read_one)
        t, c, z, y, x = self.first.shape
        for own, axis, letter in zip((t, c, z), axes, ("time points", "channels", "z-planes"), strict=True):
            if own > 1 and len(axis) > 1:
                what = "is a colour picture" if letter == "channels" and self.first.rgb else f"holds {own} {letter} itself"
                raise ReadError(
                    self.first.source, f"it {what}, so it can't be joined with others along the same axis; open the files one by one"
                )
        self.samples = c
        self.shape = (t * len(axes[0]), c * len(axes[1]), z * len(axes[2]), y, x)
        self.dtype, self.block = self.first.dtype, (y, x)
        self.checked = len(files) <= _CHECKED and not any(isinstance(file, Remote) for file in files.values())
        if self.checked:
            for place in files:
                self._with(place, self._opened)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as the files' names."""
        return _JoinedPlanes, (self.path, self._files, self._axes)

    def _with(self, place: tuple[str, ...], use: Callable[[Path], T]) -> T:
        """Call a function with the file of a plane, which is fetched where it lies on the network."""
        file = self._files[place]
        return with_copy(file, use) if isinstance(file, Remote) else use(file)

    def _opened(self, path: Path) -> Stack:
        """Return the stack of one file, which must be like the first."""
        stack = read_one(path)
        if (stack.shape, stack.dtype) != (self.first.shape, self.first.dtype):
            raise ReadError(
                stack.source,
                f"it is {stack.dtype} {stack.shape} but {self.first.source} is {self.first.dtype} {self.first.shape} (TCZYX),"
                " so they are no one image; open them one by one",
            )
        return stack

    def channel_name(self, index: int) -> str | None:
        """Return the name that the file of a channel gives it."""
        names = self._with((self._axes[0][0], self._axes[1][index], self._axes[2][0]), self._open).channels
        return names[0] if names is not None and len(names) == 1 else None

    def plane(self, t: int, c: int, z: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return (samples, rows, columns) of one plane."""
        own_t, _, own_z = self.first.shape[:3]
        group = c if len(self._axes[1]) > 1 else 0
        place = (self._axes[0][t // own_t], self._axes[1][group], self._axes[2][z // own_z])

        def pixels(path: Path) -> npt.NDArray[Any]:
            # A copy may be another one by the next time, so what was read of it is not kept.
            stack = self._opened(path) if isinstance(self._files[place], Remote) else self._open(path)
            piece = stack.data[t % own_t, :, z % own_z, rows, columns]
            return np.asarray(piece if isinstance(piece, np.ndarray) else piece.compute(scheduler="synchronous"))

        return self._with(place, pixels)
