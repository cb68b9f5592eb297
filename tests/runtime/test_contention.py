"""How busy other programs keep the cores."""

from __future__ import annotations

import pytest

from napari_virtual_paint.runtime import contention


class Clocks:
    """Time in which a thread gets a share of a core."""

    def __init__(self, share: float) -> None:
        self.share, self.now = share, 100.0

    def perf_counter(self) -> float:
        self.now += 0.001
        return self.now

    def thread_time(self) -> float:
        return self.now * self.share


@pytest.mark.parametrize(("share", "found"), [(1.0, 1.0), (0.125, 8.0), (0.0, 1.0), (1.2, 1.0)])
def test_a_share_of_a_core_makes_work_longer(share: float, found: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "time", Clocks(share))
    assert contention.slowdown() == pytest.approx(found, rel=0.05)


def test_it_ends_on_a_machine_without_time() -> None:
    assert contention.slowdown(0.001) >= 1.0
