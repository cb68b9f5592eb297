"""Small networks with lively weights, opened as models, for tests of painting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from napari_virtual_paint.models import Model, ModelInfo
from napari_virtual_paint.networks import build
from napari_virtual_paint.normalize import ZSCORE


@dataclass
class Opened:
    """What painting needs of a `Model`, without a package behind it."""

    info: ModelInfo
    network: nn.Module


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch normalisations statistics that matter, so that a fault at a border shows."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.rand(module.num_features, generator=generator) - 0.3)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.weight.data.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.bias.data.copy_(torch.rand(module.num_features, generator=generator) - 0.5)
        elif isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            nn.init.kaiming_uniform_(module.weight, a=1.0, generator=generator)
    return network.eval().requires_grad_(False)


def model_of(architecture: str, *, seed: int = 0, info: dict[str, Any] | None = None, **config: Any) -> Model:
    """Return a model around a fresh network with lively weights."""
    torch.manual_seed(seed)
    network = lively(build(architecture, config), seed)
    cin, cout = network.config.in_channels, network.config.out_channels
    values: dict[str, Any] = {
        "id": f"test-{architecture.lower()}",
        "name": architecture,
        "version": "1.2.3",
        "description": "",
        "license": "BSD-3-Clause",
        "authors": (),
        "source": Path("test"),
        "dims": network.dims,
        "channels": tuple(f"in{i}" for i in range(cin)),
        "stains": tuple(f"stain{i}" for i in range(cout)),
        "weights": "pytorch_state_dict",
        "preprocessing": ZSCORE,
        "architecture": architecture,
        "config": config,
        **(info or {}),
    }
    return cast(Model, Opened(ModelInfo(**values), network))
