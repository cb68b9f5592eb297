"""The deepest maps of a network, for the domain check. Importing this imports torch."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from napari_virtual_paint.models.info import ModelInfo
from napari_virtual_paint.models.package.domain import DeepPlan
from napari_virtual_paint.networks.encoder_decoder import EncoderDecoder
from napari_virtual_paint.networks.sizes import multiples, valid_sides
from napari_virtual_paint.networks.staged import StagedNetwork, run_stages

MOST_FEATURES = 256  # channels of the deepest map that are kept, evenly spread
LEAST, MOST = 64, 256  # sides of a patch, px
MAP = 8  # pixels of the deepest map along a side of a patch, if the sides above allow it
MACS = 12e9  # multiply-accumulates that a check may take: half a second on two slow cores
FEWEST, MANY = 4, 64  # patches of a field


def plan_deep(network: nn.Module, info: ModelInfo) -> DeepPlan | None:
    """Choose how a network's features are taken; None for networks of unknown structure."""
    if (sides := valid_sides(network)) is None:
        return None
    multiple = sides[-1][1]
    side = max(min(max(MAP * multiple, LEAST), MOST) // multiple, 2) * multiple
    depth = _depth(network, info)
    shape = (1, len(info.channels), *((depth,) if depth else ()), side, side)
    with torch.inference_mode():
        cost, channels = _cost(network, torch.zeros(shape))
    count = int(min(max(MACS / max(cost, 1.0), FEWEST), MANY))
    kept = sorted({round(index) for index in np.linspace(0, channels - 1, min(channels, MOST_FEATURES))})
    return DeepPlan(side, depth, count, tuple(kept))


def _depth(network: nn.Module, info: ModelInfo) -> int:
    """Return the planes of a patch of a volume; 0 for a network on planes."""
    if info.dims == 2:
        return 0
    if len(info.step_size) == 3 and info.step_size[0] == 0:
        return info.min_size[0]
    multiple = multiples(network)[0]
    return max(multiple, 16 // multiple * multiple)


def deepest(network: nn.Module, x: Tensor) -> Tensor:
    """Return the deepest map of a network, (N, channels, ...), from its input."""
    x = x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)  # twice as fast on a CPU
    if isinstance(network, EncoderDecoder):
        for level in range(network.depth - 1):
            x = network.down(level, network.encode(level, x))
        return network.encode(network.depth - 1, x)
    assert isinstance(network, StagedNetwork)
    stages = network.stages()
    widest = max(stage.step for stage in stages)
    end = max(position for position, stage in enumerate(stages) if stage.step == widest)
    return run_stages(stages, x, end)


def _cost(network: nn.Module, x: Tensor) -> tuple[float, int]:
    """Return the multiply-accumulates of the way down, and the channels of the deepest map."""
    total = 0.0

    def count(module: nn.Module, _: object, out: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += out.numel() * prod(weight.shape[1:])

    kinds = (nn.Conv2d, nn.Conv3d, nn.Linear)
    handles = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, kinds)]
    try:
        found = deepest(network, x)
    finally:
        for handle in handles:
            handle.remove()
    return total, int(found.shape[1])
