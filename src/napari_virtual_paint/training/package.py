"""Write the package of a finished run: card, test tensors, weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import Card, open_model, save_model
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.training.config.data import Band, HeldOut, Rectangle
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.pairs import DataSet, raw_input
from napari_virtual_paint.training.data.scaling import steps_of
from napari_virtual_paint.training.data.source import Subset
from napari_virtual_paint.training.fine_tuning import Taught, write_report
from napari_virtual_paint.training.validation import scored_part, scores

if TYPE_CHECKING:
    from torch import nn

    from napari_virtual_paint.models import ModelInfo
    from napari_virtual_paint.models.package.domain import Domain

PLANE = re.compile(r"( t\d+)?( z\d+)?$")  # suffix of an image's name for each of its planes
SUMMARISED = 100  # most fields in the summary of the training inputs
TEST_SIDES = {2: 64, 3: 32}  # longest side of the test tensors of a 2D and a 3D network, px


def write_package(
    config: TrainConfig,
    data: DataSet,
    scored: nn.Module,
    network: nn.Module,
    steps: int,
    command: str,
    stopped: str = "",
    taught: Taught | None = None,
) -> Path:
    """Score the held-out part and write the package.

    Parameters
    ----------
    scored
        The network that never saw the held-out part.
    network
        The network to keep: the same, or the one retrained on everything.
    steps
        Number of training steps.
    command
        The command that started the run.
    stopped
        After how many of its steps the user ended the training; empty where it came to its end.
    taught
        What the card says of fine-tuning; None for another training.
    """
    from napari_virtual_paint.training.initial_weights import network_config

    part = scored_part(data)
    found = scores(scored, data.holding(part), part, data.stains, config.data.tiles) if part else {}
    card = Card(
        trained_on=f"{config.trained_on} {_training_text(config, data, steps)}",
        held_out_on=_held_out_text(config, data, part),
        scores=found,
        not_for=config.not_for,
        made_with=command,
        stopped=stopped,
        before=taught.before if taught else {},
        more_images=taught.sentence if taught else "",
    )
    if taught is not None and config.run is not None:
        write_report(config, data.stains, taught, found)
    architecture = network_config(config, data)
    return save_model(
        config.output,
        network,
        id=config.id,
        name=config.name,
        description=config.description,
        version=config.version,
        architecture=config.network.architecture,
        config=architecture,
        channels=_channels(config, data),
        stains=data.stains,
        dims=config.network.dims,
        test_input=_test_input(config, network, data),
        card=card,
        planes_as_channels=config.data.planes_as_channels,
        z_offsets=config.data.z_offsets,
        pixel_size=data.pixel_size,
        preprocessing=steps_of(config.normalize.input, config.normalize.input_clip),
        license=config.license,
        authors=config.authors,
        overwrite=True,
        summarize=lambda info, stored: domain_of(info, stored, data.whole() if config.refit else data),
    )


def _channels(config: TrainConfig, data: DataSet) -> tuple[str, ...]:
    """Return the names of the inputs: those of the images or, in fine-tuning, where these have none, those of the model before."""
    if config.fine_tuning is None or config.start is None or (data.order is not None and data.order.named[0]):
        return data.channels
    earlier = open_model(config.start).info.channels
    return earlier if len(earlier) == len(data.channels) else data.channels


def domain_of(info: ModelInfo, network: nn.Module, data: DataSet) -> Domain | None:
    """Summarize what a model was trained on; None where that is too little.

    Parameters
    ----------
    info, network
        Of the model, the network as the package stores it.
    data
        Its pairs; of each the pixels of the part ``train`` count.
    """
    from napari_virtual_paint.models.applicability.check import summarize_fields

    pairs = data.holding("train")
    chosen = [pairs[index] for index in sorted({round(i) for i in np.linspace(0, len(pairs) - 1, min(len(pairs), SUMMARISED))})]
    fields = ((PLANE.sub("", pair.name), np.asarray(pair.x), pair.parts["train"]) for pair in chosen)
    try:
        return run_to_end(summarize_fields(info, network, fields, len(chosen)))
    except InputError:
        return None


def _test_input(config: TrainConfig, network: nn.Module, data: DataSet) -> npt.NDArray[Any]:
    """Cut the test image (C, [Z,] Y, X) from the middle of the first input, with sides that suit the network."""
    from napari_virtual_paint.networks.sizes import valid_sides

    raw = raw_input(config, data.order)
    cut: list[slice] = [slice(None)]
    for side, (least, step) in zip(raw.shape[1:], valid_sides(network) or (), strict=True):
        length = max(min(side // step, max(TEST_SIDES[config.network.dims] // step, 1)) * step, least) if step else least
        start = (side - length) // 2
        cut.append(slice(start, start + length))
    return np.ascontiguousarray(raw[tuple(cut)], np.float32)


def _training_text(config: TrainConfig, data: DataSet, steps: int) -> str:
    """Return a sentence on the amount of data and training."""
    pairs = data.pairs if config.refit else data.holding("train")
    size = " x ".join(map(str, pairs[0].x.shape[1:]))
    sentence = f"{len(pairs)} image{'s' * (len(pairs) > 1)} ({size} px), {steps} steps of {config.batch} patches."
    if config.refit:
        sentence += " Trained first without what was held out, which gave the scores and the number of steps, then anew on everything."
    return sentence


def _held_out_text(config: TrainConfig, data: DataSet, part: Subset | None) -> str:
    """Return a sentence on the data that the scores come from."""
    if part is None:
        return "Nothing was held out."
    rule: HeldOut = config.split.test if part == "test" else config.split.validation
    images = data.holding(part)
    if isinstance(rule, Band):
        where = f"the {rule.side} {rule.fraction:.0%} of {_each(len(images))}"
    elif isinstance(rule, Rectangle):
        where = f"y {rule.y[0]:.0%} to {rule.y[1]:.0%}, x {rule.x[0]:.0%} to {rule.x[1]:.0%} of {_each(len(images))}"
    else:
        names = [pair.name for pair in images[:6]] + ["..."] * (len(images) > 6)
        where = f"{len(images)} whole image{'s' * (len(images) > 1)} ({', '.join(names)})"
    unit = f"; PCC is the median over cells ({config.data.tiles.size} px places)" if config.data.tiles else ""
    chosen = ", which also chose the epoch" if part == "validation" and config.keep == "best" else ""
    return f"{where[0].upper()}{where[1:]}{chosen}{unit}."


def _each(count: int) -> str:
    return "each image" if count > 1 else "the image"
