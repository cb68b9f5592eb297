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
from napari_virtual_paint.cells.cp2image.feature_response import Response
from napari_virtual_paint.cells.cp2image.realism import Realism
from napari_virtual_paint.cells.cp2image.spectrum import SpectrumRatio
from napari_virtual_paint.cells.populations.composite import colours_of, composite, limits_of
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.delimited_text import escape_formula
from napari_virtual_paint.runtime.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

LISTED = 20
SCATTERED = 6
CROPS = 10

STYLE = (
    "body{font-family:sans-serif;margin:2em auto;max-width:70em}td,th{padding:.1em .8em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}table{border-collapse:collapse;display:inline-table;margin:1em;vertical-align:top}"
    "tr:nth-child(even){background:#f2f2f2}img{max-width:100%}"
)


def report_files(path: Path) -> list[Path]:
    """Return the files of a report: the page, and the tables and the picture beside it."""
    return [path, path.with_suffix(".csv"), path.with_suffix(".png"), spectrum_file(path)]


def spectrum_file(path: Path) -> Path:
    """Return the path of the table of power spectra that lies beside a report."""
    return path.with_name(f"{path.stem}-spectrum.csv")


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
    """Write ``REPORT.html`` with ``REPORT.csv``, ``REPORT.png`` and, if it was taken, ``REPORT-spectrum.csv`` beside it.

    Raises `InputError` if matplotlib is missing or the name does not end in .html.
    """
    from napari_virtual_paint.runtime.atomic_write import replacing

    check_report(path)
    picture = io.BytesIO()
    figure(found).savefig(picture, format="png", dpi=110)
    beside, table, drawing, spectrum = report_files(path)
    files = {table: table_text(found).encode(), drawing: picture.getvalue(), beside: page(found, path).encode()}
    if found.realism.spectrum is not None:
        files = {spectrum: spectrum_text(found.realism.spectrum).encode(), **files}
    for file, data in files.items():
        with replacing(file, overwrite=True) as temporary:
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


def spectrum_text(found: SpectrumRatio) -> str:
    """Return the power of generated over real crops as CSV: a row for each channel and ring of the spectrum."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["channel", "cycles_per_px", "generated_over_real"])
    for channel, ratios in zip(found.channels, found.rings, strict=True):
        for frequency, ratio in zip(found.frequencies, ratios, strict=True):
            writer.writerow([escape_formula(channel), f"{frequency:.5g}", f"{ratio:.5g}"])
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
        *(f"<p>{html.escape(words)}</p>" for words in realism_words(found.realism)),
        *(f"<p>{html.escape(note)}</p>" for note in found.notes),
        f"<p><img src='{html.escape(path.with_suffix('.png').name)}' alt='Scatter plots, and real cells over drawn ones'></p>",
    ]
    if found.sweeps:
        parts.append(_table(("feature", "gain, others follow", "Spearman", "gain, alone", "Spearman"), gain_rows(found)))
    if found.realism.spectrum is not None:
        spectrum = found.realism.spectrum
        header = ("power of generated over real crops, cycles per px", *(f"{low:.3g} to {high:.3g}" for low, high in spectrum.bands))
        rows = [(name, *(f"{ratio:.2f}" for ratio in ratios)) for name, ratios in zip(spectrum.channels, spectrum.ratios, strict=True)]
        parts.append(_table(header, rows))
    parts.append("<br>")
    for part in ("compartment", "channel", "group"):
        rows = [(key, str(count), f"{share:.0%}", f"{median:.2f}") for key, count, share, median in found.by(part)]
        parts.append(_table((part, "features", "above 0.5", "median"), rows))
    parts.append("<br>")
    for heading, some in ((f"best {LISTED}", ranked[:LISTED]), (f"worst {LISTED}", ranked[-LISTED:])):
        parts.append(_table((heading, "r"), [(name, "none" if value is None else f"{value:.2f}") for name, value in some]))
    return "\n".join(parts) + "\n"


def gain_rows(found: CellEvaluation) -> list[tuple[str, ...]]:
    """Return a row for each swept feature: gain and rank correlation with the others following, and alone."""
    return [
        (led.feature, f"{led.gain:.2f}", f"{led.median:.2f}", f"{alone.gain:.2f}", f"{alone.median:.2f}")
        for led, alone in zip(found.sweeps["follow"], found.sweeps["alone"], strict=True)
    ]


def realism_words(found: Realism) -> list[str]:
    """Return how real the generated crops look, a sentence for each measure."""
    words = []
    if (distance := found.frechet) is not None:
        words.append(
            f"Fréchet distance at {distance.cells} cells each, of other cells: generated from real {distance.drawn:.4g}, "
            f"real from real {distance.floor:.4g} ({distance.drawn / max(distance.floor, 1e-12):.3g} times)."
        )
    if found.auc is not None and found.auc_control is not None:
        words.append(
            f"A classifier distinguishes generated from real crops of unseen cells with an AUC of {found.auc:.2f}, and two halves of "
            f"the real crops with {found.auc_control:.2f} (chance: 0.5)."
        )
    if found.spectrum is not None:
        low, high = found.spectrum.extremes
        words.append(f"Power spectrum of generated over real crops: {low:.2f} to {high:.2f} over all channels and bands.")
    return words


def _table(header: tuple[str, ...], rows: list[Any]) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join(lines) + "</table>"


def figure(found: CellEvaluation) -> Figure:
    """Return the figure.

    All correlations in order, scatter plots of the best features, real cells above generated ones, then a plot for each gain and for each
    measure of how real the cells look.
    """
    real = found.realism
    looks = [each for each in (real.frechet, real.auc, real.spectrum) if each is not None]
    heights = (2, 2, 1, 1) + ((2,) if found.sweeps else ()) + ((2,) if looks else ())
    drawing: Figure = require("matplotlib.figure", extra="cells", purpose="The report").Figure(
        figsize=(12, 10 * sum(heights) / 6), layout="constrained"
    )
    grid = drawing.add_gridspec(len(heights), SCATTERED, height_ratios=heights)
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
    if found.sweeps:
        for place, pair in enumerate(zip(found.sweeps["follow"], found.sweeps["alone"], strict=True)):
            _plot_gain(drawing.add_subplot(grid[4, place]), *pair)
    if looks:
        _plot_realism(drawing, grid, len(heights) - 1, real)
    return drawing


def _plot_gain(axes: Axes, follow: Response, alone: Response) -> None:
    """Plot the measured against the requested value of a sweep: the median over the cells with quartiles, and where they are the same."""
    asked = follow.requested
    axes.plot(asked, asked, "--", color="0.5", lw=1)
    for response, colour, name in ((follow, "tab:blue", "follow"), (alone, "tab:orange", "alone")):
        lines = response.unwrapped()
        if response.period:  # each line begins where it is nearest to what was asked for
            lines -= response.period * np.rint((np.nanmean(lines - asked, axis=1, keepdims=True)) / response.period)
        known = lines[np.isfinite(lines).all(axis=1)]
        if len(known):
            low, middle, high = np.percentile(known, (25, 50, 75), axis=0)
            axes.plot(asked, middle, color=colour, lw=1.5, label=f"{name}: {response.gain:.2f}")
            axes.fill_between(asked, low, high, color=colour, alpha=0.2, lw=0)
    axes.set_title("\n".join(_wrapped(follow.feature)), fontsize=7)
    axes.set_xlabel("requested", fontsize=7)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, title="gain", title_fontsize=6, loc="upper left")


def _plot_realism(drawing: Figure, grid: GridSpec, row: int, real: Realism) -> None:
    """Plot how real the generated crops look: Fréchet distance and classifier beside what real crops reach, and the power spectrum."""
    if (distance := real.frechet) is not None:
        axes = drawing.add_subplot(grid[row, 0])
        axes.bar(("generated", "real"), (distance.drawn, distance.floor), color=("tab:blue", "0.6"))
        for place, values in enumerate(distance.parts.T):
            axes.plot(np.full(len(values), place), values, ".", color="0.2", ms=3)
        axes.set_title("Fréchet distance\nfrom other real cells", fontsize=7)
        axes.tick_params(labelsize=6)
    if real.auc is not None and real.auc_control is not None:
        axes = drawing.add_subplot(grid[row, 1])
        axes.bar(("generated", "real"), (real.auc, real.auc_control), color=("tab:blue", "0.6"))
        axes.axhline(0.5, color="0.2", lw=1)
        axes.set(ylim=(0, 1))
        axes.set_title("AUC of a classifier,\nagainst real cells", fontsize=7)
        axes.tick_params(labelsize=6)
    if (spectrum := real.spectrum) is not None:
        axes = drawing.add_subplot(grid[row, 2:])
        for name, ratios in zip(spectrum.channels, spectrum.rings, strict=True):
            axes.plot(spectrum.frequencies, ratios, ".-", ms=3, lw=1, label=name)
        axes.axhline(1, color="0.2", lw=1)
        for edge in {edge for band in spectrum.bands for edge in band} - {0.0}:
            axes.axvline(edge, color="0.85", lw=0.5, zorder=0)
        axes.set(yscale="log", xscale="log")
        axes.set_title("Power of generated over real crops", fontsize=7)
        axes.set_xlabel("cycles per pixel (lines: the bands)", fontsize=7)
        axes.tick_params(labelsize=6)
        axes.legend(fontsize=6)


def _wrapped(name: str, width: int = 24) -> list[str]:
    """Break a feature's name at its underscores."""
    lines = [""]
    for part in name.split("_"):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += ("_" if lines[-1] else "") + part
    return lines
