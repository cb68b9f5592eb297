"""Count the entries of folders that a function looks at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class CountedEntries:
    """`os.scandir` and `os.listdir`, which count the entries that are looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        scandir, listdir = os.scandir, os.listdir

        @contextmanager
        def counted(path: str | Path = ".") -> Iterator[Iterator[os.DirEntry[str]]]:
            with scandir(path) as entries:
                yield self._each(entries)

        def listed(path: str | Path = ".") -> list[str]:
            names = listdir(path)
            self.count += len(names)
            return names

        monkeypatch.setattr(os, "scandir", counted)
        monkeypatch.setattr(os, "listdir", listed)

    def _each(self, entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for entry in entries:
            self.count += 1
            yield entry
