"""Charts: bars with intervals, boxes, lines, scatter plots and heatmaps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.evaluation.report.colours import GREY, PAPER, colour_at, of_groups, scale_for, steps, text_on, veil
from napari_virtual_paint.evaluation.report.plot import (
    LABEL,
    MARGIN,
    ColourBar,
    Key,
    Panel,
    Plot,
    PlotView,
    UndrawableError,
    amounts,
    categories,
    column,
    columns,
    ends_of,
    glyph,
    groups,
    hovers,
    labels,
    names_in,
    needed,
    nothing,
    number,
    numbers,
    plain,
    shared_ends,
    symbol,
    title_of,
    views_of,
)
from napari_virtual_paint.evaluation.report.tables import missing, text_of, words
from napari_virtual_paint.plates.view.palette import SCALE, UNKNOWN, scale_of

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.level import Figure


MANY = 12  # number of categories above which bars are horizontal: names would overlap

LONG = 14  # letters in a category's name above which bars are horizontal, where there are more than a few

POINTS = 50  # most observations of a box that are drawn as points


def draw_bars(figure: Figure, frame: pd.DataFrame, sources: Mapping[str, str]) -> Plot:
    """Draw one bar per row, grouped by color, one panel per facet."""
    x, y = needed(figure, frame, "x"), needed(figure, frame, "y")
    low, high, by = column(figure, frame, "low"), column(figure, frame, "high"), column(figure, frame, "colour")
    text, hover = column(figure, frame, "text"), columns(figure, frame, "hover")
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
                "hovertext": hovers(rows, [each for each in (x, by, y, low, high, *hover) if each]),
                "hoverinfo": "text",
            }
            if text:
                trace |= {"text": [plain(text_of(value)) for value in rows[text]], "textposition": "auto", "textangle": 0}
            if low and high:
                trace["error_x" if lying else "error_y"] = _whiskers(rows, y, low, high)
            yield trace

    return _drawn(figure, frame, traces, tuple(name for name in (y, low, high) if name), _legend(colours), zero=True)


def draw_boxes(figure: Figure, frame: pd.DataFrame, sources: Mapping[str, str]) -> Plot:
    """Draw quartiles, and whiskers to the last observation within 1.5 interquartile ranges (Tukey), of each group of rows."""
    x, y, by = needed(figure, frame, "x"), needed(figure, frame, "y"), column(figure, frame, "colour")
    hover = [each for each in (x, by, y, *columns(figure, frame, "hover")) if each]
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
                "text": hovers(rows, hover),
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
    """Return the views, one panel per facet; panels of one view share the value axis."""
    x, facet = needed(figure, frame, "x"), column(figure, frame, "facet")
    choice, parts = views_of(figure, frame)
    views = []
    for label, rows in parts:
        ends = shared_ends(groups(rows, facet), values, zero=zero, margin=MARGIN)
        panels = []
        for title, part in groups(rows, facet):
            names = names_in(part, x)
            lying = _lying(names)
            data = list(traces(part, lying))
            panels.append(
                _laid(title, data, names, lying, title_of(figure, "x"), amounts(title_of(figure, "y", label or title), ends[title]))
            )
        views.append(PlotView(label, tuple(panels), legend))
    return Plot(tuple(views), choice)


def _legend(colours: Mapping[Any, tuple[str, int]]) -> tuple[Key, ...]:
    """Return the legend; empty for a single unnamed group."""
    return tuple(Key(name, colour, "■", name) for name, (colour, _) in colours.items()) if set(colours) != {""} else ()


def _lying(names: list[str]) -> bool:
    """Return whether bars are horizontal, so that the category names can be read."""
    return len(names) > MANY or (len(names) > 3 and max(map(len, names)) > LONG) or max(map(len, names), default=0) > 2 * LONG


def _whiskers(rows: pd.DataFrame, y: str, low: str, high: str) -> dict[str, Any]:
    """Return the intervals as plotly takes them: distances from the value."""
    return {
        "type": "data",
        "symmetric": False,
        "array": numbers(rows[high] - rows[y]),
        "arrayminus": numbers(rows[y] - rows[low]),
        "thickness": 1.2,
        "width": 3,
        "color": "@ink",
    }


def _laid(title: str, traces: list[dict[str, Any]], names: list[str], lying: bool, x_title: str, values: dict[str, Any]) -> Panel:
    """Return a panel with its axes, sized for its bars."""
    rows = len(names) * len(traces)
    if "range" not in values:
        return Panel(title, (), nothing({"height": 200}), 280, 420)
    layout: dict[str, Any] = {"barmode": "group", "boxmode": "group", "bargap": 0.25, "height": 340}
    if lying:
        layout |= {"xaxis": values, "yaxis": categories("", names, upside_down=True), "height": max(220, 90 + 12 * len(names) + 13 * rows)}
        return Panel(title, tuple(traces), layout, 420, 1000)
    layout |= {"xaxis": categories(x_title, names), "yaxis": values}
    return Panel(title, tuple(traces), layout, min(560, 120 + 26 * rows + 14 * len(names)) if rows > 6 else 280, max(420, 150 + 60 * rows))


DRAWN = 10_000  # most points drawn; larger sets are sampled evenly


FEW = 8  # largest gap between integers that are groups (batches, plates) rather than amounts


def draw_lines(figure: Figure, frame: pd.DataFrame, sources: Mapping[str, str]) -> Plot:
    """Draw a line per group of rows, with a band from low to high."""
    from pandas.api.types import is_numeric_dtype

    x, y = needed(figure, frame, "x"), needed(figure, frame, "y")
    low, high, by = column(figure, frame, "low"), column(figure, frame, "high"), column(figure, frame, "colour")
    amount = is_numeric_dtype(frame[x])
    across = amounts(title_of(figure, "x")) if amount else categories(title_of(figure, "x"), names_in(frame, x))
    colours = of_groups(names_in(frame, by) if by else [""], sources)
    choice, views = views_of(figure, frame)
    facet, hover = column(figure, frame, "facet"), columns(figure, frame, "hover")

    def panel(title: str, part: pd.DataFrame, up: dict[str, Any]) -> Panel:
        traces: list[dict[str, Any]] = []
        for name, rows in groups(part, by):
            places = numbers(rows[x]) if amount else [plain(name) for name in labels(rows, x)]
            colour, mark = colours[name]
            if low and high:
                traces += _band(places, rows, low, high, name, colour)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(rows) <= 60 else "lines",
                    "name": plain(name),
                    "meta": [name],
                    "x": places,
                    "y": numbers(rows[y]),
                    "line": {"color": colour, "width": 2},
                    "marker": {"color": colour, "symbol": symbol(mark), "size": 7},
                    "text": hovers(rows, [each for each in (by, x, y, low, high, *hover) if each]),
                    "hoverinfo": "text",
                }
            )
        return Panel(title, tuple(traces), {"xaxis": across, "yaxis": up, "height": 340}, 290, 760)

    legend = tuple(Key(name, colour, glyph(mark), name) for name, (colour, mark) in colours.items()) if by else ()
    shown = []
    for label, rows in views:
        parts = groups(rows, facet)
        ends = shared_ends(parts, [name for name in (y, low, high) if name], margin=MARGIN)
        panels = (panel(title, part, amounts(title_of(figure, "y", label or title), ends[title])) for title, part in parts)
        shown.append(PlotView(label, tuple(panels), legend))
    return Plot(tuple(shown), choice)


def _band(places: list[Any], rows: pd.DataFrame, low: str, high: str, name: str, colour: str) -> list[dict[str, Any]]:
    """Return the two edges between which plotly fills."""
    edge = {"type": "scatter", "mode": "lines", "x": places, "meta": [name], "line": {"width": 0, "color": colour}, "hoverinfo": "skip"}
    return [edge | {"y": numbers(rows[low])}, edge | {"y": numbers(rows[high]), "fill": "tonexty", "fillcolor": veil(colour, 0.18)}]


def draw_points(figure: Figure, frame: pd.DataFrame, sources: Mapping[str, str]) -> Plot:
    """Draw a point per row, with a view for each color column."""
    x, y = needed(figure, frame, "x"), needed(figure, frame, "y")
    frame = frame[frame[x].notna() & frame[y].notna()]
    if frame.empty:
        raise UndrawableError("No row of the table has both coordinates, so there is nothing to draw.")
    drawn = frame.reset_index(drop=True)
    if len(frame) > DRAWN:
        drawn = drawn.iloc[[place * len(frame) // DRAWN for place in range(DRAWN)]].reset_index(drop=True)
    by = columns(figure, drawn, "colour")
    hover = [name for name in (*columns(figure, drawn, "hover"), *by, x, y) if name]
    pool: dict[str, list[Any]] = {"x": _short(drawn[x]), "y": _short(drawn[y]), "text": hovers(drawn, hover)}
    choice, parts = views_of(figure, drawn)
    views = []
    for label, rows in parts:
        axes = _axes(figure, rows, x, y)
        for name in by or (None,):
            title = " · ".join(each for each in (label, f"by {words(name)}" if name and len(by) > 1 else "") if each)
            views.append(_coloured(figure, title, rows, name, sources, pool, axes))
    if len(by) > 1:
        choice = f"{choice}, color" if choice else "color"
    note = f"{DRAWN} of {len(frame)} points are drawn, taken evenly; the CSV has all." if len(frame) > DRAWN else ""
    return Plot(tuple(views), choice, pool, note)


def _short(values: Any) -> list[float | None]:
    """Return coordinates with six digits: more are invisible and take space."""
    return [None if value is None else float(f"{value:.6g}") for value in numbers(values)]


def _axes(figure: Figure, frame: pd.DataFrame, x: str, y: str) -> dict[str, Any]:
    """Return the axes shared by all panels of a view, with the line y = x if requested."""
    across, up = ends_of(frame[x], margin=0.04), ends_of(frame[y], margin=0.04)
    layout: dict[str, Any] = {"height": 420, "hovermode": "closest"}
    if figure.encode.get("diagonal") and across and up:
        across = up = (min(across[0], up[0]), max(across[1], up[1]))
        line = {"color": "@ink", "width": 1, "dash": "dot"}
        layout["shapes"] = [{"type": "line", "layer": "below", "x0": up[0], "x1": up[1], "y0": up[0], "y1": up[1], "line": line}]
    return layout | {"xaxis": amounts(title_of(figure, "x"), across), "yaxis": amounts(title_of(figure, "y"), up)}


def _coloured(
    figure: Figure,
    label: str,
    rows: pd.DataFrame,
    by: str | None,
    sources: Mapping[str, str],
    pool: dict[str, list[Any]],
    axes: dict[str, Any],
) -> PlotView:
    """Return one view: the points colored by one column."""
    facet, mark = column(figure, rows, "facet"), column(figure, rows, "symbol")
    mark = None if mark == by else mark
    signs = of_groups(names_in(rows, mark), {}) if mark else {}
    places = {name: place for place, name in enumerate(signs)}
    signs_legend = tuple(Key(f"{words(mark)} {name}", "@ink", glyph(places[name]), f"{mark}\n{name}") for name in signs)
    scale: ColourBar | None = None
    legend: tuple[Key, ...] = ()
    traces_of: Any
    if by is not None and _is_amount(rows[by]):
        scale, colour = _scale(rows, by, pool)

        def traces_of(part: pd.DataFrame) -> list[tuple[pd.DataFrame, dict[str, Any], str, int]]:
            known = part[by].notna()
            return [(part[~known], {"color": GREY}, NOWHERE, 0), (part[known], colour, NOWHERE, 0)]
    else:
        colours = of_groups(names_in(rows, by) if by else [""], sources)
        legend = tuple(Key(name, tone, "●" if mark else glyph(place), name) for name, (tone, place) in colours.items()) if by else ()

        def traces_of(part: pd.DataFrame) -> list[tuple[pd.DataFrame, dict[str, Any], str, int]]:
            return [(each, {"color": colours[name][0]}, name, colours[name][1]) for name, each in groups(part, by)]

    panels = []
    for title, part in groups(rows, facet):
        traces = []
        for some, colour_of, key, place in traces_of(part):
            for sign, each in groups(some, mark):
                if len(each):
                    traces.append(_points(each, colour_of, key, places[sign] if mark else place, f"{mark}\n{sign}" if mark else ""))
        panels.append(Panel(title, tuple(traces), axes, 290, 560 if facet or "shapes" in axes else 860))
    return PlotView(label, tuple(panels), legend + signs_legend, scale)


NOWHERE = ""  # mark of points that no legend entry switches


def _points(rows: pd.DataFrame, colour: dict[str, Any], key: str, place: int, sign: str) -> dict[str, Any]:
    """Return one trace, whose points are rows of the figure's columns."""
    marker = {"size": 8, "opacity": 0.85, "symbol": symbol(place), "line": {"width": 0.6, "color": PAPER}} | colour
    taken = [int(index) for index in rows.index]
    name = plain(" · ".join(each for each in (key, sign.partition("\n")[2]) if each))
    return {"type": "scatter", "mode": "markers", "name": name, "meta": [key, sign], "rows": taken, "marker": marker, "hoverinfo": "text"}


def _is_amount(values: pd.Series) -> bool:
    """Return whether a column's numbers are amounts, which get a color scale, rather than group names."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_bool_dtype(values) or not is_numeric_dtype(values) or not values.notna().any():
        return False
    known = values.dropna()
    return not (bool((known == known.round()).all()) and known.max() - known.min() < FEW)


def _scale(rows: pd.DataFrame, by: str, pool: dict[str, list[Any]]) -> tuple[ColourBar, dict[str, Any]]:
    """Return the scale of a column, logarithmic where its values span orders of magnitude, and the marker colors of a trace."""
    found = scale_of([value for value in numbers(rows[by]) if value is not None])
    low, high = (math.log10(found.low), math.log10(found.high)) if found.log else (found.low, found.high)
    ticks = found.ticks()
    name = f"colour {by}"
    if name not in pool:
        pool[name] = [None] * len(pool["x"])
    for index, value in zip(rows.index, rows[by], strict=True):
        known = number(value)
        pool[name][int(index)] = known if known is None or not found.log else math.log10(max(known, found.low))
    colour = {"colours": name, "colorscale": steps(SCALE), "cmin": low, "cmax": high if high > low else low + 1, "showscale": False}
    return ColourBar(words(by), text_of(ticks[0]), text_of(ticks[1]) if len(ticks) > 2 else "", text_of(ticks[-1]), SCALE), colour


CELL, ROW = 54, 38  # pixels of a cell with its two lines, across and down


MOST_ANNOTATED = 20  # columns above which a matrix has no room for numbers, which are then shown on hover


WIDE = 880  # width in pixels of a matrix with many columns


LETTER = 7  # pixels per letter of the row names


@dataclass(frozen=True)
class Matrix:
    """Properties shared by all panels: the columns drawn, the names across and down, and the scale."""

    x: str
    y: str
    value: str
    count: str | None
    hover: tuple[str, ...]
    across: tuple[str, ...]
    down: tuple[str, ...]
    low: float
    high: float
    colours: tuple[str, ...]


def draw_heatmap(figure: Figure, frame: pd.DataFrame, sources: Mapping[str, str]) -> Plot:
    """Draw one cell per row of the table, on one scale for all panels and views."""
    x, y = needed(figure, frame, "x"), needed(figure, frame, "y")
    value, count, facet = needed(figure, frame, "value"), column(figure, frame, "count"), column(figure, frame, "facet")
    hover = tuple(name for name in (facet, y, x, value, count, *columns(figure, frame, "hover")) if name)
    choice, parts = views_of(figure, frame)
    ends = shared_ends(parts, (value,))
    views = []
    for label, rows in parts:
        low, high, colours = scale_for(*(ends[label] or (0.0, 1.0)))
        across, down = _in_order(frame, rows, x), _in_order(frame, rows, y)
        shared = Matrix(x, y, value, count, hover, across, down, low, high, colours)
        scale = ColourBar(title_of(figure, "value", label), text_of(low), text_of((low + high) / 2), text_of(high), colours)
        titles = (title_of(figure, "x"), plain(figure.encode.get("y_title", "")))
        panels = tuple(_panel(shared, titles, *each) for each in groups(rows, facet))
        views.append(PlotView(label, panels, (), scale if ends[label] else None))
    return Plot(tuple(views), choice)


def _in_order(frame: pd.DataFrame, rows: pd.DataFrame, by: str) -> tuple[str, ...]:
    """Return the names in a view, in the order of the whole table."""
    known = set(names_in(rows, by))
    return tuple(name for name in names_in(frame, by) if name in known)


def _panel(shared: Matrix, titles: tuple[str, str], title: str, part: pd.DataFrame) -> Panel:
    """Return one matrix, sized for its cells."""
    cells = _cells(part, shared.x, shared.y)
    hover = dict(zip(cells, hovers(part, shared.hover), strict=True))
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
    margin = 30 + LETTER * min(LABEL, max(map(len, shared.down), default=0))
    layout = {
        "xaxis": categories(titles[0], shared.across) | {"tickangle": (-45 if few else -90) if turned else 0, "showgrid": False},
        "yaxis": categories(titles[1], shared.down, upside_down=True) | {"showgrid": False},
        "height": 30 + (30 + round(longest * (0.75 if few else 1.0)) if turned else 55) + round(down * len(shared.down)),
    }
    least = margin + round(across * len(shared.across))
    return Panel(title, (trace, _texts(cells, shared)) if few else (trace,), layout, least, round(1.7 * least) if few else least)


def _texts(cells: Mapping[tuple[str, str], dict[str, Any]], shared: Matrix) -> dict[str, Any]:
    """Return the numbers in the cells, black or white by the background: plotly's own have too little contrast."""
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
    """Return the rows by position; raise an `UndrawableError` where two have the same position."""
    rows = part.to_dict("records")
    found = dict(zip(zip(labels(part, y), labels(part, x), strict=True), rows, strict=True))
    if len(found) < len(rows):
        raise UndrawableError(f"Several rows of the table have the same {words(x)} and {words(y)}, so it can't be drawn as a matrix.")
    return found


def _number(row: Mapping[str, Any] | None, shared: Matrix) -> float | None:
    return None if row is None else number(row[shared.value])


def _text(row: Mapping[str, Any], shared: Matrix) -> str:
    """Return the text of a cell."""
    known = _number(row, shared)
    far = max(abs(shared.low), abs(shared.high))
    decimals = 2 if far >= 0.2 else 3 if far >= 0.02 else 4
    value = "–" if known is None else f"{round(known, decimals) + 0.0:.{decimals}f}".replace("-", "−") if far < 10 else text_of(known)
    return value if shared.count is None or missing(row[shared.count]) else f"{value}<br>n {text_of(row[shared.count])}"
