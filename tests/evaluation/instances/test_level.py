"""Level instances: what is found, scores by hand, pooling over fields, what is undefined, tables and overlays."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from evaluation_fields import STAINS, TRUTH, cells, context, field, judged, notes_of
from napari_virtual_paint.cells.measurement.crops import places
from napari_virtual_paint.counting import learned
from napari_virtual_paint.counting.pairing import paired_labels
from napari_virtual_paint.counting.segmentation import Labels
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation import EvaluationSettings
from napari_virtual_paint.evaluation.instances.fields import SCORES, scores, scores_of
from napari_virtual_paint.evaluation.instances.level import INSTANCES
from napari_virtual_paint.evaluation.instances.matching import overlaps
from napari_virtual_paint.evaluation.instances.pictures import EXTRA, FOUND, LOST, window
from napari_virtual_paint.evaluation.objects import find_objects, objects_of, without_border
from napari_virtual_paint.reading import read

TRUE = cells(0)
SKIMAGE = EvaluationSettings(segmenter="skimage")


def without_a_cell(stack: np.ndarray) -> np.ndarray:
    """Return the stains with the first cell painted over by background."""
    out = stack.copy()
    out[:, :40, :40] = stack[:, :2, 38:42].mean(axis=(1, 2))[:, None, None]
    return out


def test_cells_are_found_once_and_numbered_alike() -> None:
    one = field(TRUE, {"a": TRUE})
    found = objects_of(one, TRUTH, SKIMAGE)
    assert found is not None
    assert found.found["nuclei"].max() == found.found["cells"].max() == 16
    assert found.labels is not None
    assert (found.labels.cells[found.labels.nuclei > 0] == found.labels.nuclei[found.labels.nuclei > 0]).all()
    areas = np.bincount(found.found["nuclei"].ravel())[1:]
    assert np.median(areas) == pytest.approx(np.pi * 7**2, rel=0.4)
    assert objects_of(one, TRUTH, SKIMAGE) is found
    assert (found.segmenter, found.stains) == ("skimage", {"nuclei": ("DNA",), "cells": ("ER",)})


def test_gamma_shows_faint_cells() -> None:
    """A cell three times fainter than its neighbours is found after gamma 0.3, and is lost without."""
    stack = cells(0)
    stack[:, :40, :40] = 400 + (stack[:, :40, :40] - 400) / 3
    found = [find_objects(stack, STAINS, 1.0, EvaluationSettings("skimage", gamma=gamma)).found["nuclei"].max() for gamma in (0.3, 1.0)]
    assert found == [16, 15]


def test_a_prediction_with_noise_about_0_is_segmented_all_the_same() -> None:
    """Mapped onto the truth's scale the background of a noisy prediction is clipped at 0, where gamma makes much of it."""
    dim = (TRUE - 400).clip(0) + np.random.default_rng(0).normal(0, 500, TRUE.shape)
    assert find_objects(dim.clip(0).astype(np.uint16), STAINS, 1.0, SKIMAGE).found["nuclei"].max() == 16


def test_identical_prediction_is_perfect() -> None:
    found, _ = judged(INSTANCES, field(TRUE, {"a": TRUE.copy()}), field(cells(1), {"a": cells(1)}, "A02/0"))
    for kind in ("nuclei", "cells"):
        section = found.section[kind]
        assert {name: section[name] for name in SCORES} == dict.fromkeys(SCORES, 1.0)
        assert section["n_true"] == section["n_pred"] == section["true_matched"] == 32
        assert all(each["f1"] == 1 for each in section["curve"].values())
        assert section["segmenter"] == "skimage"
    json.dumps(found.section, allow_nan=False)


def test_scores_by_hand() -> None:
    # Two pairs (IoU 1, 0.5), one true object missed: 100 + 50 of 100 + 100 + 100 true pixels are shared.
    truth, prediction = np.zeros((2, 20, 60), int)
    truth[:10, :10], truth[:10, 20:30], truth[:10, 40:50] = 1, 2, 3
    prediction[:10, :10], prediction[:10, 20:25] = 1, 2
    got = scores(overlaps(truth, prediction))
    assert (got["n_true"], got["n_pred"], got["tp_0.50"], got["tp_0.55"]) == (3, 2, 2, 1)
    assert got["f1_0.7"] == pytest.approx(2 / 5)
    assert got["jaccard"] == pytest.approx(1.5 / 3)
    assert got["jaccard_0.7"] == pytest.approx(1 / 4)
    assert got["map_dsb"] == pytest.approx((2 / 3 + 9 * 1 / 4) / 10)
    assert got["jaccard_aggregated"] == got["jaccard_pixels"] == pytest.approx(150 / 300)
    assert (got["precision_0.7"], got["recall_0.7"]) == (1 / 2, 1 / 3)


def test_fields_are_pooled_by_their_counts() -> None:
    """A field with 16 cells, one missed, and one with 16 cells that are all found; the SD is that over fields."""
    fields = [field(TRUE, {"a": without_a_cell(TRUE)}, "A01/0"), field(cells(1), {"a": cells(1)}, "A02/0")]
    found, tables = judged(INSTANCES, *fields)
    section, rows = found.section["nuclei"], tables["instances_fields"]
    assert (section["n_true"], section["n_pred"], section["true_missed"]) == (32, 31, 1)
    assert section["f1_0.7"] == pytest.approx(2 * 31 / (2 * 31 + 1))
    each = rows[rows["object"] == "nuclei"]["f1_0.7"].to_numpy()
    assert each.tolist() == pytest.approx([2 * 15 / 31, 1])
    assert section["per_field"]["f1_0.7"] == pytest.approx(each.mean())
    assert section["per_field"]["f1_0.7_sd"] == pytest.approx(each.std(ddof=1))
    assert section["map_dsb"] == pytest.approx(rows[rows["object"] == "nuclei"]["map_dsb"].mean())
    missed = tables["instances_objects"].query("state == 'missed' and object == 'nuclei'")
    assert missed[["field", "side"]].to_numpy().tolist() == [["A01/0", "truth"]]
    assert missed[["y", "x"]].to_numpy().tolist() == [pytest.approx([20, 20], abs=5)]
    assert missed["partner"].isna().all()


def test_no_object_anywhere_is_null_with_a_note() -> None:
    nothing = cells(0, empty=True)
    one = field(nothing, {"a": nothing})
    found, tables = judged(INSTANCES, one)
    section = found.section["nuclei"]
    assert (section["n_true"], section["n_pred"]) == (0, 0)
    assert all(section[name] is None for name in SCORES)
    assert any("No nuclei" in note for note in notes_of(one))
    assert any("no nuclei" in note for note in found.notes)
    assert tables["instances_objects"].empty
    json.dumps(found.section, allow_nan=False)


def test_no_object_in_one_of_the_two() -> None:
    nothing = cells(0, empty=True)
    for truth, prediction, found_in in ((TRUE, nothing, (16, 0)), (TRUE, np.full_like(TRUE, 5.0), (16, 0)), (nothing, TRUE, (0, 16))):
        found, _ = judged(INSTANCES, field(truth, {"a": prediction}))
        section = found.section["cells"]
        assert (section["n_true"], section["n_pred"]) == found_in
        assert section["f1_0.7"] == section["map_dsb"] == 0
        assert section["precision_0.7"] == (0 if found_in[1] else None)


def test_without_a_stain_of_nuclei() -> None:
    one = field(TRUE[1:], {"a": TRUE[1:]}, stains=("ER",))
    found, _ = judged(INSTANCES, one)
    assert found.section == {}
    assert any("--nuclei" in note for note in notes_of(one))
    assert found.notes
    named, _ = judged(INSTANCES, field(TRUE[1:], {"a": TRUE[1:]}, stains=("ER",)), cells="er")
    assert list(named.section) == ["cells"]
    assert named.section["cells"]["n_true"] == 16
    assert named.section["cells"]["f1_0.7"] == 1


def test_what_can_not_be_done_is_said_before() -> None:
    one = {"k": field(TRUE, {"a": TRUE})}
    for settings, words in (({"nuclei": "H2B"}, "--nuclei"), ({"cells": "FITC"}, "--cells")):
        with pytest.raises(InputError, match=words):
            INSTANCES.check(context(one, **settings))
    if importlib.util.find_spec("cellpose") is None:
        with pytest.raises(InputError, match="pip install"):
            INSTANCES.check(context(one, segmenter="cellpose"))
    INSTANCES.check(context(one))


class FakeModel:
    """What Cellpose's model is asked for: labels by a threshold, numbered from left to right."""

    asked: ClassVar[list[tuple[tuple[int, ...], dict[str, Any]]]] = []

    def __init__(self, **options: Any) -> None:
        self.options = options

    def eval(self, image: np.ndarray, **options: Any) -> tuple[np.ndarray, None, None]:
        from skimage.measure import label

        self.asked.append((image.shape, {**self.options, **options}))
        plane = image[..., 0] if image.ndim == 3 else image
        return label(plane > (plane.min() + plane.max()) / 2), None, None


@pytest.mark.parametrize(("version", "old"), [("3.1.1", True), ("4.0.6", False)])
def test_cellpose_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, version: str, old: bool) -> None:
    package, models = types.ModuleType("cellpose"), types.ModuleType("cellpose.models")
    package.__spec__ = importlib.machinery.ModuleSpec("cellpose", None)
    package.models = models  # type: ignore[attr-defined]
    setattr(models, "Cellpose" if old else "CellposeModel", FakeModel)
    monkeypatch.setitem(sys.modules, "cellpose", package)
    monkeypatch.setitem(sys.modules, "cellpose.models", models)
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "cellpose" else real(name))
    learned._cellpose_model.cache_clear()
    FakeModel.asked.clear()
    try:
        found = find_objects(TRUE, STAINS, 1.0, EvaluationSettings())
        skimage = find_objects(TRUE, STAINS, 1.0, SKIMAGE)
    finally:
        learned._cellpose_model.cache_clear()
    assert (found.segmenter, found.version, skimage.segmenter) == ("cellpose", version, "skimage")
    assert found.found["nuclei"].max() == 16
    assert found.labels is not None
    assert found.labels.nuclei.max() > 0
    assert [shape for shape, _ in FakeModel.asked] == [(160, 160), (160, 160, 3)]
    assert [options.get("channels") for _, options in FakeModel.asked] == ([[0, 0], [1, 2]] if old else [None, None])
    assert [options.get("model_type") for _, options in FakeModel.asked] == (["nuclei", "cyto3"] if old else [None, None])
    assert all(("diameter" in options) is old for _, options in FakeModel.asked)


def test_nuclei_and_cells_found_apart_are_paired() -> None:
    nuclei, bodies = np.zeros((2, 20, 40), np.int32)
    bodies[2:18, 2:18], bodies[2:18, 22:38] = 7, 4
    nuclei[5:10, 5:10], nuclei[12:14, 5:7], nuclei[5:9, 16:22] = 1, 2, 3  # two in the first cell, one mostly beside both
    labels = paired_labels(nuclei, bodies)
    assert set(np.unique(labels.nuclei)) == {0, 7}
    assert (labels.nuclei == 7).sum() == 25
    assert set(np.unique(labels.cells)) == {0, 7}


def test_cells_at_the_border_can_be_left_out() -> None:
    image = np.zeros((20, 20), np.int32)
    image[:5, 5:9], image[8:12, 8:12] = 1, 2
    kept = without_border(Labels.of(image, image))
    assert set(np.unique(kept.cells)) == set(np.unique(kept.nuclei)) == {0, 2}


def test_two_predictions_and_their_figures() -> None:
    fields = []
    for seed in range(6):
        true = cells(seed, size=120)
        fields.append(field(true, {"good": true, "weak": without_a_cell(true)}, f"A0{seed + 1}/0"))
    found, _ = judged(INSTANCES, *fields)
    assert found.section["nuclei"]["f1_0.7"] == 1 > found.others["weak"]["nuclei"]["f1_0.7"]
    assert found.deltas is not None
    better = found.deltas.set_index(["object", "metric"])["better"]
    assert better[("nuclei", "f1_0.7")] == better[("cells", "map_dsb")] == "good"
    assert better[("nuclei", "precision_0.7")] == ""  # nothing that is not there was predicted by either
    for figure in found.figures:
        if figure.kind != "images":
            asked = [
                each
                for value in figure.encode.values()
                if not isinstance(value, bool)
                for each in ((value,) if isinstance(value, str) else value)
            ]
            titles = {figure.encode.get("x_title"), figure.encode.get("y_title")}
            assert set(asked) - titles <= set(found.tables[figure.table].columns)
    pictures = {label: picture for figure in found.figures if figure.name == "instances_nuclei" for label, _, picture in figure.images}
    colours = {label: {tuple(each) for each in picture.reshape(-1, 3).tolist()} for label, picture in pictures.items()}
    worst = next(each for label, each in colours.items() if label.startswith("worst") and "weak finds" in label)
    assert FOUND in worst
    assert LOST in worst
    assert all(LOST not in each and EXTRA not in each for label, each in colours.items() if "good" in label)


def test_window_shows_the_failures() -> None:
    assert window(np.array([[900.0, 900.0], [910, 905]]), (1000, 1000), 512) == (slice(488, 1000), slice(488, 1000))
    assert window(np.zeros((0, 2)), (100, 300), 512) == (slice(0, 512), slice(0, 512))


def test_sums_over_fields_give_the_scores_of_all() -> None:
    sums = {"n_true": 4, "n_pred": 4, "iou_sum": 2.0, "shared_matched": 10, "shared": 12, "union": 40}
    sums |= {f"tp_{threshold:.2f}": 2 for threshold in np.arange(0.5, 1, 0.05)}
    got = scores_of(sums)
    assert got == pytest.approx(
        {
            "f1_0.7": 0.5,
            "jaccard": 0.5,
            "map_dsb": 2 / 6,
            "jaccard_0.7": 2 / 6,
            "precision_0.7": 0.5,
            "recall_0.7": 0.5,
            "jaccard_aggregated": 0.25,
            "jaccard_pixels": 0.3,
        }
    )


def test_every_table_is_read_back_by_pandas(tmp_path: Path) -> None:
    """Also those of a field in which nothing could be looked for."""
    for one in (field(TRUE, {"a": without_a_cell(TRUE)}), field(TRUE[1:], {"a": TRUE[1:]}, stains=("ER",))):
        found, _ = judged(INSTANCES, one)
        for name, table in found.tables.items():
            table.to_csv(tmp_path / "table.csv", index=False)
            assert list(pd.read_csv(tmp_path / "table.csv").columns) == list(table.columns), name


@pytest.mark.parametrize("name", ["experiment_1_prophase_0001"])
def test_each_jurkat_cell_is_found_in_its_place(shared_data: Path, name: str) -> None:
    stack = read(shared_data / "jurkat_flow" / f"{name}.ome.tif").compute()
    planes = stack.data[0, :, 0, :, :240]
    there = sorted(number for number, _, _ in places(planes, 40))
    dna = planes[[stack.channel_labels.index("DNA")]]
    labels = find_objects(dna, ("DNA",), None, SKIMAGE).found["nuclei"]
    centres = ndimage.center_of_mass(labels > 0, labels, range(1, labels.max() + 1))
    assert sorted(int(y) // 40 * 6 + int(x) // 40 for y, x in centres) == there


def test_one_field_compares_its_objects() -> None:
    worse = TRUE.copy()
    worse[0] = ndimage.gaussian_filter(TRUE[0], 3)
    found, _ = judged(INSTANCES, field(TRUE, {"good": TRUE, "weak": worse}))
    assert found.deltas is not None
    rows = found.deltas[found.deltas["object"] == "nuclei"].set_index(["metric", "unit"])
    assert rows.loc[("f1_0.7", "field"), "n"] == 1
    assert np.isnan(rows.loc[("f1_0.7", "field"), "p"])
    assert rows.loc[("jaccard", "object"), "n"] == 16
    assert rows.loc[("jaccard", "object"), "better"] == "good"
    assert rows.loc[("jaccard", "object"), "delta"] == pytest.approx(rows.loc[("jaccard", "field"), "delta"])
