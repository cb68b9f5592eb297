"""What the look at the pairs gave, in words for the dock."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

MOST = 6
"""Pairs that are named; the others are counted."""


@dataclass(frozen=True)
class Verdict:
    """What the look at the pairs gave.

    Parameters
    ----------
    fine
        Whether nothing speaks against training on all of them.
    some_are_fine
        Whether pairs are left if those that look wrong are left out.
    words
        What is said, as HTML.
    """

    fine: bool
    some_are_fine: bool
    words: str


def verdict(report: Any) -> Verdict:
    """Return what a `training.checks.PairReport` says; None for pairs that were not looked at."""
    if report is None:
        return Verdict(True, True, "")
    head, *rest = report.sentences(MOST)
    words = "<br>".join([f"<b>{escape(head)}</b>", *(escape(sentence) for sentence in rest)])
    return Verdict(not report.faulty, len(report.faulty) < len(report.pairs), words)
