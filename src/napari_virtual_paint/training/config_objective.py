"""What a run of training is told of its objective: pixel by pixel, or against a critic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from napari_virtual_paint.training.config.yaml_errors import Count, NotNegative, Part, Positive

Share = Annotated[float, Field(ge=0, lt=1)]


class Pixel(Part):
    """The difference of each pixel."""

    kind: Literal["pixel"] = "pixel"
    loss: Literal["l1", "mse"] | None = None
    """The same as the field `loss` beside `objective`."""


class Adam(Part):
    """Adam for the critic; the course of its rate is that of the generator's."""

    lr: Positive = 2e-4
    betas: tuple[Share, Share] = (0.0, 0.9)
    weight_decay: NotNegative = 1e-3


class Critic(Part):
    """A critic of patches: convolutions 4 x 4, each level half as large with twice the filters."""

    width: Count = 64
    """Filters of the first level; each level doubles them, up to eight times as many."""
    layers: Count = 3
    """Levels with stride 2; one with stride 1 and the verdict follow."""
    norm: Literal["none", "instance"] = "none"
    """Normalisation between first level and verdict; none, since a penalty of each image asks that no image depends on another."""


class WassersteinGan(Part):
    """Conditional Wasserstein GAN with gradient penalty (Cross-Zamirski et al. 2022, equations 5 to 8)."""

    kind: Literal["cwgan-gp"]
    l1: NotNegative = 100.0
    """lambda_1, weight of L1 in the generator's loss."""
    penalty: NotNegative = 10.0
    """lambda_2, weight of (norm of the gradient of each image's verdict - 1) squared."""
    adversarial: NotNegative = 1.0
    """lambda_e is this number divided by the epoch, which counts from 1; the field `epoch` beside `objective` says how long one is."""
    every: Count = 5
    """The critic learns at every step, the generator at every so manieth."""
    critic: Critic = Critic()
    critic_optimizer: Adam = Adam()


class Pix2PixHDGan(Part):
    """Pix2pixHD (Wang et al. 2018, as in Tonks et al. 2024): least-squares GAN with critics of several scales and feature matching."""

    kind: Literal["pix2pixhd"]
    features: NotNegative = 10.0
    """Weight of the L1 between the critics' hidden maps of the real and of the painted image."""
    l1: NotNegative = 0.0
    """Weight of L1; 0 in the papers."""
    scales: Annotated[int, Field(ge=1, le=4)] = 2
    """Critics; each sees the images half as large as the one before."""
    critic: Critic = Critic(norm="instance")
    critic_optimizer: Adam = Adam(betas=(0.5, 0.999), weight_decay=0)
    vgg: Path | None = None
    """Weights of VGG-19 (a state_dict) for the perceptual loss, which is left out without them; relative to the configuration's folder."""
    perceptual: NotNegative = 10.0
    """Weight of the perceptual loss."""
    fix_global: Annotated[int, Field(ge=0)] = 0
    """First steps in which a local enhancer learns alone and the global generator below it stands still."""


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
"""What a kind of objective brings for the fields that the file doesn't give: the numbers of its paper."""
