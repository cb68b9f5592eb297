"""Find faults of pairs from their statistics: by fixed limits and by comparison with the rest of the set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.training.config.network import Augment
from napari_virtual_paint.training.pair_checks.shift import REACH, Shift
from napari_virtual_paint.training.pair_checks.statistics import ChannelStatistics, PairStatistics

Kind = Literal["shifted", "unmatched", "saturated", "blank", "blurred", "invalid", "unreadable"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FAULTS: dict[Kind, str] = {
    "shifted": "shifted",
    "unmatched": "with nothing in common",
    "saturated": "saturated",
    "blank": "blank",
    "blurred": "out of focus",
    "invalid": "with pixels that are no numbers",
    "unreadable": "that can't be used",
}
"""Kind of a fault -> its words after a count."""

SHIFT = 1.0  # largest acceptable shift of a pair against the others, pixels
ALONE = 2.0  # largest acceptable shift, pixels, where too few pairs are known to estimate the microscope's own offset
SURE = 4.0  # report a shift only if it exceeds the limit by this many standard errors
EVIDENCE = 150.0  # least evidence (see `shift.Shift`) for a shift to count
NOTHING = 40.0  # evidence below which input and stain have nothing in common; two unrelated fields have less than 20
LEAST_ERROR = 0.1  # lower bound of a shift's error, pixels; smaller ones arise by chance agreement of the tiles
UNMATCHED = 10.0  # nothing in common is a fault only if the others' evidence is this many times larger
SATURATED = 0.01  # share of saturated pixels that is a fault
BLANK = 0.5  # structure (see `statistics.ChannelStatistics`) below which there is only noise
BLURRED = 0.5
"""Drop of the sharpness below the set's median (log amplitude) that is a fault; 0.5 is to 61 %. A blur of SD 3 px gives 0.8 to 1.1."""
SPREADS = 4.0  # a drop must also exceed the set's spread (scaled median absolute deviation) by this factor
SET = 5  # fewest pairs needed for a comparison

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fault:
    """A fault of a pair."""

    kind: Kind  # one of `FAULTS`
    words: str  # description, without the pair's name
    channel: str = ""  # the channel, if it concerns one


@dataclass(frozen=True)
class PairCheck:
    """Result of checking one pair."""

    name: str  # name of the image, with the time point where there are several
    faults: tuple[Fault, ...]  # faults; empty where the pair is fit for training
    shift: tuple[float, float] | None
    """Shift of the stains along y and x in pixels, relative to the set (to the input, where the set is too small); None where it is
    unknown."""
    error: float | None  # standard error per axis, pixels
    sure: bool  # whether a shift of more than 2 pixels would be reported


@dataclass(frozen=True)
class _Set:
    """Typical values of a set: each stain's offset from the input with its error, evidence and sharpness."""

    places: Mapping[str, tuple[Vector, float, int]]
    compared: bool
    evidence: float
    sharpness: Mapping[tuple[str, str], tuple[float, float]]

    def place(self, stain: str) -> Vector:
        """Return the expected offset of a stain: that of the set, or 0 where the set is too small."""
        return self.places[stain][0] if self.compared else np.zeros(2)

    def error(self, stain: str, shift: Shift) -> float:
        """Return the error of a pair's shift; an accidentally small one is raised towards that of the set."""
        typical = self.places[stain][1] if self.compared else 0.0
        return float(max(shift.error, np.hypot(shift.error, typical) / np.sqrt(2), LEAST_ERROR))


def faults_of(statistics: Sequence[PairStatistics], augment: Augment) -> tuple[list[PairCheck], list[str]]:
    """Return the faults of each pair and notes on the set.

    Parameters
    ----------
    statistics
        Statistics of the pairs.
    augment
        Augmentation of the run: flips and rotations make an offset of the whole set worse.

    Returns
    -------
    list, list
        One check per pair, and sentences.
    """
    usual = _usual([pair for pair in statistics if not pair.failure])
    pairs = [_check_pair(pair, usual) for pair in statistics]
    return pairs, [*_offsets(usual, augment), *_unsure(pairs), *_empty_stains(statistics), *_labels(statistics)]


def _check_pair(pair: PairStatistics, usual: _Set) -> PairCheck:
    """Return the faults of one pair."""
    if pair.failure:
        return PairCheck(pair.name, (Fault("unreadable", pair.failure),), None, None, False)
    blank = list(_blank(pair))
    faults = [*blank, *_saturated(pair), *(() if blank else _blurred(pair, usual)), *_invalid(pair)]
    moved = _deviation(pair, usual)
    if moved is None:
        if pair.shifts and not blank and _best(pair) < NOTHING and usual.evidence >= NOTHING * UNMATCHED:
            message = f"input and stains have nothing in common within {REACH} px, unlike those of the other pairs: are they of one field?"
            faults.append(Fault("unmatched", message))
        return PairCheck(pair.name, tuple(faults), None, None, False)
    mean, error, each = moved
    faults += _shifted(mean, error, each, usual.compared)
    shift = (round(float(mean[0]), 2), round(float(mean[1]), 2))
    return PairCheck(pair.name, tuple(faults), shift, round(error, 2), SURE * error <= SHIFT)


def _found_shifts(pair: PairStatistics) -> Iterator[tuple[str, Shift]]:
    """Yield the stains whose shift was found."""
    for stain, shift in (pair.shifts or {}).items():
        if shift is not None and shift.evidence >= EVIDENCE:
            yield stain, shift


def _usual(statistics: Sequence[PairStatistics]) -> _Set:
    """Return the typical values of a set."""
    samples: dict[str, list[tuple[float, float, float]]] = {}
    for pair in statistics:
        for stain, shift in _found_shifts(pair):
            samples.setdefault(stain, []).append((shift.y, shift.x, max(shift.error, LEAST_ERROR)))
    compared = any(len(each) >= SET for each in samples.values())
    places = {}
    for stain, each in samples.items():
        if len(each) >= SET or not compared:
            values = np.array(each)
            places[stain] = np.median(values[:, :2], axis=0), float(np.median(values[:, 2])), len(values)
    best = [_best(pair) for pair in statistics if pair.shifts]
    sharp: dict[tuple[str, str], list[float]] = {}
    for pair in statistics:
        for key, sharpness in _sharpness(pair).items():
            sharp.setdefault(key, []).append(sharpness)
    spread = {key: (float(np.median(each)), _spread(each)) for key, each in sharp.items() if len(each) >= SET}
    return _Set(places, compared, float(np.median(best)) if len(best) >= SET else 0.0, spread)


def _best(pair: PairStatistics) -> float:
    """Return the highest evidence over the stains."""
    return max((shift.evidence for shift in (pair.shifts or {}).values() if shift is not None), default=0.0)


def _spread(values: Sequence[float]) -> float:
    """Return the median absolute deviation, scaled to the SD of normal numbers."""
    return float(1.4826 * np.median(np.abs(np.asarray(values) - np.median(values))))


def _deviation(pair: PairStatistics, usual: _Set) -> tuple[Vector, float, dict[str, tuple[Vector, float]]] | None:
    """Return the deviation of a pair: the error-weighted mean over its stains, its error, and each stain's with its error."""
    each = {}
    for stain, shift in _found_shifts(pair):
        if stain in usual.places:
            each[stain] = np.array([shift.y, shift.x]) - usual.place(stain), usual.error(stain, shift)
    if not each:
        return None
    weights = np.array([1 / error**2 for _, error in each.values()])
    mean = np.average([off for off, _ in each.values()], axis=0, weights=weights)
    # Stains that disagree by more than their errors have underestimated errors (Birge ratio).
    excess = max(float((weights * (np.array([off[axis] for off, _ in each.values()]) - mean[axis]) ** 2).sum()) for axis in (0, 1))
    ratio = max(1.0, np.sqrt(excess / (len(each) - 1))) if len(each) > 1 else 1.0
    return mean, max(float(ratio / np.sqrt(weights.sum())), LEAST_ERROR), each


def _shifted(mean: Vector, error: float, each: Mapping[str, tuple[Vector, float]], compared: bool) -> Iterator[Fault]:
    """Return faults of stains that are shifted, all together or one against the others."""
    limit, reference = (SHIFT, "against the other pairs") if compared else (ALONE, "beside the input")
    if np.hypot(*mean) - SURE * error > limit:
        yield Fault("shifted", f"the stains lie {_pixels(mean)} {reference}")
        return
    for stain, (off, own) in each.items():
        if len(each) > 1 and np.hypot(*(off - mean)) - SURE * own > limit:
            yield Fault("shifted", f"{stain} lies {_pixels(off)} {reference}", stain)


def _pixels(shift: Vector) -> str:
    """Return a shift in words."""
    return f"{np.hypot(*shift):.1f} px (y {shift[0]:+.1f}, x {shift[1]:+.1f})"


def _blank(pair: PairStatistics) -> Iterator[Fault]:
    """Return a fault where the whole input or all stains hold only noise."""
    for side, noun in (("input", "the input"), ("stain", "every stain")):
        structures = [channel.structure for channel in pair.channels if channel.side == side]
        if structures and max(structures) < BLANK:
            yield Fault("blank", f"{noun} is blank: there is nothing but noise")


def _saturated(pair: PairStatistics) -> Iterator[Fault]:
    """Return the faults of clipped channels."""
    for channel in pair.channels:
        if channel.saturated > SATURATED:
            yield Fault("saturated", f"{100 * channel.saturated:.1f} % of {_named(channel)} is saturated", channel.name)


def _invalid(pair: PairStatistics) -> Iterator[Fault]:
    """Return the faults of channels with pixels that are no numbers."""
    for channel in pair.channels:
        if channel.invalid:
            count = "1 pixel is no number" if channel.invalid == 1 else f"{channel.invalid} pixels are no numbers"
            yield Fault("invalid", f"{count} (NaN or infinite) in {_named(channel)}; they are left out", channel.name)


def _sharpness(pair: PairStatistics) -> dict[tuple[str, str], float]:
    """Return the sharpness of each channel by side and name, and under an empty name the side's mean, where it has several."""
    found: dict[tuple[str, str], float] = {}
    for channel in pair.channels:
        if channel.sharpness is not None:
            found[channel.side, channel.name] = channel.sharpness
    for side in ("input", "stain"):
        each = [sharpness for (where, _), sharpness in found.items() if where == side]
        if len(each) > 1:
            found[side, ""] = float(np.mean(each))
    return found


def _blurred(pair: PairStatistics, usual: _Set) -> Iterator[Fault]:
    """Return the faults of channels far less sharp than in other pairs: a whole side, else a single channel."""
    drops = {}
    for key, sharpness in _sharpness(pair).items():
        middle, spread = usual.sharpness.get(key, (0.0, np.inf))
        if middle - sharpness > max(BLURRED, SPREADS * spread):
            drops[key] = middle - sharpness
    for (side, name), drop in drops.items():
        if name and (side, "") in drops:
            continue
        subject = {"input": "the input's " + name if name else "the input", "stain": name or "every stain"}[side]
        share = f"fine detail has {100 * np.exp(-drop):.0f} % of the strength that it has in the other pairs"
        yield Fault("blurred", f"{subject} is out of focus: {share}", name)


def _named(channel: ChannelStatistics) -> str:
    return channel.name if channel.side == "stain" else f"the input's {channel.name}"


def _offsets(usual: _Set, augment: Augment) -> list[str]:
    """Return notes on stains that are offset from the input in the whole set."""
    far = {
        stain: place for stain, (place, error, count) in usual.places.items() if np.hypot(*place) - SURE * error / np.sqrt(count) > SHIFT
    }
    off = [f"{stain} by {_pixels(place)}" for stain, place in far.items()]
    if not off:
        return []
    turned = augment.flips or augment.quarter_turns or augment.rotate
    harm = "flips and turns teach it in all directions" if turned else "it is learnt, too"
    return [
        f"Stains lie beside the input in the whole set, {', '.join(off)}. If that is the microscope's, align the channels first: {harm}."
    ]


def _unsure(pairs: Sequence[PairCheck]) -> list[str]:
    """Return a note on the number of pairs whose shift can't be determined, of those that are not reported as shifted already."""
    unsure = [pair.name for pair in pairs if not pair.sure and not any(fault.kind in ("unreadable", "shifted") for fault in pair.faults)]
    if not unsure:
        return []
    count = f"{len(unsure)} of {len(pairs)} pairs ({', '.join(unsure[:4])}{', ...' * (len(unsure) > 4)})"
    return [f"In {count} a shift of 1 to 2 px can't be ruled out: input and stains have too little in common."]


def _empty_stains(statistics: Sequence[PairStatistics]) -> list[str]:
    """Return notes on stains that are blank while others of the pair are not: no fault, since a stain may be truly absent."""
    counts: dict[str, int] = {}
    for pair in statistics:
        stains = [channel for channel in pair.channels if channel.side == "stain"]
        if any(channel.structure >= BLANK for channel in stains):
            for channel in stains:
                counts[channel.name] = counts.get(channel.name, 0) + (channel.structure < BLANK)
    return [f"{stain} is blank in {count} of {len(statistics)} pairs." for stain, count in counts.items() if count]


def _labels(statistics: Sequence[PairStatistics]) -> list[str]:
    """Return notes on stains that are label images: no fault, since a model may be meant to learn a mask."""
    found: dict[str, list[tuple[str, int]]] = {}
    for pair in statistics:
        for channel in pair.channels:
            if channel.regions is not None:
                found.setdefault(channel.name, []).append((pair.name, channel.regions))
    return [
        f"{stain} is a label image in {len(each)} of {len(statistics)} pairs ({each[0][0]}: {each[0][1]} regions of one whole number each),"
        " not the gray levels of a stain; give the stain itself, or call the channel a mask if that is meant."
        for stain, each in found.items()
    ]
