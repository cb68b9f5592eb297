"""Finding the picture of a measured image, and its place in it."""

from __future__ import annotations

import numpy as np

from napari_virtual_paint.cells.measurement.placement import CropPlacement, Spots, agreement, place

RANDOM = np.random.default_rng(5)
PICTURES = {name: RANDOM.integers(0, 4000, (90, 80)).astype(np.uint16) for name in ("A", "B")}
Y, X = RANDOM.integers(5, 40, 15), RANDOM.integers(5, 40, 15)


def spots(values: np.ndarray, count: int = 15, mean: np.ndarray | None = None) -> Spots:
    y, x = Y[:count].astype(float), X[:count].astype(float)
    return Spots(y, x, values[:count].astype(float), y, x, np.full(count, np.nan) if mean is None else mean[:count], 3.0)


def test_the_brightest_pixels_tell_picture_shift_and_full_scale() -> None:
    values = PICTURES["B"][Y + 31, X + 22] / 4095
    assert place(spots(values), PICTURES) == CropPlacement("B", 31, 22, 4095.0, 1.0)


def test_few_objects_confirm_a_known_shift_but_find_none() -> None:
    values = PICTURES["B"][Y + 31, X + 22] / 65535
    assert place(spots(values, 4), PICTURES) is None
    found = place(spots(values, 4), PICTURES, [(0, 0), (31, 22)])
    assert found == CropPlacement("B", 31, 22, 65535.0, 1.0)
    assert agreement(spots(values, 4), PICTURES["B"], found) == 1.0
    assert agreement(spots(values, 4), PICTURES["A"], found) < 0.5
    assert np.isnan(agreement(spots(values, 2), PICTURES["B"], found))


def test_a_corrected_image_is_found_by_its_means() -> None:
    y, x = np.mgrid[:90, :80]
    picture = (1000 * np.exp(-((y - 30) ** 2 + (x - 25) ** 2) / 400)).astype(np.uint16)
    mean = picture[Y, X] / 65535 * 1.7 + RANDOM.normal(0, 1e-4, 15)
    found = place(spots(np.full(15, np.nan), mean=mean), {"A": PICTURES["A"], "C": picture})
    assert found is not None
    assert (found.source, found.y, found.x, found.scale) == ("C", 0, 0, None)
    assert found.agreement > 0.95
    assert place(spots(np.full(15, np.nan), mean=RANDOM.random(15)), PICTURES) is None
