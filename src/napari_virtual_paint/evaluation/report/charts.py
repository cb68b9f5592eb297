"""Bars with their intervals, and boxes of many observations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.evaluation.report.colours import of_groups, veil
from napari_virtual_paint.evaluation.report.plot import (
    MARGIN,
    Key,
    Panel,
    Plot,
    View,
    amounts,
    categories,
    column,
    columns,
    groups,
    hovers,
    labels,
    names_in,
    needed,
    nothing,
    numbers,
    plain,
    shared_ends,
    title_of,
    views_of,
)
from napari_virtual_paint.evaluation.report.tables import text_of

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.level import Figure

MANY = 12
"""Categories from which bars lie: their names would overlap."""

LONG = 14
"""Letters of a category's name from which bars lie where there are more than a few."""

POINTS = 50
"""Observations of a box up to which each is drawn."""


def draw_bars(figure: Figure, frame: pd.DataFrame, sources: Mapping[str, str]) -> Plot:
    """Draw a bar a row, beside each other by colour, a panel a facet."""
    x, y = needed(figure, frame, "x"), needed(figure, frame, "y")
    low, high, by = column(figure, frame, "low"), column(figure, frame, "high"), column(figure, frame, "colour")
    text, told = column(figure, frame, "text"), columns(figure, frame, "hover")
    colours = of_groups(names_in(frame, by) if by else [""], sources)

    def traces(part: pd.DataFrame, lying: bool) -> Iterator[dict[str, Any]]:
        for name, rows in groups(part, by):
            trace: dict[str, Any] = {
                "type": "bar",
                "name": plain(name),
                "orientation": "h" if lying else "v",
                "y" if lying else "x": [plain(name) for name in labels(rows, x)],
                "x" if lying else "y": numbers(rows[y]),
                "meta": [name],
                "marker": {"color": colours[name][0]},
                "hovertext": hovers(rows, [each for each in (x, by, y, low, high, *told) if each]),
                "hoverinfo": "text",
            }
            if text:
                trace |= {"text": [plain(text_of(value)) for value in rows[text]], "textposition": "auto", "textangle": 0}
            if low and high:
                trace["error_x" if lying else "error_y"] = _whiskers(rows, y, low, high)
            yield trace

    return _drawn(figure, frame, traces, tuple(name for name in (y, low, high) if name), _legend(colours), zero=True)


def draw_boxes(figure: Figure, frame: pd.DataFrame, sources: Mapping[str, str]) -> Plot:
    """Draw quartiles, and whiskers to the last observation within 1.5 times their distance (Tukey), of each group of rows."""
    x, y, by = needed(figure, frame, "x"), needed(figure, frame, "y"), column(figure, frame, "colour")
    told = [each for each in (x, by, y, *columns(figure, frame, "hover")) if each]
    colours = of_groups(names_in(frame, by) if by else [""], sources)

    def traces(part: pd.DataFrame, lying: bool) -> Iterator[dict[str, Any]]:
        for name, all_rows in groups(part, by):
            rows = all_rows[all_rows[y].notna()]
            colour = colours[name][0]
            yield {
                "type": "box",
                "name": plain(name),
                "orientation": "h" if lying else "v",
                "y" if lying else "x": [plain(name) for name in labels(rows, x)],
                "x" if lying else "y": numbers(rows[y]),
                "meta": [name],
                "boxpoints": "all" if len(rows) <= POINTS * max(1, rows[x].nunique()) else "outliers",
                "jitter": 0.4,
                "pointpos": 0,
                "marker": {"color": colour, "size": 4, "opacity": 0.6},
                "line": {"color": colour, "width": 1.5},
                "fillcolor": veil(colour, 0.2),
                "text": hovers(rows, told),
                "hoverinfo": "x+text" if lying else "y+text",
            }

    return _drawn(figure, frame, traces, (y,), _legend(colours), zero=False)


def _drawn(
    figure: Figure,
    frame: pd.DataFrame,
    traces: Callable[[pd.DataFrame, bool], Iterable[dict[str, Any]]],
    values: tuple[str, ...],
    legend: tuple[Key, ...],
    *,
    zero: bool,
) -> Plot:
    """Return the views, a panel a facet; panels of one view share the axis of values."""
    x, facet = needed(figure, frame, "x"), column(figure, frame, "facet")
    choice, parts = views_of(figure, frame)
    views = []
    for label, rows in parts:
        ends = shared_ends(groups(rows, facet), values, zero=zero, margin=MARGIN)
        panels = []
        for title, part in groups(rows, facet):
            names = names_in(part, x)
            lying = _lying(names)
            made = list(traces(part, lying))
            panels.append(
                _laid(title, made, names, lying, title_of(figure, "x"), amounts(title_of(figure, "y", label or title), ends[title]))
            )
        views.append(View(label, tuple(panels), legend))
    return Plot(tuple(views), choice)


def _legend(colours: Mapping[Any, tuple[str, int]]) -> tuple[Key, ...]:
    """Return the legend; none where there is one group without a name."""
    return tuple(Key(name, colour, "■", name) for name, (colour, _) in colours.items()) if set(colours) != {""} else ()


def _lying(names: list[str]) -> bool:
    """Return whether bars lie, so that the names of categories can be read."""
    return len(names) > MANY or (len(names) > 3 and max(map(len, names)) > LONG) or max(map(len, names), default=0) > 2 * LONG


def _whiskers(rows: pd.DataFrame, y: str, low: str, high: str) -> dict[str, Any]:
    """Return the intervals as plotly takes them: how far they go from the value."""
    return {
        "type": "data",
        "symmetric": False,
        "array": numbers(rows[high] - rows[y]),
        "arrayminus": numbers(rows[y] - rows[low]),
        "thickness": 1.2,
        "width": 3,
        "color": "@ink",
    }


def _laid(title: str, traces: list[dict[str, Any]], names: list[str], lying: bool, words: str, values: dict[str, Any]) -> Panel:
    """Return a panel with its axes, as large as its bars need."""
    rows = len(names) * len(traces)
    if "range" not in values:
        return Panel(title, (), nothing({"height": 200}), 280, 420)
    layout: dict[str, Any] = {"barmode": "group", "boxmode": "group", "bargap": 0.25, "height": 340}
    if lying:
        layout |= {"xaxis": values, "yaxis": categories("", names, upside_down=True), "height": max(220, 90 + 12 * len(names) + 13 * rows)}
        return Panel(title, tuple(traces), layout, 420, 1000)
    layout |= {"xaxis": categories(words, names), "yaxis": values}
    return Panel(title, tuple(traces), layout, min(560, 120 + 26 * rows + 14 * len(names)) if rows > 6 else 280, max(420, 150 + 60 * rows))
