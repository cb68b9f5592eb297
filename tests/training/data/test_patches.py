"""Pairs and patches: where they come from, what is held out, what a step sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.running_stats import pearson
from napari_virtual_paint.training.config.network import Augment
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.pairs import load
from napari_virtual_paint.training.data.patches import Sampler, augment
from napari_virtual_paint.training.data.scaling import steps_of, to_scale, usable_pixels
from napari_virtual_paint.training.data.split import region
from napari_virtual_paint.training.validation import bounds, paint_part, per_tile


def config(**values: Any) -> TrainConfig:
    words = dict.fromkeys(("name", "description", "trained_on", "not_for", "output"), "tiny")
    common = {"id": "tiny", **words, "name": "Tiny model", "patch": (16, 16), "batch": 2}
    return TrainConfig.model_validate({**common, "network": {"config": {"depth": 2, "width": 4}}, **values})


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        x = rng.integers(0, 1000, (32, 48)).astype(np.uint16)
        tifffile.imwrite(tmp_path / f"{name}_in.tif", x)
        tifffile.imwrite(tmp_path / f"{name}_out.tif", np.stack([x, 2000 - x]).astype(np.uint16), imagej=True, metadata={"axes": "CYX"})
    return tmp_path


def folder(path: Path) -> dict[str, Any]:
    return {"folder": path, "input": "*_in.tif", "target": "*_out.tif", "target_channels": ["0", "1"], "stains": ["DNA", "ER"]}


def table(path: Path, text: str) -> dict[str, Any]:
    (path / "pairs.csv").write_text(text)
    return {"csv": path / "pairs.csv"}


def test_a_folder_is_paired_by_the_star(images: Path) -> None:
    data = load(config(data=folder(images), split={"validation": ["c"]}))
    assert [pair.name for pair in data.pairs] == ["a", "b", "c"]
    assert [pair.name for pair in data.holding("validation")] == ["c"]
    assert [pair.name for pair in data.holding("train")] == ["a", "b"]
    assert data.stains == ("DNA", "ER")
    for pair in data.pairs:
        np.testing.assert_allclose(pair.y.mean((1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(pair.y.std((1, 2)), 1, atol=1e-4)
        np.testing.assert_allclose(pair.y[0], -pair.y[1], atol=1e-4)


def test_folders_in_folders_and_equal_names(images: Path) -> None:
    for name in ("one", "two"):
        (images / name).mkdir()
        for kind in ("in", "out"):
            (images / name / f"{kind}.tif").write_bytes((images / f"a_{kind}.tif").read_bytes())
    found = find(config(data={"folder": images, "input": "**/in.tif", "target": "**/out.tif"}).data)
    assert [source.name for source in found] == ["one", "two"]
    found = find(config(data=table(images, "input,target\none/in.tif,one/out.tif\ntwo/in.tif,two/out.tif\n")).data)
    assert [source.name for source in found] == [(images / name / "in.tif").as_posix() for name in ("one", "two")]


def test_a_table_with_its_split(images: Path) -> None:
    text = "input,target,split\na_in.tif,a_out.tif,train\nb_in.tif,b_out.tif,validation\nc_in.tif,c_out.tif,test\n"
    data = load(config(data={**table(images, text), "target_channels": ["0"], "stains": ["DNA"]}))
    assert [[pair.name for pair in data.holding(part)] for part in ("train", "validation", "test")] == [["a_in"], ["b_in"], ["c_in"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("input\na_in.tif\n", "needs a first line 'input,target'"),
        ("input,target\na_in.tif,\n", "line 2: a pair needs both"),
        ("input,target,split\na_in.tif,a_out.tif,trian\n", "line 2: split must be train, validation or test, not 'trian'"),
        ("input,target\na_in.tif,none.tif\n", "none.tif: there is no such file"),
        ("input,target\na_in.tif,a_out.tif\na_in.tif,b_out.tif\n", "is the input of 2 pairs"),
    ],
)
def test_a_wrong_table(images: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(config(data=table(images, text)))
    assert words in str(caught.value)


def test_a_region_is_held_out_of_training(images: Path) -> None:
    split = {"validation": {"side": "right", "fraction": 0.25}, "test": {"y": (0, 0.5), "x": (0, 0.25)}}
    data = load(config(data=folder(images), split=split))
    parts = data.pairs[0].parts
    assert parts["validation"][:, 36:].all()
    assert parts["validation"].sum() == 32 * 12
    assert parts["test"][:16, :12].all()
    assert parts["test"].sum() == 16 * 12
    assert np.array_equal(sum(parts[part].astype(int) for part in parts), np.ones((32, 48)))
    whole = data.whole().pairs[0].parts
    assert whole["train"].all()
    assert not whole["validation"].any()


def test_regions_of_each_side() -> None:
    found = {side: region(config(data={"folder": "x"}, split={"validation": {"side": side, "fraction": 0.2}}).split.validation, (50, 100))
             for side in ("left", "right", "top", "bottom")}  # fmt: skip
    assert found["left"] == (slice(0, 50), slice(0, 20))
    assert found["right"] == (slice(0, 50), slice(80, 100))
    assert found["top"] == (slice(0, 10), slice(0, 100))
    assert found["bottom"] == (slice(40, 50), slice(0, 100))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch": (64, 64)}, "is smaller than a patch"),
        ({"split": {"validation": ["zebra*"]}}, "no image matches zebra*"),
        ({"data": {"stains": ["DNA"]}}, "data.stains names 1 stains"),
        ({"data": {"target_channels": ["DAPI"]}}, "no channel 'DAPI'"),
        ({"data": {"input": "*_none.tif"}}, "no file matches"),
        ({"normalize": {"input": {"mean": [1, 2], "std": [1, 2]}}}, "normalize gives 2 means"),
    ],
)
def test_a_set_that_can_not_be_trained_on(images: Path, change: dict[str, Any], words: str) -> None:
    data = {**folder(images), **change.pop("data", {})}
    with pytest.raises(InputError) as caught:
        load(config(data=data, **change))
    assert words in str(caught.value)


def test_unequal_sizes_name_both_files(images: Path) -> None:
    tifffile.imwrite(images / "a_out.tif", np.zeros((2, 30, 48), np.uint16), imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(InputError, match=r"a_out\.tif.*30 x 48 px.*32 x 48 px.*a_in\.tif"):
        load(config(data=folder(images)))


def test_a_robust_scale_is_the_z_score_of_normal_noise_and_stands_a_clump() -> None:
    rng = np.random.default_rng(0)
    field = rng.normal(500, 20, (1, 200, 200)).astype(np.float32)
    robust = config(data={"folder": "x"}, normalize={"input": {"low": 5, "high": 95}}).normalize.input
    np.testing.assert_allclose(to_scale(field, robust, ""), to_scale(field, "zscore", ""), atol=0.1)
    field[:, :20, :20] = 10_000
    assert to_scale(field, robust, "")[:, 20:].std() == pytest.approx(1, abs=0.05)
    assert to_scale(field, "zscore", "")[:, 20:].std() < 0.1
    assert to_scale(field, robust, "", clip=5).max() == 5
    assert [step.kind for step in steps_of(robust, 5)] == ["scale_range", "scale_linear", "clip"]


def test_empty_places_of_a_montage_are_left_out() -> None:
    rng = np.random.default_rng(0)
    montage = rng.integers(0, 100, (1, 80, 120))
    montage[:, 40:, 40:80] = np.arange(40)  # stripes
    montage[:, 40:, 80:] = 7
    tiles = config(data={"folder": "x", "tiles": {"size": 40}}, patch=(80, 80)).data.tiles
    usable = usable_pixels(montage, tiles)
    assert usable[:40].all()
    assert usable[40:, :40].all()
    assert not usable[40:, 40:].any()
    truth = rng.normal(size=(1, 80, 120)).astype(np.float32)
    found = per_tile(truth, truth, usable, (slice(0, 80), slice(0, 120)), 40)
    np.testing.assert_allclose(found, np.ones((4, 1)))


def test_simulated_fields_come_with_treatments_and_batches() -> None:
    one = {"fields": 4, "size": 64, "treatments": ["control", "mitoxantrone"], "doses": [1, 2], "batches": True, "seed": 5}
    settings = {"simulate": one}
    sources = find(config(data=settings).data)
    assert [(s.settings.treatment, s.settings.dose, s.settings.seed) for s in sources if s.settings] == [
        ("control", 1, 5), ("mitoxantrone", 1, 6), ("control", 2, 7), ("mitoxantrone", 2, 8),
    ]  # fmt: skip
    assert [s.settings.batch.gain != 1 for s in sources if s.settings] == [False, True, False, True]
    data = load(config(data=settings, split={"validation": 0.25}))
    assert len(data.channels) == 3
    assert data.stains == ("DNA", "ER", "RNA", "AGP", "Mito")
    assert len(data.holding("validation")) == 1


def test_a_step_always_sees_the_same_patches(images: Path) -> None:
    changes = {"flips": True, "quarter_turns": True, "gain": 0.1, "noise": 0.1}
    chosen = config(data=folder(images), augment=changes, split={"validation": None})
    sampler, again = (Sampler(load(chosen).pairs, chosen) for _ in range(2))
    again.batch(0)
    for mine, theirs in zip(sampler.batch(7), again.batch(7), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(sampler.batch(7).x, sampler.batch(8).x)


def test_what_is_held_out_weighs_nothing(images: Path) -> None:
    chosen = config(data=folder(images), batch=16, split={"validation": {"side": "right", "fraction": 0.4}})
    pairs = load(chosen).pairs
    for pair in pairs:
        pair.y[:, pair.parts["validation"]] = 1e6
    batch = Sampler(pairs, chosen).batch(0)
    assert (batch.y > 1e5).any()
    assert (batch.y * batch.weight < 1e5).all()


@pytest.mark.parametrize("settings", [{"flips": True}, {"quarter_turns": True}, {"flips": True, "quarter_turns": True}])
def test_augmentation_moves_both_pictures_alike(settings: dict[str, bool]) -> None:
    x = torch.arange(64.0).reshape(1, 8, 8)
    seen = set()
    for seed in range(60):
        a, b, c = augment(x, 2 * x, x, (8, 8), Augment(**settings), np.random.default_rng(seed))
        assert torch.equal(b, 2 * a)
        assert torch.equal(c, a)
        assert torch.equal(a.flatten().sort().values, x.flatten())
        seen.add(tuple(a.flatten().tolist()))
    assert len(seen) == (8 if len(settings) == 2 else 4)


def test_turning_by_any_angle_keeps_pictures_together_and_drops_what_is_held_out() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(2, 24, 24)).astype(np.float32))
    weight = torch.ones(1, 24, 24)
    weight[:, :, 20:] = 0
    a, b, c = augment(x, x[:1] * 3, weight, (16, 16), Augment(rotate=True, zoom=0.2), rng)
    assert a.shape == (2, 16, 16)
    torch.testing.assert_close(b, a[:1] * 3)
    assert set(c.unique().tolist()) <= {0.0, 1.0}


def test_painting_what_is_held_out_is_the_whole_field_cropped(images: Path) -> None:
    from napari_virtual_paint.networks import build

    torch.manual_seed(0)
    network = build("UNet", {"in_channels": 1, "out_channels": 2, "depth": 2, "width": 4}).eval()
    pair = load(config(data=folder(images), split={"validation": {"side": "right", "fraction": 0.25}})).pairs[0]
    prediction, truth, mask = paint_part(network, pair, "validation")
    with torch.inference_mode():
        whole = network(torch.from_numpy(pair.x)[None])[0].numpy()
    assert bounds(pair.parts["validation"]) == (slice(0, 32), slice(36, 48))
    np.testing.assert_allclose(prediction, whole[:, :, 36:], atol=1e-5)
    np.testing.assert_array_equal(truth, pair.y[:, :, 36:])
    assert mask.all()


def test_pearson_is_numpys() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 100)) + 50
    assert pearson(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert np.isnan(pearson(a, np.ones(100)))


def test_the_correlation_of_cells_is_numpys_and_leaves_out_parts() -> None:
    pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")
    from napari_virtual_paint.training.modules.base import cell_correlation

    rng = np.random.default_rng(0)
    a, b = torch.from_numpy(rng.normal(size=(2, 2, 3, 8, 12)) + 1)
    weight = torch.ones(2, 1, 8, 12)
    weight[1, :, 7, 11] = 0
    wanted = [
        np.corrcoef(a[n, c, y : y + 4, x : x + 4].ravel(), b[n, c, y : y + 4, x : x + 4].ravel())[0, 1]
        for n in range(2) for c in range(3) for y in (0, 4) for x in (0, 4, 8) if (n, y, x) != (1, 4, 8)
    ]  # fmt: skip
    assert float(cell_correlation(a, b, weight, 4)) == pytest.approx(np.mean(wanted), abs=1e-5)


def test_patches_of_a_montage_lie_on_its_grid() -> None:
    settings = {"simulate": {"fields": 1, "size": 80}, "tiles": {"size": 16}}
    chosen = config(data=settings, patch=(32, 32), split={"validation": None})
    places = Sampler(load(chosen).pairs, chosen).places[0]
    assert len(places) == 16
    assert not (places % 16).any()
