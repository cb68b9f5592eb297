"""Position of a stack in world coordinates: a layer's axes and transform, kept so that outputs lie on their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.utils.transforms import Affine

from napari_virtual_paint.stack import AXES, PixelSize, Stack

Matrix = npt.NDArray[np.float64]
LENGTH, TIME = "micrometer", "second"
LABELS = {
    "t": "T", "time": "T", "frame": "T", "c": "C", "channel": "C", "channels": "C",
    "z": "Z", "plane": "Z", "depth": "Z", "y": "Y", "row": "Y", "x": "X", "column": "X",
}  # fmt: skip
"""Axis labels of layers -> letters of `AXES`."""
DEFAULT_AXES = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}  # letters assumed for axes without labels


@dataclass(frozen=True, eq=False)
class Geometry:
    """The axes of a layer and their transform to world coordinates."""

    axes: str
    """Letters of the layer's own axes in their order, without colours; without channels too, unless an axis leads before them: then they
    stay, since napari lines axes up from the last one."""
    shape: tuple[int, ...]  # pixels along each of them
    units: tuple[Any, ...]
    axis_labels: tuple[str, ...]  # `units` and `axis_labels`: one of each per axis
    physical: Affine  # scale, rotation, shear and translation of the layer (its data to its physical space)
    affine: Affine  # the layer's further affine transform

    @classmethod
    def of_stack(cls, stack: Stack) -> Geometry:
        """Return the geometry of an image from a file: every axis longer than 1, in micrometres where the file gives pixel sizes."""
        t, _, z, y, x = stack.shape
        lengths = dict(zip("TZYX", (t, z, y, x), strict=True))
        axes = "".join(axis for axis in "TZYX" if axis in "YX" or lengths[axis] > 1)
        steps = {"T": stack.time_interval, **dict(zip("ZYX", stack.pixel_size, strict=True))}
        known = [steps[axis] is not None for axis in axes]
        units = tuple((TIME if axis == "T" else LENGTH) if ok else "pixel" for axis, ok in zip(axes, known, strict=True))
        scale = [float(steps[axis] or 1.0) for axis in axes]
        physical = Affine(scale=scale, translate=[0.0] * len(axes))
        return cls(axes, tuple(lengths[a] for a in axes), units, tuple(axes.lower()), physical, identity(len(axes)))

    @classmethod
    def of_layer(cls, layer: Any, axes: str) -> Geometry:
        """Return the geometry of a layer whose data axes are `axes` (letters of AXES; colours of an RGB layer left out)."""
        physical = Affine(scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear)
        data = layer.data[0] if layer.multiscale else layer.data
        whole = cls(axes, tuple(data.shape[: len(axes)]), tuple(layer.units), tuple(layer.axis_labels), physical, layer.affine)
        return whole.keep(axes.removeprefix("C"))

    def keep(self, axes: str) -> Geometry:
        """Return the geometry of some of the axes."""
        at = [self.axes.index(axis) for axis in axes]
        units, labels = tuple(self.units[i] for i in at), tuple(self.axis_labels[i] for i in at)
        return Geometry(axes, tuple(self.shape[i] for i in at), units, labels, self.physical.set_slice(at), self.affine.set_slice(at))

    def shifted(self, offset: Mapping[str, float], shape: Mapping[str, int], step: Mapping[str, float] | None = None) -> Geometry:
        """Return the geometry of a part of the image, or of one with other pixels.

        Parameters
        ----------
        offset
            By axis, where the part's first pixel lies, in pixels of this geometry.
        shape
            By axis, the part's number of pixels.
        step
            By axis, the size of one of its pixels, in pixels of this geometry (1 where absent).
        """
        shift = np.array([offset.get(axis, 0.0) for axis in self.axes])
        factor = np.array([(step or {}).get(axis, 1.0) for axis in self.axes])
        linear = self.physical.linear_matrix
        physical = Affine(linear_matrix=linear * factor, translate=self.physical.translate + linear @ shift)
        lengths = tuple(shape.get(axis, n) for axis, n in zip(self.axes, self.shape, strict=True))
        return Geometry(self.axes, lengths, self.units, self.axis_labels, physical, self.affine)

    def fitted(self, stack: Stack) -> Geometry:
        """Return the geometry for a stack painted from this image.

        An axis that the painting folded into one plane is left out if it leads; else its one plane is as thick as all it came from.
        """
        t, _, z, y, x = stack.shape
        lengths = dict(zip("TCZYX", (t, 1, z, y, x), strict=True))
        axes = self.axes
        while axes[0] not in "YX" and lengths[axes[0]] == 1 and self.shape[self.axes.index(axes[0])] > 1:
            axes = axes[1:]
        here = self.keep(axes)
        folded = {a: n for a, n in zip(axes, here.shape, strict=True) if lengths[a] == 1 and n > 1}
        return here.shifted({a: (n - 1) / 2 for a, n in folded.items()}, {a: lengths[a] for a in axes}, folded)

    def to_world(self, units: Sequence[Any] | None = None) -> Matrix:
        """Return the homogeneous matrix from pixels to the world, shape (n + 1, n + 1).

        Parameters
        ----------
        units
            The world's units, of which the last n are these axes' (`viewer.layers.units`); the layer's own where None.
        """
        matrix = np.array(self.affine.affine_matrix @ self.physical.affine_matrix, np.float64)
        for row, (own, common) in enumerate(zip(self.units, units[-len(self.axes) :], strict=True) if units is not None else ()):
            if own != common:
                matrix[row] *= in_unit(1.0, own, str(common)) or 1.0
        return matrix

    def layer_arguments(self) -> dict[str, Any]:
        """Return a layer's scale, translate, units and axis labels, and its rotation, shear and affine if there are any."""
        n = len(self.axes)
        found: dict[str, Any] = {
            "scale": tuple(float(v) for v in self.physical.scale),
            "translate": tuple(float(v) for v in self.physical.translate),
            "units": self.units,
            "axis_labels": self.axis_labels,
        }
        if not np.allclose(self.physical.linear_matrix, np.diag(np.diag(self.physical.linear_matrix))):
            found |= {"rotate": self.physical.rotate, "shear": self.physical.shear}
        if not np.allclose(self.affine.affine_matrix, np.eye(n + 1)):
            found["affine"] = np.array(self.affine.affine_matrix)
        return found

    def pixel_size(self) -> PixelSize:
        """Return micrometres along z, y, x; None where the unit is no length."""
        return PixelSize(*(self._step(axis, "um") for axis in "ZYX"))

    def time_interval(self) -> float | None:
        """Return seconds between two time points; None where the unit is no time."""
        return self._step("T", "s")

    def _step(self, axis: str, unit: str) -> float | None:
        if axis not in self.axes:
            return None
        at = self.axes.index(axis)
        return in_unit(abs(float(self.physical.scale[at])), self.units[at], unit)


def identity(ndim: int) -> Affine:
    """Return the transform that leaves everything in place."""
    return Affine(scale=[1.0] * ndim, translate=[0.0] * ndim)


def in_unit(value: float, unit: Any, wanted: str) -> float | None:
    """Convert a value from a layer's unit; None where the two don't measure the same (pixels aren't micrometres)."""
    from pint import application_registry

    quantity = application_registry.Quantity(value, str(unit))
    return float(quantity.to(wanted).magnitude) if quantity.is_compatible_with(wanted) else None


def guess_axes(layer: Any, known: str | None = None) -> str:
    """Return what the axes of a layer's data are, letters of AXES in the data's order (colours of an RGB layer left out).

    Parameters
    ----------
    known
        What the layer's metadata says; taken if it fits and its labels name no axes.
    """
    named = labelled_axes(layer)
    if valid_axes(named):
        return named
    if known is not None and len(known) == layer.ndim and valid_axes(known):
        return known
    in_time = layer.ndim == 3 and in_unit(1.0, layer.units[0], "s") is not None
    default = "TYX" if in_time else DEFAULT_AXES.get(int(layer.ndim), "?" * int(layer.ndim))
    if all(name in ("?", axis) for name, axis in zip(named, default, strict=True)):
        return default
    free = iter(axis for axis in "ZTC" if axis not in named)
    filled = "".join(next(free, "?") if name == "?" else name for name in reversed(named))[::-1]
    return filled if valid_axes(filled) else named


def labelled_axes(layer: Any) -> str:
    """Return the letters that a layer's axis labels name, or the dimensions of its xarray; ``?`` for each that names none."""
    data = layer.data[0] if layer.multiscale else layer.data
    named = "".join(LABELS.get(str(label).casefold(), "?") for label in layer.axis_labels)
    dims = getattr(data, "dims", ())
    if set(named) == {"?"} and isinstance(dims, tuple):
        of_data = "".join(LABELS.get(str(dim).casefold(), "?") for dim in dims[: layer.ndim])
        return of_data if len(of_data) == layer.ndim else named
    return named


def valid_axes(axes: Sequence[str]) -> bool:
    """Return whether these are different letters of AXES that end in YX, in any order before."""
    text = "".join(axes)
    return text.endswith("YX") and len(set(text)) == len(text) and set(text) <= set(AXES)
