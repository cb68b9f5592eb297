"""Recipes, the schema, what a file's fields do to a recipe's, and errors that tell the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.training import TrainConfig, load_config
from napari_virtual_paint.training.config.recipes import find_recipe, list_recipes, merged
from napari_virtual_paint.training.config.run import schema

HEAD = "id: tiny\nname: Tiny model\ndescription: Made by a test.\ntrained_on: Noise.\nnot_for: Anything.\noutput: tiny\n"
"""Six lines."""
FINGERPRINT = "c0b50ef33e1982a22de4b34f5c7031366f1daefa8c376cf47596e285b6e52a1c"
"""Of docs/recipes/simulated-3d.yaml, before there were objectives."""
BASE: dict[str, Any] = {**yaml.safe_load(HEAD), "data": {"folder": "images"}}


def read(folder: Path, text: str) -> TrainConfig:
    (folder / "run.yaml").write_text(HEAD + text)
    return load_config(folder / "run.yaml")


def test_every_recipe_is_valid_and_told() -> None:
    assert [recipe.name for recipe in list_recipes()] == [
        "quick", "unet", "cwgan-gp", "pix2pixhd", "pix2pixhd-local", "fnet-2d", "fnet-3d", "fnet-3d-long"
    ]  # fmt: skip
    for recipe in list_recipes():
        config = TrainConfig.model_validate({**BASE, "recipe": recipe.name})
        assert config.network.dims == recipe.dims
        assert recipe.title
        assert recipe.description.endswith(".")


def test_the_recipes_have_the_papers_numbers() -> None:
    def of(name: str) -> TrainConfig:
        return TrainConfig.model_validate({**BASE, "recipe": name})

    unet, gan, hd, long = of("unet"), of("cwgan-gp"), of("pix2pixhd"), of("fnet-3d-long")
    assert (unet.patch, unet.batch, unet.steps, unet.loss, unet.optimizer.weight_decay) == ((256, 256), 10, 15000, "l1", 2e-4)
    assert (gan.batch, gan.steps, gan.epoch, gan.optimizer.betas, gan.optimizer.weight_decay) == (4, 21000, 750, (0, 0.9), 0)
    objective = gan.objective
    assert objective.kind == "cwgan-gp"
    assert (objective.l1, objective.penalty, objective.every, objective.critic.width, objective.critic.layers) == (100, 10, 5, 64, 3)
    assert (objective.critic_optimizer.lr, objective.critic_optimizer.betas, objective.critic_optimizer.weight_decay) == (
        2e-4,
        (0, 0.9),
        1e-3,
    )
    assert hd.objective.kind == "pix2pixhd"
    assert (hd.objective.features, hd.objective.vgg, hd.optimizer.betas, hd.optimizer.schedule) == (10, None, (0.5, 0.999), "linear")
    for name, patch, steps in (("fnet-2d", (64, 64), 250_000), ("fnet-3d", (32, 64, 64), 50_000), ("fnet-3d-long", (32, 64, 64), 616_880)):
        fnet = of(name)
        assert (fnet.patch, fnet.batch, fnet.steps, fnet.loss) == (patch, 24, steps, "mse")
        assert (fnet.optimizer.lr, fnet.optimizer.betas, fnet.data.resample) == (1e-3, (0.5, 0.999), (0.29,) * 3)
    assert long.network == of("fnet-3d").network


def test_the_files_own_fields_go_over_the_recipes(tmp_path: Path) -> None:
    text = "recipe: quick\ndata: {folder: a}\nsteps: 7\naugment: {gain: 0.2}\nnetwork: {config: {width: 8}}\n"
    config = read(tmp_path, text)
    assert (config.steps, config.batch) == (7, find_recipe("quick").values["batch"])  # type: ignore[union-attr]
    assert (config.augment.gain, config.augment.flips) == (0.2, True)
    assert config.network.config == {"width": 8, "max_width": 256, "depth": 5, "dropout": 0.1}
    assert config.recipe == "quick"


def test_one_form_of_a_field_replaces_another_instead_of_mixing() -> None:
    recipe = {"network": {"architecture": "UNet", "config": {"width": 4}}, "split": {"validation": {"side": "right"}, "test": None}}
    over = {"network": {"architecture": "FNet", "config": {"depth": 3}}, "split": {"validation": {"y": [0, 0.2]}}}
    assert merged(recipe, over) == {**over, "split": {"validation": {"y": [0, 0.2]}, "test": None}}
    values = {**BASE, "recipe": "pix2pixhd", "normalize": {"input": {"mean": [1], "std": [2]}}}
    assert TrainConfig.model_validate(values).normalize.input.model_dump() == {"mean": (1.0,), "std": (2.0,)}  # type: ignore[union-attr]
    again = TrainConfig.model_validate({**BASE, "recipe": "cwgan-gp"})
    assert TrainConfig.model_validate(again.model_dump()) == again
    assert list_recipes()[0].values["network"]["config"]["width"] == 16


def test_an_objective_brings_its_papers_numbers_without_a_recipe() -> None:
    config = TrainConfig.model_validate({**BASE, "objective": {"kind": "pix2pixhd"}, "patch": [64, 64]})
    assert (config.network.architecture, config.patch, config.optimizer.betas) == ("Pix2PixHD", (64, 64), (0.5, 0.999))
    assert config.normalize.target_clip == 1
    config = TrainConfig.model_validate({**BASE, "objective": {"kind": "cwgan-gp"}, "optimizer": {"lr": 1e-3}})
    assert (config.batch, config.optimizer.lr, config.optimizer.betas, config.optimizer.weight_decay) == (4, 1e-3, (0, 0.9), 0)
    assert TrainConfig.model_validate({**BASE, "objective": {"kind": "pixel", "loss": "mse"}}).loss == "mse"


ERRORS = [
    ("data: {folder: a}\nrecipe: quik\n", "recipe: there is no recipe 'quik'; there are quick, unet"),
    ("data: {folder: a}\nrecipe: quik\n", "(line 8)"),
    ("data: {folder: a}\nobjective:\n  kind: gan\n", "kind: should be one of 'pixel', 'cwgan-gp', 'pix2pixhd', not 'gan' (line 9)"),
    ("data: {folder: a}\nobjective: {l1: 3}\n", "objective.kind: this field is required (line 8)"),
    ("data: {folder: a}\nobjective:\n  kind: cwgan-gp\n  evry: 3\n", "objective.evry: no such field, perhaps every is meant (line 10)"),
    ("data: {folder: a}\nobjective:\n  kind: cwgan-gp\n  features: 3\n", "objective.features: no such field (line 10)"),
    ("data:\n  folder: a\n  tiles:\n    sise: 3\n", "data.tiles.size: this field is required (line 9); data.tiles.sise: no such field"),
    ("data: {folder: a}\n\nsteps: 3\nsteps: 4\n", "steps: given twice, in lines 9 and 10"),
    ("data: {folder: a}\nloss: l1\nobjective: {kind: pixel, loss: mse}\n", "loss says l1 and objective.loss mse; give one"),
    ("data: {folder: a}\nrecipe: fnet-3d\nobjective: {kind: cwgan-gp}\n", "objective cwgan-gp needs a 2D network"),
    ("data: {folder: a}\ndevices: 3\n", "batch must be a multiple of devices"),
    ("data: {folder: a}\nnormalize: {input: {darkest: 60}}\n", "normalize.input.darkest: should be less than 50, not 60 (line 8)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), ERRORS, ids=[words[:40] for _, words in ERRORS])
def test_an_error_names_the_field_and_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_schema_knows_every_field_and_the_recipes() -> None:
    found = schema()
    assert set(found["properties"]) == set(TrainConfig.model_fields)
    assert found["properties"]["recipe"]["enum"] == [None, *(recipe.name for recipe in list_recipes())]
    assert found["properties"]["epoch"]["description"].startswith("Steps between two validations")
    kinds = [found["$defs"][name]["properties"]["kind"]["const"] for name in ("Pixel", "WassersteinGan", "Pix2PixHDGan")]
    assert kinds == ["pixel", "cwgan-gp", "pix2pixhd"]
    assert found["additionalProperties"] is False


def test_what_came_later_leaves_the_runs_of_before_as_they_were(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "docs" / "recipes"
    digest = load_config(folder / "simulated-3d.yaml").fingerprint()
    assert digest == FINGERPRINT
    values = yaml.safe_load((folder / "simulated-3d.yaml").read_text())
    moved = tmp_path / "run.yaml"
    moved.write_text(yaml.safe_dump({**values, "devices": 2}))
    assert load_config(moved).fingerprint() == digest
    moved.write_text(yaml.safe_dump({**values, "start": "simulated-3d"}))
    assert load_config(moved).fingerprint() != digest


def test_a_configuration_without_authors_names_nobody() -> None:
    from napari_virtual_paint.training.config.yaml_errors import CardConfig

    given = {"id": "a-model", "name": "A model", "description": "Paints.", "trained_on": "Noise.", "not_for": "Cells."}
    assert CardConfig(**given).authors == ()
    assert CardConfig(**given, authors=["Ada"]).authors == ("Ada",)


def test_what_the_file_gives_wins_against_the_recipe() -> None:
    def of(recipe: str, **values: Any) -> TrainConfig:
        return TrainConfig.model_validate({**BASE, "recipe": recipe, **values})

    assert of("quick").loss == "mse"
    own = {"kind": "pixel", "loss": "l1"}
    for given in ({"loss": "l1"}, {"objective": own}, {"objective": own, "loss": "l1"}):
        assert of("quick", **given).loss == "l1"
    with pytest.raises(ValueError, match=r"loss says mse and objective\.loss l1"):
        of("quick", loss="mse", objective=own)
    assert of("pix2pixhd", patience=None).patience is None
    assert of("fnet-2d", data={"folder": "images", "resample": None}).data.resample is None
    assert of("unet", split={"validation": None}).split.validation is None
    changed = of("quick", optimizer={"lr": 0.1}, augment={"flips": False}, network={"config": {"width": 8}})
    assert (changed.optimizer.lr, changed.optimizer.name, changed.augment.flips, changed.augment.quarter_turns) == (
        0.1,
        "adamw",
        False,
        True,
    )
    assert changed.network.config == {"width": 8, "max_width": 256, "depth": 5, "dropout": 0.1}
