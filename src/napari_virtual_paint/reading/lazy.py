"""Lazy dask arrays over image files, whose failures are `ReadError`."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import dask.array as da
import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ReadError, VirtualPaintError
from napari_virtual_paint.reading.silence import mute_logs

CHUNK = 64 * 2**20  # A plane larger than this many bytes is read in bands


class Planes(Protocol):
    """A source of planes.

    Parameters
    ----------
    path
        The file that errors name.
    shape
        TCZYX.
    samples
        Number of neighbouring channels that are decoded together (3 for interleaved colours).
    block
        Height and width in pixels of the file's strips or tiles.
    """

    path: str
    shape: tuple[int, int, int, int, int]
    dtype: np.dtype[Any]
    samples: int
    block: tuple[int, int]

    def plane(self, t: int, c: int, z: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return (samples, rows, columns) of one plane; ``c`` counts groups of `samples` channels."""
        ...


class LazyPlanes:
    """An array over `Planes`, for dask."""

    def __init__(self, planes: Planes) -> None:
        self.planes = planes
        self.shape = planes.shape
        self.dtype = planes.dtype
        self.ndim = 5

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return the pixels of a tuple of slices, integers or lists of integers."""
        ts, cs, zs, ys, xs = positions = _positions(key, self.shape)
        samples = self.planes.samples
        rows, columns = _extent(ys), _extent(xs)
        with as_read_errors(self.planes.path):
            out = np.empty([len(each) for each in positions], self.dtype)
            groups = np.unique(cs // samples) if out.size else ()
            for (i, t), group, (k, z) in itertools.product(enumerate(ts), groups, enumerate(zs)):
                pixels = self.planes.plane(int(t), int(group), int(z), rows, columns)
                for j in np.flatnonzero(cs // samples == group):
                    out[i, j, k] = _take(pixels[cs[j] % samples], [ys, xs])
        return _drop_integers(out, key)


def _positions(key: Any, shape: tuple[int, ...]) -> list[npt.NDArray[np.intp]]:
    """Return the positions that a key selects along each axis."""
    key = key if isinstance(key, tuple) else (key,)
    full = key + (slice(None),) * (len(shape) - len(key))
    return [np.atleast_1d(np.arange(n)[k]) for k, n in zip(full, shape, strict=True)]


def _extent(positions: npt.NDArray[np.intp]) -> slice:
    """Return the smallest slice that has all positions."""
    return slice(int(positions.min()), int(positions.max()) + 1) if positions.size else slice(0, 0)


def _take(pixels: npt.NDArray[Any], positions: list[npt.NDArray[np.intp]]) -> npt.NDArray[Any]:
    """Return the selected positions of pixels that cover their extents; a view where all are selected."""
    for axis, selected in enumerate(positions):
        if selected.size != pixels.shape[axis] or (np.diff(selected) != 1).any():
            pixels = pixels.take(selected - _extent(selected).start, axis=axis)
    return pixels


def _drop_integers(pixels: npt.NDArray[Any], key: Any) -> npt.NDArray[Any]:
    """Drop the axes that a key indexes with an integer."""
    key = key if isinstance(key, tuple) else (key,)
    return pixels[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]


class GuardedArray:
    """Another library's array, read by slices, whose failures are `ReadError`.

    Parameters
    ----------
    read
        Returns the pixels of a tuple of slices.
    path
        The file that errors name.
    """

    def __init__(self, read: Callable[[tuple[slice, ...]], Any], shape: tuple[int, ...], dtype: np.dtype[Any], path: str) -> None:
        self._read, self._path = read, path
        self.shape, self.dtype, self.ndim = tuple(shape), np.dtype(dtype).newbyteorder("="), len(shape)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return the pixels of a tuple of slices, integers or lists of integers."""
        positions = _positions(key, self.shape)
        with as_read_errors(self._path):
            pixels = np.asarray(self._read(tuple(map(_extent, positions)))).astype(self.dtype, copy=False)
        return _drop_integers(_take(pixels, positions), key)

    def lazy(self, chunks: Any) -> da.Array:
        """Return a dask array over this one."""
        return da.from_array(self, chunks=chunks, name=False, asarray=False, meta=np.empty((0,) * self.ndim, self.dtype))


def lazy_array(planes: Planes) -> da.Array:
    """Return a dask array (TCZYX) over a source of planes: a chunk is a plane, or a band of a large one."""
    chunks = (1, planes.samples, 1, *_tile(planes.shape[3:], planes.block, planes.dtype.itemsize * planes.samples))
    return da.from_array(LazyPlanes(planes), chunks=chunks, name=False, asarray=False, meta=np.empty((0,) * 5, planes.dtype))


def _tile(plane: tuple[int, ...], block: tuple[int, int], itemsize: int) -> tuple[int, int]:
    """Return the height and width of a chunk: whole strips or tiles of the file, at most `CHUNK` bytes if one fits."""
    height, width = plane
    if height * width * itemsize <= CHUNK:
        return height, width
    rows, columns = min(block[0], height), min(block[1], width)
    if rows * width * itemsize <= CHUNK:
        return min(height, rows * max(1, CHUNK // (rows * width * itemsize))), width
    side = max(1, int((CHUNK / (rows * columns * itemsize)) ** 0.5))
    return min(height, rows * side), min(width, columns * side)


@contextmanager
def as_read_errors(path: object) -> Iterator[None]:
    """Turn whatever a decoder raises into a `ReadError` of this file, and mute its logs."""
    try:
        with mute_logs():
            yield
    except VirtualPaintError:
        raise
    except Exception as error:
        raise ReadError(path, _explain(error)) from error


def _explain(error: BaseException) -> str:
    """Return what an exception means to the user, and what to do."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder; check the path"
    if isinstance(error, PermissionError):
        return "you have no permission to read it; change its permissions or copy it elsewhere"
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "it is a symbolic link that leads back to itself; make the link anew"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is; the file may be damaged, or open a smaller part of it"
    text = " ".join(str(error).split())[:200].rstrip(".")
    if "requires the 'imagecodecs'" in text or "requires the imagecodecs" in text:
        return "its compression needs the package imagecodecs; install napari-virtual-paint[formats]"
    if "checksum" in text.casefold():
        return "its stored pixels are damaged (their checksum differs)"
    detail = f" ({type(error).__name__}: {text})" if text else f" ({type(error).__name__})"
    return f"it is damaged or of a kind that can't be decoded{detail}"


def fingerprint(path: str) -> tuple[int, int]:
    """Return the size and modification time of a file, by which `check_unchanged` notices that it was replaced."""
    status = os.stat(path)  # noqa: PTH116 - a path given as text
    return status.st_size, status.st_mtime_ns


def check_unchanged(path: str, before: tuple[int, int]) -> None:
    """Raise a `ReadError` if a file no longer has the `fingerprint` that it was opened with."""
    if fingerprint(path) != before:
        raise ReadError(path, "the file changed since it was opened; open it again")
