"""Bringing intensities to the scale a network was trained on: fitted once a field, never a tile.

The steps are those of the bioimage.io specification 0.5, under its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Kind = Literal[
    "zero_mean_unit_variance",
    "fixed_zero_mean_unit_variance",
    "scale_linear",
    "scale_range",
    "clip",
    "binarize",
    "sigmoid",
    "ensure_dtype",
]


@dataclass(frozen=True)
class Step:
    """One processing step of a model package, not yet fitted to a field.

    Parameters
    ----------
    kind
        The step's id in the bioimage.io specification.
    per_channel
        Whether statistics are taken for each channel alone (the specification's `axes` without ``channel``).
    values
        The step's numbers: mean, std, gain, offset, eps, min, max, min_percentile, max_percentile, threshold.
    """

    kind: Kind
    per_channel: bool = True
    values: dict[str, Any] = field(default_factory=dict)

    def column(self, name: str, default: float) -> npt.NDArray[np.float64]:
        """Return a value as a column over channels, shape (C or 1, 1)."""
        return np.atleast_1d(np.asarray(self.values.get(name, default), np.float64)).reshape(-1, 1)


ZSCORE = (Step("zero_mean_unit_variance", True, {"eps": 1e-6}),)
"""Each channel of each field to mean 0 and SD 1 (Cross-Zamirski 2022; Ounkomol 2018)."""


@dataclass(frozen=True, eq=False)
class Affine:
    """``x * gain + offset``; both of shape (C or 1, 1)."""

    gain: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    def apply(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Apply to pixels (C, pixels)."""
        return flat * self.gain.astype(np.float32) + self.offset.astype(np.float32)

    def invert(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Undo `apply`."""
        return (flat - self.offset.astype(np.float32)) / self.gain.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Pointwise:
    """A step that has nothing to fit and no inverse (clip, binarize, sigmoid)."""

    step: Step

    def apply(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Apply to pixels (C, pixels)."""
        if self.step.kind == "clip":
            low, high = self.step.values.get("min"), self.step.values.get("max")
            return np.clip(flat, low, high) if low is not None or high is not None else flat
        if self.step.kind == "binarize":
            return (flat > self.step.column("threshold", 0.5)).astype(np.float32)
        from scipy.special import expit

        out: npt.NDArray[Any] = expit(flat)
        return out

    def invert(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Leave the pixels as they are: what was clipped is gone."""
        return flat


@dataclass(frozen=True, eq=False)
class Normalization:
    """Steps fitted to one field.

    Parameters
    ----------
    steps
        What to apply, in order.
    fill
        Value, in the input's own unit, that stands in for pixels that are not finite; shape (C, 1).
    problems
        What was found in the field and repaired, one sentence each, to be reported.
    """

    steps: tuple[Affine | Pointwise, ...]
    fill: npt.NDArray[np.float64]
    problems: tuple[str, ...] = ()

    def apply(self, pixels: npt.NDArray[Any]) -> Floats:
        """Normalise pixels of the field or of a part of it; axes (C, ...), any type; returns float32."""
        flat = pixels.reshape(pixels.shape[0], -1).astype(np.float32)
        if pixels.dtype.kind == "f":
            bad = ~np.isfinite(flat)
            if bad.any():
                flat = np.where(bad, self.fill.astype(np.float32), flat)
        for step in self.steps:
            flat = step.apply(flat)
        return flat.astype(np.float32, copy=False).reshape(pixels.shape)

    def invert(self, pixels: npt.NDArray[Any]) -> Floats:
        """Bring normalised pixels (C, ...) back to the field's own unit."""
        flat = pixels.reshape(pixels.shape[0], -1).astype(np.float32)
        for step in reversed(self.steps):
            flat = step.invert(flat)
        return flat.astype(np.float32, copy=False).reshape(pixels.shape)


def fit(pixels: npt.NDArray[Any], steps: Sequence[Step], labels: Sequence[str] | None = None) -> Normalization:
    """Fit processing steps to one field.

    Parameters
    ----------
    pixels
        The whole field, axes (C, ...); any numeric or boolean type. Pixels that are not finite are left out of all statistics.
    steps
        What to fit, in order; each sees the field as the steps before it leave it.
    labels
        The channels' names, for the problems reported.
    """
    names = list(labels) if labels is not None else [f"channel {i}" for i in range(pixels.shape[0])]
    flat = pixels.reshape(pixels.shape[0], -1)
    finite = np.isfinite(flat) if flat.dtype.kind == "f" else None
    problems: list[str] = []
    fill = np.zeros((len(flat), 1))
    for index, row in enumerate(flat):
        good = row if finite is None else row[finite[index]]
        if good.size < row.size:
            problems.append(f"{names[index]}: {row.size - good.size} pixels are not numbers and were set to the mean.")
        fill[index] = good.mean(dtype=np.float64) if good.size else 0.0
        if not good.size or good.min() == good.max():
            problems.append(f"{names[index]}: every pixel has the same value, so there is nothing to paint from.")
    fitted: list[Affine | Pointwise] = []
    current: npt.NDArray[Any] = flat if finite is None else np.where(finite, flat, fill)
    for position, step in enumerate(steps):
        if step.kind == "ensure_dtype":
            continue
        piece = _fit_step(step, current, finite)
        fitted.append(piece)
        if position + 1 < len(steps):
            current = piece.apply(current.astype(np.float32))
    return Normalization(tuple(fitted), fill, tuple(problems))


def _fit_step(step: Step, flat: npt.NDArray[Any], finite: npt.NDArray[np.bool_] | None) -> Affine | Pointwise:
    """Fit one step to pixels (C, pixels)."""
    if step.kind == "scale_linear":
        return Affine(step.column("gain", 1.0), step.column("offset", 0.0))
    if step.kind == "fixed_zero_mean_unit_variance":
        std = np.maximum(step.column("std", 1.0), 1e-12)
        return Affine(1.0 / std, -step.column("mean", 0.0) / std)
    if step.kind not in ("zero_mean_unit_variance", "scale_range"):
        return Pointwise(step)
    eps = float(step.values.get("eps", 1e-6))
    groups = [slice(i, i + 1) for i in range(len(flat))] if step.per_channel else [slice(None)]
    rows = [flat[g].ravel() if finite is None else flat[g][finite[g]] for g in groups]
    rows = [row if row.size else np.zeros(1) for row in rows]
    if step.kind == "zero_mean_unit_variance":
        mean = np.array([[row.mean(dtype=np.float64)] for row in rows])
        std = np.array([[row.std(dtype=np.float64)] for row in rows]) + eps
        return Affine(1.0 / std, -mean / std)
    percentiles = (float(step.values.get("min_percentile", 0.0)), float(step.values.get("max_percentile", 100.0)))
    edges = np.array([np.percentile(row, percentiles) for row in rows])
    span = edges[:, 1:] - edges[:, :1] + eps
    return Affine(1.0 / span, -edges[:, :1] / span)
