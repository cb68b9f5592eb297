"""Find the nuclei and cells of one plane of painted or real stains, whatever their unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.counting import learned
from napari_virtual_paint.counting.pairing import numbered_alike
from napari_virtual_paint.counting.segmentation import (
    LabelImage,
    Thresholds,
    nuclei_channel,
    nucleus_signal,
    otsu_of,
    segment,
    shows_cells,
    stained,
)
from napari_virtual_paint.counting.settings import CountSettings
from napari_virtual_paint.errors import InputError

LOW, HIGH = 1.0, 99.9  # percentiles of a stain that become 0 and 1: painted stains have no unit, and cameras an offset

FAINTEST = 0.4  # least level of a nucleus above the background, as a share of the median nucleus's

OUTLINE = 0.4  # level of a nucleus's outline above the background, as a share of its own

CLEAR = 8.0
"""Least level of the nuclei over the rest of the plane, in SDs of the rest, below which the plane shows none: Otsu's threshold parts noise,
too, 3 SDs apart, and a painting of an empty field less than 8; nuclei were 18 SDs and more above (simulated and real, true and painted)."""

BODY = 0.02  # full scale of the stains of cells, so that what is a tenth as bright as the brightest cell counts as cell


@dataclass(frozen=True, eq=False)
class CountedPlane:
    """The objects of a plane."""

    found: dict[str, LabelImage]
    """``nuclei`` and ``cells`` -> label image, int32, axes YX, objects at the border included; a cell has its nucleus's number. A kind is
    missing where no stain shows it."""
    segmenter: str
    version: str
    """`segmenter` and `version`: what found them."""
    notes: tuple[str, ...] = ()


def stain_positions(channels: Sequence[str], nuclei: str | None, cells: str | None) -> tuple[int | None, tuple[int, ...]]:
    """Return the positions of the stain of the nuclei and of those that show cells.

    Parameters
    ----------
    channels
        Names of the channels.
    nuclei, cells
        Names or positions that the user gave; by default the channel called DNA, DAPI or Hoechst, and all others.

    Raises
    ------
    InputError
        If one is missing, or no stain shows nuclei and none is given for the cells.
    """
    body = None if cells is None else nuclei_channel(channels, cells, what="cells")
    try:
        position: int | None = nuclei_channel(channels, nuclei)
    except InputError:
        if nuclei is not None or body is None:
            raise
        position = None
    if body is not None:
        return position, (body,) if body != position else ()
    return position, tuple(i for i in range(len(channels)) if i != position and shows_cells(channels[i]))


def count_plane(planes: npt.NDArray[Any], channels: Sequence[str], pixel_size: float | None, settings: CountSettings) -> CountedPlane:
    """Find nuclei and cells.

    Each stain is mapped to 0 to 1 by percentiles of the plane, so offset and gain have no effect. Nuclei are found by Otsu's threshold,
    split at necks, outlined at a share of their own level, and dropped if they are far fainter than the others (see
    `counting.segmentation.segment`); cells by a watershed from the nuclei.

    Parameters
    ----------
    planes
        The image, axes CYX.
    channels
        Names of the channels.
    pixel_size
        Micrometers; None where unknown.
    settings
        Segmenter and stains.

    Raises
    ------
    InputError
        If a stain is missing, or the segmenter is not installed or can't be used.
    """
    nuclei, cells = stain_positions(channels, settings.nuclei, settings.cells)
    name = learned.segmenter_of(settings.segmenter)
    used = [*([] if nuclei is None else [nuclei]), *cells]
    unit = {i: _unit(planes[i]) for i in used}
    notes = []
    if name != "skimage":
        bright = [unit.get(i, np.zeros(planes.shape[1:], np.float32)) for i in range(len(channels))]
        by_cellpose = name == "cellpose"
        found = learned.by_cellpose(bright, nuclei, cells) if by_cellpose else learned.by_instanseg(bright, nuclei, cells, pixel_size)
    else:
        first, *others = used
        names = ["nuclei", *(channels[i] for i in others)]  # its first channel by a name that it knows, whatever the stain is called
        stains = np.stack([unit[first], *(unit[i] * (BODY if stained(channels[i]) else 1.0) for i in others)])
        cut = Thresholds(_threshold(unit[first]))
        labels = segment(stains, names, "nuclei", pixel_size, "otsu", keep_border=True, thresholds=cut, faintest=FAINTEST, outline=OUTLINE)
        found = {"cells": labels.nuclei} if nuclei is None else {"nuclei": labels.nuclei, "cells": labels.cells}
    if len(found) == 2:
        found["nuclei"], found["cells"] = numbered_alike(found["nuclei"], found["cells"])
    if nuclei is not None and not cells:
        notes.append("No stain shows the cells, so each cell is its nucleus grown by a third of its diameter.")
    return CountedPlane(found, name, learned.segmenter_version(name), tuple(notes))


def _threshold(plane: npt.NDArray[np.float32]) -> float:
    """Return the threshold of the nuclei; infinite where they don't stand out."""
    cut = otsu_of(plane)
    intensity = nucleus_signal(plane) ** 2
    above = intensity > cut**2
    if not np.isfinite(cut) or not above.any() or above.all():
        return float("inf")
    rest = intensity[~above]
    clear = intensity[above].mean() - rest.mean() >= CLEAR * max(float(rest.std()), 1e-6)
    return cut if clear else float("inf")


def _unit(plane: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return a stain mapped to 0 to 1 by percentiles of what is left of it without noise."""
    values = np.nan_to_num(np.asarray(plane, np.float32), posinf=0.0, neginf=0.0)
    low, high = np.percentile(ndimage.gaussian_filter(values, 1.0, mode="nearest"), (LOW, HIGH))
    if high <= low:
        return np.zeros_like(values)
    out: npt.NDArray[np.float32] = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    return out
