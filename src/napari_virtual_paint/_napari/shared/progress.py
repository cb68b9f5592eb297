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


def set_bar(bar: Any, value: int, most: int = 1000) -> None:
    """Move a QProgressBar. It would paint itself, and with it the whole window, inside this call; so it is told to wait for its turn."""
    bar.setUpdatesEnabled(False)
    bar.setRange(0, most)
    bar.setValue(value)
    bar.setUpdatesEnabled(True)
