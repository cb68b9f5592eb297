"""Draw the levels' figures from their tables with plotly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from napari_virtual_paint.evaluation.report.charts import draw_bars, draw_boxes, draw_heatmap, draw_lines, draw_points
from napari_virtual_paint.evaluation.report.plot import Plot, UndrawableError

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.level import Figure

Drawing = Callable[["Figure", "pd.DataFrame", Mapping[str, str]], Plot]

DRAWINGS: Mapping[str, Drawing] = {
    "bar": draw_bars,
    "box": draw_boxes,
    "heatmap": draw_heatmap,
    "line": draw_lines,
    "scatter": draw_points,
}
"""Kinds drawn by plotly; ``images`` and ``table`` need none."""


def draw(figure: Figure, frame: pd.DataFrame, sources: Mapping[str, str]) -> Plot:
    """Draw a figure from its table.

    Parameters
    ----------
    figure
        One of the kinds in `DRAWINGS`. Encodings by kind (columns of its table, whose row order is kept):

        - ``bar``: x (categories), y, low, high (ends of the interval), colour, text (written on the bar)
        - ``box``: x, y (a row per observation), colour
        - ``heatmap``: x, y, value, count
        - ``line``: x (numbers or categories), y, low, high (a band), colour
        - ``scatter``: x, y, colour (a column, or several to choose from), symbol; ``diagonal: True`` draws y = x
        - each of them: facet (a panel per value), switch (a view per value), hover (a column or several), ``x_title`` ... (words)
    frame
        Its table.
    sources
        Color of the truth and of each prediction.

    Raises
    ------
    UndrawableError
        If the table lacks the data; the report then shows the table.
    """
    if frame.empty:
        raise UndrawableError("There is nothing to draw: the table has no row.")
    return DRAWINGS[figure.kind](figure, frame, sources)
