"""Tracks: with laptrack where it is installed, and what its answer becomes with a stand-in."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_virtual_paint.counting.tracking import check_tracking, track, tracked
from napari_virtual_paint.errors import InputError

THERE = importlib.util.find_spec("laptrack") is not None


def moving(frames: int = 4) -> dict[str, np.ndarray]:
    """Two nuclei of 100 px that move 3 px a frame, listed in another order in every second frame."""
    rows = [(t, "nucleus", y + 3 * t, 20.0 + 3 * t) for t in range(frames) for y in ((10.0, 60.0) if t % 2 else (60.0, 10.0))]
    time, kind, y, x = (np.array(each) for each in zip(*rows, strict=True))
    return {"time": time, "object": kind, "y": y, "x": x, "area_px": np.full(len(rows), 100.0), "label": np.arange(len(rows)) + 1}


@pytest.mark.skipif(not THERE, reason="laptrack (extra tracking) is not installed")
def test_objects_keep_their_tracks() -> None:
    found = tracked(moving())
    first = found["y"] - 3 * found["time"] < 30
    assert len(np.unique(found["track"])) == 2
    assert len(np.unique(found["track"][first])) == len(np.unique(found["track"][~first])) == 1
    assert not found["parent"].any()


@pytest.mark.skipif(THERE, reason="laptrack is installed")
def test_absent_laptrack_is_named() -> None:
    with pytest.raises(InputError, match=r"needs laptrack.*napari-virtual-paint\[tracking\]"):
        check_tracking()


class FakeLapTrack:
    """Returns rows in reverse order: the first half as track 0, the second half as track 1 that split off from it."""

    options: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        type(self).options = options

    def predict_dataframe(self, table: pd.DataFrame, **names: Any) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        assert names == {"coordinate_cols": ["y", "x"], "frame_col": "frame", "only_coordinate_cols": False}
        half = table.assign(track_id=(table["position"] >= len(table) / 2).astype(int)).iloc[::-1]
        return half, pd.DataFrame({"parent_track_id": [0], "child_track_id": [1]}), pd.DataFrame()


def test_answer_is_put_into_the_order_of_the_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reach is 1.5 diameters of the median object, squared, as laptrack compares squared distances."""
    package: Any = types.ModuleType("laptrack")
    package.LapTrack = FakeLapTrack
    monkeypatch.setitem(sys.modules, "laptrack", package)
    time, area = np.array([0, 0, 1, 1]), np.full(4, np.pi * 25)
    found = track(time, np.arange(4.0), np.arange(4.0), area)
    assert found.numbers.tolist() == [1, 1, 2, 2]
    assert found.parents.tolist() == [0, 0, 1, 1]
    assert found.graph == {2: [1]}
    assert FakeLapTrack.options["track_cost_cutoff"] == pytest.approx((1.5 * 10) ** 2)
