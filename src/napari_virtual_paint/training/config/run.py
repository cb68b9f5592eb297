"""Training configuration: a frozen, validated model loaded from YAML."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from napari_virtual_paint.choices import DeviceChoice, Precision
from napari_virtual_paint.runtime.outputs import output_path
from napari_virtual_paint.training.config.data import Data, Normalize, Split
from napari_virtual_paint.training.config.fine_tuning import FineTuning
from napari_virtual_paint.training.config.network import DEFAULTS, Augment, Network, Objective, Optimizer, Pixel
from napari_virtual_paint.training.config.recipes import find_recipe, list_recipes, merged
from napari_virtual_paint.training.config.yaml_errors import CardConfig, Count, Share, read_as


class TrainConfig(CardConfig):
    """Configuration of a run. Defaults are those of Cross-Zamirski 2022 where it gives one."""

    output: Path
    """The package to write (a folder, or a file that ends in .zip); relative to the configuration's own folder."""
    run: Path | None = None
    """Folder of checkpoints and curves; beside the package by default."""
    recipe: str | None = None
    """Name of a recipe that supplies the fields not given here; `virtual-paint train --recipes` lists them."""
    start: str | None = None
    """Start from the weights of this model: a package, relative to the configuration's folder, or a model id."""
    fine_tuning: FineTuning | None = None
    """Teach that model further; its last layer may then differ."""
    data: Data
    normalize: Normalize = Normalize()
    split: Split = Split()
    network: Network = Network()
    patch: tuple[Count, ...] = (256, 256)
    """Size of a patch: y, x, or z, y, x for a 3D network."""
    batch: Count = 10
    steps: Count = 15000
    epoch: Count = 300
    """Steps between two validations (and two checkpoints)."""
    patience: Count | None = None
    """Stop after this many validations without improvement."""
    monitor: Literal["pcc", "ssim"] = "pcc"
    """The score, averaged over stains, that selects the best epoch on the validation part."""
    monitor_stains: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Stains included in this average; all by default."""
    keep: Literal["best", "last"] = "best"
    """Keep the best epoch by `monitor`, or the last, for which a falling learning rate was planned."""
    loss: Literal["l1", "mse"] = "l1"
    """Of the objective pixel."""
    objective: Objective = Pixel()
    augment: Augment = Augment()
    optimizer: Optimizer = Optimizer()
    ema: Share = 0.0
    """Decay of the running average of the weights per step; 0 for no average."""
    refit: bool = False
    """Train again on all images and regions for as many steps as the kept epoch had; the scores stay those of the first training."""
    seed: int = 0
    precision: Precision = "float32"
    device: DeviceChoice = "auto"
    threads: Count | None = None
    """CPU threads; torch's choice by default. The same number gives the same weights."""
    devices: Count | Literal["all"] = 1
    """GPUs (on `device: cpu`: processes) that share each batch."""

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: Any) -> Any:
        """Fill in missing fields: from the recipe, then from the paper of the objective."""
        if not isinstance(values, dict):
            return values
        recipe = find_recipe(values.get("recipe"))
        own = values.get("objective")
        if recipe and isinstance(own, dict) and own.get("loss") and "loss" not in values:
            values = {**values, "loss": own["loss"]}  # what the file says of the objective goes before the recipe's loss
        values = merged(recipe.values, values) if recipe else values
        objective = values.get("objective")
        if not isinstance(objective, dict):
            return values
        if objective.get("kind") == "pixel" and objective.get("loss") and "loss" not in values:
            return {**values, "loss": objective["loss"]}
        return merged(DEFAULTS.get(str(objective.get("kind")), {}), values)

    @field_validator("recipe")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and find_recipe(name) is None:
            raise ValueError(f"there is no recipe {name!r}; there are {', '.join(recipe.name for recipe in list_recipes())}")
        return name

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if len(self.patch) != self.network.dims:
            raise ValueError(f"patch must have {self.network.dims} numbers for this network")
        if self.data.planes_as_channels and self.network.dims == 3:
            raise ValueError("data.planes_as_channels needs a 2D network")
        tiles = self.data.tiles
        turned = self.augment.rotate or self.augment.zoom
        if tiles is not None and (self.network.dims == 3 or turned or any(side % tiles.size for side in self.patch)):
            raise ValueError("data.tiles needs a 2D network, patches of whole places, and neither rotate nor zoom")
        if self.augment.quarter_turns and self.patch[-1] != self.patch[-2]:
            raise ValueError("augment.quarter_turns needs square patches")
        if self.refit and self.split.validation is None:
            raise ValueError("refit needs split.validation, which determines how long to train")
        if self.fine_tuning is not None and (self.start is None or not isinstance(self.objective, Pixel)):
            raise ValueError("fine_tuning needs start, the model that is taught further, and the objective pixel")
        if isinstance(self.devices, int) and self.batch % self.devices:
            raise ValueError(f"batch must be a multiple of devices, so that each takes as much; {self.batch} is none of {self.devices}")
        self._fits_objective()
        return self

    def _fits_objective(self) -> None:
        """Raise an error where objective, network and data don't go together."""
        if isinstance(self.objective, Pixel):
            if self.objective.loss not in (None, self.loss):
                raise ValueError(f"loss says {self.loss} and objective.loss {self.objective.loss}; give one")
            return
        if self.network.dims == 3:
            raise ValueError(f"objective {self.objective.kind} needs a 2D network; train a 3D network by the objective pixel")
        if self.data.tiles is not None and self.data.tiles.correlation:
            raise ValueError(f"data.tiles.correlation belongs to the objective pixel, not to {self.objective.kind}")

    def fingerprint(self) -> str:
        """Return a digest of all settings that affect the weights; a run resumes only under the same digest."""
        # A refit follows the run, and data may move between two sessions.
        texts: set[str] = {"name", "description", "version", "license", "authors", "trained_on", "not_for", "output", "run", "refit"}
        values = {**self.model_dump(mode="json", exclude={*texts, "recipe", "devices"}), "data": self.data.weighing()}
        for later in ("by", "train", "seed"):
            if values["split"][later] is None:
                values["split"].pop(later)
        if self.start is not None:
            values["start"] = Path(self.start).name
        # A field added later and left at its default keeps the fingerprint of earlier runs.
        for name, default in (("start", None), ("fine_tuning", None), ("monitor", "pcc"), ("monitor_stains", None)):
            if values[name] == default:
                values.pop(name)
        if isinstance(self.objective, Pixel):
            values.pop("objective")
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load_config(path: str | Path) -> TrainConfig:
    """Read and check a configuration.

    Parameters
    ----------
    path
        A YAML file. Relative paths in it start from its own folder.

    Raises
    ------
    InputError
        If the file can't be read, or a field is unknown, missing or wrong; the message names each field and what is expected.
    """
    path = Path(path)
    config = read_as(TrainConfig, path, "docs/training.md")
    return _from_folder(config, path.resolve().parent)


def _from_folder(config: TrainConfig, folder: Path) -> TrainConfig:
    """Make all paths of a configuration relative to its folder."""
    output = output_path(folder / config.output.expanduser())
    run = (
        output_path(folder / config.run.expanduser())
        if config.run is not None
        else output.with_name(output.name.removesuffix(".zip") + ".run")
    )
    changed: dict[str, Any] = {"data": config.data.starting_from(folder), "output": output, "run": run}
    if config.start is not None and (folder / config.start).exists():
        changed["start"] = str(folder / config.start)
    vgg = getattr(config.objective, "vgg", None)
    if vgg is not None:
        changed["objective"] = config.objective.model_copy(update={"vgg": folder / vgg})
    return config.model_copy(update=changed)


def schema() -> dict[str, Any]:
    """Return the JSON schema of the YAML, for completion and validation in editors.

    Returns
    -------
    dict
        JSON schema (draft 2020-12); descriptions are the fields' docstrings, and `recipe` lists the recipes.
    """
    found = TrainConfig.model_json_schema()
    found["properties"]["recipe"]["enum"] = [None, *(recipe.name for recipe in list_recipes())]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "A configuration of virtual-paint train"}
