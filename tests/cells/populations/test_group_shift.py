"""One feature of a whole group, shifted."""

from __future__ import annotations

import numpy as np
import pytest

from fake_cells import correlated
from napari_virtual_paint.cells.populations.group_shift import MOST, members, shifted
from napari_virtual_paint.cells.populations.population import Population
from napari_virtual_paint.errors import InputError

NAMES = ("Nuclei_AreaShape_Area", "Nuclei_AreaShape_Orientation", *(f"Nuclei_AreaShape_F{i}" for i in range(10)))


@pytest.fixture(scope="module")
def population() -> Population:
    values = correlated(60)
    values[:, 1] = np.random.default_rng(1).uniform(-90, 90, 60)
    return Population(values, NAMES)


def test_all_cells_are_shifted_by_the_same_amount(population):
    rows = [3, 9, 27]
    alone = shifted(population, rows, NAMES[0], 12.5, follow=False)
    assert np.allclose(alone[:, 0], population.values[rows, 0] + 12.5)
    assert np.allclose(alone[:, 2:], population.values[rows, 2:])
    followed = shifted(population, rows, NAMES[0], 12.5)
    for row, vector in zip(rows, followed, strict=True):
        expected = population.conditional(population.values[row], {NAMES[0]: float(population.values[row, 0]) + 12.5})
        assert np.allclose(vector, expected, rtol=1e-5, atol=1e-4)
    assert np.array_equal(shifted(population, rows, NAMES[0], 0.0), population.values[rows])


def test_angles_stay_within_their_period(population):
    rows = np.arange(60)
    found = shifted(population, rows, NAMES[1], 60.0)
    assert (np.abs(found[:, 1]) <= 90).all()
    assert np.allclose((found[:, 1] - population.values[:, 1] - 60 + 90) % 180, 90, atol=1e-3)


def test_a_group_is_shown_by_some_of_its_cells():
    assert members(range(5)).tolist() == [0, 1, 2, 3, 4]
    some = members(np.arange(100, 200), seed=1)
    assert len(set(some)) == MOST
    assert (np.diff(some) > 0).all()
    assert not np.array_equal(some, members(np.arange(100, 200), seed=2))
    with pytest.raises(InputError, match="no cell"):
        members([])
