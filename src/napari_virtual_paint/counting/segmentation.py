"""Segment nuclei, cells and cytoplasm: Otsu and watershed, or Cellpose where it is installed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import filters, measure, segmentation
from skimage.morphology import disk, h_maxima

from napari_virtual_paint.errors import InputError

Floats = npt.NDArray[np.floating[Any]]
LabelImage = npt.NDArray[np.int32]

NUCLEI_NAMES = ("dna", "dapi", "hoechst", "nuclei", "nucleus", "draq5", "draq 5")
"""Names of nuclear channels in order of preference; longer names that begin with one of them count too."""

_TRANSMITTED = re.compile(r"bright.?field|\bbf|phase|\bdic\b|transmi|\btl\b|\bpc\b", re.IGNORECASE)
_SCATTER = re.compile(r"dark.?field|scatter|\bssc\b", re.IGNORECASE)

FLOOR = 0.02  # added to the roots of stains before the logarithm, so that the noise of a black background has no weight

FAINTEST = 1.15  # least ratio of the mean root of signal to that of background; below it there is only noise

MIN_DIAMETER = 4.0  # least nucleus diameter in micrometers (if the pixel size is known; else 8 px)


@dataclass(frozen=True)
class Thresholds:
    """Segmentation thresholds in the units of the signal (see `segment`); NaN where there is none."""

    nuclei: float = float("nan")  # in the nuclear channel
    cells: float = float("nan")  # in the mean over the channels that show the cell


@dataclass(frozen=True, eq=False)
class Labels:
    """Labeled objects, int32, axes YX, 0 is background; the same number is the same cell."""

    nuclei: LabelImage
    cells: LabelImage  # whole cells, including nuclei
    cytoplasm: LabelImage  # cells without their nuclei
    thresholds: tuple[Thresholds, ...] = ()  # one for the image, or one per cell of a montage in the order of their numbers

    @classmethod
    def of(cls, nuclei: npt.NDArray[Any], cells: npt.NDArray[Any], thresholds: tuple[Thresholds, ...] = ()) -> Labels:
        """Return labels from nuclei and cells; a cell contains its nucleus, and a nucleus without a cell of its number is dropped."""
        nuclei, cells = np.asarray(nuclei, np.int32), np.asarray(cells, np.int32)
        if nuclei.shape != cells.shape or nuclei.ndim != 2:
            raise InputError(f"Labels of nuclei {nuclei.shape} and cells {cells.shape} differ in shape; both must be YX.")
        nuclei = np.where(np.isin(nuclei, np.unique(cells)), nuclei, 0).astype(np.int32)
        cells = np.where(np.isin(cells, np.unique(nuclei)), cells, 0)
        cells = np.where(nuclei > 0, nuclei, cells).astype(np.int32)
        return cls(nuclei, cells, np.where(nuclei > 0, 0, cells).astype(np.int32), thresholds)


def nuclei_channel(channels: Sequence[str], nuclei: str | None = None) -> int:
    """Return the position of the nuclear channel.

    Parameters
    ----------
    channels
        Names of the channels.
    nuclei
        Name, or position as text; by default the channel called DNA, DAPI or Hoechst.

    Raises
    ------
    InputError
        If there is none; the message names the channels.
    """
    folded = [name.casefold().strip() for name in channels]
    if nuclei is None:
        for known in NUCLEI_NAMES:
            for position, name in enumerate(folded):
                if name == known or re.match(rf"{known}\b|{known}\d*_", name):
                    return position
        raise InputError(f"No channel is called DNA, DAPI or Hoechst; name the nuclei's among {', '.join(channels)} (--nuclei).")
    if nuclei.casefold().strip() in folded:
        return folded.index(nuclei.casefold().strip())
    if nuclei.isdigit() and int(nuclei) < len(channels):
        return int(nuclei)
    raise InputError(f"There is no channel {nuclei!r} for the nuclei; there are {', '.join(channels)}.")


def segment(
    planes: npt.NDArray[Any],
    channels: Sequence[str],
    nuclei: str | None = None,
    pixel_size: float | None = None,
    method: str = "auto",
    *,
    scale: Sequence[float] | float = 1.0,
    thresholds: Thresholds | None = None,
    keep_border: bool = False,
    single: bool = False,
) -> Labels:
    """Segment nuclei by Otsu's threshold and cells by a watershed from the nuclei.

    Thresholds are Otsu's (1979) of the square root of the intensity, which evens out shot noise and keeps a bright nucleus from hiding
    faint ones; that of the nuclei is refined to minimum cross-entropy, as in CellProfiler. Cells are found in the fluorescence
    channels other than the nuclear one (the mean logarithm of their roots, since one stain may be ten times brighter than another);
    without any, in transmitted light (root of the local deviation from the background, holes filled); without either, or where nothing
    is found, a cell is its nucleus grown by a third of its diameter.

    Parameters
    ----------
    planes
        The image, axes CYX.
    channels
        Names of the channels.
    nuclei
        The nuclear channel; see `nuclei_channel`.
    pixel_size
        Micrometers; None where unknown.
    method
        ``otsu``, ``cellpose``, or ``auto``, which is ``otsu``, so that a table can be reproduced anywhere.
    scale
        Full scale, for all channels or each.
    thresholds
        Thresholds; by default Otsu's of this image.
    keep_border
        Whether to keep cells at the border.
    single
        Whether there is at most one cell, in the center (a crop, or a place of a montage); nuclei are not split then.

    Raises
    ------
    InputError
        If a channel is missing, or the method is unknown or not installed.
    """
    if method not in ("auto", "otsu", "cellpose"):
        raise InputError(f"Segmentation {method!r} is not known; choose otsu or cellpose.")
    position = nuclei_channel(channels, nuclei)
    unit = np.nan_to_num(np.asarray(planes, np.float32)) / np.broadcast_to(np.asarray(scale, np.float32), (len(channels),))[:, None, None]
    diameter = MIN_DIAMETER / pixel_size if pixel_size else 8.0
    if method == "cellpose":
        found, cut = _cellpose(unit[position]), float("nan")
    else:
        found, cut = _nuclei(unit[position], thresholds, diameter, single)
    cells, edge = _cells(unit, channels, position, found, thresholds)
    if not keep_border:
        cells = np.where(np.isin(cells, _at_border(cells)), 0, cells)
    if single:
        cells = np.where(cells == _central(found, cells), cells, 0)
    labels = Labels.of(found, cells)
    relabeled, _, _ = segmentation.relabel_sequential(labels.cells)
    renumbered = np.where(labels.nuclei > 0, relabeled, 0)
    return Labels.of(renumbered, relabeled, (Thresholds(cut, edge),))


def _root(plane: npt.NDArray[Any], sigma: float = 1.0) -> Floats:
    smooth: Floats = np.sqrt(np.maximum(ndimage.gaussian_filter(plane, sigma, mode="nearest"), 0))
    return smooth


def _otsu(values: Floats, logarithmic: bool = False) -> float:
    """Return Otsu's threshold, NaN where the two classes hardly differ in brightness."""
    if float(values.max()) - float(values.min()) <= 1e-6:
        return float("nan")
    cut = float(filters.threshold_otsu(values))
    above = values > cut
    high, low = values[above].mean(), values[~above].mean()
    return cut if (high - low > np.log(FAINTEST) if logarithmic else high > FAINTEST * low) else float("nan")


def _refined(plane: Floats, cut: float) -> float:
    """Refine Otsu's threshold, if there is one, to minimum cross-entropy of the intensity (Li & Lee 1993).

    CellProfiler does this for nuclei by default, so that areas agree with its tables.
    """
    return float(np.sqrt(filters.threshold_li(np.maximum(plane, 0)))) if np.isfinite(cut) else cut


def nucleus_signal(plane: npt.NDArray[Any]) -> Floats:
    """Return what the thresholds of nuclei refer to: the root of the smoothed intensity, as a share of full scale, axes YX."""
    return _root(plane)


def cell_signal(unit: Floats, channels: Sequence[str], position: int) -> Floats | None:
    """Return what the thresholds of cells refer to; None where no channel shows them.

    Parameters
    ----------
    unit
        The image as shares of full scale, axes CYX.
    channels
        Names of the channels.
    position
        That of the nuclear channel.
    """
    stains = _stains(channels, position)
    light = [i for i, name in enumerate(channels) if i != position and _TRANSMITTED.search(name)]
    if stains:
        return np.asarray(np.mean([np.log(_root(unit[i]) + FLOOR) for i in stains], axis=0))
    return np.asarray(np.mean([_deviation(unit[i]) for i in light], axis=0)) if light else None


def _stains(channels: Sequence[str], position: int) -> list[int]:
    return [i for i, name in enumerate(channels) if i != position and not _TRANSMITTED.search(name) and not _SCATTER.search(name)]


def _nuclei(plane: Floats, thresholds: Thresholds | None, diameter: float, single: bool) -> tuple[LabelImage, float]:
    signal = _root(plane)
    cut = _refined(plane, _otsu(signal)) if thresholds is None or not np.isfinite(thresholds.nuclei) else thresholds.nuclei
    mask = ndimage.binary_fill_holes(signal > cut)
    least = np.pi / 4 * diameter**2
    labels = measure.label(mask) if single else _split(mask, diameter)
    sizes = np.bincount(labels.ravel())
    small = np.flatnonzero(sizes < least)
    return np.where(np.isin(labels, small), 0, labels).astype(np.int32), cut


def _split(mask: npt.NDArray[np.bool_], diameter: float) -> LabelImage:
    """Split touching nuclei where the mask is narrow: a watershed of the distance transform from its maxima."""
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1.0)
    peaks = h_maxima(distance, diameter / 8)
    labels: LabelImage = segmentation.watershed(-distance, measure.label(peaks), mask=mask)
    return labels


def _cells(
    unit: Floats, channels: Sequence[str], position: int, nuclei: LabelImage, thresholds: Thresholds | None
) -> tuple[LabelImage, float]:
    """Return the cells and the threshold that separated them from the background."""
    stains = _stains(channels, position)
    signal = cell_signal(unit, channels, position)
    if signal is None:
        return grow(nuclei), float("nan")
    cut = _otsu(signal, bool(stains)) if thresholds is None or not np.isfinite(thresholds.cells) else thresholds.cells
    mask = ndimage.binary_fill_holes((signal > cut) | (nuclei > 0))
    if not stains:
        mask = ndimage.binary_opening(mask, disk(2)) | (nuclei > 0)
    if not (mask & (nuclei == 0)).any():
        return grow(nuclei), float("nan")
    height = ndimage.gaussian_filter(-signal, 2.0)
    cells: LabelImage = segmentation.watershed(height, nuclei, mask=mask).astype(np.int32)
    return cells, cut


def _deviation(plane: Floats) -> Floats:
    """Return the root of the local RMS deviation of transmitted light from its background, relative to it."""
    background = float(np.median(np.concatenate([plane[:2].ravel(), plane[-2:].ravel(), plane[:, :2].ravel(), plane[:, -2:].ravel()])))
    share = plane / max(background, 1e-6) - 1
    signal: Floats = ndimage.gaussian_filter(share**2, 1.5, mode="nearest") ** 0.25
    return signal


def grow(nuclei: LabelImage) -> LabelImage:
    """Return cells where only nuclei are visible: each nucleus grown by a third of the median diameter."""
    sizes = np.bincount(nuclei.ravel())[1:]
    if not sizes.any():
        return nuclei.copy()
    grown: LabelImage = segmentation.expand_labels(nuclei, round(2 * np.sqrt(np.median(sizes[sizes > 0]) / np.pi) / 3))
    return grown


def _at_border(labels: LabelImage) -> LabelImage:
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return border[border > 0].astype(np.int32)


def _central(nuclei: LabelImage, cells: LabelImage) -> int:
    """Return the number of the cell whose nucleus is at or nearest to the center; -1 if none is within a quarter of the side."""
    candidates = np.where(cells > 0, nuclei, 0)
    if not candidates.any():
        return -1
    away = np.hypot(*(np.indices(nuclei.shape) - (np.array(nuclei.shape)[:, None, None] - 1) / 2))
    away = np.where(candidates > 0, away, np.inf)
    nearest = np.unravel_index(int(away.argmin()), away.shape)
    return int(candidates[nearest]) if away[nearest] <= max(nuclei.shape) / 4 else -1


def only_central(labels: Labels) -> Labels:
    """Return labels with the central cell alone, as number 1; empty if no nucleus is near the center."""
    chosen = labels.cells == _central(labels.nuclei, labels.cells)
    return Labels.of(chosen & (labels.nuclei > 0), chosen, labels.thresholds)


def _cellpose(plane: Floats) -> LabelImage:
    """Segment nuclei by Cellpose's own default model (Stringer et al. 2021)."""
    try:
        from cellpose import models
    except ModuleNotFoundError:
        raise InputError('Cellpose is not installed; pip install "cellpose", or choose the segmentation otsu.') from None
    maker = getattr(models, "CellposeModel", None) or models.Cellpose
    labels = maker().eval(plane)[0]
    return np.asarray(labels, np.int32)
