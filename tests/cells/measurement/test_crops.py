"""Crops round cells, and montages told from other images."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtual_paint.cells.measurement.crops import crop, find_tile, places
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import demo_field


def test_crop_has_the_centre_in_the_middle() -> None:
    planes = np.zeros((2, 30, 40))
    planes[1, 12, 25] = 7
    cut = crop(planes, [(12, 25)], 9)
    assert cut.shape == (1, 2, 9, 9)
    assert cut.dtype == np.float32
    assert cut[0, 1, 4, 4] == 7
    assert cut.sum() == 7


def test_crop_of_even_side_holds_a_middle_between_pixels() -> None:
    planes = np.arange(100.0).reshape(1, 10, 10)
    assert np.array_equal(crop(planes, [(4.5, 4.5)], 4)[0, 0], planes[0, 3:7, 3:7])


def test_crop_repeats_the_edge() -> None:
    planes = np.arange(25.0).reshape(1, 5, 5)
    cut = crop(planes, [(0, 0)], 5)[0, 0]
    assert (cut[:3, :3] == planes[0, 0, 0]).all()
    assert np.array_equal(cut[2:, 2:], planes[0, :3, :3])


def test_crop_stays_in_its_place_of_a_montage() -> None:
    planes = np.kron(np.array([[1, 2], [3, 4]]), np.ones((10, 10)))[None]
    assert (crop(planes, [(4, 12)], 8, tile=10) == 2).all()
    assert len(np.unique(crop(planes, [(4, 12)], 8))) == 2


def test_crop_refuses_what_is_no_place() -> None:
    with pytest.raises(InputError):
        crop(np.zeros((1, 9, 9)), [(np.nan, 3)], 4)
    with pytest.raises(InputError):
        crop(np.zeros((9, 9)), [(1, 3)], 4)


def test_montage_of_made_cells_is_found() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:24, :24]
    rows = []
    for _ in range(8):
        row = []
        for _ in range(6):
            cy, cx = 11.5 + rng.normal(0, 1, 2)
            row.append(100 + 400 * ((y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(20, 60)) + rng.normal(0, 3, (24, 24)))
        rows.append(np.hstack(row))
    assert find_tile(np.vstack(rows)[None]) == 24


def test_fields_and_noise_are_no_montage() -> None:
    assert find_tile(demo_field().stains.data[0, :, 0]) is None
    assert find_tile(np.random.default_rng(0).random((2, 480, 480))) is None
    assert find_tile(np.full((1, 480, 480), 7)) is None


@pytest.mark.parametrize("channels", [slice(None), slice(0, 1), slice(1, 2)])
def test_every_jurkat_montage_is_found(shared_data, channels: slice) -> None:
    for path in sorted((shared_data / "jurkat_flow").glob("*.ome.tif")):
        assert find_tile(read(path).compute().data[0, channels, 0]) == 40, path.name


def test_example_human_is_no_montage(shared_data) -> None:
    assert find_tile(read(shared_data / "example_human").compute().data[0, :, 0]) is None


def test_padding_is_no_place() -> None:
    planes = np.random.default_rng(0).random((1, 20, 30))
    planes[:, 10:, 10:20] = 3
    planes[:, 10:, 20:] = np.arange(10)
    assert [number for number, _, _ in places(planes, 10)] == [0, 1, 2, 3]
