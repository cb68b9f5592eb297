"""Granularity: how much of a cell's intensity is in grains of each size (CellProfiler's MeasureGranularity, Ravkin & Temov 1988).

CellProfiler takes the spectrum of the whole image, a background subtracted, so that what a cell gets depends on its neighbours and on
the size of the image. Here the image is 0 outside the cells and no two cells touch: a cell has the same spectrum in a crop. Nothing is
subsampled, as fits cells of some tens of pixels, and nothing is subtracted, since nothing lies outside. With that, the values
are cp_measure's; this is far faster, since one run serves all compartments and works on one cell after the other, compiled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SPECTRUM = 8
"""Length of the spectrum: the radius in pixels of the largest grain."""


def granular_spectra(compartments: Sequence[npt.NDArray[np.int32]], plane: Floats, boxes: npt.NDArray[np.intp]) -> list[Floats]:
    """Return the granular spectrum of the objects of each compartment.

    Step k is the loss, in percent of the mean intensity, from an opening by reconstruction of radius k - 1 to that of radius k.

    Parameters
    ----------
    compartments
        Labels from 1 to n, axes YX.
    plane
        Intensities from 0 up, 0 outside the cells, axes YX.
    boxes
        Of the n whole cells (see `Mosaic.boxes`).

    Returns
    -------
    list
        An array (n, `SPECTRUM`) for each compartment, NaN where it lacks an object.
    """
    from napari_virtual_paint.cells.measurement.kernels import granules

    sums = granules(np.stack(compartments), plane, boxes, SPECTRUM)
    spectra = []
    for labels, left in zip(compartments, sums, strict=True):
        pixels = np.bincount(labels.ravel(), minlength=len(boxes) + 1)[1:]
        with np.errstate(invalid="ignore"):
            means = left / pixels[:, None]
        whole = np.maximum(means[:, 0], np.finfo(float).eps)
        spectra.append(-np.diff(means, axis=1) * 100 / whole[:, None])
    return spectra
