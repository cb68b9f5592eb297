"""Link the objects of a time series to tracks (laptrack: Fukai & Kawaguchi 2023, after Jaqaman et al. 2008)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.runtime.extras import require

REACH = 1.5  # farthest way of an object from one time point to the next, as a share of the median object's diameter

GAP = 1  # time points for which a track may be lost

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks of the objects of one kind."""

    numbers: npt.NDArray[np.int64]  # track of each object, from 1
    parents: npt.NDArray[np.int64]  # track that the object's track split off from; 0 where it began by itself

    @property
    def graph(self) -> dict[int, list[int]]:
        """Track -> its parent, as napari's Tracks layer takes it; those without a parent are left out."""
        pairs = dict(zip(self.numbers.tolist(), self.parents.tolist(), strict=True))
        return {track: [parent] for track, parent in pairs.items() if parent}


def check_tracking() -> None:
    """Raise an `InputError` if laptrack or pandas, on which it rests, is not installed."""
    _laptrack()


def track(time: npt.NDArray[Any], y: Floats, x: Floats, area: Floats) -> Tracks:
    """Link objects by their positions.

    Parameters
    ----------
    time, y, x, area
        Time point, center in pixels and area in pixels of each object. Objects are linked up to `REACH` of their median diameter apart,
        across a gap of one time point, and may divide.

    Raises
    ------
    InputError
        If laptrack is not installed.
    """
    laptrack, pd = _laptrack()
    if not len(time):
        return Tracks(np.zeros(0, np.int64), np.zeros(0, np.int64))
    reach = REACH * 2 * float(np.sqrt(np.median(area) / np.pi))
    tracker = laptrack.LapTrack(
        track_cost_cutoff=reach**2, gap_closing_cost_cutoff=reach**2, gap_closing_max_frame_count=GAP, splitting_cost_cutoff=reach**2
    )
    table = pd.DataFrame({"frame": np.asarray(time, int), "y": y, "x": x, "position": np.arange(len(time))})
    found, splits, _ = tracker.predict_dataframe(table, coordinate_cols=["y", "x"], frame_col="frame", only_coordinate_cols=False)
    found = found.sort_values("position")
    numbers = found["track_id"].to_numpy(np.int64) + 1
    parent = {int(row["child_track_id"]) + 1: int(row["parent_track_id"]) + 1 for row in splits.to_dict("records")}
    return Tracks(numbers, np.asarray([parent.get(number, 0) for number in numbers.tolist()], np.int64))


def tracked(objects: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the table of a count with the columns ``track`` and ``parent``; each kind of object is linked by itself.

    Raises `InputError` if laptrack is not installed.
    """
    numbers, parents = np.zeros(len(objects["label"]), np.int64), np.zeros(len(objects["label"]), np.int64)
    for kind in np.unique(objects["object"]):
        own = objects["object"] == kind
        tracks = track(*(objects[name][own] for name in ("time", "y", "x", "area_px")))
        numbers[own], parents[own] = tracks.numbers, tracks.parents
    return {**objects, "track": numbers, "parent": parents}


def _laptrack() -> tuple[Any, Any]:
    words = {"extra": "tracking", "purpose": "Linking objects to tracks"}
    return require("laptrack", **words), require("pandas", **words)
