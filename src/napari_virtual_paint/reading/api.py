"""The public functions of reading: `open_images`, `read`, `scenes`, `can_read`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.axes import parse_axes
from napari_virtual_paint.reading.formats import OpenFile, Source, is_image_name, literal_part, open_file
from napari_virtual_paint.reading.lazy import as_read_errors
from napari_virtual_paint.reading.ome_zarr import is_zarr
from napari_virtual_paint.reading.silence import mute_warnings
from napari_virtual_paint.stack import Stack

if TYPE_CHECKING:
    from napari_virtual_paint.reading.file_series import FileSeries


@contextmanager
def open_images(path: Source, *, pattern: str | None = None, axes: str | None = None) -> Iterator[OpenFile | FileSeries]:
    """Open a source of images once, to list and to read them.

    Parameters
    ----------
    path, pattern, axes
        As for `read`.

    Raises
    ------
    ReadError
        If it can't be read. Failures of the body count as such, so only call the methods of the result there.
    """
    letters = None if axes is None else parse_axes(axes)
    if path == "":
        raise ReadError("''", "it is no path; give a file or folder")  # `Path` makes it the current folder
    with mute_warnings():
        if isinstance(path, str | os.PathLike) and not _is_series(Path(path).expanduser()):
            with open_file(Path(path), letters) as file:
                yield file
            return
        from napari_virtual_paint.reading.file_series import open_series

        with as_read_errors(str(path)), open_series(path, pattern, letters) as series:
            yield series


def read(path: Source, *, pattern: str | None = None, scene: int | str | None = None, axes: str | None = None) -> Stack:
    """Read an image.

    Parameters
    ----------
    path
        A file (TIFF, BigTIFF, ImageJ, OME-TIFF, PNG, JPEG, ND2, CZI, LIF and what else bioio reads), an OME-Zarr as a folder or zipped,
        or many files that are one image: a folder, a glob (``plate/A01_*.tif``) or a sequence of files.
    pattern
        What the names of many files mean, such as ``{well}_{field}_{channel}_{z}`` (also ``{t}``; ``{}`` for text to ignore). Guessed
        from the usual names of microscopes where none is given.
    scene
        Which image, by number or name (see `scenes`). Where none is given, a single file gives its first one.
    axes
        What the axes of the array in the file are, in its order: letters of TCZYX, and S for the samples of a pixel (colours), such as
        ``YXC``. Of many files, those of each. Only needed where the file does not state them.

    Returns
    -------
    Stack
        Axes TCZYX; the pixels are read when they are used. Metadata that the file lacks is None. What was assumed is in its `notes`.

    Raises
    ------
    ReadError
        If it can't be read: now, or when the pixels are used where damage shows only in decoding; or if its axes contradict the ones given.
    InputError
        If the axes are no axes.
    """
    with open_images(path, pattern=pattern, axes=axes) as images:
        return images.read(scene)


def scenes(path: Source, *, pattern: str | None = None) -> list[str]:
    """Return the names of the images in a file, an OME-Zarr or many files: series, positions, or wells and fields.

    Raises `ReadError` if it can't be read.
    """
    with open_images(path, pattern=pattern) as images:
        return images.scenes()


def can_read(path: Source) -> bool:
    """Return whether `read` would try this path, by suffix or by the names in a folder; no file is opened."""
    if not isinstance(path, str | os.PathLike):
        return bool(path) and all(map(can_read, path))
    file = Path(path)
    try:
        if not file.is_dir():
            return is_image_name(file.name)
        if is_zarr(file):
            return True
        with os.scandir(file) as entries:  # unlike `iterdir`, it need not list a folder to its end
            return any(is_image_name(entry.name) for entry in entries)
    except OSError:
        return False


def _is_series(path: Path) -> bool:
    """Return whether a path means many files: a folder that is no zarr, or a glob."""
    if path.is_dir():
        return not is_zarr(path) and path.suffix.lower() != ".zarr"
    return not path.exists() and any(letter in part for part in literal_part(path)[1] for letter in "*?[")
