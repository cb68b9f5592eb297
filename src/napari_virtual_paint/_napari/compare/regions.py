"""Where two layers show the same place: shared regions in world coordinates, cut by whole pixels. Needs no viewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError

Scope: TypeAlias = Literal["plane", "stack", "view"]
Doubles: TypeAlias = npt.NDArray[np.float64]

SAME_PIXEL = 1e-3  # relative difference of two pixel sizes that counts as none: over 1,000 pixels it amounts to one
WHOLE_PIXEL = 0.1  # greatest rest, in pixels, by which a shift may differ from a whole number; it is then rounded


@dataclass(frozen=True, eq=False)
class Placement:
    """The placement of a layer in world coordinates."""

    name: str  # the layer's name, for messages
    shape: tuple[int, ...]  # its pixels (of level 0 where it is multiscale)
    linear: Doubles  # (N, N): world axes by data axes, in the viewer's units
    origin: Doubles  # (N,): world position of pixel 0

    def padded(self, ndim: int) -> Placement:
        """Return the same with axes of length 1 put in front, so that it has `ndim` axes, as napari shows it."""
        extra = ndim - len(self.shape)
        if extra <= 0:
            return self
        linear = np.eye(ndim)
        linear[extra:, extra:] = self.linear
        return Placement(self.name, (1,) * extra + self.shape, linear, np.concatenate([np.zeros(extra), self.origin]))


@dataclass(frozen=True)
class View:
    """What the viewer shows."""

    point: tuple[float, ...]  # world position of the sliders, one number per axis
    displayed: tuple[int, ...]  # the axes on the canvas
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    """`low` and `high`: world corners of the canvas along `displayed`; None where the whole image counts (3D view, no canvas)."""


@dataclass(frozen=True)
class Crop:
    """The pixels of two layers that show the same place; slices for each layer's own axes."""

    predicted: tuple[slice, ...]
    truth: tuple[slice, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the shared region along the truth's axes."""
        return tuple(part.stop - part.start for part in self.truth)


def shared_region(predicted: Placement, truth: Placement, scope: Scope, view: View) -> Crop:
    """Find the pixels of two layers at the same positions.

    Parameters
    ----------
    scope
        ``plane``: what the sliders show (in a 3D view: the volume shown); ``view``: the part of it on the canvas; ``stack``: all of it.
    view
        What the viewer shows.

    Raises
    ------
    InputError
        If they can't be compared pixel by pixel; the sentence says why and what to do.
    """
    ndim = max(len(view.point), len(predicted.shape), len(truth.shape))
    axes = tuple(range(ndim)) if scope == "stack" else tuple(sorted(view.displayed))
    _check_axes(predicted, truth, ndim, axes)
    fixed = [_indices(place, ndim, axes, view) for place in (predicted, truth)]
    ours, theirs = (_reduced(place.padded(ndim), axes, index) for place, index in zip((predicted, truth), fixed, strict=True))
    absent = ndim - min(len(predicted.shape), len(truth.shape))
    shift = _shift(ours, theirs, np.asarray(axes) < absent)
    low = np.maximum(0, -shift)
    high = np.minimum(theirs.shape, np.asarray(ours.shape) - shift)
    if scope == "view" and view.low is not None and view.high is not None:
        first, last = _on_canvas(theirs, axes, view)
        low, high = np.maximum(low, first), np.minimum(high, last)
    if np.any(high <= low):
        where, move = (" in view", "move the view, or ") if scope == "view" else ("", "")
        raise InputError(f"'{predicted.name}' and '{truth.name}' do not overlap{where}; {move}check their scale and translate.")
    return Crop(
        _slices(len(predicted.shape), ndim, axes, fixed[0], low + shift, high + shift),
        _slices(len(truth.shape), ndim, axes, fixed[1], low, high),
    )


def _check_axes(predicted: Placement, truth: Placement, ndim: int, axes: tuple[int, ...]) -> None:
    """Refuse where one layer has planes along an axis that the other does not have."""
    for few, many in ((predicted, truth), (truth, predicted)):
        absent, shape = ndim - len(few.shape), many.padded(ndim).shape
        planes = int(np.prod([shape[axis] for axis in axes if axis < absent]))
        if planes > 1:
            raise InputError(f"'{many.name}' has {planes} planes and '{few.name}' only one; compare this plane instead, in a 2D view.")


def _indices(place: Placement, ndim: int, axes: tuple[int, ...], view: View) -> Doubles:
    """Return the plane of a layer that the sliders show, one index for each of `ndim` axes; 0 along the axes that are compared."""
    padded = place.padded(ndim)
    absent = ndim - len(place.shape)
    point = np.zeros(ndim)
    point[ndim - len(view.point) :] = view.point
    index: Doubles = np.asarray(np.linalg.solve(padded.linear, point - padded.origin), np.float64).round()
    for axis in range(ndim):
        if axis in axes or axis < absent:
            index[axis] = 0
        elif not 0 <= index[axis] < padded.shape[axis]:
            raise InputError(f"'{place.name}' has no plane where the slider stands; move the slider along axis {axis}.")
    return index


def _reduced(place: Placement, axes: tuple[int, ...], index: Doubles) -> Placement:
    """Return the placement of one plane of a layer, along `axes` alone."""
    keep = list(axes)
    origin = place.linear @ index + place.origin
    return Placement(place.name, tuple(place.shape[axis] for axis in keep), place.linear[np.ix_(keep, keep)], origin[keep])


def _shift(ours: Placement, theirs: Placement, absent: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return by how many pixels the first layer's index is greater than the second's at the same place, one number per axis.

    Axes that one of the layers does not have (`absent`) have no place of their own: their shift is 0.
    """
    long = [np.asarray(place.shape) > 1 for place in (ours, theirs)]
    both = long[0] & long[1]
    lengths = np.linalg.norm(ours.linear, axis=0)
    apart = np.linalg.norm(ours.linear - theirs.linear, axis=0)
    if np.any(apart[both] > SAME_PIXEL * lengths[both]):
        raise InputError(
            f"'{ours.name}' and '{theirs.name}' differ in pixel size or rotation "
            f"({_sizes(ours)} against {_sizes(theirs)}); resample one of them, or give both the same scale."
        )
    linear = np.where(long[0], ours.linear, theirs.linear)
    exact: Doubles = np.where(absent, 0.0, np.linalg.solve(linear, theirs.origin - ours.origin))
    whole = exact.round()
    rest = np.abs(exact - whole)
    if np.any(rest[both] > WHOLE_PIXEL):
        raise InputError(
            f"'{ours.name}' and '{theirs.name}' lie a fraction of a pixel apart ({rest[both].max():.2g} px); "
            "set their translate a whole number of pixels apart, or resample one of them."
        )
    return whole.astype(np.int64)


def _sizes(place: Placement) -> str:
    """Return a placement's pixel size in words."""
    return " x ".join(f"{length:.4g}" for length in np.linalg.norm(place.linear, axis=0))


def _on_canvas(place: Placement, axes: tuple[int, ...], view: View) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first pixel and the one behind the last that the canvas shows, along `axes`."""
    order = [view.displayed.index(axis) for axis in axes]
    low, high = np.asarray(view.low, np.float64)[order], np.asarray(view.high, np.float64)[order]
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), -1).reshape(-1, len(axes))
    inside = np.linalg.solve(place.linear, (corners - place.origin).T).T
    first = np.floor(inside.min(axis=0) + 0.5).astype(np.int64)
    last = np.ceil(inside.max(axis=0) + 0.5).astype(np.int64)
    return np.maximum(0, first), np.minimum(place.shape, last)


def _slices(
    own: int, ndim: int, axes: tuple[int, ...], fixed: Doubles, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]
) -> tuple[slice, ...]:
    """Return the slices for a layer of `own` axes."""
    every = [slice(int(index), int(index) + 1) for index in fixed]
    for position, axis in enumerate(axes):
        every[axis] = slice(int(low[position]), int(high[position]))
    return tuple(every[ndim - own :])
