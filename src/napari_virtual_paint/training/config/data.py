"""Configuration of the data: where the pairs are, how they are scaled, what is held out."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from napari_virtual_paint.choices import PairChecks
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.normalize import Kind
from napari_virtual_paint.reading.axes import parse_axes
from napari_virtual_paint.runtime.delimited_text import read_rows
from napari_virtual_paint.samples.settings import STANDARD
from napari_virtual_paint.stain_names import Synonyms, as_synonyms, numbered
from napari_virtual_paint.training.config.yaml_errors import ConfigSection, Count, Fraction, NotNegative, Positive


def _text(value: Any) -> Any:
    """Convert a position (``0``) to the text that names it."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(_text, json_schema_input_type=str | int)]  # a name or a position


def _axes(value: Any) -> Any:
    """Check letters of axes."""
    try:
        return parse_axes(value) if isinstance(value, str) else value
    except InputError as error:
        raise ValueError(str(error).rstrip(".")) from None


Axes = Annotated[str, BeforeValidator(_axes, json_schema_input_type=str)]


class Tiles(ConfigSection):
    """A montage: a grid of square places with one cell each."""

    size: Count
    """Side of a place, px."""
    skip_empty: bool = True
    """Leave places without a cell (all rows equal, or all columns) out of training and scores."""
    correlation: NotNegative = 0.0
    """Weight of 1 - PCC per cell in the loss, beside the loss per pixel: a faint cell's shape then counts like a bright one's."""


class Simulated(ConfigSection):
    """Simulated fields, made when the run starts; the same settings give the same pixels."""

    fields: Count
    size: Count = 512
    """Edge of a field, px."""
    z: Count = 1
    """Planes of a stack; 1 gives the three brightfield planes as channels."""
    treatments: Annotated[tuple[str, ...], Field(min_length=1)] = ("control",)
    """Used in turn, field by field."""
    doses: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (1.0,)
    """The next dose is used after each round of the treatments."""
    batches: bool = False
    """Whether every other field has the uneven light, gain and offset of a plate."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the first field; each further field adds 1."""
    cell_type: str = STANDARD
    """Cell type of the simulator."""


def _several(value: Any) -> Any:
    """Convert one path to a list of one."""
    paths = (value,) if isinstance(value, str | Path) else value
    return tuple(str(path) if isinstance(path, Path) else path for path in paths) if isinstance(paths, list | tuple) else paths


def _one_or_more(value: Any) -> Any:
    """Convert one value to a list of one; numbers and booleans become the text that tables hold."""
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(("yes" if each else "no") if isinstance(each, bool) else str(each) if isinstance(each, float) else each for each in values)


def _as_tuple(value: Any) -> Any:
    """Convert one word to a list of one."""
    return (value,) if isinstance(value, str) else value


def _cube(value: Any) -> Any:
    """Convert one number to all three sides."""
    return (value,) * 3 if isinstance(value, int | float) and not isinstance(value, bool) else value


def _names_of_stains(value: Any) -> Any:
    """Check names of stains, and convert one name to a list of one."""
    try:
        return dict(as_synonyms(value).own or {}) if value else {}
    except InputError as error:
        raise ValueError(str(error).removeprefix("synonyms: ").rstrip(".")) from None


StainTable = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_names_of_stains, json_schema_input_type=dict[str, str | list[str]])]
_CUBE = float | tuple[float | None, float, float]
SOURCES = ("folder", "csv", "plate", "simulate")  # fields of `Data` of which exactly one must be given
STAR = re.compile(r"\*+")


def _plates(value: Any) -> Any:
    """Convert a path, or several, to whole plates."""
    return {"path": value} if isinstance(value, str | Path | list | tuple) else value


class Plates(ConfigSection):
    """Fields of one plate or several, in any layout that `plates.open_plate` knows."""

    path: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_several, json_schema_input_type=str | list[str])]
    """The plates, as `virtual-paint plate info` takes them; relative to the configuration's own folder."""
    plate: Annotated[tuple[Name, ...], BeforeValidator(_one_or_more, json_schema_input_type=Name | tuple[Name, ...])] = ()
    """Which plates, by name, where a path holds several: any number from one path, else one for all paths or one for each."""
    wells: str | None = None
    """Wells to take, such as ``A1:B12,C3``; all by default."""
    fields: tuple[Name, ...] | None = None
    """Fields of the wells to take, by name or number; all by default."""
    layout: str | None = None
    """Layout of the plates; detected by default."""
    pattern: str | None = None
    """Pattern of the file names, such as ``{well}_{field}_{channel}``."""
    plate_map: Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])] = ()
    """What is in the wells (treatment, batch ...): a table for all plates, or one for each."""
    names: tuple[Name, ...] | dict[str, str] | None = None
    """Names of the channels, in the plate's order or by its own name; the plate's names by default."""

    @model_validator(mode="after")
    def _maps(self) -> Plates:
        if len(self.plate_map) not in (0, 1, max(len(self.path), len(self.plate))):
            raise ValueError("give one plate_map for all plates, or one for each")
        if len(self.path) > 1 and len(self.plate) not in (0, 1, len(self.path)):
            raise ValueError("give one plate's name for all paths, or one for each")
        return self

    def places(self) -> list[tuple[str, str | None, str | None]]:
        """Return path, name (None for the only plate there) and plate map (None for none) of each plate."""
        count = max(len(self.path), len(self.plate))
        paths = self.path * count if len(self.path) == 1 else self.path
        names, maps = (each * count if len(each) == 1 else each or (None,) * count for each in (self.plate, self.plate_map))
        return list(zip(paths, names, maps, strict=True))


class Between(ConfigSection):
    """An interval of numbers, ends included."""

    min: float = -math.inf
    max: float = math.inf

    @model_validator(mode="after")
    def _not_empty(self) -> Between:
        if self.min > self.max:
            raise ValueError("min must not be above max")
        return self


def _kind_of_condition(value: Any) -> str:
    """Return which form of condition a value has."""
    return "Between" if isinstance(value, dict | Between) else "Names"


Condition: TypeAlias = Annotated[
    Annotated[tuple[Name, ...], BeforeValidator(_one_or_more, json_schema_input_type=Name | tuple[Name, ...]), Tag("Names")]
    | Annotated[Between, Tag("Between")],
    Discriminator(_kind_of_condition),
]
"""One value, several alternatives, or an interval."""


class Data(ConfigSection):
    """Where the pairs are and which parts of them are used."""

    folder: Path | None = None
    """Folder of the images; relative to the configuration's own folder."""
    input: str = "input/*.tif"
    """Pattern of the inputs in `folder`; the text that ``*`` (or ``**``, across folders) matches pairs input and target."""
    target: str = "target/*.tif"
    """Pattern of the targets."""
    csv: Path | None = None
    """A table instead: columns ``input``, ``target`` and, if wanted, ``split`` (train, validation, test); paths relative to it."""
    image: str | None = None
    """Pattern of files in `folder` that hold both input and target."""
    plate: Annotated[Plates, BeforeValidator(_plates, json_schema_input_type=Plates | str | list[str])] | None = None
    """Fields of plates instead of files."""
    simulate: Simulated | None = None
    """Simulated fields instead of files."""
    where: dict[str, Condition] | None = None
    """Select images by their metadata, such as ``{treatment: control, dose: {max: 0.2}}``; all conditions must hold."""
    input_channels: tuple[Name, ...] | None = None
    """Input channels to use, by name or position; by default all, or all that are no stains where one image holds both."""
    target_channels: tuple[Name, ...] | None = None
    """Target channels to use; by default all, or all that are stains where one image holds both."""
    input_axes: Axes | None = None
    """What the axes of the inputs' arrays are, in their order, where their files state none: letters of TCZYX, such as ``YXC``."""
    target_axes: Axes | None = None
    """What the axes of the targets' arrays are."""
    input_planes: tuple[int, ...] | None = None
    """Planes of the input to use, by position; all by default."""
    target_planes: tuple[int, ...] | None = None
    """Planes of the target to use; all by default."""
    stains: tuple[str, ...] | None = None
    """Names of the stains in the model; the target's own by default."""
    synonyms: StainTable = Field(default_factory=dict)
    """Further names of stains, by which channels of all pairs are matched, such as ``{DNA: [NucBlue]}``; common ones such as DAPI are
    known."""
    planes_as_channels: bool = False
    """Whether the z-planes of the input are the channels of a 2D network."""
    z_offsets: tuple[float, ...] | None = None
    """Height of each plane above focus, um, if known."""
    pixel_size: tuple[float | None, float | None, float | None] | None = None
    """um along z, y and x, for files without a pixel size."""
    resample: Annotated[tuple[Positive | None, Positive, Positive], BeforeValidator(_cube, json_schema_input_type=_CUBE)] | None = None
    """Pixel size in um to resample every pair to, linearly: one number for all axes, or z, y, x (z null: unchanged)."""
    tiles: Tiles | None = None
    balance: Annotated[tuple[str, ...], BeforeValidator(_as_tuple, json_schema_input_type=str | list[str])] = ()
    """Columns to balance, such as ``[batch, treatment]``: each combination, not each image, is drawn equally often."""
    checks: PairChecks = "report"
    """Check the pairs for shifts, saturation, blank and blurred images: report them, or leave them out of training."""
    memory: NotNegative | None = None
    """GiB of scaled pairs held in memory; beyond it they are stored in the run folder. 40 % of the free memory by default."""

    @model_validator(mode="before")
    @classmethod
    def _images_lie_here(cls, value: Any) -> Any:
        alone = isinstance(value, dict) and value.get("image") is not None and all(value.get(key) is None for key in SOURCES)
        return {**value, "folder": "."} if alone else value

    @property
    def names(self) -> Synonyms | None:
        """The names of stains; None where the file adds none."""
        return Synonyms(self.synonyms) if self.synonyms else None

    @model_validator(mode="after")
    def _stains_once(self) -> Data:
        if self.stains is not None and numbered(self.stains) != self.stains:
            raise ValueError(f"stains names one stain twice: {', '.join(self.stains)}")
        return self

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
        if (self.input_axes or self.target_axes) and self.simulate is not None:
            raise ValueError("input_axes and target_axes are for files; simulated fields state theirs")
        if self.target_axes not in (None, self.input_axes) and (self.image is not None or self.plate is not None):
            raise ValueError("one image holds input and target, so give input_axes alone")
        if self.tiles is not None and self.resample is not None:
            raise ValueError("tiles can't be resampled: their places would be of no whole size")
        return self

    def starting_from(self, folder: Path) -> Data:
        """Return a copy with all paths relative to a folder."""
        changed: dict[str, Any] = {name: folder / path for name in ("folder", "csv") if (path := getattr(self, name)) is not None}
        if self.plate is not None:
            paths = {
                name: tuple(path if "://" in path else str(folder / path) for path in getattr(self.plate, name))
                for name in ("path", "plate_map")
            }
            changed["plate"] = self.plate.model_copy(update=paths)
        return self.model_copy(update=changed)

    def sources(self) -> list[str]:
        """Return what is read: files, patterns and plates, and the files that a table names."""
        found: list[str] = []
        if self.csv is not None:
            found += [str(self.csv), *_named_in(self.csv)]
        if self.folder is not None:
            found += [str(self.folder / each) for each in ((self.image,) if self.image is not None else (self.input, self.target))]
        if self.plate is not None:
            found += [*self.plate.path, *self.plate.plate_map]
        return found

    def weighing(self) -> dict[str, Any]:
        """Return the settings that affect the weights, as plain values; the location of data, checks and storage do not."""
        values = self.model_dump(mode="json", exclude={"folder", "csv", "memory"})
        if self.plate is not None:
            left_out = ("path", "plate_map", *(() if self.plate.plate else ("plate",)))
            values["plate"] = {key: value for key, value in values["plate"].items() if key not in left_out}
        if self.checks != "leave_out":
            values.pop("checks")
        if self.simulate is not None and self.simulate.cell_type == STANDARD:
            values["simulate"].pop("cell_type")
        # A field added later and left at its default keeps the fingerprint of earlier runs.
        later = ("image", "plate", "where", "input_planes", "target_planes", "resample", "balance", "synonyms", "input_axes", "target_axes")
        return {key: value for key, value in values.items() if key not in later or value}


def _named_in(table: Path) -> list[str]:
    """Return the files that a table of pairs names; what is wrong with it is said when it is read."""
    try:
        first, *rows = read_rows(table)
    except (VirtualPaintError, OSError, ValueError):
        return []
    columns = [number for number, name in enumerate(first.cells) if name.strip().casefold() in ("input", "target", "image")]
    return [str(table.parent / row.cells[number]) for row in rows for number in columns if len(row.cells) > number and row.cells[number]]


class Fixed(ConfigSection):
    """Scale intensities by given numbers, for cameras whose gain is the same from image to image."""

    mean: tuple[float, ...]
    std: tuple[Positive, ...]

    @model_validator(mode="after")
    def _pairs(self) -> Fixed:
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std must be of one length")
        return self


class Robust(ConfigSection):
    """Scale each field by its own percentiles, which one bright clump does not move; normal noise between them gets SD 1."""

    low: Annotated[float, Field(ge=0, lt=50)] = 5.0
    high: Annotated[float, Field(gt=50, le=100)] = 95.0


class Range(ConfigSection):
    """Scale each field to [-1, 1] between two percentiles, for networks that end with tanh."""

    darkest: Annotated[float, Field(ge=0, lt=50)] = 0.1
    brightest: Annotated[float, Field(gt=50, le=100)] = 99.9


class ProcessingStep(ConfigSection):
    """A processing step of a package."""

    kind: Kind
    """Its name in the bioimage.io specification."""
    per_channel: bool = True
    values: dict[str, bool | float | str | tuple[float, ...]] = Field(default_factory=dict)
    """Its numbers, as a package gives them."""


class Steps(ConfigSection):
    """Scale the input by the steps of a package, one after the other, so that a network taught further sees what it knows."""

    steps: tuple[ProcessingStep, ...]


def _kind_of_scale(value: Any) -> str:
    """Return which form of scale a value has, so that an error names that form alone."""
    if isinstance(value, BaseModel):
        return type(value).__name__
    if not isinstance(value, dict):
        return "Word"
    if "steps" in value:
        return "Steps"
    return "Fixed" if value.keys() & {"mean", "std"} else "Range" if value.keys() & {"darkest", "brightest"} else "Robust"


Scale: TypeAlias = Annotated[
    Annotated[Literal["zscore"], Tag("Word")]
    | Annotated[Fixed, Tag("Fixed")]
    | Annotated[Robust, Tag("Robust")]
    | Annotated[Range, Tag("Range")]
    | Annotated[Steps, Tag("Steps")],
    Discriminator(_kind_of_scale),
]


class Normalize(ConfigSection):
    """Intensity scaling: each field to mean 0 and SD 1 (as in the paper), by percentiles, by fixed numbers, or to [-1, 1]."""

    input: Scale = "zscore"
    input_clip: Positive | None = None
    """Clip the scaled input at this distance from 0."""
    target: Scale = "zscore"
    target_clip: Positive | None = None
    """The same for the target; scores use the target unclipped."""


class Band(ConfigSection):
    """A band along one side of each image."""

    side: Literal["left", "right", "top", "bottom"]
    fraction: Fraction = 0.2


class Rectangle(ConfigSection):
    """A rectangle in each image, in fractions of height and width."""

    y: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)
    x: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)

    @model_validator(mode="after")
    def _not_empty(self) -> Rectangle:
        if self.y[0] >= self.y[1] or self.x[0] >= self.x[1]:
            raise ValueError("the first number must be below the second")
        return self


def _kind_of_split(value: Any) -> str:
    """Return which form of held-out rule a value has."""
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
    """What is held out: a fraction of the images, images by name pattern, or a region of each image."""

    validation: HeldOut = 0.1
    """Chooses the best epoch."""
    test: HeldOut = None
    """Scored once, at the end."""
    train: Count | None = None
    """Number of images to train on, drawn by the seed from those not held out; all by default. Smaller draws are subsets of larger ones."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of fractions and of `train`; the run's seed by default."""
    by: str | None = None
    """Column whose values are held out whole, such as well, plate, batch or treatment; fractions and patterns then apply to its values.
    Images of one well always stay together where wells are known."""
