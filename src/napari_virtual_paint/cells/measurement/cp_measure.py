"""Measurements by cp_measure (Muñoz et al. 2025), and the table that maps its names to CellProfiler's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.cells.measurement.distributions import radial_distribution, zernike_moments
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.extras import missing, require

Values = dict[str, npt.NDArray[np.float64]]

COMPARTMENTS = ("Nuclei", "Cells", "Cytoplasm")

GROUPS = ("AreaShape", "Intensity", "Texture", "RadialDistribution", "Granularity", "Correlation")
"""Groups of features, all measured by default; Location comes with Intensity and always includes the center."""

TEXTURE_SCALE = 3  # pixel distance of the co-occurrence matrix, CellProfiler's default

ONE_CHANNEL: Sequence[tuple[str, str]] = (
    (r"(Zernike_\d+_\d+)", r"AreaShape_\1"),
    (r"(Intensity_\w+)", r"\1_{channel}"),
    (r"(Location_\w+_[XYZ])", r"\1_{channel}"),
    (r"(?:Texture_)?([A-Za-z]+\d?)_(\d+)_(\d\d)_(\d+)", r"Texture_\1_{channel}_\2_\3_\4"),
    (r"RadialDistribution_(Zernike\w+?)_(\d+_\d+)", r"RadialDistribution_\1_{channel}_\2"),
    (r"RadialDistribution_(\w+?)_(\d+of\d+|Overflow)", r"RadialDistribution_\1_{channel}_\2"),
    (r"(Granularity_\d+)", r"\1_{channel}"),
    (r"([A-Za-z]\w*)", r"AreaShape_\1"),
)
"""cp_measure's name (the first pattern that matches all of it) -> CellProfiler's without the compartment."""

TWO_CHANNELS: Sequence[tuple[str, str]] = (
    (r"Correlation_Pearson", r"Correlation_Correlation_{a}_{b}"),
    (r"Correlation_(Overlap)", r"Correlation_\1_{a}_{b}"),
    (r"Correlation_(K|Manders|RWC|Costes)_1", r"Correlation_\1_{a}_{b}"),
    (r"Correlation_(K|Manders|RWC|Costes)_2", r"Correlation_\1_{b}_{a}"),
)
"""The same for pairs of channels; a slope, which CellProfiler does not report for objects, matches none."""

COLOCALIZATION = ("Pearson", "Overlap", "K_1", "K_2", "Manders_1", "Manders_2", "RWC_1", "RWC_2")
"""Measurements of channel pairs by default, by cp_measure's names."""

COUNTS_FROM = 0.15  # threshold for overlap, Manders and RWC as a share of a channel's maximum in the object, CellProfiler's default


@cache
def cellprofiler_name(name: str, channel: str = "") -> str:
    """Return CellProfiler's name, without compartment, for one of cp_measure's core measurements.

    Raises `InputError` if cp_measure's name is not in the table.
    """
    for pattern, target in ONE_CHANNEL:
        if found := re.fullmatch(pattern, name):
            return found.expand(target).format(channel=channel)
    raise InputError(f"cp_measure's {name!r} has no name in CellProfiler's terms; this version of cp_measure is not known.")


def cellprofiler_pair_name(name: str, first: str, second: str) -> str | None:
    """Return CellProfiler's name for one of cp_measure's correlations, or None for one that CellProfiler does not measure on objects."""
    for pattern, target in TWO_CHANNELS:
        if found := re.fullmatch(pattern, name):
            return found.expand(target).format(a=first, b=second)
    return None


def core(legacy: bool = True) -> dict[str, Callable[..., Mapping[str, npt.NDArray[Any]]]]:
    """Return cp_measure's measurements of one channel, accelerated by numba.

    Parameters
    ----------
    legacy
        Whether to compute quartiles and MAD as CellProfiler does (n q) rather than as NumPy does ((n - 1) q).

    Raises
    ------
    InputError
        If cp_measure or numba is not installed.
    """
    cp_measure = require("cp_measure", extra="cells", purpose="Measuring cells")
    from cp_measure._detect import HAS_NUMBA
    from cp_measure.bulk import get_core_measurements

    if not HAS_NUMBA:
        raise missing("numba", extra="cells", purpose="Measuring cells")
    cp_measure.set_accelerator("numba")
    return dict(get_core_measurements(legacy=legacy, sanitize=False))


def measure_shape(labels: npt.NDArray[np.int32], functions: Mapping[str, Callable[..., Any]]) -> Values:
    """Measure the shape of objects numbered 1 to n: size and Feret diameters."""
    found: dict[str, Any] = dict(functions["sizeshape"](labels, None, calculate_advanced=False, new_features=False))
    found |= functions["feret"](labels, None)
    return {cellprofiler_name(name): np.asarray(value, float) for name, value in found.items()}


def measure_channel(
    labels: npt.NDArray[np.int32],
    plane: npt.NDArray[np.float64],
    channel: str,
    functions: Mapping[str, Callable[..., Any]],
    groups: Sequence[str] = GROUPS,
    texture_scales: Sequence[int] = (TEXTURE_SCALE,),
) -> Values:
    """Measure one channel on objects numbered 1 to n.

    Parameters
    ----------
    labels
        The objects, axes YX.
    plane
        Intensities relative to full scale, axes YX.
    channel
        Channel name, used in feature names.
    functions
        From `core`.
    groups
        Which of `GROUPS` to measure; granularity is in `granular_spectra`, multi-channel measures in `measure_distribution`.
    texture_scales
        Pixel distances of the co-occurrence matrix.
    """
    found: dict[str, Any] = {}
    if "Intensity" in groups:
        found |= functions["intensity"](labels, plane)
    if "Texture" in groups:
        for scale in texture_scales:
            found |= functions["texture"](labels, np.clip(plane, 0, 1), scale=scale)
    flat = (name for name in found if not name.endswith("Intensity_Z"))
    return {cellprofiler_name(name, channel): np.asarray(found[name], float) for name in flat}


def measure_distribution(
    labels: npt.NDArray[np.int32], planes: npt.NDArray[np.float64], channels: Sequence[str], groups: Sequence[str] = GROUPS
) -> Values:
    """Measure Zernike moments of shape and intensity, and the radial distribution, of objects that do not touch (see `measure_channel`)."""
    radial = "RadialDistribution" in groups
    shape, moments = zernike_moments(labels, planes if radial else planes[:0])
    found = {cellprofiler_name(name): value for name, value in shape.items()} if "AreaShape" in groups else {}
    if radial:
        for channel, one, other in zip(channels, radial_distribution(labels, planes), moments, strict=True):
            found |= {cellprofiler_name(name, channel): value for name, value in (one | other).items()}
    return found


def measure_pairs(
    labels: npt.NDArray[np.int32], planes: npt.NDArray[np.float64], channels: Sequence[str], costes: bool = False
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Yield the correlations of each pair of channels (in alphabetical order, as in CellProfiler's tables).

    Parameters
    ----------
    labels
        Objects numbered 1 to n without a gap, axes YX.
    planes
        Intensities, axes CYX.
    costes
        Whether to add Costes' thresholds, which take longer than all others together.
    """
    pairs = list(combinations(sorted(range(len(channels)), key=lambda i: channels[i].casefold()), 2))
    if not pairs:
        return
    measured = _colocalized(labels, planes, np.array(pairs))
    for (first, second), values in zip(pairs, measured.transpose(1, 2, 0), strict=True):
        found: dict[str, Any] = {f"Correlation_{name}": value for name, value in zip(COLOCALIZATION, values, strict=True)}
        if costes:
            from cp_measure.core.measurecolocalization import get_correlation_costes

            unit = np.clip(planes, 0, 1)
            found |= get_correlation_costes(unit[first], unit[second], labels, scale_max=65535)
        for name, value in found.items():
            if (known := cellprofiler_pair_name(name, channels[first], channels[second])) is not None:
                yield known, np.asarray(value, float)


def _colocalized(labels: npt.NDArray[np.int32], planes: npt.NDArray[np.float64], pairs: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return cp_measure's correlations without Costes, axes object, pair, `COLOCALIZATION`; channels are ranked once for all pairs."""
    from napari_virtual_paint.cells.measurement.kernels import colocalized

    found = np.empty((int(labels.max()), len(pairs), len(COLOCALIZATION)))
    for k, box in enumerate(ndimage.find_objects(labels)):
        values = planes[(slice(None), *box)][:, labels[box] == k + 1]
        found[k] = colocalized(values, np.argsort(values, axis=1), pairs, COUNTS_FROM)
    return found
