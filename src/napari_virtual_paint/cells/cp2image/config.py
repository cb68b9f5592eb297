"""Configuration of training a cell model: a frozen, validated model loaded from YAML."""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from napari_virtual_paint.choices import Precision
from napari_virtual_paint.runtime.outputs import output_path
from napari_virtual_paint.samples import TREATMENTS
from napari_virtual_paint.training.config.data import Axes
from napari_virtual_paint.training.config.yaml_errors import (
    Betas,
    CardConfig,
    ConfigSection,
    Count,
    Fraction,
    NotNegative,
    Positive,
    Share,
    read_as,
)

GENERATORS = {
    "CP2ImageGenerator": "napari_virtual_paint.networks.cp2image",
    "CellPainter": "napari_virtual_paint.networks.cellpainter",
    "ContourPainter": "napari_virtual_paint.networks.contour_painter",
}
"""Name of a generator -> its module. Nothing outside this list is ever built from a package."""

NOISY = frozenset({"ContourPainter"})
"""Generators that take noise beside the features: ``network(features, noise=noise)`` with noise (N, ``network.noise``)."""

CRITICS = {
    "CP2ImageDiscriminator": "napari_virtual_paint.networks.cp2image",
    "ReadingCritic": "napari_virtual_paint.networks.cellpainter",
    "ContourCritic": "napari_virtual_paint.networks.contour_painter",
}
"""The same for discriminators."""

OURS = "ContourPainter"
"""The generator of a configuration that names none."""

PRESET: dict[str, Any] = {
    "features": {"drop": 0.3, "clip": 50.0},
    "scale": "fixed",
    "critic": {"architecture": "ContourCritic"},
    "loss": {
        "pixel_weight": 10.0,
        "hidden": 1.0,
        "ramp": 0,
        "reading": 0.3,
        "adversarial": 0.2,
        "blur": 1.0,
        "spectrum": 0.1,
        "penalty": 0.01,
        "moved": 0.5,
    },
    "optimizer": {"lr": 2e-3, "critic_lr": 2e-3, "betas": (0.5, 0.99), "weight_decay": 0.01, "schedule": "one_cycle", "clip": 1.0},
    "batch": 32,
    "steps": 4000,
    "epoch": 200,
    "ema": 0.995,
}
"""Defaults of a configuration whose generator is `OURS`; with another one they are the paper's."""

NOT_WEIGHTS = frozenset(
    {"name", "description", "version", "license", "authors", "trained_on", "not_for", "output", "run", "population", "refit"}
)
"""Fields that do not affect the scored weights."""


def _several(value: object) -> object:
    """Return one name as a list of it."""
    return [value] if isinstance(value, str) else value


class SimulatedWells(ConfigSection):
    """Wells of the simulator: one per treatment, dose and seed."""

    treatments: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(TREATMENTS)
    doses: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.5, 1.0)
    """Doses of each treatment except control, whose dose is 0."""
    seeds: Count = 4
    """Wells per treatment and dose; control has as many for each dose."""
    size: Annotated[int, Field(ge=128)] = 512
    """Side of a well's field, px."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the first well; each further well adds 1."""

    @model_validator(mode="after")
    def _known(self) -> SimulatedWells:
        unknown = [name for name in self.treatments if name not in TREATMENTS]
        if unknown:
            raise ValueError(f"there is no treatment {unknown[0]!r}; there are {', '.join(TREATMENTS)}")
        return self


class CellData(ConfigSection):
    """Source of the cells: simulated wells, images to measure, or images with their table."""

    simulate: SimulatedWells | None = None
    images: Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)] | None = None
    """Files or patterns, relative to the configuration's folder; one may stand without brackets. Each file is one montage or well of the
    split. For the table of a CellProfiler run the folder below which its pictures lie."""
    axes: Axes | None = None
    """What the axes of the images' arrays are, in their order, where their files state none: letters of TCZYX, such as ``YXC``."""
    table: Path | None = None
    """Table of the cells of `images` (column Metadata_FileName), or tables of a CellProfiler run (a folder, a database, a file), whose
    Image table names a file for each channel; without a table, the images are segmented and measured."""
    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    """Channels to generate, by name: of a CellProfiler run as in ``FileName_DNA``."""
    nuclei: str = "DNA"
    """The nuclear channel."""
    size: Annotated[int, Field(ge=16, le=256)] = 68
    """Side of a crop, px."""
    group: str = "Metadata_Well"
    """Column that the split keeps together, if the table has it and several values of it; otherwise the file, or where there is one file
    the cell."""

    @model_validator(mode="after")
    def _one_source(self) -> CellData:
        if (self.simulate is None) == (self.images is None):
            raise ValueError("give one of simulate and images")
        if self.table is not None and self.images is None:
            raise ValueError("table needs images, the files that it was measured on")
        if self.axes is not None and self.images is None:
            raise ValueError("axes are for images; simulated wells state theirs")
        return self


class Features(ConfigSection):
    """Columns of the table that condition the model."""

    include: tuple[str, ...] = ("*",)
    """Name patterns; features that are not morphological (see `is_morphological_feature`) are taken only if named in `also`."""
    exclude: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    """Patterns of further features to condition on although they are not morphological."""
    polar: bool = False
    """Whether angles are given as cosine and sine: an orientation doubled, a Zernike phase times its magnitude (both must be taken)."""
    frame: str | None = None
    """Orientation that defines the cell's own frame: the cell is generated in it and the image rotated at the end; needs polar and a
    generator with turn: 1."""
    missing: Fraction = 0.2
    """Columns with a larger share of missing values are left out."""
    clip: Positive = 5.0
    """Standardized features are clipped at this distance from 0."""
    drop: Share = 0.0
    """Largest share of a cell's features hidden from the generator in training; drawn anew for each cell."""

    def takes(self, name: str, counts: bool) -> bool:
        """Return whether a column is taken."""
        if any(fnmatchcase(name, pattern) for pattern in self.exclude):
            return False
        return any(fnmatchcase(name, pattern) for pattern in (self.include if counts else self.also))


class Architecture(ConfigSection):
    """A network and its settings; features, channels and size come from the data."""

    architecture: str
    config: dict[str, int] = Field(default_factory=dict)


class Loss(ConfigSection):
    """Weights of the generator's loss; defaults as in the paper, or those of `PRESET`."""

    pixel: Literal["mse", "l1"] = "mse"
    pixel_weight: NotNegative = 1.0
    hidden: NotNegative = 1.0
    """Weight of the mean squared difference between real and generated crops at each layer of the discriminator."""
    ramp: Annotated[int, Field(ge=0)] = 2500
    """Steps over which the weight of layer k rises from 0, starting at ramp x (k + 1); 0 for full weight from the start."""
    reading: NotNegative = 0.0
    """Weight of the difference between requested features and those that the discriminator predicts from the generated crop."""
    adversarial: NotNegative = 0.0
    """Weight of the discriminator's output on the generated crop; 0 in the paper."""
    blur: NotNegative = 0.0
    """Standard deviation, px, of the blur of both crops before their pixels are compared: details are left to the other losses."""
    spectrum: NotNegative = 0.0
    """Weight of the squared difference of the logarithms of the radial power spectra."""
    penalty: NotNegative = 0.0
    """Weight of the squared gradient of the critic at real crops (R1, Mescheder et al. 2018), which keeps it from judging by memory."""
    moved: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Share of a batch with moved features, which no real cell has (ContourPainter)."""


class Adam(ConfigSection):
    """Optimizer of generator and discriminator."""

    lr: Positive = 2e-4
    critic_lr: Positive = 2e-4
    betas: Betas = (0.5, 0.999)
    weight_decay: NotNegative = 0.0
    schedule: Literal["constant", "one_cycle"] = "constant"
    """one_cycle rises over the first tenth and falls to a hundredth."""
    clip: NotNegative = 0.0
    """Largest norm of the generator's gradient; 0 for no clipping."""


class CellTrainConfig(CardConfig):
    """Configuration of a run. Defaults are those of Ji 2024 where it gives one, and `PRESET` where no generator is named or ours is."""

    output: Path
    """The package to write, a .zip; relative to the configuration's folder."""
    run: Path | None = None
    """Folder of checkpoint, curve and measured cells; beside the package by default."""
    data: CellData
    features: Features = Features()
    alone: bool | None = None
    """Whether each cell is trained alone, with the pixels outside it set to the background: no feature describes the neighbors. By default
    the cells of a CellProfiler run, whose outlines are found from the whole image."""
    turns: bool = False
    """Whether cells are also rotated by quarter turns and mirrored, with the features they would then have."""
    scale: Literal["crop", "fixed"] = "crop"
    """Divide each channel of a crop by its maximum, as in the paper, or by one number for all cells, which keeps dim cells dim."""
    held_out: Fraction | tuple[str, ...] = 0.1
    """Share of the wells or montages, or patterns of their names, to score on and never train on."""
    refit: bool = False
    """Whether a network is retrained on all cells after scoring, for as many passes, and saved instead."""
    generator: Architecture = Architecture(architecture="CP2ImageGenerator")
    critic: Architecture = Architecture(architecture="CP2ImageDiscriminator")
    loss: Loss = Loss()
    optimizer: Adam = Adam()
    batch: Annotated[int, Field(ge=2)] = 104
    steps: Count = 15000
    epoch: Count = 500
    """Steps between two records of the curve (and two checkpoints)."""
    ema: Share = 0.0
    """Decay of the running average of the generator per step; the average is scored and saved. 0 for no average."""
    population: Count = 300
    """Number of training cells stored in the package, for the panel."""
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Precision = "float32"
    threads: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        """Fill in the defaults of our generator."""
        if not isinstance(given, dict):
            return given
        generator = given.get("generator", {"architecture": OURS})
        name = generator.get("architecture") if isinstance(generator, dict) else getattr(generator, "architecture", None)
        if name != OURS:
            return given
        filled = {**given, "generator": generator}
        for key, value in PRESET.items():
            own = given.get(key, {} if isinstance(value, dict) else value)
            filled[key] = {**value, **own} if isinstance(value, dict) and isinstance(own, dict) else own
        return filled

    @model_validator(mode="after")
    def _known(self) -> CellTrainConfig:
        for field, part, known in (("generator", self.generator, GENERATORS), ("critic", self.critic, CRITICS)):
            if part.architecture not in known:
                raise ValueError(f"{field}.architecture must be one of {', '.join(known)}")
        ours = self.generator.architecture == OURS
        if ours != (self.critic.architecture == "ContourCritic"):
            raise ValueError("the generator ContourPainter and the critic ContourCritic go together")
        if self.loss.reading and self.critic.architecture not in ("ReadingCritic", "ContourCritic"):
            raise ValueError("loss.reading needs the critic ReadingCritic")
        if ours and {"turn", "alone"} & set(self.generator.config):
            raise ValueError(
                "generator.config: the generator ContourPainter takes turn and alone from the data and the field alone; leave them out"
            )
        if ours and self.scale != "fixed":
            raise ValueError("the generator ContourPainter needs scale: fixed, by which intensities are met")
        if not ours and (self.features.frame is not None) != bool(self.generator.config.get("turn", 0)):
            raise ValueError("features.frame and generator.config.turn: 1 go together")
        if self.features.frame is not None and not (self.features.polar and self.features.frame.endswith("AreaShape_Orientation")):
            raise ValueError("features.frame needs features.polar, and the name of an orientation")
        if self.output.suffix != ".zip":
            raise ValueError("output must end in .zip")
        return self

    def fingerprint(self) -> str:
        """Return a digest of all settings that affect the weights; a run resumes only under the same digest."""
        values = self.model_dump(mode="json", exclude=set(NOT_WEIGHTS), exclude_defaults=True)
        if values.get("alone") is False:  # the default of earlier versions, whose runs keep their fingerprint
            values.pop("alone")
        return _digest(values)

    def data_fingerprint(self) -> str:
        """Return a digest of all settings that affect the measured cells."""
        values = self.data.model_dump(mode="json")
        if values["axes"] is None:  # a field added later and left at its default keeps the fingerprint of earlier runs
            values.pop("axes")
        return _digest(values)


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def load_config(path: str | Path) -> CellTrainConfig:
    """Read and check a configuration; relative paths start from its folder.

    Raises `InputError` if the file can't be read, or a field is unknown, missing or wrong; the message names each field and what is
    expected.
    """
    path = Path(path)
    config = read_as(CellTrainConfig, path, "docs/cells-models.md")
    folder = path.resolve().parent
    images = config.data.images and tuple(str(folder / pattern) for pattern in config.data.images)
    table = folder / config.data.table if config.data.table is not None else None
    output = output_path(folder / config.output.expanduser())
    run = output_path(folder / config.run.expanduser()) if config.run is not None else output.with_suffix(".run")
    data = config.data.model_copy(update={"images": images, "table": table})
    return config.model_copy(update={"data": data, "output": output, "run": run})
