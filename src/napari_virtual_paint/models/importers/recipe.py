"""`ImportRecipe`: the network in a foreign file, and how the original program used it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.package.writer import Program
from napari_virtual_paint.networks import build
from napari_virtual_paint.networks.empty import empty_weights
from napari_virtual_paint.normalize import ZSCORE, Step
from napari_virtual_paint.runtime.text import one_line
from napari_virtual_paint.stack import UNKNOWN, PixelSize

State = dict[str, Tensor]


@dataclass(frozen=True)
class ImportQuestion:
    """A question to the user that the file leaves open."""

    option: str  # the command's option that answers it, such as ``--outputs``
    text: str  # the question
    default: str  # the answer in batch mode; empty where no default is sensible


@dataclass(frozen=True)
class ImportRecipe:
    """A foreign model as found in its file."""

    kind: str  # the system that wrote it, in words
    network: nn.Module  # built and filled, in eval mode
    dims: int  # 2 for a network on planes, 3 for one on volumes
    channels: tuple[str, ...]
    stains: tuple[str, ...]  # `channels` and `stains`: default names
    architecture: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)  # `architecture` and `config`: as in `ModelInfo`; empty for a program
    program: Program | None = None  # weights that carry their own network
    planes_as_channels: bool = False
    z_offsets: tuple[float, ...] | None = None
    pixel_size: PixelSize = UNKNOWN
    preprocessing: tuple[Step, ...] = ZSCORE
    verified: bool = False  # whether the importer was checked against a file and an output of the original program
    facts: tuple[str, ...] = ()  # what is known of the original program, for the card
    question: ImportQuestion | None = None  # what the file leaves open; None if nothing


def prefixes(state: Mapping[str, Tensor], anchor: str) -> list[str]:
    """Return what stands before a key in the names of the networks that hold it, in the order of the file."""
    ends = [key for key in state if key == anchor or key.endswith("." + anchor)]
    return [key[: len(key) - len(anchor)] for key in ends]


def part_of(state: Mapping[str, Tensor], anchor: str) -> State | None:
    """Return the weights of the network that holds a key, without what stands before it in their names; None if no key ends so."""
    for key in state:
        if key == anchor or key.endswith("." + anchor):
            prefix = key[: len(key) - len(anchor)]
            return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}
    return None


def filled(path: Path, kind: str, architecture: str, config: Mapping[str, Any], state: State) -> nn.Module:
    """Build a network and fill it, every key and shape compared before memory is taken.

    Raises `ModelError` if the weights are not those of this network.
    """
    try:
        with empty_weights():
            network = build(architecture, dict(config))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: the sizes of its weights make no network of {kind} ({one_line(error)}).") from error
    wanted = network.state_dict()
    for key in wanted.keys() - state.keys():
        if key.endswith("num_batches_tracked"):  # torch counts batches since 0.4.1 only
            state[key] = torch.zeros((), dtype=torch.long)
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has {extra[0]}, which the network doesn't"
        raise ModelError(f"{path}: it looks like {kind} but {what}; this variant is not known.")
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(wanted[key].shape)}"
            raise ModelError(f"{path}: it looks like {kind} but {key} is {shapes}; this variant is not known.")
    ready = {key: state[key].to(wanted[key].dtype).contiguous().clone() for key in wanted}
    network.load_state_dict(ready, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def numbers_in(state: Mapping[str, Tensor], pattern: str) -> list[int]:
    """Return the numbers that a pattern's first group takes in the keys, sorted, each once."""
    found = {int(match.group(1)) for key in state if (match := re.match(pattern, key))}
    return sorted(found)


def shape(path: Path, state: Mapping[str, Tensor], key: str, kind: str, axes: int | Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a weight.

    Raises `ModelError` if it is missing or has another number of axes.
    """
    allowed = (axes,) if isinstance(axes, int) else tuple(axes)
    if key not in state or state[key].ndim not in allowed:
        raise ModelError(f"{path}: it looks like {kind} but {key} is missing or has another form; this variant is not known.")
    return tuple(state[key].shape)


def numbered(count: int) -> tuple[str, ...]:
    """Return default names of stains."""
    return tuple(f"stain {number}" for number in range(1, count + 1))


def named(count: int, alone: str, word: str) -> tuple[str, ...]:
    """Return default names of channels."""
    return (alone,) if count == 1 else tuple(f"{word} {number}" for number in range(1, count + 1))
