"""Evaluate a cell model: requested features against those measured on generated cells, gains, and how real the cells look."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cellprofiler_names import is_feature, is_morphological_feature, parse
from napari_virtual_paint.cells.cp2image.feature_response import Response, SweepBase, responses, swept_features
from napari_virtual_paint.cells.cp2image.frechet import FeatureNetwork, choose_feature_network, frechet
from napari_virtual_paint.cells.cp2image.model import CellModel, generate
from napari_virtual_paint.cells.cp2image.pairs import Pairs, cut_crops, measuring
from napari_virtual_paint.cells.cp2image.realism import Realism, judge
from napari_virtual_paint.cells.measurement.isolate import cell_alone, own_masks
from napari_virtual_paint.cells.measurement.measure import measure_crops
from napari_virtual_paint.cells.transform import Floats
from napari_virtual_paint.choices import CellMeasure
from napari_virtual_paint.counting.segmentation import Thresholds
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.running_stats import pearson

if TYPE_CHECKING:
    import pandas as pd

    from napari_virtual_paint.cells.tables.table import CellTable

CHUNK = 256
HIGH = 0.5  # correlation above which the paper counts a feature
MEASURES: tuple[str, ...] = get_args(CellMeasure)
SHARES = {"features": 0.35, "realism": 0.25, "gain": 0.4}  # of the time, if all is measured
LEAST_MEASURED = 0.5  # a feature measurable on a smaller share of the generated cells has no correlation


@dataclass(frozen=True, eq=False)
class CellEvaluation:
    """Scores of a model on cells with their table."""

    model: str
    """Its id."""
    per_feature: Mapping[str, float | None]
    """Feature -> Pearson's correlation between the table's value and that measured on the generated cell; None where generated cells
    have no value, or all the same. Such a feature counts as not above 0.5, and as 0 in the median."""
    fid: float
    """Fréchet distance between generated and real crops; NaN if not computed."""
    network: str
    """Name of the network of the distance."""
    requested: npt.NDArray[np.float64]
    measured: npt.NDArray[np.float64]
    """`requested` and `measured`: (n, features), in the order of `per_feature`."""
    real: Floats
    drawn: Floats
    """`real` and `drawn`: crops (n, C, d, d), in gray levels."""
    channels: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())
    """Notes on what was left out."""
    realism: Realism = field(default_factory=Realism)
    """How real the generated crops look."""
    sweeps: Mapping[str, tuple[Response, ...]] = field(default_factory=dict)
    """``follow`` and ``alone`` -> the response to each swept feature; empty where gains were left out."""

    @property
    def correlations(self) -> npt.NDArray[np.float64]:
        """The correlations, with 0 for undefined ones."""
        return np.array([value or 0.0 for value in self.per_feature.values()])

    @property
    def share_above(self) -> float:
        """Share of the features whose correlation is above 0.5."""
        return float((self.correlations > HIGH).mean()) if self.per_feature else math.nan

    @property
    def median(self) -> float:
        """Median correlation."""
        return float(np.median(self.correlations)) if self.per_feature else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain values, for JSON; None for what was left out."""
        real = self.realism
        return {
            "cells": len(self.requested),
            "features": len(self.per_feature),
            "share_above_0.5": self.share_above,
            "median_correlation": self.median,
            "fid": self.fid,
            "gain": {way: {each.feature: each.gain for each in found} for way, found in self.sweeps.items()} or None,
            "spearman": {way: {each.feature: each.median for each in found} for way, found in self.sweeps.items()} or None,
            "frechet": None if real.frechet is None else {"drawn": real.frechet.drawn, "floor": real.frechet.floor},
            "auc": real.auc,
            "auc_control": real.auc_control,
            "spectrum": None if real.spectrum is None else list(real.spectrum.extremes),
            "per_feature": dict(self.per_feature),
        }

    def ranked(self) -> list[tuple[str, float | None]]:
        """Return the features from best to worst, undefined ones last."""
        return sorted(self.per_feature.items(), key=lambda item: -2 if item[1] is None else item[1], reverse=True)

    def by(self, part: str) -> list[tuple[str, int, float, float]]:
        """Return the scores grouped by a part of the name: ``compartment``, ``group`` or ``channel``.

        Returns
        -------
        list
            Part, number of features, share above 0.5, median correlation. A feature of two channels counts for both, one of none for
            "shape".
        """
        kinds: dict[str, list[float]] = {}
        for name, value in self.per_feature.items():
            feature = parse(name, self.channels)
            keys = {"compartment": (feature.compartment,), "group": (feature.group,), "channel": feature.channels or ("shape",)}[part]
            for key in keys:
                kinds.setdefault(key or "other", []).append(value or 0.0)
        return [
            (key, len(values), float(np.mean(np.array(values) > HIGH)), float(np.median(values))) for key, values in sorted(kinds.items())
        ]


@dataclass(frozen=True, eq=False)
class RequestedCells:
    """Cells requested from a model."""

    table: pd.DataFrame
    """One row per cell: the features, by name."""
    crops: npt.NDArray[np.uint16] | npt.NDArray[np.float32]
    """The real cells, (n, C, d, d), in gray levels."""
    scale: float | tuple[float, ...]
    pixel_size: float | None
    thresholds: Sequence[Thresholds] | None
    """`scale`, `pixel_size` and `thresholds`: how the table was measured: see `pairs.how_measured`."""
    notes: tuple[str, ...] = ()
    """Notes on what was left out earlier."""
    masks: npt.NDArray[np.bool_] | None = None
    """Each real cell's own pixels, (n, d, d), where they are known from the whole image."""


def evaluate(
    model: CellModel,
    table: CellTable,
    images: Sequence[str | Path],
    *,
    network: str = "auto",
    nuclei: str | None = None,
    most: int | None = None,
    workers: int = 1,
    axes: str | None = None,
    measures: Collection[str] = MEASURES,
    seed: int = 0,
) -> Iterator[Progress | CellEvaluation]:
    """Generate a table's cells, measure them, and compare with the requested features.

    Parameters
    ----------
    table
        Table of `measure_files` or CellProfiler; see `pairs.cut_crops` for the columns it needs.
    images
        The images that were measured.
    network
        See `frechet.choose_feature_network`.
    nuclei
        The nuclear channel; by default that of the model, else the one called DNA, DAPI or Hoechst.
    most
        Sample this many cells if there are more.
    workers
        Worker processes for measuring.
    axes
        What the axes of the images' arrays are (see `reading.read`).
    measures
        Which of `choices.CellMeasure` to take beside the correlations.
    seed
        Seed of the generated cells, of which cell i gets seed + i, of the cells that are swept, of the halvings and the classifier.

    Yields
    ------
    Progress
        On the way.
    CellEvaluation
        Last.

    Raises
    ------
    InputError
        If table, images and model don't fit.
    """
    pairs = None
    nuclei = nuclei or model.nuclei
    for item in cut_crops(table, images, model.channels, model.size, most, nuclei=nuclei, axes=axes):
        if isinstance(item, Pairs):
            pairs = item
        else:
            yield Progress(0.1 * item.done, item.total)
    assert pairs is not None
    renamed = {} if pairs.run is None else pairs.run.names.renamed([*table.features, *table.metadata])
    own = {name: renamed.get(name, name) for name in table.features}
    wanted = {*measurable(own.values(), model.channels), *model.features}
    frame = table.frame([name for name, known in own.items() if known in wanted], pairs.rows).rename(columns=renamed)
    scale, pixel_size, thresholds = measuring(table, pairs.rows)
    masks = None
    if pairs.run is not None:
        scale, masks = pairs.run.scale, pairs.run.masks[1] if pairs.run.masks is not None else None
    requested = RequestedCells(frame.reset_index(drop=True), pairs.crops, scale, pixel_size, thresholds, pairs.notes, masks)
    for step in compare(model, requested, network=network, nuclei=nuclei, workers=workers, measures=measures, seed=seed):
        yield Progress(0.1 + 0.9 * step.done, step.total) if isinstance(step, Progress) else step


def compare(
    model: CellModel,
    requested: RequestedCells,
    *,
    network: str = "auto",
    nuclei: str | None = None,
    workers: int = 1,
    measures: Collection[str] = MEASURES,
    seed: int = 0,
) -> Iterator[Progress | CellEvaluation]:
    """Generate cells, measure them, and compare with the requested features; parameters as in `evaluate`."""
    chosen = choose_feature_network(model, network)
    nuclei = nuclei or model.nuclei
    notes = [*requested.notes]
    lacking = [name for name in model.features if name not in requested.table]
    if len(lacking) == len(model.features):
        raise InputError(f"The table has none of the {len(model.features)} features that {model.id} takes ({lacking[0]} ...).")
    if lacking:
        notes.append(f"{len(lacking)} features that {model.id} takes are missing and set to the median ({', '.join(lacking[:3])}).")
    values = requested.table.reindex(columns=list(model.features)).to_numpy(np.float32)
    drawn = generate(model, values, seed=range(seed, seed + len(values)))
    # Features that a model doesn't take are scored too, or leaving out what it draws badly would make it look better.
    untaken = [name for name in measurable(requested.table.columns, model.channels) if name not in set(model.features)]
    if untaken:
        notes.append(f"{len(untaken)} of the scored features are not among those that {model.id} takes ({', '.join(untaken[:3])}).")
    crops = requested.crops
    how: dict[str, Any] = {"scale": requested.scale, "pixel_size": requested.pixel_size, "thresholds": requested.thresholds}
    if model.alone:
        notes.append(f"{model.id} generates cells without neighbors, so these are removed from the real crops too.")
        own = own_masks(crops, model.channels, nuclei, **how)[1] if requested.masks is None else requested.masks
        crops = cell_alone(crops.astype(np.float32), own, model.low)
    compared = replace(requested, crops=crops, notes=tuple(notes))
    shares = {"features": SHARES["features"]}
    if realism := [name for name in measures if name != "gain"]:
        shares["realism"] = SHARES["realism"]
    if "gain" in measures:
        shares["gain"] = SHARES["gain"]
    total, found = sum(shares.values()), None
    for item in score_drawn(model.id, model.channels, compared, drawn, chosen, nuclei=nuclei, workers=workers):
        if isinstance(item, CellEvaluation):
            found = item
        else:
            yield Progress(shares["features"] * item.fraction, total, item.message)
    assert found is not None
    done = shares["features"]
    if realism:
        pictures = drawn
        # What is outside the cell is removed from the generated crops, too: it is no part of either. A network that draws each cell
        # alone by construction has done so, and its edges would fade twice.
        if model.alone and not model.config.get("alone"):
            pictures = cell_alone(drawn, own_masks(drawn, model.channels, nuclei, **how)[1], model.low)
        for looked in judge(found.real, pictures, model.channels, chosen, realism, seed):
            if isinstance(looked, Realism):
                found = replace(found, realism=looked)
            else:
                yield Progress(done + shares["realism"] * looked.fraction, total)
        done += shares["realism"]
    if "gain" in measures:
        measuring = {"scale": requested.scale, "pixel_size": requested.pixel_size}
        for swept in _swept(model, SweepBase(values, measuring, requested.thresholds, nuclei), seed, workers):
            if isinstance(swept, Progress):
                yield Progress(done + shares["gain"] * swept.fraction, total)
            else:
                found = replace(found, sweeps=swept[0], notes=(*found.notes, *swept[1]))
    yield found


def _swept(
    model: CellModel, cells: SweepBase, seed: int, workers: int
) -> Iterator[Progress | tuple[dict[str, tuple[Response, ...]], tuple[str, ...]]]:
    """Sweep the features whose gain is reported, with the others following and each alone; return responses and notes on missing ones."""
    features, lacking = swept_features(model, cells.nuclei)
    notes = [f"{model.id} takes no {words}, so it has no gain." for words in lacking]
    sweeps: dict[str, tuple[Response, ...]] = {}
    if len(model.population.values) < 3:
        yield {}, (f"The package of {model.id} has no cells whose percentiles could be swept, so there are no gains.",)
        return
    for number, way in enumerate(("follow", "alone") if features else ()):
        for item in responses(model, features, base=cells, follow=way == "follow", seed=seed, workers=workers):
            if isinstance(item, Progress):
                yield Progress(number + item.fraction, 2)
            else:
                sweeps[way] = item
    absent = {each.feature for found in sweeps.values() for each in found if not np.isfinite(each.measured).any()}
    notes += [f"{name} was measured on no generated cell, so its gain is 0." for name in sorted(absent)]
    yield sweeps, tuple(notes)


def score_drawn(
    name: str,
    channels: tuple[str, ...],
    requested: RequestedCells,
    drawn: Floats,
    network: FeatureNetwork,
    *,
    nuclei: str | None = None,
    workers: int = 1,
) -> Iterator[Progress | CellEvaluation]:
    """Measure generated crops and compare with the requested features, whatever generated them.

    Parameters
    ----------
    name
        Name of what generated them.
    drawn
        (n, C, d, d), one per requested cell, in gray levels.
    network
        Network of the Fréchet distance.
    """
    import pandas as pd

    found = []
    for start in range(0, len(drawn), CHUNK):
        part = slice(start, start + CHUNK)
        limits = requested.thresholds[part] if requested.thresholds is not None else None
        options: dict[str, Any] = {"pixel_size": requested.pixel_size, "scale": requested.scale, "thresholds": limits, "workers": workers}
        found.append(measure_crops(drawn[part], channels, nuclei=nuclei, **options))
        yield Progress(0.9 * min(start + CHUNK, len(drawn)) / len(drawn), 1)
    measured = pd.concat(found, ignore_index=True)
    notes = requested.notes
    if empty := int(measured.isna().all(axis=1).sum()):
        notes = (*notes, f"On {empty} of {len(measured)} drawn cells no nucleus was found.")
    scored = measurable(requested.table.columns, channels)
    names = [feature for feature in scored if feature in measured and varies(requested.table[feature].to_numpy(np.float64))]
    expected, actual = requested.table[names].to_numpy(np.float64), measured[names].to_numpy(np.float64)
    per_feature = {feature: correlation(expected[:, i], actual[:, i]) for i, feature in enumerate(names)}
    real = requested.crops.astype(np.float32)
    fid = frechet(network, real, drawn)
    yield CellEvaluation(name, per_feature, fid, network.name, expected, actual, real, drawn, channels, notes)


def measurable(columns: Iterable[str], channels: Sequence[str]) -> list[str]:
    """Return the columns to score: morphological features, of the model's channels or of the shape."""
    own = set(channels)
    return [name for name in columns if is_feature(name) and is_morphological_feature(name) and set(parse(name, channels).channels) <= own]


def values_of(table: CellTable, features: Sequence[str], rows: npt.NDArray[np.int64] | None = None) -> Floats:
    """Return a table's values (n, p) of features; NaN for missing ones."""
    known = set(table.features)
    there = [i for i, name in enumerate(features) if name in known]
    count = len(table) if rows is None else len(rows)
    values = np.full((count, len(features)), np.nan, np.float32)
    if there:
        values[:, there] = table.values([features[i] for i in there], rows)
    return values


def varies(values: npt.NDArray[np.float64]) -> bool:
    """Return whether values, ignoring NaN, differ."""
    known = values[np.isfinite(values)]
    return len(known) > 2 and bool(np.ptp(known) > 1e-9 * max(1e-12, float(np.abs(known).max())))


def correlation(requested: npt.NDArray[np.float64], measured: npt.NDArray[np.float64]) -> float | None:
    """Return Pearson's correlation over the cells with both values; None where undefined."""
    # A feature measured on few of the cells would be scored on the easy ones alone.
    there = np.isfinite(requested)
    both = there & np.isfinite(measured)
    if both.sum() < max(3, LEAST_MEASURED * there.sum()) or not varies(requested[both]) or not varies(measured[both]):
        return None
    return pearson(requested[both], measured[both])
