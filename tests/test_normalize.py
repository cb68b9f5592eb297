"""Normalisation: properties that hold for every field, and the specification's own program as the reference for every step."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtual_paint.models.package.processing_steps import NUMBERS, dump_step, parse_step
from napari_virtual_paint.normalize import ZSCORE, Kind, Step, fit

TYPES = ["uint8", "uint16", "int16", "int32", "uint32", "float32", "float64", "bool"]


@st.composite
def fields(draw: st.DrawFn) -> np.ndarray:
    """Fields (C, Y, X) of every pixel type, from faint on a high background to full range."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9)))
    kind = draw(st.sampled_from(TYPES))
    noise = np.random.default_rng(draw(st.integers(0, 2**31))).normal(size=shape)
    spread, level = draw(st.floats(0.6, 50)), draw(st.floats(0, 20_000))
    if kind == "bool":
        return noise > 0
    info = np.iinfo(kind) if np.dtype(kind).kind in "iu" else np.finfo(kind)
    return np.clip(noise * spread + level, info.min, info.max).astype(kind)


INVERTIBLE = [
    ZSCORE,
    (Step("zero_mean_unit_variance", False),),
    (Step("scale_range", True, {"min_percentile": 5.0, "max_percentile": 95.0}),),
    (Step("scale_linear", True, {"gain": 0.25, "offset": -3.0}), Step("zero_mean_unit_variance")),
    (Step("fixed_zero_mean_unit_variance", True, {"mean": 500.0, "std": 20.0}),),
]


@settings(deadline=None, max_examples=60)
@given(pixels=fields(), steps=st.sampled_from(INVERTIBLE))
def test_invert_undoes_apply(pixels: np.ndarray, steps: tuple[Step, ...]) -> None:
    fitted = fit(pixels, steps)
    truth = pixels.astype(np.float64)
    flat = truth.reshape(len(truth), -1)
    back = fitted.invert(fitted.apply(pixels))
    scale = max(np.abs(truth).max(), 1.0)
    if all((row.min() < row.max()) for row in flat):
        assert np.abs(back - truth).max() <= 2e-6 * scale + 1e-5 * np.abs(fitted.apply(pixels)).max()


@settings(deadline=None, max_examples=60)
@given(pixels=fields())
def test_zscore_has_mean_0_and_sd_1(pixels: np.ndarray) -> None:
    out = fit(pixels, ZSCORE).apply(pixels).astype(np.float64)
    assert out.shape == pixels.shape
    for given_channel, channel in zip(pixels, out, strict=True):
        if given_channel.min() == given_channel.max():
            assert np.abs(channel).max() < 1e-3
        else:
            assert abs(channel.mean()) < 1e-4
            assert abs(channel.std() - 1) < 1e-4


@settings(deadline=None, max_examples=30)
@given(pixels=fields(), steps=st.sampled_from(INVERTIBLE))
def test_a_part_of_the_field_is_normalised_as_the_whole(pixels: np.ndarray, steps: tuple[Step, ...]) -> None:
    fitted = fit(pixels, steps)
    assert np.array_equal(fitted.apply(pixels[:, 1:, :1]), fitted.apply(pixels)[:, 1:, :1])


def test_apply_leaves_the_input_alone() -> None:
    pixels = np.random.default_rng(0).normal(size=(2, 5, 5)).astype(np.float32)
    kept = pixels.copy()
    fit(pixels, (*ZSCORE, Step("clip", True, {"min": -1.0}))).apply(pixels)
    assert np.array_equal(pixels, kept)


@pytest.mark.parametrize(("level", "kind"), [(60_000.0, np.float32), (2.0**31, np.float64), (4e9, np.uint32)])
def test_a_faint_image_on_a_high_background_keeps_its_digits(level: float, kind: type) -> None:
    pixels = (level + np.random.default_rng(1).normal(0, 4, (1, 64, 64))).astype(kind)
    exact = pixels.astype(np.float64)
    exact = (exact - exact.mean()) / exact.std()
    assert np.abs(fit(pixels, ZSCORE).apply(pixels) - exact).max() < 1e-5


@pytest.mark.parametrize("value", [0, 7, 65_535, 0.1, 1e30, -3.3e4, True])
def test_a_constant_channel_is_reported_and_becomes_0(value: float) -> None:
    pixels = np.stack([np.full((8, 9), value), np.full((8, 9), value)])
    fitted = fit(pixels, ZSCORE, ["DNA", "ER"])
    assert np.abs(fitted.apply(pixels)).max() < 1e-3
    assert [text.split(":")[0] for text in fitted.problems] == ["DNA", "ER"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("steps", [*INVERTIBLE, (Step("clip", False, {"min_percentile": 5.0}), *ZSCORE), (Step("sigmoid"),)])
def test_pixels_that_are_no_numbers_are_reported_not_spread(bad: float, steps: tuple[Step, ...]) -> None:
    rng = np.random.default_rng(2)
    clean = rng.normal(100, 10, (2, 16, 16)).astype(np.float32)
    spoiled = clean.copy()
    spoiled[1, 3, 4] = spoiled[1, 0, 0] = bad
    fitted = fit(spoiled, steps, ["DNA", "ER"])
    out = fitted.apply(spoiled)
    assert np.isfinite(out).all()
    assert len(fitted.problems) == 1
    assert fitted.problems[0].startswith("ER: 2 pixels are not numbers")
    joint = any(step.needs_field and not step.per_channel for step in steps)
    assert np.allclose(out[0], fit(clean, steps).apply(clean)[0], atol=0.05 if joint else 1e-6)
    expected = fit(np.where(np.isfinite(spoiled), spoiled, spoiled[1][np.isfinite(spoiled[1])].mean()), steps)
    assert np.abs(out - expected.apply(np.where(np.isfinite(spoiled), spoiled, fitted.fill[:, :, None]))).max() < 0.05


def test_a_channel_without_any_number_becomes_0() -> None:
    pixels = np.full((1, 4, 4), np.nan, np.float32)
    fitted = fit(pixels, ZSCORE)
    assert np.array_equal(fitted.apply(pixels), np.zeros((1, 4, 4), np.float32))
    assert len(fitted.problems) == 2


def test_values_beyond_float32_stay_finite() -> None:
    pixels = np.array([[[-1e300, 1e300, 0.0, 5.0]]])
    assert np.isfinite(fit(pixels, ()).apply(pixels)).all()


def test_statistics_of_a_row_longer_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(3).normal(9, 3, (2, 50, 7)).astype(np.float32)
    whole = fit(pixels, ZSCORE).apply(pixels)
    monkeypatch.setattr("napari_virtual_paint.normalize.CHUNK", 11)
    assert np.abs(fit(pixels, ZSCORE).apply(pixels) - whole).max() < 1e-6


@pytest.mark.parametrize(("kind", "expected"), [("uint8", [0, 0, 1, 255]), ("int8", [-3, 0, 1, 127]), ("bool", [1, 1, 1, 1])])
def test_a_cast_inside_the_chain_rounds_towards_0_and_never_wraps(kind: str, expected: list[float]) -> None:
    pixels = np.array([[[-3.7, -0.2, 1.9, 300.0]]], np.float32)
    steps = (Step("scale_linear", True, {"gain": 1.0, "offset": 0.0}), Step("ensure_dtype", True, {"dtype": kind}))
    assert fit(pixels, steps).apply(pixels).ravel().tolist() == expected


# The reference: bioimageio.core, the specification's own program.

CASES = [
    {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"]}},
    {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "y", "x"]}},
    {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["batch", "y", "x"]}},
    {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 103.5, "std": 13.7}},
    {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": [101.5, 102.5], "std": [11.7, 12.7], "axis": "channel"}},
    {"id": "scale_linear", "kwargs": {"gain": 2.0, "offset": 3.0}},
    {"id": "scale_linear", "kwargs": {"gain": [2.0, 0.5], "offset": [1.0, -3.0], "axis": "channel"}},
    {"id": "scale_range", "kwargs": {"axes": ["y", "x"], "min_percentile": 5.0, "max_percentile": 99.8}},
    {"id": "scale_range", "kwargs": {"axes": ["channel", "y", "x"], "min_percentile": 1.0, "max_percentile": 90.0}},
    {"id": "scale_range", "kwargs": {"axes": ["y", "x"]}},
    {"id": "scale_range", "kwargs": {"axes": ["y", "x"], "reference_tensor": "input"}},
    {"id": "scale_mean_variance", "kwargs": {"axes": ["y", "x"], "reference_tensor": "input"}},
    {"id": "clip", "kwargs": {"min": 90.0, "max": 110.0}},
    {"id": "clip", "kwargs": {"min_percentile": 3.0, "max_percentile": 97.0, "axes": ["y", "x"]}},
    {"id": "clip", "kwargs": {"min_percentile": 10.0, "axes": ["channel", "y", "x"]}},
    {"id": "binarize", "kwargs": {"threshold": 100.0}},
    {"id": "sigmoid"},
    {"id": "softmax", "kwargs": {"axis": "channel"}},
    {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
]


def reference(entry: dict, pixels: np.ndarray) -> np.ndarray:
    """Return what bioimageio.core makes of pixels (C, Y, X) with one step."""
    from bioimageio.core import Sample, Tensor
    from bioimageio.core.proc_ops import get_proc
    from bioimageio.core.stat_calculators import compute_measures
    from bioimageio.spec.model import v0_5
    from pydantic import TypeAdapter

    step = TypeAdapter(v0_5.PostprocessingDescr).validate_python(entry)
    axes = [
        v0_5.BatchAxis(),
        v0_5.ChannelAxis(channel_names=["a", "b"]),
        *(v0_5.SpaceInputAxis(id=v0_5.AxisId(name), size=pixels.shape[1]) for name in "yx"),
    ]
    tensor = v0_5.InputTensorDescr(id=v0_5.TensorId("input"), axes=axes)
    op = get_proc(step, tensor)
    sample = Sample(members={"input": Tensor(pixels[None], dims=("batch", "channel", "y", "x"))}, stat={}, id=None)
    sample.stat = compute_measures(op.required_measures, [sample])
    op(sample)
    return np.asarray(sample.members["input"].data)[0]


@pytest.mark.parametrize("entry", CASES, ids=lambda entry: entry["id"] + "-" + "-".join(map(str, entry.get("kwargs", {}).values())))
def test_each_step_is_what_the_specifications_program_does(entry: dict) -> None:
    pixels = np.random.default_rng(4).normal([[[98.0]], [[106.0]]], [[[4.0]], [[9.0]]], (2, 24, 24)).astype(np.float32)
    if entry["id"] in ("sigmoid", "softmax"):
        pixels = (pixels - 100) / 5
    step = parse_step(entry, ("y", "x"), "input")
    found = fit(pixels, (step,)).apply(pixels)
    expected = reference(entry, pixels).astype(np.float64)
    assert np.abs(found - expected).max() <= 2e-5 * max(1.0, np.abs(expected).max())


def test_every_step_can_be_stored() -> None:
    assert set(get_args(Kind)) == set(NUMBERS)


@pytest.mark.parametrize("entry", CASES, ids=lambda entry: entry["id"])
def test_steps_survive_writing_and_reading(entry: dict) -> None:
    step = parse_step(entry, ("y", "x"), "input")
    assert parse_step(dump_step(step, ("y", "x"), "input"), ("y", "x"), "input") == step


def test_scale_mean_variance_takes_the_statistics_of_the_reference() -> None:
    rng = np.random.default_rng(5)
    out, raw = rng.normal(0, 1, (2, 32, 32)).astype(np.float32), rng.normal(500, 20, (2, 32, 32)).astype(np.uint16)
    scaled = fit(out, (Step("scale_mean_variance", True),), reference=raw).apply(out)
    for channel, truth in zip(scaled, raw, strict=True):
        assert abs(channel.mean() - truth.mean()) < 1e-2
        assert abs(channel.std() - truth.std()) < 1e-2


def test_later_steps_see_what_the_earlier_ones_leave() -> None:
    pixels = np.random.default_rng(6).normal(0, 1, (1, 40, 40)).astype(np.float32)
    out = fit(pixels, (Step("clip", True, {"min": 0.0}), *ZSCORE)).apply(pixels)
    assert abs(out.mean()) < 1e-5
    assert abs(out.std() - 1) < 1e-5


@pytest.mark.parametrize("kind", ["zero_mean_unit_variance", "scale_range"])
def test_eps_is_added_to_the_divisor_as_the_specification_says(kind: str) -> None:
    pixels = np.random.default_rng(7).normal(0, 0.05, (1, 20, 20)).astype(np.float32)
    centre, span = (pixels.mean(), pixels.std()) if kind == "zero_mean_unit_variance" else (pixels.min(), np.ptp(pixels))
    found = fit(pixels, (Step(kind, True, {"eps": 0.1}),)).apply(pixels)
    assert np.abs(found - (pixels - centre) / (span + 0.1)).max() < 1e-5
