"""Metadata of a model that needs no loading: `ModelInfo` and its `Card`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from napari_virtual_paint.models.channel_names import light_of
from napari_virtual_paint.normalize import Step
from napari_virtual_paint.stack import UNKNOWN, PixelSize

WeightsFormat = Literal["pytorch_state_dict", "torchscript", "onnx"]
EMPTY: Mapping[str, Any] = MappingProxyType({})
TABLES = ("scores", "before")  # fields of a card that hold scores by stain


@dataclass(frozen=True)
class Card:
    """The model card: training images, held-out scores, and limits of use."""

    trained_on: str = ""  # the images the weights were fitted to, in words
    held_out_on: str = ""  # the images the scores were taken on, in words
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: EMPTY)
    """Stain -> name of a score ("pcc", "ssim", ...) -> value on the held-out images."""
    not_for: str = ""  # where the model must not be trusted
    made_with: str = ""  # the exact command that made it
    before: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: EMPTY)
    """Of a model that was taught further: what it scored before on the same images, like `scores`; stains that it did not paint are
    absent."""
    more_images: str = ""  # of a model that was taught further: whether more images would help, in words
    stopped: str = ""  # as ``Stopped after 8 of 2,000 steps`` where the user ended the training early; else empty

    def __post_init__(self) -> None:
        for name in TABLES:
            frozen = {str(stain): MappingProxyType(dict(values)) for stain, values in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(frozen))

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain values, for YAML or JSON."""
        tables = {
            table: {stain: {name: float(value) for name, value in row.items()} for stain, row in getattr(self, table).items()}
            for table in TABLES
        }
        return {each.name: tables.get(each.name, getattr(self, each.name)) for each in fields(self)}

    def to_markdown(self, title: str = "") -> str:
        """Return the card as the documentation of a package."""
        lines = [f"# {title}", ""] if title else []
        lines += [f"**{self.stopped}.**", ""] if self.stopped else []
        for heading, text in (("Trained on", self.trained_on), ("Not for", self.not_for)):
            lines += [f"## {heading}", "", text or "Not stated.", ""]
        lines += ["## Validation", "", f"Held out: {self.held_out_on or 'not stated.'}", ""]
        names = list(dict.fromkeys(name for row in self.scores.values() for name in row))
        earlier = [f"{name} before" for name in names] if self.before else []
        if names:
            lines += ["| stain | " + " | ".join([*names, *earlier]) + " |", "|---" * (len(names) + len(earlier) + 1) + "|"]
            for stain, row in self.scores.items():
                cells = _cells(row, names, "undefined") + (_cells(self.before.get(stain, {}), names, "not painted") if earlier else [])
                lines.append(f"| {stain} | " + " | ".join(cells) + " |")
            lines.append("")
        lines += [self.more_images, ""] if self.more_images else []
        if self.made_with:
            lines += ["## Made with", "", "```", self.made_with, "```", ""]
        return "\n".join(lines).rstrip() + "\n"


def _cells(row: Mapping[str, float], names: Sequence[str], absent: str) -> list[str]:
    """Return the cells of a stain in the table of scores."""
    return [f"{row[name]:.3f}" if row.get(name) is not None else absent for name in names]


@dataclass(frozen=True)
class ModelInfo:
    """A model as its package describes it; nothing of it is loaded."""

    id: str
    name: str
    version: str
    description: str
    license: str
    authors: tuple[str, ...]
    """`id`, `name`, `version`, `description`, `license` and `authors`: as the package says; the id is the file's name where the package
    has none."""
    source: Path  # the package: a folder or a .zip.
    dims: Literal[2, 3]  # 2 for a network on planes, 3 for one on volumes
    channels: tuple[str, ...]  # names of the inputs in the network's order
    stains: tuple[str, ...]  # names of the outputs
    weights: WeightsFormat  # the format that will be loaded
    planes_as_channels: bool = False  # whether the channels are z-planes of one modality
    z_offsets: tuple[float, ...] | None = None  # micrometres from the plane in focus, one a channel; None where unknown
    pixel_size: PixelSize = UNKNOWN  # micrometres that the model was trained at; None where unknown
    preprocessing: tuple[Step, ...] = ()
    postprocessing: tuple[Step, ...] = ()
    """`preprocessing` and `postprocessing`: steps before and behind the network, as the specification names them."""
    architecture: str = ""
    config: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    """`architecture` and `config`: the network's name in `networks.ARCHITECTURES` and its settings; both empty for torchscript and ONNX."""
    card: Card = field(default_factory=Card)  # the model card
    warnings: tuple[str, ...] = ()  # one sentence each, to be shown before the model is used
    min_size: tuple[int, ...] = ()
    step_size: tuple[int, ...] = ()
    """`min_size` and `step_size`: per space axis ([Z,] Y, X): valid sizes are ``min + n * step``; a step of 0 means that size alone."""
    halo: tuple[int, ...] = ()
    """Per space axis: pixels at the border of a tile that the network gets wrong; 0 where the package does not say."""
    domain: Mapping[str, str] | None = None
    """File (``source``) and ``sha256`` of the summary of the training inputs; None without. `Model.domain` reads it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", MappingProxyType(dict(self.config)))

    @property
    def light(self) -> str | None:
        """Light that it paints from, by the names of its channels, else by its own: as `light_of` returns; None where they are silent."""
        return next((light for name in (*self.channels, self.id, self.name) if (light := light_of(name)) is not None), None)

    def __hash__(self) -> int:
        return hash((self.id, self.version, self.source))

    def to_dict(self) -> dict[str, Any]:
        """Return the metadata as plain values for JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "license": self.license,
            "authors": list(self.authors),
            "source": str(self.source),
            "dims": self.dims,
            "channels": list(self.channels),
            "planes_as_channels": self.planes_as_channels,
            "z_offsets": None if self.z_offsets is None else list(self.z_offsets),
            "stains": list(self.stains),
            "pixel_size": list(self.pixel_size),
            "weights": self.weights,
            "architecture": self.architecture,
            "config": dict(self.config),
            "card": self.card.to_dict(),
            "warnings": list(self.warnings),
            "domain": self.domain is not None,
        }
