"""Pixels that are read when they are asked for; whatever fails then is a `ReadError`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import dask.array as da
import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ReadError, VirtualPaintError
from napari_virtual_paint.reading.silence import quiet

CHUNK = 64 * 2**20
"""A plane larger than this many bytes is read in bands."""


class Planes(Protocol):
    """A source of planes.

    `shape` is TCZYX, `samples` the number of neighbouring channels that one decoding gives (3 for interleaved colours),
    `block` the height and width in pixels of what the file stores as one piece.
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
    """An array-like over `Planes`, for dask."""

    def __init__(self, planes: Planes) -> None:
        self.planes = planes
        self.shape = planes.shape
        self.dtype = planes.dtype
        self.ndim = 5

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return the pixels of a tuple of slices, integers or lists of integers."""
        t_span, c_span, z_span, y_span, x_span = spans = indices(key, self.shape)
        samples = self.planes.samples
        rows, columns = extent(y_span), extent(x_span)
        with decoding(self.planes.path):
            out = np.empty([len(span) for span in spans], self.dtype)
            groups = np.unique(c_span // samples) if out.size else ()
            for (i, t), group, (k, z) in itertools.product(enumerate(t_span), groups, enumerate(z_span)):
                pixels = self.planes.plane(int(t), int(group), int(z), rows, columns)
                for j in np.flatnonzero(c_span // samples == group):
                    out[i, j, k] = taken(pixels[c_span[j] % samples], [y_span, x_span])
        return without_integers(out, key)


def indices(key: Any, shape: tuple[int, ...]) -> list[npt.NDArray[np.intp]]:
    """Return the positions that a key takes along each axis."""
    key = key if isinstance(key, tuple) else (key,)
    full = key + (slice(None),) * (len(shape) - len(key))
    return [np.atleast_1d(np.arange(n)[k]) for k, n in zip(full, shape, strict=True)]


def extent(span: npt.NDArray[np.intp]) -> slice:
    """Return the slice in which all positions lie."""
    return slice(int(span.min()), int(span.max()) + 1) if span.size else slice(0, 0)


def taken(pixels: npt.NDArray[Any], spans: list[npt.NDArray[np.intp]]) -> npt.NDArray[Any]:
    """Return the positions wanted out of pixels that cover their extents; without a copy where every one is wanted."""
    for axis, span in enumerate(spans):
        if span.size != pixels.shape[axis] or (np.diff(span) != 1).any():
            pixels = pixels.take(span - extent(span).start, axis=axis)
    return pixels


def without_integers(pixels: npt.NDArray[Any], key: Any) -> npt.NDArray[Any]:
    """Drop the axes along which a key takes one position alone."""
    key = key if isinstance(key, tuple) else (key,)
    return pixels[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]


class Guarded:
    """Another library's array, read by extents, whose failures are `ReadError`.

    Parameters
    ----------
    read
        Gives the pixels of a tuple of slices.
    shape, dtype
        Of the array.
    path
        The file that errors name.
    """

    def __init__(self, read: Callable[[tuple[slice, ...]], Any], shape: tuple[int, ...], dtype: np.dtype[Any], path: str) -> None:
        self._read, self._path = read, path
        self.shape, self.dtype, self.ndim = tuple(shape), np.dtype(dtype).newbyteorder("="), len(shape)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return the pixels of a tuple of slices, integers or lists of integers."""
        spans = indices(key, self.shape)
        extents = tuple(extent(span) for span in spans)
        with decoding(self._path):
            pixels = np.asarray(self._read(extents)).astype(self.dtype, copy=False)
        return without_integers(taken(pixels, spans), key)

    def lazy(self, chunks: Any) -> da.Array:
        """Return a dask array over this one."""
        return da.from_array(self, chunks=chunks, name=False, asarray=False, meta=np.empty((0,) * self.ndim, self.dtype))


def lazy_array(planes: Planes) -> da.Array:
    """Return a dask array (TCZYX) over a source of planes: a chunk is a plane, or a band of a large one."""
    chunks = (1, planes.samples, 1, *_tile(planes.shape[3:], planes.block, planes.dtype.itemsize * planes.samples))
    return da.from_array(LazyPlanes(planes), chunks=chunks, name=False, asarray=False, meta=np.empty((0,) * 5, planes.dtype))


def _tile(plane: tuple[int, ...], block: tuple[int, int], itemsize: int) -> tuple[int, int]:
    """Return the height and width of a chunk: whole stored pieces, at most `CHUNK` bytes where the pieces allow."""
    height, width = plane
    if height * width * itemsize <= CHUNK:
        return height, width
    rows, columns = min(block[0], height), min(block[1], width)
    if rows * width * itemsize <= CHUNK:
        return min(height, rows * max(1, CHUNK // (rows * width * itemsize))), width
    side = max(1, int((CHUNK / (rows * columns * itemsize)) ** 0.5))
    return min(height, rows * side), min(width, columns * side)


@contextmanager
def decoding(path: object) -> Iterator[None]:
    """Turn whatever a decoder raises into a `ReadError` of this file."""
    try:
        with quiet():
            yield
    except VirtualPaintError:
        raise
    except Exception as error:
        raise ReadError(path, explain(error)) from error


def explain(error: BaseException) -> str:
    """Return what an exception means to the person whose file it is."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder; check the path"
    if isinstance(error, PermissionError):
        return "you have no permission to read it; change its permissions or copy it elsewhere"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is; the file may be damaged, or open a smaller part of it"
    text = " ".join(str(error).split())[:200].rstrip(".")
    needs = text and ("requires the 'imagecodecs'" in text or "requires the imagecodecs" in text)
    if needs:
        return "its compression needs the package imagecodecs; install napari-virtual-paint[formats]"
    if "checksum" in text.casefold():
        return "what is stored of its pixels is damaged (their checksum is another)"
    detail = f" ({type(error).__name__}: {text})" if text else f" ({type(error).__name__})"
    return f"it is damaged or of a kind that can't be decoded{detail}"


def fingerprint(path: str) -> tuple[int, int]:
    """Return size and time of change of a file, to notice that it became another one."""
    status = os.stat(path)  # noqa: PTH116 - a path given as text
    return status.st_size, status.st_mtime_ns


def unchanged(path: str, was: tuple[int, int]) -> None:
    """Raise a `ReadError` where the file is no longer the one that was opened."""
    if fingerprint(path) != was:
        raise ReadError(path, "the file changed since it was opened; open it again")
