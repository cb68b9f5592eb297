"""Training of cell models: the configuration, the split, the losses, runs that are broken off and go on, the command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from napari_virtual_paint.cells.cp2image.config import PRESET, CellTrainConfig, Features, Loss, load_config
from napari_virtual_paint.cells.cp2image.data import choose_features, split, wells
from napari_virtual_paint.cells.cp2image.frechet import train_reader
from napari_virtual_paint.cells.cp2image.model import generate, open_cell_model
from napari_virtual_paint.cells.cp2image.module import CURVE, GanTraining, Tensors, fit, one_step, ramp_of
from napari_virtual_paint.cells.cp2image.train import train
from napari_virtual_paint.cells.measurement.isolate import cell_alone
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.progress import Progress

BETTER = {
    "generator": {"architecture": "CellPainter", "config": {"width": 4, "max_width": 8, "style": 16}},
    "critic": {"architecture": "ReadingCritic", "config": {"width": 4}},
    "loss": {"pixel": "mse", "pixel_weight": 10, "hidden": 1, "ramp": 0, "reading": 0.2},
    "features": {"drop": 0.3, "polar": True},
    "alone": True,
    "scale": "fixed",
    "ema": 0.9,
    "optimizer": {"lr": 2e-3, "critic_lr": 1e-3, "schedule": "one_cycle", "clip": 1.0},
}

FRAMED = {
    **BETTER,
    "generator": {"architecture": "CellPainter", "config": {"width": 4, "max_width": 8, "style": 16, "turn": 1}},
    "features": {"drop": 0.3, "polar": True, "frame": "Nuclei_AreaShape_Orientation", "also": ["*_ZernikePhase_*"]},
    "turns": True,
    "refit": True,
}
"""In the nucleus's own frame, turned and mirrored, and once more on all cells."""

OURS = {
    "generator": {"architecture": "ContourPainter", "config": {"width": 4, "max_width": 8, "style": 16, "code": 4}},
    "critic": {"architecture": "ContourCritic", "config": {"width": 4, "code": 16}},
}


def values(**changes: Any) -> dict[str, Any]:
    tiny: dict[str, Any] = {
        "id": "tiny-cells",
        "name": "Tiny cells",
        "description": "For tests.",
        "trained_on": "Simulated wells.",
        "not_for": "Anything.",
        "output": "tiny.zip",
        "data": {
            "simulate": {"treatments": ["control", "mitoxantrone"], "doses": [1.0], "seeds": 2, "size": 256},
            "channels": ["DNA", "ER"],
            "size": 40,
        },
        "generator": {"architecture": "CP2ImageGenerator"},
        "held_out": 0.25,
        "batch": 6,
        "steps": 6,
        "epoch": 2,
        "population": 8,
        "threads": 1,
    }
    return {**tiny, **changes}


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(values(**changes)), encoding="utf-8")
    return path


def config_of(**changes: Any) -> CellTrainConfig:
    return CellTrainConfig.model_validate(values(**changes))


def cells(count: int = 24, features: int = 5, size: int = 40) -> Tensors:
    """Discs whose radius and brightness are two of the features."""
    generator = torch.Generator().manual_seed(3)
    given = torch.randn(count, features, generator=generator)
    grid = torch.arange(size) - size / 2
    radius = 8 + 2 * given[:, :1, None]
    disc = ((grid[:, None].square() + grid[None].square()).sqrt() < radius).float()
    crops = disc[:, None] * (1 + 0.3 * given[:, 1, None, None, None]) * torch.tensor([1.0, 0.5])[:, None, None]
    return Tensors(given, crops)


@pytest.fixture(scope="module", autouse=True)
def short_reader() -> Iterator[None]:
    """Train the network of the Fréchet distance for some steps alone; test_cells_evaluate shows that it learns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_virtual_paint.cells.cp2image.train.train_reader", partial(train_reader, steps=5))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    path = written(tmp_path_factory.mktemp("cells"), **BETTER)
    return path, list(train(load_config(path), "a command"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 1}, "batch: should be greater than or equal to 2"),
        ({"stepz": 1}, "stepz: no such field"),
        ({"name": "Tiny"}, "name: string should have at least 5 characters, not 'Tiny'"),
        ({"loss": {"pixel": "l2"}}, "loss.pixel: should be 'mse' or 'l1'"),
        ({"features": {"frame": "Nuclei_AreaShape_Orientation", "polar": True}}, "features.frame and generator.config.turn: 1 go together"),
        (
            {**FRAMED, "features": {"frame": "Nuclei_AreaShape_Area", "polar": True}},
            "features.frame needs features.polar, and the name of an",
        ),
        ({"generator": {"architecture": "GAN"}}, "generator.architecture must be one of CP2ImageGenerator, CellPainter"),
        ({"critic": {"architecture": "ContourCritic"}}, "the generator ContourPainter and the critic ContourCritic go together"),
        ({"generator": {"architecture": "ContourPainter", "config": {"turn": 1}}}, "ContourPainter takes turn and alone from the data"),
        ({"generator": {"architecture": "ContourPainter"}, "scale": "crop"}, "ContourPainter needs scale: fixed"),
        ({"loss": {"reading": 1.0}}, "loss.reading needs the critic ReadingCritic"),
        ({"data": {"channels": ["DNA"]}}, "data: give one of simulate and images"),
        ({"data": {"simulate": {"treatments": ["aspirin"]}, "channels": ["DNA"]}}, "there is no treatment 'aspirin'"),
        ({"output": "folder"}, "output must end in .zip"),
        ({"id": "Not An Id"}, "id: "),
        ({"features": {"clip": -1}}, "features.clip: should be greater than 0"),
    ],
)
def test_an_error_names_the_field(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(written(tmp_path, **changes))
    assert words in str(caught.value)
    assert "tiny.yaml" in str(caught.value)


def test_the_defaults_are_the_generator_s_own() -> None:
    """The paper's if its generator is named, else those that ours was tuned with; what is given comes first."""
    config = config_of()
    assert config.generator.architecture == "CP2ImageGenerator"
    assert config.critic.architecture == "CP2ImageDiscriminator"
    assert (config.loss.pixel, config.loss.hidden, config.loss.ramp, config.scale) == ("mse", 1, 2500, "crop")
    assert CellTrainConfig.model_fields["batch"].default == 104
    assert type(config.data).model_fields["size"].default == 68
    given = values(loss={"reading": 0.5}, features={"exclude": ["*_Texture_*"]})
    del given["generator"]
    ours = CellTrainConfig.model_validate(given)
    assert (ours.generator.architecture, ours.critic.architecture, ours.scale) == ("ContourPainter", "ContourCritic", "fixed")
    assert (ours.loss.reading, ours.loss.adversarial, ours.batch) == (0.5, PRESET["loss"]["adversarial"], 6)
    assert (ours.features.exclude, ours.features.drop) == (("*_Texture_*",), PRESET["features"]["drop"])
    assert ours.fingerprint() != config.fingerprint()


def test_each_layer_s_weight_rises_one_ramp_after_the_last() -> None:
    loss = Loss()
    assert [ramp_of(loss, step, 0) for step in (0, 2500, 3750, 5000, 9000)] == [0, 0, 0.5, 1, 1]
    assert [ramp_of(loss, step, 2) for step in (5000, 7500, 8750, 10000)] == [0, 0, 0.5, 1]
    assert ramp_of(Loss(ramp=0), 0, 3) == 1


def test_every_treatment_dose_and_seed_is_a_well() -> None:
    config = config_of(data={"simulate": {"doses": [0.5, 1.0], "seeds": 3, "seed": 7}, "channels": ["DNA"], "size": 40})
    found = wells(config.data)
    assert len(found) == len({name for name, _ in found}) == 4 * 2 * 3
    assert sorted(settings.seed for _, settings in found) == list(range(7, 31))
    assert {(s.treatment, s.dose) for _, s in found} == {
        ("control", 0.0), *((t, d) for t in ("mitoxantrone", "actin-disruptor", "tubulin-disruptor") for d in (0.5, 1.0))
    }  # fmt: skip


def test_a_well_is_never_split() -> None:
    groups = np.repeat(np.array([f"well{i}" for i in range(10)], object), 7)
    for held_out in (0.3, ("well3", "well[5-6]")):
        out = split(groups, held_out, seed=1)
        assert all(len(set(out[groups == name])) == 1 for name in set(groups))
        assert out.sum() == 21
    with pytest.raises(InputError, match="held_out: 0 of 10"):
        split(groups, ("nothing",), seed=1)
    with pytest.raises(InputError, match="held_out: 10 of 10"):
        split(groups, ("*",), seed=1)


def test_which_columns_a_model_is_conditioned_on() -> None:
    rng = np.random.default_rng(0)
    names = ["Nuclei_AreaShape_Area", "Cells_Intensity_MeanIntensity_DNA", "Cells_Intensity_MeanIntensity_Mito", "Nuclei_Location_Center_X"]
    table = pd.DataFrame(rng.normal(size=(30, 4)), columns=names)
    table["Cells_AreaShape_Area"] = 5.0
    table["Nuclei_Texture_Contrast_DNA_3_00_256"] = np.where(np.arange(30) < 10, np.nan, 1.0 * np.arange(30))
    table["Metadata_Well"] = "A1"
    assert choose_features(table, ("DNA",), Features()) == ("Nuclei_AreaShape_Area", "Cells_Intensity_MeanIntensity_DNA")
    assert choose_features(table, ("DNA",), Features(exclude=("Cells_*",), missing=0.5)) == (
        "Nuclei_AreaShape_Area",
        "Nuclei_Texture_Contrast_DNA_3_00_256",
    )
    assert "Nuclei_Location_Center_X" in choose_features(table, ("DNA",), Features(also=("*_Location_*",)))
    with pytest.raises(InputError, match="features: no column"):
        choose_features(table, ("DNA",), Features(include=("Image_*",)))


@pytest.mark.parametrize("changes", [{}, BETTER], ids=["paper", "better"])
def test_a_generator_learns(changes: dict[str, Any]) -> None:
    config = config_of(**{**changes, "steps": 40, "epoch": 40, "batch": 8, "ema": 0.0, "features": {}})
    data = cells()
    run = GanTraining.start(config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"lr": 3e-3})}), 5, 2)
    before = float(data.crops.square().mean())
    steps = list(fit(run, data, data))
    assert [step.done for step in steps] == list(range(1, 41))
    assert run.curve[-1]["held_out"] < 0.5 * before


def test_a_cell_alone_stands_on_the_background() -> None:
    crops = np.full((2, 2, 40, 40), 900, np.float32)
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 10:30, 10:30] = True
    alone = cell_alone(crops, masks, np.float32([100, 200]))
    np.testing.assert_allclose(alone[0, :, 20, 20], 900, rtol=1e-4)
    np.testing.assert_allclose(alone[0, :, 2, 2], [100, 200], rtol=1e-4)
    np.testing.assert_array_equal(alone[1], crops[1])  # no cell was found there: left as it is


def test_the_commands_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom napari_virtual_paint.cli import main\ntry: main(['cells', 'train', '--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'pandas', 'duckdb'} & sys.modules.keys(), 'imported too early'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_generator_s_step_leaves_the_critic_alone() -> None:
    from napari_virtual_paint.cells.cp2image import module

    run, data = GanTraining.start(config_of(**BETTER), 5, 2), cells()
    before = [parameter.clone() for parameter in run.critic.parameters()]
    module._update_generator(run, run.generator(data.features), data.crops, data.features)
    assert all(torch.equal(a, b) for a, b in zip(before, run.critic.parameters(), strict=True))
    drawing = [parameter.clone() for parameter in run.generator.parameters()]
    module._update_discriminator(run, run.generator(data.features).detach(), data.crops, data.features)
    assert all(torch.equal(a, b) for a, b in zip(drawing, run.generator.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(before, run.critic.parameters(), strict=True))


def test_the_critic_learns_to_tell_real_from_drawn() -> None:
    run, data = GanTraining.start(config_of(**BETTER), 5, 2), cells()
    with torch.no_grad():
        for parameter in run.generator.parameters():
            parameter.zero_()
    run.generator_optimizer.param_groups[0]["lr"] = 0
    from napari_virtual_paint.cells.cp2image import module

    for _ in range(40):
        module._update_discriminator(run, torch.zeros_like(data.crops), data.crops, data.features)
    run.critic.eval()
    with torch.no_grad():
        assert run.critic(data.crops).logit.mean() > run.critic(torch.zeros_like(data.crops)).logit.mean() + 0.5


@pytest.mark.parametrize("changes", [{}, BETTER], ids=["paper", "better"])
def test_a_run_that_was_broken_off_ends_with_the_same_curve(tmp_path: Path, changes: dict[str, Any]) -> None:
    config, data = config_of(**changes), cells()

    def begun() -> GanTraining:
        return GanTraining.start(config, 5, 2)

    whole = begun()
    list(fit(whole, data, data, tmp_path / "whole"))
    list(islice(fit(begun(), data, data, tmp_path / "broken"), 3))  # one step past the first epoch
    resumed = begun()
    steps = list(fit(resumed, data, data, tmp_path / "broken"))
    assert [step.done for step in steps] == [3, 4, 5, 6]
    assert (tmp_path / "whole" / CURVE).read_text() == (tmp_path / "broken" / CURVE).read_text()
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.final_generator.state_dict().values(), resumed.final_generator.state_dict().values(), strict=True)
    )
    assert not list(fit(begun(), data, data, tmp_path / "broken"))


def test_the_seed_decides(tmp_path: Path) -> None:
    def after(seed: int) -> torch.Tensor:
        run = GanTraining.start(config_of(**BETTER, seed=seed), 5, 2)
        one_step(run, cells())
        return next(run.generator.parameters()).detach()

    assert torch.equal(after(1), after(1))
    assert not torch.equal(after(1), after(2))


def test_a_run_of_other_settings_is_not_resumed(tmp_path: Path) -> None:
    data = cells()
    list(fit(GanTraining.start(config_of(), 5, 2), data, data, tmp_path))
    with pytest.raises(InputError, match="started with other settings"):
        list(fit(GanTraining.start(config_of(batch=7), 5, 2), data, data, tmp_path))
    (tmp_path / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"last\.ckpt: the checkpoint can't be read"):
        list(fit(GanTraining.start(config_of(), 5, 2), data, data, tmp_path))


def test_an_unknown_setting_of_a_network_is_told() -> None:
    with pytest.raises(InputError, match=r"generator\.config: .*'widht'"):
        GanTraining.start(config_of(generator={"architecture": "CellPainter", "config": {"widht": 4}}), 5, 2)


def test_a_run_ends_with_a_package(finished: tuple[Path, list[Any]]) -> None:
    path, items = finished
    steps = [item for item in items if isinstance(item, Progress)]
    assert any("cells to train on" in step.message for step in steps)
    package, found = items[-1]
    assert package == path.with_name("tiny.zip")
    model = open_cell_model(package)
    assert model.channels == ("DNA", "ER")
    assert model.card["made_with"] == "a command"
    assert model.card["scores"]["cells"] == len(found.requested)
    assert model.card["scores"]["fid"] == pytest.approx(found.fid)
    held_out = {name for name in found_wells(path) if name in model.card["held_out_on"]}
    assert len(held_out) == 1
    # No cell of the held-out well is in the package.
    assert not held_out & set(model.population.metadata["Metadata_Well"])
    drawn = generate(model, model.population.values)
    assert drawn.shape == model.population.crops.shape
    assert np.isfinite(drawn).all()


def test_a_run_in_a_nucleus_s_own_frame_and_once_more_on_all_cells(finished: tuple[Path, list[Any]], tmp_path: Path) -> None:
    path, items = finished
    shutil.copytree(path.with_name("tiny.run"), tmp_path / "tiny.run")
    for left in ("last.ckpt", CURVE):
        (tmp_path / "tiny.run" / left).unlink()
    steps = list(train(load_config(written(tmp_path, **FRAMED)), "a command"))
    package, found = steps[-1]
    model, scored = open_cell_model(package), open_cell_model(tmp_path / "tiny.run" / "unscored.zip")
    assert model.alone
    assert model.features[model.transform.frame] == "Nuclei_AreaShape_Orientation"
    assert any("ZernikePhase" in name for name in model.features)
    # The scores are those of the network that never saw the held-out well; the one that is kept saw all of them, as many times.
    assert model.card["scores"]["cells"] == len(found.requested) < len(items[-1][1].requested) + 1
    whole = len(np.load(next(path.with_name("tiny.run").glob("cells-*")) / "crops.npy"))
    assert f" {whole} cells of 4 wells" in model.card["trained_on"]
    assert f"anew on all {whole} cells" in model.card["held_out_on"]
    assert "anew" not in scored.card["held_out_on"]
    first, second = (pd.read_csv(tmp_path / "tiny.run" / place / CURVE)["step"].max() for place in (".", "refit"))
    assert (first, second) == (6, round(6 * whole / (whole - len(found.requested))))
    one, other = (each.network.state_dict()["head.weight"] for each in (model, scored))
    assert not torch.equal(one, other)
    turned = model.population.values.copy()
    assert np.isfinite(generate(model, turned)).all()


def test_our_generator_is_trained_by_default(finished: tuple[Path, list[Any]], tmp_path: Path) -> None:
    path, _ = finished
    shutil.copytree(path.with_name("tiny.run"), tmp_path / "tiny.run")
    for left in ("last.ckpt", CURVE):
        (tmp_path / "tiny.run" / left).unlink()
    given = {**OURS, "alone": True, "turns": True}
    steps = list(train(load_config(written(tmp_path, **given)), "a command"))
    package, found = steps[-1]
    model = open_cell_model(package)
    assert (model.architecture, model.takes_noise) == ("ContourPainter", True)
    assert model.features[model.transform.frame] == "Nuclei_AreaShape_Orientation"
    assert (model.config["turn"], model.config["alone"]) == (1, 1)
    # The nucleus's area and means follow from its pixels. Of the cytoplasm these small crops show too little.
    assert model.network.handle_known[[0, 2, 4]].tolist() == [1, 1, 1]
    assert any("handle 0: measured" in step.message for step in steps if isinstance(step, Progress))
    assert found.share_above >= 0
    values = model.population.values[:3]
    one, again, other = (generate(model, values, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0
    np.testing.assert_allclose(generate(model, values, seed=[5, 6, 7])[1], generate(model, values[1], seed=6)[0], rtol=1e-3, atol=1)


def test_cells_are_shown_turned_with_the_features_that_they_then_have() -> None:
    crops = torch.arange(2 * 16.0).reshape(2, 1, 4, 4)
    data = Tensors(torch.zeros(2, 3), crops, tuple(torch.full((2, 3), float(way)) for way in range(8)))
    rows = torch.tensor([1])
    for way, expected in ((0, crops[1:]), (1, torch.rot90(crops[1:], 1, (2, 3))), (6, torch.rot90(crops[1:].flip(3), 2, (2, 3)))):
        features, shown = data.shown(way, rows)
        assert (features == way).all()
        assert torch.equal(shown, expected)
    plain = Tensors(torch.ones(2, 3), crops)
    assert torch.equal(plain.shown(5, rows)[1], crops[1:])


def test_what_a_picture_is_turned_by_is_never_hidden() -> None:
    from napari_virtual_paint.cells.cp2image.module import hidden_in_part

    torch.manual_seed(0)
    found = hidden_in_part(torch.ones(50, 10), 0.9, 2)
    assert (found[:, -2:] == 1).all()
    assert 0.2 < float((found[:, :-2] == 0).float().mean()) < 0.7


def found_wells(path: Path) -> list[str]:
    return [name for name, _ in wells(load_config(path).data)]


def test_cells_measured_once_are_not_measured_again(
    finished: tuple[Path, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, items = finished
    shutil.copytree(path.with_name("tiny.run"), tmp_path / "tiny.run")
    again = written(tmp_path, **BETTER)

    def refused(*_: Any, **__: Any) -> Iterator[None]:
        raise AssertionError("the wells were simulated again")

    monkeypatch.setattr("napari_virtual_paint.cells.cp2image.data.simulate_field", refused)
    package, found = list(train(load_config(again), "a command"))[-1]
    assert package == tmp_path / "tiny.zip"
    assert found.to_dict()["per_feature"] == pytest.approx(items[-1][1].to_dict()["per_feature"], nan_ok=True)


def test_the_command_prints_the_scores(finished: tuple[Path, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = finished
    shutil.copytree(path.with_name("tiny.run"), tmp_path / "tiny.run")
    assert main(["cells", "train", str(written(tmp_path, **BETTER)), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == "tiny-cells"
    assert set(report["scores"]) >= {"cells", "features", "share_above_0.5", "median_correlation", "fid"}
    assert Path(report["output"]).is_file()
