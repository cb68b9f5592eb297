"""Tables of the report: the visible rows, and the whole table as CSV inside the page."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from napari_virtual_paint.metrics.metric import METRICS
from napari_virtual_paint.plates.view.palette import figure
from napari_virtual_paint.runtime.delimited_text import escape_formula, escape_formulas

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 500  # most visible rows of a table; the CSV has all

BESIDE = 200  # most visible rows of a table that is also drawn

INSIDE = 2_000_000
"""Most characters of CSV for a whole table in the page; of a larger one the drawn columns are stored, up to four times as much."""


@dataclass(frozen=True)
class TableCell:
    """One cell: its text, and its sort key (a number in full, or empty)."""

    text: str
    sort: str = ""


@dataclass(frozen=True)
class Shown:
    """The visible part of a table."""

    columns: tuple[tuple[str, bool], ...]  # headings, and whether each column holds numbers
    rows: tuple[tuple[TableCell, ...], ...]  # its cells, row by row
    total: int  # rows in the whole table


@dataclass(frozen=True)
class Csv:
    """A table for download."""

    name: str  # name of the table; ``NAME.csv`` is saved.
    href: str  # the table as a data URI, or the file beside the report where it is too large
    note: str = ""  # note on what is left out


SPELLED = {name: metric.label for name, metric in METRICS.items()} | {
    word.casefold(): word for word in ("NMAE", "SD", "IoU", "F1", "DSB", "UMAP", "PCA", "PC1", "PC2", "MoA", "CI", "ID")
}
"""Words that are spelled differently from the column name."""

NAMED = ("metric", "score", "measure")  # columns whose values are column names, and are spelled like those


def words(name: Any) -> str:
    """Return a column's name for display: ``pcc_sd`` is "PCC SD"; ``map`` is the score in first position, else a plate map."""
    first, *rest = str(name).replace("_", " ").split() or [""]
    head = "mAP" if first.casefold() == "map" else SPELLED.get(first.casefold(), first)
    return " ".join([head, *(SPELLED.get(part.casefold(), part) for part in rest)])


def missing(value: Any) -> bool:
    """Return whether a value is missing: None, NaN, NaT, pandas' NA."""
    if value is None:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    return type(value).__name__ in ("NAType", "NaTType") or bool(isinstance(value, numbers.Real) and value != value)


def text_of(value: Any) -> str:
    """Return a value for display: a number with three significant digits, empty where undefined."""
    if missing(value):
        return ""
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        number = float(value)
        return figure(number) if math.isfinite(number) else ("∞" if number > 0 else "−∞")
    return str(value)


def shown(frame: pd.DataFrame, rows: int, columns: Sequence[str] = ()) -> Shown:
    """Return the visible part of a table.

    Parameters
    ----------
    rows
        Most rows, from the first.
    columns
        Columns to show, all if empty; names missing from the table are ignored.
    """
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    names = [name for name in columns if name in frame.columns] or list(frame.columns)
    part = frame.loc[:, names].head(rows)
    numeric = [is_numeric_dtype(part[name]) and not is_bool_dtype(part[name]) for name in names]
    columns_of = (_column(_values(part, name), number) for name, number in zip(names, numeric, strict=True))
    cells = zip(*columns_of, strict=True)
    return Shown(tuple(zip(map(words, names), numeric, strict=True)), tuple(cells), len(frame))


def _values(part: pd.DataFrame, name: str) -> list[Any]:
    values: list[Any] = part[name].tolist()
    return [words(value) if isinstance(value, str) else value for value in values] if name in NAMED else values


def _column(values: list[Any], numeric: bool) -> list[TableCell]:
    """Return a column's cells; its numbers share the decimals where three or four digits then suffice."""
    if not numeric:
        return [TableCell(text_of(value)) for value in values]
    known = [abs(float(value)) for value in values if not missing(value) and math.isfinite(value)]
    integers = all(value == int(value) for value in known)
    sizes = [value for value in known if value > 0]
    even = not integers and bool(sizes) and min(sizes) >= 5e-4 and max(sizes) < 1e4
    decimals = 3 if even and max(sizes) < 10 else 2 if even and max(sizes) < 100 else 1

    def text(value: Any) -> str:
        return f"{value:.{decimals}f}" if even and not missing(value) and math.isfinite(value) else text_of(value)

    return [TableCell(text(value), "" if missing(value) else repr(float(value))) for value in values]


def csv_of(name: str, frame: pd.DataFrame, drawn: Iterable[str] = ()) -> Csv:
    """Return a table as CSV inside the page, so that the page is self-contained.

    Parameters
    ----------
    name
        Name of the table, valid as a file name; ``tables/NAME.csv`` lies beside the report.
    drawn
        The drawn columns: all that a very large table stores.
    """
    frame = escape_formulas(frame)
    text = frame.to_csv(index=False, lineterminator="\n")
    if len(text) <= INSIDE:
        return Csv(name, data_uri(text))
    columns = [column for column in frame.columns if column in set(map(escape_formula, drawn))]
    part = frame.loc[:, columns].to_csv(index=False, lineterminator="\n") if columns else ""
    if 0 < len(part) <= 4 * INSIDE:
        return Csv(
            name, data_uri(part), f"The columns that are drawn; all {len(frame.columns)} are in tables/{name}.csv beside the report."
        )
    return Csv(name, f"tables/{quote(name)}.csv", f"Too large for this page: tables/{name}.csv beside the report.")


def data_uri(text: str) -> str:
    """Return a text as a data URI that a browser saves unchanged."""
    return "data:text/csv;charset=utf-8," + quote(text, safe=",;:/?@=+$!*()~")
