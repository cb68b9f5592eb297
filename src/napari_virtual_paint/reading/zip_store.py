"""Zipped OME-Zarr (.ozx, .zarr.zip): its root, and sizes that are checked before anything is inflated."""

from __future__ import annotations

import zipfile
from pathlib import Path

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.runtime.file_kind import ZARR_FILES
from napari_virtual_paint.runtime.safe_zip import UnsafeZipError, entries

_METADATA = 64 * 2**20  # bytes of the largest metadata file
_CHUNK = 4 * 2**30  # bytes of the largest chunk or shard
_FREE = 256 * 2**20  # bytes that any archive may unpack to ...
_GROWTH = 200.0  # ... and how many times its own size a larger one may: chunks are compressed before they are zipped
_MOST = 1_000_000  # entries: a chunk is one


def is_zipped_zarr(path: Path) -> bool:
    """Return whether a file is a ZIP archive with a zarr in it."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
    try:
        return any(_base(entry.filename) in ZARR_FILES for entry in entries(path, most=_MOST))
    except (UnsafeZipError, zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def root_of(archive: zipfile.ZipFile, path: str) -> zipfile.Path:
    """Return the folder of the zarr in an archive: its top, or the folder that was zipped.

    Raises `ReadError` if its declared sizes are more than such a file can hold, or its entries can't be read.
    """
    try:
        found = [entry for entry in entries(Path(path), most=_MOST, growth=_GROWTH, free=_FREE) if not entry.is_dir()]
    except UnsafeZipError as error:
        raise ReadError(path, f"it {error}, as no image does; it is damaged or hostile") from error
    for entry in found:
        if entry.flag_bits & 1:
            raise ReadError(path, f"its entry {entry.filename!r} is encrypted; unpack it with its password and open the folder")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ReadError(path, f"its entry {entry.filename!r} is compressed by an unusual method; zip it without compression")
        if entry.file_size > (_METADATA if _base(entry.filename) in ZARR_FILES else _CHUNK):
            raise ReadError(path, f"its entry {entry.filename!r} unpacks to {entry.file_size:,} bytes, as no part of an image does")
    tops = {entry.filename.rpartition("/")[0] for entry in found if _base(entry.filename) in ZARR_FILES}
    top = min(tops, key=lambda name: (len([part for part in name.split("/") if part]), name))
    return zipfile.Path(archive, f"{top}/" if top else "")


def _base(name: str) -> str:
    """Return the last part of an entry's name."""
    return name.rsplit("/", 1)[-1]
