"""How far long work is, and how long it will still take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Parameters
    ----------
    done, total
        Units of work; total is 0 while it is not known.
    message
        What is being done, for the user.
    seconds_left
        Estimate, or None while there is nothing to estimate from.
    """

    done: float = 0
    total: float = 0
    message: str = ""
    seconds_left: float | None = None

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


class Clock:
    """Estimates the time left from the pace since the first piece (so that loading a model doesn't count)."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def left(self, done: float, total: float, now: float) -> float | None:
        """Return the seconds left at a time in seconds, or None while there is no pace yet."""
        if self._first is None or done < self._first[1]:
            self._first = (now, done)
        began, before = self._first
        if done <= before or total <= 0:
            return None
        return max(0.0, (total - done) * (now - began) / (done - before))


def time_left(seconds: float | None) -> str:
    """Return a time left in words, as `2 min 5 s left`; empty where it is not known."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s left"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s left"
    return f"{minutes // 60} h {minutes % 60} min left"


def set_bar(bar: Any, value: int, most: int = 1000) -> None:
    """Move a QProgressBar. It would paint itself, and with it the whole window, inside this call; so it is told to wait for its turn."""
    bar.setUpdatesEnabled(False)
    bar.setRange(0, most)
    bar.setValue(value)
    bar.setUpdatesEnabled(True)
