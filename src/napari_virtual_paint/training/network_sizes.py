"""What sizes a network of the package's list takes, and how it is run on a field of any size while it trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.networks.staged import StagedNetwork


def has_global_normalization(network: nn.Module) -> bool:
    """Tell whether a normalisation of the network takes its statistics over the whole field."""
    return isinstance(network, StagedNetwork)


def window(network: nn.Module) -> int | None:
    """Return the number of planes that a network of volumes takes at once; None where any will do."""
    planes = getattr(getattr(network, "config", None), "planes", None)
    return int(planes) if planes is not None and network.dims == 3 else None


def multiples(network: nn.Module) -> tuple[int, ...]:
    """Return what each side ([z,] y, x) must be a multiple of."""
    if isinstance(network, StagedNetwork):
        planes = window(network)
        return (*(() if planes is None else (planes,)), network.multiple, network.multiple)
    depth: Any = network.depth
    dims: Any = network.dims
    return (int(2 ** (depth - 1)),) * int(dims)


def smallest(network: nn.Module) -> tuple[int, ...]:
    """Return the smallest sides: twice the multiple where a normalisation needs more than one pixel at the deepest level."""
    sides = multiples(network)
    return (*sides[:-2], 2 * sides[-2], 2 * sides[-1]) if has_global_normalization(network) else sides


def check_patch(network: nn.Module, patch: tuple[int, ...]) -> None:
    """Refuse a patch that the network can't take.

    Raises
    ------
    InputError
        If a side is no multiple of what the network needs, or too small; or the patch has not as many planes as the network takes.
    """
    given = " x ".join(map(str, patch))
    planes, sides = window(network), multiples(network)
    if planes is not None and patch[0] != planes:
        raise InputError(f"patch: the first number must be {planes} for this network, the planes that it takes at once, not {patch[0]}.")
    if any(side % step for side, step in zip(patch, sides, strict=True)):
        raise InputError(f"patch: each side must be a multiple of {sides[-1]} for this network, not {given}.")
    if any(side < least for side, least in zip(patch, smallest(network), strict=True)):
        raise InputError(f"patch: y and x must be {smallest(network)[-1]} or more for this network, not {given}.")


def run_whole(network: nn.Module, x: np.ndarray[Any, np.dtype[np.float32]], device: torch.device | str) -> Tensor:
    """Run a network on a field as a whole: padded by reflection, and, where it takes so many planes, in windows slid by one.

    Parameters
    ----------
    network
        In eval mode.
    x
        (C, [Z,] Y, X), on the network's scale.

    Returns
    -------
    Tensor
        (stains, [Z,] Y', X'), padding included behind what was given, on the CPU.
    """
    planes = window(network)
    with torch.inference_mode():
        if planes is None:
            painted: Tensor = network(padded(x, network).to(device))
            return painted.float().cpu()[0]
        total, count = None, None
        for first in range(max(x.shape[1] - planes, 0) + 1):
            part = network(padded(x[:, first : first + planes], network).to(device)).float().cpu()[0]
            if total is None or count is None:
                deep = max(x.shape[1], planes)
                total, count = torch.zeros(part.shape[0], deep, *part.shape[2:]), torch.zeros(deep, 1, 1)
            total[:, first : first + planes] += part
            count[first : first + planes] += 1
    assert total is not None
    assert count is not None
    return total / count


def padded(x: np.ndarray[Any, np.dtype[np.float32]], network: nn.Module) -> Tensor:
    """Pad by reflection to the sides that the network takes; (C, [Z,] Y, X) -> (1, C, [Z,] Y, X)."""
    steps, least = multiples(network), smallest(network)
    sides = [max(-(-side // step) * step, low) for side, step, low in zip(x.shape[1:], steps, least, strict=True)]
    pads = [(0, 0)] + [(0, wanted - side) for side, wanted in zip(x.shape[1:], sides, strict=True)]
    tensor = torch.from_numpy(np.pad(x, pads, mode="reflect" if min(x.shape[1:]) > steps[-1] else "symmetric"))[None]
    form = torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d
    return tensor.contiguous(memory_format=form)
