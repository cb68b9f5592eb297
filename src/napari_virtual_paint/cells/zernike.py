"""Zernike moments of shape and of intensity (Boland et al. 1998), the same wherever in the image a cell lies.

CellProfiler and cp_measure leave out pixels whose distance to the middle of the smallest enclosing circle is more than its radius.
Those that define the circle lie on it, so that rounding, which changes with the place in the image, decides on each; on a small
nucleus that moves a moment by more than cells differ. Here the disk is closed by a margin far above rounding. The rest, and the names,
are theirs; all channels share one evaluation of the polynomials.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

DEGREE = 9
"""Highest radial moment, as in CellProfiler."""

MARGIN = 1e-6
"""Added to the radius of 1 of the closed disk."""


def zernike_moments(labels: npt.NDArray[np.int32], planes: npt.NDArray[np.float64]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the moments of the shape, and those of each channel's intensity.

    Parameters
    ----------
    labels
        Objects numbered 1 to n without a gap, axes YX.
    planes
        Intensities, axes CYX.

    Returns
    -------
    tuple
        For the shape ``Zernike_n_m``, divided by the area of the circle; for each channel ``ZernikeMagnitude_n_m``, divided by the
        number of pixels, and ``ZernikePhase_n_m`` with CellProfiler's order of real and imaginary part.
    """
    from centrosome import zernike  # type: ignore[import-untyped]

    count = int(labels.max())
    indexes = zernike.get_zernike_indexes(DEGREE + 1)
    centres, radii = zernike.minimum_enclosing_circle(labels, np.arange(1, count + 1))
    rows, columns = np.nonzero(labels)
    segment = labels[rows, columns] - 1
    order = np.argsort(segment, kind="stable")
    rows, columns, segment = rows[order], columns[order], segment[order]
    radii = np.asarray(radii, float)
    starts = np.searchsorted(segment, np.arange(count))
    weights = np.stack([np.ones(len(rows)), *(plane[rows, columns] for plane in planes)])
    y, x = (rows - centres[segment, 0]) / radii[segment], (columns - centres[segment, 1]) / radii[segment]
    square, z = y * y + x * x, y + 1j * x
    inside = square <= 1 + MARGIN
    powers = [np.ones_like(z)]
    for _ in range(DEGREE):
        powers.append(powers[-1] * z)
    sums = np.empty((len(indexes), len(weights), count), complex)
    table = zernike.construct_zernike_lookuptable(indexes)
    for k, (n, m) in enumerate(indexes):
        radial = np.zeros_like(square)
        for coefficient in table[k, : (n - m) // 2 + 1]:
            radial = radial * square + coefficient
        basis = np.where(inside, radial, 0) * powers[m]
        sums[k] = np.add.reduceat(weights * basis, starts, axis=1)
    names = [f"{n}_{m}" for n, m in indexes]
    pixels = np.bincount(segment, minlength=count)
    shape = {f"Zernike_{name}": np.abs(sums[k, 0]) / (np.pi * radii**2) for k, name in enumerate(names)}
    channels = []
    for c in range(1, len(weights)):
        magnitude = {f"RadialDistribution_ZernikeMagnitude_{name}": np.abs(sums[k, c]) / pixels for k, name in enumerate(names)}
        phase = {f"RadialDistribution_ZernikePhase_{name}": np.arctan2(sums[k, c].real, sums[k, c].imag) for k, name in enumerate(names)}
        channels.append(magnitude | phase)
    return shape, channels
