"""Where a file lies that a table names: a path as it is, a path relative to the table, a ``file://`` URL, or one that was moved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from napari_virtual_paint.errors import ReadError

_DEEP = 8
"""The most folders of a path that are looked for beside the table."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def located(folder: str, name: str) -> Path:
    """Return the path of a file.

    Parameters
    ----------
    folder
        What a relative path is relative to.
    name
        A path (also of Windows, where it is relative) or a URL.

    Raises
    ------
    ReadError
        If it lies on the network.
    """
    if not _URL.match(name):
        return Path(folder, name.replace("\\", "/") if not Path(name).is_absolute() else name).expanduser()
    parts = urlsplit(name)
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    raise ReadError(
        name,
        "images are not fetched over the network while a plate is worked on; copy them to a disk first"
        " (aws s3 cp --no-sign-request for the Cell Painting Gallery) and name the copies in the table",
    )


def relocated(names: Sequence[str], folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of a table's files, and a note where they had to be looked for beside the table.

    A table made on another machine names folders that are not here. Where the first file is absent, and the end of its path leads to a file
    below the table's folder, all paths with the same beginning are taken to be there.
    """
    first = next((name for name in names if name), "")
    if not first or _is_there(folder, first):
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


def _is_there(folder: Path, name: str) -> bool:
    """Return whether a file is where its name says."""
    try:
        return located(str(folder), name).is_file()
    except ReadError:
        return False
