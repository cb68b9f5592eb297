"""Compare two stacks: channels paired by name, else by order, each scored over the whole stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dask.array as da
import numpy as np

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics.ceiling import Ceiling, ceiling_of, mean_ceiling
from napari_virtual_paint.metrics.noise import Given, NoiseSource
from napari_virtual_paint.metrics.pixels import MeanScores, Pair, Scale, Scores, score, score_planes
from napari_virtual_paint.stack import Array, Stack

IN_MEMORY = 512 * 2**20
"""Bytes of both images of a channel up to which they are read once and kept; larger ones are read twice, block by block."""

BLOCK = 64 * 2**20  # bytes of a block of z-planes, where a file's own chunks are smaller


@dataclass(frozen=True)
class Comparison:
    """Scores of a prediction, channel by channel."""

    channels: dict[str, Scores]  # name of a channel -> its scores, in the order of the prediction
    mean: Scores  # the mean over the channels, each score over those where it is defined
    scale: Scale = "zscore"  # "zscore" or "raw"
    notes: tuple[str, ...] = field(default=())
    """What a reader should know: how channels were paired, which were left out, why a score is undefined."""
    ceilings: Mapping[str, Ceiling] | None = None
    """Name of a channel -> the highest PCC that its noise allows; None where no noise was given."""

    def to_json(self) -> dict[str, Any]:
        """Return ``{"channels": {name: {"pcc", "ssim", "psnr", "mse", "mae"}}, "mean": {...}}``; undefined is None.

        Where the noise is given, channels and mean also have ``c_max``, and ``noise`` has its source, SD and reliability per channel.
        """
        out: dict[str, Any] = {"channels": {name: scores.to_json() for name, scores in self.channels.items()}, "mean": self.mean.to_json()}
        if self.ceilings is not None:
            for name, each in self.ceilings.items():
                out["channels"][name]["c_max"] = each.value
            out["mean"]["c_max"] = mean_ceiling(self.ceilings.values())
            out["noise"] = {name: {**each.to_json(), "notes": list(each.notes)} for name, each in self.ceilings.items()}
        return out


@dataclass(frozen=True)
class Pairing:
    """Which channel is scored against which: name, index in the prediction, index in the truth."""

    pairs: tuple[tuple[str, int, int], ...]
    notes: tuple[str, ...] = ()


def compare(prediction: Stack, truth: Stack, scale: Scale = "zscore", noise: NoiseSource | None = None) -> Comparison:
    """Score a predicted stack against the true one, each channel over the whole stack.

    Parameters
    ----------
    prediction, truth
        Stacks of one length in time, z, y and x. Lazy ones larger than memory are read block by block.
    scale
        "zscore" brings each channel to mean 0 and SD 1 first; "raw" leaves it.
    noise
        Knows the true image's noise, for the ceiling of PCC.

    Raises
    ------
    InputError
        If the sizes differ.
    """
    prediction, truth, notes = same_axes(prediction, truth)
    for axis, name in ((0, "time points"), (2, "z-planes"), (3, "rows"), (4, "columns")):
        have, want = prediction.shape[axis], truth.shape[axis]
        if have != want:
            raise InputError(
                f"{prediction.source or 'The prediction'} has {have} {name} and {truth.source or 'the truth'} has {want}; "
                "scores need the same pixels, so crop or resample one of them."
            )
    pairing = pair_channels(prediction, truth)
    notes += pairing.notes
    if isinstance(noise, Given):
        noise.check(truth.channel_labels if truth.channels else [name for name, *_ in pairing.pairs])
    total, channels, ceilings = MeanScores(), {}, {}
    for name, left, right in pairing.pairs:
        scores = channels[name] = _score_channel(prediction.data[:, left], truth.data[:, right], scale)
        total.update(scores)
        notes += tuple(f"{name}: {reason}" for reason in scores.reasons)
        if noise is not None:
            measured = truth.data[:, right]
            called = truth.channel_labels[right] if truth.channels else name
            found = ceilings[name] = ceiling_of(measured, noise.of(called, measured), scores.pcc)
            notes += tuple(f"{name}, noise: {note}" for note in found.notes)
    mean = total.compute()
    return Comparison(channels, mean, scale, notes + mean.reasons, None if noise is None else ceilings)


def pair_channels(prediction: Stack, truth: Stack) -> Pairing:
    """Pair channels by name (in any case), else by order."""
    left, right = _unique_names(prediction), _unique_names(truth)
    if left and right:
        both = [name for name in left if name in right]
        if both:
            labels = prediction.channel_labels
            alone = [prediction.channel_labels[i] for name, i in left.items() if name not in right]
            alone += [truth.channel_labels[i] for name, i in right.items() if name not in left]
            notes: tuple[str, ...] = (f"Without a partner of the same name, so not scored: {', '.join(alone)}.",) if alone else ()
            return Pairing(tuple((labels[left[name]], left[name], right[name]) for name in both), notes)
    count = min(prediction.shape[1], truth.shape[1])
    labels = truth.channel_labels if truth.channels else prediction.channel_labels
    names = [label if labels.count(label) == 1 else f"{label} ({i})" for i, label in enumerate(labels)][:count]
    notes = ()
    if count > 1 or (left and right):
        notes = (f"The channels are paired by their order, since their names do not pair: {_order(prediction, truth, count)}.",)
    if prediction.shape[1] != truth.shape[1]:
        notes += (f"The prediction has {prediction.shape[1]} channels and the truth {truth.shape[1]}; only the first {count} are scored.",)
    return Pairing(tuple((name, i, i) for i, name in enumerate(names)), notes)


def _order(prediction: Stack, truth: Stack, count: int) -> str:
    both = zip(prediction.channel_labels[:count], truth.channel_labels[:count], strict=True)
    return ", ".join(f"{left} with {right}" for left, right in both)


def _unique_names(stack: Stack) -> dict[str, int]:
    """Return folded name -> index; empty where there are no names or two are alike."""
    names = [name.strip().casefold() for name in stack.channels or ()]
    return {name: i for i, name in enumerate(names)} if len(set(names)) == len(names) else {}


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
    if prediction.nbytes + truth.nbytes <= IN_MEMORY or (isinstance(prediction, np.ndarray) and isinstance(truth, np.ndarray)):
        return score(np.asarray(prediction), np.asarray(truth), scale)
    return score_planes(lambda: (_read(prediction[t], truth[t]) for t in range(prediction.shape[0])), int(prediction.shape[1]), scale)


def _read(prediction: Array, truth: Array) -> Iterator[Pair]:
    """Read two volumes (ZYX) block by block, along the chunks of the lazier one, and yield their planes."""
    planes = int(prediction.shape[0])
    a_plane = (prediction.nbytes + truth.nbytes) // planes
    chunks = [int(array.chunksize[0]) for array in (prediction, truth) if isinstance(array, da.Array)]
    step = max(1, BLOCK // a_plane, *chunks)
    for start in range(0, planes, step):
        block = [np.asarray(array[start : start + step]) for array in (prediction, truth)]
        yield from zip(*block, strict=True)
