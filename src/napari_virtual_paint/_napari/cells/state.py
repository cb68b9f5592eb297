"""The state of the Cells dock, one frozen value, and the model and cells that are opened for it; no widgets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_virtual_paint.cells.cellprofiler_names import Feature
    from napari_virtual_paint.cells.cp2image.model import CellModel
    from napari_virtual_paint.cells.populations.cohort import Cohort
    from napari_virtual_paint.cells.populations.composite import Limits
    from napari_virtual_paint.cells.populations.population import Population

BINS = 36  # bars of a histogram
MARKS = (5, 25, 50, 75, 95)  # percentiles marked on a slider
ENDS, MARGIN = (1, 99), 0.2  # a slider reaches from one percentile to the other, extended by this share of the range on both sides


@dataclass(frozen=True)
class CellsState:
    """The state of the Cells dock."""

    model: str = ""  # id of a listed cell model, or the path of a package
    table: str = ""  # path of a table of cells; empty for the cells in the model's own package
    images: str = ""  # another folder with the table's images
    follow: bool = True  # whether correlated features follow the one that is moved
    difference: bool = False  # whether generated minus real is shown
    hidden: tuple[str, ...] = ()  # channels that are switched off
    seed: int = 0  # of what the features leave open: another seed, another cell with these features; without effect in models without noise


@dataclass(frozen=True, eq=False)
class Scales:
    """Ranges of the sliders and the histograms behind them, for all p features."""

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]  # `low` and `high`: (p,) ends of the sliders, in the features' own units
    bars: npt.NDArray[np.float32]  # (p, BINS) heights of the histogram from low to high, the highest 1
    marks: npt.NDArray[np.float64]  # (p, 5) the values at `MARKS`

    @classmethod
    def of(cls, population: Population) -> Scales:
        """Compute the ranges and histograms of a population (0.1 s for 2,000 features and as many cells)."""
        values = population.sorted.astype(np.float64)
        ends = np.percentile(values, ENDS, axis=0)
        room = MARGIN * (ends[1] - ends[0])
        room = np.where(room > 0, room, np.maximum(0.5 * np.abs(ends[0]), 0.5))  # a constant feature gets a range, too
        low, high = ends[0] - room, ends[1] + room
        bars = np.zeros((values.shape[1], BINS), np.float32)
        bins = np.clip((BINS * (values - low) / (high - low)).astype(int), 0, BINS - 1)
        for row in bins:
            bars[np.arange(len(bars)), row] += 1
        return cls(low, high, bars / np.maximum(bars.max(axis=1, keepdims=True), 1), np.percentile(values, MARKS, axis=0).T)

    def share(self, index: int, value: float) -> float:
        """Return the position of a value on its slider, 0 to 1."""
        return float(np.clip((value - self.low[index]) / (self.high[index] - self.low[index]), 0.0, 1.0))

    def value(self, index: int, share: float) -> float:
        """Return the value at a position on a slider."""
        return float(self.low[index] + np.clip(share, 0.0, 1.0) * (self.high[index] - self.low[index]))


@dataclass(frozen=True, eq=False)
class Opened:
    """A model and cells, ready to be shown."""

    choice: CellsState  # the requested state
    model: CellModel
    cohort: Cohort  # `model` and `cohort`: the model, and the cells
    scales: Scales  # ranges of the sliders
    limits: Limits  # contrast of each channel
    features: list[Feature]
    units: list[str]  # `features` and `units`: the model's features, parsed, and the unit of each
    first: int  # the real cell nearest the mean: the dock begins with it
    pictured: Cohort | None = None  # real cells with pictures, to compare with; the model's own where the cells have none

    @property
    def population(self) -> Population:
        """The cells in feature space."""
        return self.cohort.population


def open_cells(choice: CellsState) -> Opened:
    """Open a model and its cells, and compute all that dragging needs (on a worker: it takes seconds).

    Raises `VirtualPaintError` if one of the two can't be opened, or they don't fit.
    """
    from napari_virtual_paint.cells.cellprofiler_names import parse, unit
    from napari_virtual_paint.cells.cp2image.model import cohort_of, generate, open_cell_model, pictured_cells
    from napari_virtual_paint.cells.populations.cohort import cohort_from
    from napari_virtual_paint.cells.populations.walks import representative

    model = open_cell_model(choice.model)
    if choice.table:
        from napari_virtual_paint.cells.tables.table import open_table

        cohort = cohort_from(open_table(choice.table).renamed(model.names), model.features, Path(choice.table).name)
    else:
        cohort = cohort_of(model)
    cohort.population.prepare()
    _ = cohort.groupings  # cached from here on
    features, units = [parse(name, model.channels) for name in model.features], [unit(name) for name in model.features]
    scales = Scales.of(cohort.population)
    import torch

    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on a CPU
    generate(model, cohort.population.values[:1])  # torch plans its convolutions
    limits = [(float(low), float(high)) for low, high in model.scale]
    pictured = pictured_cells(model, cohort)
    if pictured is not None:
        pictured.population.neighbours(pictured.population.values[:1])  # cached from here on
    return Opened(choice, model, cohort, scales, limits, features, units, representative(cohort.population), pictured)


def provenance_of(opened: Opened, seed: int, **more: Any) -> dict[str, Any]:
    """Return how generated cells were made, for layers and files: the model, the cells, the seed where it matters, and more."""
    seeded = {"seed": seed} if opened.model.takes_noise else {}
    return {"model": opened.model.id, "version": opened.model.version, "cells": opened.cohort.name, **seeded, **more}


def listed_models() -> list[tuple[str, str, str]]:
    """Return id, name and a tooltip of each cell model (on a worker: it opens the packages)."""
    from napari_virtual_paint.cells.cp2image.model import list_cell_models

    return [describe(model) for model in list_cell_models()]


def describe(model: CellModel) -> tuple[str, str, str]:
    """Return id, name and a tooltip of a model."""
    size = f", {model.pixel_size:g} µm per pixel" if model.pixel_size else ""
    tip = f"{model.id} {model.version}: {len(model.features)} features → {', '.join(model.channels)}; {model.size} px{size}"
    return model.id, model.name, tip
