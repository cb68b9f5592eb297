"""Step: how far an evaluation is, its parts put on one scale."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")

SURVEY = 0.1
"""Time that the survey of a field takes, in that of judging one."""
SUMMARY = 0.1
"""Time of a level's summary, in that of judging all fields."""


@dataclass(frozen=True)
class Step:
    """How far an evaluation is.

    Parameters
    ----------
    done, total
        In fields, other work being counted as so many of them.
    message
        Words for the user, where there are any.
    field
        The field that was finished just now, or failed.
    failed
        Why it failed; empty where it did not.
    stage
        What is done: ``survey`` of the scale, ``fields`` judged, ``findings`` worked out.
    """

    done: float
    total: float
    message: str = ""
    field: str = ""
    failed: str = ""
    stage: str = ""


class Pace:
    """Puts the progress of the parts on one scale, whose unit is a field.

    Parameters
    ----------
    fields, levels
        How many there are.
    """

    def __init__(self, fields: int, levels: int) -> None:
        surveyed, judged = SURVEY * fields, (1 + SURVEY) * fields
        self.total = judged + levels * max(1.0, SUMMARY * fields)
        self.spans = {"survey": (0.0, surveyed), "fields": (surveyed, judged), "findings": (judged, self.total)}

    def follow(self, steps: Generator[Step, None, T], stage: str) -> Generator[Step, None, T]:
        """Pass on the steps of a stage."""
        begin, end = self.spans[stage]
        try:
            while True:
                try:
                    step = next(steps)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                share = step.done / step.total if step.total else 1.0
                yield replace(step, done=round(begin + (end - begin) * share, 6), total=self.total, stage=stage)
        finally:
            steps.close()
