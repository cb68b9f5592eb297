"""Measure the objects of a label image: size, shape, intensities, and flags on their quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import measure, segmentation

from napari_virtual_paint.counting.segmentation import LabelImage

Column = npt.NDArray[Any]

FLAGS = ("edge", "clump", "small", "blurred")
"""Flags of an object: cut by the border of the image; probably several objects; far smaller than the others; out of focus."""

SMALL = 0.25  # area of an object, as a share of the median one's, below which it is small

LARGE, DENTED = 1.5, 0.9  # area as a share of the median one's above, and solidity below which an object is a clump

BLURRED = 2.0  # width of the edge of a nucleus, as a share of the median one's, above which it is out of focus

SHAPE = ("y", "x", "area_px", "area_um2", "perimeter_px", "perimeter_um", "major_axis_px", "minor_axis_px", "eccentricity", "solidity")
"""Columns of place and shape; those in micrometers are NaN where the pixel size is unknown."""


def measure_objects(
    labels: LabelImage,
    planes: npt.NDArray[Any],
    channels: Sequence[str],
    pixel_size: float | None,
    sharp: npt.NDArray[Any] | None = None,
) -> dict[str, Column]:
    """Return the table of the objects of one kind in one plane.

    Parameters
    ----------
    labels
        Axes YX; 0 is background.
    planes
        The image, axes CYX, in its own unit.
    channels
        Names of the channels.
    pixel_size
        Micrometers; None where unknown.
    sharp
        The stain by whose edges the focus of the objects is judged, axes YX; None judges none.

    Returns
    -------
    dict
        Column -> values, one per object: ``label``, `SHAPE`, ``edge_width_px`` (NaN where the focus is not judged), ``mean_STAIN``,
        ``sd_STAIN`` and ``sum_STAIN`` of each channel, and `FLAGS` as booleans.
    """
    names = ("label", "centroid", "area", "perimeter", "axis_major_length", "axis_minor_length", "eccentricity", "solidity")
    found = measure.regionprops_table(labels, properties=names)
    numbers = np.asarray(found["label"], np.int64)
    area, perimeter = (np.asarray(found[name], np.float64) for name in ("area", "perimeter"))
    size = float("nan") if pixel_size is None else pixel_size
    out: dict[str, Column] = {
        "label": numbers,
        "y": np.asarray(found["centroid-0"], np.float64),
        "x": np.asarray(found["centroid-1"], np.float64),
        "area_px": area,
        "area_um2": area * size**2,
        "perimeter_px": perimeter,
        "perimeter_um": perimeter * size,
        "major_axis_px": np.asarray(found["axis_major_length"], np.float64),
        "minor_axis_px": np.asarray(found["axis_minor_length"], np.float64),
        "eccentricity": np.asarray(found["eccentricity"], np.float64),
        "solidity": np.asarray(found["solidity"], np.float64),
    }
    out["edge_width_px"] = np.full(len(numbers), np.nan) if sharp is None else edge_widths(labels, sharp, numbers)
    for name, plane in zip(channels, planes, strict=True):
        values = np.asarray(plane, np.float64)
        total, mean = _sums(labels, values, numbers)
        squares, _ = _sums(labels, values**2, numbers)
        spread = np.sqrt(np.maximum(squares / np.maximum(area, 1) - mean**2, 0))
        out |= {f"mean_{name}": mean, f"sd_{name}": spread, f"sum_{name}": total}
    return out | flags_of(labels, out)


def flags_of(labels: LabelImage, table: Mapping[str, Column]) -> dict[str, Column]:
    """Return `FLAGS` -> a boolean for each object; all sizes are judged by the median object of the plane.

    Parameters
    ----------
    labels
        Axes YX.
    table
        ``label``, ``area_px``, ``solidity`` and ``edge_width_px`` of its objects.
    """
    area, width = table["area_px"], table["edge_width_px"]
    typical = float(np.median(area)) if len(area) else 0.0
    known = width[np.isfinite(width)]
    sharp = float(np.median(known)) if len(known) else float("inf")
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return {
        "edge": np.isin(table["label"], border),
        "clump": (area > LARGE * typical) & (table["solidity"] < DENTED),
        "small": area < SMALL * typical,
        "blurred": np.nan_to_num(width, nan=0.0) > BLURRED * sharp,
    }


def edge_widths(labels: LabelImage, plane: npt.NDArray[Any], numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the width of each object's edge in pixels: its level above the background over the steepness of its outline.

    Parameters
    ----------
    labels, plane
        Axes YX.
    numbers
        The objects.
    """
    if not len(numbers):
        return np.zeros(0)
    values = np.nan_to_num(np.asarray(plane, np.float64))
    outside = values[labels == 0]
    background = float(np.median(outside)) if outside.size else float(values.min())
    level = np.asarray(ndimage.median(values, labels, numbers), np.float64) - background
    steepness = ndimage.gaussian_gradient_magnitude(values, 1.0)
    outline = np.where(segmentation.find_boundaries(labels, mode="inner"), labels, 0)
    _, slope = _sums(outline, steepness, numbers)
    width: npt.NDArray[np.float64] = np.where(slope > 0, level / np.where(slope > 0, slope, 1.0), np.nan)
    return width


def _sums(labels: LabelImage, values: npt.NDArray[np.float64], numbers: npt.NDArray[np.int64]) -> tuple[Column, Column]:
    """Return sum and mean of some values over each object."""
    top = int(labels.max(initial=0)) + 1
    flat = labels.ravel()
    total = np.bincount(flat, np.nan_to_num(values).ravel(), minlength=top)[numbers]
    return total, total / np.maximum(np.bincount(flat, minlength=top)[numbers], 1)
