"""Files that programs leave in folders of images and that are none of the user's: hidden ones, and those of Finder and Explorer."""

from __future__ import annotations

from pathlib import PurePath

_LEFT = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"})


def is_hidden(path: PurePath | str) -> bool:
    """Return whether a relative path is hidden, or lies in a hidden folder: ``._a.tif``, ``.DS_Store``, ``Thumbs.db``."""
    if isinstance(path, str) and "/" not in path and "\\" not in path:  # one name, as for each file of a large folder
        return (path.startswith(".") and path not in (".", "..")) or path.casefold() in _LEFT
    return any((part.startswith(".") and part not in (".", "..")) or part.casefold() in _LEFT for part in PurePath(path).parts)
