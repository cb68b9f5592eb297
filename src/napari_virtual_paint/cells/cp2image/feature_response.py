"""Measure whether a generated cell follows a feature: sweep it over percentiles, generate, measure (Ji et al. 2024, Fig. 4c)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.cp2image.model import CellModel, generate
from napari_virtual_paint.cells.cp2image.pairs import how_measured
from napari_virtual_paint.cells.cp2image.sample import Sample
from napari_virtual_paint.cells.measurement.measure import measure_crops
from napari_virtual_paint.cells.populations.population import Population
from napari_virtual_paint.cells.populations.walks import sweep
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.progress import Progress

PERCENTILES = tuple(float(percent) for percent in range(5, 100, 10))
SWEPT = ("Nuclei_AreaShape_Area", "Nuclei_AreaShape_Orientation", "Nuclei_Intensity_MeanIntensity_DNA", "Cytoplasm_AreaShape_Area")
"""Nucleus area, orientation and intensity, cytoplasm area: the rows of Fig. 4c."""


@dataclass(frozen=True, eq=False)
class Response:
    """Response of the measured value to the requested one."""

    feature: str
    """The swept feature."""
    requested: npt.NDArray[np.float64]
    """(k,), requested values at the percentiles."""
    measured: npt.NDArray[np.float64]
    """(n, k), the feature measured on each cell's images; NaN where no cell was found."""
    spearman: npt.NDArray[np.float64]
    """(n,), rank correlation along each cell's sweep; 0 where the measured value is constant or too few were found."""

    @property
    def median(self) -> float:
        """Median of the rank correlations over the cells."""
        return float(np.median(self.spearman))


def responses(
    model: CellModel,
    features: Sequence[str],
    *,
    cells: int = 50,
    percentiles: Sequence[float] = PERCENTILES,
    follow: bool = True,
    seed: int = 0,
    workers: int = 1,
) -> Iterator[Progress | tuple[Response, ...]]:
    """Sweep features of real cells from the model's package, generate, measure, and correlate by rank.

    Parameters
    ----------
    features
        Features to sweep, one after the other.
    cells
        Number of randomly chosen cells, each the base of a sweep.
    percentiles
        Percentiles of the population for the sweep.
    follow
        Whether correlated features follow to their conditional mean, or all others stay, as in the paper.
    seed
        Seed of the choice of cells.
    workers
        Worker processes for measuring.

    Yields
    ------
    Progress
        After each feature.
    tuple of Response
        Last, one per feature.

    Raises
    ------
    InputError
        If the model does not know a feature or has too few cells.
    """
    sample = model.population
    unknown = [name for name in features if name not in model.features]
    if unknown or not features:
        raise InputError(f"{model.id} does not take the feature {unknown[0] if unknown else ''!r}; it has {len(model.features)} others.")
    if len(sample.values) < 3:
        raise InputError(f"The model {model.id} contains no cells to sweep.")
    population = Population(sample.values, model.features)
    rows = np.sort(np.random.default_rng(seed).permutation(len(sample.values))[:cells])
    found = []
    for number, name in enumerate(features, start=1):
        vectors = np.stack([sweep(population, name, percentiles, sample.values[row], follow) for row in rows])
        measured = _measured(model, sample, vectors, rows, name, workers)
        requested = population.percentile(name, percentiles)
        found.append(Response(name, requested, measured, np.array([_rank(requested, line) for line in measured])))
        yield Progress(number, len(features), f"{name}: {found[-1].median:.2f}")
    yield tuple(found)


def _measured(
    model: CellModel, sample: Sample, vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.intp], name: str, workers: int
) -> npt.NDArray[np.float64]:
    """Generate cells from vectors (n, k, p) and return the measured feature, (n, k)."""
    import pandas as pd

    count, steps = vectors.shape[:2]
    drawn = generate(model, vectors.reshape(count * steps, -1))
    scale, _, thresholds = how_measured(pd.DataFrame(sample.metadata, index=range(len(sample.values))).iloc[rows])
    frame = measure_crops(
        drawn,
        model.channels,
        pixel_size=model.pixel_size,
        scale=scale,
        thresholds=None if thresholds is None else [each for each in thresholds for _ in range(steps)],
        groups=(_group(name),),
        workers=workers,
    )
    values = frame[name].to_numpy(np.float64) if name in frame else np.full(len(drawn), np.nan)
    return values.reshape(count, steps)


def _group(name: str) -> str:
    return name.split("_")[1]


def _rank(requested: npt.NDArray[np.float64], measured: npt.NDArray[np.float64]) -> float:
    """Return Spearman's correlation of a sweep, 0 where undefined."""
    from scipy.stats import spearmanr

    there = np.isfinite(measured)
    if there.sum() < 3 or np.ptp(measured[there]) == 0 or np.ptp(requested[there]) == 0:
        return 0.0
    return float(spearmanr(requested[there], measured[there]).statistic)
