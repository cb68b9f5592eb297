"""Locate a file that a table names: by a path (also of files that were moved), a ``file://`` URL or a remote URL."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from napari_virtual_paint.downloads.image_cache import Remote, is_remote
from napari_virtual_paint.errors import ReadError

_MOST_FOLDERS = 8  # trailing folders of a path that are looked for beside the table
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def locate(folder: str, name: str) -> Path | Remote:
    """Return the path of a file, or its remote location.

    Parameters
    ----------
    folder
        The folder that a relative path starts from.
    name
        A path (of Windows, too, if it is relative) or a URL.

    Raises
    ------
    ReadError
        If it is a URL of an unknown kind.
    """
    if not _URL.match(name):
        return Path(folder, name.replace("\\", "/") if not Path(name).is_absolute() else name).expanduser()
    if is_remote(name):
        return Remote(name)
    parts = urlsplit(name)
    if parts.scheme.lower() == "file" and parts.netloc.lower() in ("", "localhost"):
        return Path(url2pathname(parts.path))
    raise ReadError(name, "images are fetched only by https://, http:// and s3://; copy this one to a disk and name the copy in the table")


def relocate(names: Sequence[str], folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of a table's files, and a note if they were found beside the table instead of where it says.

    A table made on another machine names folders that don't exist here. If the first file is missing, and the end of its path leads to a
    file below the table's folder, all paths with the same beginning are taken to be there.
    """
    first = next((name for name in names if name), "")
    if not first or exists(folder, first):
        return list(names), ()
    parts = first.replace("\\", "/").split("/")
    for kept in range(min(len(parts) - 1, _MOST_FOLDERS), 0, -1):
        if not folder.joinpath(*parts[-kept:]).is_file():
            continue
        length = len("/".join(parts[:-kept])) + 1
        prefix = first[:length]
        moved = [name[length:] if name.startswith(prefix) else name for name in names]
        return moved, (f"Its images are not in {prefix.rstrip('/')}, as it says; those beside the table are taken.",)
    return list(names), ()


def exists(folder: Path, name: str) -> bool:
    """Return whether a local file is where its name says; False for a remote one, which is not looked up."""
    try:
        location = locate(str(folder), name)
    except ReadError:
        return False
    return isinstance(location, Path) and location.is_file()


def index_file(path: Path, suffix: str) -> Path | None:
    """Return the first file in a folder that has a suffix, or the file itself if it has it."""
    if path.is_file():
        return path if path.suffix.lower() == suffix else None
    if not path.is_dir():
        return None
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower().endswith(suffix))
    return path / names[0] if names else None


def remote_note(names: Sequence[str]) -> tuple[str, ...]:
    """Return a note if a table's images are remote, judged by the first."""
    first = next((name for name in names if name), "")
    if not is_remote(first):
        return ()
    host = urlsplit(first)
    return (f"Its images are at {host.scheme}://{host.netloc} and are fetched when they are read.",)
