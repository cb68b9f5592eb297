"""Bring intensities to the scale that a network was trained on: fitted once per field, never per tile.

The steps are those of the bioimage.io specification 0.5, under its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
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
        flat = _floats(pixels)
        if pixels.dtype.kind == "f":
            bad = ~np.isfinite(flat)
            if bad.any():
                flat = np.where(bad, self.fill.astype(flat.dtype), flat)
        for step in self.steps:
            flat = step.apply(flat)
        return _float32(flat).reshape(pixels.shape)

    def invert(self, pixels: npt.NDArray[Any]) -> Floats:
        """Bring normalised pixels (C, ...) back to the field's own unit."""
        flat = _floats(pixels)
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
        if step.kind == "ensure_dtype" and (position == 0 or np.dtype(step.values.get("dtype", "float32")).kind == "f"):
            continue
        piece = _fit_step(step, (current, finite), (base, base_finite))
        fitted.append(piece)
        if any(later.needs_field for later in steps[position + 1 :]):
            current = piece.apply(_floats(current))
    return Normalization(tuple(fitted), fill, problems)


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
        problems += [_lost(name, int(count))] if count else []
        problems += [_constant(name)] if spread == 0 else []
    column, eps = mean.reshape(-1, 1), float(step.values.get("eps", 1e-6))
    fill = np.broadcast_to(column, (len(labels), 1))
    return Normalization((_centred(column, 1.0 / (std.reshape(-1, 1) + eps)),), fill, tuple(problems))


Pixels: TypeAlias = tuple[npt.NDArray[Any], "npt.NDArray[np.bool_] | None"]
"""Pixels (C, pixels) and which of them are finite; None for all."""


def _fit_step(step: Step, field: Pixels, reference: Pixels) -> Fitted:
    """Fit one step to pixels (C, pixels)."""
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
        percentiles = (float(step.values.get("min_percentile", 0.0)), float(step.values.get("max_percentile", 100.0)))
        rows = _groups(step, *(reference if step.values.get("reference") else field))
        edges = np.array([np.percentile(row, percentiles) for row in rows])
        zero = edges[:, :1]
        if step.values.get("centre_percentile") is not None:
            zero = np.array([[float(np.percentile(row, step.values["centre_percentile"]))] for row in rows])
        return _centred(zero, 1.0 / (edges[:, 1:] - edges[:, :1] + eps))
    mean, std = _moments(_groups(step, *field))
    if step.kind == "zero_mean_unit_variance":
        return _centred(mean, 1.0 / (std + eps))
    target_mean, target_std = _moments(_groups(step, *reference))
    return _centred(mean, (target_std + eps) / (std + eps), target_mean)


def _fit_clip(step: Step, field: Pixels) -> Clip:
    """Fit limits given as numbers or as percentiles (the specification's reference code takes a pixel's own value for these)."""
    limits: list[npt.NDArray[np.float64] | None] = []
    for side in ("min", "max"):
        if step.values.get(side) is not None:
            limits.append(step.column(side, 0.0))
        elif step.values.get(side + "_percentile") is not None:
            share = float(step.values[side + "_percentile"])
            limits.append(np.array([[float(np.percentile(row, share, method="inverted_cdf"))] for row in _groups(step, *field)]))
        else:
            limits.append(None)
    return Clip(*limits)


def _groups(step: Step, flat: npt.NDArray[Any], finite: npt.NDArray[np.bool_] | None) -> list[npt.NDArray[Any]]:
    """Return the pixels that statistics are taken of together: a row for each channel, or one for all."""
    groups = [slice(i, i + 1) for i in range(len(flat))] if step.per_channel else [slice(None)]
    rows = [flat[group].ravel() if finite is None else flat[group][finite[group]] for group in groups]
    return [row if row.size else np.zeros(1) for row in rows]


def _moments(rows: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
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
        if (lost := row.size - good.size) > 0:
            problems.append(_lost(name, lost))
        fill[index] = good.mean(dtype=np.float64) if good.size else 0.0
        if not good.size or good.min() == good.max():
            problems.append(_constant(name))
    return fill, tuple(problems)


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


def _floats(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
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
