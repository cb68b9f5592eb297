"""The public functions of writing: `write` and `can_write`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import ReadError, VirtualPaintError, WriteError
from napari_virtual_paint.reading.ome_zarr import group_attributes, is_zarr
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.runtime.outputs import output_path
from napari_virtual_paint.runtime.write_errors import is_write_failure, write_reason
from napari_virtual_paint.stack import Stack

if TYPE_CHECKING:
    from napari_virtual_paint.writing.ome_zarr import BlockwiseZarr

ZARR = ".zarr"
SUFFIXES = (".ome.tiff", ".ome.tif", ".ome.zarr", ".tiff", ".tif", ZARR)
"""Suffixes of the files that are written, the longer before their endings."""


def can_write(path: str | os.PathLike[str]) -> bool:
    """Return whether `write` knows the suffix of this path."""
    return Path(path).suffix.lower() in SUFFIXES


def write(
    stack: Stack,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    ome_zarr_version: Literal["0.4", "0.5"] | None = None,
) -> Path:
    """Write an image atomically: the path has either the finished file or what was there before.

    Parameters
    ----------
    stack
        The image. Lazy pixels are computed plane by plane, so memory stays bounded.
    path
        ``.ome.tif``, ``.ome.tiff``, ``.tif``, ``.tiff``: OME-TIFF; ``.ome.zarr``, ``.zarr``: OME-Zarr.
    overwrite
        Whether to replace an existing image.
    ome_zarr_version
        Version of OME-Zarr; by default 0.5 with zarr 3 and 0.4 with zarr 2.

    Returns
    -------
    Path
        The written file or folder.

    Raises
    ------
    WriteError
        If it can't be written; what was there before is untouched.
    ReadError
        If the pixels of a lazy stack can't be read.
    """
    target = output_path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise WriteError(target, "its suffix is that of no format to write; use .ome.tif or .ome.zarr")
    with as_write_errors(target), replacing(target, overwrite=overwrite, folder=is_image_zarr if suffix == ZARR else None) as beside:
        if suffix == ZARR:
            from napari_virtual_paint.writing.ome_zarr import write_zarr

            write_zarr(stack, beside, target.name, ome_zarr_version)
        else:
            from napari_virtual_paint.writing.tiff import write_tiff

            write_tiff(stack, beside, target.name)
    return target


def can_write_blockwise(path: str | os.PathLike[str]) -> bool:
    """Return whether `blockwise` knows the suffix of this path: OME-Zarr, whose chunks can be written in any order."""
    return Path(path).suffix.lower() == ZARR


class BlockwiseImage:
    """An image that is written block by block, in any order; made by `blockwise`."""

    takes_blocks = True  # `painting.paint` writes finished blocks, whose edges lie on those of the chunks

    def __init__(self, image: BlockwiseZarr, target: Path) -> None:
        self._image, self._target = image, target
        self.shape, self.dtype, self.ndim = image.shape, image.dtype, len(image.shape)
        self.finished = False

    def __setitem__(self, key: tuple[slice, ...], pixels: npt.NDArray[Any]) -> None:
        with as_write_errors(self._target):
            self._image[key] = pixels

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return pixels that were written; 0 elsewhere."""
        return self._image[key]

    def finish(self, stack: Stack) -> None:
        """Make the pyramid and write the metadata, those of a stack of this shape, whatever its pixels."""
        with as_write_errors(self._target):
            self._image.finish(stack)
        self.finished = True


@contextlib.contextmanager
def blockwise(
    path: str | os.PathLike[str], shape: tuple[int, int, int, int, int], dtype: npt.DTypeLike = "float32", *, overwrite: bool = False
) -> Iterator[BlockwiseImage]:
    """Write an image atomically while it is made, block by block; only OME-Zarr can be written so.

    Parameters
    ----------
    path
        ``.ome.zarr``, ``.zarr``.
    shape
        TCZYX.
    overwrite
        Whether to replace an existing image.

    Yields
    ------
    BlockwiseImage
        Takes pixels by slices. Its `finish` must be called at the end; without it, or after an error, nothing is left.

    Raises
    ------
    WriteError
        If it can't be written; what was there before is untouched.
    """
    from napari_virtual_paint.writing.ome_zarr import BlockwiseZarr

    target = output_path(path)
    if not can_write_blockwise(target):
        raise WriteError(target, "only OME-Zarr is written block by block; use .ome.zarr")
    try:
        with as_write_errors(target), replacing(target, overwrite=overwrite, folder=is_image_zarr) as beside:
            image = BlockwiseImage(BlockwiseZarr(beside, target.name, shape, np.dtype(dtype)), target)
            try:
                yield image
            except Exception as error:
                raise _FillingError(error) from error
            if not image.finished:  # a fault of the program, which must not leave half an image
                raise WriteError(target, "it was not finished, so nothing was written; write all of it")
    except _FillingError as carried:
        raise carried.error from carried.error.__cause__


class _FillingError(VirtualPaintError):
    """Carries an error of who fills an image through what turns errors of writing into `WriteError`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def is_image_zarr(path: Path) -> bool:
    """Return whether a folder is a Zarr that an image may replace: no plate or well, which hold many images."""
    try:
        return is_zarr(path) and not {"plate", "well", "bioformats2raw.layout"} & group_attributes(path, str(path)).keys()
    except (ReadError, OSError):  # damaged, or half of it was deleted
        return is_zarr(path)


def is_own_zarr(path: Path) -> bool:
    """Return whether a folder is an OME-Zarr image that this program wrote.

    Images of version 0.1.0 without provenance, as `register` wrote them, are recognized by the matrix that lies beside them.
    """
    from napari_virtual_paint.writing.ome_zarr import OWN

    try:
        attributes = group_attributes(path, str(path)) if is_image_zarr(path) else {}
    except ReadError:
        return False
    if "multiscales" not in attributes:
        return False
    suffix = next(suffix for suffix in SUFFIXES if path.name.casefold().endswith(suffix))
    beside = read_object(path.with_name(path.name[: -len(suffix)] + ".json")) or {}
    return isinstance(attributes.get(OWN), dict) or {"moving", "fixed", "converged"} <= beside.keys()


@contextlib.contextmanager
def as_write_errors(target: Path) -> Iterator[None]:
    """Turn whatever fails while a target is written into a `WriteError` of it, except for errors of reading its pixels."""
    try:
        yield
    except WriteError as error:
        raise WriteError(target, error.reason) from error
    except VirtualPaintError:
        raise
    except Exception as error:
        raise WriteError(target, _reason(error)) from error


def _reason(error: BaseException) -> str:
    """Return what went wrong, and what to do."""
    if isinstance(error, MemoryError):
        return "there is not enough memory to write it; close other programs"
    if is_write_failure(error):
        return write_reason(error)
    text = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return f"it can't be written ({type(error).__name__}: {text})"
