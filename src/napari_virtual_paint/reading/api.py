"""Read any image: `read`, `scenes`, `can_read`."""

from __future__ import annotations

import os
from pathlib import Path

from napari_virtual_paint.reading.formats import SUFFIXES, Source, _existing, _reader, _sane, read_one
from napari_virtual_paint.reading.lazy import decoding
from napari_virtual_paint.reading.silence import silent
from napari_virtual_paint.stack import Stack


def read(path: Source, *, pattern: str | None = None, scene: int | str | None = None) -> Stack:
    """Read an image.

    Parameters
    ----------
    path
        A file (TIFF, BigTIFF, ImageJ, OME-TIFF, PNG, JPEG, ND2, CZI, LIF and what else bioio reads), an OME-Zarr folder, or many
        files that are one image: a folder, a glob (``plate/A01_*.tif``) or a sequence of files.
    pattern
        How the names of many files tell their place, such as ``{well}_{field}_{channel}_{z}`` (also ``{t}``; ``{}`` for what is
        to be passed over). Guessed from the microscopes' usual ways of naming where none is given.
    scene
        Which image, by number or by name (see `scenes`), where there are several; the first one where a single file holds several.

    Returns
    -------
    Stack
        Axes TCZYX; the pixels are read when they are asked for. What the file does not tell is None.

    Raises
    ------
    ReadError
        If it can't be read, now or, where damage shows on decoding alone, when the pixels are asked for.
    """
    name = str(path)
    with decoding(name), silent():
        if isinstance(path, str | os.PathLike) and not _is_many(Path(path), pattern):
            return read_one(Path(path), scene)
        from napari_virtual_paint.reading.file_series import read_joined

        return _sane(read_joined(path, pattern, scene))


def scenes(path: Source, *, pattern: str | None = None) -> list[str]:
    """Return the names of the images in a file, an OME-Zarr or many files: series, positions, or wells and fields.

    Raises
    ------
    ReadError
        If it can't be read.
    """
    with decoding(str(path)), silent():
        if isinstance(path, str | os.PathLike) and not _is_many(Path(path), pattern):
            file = _existing(Path(path))
            found: list[str] = _reader(file)[0](str(file))
            return found
        from napari_virtual_paint.reading.file_series import scenes_joined

        return scenes_joined(path, pattern)


def can_read(path: Source) -> bool:
    """Return whether `read` would try this path, judged by suffix or by a look into the folder; no file is opened."""
    if not isinstance(path, str | os.PathLike):
        return bool(path) and all(can_read(item) for item in path)
    file = Path(path)
    try:
        if file.is_dir():
            from napari_virtual_paint.reading.ome_zarr import is_zarr

            return is_zarr(file) or any(entry.suffix.lower() in SUFFIXES for entry in file.iterdir())
    except OSError:
        return False
    return file.suffix.lower() in SUFFIXES


def _is_many(path: Path, pattern: str | None) -> bool:
    """Return whether a path stands for many files: a folder that is no zarr, or a glob."""
    if path.is_dir():
        from napari_virtual_paint.reading.ome_zarr import is_zarr

        return not is_zarr(path) and path.suffix.lower() != ".zarr"
    return not path.exists() and any(letter in path.name for letter in "*?[")
