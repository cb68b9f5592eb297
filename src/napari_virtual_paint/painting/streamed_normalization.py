"""Fit a normalization to a field that is read part by part, for fields too large to be held in memory as a whole.

Percentiles, means, smallest and largest values are those of the whole field exactly. So is the SD but for the order in which float64
numbers are added.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.normalize import (
    CHUNK,
    Column,
    Fitted,
    Normalization,
    Step,
    as_floats,
    changes_nothing,
    faults,
    fit_step,
    percentiles_of,
)
from napari_virtual_paint.runtime.order_statistics import Method, OrderStatistics, between, ranks_of
from napari_virtual_paint.runtime.running_stats import merge

Parts = Callable[[], Iterator[npt.NDArray[Any]]]
"""Gives the field each time it is called, part by part: pixels (C, ...), the same channels in each."""
Wanted = tuple[bool, float, Method]  # whether of each channel alone; the percentile; and how it is taken


def fit_streamed(parts: Parts, steps: Sequence[Step], labels: Sequence[str]) -> Generator[None, None, Normalization]:
    """Fit processing steps to a field that is read part by part: what `normalize.fit` gives for the whole.

    Parameters
    ----------
    parts
        The field, read once or a few times.
    steps
        What to fit, in order.
    labels
        The channels' names, for the problems reported.

    Yields
    ------
    None
        After each part; a place to cancel.
    """
    real = [step for position, step in enumerate(steps) if not changes_nothing(step, position)]
    early = [step for step in real if _reads_input(step, real)]
    raw = yield from _summarize(parts, (), [each for step in early for each in _wanted(step)])
    fill, problems = raw.problems(labels)
    fitted: list[Fitted] = []
    for position, step in enumerate(real):
        current = raw
        if step.needs_field and position:
            current = yield from _summarize(parts, tuple(fitted), _wanted(step))
        fitted.append(fit_step(step, current, raw))
    return Normalization(tuple(fitted), fill, problems)


def _reads_input(step: Step, steps: Sequence[Step]) -> bool:
    """Return whether a step takes statistics of the input as it is."""
    return step.needs_field and (step is steps[0] or bool(step.values.get("reference")))


def _wanted(step: Step) -> list[Wanted]:
    return [(step.per_channel, share, method) for share, method in percentiles_of(step)]


@dataclass
class _Running:
    """Sums over the pixels of one channel."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    lost: int = 0

    def add(self, row: npt.NDArray[Any], lost: int) -> None:
        """Add pixels that are finite, and count those that were not."""
        self.lost += lost
        for start in range(0, row.size, CHUNK):
            part = row[start : start + CHUNK]
            mean = float(part.mean(dtype=np.float64))
            away = part.astype(np.float64) - mean
            # einsum, not a dot product of BLAS, whose threads keep spinning for a while on cores that painting needs.
            self._join(part.size, mean, float(np.einsum("i,i->", away, away)), float(part.min()), float(part.max()))

    def _join(self, count: int, mean: float, squares: float, low: float, high: float) -> None:
        self.mean, self.squares = merge(self.count, self.mean, self.squares, count, mean, squares)
        self.count, self.low, self.high = self.count + count, min(self.low, low), max(self.high, high)

    @staticmethod
    def of_histogram(histogram: npt.NDArray[np.int64], smallest: int) -> _Running:
        """Return the sums over integers of which it is known how often each occurs."""
        places = np.flatnonzero(histogram)
        if not places.size:
            return _Running()
        values, times = places + smallest, histogram[places]
        count = int(times.sum())
        mean = float(int((values * times).sum()) / count)
        squares = float(np.einsum("i,i,i->", times.astype(np.float64), values - mean, values - mean))
        return _Running(count, mean, squares, float(values[0]), float(values[-1]))


@dataclass
class _Summary:
    """The statistics of a field as `normalize.fit_step` takes them."""

    channels: list[_Running]
    percentiles: dict[Wanted, list[float]] = field(default_factory=dict)

    def moments(self, per_channel: bool) -> tuple[Column, Column]:
        """Return mean and SD of each channel or of all."""
        groups = self.channels
        if not per_channel:
            whole = _Running()
            for each in (one for one in self.channels if one.count):
                whole._join(each.count, each.mean, each.squares, each.low, each.high)
            groups = [whole]
        mean = [each.low if each.low == each.high else each.mean for each in groups]
        spread = [0.0 if each.low >= each.high else np.sqrt(each.squares / each.count) for each in groups]
        return np.array(mean, np.float64).reshape(-1, 1), np.array(spread, np.float64).reshape(-1, 1)

    def percentile(self, per_channel: bool, share: float | tuple[float, ...], method: Method = "linear") -> Column:
        """Return percentiles that were asked for."""
        shares = share if isinstance(share, tuple) else (share,)
        return np.array([self.percentiles[per_channel, float(each), method] for each in shares], np.float64).T

    def problems(self, labels: Sequence[str]) -> tuple[Column, tuple[str, ...]]:
        """Return what stands in for pixels that are no numbers, shape (C, 1), and what is wrong with each channel."""
        found: list[str] = []
        for index, each in enumerate(self.channels):
            name = labels[index] if index < len(labels) else f"channel {index}"
            found += faults(name, each.lost, each.low >= each.high)
        return np.array([each.mean for each in self.channels], np.float64).reshape(-1, 1), tuple(found)


def _summarize(parts: Parts, before: tuple[Fitted, ...], wanted: Sequence[Wanted]) -> Generator[None, None, _Summary]:
    """Gather the statistics of a field as some steps leave it."""
    channels: list[_Running] = []
    orders: dict[tuple[bool, int], OrderStatistics] = {}  # by channel, or of all together
    counted: list[OrderStatistics] = []  # of channels of integers of few bits: these alone tell everything
    ranks: dict[tuple[bool, int], list[int]] = {}
    kinds = dict.fromkeys(alone for alone, _, _ in wanted)
    first = True
    while True:
        for part in parts():
            rows = _rows(part, before)
            if not channels:
                channels = [_Running() for _ in rows]
                few = rows[0][0].dtype.kind in "iu" and rows[0][0].dtype.itemsize <= 2
                counted = [OrderStatistics(row.dtype) for row, _ in rows] if few else []
                groups = [(alone, index) for alone in kinds for index in (range(len(rows)) if alone else (0,))]
                orders = {} if few else {group: OrderStatistics(rows[0][0].dtype) for group in groups}
            for index, (row, lost) in enumerate(rows):
                if counted:
                    counted[index].add(row)
                elif first:
                    channels[index].add(row, lost)
                for alone in kinds if orders else ():
                    orders[alone, index if alone else 0].add(row)
            yield None
        if counted:
            return _counted(counted, wanted)
        if first:
            ranks = {group: _ranks(each.total, group[0], wanted) for group, each in orders.items()}
            first = False
        if all([each.advance(ranks[group]) for group, each in orders.items()]):
            break
    found: dict[Wanted, list[float]] = {}
    totals = {group: channels[group[1]].count if group[0] else sum(each.count for each in channels) for group in orders}
    for alone, share, method in wanted:
        own = [group for group in orders if group[0] == alone]
        found[alone, share, method] = [_percentile(orders[group], totals[group], share, method) for group in own]
    return _Summary(channels, found)


def _counted(counted: Sequence[OrderStatistics], wanted: Sequence[Wanted]) -> _Summary:
    """Return the statistics of integers of which it is known how often each occurs."""
    histograms = [each.histogram for each in counted if each.histogram is not None]
    smallest = counted[0].smallest
    found: dict[Wanted, list[float]] = {}
    for alone, share, method in wanted:
        groups = histograms if alone else [np.sum(histograms, axis=0)]
        found[alone, share, method] = [_of_histogram(each, smallest, share, method) for each in groups]
    return _Summary([_Running.of_histogram(each, smallest) for each in histograms], found)


def _of_histogram(histogram: npt.NDArray[np.int64], smallest: int, share: float, method: Method) -> float:
    upto = np.cumsum(histogram)
    if not upto[-1]:
        return 0.0
    low, high, part = ranks_of(int(upto[-1]), share, method)
    lower, upper = (int(np.searchsorted(upto, rank, side="right")) + smallest for rank in (low, high))
    return between(lower, upper, part)


def _ranks(total: int, alone: bool, wanted: Sequence[Wanted]) -> list[int]:
    """Return the ranks that the wanted percentiles of a group lie between."""
    spans = [ranks_of(total, share, method) for each, share, method in wanted if each == alone and total]
    return sorted({rank for low, high, _ in spans for rank in (low, high)})


def _percentile(order: OrderStatistics, total: int, share: float, method: Method) -> float:
    if not total:
        return 0.0
    low, high, part = ranks_of(total, share, method)
    return between(order.value(low), order.value(high), part)


def _rows(part: npt.NDArray[Any], before: Sequence[Fitted]) -> list[tuple[npt.NDArray[Any], int]]:
    """Return the finite pixels of each channel of a part as some steps leave them, and how many are not finite."""
    flat = part.reshape(len(part), -1)
    flat = flat.astype(np.uint8) if flat.dtype.kind == "b" else flat
    finite = np.isfinite(flat) if flat.dtype.kind == "f" else None
    if finite is not None and finite.all():
        finite = None
    current: npt.NDArray[Any] = flat
    with np.errstate(all="ignore"):
        for piece in before:
            current = piece.apply(as_floats(current))
    if finite is None:
        return [(row, 0) for row in current]
    return [(row[good], int(row.size - good.sum())) for row, good in zip(current, finite, strict=True)]
