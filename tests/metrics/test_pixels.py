"""Scores against scikit-image, NumPy and closed forms."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics import METRICS, MeanScores, Moments, Scores, score, score_planes
from napari_virtual_paint.metrics import ssim as ssim_module


def pair(shape: tuple[int, ...], seed: int = 0, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """A blurred truth and a prediction that is the truth with noise, in different units."""
    rng = np.random.default_rng(seed)
    truth = gaussian_filter(rng.normal(size=shape), 1.5)
    truth /= truth.std()
    return 3.0 * (truth + noise * rng.normal(size=shape)) + 7.0, truth * 800.0 + 2000.0


def zscore(image: np.ndarray) -> np.ndarray:
    image = image.astype(np.float64)
    return (image - image.mean()) / image.std()


def expected(prediction: np.ndarray, truth: np.ndarray, scale: str) -> dict[str, float]:
    """What scikit-image and NumPy give."""
    a, b = prediction.astype(np.float64), truth.astype(np.float64)
    if scale == "zscore":
        a, b = zscore(a), zscore(b)
    span = b.max() - b.min()
    return {
        "pcc": np.corrcoef(a.ravel(), b.ravel())[0, 1],
        "ssim": structural_similarity(b, a, data_range=span),
        "psnr": peak_signal_noise_ratio(b, a, data_range=span),
        "mse": np.mean((a - b) ** 2),
        "mae": np.mean(np.abs(a - b)),
    }


SHAPES = [(7, 7), (7, 300), (64, 65), (181, 333), (700, 40), (7, 7, 7), (9, 40, 31), (16, 100, 300)]


@pytest.mark.parametrize("scale", ["zscore", "raw"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_scikit_image(shape: tuple[int, ...], scale: Any) -> None:
    prediction, truth = pair(shape)
    got = score(prediction, truth, scale)
    for name, value in expected(prediction, truth, scale).items():
        assert getattr(got, name) == pytest.approx(value, rel=1e-9, abs=1e-9), name
    assert got.reasons == ()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float16", "float32", "float64", ">u2", "int32"])
def test_every_type_is_scored_in_double_precision(dtype: str) -> None:
    prediction, truth = (np.clip(image / image.max() * 100, 0, 127).astype(dtype) for image in pair((60, 70)))
    got = score(prediction, truth)
    for name, value in expected(prediction, truth, "zscore").items():
        assert getattr(got, name) == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_boolean_images() -> None:
    truth = np.zeros((20, 20), bool)
    truth[5:12, 5:12] = True
    prediction = np.roll(truth, 1, axis=0)
    assert score(prediction, truth).pcc == pytest.approx(np.corrcoef(prediction.ravel(), truth.ravel())[0, 1])


def test_the_layout_in_memory_does_not_matter() -> None:
    prediction, truth = pair((50, 80))
    plain = score(prediction, truth)
    assert score(np.asfortranarray(prediction), truth[::-1][::-1]) == plain
    assert score(prediction.T, truth.T).ssim == pytest.approx(plain.ssim, abs=1e-12)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, truth = pair((400, 300))
    several = score(prediction, truth)
    monkeypatch.setattr(ssim_module, "cores", lambda: 1)
    assert score(prediction, truth) == several


def test_few_planes_have_the_mean_ssim_of_the_planes() -> None:
    prediction, truth = pair((6, 40, 50))
    a, b = zscore(prediction), zscore(truth)
    planes = [structural_similarity(y, x, data_range=b.max() - b.min()) for x, y in zip(a, b, strict=True)]
    assert score(prediction, truth).ssim == pytest.approx(np.mean(planes), abs=1e-9)


def test_time_points_have_the_mean_ssim_of_the_volumes() -> None:
    prediction, truth = pair((3, 8, 20, 24))
    a, b = zscore(prediction), zscore(truth)
    volumes = [structural_similarity(y, x, data_range=b.max() - b.min()) for x, y in zip(a, b, strict=True)]
    assert score(prediction, truth).ssim == pytest.approx(np.mean(volumes), abs=1e-9)


def test_a_large_offset_costs_no_precision() -> None:
    prediction, truth = pair((50, 50))
    plain, shifted = score(prediction, truth), score(prediction + 1e7, truth + 1e7)
    for name in METRICS:
        assert getattr(shifted, name) == pytest.approx(getattr(plain, name), abs=1e-6)


@given(gain=st.floats(1e-6, 1e6), offset=st.floats(-1e6, 1e6))
@settings(max_examples=20, deadline=None)
def test_zscore_forgets_the_unit(gain: float, offset: float) -> None:
    prediction, truth = pair((24, 24))
    moved = score(prediction * gain + offset * gain, truth)
    plain = score(prediction, truth)
    for name in METRICS:
        assert getattr(moved, name) == pytest.approx(getattr(plain, name), abs=1e-6)


def test_raw_keeps_the_unit() -> None:
    prediction, truth = pair((24, 24))
    assert score(truth + 5.0, truth, "raw").mse == pytest.approx(25.0)
    assert score(truth + 5.0, truth, "raw").mae == pytest.approx(5.0)
    assert score(prediction, truth, "raw").mse > score(prediction, truth).mse


def test_equal_images() -> None:
    _, truth = pair((30, 30))
    for scale in ("zscore", "raw"):
        got = score(truth, truth.copy(), scale)  # type: ignore[arg-type]
        assert (got.pcc, got.ssim, got.mse, got.mae) == (pytest.approx(1.0), pytest.approx(1.0), 0.0, 0.0)
        assert got.psnr is None
        assert "no bound" in got.reasons[0]


def test_inverted_image() -> None:
    _, truth = pair((30, 30))
    got = score(-truth, truth)
    assert got.pcc == pytest.approx(-1.0)
    assert got.mse == pytest.approx(4.0)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("value", [0.0, 0.1, 65535.0])
def test_a_constant_image_is_undefined(which: int, value: float) -> None:
    images = list(pair((30, 30)))
    images[which] = np.full((30, 30), value, np.float32)
    got = score(*images)
    assert set(got.to_json().values()) == {None}
    assert "same value everywhere" in got.reasons[0]
    assert ("prediction" if which == 0 else "truth") in got.reasons[0]


def test_two_constant_images_are_no_perfect_match() -> None:
    got = score(np.ones((30, 30)), np.ones((30, 30)))
    assert set(got.to_json().values()) == {None}
    raw = score(np.ones((30, 30)), np.ones((30, 30)), "raw")
    assert (raw.pcc, raw.ssim, raw.psnr) == (None, None, None)
    assert (raw.mse, raw.mae) == (0.0, 0.0)


def test_a_constant_prediction_keeps_its_raw_differences() -> None:
    _, truth = pair((30, 30))
    got = score(np.zeros((30, 30)), truth, "raw")
    assert got.pcc is None
    assert got.mse == pytest.approx(np.mean(truth**2))
    assert got.ssim == pytest.approx(structural_similarity(truth, np.zeros((30, 30)), data_range=np.ptp(truth)))


@pytest.mark.parametrize("scale", ["zscore", "raw"])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_make_scores_undefined(value: float, which: int, scale: Any) -> None:
    images = list(pair((3, 30, 30)))
    images[which][1, 4:6, 4] = value
    got = score(*images, scale)
    assert set(got.to_json().values()) == {None}
    assert "2 pixels" in got.reasons[0]


@pytest.mark.parametrize(("factor", "scale"), [(1e200, "raw"), (1e200, "zscore"), (1e-200, "zscore")])
def test_values_beyond_double_precision_are_undefined_and_quiet(factor: float, scale: Any, recwarn: pytest.WarningsRecorder) -> None:
    prediction, truth = pair((300, 300))
    got = score(prediction * factor, truth * factor, scale)
    assert got.mse is None
    assert any("too large" in reason for reason in got.reasons)
    assert not recwarn.list


def test_an_image_smaller_than_the_window_has_no_ssim() -> None:
    prediction, truth = pair((6, 40))
    got = score(prediction, truth)
    assert got.ssim is None
    assert got.pcc is not None
    assert "window" in got.reasons[0]


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        (np.zeros((4, 5)), np.zeros((5, 4)), "shape"),
        (np.zeros((4, 5), complex), np.zeros((4, 5)), "complex"),
        (np.zeros(5), np.zeros(5), "no image"),
        (np.zeros((0, 5)), np.zeros((0, 5)), "no image"),
    ],
)
def test_what_can_not_be_scored_is_an_input_error(left: np.ndarray, right: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        score(left, right)


def test_unknown_scale_is_an_input_error() -> None:
    with pytest.raises(InputError, match="zscore and raw"):
        score(np.eye(9), np.eye(9), "minmax")  # type: ignore[arg-type]


def test_the_inputs_are_left_as_they_are() -> None:
    prediction, truth = pair((40, 40))
    before = prediction.copy(), truth.copy()
    score(prediction, truth)
    np.testing.assert_array_equal(prediction, before[0])
    np.testing.assert_array_equal(truth, before[1])


@given(cuts=st.lists(st.integers(1, 59), max_size=4))
@settings(max_examples=20, deadline=None)
def test_moments_do_not_depend_on_the_pieces(cuts: list[int]) -> None:
    prediction, truth = pair((60, 20))
    moments = Moments()
    edges = [0, *sorted(set(cuts)), 60]
    for start, stop in pairwise(edges):
        moments.update(prediction[start:stop], truth[start:stop])
    np.testing.assert_allclose(moments.mean, [prediction.mean(), truth.mean()])
    np.testing.assert_allclose(moments.sd, [prediction.std(), truth.std()])
    assert moments.pcc == pytest.approx(np.corrcoef(prediction.ravel(), truth.ravel())[0, 1])


def test_planes_are_read_twice_and_in_order() -> None:
    prediction, truth = pair((8, 20, 20))
    readings: list[int] = []

    def volumes() -> Any:
        readings.append(0)
        return iter([zip(prediction, truth, strict=True)])

    assert score_planes(volumes, 8) == score(prediction, truth)
    assert len(readings) == 2


def test_mean_of_scores_says_what_it_leaves_out() -> None:
    total = MeanScores()
    total.update(Scores(pcc=0.5, mse=1.0))
    total.update(Scores(pcc=0.7))
    mean = total.compute()
    assert (mean.pcc, mean.mse, mean.ssim) == (pytest.approx(0.6), 1.0, None)
    assert mean.reasons == ("The mean MSE leaves out 1 of 2, where it is undefined.",)
    assert set(MeanScores().compute().to_json().values()) == {None}
