"""Zipped OME-Zarr (.ozx, .zarr.zip): its root, and sizes that are checked before anything is inflated."""

from __future__ import annotations

import zipfile
from pathlib import Path

from napari_virtual_paint.errors import ReadError

MARKERS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")  # A folder with one of these files is a zarr
_METADATA = 64 * 2**20  # bytes of the largest metadata file
_CHUNK = 4 * 2**30  # bytes of the largest chunk or shard
_TOTAL = 256 * 2**20  # bytes that any archive may unpack to ...
_GROWTH = 200  # ... and how many times its own size a larger one may: chunks are compressed before they are zipped


def is_zipped_zarr(path: Path) -> bool:
    """Return whether a file is a ZIP archive with a zarr in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rsplit("/", 1)[-1] in MARKERS for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def root_of(archive: zipfile.ZipFile, path: str) -> zipfile.Path:
    """Return the folder of the zarr in an archive: its top, or the folder that was zipped.

    Raises `ReadError` if its declared sizes are more than such a file can hold, or its entries can't be read.
    """
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    size = Path(path).stat().st_size
    for entry in entries:
        if entry.flag_bits & 1:
            raise ReadError(path, f"its entry {entry.filename!r} is encrypted; unpack it with its password and open the folder")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ReadError(path, f"its entry {entry.filename!r} is compressed by an unusual method; zip it without compression")
        if entry.file_size > (_METADATA if _base(entry.filename) in MARKERS else _CHUNK):
            raise ReadError(path, f"its entry {entry.filename!r} claims {entry.file_size:,} bytes, more than can be read; it is hostile")
    total = sum(entry.file_size for entry in entries)
    if total > max(_TOTAL, _GROWTH * size):
        raise ReadError(path, f"it has {size:,} bytes and claims to unpack to {total:,}, more than an image does; it is hostile")
    tops = {entry.filename.rpartition("/")[0] for entry in entries if _base(entry.filename) in MARKERS}
    top = min(tops, key=lambda name: (len([part for part in name.split("/") if part]), name))
    return zipfile.Path(archive, f"{top}/" if top else "")


def _base(name: str) -> str:
    """Return the last part of an entry's name."""
    return name.rsplit("/", 1)[-1]
