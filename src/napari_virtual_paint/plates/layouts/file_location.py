"""Where a file lies that a table names: by a path (also of files that were moved), a ``file://`` URL, or on the network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from napari_virtual_paint.downloads.image_cache import Remote, is_remote
from napari_virtual_paint.errors import ReadError

_DEEP = 8
"""The most folders of a path that are looked for beside the table."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def located(folder: str, name: str) -> Path | Remote:
    """Return the path of a file, or its place on the network.

    Parameters
    ----------
    folder
        What a relative path is relative to.
    name
        A path (also of Windows, where it is relative) or a URL.

    Raises
    ------
    ReadError
        If it is a URL of a kind that is not known.
    """
    if not _URL.match(name):
        return Path(folder, name.replace("\\", "/") if not Path(name).is_absolute() else name).expanduser()
    if is_remote(name):
        return Remote(name)
    parts = urlsplit(name)
    if parts.scheme.lower() == "file" and parts.netloc.lower() in ("", "localhost"):
        return Path(url2pathname(parts.path))
    raise ReadError(name, "images are fetched by https://, http:// and s3:// alone; copy this one to a disk and name the copy in the table")


def relocated(names: Sequence[str], folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of a table's files, and a note where they had to be looked for beside the table.

    A table made on another machine names folders that are not here. Where the first file is absent, and the end of its path leads to a file
    below the table's folder, all paths with the same beginning are taken to be there.
    """
    first = next((name for name in names if name), "")
    if not first or is_there(folder, first):
        return list(names), ()
    parts = first.replace("\\", "/").split("/")
    for kept in range(min(len(parts) - 1, _DEEP), 0, -1):
        if not folder.joinpath(*parts[-kept:]).is_file():
            continue
        gone = len("/".join(parts[:-kept])) + 1
        begin = first[:gone]
        moved = [name[gone:] if name.startswith(begin) else name for name in names]
        return moved, (f"Its images are named in {begin.rstrip('/')}, where they are not; those beside the table are taken.",)
    return list(names), ()


def is_there(folder: Path, name: str) -> bool:
    """Return whether a file is where its name says; one on the network is not asked for."""
    try:
        place = located(str(folder), name)
    except ReadError:
        return False
    return isinstance(place, Path) and place.is_file()


def far_away(names: Sequence[str]) -> tuple[str, ...]:
    """Return a note where a table's images lie on the network, judged by the first."""
    first = next((name for name in names if name), "")
    if not is_remote(first):
        return ()
    host = urlsplit(first)
    return (f"Its images lie at {host.scheme}://{host.netloc} and are fetched when they are read.",)
