"""Zernike moments, granular spectra and radial distributions of objects, independent of their position in the image.

CellProfiler and cp_measure ignore pixels further from the center of the smallest enclosing circle than its radius.
Pixels that define the circle lie exactly on it, so rounding, which depends on the position in the image, decides each; in
a small nucleus this changes a moment by more than cells differ. Here the disk is closed with a margin far above rounding. All
else, and the names, are theirs (Boland et al. 1998); all channels share one evaluation of the polynomials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.cells.measurement.mosaic import boxes_of

DEGREE = 9  # highest radial moment, as in CellProfiler

MARGIN = 1e-6  # margin added to the unit radius of the closed disk


def zernike_moments(labels: npt.NDArray[np.int32], planes: npt.NDArray[np.float64]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the moments of the shape, and of each channel's intensity.

    Parameters
    ----------
    labels
        Objects numbered 1 to n, none touching another or the border, axes YX.
    planes
        Intensities, axes CYX.

    Returns
    -------
    tuple
        For the shape ``Zernike_n_m``, divided by the area of the circle; for each channel ``ZernikeMagnitude_n_m``, divided by the
        number of pixels, and ``ZernikePhase_n_m`` with CellProfiler's order of real and imaginary part.
    """
    from centrosome import zernike  # type: ignore[import-untyped]

    from napari_virtual_paint.cells.measurement.kernels import disk_moments

    count = int(labels.max())
    indexes = zernike.get_zernike_indexes(DEGREE + 1)
    centres, radii = zernike.minimum_enclosing_circle(labels, np.arange(1, count + 1))
    radii = np.asarray(radii, float)
    powers = disk_moments(labels, planes, boxes_of(labels), np.asarray(centres, float), radii, DEGREE, MARGIN)
    powers = powers[..., 0] + 1j * powers[..., 1]
    powers[:, radii == 0, :, 1:] = np.nan  # one pixel has no direction
    table = zernike.construct_zernike_lookuptable(indexes)
    sums = np.empty((len(indexes), len(planes) + 1, count), complex)
    for k, (n, m) in enumerate(indexes):
        half = (n - m) // 2
        sums[k] = sum(table[k, i] * powers[:, :, half - i, m] for i in range(half + 1))
    names = [f"{n}_{m}" for n, m in indexes]
    pixels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    shape = {f"Zernike_{name}": np.abs(sums[k, 0]) / (np.pi * radii**2) for k, name in enumerate(names)}
    channels = []
    for c in range(1, len(planes) + 1):
        magnitude = {f"RadialDistribution_ZernikeMagnitude_{name}": np.abs(sums[k, c]) / pixels for k, name in enumerate(names)}
        phase = {f"RadialDistribution_ZernikePhase_{name}": np.arctan2(sums[k, c].real, sums[k, c].imag) for k, name in enumerate(names)}
        channels.append(magnitude | phase)
    return shape, channels


Floats = npt.NDArray[np.float64]


SPECTRUM = 8  # length of the spectrum: the largest grain radius in pixels


def granular_spectra(compartments: Sequence[npt.NDArray[np.int32]], plane: Floats, boxes: npt.NDArray[np.intp]) -> list[Floats]:
    """Return the granular spectrum of the objects of each compartment.

    Step k is the loss, in percent of the mean intensity, from an opening by reconstruction of radius k - 1 to that of radius k.

    Parameters
    ----------
    compartments
        Labels from 1 to n, axes YX.
    plane
        Nonnegative intensities, 0 outside the cells, axes YX.
    boxes
        Boxes of the n whole cells (see `CellMosaic.boxes`).

    Returns
    -------
    list
        An array (n, `SPECTRUM`) per compartment, NaN where it lacks an object.
    """
    from napari_virtual_paint.cells.measurement.kernels import granules

    sums = granules(np.stack(compartments), plane, boxes, SPECTRUM)
    spectra = []
    for labels, left in zip(compartments, sums, strict=True):
        pixels = np.bincount(labels.ravel(), minlength=len(boxes) + 1)[1:]
        with np.errstate(invalid="ignore"):
            means = left / pixels[:, None]
        initial = np.maximum(means[:, 0], np.finfo(float).eps)
        spectra.append(-np.diff(means, axis=1) * 100 / initial[:, None])
    return spectra


RINGS = 4  # number of rings, as in CellProfiler; each has eight wedges, whose means give the variation (see `kernels.rings`)


def radial_distribution(labels: npt.NDArray[np.int32], planes: Floats) -> list[dict[str, Floats]]:
    """Return the radial distribution of each channel, by cp_measure's names.

    Parameters
    ----------
    labels
        Objects numbered 1 to n, none touching another or the border, axes YX.
    planes
        Intensities, axes CYX.

    Returns
    -------
    list
        Per channel and ring ``FracAtD`` (share of the intensity), ``MeanFrac`` (the same relative to the share of pixels) and
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
    """Return SD over mean of the existing wedges, 0 where there are none or no intensity."""
    number = np.maximum(there.sum(axis=-1), 1)
    mean = np.where(there, means, 0).sum(axis=-1) / number
    spread = np.sqrt(np.where(there, (means - mean[..., None]) ** 2, 0).sum(axis=-1) / number)
    variation: Floats = np.divide(spread, mean, out=np.zeros_like(mean), where=mean != 0)
    return variation
