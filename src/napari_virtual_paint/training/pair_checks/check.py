"""Check pairs before training: shifted, saturated, blank, out of focus, not of one field."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_virtual_paint.choices import PairChecks
from napari_virtual_paint.errors import InputError, ReadError, VirtualPaintError, WriteError
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.pairs import DataSet, check, loading, problems, reading
from napari_virtual_paint.training.data.scaling import UselessError
from napari_virtual_paint.training.data.source import PairSource
from napari_virtual_paint.training.data.split import held_out, leaks
from napari_virtual_paint.training.data.store import PairStore
from napari_virtual_paint.training.pair_checks.faults import FAULTS, Fault, Kind, PairCheck, faults_of
from napari_virtual_paint.training.pair_checks.settings import output_problems, settings_problems
from napari_virtual_paint.training.pair_checks.statistics import PairStatistics, measure_pair
from napari_virtual_paint.training.run_folder.watch import CHECKED

__all__ = ["FAULTS", "Fault", "Kind", "PairCheck", "PairReport", "check_pairs", "checked", "checking"]

STATISTICS, REPORT = CHECKED  # statistics of each pair, in the run folder, so that a resumed run need not measure again; the report
SHOWN = 12
EXCUSED = (ReadError, UselessError)  # errors of pairs that ``data.checks: leave_out`` leaves out
SPLIT = ("Nothing is left", "split.validation")
SAVED = 20.0  # least seconds between two writes of the statistics


@dataclass(frozen=True)
class PairReport:
    """Report on all pairs of a run."""

    pairs: tuple[PairCheck, ...]  # results per image (per time point), ordered by name
    notes: tuple[str, ...] = ()  # sentences about the whole set
    left_out: tuple[str, ...] = ()  # names of the pairs left out of the training
    mode: PairChecks = "report"  # ``report`` or ``leave_out``, as `data.checks` says.
    seconds: float = 0.0
    stops: tuple[str, ...] = ()  # the errors at which a training would stop, each as it would say it

    @property
    def faulty(self) -> tuple[PairCheck, ...]:
        """Pairs with a fault."""
        return tuple(pair for pair in self.pairs if pair.faults)

    @property
    def unsure(self) -> tuple[PairCheck, ...]:
        """Pairs whose shift can't be determined."""
        return tuple(pair for pair in self.pairs if not pair.sure)

    def count(self, kind: Kind) -> int:
        """Return the number of pairs with a kind of fault."""
        return sum(any(fault.kind == kind for fault in pair.faults) for pair in self.pairs)

    def headline(self) -> str:
        """Return a one-sentence summary."""
        if not self.faulty:
            return f"{_pairs(len(self.pairs))} looked at, no fault found."
        kinds = ", ".join(f"{count} {noun}" for kind, noun in FAULTS.items() if (count := self.count(kind)))
        left = f"; {len(self.left_out)} left out" if self.left_out else ""
        return f"{len(self.faulty)} of {_pairs(len(self.pairs))} may not be fit to learn from: {kinds}{left}."

    def sentences(self, most: int = SHOWN) -> list[str]:
        """Return the report in words: the headline, at most ``most`` pairs with faults, the notes, and what a training would stop at."""
        faulty = self.faulty
        lines = [self.headline()]
        lines += [f"{pair.name}: {'; '.join(fault.words for fault in pair.faults)}." for pair in faulty[:most]]
        lines += [f"... and {len(faulty) - most} more."] * (len(faulty) > most)
        return [*lines, *self.notes, *(f"A training stops here: {stop}" for stop in self.stops)]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        counts = {kind: self.count(kind) for kind in FAULTS}
        return {"headline": self.headline(), "counts": counts, "unsure_of_shift": len(self.unsure), **asdict(self)}


def check_pairs(config: TrainConfig) -> Generator[Progress, None, PairReport]:
    """Check every pair of a run, and all else that a training would stop at; pairs that can't be used are part of the report.

    Parameters
    ----------
    config
        From `load_config`.

    Yields
    ------
    Progress
        Before each image; each yield is a place to cancel.

    Returns
    -------
    PairReport
        For any value of `data.checks`.

    Raises
    ------
    VirtualPaintError
        If there is no pair, or none can be read.
    """
    start = time.perf_counter()
    sources = find(config.data)
    inspector = _Inspector(config, sources, excusing=True, training=False)
    foreign = output_problems(config)
    if foreign:
        inspector.path = None  # a folder of something else is left as it is
    data = yield from reading(config, sources, inspector, keep=False)
    inspector.save(always=True)
    report = inspector.report(time.perf_counter() - start, data)
    leave_out = config.data.checks == "leave_out"
    kept = _kept(data, {pair.name for pair in report.faulty}) if leave_out else data
    stops = [str(error) for error in inspector.failed if not (leave_out and isinstance(error, EXCUSED))]
    # What is left of a set is no news where pairs of it have failed.
    stops += [problem for problem in problems(kept, config) if not (inspector.failed and not leave_out and problem.startswith(SPLIT))]
    stops += [*foreign, *settings_problems(config, kept)]
    return replace(report, stops=tuple(dict.fromkeys(stops)), seconds=round(time.perf_counter() - start, 2))


def checking(config: TrainConfig) -> Generator[Progress, None, tuple[DataSet, PairReport | None]]:
    """Read all pairs as `pairs.loading` does and check each on the way.

    Yields
    ------
    Progress
        Before each image.

    Returns
    -------
    DataSet, PairReport or None
        With `data.checks: leave_out` the set lacks the pairs with a fault. The report is None where there is nothing to check:
        with `data.checks: off`, and for simulated fields.

    Raises
    ------
    InputError
        If a pair can't be used (and is not to be left out), or nothing is left.
    ReadError
        If a file can't be read (and is not to be left out).
    """
    if config.data.checks == "off" or config.data.simulate is not None:
        return (yield from loading(config)), None
    start = time.perf_counter()
    leave_out = config.data.checks == "leave_out"
    inspector = _Inspector(config, find(config.data), excusing=leave_out, training=True)
    data = yield from loading(config, inspector)
    inspector.save(always=True)
    report = inspector.report(time.perf_counter() - start, data)
    if leave_out:
        report = replace(report, left_out=tuple(pair.name for pair in report.faulty))
        data = _without(data, set(report.left_out), config)
    if config.run is not None:
        _write(config.run / REPORT, report.to_json())
    return data, report


def checked(config: TrainConfig) -> tuple[DataSet, PairReport | None]:
    """Run `checking` to its end."""
    return run_to_end(checking(config))


def _without(data: DataSet, names: set[str], config: TrainConfig) -> DataSet:
    """Return the set without some pairs, by the name of the image or of image and time point."""
    found = _kept(data, names)
    if not found.pairs:
        raise InputError("Each pair has a fault, so none is left to train on; look at them by virtual-paint train CONFIG.yaml --check.")
    check(found, config)
    return found


def _kept(data: DataSet, names: set[str]) -> DataSet:
    return replace(data, pairs=tuple(pair for pair in data.pairs if not _is_one(pair.name, pair.image, names)))


def _is_one(name: str, image: str, names: set[str]) -> bool:
    """Return whether a pair has one of these names, or is a plane of an image that has."""
    if image in names or name in names:
        return True
    first, _, plane = name.rpartition(" ")
    return plane.startswith("z") and first in names


class _Inspector:
    """Measure pairs while they are read, and keep the statistics in the run folder.

    Parameters
    ----------
    sources
        All pairs of the run.
    excusing
        Whether the run goes on without pairs that can't be used.
    training
        Whether training follows, so that the run folder may be created.
    """

    def __init__(self, config: TrainConfig, sources: Sequence[PairSource], *, excusing: bool, training: bool) -> None:
        self.config, self.sources, self.excusing, self.training = config, sources, excusing, training
        self.store = PairStore(config, len(sources))
        self.statistics: dict[str, list[PairStatistics]] = {}
        self.path = config.run / STATISTICS if config.run is not None else None
        self.known = (read_object(self.path) or {}) if self.path is not None else {}
        self.saved = time.monotonic()
        self.failed: list[VirtualPaintError] = []  # errors of the pairs that can't be used

    def wants(self, item: PairSource) -> bool:
        """Return whether a pair has no statistics yet."""
        try:
            digest = self.store.digest(item)
        except OSError:
            return True
        # A file of another version, or one damaged by two writers, is ignored.
        with contextlib.suppress(KeyError, TypeError, AttributeError):
            self.statistics[item.name] = [PairStatistics.from_json(one) for one in self.known[digest]]
        return item.name not in self.statistics

    def inspect(self, item: PairSource, source: Stack, target: Stack) -> None:
        """Measure a pair."""
        self.statistics[item.name] = measure_pair(item.name, source, target)
        self.known[self.store.digest(item)] = [each.to_json() for each in self.statistics[item.name]]
        self.save()

    def excuses(self, item: PairSource, error: VirtualPaintError) -> bool:
        """Record a pair that can't be used; return whether the run goes on without it."""
        self.statistics[item.name] = [PairStatistics(item.name, failure=str(error).rstrip("."))]
        self.failed.append(error)
        return self.excusing and (not self.training or isinstance(error, EXCUSED))

    def save(self, always: bool = False) -> None:
        """Write the statistics, at most every `SAVED` seconds unless ``always``."""
        if self.path is None or not (self.training or self.path.parent.is_dir()):
            return
        if always or time.monotonic() - self.saved > SAVED:
            self.saved = time.monotonic()
            _write(self.path, self.known)

    def report(self, seconds: float, data: DataSet) -> PairReport:
        """Return the faults of all pairs, and notes on them and on the set that was read."""
        sources = self.sources
        statistics = [each for item in sources for each in self.statistics.get(item.name, [])]
        pairs, notes = faults_of(statistics, self.config.augment)
        mode = self.config.data.checks
        notes = [*data.notes, *notes, *_split_notes(sources, self.config)]
        return PairReport(tuple(pairs), tuple(notes), mode=mode, seconds=round(seconds, 2))


def _split_notes(sources: Sequence[PairSource], config: TrainConfig) -> list[str]:
    """Return a note on wells with both training and held-out fields."""
    mixed = leaks(sources, held_out(sources, config.split, config.seed))
    if not mixed:
        return []
    shown = ", ".join(mixed[:6]) + (", ..." if len(mixed) > 6 else "")
    return [f"Of {len(mixed)} wells some fields are trained on and others held out ({shown}): scores on them say little of other wells."]


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON; a run whose folder can't be written will report that itself."""
    with contextlib.suppress(OSError, WriteError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(values), durable=False)


def _pairs(count: int) -> str:
    return f"{count} pair{'s' * (count != 1)}"
