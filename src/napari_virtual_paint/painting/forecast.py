"""What a painting will need, told before it starts."""

from __future__ import annotations

from math import ceil, prod

from napari_virtual_paint import device as devices
from napari_virtual_paint.models import Match, Model, ModelInfo, match
from napari_virtual_paint.networks.levels import Levelled
from napari_virtual_paint.networks.pieces import Pieced
from napari_virtual_paint.painting import fields
from napari_virtual_paint.painting.fieldwise import costs
from napari_virtual_paint.painting.probe import plan_field, probe
from napari_virtual_paint.painting.settings import Estimate, PaintSettings, span_slices
from napari_virtual_paint.stack import Stack

PATCHES = 4.0
"""Overlapping patches predict every pixel four times."""


def estimate(model: Model, stack: Stack, settings: PaintSettings | None = None) -> Estimate:
    """Foretell memory and time, and what speaks against the painting.

    Loads the network and measures the device's speed for some 0.1 s the first time: call it in a worker.

    Parameters
    ----------
    model, stack, settings
        As for `paint`.

    Raises
    ------
    ModelError
        If the image does not fit the model.
    """
    settings = settings or PaintSettings()
    info = model.info
    found = match(info, stack, settings.channels)
    chosen = devices.resolve(settings.device)
    shape = _field_shape(info, stack, found, settings)
    count = len(fields.places(stack, found))
    warnings = list(found.notes)
    network = model.network
    if isinstance(network, Levelled):
        costs = probe(network, len(info.channels))
        itemsize = 4 if settings.precision == "float32" else 2
        multiple = 2 ** (costs.reach.depth - 1)
        padded = tuple(ceil(side / multiple) * multiple for side in shape)
        tile = None if settings.tile == "auto" else settings.tile
        plan = plan_field(padded, costs, tile, chosen.kind, itemsize, chosen.free_memory)
        memory, macs = costs.memory(plan, len(info.channels), itemsize), costs.macs * prod(padded)
    elif isinstance(network, Pieced) and settings.blend == "exact":
        memory, macs = _pieces(info, network, shape)
    else:
        weights = sum(p.numel() * p.element_size() for p in network.parameters())
        memory, macs = weights + 256 * 4 * prod(shape), 1e3 * prod(shape)
    memory += 4 * len(info.stains) * prod(shape) * count if chosen.kind == "cpu" else 0
    seconds = count * macs / devices.throughput(chosen.kind, settings.precision) * (1.0 if settings.blend == "exact" else PATCHES)
    if memory > chosen.free_memory:
        warnings.append(
            f"About {memory / 2**30:.1f} GiB of memory are needed and {chosen.free_memory / 2**30:.1f} GiB are free on {chosen.kind}; "
            "tiles will shrink as far as that helps."
        )
    return Estimate(memory, chosen.free_memory, seconds, str(chosen), tuple(warnings))


def _pieces(info: ModelInfo, network: Pieced, shape: tuple[int, ...]) -> tuple[int, float]:
    """Return bytes and multiply-accumulates of a network that paints in pieces, its window of planes slid over a stack."""
    sides = [max(ceil(side / network.multiple), 2) * network.multiple for side in shape[-2:]]
    fixed = info.min_size[:-2] if info.step_size and info.step_size[0] == 0 else shape[:-2]
    memory, macs = costs(info.architecture, info.config, (len(info.channels), *fixed, *sides))
    windows = max(shape[0] - fixed[0] + 1, 1) if fixed else 1
    return memory, macs * windows


def _field_shape(info: ModelInfo, stack: Stack, found: Match, settings: PaintSettings) -> tuple[int, ...]:
    """Return the sides ([Z,] Y, X) of what the network will see."""
    _, _, planes, height, width = stack.shape
    spans = span_slices(settings.region, height, width)
    sides = [s.stop - s.start for s in spans]
    shape = (planes, *sides) if found.mode == "volume" else tuple(sides)
    factors = fields.zoom(info, stack.pixel_size) if settings.resample else None
    return shape if factors is None else tuple(max(round(side * f), 1) for side, f in zip(shape, factors, strict=True))
