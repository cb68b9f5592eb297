"""Configuration of a study of generalization: domains, a shared training, seeds and sizes, read from YAML."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from napari_virtual_paint.choices import Segmenter
from napari_virtual_paint.training.config.data import Data, Simulated, Split
from napari_virtual_paint.training.config.recipes import find_recipe, merged
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.config.yaml_errors import ConfigSection, Count, Title, read_as

GUIDE = "docs/study.md"
ALL = "*"  # key for all domains, where a value may be given per domain
OWN = "own"  # compare each test domain with the model trained on that domain itself (Tonks 2024)
EVERY: Literal["all"] = "all"  # size of a training on all images that are not held out
OURS = ("id", "name", "description", "trained_on", "not_for", "output", "run", "seed", "start", "refit")
"""Training fields that the study sets itself, or that would expose test images to a model."""
StudyLevel = Literal["pixels", "instances", "features"]
STUDY_LEVELS: tuple[StudyLevel, ...] = get_args(StudyLevel)
DomainName = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^\S(.*\S)?$")]


class StudyDomain(Data):
    """Images of one kind (cell type, phenotype, plate, batch ...): any source accepted by training's ``data``."""

    split: Split | None = None
    """What is held out of this domain; by default as in `training`."""


class Training(TrainConfig):
    """The training shared by all models: any training field except those that the study sets itself."""

    id: str = "study"
    name: Title = "A model of a study"
    description: str = "Trained on one domain of a study of generalization."
    trained_on: str = "One domain of a study of generalization."
    not_for: str = "Anything but the study that it was trained for."
    output: Path = Path("study")
    data: Data = Data(simulate=Simulated(fields=1))
    """Fields of `data` that all domains share, such as ``target_channels``; each domain gives its own source."""


def _everywhere(value: Any) -> Any:
    """Convert a number to that of all domains."""
    return {ALL: value} if isinstance(value, int) else value


class Judging(ConfigSection):
    """Settings of the evaluation levels (see ``virtual-paint evaluate``)."""

    segmenter: Segmenter = "auto"
    nuclei: str | None = None
    """Stain in which nuclei are segmented; by the usual names by default."""
    cells: str | None = None
    """Stain in which cells are segmented."""
    gamma: Annotated[float, Field(gt=0, le=10)] = 0.3
    """Gamma applied to images before cells are segmented (Tonks 2024)."""
    fields: Annotated[dict[DomainName, Count], BeforeValidator(_everywhere, json_schema_input_type=Count | dict[str, Count])] = Field(
        default_factory=dict
    )
    """Number of test images for `features`, the slowest level, in order of name: a number, or domain -> number; all by default."""

    def fields_for_features(self, domain: str, count: int) -> int:
        """Return how many of a domain's test images the level `features` uses."""
        return min(self.fields.get(domain, self.fields.get(ALL, count)), count)


def _list(value: Any) -> Any:
    """Convert one value to a list of one."""
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


def _kind_of_size(value: Any) -> str:
    """Return which form of size a value has, so that an error names that form alone."""
    return "Word" if isinstance(value, str) else "Number"


Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), BeforeValidator(_list)]
Size = Annotated[Annotated[Count, Tag("Number")] | Annotated[Literal["all"], Tag("Word")], Discriminator(_kind_of_size)]
Sizes = Annotated[tuple[Size, ...], Field(min_length=1), BeforeValidator(_list)]
Levels = Annotated[tuple[StudyLevel, ...], Field(min_length=1), BeforeValidator(_list)]


class StudyConfig(ConfigSection):
    """A study of generalization: every model trained on one domain is tested on all of them."""

    name: str
    """Title of the report."""
    description: str = ""
    """A sentence or two for the report."""
    output: Path
    """The study folder; relative to the configuration's folder."""
    domains: dict[DomainName, StudyDomain]
    """Name -> images."""
    training: Training
    """The shared training; ``split.test`` must hold something out."""
    seeds: Seeds = (0, 1, 2)
    """One model is trained per seed; seeds change weights and patches, never what is held out."""
    sizes: Sizes = (EVERY,)
    """Numbers of training images; the largest gives the matrices on all levels, all of them the curve on the first level."""
    levels: Levels = ("pixels",)
    """Levels of evaluation."""
    baseline: str = OWN
    """Reference on each test domain: ``own``, the model trained on that domain, or the model of a named domain."""
    judging: Judging = Judging()

    @model_validator(mode="before")
    @classmethod
    def _shared(cls, values: Any) -> Any:
        """Combine each domain with the shared ``training.data`` and ``training.split``."""
        if not isinstance(values, dict) or not isinstance(values.get("training"), dict) or not isinstance(values.get("domains"), dict):
            return values
        training = dict(values["training"])
        repeated = [name for name in OURS if name in training]
        if repeated:
            raise ValueError(f"training.{repeated[0]}: a study gives this itself; leave it out (seeds stand in `seeds`)")
        recipe = find_recipe(training.get("recipe"))
        known = recipe.values if recipe else {}
        shared = merged({"data": known.get("data", {})}, {"data": training.pop("data", None) or {}})["data"]
        split = merged({"split": known.get("split", {})}, {"split": training.get("split") or {}})["split"]
        # The domains have it now; what the recipe itself says of data needs a source beside it.
        training["data"] = {"simulate": {"fields": 1}}
        domains = {}
        for name, domain in values["domains"].items():
            own = merged({"data": shared}, {"data": domain})["data"] if isinstance(domain, dict) else domain
            if isinstance(own, dict) and isinstance(own.get("split"), dict):
                own["split"] = merged({"split": split}, {"split": own["split"]})["split"]
            domains[name] = own
        return {**values, "training": training, "domains": domains}

    @field_validator("seeds", "sizes", "levels")
    @classmethod
    def _once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("list each once")
        return values

    @field_validator("domains")
    @classmethod
    def _distinct_domains(cls, domains: dict[str, StudyDomain]) -> dict[str, StudyDomain]:
        if len(domains) < 2:
            raise ValueError("a study compares two or more")
        if len({slug(name) for name in domains}) < len(domains):
            raise ValueError("two names differ in signs alone; files are called after them, so choose others")
        if "truth" in domains:
            raise ValueError("no domain can be called truth; choose another name")
        return domains

    @model_validator(mode="after")
    def _fits(self) -> StudyConfig:
        if self.baseline != OWN and self.baseline not in self.domains:
            raise ValueError(f"baseline: {self.baseline!r} is neither {OWN!r} nor a domain; there are {', '.join(self.domains)}")
        unknown = [name for name in self.judging.fields if name not in (*self.domains, ALL)]
        if unknown:
            raise ValueError(f"judging.fields: {unknown[0]!r} is no domain; there are {', '.join(self.domains)}")
        for name in self.domains:
            self._check(name)
        return self

    def _check(self, name: str) -> None:
        """Raise an error for a domain whose training would be invalid."""
        try:
            config = self.train_config(name, self.seeds[0], self.sizes[0])
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            raise ValueError(f"domains.{name}: {fault['msg'].removeprefix('Value error, ')}") from None
        if config.split.test is None and config.data.csv is None:
            raise ValueError(
                f"domains.{name}: nothing is held out to test on; set training.split.test (or the domain's split.test), which validation"
                " can't stand in for, since it chooses the epoch"
            )

    def train_config(self, domain: str, seed: int, size: int | str) -> TrainConfig:
        """Return the training configuration of one model: shared recipe, one domain's images, seed, number of images.

        The split's seed is the study's, so that the models of all seeds see and are tested on the same images.
        """
        own = self.domains[domain]
        split = own.split or self.training.split
        split = split.model_copy(update={"seed": split.seed or 0, "train": size if isinstance(size, int) else split.train})
        key = training_key(domain, size, seed)
        values = self.training.model_dump(exclude={"recipe"}) | {
            "id": key,
            "name": f"Study {key}"[:128],
            "data": Data(**{name: getattr(own, name) for name in own.model_fields_set if name != "split"}),
            "split": split,
            "seed": seed,
            "output": self.output / "models" / f"{key}.zip",
            "run": self.output / "runs" / key,
        }
        return TrainConfig.model_validate(values)

    def with_axes(self, inputs: str | None, targets: str | None) -> StudyConfig:
        """Return the study with the axes of its inputs' and targets' arrays, in every domain; None keeps what the file says.

        Raises `InputError` if they are no axes, or a domain has no files.
        """
        domains = {
            name: own.changed(input_axes=inputs or own.input_axes, target_axes=targets or own.target_axes)
            for name, own in self.domains.items()
        }
        return self.model_copy(update={"domains": domains})

    def fixed_settings(self) -> dict[str, Any]:
        """Return what must stay unchanged for the units of a study to belong together, section by section, as plain values.

        Seeds, sizes and levels may be added: existing results stay valid.
        """
        first = {name: self.train_config(name, 0, EVERY) for name in self.domains}
        return {
            "baseline": self.baseline,
            "judging": self.judging.model_dump(mode="json"),
            **{f"domains.{name}": config.fingerprint() for name, config in first.items()},
            **{f"domains.{name}.data": _digest(_source(config.data)) for name, config in first.items()},
        }


def _source(data: Data) -> dict[str, Any]:
    """Return the image source with paths reduced to their last part: a study may be moved together with its images."""
    plate = data.plate
    paths = [data.folder, data.csv, *((*plate.path, *plate.plate_map) if plate else ())]
    return {**data.weighing(), "sources": [Path(path).name for path in paths if path is not None]}


def _digest(values: Mapping[str, Any]) -> str:
    """Return a short digest of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def slug(name: str) -> str:
    """Return a name suitable for files and model ids."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "domain"


def count_of(size: int | str) -> float:
    """Return the number of images of a size; "all" is larger than any number."""
    return size if isinstance(size, int) else math.inf


def largest(sizes: Iterable[int | Literal["all"]]) -> int | Literal["all"]:
    """Return the size of the matrices."""
    return max(sizes, key=count_of)


def training_key(domain: str, size: int | str, seed: int) -> str:
    """Return the name of a training."""
    return f"{slug(domain)}-{size}-s{seed}"


def load_study(path: str | Path) -> StudyConfig:
    """Read and check the configuration of a study.

    Parameters
    ----------
    path
        A YAML file. Relative paths in it start from its folder.

    Raises
    ------
    InputError
        If the file can't be read, or a field is unknown, missing or wrong; the message names each field, its line and what is
    """
    path = Path(path)
    config = read_as(StudyConfig, path, GUIDE)
    folder = path.resolve().parent
    domains = {name: domain.starting_from(folder) for name, domain in config.domains.items()}
    return config.model_copy(update={"output": (folder / config.output.expanduser()).resolve(), "domains": domains})


def schema() -> dict[str, Any]:
    """Return the JSON schema of a study's YAML, for completion and validation in editors."""
    found = StudyConfig.model_json_schema()
    shared = found["$defs"]["Training"]["properties"]
    for name in OURS:
        shared.pop(name, None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "A configuration of virtual-paint study"}
