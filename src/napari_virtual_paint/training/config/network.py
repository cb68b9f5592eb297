"""What a run of training is told of its network, its augmentation and its optimizer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from napari_virtual_paint.networks import ARCHITECTURES
from napari_virtual_paint.training.config.yaml_errors import NotNegative, Part, Positive


class Network(Part):
    """A network of the package's list and its settings."""

    architecture: str = "UNet"
    config: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Fields of the network's own configuration; in_channels and out_channels come from the data."""

    @model_validator(mode="after")
    def _known(self) -> Network:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}")
        return self

    @property
    def dims(self) -> int:
        """Spatial axes of the network."""
        if self.architecture == "UNeXt2":
            return 2 if self.config.get("out_planes", 5) == 1 else 3
        return int(self.config.get("dims", 3)) if self.architecture == "FNet" else 2


class Augment(Part):
    """Changes made to patches at random; none by default, as in the paper."""

    flips: bool = False
    """Mirror along y and along x."""
    quarter_turns: bool = False
    """Turn by 0, 90, 180 or 270 degrees in the plane."""
    rotate: bool = False
    """Turn by any angle in the plane."""
    zoom: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest logarithm of a change of scale (0.25: between 0.78 and 1.28), with a third of it as stretch along one axis."""
    gain: NotNegative = 0.0
    """SD of the logarithm of a factor on the whole input."""
    offset: NotNegative = 0.0
    """SD of what is added to the whole input, in SD of the field."""
    noise: NotNegative = 0.0
    """Largest SD of white noise added to the input, in SD of the field."""


class Optimizer(Part):
    """The optimizer; the defaults are the paper's."""

    name: Literal["adam", "adamw"] = "adam"
    lr: Positive = 2e-4
    weight_decay: NotNegative = 2e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    schedule: Literal["constant", "cosine", "one_cycle", "linear"] = "constant"
    """Course of the learning rate over all steps; one_cycle rises over the first tenth, then it and cosine fall to a hundredth; linear
    falls to 0 over the second half."""
    clip: NotNegative = 0.0
    """Largest norm of the gradient; 0 leaves it."""
