"""What the user chose in the Train dock: one frozen value, and the configuration that follows from it, without any widget."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs
import yaml

from napari_virtual_paint.errors import InputError

if TYPE_CHECKING:
    from napari_virtual_paint.stack import Stack
    from napari_virtual_paint.training.config.recipes import Recipe

Where = Literal["layers", "files", "plate"]
HeldOut = Literal["right", "left", "top", "bottom", "images", "none"]
Length = Literal["recipe", "steps", "minutes"]
Checks = Literal["report", "leave_out", "off"]

VARIABLE = "VIRTUAL_PAINT_RUNS"
"""Environment variable that names another folder for the runs."""
CONFIG, IMAGES, RUN, LOG = "train.yaml", "images", "run", "log.txt"
"""Names in the folder of a run that the dock began: its configuration, the images of layers, the run's own folder, what it printed."""
FIELD, INPUT, TARGET = "field", "input.ome.tif", "stains.ome.tif"
"""What the images of layers are called."""
BAND = 0.2
"""Share of each image that a band holds out."""
EPOCHS = 10
"""Epochs at least, where the number of steps is not the recipe's."""
NOT_FOR = "Images unlike those that it was trained on: another microscope, magnification, contrast, cell line or stain."


@dataclass(frozen=True)
class TrainState:
    """One choice in the Train dock.

    Parameters
    ----------
    source
        Where the pairs are: layers, files, a plate.
    inputs, stains
        Names of the layers to paint from, and of the true stains.
    path
        A folder or a table of pairs, or a plate.
    input_pattern, target_pattern
        Names of the files of a folder.
    wells
        Of a plate; empty for all.
    input_channels, stain_channels
        Of files and plates, names or positions with commas between; empty for what is found.
    recipe, name, stain_names
        The recipe, the model's name, the stains' names with commas between (empty: their own).
    held_out
        A band of each image, a tenth of the images, or nothing.
    length, amount
        As long as the recipe says, or so many steps or minutes.
    device
        As in the configuration.
    checks
        What becomes of pairs that look wrong.
    keep_running
        Whether a run goes on after napari has been closed.
    text
        The configuration as the user edited it; None while it follows the form.
    """

    source: Where = "layers"
    inputs: tuple[str, ...] = ()
    stains: tuple[str, ...] = ()
    path: str = ""
    input_pattern: str = "input/*.tif"
    target_pattern: str = "target/*.tif"
    wells: str = ""
    input_channels: str = ""
    stain_channels: str = ""
    recipe: str = "quick"
    name: str = "My stains"
    stain_names: str = ""
    held_out: HeldOut = "right"
    length: Length = "recipe"
    amount: int = 10
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    checks: Checks = "report"
    keep_running: bool = False
    text: str | None = None


@dataclass(frozen=True)
class ImageFacts:
    """What the images are, as far as that is known before they are read.

    Parameters
    ----------
    channels, stains
        Names of the channels.
    planes
        z-planes of the input and of the stains.
    times, sides
        Time points, and pixels along y and x.
    """

    channels: tuple[str, ...]
    stains: tuple[str, ...]
    planes: tuple[int, int]
    times: int
    sides: tuple[int, int]


def facts(source: Stack, target: Stack) -> ImageFacts:
    """Return what two stacks are.

    Raises
    ------
    InputError
        If they are no pair.
    """
    t, _, z, y, x = source.shape
    if (t, y, x) != (target.shape[0], *target.shape[3:]):
        sizes = " and ".join(" x ".join(str(n) for n in (s.shape[0], *s.shape[2:])) for s in (source, target))
        raise InputError(f"Input and stains differ in size ({sizes}: time points, planes, y, x); choose layers of the same field.")
    return ImageFacts(source.channel_labels, target.channel_labels, (z, target.shape[2]), t, (y, x))


def runs_folder() -> Path:
    """Return the folder of the runs that the dock begins; it need not exist."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_data_path("napari-virtual-paint", appauthor=False) / "runs"


def slug(name: str) -> str:
    """Return the id that a model's name makes: small letters, digits, hyphens; empty where nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")


def checked_name(name: str) -> str:
    """Return the id that a model's name makes.

    Raises
    ------
    InputError
        If a package can't be called so.
    """
    from pydantic import TypeAdapter, ValidationError

    from napari_virtual_paint.training.config.yaml_errors import Title

    try:
        TypeAdapter(Title).validate_python(name)
    except ValidationError:
        raise InputError("Give the model a name of 5 to 128 letters (A to Z), digits, spaces or ( ) _ + -.") from None
    if not slug(name):
        raise InputError("Give the model a name with a letter or a digit in it.")
    return slug(name)


def split(text: str) -> list[str]:
    """Part names at their commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def configuration(
    choice: TrainState, recipe: Recipe, known: ImageFacts | None, package: Path, seconds_a_step: float | None = None
) -> dict[str, Any]:
    """Return the configuration of a choice, as a YAML gives it.

    Parameters
    ----------
    choice
        What the user chose.
    recipe
        The recipe of that name.
    known
        What the images are; None where that comes out only as they are read.
    package
        Where the model goes.
    seconds_a_step
        Turns minutes into steps; the recipe's steps are taken where it is not known.

    Raises
    ------
    InputError
        If the name makes no id, or the images don't suit the recipe.
    """
    name = checked_name(choice.name)
    stains = split(choice.stain_names) or (list(known.stains) if known else [])
    what = ", ".join(stains) or "stains"
    source = ", ".join(known.channels) if known else f"the unstained images of {Path(choice.path).name}"
    values: dict[str, Any] = {
        "recipe": recipe.name,
        "id": name,
        "name": choice.name.strip(),
        "description": f"Paints {what} from {source}.",
        "trained_on": _trained_on(choice, known),
        "not_for": NOT_FOR,
        "output": str(package),
        "run": RUN,
        "data": _data(choice, recipe, known),
        "split": {"validation": _held_out(choice)},
    }
    if choice.held_out == "none":
        values["keep"] = "last"
    if choice.device != "auto":
        values["device"] = choice.device
    return values | _length(choice, recipe, seconds_a_step) | _patch(recipe, known)


def as_text(values: Mapping[str, Any]) -> str:
    """Return a configuration as the text of its file."""
    text: str = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=120)
    return text


def elsewhere(text: str, name: str, stem: str) -> str:
    """Return a configuration to be kept elsewhere: package, run and the images of layers lie beside its file.

    Parameters
    ----------
    text
        The configuration of a run of the dock.
    name, stem
        The model's id, and what the file is called.

    Raises
    ------
    InputError
        If the text was edited to be no YAML.
    """
    try:
        values = yaml.safe_load(text)
        values |= {"output": name, "run": f"{name}.run"}
        if values["data"].get("folder") == IMAGES:
            values["data"]["folder"] = f"{stem}-{IMAGES}"
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise InputError("What is written under Advanced is no configuration with data in it; mend it, or go back to the form.") from error
    return as_text(values)


def _trained_on(choice: TrainState, known: ImageFacts | None) -> str:
    if known is None:
        return f"Images of {Path(choice.path).name}."
    times = f"{known.times} time points of " if known.times > 1 else ""
    return f"{times}one field of {known.sides[0]} x {known.sides[1]} px, opened in napari as {', '.join((*choice.inputs, *choice.stains))}."


def _data(choice: TrainState, recipe: Recipe, known: ImageFacts | None) -> dict[str, Any]:
    """Return the part of the configuration that finds the pairs."""
    data: dict[str, Any] = {}
    if choice.source == "layers":
        data |= {"folder": IMAGES, "input": f"*_{INPUT}", "target": f"*_{TARGET}"}
    elif not choice.path:
        raise InputError(f"Choose {'a plate' if choice.source == 'plate' else 'a folder or a table of pairs'} first.")
    elif choice.source == "plate":
        data["plate"] = {"path": choice.path, **({"wells": choice.wells} if choice.wells else {})}
    elif Path(choice.path).suffix.casefold() == ".csv":
        data["csv"] = choice.path
    else:
        data |= {"folder": choice.path, "input": choice.input_pattern, "target": choice.target_pattern}
    for field, text in (("input_channels", choice.input_channels), ("target_channels", choice.stain_channels)):
        if text and choice.source != "layers":
            data[field] = split(text)
    if choice.stain_names:
        data["stains"] = split(choice.stain_names)
    if known is not None:
        _planes(data, recipe, known)
    if choice.checks != "report":
        data["checks"] = choice.checks
    return data


def _planes(data: dict[str, Any], recipe: Recipe, known: ImageFacts) -> None:
    """Say how the planes go into the network."""
    given, wanted = known.planes
    if recipe.dims == 3:
        if given != wanted or given < 2:
            raise InputError(f"{recipe.title} needs stacks with the same planes in input and stains, not {given} and {wanted}.")
    elif given > 1 and wanted == 1:
        data["planes_as_channels"] = True
    elif given != wanted:
        raise InputError(f"The input has {given} planes and the stains have {wanted}; a 2D recipe needs as many, or one plane of stains.")


def _held_out(choice: TrainState) -> Any:
    if choice.held_out == "images":
        return 0.1
    return None if choice.held_out == "none" else {"side": choice.held_out, "fraction": BAND}


def _length(choice: TrainState, recipe: Recipe, seconds_a_step: float | None) -> dict[str, Any]:
    """Return steps and epoch where they are not the recipe's."""
    usual, epoch = int(recipe.values.get("steps", 15000)), int(recipe.values.get("epoch", 300))
    if choice.length == "steps":
        steps = choice.amount
    elif choice.length == "minutes" and seconds_a_step:
        steps = max(EPOCHS, int(60 * choice.amount / seconds_a_step))
    else:
        return {}
    return {} if steps == usual else {"steps": steps, "epoch": max(1, min(epoch, steps // EPOCHS))}


def _patch(recipe: Recipe, known: ImageFacts | None) -> dict[str, Any]:
    """Return a smaller patch where the images are smaller than the recipe's."""
    patch = [int(side) for side in recipe.values.get("patch", (256, 256))]
    if known is None:
        return {}
    sides = [*([known.planes[0]] if len(patch) == 3 else []), *known.sides]
    grid = 2 ** (int(recipe.values.get("network", {}).get("config", {}).get("depth", 6)) - (0 if len(patch) == 3 else 1))
    fitting = [side if side <= there else there // grid * grid for side, there in zip(patch, sides, strict=True)]
    # Turned by a quarter, a patch must be square.
    fitting[-2:] = [min(fitting[-2:])] * 2
    if min(fitting) < 1:
        raise InputError(f"{recipe.title} needs images of {grid} px a side or more, not {' x '.join(map(str, sides))}.")
    return {} if fitting == patch else {"patch": fitting}
