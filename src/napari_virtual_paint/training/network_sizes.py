"""Check the size of training patches, and run a network on a field of any size while it trains."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.networks.sizes import fixed_planes, multiples, smallest
from napari_virtual_paint.painting.sliding_z import average, slide

Floats = npt.NDArray[np.float32]


def check_patch(network: nn.Module, patch: tuple[int, ...]) -> None:
    """Refuse a patch that the network can't take.

    Raises `InputError` if a side is no multiple of what the network needs, or too small; or the patch has not as many planes as the network
    takes.
    """
    size = " x ".join(map(str, patch))
    planes, sides = fixed_planes(network), multiples(network)
    if planes is not None and patch[0] != planes:
        raise InputError(f"patch: the first number must be {planes} for this network, the planes that it takes at once, not {patch[0]}.")
    if any(side % step for side, step in zip(patch, sides, strict=True)):
        raise InputError(f"patch: each side must be a multiple of {sides[-1]} for this network, not {size}.")
    if any(side < least for side, least in zip(patch, smallest(network), strict=True)):
        raise InputError(f"patch: y and x must be {smallest(network)[-1]} or more for this network, not {size}.")


def check_normalized(network: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse a batch of which a layer that normalizes would get a single value, so that nothing but its mean is left.

    Parameters
    ----------
    network
        Without memory for its weights (on the device ``meta``).
    shape
        (patches, C, [Z,] Y, X) of a batch.

    Raises
    ------
    InputError
        If the patch is too small.
    """
    try:
        network.train()(torch.empty(shape, device="meta"))
    except ValueError as error:
        if "Expected more than 1" not in str(error):
            raise
        size = " x ".join(map(str, shape[2:]))
        raise InputError(
            f"patch: of {size} with a batch of {shape[0]} a single value is left in the network's deepest layer, "
            "which can't be normalized; set a larger patch."
        ) from error


def run_whole(network: nn.Module, x: Floats, device: torch.device | str) -> Floats:
    """Run a network on a field as a whole: padded by reflection, and, where it takes so many planes, in windows slid by one.

    Parameters
    ----------
    network
        In eval mode.
    x
        (C, [Z,] Y, X), on the network's scale.

    Returns
    -------
    ndarray
        (stains, [Z,] Y', X'), padding included behind what was given.
    """
    planes = fixed_planes(network)
    with torch.inference_mode():
        if planes is None:
            return _predict(network, x, device)
        windows = list(slide(x, planes))
        painted = ((at, 1.0, None, _predict(network, window, device)) for at, (_, window) in enumerate(windows))
        found = average([first for first, _ in windows], planes, x.shape[1], painted)
        return np.concatenate([stains for _, _, stains in found if stains is not None], axis=1)


def _predict(network: nn.Module, x: Floats, device: torch.device | str) -> Floats:
    out: Floats = network(padded(x, network).to(device)).float().cpu()[0].numpy()
    return out


def padded(x: Floats, network: nn.Module) -> Tensor:
    """Pad by reflection to the sides that the network takes; (C, [Z,] Y, X) -> (1, C, [Z,] Y, X)."""
    steps, least = multiples(network), smallest(network)
    sides = [max(-(-side // step) * step, low) for side, step, low in zip(x.shape[1:], steps, least, strict=True)]
    pads = [(0, 0)] + [(0, padded_side - side) for side, padded_side in zip(x.shape[1:], sides, strict=True)]
    tensor = torch.from_numpy(np.pad(x, pads, mode="reflect" if min(x.shape[1:]) > steps[-1] else "symmetric"))[None]
    form = torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d
    return tensor.contiguous(memory_format=form)
