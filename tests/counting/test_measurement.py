"""Tables of objects: areas, intensities and flags with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_virtual_paint.counting.measurement import FLAGS, measure_objects


@pytest.fixture
def labels() -> np.ndarray:
    """Squares of 10 x 10 px, one of them at the border, a small one of 4 x 4, and two joined by a bridge."""
    out = np.zeros((80, 80), np.int32)
    for number, (y, x) in enumerate([(0, 20), (20, 5), (20, 25), (20, 45), (20, 65)], start=1):
        out[y : y + 10, x : x + 10] = number
    out[45:49, 10:14] = 6
    out[45:55, 30:40] = out[45:55, 44:54] = out[49:51, 40:44] = 7
    return out


def test_shape_and_intensity(labels: np.ndarray) -> None:
    planes = np.zeros((2, 80, 80))
    planes[0][labels == 2] = 7
    planes[1] = np.arange(80)[None]
    table = measure_objects(labels, planes, ("DNA", "ER"), 0.5)
    assert table["label"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert table["area_px"].tolist() == [100, 100, 100, 100, 100, 16, 208]
    assert table["area_um2"][5] == 4
    assert (table["y"][1], table["x"][1]) == (24.5, 9.5)
    assert (table["mean_DNA"][1], table["sum_DNA"][1], table["sd_DNA"][1], table["mean_DNA"][2]) == (7, 700, 0, 0)
    assert table["mean_ER"][1] == 9.5
    assert table["sd_ER"][1] == pytest.approx(np.sqrt((10**2 - 1) / 12))  # of 10 equally spaced values
    assert np.isnan(measure_objects(labels, planes, ("DNA", "ER"), None)["area_um2"]).all()


def test_flags(labels: np.ndarray) -> None:
    sharp = ndimage.gaussian_filter((labels > 0) * 100.0, 0.7)
    sharp[16:34, 61:79] = ndimage.gaussian_filter((labels > 0) * 100.0, 4)[16:34, 61:79]  # number 5 is out of focus
    table = measure_objects(labels, sharp[None], ("DNA",), None, sharp)
    flagged = {flag: table["label"][table[flag]].tolist() for flag in FLAGS}
    assert flagged == {"edge": [1], "clump": [7], "small": [6], "blurred": [5]}


def test_without_objects(labels: np.ndarray) -> None:
    table = measure_objects(np.zeros_like(labels), np.zeros((1, 80, 80)), ("DNA",), 1.0, np.zeros((80, 80)))
    assert all(len(values) == 0 for values in table.values())
    assert {"label", "area_px", "mean_DNA", *FLAGS} <= table.keys()
