"""Bring a pair to what the network takes: selected channels and planes, one pixel size, scaled intensities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models.channel_names import UNSTAINED, find_names, parse_name
from napari_virtual_paint.models.resampling import resize
from napari_virtual_paint.normalize import ZSCORE, Step, fit
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.training.config.data import Data, Fixed, Range, Robust, Scale, Steps, Tiles
from napari_virtual_paint.training.data.channel_order import ChannelOrder, by_names_given, followed
from napari_virtual_paint.training.data.source import PairSource

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class UselessError(InputError):
    """An image that cannot be trained on."""


def open_selected(item: PairSource, data: Data, order: ChannelOrder | None = None, notes: list[str] | None = None) -> tuple[Stack, Stack]:
    """Open a pair and select the configured channels and planes; no pixel is read.

    Parameters
    ----------
    order
        The channels of the first pair, which those of this one follow by name; None for the first.
    notes
        Gets a sentence for what is not obvious.

    Raises
    ------
    InputError
        If a channel or plane is missing, the pair has other channels than the first, or the channel names of an image that holds both
        don't separate input and stains.
    ReadError
        If a file can't be read.
    """
    source, target = item.open()
    inputs: Sequence[int | str] | None = data.input_channels
    targets: Sequence[int | str] | None = data.target_channels
    if item.together and (inputs is None or targets is None):
        inputs, targets = _separate_channels(source, item.input, inputs, targets, data)
    notes = [] if notes is None else notes
    source, target = _select(source, inputs, item.input, data, notes), _select(target, targets, item.target, data, notes)
    if order is None:
        target = by_names_given(target, data.stains, data.names)
    else:
        source, target = followed(source, target, order, (item.input, item.target), data.names, notes)
    if data.pixel_size is not None:
        size = PixelSize(*data.pixel_size)
        source, target = replace(source, pixel_size=size), replace(target, pixel_size=size)
    return _planes(source, data.input_planes, item.input), _planes(target, data.target_planes, item.target)


def _select(stack: Stack, channels: Sequence[int | str] | None, label: str, data: Data, notes: list[str]) -> Stack:
    """Select the configured channels, by their names or other names of the same stains."""
    return stack if channels is None else stack.select([_position(stack, channel, label, data, notes) for channel in channels])


def _position(stack: Stack, channel: int | str, label: str, data: Data, notes: list[str] | None = None) -> int:
    """Return the position of a configured channel."""
    try:
        return stack.channel_index(channel)
    except KeyError as error:
        place = find_names([channel], stack.channel_labels, data.names)[0] if isinstance(channel, str) else None
        if place is None:
            raise InputError(f"{label}: {error.args[0]}.") from None
        if notes is not None:
            notes.append(f"{stack.channel_labels[place]} is taken as {channel}, another name of the same stain.")
        return place


def _separate_channels(
    stack: Stack, label: str, inputs: Sequence[int | str] | None, targets: Sequence[int | str] | None, data: Data
) -> tuple[Sequence[int | str], Sequence[int | str]]:
    """Separate unstained channels from stains by their names, where the configuration doesn't."""
    labels = stack.channel_labels
    unstained = [parse_name(name, data.names).kind in UNSTAINED for name in labels]
    used = {_position(stack, channel, label, data) for channel in (*(inputs or ()), *(targets or ()))}
    if inputs is None:
        inputs = [i for i, is_input in enumerate(unstained) if is_input and i not in used]
    if targets is None:
        targets = [i for i, is_input in enumerate(unstained) if not is_input and i not in used]
    if not inputs or not targets:
        missing, field = ("brightfield, phase contrast or DIC", "input") if not inputs else ("a stain", "target")
        raise InputError(f"{label}: none of its channels ({', '.join(labels)}) is {missing} by its name; set data.{field}_channels.")
    return inputs, targets


def _planes(stack: Stack, planes: Sequence[int] | None, label: str) -> Stack:
    """Select the configured planes."""
    if planes is None:
        return stack
    count = stack.shape[2]
    if any(not -count <= plane < count for plane in planes):
        raise InputError(f"{label}: it has {count} planes, counted from 0, and no plane {max(planes, key=abs)}.")
    chosen = [plane % count for plane in planes]
    steps = set(np.diff(chosen).tolist())
    z = stack.pixel_size.z
    apart = z * abs(steps.pop()) if z is not None and len(steps) == 1 else None
    return replace(stack, data=stack.data[:, :, chosen], pixel_size=stack.pixel_size._replace(z=apart))


def sides(stack: Stack, data: Data, dims: int, label: str) -> tuple[int, ...] | None:
    """Return the sides ([z,] y, x) after resampling; None where nothing is resampled.

    Raises `InputError` if the image's pixel size is unknown.
    """
    if data.resample is None:
        return None
    ours = stack.pixel_size[-dims:]
    if any(have is None and want is not None for have, want in zip(ours, data.resample[-dims:], strict=True)):
        axes = "z, y or x" if dims == 3 else "y or x"
        raise InputError(f"{label}: it can't be resampled, since its pixel size along {axes} is unknown; set data.pixel_size.")
    factors = [1.0 if have is None or want is None else have / want for have, want in zip(ours, data.resample[-dims:], strict=True)]
    # As in painting.fields.prepare, so that a field painted with --resample has the pixels that were trained on.
    return tuple(max(round(side * factor), 1) for side, factor in zip(stack.shape[-dims:], factors, strict=True))


def resampled(pixels: Floats, shape: Sequence[int] | None) -> Floats:
    """Resample pixels (C, [Z,] Y, X) to other sides, as painting does."""
    return pixels if shape is None else resize(pixels, shape)


def new_pixel_size(found: PixelSize, data: Data, dims: int) -> PixelSize:
    """Return the pixel size after resampling."""
    if data.resample is None:
        return found
    z, y, x = data.resample
    return PixelSize(z if z is not None and dims == 3 else found.z, y, x)


def steps_of(scale: Scale, clip: float | None = None) -> tuple[Step, ...]:
    """Return the processing steps of a package for a scale of the configuration."""
    clipping = (Step("clip", True, {"min": -clip, "max": clip}),) if clip else ()
    if isinstance(scale, Steps):
        return (*(Step(step.kind, step.per_channel, step.values) for step in scale.steps), *clipping)
    if isinstance(scale, Fixed):
        return (Step("fixed_zero_mean_unit_variance", True, {"mean": list(scale.mean), "std": list(scale.std)}), *clipping)
    if isinstance(scale, Robust):
        low, high = (float(stats.norm.ppf(percentile / 100)) for percentile in (max(scale.low, 0.1), min(scale.high, 99.9)))
        between = Step("scale_range", True, {"min_percentile": scale.low, "max_percentile": scale.high, "eps": 1e-6})
        return (between, Step("scale_linear", True, {"gain": high - low, "offset": low}), *clipping)
    if isinstance(scale, Range):
        between = Step("scale_range", True, {"min_percentile": scale.darkest, "max_percentile": scale.brightest, "eps": 1e-6})
        return (between, Step("scale_linear", True, {"gain": 2.0, "offset": -1.0}), *clipping)
    return (*ZSCORE, *clipping)


def to_scale(pixels: npt.NDArray[np.generic], scale: Scale, label: str, clip: float | None = None, names: Sequence[str] = ()) -> Floats:
    """Scale a field (C, ...), each channel by itself; pixels that are no numbers get the channel's mean.

    Parameters
    ----------
    label
        Of the image, for errors.
    names
        Of its channels, for errors.

    Raises
    ------
    UselessError
        If a channel is constant, or has no pixel that is a number.
    InputError
        If the given numbers are not one per channel.
    """
    if isinstance(scale, Fixed) and len(scale.mean) not in (1, len(pixels)):
        raise InputError(f"{label} has {len(pixels)} channels but normalize gives {len(scale.mean)} means.")
    fitted = fit(pixels, steps_of(scale, clip))
    if any("same value" in problem for problem in fitted.problems):
        which, empty = _constant(pixels, names)
        what = "no pixel is a number" if empty else "every pixel is the same"
        raise UselessError(f"{label} has a channel in which {what}{which}; nothing can be learnt from it, leave it out.")
    return fitted.apply(pixels)


def _constant(pixels: npt.NDArray[np.generic], names: Sequence[str]) -> tuple[str, bool]:
    """Return the names of the constant channels of a field, and whether they hold no number at all."""
    flat, empty = [], True
    for name, channel in zip(names, pixels, strict=False):
        numbers = channel[np.isfinite(channel)] if channel.dtype.kind == "f" else channel
        if not numbers.size or numbers.min() == numbers.max():
            flat.append(name)
            empty = empty and not numbers.size
    return f" ({', '.join(flat)})" if flat else "", bool(flat) and empty


def usable_pixels(x: npt.NDArray[np.generic], tiles: Tiles | None) -> Mask:
    """Return which pixels (Y, X) hold data: all, or those of montage places that hold a cell.

    A place without a cell is flat or striped: constant along y in each channel, or along x.
    """
    height, width = x.shape[-2:]
    usable = np.ones((height, width), bool)
    if tiles is None or not tiles.skip_empty:
        return usable
    size = tiles.size
    for top in range(0, height, size):
        for left in range(0, width, size):
            place = x[..., top : top + size, left : left + size]
            if (place == place[..., :1, :]).all() or (place == place[..., :1]).all():
                usable[top : top + size, left : left + size] = False
    return usable
