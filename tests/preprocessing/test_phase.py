"""The phase is another program's, and that of an object whose light was propagated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.preprocessing.microscope import Microscope
from napari_virtual_paint.preprocessing.phase import PhaseSettings, reconstruct_phase
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.samples import SimulationSettings, optical_path, simulate_field
from napari_virtual_paint.samples.optics import Optics, transmission, transmitted
from napari_virtual_paint.stack import UNKNOWN, PixelSize, Stack

OPTICS = Optics(wavelength=0.532, bandwidth=0, medium=1.33, numerical_aperture=0.55, condenser=0.3, sources=40, pixel_blur=0)
WATER = Microscope(0.55, 0.4)


def correlation(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Pearson's correlation of two images."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("name", ["phase_reference", "phase_reference_na_ill_0.2"])
@pytest.mark.parametrize("mode", ["2d", "3d"])
def test_another_programs_phase_is_reached(shared_references: Path, name: str, mode: Any) -> None:
    """At its settings: 0.99 with its own reconstruction, and no worse with the true object."""
    told = json.loads((shared_references / f"{name}.json").read_text())
    images = np.load(shared_references / f"{name}.npz")
    size = PixelSize(told["z_pixel_size"], told["yx_pixel_size"], told["yx_pixel_size"])
    stack = Stack(images["brightfield"][None, None], pixel_size=size)
    optics = Microscope(
        told["numerical_aperture_detection"],
        told["numerical_aperture_illumination"],
        told["wavelength_illumination"],
        told["index_of_refraction_media"],
    )
    strength = told[f"reconstruction_{mode}"]["regularization_strength"]
    found = run_to_end(reconstruct_phase(stack, PhaseSettings(optics, mode, strength))).data[0, 0]
    theirs, truth = images[f"reconstructed_{mode}"], images["true_phase"]
    truth = truth if mode == "3d" else truth.sum(0)
    assert correlation(found, theirs) >= 0.99
    assert correlation(found, truth) >= correlation(theirs, truth)


def thin_object(planes: int, spacing: float = 2.0) -> tuple[npt.NDArray[np.float32], Stack]:
    """A thin phase object (radians) and its images, of light propagated by the angular spectrum, planes against the light."""
    rng = np.random.default_rng(0)
    frequencies = np.hypot(np.fft.fftfreq(128, 0.4)[:, None], np.fft.fftfreq(128, 0.4))
    band = (frequencies > 0.15) & (frequencies < 0.7)
    phase = np.fft.ifft2(np.fft.fft2(rng.normal(size=(128, 128))) * band).real
    phase = (phase / phase.std() * 0.05).astype(np.float32)
    path = phase * (0.532 / (2 * np.pi))
    heights = [(planes // 2 - index) * spacing for index in range(planes)]
    images = np.stack([transmitted([(0.0, transmission(path, 0.0, 0.532))], [height], 0.4, OPTICS)[0] for height in heights])
    return phase, Stack(1000 * images[None, None], ("Brightfield",), PixelSize(spacing, 0.4, 0.4), source="cells.tif")


def test_the_phase_of_a_thin_object_is_found_in_radians() -> None:
    """In 2D, from five planes: the pattern, and its size to a tenth."""
    phase, stack = thin_object(5)
    found = run_to_end(reconstruct_phase(stack, PhaseSettings(Microscope(0.55, 0.3), "2d", 1e-3))).data[0, 0, 0]
    assert correlation(found, phase) > 0.98
    assert found.std() == pytest.approx(phase.std(), rel=0.1)


def test_light_through_the_reconstructed_volume_gives_the_images_again() -> None:
    """In 3D, radians per plane: propagated through all planes, slab after slab, they give the contrast that was there."""
    phase, stack = thin_object(16)
    found = run_to_end(reconstruct_phase(stack, PhaseSettings(Microscope(0.55, 0.3), "3d"))).data[0, 0]
    assert correlation(found[8], phase) > 0.9
    assert found[8].std() > 2 * found[2].std()
    heights = [(8 - index) * 2.0 for index in range(16)]
    slabs = [(height, transmission(plane * (0.532 / (2 * np.pi)), 0.0, 0.532)) for height, plane in zip(heights, found, strict=True)]
    images = transmitted(slabs[::-1], heights, 0.4, OPTICS)[4:13]
    given = stack.data[0, 0, 4:13] / 1000
    assert correlation(images, given) > 0.95
    assert images.std() == pytest.approx(given.std(), rel=0.1)


def test_planes_in_the_other_direction_change_the_sign() -> None:
    """A phase object shows the opposite contrast on both sides of focus."""
    phase, stack = thin_object(5)
    settings = PhaseSettings(Microscope(0.55, 0.3), "2d", 1e-3)
    turned = replace(stack, data=stack.data[:, :, ::-1])
    right = run_to_end(reconstruct_phase(turned, replace(settings, invert=True))).data
    assert correlation(right, phase) > 0.98
    assert correlation(run_to_end(reconstruct_phase(turned, settings)).data, phase) < -0.98


def test_every_time_point_is_found_alone_and_the_record_has_the_settings() -> None:
    """Two time points, of which the second is twice as bright; the default mode of few planes is 2D."""
    _, stack = thin_object(4)
    two = replace(stack, data=np.concatenate([stack.data, 2 * stack.data]))
    found = run_to_end(reconstruct_phase(two, PhaseSettings(WATER)))
    assert found.shape == (2, 1, 1, 128, 128)
    assert found.channels == ("Phase",)
    assert found.data.dtype == np.float32
    assert np.allclose(found.data[0], found.data[1], atol=1e-6)
    assert found.pixel_size == PixelSize(None, 0.4, 0.4)
    record = dict(found.provenance or {})["phase"]
    assert record["mode"] == "2d"
    assert record["regularization"] == 1e-3
    assert record["microscope"]["na"] == 0.55
    assert record["input"] == "cells.tif"


def test_the_phase_of_simulated_cells_follows_their_optical_path() -> None:
    """Better than the best plane of the stack does."""
    settings = SimulationSettings(size=256, z=5, z_step=4.0, seed=1)
    truth, stack = optical_path(settings), simulate_field(settings).brightfield
    microscope = Microscope(Optics.numerical_aperture, Optics.condenser, Optics.wavelength, Optics.medium)
    phase = run_to_end(reconstruct_phase(stack, PhaseSettings(microscope, invert=True)))
    best = max(abs(correlation(np.asarray(plane), truth)) for plane in stack.data[0, 0])
    assert correlation(phase.data[0, 0, 0], truth) > best + 0.05


def test_padding_keeps_the_planes() -> None:
    """Reflected planes are cut off again, however many were asked for."""
    _, stack = thin_object(6)
    found = run_to_end(reconstruct_phase(stack, PhaseSettings(WATER, "3d", z_padding=50)))
    assert found.shape == stack.shape
    assert found.pixel_size == stack.pixel_size
    assert dict(found.provenance or {})["phase"]["z_padding"] == 5


def test_dark_cells_are_noted() -> None:
    """The stack of a bead, in the wrong direction."""
    y, x = np.mgrid[-40:40, -40:40] * 0.4
    bead = (0.6 * np.exp(-(y**2 + x**2) / 8)).astype(np.float32)
    images = transmitted([(0.0, transmission(bead * 0.532 / (2 * np.pi), 0.0, 0.532))], [-4.0, -2.0, 0.0, 2.0, 4.0], 0.4, OPTICS)
    stack = Stack(images[None, None], pixel_size=PixelSize(2.0, 0.4, 0.4))
    settings = PhaseSettings(Microscope(0.55, 0.3))
    assert "--invert" in run_to_end(reconstruct_phase(stack, settings)).notes[0]
    assert run_to_end(reconstruct_phase(stack, replace(settings, invert=True))).notes == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": np.ones((1, 1, 1, 8, 8)), "pixel_size": UNKNOWN}, "there is one; open the whole z-stack"),
        ({"pixel_size": UNKNOWN}, "pixel size along z and y and x is not known"),
        ({"pixel_size": PixelSize(1, 1e-4, 1e-4)}, "check both"),
        ({"data": np.ones((1, 3, 4, 8, 8)), "rgb": True}, "color picture"),
        ({"data": np.zeros((1, 1, 4, 8, 8))}, "0 on average"),
        ({"data": np.full((1, 1, 4, 8, 8), np.nan)}, "not finite"),
        ({"data": np.broadcast_to(np.float32(1), (1, 1, 4000, 60000, 60000))}, "crop the image"),
    ],
)
def test_an_image_without_a_phase_is_refused_in_a_sentence(change: dict[str, Any], said: str) -> None:
    """The file, what is wrong, what to do."""
    stack = replace(Stack(np.ones((1, 1, 4, 8, 8)), pixel_size=PixelSize(1, 0.5, 0.5), source="cells.tif"), **change)
    with pytest.raises(InputError, match=said) as caught:
        run_to_end(reconstruct_phase(stack, PhaseSettings(WATER)))
    assert str(caught.value).startswith("cells.tif:")


@pytest.mark.parametrize(("values", "said"), [({"regularization": 0.0}, "regularization is 0"), ({"z_padding": -1}, "give 0 or more")])
def test_settings_that_mean_nothing_are_refused(values: dict[str, Any], said: str) -> None:
    """Before anything is read."""
    with pytest.raises(InputError, match=said):
        PhaseSettings(WATER, **values)
