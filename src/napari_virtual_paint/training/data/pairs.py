"""Pairs of input and target: found, read, brought to scale, parted into what is trained on and what is held out."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.training.config.data import Data
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.scaling import (
    UselessError,
    new_pixel_size,
    resampled,
    sides,
    steps_of,
    to_scale,
    usable_pixels,
    wanted,
)
from napari_virtual_paint.training.data.source import SUBSETS, PairSource, Subset
from napari_virtual_paint.training.data.split import Mask, held_out, parts_of, region, trained_on
from napari_virtual_paint.training.data.store import Floats, Mapped, PairStore, Pixels, Scaled, TrainingData

__all__ = [
    "DataSet",
    "Floats",
    "Mapped",
    "Mask",
    "Pair",
    "PairInspector",
    "Pixels",
    "load",
    "loading",
    "raw_input",
    "region",
    "steps_of",
    "to_scale",
    "usable_pixels",
]


@dataclass(frozen=True, eq=False)
class Pair:
    """A pair, brought to scale.

    Parameters
    ----------
    name
        What the log and the errors call it.
    x
        Input, axes C[Z]YX, float32: an array, or `Mapped` where it lies on the disk (a part of it, ``x[...]``, is an array).
    y
        Target, axes C[Z]YX, float32, same pixels.
    parts
        For train, validation and test: the pixels (Y, X) that belong to it. Pairs share equal ones.
    told
        What is known of it: plate, well, batch, treatment and other columns.
    image
        Name of the image that it is of: one image gives a pair for each of its time points (and, to a 2D network, each of its planes).
    """

    name: str
    x: Pixels
    y: Pixels
    parts: dict[Subset, Mask]
    told: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    image: str = ""


@dataclass(frozen=True, eq=False)
class DataSet:
    """All pairs of a run with what a package must tell of them."""

    pairs: tuple[Pair, ...]
    channels: tuple[str, ...]
    stains: tuple[str, ...]
    pixel_size: PixelSize

    def holding(self, part: Subset) -> tuple[Pair, ...]:
        """Return the pairs with any pixel in this part."""
        return tuple(pair for pair in self.pairs if pair.parts[part].any())

    def whole(self) -> DataSet:
        """Return the set with everything to train on and nothing held out."""
        pairs = []
        pool: dict[bytes, Mask] = {}
        for pair in self.pairs:
            everything = np.logical_or.reduce([pair.parts[part] for part in SUBSETS])
            nothing = _shared(np.zeros_like(everything), pool)
            pairs.append(replace(pair, parts={"train": _shared(everything, pool), "validation": nothing, "test": nothing}))
        return replace(self, pairs=tuple(pairs))


class PairInspector(Protocol):
    """Looks at every pair while it is read (see `checks`)."""

    def wants(self, item: PairSource) -> bool:
        """Tell whether a pair must be read for it, though it may be kept already."""

    def see(self, item: PairSource, source: Stack, target: Stack) -> None:
        """Look at a pair, its pixels in memory and not yet brought to scale."""

    def excuses(self, item: PairSource, error: ReadError | UselessError) -> bool:
        """Take note of a pair that can't be used; True if the run goes on without it."""


def load(config: TrainConfig) -> DataSet:
    """Read every pair, bring it to scale and part it.

    Raises
    ------
    InputError
        If a pair can't be used; the sentence names the files.
    ReadError
        If a file can't be read.
    """
    return run_to_end(loading(config))


def loading(config: TrainConfig, look: PairInspector | None = None) -> Generator[Progress, None, DataSet]:
    """Read every pair as `load` does, and let something look at each.

    Pairs that take more memory than ``data.memory`` allows lie in files of the run's folder.

    Yields
    ------
    Progress
        Before each image.
    """
    sources = find(config.data)
    images = held_out(sources, config.split, config.seed)
    sources = trained_on(sources, images, config.split, config.seed)
    keeper, pool = PairStore(config, len(sources)), dict[bytes, Mask]()
    pairs: list[Pair] = []
    first: TrainingData | None = None
    last: ReadError | UselessError | None = None
    for number, item in enumerate(sources):
        yield Progress(number, len(sources), item.name)
        try:
            prepared = _prepared(item, config, keeper, look)
        except (ReadError, UselessError) as error:
            if look is None or not look.excuses(item, error):
                raise
            last = error
            continue
        first = first or prepared
        _same(item, prepared, first)
        for one in prepared.fields:
            parts = {part: _shared(mask, pool) for part, mask in parts_of(item, one.usable, config.split, images).items()}
            pairs.append(Pair(item.name + one.suffix, one.x, one.y, parts, item.told, item.name))
    if first is None:
        raise InputError(f"None of the pairs can be used; of the last one: {last}")
    found = DataSet(tuple(pairs), first.channels, first.stains, first.pixel_size)
    check(found, config)
    return found


def _prepared(item: PairSource, config: TrainConfig, keeper: PairStore, look: PairInspector | None) -> TrainingData:
    """Take a source's fields from where they are kept, else read them and keep them."""
    looking = look is not None and look.wants(item)
    kept = None if looking else keeper.find(item)
    if kept is not None:
        return kept
    source, target = (stack.compute() for stack in wanted(item, config.data))
    if look is not None and looking:
        look.see(item, source, target)
        if (kept := keeper.find(item)) is not None:
            return kept
    return keeper.keep(item, _prepare(item, source, target, config))


def _same(item: PairSource, prepared: TrainingData, first: TrainingData) -> None:
    """Refuse a pair with other channels than the first one's."""
    have, need = ((len(one.channels), len(one.stains)) for one in (prepared, first))
    if have != need:
        raise InputError(f"{item.input}: has {have[0]} channels and {have[1]} stains where the first pair has {need[0]} and {need[1]}.")


def _input_names(stack: Stack, data: Data) -> tuple[str, ...]:
    """Name the network's input channels."""
    planes = stack.shape[2]
    if not data.planes_as_channels:
        return stack.channel_labels
    many = stack.shape[1] > 1
    return tuple(f"{label} {z}" if many else f"z{z}" for label in stack.channel_labels for z in range(planes))


def _prepare(item: PairSource, source: Stack, target: Stack, config: TrainConfig) -> TrainingData:
    """Turn a pair of stacks into one field for each time point (and, for 2D networks, each plane)."""
    data, dims = config.data, config.network.dims
    to_x, to_y = sides(source, data, dims, item.input), sides(target, data, dims, item.target)
    if source.shape[0] != target.shape[0] or not _close(to_x or source.shape[3:], to_y or target.shape[3:], data.resample is not None):
        raise InputError(f"{item.target}: {_size(target)} do not fit the {_size(source)} of {item.input}.")
    inputs, targets = fields(source, dims, data.planes_as_channels), fields(target, dims, False)
    if len(inputs) != len(targets) or (
        dims == 3 and not _close((to_x or source.shape)[-3:], (to_y or target.shape)[-3:], to_x is not None)
    ):
        planes = 1 if data.planes_as_channels else source.shape[2]
        hint = "; set data.planes_as_channels if the input's planes are the network's channels" if dims == 2 else ""
        raise InputError(f"{item.target}: {target.shape[2]} z-planes where {planes} are needed for {item.input}{hint}.")
    stains = data.stains or target.channel_labels
    if len(stains) != target.shape[1]:
        raise InputError(f"data.stains names {len(stains)} stains, but {item.target} has {target.shape[1]} channels.")
    made = []
    for (suffix, raw_x), (_, raw_y) in zip(inputs, targets, strict=True):
        x = to_scale(raw_x, config.normalize.input, f"{item.input}: input", config.normalize.input_clip)
        x, y = _cropped(resampled(x, to_x), resampled(to_scale(raw_y, config.normalize.target, f"{item.target}: target"), to_y))
        usable = usable_pixels(raw_x, data.tiles) if data.tiles else np.ones(x.shape[-2:], bool)
        made.append(Scaled(suffix, x, y, usable))
    return TrainingData(_input_names(source, data), stains, new_pixel_size(source.pixel_size, data, dims), tuple(made))


def _close(a: Sequence[int], b: Sequence[int], rounded: bool) -> bool:
    """Tell whether sides are the same; those that were resampled may differ by a pixel, for rounding."""
    return all(abs(i - j) <= rounded for i, j in zip(a, b, strict=True))


def _cropped(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Cut off a last row, column or plane that one of two has and the other has not."""
    if x.shape[1:] == y.shape[1:]:
        return x, y
    at = (slice(None), *(slice(0, min(a, b)) for a, b in zip(x.shape[1:], y.shape[1:], strict=True)))
    return np.ascontiguousarray(x[at]), np.ascontiguousarray(y[at])


def fields(stack: Stack, dims: int, planes_as_channels: bool) -> list[tuple[str, npt.NDArray[np.generic]]]:
    """Part a stack into fields (C, [Z,] Y, X) as the network takes them, each with what is added to the pair's name."""
    times, channels, planes, height, width = stack.shape
    found = []
    for t in range(times):
        when = f" t{t}" if times > 1 else ""
        pixels = np.asarray(stack.data[t])
        if dims == 3:
            found.append((when, pixels))
        elif planes_as_channels:
            found.append((when, pixels.reshape(channels * planes, height, width)))
        else:
            found += [(when + (f" z{z}" if planes > 1 else ""), pixels[:, z]) for z in range(planes)]
    return found


def raw_input(config: TrainConfig) -> npt.NDArray[np.generic]:
    """Return the first field of the first input, its intensities as they lie in the file, (C, [Z,] Y, X)."""
    for item in find(config.data):
        try:
            stack, _ = wanted(item, config.data)
            pixels = fields(stack, config.network.dims, config.data.planes_as_channels)[0][1]
        except ReadError:
            if config.data.checks != "leave_out":
                raise
            continue
        shape = sides(stack, config.data, config.network.dims, item.input)
        return pixels if shape is None else resampled(pixels.astype(np.float32), shape)
    raise InputError("None of the inputs can be read.")


def _size(stack: Stack) -> str:
    t, _, _, y, x = stack.shape
    return f"{t} time point{'s' * (t > 1)} of {y} x {x} px"


def _shared(mask: Mask, pool: dict[bytes, Mask]) -> Mask:
    """Return one and the same mask for all that are equal: those of thousands of pairs would fill the memory."""
    key = np.array(mask.shape).tobytes() + np.packbits(mask).tobytes()
    return pool.setdefault(key, mask)


def check(found: DataSet, config: TrainConfig) -> None:
    """Refuse a set that can't be trained on, before any work is done.

    Raises
    ------
    InputError
        If nothing is left to train on or held out, or a patch does not fit.
    """
    if not found.holding("train"):
        raise InputError("Nothing is left to train on: split holds every image out.")
    if config.split.validation is not None and not found.holding("validation"):
        raise InputError("split.validation holds nothing out; choose another region or other images.")
    for pair in found.holding("train"):
        if any(side < patch for side, patch in zip(pair.x.shape[1:], config.patch, strict=True)):
            shown = " x ".join(map(str, pair.x.shape[1:]))
            raise InputError(
                f"{pair.name}: {shown} px is smaller than a patch ({' x '.join(map(str, config.patch))}); set a smaller patch."
            )
