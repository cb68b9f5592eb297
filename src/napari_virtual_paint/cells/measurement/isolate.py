"""Mask neighboring cells out of a crop, so that no feature describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.cells.transform import Floats
from napari_virtual_paint.counting.segmentation import Thresholds, segment


def own_masks(
    crops: npt.NDArray[Any],
    channels: Sequence[str],
    nuclei: str | None = None,
    *,
    scale: Sequence[float] | float = 1.0,
    pixel_size: float | None = None,
    thresholds: Sequence[Thresholds] | None = None,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which pixels (n, d, d) of crops (n, C, d, d) belong to the central cell's nucleus, and to the whole cell.

    Crops are segmented as generated ones are; the parameters are those of `measure.measure_crops`.
    """
    inner, outer = (np.zeros((len(crops), *crops.shape[2:]), bool) for _ in range(2))
    for row, crop in enumerate(crops):
        limits = thresholds[row] if thresholds is not None else None
        found = segment(crop, channels, nuclei, pixel_size, scale=scale, thresholds=limits, keep_border=True, single=True)
        inner[row], outer[row] = found.nuclei > 0, found.cells > 0
    return inner, outer


def cell_alone(crops: Floats, masks: npt.NDArray[np.bool_], background: Floats, softness: float = 1.0) -> Floats:
    """Replace pixels outside the masks by the background's gray levels (C,), with a soft edge in px; crops (n, C, d, d).

    A crop without a cell is unchanged.
    """
    share = ndimage.gaussian_filter(masks.astype(np.float32), (0, softness, softness))[:, None]
    share[~masks.any(axis=(1, 2))] = 1
    low = background[:, None, None]
    out: Floats = low + share * (crops - low)
    return out
