"""Files that are none of the user's."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from napari_virtual_paint.runtime.hidden_files import is_hidden


@pytest.mark.parametrize(
    "path", ["._a.tif", ".DS_Store", "Thumbs.db", "in/THUMBS.DB", ".git/a.tif", "__MACOSX/a.tif", "a/.b/c.tif", "desktop.ini"]
)
def test_hidden(path: str) -> None:
    assert is_hidden(path)
    assert is_hidden(PurePosixPath(path))


@pytest.mark.parametrize("path", ["a.tif", "in/a.b.tif", "../a.tif", "./a.tif", "_a.tif", "thumbs/a.tif"])
def test_not_hidden(path: str) -> None:
    assert not is_hidden(path)
