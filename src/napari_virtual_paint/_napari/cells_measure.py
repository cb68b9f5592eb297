"""What a picture of a cell has: measured with cp_measure as the population was, for a worker."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_virtual_paint._napari.cells.state import Opened
from napari_virtual_paint.cells.measurement.cp_measure import GROUPS

Floats = npt.NDArray[np.float32]


def measured(opened: Opened, crop: npt.NDArray[np.floating], position: int = -1) -> Floats:
    """Measure the cell in the middle of a crop.

    Parameters
    ----------
    opened
        Its model gives the features and channels, its cells' metadata what they were measured with (grey level that is 1, thresholds).
    crop
        (C, d, d).
    position
        The real cell whose thresholds part signal from background; the median of all where -1.

    Returns
    -------
    float32 (p,), NaN where a feature can't be measured or no cell is in the middle.

    Raises
    ------
    InputError
        If cp_measure is not installed.
    """
    from napari_virtual_paint.cells.cp2image.pairs import how_measured
    from napari_virtual_paint.cells.measurement.measure import measure_crops

    metadata = opened.cohort.metadata
    known = metadata.iloc[[position]] if position >= 0 else metadata.select_dtypes("number").median().to_frame().T
    scale, _, thresholds = how_measured(known)
    frame = measure_crops(
        np.asarray(crop, np.float32)[None],
        opened.model.channels,
        pixel_size=opened.model.pixel_size,
        scale=scale,
        thresholds=thresholds,
        groups=groups_of(opened),
    )
    found = np.full(len(opened.model.features), np.nan, np.float32)
    for index, name in enumerate(opened.model.features):
        if name in frame.columns:
            found[index] = float(frame[name].iloc[0])
    return found


def groups_of(opened: Opened) -> tuple[str, ...]:
    """Return which groups of features the model has: the others need not be measured."""
    from napari_virtual_paint.cells.cellprofiler_names import parse

    there = {parse(name).group for name in opened.model.features}
    return tuple(group for group in GROUPS if group in there)


def summary(opened: Opened, asked: Floats, has: Floats, moved: set[int]) -> str:
    """Say in one line how near the picture comes to what is asked for."""
    from napari_virtual_paint.cells.cellprofiler_names import counts

    use = np.array([counts(name) for name in opened.model.features]) & np.isfinite(has)
    if not use.any():
        return "Measured: no cell was found in the middle of the picture."
    apart = np.abs(opened.population.standard(asked) - opened.population.standard(has))
    said = f"Measured: {int((apart[use] <= 1).sum())} of {int(use.sum())} features within 1 SD of what is asked for"
    chosen = [index for index in moved if np.isfinite(has[index])]
    return said + (f"; those moved are {np.median(apart[chosen]):.1f} SD off." if chosen else ".")
