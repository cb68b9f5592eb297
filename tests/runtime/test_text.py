"""Durations and sizes in words."""

from __future__ import annotations

import pytest

from napari_virtual_paint.runtime.text import byte_size, duration, rough_duration


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.7, "1 min 0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (90_000, "25 h 0 min")]
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (61, "61 s"), (540, "9 min"), (7300, "2 h 0 min"), (12_000, "3 h 20 min"), (400_000, "5 days")]
)
def test_rough_duration(seconds: float, words: str) -> None:
    assert rough_duration(seconds) == words


@pytest.mark.parametrize(("count", "words"), [(0, "0 MiB"), (3 * 2**20, "3 MiB"), (2**30, "1.0 GiB"), (1.26 * 2**40, "1290.2 GiB")])
def test_byte_size(count: float, words: str) -> None:
    assert byte_size(count) == words
