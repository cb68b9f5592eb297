"""How long an evaluation takes: estimated before its first field, for how busy the machine is; then by the pace so far."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

from napari_virtual_paint.evaluation.run.tasks import MODULES, needed_levels
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.processes import cores
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import counted

T = TypeVar("T")
Stage: TypeAlias = Literal["survey", "fields", "findings", "report"]


@dataclass(frozen=True)
class EvaluationProgress(Progress):
    """Progress of an evaluation, in estimated seconds of one core."""

    field: str = ""  # the field that just finished or failed
    failed: str = ""  # reason of a failure, else empty
    stage: Stage | Literal[""] = ""  # current part: ``survey`` of the scale, ``fields``, ``findings``, ``report``
    phase: str = ""  # the current part in words, with the number of fields that are done


@dataclass(frozen=True)
class LevelCost:
    """Seconds that a level takes on one core of 2.5 GHz; the prior of the estimate, until the pace is known."""

    plane: float  # of evaluating a million pixels of one stain of the truth or a prediction
    summary: float  # of summarizing any number of fields
    summary_field: float  # of summarizing one more field


# CPU time with 3 and 9 simulated fields of 512 x 512 pixels, five stains and some 27 cells each, and one prediction.
COSTS: Mapping[str, LevelCost] = {
    "pixels": LevelCost(0.07, 0.3, 0.03),
    "instances": LevelCost(0.21, 1.0, 0.1),
    "features": LevelCost(0.57, 2.0, 0.4),
    "profiles": LevelCost(0.0, 10.0, 0.5),
}
OTHER = LevelCost(0.2, 1.0, 0.1)  # a level that is not ours
SURVEY = 0.05  # of surveying a million pixels of one stain
REPORT = 4.0  # of writing a report
START = 3.0  # of starting the worker processes
TRUST = 10.0  # seconds of work for which the estimate counts as much as the pace

PHASES: Mapping[str, str] = {
    "survey": "Measuring the brightness of the stains",
    "fields": "Evaluating",
    "findings": "Summarizing",
    "report": "Writing the report",
}


def estimate(
    fields: int, field_bytes: int, levels: Sequence[str], workers: int = 0, places: Mapping[str, str] = MODULES
) -> dict[Stage, float]:
    """Return how many seconds each part of an evaluation takes.

    Parameters
    ----------
    fields, field_bytes
        Number of fields, and bytes of the images of one, the truth's and the predictions', in float32.
    levels
        The levels that are asked for.
    workers
        Number of processes; 0 for one per core.
    places
        Name of a level -> ``module:OBJECT``.
    """
    planes = field_bytes / 4e6
    needed = needed_levels(levels, places)
    count = min(workers or cores(), cores())
    by_field, by_level = max(min(count, fields), 1), max(min(count, len(levels)), 1)
    costs = [COSTS.get(level, OTHER) for level in needed]
    summaries = [each.summary + each.summary_field * fields for each in (COSTS.get(level, OTHER) for level in levels)]
    return {
        "survey": START + SURVEY * planes * fields / by_field,
        "fields": planes * fields * sum(each.plane for each in costs) / by_field,
        "findings": max(sum(summaries) / by_level, *summaries),
        "report": REPORT,
    }


class ProgressScale:
    """Maps the progress of all parts to one scale of seconds, and estimates the time left.

    Parameters
    ----------
    seconds
        Estimated time of each part (see `estimate`).
    slowdown
        How many seconds one of these takes on this machine now (see `contention.slowdown`); the first estimate, until the pace is known.
    """

    def __init__(self, seconds: Mapping[Stage, float], slowdown: float = 1.0) -> None:
        self._spans: dict[Stage, tuple[float, float]] = {}
        self.total = 0.0
        for stage, duration in seconds.items():
            self._spans[stage] = self.total, self.total + duration
            self.total += duration
        self._began, self._slowdown = time.monotonic(), slowdown
        self._worked = 0.0  # of the scale; what was there already took no time, and says nothing on the pace

    def left(self, done: float, now: float) -> float:
        """Return the seconds left at a place of the scale and a time: by the estimate at first, then more and more by the pace."""
        pace = (self._worked + TRUST) / (now - self._began + TRUST * self._slowdown)
        return max(self.total - done, 0.0) / pace

    def follow(self, steps: Generator[EvaluationProgress, None, T], stage: Stage) -> Generator[EvaluationProgress, None, T]:
        """Relay the progress of a part."""
        begin, end = self._spans[stage]
        before: float | None = None

        def scaled(step: EvaluationProgress) -> EvaluationProgress:
            nonlocal before
            done = begin + (end - begin) * (step.done / step.total if step.total else 1.0)
            self._worked += 0.0 if before is None else max(done - before, 0.0)
            before = done
            left, phase = self.left(done, time.monotonic()), _phase(stage, step)
            return replace(step, done=round(done, 6), total=round(self.total, 6), stage=stage, seconds_left=left, phase=phase)

        return relay(steps, scaled)


def _phase(stage: Stage, step: EvaluationProgress) -> str:
    words = PHASES[stage]
    if stage in ("survey", "fields"):
        return f"{words}: {int(step.done)} of {counted(int(step.total), 'field')}"
    return f"{words} {step.message[0].lower()}{step.message[1:].rstrip('.')}" if step.message else words
