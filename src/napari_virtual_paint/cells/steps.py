"""How far long work has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One report of a generator.

    Parameters
    ----------
    done, total
        In any unit.
    message
        For the user; often empty.
    """

    done: float
    total: float
    message: str = ""
