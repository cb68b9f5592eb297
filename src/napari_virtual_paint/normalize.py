"""Bring intensities to the scale that a network was trained on: fitted once per field, never per tile.

The steps are those of the bioimage.io specification 0.5, under its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.runtime.order_statistics import Method

Floats = npt.NDArray[np.float32]
Column: TypeAlias = npt.NDArray[np.float64]
Kind = Literal[
    "zero_mean_unit_variance",
    "fixed_zero_mean_unit_variance",
    "scale_linear",
    "scale_range",
    "scale_mean_variance",
    "clip",
    "binarize",
    "sigmoid",
    "softmax",
    "ensure_dtype",
]
CHUNK = 2**22
"""Pixels that are turned into float64 at once for statistics."""


@dataclass(frozen=True)
class Step:
    """One processing step of a model package, not yet fitted to a field."""

    kind: Kind
    """The step's id in the bioimage.io specification."""
    per_channel: bool = True
    """Whether statistics are taken for each channel alone (the specification's `axes` without ``channel``)."""
    values: dict[str, Any] = field(default_factory=dict)
    """The step's numbers: mean, std, gain, offset, eps, min, max, min_percentile, max_percentile, threshold; ``dtype`` of ensure_dtype;
    ``centre_percentile`` of scale_range (not in the specification): what becomes 0, instead of the lower percentile; ``reference``
    where statistics are taken of the model's unprocessed input (the specification's `reference_tensor`)."""

    def column(self, name: str, default: float) -> npt.NDArray[np.float64]:
        """Return a value as a column over channels, shape (C or 1, 1)."""
        return np.atleast_1d(np.asarray(self.values.get(name, default), np.float64)).reshape(-1, 1)

    @property
    def needs_field(self) -> bool:
        """Whether the step takes statistics, so that it must see the whole field before any part of it is done."""
        if self.kind == "clip":
            return "min_percentile" in self.values or "max_percentile" in self.values
        return self.kind in ("zero_mean_unit_variance", "scale_range", "scale_mean_variance")

    @property
    def needs_reference(self) -> bool:
        """Whether the step takes statistics of the model's unprocessed input."""
        return bool(self.values.get("reference")) or self.kind == "scale_mean_variance"


ZSCORE = (Step("zero_mean_unit_variance", True, {"eps": 1e-6}),)
"""Each channel of each field to mean 0 and SD 1 (Cross-Zamirski 2022; Ounkomol 2018)."""
MEDIAN_IQR = (Step("scale_range", True, {"min_percentile": 25.0, "max_percentile": 75.0, "centre_percentile": 50.0, "eps": 1e-6}),)
"""Each channel of each field to (x - median) / interquartile range, as VisCy has it."""
MINUS_ONE_TO_ONE = (
    Step("scale_range", True, {"min_percentile": 0.0, "max_percentile": 100.0, "eps": 1e-6}),
    Step("scale_linear", True, {"gain": 2.0, "offset": -1.0}),
)
"""Each channel of each field to [-1, 1], its smallest and largest value the ends."""


@dataclass(frozen=True, eq=False)
class Affine:
    """``(x - centre) * gain + offset``; each of shape (C or 1, 1).

    The centre is subtracted first, and is a float32 number, so that a faint image on a high background keeps its digits.
    """

    gain: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    centre: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 1)))

    def apply(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Apply to pixels (C, pixels)."""
        out: npt.NDArray[Any] = np.subtract(flat, self.centre.astype(flat.dtype))
        out *= self.gain.astype(out.dtype)
        out += self.offset.astype(out.dtype)
        return out

    def invert(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Undo `apply`; a gain of 0 can't be undone and gives the centre."""
        scale = np.divide(1.0, self.gain, out=np.zeros_like(self.gain), where=self.gain != 0)
        out: npt.NDArray[Any] = np.subtract(flat, self.offset.astype(flat.dtype))
        out *= scale.astype(out.dtype)
        out += self.centre.astype(out.dtype)
        return out


@dataclass(frozen=True, eq=False)
class Clip:
    """Limits, each of shape (C or 1, 1) or None; no inverse."""

    low: npt.NDArray[np.float64] | None
    high: npt.NDArray[np.float64] | None

    def apply(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Apply to pixels (C, pixels)."""
        if self.low is not None:
            flat = np.maximum(flat, self.low.astype(flat.dtype))
        return flat if self.high is None else np.minimum(flat, self.high.astype(flat.dtype))

    def invert(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Leave the pixels as they are: what was clipped is gone."""
        return flat


@dataclass(frozen=True, eq=False)
class Pointwise:
    """A step that has nothing to fit and no inverse (binarize, sigmoid, softmax, a cast to whole numbers)."""

    step: Step

    def apply(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Apply to pixels (C, pixels)."""
        if self.step.kind == "binarize":
            return (flat > self.step.column("threshold", 0.5)).astype(np.float32)
        if self.step.kind == "ensure_dtype":
            return _cast(flat, np.dtype(self.step.values["dtype"]))
        from scipy.special import expit, softmax

        out: npt.NDArray[Any] = softmax(flat, axis=0) if self.step.kind == "softmax" else expit(flat)
        return out

    def invert(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Leave the pixels as they are: there is no way back."""
        return flat


Fitted: TypeAlias = Affine | Clip | Pointwise


@dataclass(frozen=True, eq=False)
class Normalization:
    """Steps fitted to one field."""

    steps: tuple[Fitted, ...]
    """What to apply, in order."""
    fill: npt.NDArray[np.float64]
    """Value, in the input's own unit, that stands in for pixels that are not finite; shape (C, 1)."""
    problems: tuple[str, ...] = ()
    """What was found in the field and repaired, one sentence each, to be reported."""

    def apply(self, pixels: npt.NDArray[Any]) -> Floats:
        """Normalise pixels of the field or of a part of it; axes (C, ...), any type; returns float32."""
        flat = as_floats(pixels)
        if pixels.dtype.kind == "f":
            bad = ~np.isfinite(flat)
            if bad.any():
                flat = np.where(bad, self.fill.astype(flat.dtype), flat)
        for step in self.steps:
            flat = step.apply(flat)
        return _float32(flat).reshape(pixels.shape)

    def invert(self, pixels: npt.NDArray[Any]) -> Floats:
        """Bring normalised pixels (C, ...) back to the field's own unit."""
        flat = as_floats(pixels)
        for step in reversed(self.steps):
            flat = step.invert(flat)
        return _float32(flat).reshape(pixels.shape)


def fit(
    pixels: npt.NDArray[Any], steps: Sequence[Step], labels: Sequence[str] | None = None, reference: npt.NDArray[Any] | None = None
) -> Normalization:
    """Fit processing steps to one field.

    Parameters
    ----------
    pixels
        The whole field, axes (C, ...); any real or boolean type. Pixels that are not finite are left out of all statistics.
    steps
        What to fit, in order; each sees the field as the steps before it leave it.
    labels
        The channels' names, for the problems reported.
    reference
        The model's input before any step, axes (C, ...), for the steps that take statistics of it; by default `pixels` themselves.
    """
    flat = pixels.reshape(pixels.shape[0], -1)
    flat = flat.astype(np.uint8) if flat.dtype.kind == "b" else flat
    finite = _finite(flat)
    fill, problems = _inspect(flat, finite, labels)
    base, base_finite = (flat, finite)
    if reference is not None:
        base = reference.reshape(reference.shape[0], -1)
        base = base.astype(np.uint8) if base.dtype.kind == "b" else base
        base_finite = _finite(base)
    fitted: list[Fitted] = []
    current: npt.NDArray[Any] = flat if finite is None else np.where(finite, flat, fill.astype(flat.dtype))
    for position, step in enumerate(steps):
        if changes_nothing(step, position):
            continue
        piece = fit_step(step, _Whole(current, finite), _Whole(base, base_finite))
        fitted.append(piece)
        if any(later.needs_field for later in steps[position + 1 :]):
            current = piece.apply(as_floats(current))
    return Normalization(tuple(fitted), fill, problems)


def changes_nothing(step: Step, position: int) -> bool:
    """Return whether a step is a mere change of type, which painting in float32 does without: the first one, or one to floating point."""
    return step.kind == "ensure_dtype" and (position == 0 or np.dtype(step.values.get("dtype", "float32")).kind == "f")


def zscore(
    step: Step, mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64], lost: npt.NDArray[Any], labels: Sequence[str]
) -> Normalization:
    """Return what `fit` gives for a ``zero_mean_unit_variance`` whose statistics were gathered piece by piece.

    Parameters
    ----------
    step
        The step.
    mean, std
        Of each channel, or one for all; shape (C,) or (1,).
    lost
        Pixels that are no numbers, of each channel or of all.
    labels
        The channels' names.
    """
    groups = labels if len(mean) == len(labels) else ("The image",)
    problems: list[str] = []
    for name, count, spread in zip(groups, lost, std, strict=True):
        problems += faults(name, int(count), bool(spread == 0))
    column, eps = mean.reshape(-1, 1), float(step.values.get("eps", 1e-6))
    fill = np.broadcast_to(column, (len(labels), 1))
    return Normalization((_centred(column, 1.0 / (std.reshape(-1, 1) + eps)),), fill, tuple(problems))


class FieldStatistics(Protocol):
    """The numbers of a field that steps are fitted to: one for each channel, or one for all, shape (C or 1, 1)."""

    def moments(self, per_channel: bool) -> tuple[Column, Column]:
        """Return mean and SD; 0 where no pixel is finite."""
        ...

    def percentile(self, per_channel: bool, share: float | tuple[float, ...], method: Method = "linear") -> Column:
        """Return a percentile, or several of them in columns, as `numpy.percentile` takes them."""
        ...


@dataclass(frozen=True, eq=False)
class _Whole:
    """The statistics of a field that is in memory: pixels (C, pixels), and which of them are finite; None for all."""

    flat: npt.NDArray[Any]
    finite: npt.NDArray[np.bool_] | None

    def moments(self, per_channel: bool) -> tuple[Column, Column]:
        return _moments(self._groups(per_channel))

    def percentile(self, per_channel: bool, share: float | tuple[float, ...], method: Method = "linear") -> Column:
        rows = self._groups(per_channel)
        return np.array([np.percentile(row, share, method=method) for row in rows], np.float64).reshape(len(rows), -1)

    def _groups(self, per_channel: bool) -> list[npt.NDArray[Any]]:
        """Return the pixels that statistics are taken of together: a row for each channel, or one for all."""
        flat, finite = self.flat, self.finite
        groups = [slice(i, i + 1) for i in range(len(flat))] if per_channel else [slice(None)]
        rows = [flat[group].ravel() if finite is None else flat[group][finite[group]] for group in groups]
        return [row if row.size else np.zeros(1) for row in rows]


def fit_step(step: Step, field: FieldStatistics, reference: FieldStatistics) -> Fitted:
    """Fit one step to the statistics of the field as the steps before leave it, and of the model's unprocessed input."""
    if step.kind == "scale_linear":
        return Affine(step.column("gain", 1.0), step.column("offset", 0.0))
    if step.kind == "fixed_zero_mean_unit_variance":
        return _centred(step.column("mean", 0.0), 1.0 / np.maximum(step.column("std", 1.0), 1e-12))
    if step.kind == "clip":
        return _fit_clip(step, field)
    if not step.needs_field:
        return Pointwise(step)
    eps = float(step.values.get("eps", 1e-6))
    if step.kind == "scale_range":
        source = reference if step.values.get("reference") else field
        edges = source.percentile(step.per_channel, _ends(step))
        zero = edges[:, :1]
        if step.values.get("centre_percentile") is not None:
            zero = source.percentile(step.per_channel, step.values["centre_percentile"])
        return _centred(zero, 1.0 / (edges[:, 1:] - edges[:, :1] + eps))
    mean, std = field.moments(step.per_channel)
    if step.kind == "zero_mean_unit_variance":
        return _centred(mean, 1.0 / (std + eps))
    target_mean, target_std = reference.moments(step.per_channel)
    return _centred(mean, (target_std + eps) / (std + eps), target_mean)


def percentiles_of(step: Step) -> tuple[tuple[float, Method], ...]:
    """Return the percentiles that fitting a step takes, and how."""
    if step.kind == "clip":
        names = [f"{side}_percentile" for side in ("min", "max") if step.values.get(side) is None]
        return tuple((float(step.values[name]), "inverted_cdf") for name in names if step.values.get(name) is not None)
    if step.kind != "scale_range":
        return ()
    centre = step.values.get("centre_percentile")
    return tuple((share, "linear") for share in (*_ends(step), *(() if centre is None else (float(centre),))))


def _ends(step: Step) -> tuple[float, float]:
    """Return the percentiles that `scale_range` takes to 0 and 1."""
    return float(step.values.get("min_percentile", 0.0)), float(step.values.get("max_percentile", 100.0))


def _fit_clip(step: Step, field: FieldStatistics) -> Clip:
    """Fit limits given as numbers or as percentiles (the specification's reference code takes a pixel's own value for these)."""
    limits: list[Column | None] = []
    for side in ("min", "max"):
        if step.values.get(side) is not None:
            limits.append(step.column(side, 0.0))
        elif step.values.get(side + "_percentile") is not None:
            limits.append(field.percentile(step.per_channel, float(step.values[side + "_percentile"]), "inverted_cdf"))
        else:
            limits.append(None)
    return Clip(*limits)


def _moments(rows: Sequence[npt.NDArray[Any]]) -> tuple[Column, Column]:
    """Return mean and SD of each row, shape (rows, 1), in float64 without a float64 copy of the whole row."""
    means, deviations = [], []
    for row in rows:
        low = row.min()
        if low == row.max():  # a sum of equal numbers may be rounded, and divided by eps that would be a picture
            means.append([float(low)])
            deviations.append([0.0])
            continue
        mean = float(row.mean(dtype=np.float64))
        parts = (row[start : start + CHUNK].astype(np.float64) - mean for start in range(0, row.size, CHUNK))
        means.append([mean])
        # einsum, not a dot product of BLAS, whose threads keep spinning for a while on cores that painting needs.
        deviations.append([np.sqrt(sum(float(np.einsum("i,i->", part, part)) for part in parts) / row.size)])
    return np.array(means), np.array(deviations)


def _centred(mean: npt.NDArray[np.float64], gain: npt.NDArray[np.float64], target: npt.NDArray[np.float64] | float = 0.0) -> Affine:
    """Return the map that takes the mean to the target, its centre rounded to float32 and the rest in the offset."""
    mean, gain = np.broadcast_arrays(mean, gain)
    centre = np.clip(mean, -3e38, 3e38).astype(np.float32).astype(np.float64)
    return Affine(gain, target + (centre - mean) * gain, centre)


def _inspect(
    flat: npt.NDArray[Any], finite: npt.NDArray[np.bool_] | None, labels: Sequence[str] | None
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """Return what stands in for pixels that are no numbers, shape (C, 1), and what is wrong with each channel."""
    problems: list[str] = []
    fill = np.zeros((len(flat), 1))
    for index, row in enumerate(flat):
        name = labels[index] if labels is not None and index < len(labels) else f"channel {index}"
        good = row if finite is None else row[finite[index]]
        fill[index] = good.mean(dtype=np.float64) if good.size else 0.0
        problems += faults(name, row.size - good.size, not good.size or bool(good.min() == good.max()))
    return fill, tuple(problems)


def faults(name: str, lost: int, constant: bool) -> list[str]:
    """Return what is wrong with a channel, one sentence each: how many pixels are no numbers, and that all others are equal."""
    return ([_lost(name, lost)] if lost else []) + ([_constant(name)] if constant else [])


def _lost(name: str, count: int) -> str:
    return f"{name}: {count} {'pixel is no number and was' if count == 1 else 'pixels are not numbers and were'} set to the mean."


def _constant(name: str) -> str:
    return f"{name}: every pixel has the same value, so there is nothing to paint from."


def _finite(flat: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Return which pixels are finite, or None if all are."""
    if flat.dtype.kind != "f":
        return None
    finite: npt.NDArray[np.bool_] = np.isfinite(flat)
    return None if finite.all() else finite


def as_floats(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return pixels (C, ...) as (C, pixels), in the smallest float type that holds their values: float32 or float64."""
    return pixels.reshape(pixels.shape[0], -1).astype(np.result_type(pixels.dtype, np.float32), copy=False)


def _float32(flat: npt.NDArray[Any]) -> Floats:
    """Return float32 pixels; what is too large for it becomes the largest float32, never infinite."""
    if flat.dtype == np.float32:
        return flat
    limit = float(np.finfo(np.float32).max)
    out: Floats = np.clip(flat, -limit, limit).astype(np.float32)
    return out


def _cast(flat: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return pixels rounded towards zero and limited as a whole-number type would, as floats again."""
    if dtype.kind == "b":
        return np.asarray(flat != 0, np.float32)
    limits = np.iinfo(dtype)
    out: npt.NDArray[Any] = np.trunc(np.clip(flat, float(limits.min), float(limits.max)))
    return out
