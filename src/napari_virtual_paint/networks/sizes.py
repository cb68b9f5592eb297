"""The image sides that a network takes."""

from __future__ import annotations

from torch import nn

from napari_virtual_paint.networks.encoder_decoder import EncoderDecoder
from napari_virtual_paint.networks.staged import StagedNetwork


def valid_sides(network: nn.Module) -> tuple[tuple[int, int], ...] | None:
    """Return the smallest side and the step of each axis ([Z,] Y, X); with a step of 0 the smallest is the only one.

    None for a network that is neither an `EncoderDecoder` nor a `StagedNetwork`: its sides can't be known from outside.
    """
    if isinstance(network, EncoderDecoder):
        step = 2 ** (network.depth - 1)
        return ((step, step),) * network.dims
    if isinstance(network, StagedNetwork):
        planes, step = fixed_planes(network), network.multiple
        # A normalization needs more than one pixel at the deepest level, hence twice the step.
        return (*(() if planes is None else ((planes, 0),)), *((2 * step, step),) * 2)
    return None


def fixed_planes(network: nn.Module) -> int | None:
    """Return the number of planes that a network of volumes takes at once; None where any number will do."""
    planes = getattr(getattr(network, "config", None), "planes", None)
    return int(planes) if planes is not None and getattr(network, "dims", 2) == 3 else None


def multiples(network: nn.Module) -> tuple[int, ...]:
    """Return what each side ([Z,] Y, X) must be a multiple of; 1 where it is fixed.

    Raises `TypeError` if the network's sides can't be known from outside.
    """
    return tuple(max(step, 1) for _, step in _known(network))


def smallest(network: nn.Module) -> tuple[int, ...]:
    """Return the smallest sides ([Z,] Y, X).

    Raises `TypeError` if the network's sides can't be known from outside.
    """
    return tuple(least for least, _ in _known(network))


def radius_of(network: nn.Module) -> int:
    """Return the radius of the receptive field of an `EncoderDecoder` in pixels; 0 for other networks, which may use the whole field."""
    if not isinstance(network, EncoderDecoder):
        return 0
    depth, halo, head = network.depth, network.halo, network.head_halo
    radius = 0
    for pixel in range(2 ** (depth - 1)):  # the reach depends on the pixel's place in the coarsest grid
        low = high = pixel
        for _ in range(depth - 1):
            low, high = (low - halo) // 2, (high + halo) // 2
        low, high = low - halo, high + halo
        for _ in range(depth - 1):
            low, high = 2 * low - halo, 2 * high + 1 + halo
        radius = max(radius, pixel - low + head, high + head - pixel)
    return radius


def _known(network: nn.Module) -> tuple[tuple[int, int], ...]:
    if (sides := valid_sides(network)) is None:
        raise TypeError(f"{type(network).__name__} does not show which sides it takes.")
    return sides
