"""Uneven illumination: estimate its smooth function from many fields, read Harmony's profiles, divide images by it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.stack import Stack

Floats = npt.NDArray[np.float32]
Grid = npt.NDArray[np.float64]

CELLS = 48  # cells a side of the grid that an estimate is made on
FEW = 4  # fields from which half of them can tell how well the other half is predicted
DEGREES = (0, 2, 4)  # of the polynomial; 0 is even light
USUAL = 2  # degree where that can't be told
GAIN = 0.97  # share of the error that a higher degree may leave to be taken
ROUNDS = 12  # of the robust fit
TUKEY = 4.685  # residual, in robust standard deviations, beyond which a cell counts nothing (Tukey's biweight)
LEAST = 0.02  # smallest value of a function: what is darker than this share of the mean is no light
LAZY = 512 << 20  # bytes of an image that is corrected part by part


def checked_function(function: npt.NDArray[Any], shape: tuple[int, int], name: str) -> Floats:
    """Return an illumination function (Y, X) with the mean 1.

    Parameters
    ----------
    function
        The brightness of even samples, up to a factor; axes of length 1 are left out.
    shape
        Pixels (Y, X) of the images.
    name
        Where it comes from, for errors.

    Raises
    ------
    InputError
        If it has another size, or values that are not finite, zero or negative.
    """
    plane = np.squeeze(np.asarray(function))
    if plane.shape != shape:
        size = " x ".join(map(str, plane.shape)) or "1"
        raise InputError(f"{name}: the illumination function has {size} pixels and the images {shape[0]} x {shape[1]}; make it anew.")
    if plane.dtype.kind not in "iuf":
        raise InputError(f"{name}: the illumination function has values of type {plane.dtype}; it must have numbers.")
    values: Floats = plane.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{name}: the illumination function has values that are not finite; make it anew.")
    if values.min() <= 0:
        raise InputError(f"{name}: the illumination function has values of 0 or below, by which no image can be divided; make it anew.")
    scaled: Floats = values / np.float32(values.mean(dtype=np.float64))
    return scaled


def correct_illumination(stack: Stack, functions: Mapping[str, Floats], record: Mapping[str, Any] | None = None) -> Stack:
    """Divide the channels of an image by their illumination functions.

    Parameters
    ----------
    stack
        The image, axes TCZYX; a lazy or large one is corrected as its parts are read.
    functions
        Name of a channel (`Stack.channel_labels`) -> its function (Y, X) with the mean 1, so that the mean brightness stays.
    record
        What the provenance says about them.

    Returns
    -------
    Stack
        float32; channels without a function are unchanged.

    Raises
    ------
    InputError
        If a function has another size than the image.
    """
    shape = (stack.shape[3], stack.shape[4])
    found = {label: functions[label] for label in stack.channel_labels if label in functions}
    for label, function in found.items():
        if function.shape != shape:
            size = f"{function.shape[0]} x {function.shape[1]}"
            raise InputError(
                f"{stack.source or 'The image'}: it has {shape[0]} x {shape[1]} pixels and the illumination function of {label} {size}; "
                "make it anew."
            )
    if not found:
        kept = dict(stack.provenance or {}) | {"illumination": {**(record or {}), "fall": {}}}
        return replace(stack, provenance=kept)
    one = np.ones((1, 1), np.float32)
    parts = [found.get(label, one) for label in stack.channel_labels]
    divisor = np.stack([np.broadcast_to(part, shape) for part in parts])[None, :, None]
    falls = {label: round(1 - float(function.min() / function.max()), 4) for label, function in found.items()}
    kept = dict(stack.provenance or {}) | {"illumination": {**(record or {}), "fall": falls}}
    return replace(stack, data=_divided(stack.data, divisor), provenance=kept, rgb=stack.rgb)


def _divided(data: Any, divisor: Floats) -> Any:
    """Return pixels (TCZYX) divided; lazily where they are lazy or many."""
    if isinstance(data, np.ndarray) and 4 * data.size <= LAZY:
        return np.divide(data, divisor, dtype=np.float32)
    import dask.array as da

    lazy = data if isinstance(data, da.Array) else da.from_array(data, chunks=(1, 1, 1, *data.shape[3:]))
    return lazy.astype(np.float32) / da.from_array(divisor, chunks=(1, lazy.chunks[1], 1, *lazy.chunks[3:]))


class IlluminationEstimate:
    """The smooth unevenness that many fields have in common.

    Each field is reduced to a grid of medians and divided by its own; the median over the fields leaves out cells, which lie anywhere. A
    polynomial is fitted to it robustly (Tukey's biweight), as Harmony's profiles are polynomials. Its degree is the lowest by which half of
    the fields predict the other half about best.

    Parameters
    ----------
    shape
        Pixels (Y, X) of a field.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.steps = [max(-(-side // CELLS), 1) for side in shape]
        self._grids: list[Grid] = []

    @property
    def fields(self) -> int:
        """How many fields were added."""
        return len(self._grids)

    def add(self, plane: npt.NDArray[Any]) -> bool:
        """Add a field (Y, X); return whether it was used: one that is dark or not finite is left out."""
        if plane.shape != self.shape:
            return False
        grid = self._medians(np.asarray(plane, np.float32))
        level = float(np.median(grid))
        if not np.isfinite(grid).all() or level <= 0:
            return False
        self._grids.append(grid / level)
        return True

    def function(self, *, same_cells: bool = False) -> Floats:
        """Return the function (Y, X), with the mean 1.

        Parameters
        ----------
        same_cells
            Whether the fields are planes or times of one place, whose cells the median over them does not leave out.

        Raises `InputError` if no field was added.
        """
        if not self._grids:
            raise InputError("No field shows light, so its unevenness can't be estimated; leave the correction out.")
        middle = np.median(self._grids, axis=0)
        degree = USUAL if same_cells or len(self._grids) < FEW else self._degree()
        coefficients = self._fit(middle, degree)
        rows, columns = (_unit(np.arange(side), side) for side in self.shape)
        fine = sum(
            (
                coefficient * np.outer(rows**power_y, columns**power_x)
                for coefficient, (power_y, power_x) in zip(coefficients, _powers(degree), strict=True)
            ),
            np.zeros(self.shape),
        )
        function = np.maximum(fine, LEAST * float(fine.mean()))
        scaled: Floats = (function / function.mean()).astype(np.float32)
        return scaled

    def _fit(self, grid: Grid, degree: int) -> Grid:
        """Return the coefficients of a polynomial through a grid."""
        y, x = (self._centers(axis) for axis in (0, 1))
        return _robust_fit(_terms(y, x, degree), grid.ravel())

    def _degree(self) -> int:
        """Return the lowest degree by which half of the fields predict the other half about best, so that it does not follow cells."""
        halves = [np.median(self._grids[start::2], axis=0) for start in (0, 1)]
        y, x = (self._centers(axis) for axis in (0, 1))
        best, least = DEGREES[0], np.inf
        for degree in DEGREES:
            terms = _terms(y, x, degree)
            fits = [(terms @ _robust_fit(terms, half.ravel())).reshape(half.shape) for half in halves]
            error = sum(float(np.abs(fit - other).mean()) for fit, other in zip(fits, reversed(halves), strict=True))
            if error < GAIN * least:
                best, least = degree, error
        return best

    def _medians(self, plane: Floats) -> Grid:
        """Return the median of each cell of the grid; cells at the end may be smaller."""
        rows, columns = (list(range(0, side, step)) for side, step in zip(self.shape, self.steps, strict=True))
        grid = np.empty((len(rows), len(columns)))
        for index, top in enumerate(rows):
            band = plane[top : top + self.steps[0]]
            whole = band.shape[1] // self.steps[1]
            cells = band[:, : whole * self.steps[1]].reshape(len(band), whole, self.steps[1]).swapaxes(0, 1).reshape(whole, -1)
            grid[index, :whole] = np.median(cells, axis=1)
            if whole < len(columns):
                grid[index, whole] = np.median(band[:, whole * self.steps[1] :])
        return grid

    def _centers(self, axis: int) -> Grid:
        side, step = self.shape[axis], self.steps[axis]
        starts = np.arange(0, side, step)
        return _unit((starts + np.minimum(starts + step, side) - 1) / 2, side)


def _unit(position: npt.NDArray[Any], side: int) -> Grid:
    """Return positions of pixels as -1 to 1."""
    return np.asarray(2 * position / max(side - 1, 1) - 1, np.float64)


def _powers(degree: int) -> list[tuple[int, int]]:
    return [(y, total - y) for total in range(degree + 1) for y in range(total + 1)]


def _terms(y: Grid, x: Grid, degree: int) -> Grid:
    """Return the polynomial's terms at the cells, one a column."""
    return np.stack([np.outer(y**power_y, x**power_x).ravel() for power_y, power_x in _powers(degree)], axis=1)


def _robust_fit(terms: Grid, values: Grid) -> Grid:
    """Return coefficients by iteratively reweighted least squares with Tukey's biweight."""
    weights = np.ones(len(values))
    coefficients: Grid = np.zeros(terms.shape[1])
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        coefficients = np.asarray(np.linalg.lstsq(terms * root[:, None], values * root, rcond=None)[0], np.float64)
        rest = values - terms @ coefficients
        spread = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
        if spread < 1e-9:
            break
        weights = np.square(np.clip(1 - np.square(rest / (TUKEY * spread)), 0, None)) + 1e-9
    return coefficients


@dataclass(frozen=True)
class HarmonyProfile:
    """The flat-field profile of a channel in Harmony's index."""

    channel: str  # name of the channel
    coefficients: tuple[tuple[float, ...], ...]  # of degree 0, 1 ...; empty where the profile is flat
    dims: tuple[int, int] = (0, 0)  # pixels along x and y
    origin: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    """`origin` and `scale`: a pixel's place (x, y) less the origin, times the scale, is what the polynomial takes."""

    def function(self, shape: tuple[int, int]) -> Floats:
        """Return the function (Y, X): the sum of ``c[n][j] x^(n - j) y^j``; images that are binned or cut to other pixels are refused.

        Raises `InputError` if the profile was made for another size.
        """
        if (self.dims[1], self.dims[0]) != shape:
            raise InputError(
                f"The flat-field profile of {self.channel} is for {self.dims[1]} x {self.dims[0]} pixels and the images have "
                f"{shape[0]} x {shape[1]}; estimate the illumination from the plate instead."
            )
        x = ((np.arange(shape[1]) - self.origin[0]) * self.scale[0])[None, :]
        y = ((np.arange(shape[0]) - self.origin[1]) * self.scale[1])[:, None]
        total = np.zeros(shape)
        for degree, row in enumerate(self.coefficients):
            for power, coefficient in enumerate(row):
                total += coefficient * x ** (degree - power) * y**power
        return checked_function(total, shape, f"Flat-field profile of {self.channel}")


def parse_harmony_profile(text: str) -> HarmonyProfile | None:
    """Return the profile of an entry ``FlatfieldProfile`` of Harmony's index; None if it is damaged."""
    name = re.search(r"\bChannelName:\s*([^,}]+)", text)
    if name is None:
        return None
    channel = name[1].strip().strip("'\"")
    if re.search(r"\bType:\s*Polynomial", text) is None:
        return HarmonyProfile(channel, ())
    try:
        coefficients = tuple(tuple(map(float, row)) for row in _list(text, "Coefficients"))
        dims, origin, scale = (_list(text, key) for key in ("Dims", "Origin", "Scale"))
        profile = HarmonyProfile(
            channel,
            coefficients,
            (int(dims[0]), int(dims[1])),
            (float(origin[0]), float(origin[1])),
            (float(scale[0]), float(scale[1])),
        )
    except (ValueError, TypeError, IndexError):
        return None
    well_formed = all(len(row) == degree + 1 for degree, row in enumerate(coefficients)) and len(coefficients) <= 16
    return profile if well_formed and coefficients else None


def _list(text: str, key: str) -> Sequence[Any]:
    """Return the list behind a key. Raises `ValueError` if there is none."""
    found = re.search(rf"\b{key}:\s*(\[[\[\]\s\d.,eE+-]*\])", text)
    values = json.loads(found[1]) if found is not None else None
    if not isinstance(values, list):
        raise ValueError(key)
    return values
