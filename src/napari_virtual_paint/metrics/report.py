"""Compare two stacks: channels paired by name, else by order, each scored over the whole stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dask.array as da
import numpy as np

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics.ceiling import Ceiling, ceiling_of, mean_ceiling
from napari_virtual_paint.metrics.metric import METRICS
from napari_virtual_paint.metrics.noise import Given, NoiseSource
from napari_virtual_paint.metrics.pixels import MeanScores, Pair, Scale, Scores, score, score_planes
from napari_virtual_paint.metrics.ssim import WINDOW
from napari_virtual_paint.models.channel_names import find_names, parse_name
from napari_virtual_paint.runtime.scratch import release
from napari_virtual_paint.stack import Array, Stack
from napari_virtual_paint.stain_names import Synonyms, split_painted

IN_MEMORY = 512 * 2**20
"""Bytes of both images of a channel up to which they are read once and kept; larger ones are read twice, block by block."""

BLOCK = 64 * 2**20  # bytes of a block of z-planes, where a file's own chunks are smaller

SIZE = 0.02  # relative difference of two pixel sizes above which it is said


@dataclass(frozen=True)
class Comparison:
    """Scores of a prediction, channel by channel."""

    channels: dict[str, Scores]  # name of a channel -> its scores, in the order of the prediction
    mean: Scores  # the mean over the channels, each score over those where it is defined (see `undefined`)
    scale: Scale = "zscore"  # "zscore" or "raw"
    notes: tuple[str, ...] = field(default=())
    """What a reader should know: how channels were paired, which were left out, why a score is undefined."""
    ceilings: Mapping[str, Ceiling] | None = None
    """Name of a channel -> the highest PCC that its noise allows; None where no noise was given."""

    @property
    def undefined(self) -> dict[str, int]:
        """Score -> number of channels where it is undefined, which its mean leaves out."""
        return {name: sum(getattr(each, name) is None for each in self.channels.values()) for name in METRICS}

    def to_json(self) -> dict[str, Any]:
        """Return ``{"channels": {name: {"pcc", "ssim", "psnr", "mse", "mae"}}, "mean": {...}, "undefined": {...}}``; undefined is None.

        ``undefined`` has the number of channels that each mean leaves out; it is there only if one of them isn't 0.
        Where the noise is given, channels and mean also have ``c_max``, and ``noise`` has its source, SD and reliability per channel.
        """
        out: dict[str, Any] = {"channels": {name: scores.to_json() for name, scores in self.channels.items()}, "mean": self.mean.to_json()}
        if self.ceilings is not None:
            for name, each in self.ceilings.items():
                out["channels"][name]["c_max"] = each.value
            out["mean"]["c_max"] = mean_ceiling(self.ceilings.values())
            out["noise"] = {name: {**each.to_json(), "notes": list(each.notes)} for name, each in self.ceilings.items()}
        if any(self.undefined.values()):
            out["undefined"] = self.undefined
        return out


@dataclass(frozen=True)
class Pairing:
    """Which channel is scored against which: name, index in the prediction, index in the truth."""

    pairs: tuple[tuple[str, int, int], ...]
    notes: tuple[str, ...] = ()


def compare(
    prediction: Stack, truth: Stack, scale: Scale = "zscore", noise: NoiseSource | None = None, synonyms: Synonyms | None = None
) -> Comparison:
    """Score a predicted stack against the true one, each channel over the whole stack.

    Parameters
    ----------
    prediction, truth
        Stacks of one length in time, z, y and x. Lazy ones larger than memory are read block by block.
    scale
        "zscore" brings each channel to mean 0 and SD 1 first; "raw" leaves it.
    noise
        Knows the true image's noise, for the ceiling of PCC.
    synonyms
        The names of stains, by which channels of other names pair; `stain_names.default_synonyms` where None.

    Raises
    ------
    InputError
        If the sizes differ, or the channels can't be paired.
    """
    prediction, truth, notes = same_axes(prediction, truth)
    for axis, name in ((0, "time points"), (2, "z-planes"), (3, "rows"), (4, "columns")):
        have, want = prediction.shape[axis], truth.shape[axis]
        if have != want:
            raise InputError(
                f"{prediction.source or 'The prediction'} has {have} {name} and {truth.source or 'the truth'} has {want}; "
                "scores need the same pixels, so crop or resample one of them."
            )
    pairing = pair_channels(prediction, truth, synonyms)
    notes += (*pairing.notes, *size_notes(prediction, truth))
    if isinstance(noise, Given):
        noise.check(truth.channel_labels if truth.channels else [name for name, *_ in pairing.pairs])
    total, channels, ceilings = MeanScores(), {}, {}
    for name, left, right in pairing.pairs:
        scores = channels[name] = _score_channel(prediction.data[:, left], truth.data[:, right], scale)
        total.update(scores)
        notes += tuple(f"{name}: {reason}" for reason in with_files(scores.reasons, prediction.source, truth.source))
        if noise is not None:
            measured = truth.data[:, right]
            called = truth.channel_labels[right] if truth.channels else name
            found = ceilings[name] = ceiling_of(measured, noise.of(called, measured), scores.pcc)
            notes += tuple(f"{name}, noise: {note}" for note in found.notes)
    mean = total.compute()
    return Comparison(channels, mean, scale, notes + mean.reasons, None if noise is None else ceilings)


def size_notes(prediction: Stack, truth: Stack) -> tuple[str, ...]:
    """Return a note where the files say that the pixels of two images have different sizes, though there are equally many."""
    for axis, what in (("y", "pixels"), ("x", "pixels"), ("z", "planes")):
        one, other = (getattr(stack.pixel_size, axis) for stack in (prediction, truth))
        if one and other and abs(one / other - 1) > SIZE:
            return (f"The prediction's {what} are {one:g} um along {axis} and the truth's {other:g} um: are they of one place?",)
    return ()


def with_files(reasons: Sequence[str], prediction: str | None, truth: str | None) -> list[str]:
    """Return what is wrong with two images, with the file named where pixels are no numbers."""
    files = {"The prediction has ": prediction, "The truth has ": truth}
    found = []
    for reason in reasons:
        file = next((file for start, file in files.items() if reason.startswith(start) and "not finite" in reason), None)
        found.append(f"{reason.rstrip('.')}: {file}." if file else reason)
    return found


def pair_channels(prediction: Stack, truth: Stack, synonyms: Synonyms | None = None) -> Pairing:
    """Pair channels by name: equal ones (in any case), else names of one stain; by order where no name fits another.

    Parameters
    ----------
    synonyms
        The names of stains; `stain_names.default_synonyms` where None.

    Raises
    ------
    InputError
        If several channels of one image fit a channel of the other, and nothing else pairs.
    """
    labels, others = prediction.channel_labels, truth.channel_labels
    if prediction.channels is not None and truth.channels is not None:
        places = _places(labels, others, synonyms)
        pairs = tuple((labels[i], i, place) for i, place in enumerate(places) if place is not None)
        if pairs:
            return Pairing(pairs, tuple(_pairing_notes(prediction, truth, pairs)))
        if {parse_name(name, synonyms).kind for name in prediction.channels} & {parse_name(name, synonyms).kind for name in truth.channels}:
            raise InputError(
                f"{prediction.source or 'The prediction'} has the channels {', '.join(labels)} and {truth.source or 'the truth'} "
                f"{', '.join(others)}: several of them fit one, so that they can't be paired by name; give each channel a name of its own."
            )
    count = min(len(labels), len(others))
    names = (others if truth.channels else labels)[:count]
    notes: tuple[str, ...] = ()
    if count > 1 or (prediction.channels and truth.channels):
        notes = (f"The channels are paired by their order, since their names do not pair: {_order(prediction, truth, count)}.",)
    if len(labels) != len(others):
        notes += (f"The prediction has {len(labels)} channels and the truth {len(others)}; only the first {count} are scored.",)
    return Pairing(tuple((name, i, i) for i, name in enumerate(names)), notes)


def _places(labels: Sequence[str], others: Sequence[str], synonyms: Synonyms | None) -> list[int | None]:
    """Return the partner of each channel by name; those of each model (`stain_names.split_painted`) find theirs on their own."""
    models = [split_painted(label)[1] for label in labels]
    places: list[int | None] = [None] * len(labels)
    for model in dict.fromkeys(models):
        own = [index for index, each in enumerate(models) if each == model]
        for index, place in zip(own, find_names([labels[index] for index in own], others, synonyms), strict=True):
            places[index] = place
    return places


def _pairing_notes(prediction: Stack, truth: Stack, pairs: Sequence[tuple[str, int, int]]) -> Iterator[str]:
    """Return what a reader should know of channels paired by name."""
    labels, others = prediction.channel_labels, truth.channel_labels
    twice = [name for stack in (prediction, truth) for name in stack.channels or () if _times(stack, name) > 1]
    if twice:
        yield f"Several channels are called {twice[0]}; they are paired by their order."
    for name, _, place in pairs:
        if split_painted(name)[0].strip().casefold() != split_painted(others[place])[0].strip().casefold():
            yield f"{name} is scored against {others[place]}, another name of the same stain."
    here, there = ({pair[side] for pair in pairs} for side in (1, 2))
    alone = [labels[i] for i in range(len(labels)) if i not in here] + [others[j] for j in range(len(others)) if j not in there]
    if alone:
        yield f"Without a partner of the same name, so not scored: {', '.join(alone)}."


def _times(stack: Stack, name: str) -> int:
    """Return how many channels have a name."""
    return [each.strip().casefold() for each in stack.channels or ()].count(name.strip().casefold())


def _order(prediction: Stack, truth: Stack, count: int) -> str:
    both = zip(prediction.channel_labels[:count], truth.channel_labels[:count], strict=True)
    return ", ".join(f"{left} with {right}" for left, right in both)


def same_axes(prediction: Stack, truth: Stack) -> tuple[Stack, Stack, tuple[str, ...]]:
    """Take the planes of one image as channels where only that makes the shapes equal: plain TIFF files don't name their axes."""
    if prediction.shape == truth.shape:
        return prediction, truth, ()
    for name, one, other in (("truth", truth, prediction), ("prediction", prediction, truth)):
        for axis in (2, 0):
            moved = np.swapaxes if isinstance(one.data, np.ndarray) else da.swapaxes
            if one.shape[1] == 1 and one.channels is None and one.shape[axis] == other.shape[1] > 1 and other.shape[axis] == 1:
                swapped = replace(one, data=moved(one.data, 1, axis), channels=None)
                note = f"The {name}'s {one.shape[axis]} planes are taken as channels, as many as the other image has."
                return (prediction, swapped, (note,)) if one is truth else (swapped, truth, (note,))
    return prediction, truth, ()


def _score_channel(prediction: Array, truth: Array, scale: Scale) -> Scores:
    """Score one channel, axes TZYX."""
    small = prediction.nbytes + truth.nbytes <= IN_MEMORY
    if small or all(isinstance(each, np.ndarray) and not isinstance(each, np.memmap) for each in (prediction, truth)):
        return score(np.asarray(prediction), np.asarray(truth), scale)
    return score_planes(lambda: (_read(prediction[t], truth[t]) for t in range(prediction.shape[0])), int(prediction.shape[1]), scale)


def _bands(prediction: Array, truth: Array) -> Iterator[Pair]:
    """Read two planes (YX) in bands of rows along the chunks of the lazier one, each with the rows below that its windows reach."""
    height = int(prediction.shape[0])
    chunks = [int(array.chunksize[0]) for array in (prediction, truth) if isinstance(array, da.Array)]
    step = max(BLOCK // ((prediction.nbytes + truth.nbytes) // height) // max(1, *chunks), 1) * max(1, *chunks)
    for top in range(0, height, step):
        own = min(step, height - top)
        left, right = (np.asarray(array[top : top + own + WINDOW - 1]) for array in (prediction, truth))
        yield left, right, own
        for array in (prediction, truth):
            release(array)


def _read(prediction: Array, truth: Array) -> Iterator[Pair]:
    """Read two volumes (ZYX) block by block, along the chunks of the lazier one, and yield their planes."""
    planes = int(prediction.shape[0])
    a_plane = (prediction.nbytes + truth.nbytes) // planes
    if a_plane > IN_MEMORY and planes < WINDOW:
        for plane in range(planes):
            yield from _bands(prediction[plane], truth[plane])
        return
    chunks = [int(array.chunksize[0]) for array in (prediction, truth) if isinstance(array, da.Array)]
    step = max(1, BLOCK // a_plane, *chunks)
    for start in range(0, planes, step):
        block = [np.asarray(array[start : start + step]) for array in (prediction, truth)]
        yield from zip(*block, strict=True)
