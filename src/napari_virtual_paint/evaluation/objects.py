"""Segment nuclei and cells of one field and source, once for all levels: scikit-image, or Cellpose where it is installed.

Images are brightened by a gamma first (Tonks et al. 2024: 0.3), truth and predictions alike.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

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
    segmenter: Literal["skimage", "cellpose"]  # ``skimage`` or ``cellpose``
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
    segmenter = segmenter_of(settings)
    if segmenter == "cellpose":
        bright = [(np.asarray(planes[i], np.float32) / FULL) ** settings.gamma for i in range(len(stains))]
        found = _by_cellpose(bright, nuclei, cells)
    else:
        found = _by_skimage(planes, stains, nuclei, cells, pixel_size, settings.gamma)
    labels = paired_labels(found["nuclei"], found["cells"]) if len(found) == len(OBJECTS) else None
    shown = {"nuclei": (nuclei,) if nuclei is not None else (), "cells": cells or ((nuclei,) if nuclei is not None else ())}
    named = {name: tuple(stains[i] for i in shown[name]) for name in found}
    version = importlib.metadata.version("cellpose" if segmenter == "cellpose" else "scikit-image")
    return Objects(found, labels, segmenter, version, named)


def segmenter_of(settings: EvaluationSettings) -> Literal["skimage", "cellpose"]:
    """Return the segmenter; whether Cellpose is installed is checked without importing it.

    Raises `InputError` if Cellpose is requested but not installed.
    """
    there = importlib.util.find_spec("cellpose") is not None
    if settings.segmenter == "cellpose" and not there:
        raise InputError('Cellpose is not installed; run: pip install cellpose, or choose the segmenter "skimage".')
    return "cellpose" if there and settings.segmenter != "skimage" else "skimage"


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


def _by_cellpose(bright: Sequence[npt.NDArray[np.float32]], nuclei: int | None, cells: tuple[int, ...]) -> dict[str, LabelImage]:
    """Segment by Cellpose (Stringer et al. 2021; version 4: Pachitariu et al. 2025), cells with the nuclei as second channel."""
    found = {}
    if nuclei is not None:
        found["nuclei"] = _cellpose("nuclei", bright[nuclei])
    if cells:
        body = np.mean([bright[i] for i in cells], axis=0)
        found["cells"] = _cellpose("cells", body, None if nuclei is None else bright[nuclei])
    elif nuclei is not None:
        found["cells"] = found["nuclei"]
    return found


def _cellpose(kind: str, plane: npt.NDArray[np.float32], nuclei: npt.NDArray[np.float32] | None = None) -> LabelImage:
    model, old = _cellpose_model(kind)
    # Before version 4 it needs the meaning of the channels (0 is "gray" or "none") and an instruction to estimate the object size.
    options: dict[str, Any] = {"channels": [0, 0], "diameter": None} if old else {}
    image = plane
    if nuclei is not None:
        image = np.stack([plane, nuclei, np.zeros_like(plane)], axis=-1)
        options |= {"channels": [1, 2], "channel_axis": -1} if old else {"channel_axis": -1}
    try:
        labels = model.eval(image, **options)[0]
    except Exception as error:
        raise InputError(f'Cellpose could not be used ({type(error).__name__}: {error}); choose the segmenter "skimage".') from error
    return np.asarray(labels, np.int32)


@lru_cache(maxsize=2)
def _cellpose_model(kind: str) -> tuple[Any, bool]:
    """Return Cellpose's default model, once per process, and whether its version is below 4, which has one model for everything."""
    from cellpose import models

    old = int(importlib.metadata.version("cellpose").partition(".")[0]) < 4
    try:  # it looks for itself whether there is a GPU
        if old:
            return models.Cellpose(gpu=True, model_type="nuclei" if kind == "nuclei" else "cyto3"), True
        return models.CellposeModel(gpu=True), False
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"Cellpose's model could not be loaded ({reason}); it is fetched when it is first used, so connect once or choose the "
            'segmenter "skimage".'
        ) from error


def paired_labels(nuclei: LabelImage, cells: LabelImage) -> Labels:
    """Give separately segmented nuclei and cells common numbers.

    A nucleus belongs to the cell that contains most of it; of several in one cell the largest counts.

    Parameters
    ----------
    nuclei, cells
        Label images, axes YX.
    """
    top = int(cells.max(initial=0)) + 1
    both = np.bincount((nuclei.astype(np.int64) * top + cells).ravel(), minlength=top * (int(nuclei.max(initial=0)) + 1)).reshape(-1, top)
    sizes = both.sum(axis=1)
    home = np.zeros(len(both), np.int32)
    taken = set()
    for number in sorted(range(1, len(both)), key=lambda i: -sizes[i]):
        if not sizes[number]:
            continue
        best = int(both[number].argmax())
        if best and best not in taken:
            taken.add(best)
            home[number] = best
    return Labels.of(home[nuclei], cells)


def without_border(labels: Labels) -> Labels:
    """Return the labels without cells that touch the image border; the others keep their numbers."""
    cells = labels.cells
    cut = np.unique(np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]]))
    inner = np.where(np.isin(cells, cut), 0, cells)
    return Labels.of(labels.nuclei, inner, labels.thresholds)
