"""Common parts of the report's figures: views to choose from, panels side by side, legend, scale."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.evaluation.report.colours import GLYPHS, SYMBOLS
from napari_virtual_paint.evaluation.report.tables import NAMED, missing, text_of, words

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.level import Figure

LABEL = 40  # letters of a tick label; longer ones are shortened in the middle and shown in full on hover and in the table

MARGIN = 0.05  # margin beyond the values on an axis, as a share of their range

APART = 4  # ratio of the panels' value ranges above which each has its own axis

NONE = "(none)"  # group of missing values


class UndrawableError(ValueError):
    """A figure that its table can't give; the reader gets the message and the table instead."""


@dataclass(frozen=True)
class Key:
    """One legend entry: name, color, the symbol as a letter, and the mark of the traces that it switches."""

    name: str
    colour: str
    glyph: str
    key: str


@dataclass(frozen=True)
class ColourBar:
    """A figure's color scale: labels of both ends and of the middle, and the colors from low to high."""

    title: str
    low: str
    middle: str
    high: str
    colours: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """One panel: plotly's traces and layout, the least readable width in pixels, and the largest useful one."""

    title: str
    traces: tuple[Mapping[str, Any], ...]
    layout: Mapping[str, Any]
    least: int = 320
    most: int = 900


@dataclass(frozen=True)
class PlotView:
    """A set of panels shown together."""

    label: str
    panels: tuple[Panel, ...]
    legend: tuple[Key, ...] = ()
    scale: ColourBar | None = None


@dataclass(frozen=True)
class Plot:
    """A drawn figure."""

    views: tuple[PlotView, ...]  # one, or several for the reader to choose from
    choice: str = ""  # label of the choice
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Columns whose rows traces refer to (their ``rows``), so that each point is stored once in the page."""
    note: str = ""  # note on what is not drawn

    def to_json(self) -> dict[str, Any]:
        """Return the data of the page's script, without NaN."""
        return {"views": [asdict(view) for view in self.views], "columns": dict(self.columns)}


def plain(text: Any) -> str:
    """Escape text for plotly, which interprets tags such as ``<b>``."""
    return html.escape(str(text), quote=False)


def name_of(value: Any) -> str:
    """Return a group's name."""
    if missing(value):
        return NONE
    return f"{value:g}" if isinstance(value, float) else str(value)


def labels(frame: pd.DataFrame, by: str) -> list[str]:
    """Return the group name of each row by a column."""
    names = [name_of(value) for value in frame[by]]
    return [words(name) for name in names] if by in NAMED else names


def number(value: Any) -> float | None:
    """Return a number for plotly, None where undefined."""
    if missing(value):
        return None
    found = float(value)
    return found if math.isfinite(found) else None


def numbers(values: Any) -> list[float | None]:
    """Return a column for plotly."""
    return [number(value) for value in values]


def column(figure: Figure, frame: pd.DataFrame, name: str) -> str | None:
    """Return the column of an encoding, None where it is not used.

    Raises `UndrawableError` if it is not in the table.
    """
    encoded = figure.encode.get(name)
    if encoded is None or encoded == "":
        return None
    if not isinstance(encoded, str):
        raise UndrawableError(f"{name!r} takes one column, so only the table is shown.")
    if encoded not in frame.columns:
        raise UndrawableError(f"The table has no column {encoded!r}, so it can't be drawn.")
    return encoded


def needed(figure: Figure, frame: pd.DataFrame, name: str) -> str:
    """Return the column of a required encoding.

    Raises `UndrawableError` if it is not given, or not in the table.
    """
    found = column(figure, frame, name)
    if found is None:
        raise UndrawableError(f"No column is given for {name!r}, so only the table is shown.")
    return found


def columns(figure: Figure, frame: pd.DataFrame, name: str) -> tuple[str, ...]:
    """Return the columns of an encoding that takes several; those missing from the table are ignored."""
    encoded = figure.encode.get(name) or ()
    return tuple(each for each in ((encoded,) if isinstance(encoded, str) else encoded) if each in frame.columns)


def groups(frame: pd.DataFrame, by: str | None) -> list[tuple[str, pd.DataFrame]]:
    """Split a table by a column, in order of appearance; the whole, without a name, where by is None."""
    if by is None:
        return [("", frame)]
    names = labels(frame, by)
    return [(name, frame[[each == name for each in names]]) for name in dict.fromkeys(names)]


def names_in(frame: pd.DataFrame, by: str) -> list[str]:
    """Return the names of a column's groups, in order of appearance."""
    return list(dict.fromkeys(labels(frame, by)))


def views_of(figure: Figure, frame: pd.DataFrame) -> tuple[str, list[tuple[str, pd.DataFrame]]]:
    """Return the label and the options of the choice: the parts by the column ``switch``."""
    by = column(figure, frame, "switch")
    return (words(by) if by else ""), groups(frame, by)


def hovers(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return the hover text of each row."""
    names = list(dict.fromkeys(names))
    heads = [f"{plain(words(name))}: " for name in names]
    rows: Iterator[tuple[Any, ...]] = frame.loc[:, names].itertuples(index=False, name=None)
    return ["<br>".join(head + (plain(text_of(value)) or "–") for head, value in zip(heads, row, strict=True)) for row in rows]


def title_of(figure: Figure, name: str, view: str = "") -> str:
    """Return the title of an axis: the given words, else the column's name; of the current view, where there are several."""
    encoded = figure.encode.get(name) or ""
    return plain(figure.encode.get(f"{name}_title") or (view if encoded == "value" and view else words(encoded)))


def categories(title: str, names: Sequence[str], *, upside_down: bool = False) -> dict[str, Any]:
    """Return a categorical axis in order; top to bottom if reversed."""
    axis: dict[str, Any] = {
        "title": {"text": title},
        "type": "category",
        "categoryorder": "array",
        "categoryarray": [plain(name) for name in names],
        "automargin": True,
    }
    if any(len(name) > LABEL for name in names):
        axis["tickvals"] = [plain(name) for name in names]
        axis["ticktext"] = [plain(name if len(name) <= LABEL else f"{name[: LABEL // 2]}…{name[1 - LABEL // 2 :]}") for name in names]
    if len(names) <= 40:
        axis["dtick"] = 1
    if upside_down:
        axis["autorange"] = "reversed"
    return axis


def amounts(title: str, ends: tuple[float, float] | None = None) -> dict[str, Any]:
    """Return a numeric axis with its ends."""
    axis: dict[str, Any] = {"title": {"text": title}, "automargin": True}
    return axis | {"range": list(ends)} if ends else axis


def ends_of(*series: Any, zero: bool = False, margin: float = 0.0) -> tuple[float, float] | None:
    """Return the lowest and the highest value, with a margin relative to their range; None without a number."""
    values = [found for each in series for found in numbers(each) if found is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0) or (1.0 if low >= 0 else 0.0)
    padding = (high - low or abs(high) or 1.0) * margin
    return (low if zero and low == 0 else low - padding), (high if zero and high == 0 else high + padding)


def shared_ends(
    parts: Sequence[tuple[str, pd.DataFrame]], names: Sequence[str], *, zero: bool = False, margin: float = 0.0
) -> dict[str, tuple[float, float] | None]:
    """Return the axis ends of each part: shared, unless one part's values would be invisible on another's scale.

    None for a part without numbers.
    """
    own = {title: ends_of(*(part[name] for name in names), zero=zero, margin=margin) for title, part in parts}
    reach = [max(abs(low), abs(high)) for low, high in filter(None, own.values())]
    if not reach or max(reach) > APART * min(reach):
        return own
    shared = ends_of(*(part[name] for _, part in parts for name in names), zero=zero, margin=margin)
    return {title: shared if ends else None for title, ends in own.items()}


def nothing(layout: dict[str, Any]) -> dict[str, Any]:
    """Return the layout of a panel without numbers, which says so."""
    annotation = {"text": "undefined", "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "font": {"size": 14}}
    return layout | {"annotations": [annotation], **{axis: {"visible": False, "range": [0, 1]} for axis in ("xaxis", "yaxis")}}


def symbol(place: int) -> str:
    """Return plotly's name of a symbol."""
    return SYMBOLS[place % len(SYMBOLS)]


def glyph(place: int) -> str:
    """Return the same symbol as a letter."""
    return GLYPHS[place % len(GLYPHS)]
