"""Measure whether a generated cell follows a feature: sweep it over percentiles, generate, measure (Ji et al. 2024, Fig. 4c)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cellprofiler_names import COMPARTMENTS, middle_contrasts, parse, unit
from napari_virtual_paint.cells.cp2image.model import CellModel, generate
from napari_virtual_paint.cells.cp2image.pairs import how_measured
from napari_virtual_paint.cells.measurement.measure import measure_crops
from napari_virtual_paint.cells.populations.population import Population
from napari_virtual_paint.cells.populations.walks import sweep
from napari_virtual_paint.counting.segmentation import Thresholds, nuclei_channel
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.progress import Progress

PERCENTILES = tuple(float(percent) for percent in range(5, 100, 10))
CELLS = 50  # cells that are swept
CHUNK = 60  # crops that are generated and measured between two reports
LEAST = 0.5  # a sweep of which a smaller share could be measured has a correlation and a gain of 0
PERIODS = {"°": 180.0, "rad": 2 * np.pi}  # unit of an angle -> after what it repeats (an orientation after half a turn)


@dataclass(frozen=True, eq=False)
class Response:
    """Response of the measured value to the requested one."""

    feature: str
    """The swept feature."""
    requested: npt.NDArray[np.float64]
    """(k,), requested values at the percentiles."""
    measured: npt.NDArray[np.float64]
    """(n, k), the feature measured on each cell's images; NaN where no cell was found."""
    period: float = 0.0
    """After what an angle repeats; 0 for other features."""

    @property
    def spearman(self) -> npt.NDArray[np.float64]:
        """(n,), rank correlation along each cell's sweep; 0 where the measured value is constant or too few were found."""
        return np.array([_rank(*pair) for pair in self._pairs()])

    @property
    def gains(self) -> npt.NDArray[np.float64]:
        """(n,), slope of the measured against the requested values of each cell (least squares).

        1 where the picture shows what was asked for, 0 where it doesn't change or too few were found.
        """
        return np.array([_slope(*pair) for pair in self._pairs()])

    @property
    def median(self) -> float:
        """Median of the rank correlations over the cells."""
        return float(np.median(self.spearman))

    @property
    def gain(self) -> float:
        """Median of the gains over the cells."""
        return float(np.median(self.gains))

    def unwrapped(self) -> npt.NDArray[np.float64]:
        """Return the measured values (n, k), an angle's continued along each sweep beyond its period."""
        out = np.full(self.measured.shape, np.nan)
        for row, line in zip(out, self.measured, strict=True):
            there = np.isfinite(line)
            row[there] = np.unwrap(line[there], period=self.period) if self.period else line[there]
        return out

    def _pairs(self) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
        """Yield the requested and the measured values of each cell that could be measured, angles without their jumps."""
        requested = np.unwrap(self.requested, period=self.period) if self.period else self.requested
        for line in self.unwrapped():
            there = np.isfinite(line)
            enough = there.sum() >= max(3, LEAST * len(line))
            yield requested[there & enough], line[there & enough]


@dataclass(frozen=True, eq=False)
class SweepBase:
    """Real cells from which sweeps start."""

    values: npt.NDArray[np.float32]  # (n, p), in the model's features; NaN where missing
    measuring: Mapping[str, Any] = field(default_factory=dict)  # `pixel_size` and `scale`, as for `measure_crops`
    thresholds: Sequence[Thresholds] | None = None  # of each cell
    nuclei: str | None = None  # the nuclear channel

    def chosen(self, count: int, seed: int) -> SweepBase:
        """Return a random sample of so many of them."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(self.values))[:count])
        limits = None if self.thresholds is None else [self.thresholds[row] for row in rows]
        return replace(self, values=self.values[rows], thresholds=limits)


def sampled_cells(model: CellModel) -> SweepBase:
    """Return the real cells of a model's package."""
    import pandas as pd

    sample = model.population
    scale, _, thresholds = how_measured(pd.DataFrame(sample.metadata, index=range(len(sample.values))))
    return SweepBase(sample.values, {"pixel_size": model.pixel_size, "scale": scale}, thresholds)


def swept_features(model: CellModel, nuclei: str | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the features whose gain is reported, and which of them the model lacks.

    Parameters
    ----------
    model
        Its features are searched by their parts, whatever its channels are called.
    nuclei
        The nuclear channel; by default the one called DNA, DAPI or Hoechst.

    Returns
    -------
    features
        Area and orientation of the nucleus, its mean intensity in the nuclear channel, area of the cytoplasm (the rows of Fig. 4c), and one
        texture of the nucleus in the nuclear channel: contrast, at the middle one of its scales, in its first direction.
    lacking
        Those of the five that the model has none for, in words.
    """
    channel = model.channels[nuclei_channel(model.channels, nuclei)]
    parsed = [parse(name, model.channels) for name in model.features]
    known = {(each.compartment, each.group, each.channels, each.measure): each.name for each in parsed}
    _, textures = middle_contrasts(model.features, model.channels, channel)
    wanted = {
        "area of the nucleus": known.get(("Nuclei", "AreaShape", (), "Area")),
        "orientation of the nucleus": known.get(("Nuclei", "AreaShape", (), "Orientation")),
        f"mean {channel} of the nucleus": known.get(("Nuclei", "Intensity", (channel,), "MeanIntensity")),
        "area of the cytoplasm": known.get(("Cytoplasm", "AreaShape", (), "Area")),
        f"texture of {channel} in the nucleus": next(iter(textures), None),
    }
    return tuple(name for name in wanted.values() if name), tuple(words for words, name in wanted.items() if not name)


def responses(
    model: CellModel,
    features: Sequence[str],
    *,
    base: SweepBase | None = None,
    cells: int = CELLS,
    percentiles: Sequence[float] = PERCENTILES,
    follow: bool = True,
    seed: int = 0,
    workers: int = 1,
) -> Iterator[Progress | tuple[Response, ...]]:
    """Sweep features of real cells, generate, measure, and compare what is measured with what was requested.

    Parameters
    ----------
    features
        Features to sweep, one after the other.
    base
        The cells to sweep; by default those of the model's package, whose percentiles and covariance are taken in any case.
    cells
        Number of randomly chosen cells, each the base of a sweep.
    percentiles
        Percentiles of the population for the sweep.
    follow
        Whether correlated features follow to their conditional mean, or all others stay, as in the paper.
    seed
        Seed of the choice of cells, and of the cells that are generated, where the model takes noise: each has the same one along its
        sweep.
    workers
        Worker processes for measuring.

    Yields
    ------
    Progress
        After each few cells, with a message after each feature.
    tuple of Response
        Last, one per feature.

    Raises
    ------
    InputError
        If the model does not know a feature or has too few cells.
    """
    unknown = [name for name in features if name not in model.features]
    if unknown or not features:
        raise InputError(f"{model.id} does not take the feature {unknown[0] if unknown else ''!r}; it has {len(model.features)} others.")
    if len(model.population.values) < 3:
        raise InputError(f"The model {model.id} contains no cells to sweep.")
    population = Population(model.population.values, model.features)
    chosen = (base or sampled_cells(model)).chosen(cells, seed)
    found: list[Response] = []
    for number, name in enumerate(features):
        vectors = np.stack([sweep(population, name, percentiles, values, follow) for values in chosen.values])
        measured = np.full(vectors.shape[:2], np.nan)
        for item in _measured(model, chosen, vectors, name, seed, workers):
            if isinstance(item, Progress):
                yield Progress(number + item.fraction, len(features))
            else:
                measured = item
        period = PERIODS.get(unit(name), 0.0) if "Angle" not in name else 0.0
        found.append(Response(name, population.percentile(name, percentiles), measured, period))
        yield Progress(number + 1, len(features), f"{name}: correlation {found[-1].median:.2f}, gain {found[-1].gain:.2f}")
    yield tuple(found)


def _measured(
    model: CellModel, cells: SweepBase, vectors: npt.NDArray[np.float32], name: str, seed: int, workers: int
) -> Iterator[Progress | npt.NDArray[np.float64]]:
    """Generate cells from vectors (n, k, p) and return the measured feature, (n, k); NaN for a feature that isn't measured on crops."""
    count, steps = vectors.shape[:2]
    flat, feature = vectors.reshape(count * steps, -1), parse(name, model.channels)
    limits = None if cells.thresholds is None else [each for each in cells.thresholds for _ in range(steps)]
    seeds = np.repeat(np.arange(seed, seed + count), steps)
    parts = []
    for start in range(0, len(flat), CHUNK):
        part = slice(start, start + CHUNK)
        frame = measure_crops(
            generate(model, flat[part], seed=[int(each) for each in seeds[part]]),
            model.channels,
            nuclei=cells.nuclei,
            thresholds=None if limits is None else limits[part],
            groups=(feature.group,),
            compartments=(feature.compartment,) if feature.compartment in COMPARTMENTS else COMPARTMENTS,
            workers=workers,
            **cells.measuring,
        )
        parts.append(frame[name].to_numpy(np.float64) if name in frame else np.full(len(flat[part]), np.nan))
        yield Progress(start + len(parts[-1]), len(flat))
    yield np.concatenate(parts).reshape(count, steps)


def _rank(requested: npt.NDArray[np.float64], measured: npt.NDArray[np.float64]) -> float:
    """Return Spearman's correlation of a sweep, 0 where undefined."""
    from scipy.stats import spearmanr

    if len(measured) < 3 or np.ptp(measured) == 0 or np.ptp(requested) == 0:
        return 0.0
    return float(spearmanr(requested, measured).statistic)


def _slope(requested: npt.NDArray[np.float64], measured: npt.NDArray[np.float64]) -> float:
    """Return the least-squares slope of the measured against the requested values, 0 where undefined."""
    if len(measured) < 3 or np.ptp(requested) == 0:
        return 0.0
    away = requested - requested.mean()
    return float(away @ measured / (away @ away))
