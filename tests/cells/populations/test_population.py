"""Populations: percentiles, conditional means, distances and maps, against closed forms and real cells of a made population."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from fake_cells import correlated, fake_model
from napari_virtual_paint.cells.cp2image.model import cohort_of
from napari_virtual_paint.cells.populations.cohort import parse_group
from napari_virtual_paint.cells.populations.population import Distance, Population, Trust
from napari_virtual_paint.errors import InputError

NAMES = tuple(f"Nuclei_AreaShape_F{i}" for i in range(12))


@pytest.fixture(scope="module")
def population() -> Population:
    return Population(correlated(400), NAMES)


def normal(count=20_000, seed=1) -> Population:
    """Three normal features of known covariance, in units of their own."""
    covariance = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.3], [0.0, 0.3, 1.0]])
    z = np.random.default_rng(seed).multivariate_normal(np.zeros(3), covariance, count)
    return Population(z * [10, 2, 0.1] + [100, 0, 5], ("a", "b", "c"))


def test_standardised_features_have_median_zero_and_one_robust_deviation(population):
    z = population.standard(population.values)
    assert np.abs(np.median(z, axis=0)).max() < 1e-5
    assert np.allclose(1.4826 * np.median(np.abs(z), axis=0), 1, atol=1e-5)


def test_percentiles_and_ranks_are_each_others_inverse(population):
    for name in NAMES[:3]:
        values = population.percentile(name, [5, 50, 95])
        assert [population.rank(name, value) for value in values] == pytest.approx([5, 50, 95], abs=0.3)
    counts, edges = population.histogram(NAMES[0])
    assert counts.sum() == len(population)
    assert edges[[0, -1]] == pytest.approx([population.values[:, 0].min(), population.values[:, 0].max()])


def test_conditional_mean_is_that_of_the_normal_distribution():
    found = normal()
    start = np.array([100.0, 0.0, 5.0])
    moved = found.conditional(start, {"a": 120.0})  # two deviations up
    assert moved[0] == pytest.approx(120.0)
    assert moved[1] == pytest.approx(2 * 0.8 * 2, rel=0.05)
    assert moved[2] == pytest.approx(5.0, abs=0.01)
    both = found.conditional(start, {"a": 110.0, "c": 5.1})
    weights = np.linalg.solve([[1, 0], [0, 1]], [1, 1])
    assert both[1] == pytest.approx(2 * (0.8 * weights[0] + 0.3 * weights[1]), rel=0.05)


def test_conditional_keeps_what_is_the_cells_own(population):
    cell = population.values[7]
    assert np.allclose(population.conditional(cell, {NAMES[0]: float(cell[0])}), cell, rtol=1e-5)
    assert np.allclose(population.conditional(cell, {}), cell)
    up = population.conditional(cell, {NAMES[0]: float(cell[0]) + 5})
    down = population.conditional(cell, {NAMES[0]: float(cell[0]) - 5})
    assert np.allclose((up + down) / 2, cell, rtol=1e-3, atol=1e-2)
    assert not np.allclose(up, cell, rtol=1e-3)


def test_many_moved_features_are_solved_like_few(population, monkeypatch):
    moved = {name: float(value) + 1 for name, value in zip(NAMES[:5], population.values[3], strict=False)}
    few = population.conditional(population.values[0], moved)
    monkeypatch.setattr("napari_virtual_paint.cells.populations.population.CACHED", 0)
    assert np.allclose(population.conditional(population.values[0], moved), few, rtol=1e-5)


@pytest.mark.parametrize("count", [10, 70, 110])
def test_many_moved_features_carry_the_others_as_the_whole_covariance_does(count):
    """Fewer cells than features: against the covariance formed as a matrix."""
    found = Population(correlated(40, 120), [f"f{i}" for i in range(120)])
    spectrum = found._spectrum
    whole = (spectrum.vectors * spectrum.extra) @ spectrum.vectors.T + spectrum.floor * np.eye(120)
    moved = np.random.default_rng(0).permutation(120)[:count]
    step = np.linspace(-2, 2, count)
    expected = whole[:, moved] @ np.linalg.solve(whole[np.ix_(moved, moved)], step)
    assert spectrum.carried(moved, step) == pytest.approx(expected, abs=1e-8)
    cell = found.values[0].astype(np.float64)
    z = found.conditional(cell, {int(i): float(cell[i] + by * found.spread[i]) for i, by in zip(moved, step, strict=True)}) - cell
    assert z / found.spread == pytest.approx(expected, abs=1e-3)


def test_constant_and_missing_values_carry_nothing():
    values = correlated(50, 4)
    values[:, 1] = 3.0
    values[:, 2] = np.nan
    values[0, 3] = np.inf
    found = Population(values, NAMES[:4])
    assert np.isfinite(found.values).all()
    moved = found.conditional(found.values[0], {NAMES[1]: 9.0})
    assert moved[1] == 9.0
    assert np.allclose(np.delete(moved, 1), np.delete(found.values[0], 1), rtol=1e-5)
    assert found.conditional(found.values[0], {NAMES[0]: 1e3})[1] == 3.0
    assert np.isfinite(found.distance(moved).mahalanobis)


def test_real_cells_are_real_and_broken_correlations_are_not(population):
    levels = [population.distance(row).level for row in population.values]
    assert set(levels) == {"real"}
    z = population.standard(population.values)
    first, second = np.unravel_index(np.argmax(np.abs(np.corrcoef(z.T)) - 2 * np.eye(12)), (12, 12))
    sign = np.sign(np.corrcoef(z.T)[first, second])
    broken = population.centre.copy()
    broken[first] += 2.5 * population.spread[first]
    broken[second] -= sign * 2.5 * population.spread[second]
    assert population.distance(broken).level == "beyond"
    followed = population.conditional(population.centre, {NAMES[first]: broken[first]})
    alone = population.centre.copy()
    alone[first] = broken[first]
    assert population.distance(followed).mahalanobis < population.distance(alone).mahalanobis


@pytest.mark.parametrize(
    ("percentile", "gain", "value", "level"),
    [
        (40.0, math.nan, 100, "real"),  # nothing is measured yet: the vector alone
        (40.0, 1.0, 100, "real"),
        (40.0, 0.7, 70, "real"),
        (40.0, 1.3, 70, "real"),  # too much of the change is as far from what was asked for as too little
        (40.0, 0.4, 40, "rare"),
        (40.0, 0.05, 5, "beyond"),
        (40.0, -1.0, 0, "beyond"),
        (97.5, 1.0, 50, "rare"),
        (97.5, 0.5, 25, "rare"),
        (99.9, 1.0, 2, "beyond"),
    ],
)
def test_trust_combines_how_rare_the_vector_is_and_how_well_the_picture_obeys(percentile, gain, value, level):
    trust = Trust(Distance(2.0, 20.0, 0.5, percentile), gain)
    assert trust.value == pytest.approx(value)
    assert trust.level == level


def test_a_real_cell_is_trusted_as_far_as_its_picture_obeys():
    assert Trust(Distance(9.0, 100.0, 0.0, 0.0)).value == 100
    assert Trust(Distance(9.0, 100.0, 0.0, 0.0), 0.2).level == "rare"


@pytest.mark.parametrize(
    ("percentile", "gain", "low"),
    [(20.0, 0.9, ""), (98.0, 1.0, "vector"), (20.0, 0.4, "picture"), (20.0, 1.8, "picture"), (98.0, 0.1, "both"), (98.0, np.nan, "vector")],
)
def test_trust_names_what_is_low(percentile, gain, low):
    assert Trust(Distance(2.0, 20.0, 0.5, percentile), gain).low == low


@pytest.mark.parametrize(("count", "features"), [(400, 12), (60, 120)])
def test_new_cells_of_the_same_kind_are_as_far_as_the_old(count, features):
    values = correlated(count + 300, features, seed=3)
    found = Population(values[:count], [f"f{i}" for i in range(features)])
    far = [found.distance(row).mahalanobis_percentile for row in values[count:]]
    assert 35 < np.median(far) < 65, "the percentiles are those of cells that were left out"


def test_distance_by_few_vectors_is_that_of_the_whole_covariance():
    from sklearn.covariance import LedoitWolf

    for count, features in ((200, 12), (40, 60)):
        found = Population(correlated(count, features), [f"f{i}" for i in range(features)])
        z = found.standard(found.values)
        fitted = LedoitWolf().fit(z)
        expected = np.sqrt(fitted.mahalanobis(z[:5]))
        assert [found.distance(row).mahalanobis for row in found.values[:5]] == pytest.approx(list(expected), rel=1e-3)


def test_a_cells_own_distance_leaves_it_out():
    """Against the covariance computed anew without the cell, its shrinkage and mean as they were."""
    values = correlated(40, 60)
    found = Population(values, [f"f{i}" for i in range(60)])
    z = found.standard(values)
    spectrum, own = found._spectrum, 7
    away = z - spectrum.mean
    whole = spectrum.weight * away.T @ away + spectrum.floor * np.eye(60)
    less = whole - spectrum.weight * np.outer(away[own], away[own])
    moved = values[own] + 0.3 * found.spread.astype(np.float32)
    at = found.standard(moved) - spectrum.mean
    assert found.distance(moved, own).mahalanobis == pytest.approx(np.sqrt(at @ np.linalg.solve(less, at)), rel=1e-5)
    assert found.distance(moved).mahalanobis == pytest.approx(np.sqrt(at @ np.linalg.solve(whole, at)), rel=1e-5)
    ranks = [found.distance(row, i).mahalanobis_percentile for i, row in enumerate(values)]
    assert sorted(ranks) == pytest.approx(list(np.arange(40) * 2.5), abs=2.6)


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_neighbours_are_those_of_all_distances(population, count):
    """Against every distance computed in turn."""
    z = population.points.of(population.values)
    asked = np.stack([population.values[7], population.centre + 0.4 * population.spread]).astype(np.float32)
    positions, distances = population.neighbours(asked, count)
    for row, where, far in zip(population.points.of(asked), positions, distances, strict=True):
        every = np.sqrt(((z - row) ** 2).mean(axis=1))
        assert np.array_equal(where, np.argsort(every, kind="stable")[:count])
        assert far == pytest.approx(np.sort(every)[:count], abs=1e-5)
    assert positions[0, 0] == 7
    assert distances[1, 0] == pytest.approx(population.distance(asked[1]).neighbour)
    assert population.neighbours(asked[0], 1)[0].tolist() == [[7]], "one vector is a row of its own"


def test_pca_is_that_of_numpy(population):
    z = population.standard(population.values)
    away = z - z.mean(axis=0)
    _, _, vectors = np.linalg.svd(away, full_matrices=False)
    expected = away @ vectors[:2].T
    found = population.pca()
    for axis in (0, 1):
        assert abs(np.corrcoef(found.points[:, axis], expected[:, axis])[0, 1]) > 0.9999
    assert np.allclose(found.project(population.values[3]), found.points[3], atol=1e-4)
    assert found.axes[0].startswith("PC 1 (")


def test_umap_tells_what_to_install(population, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match=r"napari-virtual-paint\[cells\]"):
        population.umap()


def test_errors_say_what_is_wrong(population):
    with pytest.raises(InputError, match="did you mean Nuclei_AreaShape_F1"):
        population.position("Nuclei_AreaShape_G1")
    with pytest.raises(InputError, match="three cells"):
        Population(np.zeros((2, 1)), ["a"])
    with pytest.raises(InputError, match="2 features"):
        Population(np.zeros((5, 3)), ["a", "b"])


def test_cohort_of_a_model_knows_its_groups():
    cohort = cohort_of(fake_model(40))
    assert cohort.groupings == {"Metadata_Treatment": ("DMSO", "drug"), "Metadata_Dose": ("0", "1", "2", "3")}
    assert list(cohort.group("Metadata_Treatment", "drug")) == list(range(0, 40, 2))
    assert cohort.label(3) == "#3  DMSO · 3"
    assert cohort.crops is not None
    assert len(cohort.population) == 40
    with pytest.raises(InputError, match="there are: DMSO, drug"):
        cohort.group("Metadata_Treatment", "DMS")
    with pytest.raises(InputError, match="Metadata_Treatment"):
        cohort.group("Treatment", "DMSO")


def test_groups_are_read_as_they_are_written():
    assert parse_group("12") == 12
    assert parse_group("Metadata_Dose = 3") == ("Metadata_Dose", "3")
    with pytest.raises(InputError, match="neither"):
        parse_group("DMSO")


ANGLED = (
    "Nuclei_AreaShape_Orientation",
    "Cells_AreaShape_Orientation",
    *(f"Nuclei_Texture_Contrast_DNA_3_0{way}_256" for way in range(4)),
    "Nuclei_AreaShape_Area",
)


def angled(count: int = 600) -> Population:
    """Cells that lie as their nuclei do within some degrees; textures are 3 along the nucleus's axis and 1 across, area is by itself."""
    rng = np.random.default_rng(4)
    axis = rng.uniform(-90, 90, count)
    ways = np.deg2rad([90, 45, 0, 135])
    textures = 2 + np.cos(2 * (ways - np.deg2rad(axis)[:, None])) + rng.normal(0, 0.1, (count, 4))
    cells = (axis + rng.normal(0, 10, count) + 90) % 180 - 90
    return Population(np.column_stack([axis, cells, textures, rng.normal(300, 40, count)]), ANGLED)


def test_a_cell_whose_orientation_is_moved_is_turned_as_a_whole():
    found = angled()
    start = np.array([80.0, 85.0, 2.9, 1.7, 1.1, 2.3, 310.0])
    moved = found.conditional(start, {ANGLED[0]: 100 - 180})  # by 20 degrees, past the end of the scale
    assert moved[:2] == pytest.approx([-80, -75], abs=1e-4)
    assert moved[6] == pytest.approx(310)
    assert moved[2:6].sum() == pytest.approx(start[2:6].sum())
    assert moved[[2, 4]] == pytest.approx([2 + 0.9 * np.cos(np.deg2rad(40)) - 0.3 * np.sin(np.deg2rad(40)), 4 - moved[2]], abs=1e-4)
    quarter = found.conditional(start, {ANGLED[0]: -10.0})
    assert quarter == pytest.approx([-10, -5, 1.1, 2.3, 2.9, 1.7, 310], abs=1e-4)
    assert found.conditional(start, {ANGLED[0]: 80.0}) == pytest.approx(start)


def test_a_texture_carries_the_orientation_along():
    found = angled()
    start = np.array([45.0, 45.0, 2.0, 3.0, 2.0, 1.0, 300.0])
    moved = found.conditional(start, {ANGLED[2]: 3.0, ANGLED[4]: 1.0, ANGLED[3]: 2.0, ANGLED[5]: 2.0})
    assert abs(moved[0]) == pytest.approx(90, abs=3), "along the columns"
    assert abs(moved[1]) == pytest.approx(90, abs=6)
    assert moved[6] == pytest.approx(300, abs=5)


def test_the_ends_of_the_scale_of_an_orientation_are_one_place():
    found = angled()
    cell = np.array([90.0, 90.0, 3.0, 2.0, 1.0, 2.0, 300.0])
    other = np.array([-90.0, -90.0, 3.0, 2.0, 1.0, 2.0, 300.0])
    assert found.distance(cell).mahalanobis == pytest.approx(found.distance(other).mahalanobis)
    assert found.distance(cell).neighbour == pytest.approx(found.distance(other).neighbour)
    np.testing.assert_allclose(found.pca().project(cell), found.pca().project(other), atol=1e-5)
    assert found.distance(cell).level == "real"
    across = found.distance(np.array([90.0, 0.0, 1.0, 2.0, 3.0, 2.0, 300.0]))
    assert across.level == "beyond"


def test_gain_is_the_share_of_the_change_that_is_measured() -> None:
    names = ("Nuclei_AreaShape_Area", "Nuclei_Intensity_MeanIntensity_DNA", "Nuclei_AreaShape_Orientation")
    values = np.column_stack([np.linspace(-1, 1, 21), np.linspace(0, 10, 21), np.linspace(-80, 80, 21)])
    population = Population(values, names)
    start, asked = np.array([0, 5, 85], np.float32), np.array([1, 9, -70], np.float32)
    before, after = np.array([7, 5, 80], np.float32), np.array([7.5, 6, -80], np.float32)
    assert population.gain(start, asked, before, after, {0}) == pytest.approx(0.5)
    assert population.gain(start, asked, before, after, {1}) == pytest.approx(0.25)
    assert population.gain(start, asked, before, after, {2}) == pytest.approx(0.8), "20 of 25 degrees, the shorter way round"
    assert population.gain(start, asked, before, after, {0, 1, 2}) == pytest.approx(0.5), "the median"
    assert np.isnan(population.gain(start, start, before, after, {0})), "no change was asked for"
    assert np.isnan(population.gain(start, asked, before, np.full(3, np.nan, np.float32), {0, 1})), "nothing could be measured"
