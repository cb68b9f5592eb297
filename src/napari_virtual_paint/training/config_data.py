"""What a run of training is told of its images: where the pairs are, how they are scaled, what is held out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from napari_virtual_paint.training.config_files import Count, Fraction, NotNegative, Part, Positive


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
