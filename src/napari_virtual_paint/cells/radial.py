"""How a cell's intensity lies between its middle and its edge: CellProfiler's MeasureObjectIntensityDistribution.

The distances and rings depend on the outlines alone. They are found once here for all channels, object by object, where cp_measure, whose
values these are, finds them in the whole image and again for each channel; that was half of its time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.measurement.mosaic import boxes_of

from napari_virtual_paint.cells.measurement.distributions import Floats

RINGS = 4
"""Rings of a cell, as in CellProfiler; their eight wedges, between whose means the variation is taken, are those of `compiled.rings`."""


def radial_distribution(labels: npt.NDArray[np.int32], planes: Floats) -> list[dict[str, Floats]]:
    """Return the radial distribution of each channel, by cp_measure's names.

    Parameters
    ----------
    labels
        Objects numbered 1 to n without a gap, none touching another or the border, axes YX.
    planes
        Intensities, axes CYX.

    Returns
    -------
    list
        For each channel and ring ``FracAtD`` (share of the intensity), ``MeanFrac`` (that over the share of the pixels) and
        ``RadialCV`` (variation between the wedges).
    """
    from napari_virtual_paint.cells.measurement.kernels import rings

    pixels, sizes, sums, parts = rings(labels, planes, boxes_of(labels))
    area = pixels / pixels.sum(axis=1, keepdims=True)
    found = []
    for total, wedges in zip(sums, parts, strict=True):
        fraction = total / total.sum(axis=1, keepdims=True)
        mean = fraction / (area + np.finfo(float).eps)
        variation = _variation(wedges / np.maximum(sizes, 1), sizes > 0)
        kinds = (("FracAtD", fraction), ("MeanFrac", mean), ("RadialCV", variation))
        found.append({f"RadialDistribution_{kind}_{k + 1}of{RINGS}": value[:, k] for kind, value in kinds for k in range(RINGS)})
    return found


def _variation(means: Floats, there: npt.NDArray[np.bool_]) -> Floats:
    """Return SD over mean of the wedges that there are, 0 where there are none or no intensity."""
    number = np.maximum(there.sum(axis=-1), 1)
    mean = np.where(there, means, 0).sum(axis=-1) / number
    spread = np.sqrt(np.where(there, (means - mean[..., None]) ** 2, 0).sum(axis=-1) / number)
    variation: Floats = np.divide(spread, mean, out=np.zeros_like(mean), where=mean != 0)
    return variation
