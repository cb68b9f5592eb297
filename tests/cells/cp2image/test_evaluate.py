"""Evaluation of cell models: correlations, the Fréchet distance, tables with their images, the report, the commands."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from napari_virtual_paint.cells.cp2image import evaluate as evaluating
from napari_virtual_paint.cells.cp2image.config import Features
from napari_virtual_paint.cells.cp2image.data import choose_features
from napari_virtual_paint.cells.cp2image.evaluate import CellEvaluation, correlation, evaluate, measurable
from napari_virtual_paint.cells.cp2image.frechet import (
    FeatureNetwork,
    choose_feature_network,
    code_distance,
    frechet,
    halved_frechet,
    inception_weights,
    train_reader,
)
from napari_virtual_paint.cells.cp2image.model import CellModel, build, open_cell_model
from napari_virtual_paint.cells.cp2image.package import CellPackageDraft, save_cell_model
from napari_virtual_paint.cells.cp2image.pairs import Pairs, cut_crops
from napari_virtual_paint.cells.cp2image.sample import Sample
from napari_virtual_paint.cells.measurement.images import measure_files
from napari_virtual_paint.cells.tables.table import open_table
from napari_virtual_paint.cells.tables.writing import write_table
from napari_virtual_paint.cells.transform import Transform
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.writing import write

CHANNELS = ("DNA", "ER")
MEASURED = ("gain", "spearman", "frechet", "auc", "auc_control", "spectrum")
KEYS = ["cells", "features", "share_above_0.5", "median_correlation", "fid", *MEASURED, "per_feature"]


def last(items: Any) -> Any:
    *_, found = items
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of three channels, the table measured on them, and a model of two of the channels that knows nothing."""
    home = tmp_path_factory.mktemp("evaluate")
    paths = []
    for seed in (1, 2):
        stains = simulate_field(SimulationSettings(size=320, seed=seed)).stains.select(["Mito", "DNA", "ER"])
        paths.append(write(stains, home / f"well{seed}.ome.tif"))
    steps = measure_files(paths)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            table = done.value
            break
    write_table(table, home / "cells.parquet")
    save_cell_model(home / "toy.zip", draft(table))
    return home


def draft(table: pd.DataFrame) -> CellPackageDraft:
    features = choose_features(table, CHANNELS, Features())
    values = table[list(features)].to_numpy(np.float32)
    torch.manual_seed(0)
    settings = {"features": len(features), "channels": 2, "size": 64}
    return CellPackageDraft(
        id="toy-cells",
        name="Toy cells",
        version="0.1.0",
        description="For tests.",
        license="BSD-3-Clause",
        authors=("Nobody",),
        card={},
        features=features,
        channels=CHANNELS,
        size=64,
        pixel_size=0.65,
        architecture="CellPainter",
        config={"width": 4, "max_width": 8, "style": 8},
        transform=Transform.fit(values),
        low=np.float32([400, 300]),
        high=np.float32([3000, 4000]),
        network=build("CellPainter", {**settings, "width": 4, "max_width": 8, "style": 8}),
        reader=build("CropReader", settings),
        sample=Sample(values, np.ones((len(values), 2, 64, 64), np.float32), {}),
    )


@pytest.fixture(scope="module")
def model(folder: Path) -> CellModel:
    return open_cell_model(folder / "toy.zip")


def images(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ome.tif"))


def test_a_model_of_cells_alone_is_compared_with_cells_alone(folder: Path, tmp_path: Path) -> None:
    given = draft(pd.read_parquet(folder / "cells.parquet"))
    lone = open_cell_model(save_cell_model(tmp_path / "alone.zip", replace(given, alone=True)))
    assert lone.alone
    table = open_table(folder / "cells.parquet")
    beside, alone = (
        last(evaluate(each, table, images(folder), most=12, measures=())) for each in (open_cell_model(folder / "toy.zip"), lone)
    )
    assert any("generates cells without neighbors" in note for note in alone.notes)
    assert not any("generates cells without neighbors" in note for note in beside.notes)
    np.testing.assert_array_equal(alone.drawn, beside.drawn)
    # The nucleus in the middle stays; what lies at the corners is brought to the background.
    np.testing.assert_allclose(alone.real[:, :, 30:34, 30:34], beside.real[:, :, 30:34, 30:34], rtol=0.02)
    corners = alone.real[:, :, :3, :3].reshape(len(alone.real), 2, -1)
    there = np.ptp(corners, axis=2) < 1
    assert there.all(axis=1).mean() > 0.5
    np.testing.assert_allclose(corners[there], np.broadcast_to(lone.low[:, None], corners.shape[1:])[None].repeat(len(there), 0)[there])


def test_crops_are_cut_at_the_table_s_places_in_the_model_s_channels(folder: Path) -> None:
    table = open_table(folder / "cells.parquet")
    pairs = last(cut_crops(table, images(folder)[::-1], CHANNELS, 21))
    assert isinstance(pairs, Pairs)
    assert len(pairs.rows) == len(table)
    frame = table.frame(["Metadata_FileName", "Nuclei_Location_Center_Y", "Nuclei_Location_Center_X"], pairs.rows)
    for row in range(0, len(frame), 5):
        name, y, x = frame.iloc[row]
        plane = np.asarray(read(folder / name).select(["DNA"]).data)[0, 0, 0]
        y, x = round(y - 10), round(x - 10)
        if min(y, x) >= 0 and max(y, x) + 21 <= 320:
            np.testing.assert_array_equal(pairs.crops[row, 0], plane[y : y + 21, x : x + 21])


def test_images_that_are_not_given_are_told(folder: Path) -> None:
    table = open_table(folder / "cells.parquet")
    pairs = last(cut_crops(table, images(folder)[:1], CHANNELS, 21))
    assert set(pairs.files) == {"well1.ome.tif"}
    assert "Cells of 1 images that were not given are left out (well2.ome.tif)." in pairs.notes
    with pytest.raises(InputError, match="none of its images"):
        list(cut_crops(table, [folder / "cells.parquet"], CHANNELS, 21))


def test_the_real_cells_themselves_score_nearly_all(folder: Path, model: CellModel, monkeypatch: pytest.MonkeyPatch) -> None:
    table = open_table(folder / "cells.parquet")
    real = last(cut_crops(table, images(folder), CHANNELS, model.size)).crops
    monkeypatch.setattr(evaluating, "generate", lambda *_, seed: real)
    found = last(evaluate(model, table, images(folder), measures=("frechet", "spectrum")))
    assert found.realism.spectrum.extremes == (1.0, 1.0)
    assert found.realism.frechet.drawn == pytest.approx(found.realism.frechet.floor)
    assert found.share_above > 0.7
    assert found.median > 0.7
    assert found.fid == pytest.approx(0, abs=1e-3)
    monkeypatch.setattr(evaluating, "generate", lambda *_, seed: real[::-1].copy())
    other = last(evaluate(model, table, images(folder), measures=()))
    assert other.share_above < 0.3


def test_what_a_model_does_not_take_is_said_and_scored(folder: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(folder / "cells.parquet")
    few = draft(table.drop(columns=[name for name in table if "Texture" in name]))
    model = open_cell_model(save_cell_model(tmp_path / "few.zip", few))
    found = last(evaluate(model, open_table(folder / "cells.parquet"), images(folder), measures=()))
    assert [name for name in found.per_feature if "Texture" in name]
    assert any("of the scored features are not among those that toy-cells takes" in note for note in found.notes)


def test_only_features_that_count_and_that_the_model_s_channels_show() -> None:
    given = [
        "Nuclei_AreaShape_Area",
        "Cells_Intensity_MeanIntensity_DNA",
        "Cells_Intensity_MeanIntensity_Mito",
        "Cells_Correlation_Correlation_DNA_Mito",
        "Nuclei_Location_Center_X",
        "Nuclei_AreaShape_CentralMoment_1_1",
        "Cells_RadialDistribution_ZernikePhase_DNA_1_1",
        "Nuclei_AreaShape_BoundingBoxMinimum_X",
        "Metadata_Well",
    ]
    assert measurable(given, ("DNA", "ER")) == given[:2]


def test_the_correlation_is_pearson_s_on_the_cells_that_have_both() -> None:
    rng = np.random.default_rng(0)
    asked, measured = rng.normal(size=(2, 50))
    measured += asked
    asked[:5], measured[40:] = np.nan, np.nan
    assert correlation(asked, measured) == pytest.approx(np.corrcoef(asked[5:40], measured[5:40])[0, 1])
    assert correlation(asked, np.ones(50)) is None
    assert correlation(asked, np.where(np.arange(50) < 30, np.nan, measured)) is None


def evaluation(per_feature: dict[str, float | None]) -> CellEvaluation:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 30, len(per_feature)))
    crops = rng.uniform(0, 1000, (2, 30, 2, 40, 40)).astype(np.float32)
    return CellEvaluation("toy", per_feature, 1.5, "a <judge>", values[0], values[1], crops[0], crops[1], CHANNELS)


FOUND: dict[str, float | None] = {
    "Nuclei_AreaShape_Area": 0.9,
    "Cells_AreaShape_Area": 0.4,
    "Cells_Correlation_Correlation_DNA_ER": 0.6,
    "Nuclei_Texture_Contrast_DNA_3_00_256": None,
}


def test_a_feature_without_a_correlation_counts_against() -> None:
    found = evaluation(FOUND)
    assert found.share_above == 0.5
    assert found.median == pytest.approx(0.5)
    assert found.ranked()[-1] == ("Nuclei_Texture_Contrast_DNA_3_00_256", None)
    assert list(found.to_dict()) == KEYS


def test_the_split_by_parts_of_the_name() -> None:
    found = evaluation(FOUND)
    assert found.by("compartment") == [("Cells", 2, 0.5, 0.5), ("Nuclei", 2, 0.5, 0.45)]
    assert [row[:2] for row in found.by("channel")] == [("DNA", 2), ("ER", 1), ("shape", 2)]
    assert [row[:2] for row in found.by("group")] == [("AreaShape", 2), ("Correlation", 1), ("Texture", 1)]


class Means(nn.Module):
    """The mean of each channel: a code whose distance has a closed form."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return crops.mean((2, 3))


def test_the_frechet_distance_of_normal_codes() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(2, 4000, 2)) * [[[1, 2]], [[3, 2]]] + [[[0, 0]], [[1, -1]]]
    real, drawn = (np.broadcast_to(code[:, :, None, None], (*code.shape, 4, 4)).astype(np.float32) for code in codes)
    # |m1 - m2|^2 + sum (s1 - s2)^2 for diagonal covariances (Dowson and Landau, 1982).
    means = FeatureNetwork("means", Means(), low=np.zeros(2), high=np.ones(2))
    assert frechet(means, real, drawn) == pytest.approx(2 + 4, rel=0.1)
    assert frechet(means, real, real) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("count", "width"), [(300, 8), (6, 20)], ids=["large", "smaller-than-the-code"])
def test_the_distance_of_codes_is_that_of_torchmetrics(count: int, width: int) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, count, width)) @ rng.normal(size=(width, width))
    b = 2 * b + 0.3
    metric = FrechetInceptionDistance(feature=nn.Flatten(), input_img_size=(1, 1, width), normalize=True)
    for codes, kind in ((a, True), (b, False)):
        metric.update(torch.from_numpy(codes[:, None, None].astype(np.float32)), real=kind)
    assert code_distance(a, b) == pytest.approx(float(metric.compute()), rel=1e-3)


def test_drawn_crops_like_real_ones_have_the_distance_of_the_floor() -> None:
    """The distance itself, without halves, is biased: cells of one distribution are far apart if there are few."""
    rng = np.random.default_rng(2)
    real, twin, other = (np.broadcast_to(rng.normal(size=(60, 2, 1, 1)), (60, 2, 4, 4)).astype(np.float32) for _ in range(3))
    means = FeatureNetwork("means", Means(), low=np.zeros(2), high=np.ones(2))
    same, shifted = (last(halved_frechet(means, real, crops)) for crops in (real, other + 1))
    assert (same.cells, same.parts.shape) == (30, (10, 2))
    assert same.drawn == pytest.approx(same.floor)
    assert same.floor > 0.01
    assert last(halved_frechet(means, real, twin)).drawn == pytest.approx(same.floor, rel=0.8)
    assert shifted.drawn == pytest.approx(2, rel=0.4)
    assert shifted.floor == same.floor


def test_the_judge_is_named(model: CellModel) -> None:
    if inception_weights() is None:
        assert "toy-cells" in choose_feature_network(model).name
        with pytest.raises(InputError, match="Inception needs torch-fidelity"):
            choose_feature_network(model, "inception")
    assert "CropReader" in choose_feature_network(model, "cells").name
    with pytest.raises(InputError, match="no feature network 'vgg'"):
        choose_feature_network(model, "vgg")
    with pytest.raises(InputError, match="its network reads Brightfield, DNA in crops of 40 px, not DNA, ER of 64 px"):
        choose_feature_network(model, "jurkat-cells")


def test_the_network_of_another_model_judges_by_its_own_scale(folder: Path, model: CellModel, tmp_path: Path) -> None:
    scale = np.float32([[100, 5000], [200, 6000]])
    given = replace(draft(pd.read_parquet(folder / "cells.parquet")), id="other-cells", reader_scale=scale)
    path = save_cell_model(tmp_path / "other.zip", given)
    chosen, own = choose_feature_network(model, str(path)), choose_feature_network(model, "cells")
    assert "other-cells" in chosen.name
    np.testing.assert_array_equal(np.stack([chosen.low, chosen.high], axis=1), scale)
    np.testing.assert_array_equal(np.stack([own.low, own.high]), np.stack([model.low, model.high]))


def test_the_reader_learns_to_read() -> None:
    torch.manual_seed(0)
    level = torch.rand(64, 1)
    crops = level[:, :, None, None].expand(64, 1, 16, 16).contiguous()
    network = last(train_reader(level, crops, steps=80, batch=8))
    error = (network.read(crops) - level).square().mean()
    assert error < 0.1 * level.var()
    one, again = (last(train_reader(level, crops, steps=3, batch=8)) for _ in range(2))
    assert torch.equal(one(crops), again(crops))


def test_the_command_s_json_is_exact(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_virtual_paint.cells.cp2image.classifier_test.STEPS", 4)
    monkeypatch.setattr(evaluating, "responses", partial(evaluating.responses, cells=2, percentiles=(5.0, 50.0, 95.0)))
    arguments = [str(folder / "toy.zip"), str(folder / "cells.parquet"), *map(str, images(folder)), "--network", "cells", "--most", "14"]
    report = folder / "report.html"
    assert main(["cells", "evaluate", *arguments, "--json", "-o", str(report)]) == 0
    out, words = capsys.readouterr()
    found = json.loads(out)
    assert list(found) == KEYS
    assert found["features"] == len(found["per_feature"]) > 200
    assert all(value is None or -1.001 <= value <= 1.001 for value in found["per_feature"].values())
    assert re.search(r"CropReader [0-9a-f]{8} of toy-cells", words)
    swept = ["Nuclei_AreaShape_Area", "Nuclei_AreaShape_Orientation", "Nuclei_Intensity_MeanIntensity_DNA", "Cytoplasm_AreaShape_Area"]
    for key in ("gain", "spearman"):
        assert list(found[key]) == ["follow", "alone"]
        assert all(list(each) == [*swept, "Nuclei_Texture_Contrast_DNA_3_00_256"] for each in found[key].values())
    assert list(found["frechet"]) == ["drawn", "floor"]
    assert found["frechet"]["drawn"] > found["frechet"]["floor"] > 0
    assert 0 <= found["auc"] <= 1
    assert 0 < found["spectrum"][0] < found["spectrum"][1]
    page = report.read_text("utf-8")
    assert "report.png" in page
    assert "worst 20" in page
    assert "gain, others follow" in page
    spectrum = pd.read_csv(folder / "report-spectrum.csv")
    assert list(spectrum["channel"].unique()) == ["DNA", "ER"]
    assert spectrum["cycles_per_px"].max() == 0.5
    rows = pd.read_csv(report.with_suffix(".csv"))
    assert set(rows["feature"]) == set(found["per_feature"])
    assert report.with_suffix(".png").stat().st_size > 10_000


def test_measures_are_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "cells",
        "evaluate",
        str(folder / "toy.zip"),
        str(folder / "cells.parquet"),
        *map(str, images(folder)),
        "--most",
        "6",
        "--json",
    ]
    assert main([*arguments, "--measures", "spectrum"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == KEYS
    assert [name for name in MEASURED if found[name] is not None] == ["spectrum"]
    assert main([*arguments, "--measures", "spectrum,colour"]) == 2
    assert "there is no measure 'colour'" in capsys.readouterr().err


def test_the_report_needs_the_name_of_a_page(tmp_path: Path) -> None:
    from napari_virtual_paint.cells.cp2image.report import page, write_report

    with pytest.raises(InputError, match=r"ends in \.html"):
        write_report(evaluation(FOUND), tmp_path / "report.pdf")
    assert "a &lt;judge&gt;" in page(evaluation(FOUND), tmp_path / "report.html")


def test_a_table_of_other_features_is_refused(folder: Path, model: CellModel, tmp_path: Path) -> None:
    columns = ["Metadata_FileName", "Nuclei_Location_Center_X", "Nuclei_Location_Center_Y"]
    pd.read_parquet(folder / "cells.parquet")[columns].to_parquet(tmp_path / "few.parquet")
    with pytest.raises(InputError, match="none of the"):
        list(evaluate(model, open_table(tmp_path / "few.parquet"), images(folder)))


def test_generate_writes_a_stack_or_a_picture(folder: Path, model: CellModel, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["cells", "generate", str(folder / "toy.zip"), str(folder / "cells.parquet")]
    assert main([*base, "-o", str(folder / "drawn.ome.tif"), "--rows", "2:7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cells"] == 5
    stack = read(folder / "drawn.ome.tif")
    assert stack.shape == (5, 2, 1, 64, 64)
    assert stack.channels == CHANNELS
    assert stack.pixel_size.x == pytest.approx(0.65)
    (folder / "drawn.ome.tif").unlink()
    assert main([*base, "-o", str(folder / "drawn.png"), "--rows", "2:7"]) == 0
    from PIL import Image

    assert Image.open(folder / "drawn.png").size == (3 * 64, 2 * 64)
    capsys.readouterr()
    assert main([*base, "-o", str(folder / "x.png"), "--rows", "a:b"]) == 2
    assert "--rows 'a:b' is no range" in capsys.readouterr().err
