"""What a run of training is told of its images: where the pairs are, how they are scaled, what is held out."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from napari_virtual_paint.samples.settings import STANDARD
from napari_virtual_paint.training.config.yaml_errors import ConfigSection, Count, Fraction, NotNegative, Positive


def _text(value: Any) -> Any:
    """Take a position (``0``) as the text that it is asked for by."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(_text, json_schema_input_type=str | int)]
"""A name or a position."""


class Tiles(ConfigSection):
    """A montage: a grid of square places, one cell in each."""

    size: Count
    """Side of a place, px."""
    skip_empty: bool = True
    """Leave places without a cell (each row the same as the next, or each column) out of training and of the scores."""
    correlation: NotNegative = 0.0
    """Weight in the loss of 1 - PCC of each cell, beside the loss of each pixel: the form of a faint cell counts like a bright one's."""


class Simulated(ConfigSection):
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
    cell_type: str = STANDARD
    """Which of the simulator's types of cells."""


def _several(value: Any) -> Any:
    """Take one path for a list of one."""
    paths = (value,) if isinstance(value, str | Path) else value
    return tuple(str(path) if isinstance(path, Path) else path for path in paths) if isinstance(paths, list | tuple) else paths


def _one_or_more(value: Any) -> Any:
    """Take one value for a list of one, numbers and yes or no as the text that a table has them in."""
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(("yes" if each else "no") if isinstance(each, bool) else str(each) if isinstance(each, float) else each for each in values)


def _words(value: Any) -> Any:
    """Take one word for a list of one."""
    return (value,) if isinstance(value, str) else value


def _cube(value: Any) -> Any:
    """Take one number for all three sides."""
    return (value,) * 3 if isinstance(value, int | float) and not isinstance(value, bool) else value


_CUBE = float | tuple[float | None, float, float]
SOURCES = ("folder", "csv", "plate", "simulate")
"""Fields of `Data` of which one must be given."""
STAR = re.compile(r"\*+")


def _plates(value: Any) -> Any:
    """Take a path, or several, for plates of which all is wanted."""
    return {"path": value} if isinstance(value, str | Path | list | tuple) else value


class Plates(ConfigSection):
    """Fields of one plate or several, in any layout that `plates.open_plate` knows."""

    path: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_several, json_schema_input_type=str | list[str])]
    """The plates, as `virtual-paint plate info` takes them; relative to the configuration's own folder."""
    wells: str | None = None
    """Wells to take, such as ``A1:B12,C3``; all by default."""
    fields: tuple[Name, ...] | None = None
    """Places in the wells to take, by name or number; all by default."""
    layout: str | None = None
    """How the plates are stored; found out by default."""
    pattern: str | None = None
    """How names of files tell their place, such as ``{well}_{field}_{channel}``."""
    plate_map: Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])] = ()
    """What is in the wells (treatment, batch ...): a table for all plates, or one for each."""
    names: tuple[Name, ...] | dict[str, str] | None = None
    """What the channels are called, in the plate's order or by its name of each; the plate's own names by default."""

    @model_validator(mode="after")
    def _maps(self) -> Plates:
        if len(self.plate_map) not in (0, 1, len(self.path)):
            raise ValueError("give one plate_map for all plates, or one for each")
        return self


class Between(ConfigSection):
    """Numbers from one to another, both included."""

    min: float = -math.inf
    max: float = math.inf

    @model_validator(mode="after")
    def _not_empty(self) -> Between:
        if self.min > self.max:
            raise ValueError("min must not be above max")
        return self


def _kind_of_condition(value: Any) -> str:
    """Tell which form of condition is meant."""
    return "Between" if isinstance(value, dict | Between) else "Names"


Condition: TypeAlias = Annotated[
    Annotated[tuple[Name, ...], BeforeValidator(_one_or_more, json_schema_input_type=Name | tuple[Name, ...]), Tag("Names")]
    | Annotated[Between, Tag("Between")],
    Discriminator(_kind_of_condition),
]
"""One value, several of which any will do, or numbers from one to another."""


class Data(ConfigSection):
    """Where the pairs are and what to take from them."""

    folder: Path | None = None
    """Folder of the images; relative to the configuration's own folder."""
    input: str = "input/*.tif"
    """Pattern of the inputs in `folder`; what ``*`` (or ``**``, with folders in between) stands for names the pair."""
    target: str = "target/*.tif"
    """Pattern of the targets."""
    csv: Path | None = None
    """A table instead: columns ``input``, ``target`` and, if wanted, ``split`` (train, validation, test); paths relative to it."""
    image: str | None = None
    """Pattern of files in `folder` instead that hold input and target both."""
    plate: Annotated[Plates, BeforeValidator(_plates, json_schema_input_type=Plates | str | list[str])] | None = None
    """Fields of plates instead of files."""
    simulate: Simulated | None = None
    """Simulated fields instead of files."""
    where: dict[str, Condition] | None = None
    """Images to take by what is known of them, such as ``{treatment: control, dose: {max: 0.2}}``: all that each column asks for."""
    input_channels: tuple[Name, ...] | None = None
    """Channels of the input to use, by name or position; all by default, of an image that holds both those of no stain."""
    target_channels: tuple[Name, ...] | None = None
    """Channels of the target to use; all by default, of an image that holds both those of stains."""
    input_planes: tuple[int, ...] | None = None
    """Planes of the input to use, by position; all by default."""
    target_planes: tuple[int, ...] | None = None
    """Planes of the target to use; all by default."""
    stains: tuple[str, ...] | None = None
    """Names of the stains in the model; the target's own by default."""
    planes_as_channels: bool = False
    """Whether the z-planes of the input are the channels of a 2D network."""
    z_offsets: tuple[float, ...] | None = None
    """Height of each plane over focus, um, where it is known."""
    pixel_size: tuple[float | None, float | None, float | None] | None = None
    """um along z, y and x, for files that don't tell."""
    resample: Annotated[tuple[Positive | None, Positive, Positive], BeforeValidator(_cube, json_schema_input_type=_CUBE)] | None = None
    """um to bring every pair to, linearly: one number for all sides, or z, y and x (z null: as it is)."""
    tiles: Tiles | None = None
    balance: Annotated[tuple[str, ...], BeforeValidator(_words, json_schema_input_type=str | list[str])] = ()
    """What a draw is to be even over, such as ``[batch, treatment]``: each combination is then equally likely, not each image."""
    checks: Literal["report", "leave_out", "off"] = "report"
    """Look for pairs that are shifted, saturated, blank or out of focus: tell them, or train without them."""
    memory: NotNegative | None = None
    """GiB of scaled pairs to hold in memory, beyond which they lie on the disk in the run's folder; 40 % of what is free by default."""

    @model_validator(mode="before")
    @classmethod
    def _images_lie_here(cls, value: Any) -> Any:
        alone = isinstance(value, dict) and value.get("image") is not None and all(value.get(key) is None for key in SOURCES)
        return {**value, "folder": "."} if alone else value

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if sum(getattr(self, name) is not None for name in SOURCES) != 1:
            raise ValueError(f"give one of {', '.join(SOURCES[:-1])} and {SOURCES[-1]}")
        if self.image is not None and self.folder is None:
            raise ValueError("image is a pattern of files in folder, so give no other source")
        stars = {len(STAR.findall(pattern)) for pattern in (self.input, self.target)}
        if self.folder is not None and stars not in ({0}, {1}):
            raise ValueError("input and target must both hold one * (or one **, for folders in folders) or none")
        if self.image is not None and len(STAR.findall(self.image)) != 1:
            raise ValueError("image must hold one * (or one **, for folders in folders)")
        if self.tiles is not None and self.resample is not None:
            raise ValueError("tiles can't be resampled: their places would be of no whole size")
        return self

    def starting_from(self, folder: Path) -> Data:
        """Return the same with every path starting from a folder."""
        changed: dict[str, Any] = {name: folder / path for name in ("folder", "csv") if (path := getattr(self, name)) is not None}
        if self.plate is not None:
            paths = {
                name: tuple(path if "://" in path else str(folder / path) for path in getattr(self.plate, name))
                for name in ("path", "plate_map")
            }
            changed["plate"] = self.plate.model_copy(update=paths)
        return self.model_copy(update=changed)

    def weighing(self) -> dict[str, Any]:
        """Return what changes the weights, as plain values: data may move between two sittings, and be checked or kept in another way."""
        values = self.model_dump(mode="json", exclude={"folder", "csv", "memory"})
        if self.plate is not None:
            values["plate"] = {key: value for key, value in values["plate"].items() if key not in ("path", "plate_map")}
        if self.checks != "leave_out":
            values.pop("checks")
        if self.simulate is not None and self.simulate.cell_type == STANDARD:
            values["simulate"].pop("cell_type")
        # A field that came later, left at its default, leaves the runs of before as they were.
        later = ("image", "plate", "where", "input_planes", "target_planes", "resample", "balance")
        return {key: value for key, value in values.items() if key not in later or value}


class Fixed(ConfigSection):
    """Intensities brought to scale by known numbers, for cameras that keep theirs from image to image."""

    mean: tuple[float, ...]
    std: tuple[Positive, ...]

    @model_validator(mode="after")
    def _pairs(self) -> Fixed:
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std must be of one length")
        return self


class Robust(ConfigSection):
    """Each field brought to scale by its own percentiles, which one bright clump doesn't move: normal noise between them gets SD 1."""

    low: Annotated[float, Field(ge=0, lt=50)] = 5.0
    high: Annotated[float, Field(gt=50, le=100)] = 95.0


class Range(ConfigSection):
    """Each field brought to [-1, 1] between two of its percentiles, for networks that end with tanh."""

    darkest: Annotated[float, Field(ge=0, lt=50)] = 0.1
    brightest: Annotated[float, Field(gt=50, le=100)] = 99.9


def _kind_of_scale(value: Any) -> str:
    """Tell which form of scale is meant, so that an error speaks of that form alone."""
    if isinstance(value, BaseModel):
        return type(value).__name__
    if not isinstance(value, dict):
        return "Word"
    return "Fixed" if value.keys() & {"mean", "std"} else "Range" if value.keys() & {"darkest", "brightest"} else "Robust"


Scale: TypeAlias = Annotated[
    Annotated[Literal["zscore"], Tag("Word")]
    | Annotated[Fixed, Tag("Fixed")]
    | Annotated[Robust, Tag("Robust")]
    | Annotated[Range, Tag("Range")],
    Discriminator(_kind_of_scale),
]


class Normalize(ConfigSection):
    """How intensities are brought to scale: each field to mean 0, SD 1 (as in the paper), by percentiles, fixed numbers, or to [-1, 1]."""

    input: Scale = "zscore"
    input_clip: Positive | None = None
    """What of the scaled input lies further from 0 is cut off."""
    target: Scale = "zscore"
    target_clip: Positive | None = None
    """The same for the target; scores are taken on the target as it is."""


class Band(ConfigSection):
    """A band along one side of every image."""

    side: Literal["left", "right", "top", "bottom"]
    fraction: Fraction = 0.2


class Rectangle(ConfigSection):
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
        | Annotated[tuple[Name, ...], Tag("Images")]
        | Annotated[Band, Tag("Band")]
        | Annotated[Rectangle, Tag("Rectangle")],
        Discriminator(_kind_of_split),
    ]
    | None
)


class Split(ConfigSection):
    """What is held out: a fraction of the images, images by pattern of their names, or a region of every image."""

    validation: HeldOut = 0.1
    """Chooses the best epoch."""
    test: HeldOut = None
    """Scored once, at the end."""
    train: Count | None = None
    """Images to train on, drawn by the seed from those that are not held out; all by default. Those of fewer are among those of more."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Of fractions and of `train`; the run's own by default."""
    by: str | None = None
    """What is held out together, such as well, plate, batch or treatment: a fraction is then one of these, and patterns are of their names.
    Images of one well always go together where the wells are known."""
