"""Durations, sizes, errors and tables as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def duration(seconds: float) -> str:
    """Return a duration to the second, as ``40 s``, ``9 min 20 s`` or ``3 h 24 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def rough_duration(seconds: float) -> str:
    """Return an estimated duration, as ``40 s``, ``9 min``, ``3 h 20 min`` or ``4 days``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 36 * 60:
        return f"{minutes // 60} h {minutes % 60 // 10 * 10} min"
    return f"{round(minutes / 60 / 24)} days"


def byte_size(count: float) -> str:
    """Return a number of bytes, as ``850 MiB`` or ``1.2 GiB``."""
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def one_line(error: BaseException, limit: int = 160) -> str:
    """Return what an error says, short enough to be part of a sentence."""
    text = " ".join((str(error) or type(error).__name__).split()).rstrip(".")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], lineterminator: str = "\n") -> str:
    """Return rows as CSV with a header; values that a row lacks are empty, other keys are left out."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator=lineterminator)
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
