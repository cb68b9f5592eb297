"""Which reader reads what."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.lazy import decoding
from napari_virtual_paint.stack import Stack

Source: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_Reader: TypeAlias = tuple[Callable[[str], list[str]], Callable[[str, int], Stack]]

TIFF = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".stk", ".lsm")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm")
VENDOR = (".nd2", ".czi", ".lif", ".oib", ".oif", ".vsi", ".ims", ".dv", ".r3d", ".mrc", ".sld")
SUFFIXES = TIFF + PICTURES + VENDOR
"""Suffixes of the files that are read without asking what is in them."""


def read_one(path: Path, scene: int | str | None = None) -> Stack:
    """Read one file or one OME-Zarr, as `read` does; any thread may."""
    with decoding(path):
        file = _existing(path)
        names, reader = _reader(file)
        return _sane(reader(str(file), _scene_index(str(file), names, scene)))


def _existing(path: Path) -> Path:
    """Return the path, or say that it is not there; ``~`` is the user's folder."""
    path = path.expanduser().absolute()
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ReadError(path, "it is neither a file nor a folder (a pipe or device); give an image file")
    return path


def _reader(path: Path) -> _Reader:
    """Return the functions that list and read a file's images."""
    suffix = path.suffix.lower()
    if path.is_dir():
        from napari_virtual_paint.reading.ome_zarr import read_zarr, scenes_zarr

        return scenes_zarr, read_zarr
    if suffix in TIFF:
        from napari_virtual_paint.reading.tiff.reader import read_tiff, scenes_tiff

        return scenes_tiff, read_tiff
    if suffix in PICTURES:
        from napari_virtual_paint.reading.pictures import read_picture

        return lambda name: ["0"], lambda name, scene: read_picture(name)
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise ReadError(path, "it is empty (0 bytes); copy it again")
    if suffix not in VENDOR:
        from napari_virtual_paint.reading.tiff.planes import is_tiff
        from napari_virtual_paint.reading.tiff.reader import read_tiff, scenes_tiff

        # Slide scanners' TIFFs bear suffixes of their own, and some files bear none.
        if is_tiff(head):
            return scenes_tiff, read_tiff
    if suffix == ".lif":
        if importlib.util.find_spec("liffile") is None:
            raise ReadError(path, "LIF needs the package liffile; install napari-virtual-paint[formats]")
        from napari_virtual_paint.reading.lif import read_lif, scenes_lif

        return scenes_lif, read_lif
    from napari_virtual_paint.reading.bioio_reader import read_vendor, scenes_vendor

    return scenes_vendor, read_vendor


def _scene_index(path: str, names: Callable[[str], list[str]], scene: int | str | None) -> int:
    """Return which image is meant; the first where none is said."""
    if scene is None or scene == 0:
        return 0
    known = names(path)
    if isinstance(scene, str) and scene in known:
        return known.index(scene)
    if not isinstance(scene, str) or scene.lstrip("-").isdigit():
        index = int(scene)
        if 0 <= index < len(known):
            return index
    raise ReadError(path, f"it has no scene {scene!r}; there are {len(known)}: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}")


def _sane(stack: Stack) -> Stack:
    """Return the stack, or say why its pixels can't be worked with."""
    if stack.dtype.kind not in "buif":
        raise ReadError(stack.source, f"its pixels are {stack.dtype}, which is no intensity; save the magnitude or the phase as numbers")
    if 0 in stack.shape:
        raise ReadError(stack.source, f"it has no pixels (shape {stack.shape})")
    return stack
