"""Uneven light: its estimate is the truth, Harmony's polynomial its formula, and functions that can't be used are refused."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.preprocessing import IlluminationEstimate, correct_illumination
from napari_virtual_paint.preprocessing.illumination import checked_function, parse_harmony_profile
from napari_virtual_paint.samples.camera import illumination
from napari_virtual_paint.stack import Stack

SHAPE = (100, 130)
PROFILE = (
    "{Background: {Character: NonFlat, Mean: 1857.9, Profile: {Coefficients: [[1.25], [0.5, -0.25], [-0.6, 0.35, -0.8]], "
    "Dims: [130, 100], Origin: [64.5, 49.5], Scale: [0.008, 0.01], Type: Polynomial}, Quality: 1.0}, Channel: 3, ChannelName: Alexa 488, "
    "Version: Acapella:2013}"
)


def light() -> np.ndarray:
    """Light that falls by a fifth from a place beside the middle; its mean is 1."""
    even = illumination(SHAPE, 0.2, (0.4, 0.65))
    return even / even.mean()


@pytest.mark.parametrize(("fields", "worst"), [(3, 0.03), (24, 0.01)])
def test_the_light_of_many_fields_is_found_under_their_cells(fields: int, worst: float) -> None:
    """Bright and dark bodies lie anywhere and cover a fifth of each field, whose exposure differs."""
    rng = np.random.default_rng(0)
    estimate = IlluminationEstimate(SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for _ in range(fields):
        sample = np.full(SHAPE, rng.uniform(500, 2000))
        for cy, cx in zip(rng.uniform(0, SHAPE[0], 12), rng.uniform(0, SHAPE[1], 12), strict=True):
            sample[(y - cy) ** 2 + (x - cx) ** 2 < 80] *= rng.choice([0.6, 1.8])
        assert estimate.add(rng.poisson(sample * light()))
    assert estimate.fields == fields
    assert np.abs(estimate.function() / light() - 1).max() < worst


def test_fields_without_light_are_left_out() -> None:
    estimate = IlluminationEstimate(SHAPE)
    assert not estimate.add(np.zeros(SHAPE))
    assert not estimate.add(np.full(SHAPE, np.nan))
    assert not estimate.add(np.ones((3, 3)))
    with pytest.raises(InputError, match="No field shows light"):
        estimate.function()


@pytest.mark.parametrize("lazy", [False, True])
def test_an_image_is_divided_by_its_light(lazy: bool) -> None:
    uneven = (light() * 1000).astype(np.uint16)[None, None, None].repeat(2, axis=1)
    data = da.from_array(uneven, chunks=(1, 1, 1, 40, -1)) if lazy else uneven
    stack = Stack(data, ("Brightfield", "DNA"), source="x.tif")
    even = correct_illumination(stack, {"Brightfield": light().astype(np.float32)}, {"from": "here"})
    assert even.dtype == np.float32
    pixels = np.asarray(even.data)
    assert np.ptp(pixels[0, 0, 0]) < 3
    assert pixels[0, 0, 0].mean() == pytest.approx(uneven[0, 0, 0].mean(), rel=0.02)
    assert (pixels[0, 1] == uneven[0, 1]).all()
    record = (even.provenance or {})["illumination"]
    assert record["from"] == "here"
    assert record["fall"]["Brightfield"] == pytest.approx(1 - light().min() / light().max(), abs=1e-3)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"x.tif: it has 4 x 5 pixels and the illumination function of A 100 x 130"):
        correct_illumination(Stack(np.zeros((1, 1, 1, 4, 5)), ("A",), source="x.tif"), {"A": np.ones(SHAPE, np.float32)})


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (np.ones((3, 4)), "3 x 4 pixels and the images 100 x 130"),
        (np.zeros(SHAPE), "0 or below"),
        (-np.ones(SHAPE), "0 or below"),
        (np.full(SHAPE, np.nan), "not finite"),
        (np.full(SHAPE, np.inf), "not finite"),
        (np.full(SHAPE, "a"), "must have numbers"),
        (np.float64(1), "has 1 pixels"),
    ],
)
def test_a_function_that_can_not_be_used_is_said(function: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=rf"f\.npy: .*{words}"):
        checked_function(function, SHAPE, "f.npy")


def test_a_function_has_the_mean_1() -> None:
    assert checked_function(light()[None] * 7, SHAPE, "f").mean() == pytest.approx(1)


def test_harmonys_polynomial() -> None:
    """The sum of c[n][j] x^(n - j) y^j, in centred and scaled coordinates."""
    profile = parse_harmony_profile(PROFILE)
    assert profile is not None
    assert profile.channel == "Alexa 488"
    y, x = (np.arange(100)[:, None] - 49.5) * 0.01, (np.arange(130)[None] - 64.5) * 0.008
    value = 1.25 + 0.5 * x - 0.25 * y - 0.6 * x**2 + 0.35 * x * y - 0.8 * y**2
    assert np.allclose(profile.function(SHAPE), value / value.mean(), atol=1e-6)
    with pytest.raises(InputError, match="100 x 130 pixels and the images have 130 x 100"):
        profile.function((130, 100))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{Version: 1}",
        PROFILE.replace("[1.25]", "[]"),
        PROFILE.replace("[[1.25]", "[[1.25, 2]"),
        PROFILE.replace("Dims: [130, 100]", "Dims: []"),
        PROFILE.replace("0.5, -0.25", "__import__('os')"),
    ],
)
def test_a_damaged_profile_is_none(text: str) -> None:
    assert parse_harmony_profile(text) is None


def test_a_flat_profile_has_no_coefficients() -> None:
    flat = parse_harmony_profile("{Background: {Character: Null, Profile: {Type: Identity}}, Channel: 2, ChannelName: Brightfield}")
    assert flat is not None
    assert flat.coefficients == ()
