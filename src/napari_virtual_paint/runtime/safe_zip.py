"""List .zip files of unknown origin: the number of entries and their declared sizes are checked before anything is unpacked."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO

MOST_ENTRIES = 100_000
MOST_NAME = 400  # bytes of name and extra fields per entry, on average, that a list of entries may take
END, END_64, ENTRY = b"PK\x05\x06", b"PK\x06\x06", 46  # signatures of the end of the list, and the size of an entry without its name


class UnsafeZipError(ValueError):
    """A .zip that is built to fill memory or disk, or to be read in two ways; the message completes "it ..."."""


def entries(source: Path | IO[bytes], *, most: int = MOST_ENTRIES, growth: float | None = None, free: int = 0) -> list[zipfile.ZipInfo]:
    """Return the entries of a .zip; nothing is unpacked.

    Parameters
    ----------
    source
        The file, or its bytes as an open file.
    most
        Most entries that it may have. The list itself is measured before it is read: a million entries take a gigabyte of memory.
    growth
        How many times its own size it may unpack to, by the sizes it declares; None for any. A reader that stops at the declared size
        (as those of Python and PyTorch do) can't be fooled by a declaration that is false.
    free
        Bytes it may unpack to in any case.

    Raises
    ------
    UnsafeZipError
        If it has too many entries, unpacks to too much, or has two entries of one name.
    zipfile.BadZipFile
        If it is damaged or no .zip.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return entries(file, most=most, growth=growth, free=free)
    size = source.seek(0, os.SEEK_END)
    listed = _list_size(source, size)
    if listed > most * (ENTRY + MOST_NAME):
        raise UnsafeZipError(f"lists its entries in {listed // 2**20} MB, more than {most} of them need")
    source.seek(0)
    with zipfile.ZipFile(source) as archive:
        found = archive.infolist()
    if len(found) > most:
        raise UnsafeZipError(f"holds {len(found)} entries; at most {most} are read")
    _refuse_twins(found)
    total = sum(entry.file_size for entry in found)
    if growth is not None and total > max(growth * size, free):
        raise UnsafeZipError(f"unpacks to {total:,} bytes from {size:,}")
    return found


def wrong_checksum(source: Path | IO[bytes]) -> str | None:
    """Return the name of the first entry whose bytes have not the CRC-32 that is stated; None if all have.

    Everything is unpacked, a piece at a time; call `entries` before.

    Raises `zipfile.BadZipFile` if an entry can't be unpacked at all.
    """
    with zipfile.ZipFile(source) as archive:
        for entry in archive.infolist():
            try:
                with archive.open(entry) as file:
                    while file.read(1 << 20):
                        pass
            except zipfile.BadZipFile as error:
                if "CRC" not in str(error):
                    raise
                return entry.filename
    return None


def _refuse_twins(found: list[zipfile.ZipInfo]) -> None:
    """Refuse two entries of one name, in any case of letters: which one is read would depend on program and system."""
    seen: dict[str, str] = {}
    for entry in found:
        other, name = seen.get(entry.filename.casefold()), entry.filename
        seen[name.casefold()] = name
        if other is not None:
            twice = f"holds {name!r} twice" if other == name else f"holds both {other!r} and {name!r}"
            raise UnsafeZipError(twice)


def _list_size(file: IO[bytes], size: int) -> int:
    """Return how many bytes the list of entries takes, from the record at the end of the file."""
    tail = min(size, 65_557)  # the record, and the longest comment behind it
    file.seek(size - tail)
    data = file.read(tail)
    at = data.rfind(END)
    if at < 0 or len(data) - at < 22:
        return 0  # no .zip, which zipfile says in its own words
    listed = int.from_bytes(data[at + 12 : at + 16], "little")
    if listed != 0xFFFFFFFF:
        return listed
    longer = data.rfind(END_64, 0, at)
    return size if longer < 0 or len(data) - longer < 48 else int.from_bytes(data[longer + 40 : longer + 48], "little")
