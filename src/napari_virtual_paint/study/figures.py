"""Figures of a study: train x test matrices of differences from the baseline, the curve over sizes, and an HTML report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.metrics import METRICS
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.study.config import OWN, StudyConfig, largest
from napari_virtual_paint.study.tables import HEADLINE, as_matrix, headline

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.evaluation.report.page import Section

Counts = Mapping[str, Mapping[str, int]]
LEVEL_WORDS = {"pixels": "level 1, pixels", "instances": "level 2, instances", "features": "level 3, features"}
METRIC_WORDS = {
    **{name: f"{score.label}, {score.unit}" if score.unit else score.label for name, score in METRICS.items()},
    "f1_0.7": "F1 at IoU 0.7",
    "jaccard": "Jaccard",
    "nmae_top20": "N-MAE",
    "median_correlation": "median correlation",
}
OVER = {"": "", "cells": " over cells", "own": ", own masks"}
"""Unit of the feature correlation and masks, per part of the section; the first is over images where there are enough."""
DPI = 110
CELL = 1.05  # size of a matrix cell, inches


def draw(config: StudyConfig, scores: pd.DataFrame, table: pd.DataFrame, images: Counts) -> dict[str, Path]:
    """Draw the figures and write the report.

    Parameters
    ----------
    scores, table
        From `tables.long_table` and `tables.matrices`.
    images
        From `units.check_apart`.

    Returns
    -------
    dict
        Name -> file, for what was drawn.

    Raises
    ------
    InputError
        If matplotlib, plotly or jinja2 is not installed.
    WriteError
        If a file can't be written.
    """
    from napari_virtual_paint.evaluation.report.page import Page, write_page

    files = {}
    for level in config.levels:
        path = config.output / f"matrices-{level}.png"
        if draw_matrices(config, table, level, path):
            files[f"matrices-{level}"] = path
    if len(config.sizes) > 1 and draw_curve(config, table, images, config.output / "curve.png"):
        files["curve"] = config.output / "curve.png"
    sections = [_section(config, table, level) for level in config.levels]
    if len(config.sizes) > 1:
        sections.append(_curve_section(config, table, images))
    page = Page(
        title=config.name, lead=config.description or "A study of generalization.", sections=tuple(sections), facts=_facts(config, images)
    )
    write_page(page, config.output / "report.html")
    return {**files, "report": config.output / "report.html"}


def draw_matrices(config: StudyConfig, table: pd.DataFrame, level: str, path: Path) -> bool:
    """Draw one level's matrices as a PNG, one panel per metric and stain; return False where there is nothing to draw.

    Colors are centered at 0 and span the metric's largest difference, red for worse and blue for better than the baseline
    (Tonks 2024, Fig. 6).
    """
    panels = [selection for selection in headline(config, table) if selection["level"] == level]
    if not panels:
        return False
    stains = list(dict.fromkeys(selection["stain"] for selection in panels))
    wide = len(panels) // len(stains) if len(panels) % len(stains) == 0 else len(panels)
    rows = len(panels) // wide
    side = CELL * len(config.domains)
    figure = _canvas(wide * (side + 0.5) + 1.6, rows * (side + 0.85) + 1.1)
    axes = figure.subplots(rows, wide, squeeze=False)
    ordered = sorted(panels, key=lambda selection: stains.index(selection["stain"])) if rows > 1 else panels
    for place, selection in enumerate(ordered):
        _panel(axes[place // wide][place % wide], config, table, selection, first=place % wide == 0)
    figure.suptitle(
        f"{config.name}: {LEVEL_WORDS[level]}\ndifference from {_baseline(config)}, mean ± SD over {len(config.seeds)} seeds", fontsize=10
    )
    _save(figure, path)
    return True


def _panel(axes: Any, config: StudyConfig, table: pd.DataFrame, selection: Mapping[str, Any], *, first: bool) -> None:
    """Draw one matrix; the baseline's own cells show its score in brackets."""
    import numpy as np

    score, mean, sd = (as_matrix(config, table, dict(selection), value) for value in ("mean", "difference", "difference_sd"))
    sign = 1 if selection["good"] == "high" else -1
    values = mean.to_numpy(float)
    far = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    axes.imshow(sign * values, cmap="RdBu", vmin=-1.3 * (far or 1), vmax=1.3 * (far or 1))
    names = list(config.domains)
    for i, train in enumerate(names):
        for j, test in enumerate(names):
            own = train == (test if config.baseline == OWN else config.baseline)
            text = _own(score.loc[train, test]) if own else _mean_and_sd(mean.loc[train, test], sd.loc[train, test])
            dark = not own and far > 0 and abs(values[i, j]) > 0.75 * far
            axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    axes.set_xticks(range(len(names)), [_broken(name) for name in names], fontsize=7)
    axes.set_yticks(range(len(names)), [_broken(name) for name in names] if first else [], fontsize=7)
    axes.set_xlabel("tested on", fontsize=8)
    if first:
        axes.set_ylabel("trained on", fontsize=8)
    better = "" if selection["good"] == "high" else " (low is good)"
    axes.set_title(f"{title(selection['stain'], selection['metric'])}{better}", fontsize=9)


def title(stain: str, metric: str) -> str:
    """Return the title of a matrix."""
    if metric == "median_correlation":
        return METRIC_WORDS[metric] + OVER.get(stain, f" {stain}")
    return f"{stain} {METRIC_WORDS[metric]}".strip()


def _own(score: float) -> str:
    """Return the text of a baseline cell."""
    return "–" if score != score else f"({score:.3g})"


def _mean_and_sd(mean: float, sd: float) -> str:
    """Return the text of a difference."""
    if mean != mean:
        return "–"
    digits = 2 if abs(mean) >= 1 else 3
    return f"{mean:+.{digits}f}" + (f"\n± {sd:.{digits}f}" if sd == sd else "")


def _broken(name: str) -> str:
    """Return a domain's name, split into two lines at a comma."""
    return name.replace(", ", ",\n")


def draw_curve(config: StudyConfig, table: pd.DataFrame, images: Counts, path: Path) -> bool:
    """Draw score against number of training images as a PNG: a panel per stain, a line per domain tested on its own models.

    After the curve of Ounkomol et al. 2018; error bars are the SD over seeds. False where there is nothing to draw.
    """
    rows = curve(config, table, images)
    rows = rows[(rows["level"] == config.levels[0]) & (rows["metric"] == HEADLINE[config.levels[0]][0][0])]
    stains = list(dict.fromkeys(rows["stain"]))
    if not stains:
        return False
    figure = _canvas(4.2 * len(stains), 3.2)
    axes = figure.subplots(1, len(stains), squeeze=False)
    for place, stain in enumerate(stains):
        for name, part in rows[(rows["stain"] == stain) & (rows["train"] == rows["test"])].groupby("test", sort=False):
            axes[0][place].errorbar(part["images"], part["mean"], part["sd"].fillna(0), marker="o", markersize=4, capsize=3, label=name)
        axes[0][place].set_title(f"{stain} {METRIC_WORDS[HEADLINE[config.levels[0]][0][0]]}", fontsize=9)
        axes[0][place].set_xlabel("images trained on", fontsize=8)
        axes[0][place].set_xscale("log", base=2)
        axes[0][place].set_xticks(sorted(set(rows["images"])), [f"{count:g}" for count in sorted(set(rows["images"]))])
        axes[0][place].tick_params(labelsize=8)
        axes[0][place].grid(alpha=0.3)
    axes[0][0].set_ylabel("score on the same domain", fontsize=8)
    axes[0][-1].legend(fontsize=7)
    _save(figure, path)
    return True


def curve(config: StudyConfig, table: pd.DataFrame, images: Counts) -> pd.DataFrame:
    """Return the matrix rows with the number of training images, smallest first."""
    found = table.assign(images=[_images(size, images[train]["train"]) for size, train in zip(table["size"], table["train"], strict=True)])
    return found.sort_values("images", kind="stable", ignore_index=True)


def _images(size: str, everything: int) -> float:
    return float(size) if size.isdecimal() else float(everything)


def _section(config: StudyConfig, table: pd.DataFrame, level: str) -> Section:
    """Return one level's part of the report: a matrix per metric with its own color scale, and a table."""
    from napari_virtual_paint.evaluation.level import Figure
    from napari_virtual_paint.evaluation.report.page import Section

    own = table[table["level"] == level]
    figures, tables = [], {}
    caption = (
        f"How much better (blue, above 0) or worse (red, below) each model is than {_baseline(config)}, on the held-out images of each "
        f"domain; mean over {len(config.seeds)} seeds. Scores and SDs over seeds stand under the pointer and in the table."
    )
    encode = {"x": "test", "y": "train", "value": "gain", "switch": "of", "hover": ("mean", "sd", "difference", "difference_sd", "n")}
    encode |= {"x_title": "tested on", "y_title": "trained on"}
    for metric, good in HEADLINE[level]:
        rows = own[(own["metric"] == metric) & (own["size"] == str(largest(config.sizes)))]
        if rows.empty:
            continue
        name = f"matrices_{level}_{metric}".replace(".", "_")
        sign, turned = (1, "") if good == "high" else (-1, " Low is good, so the sign is turned.")
        tables[name] = rows.assign(gain=sign * rows["difference"], of=[title(stain, metric) for stain in rows["stain"]])
        figures.append(Figure(name, f"{METRIC_WORDS[metric]}: difference from the baseline", caption + turned, "heatmap", name, encode))
    name = f"matrices_{level}"
    figures.append(Figure(name, "All scores", "Mean and SD over seeds of every score and difference.", "table", name))
    question = "How far does a model fall on images that are not of the kind it was trained on?"
    return Section(level, LEVEL_WORDS[level].capitalize(), question, tuple(figures), {**tables, name: own})


def _curve_section(config: StudyConfig, table: pd.DataFrame, images: Counts) -> Section:
    """Return the curve's part of the report, one figure per metric of the first level."""
    from napari_virtual_paint.evaluation.level import Figure
    from napari_virtual_paint.evaluation.report.page import Section

    level = config.levels[0]
    every = curve(config, table[table["level"] == level], images)
    every = every.assign(low=every["mean"] - every["sd"].fillna(0), high=every["mean"] + every["sd"].fillna(0))
    encode = {"x": "images", "y": "mean", "low": "low", "high": "high", "colour": "train", "facet": "test", "switch": "of"}
    caption = (
        "Score against the number of images trained on (as in Ounkomol et al. 2018), one panel per test domain; bands: one SD over seeds."
    )
    figures, tables = [], {}
    for metric, _ in HEADLINE[level]:
        rows = every[every["metric"] == metric]
        if not rows.empty:
            name = f"curve_{metric}".replace(".", "_")
            tables[name] = rows.assign(of=[title(stain, metric) for stain in rows["stain"]])
            encoding = {**encode, "x_title": "images trained on", "y_title": METRIC_WORDS[metric]}
            figures.append(Figure(name, f"{METRIC_WORDS[metric]} and number of images", caption, "line", name, encoding))
    return Section("curve", "Number of images", "", tuple(figures), tables)


def _facts(config: StudyConfig, images: Counts) -> tuple[tuple[str, str], ...]:
    """Return a summary of the study for the page."""
    training = config.training
    counts = "; ".join(
        f"{name}: {each['train']} to train on, {each['validation']} validation, {each['test']} test" for name, each in images.items()
    )
    return (
        ("Images", counts),
        ("Images trained on", ", ".join(map(str, config.sizes))),
        ("Seeds", ", ".join(map(str, config.seeds))),
        ("Network", f"{training.network.architecture} {training.network.config}, {training.steps} steps of {training.batch} patches"),
        ("Baseline", _baseline(config)),
        ("Cells", f"found by {config.judging.segmenter} after gamma {config.judging.gamma:g}"),
    )


def _baseline(config: StudyConfig) -> str:
    return "the model trained on the test domain itself" if config.baseline == OWN else f"the model trained on {config.baseline}"


def _save(figure: Any, path: Path) -> None:
    """Write a figure atomically; the same figure gives the same bytes."""
    with replacing(path, overwrite=True) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": None}, bbox_inches="tight", pad_inches=0.12)


def _canvas(width: float, height: float) -> Any:
    """Return an empty figure of a size in inches, without a window; raise an `InputError` where matplotlib is missing."""
    return require("matplotlib.figure", extra="evaluate", purpose="A figure of the study").Figure(
        figsize=(width, height), layout="constrained"
    )
