"""Segment nuclei and cells of one field and source, once for all levels: scikit-image, Cellpose or InstanSeg.

Images are brightened by a gamma first (Tonks et al. 2024: 0.3), truth and predictions alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from napari_virtual_paint.counting import learned
from napari_virtual_paint.counting.pairing import paired_labels
from napari_virtual_paint.counting.segmentation import FAINTEST, LabelImage, Labels, Thresholds, nuclei_channel, segment
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.context import TRUTH, EvaluationSettings, FieldImages

OBJECTS = ("nuclei", "cells")  # kinds of objects, in order of display

FULL = 65535.0  # full scale of the gray levels

SMOOTHED = 1.0  # SD in pixels of the blur before the gamma, for segmentation by scikit-image

ROOT = 0.5  # gamma that `counting.segmentation` applies itself before Otsu's threshold


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of a field."""

    found: Mapping[str, LabelImage]
    """``nuclei`` and ``cells`` -> label image, int32, axes YX, numbered from 1; including objects at the border. A kind is missing where
    no stain shows it."""
    labels: Labels | None
    """Nuclei, cells and cytoplasm with the same number for the same cell, for measuring; None where a kind is missing. Cells without a
    nucleus and nuclei without a cell are left out."""
    segmenter: learned.SegmenterName
    version: str  # version of that library
    stains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # ``nuclei`` and ``cells`` -> the stains used


def objects_of(images: FieldImages, source: str, settings: EvaluationSettings) -> Objects | None:
    """Return the objects of a field in the truth or a prediction, cached in the field's memo.

    None where no stain shows nuclei or cells, with a note on the field. Parameters as in `find_objects`.
    """
    key = ("objects", source, settings.segmenter, settings.nuclei, settings.cells, settings.gamma)
    if key not in images.memo:
        if images.is_volume:
            images.add_note("Nuclei and cells of a volume are found, and measured, in its maximum projection.")
        if source != TRUTH:
            objects_of(images, TRUTH, settings)  # it decides how the predictions of an empty field are scaled
        try:
            images.memo[key] = find_objects(images.scaled[source], images.stains, images.pixel_size, settings)
        except _NothingToFindError as reason:
            images.add_note(str(reason))
            images.memo[key] = None
        if source == TRUTH and images.memo[key] is not None and not any(labels.any() for labels in images.memo[key].found.values()):
            images.scale_as_empty()
    found: Objects | None = images.memo[key]
    return found


class _NothingToFindError(InputError):
    """No stain shows nuclei, and none was named."""


def find_objects(planes: npt.NDArray[Any], stains: Sequence[str], pixel_size: float | None, settings: EvaluationSettings) -> Objects:
    """Segment nuclei and cells.

    Parameters
    ----------
    planes
        Gray levels of 16 bits, axes CYX.
    stains
        Names of the C stains. Nuclei are found in the stain of the settings, else in the one called DNA, DAPI or Hoechst; cells
        in the stain of the settings, else in all others together (for Cellpose: the mean of their brightened images).
    pixel_size
        Micrometers; None where unknown.
    settings
        Segmenter, stains and gamma. ``auto`` selects Cellpose where it is installed, which is checked without importing it.

    Raises
    ------
    InputError
        If a named stain is missing, no stain shows nuclei, or Cellpose is requested but unavailable.
    """
    nuclei, cells = _stains(stains, settings)
    segmenter = learned.segmenter_of(settings.segmenter)
    if segmenter == "skimage":
        found = _by_skimage(planes, stains, nuclei, cells, pixel_size, settings.gamma)
    else:
        bright = [(np.asarray(planes[i], np.float32) / FULL) ** settings.gamma for i in range(len(stains))]
        by_cellpose = segmenter == "cellpose"
        found = learned.by_cellpose(bright, nuclei, cells) if by_cellpose else learned.by_instanseg(bright, nuclei, cells, pixel_size)
    labels = paired_labels(found["nuclei"], found["cells"]) if len(found) == len(OBJECTS) else None
    shown = {"nuclei": (nuclei,) if nuclei is not None else (), "cells": cells or ((nuclei,) if nuclei is not None else ())}
    named = {name: tuple(stains[i] for i in shown[name]) for name in found}
    return Objects(found, labels, segmenter, learned.segmenter_version(segmenter), named)


def _stains(stains: Sequence[str], settings: EvaluationSettings) -> tuple[int | None, tuple[int, ...]]:
    """Return the positions of the nuclear stain, if any, and of the stains that show cells."""
    try:
        nuclei: int | None = nuclei_channel(stains, settings.nuclei)
    except InputError:
        if settings.nuclei is not None:
            raise
        nuclei = None
    if settings.cells is not None:
        folded = [name.casefold().strip() for name in stains]
        if settings.cells.casefold().strip() not in folded:
            raise InputError(f"There is no stain {settings.cells!r} for the cells; there are {', '.join(stains)} (--cells).")
        return nuclei, (folded.index(settings.cells.casefold().strip()),)
    if nuclei is None:
        raise _NothingToFindError(
            f"No stain is called DNA, DAPI or Hoechst, so no objects are looked for; name the nuclei's or the cells' among "
            f"{', '.join(stains)} (--nuclei, --cells)."
        )
    return nuclei, tuple(i for i in range(len(stains)) if i != nuclei)


def _by_skimage(
    planes: npt.NDArray[Any],
    stains: Sequence[str],
    nuclei: int | None,
    cells: tuple[int, ...],
    pixel_size: float | None,
    gamma: float,
) -> dict[str, LabelImage]:
    """Segment by `counting.segmentation`; the square root is part of the gamma, so Otsu's threshold is one of ``x ** gamma``.

    Noise is smoothed first: near 0, where a prediction's background lies, the gamma would amplify it more than the cells. The nuclear
    threshold is not refined to minimum cross-entropy, which is lower: the gamma has lowered it enough (on simulated fields outlines
    lie 2 px outside with the refinement, 1 px without).
    """
    first = cells[0] if nuclei is None else nuclei
    used = [first, *(i for i in cells if i != first)]
    smooth = ndimage.gaussian_filter(np.asarray(planes[used], np.float32) / FULL, (0, SMOOTHED, SMOOTHED), mode="nearest")
    bright = np.maximum(smooth, 0) ** (gamma / ROOT)
    names = ["nuclei", *(stains[i] for i in used[1:])]  # its first channel by a name that it knows, whatever the stain is called
    labels = segment(bright, names, "nuclei", pixel_size, "otsu", keep_border=True, thresholds=_otsu(bright[0]))
    return {"cells": labels.nuclei} if nuclei is None else {"nuclei": labels.nuclei, "cells": labels.cells}


def _otsu(plane: npt.NDArray[np.float32]) -> Thresholds:
    """Return the nuclear threshold in the units of `segment`; NaN, which makes it choose its own, where nothing stands out."""
    signal = np.sqrt(ndimage.gaussian_filter(plane, 1.0, mode="nearest"))
    if float(np.ptp(signal)) <= 1e-6:
        return Thresholds()
    cut = float(threshold_otsu(signal))
    above = signal > cut
    return Thresholds(cut if signal[above].mean() > FAINTEST * signal[~above].mean() else float("nan"))


def without_border(labels: Labels) -> Labels:
    """Return the labels without cells that touch the image border; the others keep their numbers."""
    cells = labels.cells
    cut = np.unique(np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]]))
    inner = np.where(np.isin(cells, cut), 0, cells)
    return Labels.of(labels.nuclei, inner, labels.thresholds)
