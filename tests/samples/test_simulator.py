"""The simulator: exact truth, optics that do what light does, treatments that change what they should."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.samples import STAINS, TREATMENTS, Batch, SimulatedField, SimulationSettings, simulate_field, simulate_timelapse
from napari_virtual_paint.samples.camera import expose, illumination
from napari_virtual_paint.samples.optics import Optics, transmission, transmitted
from napari_virtual_paint.samples.settings import effect_of

SIZE = 256


@functools.cache
def field(treatment: str = "control", seed: int = 1, z: int = 1, size: int = SIZE, dose: float = 4.0) -> SimulatedField:
    return simulate_field(SimulationSettings(size=size, seed=seed, z=z, treatment=treatment, dose=dose))


def images(one: SimulatedField) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(one.brightfield.data), np.asarray(one.stains.data)


def stain(one: SimulatedField, name: str) -> np.ndarray:
    return np.asarray(one.stains.data)[0, one.stains.channel_index(name)].astype(float)


def test_a_field_has_planes_stains_and_labels() -> None:
    one = field()
    assert one.brightfield.shape == (1, 3, 1, SIZE, SIZE)
    assert one.brightfield.channels == ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")
    assert one.stains.shape == (1, 5, 1, SIZE, SIZE)
    assert one.stains.channels == STAINS
    assert one.brightfield.pixel_size == (None, 0.65, 0.65)
    assert all(image.dtype == np.uint16 for image in images(one))
    assert {name: (label.shape, label.dtype) for name, label in one.labels.items()} == {
        "nucleus": ((SIZE, SIZE), np.int32),
        "cell": ((SIZE, SIZE), np.int32),
    }


def test_a_stack_has_volumes_with_the_membrane_and_a_step_along_z() -> None:
    one = field(z=16, size=128)
    assert one.brightfield.shape == (1, 1, 16, 128, 128)
    assert one.stains.shape == (1, 6, 16, 128, 128)
    assert one.stains.channels == (*STAINS, "Membrane")
    assert one.stains.pixel_size == (0.5, 0.65, 0.65)


def test_same_settings_same_pixels_and_another_seed_another_field() -> None:
    again = simulate_field(SimulationSettings(size=SIZE, seed=1, dose=4.0))
    for ours, theirs in zip(images(field()), images(again), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(field(seed=2).labels["cell"], field().labels["cell"])


def test_each_cell_is_one_piece_and_holds_its_nucleus() -> None:
    labels = field(seed=3).labels
    cell, nucleus = labels["cell"], labels["nucleus"]
    assert len(np.unique(cell)) > 10
    np.testing.assert_array_equal(nucleus[nucleus > 0], cell[nucleus > 0])
    for region in regionprops(cell):
        assert ndimage.label(region.image)[1] == 1


def test_stains_lie_where_they_belong() -> None:
    one = field(seed=3)
    nucleus, cell = one.labels["nucleus"] > 0, one.labels["cell"] > 0
    empty = ~ndimage.binary_dilation(cell, iterations=15)
    cytoplasm = cell & ~ndimage.binary_dilation(nucleus, iterations=3)
    level = {name: [np.median(stain(one, name)[0][where]) for where in (nucleus, cytoplasm, empty)] for name in STAINS}
    assert level["DNA"][0] > 5 * level["DNA"][1]
    for name in ("ER", "RNA", "AGP", "Mito"):
        assert level[name][1] > 1.15 * level[name][2]
    assert level["AGP"][0] < 2 * level["AGP"][1]


def test_brightfield_has_contrast_in_cells_at_every_plane_and_is_even_elsewhere() -> None:
    one = field(seed=3)
    cell = one.labels["cell"] > 0
    empty = ~ndimage.binary_dilation(cell, iterations=15)
    for plane in images(one)[0][0, :, 0].astype(float):
        assert plane[cell].std() > 1.6 * plane[empty].std()
        assert plane[empty].mean() == pytest.approx(11800, rel=0.03)


def test_no_stain_reaches_the_brightfield(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only thickness and refractive index may: a field whose stains take up nothing looks the same, pixel by pixel."""
    from napari_virtual_paint.samples import scene

    stained = field()
    monkeypatch.setattr(scene, "UPTAKE", {name: {"cytoplasm": 0.0} for name in scene.UPTAKE})
    blank = simulate_field(SimulationSettings(size=SIZE, seed=1, dose=4.0))
    np.testing.assert_array_equal(images(blank)[0], images(stained)[0])
    assert stain(blank, "DNA").max() < stain(stained, "DNA").max() / 4


def test_a_stack_shows_nuclei_inside_the_membrane_along_z() -> None:
    one = field(z=32, size=160, seed=5)
    nucleus = one.labels["nucleus"] > 0
    interior = ndimage.binary_erosion(nucleus, iterations=4)
    profile = {name: stain(one, name)[:, interior].mean(axis=1) for name in ("DNA", "Membrane")}
    bright = np.flatnonzero(profile["DNA"] > profile["DNA"].max() / 2)
    skin = np.flatnonzero(profile["Membrane"] > profile["Membrane"].max() / 2)
    assert skin[0] <= bright[0]
    assert profile["DNA"][[0, -1]].max() < 0.2 * profile["DNA"].max()
    assert 4 <= len(bright) <= 16


def test_the_stain_of_a_stack_adds_up_to_that_of_the_field() -> None:
    volume = stain(field(z=32, size=160, seed=5), "DNA")
    flat = stain(field(z=1, size=160, seed=5), "DNA")[0]
    summed = volume.sum(axis=0)
    assert np.corrcoef(ndimage.gaussian_filter(summed, 1.0).ravel(), flat.ravel())[0, 1] > 0.95


def _measured(name: str) -> dict[str, float]:
    """Return a treatment's cells, nuclear area, nuclear solidity, cell solidity and mitochondria's spread over three fields."""
    count, area, solid, outline, spread = 0, [], [], [], []
    for seed in (11, 12, 13):
        one = field(name, seed)
        cell, nucleus = one.labels["cell"], one.labels["nucleus"]
        count += len(np.unique(cell)) - 1
        whole = [region for region in regionprops(nucleus) if min(region.bbox[:2]) > 0 and max(region.bbox[2:]) < SIZE and region.area > 40]
        area += [region.area for region in whole]
        solid += [region.solidity for region in whole]
        outline += [region.solidity for region in regionprops(cell) if region.area > 300]
        away = ndimage.distance_transform_edt(nucleus == 0)
        light = np.clip(stain(one, "Mito")[0] - 7000, 0, None) * (cell > 0)
        spread.append(float((light * away).sum() / light.sum()))
    return {
        "cells": count,
        "area": float(np.median(area)),
        "solidity": float(np.median(solid)),
        "outline": float(np.mean(outline)),
        "spread": float(np.mean(spread)),
    }


def test_treatments_change_what_they_should() -> None:
    control, toxic, actin, tubulin = (_measured(name) for name in ("control", "mitoxantrone", "actin-disruptor", "tubulin-disruptor"))
    assert toxic["cells"] < 0.7 * control["cells"]
    assert toxic["area"] > 1.35 * control["area"]
    assert actin["outline"] < control["outline"] - 0.03
    assert tubulin["solidity"] < control["solidity"] - 0.02
    assert tubulin["spread"] < 0.8 * control["spread"]


def test_dose_zero_is_control_and_the_effect_saturates() -> None:
    none = simulate_field(SimulationSettings(size=96, seed=2, treatment="mitoxantrone", dose=0.0))
    control = simulate_field(SimulationSettings(size=96, seed=2))
    np.testing.assert_array_equal(images(none)[1], images(control)[1])
    effects = [effect_of(dose) for dose in (0, 0.25, 0.5, 1, 4)]
    assert effects == sorted(effects)
    assert effects[2] == 0.5
    assert effects[-1] > 0.95
    assert set(TREATMENTS) == {"control", "mitoxantrone", "actin-disruptor", "tubulin-disruptor"}


def test_a_batch_changes_light_and_gain_and_leaves_the_cells() -> None:
    plain = field(size=128)
    batch = Batch(illumination=0.4, gain=1.5, offset=100)
    other = simulate_field(SimulationSettings(size=128, seed=1, dose=4.0, batch=batch))
    np.testing.assert_array_equal(other.labels["cell"], plain.labels["cell"])
    ratio = images(other)[0][0, 1, 0] / images(plain)[0][0, 1, 0].astype(float)
    assert ratio[56:72, 56:72].mean() == pytest.approx(1.5, abs=0.05)
    assert ratio[:8, :8].mean() < 1.05
    assert Batch.drawn(3) == Batch.drawn(3) != Batch.drawn(4)


def test_a_time_lapse_keeps_its_cells_while_they_move() -> None:
    frames = list(simulate_timelapse(SimulationSettings(size=192, seed=4), frames=3))
    first, last = frames[0].labels["nucleus"], frames[-1].labels["nucleus"]
    kept = np.intersect1d(np.unique(first), np.unique(last))
    assert len(kept) > 5
    moved = [np.hypot(*np.subtract(ndimage.center_of_mass(first == i), ndimage.center_of_mass(last == i))) for i in kept[1:]]
    assert 0.3 < np.median(moved) < 20


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"treatment": "aspirin"}, "mitoxantrone"),
        ({"size": 8}, "size"),
        ({"size": 100_000}, "size"),
        ({"z": 0}, "planes"),
        ({"dose": -1.0}, "Dose"),
        ({"dose": float("nan")}, "Dose"),
        ({"seed": -1}, "Seed"),
        ({"pixel_size": 0.0}, "Pixel size"),
    ],
)
def test_settings_that_make_no_field_are_refused_in_a_sentence(wrong: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        SimulationSettings(**wrong)  # type: ignore[arg-type]


def test_an_empty_field_is_even_light() -> None:
    one = simulate_field(SimulationSettings(size=96, density=0.0, debris=0.0))
    assert one.labels["cell"].max() == 0
    bright = images(one)[0].astype(float)
    assert bright.std() / bright.mean() < 0.02


class TestOptics:
    """Known answers of wave optics."""

    SHAPE = (96, 96)

    def test_a_clear_slab_leaves_even_light(self) -> None:
        clear = np.ones(self.SHAPE, np.complex64)
        light = transmitted([(0.0, clear), (2.0, clear)], (-4, 0, 4), 0.65, Optics())
        np.testing.assert_allclose(light, 1, atol=1e-4)

    def test_a_phase_object_is_unseen_in_focus_and_seen_out_of_it(self) -> None:
        y, x = np.mgrid[:96, :96] - 48
        path = (0.05 * np.exp(-(x**2 + y**2) / (2 * 3.0**2))).astype(np.float32)
        light = transmitted([(0.0, transmission(path, 0.0, 0.55))], (-4, 0, 4), 0.65, Optics(condenser=0.0, sources=1))
        under, focus, over = light - 1
        assert np.abs(focus).max() < 0.02
        assert under[48, 48] < -0.05
        assert over[48, 48] > 0.05

    def test_propagation_there_and_back_restores_the_field(self) -> None:
        rng = np.random.default_rng(0)
        path = ndimage.gaussian_filter(rng.standard_normal(self.SHAPE), 2).astype(np.float32) * 0.1
        object_ = transmission(path, 0.0, 0.55)
        clear = np.ones(self.SHAPE, np.complex64)
        optics = Optics(condenser=0.0, sources=1)
        here = transmitted([(0.0, object_)], (1.0,), 0.65, optics)
        through = transmitted([(0.0, object_), (5.0, clear)], (1.0,), 0.65, optics)
        np.testing.assert_allclose(through, here, atol=2e-3)

    def test_energy_is_kept(self) -> None:
        rng = np.random.default_rng(1)
        path = ndimage.gaussian_filter(rng.standard_normal(self.SHAPE), 2).astype(np.float32) * 0.1
        light = transmitted([(0.0, transmission(path, 0.0, 0.55))], (-4, 0, 4), 0.65, Optics())
        np.testing.assert_allclose(light.mean(axis=(1, 2)), 1, atol=2e-3)

    def test_camera_noise_is_poisson_and_read_noise(self) -> None:
        grey = np.full((300, 300), 1000, np.float32)
        image = expose(grey, np.random.default_rng(0), electrons=0.5, read_noise=20).astype(float)
        assert image.mean() == pytest.approx(1000, abs=2)
        assert image.var() == pytest.approx(1000 / 0.5 + 400, rel=0.05)

    def test_illumination_falls_from_its_centre_to_the_corners(self) -> None:
        light = illumination((101, 101), 0.3)
        assert light.max() == pytest.approx(1, abs=0.01)
        assert light[0, 0] == pytest.approx(0.7, abs=0.01)
