"""Settings of a count, and what a plane must be like to be counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.choices import Segmenter, values_of
from napari_virtual_paint.errors import InputError

KINDS = ("nuclei", "cells")  # kinds of objects, in order of display

LABELS = "labels"  # `kind` in the provenance of label images

LABEL_STEPS = 0.05  # largest share of neighboring pixels within objects that differ in a label image; in a photograph most do


@dataclass(frozen=True)
class CountSettings:
    """How nuclei and cells are found.

    Raises
    ------
    InputError
        If a value is invalid.
    """

    segmenter: Segmenter = "skimage"
    nuclei: str | None = None
    cells: str | None = None
    """`nuclei` and `cells`: the stains that show them; by the usual names, and all others for the cells, where None."""
    z: str | None = None  # plane of a stack, by position from 0, or ``max`` for its maximum projection; None refuses stacks
    tracks: bool = False  # whether the objects of a time series are linked to tracks

    def __post_init__(self) -> None:
        if self.segmenter not in values_of(Segmenter):
            raise InputError(f"Segmenter {self.segmenter!r} is not known; choose one of {', '.join(values_of(Segmenter))}.")
        if self.z is not None and self.z != "max" and not self.z.isdecimal():
            raise InputError(f"The plane {self.z!r} is not known; give its position from 0, or max for the maximum projection (--z).")


def is_constant(plane: npt.NDArray[Any]) -> bool:
    """Return whether all pixels that are numbers have one value."""
    values = plane[np.isfinite(plane)]
    return not values.size or float(values.min()) == float(values.max())


def looks_like_labels(plane: npt.NDArray[Any]) -> bool:
    """Return whether an image holds labels or a mask: whole numbers that hardly change within objects.

    Parameters
    ----------
    plane
        Axes YX.
    """
    if plane.dtype.kind not in "bui" and not np.array_equal(plane, np.rint(plane)):
        return False
    if is_constant(plane) or plane.min() != 0:
        return False
    left, right = plane[:, :-1], plane[:, 1:]
    inside = (left != 0) & (right != 0)
    return bool(inside.any() and ((left != right) & inside).sum() <= LABEL_STEPS * inside.sum())
