"""Pairs of input and target: find, read, scale and split them into training and held-out parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError, ReadError, VirtualPaintError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import notes_of_files
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.training.config.data import Data
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.channel_order import ChannelOrder, order_of
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.inputs import keep_inputs
from napari_virtual_paint.training.data.scaling import (
    UselessError,
    new_pixel_size,
    open_selected,
    resampled,
    sides,
    to_scale,
    usable_pixels,
)
from napari_virtual_paint.training.data.source import SUBSETS, PairSource, Subset
from napari_virtual_paint.training.data.split import Mask, held_out, parts_of, trained_on
from napari_virtual_paint.training.data.store import Floats, PairStore, Pixels, Scaled, TrainingData

SIZE = 0.02  # relative difference of two pixel sizes above which it is said


@dataclass(frozen=True, eq=False)
class Pair:
    """A scaled pair."""

    name: str  # name in logs and errors
    x: Pixels  # input, axes C[Z]YX, float32: an array, or `Mapped` on disk (indexing gives an array)
    y: Pixels  # target, axes C[Z]YX, float32, the same pixels
    parts: dict[Subset, Mask]  # for train, validation and test: the pixels (Y, X) that belong to it. Pairs share equal masks.
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Plate, well, batch, treatment and other known columns."""
    image: str = ""  # name of its image: one image gives a pair per time point (and, for a 2D network, per plane)


@dataclass(frozen=True, eq=False)
class DataSet:
    """All pairs of a run, and the names and pixel size that its package states."""

    pairs: tuple[Pair, ...]
    channels: tuple[str, ...]
    stains: tuple[str, ...]
    pixel_size: PixelSize
    order: ChannelOrder | None = None  # the channels of the files that the pairs are from
    notes: tuple[str, ...] = ()  # what the user should know of the pairs, one sentence each

    def holding(self, part: Subset) -> tuple[Pair, ...]:
        """Return the pairs that have pixels in this part."""
        return tuple(pair for pair in self.pairs if pair.parts[part].any())

    def whole(self) -> DataSet:
        """Return the set with every pixel in the training part and nothing held out."""
        pairs = []
        pool: dict[bytes, Mask] = {}
        for pair in self.pairs:
            everything = np.logical_or.reduce([pair.parts[part] for part in SUBSETS])
            nothing = _shared(np.zeros_like(everything), pool)
            pairs.append(replace(pair, parts={"train": _shared(everything, pool), "validation": nothing, "test": nothing}))
        return replace(self, pairs=tuple(pairs))


class PairInspector(Protocol):
    """Inspect every pair while it is read (see `training.pair_checks`)."""

    sources: Sequence[PairSource]
    """All pairs of the run, found once for inspecting and loading."""
    store: PairStore

    def wants(self, item: PairSource) -> bool:
        """Return whether a pair must be read for inspection even if it is stored already."""

    def inspect(self, item: PairSource, source: Stack, target: Stack) -> None:
        """Inspect a pair; its pixels are in memory and not yet scaled."""

    def excuses(self, item: PairSource, error: VirtualPaintError) -> bool:
        """Record a pair that can't be used; return True if the run goes on without it."""


def load(config: TrainConfig) -> DataSet:
    """Read, scale and split every pair.

    Raises
    ------
    InputError
        If a pair can't be used; the message names the files.
    ReadError
        If a file can't be read.
    """
    return run_to_end(loading(config))


def loading(config: TrainConfig, inspector: PairInspector | None = None) -> Generator[Progress, None, DataSet]:
    """Read every pair as `load` does, and show each to an inspector.

    Pairs beyond the memory limit ``data.memory`` are stored in the run folder.

    Yields
    ------
    Progress
        Before each image.
    """
    sources = find(config.data) if inspector is None else inspector.sources
    if config.run is not None:
        for name in keep_inputs(config.run, sources, config.data.csv):
            yield Progress(0, len(sources), name)
    found = yield from reading(config, sources, inspector, keep=True)
    check(found, config)
    return found


def reading(
    config: TrainConfig, sources: Sequence[PairSource], inspector: PairInspector | None, *, keep: bool
) -> Generator[Progress, None, DataSet]:
    """Read, scale and split pairs; the channels of each follow those of the first by name.

    Parameters
    ----------
    sources
        All pairs of the run.
    inspector
        Sees each pair, and may excuse those that can't be used.
    keep
        Whether to keep the pixels; otherwise the set has their shapes alone.

    Yields
    ------
    Progress
        Before each image.

    Raises
    ------
    VirtualPaintError
        If a pair can't be used and is not excused, or none can.
    """
    images = held_out(sources, config.split, config.seed)
    sources = trained_on(sources, images, config.split, config.seed)
    store = PairStore(config, len(sources)) if inspector is None else inspector.store
    pool: dict[bytes, Mask] = {}
    pairs: list[Pair] = []
    first: TrainingData | None = None
    refused: VirtualPaintError | None = None  # the first error, at which a training without checks stops
    notes: Counter[str] = Counter()
    file_notes: list[tuple[str, str]] = []
    sizes: set[float] = set()
    for number, item in enumerate(sources):
        yield Progress(number, len(sources), item.name)
        try:
            prepared = _stored(item, config, store, inspector, None if first is None else first.order, keep=keep)
            first = first or prepared
            _same(item, prepared, first)
        except VirtualPaintError as error:
            if inspector is None or not inspector.excuses(item, error):
                raise
            refused = refused or error
            continue
        notes.update(dict.fromkeys(prepared.notes, 1))
        file_notes += prepared.file_notes
        sizes.add(prepared.pixel_size.y or 0.0)
        for one in prepared.fields:
            parts = {part: _shared(mask, pool) for part, mask in parts_of(item, one.usable, config.split, images).items()}
            x, y = (one.x, one.y) if keep else (_shape_alone(one.x), _shape_alone(one.y))
            pairs.append(Pair(item.name + one.suffix, x, y, parts, item.metadata, item.name))
    if first is None:
        if refused is not None and inspector is not None and not keep:
            raise refused
        raise InputError(f"None of the pairs can be used; of the first one: {refused}")
    said = [f"{note.rstrip('.')} (in {count} of {len(sources)} pairs)." for note, count in notes.items()]
    said = [*notes_of_files(file_notes), *said, *_sizes_note(sizes)]
    return DataSet(tuple(pairs), first.channels, first.stains, first.pixel_size, first.order, tuple(said))


def _shape_alone(pixels: Pixels) -> Floats:
    """Return an array of this shape that takes no memory."""
    return np.broadcast_to(np.float32(0), pixels.shape)


def _sizes_note(sizes: set[float]) -> list[str]:
    """Return a note where the pixel sizes of the pairs differ."""
    known = sorted(sizes - {0.0})
    if not known or known[-1] / known[0] < 1 + SIZE:
        return []
    return [f"The pixels of the inputs are from {known[0]:g} to {known[-1]:g} um; set data.resample to bring all to one size."]


def _stored(
    item: PairSource, config: TrainConfig, store: PairStore, inspector: PairInspector | None, order: ChannelOrder | None, *, keep: bool
) -> TrainingData:
    """Return a source's fields from the store; read, scale and store them first where they are not there, or in another order."""
    inspect = inspector is not None and inspector.wants(item)
    stored = None if inspect else store.find(item)
    if stored is not None and order in (None, stored.order):
        return stored
    notes: list[str] = []
    source, target = (stack.compute() for stack in open_selected(item, config.data, order, notes))
    if inspector is not None and inspect:
        inspector.inspect(item, source, target)
        stored = store.find(item)
        if stored is not None and order in (None, stored.order):
            return stored
    prepared = _prepare(item, source, target, config, order or order_of(source, target), notes)
    return store.add(item, prepared) if keep else prepared


def _same(item: PairSource, prepared: TrainingData, first: TrainingData) -> None:
    """Raise an `InputError` where a pair has another number of channels than the first one."""
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


def _prepare(
    item: PairSource, source: Stack, target: Stack, config: TrainConfig, order: ChannelOrder, notes: Sequence[str]
) -> TrainingData:
    """Split a pair of stacks into one field for each time point (and, for 2D networks, each plane)."""
    data, dims = config.data, config.network.dims
    to_x, to_y = sides(source, data, dims, item.input), sides(target, data, dims, item.target)
    other_size = "" if data.resample is not None else _other_size(source, target)
    if source.shape[0] != target.shape[0] or not _close(to_x or source.shape[3:], to_y or target.shape[3:], data.resample is not None):
        hint = f": {other_size.rstrip('.')}" if other_size else ""
        raise InputError(f"{item.target}: {_size(target)} do not fit the {_size(source)} of {item.input}{hint}.")
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
    names, scaled = _input_names(source, data), []
    for (suffix, raw_x), (_, raw_y) in zip(inputs, targets, strict=True):
        x = to_scale(raw_x, config.normalize.input, f"{item.input}: input", config.normalize.input_clip, names)
        y = to_scale(raw_y, config.normalize.target, f"{item.target}: target", names=target.channel_labels)
        x, y = _cropped(resampled(x, to_x), resampled(y, to_y))
        usable = usable_pixels(raw_x, data.tiles) if data.tiles else np.ones(x.shape[-2:], bool)
        usable &= _numbers(raw_x, x.shape) & _numbers(raw_y, x.shape)
        scaled.append(Scaled(suffix, x, y, usable))
    said = (*notes, other_size) if other_size else tuple(notes)
    pixel_size = new_pixel_size(source.pixel_size, data, dims)
    files = dict.fromkeys((label, note) for label, stack in ((item.input, source), (item.target, target)) for note in stack.notes)
    return TrainingData(names, stains, pixel_size, tuple(scaled), order, tuple(dict.fromkeys(said)), tuple(files))


def _numbers(pixels: npt.NDArray[np.generic], shape: tuple[int, ...]) -> Mask:
    """Return where (Y, X, of a shape) all channels and planes of a field hold numbers; the others are left out of losses and scores."""
    if pixels.dtype.kind != "f":
        return np.ones(shape[-2:], bool)
    finite: Mask = np.isfinite(pixels).all(axis=tuple(range(pixels.ndim - 2)))
    rows, columns = (
        np.minimum((np.arange(side) + 0.5) * (own / side) if abs(own - side) > 1 else np.arange(side), own - 1).astype(int)
        for own, side in zip(finite.shape, shape[-2:], strict=True)
    )
    return finite[np.ix_(rows, columns)]


def _other_size(source: Stack, target: Stack) -> str:
    """Return a sentence where the files say that input and target have pixels of different sizes."""
    for axis in ("y", "x"):
        one, other = (getattr(stack.pixel_size, axis) for stack in (source, target))
        if one and other and abs(one / other - 1) > SIZE:
            return f"The input's pixels are {one:g} um along {axis} and the target's {other:g} um; data.resample brings both to one size."
    return ""


def _close(a: Sequence[int], b: Sequence[int], rounded: bool) -> bool:
    """Return whether sides agree; resampled ones may differ by one pixel through rounding."""
    return all(abs(i - j) <= rounded for i, j in zip(a, b, strict=True))


def _cropped(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Crop two arrays to their common sides."""
    if x.shape[1:] == y.shape[1:]:
        return x, y
    at = (slice(None), *(slice(0, min(a, b)) for a, b in zip(x.shape[1:], y.shape[1:], strict=True)))
    return np.ascontiguousarray(x[at]), np.ascontiguousarray(y[at])


def fields(stack: Stack, dims: int, planes_as_channels: bool) -> list[tuple[str, npt.NDArray[np.generic]]]:
    """Split a stack into fields (C, [Z,] Y, X) as the network takes them, each with the suffix of its name."""
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


def raw_input(config: TrainConfig, order: ChannelOrder | None = None) -> npt.NDArray[np.generic]:
    """Return the first field of the first input with the file's intensities, (C, [Z,] Y, X), its channels in an order if there is one."""
    for item in find(config.data):
        try:
            stack, _ = open_selected(item, config.data, order)
            pixels = fields(stack, config.network.dims, config.data.planes_as_channels)[0][1]
        except (ReadError, UselessError):
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
    """Return one shared object for equal masks: a mask per pair would fill the memory."""
    key = np.array(mask.shape).tobytes() + np.packbits(mask).tobytes()
    return pool.setdefault(key, mask)


def check(found: DataSet, config: TrainConfig) -> None:
    """Raise an `InputError` for a set that can't be trained on, before any work is done (see `problems`)."""
    for problem in problems(found, config):
        raise InputError(problem)


def problems(found: DataSet, config: TrainConfig) -> Iterator[str]:
    """Yield why a set can't be trained on: nothing is left to train on or to hold out, or a patch does not fit."""
    if not found.holding("train"):
        yield "Nothing is left to train on: split holds every image out."
    if config.split.validation is not None and not found.holding("validation"):
        yield "split.validation holds nothing out; choose another region or other images."
    for pair in found.holding("train"):
        if any(side < patch for side, patch in zip(pair.x.shape[1:], config.patch, strict=True)):
            shown = " x ".join(map(str, pair.x.shape[1:]))
            yield f"{pair.name}: {shown} px is smaller than a patch ({' x '.join(map(str, config.patch))}); set a smaller patch."
