"""A normalization fitted part by part equals the one that is fitted to the whole field."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtual_paint.normalize import MEDIAN_IQR, MINUS_ONE_TO_ONE, ZSCORE, Step, fit
from napari_virtual_paint.painting.streamed_normalization import fit_streamed
from napari_virtual_paint.runtime.generators import run_to_end

STEPS = {
    "zscore": ZSCORE,
    "zscore of all channels": (Step("zero_mean_unit_variance", False, {"eps": 1e-6}),),
    "median": MEDIAN_IQR,
    "ends": MINUS_ONE_TO_ONE,
    "percentiles of all channels": (Step("scale_range", False, {"min_percentile": 1.0, "max_percentile": 99.8}),),
    "clip by percentiles": (Step("clip", True, {"min_percentile": 2.0, "max_percentile": 98.0}), *ZSCORE),
    "fixed": (Step("fixed_zero_mean_unit_variance", True, {"mean": [3.0], "std": [2.0]}),),
    "after a fixed step": (Step("scale_linear", True, {"gain": [0.5], "offset": [-3.0]}), *MEDIAN_IQR),
    "to another's mean": (Step("clip", True, {"min": 10.0, "max": 2000.0}), Step("scale_mean_variance", True, {"eps": 1e-6})),
    "of the input": (*ZSCORE, Step("scale_range", True, {"min_percentile": 5.0, "max_percentile": 95.0, "reference": True})),
    "cast": (Step("ensure_dtype", True, {"dtype": "float32"}), *ZSCORE),
}
TYPES = ("bool", "uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def pixels(dtype: str, seed: int, lost: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = rng.gamma(2.0, 300.0, (3, 37, 41))
    drawn[2] = rng.integers(0, 2, (37, 41)) if dtype != "bool" else 1
    drawn = drawn % 250 if dtype == "uint8" else drawn
    out = (drawn > 500) if dtype == "bool" else drawn.astype(dtype)
    if lost and out.dtype.kind == "f":
        out[0, 3:5] = np.nan
        out[1, 0, 0] = np.inf
    return out


def parts(field: np.ndarray):
    return lambda: (field[:, top : top + 10] for top in range(0, field.shape[1], 10))


@settings(max_examples=120, deadline=None)
@given(steps=st.sampled_from(list(STEPS)), dtype=st.sampled_from(TYPES), seed=st.integers(0, 50), lost=st.booleans())
def test_parts_give_what_the_whole_gives(steps: str, dtype: str, seed: int, lost: bool) -> None:
    field = pixels(dtype, seed, lost)
    names = ("one", "two", "three")
    whole, streamed = fit(field, STEPS[steps], names), run_to_end(fit_streamed(parts(field), STEPS[steps], names))
    assert streamed.problems == whole.problems
    np.testing.assert_allclose(streamed.apply(field), whole.apply(field), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("steps", ["zscore", "ends", "percentiles of all channels"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_images_of_16_bits_are_the_same_to_the_bit(steps: str, dtype: str) -> None:
    field = pixels(dtype, 7)
    whole, streamed = fit(field, STEPS[steps], "abc"), run_to_end(fit_streamed(parts(field), STEPS[steps], "abc"))
    np.testing.assert_array_equal(streamed.apply(field), whole.apply(field))


@pytest.mark.parametrize("value", [np.nan, 7.0])
def test_a_field_without_contrast(value: float) -> None:
    field = np.full((1, 20, 20), value, np.float32)
    whole, streamed = fit(field, ZSCORE, ("one",)), run_to_end(fit_streamed(parts(field), ZSCORE, ("one",)))
    assert streamed.problems == whole.problems
    np.testing.assert_array_equal(streamed.apply(field), whole.apply(field))
