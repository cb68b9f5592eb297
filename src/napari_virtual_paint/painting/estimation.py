"""Estimate memory, run time and disk space of a painting before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import ceil, prod

from napari_virtual_paint import device as devices
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import Match, Model, ModelInfo
from napari_virtual_paint.networks.encoder_decoder import EncoderDecoder
from napari_virtual_paint.networks.staged import StagedNetwork
from napari_virtual_paint.painting import network_input
from napari_virtual_paint.painting.blocks import BlockNeeds, block_side, limits_of, must_be_whole, part_bytes
from napari_virtual_paint.painting.exact.global_norm import costs
from napari_virtual_paint.painting.exact.receptive_field import plan_field, probe
from napari_virtual_paint.painting.model_set import ModelSet, as_model_set, matches
from napari_virtual_paint.painting.results import Estimate
from napari_virtual_paint.painting.settings import PaintSettings, span_slices
from napari_virtual_paint.painting.speed import measured
from napari_virtual_paint.painting.tta import TTA
from napari_virtual_paint.runtime.scratch import in_memory
from napari_virtual_paint.runtime.text import byte_size
from napari_virtual_paint.stack import Stack

BEYOND = 2.0  # times all memory of the device that a field may be estimated to need
UNKNOWN = 1e3  # multiply-accumulates a pixel that are counted for networks of unknown structure; only ratios matter
PATCHES = 4.0  # predictions of each pixel by overlapping patches


def estimate(model: Model | ModelSet, stack: Stack, settings: PaintSettings | None = None) -> Estimate:
    """Estimate memory and run time, and list warnings.

    Loads the networks, and measures how fast they are the first time (some tenths of a second): call it in a worker.

    Parameters
    ----------
    model, stack, settings
        As for `paint`.

    Raises
    ------
    ModelError
        If the image does not fit a model.
    """
    settings = settings or PaintSettings()
    models = as_model_set(model)
    found = matches(models, stack, settings)
    chosen = devices.resolve(settings.device)
    memory, disk = _all_needs(models, found, stack, settings, chosen)
    seconds = sum(_seconds(member.model, stack, each, settings, chosen) for member, each in zip(models.members, found, strict=True))
    warnings = list(dict.fromkeys(note for each in found for note in each.notes))
    if memory > chosen.free_memory:
        warnings.append(
            f"About {byte_size(memory)} of memory are needed and {byte_size(chosen.free_memory)} are free on {chosen.kind}; "
            "tiles will shrink as far as that helps."
        )
    if disk:
        warnings.append(f"About {byte_size(disk)} of disk are needed for temporary files while it paints.")
    passes = len(TTA[settings.tta].transforms) * len(models.members)
    return Estimate(memory, chosen.free_memory, seconds, str(chosen), tuple(warnings), passes, disk)


def memory_needed(model: Model | ModelSet, stack: Stack, settings: PaintSettings) -> int:
    """Return the bytes of memory as in `estimate`, without measuring the networks' speed."""
    models = as_model_set(model)
    return _all_needs(models, matches(models, stack, settings), stack, settings, devices.resolve(settings.device))[0]


def _all_needs(models: ModelSet, found: Sequence[Match], stack: Stack, settings: PaintSettings, chosen: devices.Device) -> tuple[int, int]:
    """Return bytes of memory and bytes on disk of a painting."""
    memory = max(_needs(member.model, stack, each, settings, chosen)[0] for member, each in zip(models.members, found, strict=True))
    stains, disk = _stains(models, found, stack, settings)
    return memory + (stains if chosen.kind == "cpu" else 0), disk


def _seconds(model: Model, stack: Stack, found: Match, settings: PaintSettings, chosen: devices.Device) -> float:
    """Return the seconds in which a model paints an image: its work, at the speed of a small field."""
    sides, seconds = measured(model, chosen.kind, settings)
    work = _needs(model, stack, found, settings, chosen)[1] * len(network_input.places(stack, found)) * len(TTA[settings.tta].transforms)
    return seconds * work / _work(model, sides, settings) * (1.0 if settings.blend == "exact" else PATCHES)


def _work(model: Model, sides: tuple[int, ...], settings: PaintSettings) -> float:
    """Return the multiply-accumulates of one pass over a padded field of these sides ([Z,] Y, X), as `_needs` counts them."""
    info, network = model.info, model.network
    if isinstance(network, EncoderDecoder):
        return probe(network, len(info.channels)).macs * prod(sides)
    if isinstance(network, StagedNetwork) and settings.blend == "exact":
        return _staged_needs(info, network, sides)[1]
    return UNKNOWN * prod(sides)


def check_fits(model: Model, found: Match, stack: Stack, settings: PaintSettings) -> None:
    """Raise an `InputError` if a network that normalizes over the whole field has no chance to take this one at once.

    Its maps are estimated generously, so only a field that needs far more than all memory is refused.
    """
    if not isinstance(model.network, StagedNetwork) or settings.blend != "exact":
        return
    chosen = devices.resolve(settings.device)
    needed, _ = _staged_needs(model.info, model.network, _field_shape(model.info, stack, found, replace(settings, region=None)))
    if needed > BEYOND * chosen.total_memory:
        raise InputError(
            f"{stack.source or 'The image'}: model {model.info.id} normalizes over the whole field, which takes about {byte_size(needed)} "
            f"for {stack.shape[3]} x {stack.shape[4]} pixels, and {chosen.kind} has {byte_size(chosen.total_memory)}; crop the image."
        )


def shares(models: Sequence[tuple[Model, Match]], stack: Stack, settings: PaintSettings) -> list[float]:
    """Return each model's share of the work on one image, by multiply-accumulates."""
    if len(models) == 1:
        return [1.0]
    chosen = devices.resolve(settings.device)
    work = [_needs(model, stack, found, settings, chosen)[1] * len(network_input.places(stack, found)) for model, found in models]
    return [each / sum(work) for each in work]


def _needs(model: Model, stack: Stack, found: Match, settings: PaintSettings, chosen: devices.Device) -> tuple[int, float]:
    """Return bytes on the device, without the stains, and multiply-accumulates of one pass of a model over a field."""
    info, network = model.info, model.network
    shape = _field_shape(info, stack, found, settings)
    if isinstance(network, EncoderDecoder):
        probed = probe(network, len(info.channels))
        itemsize = 4 if settings.precision == "float32" else 2
        multiple = 2 ** (probed.reach.depth - 1)
        padded = tuple(ceil(side / multiple) * multiple for side in shape)
        tile = None if settings.tile == "auto" else settings.tile
        plan = plan_field(padded, probed, tile, chosen.kind, itemsize, chosen.free_memory)
        memory, work = probed.memory(plan, len(info.channels), itemsize), probed.macs * prod(padded)
        if settings.blend == "exact" and not must_be_whole(info, settings):
            need = partial(part_bytes, info, stack, found, settings, probed)
            split = BlockNeeds(probed.reach.field(), multiple, need)
            side = block_side(padded[-2], padded[-1], [split], limits_of(None, chosen.free_memory, chosen.kind, steady=settings.steady))
            if side is not None:
                read = [min(side + 2 * split.reach, most) for most in padded[-2:]]
                memory = min(memory, probed.weights + probed.tile_bytes(plan, itemsize) + split.need(read[0], read[1]))
        return memory, work
    if isinstance(network, StagedNetwork) and settings.blend == "exact":
        return _staged_needs(info, network, shape)
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    return weights + 256 * 4 * prod(shape), UNKNOWN * prod(shape)


def _stains(models: ModelSet, found: Sequence[Match], stack: Stack, settings: PaintSettings) -> tuple[int, int]:
    """Return the bytes of the stains, their SDs and the passes of a median: in memory, and on disk where memory is too small."""
    times, stains, planes, _, _ = network_input.output_shape(stack, found[0], len(models.stains))
    y, x = span_slices(settings.region, *stack.shape[3:])
    plane = 4 * (y.stop - y.start) * (x.stop - x.start)
    turns = len(TTA[settings.tta].transforms)
    makers = [count for count in models.makers() if count * turns > 1]
    unit = plane * (planes if any(each.mode == "volume" for each in found) else 1)
    parts = [(plane * times * planes * stains, False), (plane * times * planes * len(makers), False)]
    parts += [(unit * sum(makers) * turns, True)] if settings.merge == "median" else []
    parts += [(unit * len(makers), False)] if any(count > 1 for count in makers) else []
    disk = sum(size for size, passes in parts if not in_memory(size, passes=passes))
    return sum(size for size, _ in parts) - disk, disk


def _staged_needs(info: ModelInfo, network: StagedNetwork, shape: tuple[int, ...]) -> tuple[int, float]:
    """Return bytes and multiply-accumulates of a staged network, its window of planes slid along z."""
    sides = [max(ceil(side / network.multiple), 2) * network.multiple for side in shape[-2:]]
    fixed = info.min_size[:-2] if info.step_size and info.step_size[0] == 0 else shape[:-2]
    memory, macs = costs(info.architecture, info.config, (len(info.channels), *fixed, *sides))
    windows = max(shape[0] - fixed[0] + 1, 1) if fixed else 1
    return memory, macs * windows


def _field_shape(info: ModelInfo, stack: Stack, found: Match, settings: PaintSettings) -> tuple[int, ...]:
    """Return the sides ([Z,] Y, X) of the network's input."""
    _, _, planes, height, width = stack.shape
    spans = span_slices(settings.region, height, width)
    sides = [s.stop - s.start for s in spans]
    shape = (planes, *sides) if found.mode == "volume" else tuple(sides)
    factors = network_input.zoom(info, stack.pixel_size) if settings.resample else None
    return shape if factors is None else tuple(max(round(side * f), 1) for side, f in zip(shape, factors, strict=True))
