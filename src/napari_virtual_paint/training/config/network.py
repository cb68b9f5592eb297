"""Configuration of the network, the augmentation, the objective and the optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from napari_virtual_paint.networks import ARCHITECTURES
from napari_virtual_paint.training.config.yaml_errors import Betas, ConfigSection, Count, NotNegative, Positive


class Network(ConfigSection):
    """A network of `networks.ARCHITECTURES` and its settings."""

    architecture: str = "UNet"
    config: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Fields of the network's configuration; in_channels and out_channels come from the data."""

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


class Augment(ConfigSection):
    """Random augmentation of patches; none by default, as in the paper."""

    flips: bool = False
    """Mirror along y and along x."""
    quarter_turns: bool = False
    """Rotate by 0, 90, 180 or 270 degrees in the plane."""
    rotate: bool = False
    """Rotate by any angle in the plane."""
    zoom: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest absolute log of the zoom (0.25: between 0.78 and 1.28), with a third of it as stretch along one axis."""
    gain: NotNegative = 0.0
    """SD of the log of a gain on the whole input."""
    offset: NotNegative = 0.0
    """SD of an offset added to the whole input, in SD of the field."""
    noise: NotNegative = 0.0
    """Largest SD of white noise added to the input, in SD of the field."""


class Optimizer(ConfigSection):
    """The optimizer; the defaults are the paper's."""

    name: Literal["adam", "adamw"] = "adam"
    lr: Positive = 2e-4
    weight_decay: NotNegative = 2e-4
    betas: Betas = (0.9, 0.999)
    schedule: Literal["constant", "cosine", "one_cycle", "linear"] = "constant"
    """Schedule of the learning rate; one_cycle rises over the first tenth, then it and cosine fall to a hundredth; linear
    falls to 0 over the second half."""
    clip: NotNegative = 0.0
    """Largest gradient norm; 0 for no clipping."""


class Pixel(ConfigSection):
    """Pixel-wise loss."""

    kind: Literal["pixel"] = "pixel"
    loss: Literal["l1", "mse"] | None = None
    """The same as `loss` beside `objective`."""


class DiscriminatorAdam(ConfigSection):
    """Adam for the discriminator; its schedule is that of the generator."""

    lr: Positive = 2e-4
    betas: Betas = (0.0, 0.9)
    weight_decay: NotNegative = 1e-3


class Critic(ConfigSection):
    """A patch discriminator: 4 x 4 convolutions, each level half the size with twice the filters."""

    width: Count = 64
    """Filters of the first level; each level doubles them, up to eightfold."""
    layers: Count = 3
    """Levels with stride 2, followed by one with stride 1 and the output."""
    norm: Literal["none", "instance"] = "none"
    """Normalization between the first level and the output; none, because a per-image penalty requires independent images."""


class WassersteinGan(ConfigSection):
    """Conditional Wasserstein GAN with gradient penalty (Cross-Zamirski et al. 2022, equations 5 to 8)."""

    kind: Literal["cwgan-gp"]
    l1: NotNegative = 100.0
    """lambda_1, weight of L1 in the generator's loss."""
    penalty: NotNegative = 10.0
    """lambda_2, weight of (gradient norm of each image's output - 1) squared."""
    adversarial: NotNegative = 1.0
    """lambda_e is this number divided by the epoch, counted from 1; `epoch` beside `objective` sets its length."""
    every: Count = 5
    """The discriminator is trained at every step, the generator at every n-th."""
    critic: Critic = Critic()
    critic_optimizer: DiscriminatorAdam = DiscriminatorAdam()


class Pix2PixHDGan(ConfigSection):
    """Pix2pixHD (Wang et al. 2018, as in Tonks et al. 2024): least-squares GAN with multi-scale discriminators and feature matching."""

    kind: Literal["pix2pixhd"]
    features: NotNegative = 10.0
    """Weight of the L1 between the discriminators' feature maps of the real and the predicted image."""
    l1: NotNegative = 0.0
    """Weight of L1; 0 in the papers."""
    scales: Annotated[int, Field(ge=1, le=4)] = 2
    """Number of discriminators; each sees the images at half the size of the one before."""
    critic: Critic = Critic(norm="instance")
    critic_optimizer: DiscriminatorAdam = DiscriminatorAdam(betas=(0.5, 0.999), weight_decay=0)
    vgg: Path | None = None
    """Weights of VGG-19 (a state_dict) for the perceptual loss, which needs them; relative to the configuration's folder."""
    perceptual: NotNegative = 10.0
    """Weight of the perceptual loss."""
    fix_global: Annotated[int, Field(ge=0)] = 0
    """Initial steps in which only the local enhancer is trained and the global generator stays fixed."""


Objective: TypeAlias = Annotated[Pixel | WassersteinGan | Pix2PixHDGan, Field(discriminator="kind")]


DEFAULTS: dict[str, dict[str, Any]] = {
    "cwgan-gp": {
        "batch": 4,
        "steps": 21000,
        "epoch": 750,
        "optimizer": {"lr": 2e-4, "betas": (0.0, 0.9), "weight_decay": 0.0},
    },
    "pix2pixhd": {
        "batch": 1,
        "steps": 20000,
        "epoch": 500,
        "patch": (512, 512),
        "network": {"architecture": "Pix2PixHD"},
        "normalize": {
            "input": {"darkest": 0.1, "brightest": 99.9},
            "target": {"darkest": 0.1, "brightest": 99.9},
            "target_clip": 1.0,
        },
        "optimizer": {"lr": 2e-4, "betas": (0.5, 0.999), "weight_decay": 0.0, "schedule": "linear"},
    },
}
"""The paper's defaults of each objective, for fields that the file does not give."""
