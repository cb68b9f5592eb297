"""Whether pairs are fit to learn from: shifted, saturated, blank, out of focus, not of one field. Told before training begins."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.pairs import DataSet, check, loading
from napari_virtual_paint.training.data.scaling import wanted
from napari_virtual_paint.training.data.source import PairSource
from napari_virtual_paint.training.data.split import held_out, leaks
from napari_virtual_paint.training.data.store import PairStore
from napari_virtual_paint.training.pair_checks.faults import FAULTS, Fault, Kind, PairCheck, faults_of
from napari_virtual_paint.training.pair_checks.statistics import PairStatistics, look_at

__all__ = ["FAULTS", "Fault", "Kind", "PairCheck", "PairReport", "check_pairs", "checked", "checking"]

LOOKS = "looks.json"
"""What was seen of each pair, in the run's folder, so that a run that goes on need not look again."""
REPORT = "pairs.json"
"""The report, in the run's folder."""
SHOWN = 12
SAVED = 20.0
"""Seconds between two times that what was seen is written down."""


@dataclass(frozen=True)
class PairReport:
    """What a look at all pairs of a run gave.

    Parameters
    ----------
    pairs
        Each image (each time point of it), in the order of their names.
    notes
        What is to be known of all of them, one sentence each.
    left_out
        Names of the pairs that are trained without.
    mode
        ``report`` or ``leave_out``, as `data.checks` says.
    seconds
        Taken.
    """

    pairs: tuple[PairCheck, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    mode: Literal["report", "leave_out", "off"] = "report"
    seconds: float = 0.0

    @property
    def faulty(self) -> tuple[PairCheck, ...]:
        """Those with a fault."""
        return tuple(pair for pair in self.pairs if pair.faults)

    @property
    def unsure(self) -> tuple[PairCheck, ...]:
        """Those of which it can't be told whether they are shifted."""
        return tuple(pair for pair in self.pairs if not pair.sure)

    def count(self, kind: Kind) -> int:
        """Return how many pairs have a fault of a kind."""
        return sum(any(fault.kind == kind for fault in pair.faults) for pair in self.pairs)

    def headline(self) -> str:
        """Return all of it in one sentence."""
        if not self.faulty:
            return f"{_pairs(len(self.pairs))} looked at, no fault found."
        kinds = ", ".join(f"{count} {words}" for kind, words in FAULTS.items() if (count := self.count(kind)))
        left = f"; {len(self.left_out)} left out" if self.left_out else ""
        return f"{len(self.faulty)} of {_pairs(len(self.pairs))} may not be fit to learn from: {kinds}{left}."

    def sentences(self, most: int = SHOWN) -> list[str]:
        """Return the report in words: the headline, the pairs with faults (so many at most) and the notes."""
        faulty = self.faulty
        lines = [self.headline()]
        lines += [f"{pair.name}: {'; '.join(fault.words for fault in pair.faults)}." for pair in faulty[:most]]
        lines += [f"... and {len(faulty) - most} more."] * (len(faulty) > most)
        return [*lines, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        counts = {kind: self.count(kind) for kind in FAULTS}
        return {"headline": self.headline(), "counts": counts, "unsure_of_shift": len(self.unsure), **asdict(self)}


def check_pairs(config: TrainConfig) -> Generator[Progress, None, PairReport]:
    """Look at every pair of a run; nothing is trained, and pairs that can't be read are part of the report.

    Parameters
    ----------
    config
        From `load_config`.

    Yields
    ------
    Progress
        Before each image; each is a place to cancel.

    Returns
    -------
    PairReport
        Whatever `data.checks` says.

    Raises
    ------
    VirtualPaintError
        If there is no pair, or none can be read.
    """
    start = time.perf_counter()
    sources = find(config.data)
    looker = _Looker(config, len(sources), excusing=True, training=False)
    failed: list[VirtualPaintError] = []
    for number, item in enumerate(sources):
        yield Progress(number, len(sources), item.name)
        if not looker.wants(item):
            continue
        try:
            source, target = (stack.compute() for stack in wanted(item, config.data))
            looker.see(item, source, target)
        except VirtualPaintError as error:
            looker.excuses(item, error)
            failed.append(error)
    if len(failed) == len(sources):
        raise failed[0]
    looker.save(always=True)
    return looker.report(sources, time.perf_counter() - start)


def checking(config: TrainConfig) -> Generator[Progress, None, tuple[DataSet, PairReport | None]]:
    """Read all pairs as `pairs.loading` does and look at each on the way.

    Yields
    ------
    Progress
        Before each image.

    Returns
    -------
    DataSet, PairReport or None
        With `data.checks: leave_out` the set is without the pairs that have a fault. No report where nothing is to be looked at: with
        `data.checks: off`, and simulated fields, whose pairs are right.

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
    sources = find(config.data)
    leave_out = config.data.checks == "leave_out"
    looker = _Looker(config, len(sources), excusing=leave_out, training=True)
    data = yield from loading(config, looker)
    looker.save(always=True)
    report = looker.report(sources, time.perf_counter() - start)
    if leave_out:
        report = replace(report, left_out=tuple(pair.name for pair in report.faulty))
        data = _without(data, set(report.left_out), config)
    if config.run is not None:
        _write(config.run / REPORT, report.to_json())
    return data, report


def checked(config: TrainConfig) -> tuple[DataSet, PairReport | None]:
    """Do all of `checking` in one go."""
    return run_to_end(checking(config))


def _without(data: DataSet, names: set[str], config: TrainConfig) -> DataSet:
    """Leave pairs out: by the name of the image, or that of the image and the time point."""
    kept = tuple(pair for pair in data.pairs if not _is_one(pair.name, pair.image, names))
    if not kept:
        raise InputError("Each pair has a fault, so none is left to train on; look at them by virtual-paint train CONFIG.yaml --check.")
    found = replace(data, pairs=kept)
    check(found, config)
    return found


def _is_one(name: str, image: str, names: set[str]) -> bool:
    """Tell whether a pair is one of those that were looked at under these names; it may be one of the planes of such a one."""
    if image in names or name in names:
        return True
    first, _, plane = name.rpartition(" ")
    return plane.startswith("z") and first in names


class _Looker:
    """Looks at pairs while they are read, and remembers what it saw.

    Parameters
    ----------
    config
        Of the run.
    count
        Pairs of the run.
    excusing
        Whether the run goes on without pairs that can't be used.
    training
        Whether training follows, so that the run's folder may be made.
    """

    def __init__(self, config: TrainConfig, count: int, *, excusing: bool, training: bool) -> None:
        self.config, self.excusing, self.training = config, excusing, training
        self.keeper = PairStore(config, count)
        self.looks: dict[str, list[PairStatistics]] = {}
        self.path = config.run / LOOKS if config.run is not None else None
        self.known = _read(self.path) if self.path is not None else {}
        self.saved = time.monotonic()

    def wants(self, item: PairSource) -> bool:
        """Tell whether a pair was not yet looked at."""
        try:
            digest = self.keeper.digest(item)
        except OSError:
            return True
        # A file of another version, or one that two processes wrote at once, is as good as none.
        with contextlib.suppress(KeyError, TypeError, AttributeError):
            self.looks[item.name] = [PairStatistics.from_json(one) for one in self.known[digest]]
        return item.name not in self.looks

    def see(self, item: PairSource, source: Stack, target: Stack) -> None:
        """Look at a pair."""
        self.looks[item.name] = look_at(item.name, source, target)
        self.known[self.keeper.digest(item)] = [look.to_json() for look in self.looks[item.name]]
        self.save()

    def excuses(self, item: PairSource, error: VirtualPaintError) -> bool:
        """Take note of a pair that can't be used."""
        self.looks[item.name] = [PairStatistics(item.name, failure=str(error).rstrip("."))]
        return self.excusing

    def save(self, always: bool = False) -> None:
        """Write down what was seen, now and then."""
        if self.path is None or not (self.training or self.path.parent.is_dir()):
            return
        if always or time.monotonic() - self.saved > SAVED:
            self.saved = time.monotonic()
            _write(self.path, self.known)

    def report(self, sources: Sequence[PairSource], seconds: float) -> PairReport:
        """Judge all that was seen."""
        seen = [look for item in sources for look in self.looks.get(item.name, [])]
        pairs, notes = faults_of(seen, self.config.augment)
        mode = self.config.data.checks
        return PairReport(tuple(pairs), (*notes, *_split_notes(sources, self.config)), mode=mode, seconds=round(seconds, 2))


def _split_notes(sources: Sequence[PairSource], config: TrainConfig) -> list[str]:
    """Say where a well is both trained on and held out."""
    mixed = leaks(sources, held_out(sources, config.split, config.seed))
    if not mixed:
        return []
    shown = ", ".join(mixed[:6]) + (", ..." if len(mixed) > 6 else "")
    return [f"Of {len(mixed)} wells some fields are trained on and others held out ({shown}): scores on them say little of other wells."]


def _read(path: Path) -> dict[str, Any]:
    """Return what was seen before."""
    try:
        values = json.loads(path.read_text("utf-8"))
        return values if isinstance(values, dict) else {}
    except (OSError, ValueError):
        return {}


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """Write beside and rename; a run whose folder can't be written will say so itself."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.part")
        beside.write_text(json.dumps(values), "utf-8")
        beside.replace(path)


def _pairs(count: int) -> str:
    return f"{count} pair{'s' * (count != 1)}"
