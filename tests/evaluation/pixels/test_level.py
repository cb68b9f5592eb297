"""Level pixels: against metrics.compare, scikit-image and NumPy; the foreground; what is undefined; the tables and pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from evaluation_fields import cells, field, judged, notes_of
from napari_virtual_paint.evaluation.pixels.level import PIXELS
from napari_virtual_paint.evaluation.pixels.pictures import best_and_worst, coloured, grey, limits, smaller
from napari_virtual_paint.evaluation.pixels.scores import LEAST, foreground, score_inside
from napari_virtual_paint.metrics import METRICS, Given, score
from napari_virtual_paint.metrics.ceiling import ceiling

TRUTH = cells(0)


def noisy(truth: np.ndarray, sd: float, seed: int = 1) -> np.ndarray:
    return (truth / 100 + np.random.default_rng(seed).normal(0, sd, truth.shape)).astype(np.float32)


def test_scores_of_a_field_are_those_of_the_main_job() -> None:
    prediction = noisy(TRUTH, 5)
    found, tables = judged(PIXELS, field(TRUTH, {"a": prediction}))
    for i, stain in enumerate(("DNA", "ER")):
        want = score(prediction[i], TRUTH[i])
        assert {name: found.section[stain][name] for name in METRICS} == pytest.approx(want.to_json())
        assert found.section[stain]["pcc_sd"] is None  # one field has no spread
        assert found.section[stain]["n"] == 1
    assert list(tables["pixels_fields"]["stain"]) == ["DNA", "ER"]


def test_mean_and_sd_over_fields() -> None:
    fields = [field(cells(seed), {"a": noisy(cells(seed), 4 * (seed + 1), seed)}, f"A0{seed + 1}/0") for seed in range(4)]
    found, _ = judged(PIXELS, *fields)
    values = [score(each.predictions["a"][0], each.truth[0]).pcc for each in fields]
    section = found.section["DNA"]
    assert section["pcc"] == pytest.approx(np.mean(values))
    assert section["pcc_sd"] == pytest.approx(np.std(values, ddof=1))
    assert min(values) <= section["pcc_low"] < section["pcc"] < section["pcc_high"] <= max(values)
    assert section["n"] == section["foreground"]["n"] == 4


def test_foreground_is_the_cells() -> None:
    mask = foreground(TRUTH[0])
    assert mask is not None
    share = 16 * np.pi * 7**2 / TRUTH[0].size
    assert share < mask.mean() < 1.5 * share  # the blur widens it a little
    assert foreground(np.full((50, 50), 7.0)) is None
    assert foreground(np.full((50, 50), np.nan)) is None
    spot = np.zeros((50, 50))
    spot[20:24, 20:24] = 10
    assert LEAST > 16
    assert foreground(spot) is None


def test_scores_in_the_foreground_by_numpy_and_scikit_image() -> None:
    prediction, mask = noisy(TRUTH, 5)[0], foreground(TRUTH[0])
    assert mask is not None
    got = score_inside(prediction, TRUTH[0], mask)
    p, t = ((each - each.mean(dtype=float)) / each.std(dtype=float) for each in (prediction.astype(float), TRUTH[0].astype(float)))
    span = t.max() - t.min()
    assert got.pcc == pytest.approx(np.corrcoef(p[mask], t[mask])[0, 1])
    assert got.mse == pytest.approx(((p - t)[mask] ** 2).mean())
    assert got.mae == pytest.approx(np.abs((p - t)[mask]).mean())
    assert got.psnr == pytest.approx(10 * np.log10(span**2 / ((p - t)[mask] ** 2).mean()))
    _, every = structural_similarity(p, t, data_range=span, full=True)
    inner = np.zeros_like(mask)
    inner[3:-3, 3:-3] = True
    assert got.ssim == pytest.approx(every[mask & inner].mean(), abs=1e-5)


@pytest.mark.parametrize("planes", [3, 9])
def test_foreground_ssim_of_a_volume_over_the_whole_is_that_of_the_main_job(planes: int) -> None:
    random = np.random.default_rng(0)
    truth = np.cumsum(random.normal(size=(planes, 40, 50)), axis=2)
    prediction = truth + random.normal(size=truth.shape)
    got, want = score_inside(prediction, truth, np.ones(truth.shape, bool)), score(prediction, truth)
    assert got.to_json() == pytest.approx(want.to_json(), rel=1e-4)


def test_a_dark_foreground_is_seen_where_background_hides_it() -> None:
    """The weakness that Cross-Zamirski names: much background makes a prediction look good that has the wrong cells."""
    truth = TRUTH[0]
    mask = foreground(truth)
    assert mask is not None
    inside = truth[mask]
    wrong = truth.copy()
    wrong[mask] = np.random.default_rng(0).permutation(inside)  # the cells' pixels in any order
    whole, there = score(wrong, truth), score_inside(wrong, truth, mask)
    assert whole.pcc is not None
    assert there.pcc is not None
    assert whole.pcc > 0.5
    assert abs(there.pcc) < 0.1


def test_identical_prediction_is_perfect() -> None:
    found, _ = judged(PIXELS, field(TRUTH, {"a": TRUTH.copy()}), field(cells(1), {"a": cells(1)}, "A02/0"))
    for stain in ("DNA", "ER"):
        for section in (found.section[stain], found.section[stain]["foreground"]):
            assert section["pcc"] == pytest.approx(1)
            assert section["ssim"] == pytest.approx(1)
            assert section["mse"] == section["mae"] == 0
            assert section["psnr"] is None  # it has no bound
    assert [headline.values["a"] for headline in found.headline] == [pytest.approx(1)] * 2
    json.dumps(found.section, allow_nan=False)


def test_constant_and_invalid_images_are_null_and_said() -> None:
    flat, broken = TRUTH.copy(), TRUTH.copy()
    flat[0] = 3
    broken[0, 0, 0] = np.nan
    for truth, prediction in ((TRUTH, flat), (flat, TRUTH), (TRUTH, broken), (flat, flat)):
        one = field(truth, {"a": prediction})
        found, _ = judged(PIXELS, one)
        assert found.section["DNA"]["pcc"] is None
        assert found.section["DNA"]["foreground"]["pcc"] is None
        assert found.section["ER"]["pcc"] > 0.9
        assert any("DNA" in note for note in notes_of(one))
        json.dumps(found.section, allow_nan=False)


def test_ceiling_where_the_noise_is_known() -> None:
    found, _ = judged(PIXELS, field(TRUTH, {"a": noisy(TRUTH, 5)}), noise=Given({"DNA": 300.0}))
    assert found.section["DNA"]["c_max"] == pytest.approx(ceiling(TRUTH[0], 300.0))
    assert found.section["DNA"]["c_max_reliable"] is True
    assert "c_max" not in found.section["ER"]
    assert "C_max" in found.tables["pixels_written"]


def test_two_predictions_side_by_side() -> None:
    fields = [
        field(cells(seed), {"good": noisy(cells(seed), 2, seed), "weak": noisy(cells(seed), 20, seed)}, f"A0{seed + 1}/0")
        for seed in range(6)
    ]
    found, _ = judged(PIXELS, *fields)
    assert found.section["DNA"]["pcc"] > found.others["weak"]["DNA"]["pcc"]
    assert found.deltas is not None
    assert len(found.deltas) == 3 * 10  # two stains and the mean of both
    assert set(found.deltas["label"].dropna()) == {line.label for line in found.headline}
    assert set(found.deltas["better"]) == {"good"}
    assert (found.deltas["unit"] == "well").all()
    row = found.deltas.set_index(["stain", "metric"]).loc[("ER", "pcc")]
    assert row["delta"] == pytest.approx(found.section["ER"]["pcc"] - found.others["weak"]["ER"]["pcc"])


def test_a_constant_prediction_does_not_win_by_being_left_out() -> None:
    """PCC by NumPy: all predictions on the same fields and stains, what is undefined counted."""
    fields, pcc = [], {"honest": np.zeros((2, 3)), "flat": np.zeros((2, 3))}
    for number in range(3):
        truth = cells(number)
        honest = noisy(truth, 30, number)
        honest[1] = noisy(truth, 300, number)[1]  # the second stain is hard
        flat = noisy(truth, 25, number + 9)
        flat[1] = 7.0
        if number == 2:
            flat[0] = 7.0
        fields.append(field(truth, {"honest": honest, "flat": flat}, f"f{number}"))
        for name, made in fields[-1].predictions.items():
            pcc[name][:, number] = [
                np.nan if np.ptp(p) == 0 else np.corrcoef(p.ravel(), t.ravel())[0, 1] for p, t in zip(made, truth, strict=True)
            ]
    found, tables = judged(PIXELS, *fields)
    sections = {"honest": found.section, "flat": found.others["flat"]}
    for name, section in sections.items():
        assert section["DNA"]["pcc"] == pytest.approx(pcc[name][0, :2].mean())  # the fields where both are defined
        assert (section["DNA"]["n"], section["DNA"]["pcc_undefined"]) == (2, 1 if name == "flat" else 0)
    assert sections["honest"]["ER"]["pcc"] == pytest.approx(pcc["honest"][1].mean())  # its own, since the other has none at all
    assert (sections["flat"]["ER"]["pcc"], sections["flat"]["ER"]["pcc_undefined"]) == (None, 3)
    (headline, _) = found.headline
    assert headline.values == {name: pytest.approx(pcc[name][0, :2].mean()) for name in pcc}
    row = found.deltas.set_index(["stain", "metric"]).loc[("mean of the stains", "pcc")]
    assert row["n"] == 2
    assert row["value"] == pytest.approx(pcc["honest"][0, :2].mean())
    assert row["other"] == pytest.approx(pcc["flat"][0, :2].mean())
    assert tables["pixels_fields"]["pcc"].isna().sum() == 4  # what was scored stays as it is
    assert "ER: flat has no PCC in any field, so that the means of the stains leave ER out." in found.notes
    assert any(note.startswith("DNA: flat has no PCC") and "in 1 of 3 fields, which all predictions'" in note for note in found.notes)
    written = found.tables["pixels_written"].set_index(["stain", "source", "region"])["undefined"]
    assert written["ER", "flat", "whole field"] == "PCC 3, SSIM 3, PSNR 3, MSE 3, MAE 3"
    assert written["DNA", "honest", "whole field"] == "–"


def test_a_prediction_without_any_score_hides_no_other() -> None:
    truth = cells(0)
    found, _ = judged(PIXELS, field(truth, {"good": noisy(truth, 2), "flat": np.full_like(truth, 3.0)}))
    assert found.section["DNA"]["pcc"] == pytest.approx(score(noisy(truth, 2)[0], truth[0]).pcc)
    assert found.headline[0].values["flat"] is None
    assert found.headline[0].values["good"] == pytest.approx(np.mean([found.section[stain]["pcc"] for stain in ("DNA", "ER")]))


def test_tables_and_figures_fit_together() -> None:
    fields = [
        field(cells(seed), {"a": noisy(cells(seed), 9 * (seed + 1), seed)}, f"A0{seed + 1}/0", light=TRUTH[1] if seed else None)
        for seed in range(3)
    ]
    found, _ = judged(PIXELS, *fields)
    for figure in found.figures:
        if figure.kind == "images":
            assert all(each.dtype == np.uint8 and each.shape[:2] == (160, 160) for _, _, each in figure.images)
            continue
        table = found.tables[figure.table]
        asked = [column for value in figure.encode.values() for column in ((value,) if isinstance(value, str) else value)]
        assert set(asked) <= set(table.columns)
    written = found.tables["pixels_written"].set_index(["stain", "region"])
    section = found.section["DNA"]
    assert written.loc[("DNA", "whole field"), "PCC"] == f"{section['pcc']:.2f} ± {section['pcc_sd']:.2f}"
    labels = [label for figure in found.figures if figure.kind == "images" for label, _, _ in figure.images]
    assert sum(label.startswith("worst") for label in labels) == 2 * 4  # light, truth, prediction, error of each stain
    assert sum(label.startswith("best") for label in labels) == 2 * 3  # the best field is the first, which has no light beside it


def test_best_and_worst() -> None:
    import pandas as pd

    table = pd.DataFrame({"field": list("abcd"), "stain": ["x", "x", "x", "y"], "pcc": [0.5, np.nan, 0.9, 0.1]})
    assert best_and_worst(table, "stain", "pcc") == [("x", "worst", "a", 0.5), ("x", "best", "c", 0.9), ("y", "only", "d", 0.1)]


def test_pictures() -> None:
    ramp = np.linspace(-5, 5, 11)[None]
    assert coloured(ramp, limit=5)[0, [0, 5, 10]].tolist() == [[90, 200, 255], [0, 0, 0], [255, 184, 71]]
    assert limits(np.full((5, 5), 3.0)) == (3.0, 4.0)
    assert grey(np.array([[-1.0, 0, 0.5, 1, 9, np.nan]]), 0, 1).tolist() == [[0, 0, 128, 255, 255, 0]]
    assert smaller(np.zeros((1200, 700, 3), np.uint8)).shape == (400, 233, 3)
