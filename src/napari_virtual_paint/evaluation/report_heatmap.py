"""Matrices with a number, and how many stand behind it, in each cell (Cross-Zamirski 2022, Fig. 5; Tonks 2024, Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.evaluation.report.colours import colour_at, scale_for, steps, text_on
from napari_virtual_paint.evaluation.report.plot import (
    LABEL,
    Bar,
    Panel,
    Plot,
    UndrawableError,
    View,
    categories,
    column,
    columns,
    groups,
    hovers,
    labels,
    names_in,
    needed,
    number,
    plain,
    shared_ends,
    title_of,
    views_of,
)
from napari_virtual_paint.evaluation.report.tables import missing, text_of, words
from napari_virtual_paint.plates.view.palette import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.level import Figure

CELL, ROW = 54, 38
"""Pixels of a cell with its two lines, across and down."""

MOST_ANNOTATED = 20
"""Columns from which a matrix has no room for numbers: they are told under the pointer."""

WIDE = 880
"""Pixels that a matrix of many columns takes."""

LETTER = 7
"""Pixels of a letter of the names beside the rows."""


@dataclass(frozen=True)
class Matrix:
    """What all panels of a figure share: the columns that are drawn, the names across and down, and the scale."""

    x: str
    y: str
    value: str
    count: str | None
    told: tuple[str, ...]
    across: tuple[str, ...]
    down: tuple[str, ...]
    low: float
    high: float
    colours: tuple[str, ...]


def draw_heatmap(figure: Figure, frame: pd.DataFrame, sources: Mapping[str, str]) -> Plot:
    """Draw a cell a row of the table, on one scale for all panels and views."""
    x, y = needed(figure, frame, "x"), needed(figure, frame, "y")
    value, count, facet = needed(figure, frame, "value"), column(figure, frame, "count"), column(figure, frame, "facet")
    told = tuple(name for name in (facet, y, x, value, count, *columns(figure, frame, "hover")) if name)
    choice, parts = views_of(figure, frame)
    ends = shared_ends(parts, (value,))
    views = []
    for label, rows in parts:
        low, high, colours = scale_for(*(ends[label] or (0.0, 1.0)))
        across, down = _in_order(frame, rows, x), _in_order(frame, rows, y)
        shared = Matrix(x, y, value, count, told, across, down, low, high, colours)
        scale = Bar(title_of(figure, "value", label), text_of(low), text_of((low + high) / 2), text_of(high), colours)
        titles = (title_of(figure, "x"), plain(figure.encode.get("y_title", "")))
        panels = tuple(_panel(shared, titles, *each) for each in groups(rows, facet))
        views.append(View(label, panels, (), scale if ends[label] else None))
    return Plot(tuple(views), choice)


def _in_order(frame: pd.DataFrame, rows: pd.DataFrame, by: str) -> tuple[str, ...]:
    """Return the names that a view has, in the order of the whole table."""
    known = set(names_in(rows, by))
    return tuple(name for name in names_in(frame, by) if name in known)


def _panel(shared: Matrix, titles: tuple[str, str], title: str, part: pd.DataFrame) -> Panel:
    """Return one matrix, as large as its cells need."""
    cells = _cells(part, shared.x, shared.y)
    hover = dict(zip(cells, hovers(part, shared.told), strict=True))
    few = len(shared.across) <= MOST_ANNOTATED
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": [plain(name) for name in shared.across],
        "y": [plain(name) for name in shared.down],
        "z": [[_number(cells.get((left, name)), shared) for name in shared.across] for left in shared.down],
        "hovertext": [[hover.get((left, name), "") for name in shared.across] for left in shared.down],
        "hoverinfo": "text",
        "hoverongaps": False,
        "zmin": shared.low,
        "zmax": shared.high,
        "colorscale": steps(shared.colours),
        "showscale": False,
        "xgap": 2 if few else 0,
        "ygap": 2 if few else 0,
    }
    longest = min(LABEL, max(map(len, shared.across), default=0)) * LETTER
    across = CELL if few else max(3.0, min(22.0, WIDE / len(shared.across)))
    down = ROW if few else max(across, min(22.0, WIDE / len(shared.down)))
    turned = longest > across + 20
    beside = 30 + LETTER * min(LABEL, max(map(len, shared.down), default=0))
    layout = {
        "xaxis": categories(titles[0], shared.across) | {"tickangle": (-45 if few else -90) if turned else 0, "showgrid": False},
        "yaxis": categories(titles[1], shared.down, upside_down=True) | {"showgrid": False},
        "height": 30 + (30 + round(longest * (0.75 if few else 1.0)) if turned else 55) + round(down * len(shared.down)),
    }
    least = beside + round(across * len(shared.across))
    return Panel(title, (trace, _texts(cells, shared)) if few else (trace,), layout, least, round(1.7 * least) if few else least)


def _texts(cells: Mapping[tuple[str, str], dict[str, Any]], shared: Matrix) -> dict[str, Any]:
    """Return the numbers in the cells, black or white by what is behind them: plotly's own have too little contrast."""
    values = [_number(row, shared) for row in cells.values()]
    span = shared.high - shared.low
    return {
        "type": "scatter",
        "mode": "text",
        "x": [plain(name) for _, name in cells],
        "y": [plain(left) for left, _ in cells],
        "text": [_text(row, shared) for row in cells.values()],
        "textfont": {
            "size": 11.5,
            "color": [UNKNOWN if value is None else text_on(colour_at(shared.colours, (value - shared.low) / span)) for value in values],
        },
        "hoverinfo": "skip",
    }


def _cells(part: pd.DataFrame, x: str, y: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows by their place.

    Raises
    ------
    UndrawableError
        If two have the same.
    """
    rows = part.to_dict("records")
    found = dict(zip(zip(labels(part, y), labels(part, x), strict=True), rows, strict=True))
    if len(found) < len(rows):
        raise UndrawableError(f"Several rows of the table have the same {words(x)} and {words(y)}, so it can't be drawn as a matrix.")
    return found


def _number(row: Mapping[str, Any] | None, shared: Matrix) -> float | None:
    return None if row is None else number(row[shared.value])


def _text(row: Mapping[str, Any], shared: Matrix) -> str:
    """Return what stands in a cell."""
    known = _number(row, shared)
    far = max(abs(shared.low), abs(shared.high))
    decimals = 2 if far >= 0.2 else 3 if far >= 0.02 else 4
    value = "–" if known is None else f"{round(known, decimals) + 0.0:.{decimals}f}".replace("-", "−") if far < 10 else text_of(known)
    return value if shared.count is None or missing(row[shared.count]) else f"{value}<br>n {text_of(row[shared.count])}"
