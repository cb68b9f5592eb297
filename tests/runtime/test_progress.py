"""Progress, the pace and the time left."""

from __future__ import annotations

import pytest

from napari_virtual_paint.runtime.progress import EtaEstimator, Progress, time_left


def test_the_time_left_comes_from_the_pace_since_the_first_piece() -> None:
    clock = EtaEstimator()
    assert clock.left(0, 10, now=100.0) is None
    assert clock.left(2, 10, now=104.0) == pytest.approx(16)
    assert clock.left(8, 10, now=108.0) == pytest.approx(2)
    assert clock.left(0, 0, now=109.0) is None


def test_a_pace_is_believed_once_it_has_settled() -> None:
    clock = EtaEstimator()
    assert clock.left(0, 1000, now=0.0) is None
    assert clock.left(1, 1000, now=3.0) is None, "fifty minutes, after three seconds"
    assert clock.left(10, 1000, now=10.0) == pytest.approx(990)
    assert clock.left(100, 1000, now=11.0) == pytest.approx(99)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.4, "0 s left"), (59, "59 s left"), (61, "1 min 1 s left"), (1099, "18 min left"), (7260, "2 h 0 min left")],
)
def test_time_left_in_words(seconds: float | None, words: str) -> None:
    assert time_left(seconds) == words


def test_a_fraction_is_never_more_than_all() -> None:
    assert Progress(3, 2).fraction == 1
    assert Progress().fraction == 0
