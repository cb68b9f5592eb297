"""The configuration of a run: what it takes, and what its errors say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from napari_virtual_paint.cells.cp2image.config import load_config as load_cell_config
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.training import load_config

SMALL: dict[str, Any] = {
    "id": "tiny",
    "name": "Tiny model",
    "description": "Made by a test.",
    "trained_on": "Noise.",
    "not_for": "Anything.",
    "output": "tiny",
    "data": {"folder": "images", "input": "*_in.tif", "target": "*_out.tif"},
}


def written(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def changed(**values: Any) -> dict[str, Any]:
    return {**SMALL, **values}


def test_defaults_are_the_papers(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SMALL))
    assert (config.patch, config.batch, config.steps, config.loss) == ((256, 256), 10, 15000, "l1")
    assert (config.optimizer.name, config.optimizer.lr, config.optimizer.weight_decay) == ("adam", 2e-4, 2e-4)
    assert not any(value for value in config.augment.model_dump().values())
    assert config.normalize.input == "zscore"


def test_paths_start_from_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SMALL))
    assert config.data.folder == tmp_path / "images"
    assert config.output == tmp_path / "tiny"
    assert config.run == tmp_path / "tiny.run"


CASES = [
    (changed(batchsize=3), "batchsize: no such field"),
    ({key: value for key, value in SMALL.items() if key != "trained_on"}, "trained_on: this field is required"),
    (changed(name="Tiny"), "name: string should have at least 5 characters, not 'Tiny'"),
    (changed(optimizer={"lr": "fast"}), "optimizer.lr: should be a valid number"),
    (changed(optimizer={"lr": 0}), "optimizer.lr: should be greater than 0, not 0"),
    (changed(loss="l2"), "loss: should be 'l1' or 'mse', not 'l2'"),
    (changed(data={"folder": "a", "csv": "b.csv"}), "data: give one of folder, csv, plate and simulate"),
    (changed(data={"folder": "a", "input": "*_in.tif", "target": "out.tif"}), "data: input and target must both hold one *"),
    (changed(patch=[64]), "patch must have 2 numbers"),
    (changed(network={"architecture": "Transformer"}), "network: architecture must be one of UNet,"),
    (changed(split={"validation": {"side": "middle"}}), "split.validation.side: should be 'left', 'right', 'top' or 'bottom'"),
    (changed(split={"validation": 1.5}), "split.validation: should be less than 1"),
    (changed(normalize={"input": {"mean": [1], "std": [0]}}), "normalize.input.std.0: should be greater than 0"),
    (changed(id="Has Spaces"), "id: "),
    (changed(refit=True, split={"validation": None}), "refit needs split.validation"),
]


@pytest.mark.parametrize(("values", "words"), CASES, ids=[words for _, words in CASES])
def test_an_error_names_the_field(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    path = written(tmp_path, values)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [("a: [", "not valid YAML"), ("- 1", "field: value"), ("", "field: value")])
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_config(path)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml.*can't be read"):
        load_config(tmp_path / "none.yaml")


def test_fingerprint_follows_what_changes_the_weights(tmp_path: Path) -> None:
    def digest(**values: Any) -> str:
        return load_config(written(tmp_path, changed(**values))).fingerprint()

    assert digest(name="Another name") == digest()
    assert digest(seed=1) != digest()


def test_recipes_are_valid() -> None:
    found = sorted((Path(__file__).parents[3] / "docs" / "recipes").glob("*.yaml"))
    recipes = [path for path in found if not path.stem.startswith("study-")]
    cells = [path for path in recipes if path.stem.endswith("-cells")]
    assert len(recipes) > len(cells) > 0
    for path in recipes:
        config = load_cell_config(path) if path in cells else load_config(path)
        assert config.id == path.stem
        assert config.output.name.removesuffix(".zip") == config.id
