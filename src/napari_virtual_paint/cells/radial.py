"""How a cell's intensity lies between its middle and its edge: CellProfiler's MeasureObjectIntensityDistribution.

The distances and rings depend on the outlines alone. They are found once here for all channels, where cp_measure, whose values these are,
finds them again for each; that was a third of the time of measuring.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

RINGS = 4
"""Rings of a cell, as in CellProfiler."""

WEDGES = 8
"""Wedges of each ring, between whose means the coefficient of variation is taken."""


def radial_distribution(labels: npt.NDArray[np.int32], planes: Floats) -> list[dict[str, Floats]]:
    """Return the radial distribution of each channel, by cp_measure's names.

    Parameters
    ----------
    labels
        Objects numbered 1 to n without a gap, none touching another, axes YX.
    planes
        Intensities, axes CYX.

    Returns
    -------
    list
        For each channel and ring ``FracAtD`` (share of the intensity), ``MeanFrac`` (that over the share of the pixels) and
        ``RadialCV`` (variation between the wedges).
    """
    count = int(labels.max())
    places, segment, ring, wedge = _rings(labels, count)
    cells = count * RINGS
    bins = segment * (RINGS + 1) + ring  # one more for what rounding puts beyond the last ring
    pixels = np.bincount(bins, minlength=count * (RINGS + 1)).reshape(count, -1)
    area = pixels / pixels.sum(axis=1, keepdims=True)
    within = ring < RINGS
    parts = (segment[within] * RINGS + ring[within]) * WEDGES + wedge[within]
    sizes = np.bincount(parts, minlength=cells * WEDGES).reshape(count, RINGS, WEDGES)
    found = []
    for plane in planes:
        values = plane.ravel()[places]
        sums = np.bincount(bins, values, count * (RINGS + 1)).reshape(count, -1)
        fraction = sums / sums.sum(axis=1, keepdims=True)
        mean = fraction / (area + np.finfo(float).eps)
        wedges = np.bincount(parts, values[within], cells * WEDGES).reshape(count, RINGS, WEDGES) / np.maximum(sizes, 1)
        variation = _variation(wedges, sizes > 0)
        kinds = (("FracAtD", fraction), ("MeanFrac", mean), ("RadialCV", variation))
        found.append({f"RadialDistribution_{kind}_{k + 1}of{RINGS}": value[:, k] for kind, value in kinds for k in range(RINGS)})
    return found


def _rings(labels: npt.NDArray[np.int32], count: int) -> tuple[Integers, Integers, Integers, Integers]:
    """Return, for each pixel that a path inside its object leads to from the middle: its place, object, ring and wedge."""
    from centrosome.cpmorphology import distance_to_edge  # type: ignore[import-untyped]
    from centrosome.propagate import propagate  # type: ignore[import-untyped]

    to_edge = distance_to_edge(labels)
    inside = np.flatnonzero(labels)
    numbers = labels.ravel()[inside]
    order = np.lexsort((inside, -to_edge.ravel()[inside], numbers))
    first = np.searchsorted(numbers[order], np.arange(1, count + 1))
    middles = inside[order][first]
    seeds = np.zeros(labels.shape, int)
    seeds.ravel()[middles] = np.arange(1, count + 1)
    reached, from_middle = propagate(np.zeros(labels.shape), seeds, labels > 0, 1)
    places = np.flatnonzero(reached)
    segment = labels.ravel()[places].astype(np.intp) - 1
    distance = from_middle.ravel()[places]
    share = distance / (distance + to_edge.ravel()[places] + 0.001)
    ring = np.minimum((share * RINGS).astype(np.intp), RINGS)
    y, x = np.divmod(places, labels.shape[1])
    middle_y, middle_x = np.divmod(middles[segment], labels.shape[1])
    steep = np.abs(y - middle_y) > np.abs(x - middle_x)
    return places, segment, ring, (y > middle_y) + 2 * (x > middle_x) + 4 * steep


def _variation(means: Floats, there: npt.NDArray[np.bool_]) -> Floats:
    """Return SD over mean of the wedges that there are, 0 where there are none or no intensity."""
    number = np.maximum(there.sum(axis=-1), 1)
    mean = np.where(there, means, 0).sum(axis=-1) / number
    spread = np.sqrt(np.where(there, (means - mean[..., None]) ** 2, 0).sum(axis=-1) / number)
    variation: Floats = np.divide(spread, mean, out=np.zeros_like(mean), where=mean != 0)
    return variation
