"""The choices of the Train dock as one frozen value, and the training configuration made of them. No widget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from napari_virtual_paint._napari.shared.new_model import LICENSES, MINUTES, NOT_FOR, checked_name, split_names
from napari_virtual_paint.choices import DeviceChoice, PairChecks
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.system_user import full_name
from napari_virtual_paint.runtime.yaml_text import dump_yaml
from napari_virtual_paint.training.pace import TrainingPace, epoch_of

if TYPE_CHECKING:
    from napari_virtual_paint.stack import Stack
    from napari_virtual_paint.training.config.recipes import Recipe

SourceKind = Literal["layers", "files", "plate"]
HeldOut = Literal["right", "left", "top", "bottom", "images", "none"]
Length = Literal["recipe", "10 min", "30 min", "1 h", "3 h", "minutes", "steps"]

CONFIG, IMAGES, RUN, LOG = "train.yaml", "images", "run", "log.txt"
"""Names in the folder of a training that the dock began: configuration, images of layers, run folder, and log."""
FIELD, INPUT, TARGET = "field", "input.ome.tif", "stains.ome.tif"  # names of the images of layers
STEPS, EPOCH = 15000, 300  # those of a configuration that states none
BAND = 0.2  # share of each image that a held-out band takes


@dataclass(frozen=True)
class TrainState:
    """What to train on, and how."""

    source: SourceKind = "layers"  # whether the pairs are layers, files or fields of a plate
    inputs: tuple[str, ...] = ()
    stains: tuple[str, ...] = ()  # `inputs` and `stains`: names of the layers to paint from, and of the true stains
    path: str = ""  # A folder or a table of pairs, or a plate
    input_pattern: str = "input/*.tif"
    target_pattern: str = "target/*.tif"  # `input_pattern` and `target_pattern`: names of the files in a folder
    wells: str = ""  # wells of a plate; empty for all
    input_channels: str = ""
    stain_channels: str = ""
    """`input_channels` and `stain_channels`: channels of files and plates: names or positions with commas between; empty to find them by
    their names."""
    start: str = ""  # id or package of the model that is taught further; empty for a new network by the recipe
    recipe: str = "quick"
    name: str = "My stains"
    stain_names: str = ""
    """`recipe`, `name` and `stain_names`: recipe, name of the model, and names of its stains with commas between (empty for those of the
    images)."""
    held_out: HeldOut = "right"  # A band of each image, a tenth of the images, or nothing
    author: str = field(default_factory=full_name)  # who made the model, names with commas between; empty for nobody
    license: str = LICENSES[0][0]  # SPDX id of the model's license; empty for none
    not_for: str = NOT_FOR  # what the model must not be used for
    length: Length = "recipe"
    amount: int = 10  # `length` and `amount`: the recipe's steps, a time, or a number of minutes or steps
    device: DeviceChoice = "auto"  # as in the configuration
    keep_running: bool = False  # whether the training goes on after napari is closed
    text: str | None = None  # the configuration as the user edited it; None while it follows from the other fields

    @property
    def minutes(self) -> int | None:
        """How many minutes the training takes; None where its length is a number of steps."""
        return self.amount if self.length == "minutes" else MINUTES.get(self.length)


@dataclass(frozen=True)
class ImageFacts:
    """Channels and sizes of a pair of images."""

    channels: tuple[str, ...]
    stains: tuple[str, ...]  # `channels` and `stains`: names of the channels of the input and of the stains
    planes: tuple[int, int]  # number of z planes of the input and of the stains
    times: int
    sides: tuple[int, int]  # `times` and `sides`: number of time points, and pixels along y and x


def facts_of(source: Stack, target: Stack) -> ImageFacts:
    """Return channels and sizes of input and stains.

    Raises `InputError` if they differ in size.
    """
    t, _, z, y, x = source.shape
    if (t, y, x) != (target.shape[0], *target.shape[3:]):
        sizes = " and ".join(" x ".join(str(n) for n in (s.shape[0], *s.shape[2:])) for s in (source, target))
        raise InputError(f"Input and stains differ in size ({sizes}: time points, planes, y, x); choose layers of the same field.")
    return ImageFacts(source.channel_labels, target.channel_labels, (z, target.shape[2]), t, (y, x))


def configuration(
    choice: TrainState, recipe: Recipe, facts: ImageFacts | None, package: Path, pace: TrainingPace | None = None
) -> dict[str, Any]:
    """Return the training configuration of a choice, as mappings that a YAML can hold.

    Parameters
    ----------
    choice
        What the user chose.
    recipe
        The recipe that `choice` names.
    facts
        Channels and sizes of the images; None for files and plates, which are not read yet.
    package
        Folder of the trained model.
    pace
        Converts minutes into steps; where None the recipe's steps are kept.

    Raises
    ------
    InputError
        If the name can't be used, or the images don't suit the recipe.
    """
    name = checked_name(choice.name)
    if not choice.not_for:
        raise InputError("Say under 'Not for' what the model must not be used for.")
    stains = split_names(choice.stain_names) or (list(facts.stains) if facts else [])
    painted = ", ".join(stains) or "stains"
    source = ", ".join(facts.channels) if facts else f"the unstained images of {Path(choice.path).name}"
    values: dict[str, Any] = {
        "recipe": recipe.name,
        "id": name,
        "name": choice.name.strip(),
        "description": f"Paints {painted} from {source}.",
        "trained_on": _trained_on(choice, facts),
        "not_for": choice.not_for,
        "license": choice.license or None,
        "authors": split_names(choice.author),
        "output": str(package),
        "run": RUN,
        "data": _data(choice, recipe, facts),
        "split": {"validation": _held_out(choice)},
    }
    if choice.held_out == "none":  # then no epoch can be called the best one
        values["keep"] = "last"
    if choice.device != "auto":
        values["device"] = choice.device
    steps, epoch = length_of(choice, recipe, pace)
    own = {} if steps == int(recipe.values.get("steps", STEPS)) else {"steps": steps, "epoch": epoch}
    return values | own | _patch(recipe, facts)


def as_text(values: Mapping[str, Any]) -> str:
    """Return a configuration as YAML."""
    return dump_yaml(values)


def portable_text(text: str, name: str, stem: str) -> str:
    """Return a configuration for another folder: package, run folder and the images of layers lie beside its file.

    Parameters
    ----------
    text
        The configuration of a training of the dock.
    name, stem
        The model's id, and the file's name without its suffix.

    Raises
    ------
    InputError
        If the text is no YAML any more.
    """
    try:
        values = yaml.safe_load(text)
        values |= {"output": name, "run": f"{name}.run"}
        if values["data"].get("folder") == IMAGES:
            values["data"]["folder"] = f"{stem}-{IMAGES}"
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise InputError("The text under Advanced is no configuration with data in it; correct it, or go back to the form.") from error
    return as_text(values)


def with_checks(text: str, checks: PairChecks) -> str:
    """Return a configuration with another answer to what is done with pairs that look wrong; all else stays, also what was edited."""
    values = yaml.safe_load(text)
    values["data"]["checks"] = checks
    return as_text(values)


def _trained_on(choice: TrainState, facts: ImageFacts | None) -> str:
    if facts is None:
        return f"Images of {Path(choice.path).name}."
    times = f"{facts.times} time points of " if facts.times > 1 else ""
    return f"{times}one field of {facts.sides[0]} x {facts.sides[1]} px, opened in napari as {', '.join((*choice.inputs, *choice.stains))}."


def pairs_section(choice: TrainState) -> dict[str, Any]:
    """Return the section of the configuration that finds the pairs.

    Raises `InputError` if no file, folder or plate is chosen.
    """
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
    for name, text in (("input_channels", choice.input_channels), ("target_channels", choice.stain_channels)):
        if text and choice.source != "layers":
            data[name] = split_names(text)
    if choice.stain_names:
        data["stains"] = split_names(choice.stain_names)
    return data


def _data(choice: TrainState, recipe: Recipe, facts: ImageFacts | None) -> dict[str, Any]:
    """Return the section of the configuration that finds the pairs, with how their planes go into the network."""
    data = pairs_section(choice)
    if facts is not None:
        _planes(data, recipe, facts)
    return data


def _planes(data: dict[str, Any], recipe: Recipe, facts: ImageFacts) -> None:
    """Set how planes go into the network, or raise where they don't fit the recipe."""
    given, wanted = facts.planes
    if recipe.dims == 3:
        if given != wanted or given < 2:
            raise InputError(f"{recipe.title} needs stacks with the same planes in input and stains, not {given} and {wanted}.")
    elif given > 1 and wanted == 1:  # a 2D network can take the planes of a stack as its input channels
        data["planes_as_channels"] = True
    elif given != wanted:
        raise InputError(f"The input has {given} planes and the stains have {wanted}; a 2D recipe needs as many, or one plane of stains.")


def _held_out(choice: TrainState) -> Any:
    if choice.held_out == "images":
        return 0.1
    return None if choice.held_out == "none" else {"side": choice.held_out, "fraction": BAND}


def length_of(choice: TrainState, recipe: Recipe, pace: TrainingPace | None) -> tuple[int, int]:
    """Return the numbers of steps and of steps per epoch: the recipe's, those chosen, or those that fit into the chosen time."""
    usual, epoch = int(recipe.values.get("steps", STEPS)), int(recipe.values.get("epoch", EPOCH))
    if choice.length == "steps":
        steps = choice.amount
    elif choice.minutes is not None and pace is not None:
        steps = pace.steps_within(60 * choice.minutes, epoch)
    else:
        return usual, epoch
    return steps, epoch if steps == usual else epoch_of(steps, epoch)


def _patch(recipe: Recipe, facts: ImageFacts | None) -> dict[str, Any]:
    """Return a smaller patch where the images are smaller than the recipe's patch."""
    patch = [int(side) for side in recipe.values.get("patch", (256, 256))]
    if facts is None:
        return {}
    sides = [*([facts.planes[0]] if len(patch) == 3 else []), *facts.sides]
    # Each level of the U-Net halves the sides, so a smaller patch must stay a multiple of this.
    grid = 2 ** (int(recipe.values.get("network", {}).get("config", {}).get("depth", 6)) - (0 if len(patch) == 3 else 1))
    fitting = [side if side <= size else size // grid * grid for side, size in zip(patch, sides, strict=True)]
    # Augmentation rotates patches by 90 degrees, so they must be square.
    fitting[-2:] = [min(fitting[-2:])] * 2
    if min(fitting) < 1:
        raise InputError(f"{recipe.title} needs images of {grid} px per side or more, not {' x '.join(map(str, sides))}.")
    return {} if fitting == patch else {"patch": fitting}
