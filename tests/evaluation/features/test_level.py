"""Level "features": what is chosen, correlations and N-MAE by hand and by scipy, a whole field, and what is undefined."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from napari_virtual_paint.evaluation.context import TRUTH, Context, EvaluationSettings, FieldImages
from napari_virtual_paint.evaluation.features import importance
from napari_virtual_paint.evaluation.features.correlation import correlate, resamples
from napari_virtual_paint.evaluation.features.importance import informative, nmae
from napari_virtual_paint.evaluation.features.level import FEATURES
from napari_virtual_paint.evaluation.features.measure import CELLS, IMAGES, OWN, full_scale
from napari_virtual_paint.evaluation.features.select import drop, select
from napari_virtual_paint.evaluation.level import Findings
from napari_virtual_paint.evaluation.result import to_plain
from napari_virtual_paint.evaluation.scale import IntensityScale, SourceMoments
from napari_virtual_paint.samples import SimulationSettings, simulate_field

STAINS = ("DNA", "ER")
NAMES = (
    "Cells_AreaShape_Area",
    "Cells_Intensity_MeanIntensity_ER",
    "Cells_Texture_Contrast_ER_3_00_256",
    "Nuclei_Intensity_MeanIntensity_DNA",
    "Nuclei_Granularity_1_DNA",
    "Cytoplasm_Correlation_Correlation_DNA_ER",
)


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "TREES", 50)


def context_of(predictions=("good",), wells: int = 0, **settings) -> Context:
    """Return a context: of the wells, the first half are negative controls and the rest positive ones."""
    names = [f"A{i + 1:02d}" for i in range(wells)]
    table = pd.DataFrame({"treatment": ["DMSO"] * (wells // 2) + ["toxic"] * (wells - wells // 2)}, pd.Index(names, name="well"))
    roles = {"treatment": "treatment" if wells else None}
    chosen = EvaluationSettings(**{"bootstrap": 100, "workers": 1, **settings})
    return Context(tuple(predictions), STAINS, table, roles, tuple(names[: wells // 2]), tuple(names[wells // 2 :]), chosen)


def tables_of(context: Context, made: dict[str, float], cells: int = 12, fields: int = 1) -> dict[str, pd.DataFrame]:
    """Return tables as fields give them; a prediction's values are the truth's and as much noise as told; shapes are equal."""
    rng = np.random.default_rng(0)
    wells = list(context.wells.index) or [""]
    rows = [(f"{well or 'f'}/{k}", well, i) for well in wells for k in range(fields) for i in range(1, cells + 1)]
    keys = pd.DataFrame(rows, columns=["field", "well", "object"])
    toxic = keys["well"].isin(context.positive).to_numpy()
    level = keys["field"].map({name: rng.normal() for name in keys["field"].unique()}).to_numpy()
    truth = rng.normal(size=(len(keys), len(NAMES))) + level[:, None] * rng.uniform(0.5, 1, len(NAMES)) + 5
    truth[:, 2] += 2 * toxic
    parts = []
    for source, noise, masks in [(TRUTH, 0.0, TRUTH), *((n, v, m) for n, v in made.items() for m in (TRUTH, OWN))]:
        values = truth + noise * rng.normal(size=truth.shape)
        if masks == TRUTH:
            values[:, 0] = truth[:, 0]
        named = keys.assign(source=source, masks=masks)[["field", "well", "source", "masks", "object"]]
        parts.append(pd.concat([named, pd.DataFrame(values.astype(np.float32), columns=NAMES)], axis=1))
    table = pd.concat(parts, ignore_index=True)
    by = table.groupby(["field", "well", "source", "masks"], sort=False)
    images = by[list(NAMES)].median().assign(cells=by.size()).reset_index()
    return {CELLS: table, IMAGES: images}


def summed(tables: dict[str, pd.DataFrame], context: Context) -> Findings:
    steps = FEATURES.summary(tables, context)
    while True:
        try:
            done, total, words = next(steps)
            assert 0 <= done <= total
            assert words
        except StopIteration as stop:
            json.dumps(to_plain(stop.value.section), allow_nan=False)
            return stop.value


# Choosing


def test_features_are_chosen_as_by_hand() -> None:
    n = 40
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=n), rng.normal(size=n)
    controls = np.arange(n) < 20
    far = np.where(np.arange(n) == 30, 40.0, rng.normal(size=n))
    toy = {
        "Cells_AreaShape_Area": a,
        "Cells_AreaShape_Perimeter": a + 0.05 * b,  # r about 0.999 with Area
        "Cells_AreaShape_Solidity": b,
        "Cells_AreaShape_EulerNumber": np.ones(n),
        "Cells_Intensity_MeanIntensity_ER": np.where(np.arange(n) < 3, np.nan, b[::-1]),  # 7.5 % have no value
        "Cells_Granularity_1_ER": np.where(np.arange(n) < 3, 0, a[::-1]),  # 7.5 % are 0, which the paper counts as missing
        "Cells_Granularity_2_ER": np.where(np.arange(n) < 2, np.nan, a[::-1]),  # 5 % are not more than 5 %
        "Nuclei_Correlation_Manders_DNA_ER": rng.normal(size=n),  # on the list
        "Cells_Granularity_3_ER": far,
        "Cells_Granularity_4_ER": np.where(controls, 1.0, rng.normal(size=n)),  # no control varies
    }
    kept, dropped = drop(pd.DataFrame(toy), controls)
    assert dropped.pop("Cells_AreaShape_EulerNumber") == "constant"
    alike = [name for name, why in dropped.items() if why == "alike"]
    assert len(alike) == 1
    assert alike[0] in ("Cells_AreaShape_Area", "Cells_AreaShape_Perimeter")
    assert {name: why for name, why in dropped.items() if why != "alike"} == {
        "Cells_Intensity_MeanIntensity_ER": "missing",
        "Cells_Granularity_1_ER": "missing",
        "Nuclei_Correlation_Manders_DNA_ER": "block-listed",
        "Cells_Granularity_3_ER": "variable",
        "Cells_Granularity_4_ER": "variable",
    }
    assert set(kept) == {"Cells_AreaShape_Area", "Cells_AreaShape_Perimeter", "Cells_AreaShape_Solidity", "Cells_Granularity_2_ER"} - set(
        alike
    )


def test_the_predictions_have_no_say_in_the_choice() -> None:
    context = context_of(wells=24)
    tables = tables_of(context, {"good": 0.5})
    chosen = select(tables, context)
    assert chosen.over == "images"
    spoilt = {name: table.copy() for name, table in tables.items()}
    for table in spoilt.values():
        table.loc[table["source"] == "good", list(NAMES)] = np.nan
    assert select(spoilt, context).features == chosen.features
    few = select(tables_of(context_of(), {"good": 0.5}), context_of())
    assert few.over == "cells"
    assert "12 cells of the truth alone" in few.notes[0]


# Figures by hand, and by scipy


def test_correlations_are_scipys_over_cells() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(30, 6))
    truth[:, 1] = np.round(truth[:, 1])  # ties
    made = truth + rng.normal(size=truth.shape)
    made[3, 2] = truth[4, 2] = np.nan
    made[:, 3] = 7  # answers nothing
    truth[:, 4] = 1  # nothing to be asked
    made[:20, 5] = np.nan
    groups = np.arange(30)
    weights = resamples(groups, 0, 50)
    found = correlate(truth, made, groups, weights)
    for k in range(3):
        assert found.spearman[k] == pytest.approx(stats.spearmanr(truth[:, k], made[:, k], nan_policy="omit").statistic)
        there = np.isfinite(truth[:, k] + made[:, k])
        assert found.pearson[k] == pytest.approx(stats.pearsonr(truth[there, k], made[there, k]).statistic)
    assert found.n.tolist()[:4] == [30, 30, 28, 30]
    assert found.spearman[[3, 5]].tolist() == [0, 0]
    assert np.isnan(found.spearman[4])
    for i in (0, 7):
        rows = np.repeat(groups, weights[i].astype(int))
        for k in range(2):
            assert found.drawn[i, k] == pytest.approx(stats.spearmanr(truth[rows, k], made[rows, k]).statistic)
    low, high = found.bounds()
    assert low[0] < found.spearman[0] < high[0]
    assert np.array_equal(correlate(truth, made, groups, resamples(groups, 0, 50)).drawn, found.drawn)


def test_spearman_by_hand() -> None:
    truth = np.array([[1.0], [2], [3], [4], [5], [6]])
    made = np.array([[10.0], [30], [20], [40], [60], [50]])
    found = correlate(truth, made, np.arange(6), np.zeros((0, 6)))
    assert found.spearman[0] == pytest.approx(1 - 6 * 4 / (6 * 35))  # 1 - 6 sum d^2 / (n (n^2 - 1))
    assert np.isnan(found.bounds()[0]).all()
    assert np.isnan(correlate(truth[:5], made[:5], np.arange(5), np.zeros((0, 5))).spearman[0])  # five say nothing


def test_resamples_draw_groups_together() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(8), 25)
    level = rng.normal(size=8)[groups, None]
    truth, made = level + 0.1 * rng.normal(size=(200, 3)), level + 0.1 * rng.normal(size=(200, 3))
    weights = resamples(groups, 0, 100)
    assert weights.shape == (100, 8)
    assert (weights.sum(axis=1) == 8).all()
    found = correlate(truth, made, groups, weights)
    rows = np.concatenate([np.flatnonzero(groups == k) for k in np.repeat(np.arange(8), weights[5].astype(int))])
    assert found.drawn_pearson[5, 0] == pytest.approx(np.corrcoef(truth[rows, 0], made[rows, 0])[0, 1])
    ranks = [stats.rankdata(each[:, 0])[rows] for each in (truth, made)]  # of many observations: the ranks among all
    assert found.drawn[5, 0] == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_nmae_by_hand() -> None:
    truth = np.array([[1.0, 5], [3, 5], [5, 5], [7, 5]])  # mean 4, SD sqrt 5
    made = np.array([[2.0, 5], [3, 6], [4, 5], [np.nan, 5]])  # errors 1, 0, 1 and 3, the last as if it were the mean
    found = nmae(truth, made, np.arange(4), resamples(np.arange(4), 0, 300))
    assert found.nmae[0] == pytest.approx(5 / 4 / np.sqrt(5))
    assert np.isnan(found.nmae[1])
    rows = np.repeat(np.arange(4), resamples(np.arange(4), 0, 300)[2].astype(int))
    error = np.abs(np.where(np.isfinite(made), made, 4.0) - truth)[rows, 0]
    assert found.drawn[2, 0] == pytest.approx(error.mean() / truth[rows, 0].std())


def test_forest_finds_what_tells_the_controls_apart() -> None:
    context = context_of(wells=12)
    cells = tables_of(context, {}, cells=20)[CELLS]
    forest = informative(cells, NAMES[1:], context)
    assert forest.features[0] == "Cells_Texture_Contrast_ER_3_00_256"
    assert "positive from those of negative" in forest.target
    assert forest.accuracy > 0.7
    assert sum(forest.importance) == pytest.approx(1)
    assert informative(cells.head(5), NAMES, context) is None


def test_forest_without_a_plate_map_finds_what_hangs_together() -> None:
    rng = np.random.default_rng(4)
    cells = pd.DataFrame(rng.normal(size=(150, 6)), columns=list("abcdef")).assign(well="")
    cells["e"] = cells["b"] + 0.1 * cells["e"]
    forest = informative(cells, "abcdef", context_of())
    assert set(forest.features[:2]) == {"b", "e"}
    assert "made-up" in forest.target
    assert forest.accuracy > 0.5
    assert forest == informative(cells, "abcdef", context_of())


# The level


def test_good_prediction_beats_weak_one_and_truth_is_perfect() -> None:
    context = context_of(("good", "weak", "itself"), wells=24)
    found = summed(tables_of(context, {"good": 0.3, "weak": 3.0, "itself": 0.0}), context)
    good, weak, itself = found.section, found.others["weak"], found.others["itself"]
    assert (good["over"], good["masks"], good["observations"]) == ("wells", "truth", 24)
    assert good["n"] == len([name for name in NAMES[1:] if name in set(found.tables["features"]["feature"])])
    for scores in (good, good["cells"]):
        low, high = scores["median_correlation_low"], scores["median_correlation_high"]
        assert low <= scores["median_correlation"] <= high
    for key in ("median_correlation", "median_pearson"):
        assert good[key] > weak[key] + 0.1
        assert good["cells"][key] > weak["cells"][key] + 0.1
        assert itself[key] == itself["cells"][key] == itself["own"][key] == pytest.approx(1)
    assert good["nmae_top20"] < weak["nmae_top20"]
    assert itself["nmae_top20"] == 0
    assert itself["above_0.8"] == itself["n"]
    assert set(good["by_group"]) <= {"Intensity", "Texture", "Granularity", "Correlation"}
    assert "AreaShape" in good["own"]["by_group"]
    rows = found.deltas.set_index(["metric", "against"])
    assert rows.loc[("median_correlation", "weak"), "better"] == "good"
    assert rows.loc[("median_correlation", "weak"), "low"] > 0
    assert rows.loc[("nmae_top20", "itself"), "better"] == "itself"
    assert (rows["unit"] == "well").all()
    heat = found.tables["features_heatmap"]
    main = heat[(heat["source"] == "good") & (heat["over"] == "wells") & (heat["masks"] == "truth")]
    pair = main[main["group"] == "Correlation"]
    assert set(pair["channel"]) <= {"DNA", "ER"}
    table = found.tables["features"]
    shapes = table[table["equal_by_mask"]]
    assert set(shapes["group"]) == {"AreaShape"}
    assert shapes["spearman"].isna().all()
    above = found.tables["features_above"]
    assert (above["spearman"] > 0.8).all()
    assert (above.groupby("source")["spearman"].count().reindex(["good"]) == good["above_0.8"]).all()
    for figure in found.figures:
        columns = set(found.tables[figure.table])
        used = [
            each
            for value in figure.encode.values()
            if isinstance(value, str | tuple)
            for each in ([value] if isinstance(value, str) else value)
        ]
        assert set(used) <= columns, figure.name


def test_one_field_is_compared_over_cells_alone() -> None:
    context = context_of()
    found = summed(tables_of(context, {"good": 0.2}, cells=45), context)
    assert (found.section["over"], found.section["observations"]) == ("cells", 45)
    assert "own" not in found.section
    assert "cells" not in found.section
    assert any("one field" in note for note in found.notes)
    assert found.section["median_correlation"] > 0.8
    assert found.section["nmae_top20"] > 0
    assert found.deltas is None


@pytest.mark.parametrize("cells", [0, 1, 4])
def test_too_few_cells_leave_everything_undefined(cells: int) -> None:
    context = context_of(("good", "other"))
    tables = tables_of(context, {"good": 0.2, "other": 0.3}, cells=max(cells, 1))
    if not cells:
        tables = {name: table.iloc[:0] for name, table in tables.items()}
    found = summed(tables, context)
    for section in (found.section, found.others["other"]):
        assert section["median_correlation"] is None
        assert section["nmae_top20"] is None
        assert section["by_group"] == {}
    assert found.notes


def test_a_few_cells_of_one_field_have_figures() -> None:
    context = context_of(("itself",))
    found = summed(tables_of(context, {"itself": 0.0}, cells=8), context)
    assert found.section["median_correlation"] == pytest.approx(1)
    assert found.section["nmae_top20"] == 0


def test_a_prediction_that_answers_nothing_counts_as_nought() -> None:
    context = context_of(("flat",), wells=24)
    tables = tables_of(context, {"flat": 0.0})
    for table in tables.values():
        table.loc[table["source"] == "flat", list(NAMES[1:])] = 3.0
    found = summed(tables, context)
    assert found.section["median_correlation"] == 0
    assert found.section["nmae_top20"] > 0.5
    assert any("don't vary" in note for note in found.notes)


# A field


@pytest.fixture(scope="module")
def images() -> FieldImages:
    planes = simulate_field(SimulationSettings(size=220, seed=5)).stains.data[0, :2, 0].astype(np.float32)
    noisy = planes + np.random.default_rng(0).normal(0, 200, planes.shape).astype(np.float32)
    return FieldImages("B02/0", "B02", STAINS, 0.65, planes, {"itself": planes / 7 + 2, "noisy": noisy}, IntensityScale())


def test_a_field_gives_both_tables(images: FieldImages) -> None:
    tables = FEATURES.field(images, context_of(("itself", "noisy")))
    cells, middle = tables[CELLS], tables[IMAGES]
    count = int((cells["source"] == TRUTH).sum())
    assert count >= 2
    assert set(zip(middle["source"], middle["masks"], strict=True)) == {
        (TRUTH, TRUTH), ("itself", TRUTH), ("itself", OWN), ("noisy", TRUTH), ("noisy", OWN)
    }  # fmt: skip
    features = [name for name in cells if name.startswith(("Nuclei", "Cells", "Cytoplasm"))]
    assert len(features) > 500
    assert not [name for name in features if "Location" in name or "Phase" in name or "BoundingBoxMin" in name]
    assert {str(cells[name].dtype) for name in features} == {str(middle[name].dtype) for name in features} == {"float32"}
    truth, same, noisy = (
        cells[(cells["source"] == name) & (cells["masks"] == TRUTH)].set_index("object") for name in (TRUTH, "itself", "noisy")
    )
    assert list(truth.index) == list(same.index) == list(noisy.index)
    mean = "Cells_Intensity_MeanIntensity_ER"
    assert same[mean].to_numpy() == pytest.approx(truth[mean].to_numpy(), rel=1e-3)  # but for rounding to grey levels
    assert (noisy["Cells_AreaShape_Area"] == truth["Cells_AreaShape_Area"]).all()
    row = middle[(middle["source"] == "noisy") & (middle["masks"] == TRUTH)].iloc[0]
    assert row["cells"] == count
    assert row[mean] == pytest.approx(noisy[mean].median())


def test_full_scale_is_the_cameras(images: FieldImages) -> None:
    assert full_scale(images).tolist() == [65535, 65535]
    moments = SourceMoments(1, *(np.array([3000.0, 20000.0]) for _ in range(4)))
    assert full_scale(replace(images, scale=IntensityScale({TRUTH: moments}))).tolist() == [4095, 65535]
    dim = replace(images, truth=images.truth / 300, predictions={})
    assert full_scale(dim).tolist() == [255, 255]


def test_a_field_without_nuclei_has_no_rows(images: FieldImages) -> None:
    blind = replace(images, stains=("ER", "Mito"), memo={})
    tables = FEATURES.field(blind, replace(context_of(("itself", "noisy")), stains=("ER", "Mito")))
    assert [len(table) for table in tables.values()] == [0, 0]
    assert blind.memo["notes"]


def test_fields_measured_together_have_the_values_of_each_alone(images: FieldImages) -> None:
    """With a brighter field that has another full scale, one without cells, and the scale of the same field again."""
    bright = replace(images, key="B03/0", truth=images.truth * 8 + 5, memo={})
    empty = replace(images, key="B04/0", truth=np.full_like(images.truth, 300), memo={})
    fields = [images, bright, empty, replace(images, key="B05/0", memo={})]
    context = context_of(("itself", "noisy"))
    together = FEATURES.fields([replace(each, memo={}) for each in fields], context)
    alone = [FEATURES.field(replace(each, memo={}), context) for each in fields]
    for one, other in zip(together, alone, strict=True):
        for name in (CELLS, IMAGES):
            pd.testing.assert_frame_equal(one[name], other[name], check_exact=True)
    assert set(together[2][CELLS]["masks"]) <= {OWN}  # only predictions have cells in the empty field
    assert together[2][IMAGES]["cells"].iloc[0] == 0
    middle = alone[0][CELLS].query("source == 'noisy' and masks == 'own'").drop(columns=["field", "well", "source", "masks", "object"])
    row = alone[0][IMAGES].query("source == 'noisy' and masks == 'own'").drop(columns=["field", "well", "source", "masks", "cells"])
    np.testing.assert_allclose(row.to_numpy()[0], np.nanmedian(middle.to_numpy(np.float64), axis=0), rtol=1e-6)
