"""Feature gallery (Ji et al. 2024, Fig. 4c): several features, each swept over percentiles, in one figure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cellprofiler_names import parse, unit
from napari_virtual_paint.cells.populations.composite import Limits, colours_of, composite
from napari_virtual_paint.cells.populations.population import Floats, Population
from napari_virtual_paint.cells.populations.walks import PERCENTILES, sweep
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.runtime.extras import require

PROVENANCE = {".png": "Description", ".pdf": "Subject", ".svg": "Description"}
"""Ending of a file -> the entry of its metadata that holds the provenance."""
ENDINGS = tuple(PROVENANCE)
CELL = 1.15  # size of one cell in the figure, inches
LEFT, TOP, GAP = 1.9, 0.55, 0.06  # space for feature names, title and column heads, and between cells, inches


@dataclass(frozen=True, eq=False)
class SweptCells:
    """Generated cells of several features (f), each swept over percentiles (k)."""

    features: tuple[str, ...]
    percentiles: tuple[float, ...]
    values: npt.NDArray[np.float64]  # (f, k), the features' values
    cells: Floats  # (f, k, C, Y, X)


def sweep_cells(
    paint: Callable[[Floats], Floats],
    population: Population,
    features: Sequence[str],
    *,
    percentiles: Sequence[float] = PERCENTILES,
    base: npt.ArrayLike | None = None,
    follow: bool = True,
) -> SweptCells:
    """Generate the cells of a gallery; the parameters are those of `gallery`."""
    if not features:
        raise InputError("A gallery shows one feature at least; choose some.")
    painted = paint(np.concatenate([sweep(population, name, percentiles, base, follow) for name in features]))
    values = np.stack([population.percentile(name, percentiles) for name in features])
    cells = painted.reshape(len(features), len(percentiles), *painted.shape[1:])
    return SweptCells(tuple(features), tuple(percentiles), values, cells)


def gallery(
    paint: Callable[[Floats], Floats],
    population: Population,
    features: Sequence[str],
    channels: Sequence[str],
    limits: Limits,
    *,
    percentiles: Sequence[float] = PERCENTILES,
    base: npt.ArrayLike | None = None,
    follow: bool = True,
    title: str = "",
) -> Any:
    """Draw one row per feature and one column per percentile.

    Parameters
    ----------
    paint
        Feature vectors (k, p) -> cells (k, C, Y, X), such as `generate` of a model.
    population
        Source of the percentiles.
    channels
        Names of the C channels, which give the colors.
    limits
        Contrast limits of each channel.
    percentiles
        The columns, percentiles.
    base
        (p,), the cell to modify; the population's median where None.
    follow
        Whether correlated features follow or stay fixed, as in the paper.

    Returns
    -------
    matplotlib.figure.Figure, not registered with pyplot; `save_gallery` writes it.

    Raises
    ------
    InputError
        If there is no feature, an unknown one, or matplotlib is missing.
    """
    return figure_of(sweep_cells(paint, population, features, percentiles=percentiles, base=base, follow=follow), channels, limits, title)


def figure_of(swept: SweptCells, channels: Sequence[str], limits: Limits, title: str = "") -> Any:
    """Draw swept cells as a figure; see `gallery`."""
    rows, columns = swept.values.shape
    figure = _figure(rows, columns)
    colours = colours_of(channels)
    for row, name in enumerate(swept.features):
        for column, value in enumerate(swept.values[row]):
            axes = _axes(figure, row, column, rows, columns)
            axes.imshow(composite(swept.cells[row, column], limits, colours), interpolation="nearest")
            axes.text(0.04, 0.04, _short(value), color="white", fontsize=6.5, transform=axes.transAxes, va="bottom")
            if row == 0:
                axes.set_title(f"{swept.percentiles[column]:g} %", fontsize=8, pad=3)
        _name(figure, row, rows, name)
    figure.text(0.01, 1 - 0.12 / figure.get_figheight(), title, fontsize=9, va="top")
    return figure


def save_gallery(figure: Any, path: str | Path, *, provenance: Mapping[str, Any] | None = None, overwrite: bool = False) -> Path:
    """Write a figure as PNG (200 dots an inch), PDF or SVG, with its provenance, such as the model and the seed, in the file's metadata.

    Raises
    ------
    InputError
        If the suffix is another one.
    WriteError
        If it can't be written; no partial file is left.
    """
    target = Path(path).expanduser()
    ending = target.suffix.casefold()
    if ending not in ENDINGS:
        raise InputError(f"{target}: a gallery is written as .png, .pdf or .svg; choose one of these endings.")
    try:
        with replacing(target, overwrite=overwrite) as temporary:
            metadata = {PROVENANCE[ending]: json.dumps(dict(provenance))} if provenance else None
            figure.savefig(temporary, format=ending[1:], dpi=200, facecolor="white", metadata=metadata)
    except OSError as error:
        raise WriteError(target, error.strerror or str(error)) from error
    return target


def _figure(rows: int, columns: int) -> Any:
    figure = require("matplotlib.figure", extra="cells", purpose="The gallery").Figure(
        figsize=(LEFT + columns * (CELL + GAP), TOP + rows * (CELL + GAP))
    )
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Any, row: int, column: int, rows: int, columns: int) -> Any:
    """Return the axes of one cell, without ticks."""
    width, height = figure.get_figwidth(), figure.get_figheight()
    x = LEFT + column * (CELL + GAP)
    y = (rows - 1 - row) * (CELL + GAP) + GAP
    axes = figure.add_axes((x / width, y / height, CELL / width, CELL / height))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _name(figure: Any, row: int, rows: int, feature: str) -> None:
    """Write a feature's name left of its row: compartment, feature, unit."""
    found = parse(feature)
    rest = feature.removeprefix(f"{found.compartment}_")
    lines = [found.compartment, *_wrapped(rest), f"({unit(feature)})" if unit(feature) else ""]
    y = (rows - 1 - row) * (CELL + GAP) + GAP + CELL / 2
    text = "\n".join(part for part in lines if part)
    figure.text(0.08 / figure.get_figwidth(), y / figure.get_figheight(), text, fontsize=7.5, va="center")


def _wrapped(name: str, width: int = 26) -> list[str]:
    """Break a feature's name at its underscores."""
    lines = [""]
    for part in name.split("_"):
        if lines[-1] and len(lines[-1]) + 1 + len(part) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {part}".strip()
    return lines


def _short(value: float) -> str:
    """Format a number with three significant digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"
