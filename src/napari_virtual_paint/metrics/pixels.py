"""PCC, SSIM, PSNR, MSE and MAE of one predicted channel against the true one (Cross-Zamirski 2022, "Image-level evaluation metrics").

By default each image is first brought to mean 0 and SD 1 over the whole stack, as the paper does, since a predicted intensity has no
unit. PSNR and SSIM use the truth's range (max - min, after scaling); the paper's PSNR takes 255 of an 8-bit picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.choices import ScoreScale, values_of
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics.metric import METRICS
from napari_virtual_paint.metrics.ssim import WINDOW, LocalSums, Plane, Scaling
from napari_virtual_paint.runtime.running_stats import merge

Scale: TypeAlias = ScoreScale
BAND = 32_000  # pixels whose means and squares are taken at once: float64 copies of both images' fit the cache of one core

Pair: TypeAlias = tuple[Plane, Plane] | tuple[Plane, Plane, int]
"""A plane of prediction and truth, or a band of each and how many of its rows are its own; the others are the next band's, too."""
Volumes: TypeAlias = Iterable[Iterable[Pair]]


@dataclass(frozen=True)
class Scores:
    """Scores of one channel; None where a score is undefined, and then `reasons` says why."""

    pcc: float | None = None  # pearson correlation of the pixels, -1 to 1
    ssim: float | None = None  # structural similarity, mean over windows of 7 pixels per side, at most 1
    psnr: float | None = None  # ``10 log10(R^2 / mse)`` in dB with R the truth's range
    mse: float | None = None
    mae: float | None = None
    """`mse` and `mae`: mean squared and mean absolute difference, in SD of each image ("zscore") or in the images' own unit ("raw")."""
    reasons: tuple[str, ...] = ()  # one sentence for each thing that leaves a score undefined

    def to_json(self) -> dict[str, float | None]:
        """Return the scores by name."""
        return {name: getattr(self, name) for name in METRICS}


@dataclass
class Moments:
    """Means, spreads and the covariance of two images, of which one reading plane by plane is enough."""

    pixels: int = 0
    mean: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    squares: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    product: float = 0.0
    low: npt.NDArray[np.float64] = field(default_factory=lambda: np.full(2, np.inf))
    high: npt.NDArray[np.float64] = field(default_factory=lambda: np.full(2, -np.inf))
    invalid: list[int] = field(default_factory=lambda: [0, 0])

    def update(self, prediction: Plane, truth: Plane, own: int | None = None) -> None:
        """Add one plane of each, shape (Y, X), or the first rows of it."""
        prediction, truth = planes = prediction[:own], truth[:own]
        self.low = np.minimum(self.low, [float(plane.min()) for plane in planes])
        self.high = np.maximum(self.high, [float(plane.max()) for plane in planes])
        if not np.isfinite([self.low, self.high]).all():
            for i, plane in enumerate(planes):
                self.invalid[i] += int(plane.size - np.isfinite(plane).sum())
            return
        rows = max(BAND // max(prediction.shape[1], 1), 1)
        for top in range(0, len(prediction), rows):
            self._join(prediction[top : top + rows], truth[top : top + rows])

    def _join(self, *bands: Plane) -> None:
        """Add some rows of each that are finite."""
        centred = [band.astype(np.float64).ravel() for band in bands]
        mean = np.array([flat.mean() for flat in centred])
        for flat, centre in zip(centred, mean, strict=True):
            flat -= centre
        a, b = centred
        step, total = mean - self.mean, self.pixels + a.size
        # einsum rather than a dot product of BLAS, whose threads would fight with those of other work.
        squares = np.array([np.einsum("i,i->", flat, flat) for flat in centred])
        self.product += float(np.einsum("i,i->", a, b)) + float(step[0] * step[1]) * (self.pixels * a.size / total)
        self.mean, self.squares = merge(self.pixels, self.mean, self.squares, a.size, mean, squares)
        self.pixels = total

    @property
    def sd(self) -> npt.NDArray[np.float64]:
        """Standard deviations of prediction and truth."""
        return np.sqrt(self.squares / max(self.pixels, 1))

    @property
    def pcc(self) -> float:
        """Pearson correlation; not a number where an image is constant."""
        with np.errstate(all="ignore"):
            r = self.product / np.sqrt(self.squares[0]) / np.sqrt(self.squares[1])
        return float(np.clip(r, -1.0, 1.0))

    def problems(self) -> tuple[list[str], list[bool]]:
        """Return what makes scores undefined, one sentence each, and which of prediction and truth is constant."""
        reasons: list[str] = []
        for i, name in enumerate(("prediction", "truth")):
            if self.invalid[i]:
                count = self.invalid[i]
                reasons.append(f"The {name} has {count} pixels that are not finite numbers (NaN or infinite), so no score is defined.")
        constant = [bool(low == high) for low, high in zip(self.low, self.high, strict=True)]
        if not reasons:
            reasons += [
                f"The {name} has the same value everywhere." for name, flat in zip(("prediction", "truth"), constant, strict=True) if flat
            ]
        return reasons, constant


def score(prediction: npt.ArrayLike, truth: npt.ArrayLike, scale: Scale = "zscore") -> Scores:
    """Score one predicted channel against the true one.

    Parameters
    ----------
    prediction, truth
        Arrays of one shape, axes YX, ZYX or TZYX; any real type. The last three axes are a volume: with 7 z-planes or more its SSIM has a
        window of 7 x 7 x 7, with fewer it is the mean over the planes.
    scale
        "zscore" brings each image to mean 0 and SD 1 over the whole array first; "raw" leaves it.

    Returns
    -------
    Scores
        None for what is undefined (an image constant, or with NaN or infinite pixels; an image under 7 pixels has no SSIM).

    Raises
    ------
    InputError
        If the shapes differ, or the arrays are no images.
    """
    arrays = [np.asarray(prediction), np.asarray(truth)]
    for name, array in zip(("prediction", "truth"), arrays, strict=True):
        if array.dtype.kind not in "buif" or not 2 <= array.ndim <= 4 or array.size == 0:
            raise InputError(f"The {name} is no image: shape {array.shape}, type {array.dtype}; axes YX, ZYX or TZYX are needed.")
    if arrays[0].shape != arrays[1].shape:
        raise InputError(
            f"The prediction's shape {arrays[0].shape} differs from the truth's {arrays[1].shape}; crop or resample one of them."
        )
    shape = (1, 1, 1, *arrays[0].shape)[-4:]
    left, right = (array.reshape(shape) for array in arrays)
    return score_planes(lambda: (zip(a, b, strict=True) for a, b in zip(left, right, strict=True)), shape[1], scale)


def score_planes(volumes: Callable[[], Volumes], planes: int, scale: Scale = "zscore") -> Scores:
    """Score one channel that is read twice, plane by plane, and never held whole.

    Parameters
    ----------
    volumes
        Gives, each time it is called, the time points: for each an iterable of its z-planes (prediction, truth), shape (Y, X).
    planes
        Number of z-planes of a time point.
    scale
        As in `score`.
    """
    if scale not in values_of(Scale):
        raise InputError(f"There is no scale {scale!r}; there are {' and '.join(values_of(Scale))}.")
    with np.errstate(all="ignore"):
        moments = Moments()
        for pair in _flat(volumes()):
            moments.update(*pair)
        reasons, constant = moments.problems()
        if any(moments.invalid) or (scale == "zscore" and any(constant)):
            return Scores(reasons=tuple(reasons))
        local = _second_reading(volumes(), moments, scale, volume=planes >= WINDOW)
        return _scores(moments, local, scale, constant, reasons)


def _flat(volumes: Volumes) -> Iterator[Pair]:
    for volume in volumes:
        yield from volume


def _scalings(moments: Moments, scale: Scale) -> tuple[Scaling, Scaling]:
    if scale == "raw":
        return Scaling(), Scaling()
    gains = 1.0 / moments.sd  # infinite where the squares of tiny differences vanish; the scores then come out undefined
    prediction, truth = (Scaling(float(mean), float(gain)) for mean, gain in zip(moments.mean, gains, strict=True))
    return prediction, truth


def _range(moments: Moments, scale: Scale) -> float:
    """Return the truth's range after scaling."""
    return float(moments.high[1] - moments.low[1]) * _scalings(moments, scale)[1].gain


def _second_reading(volumes: Volumes, moments: Moments, scale: Scale, *, volume: bool) -> LocalSums:
    local = LocalSums(*_scalings(moments, scale), _range(moments, scale), volume=volume)
    for planes in volumes:
        local.new_volume()
        for pair in planes:
            local.update(*pair)
    return local


def _scores(moments: Moments, local: LocalSums, scale: Scale, constant: list[bool], reasons: list[str]) -> Scores:
    """Put the scores together; whatever is not a finite number is undefined and gets a reason."""
    values: dict[str, float | None] = {"pcc": None, "ssim": None, "psnr": None, "mse": local.mse, "mae": local.mae}
    if not any(constant):
        values["pcc"] = moments.pcc
    if local.ssim is None:
        reasons.append(f"The image is smaller than the {WINDOW} pixels of SSIM's window.")
    if not constant[1]:
        values["ssim"] = local.ssim
        if local.mse > 0:
            values["psnr"] = float(20.0 * np.log10(_range(moments, scale)) - 10.0 * np.log10(local.mse))
        else:
            reasons.append("Prediction and truth are equal, so PSNR has no bound.")
    for name, value in values.items():
        if value is not None and not np.isfinite(value):
            values[name] = None
            reasons.append(f"The pixels' values are too large or too small for {METRICS[name].label}.")
    return Scores(**values, reasons=tuple(reasons))


class MeanScores:
    """The mean of many scores, each score over the images where it is defined; a plate's total needs no second reading."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(METRICS, 0.0)
        self._counts = dict.fromkeys(METRICS, 0)
        self.images = 0

    def update(self, scores: Scores) -> None:
        """Add the scores of one image."""
        self.images += 1
        for name in METRICS:
            value: Any = getattr(scores, name)
            if value is not None:
                self._sums[name] += value
                self._counts[name] += 1

    def compute(self) -> Scores:
        """Return the means; `reasons` says for which scores images had to be left out."""
        means = {name: self._sums[name] / self._counts[name] if self._counts[name] else None for name in METRICS}
        reasons = tuple(
            f"The mean {METRICS[name].label} leaves out {self.images - count} of {self.images}, where it is undefined."
            for name, count in self._counts.items()
            if 0 < count < self.images
        )
        return Scores(**means, reasons=reasons)
