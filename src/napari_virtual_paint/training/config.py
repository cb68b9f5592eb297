"""What a run of training is told: one frozen, validated value, read from a YAML file."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.networks import ARCHITECTURES

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Model = TypeVar("Model", bound=BaseModel)


class Part(BaseModel):
    """Base of every part of the configuration: frozen, and a field that isn't known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Tiles(Part):
    """A montage: a grid of square places, one cell in each."""

    size: Count
    """Side of a place, px."""
    skip_empty: bool = True
    """Leave places without a cell (each row the same as the next, or each column) out of training and of the scores."""
    correlation: NotNegative = 0.0
    """Weight in the loss of 1 - PCC of each cell, beside the loss of each pixel: the form of a faint cell counts like a bright one's."""


class Simulated(Part):
    """Fields of the simulator, made when the run begins; the same settings give the same pixels."""

    fields: Count
    size: Count = 512
    """Edge of a field, px."""
    z: Count = 1
    """Planes of a stack; 1 gives the three brightfield planes as channels."""
    treatments: Annotated[tuple[str, ...], Field(min_length=1)] = ("control",)
    """Taken in turn, field by field."""
    doses: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (1.0,)
    """The next one at each round of the treatments."""
    batches: bool = False
    """Whether every other field has the uneven light, gain and offset of a plate of its own."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the first field; each further one is 1 up."""


class Data(Part):
    """Where the pairs are and what to take from them."""

    folder: Path | None = None
    """Folder of the images; relative to the configuration's own folder."""
    input: str = "input/*.tif"
    """Pattern of the inputs in `folder`; what ``*`` (or ``**``, with folders in between) stands for names the pair."""
    target: str = "target/*.tif"
    """Pattern of the targets."""
    csv: Path | None = None
    """A table instead: columns ``input``, ``target`` and, if wanted, ``split`` (train, validation, test); paths relative to it."""
    simulate: Simulated | None = None
    """Simulated fields instead of files."""
    input_channels: tuple[str, ...] | None = None
    """Channels of the input to use, by name or position; all by default."""
    target_channels: tuple[str, ...] | None = None
    """Channels of the target to use; all by default."""
    stains: tuple[str, ...] | None = None
    """Names of the stains in the model; the target's own by default."""
    planes_as_channels: bool = False
    """Whether the z-planes of the input are the channels of a 2D network."""
    z_offsets: tuple[float, ...] | None = None
    """Height of each plane over focus, um, where it is known."""
    pixel_size: tuple[float | None, float | None, float | None] | None = None
    """um along z, y and x, for files that don't tell."""
    tiles: Tiles | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if [self.folder, self.csv, self.simulate].count(None) != 2:
            raise ValueError("give one of folder, csv and simulate")
        stars = {len(re.findall(r"\*+", pattern)) for pattern in (self.input, self.target)}
        if self.folder is not None and stars not in ({0}, {1}):
            raise ValueError("input and target must both hold one * (or one **, for folders in folders) or none")
        return self


class Fixed(Part):
    """Intensities brought to scale by known numbers, for cameras that keep theirs from image to image."""

    mean: tuple[float, ...]
    std: tuple[Positive, ...]

    @model_validator(mode="after")
    def _pairs(self) -> Fixed:
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std must be of one length")
        return self


class Robust(Part):
    """Each field brought to scale by its own percentiles, which one bright clump doesn't move: normal noise between them gets SD 1."""

    low: Annotated[float, Field(ge=0, lt=50)] = 5.0
    high: Annotated[float, Field(gt=50, le=100)] = 95.0


def _kind_of_scale(value: Any) -> str:
    """Tell which form of scale is meant, so that an error speaks of that form alone."""
    if isinstance(value, BaseModel):
        return type(value).__name__
    return "Word" if not isinstance(value, dict) else "Fixed" if value.keys() & {"mean", "std"} else "Robust"


Scale: TypeAlias = Annotated[
    Annotated[Literal["zscore"], Tag("Word")] | Annotated[Fixed, Tag("Fixed")] | Annotated[Robust, Tag("Robust")],
    Discriminator(_kind_of_scale),
]


class Normalize(Part):
    """How intensities are brought to scale: each field to mean 0 and SD 1 (the paper's), or by its percentiles, or by fixed numbers."""

    input: Scale = "zscore"
    input_clip: Positive | None = None
    """What of the scaled input lies further from 0 is cut off."""
    target: Scale = "zscore"
    target_clip: Positive | None = None
    """The same for the target; scores are taken on the target as it is."""


class Band(Part):
    """A band along one side of every image."""

    side: Literal["left", "right", "top", "bottom"]
    fraction: Fraction = 0.2


class Rectangle(Part):
    """A rectangle of every image, in fractions of its height and width."""

    y: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)
    x: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)

    @model_validator(mode="after")
    def _not_empty(self) -> Rectangle:
        if self.y[0] >= self.y[1] or self.x[0] >= self.x[1]:
            raise ValueError("the first number must be below the second")
        return self


def _kind_of_split(value: Any) -> str:
    """Tell which form of what is held out is meant."""
    if isinstance(value, BaseModel):
        return type(value).__name__
    if isinstance(value, dict):
        return "Band" if value.keys() & {"side", "fraction"} else "Rectangle"
    return "Images" if isinstance(value, (list, tuple)) else "Fraction"


HeldOut: TypeAlias = (
    Annotated[
        Annotated[Fraction, Tag("Fraction")]
        | Annotated[tuple[str, ...], Tag("Images")]
        | Annotated[Band, Tag("Band")]
        | Annotated[Rectangle, Tag("Rectangle")],
        Discriminator(_kind_of_split),
    ]
    | None
)


class Split(Part):
    """What is held out: a fraction of the images, images by pattern of their names, or a region of every image."""

    validation: HeldOut = 0.1
    """Chooses the best epoch."""
    test: HeldOut = None
    """Scored once, at the end."""


class Network(Part):
    """A network of the package's list and its settings."""

    architecture: str = "UNet"
    config: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Fields of the network's own configuration; in_channels and out_channels come from the data."""

    @model_validator(mode="after")
    def _known(self) -> Network:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}")
        return self

    @property
    def dims(self) -> int:
        """Spatial axes of the network."""
        return int(self.config.get("dims", 3)) if self.architecture == "FNet" else 2


class Augment(Part):
    """Changes made to patches at random; none by default, as in the paper."""

    flips: bool = False
    """Mirror along y and along x."""
    quarter_turns: bool = False
    """Turn by 0, 90, 180 or 270 degrees in the plane."""
    rotate: bool = False
    """Turn by any angle in the plane."""
    zoom: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest logarithm of a change of scale (0.25: between 0.78 and 1.28), with a third of it as stretch along one axis."""
    gain: NotNegative = 0.0
    """SD of the logarithm of a factor on the whole input."""
    offset: NotNegative = 0.0
    """SD of what is added to the whole input, in SD of the field."""
    noise: NotNegative = 0.0
    """Largest SD of white noise added to the input, in SD of the field."""


class Optimizer(Part):
    """The optimizer; the defaults are the paper's."""

    name: Literal["adam", "adamw"] = "adam"
    lr: Positive = 2e-4
    weight_decay: NotNegative = 2e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    """Course of the learning rate over all steps; one_cycle rises over the first tenth, both fall to a hundredth."""
    clip: NotNegative = 0.0
    """Largest norm of the gradient; 0 leaves it."""


class TrainConfig(Part):
    """A whole run of training. The defaults are those of Cross-Zamirski 2022 where it gives one."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    """Name of the package, such as neurons-phase."""
    name: str
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
        values = self.model_dump(mode="json", exclude=words)
        for place in ("folder", "csv"):
            values["data"].pop(place)
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


def read_as(kind: type[Model], path: Path, guide: str) -> Model:
    """Read a YAML file as a part of a configuration.

    Parameters
    ----------
    kind
        What the file's fields make.
    path
        A YAML file.
    guide
        The page that an error names.

    Raises
    ------
    InputError
        If the file can't be read, or a field is unknown, missing or wrong; the sentence names each field and what is expected.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the configuration can't be read ({getattr(error, 'strerror', None) or error}).") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a configuration is a list of 'field: value' lines; see {guide}.")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error)}.") from None


def _sentence(error: ValidationError) -> str:
    """Name every wrong field once, with what is expected."""
    told: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_context=False):
        # Capitals begin the names of a field's forms, which are no part of the file.
        names = [str(part) for part in item["loc"] if isinstance(part, int) or part[:1].islower()]
        field = ".".join(names) or "the configuration"
        told.setdefault(field, [])
        words = _words(item["type"], item["msg"], item.get("input"))
        if words not in told[field]:
            told[field].append(words)
    return "; ".join(f"{field}: {' or '.join(words)}" for field, words in told.items())


def _words(kind: str, message: str, given: Any) -> str:
    """Say one fault in plain words."""
    if kind == "extra_forbidden":
        return "no such field"
    if kind == "missing":
        return "this field is required"
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].lower() + message[1:]
    return message if kind == "value_error" or isinstance(given, dict) else f"{message}, not {given!r}"


def _from_folder(config: TrainConfig, folder: Path) -> TrainConfig:
    """Make the paths of a configuration start from its folder."""
    data = config.data.model_copy(
        update={name: folder / path for name in ("folder", "csv") if (path := getattr(config.data, name)) is not None}
    )
    output = folder / config.output
    run = folder / config.run if config.run is not None else output.with_name(output.name.removesuffix(".zip") + ".run")
    return config.model_copy(update={"data": data, "output": output, "run": run})
