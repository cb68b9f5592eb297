"""What a run of training is told: one frozen, validated value, read from a YAML file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from napari_virtual_paint.training.config_data import Data, Normalize, Split
from napari_virtual_paint.training.config_files import Count, Id, Part, Title, read_as
from napari_virtual_paint.training.config_network import Augment, Network, Optimizer


class TrainConfig(Part):
    """A whole run of training. The defaults are those of Cross-Zamirski 2022 where it gives one."""

    id: Id
    """Name of the package, such as neurons-phase."""
    name: Title
    description: str
    version: str = "0.1.0"
    license: str = "BSD-3-Clause"
    authors: tuple[str, ...] = ("The napari-virtual-paint developers",)
    trained_on: str
    """One sentence for the card: what, how much, whose, under which licence."""
    not_for: str
    """One sentence for the card: what the model must not be used for."""
    output: Path
    """The package to write (a folder, or a file that ends in .zip); relative to the configuration's own folder."""
    run: Path | None = None
    """Folder of checkpoints and curves; beside the package by default."""
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
    """Stop after so many validations without a better one."""
    keep: Literal["best", "last"] = "best"
    """The epoch of the best mean PCC on what is held out for validation, or the last, for which a falling rate was laid out."""
    loss: Literal["l1", "mse"] = "l1"
    augment: Augment = Augment()
    optimizer: Optimizer = Optimizer()
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share that the running average of the weights keeps at each step; 0 for no average."""
    refit: bool = False
    """Train once more on all images and regions for as many steps as the kept epoch had; the scores stay those of the first training."""
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Count | None = None
    """Threads on the CPU; torch's own choice by default. The same number gives the same weights."""

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
            raise ValueError("refit needs split.validation, which tells how long to train")
        return self

    def fingerprint(self) -> str:
        """Return a digest of all that changes the weights; a run is only resumed under the same one."""
        # A refit comes behind the run, and data may move between two sittings.
        words: set[str] = {"name", "description", "version", "license", "authors", "trained_on", "not_for", "output", "run", "refit"}
        values = {**self.model_dump(mode="json", exclude=words), "data": self.data.weighing()}
        if self.split.by is None:
            values["split"].pop("by")
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
        If the file can't be read, or a field is unknown, missing or wrong; the sentence names each field and what is expected.
    """
    path = Path(path)
    config = read_as(TrainConfig, path, "docs/training.md")
    return _from_folder(config, path.resolve().parent)


def _from_folder(config: TrainConfig, folder: Path) -> TrainConfig:
    """Make the paths of a configuration start from its folder."""
    data = config.data.starting_from(folder)
    output = folder / config.output
    run = folder / config.run if config.run is not None else output.with_name(output.name.removesuffix(".zip") + ".run")
    return config.model_copy(update={"data": data, "output": output, "run": run})
