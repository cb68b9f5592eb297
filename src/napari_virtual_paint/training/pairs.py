"""Pairs of input and target: found in a folder or a table, read, brought to scale, parted into what is trained on and what is held out."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.normalize import ZSCORE, Step, fit
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.training.config import TrainConfig
from napari_virtual_paint.training.config_data import Band, Data, Fixed, Rectangle, Robust, Scale, Split, Tiles
from napari_virtual_paint.training.sources import PARTS, Part, Source, find

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pair:
    """A pair in memory, brought to scale.

    Parameters
    ----------
    name
        What the log and the errors call it.
    x
        Input, axes C[Z]YX, float32.
    y
        Target, axes C[Z]YX, float32, same pixels.
    parts
        For train, validation and test: the pixels (Y, X) that belong to it.
    """

    name: str
    x: Floats
    y: Floats
    parts: dict[Part, Mask]


@dataclass(frozen=True, eq=False)
class DataSet:
    """All pairs of a run with what a package must tell of them."""

    pairs: tuple[Pair, ...]
    channels: tuple[str, ...]
    stains: tuple[str, ...]
    pixel_size: PixelSize

    def holding(self, part: Part) -> tuple[Pair, ...]:
        """Return the pairs with any pixel in this part."""
        return tuple(pair for pair in self.pairs if pair.parts[part].any())

    def whole(self) -> DataSet:
        """Return the set with everything to train on and nothing held out."""
        pairs = []
        for pair in self.pairs:
            everything = np.logical_or.reduce([pair.parts[part] for part in PARTS])
            nothing = np.zeros_like(everything)
            pairs.append(replace(pair, parts={"train": everything, "validation": nothing, "test": nothing}))
        return replace(self, pairs=tuple(pairs))


def load(config: TrainConfig) -> DataSet:
    """Read every pair into memory, bring it to scale and part it.

    Raises
    ------
    InputError
        If a pair can't be used; the sentence names the files.
    ReadError
        If a file can't be read.
    """
    sources = find(config.data)
    images = _held_out_images(sources, config)
    pairs: list[Pair] = []
    first: tuple[tuple[str, ...], tuple[str, ...], PixelSize] | None = None
    for item in sources:
        source, target = item.open()
        source, target = _select(source, config.data.input_channels, item.input), _select(target, config.data.target_channels, item.target)
        names = (_input_names(source, config.data), config.data.stains or target.channel_labels)
        if first is None:
            first = (*names, PixelSize(*config.data.pixel_size) if config.data.pixel_size else source.pixel_size)
        elif tuple(len(n) for n in names) != tuple(len(n) for n in first[:2]):
            wanted = f"the first pair has {len(first[0])} and {len(first[1])}"
            raise InputError(f"{item.input}: has {len(names[0])} channels and {len(names[1])} stains where {wanted}.")
        pairs += _prepare(item, source, target, config, images)
    assert first is not None
    if len(first[1]) != pairs[0].y.shape[0]:
        raise InputError(f"data.stains names {len(first[1])} stains, but {sources[0].target} has {pairs[0].y.shape[0]} channels.")
    found = DataSet(tuple(pairs), *first)
    _check(found, config)
    return found


def _select(stack: Stack, channels: tuple[str, ...] | None, label: str) -> Stack:
    """Take the channels that the configuration names."""
    if channels is None:
        return stack
    try:
        return stack.select(channels)
    except KeyError as error:
        raise InputError(f"{label}: {error.args[0]}.") from None


def _input_names(stack: Stack, data: Data) -> tuple[str, ...]:
    """Name the network's input channels."""
    planes = stack.shape[2]
    if not data.planes_as_channels:
        return stack.channel_labels
    many = stack.shape[1] > 1
    return tuple(f"{label} {z}" if many else f"z{z}" for label in stack.channel_labels for z in range(planes))


def _prepare(item: Source, source: Stack, target: Stack, config: TrainConfig, images: dict[Part, set[str]]) -> list[Pair]:
    """Turn a pair of stacks into one pair in memory for each time point (and, for 2D networks, each plane)."""
    if source.shape[0] != target.shape[0] or source.shape[3:] != target.shape[3:]:
        raise InputError(f"{item.target}: {_size(target)} do not fit the {_size(source)} of {item.input}.")
    inputs, targets = _fields(source, config, config.data.planes_as_channels), _fields(target, config, False)
    if len(inputs) != len(targets) or inputs[0][1].shape[1:] != targets[0][1].shape[1:]:
        planes = 1 if config.data.planes_as_channels else source.shape[2]
        hint = "; set data.planes_as_channels if the input's planes are the network's channels" if config.network.dims == 2 else ""
        raise InputError(f"{item.target}: {target.shape[2]} z-planes where {planes} are needed for {item.input}{hint}.")
    pairs = []
    scale = config.normalize
    for (suffix, x), (_, y) in zip(inputs, targets, strict=True):
        parts = _parts(item, usable_pixels(x, config.data.tiles), config.split, images)
        a = to_scale(x, scale.input, f"{item.input}: input", scale.input_clip)
        pairs.append(Pair(item.name + suffix, a, to_scale(y, scale.target, f"{item.target}: target"), parts))
    return pairs


def _fields(stack: Stack, config: TrainConfig, planes_as_channels: bool) -> list[tuple[str, npt.NDArray[np.generic]]]:
    """Part a stack into fields (C, [Z,] Y, X) as the network takes them, each with what is added to the pair's name."""
    times, channels, planes, height, width = stack.shape
    fields = []
    for t in range(times):
        when = f" t{t}" if times > 1 else ""
        pixels = np.asarray(stack.data[t])
        if config.network.dims == 3:
            fields.append((when, pixels))
        elif planes_as_channels:
            fields.append((when, pixels.reshape(channels * planes, height, width)))
        else:
            fields += [(when + (f" z{z}" if planes > 1 else ""), pixels[:, z]) for z in range(planes)]
    return fields


def raw_input(config: TrainConfig) -> npt.NDArray[np.generic]:
    """Return the first field of the first input as it lies in the file, (C, [Z,] Y, X)."""
    source = find(config.data)[0]
    stack = _select(source.open()[0], config.data.input_channels, source.input)
    return _fields(stack, config, config.data.planes_as_channels)[0][1]


def _size(stack: Stack) -> str:
    t, _, _, y, x = stack.shape
    return f"{t} time point{'s' * (t > 1)} of {y} x {x} px"


def steps_of(scale: Scale, clip: float | None = None) -> tuple[Step, ...]:
    """Return the package's processing steps for a scale of the configuration."""
    behind = (Step("clip", True, {"min": -clip, "max": clip}),) if clip else ()
    if isinstance(scale, Fixed):
        return (Step("fixed_zero_mean_unit_variance", True, {"mean": list(scale.mean), "std": list(scale.std)}), *behind)
    if isinstance(scale, Robust):
        low, high = (float(stats.norm.ppf(percentile / 100)) for percentile in (max(scale.low, 0.1), min(scale.high, 99.9)))
        between = Step("scale_range", True, {"min_percentile": scale.low, "max_percentile": scale.high, "eps": 1e-6})
        return (between, Step("scale_linear", True, {"gain": high - low, "offset": low}), *behind)
    return (*ZSCORE, *behind)


def to_scale(pixels: npt.NDArray[np.generic], scale: Scale, label: str, clip: float | None = None) -> Floats:
    """Bring a field (C, ...) to scale, each channel by itself.

    Raises
    ------
    InputError
        If a channel is constant, or the numbers given are not one a channel.
    """
    if isinstance(scale, Fixed) and len(scale.mean) not in (1, len(pixels)):
        raise InputError(f"{label} has {len(pixels)} channels but normalize gives {len(scale.mean)} means.")
    fitted = fit(pixels, steps_of(scale, clip))
    if any("same value" in problem for problem in fitted.problems):
        raise InputError(f"{label} has a channel in which every pixel is the same; nothing can be learnt from it, leave it out.")
    return fitted.apply(pixels)


def usable_pixels(x: npt.NDArray[np.generic], tiles: Tiles | None) -> Mask:
    """Tell which pixels (Y, X) hold data: all, or those of the places of a montage that hold a cell.

    A place without a cell is flat or striped: no change along y in any channel, or none along x.
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


def _held_out_images(sources: Sequence[Source], config: TrainConfig) -> dict[Part, set[str]]:
    """Choose the images held out whole: by the table, by pattern of their names, or a seeded fraction."""
    chosen: dict[Part, set[str]] = {"train": set(), "validation": set(), "test": set()}
    names = [source.name for source in sources]
    if any(source.split for source in sources):
        for source in sources:
            chosen[source.split or "train"].add(source.name)
        return chosen
    order = list(np.random.default_rng([config.seed, 1]).permutation(len(names)))
    for part, rule in (("test", config.split.test), ("validation", config.split.validation)):
        picked = chosen["test" if part == "test" else "validation"]
        if isinstance(rule, float):
            if len(order) < 2:
                raise InputError(f"split.{part}: a fraction of the images needs 2 images or more; hold out a region of each instead.")
            for _ in range(min(max(1, round(rule * len(names))), len(order) - 1)):
                picked.add(names[order.pop()])
        elif isinstance(rule, tuple):
            picked |= {name for name in names for pattern in rule if fnmatch.fnmatch(name, pattern)}
            if not picked:
                raise InputError(f"split.{part}: no image matches {', '.join(rule)}; there are {', '.join(names[:8])}.")
            order = [index for index in order if names[index] not in picked]
    return chosen


def _parts(item: Source, usable: Mask, split: Split, images: dict[Part, set[str]]) -> dict[Part, Mask]:
    """Part the pixels of one image. What is held out for the test goes before what is held out for validation."""
    left = usable.copy()
    parts: dict[Part, Mask] = {}
    by_table = item.split is not None
    for part, rule in (("test", split.test), ("validation", split.validation)):
        if item.name in images["test" if part == "test" else "validation"]:
            taken = left.copy()
        elif isinstance(rule, Band | Rectangle) and not by_table:
            taken = np.zeros_like(left)
            taken[region(rule, left.shape)] = True
            taken &= left
        else:
            taken = np.zeros_like(left)
        parts["test" if part == "test" else "validation"] = taken
        left &= ~taken
    parts["train"] = left
    return parts


def region(rule: Band | Rectangle, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns of a region of an image (Y, X)."""
    if isinstance(rule, Band):
        low, high = (0.0, rule.fraction) if rule.side in ("left", "top") else (1 - rule.fraction, 1.0)
        rule = Rectangle(x=(low, high)) if rule.side in ("left", "right") else Rectangle(y=(low, high))
    (y0, y1), (x0, x1) = rule.y, rule.x
    height, width = shape
    return slice(round(y0 * height), round(y1 * height)), slice(round(x0 * width), round(x1 * width))


def _check(found: DataSet, config: TrainConfig) -> None:
    """Refuse a set that can't be trained on, before any work is done."""
    if not found.holding("train"):
        raise InputError("Nothing is left to train on: split holds every image out.")
    if config.split.validation is not None and not found.holding("validation"):
        raise InputError("split.validation holds nothing out; choose another region or other images.")
    for pair in found.holding("train"):
        if any(side < patch for side, patch in zip(pair.x.shape[1:], config.patch, strict=True)):
            sides = " x ".join(map(str, pair.x.shape[1:]))
            raise InputError(
                f"{pair.name}: {sides} px is smaller than a patch ({' x '.join(map(str, config.patch))}); set a smaller patch."
            )
