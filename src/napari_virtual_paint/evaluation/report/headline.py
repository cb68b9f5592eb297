"""The headline of the report: each measure of the truth and the predictions, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.evaluation.report.tables import missing, text_of
from napari_virtual_paint.plates.view.palette import figure

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.level import Findings, Headline


@dataclass(frozen=True)
class Value:
    """One prediction's value of a measure."""

    text: str  # the value with its unit; empty where undefined
    share: float | None  # share of the truth's value, 0 to 1, for a bar; None where that is meaningless
    fall: str  # difference from the truth, in words; empty where the truth has no value
    best: bool  # whether it is the best of several, or tied


@dataclass(frozen=True)
class Difference:
    """The main prediction minus another one: in words, with interval, p and number of pairs."""

    text: str
    interval: str
    p: str
    n: str
    sure: bool


@dataclass(frozen=True)
class HeadlineRow:
    """One measure."""

    label: str
    good: str
    truth: str
    values: tuple[Value, ...]
    differences: tuple[Difference | None, ...]


def rows_of(found: Findings, predictions: Sequence[str]) -> tuple[HeadlineRow, ...]:
    """Return a level's rows of the headline, one per measure."""
    return tuple(_row(each, found.deltas, predictions) for each in found.headline)


def _row(line: Headline, deltas: pd.DataFrame | None, predictions: Sequence[str]) -> HeadlineRow:
    known = {name: _known(line.values.get(name)) for name in predictions}
    numbers = [value for value in known.values() if value is not None]
    best = (max(numbers) if line.good == "high" else min(numbers)) if len(numbers) > 1 and min(numbers) < max(numbers) else None
    truth = _known(line.truth)
    values = tuple(
        Value(
            _with(value, line.unit),
            _share_of_truth(value, truth, line.good),
            _fall(value, truth, line.unit),
            best is not None and value == best,
        )
        for value in known.values()
    )
    others = tuple(_difference(line, deltas, known, predictions[0], other) for other in predictions[1:])
    return HeadlineRow(line.label, line.good, _with(truth, line.unit), values, others)


def _known(value: Any) -> float | None:
    return None if missing(value) or not math.isfinite(float(value)) else float(value)


def _with(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{figure(value)} {unit}" if unit else figure(value)


def _share_of_truth(value: float | None, truth: float | None, good: str) -> float | None:
    """Return the share of the truth's value, where higher is better; otherwise it is meaningless."""
    if value is None or truth is None or good != "high" or truth <= 0:
        return None
    return min(1.0, max(0.0, value / truth))


def _fall(value: float | None, truth: float | None, unit: str) -> str:
    if value is None or truth is None:
        return ""
    if value == truth:
        return "as the truth"
    change = value - truth
    text = f"{_signed(change)} {unit}" if unit else _signed(change)
    return f"{text} ({_signed(100 * change / truth)} %)" if truth > 0 and unit != "%" else text


def _signed(value: float) -> str:
    return ("+" if value > 0 else "−" if value < 0 else "") + figure(abs(value))


def _difference(line: Headline, deltas: pd.DataFrame | None, known: Mapping[str, float | None], main: str, other: str) -> Difference | None:
    """Return the tested difference if there is one, else the plain one."""
    row = _tested(line.label, deltas, main, other)
    if row is not None and not missing(row.get("delta")):
        low, high, p = (_known(row.get(name)) for name in ("low", "high", "p_corrected" if "p_corrected" in row else "p"))
        interval = "" if low is None or high is None else f"{_signed(low)} to {_signed(high)}"
        p_value = "" if p is None else "p < 0.001" if p < 0.001 else f"p = {figure(p)}"
        n = "" if missing(row.get("n")) else " ".join(("n =", text_of(row["n"]), _plural(row.get("unit"), row["n"]))).strip()
        return Difference(_signed(float(row["delta"])), interval, p_value, n, p is not None and p < 0.05)
    one, two = known[main], known[other]
    return None if one is None or two is None else Difference(_signed(one - two), "", "", "", False)


def _plural(unit: Any, n: Any) -> str:
    return "" if missing(unit) else str(unit) if n == 1 else f"{str(unit)[:-1]}ies" if str(unit).endswith("y") else f"{unit}s"


def _tested(label: str, deltas: pd.DataFrame | None, main: str, other: str) -> dict[str, Any] | None:
    """Return the row of a measure in the table of differences: by its ``label``, else by its ``metric``; none where several match."""
    if deltas is None or not {"prediction", "against", "delta"} <= set(deltas.columns):
        return None
    for name in ("label", "metric"):
        if name in deltas.columns:
            found = deltas[(deltas["prediction"] == main) & (deltas["against"] == other) & (deltas[name] == label)]
            if len(found) == 1:
                return dict(found.iloc[0])
    return None


def summarize_wins(rows: Iterable[HeadlineRow], predictions: Sequence[str]) -> str:
    """Return a sentence on which prediction leads on how many measures; empty where they are indistinguishable."""
    compared = [row for row in rows if any(value.best for value in row.values)]
    if len(predictions) < 2 or not compared:
        return ""
    wins = {name: sum(row.values[place].best for row in compared) for place, name in enumerate(predictions)}
    most = max(wins.values())
    if sum(count == most for count in wins.values()) > 1:
        parts = ", ".join(f"{name} on {count}" for name, count in wins.items())
        return f"Of {len(compared)} measures on which they differ, the best is: {parts}."
    name = next(name for name, count in wins.items() if count == most)
    some = f"{most} of the {len(compared)}" if most < len(compared) else f"all {most}" if most > 1 else "the one"
    return f"{name} is best on {some} {'measure' if len(compared) == 1 else 'measures'} on which the predictions differ."
