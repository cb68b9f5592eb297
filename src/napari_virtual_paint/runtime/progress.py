"""Progress of long work, its pace and the time left."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_virtual_paint.runtime.text import duration, rough_duration

PROGRESS = "VIRTUAL_PAINT_PROGRESS"
"""Environment variable; if it is ``json``, the commands print progress to stderr as one JSON object per line (done, total, message and,
where the command estimates it, seconds_left)."""


SETTLED = 10.0
"""Seconds after which a pace is believed however little is done: its first seconds would promise days."""
ENOUGH = 0.05
"""Share of the work after which a pace is believed however short it took."""
LONG = 600.0
"""Seconds from which a time left is rounded to minutes."""


class EtaEstimator:
    """Estimates the time left from the pace since the first report, so that loading a model doesn't count."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def left(self, done: float, total: float, now: float) -> float | None:
        """Return the seconds left at a time in seconds, or None while there is no pace yet."""
        if self._first is None or done < self._first[1]:
            self._first = (now, done)
        began, before = self._first
        if done <= before or total <= 0 or (now - began < SETTLED and done - before < ENOUGH * total):
            return None
        return max(0.0, (total - done) * (now - began) / (done - before))


def time_left(seconds: float | None) -> str:
    """Return the time left in words, as ``2 min 5 s left``; empty where it is not known."""
    return "" if seconds is None else f"{duration(seconds) if seconds < LONG else rough_duration(seconds)} left"


@dataclass(frozen=True)
class Progress:
    """One report of a generator: how far it is."""

    done: float = 0
    total: float = 0  # `done` and `total`: in any unit; `total` is 0 while it is not known
    message: str = ""  # for the user; often empty
    seconds_left: float | None = field(default=None, kw_only=True)  # estimate of the time left; None where the work has none of its own

    @property
    def fraction(self) -> float:
        """Share that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0
