"""Fields without cells, or with one: what is invented there counts, and every level has its say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation_fields import cells, field
from evaluation_folders import save
from napari_virtual_paint.choices import LEVELS
from napari_virtual_paint.evaluation import Evaluation, EvaluationSettings
from napari_virtual_paint.evaluation.engine import evaluate
from napari_virtual_paint.evaluation.objects import objects_of
from napari_virtual_paint.evaluation.scale import TRUTH, IntensityScale, SourceMoments, scale_for
from napari_virtual_paint.runtime import run_to_end

EMPTY = cells(2, empty=True)
SKIMAGE = EvaluationSettings(segmenter="skimage", workers=1, bootstrap=100)


def ten_cells(seed: int = 2) -> np.ndarray:
    """Return the stains of ten cells: six of the sixteen are painted over."""
    stack = cells(seed)
    stack[:, 120:], stack[:, 80:120, 80:] = EMPTY[:, 120:], EMPTY[:, 80:120, 80:]
    return stack


def in_gray(stack: np.ndarray) -> np.ndarray:
    return stack.astype(np.uint16)


def in_another_unit(stack: np.ndarray) -> np.ndarray:
    return ((stack - 700) / 300).astype(np.float32)


def judged(folder: Path, fields: Sequence[tuple[np.ndarray, np.ndarray]], unit: Callable[[np.ndarray], Any], *levels: str) -> Evaluation:
    for number, (truth, painted) in enumerate(fields):
        save(folder / "truth" / f"{number}.ome.tif", truth.astype(np.uint16))
        save(folder / "painted" / f"{number}.ome.tif", unit(painted))
    return run_to_end(evaluate({"p": folder / "painted"}, folder / "truth", levels, settings=SKIMAGE))


def counts(report: Evaluation) -> tuple[int, int, int]:
    """Return how many nuclei are true, predicted, and predicted without a true one."""
    nuclei = report.to_json()["instances"]["nuclei"]
    return nuclei["n_true"], nuclei["n_pred"], nuclei["predicted_extra"]


def test_the_scale_of_an_empty_field_by_hand() -> None:
    truths = np.array([[[100.0, 300.0]], [[100.0, 100.0]]], np.float32)
    painted = np.array([[1.0, 3.0]], np.float32)
    pooled = {
        TRUTH: SourceMoments.of(truths[0]) + SourceMoments.of(truths[1]),
        "p": SourceMoments.of(painted) + SourceMoments.of(painted),
    }
    scale = IntensityScale(pooled=pooled, alone=False)
    own = scale.fitted({TRUTH: truths[1], "p": painted})
    assert own.apply("p", painted).tolist() == [[100, 100]]  # the SD of this truth is 0
    # Over both fields the truth has the mean 150 and the variance (100² + 300² + 100² + 100²) / 4 - 150² = 7500, the prediction 2 and 1.
    empty = scale.for_empty({TRUTH: truths[1], "p": painted})
    assert empty is not None
    assert empty.apply("p", painted).tolist() == [[round(150 - 7500**0.5), round(150 + 7500**0.5)]] == [[63, 237]]
    known = scale_for(pooled, None)
    assert known.for_empty({}) is known
    assert IntensityScale(alone=False).for_empty({TRUTH: truths[0], "p": painted}) is None  # not that faint


def test_without_other_fields_gray_levels_stay() -> None:
    truth, painted = np.full((1, 2, 2), 100.0, np.float32), np.array([[[90.0, 110.0], [4000.0, 500.0]]], np.float32)
    alone = IntensityScale().for_empty({TRUTH: truth, "p": painted})
    assert alone is not None
    assert alone.apply("p", painted).tolist() == painted.tolist()
    assert IntensityScale().for_empty({TRUTH: truth, "p": (painted - 500) / 300}) is None


@pytest.mark.parametrize("unit", [in_gray, in_another_unit])
def test_cells_invented_on_an_empty_field_count(tmp_path: Path, unit: Callable[[np.ndarray], Any]) -> None:
    fields = [(cells(0), cells(0)), (cells(1), cells(1)), (EMPTY, ten_cells())]
    report = judged(tmp_path, fields, unit, "instances", "features")
    assert counts(report) == (32, 42, 10)
    assert report.to_json()["instances"]["nuclei"]["precision_0.7"] == pytest.approx(32 / 42)
    images = report.findings["features"].tables["features_images"]
    of = images.set_index(["field", "source", "masks"])["cells"]
    assert (of["2", "truth", "truth"], of["2", "p", "own"]) == (0, 10)
    assert of["0", "truth", "truth"] == of["0", "p", "own"] == 16
    assert any("mapped by the mean and SD over all fields (in 1 of 3 fields)" in note for note in report.to_json()["notes"])


def test_cells_invented_on_the_only_field_count(tmp_path: Path) -> None:
    assert counts(judged(tmp_path / "a", [(EMPTY, ten_cells())], in_gray, "instances")) == (0, 10, 10)
    assert counts(judged(tmp_path / "b", [(EMPTY, cells(5, empty=True))], in_gray, "instances")) == (0, 0, 0)
    report = judged(tmp_path / "c", [(EMPTY, ten_cells())], in_another_unit, "instances")
    assert any("the scale of the predictions is not known" in note for note in report.to_json()["notes"])


def test_a_prediction_of_nothing_on_an_empty_field_is_right(tmp_path: Path) -> None:
    fields = [(cells(0), cells(0)), (EMPTY, cells(5, empty=True))]
    assert counts(judged(tmp_path, fields, in_another_unit, "instances")) == (16, 16, 0)


def test_fields_with_cells_keep_their_own_scale() -> None:
    painted = in_another_unit(cells(0))
    pooled = {TRUTH: SourceMoments.of(cells(0) * 9), "p": SourceMoments.of(painted)}
    plain, among = field(cells(0), {"p": painted}), field(cells(0), {"p": painted})
    object.__setattr__(among, "scale", IntensityScale(pooled=pooled))
    for each in (plain, among):
        objects_of(each, "p", SKIMAGE)
    np.testing.assert_array_equal(plain.scaled["p"], among.scaled["p"])


@pytest.mark.parametrize("seeds", [(0,), (1,)], ids=["the same cell", "another cell"])
def test_one_cell_is_enough_for_every_level(tmp_path: Path, seeds: tuple[int]) -> None:
    truth, painted = (cells(seed, size=60, spacing=60) for seed in (0, *seeds))
    report = judged(tmp_path, [(truth, painted)], in_gray, *LEVELS)
    told = report.to_json()
    assert not len(report.failed)
    assert told["instances"]["nuclei"]["n_true"] == told["instances"]["nuclei"]["n_pred"] == 1
    assert told["instances"]["nuclei"]["f1_0.7"] == (1.0 if seeds == (0,) else 0.0)
    assert told["pixels"]["DNA"]["pcc"] == pytest.approx(1.0) if seeds == (0,) else told["pixels"]["DNA"]["pcc"] < 1
    assert told["features"]["measured"] == told["features"]["selected"] > 500
    assert told["features"]["median_correlation"] is None
    assert told["profiles"]["wells"] == 1
    assert any("With 1 cell nothing can be correlated" in note for note in told["notes"])
    assert not any("No cell was measured" in note for note in told["notes"])
