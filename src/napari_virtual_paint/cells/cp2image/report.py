"""Report of an evaluation: one page with its figures, with a table and an image beside it."""

from __future__ import annotations

import csv
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtual_paint.cells.cellprofiler_names import parse
from napari_virtual_paint.cells.cp2image.evaluate import HIGH, CellEvaluation
from napari_virtual_paint.cells.populations.composite import colours_of, composite, limits_of
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.delimited_text import escape_formula
from napari_virtual_paint.runtime.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LISTED = 20
SCATTERED = 6
CROPS = 10

STYLE = (
    "body{font-family:sans-serif;margin:2em auto;max-width:70em}td,th{padding:.1em .8em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}table{border-collapse:collapse;display:inline-table;margin:1em;vertical-align:top}"
    "tr:nth-child(even){background:#f2f2f2}img{max-width:100%}"
)


def report_files(path: Path) -> list[Path]:
    """Return the files of a report: the page, and the table and picture beside it."""
    return [path, path.with_suffix(".csv"), path.with_suffix(".png")]


def check_report(path: Path) -> None:
    """Check before the long work that a report can be written.

    Raises `InputError` if the name does not end in .html, or a table or picture of its name is there that is no report's.
    """
    if path.suffix.casefold() not in (".html", ".htm"):
        raise InputError(f"{path}: the report is a page; give it a name that ends in .html.")
    for beside in report_files(path)[1:]:
        if beside.exists() and not path.is_file():
            raise InputError(f"{beside}: the report writes this file too, and one is there that is no report's; choose another -o.")


def write_report(found: CellEvaluation, path: Path) -> Path:
    """Write ``REPORT.html`` with ``REPORT.csv`` and ``REPORT.png`` beside it.

    Raises `InputError` if matplotlib is missing or the name does not end in .html.
    """
    from napari_virtual_paint.runtime.atomic_write import replacing

    check_report(path)
    picture = io.BytesIO()
    figure(found).savefig(picture, format="png", dpi=110)
    for suffix, data in ((".csv", table_text(found).encode()), (".png", picture.getvalue()), (path.suffix, page(found, path).encode())):
        with replacing(path.with_suffix(suffix), overwrite=True) as temporary:
            temporary.write_bytes(data)
    return path


def table_text(found: CellEvaluation) -> str:
    """Return every feature with its correlation as CSV, best first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["feature", "compartment", "group", "channels", "correlation"])
    for name, value in found.ranked():
        feature = parse(name, found.channels)
        row = [name, feature.compartment, feature.group, " ".join(feature.channels), "" if value is None else f"{value:.4f}"]
        writer.writerow(map(escape_formula, row))
    return text.getvalue()


def page(found: CellEvaluation, path: Path) -> str:
    """Return the page."""
    ranked = found.ranked()
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{html.escape(found.model)}</title><style>{STYLE}</style>",
        f"<h1>{html.escape(found.model)}</h1>",
        f"<p>{len(found.requested)} cells, {len(found.per_feature)} features. Correlation between the requested value and that measured "
        f"on the generated cell: above {HIGH} for <b>{found.share_above:.1%}</b> of the features, median <b>{found.median:.3f}</b>.</p>",
        f"<p>Fréchet distance between drawn and real crops: <b>{found.fid:.4g}</b>, by the features of: {html.escape(found.network)}.</p>",
        *(f"<p>{html.escape(note)}</p>" for note in found.notes),
        f"<p><img src='{html.escape(path.with_suffix('.png').name)}' alt='Scatter plots, and real cells over drawn ones'></p>",
    ]
    for part in ("compartment", "channel", "group"):
        rows = [(key, str(count), f"{share:.0%}", f"{median:.2f}") for key, count, share, median in found.by(part)]
        parts.append(_table((part, "features", "above 0.5", "median"), rows))
    parts.append("<br>")
    for heading, some in ((f"best {LISTED}", ranked[:LISTED]), (f"worst {LISTED}", ranked[-LISTED:])):
        parts.append(_table((heading, "r"), [(name, "none" if value is None else f"{value:.2f}") for name, value in some]))
    return "\n".join(parts) + "\n"


def _table(header: tuple[str, ...], rows: list[Any]) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join(lines) + "</table>"


def figure(found: CellEvaluation) -> Figure:
    """Return the figure: all correlations in order, scatter plots of the best features, real cells above generated ones."""
    drawing: Figure = require("matplotlib.figure", extra="cells", purpose="The report").Figure(figsize=(12, 10), layout="constrained")
    grid = drawing.add_gridspec(4, SCATTERED, height_ratios=(2, 2, 1, 1))
    axes = drawing.add_subplot(grid[0, :])
    axes.plot(np.sort(found.correlations)[::-1], color="0.2")
    axes.axhline(HIGH, color="tab:red", lw=1)
    axes.set(xlabel="features, from best to worst", ylabel="correlation", ylim=(min(-0.2, float(found.correlations.min())), 1))
    names = list(found.per_feature)
    for place, (name, value) in enumerate(found.ranked()[:SCATTERED]):
        column = names.index(name)
        axes = drawing.add_subplot(grid[1, place])
        axes.plot(found.requested[:, column], found.measured[:, column], ".", ms=2, alpha=0.5, color="tab:blue")
        axes.set_title("\n".join(_wrapped(name)) + f"\nr = {value or 0:.2f}", fontsize=7)
        axes.tick_params(labelsize=6)
        axes.set_xlabel("requested", fontsize=7)
        axes.set_ylabel("measured" if not place else "", fontsize=7)
    limits, colours = limits_of(found.real), colours_of(found.channels)
    for row, (heading, crops) in enumerate((("real", found.real), ("drawn", found.drawn)), start=2):
        axes = drawing.add_subplot(grid[row, :])
        axes.imshow(np.concatenate([composite(crop, limits, colours) for crop in crops[:CROPS]], axis=1))
        axes.set(xticks=[], yticks=[], ylabel=heading)
    return drawing


def _wrapped(name: str, width: int = 24) -> list[str]:
    """Break a feature's name at its underscores."""
    lines = [""]
    for part in name.split("_"):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += ("_" if lines[-1] else "") + part
    return lines
