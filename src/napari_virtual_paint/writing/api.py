"""The public functions of writing: `write` and `can_write`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from napari_virtual_paint.errors import VirtualPaintError, WriteError
from napari_virtual_paint.reading.ome_zarr import is_zarr
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.stack import Stack

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
    target = Path(path).expanduser()
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise WriteError(target, "its suffix is that of no format to write; use .ome.tif or .ome.zarr")
    with as_write_errors(target), replacing(target, overwrite=overwrite, folder=is_zarr if suffix == ZARR else None) as beside:
        if suffix == ZARR:
            from napari_virtual_paint.writing.ome_zarr import write_zarr

            write_zarr(stack, beside, target.name, ome_zarr_version)
        else:
            from napari_virtual_paint.writing.tiff import write_tiff

            write_tiff(stack, beside, target.name)
    return target


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
    text = " ".join(str(getattr(error, "strerror", None) or error).split())[:200].rstrip(".") or type(error).__name__
    if isinstance(error, PermissionError):
        return f"it can't be written ({text}); choose a folder in which you may write"
    if isinstance(error, OSError):
        return f"it can't be written ({text}); check that the folder is there and the disk has room"
    if isinstance(error, MemoryError):
        return "there is not enough memory to write it; close other programs"
    return f"it can't be written ({type(error).__name__}: {text})"
