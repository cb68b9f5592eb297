"""Features of a cell that depend on the whole field, as CellProfiler defines them: its neighbors, and the granularity of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.counting.segmentation import LabelImage, Labels
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.extras import require

if TYPE_CHECKING:
    import pandas as pd

Values = dict[str, npt.NDArray[np.float64]]

ADJACENT = 0  # distance for neighbors that touch
SIZES = 16  # of the granular spectrum
GRANULARITY: Mapping[str, Any] = {"subsample_size": 0.25, "image_sample_size": 0.25, "element_size": 10, "granular_spectrum_length": SIZES}
"""CellProfiler's defaults: the image at a quarter, its background at a quarter of that and opened by 10 px."""


def measure_field(
    planes: npt.NDArray[Any],
    channels: Sequence[str],
    labels: Labels,
    *,
    scale: Sequence[float] | float = 1.0,
    neighbors: int | None = ADJACENT,
    granularity: bool = True,
) -> pd.DataFrame:
    """Measure neighbors and granularity of every cell of an image.

    Parameters
    ----------
    planes, channels, labels, scale
        As of `measure.measure`.
    neighbors
        Distance in px within which objects are neighbors, 0 for objects that touch, None to measure none.
    granularity
        Whether to measure the granular spectrum of the image, background subtracted.

    Returns
    -------
    pandas.DataFrame
        One row per cell in the order of their numbers: ``ObjectNumber``, then the features by CellProfiler's names.
    """
    import pandas as pd

    numbers = np.unique(labels.cells)
    numbers = numbers[numbers > 0]
    full = np.broadcast_to(np.asarray(scale, np.float64), (len(channels),))
    found: Values = {}
    for name, own in (("Nuclei", labels.nuclei), ("Cells", labels.cells)) if neighbors is not None else ():
        found |= {f"{name}_{key}": value for key, value in measure_neighbors(own, numbers, neighbors or ADJACENT).items()}
    for channel, plane, one in zip(channels, planes, full, strict=True) if granularity else ():
        for name, own in (("Nuclei", labels.nuclei), ("Cells", labels.cells), ("Cytoplasm", labels.cytoplasm)):
            for step, values in measure_granularity(own, np.asarray(plane, np.float64) / one, numbers).items():
                found[f"{name}_Granularity_{step}_{channel}"] = values
    frame = pd.DataFrame(found, index=range(len(numbers)))
    frame.insert(0, "ObjectNumber", numbers)
    return frame


def measure_neighbors(labels: LabelImage, numbers: npt.NDArray[Any], distance: int = ADJACENT) -> Values:
    """Return CellProfiler's Neighbors of objects.

    Parameters
    ----------
    labels
        All objects of the field, axes YX: also those that are not measured are neighbors.
    numbers
        The objects to measure.
    distance
        Objects so near, in px, are neighbors; 0 for those that touch.

    Returns
    -------
    dict
        Without the compartment, NaN for a number that is not there: ``NumberOfNeighbors``; ``PercentTouching``, the share of the outline
        that a neighbor reaches; the distances of the two nearest centers of other objects, and the angle between the ways to them in
        degrees; 0 where there is none.
    """
    if distance < 0:
        raise InputError(f"A distance of {distance} px to neighbors can't be; give 0 for cells that touch, or more.")
    ending = "Adjacent" if distance == ADJACENT else str(distance)
    reach = max(distance, 1)
    known = np.unique(labels)
    known = known[known > 0]
    names = ("NumberOfNeighbors", "PercentTouching", "FirstClosestDistance", "SecondClosestDistance", "AngleBetweenNeighbors")
    values = {name: np.full(len(numbers), np.nan) for name in names}
    near, touching = _disk(reach), _disk(reach + 0.5)
    outlines = _outlines(labels)
    boxes = ndimage.find_objects(labels)
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, known)).reshape(-1, 2)
    for row, number in enumerate(np.asarray(numbers).tolist()):
        box = boxes[number - 1] if number <= len(boxes) else None
        if box is None:
            continue
        part = tuple(slice(max(side.start - reach - 1, 0), side.stop + reach + 1) for side in box)
        around = labels[part]
        own = around == number
        others = np.unique(around[ndimage.binary_dilation(own, near)])
        values["NumberOfNeighbors"][row] = np.count_nonzero((others > 0) & (others != number))
        edge = outlines[part] & own
        reached = ndimage.binary_dilation((around > 0) & ~own, touching)
        values["PercentTouching"][row] = 100 * int(np.count_nonzero(edge & reached)) / max(int(np.count_nonzero(edge)), 1)
        own_place = int(np.searchsorted(known, number))
        ways = np.delete(centres, own_place, axis=0) - centres[own_place]
        for name, value in zip(names[2:], nearest(ways), strict=True):
            values[name][row] = value
    return {f"Neighbors_{name}_{ending}": value for name, value in values.items()}


def nearest(ways: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the distances of the two nearest centers and the angle between the ways to them in degrees; 0 where there is none.

    Parameters
    ----------
    ways
        From an object's center to those of all others, (n, 2) yx in px.
    """
    lengths = np.hypot(*ways.T)
    order = np.argsort(lengths, kind="stable")[:2]
    angle = 0.0
    if len(order) == 2 and lengths[order].min() > 0:
        first, second = ways[order] / lengths[order, None]
        angle = float(np.degrees(np.arccos(np.clip(first @ second, -1, 1))))
    closest = [*lengths[order].tolist(), 0.0, 0.0]
    return closest[0], closest[1], angle


def _disk(radius: float) -> npt.NDArray[np.bool_]:
    """Return the pixels whose centers are no further away than a radius."""
    half = int(radius)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk: npt.NDArray[np.bool_] = y**2 + x**2 <= radius**2
    return disk


def _outlines(labels: LabelImage) -> npt.NDArray[np.bool_]:
    """Return the pixels of objects of whose eight neighbors one is another object or background, also beyond the border."""
    padded = np.pad(labels, 1)
    high, low = ndimage.maximum_filter(padded, 3), ndimage.minimum_filter(padded, 3)
    outlines: npt.NDArray[np.bool_] = ((high != low) & (padded > 0))[1:-1, 1:-1]
    return outlines


def measure_granularity(
    labels: LabelImage, plane: npt.NDArray[np.float64], numbers: npt.NDArray[Any]
) -> dict[int, npt.NDArray[np.float64]]:
    """Return CellProfiler's granular spectrum of objects, size -> values; NaN for a number that is not there.

    The image is reduced, its background (an opening) subtracted, and opened by reconstruction with growing radius. A value is the loss of
    the object's mean in percent, so it depends on what is around the object.

    Parameters
    ----------
    plane
        The whole image as a share of full scale, axes YX.
    """
    require("cp_measure", extra="cells", purpose="Measuring cells")
    from cp_measure.core.measuregranularity import get_granularity
    from skimage.segmentation import relabel_sequential

    dense, onward, _ = relabel_sequential(labels)
    sizes = range(1, SIZES + 1)
    there = np.array([number <= labels.max() and (labels == number).any() for number in np.asarray(numbers).tolist()], bool)
    found = {size: np.full(len(numbers), np.nan) for size in sizes}
    if not there.any():
        return found
    measured = get_granularity(dense.astype(np.int32), plane, **GRANULARITY)
    rows = np.asarray(onward[np.asarray(numbers)[there]], int) - 1
    for size in sizes:
        found[size][there] = np.asarray(measured[f"Granularity_{size}"], float)[rows]
    return found
