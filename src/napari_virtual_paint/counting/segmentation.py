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
from napari_virtual_paint.stain_names import default_synonyms

Floats = npt.NDArray[np.floating[Any]]
LabelImage = npt.NDArray[np.int32]

NUCLEI_NAMES = ("dna", "dapi", "hoechst", "nuclei", "nucleus", "draq5", "draq 5")
"""Names of nuclear channels in order of preference; longer names that begin with one of them count too."""

_TRANSMITTED = re.compile(r"bright.?field|\bbf|phase|\bdic\b|transmi|\btl\b|\bpc\b", re.IGNORECASE)
_SCATTER = re.compile(r"dark.?field|scatter|\bssc\b", re.IGNORECASE)

FLOOR = 0.02  # added to the roots of stains before the logarithm, so that the noise of a black background has no weight

FAINTEST = 1.15  # least ratio of the mean root of signal to that of background; below it there is only noise

CORE = 0.6  # share of an object's level above background beyond which lies its core, where touching nuclei are apart

NECK = 0.87  # width of a neck, as a share of the thinner of the two parts, below which these are two nuclei

SMOOTHING = 0.1  # SD of the blur of the distance transform, as a share of the objects' half-width

NARROWEST = 0.25  # px, distance from the edge below which there is no difference in width

MIN_DIAMETER = 4.0  # least nucleus diameter in micrometers (if the pixel size is known; else 8 px)


@dataclass(frozen=True)
class Thresholds:
    """Segmentation thresholds in the units of the signal (see `segment`); NaN where there is none, infinite where nothing is above it."""

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


def nuclei_channel(channels: Sequence[str], nuclei: str | None = None, *, what: str = "nuclei") -> int:
    """Return the position of the nuclear channel.

    Parameters
    ----------
    channels
        Names of the channels.
    nuclei
        Name, or position as text; by default the channel called DNA, DAPI or Hoechst, else the only one whose name means that stain.
    what
        What the named channel is to show, for the error's sentence and option.

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
        meant = [position for position, name in enumerate(channels) if default_synonyms().stain_of(name) == "DNA"]
        if len(meant) == 1:
            return meant[0]
        raise InputError(f"No channel is called DNA, DAPI or Hoechst; name the nuclei's among {', '.join(channels)} (--nuclei).")
    if nuclei.casefold().strip() in folded:
        return folded.index(nuclei.casefold().strip())
    if nuclei.isdigit() and int(nuclei) < len(channels):
        return int(nuclei)
    raise InputError(f"There is no channel {nuclei!r} for the {what}; there are {', '.join(channels)} (--{what}).")


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
    faintest: float = 0.0,
    outline: float = 0.0,
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
    faintest
        Nuclei whose level above the background is below this share of the median nucleus's are dropped: a painted image has such
        spots where its model is unsure.
    outline
        Outline of a nucleus, as a share of its own level above the background, where that lies within the common threshold.

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
        from napari_virtual_paint.counting.learned import by_cellpose, segmenter_of

        segmenter_of("cellpose")
        found, cut = by_cellpose(list(unit), position, ())["nuclei"], float("nan")
    else:
        found, cut = _nuclei(unit[position], thresholds, diameter, single, faintest, outline)
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


def shows_cells(name: str) -> bool:
    """Return whether a channel other than the nuclear one shows the cell: a stain or transmitted light, by its name."""
    return _SCATTER.search(name) is None


def stained(name: str) -> bool:
    """Return whether a channel is a stain by its name, neither transmitted light nor scatter."""
    return _TRANSMITTED.search(name) is None and _SCATTER.search(name) is None


def _stains(channels: Sequence[str], position: int) -> list[int]:
    return [i for i, name in enumerate(channels) if i != position and stained(name)]


def otsu_of(plane: npt.NDArray[Any]) -> float:
    """Return Otsu's threshold of a nuclear stain in the units of `nucleus_signal`, NaN where nothing stands out."""
    return _otsu(_root(plane))


def _nuclei(
    plane: Floats, thresholds: Thresholds | None, diameter: float, single: bool, faintest: float = 0.0, outline: float = 0.0
) -> tuple[LabelImage, float]:
    signal = _root(plane)
    cut = _refined(plane, _otsu(signal)) if thresholds is None or np.isnan(thresholds.nuclei) else thresholds.nuclei
    mask = ndimage.binary_fill_holes(signal > cut)
    least = np.pi / 4 * diameter**2
    labels = measure.label(mask) if single else _split(mask, signal**2, least)
    if faintest or outline:
        labels = _own_levels(labels, signal**2, mask, least, faintest, outline)
    sizes = np.bincount(labels.ravel())
    small = np.flatnonzero(sizes < least)
    return np.where(np.isin(labels, small), 0, labels).astype(np.int32), cut


def _split(mask: npt.NDArray[np.bool_], intensity: Floats, least: float) -> LabelImage:
    """Split touching nuclei where their bright cores have a neck: a watershed of the distance transform from its maxima.

    The core of an object is what is brighter than a share of its own level (`CORE`), since the blur between two nuclei closes the gap
    at a common threshold. Two maxima are two nuclei if the neck between them is narrower than a share (`NECK`) of the thinner part:
    the h-maxima of the distance's logarithm. So both rules follow the objects' own size and brightness, and no length is fixed.
    """
    pieces = measure.label(mask)
    background = _outside(intensity, mask)
    levels = _medians(intensity, pieces)
    core = mask & (intensity > (background + CORE * (levels - background))[pieces])
    core = _without_small(ndimage.binary_fill_holes(core), least / 2)
    depth = ndimage.distance_transform_edt(core)
    depth = ndimage.gaussian_filter(depth, _typical_radius(depth, core) * SMOOTHING)
    height = np.where(core, np.log(np.maximum(depth, NARROWEST)), np.log(NARROWEST))
    peaks = measure.label(h_maxima(height, -np.log(NECK))) * core
    parts = segmentation.watershed(-height, peaks, mask=core)
    labels: LabelImage = segmentation.watershed(-intensity, parts, mask=mask)
    return labels


def _typical_radius(depth: Floats, core: npt.NDArray[np.bool_]) -> float:
    """Return the half-width of the objects in pixels: the median over them, each weighted by its area; 0 without any."""
    pieces = measure.label(core)
    numbers = np.arange(1, int(pieces.max(initial=0)) + 1)
    return _weighted_median(np.asarray(ndimage.maximum(depth, pieces, numbers)), np.bincount(pieces.ravel())[1:]) if len(numbers) else 0.0


def _own_levels(
    labels: LabelImage, intensity: Floats, mask: npt.NDArray[np.bool_], least: float, faintest: float, outline: float
) -> LabelImage:
    """Cut each nucleus at a share of its own level, and drop those far fainter than the others (see `segment`)."""
    background = _outside(intensity, mask)
    contrast = _medians(intensity, labels) - background
    contrast[0] = 0
    cut = np.where(intensity < (background + outline * contrast)[labels], 0, labels)
    sizes = np.bincount(cut.ravel(), minlength=len(contrast))
    large = (sizes >= least) & (np.arange(len(sizes)) > 0)
    if not large.any():
        return cut.astype(np.int32)
    faint = contrast < faintest * _weighted_median(contrast[large], sizes[large])
    return np.where(faint[cut], 0, cut).astype(np.int32)


def _outside(intensity: Floats, mask: npt.NDArray[np.bool_]) -> float:
    """Return the level of the background."""
    return float(np.median(intensity[~mask])) if not mask.all() else float(intensity.min())


def _medians(intensity: Floats, labels: LabelImage) -> Floats:
    """Return the median of each label by its number; 0 for the background."""
    numbers = np.arange(1, int(labels.max(initial=0)) + 1)
    return np.concatenate([[0.0], np.atleast_1d(ndimage.median(intensity, labels, numbers))]) if len(numbers) else np.zeros(1)


def _weighted_median(values: Floats, weights: npt.NDArray[Any]) -> float:
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(summed, summed[-1] / 2)])


def _without_small(mask: npt.NDArray[np.bool_], least: float) -> npt.NDArray[np.bool_]:
    pieces = measure.label(mask)
    kept: npt.NDArray[np.bool_] = mask & (np.bincount(pieces.ravel()) >= least)[pieces]
    return kept


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
