"""Fixtures of the Stain dock's tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from napari_virtual_paint import painting


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Hold every painting once its first stains are there, until the event that is returned is set."""
    release, whole = threading.Event(), painting.paint

    def paint(*args: Any, **kwargs: Any) -> Any:
        work = whole(*args, **kwargs)
        try:
            while True:
                piece = next(work)
                yield piece
                while piece.data is not None and not release.wait(0.02):
                    yield replace(piece, where=None, data=None)
        except StopIteration as stop:
            return stop.value

    monkeypatch.setattr(painting, "paint", paint)
    yield release
    release.set()
