"""Formats of image files: their suffixes, and which module reads which of them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.reading.lazy import as_read_errors
from napari_virtual_paint.reading.ome_xml import COMPANION
from napari_virtual_paint.reading.zip_store import is_zipped_zarr
from napari_virtual_paint.runtime.extras import check_installed
from napari_virtual_paint.runtime.file_kind import FileKind, file_kind
from napari_virtual_paint.runtime.hidden_files import is_hidden
from napari_virtual_paint.stack import Array, Stack

Source: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

TIFF = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".stk", ".lsm")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm")
VENDOR = (".nd2", ".czi", ".lif", ".oib", ".oif", ".vsi", ".ims", ".dv", ".r3d", ".mrc", ".sld")
SUFFIXES = TIFF + PICTURES + VENDOR
"""Suffixes of image files; a file with another one is read if its content is a TIFF, or if bioio reads it."""
ZIPPED = (".ozx", ".zarr.zip")  # what the name of a file ends in that is a zipped OME-Zarr
_IMAGES = ("tiff", "png", "jpeg", "gif", "bmp", "webp", "jpeg2000", "czi", "nd2", "lif")
_PERHAPS = ("dicom", "nifti", "mrc", "nrrd", "ics", "fits", "ole", "avi", "mp4", "matroska")
"""Keys of `file_kind` of what is read here, and of what bioio reads where its plugin is installed."""
_TEXTS = (".pgm", ".ppm", ".oif")  # suffixes of images that may be text
_OF_SUFFIX = {
    **dict.fromkeys(PICTURES, ("png", "jpeg", "gif", "bmp", "webp", "jpeg2000")),
    ".czi": ("czi",),
    ".lif": ("lif",),
    ".nd2": ("nd2", "jpeg2000"),
    ".ims": ("hdf5",),
}
"""Suffix -> keys of `file_kind` of the files that have it."""
PLATE_INDEXES = (".xml", ".htd", ".mlf", ".mrf", ".xdce", ".jdce")  # suffixes of the files in which microscopes list the images of a plate


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is read as an image; the hidden files and notes that systems leave beside images are not."""
    low = name.casefold()
    return not is_hidden(low) and (low.endswith((*ZIPPED, COMPANION)) or os.path.splitext(low)[1] in SUFFIXES)  # noqa: PTH122 - for speed


def literal_part(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the longest part of a path that is a folder, and the parts below it, which may be a pattern."""
    parts = path.parts
    there = next((i for i in range(len(parts) - 1, 0, -1) if Path(*parts[:i]).is_dir()), 0)
    return Path(*parts[:there]), parts[there:]


class Images(Protocol):
    """The images of one open file or OME-Zarr; a class for each format, made from a path and the stack that closes its files."""

    def scenes(self) -> list[str]:
        """Return the names of the images."""

    def read(self, index: int, axes: str | None = None) -> Stack:
        """Return one image, its pixels still in the file.

        Parameters
        ----------
        axes
            What the user says its axes are (`axes.parse_axes`); it must agree with what the file states.
        """


@runtime_checkable
class HasPyramid(Protocol):
    """Images that may have smaller copies beside them."""

    def coarser(self, index: int) -> tuple[Array, ...]:
        """Return the copies of an image, TCZYX, the largest first."""
        ...


class OpenFile:
    """An open source of images, of which `read` takes a scene by number or name.

    Parameters
    ----------
    path
        The file that errors name.
    axes
        What the user says the axes of its arrays are.
    """

    def __init__(self, path: object, images: Images, axes: str | None = None) -> None:
        self._path, self._images, self._axes = path, images, axes

    def scenes(self) -> list[str]:
        """Return the names of the images."""
        return self._images.scenes()

    def read(self, scene: int | str | None = None) -> Stack:
        """Return one image; the first where no scene is given.

        Raises `ReadError` if there is no such scene, its pixels are no intensities, or its axes are others than the ones given.
        """
        stack = self._images.read(self._index(scene), self._axes)
        if stack.dtype.kind not in "buif":
            raise ReadError(
                stack.source, f"its pixels are {stack.dtype}, which is no intensity; save the magnitude or the phase as numbers"
            )
        if 0 in stack.shape:
            raise ReadError(stack.source, f"it has no pixels (shape {stack.shape})")
        names = self.scenes() if scene is None else []
        if len(names) > 1:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            note = f"{Path(str(self._path)).name} holds {len(names)} images ({shown}); the first was read."
            stack = replace(stack, notes=(*stack.notes, note))
        return stack

    def coarser(self, scene: int | str | None = None) -> tuple[Array, ...]:
        """Return the smaller copies of an image that an OME-Zarr or a TIFF holds, TCZYX, the largest first; none of other formats."""
        images = self._images
        return images.coarser(self._index(scene)) if isinstance(images, HasPyramid) else ()

    def labels(self, scene: int | str | None = None) -> dict[str, Stack]:
        """Return the label images of an image that an OME-Zarr holds beside it, by their names; none of other formats."""
        from napari_virtual_paint.reading.ome_zarr import ZarrImages

        return self._images.labels(self._index(scene)) if isinstance(self._images, ZarrImages) else {}

    def _index(self, scene: int | str | None) -> int:
        """Return the number of a scene."""
        if scene is None or scene == 0:
            return 0
        names = self.scenes()
        if isinstance(scene, str) and scene in names:
            return names.index(scene)
        if not isinstance(scene, str) or scene.lstrip("-").isdigit():
            index = int(scene)
            if 0 <= index < len(names):
                return index
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise ReadError(self._path, f"it has no scene {scene!r}; there are {len(names)}: {shown}")


@contextlib.contextmanager
def open_file(path: Path, axes: str | None = None) -> Iterator[OpenFile]:
    """Open one file or one OME-Zarr; safe in any thread.

    Raises `ReadError` if it can't be read; so do failures of the body, which are errors of decoding.
    """
    with as_read_errors(path):
        path = path.expanduser().absolute()
        with contextlib.ExitStack() as files:
            yield OpenFile(path, _images_of(path)(str(path), files), axes)


def read_file(path: Path, scene: int | str | None = None, axes: str | None = None) -> Stack:
    """Read one file or one OME-Zarr; unlike `reading.read`, it does not touch the warning filters, so any thread may call it."""
    with open_file(path, axes) as file:
        return file.read(scene)


def _images_of(path: Path) -> Callable[[str, contextlib.ExitStack], Images]:
    """Return the class that opens a path and reads its images."""
    mode = path.stat().st_mode
    suffix = path.suffix.lower()
    if stat.S_ISDIR(mode):
        from napari_virtual_paint.reading.ome_zarr import ZarrImages

        return ZarrImages
    if not stat.S_ISREG(mode):
        raise ReadError(path, "it is neither a file nor a folder (a pipe or device); give an image file")
    if suffix in TIFF or path.name.casefold().endswith(COMPANION):
        from napari_virtual_paint.reading.tiff.reader import TiffImages

        return TiffImages
    if not path.stat().st_size:
        raise ReadError(path, "it is empty (0 bytes); copy it again")
    if is_zipped_zarr(path):
        from napari_virtual_paint.reading.ome_zarr import ZarrImages

        return ZarrImages
    kind = file_kind(path)
    _check_kind(path, kind, suffix)
    if suffix in PICTURES:
        from napari_virtual_paint.reading.pictures import PictureImages

        return PictureImages
    if suffix not in VENDOR and kind is not None and kind.key == "tiff":
        from napari_virtual_paint.reading.tiff.reader import TiffImages

        # TIFFs of slide scanners have suffixes of their own, and some files have none.
        return TiffImages
    if suffix == ".lif":
        check_installed("liffile", extra="formats", purpose="LIF", path=path)
        from napari_virtual_paint.reading.lif import LifImages

        return LifImages
    if suffix == ".czi":
        check_installed("aicspylibczi", extra="formats", purpose="CZI", path=path)
        from napari_virtual_paint.reading.czi import CziImages

        return CziImages
    from napari_virtual_paint.reading.bioio_reader import BioioImages

    return BioioImages


def _check_kind(path: Path, kind: FileKind | None, suffix: str) -> None:
    """Raise a `ReadError` if a file is by its content of another kind than its name says, or no image."""
    if kind is None or (kind.key == "text" and suffix in _TEXTS):
        return
    remedy = f"; {kind.remedy}" if kind.remedy else ""
    if suffix in _OF_SUFFIX and kind.key not in _OF_SUFFIX[suffix]:
        raise ReadError(path, f"it is called {suffix} but is {kind.words}{remedy or '; check its name and where it came from'}")
    if kind.key not in (*_IMAGES, *_PERHAPS, *_OF_SUFFIX.get(suffix, ())):
        raise ReadError(path, f"it is {kind.words}, not an image that can be read{remedy}")
